"""Early stopping: the best checkpoints, what is an improvement, and the reason."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.settings import load_config
from nmtcli.train.stopping import METRICS, EarlyStopping


def stopping(metric="bleu", patience=3, keep=2):
    overrides = [f"train.valid_metric={metric}", f"train.patience={patience}", f"train.keep_best={keep}"]
    return EarlyStopping.of(load_config(overrides=overrides))


values = st.lists(st.floats(0.001, 100) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=12)


def rank(metric, value, loss):
    """The least is the best: by the metric, what prints as zero being zero, then by the loss."""
    zero = METRICS[metric].sign > 0 and format(value, METRICS[metric].form) == format(0.0, METRICS[metric].form)
    return -METRICS[metric].sign * (0.0 if zero else value), loss


@given(st.sampled_from(["bleu", "chrf", "perplexity", "accuracy"]), values, st.integers(1, 4), st.data())
def test_patience_counts_from_the_last_improvement(metric, found, keep, data):
    tracked = stopping(metric, keep=keep)
    losses = data.draw(st.lists(st.floats(0.1, 9), min_size=len(found), max_size=len(found)))
    improved = [
        tracked.validated({metric: value, "loss": loss}, step)
        for step, (value, loss) in enumerate(zip(found, losses, strict=True), start=1)
    ]
    numbers = [
        (*rank(metric, value, loss), step)
        for step, (value, loss) in enumerate(zip(found, losses, strict=True), 1)
        if math.isfinite(value)
    ]
    ranked = sorted(numbers)
    assert [(*one.rank, one.step) for one in tracked.best] == ranked[:keep]
    assert tracked.best_step == (ranked[0][2] if ranked else None)
    assert any(improved) == bool(ranked)
    last = max((step for step, better in enumerate(improved, 1) if better), default=0)
    begun = [min((one[0] for one in numbers if one[2] <= step), default=0.0) for step in range(1, len(found) + 1)]
    waited = [step for step in range(last + 1, len(found) + 1) if METRICS[metric].sign < 0 or begun[step - 1] != 0]
    if all(math.isfinite(value) for value in found):
        assert tracked.without_improvement == len(waited)
    assert (tracked.reason() is not None) == (tracked.without_improvement >= 3)
    assert tracked.validated_step == len(found)
    resumed = stopping(metric, keep=keep)
    resumed.load(json.loads(json.dumps({**tracked.state(), "step": 12})))
    assert resumed == tracked


def test_zero_bleu_uses_no_patience_and_the_loss_breaks_ties():
    tracked = stopping("bleu", patience=2)
    losses = enumerate([5, 4, 6, 7, 8, 9], 1)
    improved = [tracked.validated({"bleu": 0.0, "loss": loss}, step) for step, loss in losses]
    assert improved == [True, True, False, False, False, False]
    assert (tracked.best_step, tracked.reason()) == (2, None)
    assert tracked.validated({"bleu": 0.5, "loss": 9}, 7)
    assert not any(tracked.validated({"bleu": 0.0, "loss": 1}, step) for step in (8, 9))
    assert tracked.reason() is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["train.valid_metric=chrf"], ["train.valid_metric=loss"]),
        (["train.valid_metric=loss"], ["train.valid_metric=loss", "train.label_smoothing=0"]),
        (["train.valid_sentences=100"], ["train.valid_sentences=200"]),
    ],
    ids=str,
)
def test_scores_of_another_metric_are_not_compared(before, after):
    tracked = EarlyStopping.of(load_config(overrides=before))
    tracked.validated({"chrf": 50.0, "bleu": 50.0, "loss": 0.5}, 10)
    other = EarlyStopping.of(load_config(overrides=after))
    other.load(tracked.state())
    assert (other.best, other.validated_step) == ([], 0)
    assert other.validated({"chrf": 1.0, "bleu": 1.0, "loss": 3.0}, 20)


@pytest.mark.parametrize("change", [["search.beam_size=1"], ["search.length_penalty=0.5", "search.beam_size=2"]])
def test_scores_of_other_decoding_settings_are_kept_until_a_validation(change):
    """A run that has ended has none, so it keeps its best checkpoint and does not go on."""
    tracked = EarlyStopping.of(load_config(overrides=["train.patience=1"]))
    for step, bleu in ((10, 50.0), (20, 40.0)):
        tracked.validated({"bleu": bleu, "loss": 0.5}, step)
    assert tracked.reason()
    state = tracked.state()
    for _ in range(2):  # resumed twice
        other = EarlyStopping.of(load_config(overrides=["train.patience=1", *change]))
        other.load(state)
        assert (other.best_step, other.validated_step) == (10, 20)
        assert other.reason() == tracked.reason()
        state = other.state()
    assert other.validated({"bleu": 30.0, "loss": 0.5}, 30)
    assert other.best_step == 30 and other.reason() is None
    again = EarlyStopping.of(load_config(overrides=["train.patience=1", *change]))
    again.load(other.state())
    assert not again.validated({"bleu": 20.0, "loss": 0.5}, 40)


@pytest.mark.parametrize(
    "after", [["search.batch_tokens=500"], ["search.beam_size=5"], ["train.label_smoothing=0"]], ids=str
)
def test_what_leaves_the_score_as_it_is_keeps_the_best(after):
    tracked = stopping("bleu")
    tracked.validated({"bleu": 50.0, "loss": 0.5}, 10)
    other = EarlyStopping.of(load_config(overrides=["train.valid_metric=bleu", *after]))
    other.load(tracked.state())
    assert other.best_step == 10


def test_scores_of_older_versions_are_read():
    tracked = stopping("bleu")
    tracked.load({"best": [[30.5, 400]], "without_improvement": 1, "validated_step": 500})
    assert (tracked.best_step, tracked.without_improvement) == (400, 1)
    assert not tracked.validated({"bleu": 30.0, "loss": 1.0}, 600)


@pytest.mark.parametrize(
    ("metric", "first", "worse", "words"),
    [
        ("chrf", 58.06, 57.9, "chrF did not improve in 3 validations (patience 3); best 58.1 at update 4,000"),
        ("bleu", 30.0, 30.0, "BLEU did not improve in 3 validations (patience 3); best 30.0 at update 4,000"),
        ("loss", 2.5, 2.6, "loss did not improve in 3 validations (patience 3); best 2.500 at update 4,000"),
        (
            "perplexity",
            8.25,
            9.0,
            "perplexity did not improve in 3 validations (patience 3); best 8.25 at update 4,000",
        ),
        ("accuracy", 0.614, 0.6, "accuracy did not improve in 3 validations (patience 3); best 61.4% at update 4,000"),
        ("loss", math.nan, math.nan, "loss was never a number in 4 validations"),
    ],
)
def test_the_reason_for_early_stopping_is_reported(metric, first, worse, words):
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
