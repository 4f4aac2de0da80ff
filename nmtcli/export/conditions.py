"""The possible export formats of a model, and what prevents the others.

They depend on the settings and tokenizers only, so `nmt train --dry-run` and `nmt export --check` show them before
training.
"""

from typing import Literal, get_args

from nmtcli.checkpoint import StoredPrecision
from nmtcli.config import ModelConfig, SearchConfig
from nmtcli.config.search import SAMPLING_SETTINGS
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.interchange.marian_vocabulary import tags

ExportFormat = Literal["safetensors", "onnx", "ctranslate2", "marian", "argos"]

PRECISIONS: dict[ExportFormat, tuple[StoredPrecision, ...]] = {
    "safetensors": ("fp32", "int8", "fp16", "bf16"),
    "onnx": ("fp32", "int8", "fp16"),
    "ctranslate2": ("fp32", "int8", "int16", "fp16", "bf16"),
    "marian": ("fp32",),
    "argos": ("fp32", "int8", "int16", "fp16", "bf16"),
}

# Features that CTranslate2, which has its own search, does not support; printed at export.
CTRANSLATE2_REFUSES = (
    "terminology, banned and required phrases, prefixes, --protect copy, sampling, MBR, beam groups, ensembles"
)


def unmet(model: ModelConfig, tokenizers: Tokenizers | None, form: ExportFormat) -> list[str]:
    """Messages of the unmet conditions of a format for a model of these settings; empty if it is possible.

    `tokenizers` are None if they are not known: those of a preset.
    """
    match form:
        case "safetensors":
            messages = []
        case "onnx":
            messages = _onnx(model)
        case "ctranslate2" | "argos":
            messages = _ctranslate2(model)
        case "marian":
            messages = _marian(model)
    if tokenizers is not None and form in ("marian", "argos"):
        own = _joined_by_argos if form == "argos" else _language_tags
        messages += _sentencepiece(tokenizers) or own(tokenizers)
    return messages


def settle_search(search: SearchConfig, form: ExportFormat) -> tuple[SearchConfig, list[str]]:
    """The decoding settings that a format supports, and messages of the replaced ones.

    CTranslate2 has its own search: an ordinary beam, until beam_size hypotheses are finished. So has transformers,
    which opens a MarianMT model.
    """
    if form not in ("ctranslate2", "marian", "argos"):
        return search, []
    default = SearchConfig(length_normalization="average") if form == "marian" else SearchConfig()
    sampling = () if search.method == "beam" else ("method", *SAMPLING_SETTINGS, "mbr_samples", "mbr_metric")
    names = [*sampling, "beam_groups", "beam_diversity", *(["stopping"] if search.stopping == "bound" else [])]
    if form == "marian":
        names += ["length_normalization", "coverage_penalty", "min_length", "min_length_factor"]
        names += ["max_length", "max_length_factor", "max_length_offset"]
    changed = {name: getattr(default, name) for name in names if getattr(search, name) != getattr(default, name)}
    messages = [f"search.{name} {getattr(search, name)} is replaced by {value}" for name, value in changed.items()]
    return SearchConfig.model_validate(search.model_dump() | changed), messages


def reachable_formats(model: ModelConfig, tokenizers: Tokenizers | None) -> list[ExportFormat]:
    """The possible formats of a model of these settings; `tokenizers` as in `unmet`."""
    return [form for form in get_args(ExportFormat) if not unmet(model, tokenizers, form)]


def _onnx(model: ModelConfig) -> list[str]:
    if model.encoder.type == "rnn" and model.encoder.layer_norm:
        return [
            "model.encoder.layer_norm is true: layer normalisation in the cell needs a loop over tokens, which an ONNX"
            " graph cannot have for any length"
        ]
    return []


def _ctranslate2(model: ModelConfig) -> list[str]:
    encoder, decoder = model.encoder, model.decoder
    messages = [
        f"model.{name}.type is {part.type}: CTranslate2 supports Transformers only"
        for name, part in (("encoder", encoder), ("decoder", decoder))
        if part.type != "transformer"
    ]
    if encoder.reverse_source:
        messages.append("model.encoder.reverse_source is true: CTranslate2 cannot reverse the source")
    return messages


def _marian(model: ModelConfig) -> list[str]:
    encoder, decoder, embedding = model.encoder, model.decoder, model.embedding
    halves = ("encoder", encoder), ("decoder", decoder)
    messages = [
        f"model.{name}.type is {part.type}: MarianMT models are Transformers"
        for name, part in halves
        if part.type != "transformer"
    ]
    if messages:
        return messages
    messages += [f"model.{name}.norm is pre: MarianMT has post" for name, part in halves if part.norm != "post"]
    messages += [
        f"model.{name}.positions is {part.positions}: MarianMT has sinusoidal"
        for name, part in halves
        if part.positions != "sinusoidal"
    ]
    if encoder.activation != decoder.activation or encoder.activation == "swiglu":
        given = f"{encoder.activation} and {decoder.activation}"
        messages.append(f"activation is {given}: MarianMT has relu, gelu or silu in both")
    widths = embedding.size, encoder.hidden_size, decoder.hidden_size
    if len(set(widths)) > 1:
        messages.append(f"the widths of embedding, encoder and decoder are {widths}: MarianMT has one")
    if encoder.heads != decoder.heads:
        messages.append(f"heads are {encoder.heads} and {decoder.heads}: CTranslate2's converter reads one number")
    if not embedding.zero_start:
        messages.append("model.embedding.zero_start is false: MarianMT decoders start with a zero vector")
    if encoder.reverse_source:
        messages.append("model.encoder.reverse_source is true: MarianMT cannot reverse the source")
    return messages


def _sentencepiece(tokenizers: Tokenizers) -> list[str]:
    if tokenizers.pretrained:
        return ["the source tokenizer is that of a pretrained encoder: the format has SentencePiece models"]
    if "word" in (tokenizers.source.type, tokenizers.target.type):
        return ["data.tokenizer.type is word: its unknown words differ from SentencePiece's"]
    return []


def _joined_by_argos(tokenizers: Tokenizers) -> list[str]:
    if tokenizers.target.byte_pieces.any() and not tokenizers.source.byte_pieces.any():
        return [
            "data.tokenizer.byte_fallback is false for the source only: the source tokenizer joins the target pieces"
            " there"
        ]
    return []


def _language_tags(tokenizers: Tokenizers) -> list[str]:
    """MarianMT cuts a tag off before segmentation; after a tag of ours, in training, was a piece ▁ before it."""
    source = tokenizers.source
    pieces = {*source.pieces(range(len(source)))}
    own = [tag for tag in tags(sorted(source.symbols)) if tag in pieces and f"▁{tag}" not in pieces]
    return [f"MarianMT drops the space before {own[0]}, with which it was trained: name tags <2fra>"] if own else []
