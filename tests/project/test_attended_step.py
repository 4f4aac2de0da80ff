"""The attended-step recipe: attention finds the deciding step."""

import importlib.util
import json
import sys
from itertools import product

import pytest
import torch

from tests.conftest import ROOT

SCRIPT = ROOT / "recipes" / "attended-step" / "attended_step.py"


def load():
    spec = importlib.util.spec_from_file_location("attended_step", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["attended_step"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


recipe = load()
COMBINATIONS = list(product(recipe.PLACES, recipe.WEIGHTS))


def test_attended_step_labels_depend_on_one_step():
    series, labels = recipe.draw_series(500, 7, torch.Generator().manual_seed(1))
    assert torch.equal(labels, (series[:, 7].sum(dim=1) > 0).float())
    assert 0.4 < labels.mean() < 0.6


@pytest.mark.parametrize(("place", "kind"), COMBINATIONS)
def test_weights_are_shares_of_the_steps(place, kind):
    torch.manual_seed(0)
    series, _ = recipe.draw_series(6, 2, torch.Generator().manual_seed(1))
    scores, weights = recipe.Classifier(place, kind)(series)
    features = 1 if kind == "shared" else recipe.FEATURES if place == "before" else recipe.UNITS
    assert scores.shape == (6,)
    assert weights.shape == (6, recipe.STEPS, features)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(6, features))


def test_attention_weights_find_the_deciding_step():
    found = recipe.train("before", "shared", step=4, seed=1, updates=700)
    assert found.heaviest == 4
    assert found.accuracy > 0.85


def test_attended_step_table_and_figure_are_written(tmp_path):
    weights = torch.full((recipe.STEPS, 2), 0.5 / (recipe.STEPS - 1))
    weights[3] = 0.5
    findings = [recipe.Finding(place, kind, 0.9, weights) for place, kind in COMBINATIONS]
    lines = list(recipe.table(findings, 3))
    assert all(line.endswith("4 (right)") for line in lines[2:])
    assert list(recipe.table(findings, 5))[2].endswith("4 (wrong)")
    recipe.draw(findings, 3, tmp_path / "work" / "weights.png")
    assert (tmp_path / "work" / "weights.png").read_bytes().startswith(b"\x89PNG")


EXPECTED = json.loads(recipe.EXPECTED.read_text("utf-8"))


def test_attended_step_expects_a_score_of_each_classifier():
    assert list(EXPECTED) == [f"{place} {kind}" for place, kind in COMBINATIONS]
    for figures in EXPECTED.values():
        assert figures
        for figure in figures:
            assert figure.keys() == {"metric", "score", "tolerance", "signature", "source"}
            assert figure["metric"] == "accuracy"
            assert figure["signature"] == recipe.signature()
            assert 0 < figure["tolerance"] < 5 < figure["score"] <= 100
    readme = (SCRIPT.parent / "README.md").read_text("utf-8")
    assert all(f"| {figure['score']} % |" in readme for figures in EXPECTED.values() for figure in figures)


def test_attended_step_check_names_low_scores():
    weights = torch.zeros(recipe.STEPS, 2)
    weights[3] = 1.0
    findings = [recipe.Finding(place, kind, 0.97, weights) for place, kind in COMBINATIONS]
    assert recipe.shortfalls(findings, 3, EXPECTED) == []
    late = recipe.shortfalls(findings, 2, EXPECTED)
    assert [line.partition(":")[0] for line in late] == [
        f"attention before the LSTM, {kind}" for kind in recipe.WEIGHTS
    ]
    findings[2] = recipe.Finding("after", "shared", 0.9, weights)
    [low] = recipe.shortfalls(findings, 3, EXPECTED)
    assert low.startswith("attention after the LSTM, shared: accuracy 90.0%, expected 98.3 - 3.0 (measured")
    other = {
        row: [figure | {"signature": "accuracy|test:9"} for figure in figures] for row, figures in EXPECTED.items()
    }
    assert len(recipe.shortfalls(findings, 3, other)) == len(COMBINATIONS)
