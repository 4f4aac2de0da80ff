"""Sampling of continuations from the distribution of the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from nmtcli.models.protocol import Array, namespace
from nmtcli.translate.choosing import Continuations
from nmtcli.translate.constraints import Tracker


@dataclass(frozen=True)
class SamplingOptions:
    """Sampling options; by default ancestral sampling."""

    samples: int = 1
    temperature: float = 1.0  # log-probabilities are divided by it
    top_k: int | None = None  # number of most probable tokens to sample from
    top_p: float = 1.0  # nucleus sampling: the smallest set with this probability (Holtzman et al. 2020)
    seed: int = 1


class SamplingChoice:
    """A `Choice` by sampling: one token for each hypothesis.

    The random numbers of a sentence depend on the seed and its number only, not on its batch.
    """

    def __init__(self, options: SamplingOptions, numbers: Sequence[int]) -> None:
        """`numbers` seed the sentences: equal numbers have equal random numbers."""
        self.options = options
        self.generators = [np.random.Generator(np.random.Philox(key=[options.seed, number])) for number in numbers]

    def __call__(self, log_probs: Array, prefix: Array, sentences: list[int], tracker: Tracker) -> Continuations:
        """See `Choice`: N continuations of one group."""
        xp = namespace(log_probs)
        totals = log_probs
        totals += prefix[:, :, None]
        slots, size = totals.shape[1:]
        probabilities = self._probabilities(totals)
        order = None
        if self.options.top_k is not None or self.options.top_p < 1:
            order = xp.argsort(-probabilities, axis=2, stable=True)
            probabilities = self._cut(xp.take_along_axis(probabilities, order, axis=2))
        cumulative = xp.cumulative_sum(probabilities, axis=2, dtype=xp.float64)  # [B, N, V]
        # always `samples` random numbers per sentence and step, to be independent of the other sentences
        uniform = [self.generators[sentence].random(self.options.samples)[:slots] for sentence in sentences]
        thresholds = xp.asarray(np.stack(uniform), device=device(totals))[:, :, None]
        place = xp.sum(xp.astype(cumulative <= thresholds * cumulative[:, :, -1:], xp.int64), axis=2)  # [B, N]
        token = xp.clip(place, 0, size - 1)[:, :, None]
        if order is not None:
            token = xp.take_along_axis(order, token, axis=2)
        log_prob = xp.take_along_axis(totals, token, axis=2)[:, :, 0]
        parent = xp.broadcast_to(xp.arange(slots, device=device(totals)), log_prob.shape)
        return Continuations(log_prob[:, None], parent[:, None], token[:, None, :, 0])

    def shuffled(self, sentence: int, count: int) -> list[int]:
        """A random order of the samples of a sentence: in the order of their ends, short ones would be first."""
        return [int(place) for place in self.generators[sentence].permutation(count)]

    def _probabilities(self, totals: Array) -> Array:
        """Unnormalised probabilities of the next tokens [B, N, V], at most 1; zeros for a missing hypothesis."""
        xp = namespace(totals)
        largest = xp.max(totals, axis=2, keepdims=True)
        return xp.exp((totals - xp.where(xp.isfinite(largest), largest, 0.0)) / self.options.temperature)

    def _cut(self, falling: Array) -> Array:
        """Sorted probabilities with zeros for tokens outside top-k and top-p; the first one always stays."""
        xp = namespace(falling)
        before = xp.cumulative_sum(falling, axis=2, dtype=xp.float64) - falling
        if self.options.top_k is not None:
            rank = xp.arange(falling.shape[2], device=device(falling))
            falling = xp.where(rank < self.options.top_k, falling, 0.0)
        kept = xp.sum(falling, axis=2, keepdims=True)
        inside = before < self.options.top_p * kept
        return xp.where(inside, falling, 0.0) if self.options.top_p < 1 else falling
