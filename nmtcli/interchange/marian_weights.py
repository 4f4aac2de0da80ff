"""The weights of MarianMT models (`MarianMTModel` of transformers) under our names, in both directions.

Marian adds position vectors whose first half are sines and whose second half are cosines; ours alternate. Both have the
same angles. A permutation of the columns of the residual stream in every weight that reads or writes it makes the
models equal (`order`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from nmtcli.models.positions import SinusoidalPositions

BIAS = "final_logits_bias"  # [1, V]
POSITIONS = tuple(f"model.{half}.embed_positions.weight" for half in ("encoder", "decoder"))
SHARED, SOURCE, TARGET = "model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"
OUTPUT = "lm_head.weight"


@dataclass(frozen=True)
class LayerWeight:
    """A weight of a layer: our name, and Marian's names of its parts, one above the other."""

    ours: str
    theirs: tuple[str, ...]
    reads: bool = False  # its columns are those of the residual stream
    writes: bool = False  # its rows are those of the residual stream

    def imported(self, weights: Mapping[str, Tensor], order: Tensor) -> Tensor:
        """Our weight from Marian's. Raises KeyError with the name of a missing one."""
        whole = torch.cat([weights[name].float() for name in self.theirs])
        whole = whole[:, order] if self.reads else whole
        return whole[order] if self.writes else whole

    def exported(self, weight: Tensor, order: Tensor) -> dict[str, Tensor]:
        """Marian's weights from ours, by name."""
        inverse = order.argsort()
        weight = weight[:, inverse] if self.reads else weight
        weight = weight[inverse] if self.writes else weight
        return dict(zip(self.theirs, weight.chunk(len(self.theirs)), strict=True))


def layer_weights(encoder_layers: int, decoder_layers: int) -> Iterator[LayerWeight]:
    """All weights of the layers."""
    sublayers = {"self_attn": ("attention", "around_attention")}
    for number in range(encoder_layers):
        yield from _layer("encoder", number, sublayers)
    sublayers = {"self_attn": ("mixer", "around_mixer"), "encoder_attn": ("cross", "around_cross")}
    for number in range(decoder_layers):
        yield from _layer("decoder", number, sublayers)


def _layer(half: str, number: int, attention: Mapping[str, tuple[str, str]]) -> Iterator[LayerWeight]:
    ours, theirs = f"{half}.layers.{number}", f"model.{half}.layers.{number}"
    norms = {"around_feedforward": "final_layer_norm"}
    for name, (own, around) in attention.items():
        parts = {"project": "qkv"} if name == "self_attn" else {"query": "q", "project": "kv"}
        norms[around] = f"{name}_layer_norm"
        for (part, letters), kind in product(parts.items(), ("weight", "bias")):
            names = tuple(f"{theirs}.{name}.{letter}_proj.{kind}" for letter in letters)
            yield LayerWeight(f"{ours}.{own}.{part}.{kind}", names, reads=kind == "weight")
        for kind in ("weight", "bias"):
            yield LayerWeight(f"{ours}.{own}.output.{kind}", (f"{theirs}.{name}.out_proj.{kind}",), writes=True)
    for kind in ("weight", "bias"):
        yield LayerWeight(f"{ours}.feedforward.inner.{kind}", (f"{theirs}.fc1.{kind}",), reads=kind == "weight")
        yield LayerWeight(f"{ours}.feedforward.output.{kind}", (f"{theirs}.fc2.{kind}",), writes=True)
        for own, norm in norms.items():
            yield LayerWeight(f"{ours}.{own}.norm.{kind}", (f"{theirs}.{norm}.{kind}",), writes=True)


def column_order(width: int) -> Tensor:
    """The Marian column of each of our columns, [width]: sines alternate with cosines."""
    column = torch.arange(width)
    return torch.where(column % 2 == 0, column // 2, (width + 1) // 2 + column // 2)


def marian_positions(count: int, width: int) -> Tensor:
    """Marian's position vectors [count, width]."""
    vectors: Tensor = SinusoidalPositions(width)(0, count)
    return vectors[:, column_order(width).argsort()]
