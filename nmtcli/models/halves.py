"""What an encoder gives and what a decoder is, so that any of one goes with any of the other."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nmtcli.models.protocol import Cache, Memory

State = tuple[Tensor, ...]  # of a recurrent layer: (hidden, cell) of an LSTM or (hidden,) of a GRU, each [N, H]


@dataclass(frozen=True)
class Encoded:
    """A batch of source sentences as read by an encoder."""

    states: Tensor  # [B, S, H]; anything on padding
    mask: Tensor  # [B, S], True on real tokens
    summary: Tensor  # [B, H]: last states of the top layer, both ends; of a Transformer the mean of its states
    finals: tuple[State, ...] = ()  # of a recurrent encoder: the last state of each layer, for the bridge `copy`


@dataclass(frozen=True)
class Decoded:
    """All target positions of a batch at once."""

    features: Tensor  # [B, T, E], for the output layer
    attention: Tensor | None = None  # [B, T, S] where asked for and there is one


class Encoder(Protocol):
    """Reads embedded source sentences."""

    def __call__(self, embedded: Tensor, length: Tensor) -> Encoded:
        """embedded [B, S, E], length [B]."""


class Decoder(Protocol):
    """Writes target sentences: `start` once, then `forward` in training or `step` in search."""

    def start(self, encoded: Encoded) -> tuple[Memory, Cache]:
        """What stays fixed for a batch of sentences, and the cache of their first hypotheses."""

    def tell(self, layer: int, head: int | None) -> None:
        """From now on the attention told is that of this layer and head, counted from 1; None: the mean of heads."""

    def forward(self, embedded: Tensor, memory: Memory, cache: Cache, need_attention: bool = False) -> Decoded:
        """Embedded target input [B, T, E], all positions at once."""

    def step(self, embedded: Tensor, memory: Memory, cache: Cache) -> tuple[Tensor, Cache, Tensor | None]:
        """One position: embedded [B, K, E] to features [B, K, E], the new cache, attention [B, K, S] if any."""
