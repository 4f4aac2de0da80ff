"""Export of a Transformer to CTranslate2, by CTranslate2's specification.

Parts that the specification lacks are folded into the weights exactly: a projection between embedding and state becomes
part of the embedding and the output layer. PAD and BOS, which our search never outputs, get no probability.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nmtcli.checkpoint import StoredPrecision
from nmtcli.config import DecoderConfig, EncoderConfig
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.models.multihead import CrossAttention, SelfAttention
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.models.transformer import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    Residual,
    TransformerDecoder,
    TransformerEncoder,
)
from nmtcli.translate.runtimes.ctranslate2 import FOLDER, POSITIONS, TYPES
from nmtcli.vocabulary import BOS, PAD, SPECIAL

if TYPE_CHECKING:
    from ctranslate2.specs import TransformerSpec

NEVER = -1e4  # a logit with zero probability that fits in float16


def export_ctranslate2(model: Seq2Seq, tokenizers: Tokenizers, directory: Path, precision: StoredPrecision) -> None:
    """Write the folder for `ctranslate2.Translator` into an existing directory.

    The model must meet the conditions of the format (`conditions.unmet`).
    """
    spec = specification(deepcopy(model), tokenizers)  # quantized in place
    spec.validate()
    spec.optimize(TYPES[precision])
    folder = directory / FOLDER
    folder.mkdir()
    spec.save(str(folder))


@torch.no_grad()
def specification(model: Seq2Seq, tokenizers: Tokenizers) -> "TransformerSpec":
    """The model as a CTranslate2 specification."""
    from ctranslate2.specs import TransformerSpec, transformer_spec  # noqa: PLC0415 - an extra

    config = model.config
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, TransformerEncoder) and isinstance(decoder, TransformerDecoder)
    source_embedding = model.source_embedding
    assert source_embedding is not None  # None with a pretrained encoder only
    spec = TransformerSpec(
        transformer_spec.TransformerEncoderSpec(
            config.encoder.layers, config.encoder.heads, **_kind(config.encoder), **_rotary(config.encoder)
        ),
        transformer_spec.TransformerDecoderSpec(
            config.decoder.layers,
            config.decoder.heads,
            **_kind(config.decoder),
            **_rotary(config.decoder),
            alignment_layer=decoder.selected_layer,
            alignment_heads=config.decoder.heads,
        ),
    )
    spec.config.layer_norm_epsilon = 1e-5  # PyTorch's default, which all models here have
    spec.config.add_source_eos = True
    spec.register_source_vocabulary(_pieces(tokenizers.source))
    spec.register_target_vocabulary(_pieces(tokenizers.target))
    if config.embedding.zero_start:  # with tied weights the output row too, which gets no probability
        model.target_embedding.weight[BOS] = 0
    scale = config.embedding.size**0.5 if config.embedding.scale else 1.0
    for half, embeddings, module, table in (
        (spec.encoder, spec.encoder.embeddings[0], encoder, source_embedding),
        (spec.decoder, spec.decoder.embeddings, decoder, model.target_embedding),
    ):
        # Tied weights stay tied if nothing is folded into them.
        half.scale_embeddings = config.embedding.scale and isinstance(module.project, nn.Identity)
        embeddings.weight = table.weight if half.scale_embeddings else module.project(table.weight * scale)
        if isinstance(module.norm, nn.LayerNorm):
            _norm(half.layer_norm, module.norm)
        if hasattr(half, "position_encodings"):
            # the specification needs some vectors even for rotary positions
            vectors = torch.zeros(1, embeddings.weight.size(1))
            half.position_encodings.encodings = module.positions(0, POSITIONS) if module.positions else vectors
    output = model.output.weight  # [V, E]
    bias = model.output.bias.clone() if config.output_bias else torch.zeros(len(output))
    if isinstance(decoder.output, nn.Linear):
        bias += output @ decoder.output.bias
        output = output @ decoder.output.weight
    bias[[PAD, BOS]] = NEVER
    spec.decoder.projection.weight, spec.decoder.projection.bias = output, bias
    for layer_spec, layer in zip(spec.encoder.layer, encoder.layers, strict=True):
        assert isinstance(layer, EncoderLayer)
        _self_attention(layer_spec.self_attention, layer.attention, layer.around_attention)
        _feed_forward(layer_spec.ffn, layer.feedforward, layer.around_feedforward)
    for layer_spec, layer in zip(spec.decoder.layer, decoder.layers, strict=True):
        assert isinstance(layer, DecoderLayer) and isinstance(layer.mixer, SelfAttention)
        _self_attention(layer_spec.self_attention, layer.mixer, layer.around_mixer)
        _cross_attention(layer_spec.attention, layer.cross, layer.around_cross)
        _feed_forward(layer_spec.ffn, layer.feedforward, layer.around_feedforward)
    return spec


def _kind(settings: EncoderConfig | DecoderConfig) -> dict[str, Any]:
    from ctranslate2.specs import common_spec  # noqa: PLC0415 - an extra

    activations = {
        "relu": common_spec.Activation.RELU,
        "gelu": common_spec.Activation.GELU,
        "silu": common_spec.Activation.SWISH,
        "swiglu": common_spec.Activation.SWISH,
    }
    return {
        "pre_norm": settings.norm == "pre",
        "activation": activations[settings.activation],
        "ffn_glu": settings.activation == "swiglu",
    }


def _rotary(settings: EncoderConfig | DecoderConfig) -> dict[str, Any]:
    """Rotary position settings: all columns of a head, in pairs of an even and the next odd one."""
    if settings.positions != "rotary":
        return {}
    return {"rotary_dim": settings.hidden_size // settings.heads, "rotary_interleave": True}


def _pieces(tokenizer: Tokenizer) -> Sequence[str]:
    """A name for each id. CTranslate2 needs these names of special ids, which adopted tokenizers may not have, and all
    names to be different, as those of pretrained tokenizers are not; `nmt` has the tokenizer itself.
    """
    special, ordinary = ["<pad>", "<s>", "</s>", "<unk>"], range(SPECIAL, len(tokenizer))
    if tokenizer.special_ids is not None:
        return [*special, *map(str, ordinary)]
    pieces = zip(ordinary, tokenizer.pieces(ordinary), strict=True)
    return [*special, *(f"{piece} {number}" if piece in special else piece for number, piece in pieces)]


def _norm(spec: Any, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = norm.weight, norm.bias


def _linear(spec: Any, linear: nn.Linear) -> None:
    spec.weight, spec.bias = linear.weight, linear.bias


def _self_attention(spec: Any, attention: SelfAttention, around: Residual) -> None:
    _norm(spec.layer_norm, around.norm)
    _linear(spec.linear[0], attention.project)
    _linear(spec.linear[1], attention.output)


def _cross_attention(spec: Any, attention: CrossAttention, around: Residual) -> None:
    _norm(spec.layer_norm, around.norm)
    _linear(spec.linear[0], attention.query)
    _linear(spec.linear[1], attention.project)
    _linear(spec.linear[2], attention.output)


def _feed_forward(spec: Any, feedforward: FeedForward, around: Residual) -> None:
    _norm(spec.layer_norm, around.norm)
    if feedforward.activation == "swiglu":
        gates, values = feedforward.inner.weight.chunk(2)
        gate_bias, value_bias = feedforward.inner.bias.chunk(2)
        spec.linear_0.weight, spec.linear_0.bias = gates, gate_bias
        spec.linear_0_noact.weight, spec.linear_0_noact.bias = values, value_bias
    else:
        _linear(spec.linear_0, feedforward.inner)
    _linear(spec.linear_1, feedforward.output)
