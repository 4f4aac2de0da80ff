"""Parts of a model that keep the weights they begin with."""

import re
from collections.abc import Sequence

import torch
from torch import nn

from nmtcli.config import Config, ModelPart
from nmtcli.errors import UserError
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.vocabulary import SPECIAL

# Each part by the names of its weights. The decoder's attention is one module for all layers, or `cross` in each.
PARTS: dict[ModelPart, str] = {
    "source_embedding": r"source_embedding\.",
    "target_embedding": r"target_embedding\.",
    "encoder": r"encoder\.",
    "decoder": r"decoder\.",
    "attention": r"decoder\.(attention|layers\.\d+\.(cross|around_cross))\.",
    "output": r"output\.",
}


def part_names(model: nn.Module, part: ModelPart) -> dict[str, nn.Parameter]:
    """The weights of a part by all their names, those of tied ones too."""
    every = model.named_parameters(remove_duplicate=False)
    return {name: weight for name, weight in every if re.match(PARTS[part], name)}


def freeze(model: nn.Module, parts: Sequence[ModelPart]) -> None:
    """Freeze the parameters of these parts; call this before making the optimizer."""
    for part in parts:
        for weight in part_names(model, part).values():
            weight.requires_grad_(False)


def check_freeze(config: Config) -> None:
    """Raises UserError, with all mistakes, where `train.freeze` does not fit the model."""
    parts = config.train.freeze
    with torch.device("meta"):  # only names and ties are needed
        model = Seq2Seq(config.model, SPECIAL, SPECIAL)
    mistakes = [f"train.freeze: {part} has no weights in this model" for part in parts if not part_names(model, part)]
    freeze(model, parts)
    for part in PARTS:
        frozen = [not weight.requires_grad for weight in part_names(model, part).values()]
        whole = part in parts or (part == "attention" and "decoder" in parts)
        if not whole and frozen and all(frozen):
            mistakes.append(
                f"train.freeze: {part} would be frozen as well: model.embedding.tie is {config.model.embedding.tie}"
            )
    if not any(weight.requires_grad for weight in model.parameters()):
        mistakes.append("train.freeze leaves nothing to train")
    if mistakes:
        raise UserError("\n".join(mistakes), "name every part to freeze, and no other")
