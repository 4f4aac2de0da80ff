"""Laws of the tokenizer, for any text whatever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.config import TokenizerConfig
from nmtcli.data.tokenizer import Tokenizer
from nmtcli.vocabulary import UNK

SENTENCES = [
    "the cat sat on the mat",
    "a dog and a cat",
    "die Katze saß auf der Matte",
    "ein Hund",
    "猫はマットの上に",
] * 4

# any Unicode text but lone surrogates, which no UTF-8 file can hold; awkward characters come often
any_text = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("abct \n\r\t\0\x85\u2028\u2581\u200b\ufeff\u0301…"))
)
SYMBOLS = ("<b>", "</b>", "<2de>", "ﬁ")
text_with_symbols = st.lists(st.one_of(any_text, st.sampled_from(SYMBOLS))).map("".join)
any_ids = st.lists(st.integers(-5, 400))


@pytest.fixture(
    scope="module",
    params=[
        {"type": "unigram"},
        {"type": "bpe"},
        {"type": "char"},
        {"type": "unigram", "normalization": "none", "symbols": SYMBOLS},
        {"type": "bpe", "normalization": "nfkc", "lowercase": True, "symbols": SYMBOLS},
        {"type": "char", "symbols": SYMBOLS},
        {"type": "unigram", "symbols": SYMBOLS, "lowercase": True},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def tokenizer(request):
    return Tokenizer.train(SENTENCES, TokenizerConfig(vocab_size=320, **request.param))


@pytest.fixture(scope="module")
def words():
    return Tokenizer.train(SENTENCES, TokenizerConfig(type="word", symbols=SYMBOLS))


@settings(deadline=None, max_examples=200)
@given(line=text_with_symbols)
def test_decoding_the_ids_of_a_line_gives_the_normalised_line(tokenizer, line):
    (ids,) = tokenizer.encode([line])
    assert tokenizer.decode(ids) == tokenizer.normalize(line)


@settings(deadline=None)
@given(lines=st.lists(any_text))
def test_a_line_alone_is_encoded_like_a_line_among_others(tokenizer, lines):
    assert tokenizer.encode(lines) == [tokenizer.encode([line], threads=1)[0] for line in lines]


@settings(deadline=None)
@given(words_in=st.lists(st.sampled_from([*SYMBOLS, *" ".join(SENTENCES).split(), "猫", "<s>"])))
def test_word_tokenizer_gives_one_id_a_word(words, words_in):
    (ids,) = words.encode([" ".join(words_in)])
    assert len(ids) == len(words_in)
    if UNK not in ids:
        assert words.decode(ids) == " ".join(words_in)


@settings(deadline=None)
@given(
    lines=st.lists(text_with_symbols, max_size=5),
    alpha=st.floats(0, 1, allow_subnormal=False),
    seed=st.integers(0, 2**70),
)
def test_another_segmentation_has_the_same_text(tokenizer, lines, alpha, seed):
    rows = tokenizer.encode(lines)
    if tokenizer.type == "char":
        return
    sampled = tokenizer.sample(rows, alpha, seed)
    assert tokenizer.decode_all(sampled) == tokenizer.decode_all(rows)
    assert tokenizer.sample(rows, alpha, seed) == sampled
    for symbol in SYMBOLS if tokenizer.has_symbol(SYMBOLS[0]) else ():
        (number,) = tokenizer._processor.piece_to_id([symbol])
        assert [row.count(number) for row in sampled] == [row.count(number) for row in rows]


@settings(deadline=None)
@given(rows=st.lists(any_ids))
def test_any_ids_decode_to_one_line_each(tokenizer, rows):
    texts = tokenizer.decode_all(rows)
    assert len(texts) == len(rows)
    assert not any("\n" in text for text in texts)
    assert texts == [tokenizer.decode(row) for row in rows]
