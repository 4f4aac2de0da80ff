"""Lexical constraints of text: words, copied text, terms, and a search that satisfies them."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.config import TokenizerConfig
from nmtcli.data.tokenizer import Tokenizer
from nmtcli.errors import DataError, UserError
from nmtcli.text.spans import Scanner
from nmtcli.translate.constraints import satisfies
from nmtcli.translate.phrases import Copy, PhraseWriter, joins_words
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.terminology import Terminology, read_phrases, read_terms
from nmtcli.vocabulary import EOS
from tests.laws.tables import Table

SENTENCES = [
    "das Haus am See ist alt",
    "das Hausboot liegt am See",
    "ein altes Haus (Haus am Meer) und ein Boot",
    "die maschinelle Übersetzung ist neu, die Übersetzung nicht",
    "ein Boot, ein Haus, ein See; Hausboote und Boote",
    "<b> Haus </b> und {name} von __URL__",
] * 4
WORDS = ["Haus", "Hausboot", "Boot", "am See", "das", "alt"]


def tokenizer(kind: str, **more) -> Tokenizer:
    return Tokenizer.train(SENTENCES, TokenizerConfig(type=kind, **{"vocab_size": 90, "byte_fallback": False, **more}))


@pytest.fixture(scope="module", params=["unigram", "bpe", "char", "word"])
def writer(request) -> PhraseWriter:
    return PhraseWriter(tokenizer(request.param))


def ids(writer: PhraseWriter, text: str) -> tuple[int, ...]:
    (tokens,) = writer.tokenizer.encode([text])
    return (*tokens, EOS)


def says(text: str, word: str, kind: str = "") -> bool:
    if kind == "word":  # whose words have their commas and brackets on them
        return f" {word} " in f" {text} "
    return bool(re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text))


@pytest.mark.parametrize("word", WORDS)
def test_words_count_as_whole_words_wherever_they_stand(writer, word):
    required = writer.constraint(phrases=[writer.required([word])])
    banned = writer.constraint(phrases=[writer.banned(word)])
    for sentence in SENTENCES[:5]:
        tokens = ids(writer, sentence)
        if "(" + word not in sentence:  # a required word has a blank before it
            assert satisfies(required, tokens) == says(sentence, word, writer.tokenizer.type), sentence
        assert satisfies(banned, tokens) == (not says(sentence, word, writer.tokenizer.type)), sentence


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), word=st.sampled_from(WORDS), text=st.sampled_from(SENTENCES[:5]))
def test_a_banned_word_is_recognised_in_every_segmentation(seed, word, text):
    for kind in ("unigram", "bpe"):
        writer = PhraseWriter(_TOKENIZERS[kind])
        constraint = writer.constraint(phrases=[writer.banned(word)])
        (row,) = writer.tokenizer.encode([text])
        (drawn,) = writer.tokenizer.sample([row], 0.1 if kind == "unigram" else 0.5, seed)
        assert satisfies(constraint, (*drawn, EOS)) == (not says(text, word))


_TOKENIZERS = {kind: tokenizer(kind) for kind in ("unigram", "bpe")}


def translate(writer, seeds, constraints, beam=4):
    table = Table(len(writer.tokenizer), 7, sharpness=1.0)
    limits = [30] * len(seeds)
    found = beam_search(table, *table.arrays(seeds), limits, SearchOptions(beam), constraints=constraints)
    assert all(own[0].satisfied for own in found)
    return [writer.tokenizer.decode(own[0].tokens) for own in found]


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_required_phrases_occur_and_banned_phrases_do_not(writer, byte_fallback):
    if byte_fallback:  # most tokens go on with a word
        if writer.tokenizer.type == "word":
            pytest.skip("no bytes among words")
        writer = PhraseWriter(tokenizer(writer.tokenizer.type, byte_fallback=True, vocab_size=340))
    plain = translate(writer, list(range(6)), [None] * 6)
    terms = [writer.required([word]) for word in ("Haus", "am See")]
    bans = [writer.banned(word) for word in ("das", "Boot")]
    constraint = writer.constraint(phrases=[*terms, *bans])
    constraints = [constraint if n % 2 else None for n in range(6)]
    for n, (before, after) in enumerate(zip(plain, translate(writer, list(range(6)), constraints), strict=True)):
        if n % 2 == 0:
            assert after == before
            continue
        for word in ("Haus", "am See", "das", "Boot"):
            assert says(after, word, writer.tokenizer.type) == (word in {"Haus", "am See"})


def test_a_banned_word_of_rare_letters_is_recognised_in_bytes():
    writer = PhraseWriter(tokenizer("bpe", byte_fallback=True, vocab_size=340))
    banned = writer.constraint(phrases=[writer.banned("Straße"), writer.banned("東京")])
    for text in ("die Straße am See", "in 東京"):
        assert not satisfies(banned, ids(writer, text))
    assert satisfies(banned, ids(writer, "die Straßen am See"))
    for text in ("die Straße; am See", "die Straße!", "(Straße) am See"):  # ; and ! are bytes, too
        assert not satisfies(banned, ids(writer, text))
    assert satisfies(banned, ids(writer, "die Straße7 am See"))


KOREAN = ["나는 안나를 안 본다", "매일 열매를 먹는다", "불안한 매미가 운다", "안나는 안경을 산다", "하나 둘 셋"] * 6
CHINESE = ["我每天吃水果", "他不知道", "天空很蓝每天", "知道了", "道路很长"] * 6


@pytest.mark.parametrize("text", ["안", "매", "안나", "나는", "안 본다", "每天", "道", "不知道", "天空很"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
def test_a_banned_substring_is_recognised_in_every_segmentation(kind, seed, text):
    sentences = KOREAN if text[0] > "\u9fff" else CHINESE
    settings = TokenizerConfig(type=kind, vocab_size=340, character_coverage=1.0)
    writer = PhraseWriter(Tokenizer.train(sentences, settings))
    constraint = writer.constraint(phrases=[writer.banned(text)])
    for sentence in dict.fromkeys(sentences):
        (row,) = writer.tokenizer.encode([sentence])
        if kind != "char" and seed:
            (row,) = writer.tokenizer.sample([row], 0.1 if kind == "unigram" else 0.5, seed)
        assert satisfies(constraint, (*row, EOS)) == (text not in sentence), (sentence, writer.tokenizer.pieces(row))


@pytest.mark.parametrize("banned", ["안안나", "안나안", "나나", "안안", "안나안나안"])
def test_a_self_overlapping_banned_text_is_recognised_in_every_segmentation(banned):
    sentences = ["안안 안안안 나나 안나안 안나안나", "안안나 나나나 안나안나안 나안", "안 나 안안안안 나안나"] * 9
    writer = PhraseWriter(Tokenizer.train(sentences, TokenizerConfig(type="bpe", vocab_size=300)))
    pieces = {piece: token for token, piece in enumerate(writer.tokenizer.pieces(range(len(writer.tokenizer))))}
    constraint = writer.constraint(phrases=[writer.banned(banned)])

    def segmentations(text: str) -> list[tuple[int, ...]]:
        cuts = [end for end in range(1, len(text) + 1) if text[:end] in pieces]
        return [(pieces[text[:end]], *rest) for end in cuts for rest in segmentations(text[end:])] if text else [()]

    for letters in itertools.product("안나", repeat=6):
        text = "".join(letters)
        for tokens in segmentations("▁" + text):
            told = writer.tokenizer.pieces(tokens)
            assert satisfies(constraint, (*tokens, EOS)) == (banned not in text), told


def test_a_translation_starts_with_its_forced_prefix(writer):
    prefix = writer.prefix("ein Haus")
    for text in translate(writer, [1, 2], [writer.constraint(prefix)] * 2):
        assert text.startswith("ein Haus")


def copies(source: str) -> Counter[Copy]:
    return Counter(Copy.of(source, span.start, span.end) for span in Scanner().scan(source))


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
@pytest.mark.parametrize("symbols", [(), ("<b>", "</b>", "{name}", "__URL__")])
def test_protected_spans_are_copied_exactly(kind, symbols):
    writer = PhraseWriter(tokenizer(kind, symbols=symbols))
    source = "see <b>two</b> or <b>three</b> of {name} at __URL__"
    phrases, unwritable = writer.copies(copies(source))
    assert not unwritable
    for text in translate(writer, [1, 2, 3], [writer.constraint(phrases=phrases)] * 3):
        for mark, count in {"<b>": 2, "</b>": 2, "{name}": 1, "__URL__": 1}.items():
            assert text.count(mark) == count, text


def test_protected_spans_outside_the_vocabulary_are_reported(writer):
    phrases, unwritable = writer.copies(copies("100 % of %s and %1$d, {x} {{y.z}} <x id='1'/> a < b > c __A_B__ __"))
    assert len(phrases) + len(unwritable) == 7
    assert "%s" in unwritable


@pytest.mark.parametrize(
    ("text", "message"), [("", "empty"), ("  ", "empty"), ("Straße 5", "cannot encode"), ("東京", "cannot encode")]
)
def test_required_words_outside_the_vocabulary_are_refused(writer, text, message):
    with pytest.raises(UserError, match=message):
        writer.required([text])
    with pytest.raises(UserError, match=message):
        writer.prefix(text)


def test_contradictory_constraints_are_refused(writer):
    for phrases in ([writer.required(["das Haus"]), writer.banned("Haus")], [writer.banned("Haus")]):
        with pytest.raises(UserError, match="banned"):
            writer.constraint(writer.prefix("das Haus am"), phrases)
    assert writer.constraint() is None
    assert writer.constraint(writer.prefix("das Hausboot"), [writer.banned("Hau")])


@pytest.mark.parametrize(("banned", "other"), [("Haus", "Boot"), ("Boot", "Haus")])
def test_an_alternative_without_banned_words_is_enough(writer, banned, other):
    constraint = writer.constraint(phrases=[writer.required(["Haus", "Boot"]), writer.banned(banned)])
    assert satisfies(constraint, ids(writer, f"das {other} am See"))
    assert not satisfies(constraint, ids(writer, f"das {banned} am See"))
    for text in translate(writer, [1, 2, 3], [constraint] * 3):
        assert says(text, other, writer.tokenizer.type) and not says(text, banned, writer.tokenizer.type)
    both = [writer.banned("Haus"), writer.banned("Boot")]
    with pytest.raises(UserError, match="banned"):
        writer.constraint(phrases=[writer.required(["Haus", "Boot"]), *both])


def test_a_copied_text_may_stand_in_a_term_too(writer):
    """It must stand there and by itself, as in the source."""
    term = writer.required(["das Haus am See"])
    copied, _ = writer.copies({Copy("Haus", before=True, after=True): 1}, [(term, 1)])
    constraint = writer.constraint(phrases=[term, *copied])
    for text, allowed in {
        "das Haus am See": False,
        "das Haus am See Haus": True,
        "ein Haus das Haus am See": True,
        "Haus das Haus am See Haus": False,
    }.items():
        assert satisfies(constraint, ids(writer, text)) == allowed, text


def test_states_share_the_counts_of_many_phrases():
    """Memory hardly grows with the text, however many phrases are banned."""
    writer = PhraseWriter(_TOKENIZERS["unigram"])
    constraint = writer.constraint(phrases=[writer.banned(word) for word in ("Haus", "Boot", "See")] * 20)
    state = constraint.start()
    for token in ids(writer, "das ist ein Test und noch einer")[:-1]:
        state = constraint.advance(state, token)
    assert len({id(reading.counts) for reading, _ in constraint._rules}) == 1


def test_word_boundaries_depend_on_the_script():
    assert [joins_words(character) for character in "aÄß5אب"] == [True] * 6
    assert [joins_words(character) for character in " ▁,-(„東あ한ก"] == [False] * 10


def test_terms_apply_where_their_source_occurs(tmp_path, writer):
    file = tmp_path / "terms.tsv"
    file.write_text("\ufeffhouse\tHaus\nboat house\tHausboot\r\n\nlake\tam See\nhouse\tBoot\n", "utf-8")
    terms = Terminology.of(read_terms(file), writer.tokenizer.normalize, writer)
    assert terms.occurring("the housewife has no boats") == []
    haus = terms.phrases["house"]
    assert terms.occurring("a house, a house") == [(haus, 2)]
    assert terms.occurring("the boat house at the lake") == [
        (terms.phrases["boat house"], 1),
        (terms.phrases["lake"], 1),
    ]
    assert terms.occurring("house") == [(haus, 1)]
    constraint = writer.constraint(phrases=[haus])
    for target in ("das Haus am See", "ein Boot"):  # either will do
        assert satisfies(constraint, ids(writer, target))
    assert not satisfies(constraint, ids(writer, "das Hausboot"))
    (text,) = translate(writer, [3], [constraint])
    assert says(text, "Haus") or says(text, "Boot")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("house\tHaus\nlake\n", ":2: not source term, tab, target term"),
        ("a\tb\tc\n", ":1: not source term, tab, target term"),
        ("\tHaus\n", ":1: not source term, tab, target term"),
        ("house\tHaus\n\nlake\t\n", ":3: not source term, tab, target term"),
    ],
)
def test_malformed_terminology_has_file_and_line(tmp_path, rows, message):
    file = tmp_path / "terms.tsv"
    file.write_text(rows, "utf-8")
    with pytest.raises(DataError, match=message):
        read_terms(file)
    for read in (read_terms, read_phrases):
        with pytest.raises(DataError, match="no such file"):
            read(tmp_path / "none.tsv")
        file.write_bytes(b"house\tHa\xffs\n")
        with pytest.raises(DataError, match="not UTF-8"):
            read(file)


@pytest.mark.parametrize(
    ("terms", "message"),
    [({"house": ["Haus", "東京"]}, "'house': the target tokenizer cannot encode"), ({" ": ["Haus"]}, "has no text")],
)
def test_a_term_outside_the_vocabulary_is_refused(terms, message):
    writer = PhraseWriter(_TOKENIZERS["unigram"])
    with pytest.raises(UserError, match=message):
        Terminology.of(terms, writer.tokenizer.normalize, writer)


def test_many_terms_are_found_quickly_in_a_line():
    """By length and look-up, not term by term."""
    writer = PhraseWriter(_TOKENIZERS["unigram"])
    phrase = writer.required(["Haus"])
    names = ["".join(map(chr, np.random.default_rng(n).integers(97, 123, 8))) for n in range(3000)]
    terms = Terminology(dict.fromkeys(names, phrase))
    assert len(terms.occurring(" ".join(names[:50]))) == 50


NUMBERS = [f"the {n} dogs of {n + 3} red-dog boats in {m}" for n in range(1, 30) for m in (2015, 5, 16)]


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
@pytest.mark.parametrize(
    "spans", [("12", "2"), ("25", "5"), ("2015", "5", "15"), ("16", "6", "6"), ("red-dog", "red"), ("5", "5", "25 5")]
)
def test_spans_that_are_parts_of_others_can_be_copied(kind, spans):
    settings = TokenizerConfig(type=kind, vocab_size=120, byte_fallback=False)
    writer = PhraseWriter(Tokenizer.train(NUMBERS, settings))
    phrases, _ = writer.copies(Counter(Copy(span, before=True, after=True) for span in spans))
    constraint = writer.constraint(phrases=phrases)
    for order in itertools.permutations(spans):
        assert satisfies(constraint, ids(writer, "the " + " dogs ".join(order) + " boats")), order
    for missing in range(len(spans)):
        rest = [span for number, span in enumerate(spans) if number != missing]
        if spans[missing] not in " ".join(rest).split():  # 5 is a word of its own in "25 5"
            assert not satisfies(constraint, ids(writer, "the " + " dogs ".join(rest) + " boats")), rest


def test_a_shorter_alternative_does_not_hide_a_longer_one(writer):
    """Haus and Hausboot: either is enough, and neither is another word, such as Häuser."""
    for alternatives in (["Haus", "Hausboot"], ["Hausboot", "Haus"], ["Boot", "Boote", "Boot ist"]):
        constraint = writer.constraint(phrases=[writer.required(alternatives)])
        for text in alternatives:
            for line in (text, f"das {text} ist", f"das {text} alt"):
                assert satisfies(constraint, [*writer.tokenizer.encode([line])[0], EOS]), line
        assert not satisfies(constraint, [*writer.tokenizer.encode(["das See"])[0], EOS])
        assert constraint.shortest == 1 + min(len(writer.tokenizer.encode([text])[0]) for text in alternatives)


def test_the_same_span_with_and_without_a_blank_before_it_is_required_twice():
    writer = PhraseWriter(tokenizer("unigram"))
    phrases, _ = writer.copies({Copy("Haus", before, after=True): 1 for before in (True, False)})
    assert [phrase.least for phrase in phrases if phrase.whole] == [1, 2]
