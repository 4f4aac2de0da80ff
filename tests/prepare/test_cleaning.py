"""Cleaning rules: which pairs each drops and keeps, their order, and that each can be switched off."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.config import CleaningConfig, DataConfig
from nmtcli.errors import UserError
from nmtcli.prepare.cleaning.characters import Texts
from nmtcli.prepare.cleaning.duplicates import Duplicates, pair_hashes
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import EXAMPLES, RULES, active_rules, code, judge, text_rules
from nmtcli.prepare.readers.records import TextBlock


def held_out(*lines: str, n: int | None = None) -> HeldOut:
    """All lines of one side."""
    return HeldOut.of([(Texts(lines), Texts([]))], n)


HELD_OUT = held_out(
    *("this line is held out", "short one", "diese Zeile ist nicht dabei", "猫はどこにいますか教えてください"), n=4
)
OFF = {
    "control-characters": {"control_characters": False},
    "too-many-characters": {"max_characters": None},
    "markup": {"markup": False},
    "length-ratio": {"max_length_ratio": None},
    "copied": {"copied": False},
    "too-many-symbols": {"max_symbol_share": None},
    "repeated-characters": {"max_repeats": None},
    "wrong-script": {"source_scripts": None, "target_scripts": None},
    "held-out": {"held_out": False},
    "held-out-ngram": {"held_out_ngram": None},
}
LONG = "a sentence of more than twenty letters"

CASES = [
    ("a cat", "eine Katze", None),
    ("", "leer", "empty"),
    ("x", " \t\u3000\u0085", "empty"),
    ("a\0b", "c", "control-characters"),
    ("a", "b\x07", "control-characters"),
    ("a\ufffdb", "c", "control-characters"),
    ("tabs\tand\u0085odd\u2028ends\r", "are blanks", None),
    ("a" * 61, "b" * 60, "too-many-characters"),
    ("猫" * 60, "cat" * 20, "repeated-characters"),
    ("<b>bold</b>", "fett", "markup"),
    ("salt &amp; pepper", "Salz & Pfeffer", "markup"),
    ("a", "see &#8364; or &#x20ac;", "markup"),
    ("if a < b and c > d", "wenn a < b und c > d", None),
    ("R&D; and A&B", "R&D und A&B", None),
    ("<2de> known tag", "bekannte Marke", None),
    ("<name> lives here", "<name> wohnt hier", None),
    ("ja", "yes yes yes", None),
    ("abc", "d" * 5 + " longer" * 5, None),
    ("abcdefghijk", "abcdefg" * 7, "length-ratio"),
    ("猫が好きです。", "I like cats more than anything else in the world.", None),
    ("Berlin", "Berlin", "copied"),
    ("New York", "New\u00a0York ", "copied"),
    ("1945", "1945", None),
    ("10:30 | 11:45 | 12:00", "x", "too-many-symbols"),
    ("12.5%", "12,5 %", None),
    ("soooooooon", "bald", "repeated-characters"),
    ("aaab" * 9, "baaa" * 9, None),
    ("wide          gap", "weite Lücke", None),
    ("Привет, мир", "Hallo Welt", "wrong-script"),
    ("the café", "das Café Привет", None),
    ("hello", "Привет", "wrong-script"),
    ("this line is held out", "x", "held-out"),
    ("short one", "x", None),
    ("other", "diese Zeile ist nicht dabei", "held-out"),
    ("some quite other words", "猫はどこにいますか教えてください", "wrong-script"),
    ("and This LINE, is held!", "x", "held-out-ngram"),
    ("this line is not", "x", None),
]


def config(**cleaning) -> DataConfig:
    strict = {"max_characters": 60, "max_length_ratio": 4, "max_repeats": 6, "held_out_ngram": 4}
    strict |= {"source_scripts": ["latin", "cjk", "hiragana"], "target_scripts": ["latin"]}
    corpus = {"source": "a", "target": "b", "tag": "<2de>"}
    return DataConfig.model_validate({
        "cleaning": strict | cleaning, "train": [corpus], "tokenizer": {"symbols": ["<name>"]}
    })  # fmt: skip


def judged(pairs, rules):
    rows = (block := TextBlock(1, len(pairs), "f", pairs)).rows()
    return judge(block, rows, Texts(rows.sources), Texts(rows.targets), rules)


@pytest.mark.parametrize(("source", "target", "rule"), CASES)
def test_the_first_rule_that_matches_drops_the_pair(source, target, rule):
    found = judged([(source, target)], text_rules(config(), HELD_OUT))
    assert found.verdicts.tolist() == [code(rule) if rule else 0]
    assert list(found.examples) == ([rule] if rule else [])
    if rule in OFF:
        without = judged([(source, target)], text_rules(config(**OFF[rule]), HELD_OUT))
        assert without.verdicts[0] != code(rule)


def test_every_text_rule_has_a_case():
    rules = text_rules(config(), HELD_OUT)
    assert [rule.name for rule in rules] == [name for name in RULES if name in {rule for *_, rule in CASES}]


def test_cleaning_a_block_equals_cleaning_each_pair():
    rules = text_rules(config(), HELD_OUT)
    pairs = [(source, target) for source, target, _ in CASES]
    together = judged(pairs, rules).verdicts.tolist()
    assert together == [judged([pair], rules).verdicts.tolist()[0] for pair in pairs]


def test_examples_of_dropped_pairs_have_line_and_reason():
    rules = text_rules(config(), HELD_OUT)
    found = judged([("Berlin", "Berlin")] * 30 + ["no pair", ("ok", "x" * 200)], rules)
    assert [example.line for example in found.examples["copied"]] == list(range(1, EXAMPLES + 1))
    (malformed,) = found.examples["malformed"]
    assert (malformed.file, malformed.line, malformed.reason) == ("f", 31, "no pair")
    (long,) = found.examples["too-many-characters"]
    assert long.reason == "the target has more than 60 characters"
    assert long.excerpt == "ok ||| " + "x" * 120 + "…"


def test_validation_pairs_are_dropped_only_where_they_are_empty():
    found = judged(
        [("Berlin", "Berlin"), ("", "x"), ("x" * 5000, "y")], text_rules(DataConfig(), HELD_OUT, training=False)
    )
    assert found.verdicts.tolist() == [0, code("empty"), 0]


def test_the_default_rules_are_documented():
    names = active_rules(CleaningConfig(), text_rules(DataConfig(), HELD_OUT), training=True)
    assert set(RULES) - set(names) == {
        "wrong-script", "wrong-language", "held-out-sample", "held-out-ngram", "duplicate-source", "duplicate-target"
    }  # fmt: skip


def test_an_unknown_script_is_refused():
    with pytest.raises(
        UserError, match=r"data\.cleaning\.source_scripts: no script lattin; did you mean latin\?"
    ) as caught:
        text_rules(config(source_scripts=["lattin"]), HELD_OUT)
    assert "latin" in caught.value.hint


def test_language_identification_with_lingua():
    pytest.importorskip("lingua")
    settings = DataConfig.model_validate(
        {"source_language": "en", "target_language": "de-DE", "cleaning": {"min_language_confidence": 0.5}}
    )
    (rule,) = [rule for rule in text_rules(settings, HELD_OUT) if rule.name == "wrong-language"]
    english, german = "The weather is very nice today, isn't it?", "Das Wetter ist heute sehr schön, nicht wahr?"
    pairs = [(english, german), (german, german), (english, english), ("ja", "nein")]
    sides = [Texts([pair[side] for pair in pairs]) for side in (0, 1)]
    assert rule.broken(*sides).tolist() == [False, True, True, False]
    assert rule.reason(german, german) == "the source seems to be German, not English"
    assert rule.reason(english, english) == "the target seems to be English, not German"
    with pytest.raises(UserError, match="does not know the language xx"):
        text_rules(settings.model_copy(update={"source_language": "xx"}), HELD_OUT)


texts = st.lists(st.text(st.characters(codec="utf-8")), max_size=30)


@given(texts, st.integers(2, 9))
def test_repeats_equal_those_of_a_loop(lines, times):
    def longest(text):
        best = run = 0
        for n, character in enumerate(text):
            run = run + 1 if n and text[n - 1] == character else 1
            best = max(best, 0 if character.isspace() else run)
        return best

    lines = [*lines, "a" * times + "b", "b" + "a" * (times + 1), " " * (times + 5)]
    assert Texts(lines).repeats(times).tolist() == [longest(text) > times for text in lines]


@given(texts)
def test_character_kinds_agree_with_python(lines):
    found = Texts(lines)
    assert found.count(found.kinds == 1).tolist() == [sum(map(str.isspace, text)) for text in lines]
    assert found.having(1).tolist() == [any(map(str.isspace, text)) for text in lines]


@given(st.lists(st.integers(0, 8), max_size=60), st.data())
def test_repeated_rows_equal_those_of_a_dictionary(values, data):
    import tempfile
    from pathlib import Path

    spread = np.array(values, np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # over all files
    verdicts = np.array(
        data.draw(st.lists(st.sampled_from([0, 0, 1]), min_size=len(values), max_size=len(values))), np.uint8
    )
    seen, expected = {}, {}
    for row, value in enumerate(values):
        if verdicts[row] == 0 and seen.setdefault(value, row) != row:
            expected[row] = seen[value]
    with tempfile.TemporaryDirectory() as folder:
        store = Duplicates(Path(folder) / "spill")
        for start in range(0, len(values), 7):
            store.add(spread[start : start + 7], start)
        found = {}
        for rows, firsts in store.repeated(verdicts):
            found |= dict(zip(rows.tolist(), firsts.tolist(), strict=True))
    assert found == expected


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), unique=True, min_size=2))
def test_pair_hashes_depend_on_the_side(pairs):
    sides = [np.array(side, np.uint64) for side in zip(*pairs, strict=True)]
    assert len(set(pair_hashes(*sides).tolist())) == len(pairs)
    if pairs[0][0] != pairs[0][1]:
        assert pair_hashes(*sides)[0] != pair_hashes(*sides[::-1])[0]


def test_long_lines_of_unspaced_scripts_are_held_out_with_blanks_too():
    lines = ["使用 Python 编程的经验非常有用而且很有意思", "日本語の文章は\u3000空白がなくても読めます", "短い"]
    assert held_out(*lines).has_line(Texts(lines)).tolist() == [True, True, False]


def test_short_lines_are_not_held_out():
    lines = ["Datenschutzerklärung", "Allgemeine Geschäftsbedingungen", "one two three four", "one two three four 5"]
    lines += ["བཀྲ་ཤིས་བདེ་ལེགས་ཞུ་རྒྱུ་ཡིན"]  # Tibetan has no spaces between words
    assert held_out(*lines).has_line(Texts(lines)).tolist() == [False, False, False, True, True]


def test_words_of_an_ngram_keep_their_combining_marks():
    assert held_out("हिन्दी भाषा है", n=3).ngrams == {"हिन्दी भाषा है"}
    assert held_out("tie\u0302\u0301ng Vie\u0323\u0302t", n=2).ngrams == {"tiếng việt"}


def test_decomposed_letters_are_of_their_script():
    text = unicodedata.normalize("NFD", "Tiếng Việt rất đẹp và dễ học")
    config = CleaningConfig(source_scripts=["latin"], min_script_share=0.9)
    (rule,) = [one for one in text_rules(DataConfig(cleaning=config), HELD_OUT) if one.name == "wrong-script"]
    assert not rule.source(Texts([text])).any()


def test_lines_that_differ_in_composed_accents_only_are_held_out_and_duplicates():
    composed, decomposed = (
        Texts([unicodedata.normalize(form, "Tiếng Việt rất đẹp và dễ học")]) for form in ("NFC", "NFD")
    )
    assert composed.texts != decomposed.texts
    assert composed.hashes.tolist() == decomposed.hashes.tolist()  # what duplicates are found by
    assert held_out(*composed.texts).has_line(decomposed).all()


def test_a_held_out_line_is_held_out_of_both_sides():
    line = "this line is held out"
    rules = text_rules(config(), held_out(line))
    for pair in ((line, "drei kurze Worte"), ("drei kurze Worte", line)):
        assert judged([pair], rules).verdicts.tolist() == [code("held-out")]
