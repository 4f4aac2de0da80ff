"""The exposure-bias recipe: rows that differ in their objective, and a table and figure of finished runs."""

import importlib.util
import json
import re
import sys

import pytest

from nmtcli.settings import load_config, load_tree
from tests.conftest import ROOT

RECIPE = ROOT / "recipes" / "exposure-bias"
FILES = sorted((RECIPE / "rows").glob("*.yaml"))


@pytest.fixture(scope="module")
def exposure():
    spec = importlib.util.spec_from_file_location("exposure", RECIPE / "exposure.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["exposure"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_row_sets_its_training_only_and_cites_its_paper(file):
    tree, _ = load_tree(files=[file])
    assert tree.keys() == {"train"}
    load_config(files=[RECIPE / "base.yaml", file])
    assert re.match(r"# [^:]+ \d{4}[^:]*: ", file.read_text("utf-8"))


def test_makefile_readme_and_expected_scores_list_every_row(exposure):
    named = re.search(r"^ROWS \?= (.*)$", (RECIPE / "Makefile").read_text("utf-8"), re.MULTILINE)[1].split()
    assert sorted(named) == [file.stem for file in FILES]
    assert list(exposure.STYLES) == named
    assert list(json.loads((RECIPE / "expected.json").read_text("utf-8"))) == named
    told = re.findall(r"^\| ([a-z-]+) \| \[", (RECIPE / "README.md").read_text("utf-8"), re.MULTILINE)
    assert told == named


def finish(folder, trained, bleu):
    """A finished run as the Makefile leaves it."""
    folder.mkdir(parents=True)
    (folder / "run").symlink_to(trained)
    scores = [{"name": "BLEU", "value": bleu}, {"name": "chrF2", "value": 50.0}]
    (folder / "score.json").write_text(json.dumps({"systems": [{"scores": scores}]}))


def test_exposure_table_and_figure_show_the_runs_of_all_seeds(exposure, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exposure, "FEWEST", 1)
    for seed, bleu in ((1, 20.0), (2, 22.0), (10, 24.0)):
        finish(tmp_path / f"seed{seed}" / "teacher-forcing", trained, bleu)
    finish(tmp_path / "seed2" / "professor-forcing", trained, 21.0)
    exposure.main(tmp_path, ["teacher-forcing", "minimum-risk", "professor-forcing"])
    assert "left out: minimum-risk" in capsys.readouterr().err
    rows = [line.split(" | ") for line in (tmp_path / "exposure.md").read_text("utf-8").splitlines()[2:]]
    assert [row[1] for row in rows] == ["22.0 (20.0, 22.0, 24.0)", "21.0 (21.0)"]
    events = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    by_position = [event for event in events if event["event"] == "validated"][-1]["accuracy_by_position"]
    first = by_position["1-5"]
    assert rows[0][4] == f"{first['teacher_forced']:.1%} / {first['free_running']:.1%}"
    right = sum(part["free_running"] * part["tokens"] for part in by_position.values())
    assert rows[0][3] == f"{right / sum(part['tokens'] for part in by_position.values()):.1%}"
    assert (tmp_path / "exposure.png").read_bytes().startswith(b"\x89PNG")


def test_an_exposure_folder_without_finished_rows_is_refused(exposure, tmp_path):
    with pytest.raises(exposure.UserError, match="no row is finished"):
        exposure.main(tmp_path, ["teacher-forcing"])
