"""Threads that divide a micro-batch: the same gradients, exact whatever their timing."""

import pytest
import torch

from nmtcli.train import threads as module
from nmtcli.train.gradients import Gradients
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.threads import BatchThreads
from nmtcli.train.trainer import Trainer
from nmtcli.vocabulary import PAD
from tests.conftest import TINY, TRANSFORMER, nmt, overrides
from tests.models.test_presets import complete_presets
from tests.train.test_gradients import CPU, Pairs, Ranks, Scarce, assert_close, make_model

DROPOUT = ["model.dropout=0.3"]


@pytest.fixture(autouse=True)
def tiny_parts(monkeypatch):
    """Parts of any size, and one PyTorch thread in this one."""
    monkeypatch.setattr(module, "CELLS", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def gradients(model, threads, precision="fp32", room=10**9):
    """By name, and the sums, of the update of `Pairs`."""
    objective = Scarce(TrainingLoss(model, smoothing=0.1), room)
    divided = BatchThreads(objective, threads) if threads > 1 else None
    splits = []
    ranks = Ranks()
    parallel = ranks.share(objective, False, CPU)
    computer = Gradients(parallel, ranks, CPU, 1, lambda batch: splits.append(batch.cells), threads=divided)
    model.zero_grad()
    _, sums = computer.compute(Pairs().whole(), None, 1, MixedPrecision(precision, CPU))
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}, sums, splits


@pytest.mark.parametrize("preset", complete_presets())
def test_threads_compute_the_gradients_of_the_whole_batch(preset):
    expected, sums, _ = gradients(make_model(preset), 1)
    found, divided_sums, _ = gradients(make_model(preset), 3)
    assert_close(found, expected)
    torch.testing.assert_close(divided_sums, sums)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("preset", ["luong-general", "bahdanau", "transformer-tiny"])
def test_gradients_with_dropout_are_the_same_to_the_bit_each_time(preset, precision):
    model = make_model(preset, DROPOUT).train()
    first, sums, _ = gradients(model, 4, precision)
    for _ in range(5):
        again, same, _ = gradients(model, 4, precision)
        assert torch.equal(sums, same)
        assert all(torch.equal(again[name], gradient) for name, gradient in first.items())


def test_parts_have_different_dropout():
    model = make_model("luong-general", DROPOUT).train()
    one = Pairs().whole()[0]
    twice = type(one)(*(torch.cat([part[:1], part[:1]]) for part in list(vars(one).values())[:4]), 0)
    losses = []

    def compute(part):
        loss, sums = TrainingLoss(model, 0.1)(part)
        losses.append(loss.item())
        return loss, sums

    BatchThreads(model, 2).backward(twice, compute)
    assert len(losses) == 2
    assert losses[0] != losses[1]


def test_out_of_memory_in_a_thread_halves_the_batch():
    expected, _, _ = gradients(make_model(), 1)
    found, _, splits = gradients(make_model(), 2, room=30)
    assert splits
    assert_close(found, expected)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_parts_are_all_pairs_with_the_padding_of_the_batch(count):
    batch = Pairs().whole()[0]
    parts = batch.parts(count)
    assert len(parts) == min(count, 8)
    assert {part.source.shape[1:] + part.target_input.shape[1:] for part in parts} == {
        batch.source.shape[1:] + batch.target_input.shape[1:]
    }
    assert sum(part.target_tokens for part in parts) == batch.target_tokens
    assert all(part.target_tokens == int((part.target_output != PAD).sum()) for part in parts)
    rows = sorted(tuple(row) for part in parts for row in part.source.tolist())
    assert rows == sorted(tuple(row) for row in batch.source.tolist())


def test_small_batches_and_large_models_are_not_divided(monkeypatch):
    model, batch = make_model(), Pairs().whole()[0]
    calls = []

    def compute(part):
        calls.append(len(part.source))
        return TrainingLoss(model, 0.1)(part)

    BatchThreads(model, 2).backward(batch, compute)
    monkeypatch.setattr(module, "CELLS", 10**6)
    BatchThreads(model, 2).backward(batch, compute)
    monkeypatch.setattr(module, "CELLS", 1)
    monkeypatch.setattr(module, "GRADIENT_BYTES", 1)
    BatchThreads(model, 2).backward(batch, compute)
    assert calls == [4, 4, 8, 8]


@pytest.mark.parametrize(
    ("settings", "divided"),
    [
        ((), True),
        (("train.threads=1",), False),
        ((*TRANSFORMER, "train.compile=true"), False),
        (("train.scheduled_sampling=linear",), False),
        (("train.objective=mrt",), False),
    ],
)
def test_the_trainer_divides_batches_of_plain_training_only(data, tmp_path, monkeypatch, settings, divided):
    made = []
    monkeypatch.setattr(Trainer, "fit", lambda self: made.append(self.gradients.threads) or "done")
    settings = overrides(*TINY, "train.threads=2", *settings)
    nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", *settings)
    assert (made[0] is not None) == divided


def test_a_run_on_two_threads_resumes_exactly(data, tmp_path):
    settings = overrides(*TINY, "train.threads=2", "train.schedule=constant", "train.warmup_updates=1")
    for folder, totals in (("whole", (6,)), ("parted", (3, 6))):
        for total in totals:
            last = overrides(f"train.max_updates={total}")
            assert nmt("train", data, "-o", tmp_path / folder, "--device", "cpu", *settings, *last) == 0
    files = [tmp_path / folder / "checkpoints/step-0000006/model.safetensors" for folder in ("whole", "parted")]
    assert files[0].read_bytes() == files[1].read_bytes()
