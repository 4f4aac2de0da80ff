"""What a run will be, before it begins: the model, epochs and updates, the memory of the largest batch, and time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from nmtcli.checkpoint import RunDirectory
from nmtcli.config import Config
from nmtcli.data.directory import PreparedData
from nmtcli.models.seq2seq import parameter_count
from nmtcli.settings import replaced
from nmtcli.train.batches import Batch
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.optimizers import state_bytes
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.trainer import Trainer

MANY_EPOCHS = 50  # a run of more over the same pairs is worth a second thought
LONG = 24 * 3600  # seconds
_UPDATES, _SECONDS = 20, 5.0  # timed, at most


@dataclass(frozen=True)
class RunPlan:
    """The plan of a training run."""

    weights: dict[str, tuple[int, ...]]  # name to shape; tied weights once
    parameters: int
    frozen: int  # of them
    pairs: int  # of an epoch
    updates: int  # of an epoch
    total: int  # updates of the run, at most
    target_tokens: float  # of an update, on average
    largest: tuple[int, int, int]  # sentences, source tokens and target tokens of a sentence
    state_bytes: int  # weights, gradients, the optimizer's moments, the moving average
    activation_bytes: int  # kept by the largest batch for its gradients
    tokens_per_second: float  # target tokens, by a few updates on this device

    @property
    def epochs(self) -> float:
        """Passes over the data in all updates."""
        return self.total / self.updates

    @property
    def seconds(self) -> float:
        """Of all updates, without validation."""
        return self.total * self.target_tokens / self.tokens_per_second


def plan_run(config: Config, data: PreparedData, device: torch.device) -> RunPlan:
    """Build the model, run the forward pass of the largest batch of the first epoch, and time a few updates."""
    with TemporaryDirectory(prefix="nmt-plan-") as scratch:  # an empty run: nothing is loaded, nothing is saved
        eager = replaced(config, {"train.compile": False})
        trainer = Trainer(eager, data, RunDirectory(Path(scratch)), device, ())
    model, plan = trainer.model, trainer.feed.plan
    first = plan.block(0, 0)
    _, target = data.train.lengths(first.rows)
    largest = plan.load(plan.largest(0, 0))
    return RunPlan(
        weights={name: tuple(weight.shape) for name, weight in model.named_parameters()},
        parameters=parameter_count(model),
        frozen=sum(weight.numel() for weight in model.parameters() if not weight.requires_grad),
        pairs=plan.epochs.pairs(1),
        updates=plan.updates(1),
        total=trainer.total,
        target_tokens=(int(target.sum()) + len(target)) / max(1, len(first)),
        largest=(len(largest.source), largest.source.size(1), largest.target_output.size(1)),
        state_bytes=state_bytes(model, config.train),
        activation_bytes=activation_bytes(
            TrainingLoss(model, config.train.label_smoothing), largest.to(device), config, device
        ),
        tokens_per_second=_tokens_per_second(trainer),
    )


def _tokens_per_second(trainer: Trainer) -> float:
    """How many target tokens an update takes a second, by some seconds of training that are thrown away."""
    updates = trainer.feed.updates(trainer.state)
    trainer.update(next(updates))  # prepares kernels and memory
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    tokens, start = trainer.state.target_tokens, time.perf_counter()
    for batches, _ in zip(updates, range(_UPDATES), strict=False):
        trainer.update(batches)
        if time.perf_counter() - start > _SECONDS:
            break
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return (trainer.state.target_tokens - tokens) / (time.perf_counter() - start)


def activation_bytes(objective: TrainingLoss, batch: Batch, config: Config, device: torch.device) -> int:
    """Bytes that the forward pass of a batch keeps for the backward pass, weights left out."""
    weights = {weight.untyped_storage().data_ptr() for weight in objective.parameters()}
    with counted_storages() as kept, MixedPrecision(config.train.precision, device).autocast():
        objective.train()(batch)
    return sum(size for place, size in kept.items() if place not in weights)


@contextmanager
def counted_storages() -> Iterator[dict[int, int]]:
    """What autograd saves meanwhile: the place of each storage and its bytes."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no place is used twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept
