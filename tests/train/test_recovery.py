"""Recovery of training: gradients that are not finite, out of memory, changed settings, a killed process."""

import json
from itertools import pairwise

import pytest
import torch

from nmtcli.checkpoint import RunDirectory
from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, nmt, overrides
from tests.laws.test_training_laws import assert_same_run, weights

WITHOUT_DROPOUT = ["model.dropout=0", "train.precision=fp32", "train.log_every=1"]
ordinary = TrainingLoss.forward


# as PyTorch (older and newer) and NumPy say it on a CPU
OUT_OF_MEMORY = [
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."
    ),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"),
    MemoryError("Unable to allocate 9.00 GiB for an array with shape (9, 9) and data type float32"),
]


def train(data, run, *settings, options=()):
    return nmt("train", data, "-o", run, "--device", "cpu", *options, *overrides(*TINY, *WITHOUT_DROPOUT, *settings))


def events(run, kind):
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == kind]


def break_updates(monkeypatch, updates, broken=float("nan")):
    """The loss of these updates, as often as they are tried, is not finite."""

    def forward(self, batch, update):
        loss, sums = ordinary(self, batch, update)
        return (loss * broken if update in updates else loss), sums

    monkeypatch.setattr(TrainingLoss, "forward", forward)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_an_update_that_is_not_finite_is_skipped_and_counted(data, tmp_path, monkeypatch, broken):
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
    assert "training diverged: 3 updates in a row, up to 9, had gradients that are not finite" in words
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


def test_a_safer_precision_is_kept_after_a_resume(data, tmp_path, monkeypatch):
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


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), *OUT_OF_MEMORY], ids=str)
def test_out_of_memory_is_reported_and_does_not_change_the_weights(data, tmp_path, monkeypatch, capsys, error):
    def forward(self, batch, update):
        if batch.cells > 200:
            raise error
        return ordinary(self, batch, update)

    assert train(data, tmp_path / "whole") == 0
    capsys.readouterr()
    monkeypatch.setattr(TrainingLoss, "forward", forward)
    assert train(data, tmp_path / "split") == 0
    for left, right in zip(*(weights(tmp_path / name) for name in ("whole", "split")), strict=True):
        for name, tensor in left.items():
            torch.testing.assert_close(right[name], tensor, rtol=1e-2, atol=1e-4, msg=name)
    losses = [[event["loss"] for event in events(tmp_path / name, "updated")] for name in ("whole", "split")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    last = events(tmp_path / "split", "updated")[-1]
    assert last["out_of_memory"] > 0
    words = capsys.readouterr().err
    assert "train.batch_tokens" in words  # which setting to change


def test_settings_that_change_the_mathematics_are_refused_until_allowed(data, tmp_path, capsys):
    assert train(data, tmp_path / "run") == 0
    more = ["train.max_updates=14", "train.learning_rate=5e-4"]
    assert train(data, tmp_path / "run", *more) == 2
    words = capsys.readouterr().err
    assert "train.learning_rate was 0.003, is 0.0005" in words
    assert "--allow-changes" in words
    assert train(data, tmp_path / "run", *more, options=["--allow-changes"]) == 0
    assert "changed since this run began: train.learning_rate was 0.003, is 0.0005" in capsys.readouterr().err
    assert train(data, tmp_path / "run", *more) == 0  # what was allowed stays


def test_another_model_is_never_the_same_run(data, tmp_path, capsys):
    assert train(data, tmp_path / "run") == 0
    wider = ["model.decoder.hidden_size=32", "train.learning_rate=5e-4"]
    assert train(data, tmp_path / "run", *wider, options=["--allow-changes"]) == 2
    assert "--allow-changes" not in capsys.readouterr().err


def test_random_numbers_are_those_of_the_update(data, tmp_path):
    """Dropout is on; the number of updates in one go makes no difference."""
    dropout = ["model.dropout=0.3", "train.schedule=constant", "train.warmup_updates=0", "train.valid_metric=loss"]
    assert train(data, tmp_path / "one", *dropout) == 0
    for updates in (5, 12):
        assert train(data, tmp_path / "two", *dropout, f"train.max_updates={updates}") == 0
    losses = [[event["loss"] for event in events(tmp_path / name, "updated")] for name in ("one", "two")]
    assert losses[0] == losses[1]
    assert all(left != right for left, right in pairwise(losses[0]))


def test_verify_resume_says_that_no_bit_differs(data, tmp_path, capsys):
    settings = [*TINY, "train.subword_sampling=0.1", "train.scheduled_sampling=linear"]
    command = ["train", data, "-o", tmp_path / "scratch", "--device", "cpu", "--verify-resume", "6"]
    assert nmt(*command, *overrides(*settings)) == 0
    found = capsys.readouterr()
    assert "identical: all" in found.out
    assert "killed after update" in found.err
    assert not (tmp_path / "scratch").exists()


def test_verify_resume_finds_what_differs(data, tmp_path, trained, capsys):
    from nmtcli.cli.training_display import show_resumption
    from nmtcli.errors import CheckFailed
    from nmtcli.train.verify import compare

    assert train(data, tmp_path / "other", "train.seed=2") == 0
    found = compare(RunDirectory(trained), RunDirectory(tmp_path / "other"), 6, 6)
    assert len(found.different) > 10
    assert "target_tokens" in found.state or "best" in found.state
    with pytest.raises(CheckFailed, match="the resume is not exact"):
        show_resumption(found, tmp_path / "other", "cuda")
    assert (tmp_path / "other").exists()


def test_verify_resume_needs_a_place_of_its_own(data, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert nmt("train", data, "-o", tmp_path / "run", "--verify-resume", "3") == 2
    assert "new directory" in capsys.readouterr().err
