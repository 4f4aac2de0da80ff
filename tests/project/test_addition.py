"""The addition recipe: right answers, unique questions, and the figure of a run."""

import importlib.util
import json
import subprocess
import sys
from itertools import islice
from random import Random

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "recipes" / "addition" / "addition.py"


def load():
    spec = importlib.util.spec_from_file_location("addition", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["addition"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


addition = load()
PARTS = ("train", "valid", "test")


def read(directory, part):
    """Pairs of question and answer."""
    sides = [(directory / f"{part}.{side}").read_text().splitlines() for side in ("question", "answer")]
    return list(zip(*sides, strict=True))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    directory = tmp_path_factory.mktemp("addition")
    addition.write(directory, seed=1, pairs=4000, reverse=False)
    return directory


def test_addition_corpus_sizes_and_sums(text):
    assert [len(read(text, part)) for part in PARTS] == [4000, addition.VALID, addition.TEST]
    for part in PARTS:
        assert all(str(sum(map(int, question.split("+")))) == answer for question, answer in read(text, part))


def test_addition_questions_are_unique(text):
    asked = [question for part in PARTS for question, _ in read(text, part)]
    assert len({frozenset(question.split("+")) for question in asked}) == len(asked)


def test_every_part_has_numbers_of_every_length(text):
    for part in PARTS:
        lengths = {len(number) for question, _ in read(text, part) for number in question.split("+")}
        assert lengths == {1, 2, 3}


def test_addition_corpus_depends_on_the_seed_only(text, tmp_path):
    for name, seed in (("again", 1), ("other", 2)):
        addition.write(tmp_path / name, seed, pairs=4000, reverse=False)
    assert all((text / path.name).read_bytes() == path.read_bytes() for path in (tmp_path / "again").iterdir())
    assert len(set(read(text, "train")) & set(read(tmp_path / "other", "train"))) < 1000
    assert list(islice(addition.questions(Random(3)), 9)) == list(islice(addition.questions(Random(3)), 9))


def test_reversed_questions_are_the_same_from_their_end(text, tmp_path):
    addition.write(tmp_path, seed=1, pairs=4000, reverse=True)
    assert read(tmp_path, "test") == [(question[::-1], answer) for question, answer in read(text, "test")]


def test_too_many_pairs_are_refused(tmp_path):
    command = [sys.executable, str(SCRIPT), "write", str(tmp_path), "--pairs", "999999"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--pairs must be" in done.stderr


def test_addition_figure_and_table_show_the_logged_scores(tmp_path, monkeypatch, capsys):
    """The first three updates were done twice: a killed run lost the end of its epoch."""
    references = tmp_path / "test.answer"
    references.write_text("596\n7\n80\n99\n")
    for name, exact, answers in (
        ("attention", (0.5, 0.99, 0.985), "596\n7\n80\n99\n"),
        ("context", (0.1, 0.6, 0.98), "596\n7\n80\n9\n"),
        ("plain", (0.0, 0.1, 0.2), "\n7\n8\n9\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.answer").write_text(answers)
        records = [{"event": "started", "step": 0, "parameters": 77_760}]
        for epoch, share in ((1, 0.0), *enumerate(exact, 1)):
            records.append({"event": "updated", "step": 3 * epoch, "epoch": float(epoch)})
            records.append({"event": "validated", "step": 3 * epoch, "exact_match": share, "accuracy": 0.9})
            if len(records) == 3:
                records.append({"event": "started", "step": 0, "parameters": 77_760})
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr(sys, "argv", ["addition.py", "draw", str(tmp_path), str(references)])
    addition.main()
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["attention"] == ["77,760", "2.0", "0.985", "1.000", "0.900"]
    assert rows["context"] == ["77,760", "3.0", "0.980", "0.750", "0.900"]
    assert rows["plain"] == ["77,760", "never", "0.200", "0.250", "0.900"]
    assert (tmp_path / "addition.png").read_bytes().startswith(b"\x89PNG")
