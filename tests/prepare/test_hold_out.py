"""Held-out text: independent of the order of the corpus, no source on two sides, no bias."""

import random
from pathlib import Path

import numpy as np
import pytest

from nmtcli.cli import run
from nmtcli.data.directory import open_data
from nmtcli.prepare.hold_out import ranks
from nmtcli.prepare.report.report import Report

Pairs = list[tuple[str, str]]


@pytest.fixture
def pairs() -> Pairs:
    """Short sentences, some of them twice, some with two translations, some dirty."""
    choose = random.Random(3)
    words = ["cat", "dog", "mat", "sees", "and", "green", "old", "house", "tree", "bird"]
    sources = list(dict.fromkeys(" ".join(choose.choices(words, k=choose.randint(2, 4))) for _ in range(400)))[:300]
    pairs = [(source, source.upper()) for source in sources]
    return [
        *pairs,
        *pairs[:60],
        *((source, f"{target} !") for source, target in pairs[40:120]),
        ("", "x"),
        ("<b>", "y"),
    ]


def write(folder: Path, pairs: Pairs) -> Path:
    folder.mkdir()
    for name, texts in zip(("train.en", "train.de"), zip(*pairs, strict=True), strict=True):
        (folder / name).write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return folder


def prepare(folder: Path, output: Path, *more: object) -> int:
    text = ["--train-source", f"{folder}/train.en", "--train-target", f"{folder}/train.de"]
    return run(["prepare", "-o", str(output), *text, "-s", "en", "-t", "de", "--vocab-size", "330", *map(str, more)])


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def drawn(data: Path, split: str) -> Pairs:
    return list(zip(lines(data / f"{split}.en"), lines(data / f"{split}.de"), strict=True))


def trained_on(data: Path) -> set[str]:
    opened = open_data(data)
    source, _ = opened.train.gather(np.arange(len(opened.train)))
    ends = np.cumsum(source.lengths)
    return {opened.tokenizers.source.decode(part.tolist()) for part in np.split(source.ids, ends[:-1])}


def test_errors_of_rules_are_those_of_settings_with_several_processes(pairs, tmp_path, capsys):
    folder = write(tmp_path / "text", pairs)
    given = ["--hold-out", "5", "--set", "data.cleaning.source_scripts=[latim]"]
    for processes in (1, 2):
        assert prepare(folder, tmp_path / "data", *given, "--processes", processes) == 2
        told = capsys.readouterr().err
        assert "no script latim; did you mean latin?" in told and "Traceback" not in told


def test_held_out_sources_are_not_in_training_and_are_reported(pairs, tmp_path, capsys):
    folder = write(tmp_path / "text", pairs)
    assert prepare(folder, tmp_path / "data", "--hold-out", 30, "--hold-out-test", 20) == 0
    words = capsys.readouterr()
    assert "dropped: held-out-sample" in words.out
    assert "The rule held-out-sample" not in words.out  # it is what was asked for, and no finding
    assert f"test text: {tmp_path / 'data' / 'test.en'} and {tmp_path / 'data' / 'test.de'}" in words.err
    valid, test = drawn(tmp_path / "data", "valid"), drawn(tmp_path / "data", "test")
    assert (len(valid), len(test)) == (30, 20)
    assert {*valid, *test} <= set(pairs)
    sources = [source for source, _ in (*valid, *test)]
    assert len(set(sources)) == 50
    assert not set(sources) & trained_on(tmp_path / "data")
    report = Report.load(tmp_path / "data")
    of_drawn = sum(source in sources for source, _ in pairs)
    assert report.train.rules["held-out-sample"].dropped == of_drawn > 50
    assert report.valid.pairs_kept == 30
    assert len(open_data(tmp_path / "data").valid) == 30


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        (lambda text: text.replace(" ", "  ", 1), ()),
        (lambda text: text.replace(" ", "\u00a0"), ()),
        (lambda text: f"\ufeff {text}\u2003", ()),
        (str.upper, ("--set", "data.tokenizer.lowercase=true")),
    ],
    ids=["two blanks", "no-break space", "outer blanks", "case"],
)
def test_no_source_that_a_model_reads_is_in_both(pairs, tmp_path, change, settings):
    text = [spelling for pair in pairs for spelling in (pair, tuple(map(change, pair)))]
    assert prepare(write(tmp_path / "text", text), tmp_path / "data", "--hold-out", 30, *settings) == 0
    data = open_data(tmp_path / "data")
    train, valid = (
        [tuple(map(tuple, side.rows())) for side in split.gather(np.arange(len(split)))]
        for split in (data.train, data.valid)
    )
    assert not set(train[0]) & set(valid[0])
    kept = list(zip(*train, strict=True))
    assert len(set(kept)) == len(kept)  # duplicates are told in the same way


@pytest.mark.parametrize("seed", [1, 2])
def test_held_out_text_of_two_spellings_does_not_depend_on_their_order(tmp_path, seed):
    composed = [(f"caf\u00e9 {number}", f"Caf\u00e9 {number}") for number in range(60)]
    decomposed = [(f"cafe\u0301 {number}", f"Cafe\u0301 {number}") for number in range(60)]
    mixed = random.Random(seed).sample([*composed, *decomposed], 120)
    found = []
    for name, text in (("one", mixed), ("other", mixed[::-1])):
        assert prepare(write(tmp_path / name, text), tmp_path / f"{name}-data", "--hold-out", 20) == 0
        found.append(drawn(tmp_path / f"{name}-data", "valid"))
    assert found[0] == found[1]
    assert len({source for source, _ in found[0]}) == 20


def test_held_out_text_depends_on_the_seed_and_not_on_order_or_processes(pairs, tmp_path):
    shuffled = random.Random(1).sample(pairs, len(pairs))
    one, other = write(tmp_path / "one", pairs), write(tmp_path / "other", shuffled)
    options = ("--hold-out", 30, "--hold-out-test", 20)
    assert prepare(one, tmp_path / "a", *options) == 0
    assert prepare(other, tmp_path / "b", *options, "--processes", 2) == 0
    assert prepare(one, tmp_path / "c", *options, "--set", "data.seed=2") == 0
    a, b, c = ([drawn(tmp_path / name, split) for split in ("valid", "test")] for name in "abc")
    assert a == b
    assert a != c
    assert prepare(one, tmp_path / "a", *options) == 0  # known again
    assert prepare(one, tmp_path / "a", "--hold-out", 31, "--hold-out-test", 20) == 2


def test_a_longer_corpus_keeps_most_held_out_lines(pairs, tmp_path):
    """A pair stays drawn unless a new one has a lower rank: scores stay comparable."""
    assert prepare(write(tmp_path / "one", pairs), tmp_path / "a", "--hold-out", 50) == 0
    more = [(f"{source} {number}", target) for number, (source, target) in enumerate(pairs[:30])]
    assert prepare(write(tmp_path / "two", [*more, *pairs]), tmp_path / "b", "--hold-out", 50) == 0
    old, new = set(drawn(tmp_path / "a", "valid")), set(drawn(tmp_path / "b", "valid"))
    assert new - old <= set(more)


def test_held_out_lines_come_evenly_from_the_corpus():
    """Ranks of any hashes are uniform: ten parts, 2,000 lines drawn, none further than four deviations from 200."""
    hashes = np.arange(20_000, dtype=np.uint64)  # as unlike random ones as can be
    for seed in range(3):
        lowest = np.argsort(ranks(hashes, seed))[:2000]
        parts = np.bincount(lowest // 2000, minlength=10)
        assert np.abs(parts - 200).max() < 4 * np.sqrt(200 * 0.9)


def test_hold_out_with_given_text_or_tags_is_refused(pairs, tmp_path, capsys):
    folder = write(tmp_path / "text", pairs)
    given = ("--valid-source", folder / "train.en", "--valid-target", folder / "train.de")
    for code, words, options in (
        (2, "are mutually exclusive", ("--hold-out", 5, *given)),
        (2, "no validation text", ("--hold-out-test", 5)),
        (3, "only 300 different sources are clean", ("--hold-out", 200, "--hold-out-test", 100)),
        (2, "--hold-out", ("--hold-out", 0)),
    ):
        assert prepare(folder, tmp_path / "data", *options) == code
        assert words in capsys.readouterr().err
        assert not (tmp_path / "data").exists()


def test_a_dry_run_holds_out_text_and_writes_nothing(pairs, tmp_path, capsys):
    folder = write(tmp_path / "text", pairs)
    text = ["--train-source", f"{folder}/train.en", "--train-target", f"{folder}/train.de"]
    assert run(["prepare", "--dry-run", *text, "--hold-out", "30"]) == 0
    assert "dropped: held-out-sample" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_given_validation_text_with_held_out_test_text(pairs, tmp_path):
    folder = write(tmp_path / "text", pairs)
    valid = write(tmp_path / "valid", [(f"a valid sentence number {n}", f"ein Satz {n}") for n in range(5)])
    given = ("--valid-source", valid / "train.en", "--valid-target", valid / "train.de")
    assert prepare(folder, tmp_path / "data", "--hold-out-test", 7, *given) == 0
    assert len(drawn(tmp_path / "data", "test")) == 7
    assert not (tmp_path / "data" / "valid.en").exists()
