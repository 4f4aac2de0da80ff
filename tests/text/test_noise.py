"""Changes of case, typing errors and missing punctuation."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.text.edits import edited
from nmtcli.text.noise import (
    final_punctuation,
    lower_start,
    punctuation,
    title,
    typos,
    upper,
    without_punctuation,
)
from nmtcli.text.spans import Scanner
from tests.text.test_spans import PIECES


def without_final_punctuation(text, symbols=()):
    return edited(text, final_punctuation(text, symbols))


WORDS = ["hello", "Don't", "ÉCOLE", "straße", "안녕하세요", "你好", "مرحبا", " ", " ", "。", "?", "2de"]
TEXTS = st.lists(st.sampled_from([*PIECES, *WORDS]), max_size=12).map("".join)
KEPT = Scanner(["tag", "url", "email", "icu", "variable", "symbol"])
CHANGES = {
    "upper": upper,
    "title": title,
    "lower_start": lower_start,
    "typos": lambda text, symbols=(): typos(text, Random(text), symbols),
    "without_punctuation": without_punctuation,
    "without_final_punctuation": without_final_punctuation,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@given(TEXTS)
def test_protected_spans_and_symbols_never_change(change, text):
    text = f"see {text} <name> Nobody"
    changed = change(text, ("<name>", "Nobody"))
    assert all(span.text in changed for span in KEPT.scan(text))
    assert changed.count("Nobody") == text.count("Nobody")


@pytest.mark.parametrize("name", [*CHANGES])
@given(TEXTS)
def test_words_stay_words(name, text):
    changed = CHANGES[name](text)
    if name.startswith("without"):
        assert bool(changed.strip()) == bool(text.strip())
        assert "  " not in changed or "  " in text
    else:
        assert len(changed.split()) == len(text.split())


@given(TEXTS)
def test_case_is_all_that_changes(text):
    for change in (upper, title, lower_start):
        assert change(text).casefold() == text.casefold()


@given(TEXTS, st.integers(0, 1000))
def test_typing_errors_depend_on_the_seed_only_and_are_few(text, seed):
    typed = typos(text, Random(seed))
    assert typed == typos(text, Random(seed))
    changed = sum(one != other for one, other in zip(text.split(), typed.split(), strict=True))
    assert changed <= 3
    assert abs(len(typed) - len(text)) <= 3


def test_a_text_with_words_gets_a_typing_error():
    text = "The quick brown fox jumps over the lazy dog"
    results = {typos(text, Random(seed)) for seed in range(200)}
    assert text not in results
    assert len(results) > 150
    assert typos("I am 25", Random(1)) == "I am 25"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the dog's «big» (house) well-known 3rd", "The Dog's «Big» (House) Well-known 3rd"),
        ("see https://a.b/c NOW", "See https://a.b/c NOW"),
        ("ǆep ﬁn", "ǅep Fin"),
        ("개가 있다", "개가 있다"),
    ],
)
def test_title(text, expected):
    assert title(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The dog", "the dog"),
        ("«Été» «Hiver»", "«été» «Hiver»"),
        ("I am", "i am"),
        ("USA first", "USA first"),
        ("3 Dogs", "3 Dogs"),
        ("<b>Click</b> Here", "<b>click</b> Here"),
        ("__TAG__Click Here", "__TAG__click Here"),
        ("집 A", "집 A"),
        ("", ""),
    ],
)
def test_lower_start(text, expected):
    assert lower_start(text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "final"),
    [
        ("Hello, Mr. Smith: it is 12:30!", "Hello Mr Smith it is 12:30", "Hello, Mr. Smith: it is 12:30"),
        ("Où est-il ?", "Où est-il", "Où est-il"),
        ('¿Qué? "No."', 'Qué "No"', '¿Qué? "No"'),
        ("你好，世界。", "你好 世界", "你好，世界"),
        ("It costs 1,000.50 at www.a.org.", "It costs 1,000.50 at www.a.org", "It costs 1,000.50 at www.a.org"),
        ("Wait...what?!", "Wait...what", "Wait...what"),
        ("... and then", "and then", "... and then"),
        ("क्या है? नहीं।", "क्या है नहीं", "क्या है? नहीं"),
        ("?!", "?!", "?!"),
        ("a , b .", "a b", "a , b"),
    ],
)
def test_punctuation(text, expected, final):
    assert without_punctuation(text) == expected
    assert without_final_punctuation(text) == final


@pytest.mark.parametrize("text", [" ", ",", ", ", "…)", "\u00a0", "¿ "])
def test_a_long_run_takes_no_long_time(text):
    punctuation(text * 100_000 + "a")
    final_punctuation(text * 100_000 + "a")
