"""The attention ladder: rows of similar size, and a table of the scores of the runs."""

import importlib.util
import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import pytest

from nmtcli.metrics.scores import score_corpus
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.settings import load_config, load_tree
from tests.conftest import ROOT, TINY, nmt, overrides

LADDER = ROOT / "recipes" / "attention-ladder"
FILES = sorted((LADDER / "rows").glob("*.yaml"), key=lambda file: file.stem)
RUNS = ("seed1/plain", "seed2/plain", "seed1/attention-general")
each_row = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@pytest.fixture(scope="module")
def ladder():
    spec = importlib.util.spec_from_file_location("ladder", LADDER / "ladder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each_row
def test_a_row_sets_only_its_model_and_cites_its_paper(file):
    tree, _ = load_tree(files=[file])
    assert tree.keys() == {"model"}
    assert "hidden_size" not in str(tree["model"]), "widths are base.yaml's"
    assert re.match(r"# [^:]+ \d{4}[^:]*: ", file.read_text("utf-8"))


@each_row
def test_rows_have_similar_numbers_of_parameters(file):
    config = load_config(files=[LADDER / "base.yaml", file], overrides=["model.embedding.tie=all"])
    assert config.model.encoder.hidden_size == config.model.decoder.hidden_size == config.model.embedding.size
    assert 2.5e6 < parameter_count(Seq2Seq(config.model, 6000, 6000)) < 3.7e6


def test_makefile_and_readme_list_every_row_in_one_order():
    named = re.search(r"^ROWS \?= ((?:.*\\\n)*.*)$", (LADDER / "Makefile").read_text("utf-8"), re.MULTILINE)
    rows = named[1].replace("\\", "").split()
    assert sorted(rows) == [file.stem for file in FILES]
    told = re.findall(r"^\| ([a-z-]+) \|", (LADDER / "README.md").read_text("utf-8"), re.MULTILINE)
    assert told == ["row", *rows]


@pytest.fixture(scope="module")
def finished(corpus, data, trained, tmp_path_factory):
    """Two rows as the Makefile leaves them, one with two seeds, of real runs: sources, translations, scores."""
    work = tmp_path_factory.mktemp("ladder")
    (work / "test").mkdir()
    for side, name in (("words", "en"), ("digits", "de")):
        lines = (corpus / f"valid.{side}").read_text("utf-8").splitlines()
        for joined in (1, 2, 3):
            groups = [lines[start : start + joined] for start in range(0, len(lines) - joined + 1, joined)]
            (work / "test" / f"{joined}.{name}").write_text("".join(" ".join(group) + "\n" for group in groups))
    for run in RUNS:
        (work / run).mkdir(parents=True)
    (work / "seed1" / "attention-general" / "run").symlink_to(trained)
    row = ["-c", LADDER / "rows" / "plain.yaml", "--device", "cpu"]
    for seed in (1, 2):
        settings = overrides(*TINY, f"train.seed={seed}")
        assert nmt("train", data, "-o", work / f"seed{seed}" / "plain" / "run", *row, *settings) == 0
    for run in RUNS:
        for joined in (1, 2, 3):
            source, translation = work / "test" / f"{joined}.en", work / run / f"{joined}.de"
            assert nmt("translate", "-m", work / run / "run", "-i", source, "-o", translation) == 0
    return work


def score_runs(work, capsys):
    for run in RUNS:
        capsys.readouterr()
        assert nmt("score", work / run / "1.de", "-r", work / "test" / "1.de", "--metric", "bleu,chrf", "--json") == 0
        (work / run / "score.json").write_text(capsys.readouterr().out)


def test_table_and_figures_show_the_scores_of_the_runs(ladder, finished, capsys):
    score_runs(finished, capsys)
    ladder.main(finished, ["plain", "attention-general", "transformer"])
    assert "not finished, left out: transformer" in capsys.readouterr().err
    text = (finished / "ladder.md").read_text("utf-8")
    rows = {line.split(" | ")[0].removeprefix("| "): line.split(" | ") for line in text.splitlines()[2:4]}
    assert list(rows) == ["plain", "attention-general"]
    reference = (finished / "test" / "1.de").read_text("utf-8").splitlines()
    for name, cells in rows.items():
        folders = [finished / run for run in RUNS if run.endswith(name)]
        started = json.loads((folders[0] / "run" / "metrics.jsonl").read_text("utf-8").splitlines()[0])
        assert cells[2] == f"{started['parameters']:,}"
        scores = [score_corpus((one / "1.de").read_text("utf-8").splitlines(), [reference]) for one in folders]
        bleu, chrf = ([score.value for score in values] for values in zip(*scores, strict=True))
        each = ", ".join(f"{value:.1f}" for value in bleu)
        spread = f" ± {stdev(bleu):.1f} ({each})" if len(bleu) > 1 else ""
        assert cells[6] == f"{mean(bleu):.1f}{spread}"
        assert cells[7] == f"{mean(chrf):.1f}"
    assert rows["plain"][1] == "Sutskever et al. 2014"
    assert "12 updates" in text and "seeds 1, 2" in text and "BLEU|nrefs:1" in text
    for figure in ("ladder", "length", "curves"):
        assert (finished / f"{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_different_budgets_are_refused(ladder, finished, data, tmp_path, capsys):
    score_runs(finished, capsys)
    for part in ("test", "seed2"):
        (tmp_path / part).symlink_to(finished / part)
    other = tmp_path / "seed1" / "bahdanau"
    other.mkdir(parents=True)
    for file in ("1.de", "2.de", "3.de", "score.json"):
        (other / file).symlink_to(finished / "seed1" / "plain" / file)
    shorter = overrides(*TINY, "train.max_updates=6")
    assert nmt("train", data, "-o", other / "run", "--device", "cpu", *shorter) == 0
    with pytest.raises(ladder.UserError, match="plain 12, bahdanau 6"):
        ladder.main(tmp_path, ["plain", "bahdanau"])


def test_repeated_updates_count_once(ladder, tmp_path):
    steps = [("started", 0), ("updated", 2), ("validated", 4), ("updated", 4), ("started", 2), ("validated", 4)]
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(json.dumps({"event": event, "step": step}) + "\n" for event, step in steps))
    kept = [(event["event"], event["step"]) for event in ladder.read_events(log)]
    assert kept == [("started", 0), ("updated", 2), ("started", 2), ("validated", 4)]


@pytest.mark.parametrize("lengths", [[5], [7] * 9, list(range(40)), [4, 4, 4, 4, 4, 9, 12, 12, 30]])
def test_quarters_hold_every_length_once(ladder, lengths):
    parts = ladder.quarters(lengths)
    assert 1 <= len(parts) <= 4
    for length in lengths:
        assert sum(length in part for part in parts) == 1
    if len(set(lengths)) == len(lengths) >= 4:
        assert len({sum(length in part for length in lengths) for part in parts}) == 1


@pytest.mark.parametrize("values", [[1.0], [1, 1, 1, 1], [0, 0.1, 0.2, 5, 5], [0, 2, 2.5, 9]])
def test_labels_keep_their_order_and_their_distance(ladder, values):
    places = ladder.apart(values, 0.5)
    assert len(places) == len(values)
    assert all(after - before >= 0.5 - 1e-9 for before, after in pairwise(places))
    assert sum(places) == pytest.approx(sum(values))


def test_captions_are_joined_line_by_line(tmp_path):
    """Two and three neighbours, what is left over is left out, blanks and all else as they were."""
    text = tmp_path / "text" / "multi30k"
    text.mkdir(parents=True)
    for name in ("en", "de"):
        (text / f"test.{name}").write_text("".join(f"{name} {number}, it's a «1/2» \\n\n" for number in range(7)))
    work = tmp_path / "work"
    targets = [f"{work}/test/{joined}.de" for joined in (1, 2, 3)]
    command = ["make", *targets, f"WORK={work}", f"NMT_DATA={tmp_path / 'text'}"]
    subprocess.run(command, cwd=LADDER, check=True, capture_output=True)
    lines = (text / "test.de").read_text().splitlines()
    for joined, target in zip((1, 2, 3), targets, strict=True):
        whole = range(0, 7 - joined + 1, joined)
        assert Path(target).read_text().splitlines() == [" ".join(lines[k : k + joined]) for k in whole]
