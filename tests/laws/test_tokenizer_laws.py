"""Laws of the tokenizer, for any text whatever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.config import TokenizerConfig
from nmtcli.prepare.tokenizer import Tokenizer

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
any_ids = st.lists(st.integers(-5, 400))


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request):
    return Tokenizer.train(SENTENCES, TokenizerConfig(type=request.param, vocab_size=320))


@settings(deadline=None, max_examples=200)
@given(line=any_text)
def test_decoding_the_ids_of_a_line_gives_the_normalised_line(tokenizer, line):
    (ids,) = tokenizer.encode([line])
    assert tokenizer.decode(ids) == tokenizer.normalize(line)


@settings(deadline=None)
@given(lines=st.lists(any_text))
def test_a_line_alone_is_encoded_like_a_line_among_others(tokenizer, lines):
    assert tokenizer.encode(lines) == [tokenizer.encode([line], threads=1)[0] for line in lines]


@settings(deadline=None)
@given(rows=st.lists(any_ids))
def test_any_ids_decode_to_one_line_each(tokenizer, rows):
    texts = tokenizer.decode_all(rows)
    assert len(texts) == len(rows)
    assert not any("\n" in text for text in texts)
    assert texts == [tokenizer.decode(row) for row in rows]
