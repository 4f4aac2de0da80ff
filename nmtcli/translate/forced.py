"""Forced decoding: the log-probability of each token of given translations (teacher forcing)."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nmtcli.models.protocol import StepDecoder
from nmtcli.vocabulary import BOS

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


class Forced(Protocol):
    """Forced decoding by a model: the method `forced` of an engine."""

    def __call__(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """Log-probabilities [B, T] of target ids [B, T], and attention weights [B, T, S] if requested.

        source [B, S] has lengths source_length [B]; both sides end with EOS and are padded. Values on padding are
        undefined.
        """


def forced_by_steps(
    decoder: StepDecoder, source: Ids, source_length: Ids, target: Ids, attention: bool
) -> tuple[Floats, Floats | None]:
    """`Forced` by a decoder on NumPy arrays, position by position."""
    memory, cache = decoder.start(source, source_length)
    inputs = shifted(target)
    log_probs, weights = [], []
    for position in range(target.shape[1]):
        step = decoder.step(inputs[:, position, None], memory, cache)
        cache = step.cache
        log_probs.append(np.take_along_axis(step.log_probs[:, 0], target[:, position, None], axis=1))
        if attention and step.attention is not None:
            weights.append(step.attention)
    return np.concatenate(log_probs, axis=1), np.concatenate(weights, axis=1) if weights else None


def shifted(target: Ids) -> Ids:
    """The decoder's input for `target`: BOS, then the previous tokens."""
    return np.concatenate([np.full((len(target), 1), BOS, dtype=np.int64), target[:, :-1]], axis=1)
