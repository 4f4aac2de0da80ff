"""Gradients that are not finite: updates are skipped, training returns to an earlier checkpoint or stops."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from nmtcli.checkpoint import RunDirectory
from nmtcli.train.checkpointing import SkippedUpdates
from nmtcli.train.interrupts import Interrupts
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.recovery import FEW, Recovery
from tests.laws.test_training_laws import assert_same_run, weights
from tests.train.runs import break_updates, events, ordinary, train


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_an_update_with_gradients_that_are_not_finite_is_skipped(data, tmp_path, monkeypatch, broken):
    break_updates(monkeypatch, {5}, broken)
    assert train(data, tmp_path / "run") == 0
    skipped = [event["skipped"] for event in events(tmp_path / "run", "updated")]
    assert skipped == [0] * 4 + [1] * 8
    assert all(tensor.isfinite().all() for tensors in weights(tmp_path / "run") for tensor in tensors.values())


def test_a_loss_that_is_not_finite_is_null_in_the_log(data, tmp_path, monkeypatch):
    break_updates(monkeypatch, {5})
    assert train(data, tmp_path / "run") == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in lines
    assert "Infinity" not in lines


def test_divergence_loads_earlier_checkpoints_with_half_the_learning_rate(data, tmp_path, monkeypatch, capsys):
    tried = []

    def forward(self, batch, update):
        tried.append(update)
        loss, sums = ordinary(self, batch, update)
        return (loss * float("nan") if 7 <= update <= 12 and tried.count(7) < 3 else loss), sums

    monkeypatch.setattr(TrainingLoss, "forward", forward)
    assert train(data, tmp_path / "run", "train.max_skipped=3", "train.schedule=constant") == 0
    recovered = events(tmp_path / "run", "recovered")
    assert [(event["step"], event["to_step"]) for event in recovered] == [(9, 6), (9, 3)]  # further back each time
    assert [event["rate_scale"] for event in recovered] == [0.5, 0.25]
    rates = [event["learning_rate"] for event in events(tmp_path / "run", "updated") if event["step"] in (6, 12)]
    assert rates[-1] == pytest.approx(0.25 * rates[0])
    state = json.loads((RunDirectory(tmp_path / "run").pointer("last") / "state.json").read_text())
    assert (state["recoveries"], state["rate_scale"], state["step"]) == (2, 0.25, 12)


def test_divergence_before_the_first_checkpoint_restarts(data, tmp_path, monkeypatch):
    tried = []

    def forward(self, batch, update):
        tried.append(update)
        loss, sums = ordinary(self, batch, update)
        return (loss * float("nan") if tried.count(1) < 3 else loss), sums  # once in the rehearsal

    monkeypatch.setattr(TrainingLoss, "forward", forward)
    assert train(data, tmp_path / "broken", "train.max_skipped=2") == 0
    assert [event["to_step"] for event in events(tmp_path / "broken", "recovered")] == [0]
    monkeypatch.setattr(TrainingLoss, "forward", ordinary)
    assert train(data, tmp_path / "whole", "train.learning_rate=1.5e-3") == 0  # half the default
    assert_same_run(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.parametrize("persistent", [True, False])
def test_repeated_divergence_stops_with_the_batch_saved(data, tmp_path, monkeypatch, capsys, persistent):
    break_updates(monkeypatch, set(range(7, 13)))
    settings = ["train.max_skipped=3", *([] if persistent else ["train.on_divergence=stop"])]
    assert train(data, tmp_path / "run", *settings) == 5
    words = capsys.readouterr().err
    assert "training diverged: 3 consecutive updates, up to 9, had non-finite gradients" in words
    assert len(events(tmp_path / "run", "recovered")) == (5 if persistent else 0)
    pairs = [json.loads(line) for line in (tmp_path / "run" / "diverged-9.jsonl").read_text().splitlines()]
    assert pairs
    assert all(
        set(pair["source"].split()) <= {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
        for pair in pairs
    )
    assert RunDirectory(tmp_path / "run").steps()[-1] == 6
    monkeypatch.setattr(TrainingLoss, "forward", ordinary)
    assert train(data, tmp_path / "run", *settings) == 0


def test_giving_up_leaves_the_checkpoints_of_the_first_attempt(data, tmp_path, monkeypatch):
    """They are the best ones: the later attempts had lower rates, and saved checkpoints of the same updates."""
    break_updates(monkeypatch, set(range(13, 30)))
    settings = ["train.max_updates=30", "train.max_skipped=3", "train.schedule=constant", "train.valid_metric=loss"]
    assert train(data, tmp_path / "whole", *settings, "train.keep_last=9", "train.on_divergence=stop") == 5
    assert train(data, tmp_path / "run", *settings, "train.keep_last=9") == 5
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "run")
    assert run.steps() == whole.steps() == [3, 6, 9, 12]
    assert run.pointer("best").name == whole.pointer("best").name
    for step in run.steps():
        weights = [(one.checkpoint(step) / "model.safetensors").read_bytes() for one in (whole, run)]
        assert weights[0] == weights[1], step
    state = json.loads((run.pointer("last") / "state.json").read_text())
    assert (state["step"], state["rate_scale"], state["recoveries"]) == (12, 1.0, 0)
    monkeypatch.setattr(TrainingLoss, "forward", ordinary)
    assert train(data, tmp_path / "run", *settings, "train.keep_last=9") == 0
    assert not list(run.checkpoints.glob(".*"))


def test_fallback_precision_is_kept_after_a_resume(data, tmp_path, monkeypatch):
    def forward(self, batch, update):
        loss, sums = ordinary(self, batch, update)
        return (loss * float("nan") if torch.is_autocast_enabled("cpu") and update > 6 else loss), sums

    monkeypatch.setattr(TrainingLoss, "forward", forward)
    settings = ["train.max_skipped=3", "train.on_divergence=safer_precision", "train.precision=bf16"]
    assert train(data, tmp_path / "run", *settings, "train.max_updates=10") == 0
    (recovered,) = events(tmp_path / "run", "recovered")
    assert (recovered["precision"], recovered["rate_scale"]) == ("fp32", 1.0)
    assert train(data, tmp_path / "run", *settings) == 0
    assert [event["precision"] for event in events(tmp_path / "run", "started")] == ["bf16", "fp32"]
    assert events(tmp_path / "run", "updated")[-1]["skipped"] == 0


def test_no_checkpoint_or_validation_while_updates_are_skipped(data, tmp_path, monkeypatch):
    break_updates(monkeypatch, {5, 6, 7})
    assert train(data, tmp_path / "run", "train.keep_last=99", "train.valid_every=6") == 0
    assert RunDirectory(tmp_path / "run").steps() == [3, 8, 9, 12]  # what was due at 6 is done after the next update
    assert [event["step"] for event in events(tmp_path / "run", "validated")] == [8, 12]


def test_a_destructive_learning_rate_loses_no_good_checkpoint(data, run, capsys):
    settings = ["train.max_updates=40", "train.save_every=1", "train.max_skipped=4", "train.schedule=constant"]
    code = train(data, run, *settings, "train.learning_rate=3e38", options=["--allow-changes"])
    assert code == 5
    assert "training diverged" in capsys.readouterr().err
    saved = [tensor for tensors in weights(run) for tensor in tensors.values()]
    assert all(tensor.isfinite().all() for tensor in saved)
    backwards = [event["to_step"] for event in events(run, "recovered")]
    assert backwards == sorted(backwards, reverse=True) and backwards[-1] < backwards[0]


def test_skipped_updates_at_the_end_are_divergence(data, tmp_path, monkeypatch, capsys):
    break_updates(monkeypatch, set(range(7, 20)))
    assert train(data, tmp_path / "run", "train.max_skipped=5", "train.on_divergence=stop") == 5
    assert RunDirectory(tmp_path / "run").steps() == [3, 6]


def test_few_skipped_updates_do_not_keep_a_signal_from_saving():
    """fp16 skips an update whenever its loss scale was too large."""
    skipped, finite = SkippedUpdates(torch.device("cpu")), True
    recovery = Recovery(SimpleNamespace(skipped=skipped, is_finite=lambda: finite), total=100)
    for in_a_row in range(FEW + 2):
        assert recovery.is_saveable() == (in_a_row <= FEW)
        skipped.add(torch.tensor(False))
    skipped.add(torch.tensor(True))
    assert recovery.is_saveable()
    finite = False
    assert not recovery.is_saveable()


def test_signals_are_left_alone_outside_the_main_thread():
    def enter():
        with Interrupts() as interrupts:
            return interrupts.received

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() is None
