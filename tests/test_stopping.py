"""Early stopping: the list of the best, what counts as an improvement, and the reason in words."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.settings import load_config
from nmtcli.train.stopping import METRICS, EarlyStopping


def stopping(metric="bleu", patience=3, keep=2):
    overrides = [f"train.valid_metric={metric}", f"train.patience={patience}", f"train.keep_best={keep}"]
    return EarlyStopping.of(load_config(overrides=overrides).train)


values = st.lists(st.floats(0.001, 100) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=12)


@given(st.sampled_from(sorted(METRICS)), values, st.integers(1, 4))
def test_the_best_are_those_of_all_validations_and_waiting_counts_from_the_last_improvement(metric, found, keep):
    tracked = stopping(metric, keep=keep)
    improved = [tracked.validated({metric: value, "other": 1}, step) for step, value in enumerate(found, start=1)]
    numbers = [(METRICS[metric].sign * value, step) for step, value in enumerate(found, 1) if math.isfinite(value)]
    ranked = sorted(numbers, key=lambda entry: (-entry[0], entry[1]))
    assert tracked.best == ranked[:keep]
    assert tracked.best_step == (ranked[0][1] if ranked else None)
    assert any(improved) == bool(ranked)
    last = max((step for step, better in enumerate(improved, 1) if better), default=0)
    assert tracked.without_improvement == len(found) - last
    assert (tracked.reason() is not None) == (tracked.without_improvement >= 3)
    assert tracked.validated_step == len(found)
    resumed = stopping(metric, keep=keep)
    resumed.load(json.loads(json.dumps({**tracked.state(), "step": 12})))
    assert resumed == tracked


@pytest.mark.parametrize(
    ("metric", "first", "worse", "words"),
    [
        ("chrf", 58.06, 57.9, "chrF did not improve in 3 of 3 validations; best 58.1 at 4,000"),
        ("bleu", 30.0, 30.0, "BLEU did not improve in 3 of 3 validations; best 30.0 at 4,000"),
        ("loss", 2.5, 2.6, "loss did not improve in 3 of 3 validations; best 2.500 at 4,000"),
        ("perplexity", 8.25, 9.0, "perplexity did not improve in 3 of 3 validations; best 8.25 at 4,000"),
        ("accuracy", 0.614, 0.6, "accuracy did not improve in 3 of 3 validations; best 61.4% at 4,000"),
        ("loss", math.nan, math.nan, "loss was never a number in 4 validations"),
    ],
)
def test_the_reason_has_words(metric, first, worse, words):
    tracked = stopping(metric)
    tracked.validated({metric: first}, 4000)
    for step in (5000, 6000, 7000):
        assert tracked.reason() is None or math.isnan(first)
        tracked.validated({metric: worse}, step)
    assert tracked.reason() == words


def test_without_patience_nothing_stops():
    tracked = stopping(patience="null")
    for step in range(50):
        tracked.validated({"bleu": 1.0}, step)
    assert tracked.reason() is None
    assert tracked.without_improvement == 49
