"""Scores of empty and very short text: every resample has a score, and equal systems do not differ."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.metrics.scores import make_metrics, score_corpus
from nmtcli.score.significance import compare
from tests.conftest import nmt

METRICS = ("bleu", "chrf", "ter")
line = st.sampled_from(["", "a", "good day", "\u2028", "...", "x y z w v", "\ud55c\uad6d\uc5b4", "  "])


@settings(max_examples=30)
@given(st.lists(st.tuples(line, line), min_size=1, max_size=4))
def test_any_text_has_scores_and_intervals(pairs):
    hypotheses, reference = (list(sides) for sides in zip(*pairs, strict=True))
    for one in score_corpus(hypotheses, [reference], METRICS, bootstrap=5):
        assert all(type(value) is float and math.isfinite(value) for value in (one.value, one.low, one.high))
        json.dumps(one.value)


@pytest.mark.parametrize("method", ["bootstrap", "randomization"])
@pytest.mark.parametrize(
    "lines", [["good day", "", "bye now"], ["", "", ""], ["good day", "xyz", "bye now"]], ids=["some", "empty", "same"]
)
def test_equal_systems_have_p_1_and_the_better_of_others_is_named(method, lines, monkeypatch):
    reference = ["good day", "xyz", "bye now"]
    systems = [lines, list(lines), [""] * 3, reference]
    found = compare(systems, make_metrics(METRICS, [reference]), method).systems
    assert {one.p_value for one in found[0].values()} == {None}
    assert {(one.p_value, one.better) for one in found[1].values()} == {(1.0, None)}
    for system in (2, 3):
        for name, one in found[system].items():
            first = found[0][name].score
            if one.score == first:
                assert (one.p_value, one.better) == (1.0, None)
            else:
                assert one.better == ((one.score < first) if name == "TER" else (one.score > first))
                assert 0 < one.p_value <= 1


def test_score_command_scores_empty_lines_and_prints_the_direction(write_texts, capsys):
    lines = [f"line {n} is here and there" for n in range(30)]
    write_texts(hyp=["good day", "", "bye now"], ref=["good day", "xyz", "bye now"], good=lines, bad=["x"] * 30)
    assert nmt("score", "hyp", "-r", "ref", "--metric", "bleu,chrf,ter", "--json") == 0
    capsys.readouterr()
    assert nmt("score", "good", "bad", "-r", "good", "--paired", "bootstrap", "--metric", "bleu,ter") == 0
    assert capsys.readouterr().out.count("* worse") == 2


@pytest.mark.parametrize("number", ["\u00b2", "", "1e9", "nan", "\u0663", "-1", "1.2.3"])
def test_a_threshold_that_is_not_a_number_is_refused(write_texts, capsys, number):
    write_texts(hyp=["one"], ref=["one"])
    assert nmt("score", "hyp", "-r", "ref", "--at-least", f"bleu={number}") == 2
    assert "cannot read" in capsys.readouterr().err
