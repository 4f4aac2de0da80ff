"""Preparation on a cluster: the pairs, the counts and the report of one machine."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra cluster")

from nmtcli.data.directory import open_data
from nmtcli.prepare import cluster as module
from tests.clusters import cluster
from tests.conftest import nmt

SETTINGS = ["--vocab-size", "400", "--set", "data.tokenizer.training_pairs=700"]
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), 2, "--no-nanny") as found:
        yield found


@pytest.fixture
def slices(monkeypatch):
    monkeypatch.setattr(module, "SLICE_BYTES", 20_000)


@pytest.fixture
def corpus(tmp_path, monkeypatch) -> list[str]:
    """Three corpora with all that a report counts, in the working directory."""
    monkeypatch.chdir(tmp_path)
    choose = random.Random(3)

    def text(longest: int = 25) -> str:
        return " ".join(choose.choices(WORDS, k=choose.randint(0, longest)))

    sides = {"a.en": [text() for _ in range(1500)], "a.de": [text() for _ in range(1500)]}
    dirty = ["", "x\0y", "<b>bold</b>", "copied", "a" * 3000, "one &amp; two", "crlf\r"]
    for lines in sides.values():
        for _ in range(60):
            lines[choose.randrange(1500)] = choose.choice(dirty)
    for lines in sides.values():
        lines[900:1000] = lines[100:200]
    for name, lines in sides.items():
        Path(name).write_bytes(b"\xef\xbb\xbf" + "".join(f"{line}\n" for line in lines).encode() + b"f\xfcr\n")
    pairs = [*zip(*(lines[:80] for lines in sides.values()), strict=True)]
    rows = [f"{one}\t{other}" for one, other in pairs] + [f"{text()}\t{text()}" for _ in range(400)] + ["no tab"]
    Path("b.tsv").write_text("\n".join(rows) + "\n", newline="")
    objects = [json.dumps({"translation": {"en": text(), "de": text()}}) for _ in range(300)]
    Path("c.jsonl").write_text("\n".join([*objects, "{broken"]) + "\n")
    for name in ("valid.en", "valid.de"):
        Path(name).write_text("".join(f"{text()} end\n" for _ in range(20)))
    Path("data.yaml").write_text(
        "data:\n"
        "  source_language: en\n  target_language: de\n"
        "  train:\n"
        "    - {name: a, source: a.en, target: a.de}\n"
        "    - {name: b, path: b.tsv, augment: {upper: 0.3}}\n"
        "    - {path: c.jsonl}\n"
        "  valid:\n    - {source: valid.en, target: valid.de}\n"
    )
    return ["-c", "data.yaml", *SETTINGS]


def pairs(directory: str) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    shards = open_data(Path(directory)).train
    import numpy as np

    sides = []
    for sentences in shards.gather(np.arange(len(shards))):
        ends = sentences.lengths.cumsum(dtype=np.int64)
        sides.append([tuple(one.tolist()) for one in np.split(sentences.ids, ends[:-1])])
    return Counter(zip(*sides, strict=True))


def same_content(one: str, other: str) -> None:
    assert (Path(one) / "report.json").read_text() == (Path(other) / "report.json").read_text()
    for name in ("tokenizer.model", "report.html"):
        assert (Path(one) / name).read_bytes() == (Path(other) / name).read_bytes()
    assert pairs(one) == pairs(other)
    assert open_data(Path(one)).valid.texts() == open_data(Path(other)).valid.texts()


def test_what_an_interrupted_run_still_writes_is_not_read_by_the_next(tmp_path):
    runs = [module._Run(*[None] * 6) for _ in range(2)]
    assert len({run.work(tmp_path) for run in runs}) == 2


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["data.cleaning.markup=mask", "data.protect=[number,url]"],
        ["data.cleaning.markup=strip", "data.cleaning.duplicate_sources=true", "data.cleaning.max_tokens=30"],
    ],
    ids=["plain", "masked", "stripped"],
)
def test_a_cluster_prepares_the_pairs_and_the_report_of_one_machine(made, slices, corpus, settings, capsys):
    options = [*corpus, *(part for one in settings for part in ("--set", one))]
    assert nmt("prepare", "-o", "one", *options, "--processes", "1") == 0
    assert nmt("prepare", "-o", "many", *options, "--scheduler", str(made.file)) == 0
    same_content("one", "many")
    assert len(list(Path("many/train").glob("*.arrow"))) > 5
    assert {path.name for path in Path("many").iterdir()} == {path.name for path in Path("one").iterdir()}
    assert not list(Path().glob(".*.partial"))
    capsys.readouterr()
    assert nmt("prepare", "-o", "many", *options, "--scheduler", str(made.file)) == 0
    assert "already prepared" in capsys.readouterr().err


def test_text_at_urls_and_word_alignment(made, slices, corpus, capsys):
    lines = [Path(f"a.{side}").read_bytes().splitlines() for side in ("en", "de")]
    clean = [pair for pair in zip(*lines, strict=True) if all(side.isascii() and side for side in pair)]
    for number, side in enumerate(("en", "de")):
        Path(f"clean.{side}").write_bytes(b"".join(pair[number] + b"\n" for pair in clean))
    Path("links").write_text("0-0\n" * len(clean))
    here = Path.cwd()
    files = [f"--train-source=file://{here}/clean.en", f"--train-target=file://{here}/clean.de"]
    files += ["--train-alignment=links", "--valid-source=valid.en", "--valid-target=valid.de", *SETTINGS]
    assert nmt("prepare", "-o", "one", *files) == 0
    assert nmt("prepare", "-o", "many", *files, "--scheduler", str(made.file)) == 0
    same_content("one", "many")
    assert open_data(Path("many")).train.aligned


@pytest.mark.parametrize("name", ["a.de", "valid.de"])
def test_text_that_changes_while_it_is_read_is_told(made, slices, corpus, capsys, monkeypatch, name):
    """After a worker has looked at it; validation text, after it was read."""
    inspect = module._Run.inspect

    def changing(self, *arguments, **options):
        found = inspect(self, *arguments, **options)
        os.utime(name, (1, 1))
        return found

    monkeypatch.setattr(module._Run, "inspect", changing)
    assert nmt("prepare", "-o", "data", *corpus, "--scheduler", str(made.file)) == 3
    assert f"{name}: changed while it was read" in capsys.readouterr().err
    assert not Path("data").exists()


def test_errors_of_text_and_settings(made, slices, corpus, capsys):
    scheduler = ["--scheduler", str(made.file)]
    assert nmt("prepare", "-o", "data", *corpus, *scheduler, "--hold-out", "5") == 2
    both = ["--set", "data.cleaning.duplicate_sources=true", "--set", "data.cleaning.duplicate_targets=true"]
    assert nmt("prepare", "-o", "data", *corpus, *scheduler, *both) == 2
    assert nmt("prepare", "-o", "data", *corpus, *scheduler, "--processes", "2") == 2
    os.truncate("a.en", 100)
    capsys.readouterr()
    assert nmt("prepare", "-o", "data", *corpus, *scheduler) == 3
    assert "the files must be line-aligned" in capsys.readouterr().err
    Path("c.jsonl").unlink()
    assert nmt("prepare", "-o", "data", *corpus, *scheduler) == 3
    assert "c.jsonl: no such file" in capsys.readouterr().err
    assert not list(Path().glob("*data*/"))
