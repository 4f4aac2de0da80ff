"""Parts of a model that keep the weights they begin with."""

import re
from collections.abc import Sequence

import torch
from torch import nn

from nmtcli.config import Config, EncoderConfig, ModelPart
from nmtcli.errors import UserError
from nmtcli.models.pretrained import PretrainedEncoder
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


def freeze(model: Seq2Seq, parts: Sequence[ModelPart], encoder_layers: int | None = None) -> None:
    """Freeze the parameters of these parts; call this before making the optimizer.

    Of a pretrained encoder, `encoder_layers` is the number of top layers that are trained; None: all of it.
    """
    for part in parts:
        for weight in part_names(model, part).values():
            weight.requires_grad_(False)
    if encoder_layers is not None:
        assert isinstance(model.encoder, PretrainedEncoder)
        model.encoder.freeze_below(encoder_layers)


def encoder_is_frozen(config: Config) -> bool:
    """Whether no weight of the encoder is trained."""
    return "encoder" in config.train.freeze or config.train.trained_encoder_layers == 0


def check_freeze(config: Config) -> None:
    """Raises UserError, with all mistakes, where `train.freeze` or `trained_encoder_layers` does not fit the model."""
    parts, top, encoder = config.train.freeze, config.train.trained_encoder_layers, config.model.encoder
    if top is not None:
        _check_top_layers(top, encoder)
    if not parts and top is None:
        return
    with torch.device("meta"):  # only names and ties are needed
        model = Seq2Seq(config.model, SPECIAL, SPECIAL)
    mistakes = [f"train.freeze: {part} has no weights in this model" for part in parts if not part_names(model, part)]
    freeze(model, parts, top)
    for part in PARTS:
        frozen = [not weight.requires_grad for weight in part_names(model, part).values()]
        whole = part in parts or (part == "attention" and "decoder" in parts)
        by_layers = part == "encoder" and top is not None
        if not whole and not by_layers and frozen and all(frozen):
            mistakes.append(
                f"train.freeze: {part} would be frozen as well: model.embedding.tie is {config.model.embedding.tie}"
            )
    if not any(weight.requires_grad for weight in model.parameters()):
        mistakes.append("train.freeze and train.trained_encoder_layers leave nothing to train")
    if mistakes:
        raise UserError("\n".join(mistakes), "name every part to freeze, and no other")


def _check_top_layers(top: int, encoder: EncoderConfig) -> None:
    if encoder.type != "pretrained":
        raise UserError(
            f"train.trained_encoder_layers needs model.encoder.type pretrained, not {encoder.type}",
            "train.freeze=encoder freezes the whole encoder",
        )
    if top > encoder.layers:
        raise UserError(
            f"train.trained_encoder_layers is {top}, but the encoder has {encoder.layers} layers",
            "set it to null to train all of the encoder",
        )
