"""Cleaning rules: what each drops, in which order, and what is remembered of it."""

from pathlib import Path

import pytest

from nmtcli.config import DataConfig
from nmtcli.prepare.cleaning import Drops, EncodedPair, clean, clean_encoded, text_rules, token_rules
from nmtcli.prepare.corpus import InvalidPair, SentencePair

CONFIG = DataConfig(max_characters=5, max_tokens=3)
FILE = Path("train.de")


def dropped(source: str, target: str, *, training: bool = True) -> list[str]:
    rules = text_rules(CONFIG, training=training)
    drops = Drops(rules)
    kept = list(clean([SentencePair(source, target, 7)], rules, drops, FILE))
    assert len(kept) + sum(drops.counts.values()) == 1
    return [rule for rule, count in drops.counts.items() if count]


@pytest.mark.parametrize(
    ("source", "target", "rules"),
    [
        ("a", "b", []),
        ("", "b", ["empty"]),
        ("a", " \t\u3000", ["empty"]),
        ("abcde", "猫猫猫猫猫", []),
        ("a", "abcdef", ["too-many-characters"]),
        ("", "abcdef", ["empty"]),
    ],
)
def test_the_first_broken_rule_drops_a_training_pair(source, target, rules):
    assert dropped(source, target) == rules


def test_validation_pairs_are_not_dropped_for_their_length():
    assert dropped("abcdef", "abcdef", training=False) == []
    assert dropped("abcdef", " ", training=False) == ["empty"]
    long = EncodedPair(SentencePair("a", "b", 1), [5] * 9, [5] * 9)
    rules = token_rules(CONFIG, training=False)
    assert clean_encoded([long], rules, Drops([], rules), FILE) == [long]


def test_token_rules_see_ids():
    rules = token_rules(CONFIG, training=True)
    drops = Drops([], rules)
    pairs = [EncodedPair(SentencePair("x", "y", n), [5] * n, [5] * max(5 - n, 0)) for n in range(6)]
    assert [pair.text.line for pair in clean_encoded(pairs, rules, drops, FILE)] == [2, 3]
    assert drops.counts == {"invalid-utf8": 0, "empty": 2, "too-many-tokens": 2}
    assert drops.examples["empty"][0].reason == "nothing is left of the source after normalisation"
    assert drops.examples["too-many-tokens"][0].reason == "the target has 4 tokens, 3 are allowed"


def test_the_first_ten_examples_are_kept():
    rules = text_rules(CONFIG, training=True)
    drops = Drops(rules)
    pairs = [SentencePair("x" * 200, "y", n) for n in range(1, 31)]
    assert list(clean([InvalidPair(Path("train.en"), 4, 2, "f\ufffdr"), *pairs], rules, drops, FILE)) == []
    (invalid,) = drops.examples["invalid-utf8"]
    assert (invalid.file, invalid.line, invalid.reason) == ("train.en", 4, "byte 2 of the line is not UTF-8")
    examples = drops.examples["too-many-characters"]
    assert drops.counts["too-many-characters"] == 30
    assert [example.line for example in examples] == list(range(1, 11))
    assert examples[0].excerpt == "x" * 80 + "… ||| y"
    assert examples[0].file == "train.de"
