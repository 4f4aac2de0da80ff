"""Scheduled sampling (Bengio et al. 2015): ever more often the model reads its own words instead of the true ones."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from nmtcli.config import TrainConfig
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.batches import Batch
from nmtcli.train.loss import TrainingLoss
from nmtcli.train.sampling import as_in_search, draw
from nmtcli.vocabulary import PAD

Decay = Literal["linear", "exponential", "inverse_sigmoid"]


def teacher_forcing(update: int, decay: Decay, half_life: int, floor: float) -> float:
    """The probability ε_i that a token fed in update i (from 1) is the true one (section 2.4 of the paper).

    The paper's constants follow from the update at which ε is a half: linear ε = k - c·i with k = 1 and
    c = 1 / (2 · half_life); exponential ε = k^i with k = 2^(-1 / half_life); inverse sigmoid ε = k / (k + exp(i / k))
    with k · ln k = half_life. No less than `floor`.
    """
    match decay:
        case "linear":
            probability = 1 - update / (2 * half_life)
        case "exponential":
            probability = 2.0 ** (-update / half_life)
        case "inverse_sigmoid":
            k = sigmoid_constant(half_life)
            weight = k * math.exp(-update / k)  # the fraction reduced by exp(i / k), which could overflow
            probability = weight / (weight + 1)
    return max(floor, probability)


def sigmoid_constant(half_life: int) -> float:
    """The k of the inverse sigmoid with k · ln k = half_life, by Newton's method from above."""
    k = half_life + 1.0
    for _ in range(50):
        k -= (k * math.log(k) - half_life) / (math.log(k) + 1)
    return k


def mixed_input(model: Seq2Seq, batch: Batch, probability: float) -> Tensor:
    """The target input [B, T] with each token but BOS kept with `probability`, else drawn from the model.

    A token is drawn from what the model says of its place after the input mixed so far, without dropout and gradients:
    the paper does not differentiate through the draw. Padding stays.
    """
    given = batch.target_input
    chance = torch.rand(2, *given.shape).to(given.device)  # [2, B, T]
    kept = (chance[0] < probability) | (given == PAD)
    tokens = given[:, :1]
    mixed = [tokens]
    with as_in_search(model):
        memory, cache = model.start(batch.source, batch.source_length)
        for position in range(1, given.size(1)):
            step = model.step(tokens, memory, cache)
            cache = step.cache
            sampled = draw(step.log_probs, chance[1, :, position, None, None])[..., 0]  # [B, 1]
            tokens = torch.where(kept[:, position, None], given[:, position, None], sampled)
            mixed.append(tokens)
    return torch.cat(mixed, dim=1)


class ScheduledSampling(nn.Module):
    """The ordinary loss of the true output, on an input that is partly the model's own."""

    log_sums = 2

    def __init__(self, loss: TrainingLoss, settings: TrainConfig) -> None:
        super().__init__()
        self.loss, self.settings = loss, settings

    def forward(self, batch: Batch, update: int) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        probability = self._probability(update)
        if probability < 1:
            batch = replace(batch, target_input=mixed_input(self.loss.model, batch, probability))
        return self.loss(batch)  # type: ignore[no-any-return]

    def metrics(self, sums: Sequence[float], tokens: int, update: int) -> dict[str, float]:
        """See `Objective`."""
        return {**self.loss.metrics(sums, tokens, update), "teacher_forcing": self._probability(update)}

    def _probability(self, update: int) -> float:
        settings = self.settings
        assert settings.scheduled_sampling is not None
        return teacher_forcing(
            update, settings.scheduled_sampling, settings.teacher_forcing_half_life, settings.teacher_forcing_floor
        )
