"""Gradients of an update do not depend on the number of ranks and micro-batches. Real gloo processes."""

import json
import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import nn

from nmtcli.data.batching import Sentences
from nmtcli.errors import RankLost, ResourceError
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.batches import Batch, make_batch, share
from nmtcli.train.distributed import Ranks, joined, whole
from nmtcli.train.gradients import Gradients
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.meter import Meter
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.state import TrainState
from tests.models.test_presets import WIDTH, complete_presets, shrunk
from tests.train.test_meter import Loss

CPU = torch.device("cpu")
VOCABULARY = 12
WITHOUT_DROPOUT = [f"model.{name}=0" for name in ("dropout", "recurrent_dropout", "word_dropout")]


class Pairs:
    """An update of two batches of eight and seven pairs and one of a single pair."""

    def __init__(self, sizes=(8, 7, 1)):
        random = np.random.default_rng(0)
        draw = lambda: [int(word) for word in random.integers(4, VOCABULARY, random.integers(1, 9))]  # noqa: E731
        self.pairs = [[(draw(), draw()) for _ in range(size)] for size in sizes]

    def whole(self) -> list[Batch]:
        return [self.load(number, slice(None)) for number in range(len(self.pairs))]

    def load(self, number: int, taken: slice) -> Batch:
        return make_batch(*(Sentences.of(list(side)) for side in zip(*self.pairs[number][taken], strict=True)))

    def of(self, rank: int, ranks: int) -> list[Batch]:
        rows = [np.arange(len(batch)) for batch in self.pairs]
        return [self.load(number, taken) for number, taken in share(rows, rank, ranks)]


class Scarce(nn.Module):
    """An objective for which memory is out where a batch has more cells than `room`."""

    def __init__(self, objective, room):
        super().__init__()
        self.objective, self.room = objective, room

    def forward(self, batch, update):
        loss, sums = self.objective(batch, update)
        if batch.cells > self.room:
            loss.backward()  # leaves gradients of no use behind
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss, sums


def make_model(preset="luong-general", sets=()):
    torch.manual_seed(0)
    config = load_config(
        preset, overrides=[*shrunk(preset, WIDTH), "model.embedding.tie=target", *WITHOUT_DROPOUT, *sets]
    )
    return Seq2Seq(config.model, VOCABULARY, VOCABULARY)


def gradients(model, batches, room=10**9, ranks=None, sharded=False):
    """By name, the loss sum over the ranks, and the tokens of each split."""
    ranks = ranks or Ranks()
    objective = TrainingLoss(model, smoothing=0.1)
    model.zero_grad()
    splits = []
    parallel = ranks.share(Scarce(objective, room), sharded, CPU)
    computer = Gradients(parallel, ranks, CPU, seed=1, on_split=lambda batch: splits.append(batch.cells))
    filler = Pairs().load(0, slice(1))
    computed = {}
    for _ in range(2):  # the second time nothing is larger than before: the engine's own way
        model.zero_grad()
        tokens, sums = computer.compute(batches, filler, 1, MixedPrecision("fp32", CPU))
        assert tokens == sum(batch.target_tokens for batch in Pairs().whole())
        computed = {name: whole(weight.grad).clone() for name, weight in model.named_parameters()}
    return computed, ranks.sum(sums[0].item())[0], splits


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("room", [60, 30])
def test_out_of_memory_halves_the_batch_and_keeps_the_update(room):
    expected, loss, splits = gradients(make_model(), Pairs().whole())
    assert not splits
    found, scarce_loss, splits = gradients(make_model(), Pairs().whole(), room)
    assert_close(found, expected)
    assert scarce_loss == pytest.approx(loss, rel=1e-5)
    assert splits
    assert all(cells > room for cells in splits)
    assert splits == sorted(splits, reverse=True)


def test_a_pair_that_does_not_fit_is_reported():
    with pytest.raises(ResourceError, match=r"one pair of . source and . target tokens does not fit"):
        gradients(make_model(), Pairs().whole(), room=2)


def test_other_errors_are_not_taken_for_out_of_memory():
    model = make_model()
    batch = Pairs().whole()[0]
    with pytest.raises(IndexError):
        gradients(model, [replace(batch, source=batch.source + VOCABULARY)])


def in_two_ranks(rank, port, room, path):
    """What each of two processes does: gradients of each preset, replicated and, of Transformers, sharded."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    with joined(CPU) as ranks:
        room = room if ranks.rank else 10**9  # memory runs out on one of them
        results = {}
        for preset in complete_presets():
            results[preset] = gradients(make_model(preset), Pairs().of(rank, 2), room, ranks)
        for preset in ("transformer-tiny", "hybrid-ssru", "luong-general"):
            results[f"{preset} sharded"] = gradients(
                make_model(preset), Pairs().of(rank, 2), 10**9, ranks, sharded=True
            )
        assert ranks.gather({"rank": rank, "ü": [1.5, None]}) == [{"rank": r, "ü": [1.5, None]} for r in range(2)]
        assert ranks.most(rank) == 1
        splits = ranks.gather([len(splits) for _, _, splits in results.values()])
        meter = Meter(Loss(), ranks)
        meter.splits = 2 * rank  # the log has those of all ranks
        meter.update_done(torch.ones(1), 1, torch.ones(()))
        assert meter.read(TrainState(), 0.5)["out_of_memory"] == 2
    if rank == 0:
        torch.save({key: found for key, (found, _, _) in results.items()}, path)
        path.with_suffix(".json").write_text(json.dumps([splits, {key: loss for key, (_, loss, _) in results.items()}]))


def test_two_ranks_equal_one_for_each_preset_also_out_of_memory(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "found.pt"
    torch.multiprocessing.spawn(in_two_ranks, (port, 60, path), nprocs=2)
    results = torch.load(path, weights_only=True)
    splits, losses = json.loads(path.with_suffix(".json").read_text())
    assert set(results) >= set(complete_presets())
    for name, found in results.items():
        expected, loss, _ = gradients(make_model(name.split()[0]), Pairs().whole())
        assert_close(found, expected)
        assert losses[name] == pytest.approx(loss, rel=1e-5)
    assert not any(splits[0])
    assert all(splits[1][: len(complete_presets())])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[transport/tcp/pair.cc] Connection closed by peer [127.0.0.1]:9", "Connection closed by peer"),
        ("NCCL error in: NCCLUtils.cpp:9\nLast error:\nno space in /dev/shm\n", "no space in /dev/shm"),
    ],
)
def test_a_lost_rank_or_connection_is_reported_with_its_reason(monkeypatch, text, reason):
    def fail(*_, **__):
        raise RuntimeError(text)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", fail)
    with (
        pytest.raises(RankLost, match=f"^rank 0: another rank ended, or the connection failed: .*{reason}"),
        joined(CPU),
    ):
        pass


def test_a_rank_without_pairs_takes_part():
    parts = [Pairs(sizes=(1,)).of(rank, 2) for rank in range(2)]
    assert sorted(len(part) for part in parts) == [0, 1]
