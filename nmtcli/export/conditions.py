"""Which formats a model of given settings can be exported to, and what stands in the way of the others.

Settings suffice, so `nmt train --dry-run` and `nmt export --check` tell it before anything is trained.
"""

from typing import Literal, get_args

from nmtcli.checkpoint import StoredPrecision
from nmtcli.config import ModelConfig, SearchConfig
from nmtcli.config.search import SAMPLING_SETTINGS

ExportFormat = Literal["safetensors", "onnx", "ctranslate2"]

PRECISIONS: dict[ExportFormat, tuple[StoredPrecision, ...]] = {
    "safetensors": ("fp32", "int8", "fp16", "bf16"),
    "onnx": ("fp32", "int8", "fp16"),
    "ctranslate2": ("fp32", "int8", "int16", "fp16", "bf16"),
}

# What CTranslate2, which searches itself, refuses at translation; told before anybody relies on it.
CTRANSLATE2_REFUSES = (
    "terminology, banned and required phrases, prefixes and placeholders, sampling, MBR, beam groups, ensembles"
)


def unmet(model: ModelConfig, form: ExportFormat) -> list[str]:
    """The conditions of a format that a model of these settings does not meet, in words; none if it can have it."""
    match form:
        case "safetensors":
            return []
        case "onnx":
            return _onnx(model)
        case "ctranslate2":
            return _ctranslate2(model)


def settle_search(search: SearchConfig, form: ExportFormat) -> tuple[SearchConfig, list[str]]:
    """The settings of search as a format can follow them, and what was replaced, in words.

    CTranslate2 searches by itself: a beam without groups, until a beam is finished.
    """
    if form != "ctranslate2":
        return search, []
    default = SearchConfig()
    sampling = () if search.method == "beam" else ("method", *SAMPLING_SETTINGS, "mbr_samples", "mbr_metric")
    names = [*sampling, "beam_groups", "beam_diversity", *(["stopping"] if search.stopping == "bound" else [])]
    changed = {name: getattr(default, name) for name in names if getattr(search, name) != getattr(default, name)}
    told = [f"search.{name} {getattr(search, name)} is replaced by {value}" for name, value in changed.items()]
    return SearchConfig.model_validate(search.model_dump() | changed), told


def reachable_formats(model: ModelConfig) -> list[ExportFormat]:
    """The formats that a model of these settings can have."""
    return [form for form in get_args(ExportFormat) if not unmet(model, form)]


def _onnx(model: ModelConfig) -> list[str]:
    if model.encoder.type == "rnn" and model.encoder.layer_norm:
        return [
            "model.encoder.layer_norm is true: normalising inside the cell is a loop over tokens, which no graph holds"
            " for any length"
        ]
    return []


def _ctranslate2(model: ModelConfig) -> list[str]:
    encoder, decoder = model.encoder, model.decoder
    found = [
        f"model.{name}.type is {half.type}: CTranslate2 has Transformers only"
        for name, half in (("encoder", encoder), ("decoder", decoder))
        if half.type != "transformer"
    ]
    if encoder.reverse_source:
        found.append("model.encoder.reverse_source is true: CTranslate2 reads a sentence as it is written")
    return found
