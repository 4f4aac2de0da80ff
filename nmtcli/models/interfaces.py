"""The interfaces of encoders and decoders, which make any encoder work with any decoder."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nmtcli.models.protocol import Cache, Memory

State = tuple[Tensor, ...]  # of a recurrent layer: (hidden, cell) of an LSTM or (hidden,) of a GRU, each [N, H]


@dataclass(frozen=True)
class Encoded:
    """The encoder's output for a batch of source sentences."""

    states: Tensor  # [B, S, H]; anything on padding
    mask: Tensor  # [B, S], True on real tokens
    summary: Tensor  # [B, H]: last states of the top layer, both directions; of a Transformer the mean state
    finals: tuple[State, ...] = ()  # of a recurrent encoder: the last state of each layer, for bridge `copy`


@dataclass(frozen=True)
class Decoded:
    """The decoder's output for all target positions of a batch."""

    features: Tensor  # [B, T, E], for the output layer
    attention: Tensor | None = None  # [B, T, S] if requested and the model has attention
    states: Tensor | None = None  # [B, T, H], the top states of a recurrent decoder


class Encoder(Protocol):
    """Encodes embedded source sentences."""

    def __call__(self, embedded: Tensor, length: Tensor) -> Encoded:
        """embedded [B, S, E], or for a pretrained encoder source ids [B, S]; length [B]."""


class Decoder(Protocol):
    """Decodes target sentences: `start` once, then `forward` in training or `step` in search."""

    def start(self, encoded: Encoded) -> tuple[Memory, Cache]:
        """The fixed memory of a batch of sentences, and the cache of their first hypotheses."""

    def select_attention(self, layer: int, head: int | None) -> None:
        """Select the layer and head, counted from 1, whose weights are returned; head None: the mean of all heads."""

    def forward(self, embedded: Tensor, memory: Memory, cache: Cache, need_attention: bool = False) -> Decoded:
        """Embedded target input [B, T, E], all positions at once."""

    def step(self, embedded: Tensor, memory: Memory, cache: Cache) -> tuple[Tensor, Cache, Tensor | None]:
        """One position: embedded [B, K, E] to features [B, K, E], the new cache and attention [B, K, S] if any."""
