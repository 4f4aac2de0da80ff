"""What a run will be, before it begins: the model by its parts, an epoch, the memory of the largest batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from nmtcli.config import Config
from nmtcli.models.seq2seq import Seq2Seq, parameter_count
from nmtcli.prepare.directory import PreparedData
from nmtcli.train.batches import Batch, BatchPlan
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.precision import MixedPrecision


@dataclass(frozen=True)
class RunPlan:
    """The plan of a training run."""

    weights: dict[str, tuple[int, ...]]  # name to shape; tied weights once
    parameters: int
    pairs: int  # of an epoch
    updates: int  # of an epoch
    target_tokens: float  # of an update, on average
    largest: tuple[int, int, int]  # sentences, source tokens and target tokens of a sentence
    state_bytes: int  # weights, their gradients and Adam's two moments
    activation_bytes: int  # kept by the largest batch for its gradients


def plan_run(config: Config, data: PreparedData, device: torch.device) -> RunPlan:
    """Build the model and run the forward pass of the largest batch of the first epoch."""
    model = Seq2Seq(config.model, len(data.tokenizers.source), len(data.tokenizers.target)).to(device)
    plan = BatchPlan.training(data, config.train)
    first = plan.block(0, 0)
    _, target = data.train.lengths(first.rows)
    largest = plan.load(plan.largest(0, 0))
    return RunPlan(
        weights={name: tuple(weight.shape) for name, weight in model.named_parameters()},
        parameters=parameter_count(model),
        pairs=plan.epochs.pairs(1),
        updates=plan.updates(1),
        target_tokens=(int(target.sum()) + len(target)) / max(1, len(first)),
        largest=(len(largest.source), largest.source.size(1), largest.target_output.size(1)),
        state_bytes=4 * sum(weight.nbytes for weight in model.parameters()),
        activation_bytes=activation_bytes(
            TrainingLoss(model, config.train.label_smoothing), largest.to(device), config, device
        ),
    )


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
