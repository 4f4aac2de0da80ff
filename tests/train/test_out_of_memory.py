"""Out of memory in an update: the batch is computed in parts, with the same result."""

import pytest
import torch

from nmtcli.train.loss import TrainingLoss
from tests.laws.test_training_laws import weights
from tests.train.runs import events, ordinary, train

# as PyTorch (older and newer) and NumPy say it on a CPU
OUT_OF_MEMORY = [
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."
    ),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"),
    MemoryError("Unable to allocate 9.00 GiB for an array with shape (9, 9) and data type float32"),
]


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
