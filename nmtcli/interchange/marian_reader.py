"""Read a MarianMT model: a folder as transformers writes it becomes a model directory of ours.

The model is the same: its log-probabilities differ by rounding only. As in Marian itself and in CTranslate2, and other
than in transformers, the padding piece gets no probability.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from nmtcli.checkpoint import ModelInfo, load_tensors, model_weights, read_json, write_model
from nmtcli.config import DataConfig, ModelConfig, SearchConfig
from nmtcli.errors import DataError, UserError
from nmtcli.interchange.hub import MARIAN_CLASS, no_safetensors
from nmtcli.interchange.marian_vocabulary import EOS_PIECE, PAD_PIECE, UNK_PIECE, Side, Vocabulary, tokenizers_of
from nmtcli.interchange.marian_weights import (
    BIAS,
    OUTPUT,
    POSITIONS,
    SHARED,
    SOURCE,
    TARGET,
    column_order,
    layer_weights,
    marian_positions,
)
from nmtcli.models.quantized import empty_model
from nmtcli.vocabulary import BOS

CONFIG, GENERATION, TOKENIZER, WEIGHTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "model.safetensors",
)
SOURCE_MODEL, TARGET_MODEL, VOCABULARY, TARGET_VOCABULARY = (
    "source.spm",
    "target.spm",
    "vocab.json",
    "target_vocab.json",
)
FILES = CONFIG, WEIGHTS, SOURCE_MODEL, TARGET_MODEL, VOCABULARY  # that every model has
OPTIONAL = TARGET_VOCABULARY, GENERATION, TOKENIZER
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu"}
# The logit of PAD, BOS and pieces that Marian does not have. It is not lower, as label smoothing averages over it.
NEVER = -100.0
_NAME = re.compile(r"opus-mt-(?:tc-)?(?:tiny-|base-|big-|bible-big-)*([^-]+)-([^-]+)")


def convert(folder: Path, output: Path, fingerprint: str) -> None:
    """Write the model of a Marian folder into the existing directory `output`.

    `fingerprint` takes the place of that of the training data. Raises UserError for what a model of ours cannot
    represent, and DataError for missing and damaged files.
    """
    settings = read_json(folder / CONFIG)
    _check_settings(folder, settings)
    _check_files(folder)
    separate = (folder / TARGET_VOCABULARY).is_file() and _read_if_there(folder / TOKENIZER).get(
        "separate_vocabs", True
    )
    source_vocabulary = _vocabulary(folder / VOCABULARY)
    target_vocabulary = _vocabulary(folder / TARGET_VOCABULARY) if separate else source_vocabulary
    tensors = load_tensors(folder / WEIGHTS)
    source, target, tokenizers = tokenizers_of(
        (folder / SOURCE_MODEL, folder / TARGET_MODEL),
        (source_vocabulary, target_vocabulary),
        _never_written(tensors, target_vocabulary),
    )
    tables = _Tables.of(folder, tensors, settings)
    for vocabulary, table in (
        (source_vocabulary, tables.source),
        (target_vocabulary, tables.target),
        (target_vocabulary, tables.output),
    ):
        if max(vocabulary.values()) >= len(table):
            raise DataError(
                f"{folder / WEIGHTS}: has {len(table):,} embeddings, too few for the vocabulary",
                "the files are of different models; copy them again",
            )
    tie = "none" if not tables.tied else "all" if tables.shared and tokenizers.joint else "target"
    first = settings.get("decoder_start_token_id", target_vocabulary[PAD_PIECE])
    if type(first) is not int or not 0 <= first < len(tables.target):
        raise DataError(
            f"{folder / CONFIG}: decoder_start_token_id {first} is no row of the embeddings",
            "the file is damaged, or of another model; copy it again",
        )
    start = tables.target[first]
    model = _model_settings(folder, settings, tie, zero_start=not start.any())
    weights = _weights(folder, tensors, tables, (source, target), model)
    if start.any():
        weights["source_embedding.weight" if tie == "all" else "target_embedding.weight"][BOS] = start[
            column_order(len(start))
        ]
    source_language, target_language = languages(folder)
    info = ModelInfo(
        source_language=source_language,
        target_language=target_language,
        source_size=len(tokenizers.source),
        target_size=len(tokenizers.target),
        data_fingerprint=fingerprint,
        updates=0,
        model=model,
        search=_search_settings(folder, settings),
    )
    write_model(output, info, weights, tokenizers)


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise UserError for what a model of ours cannot represent."""
    activation = settings.get("activation_function", "gelu")
    refused = [
        (settings.get("normalize_before"), "normalize_before is true (pre-norm)"),
        (settings.get("normalize_embedding"), "normalize_embedding is true"),
        (settings.get("add_final_layer_norm"), "add_final_layer_norm is true"),
        (settings.get("static_position_embeddings") is False, "static_position_embeddings is false"),
        (str(activation) not in ACTIVATIONS, f"activation_function is {activation}, not {', '.join(ACTIVATIONS)}"),
    ]
    if messages := [message for is_set, message in refused if is_set]:
        lines = "\n".join(f"{folder / CONFIG}: nmt has no such model: {message}" for message in messages)
        raise UserError(lines, "open this model with transformers")


def _check_files(folder: Path) -> None:
    """Raise UserError or DataError for a missing file."""
    for name in FILES:
        if (folder / name).is_file():
            continue
        if name == WEIGHTS and any(folder.glob("pytorch_model*.bin")):
            raise no_safetensors(folder, MARIAN_CLASS)
        if name == WEIGHTS and any(folder.glob("*.safetensors.index.json")):
            raise UserError(f"{folder}: the weights are in several files", f"save them as one {WEIGHTS}")
        raise DataError(f"{folder / name}: missing", "the folder of a MarianMT model needs it; copy it again")


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _vocabulary(path: Path) -> Vocabulary:
    """The id of each piece. Raises DataError."""
    vocabulary = read_json(path)
    if not all(isinstance(number, int) and number >= 0 for number in vocabulary.values()):
        raise DataError(f"{path}: not a vocabulary of pieces and ids", "the file is damaged")
    if missing := [piece for piece in (EOS_PIECE, UNK_PIECE, PAD_PIECE) if piece not in vocabulary]:
        raise DataError(f"{path}: has no {', '.join(missing)}", "a MarianMT vocabulary has it; copy the file again")
    return vocabulary


def _never_written(tensors: Mapping[str, Tensor], vocabulary: Vocabulary) -> set[str]:
    """The pieces without probability: in an export of ours with separate tokenizers, those of the source side."""
    bias = tensors.get(BIAS, torch.empty(0)).flatten().tolist()
    return {piece for piece, number in vocabulary.items() if number < len(bias) and bias[number] <= NEVER}


class _Tables:
    """The embedding tables [V, d] and the output layer, some of them the same."""

    def __init__(self, source: Tensor, target: Tensor, output: Tensor) -> None:
        self.source, self.target, self.output = source, target, output
        self.tied, self.shared = output is target, source is target

    @classmethod
    def of(cls, folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> "_Tables":
        """The tables, tied as transformers ties them."""
        tied, shared = (settings.get(f"{name}_embeddings", True) for name in ("tie_word", "share_encoder_decoder"))
        names: list[tuple[str, ...]]
        if tied and shared:
            names = [(SHARED, TARGET, SOURCE, OUTPUT)] * 3
        elif tied:  # a table that is not stored under its own name is the shared one
            names = [(SOURCE, SHARED), (TARGET, OUTPUT, SHARED), (TARGET, OUTPUT, SHARED)]
        else:
            names = [(SOURCE, SHARED), (TARGET, SHARED), (OUTPUT, TARGET, SHARED)]
        found = [next((tensors[name] for name in one if name in tensors), None) for one in names]
        if any(table is None for table in found):
            raise DataError(f"{folder / WEIGHTS}: has no embeddings", "the file is damaged; copy it again")
        return cls(*(table for table in found if table is not None))


def _model_settings(folder: Path, settings: Mapping[str, Any], tie: str, zero_start: bool) -> ModelConfig:
    """The settings of the model. Raises DataError for missing and wrong ones."""
    try:
        halves = {
            half: {
                "type": "transformer",
                "layers": settings[f"{half}_layers"],
                "hidden_size": settings["d_model"],
                "heads": settings[f"{half}_attention_heads"],
                "feedforward_size": settings[f"{half}_ffn_dim"],
                "norm": "post",
                "positions": "sinusoidal",
                "activation": ACTIVATIONS[settings.get("activation_function", "gelu")],
            }
            for half in ("encoder", "decoder")
        }
        embedding = {
            "size": settings["d_model"],
            "tie": tie,
            "scale": settings.get("scale_embedding", False),
            "zero_start": zero_start,
        }
        return ModelConfig.model_validate(
            {"embedding": embedding, **halves, "dropout": settings.get("dropout", 0.1), "output_bias": True}
        )
    except KeyError as error:
        raise DataError(f"{folder / CONFIG}: has no {error.args[0]}", "the file is damaged") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise DataError(
            f"{folder / CONFIG}: nmt has no such model: {key}{first['msg']} (is {first['input']!r})",
            "the file is damaged; copy it again",
        ) from None


def _weights(
    folder: Path, tensors: Mapping[str, Tensor], tables: _Tables, sides: tuple[Side, Side], model: ModelConfig
) -> dict[str, Tensor]:
    """Our weights by name. Raises UserError for other positions than sinusoidal ones, DataError for wrong tensors."""
    width, path = model.embedding.size, folder / WEIGHTS
    for name in POSITIONS:
        stored = tensors.get(name)
        if stored is not None and stored.dim() != 2:
            raise DataError(f"{path}: {name} is no table", "the file is damaged; copy it again")
        if stored is not None and not torch.allclose(stored.float(), marian_positions(*stored.shape), atol=2e-3):
            raise UserError(f"{path}: {name} is not sinusoidal; nmt has no such model", "open it with transformers")
    order, (source, target) = column_order(width), sides
    mixed = DataError(f"{path}: weights do not match {CONFIG}", "the files are of different models")
    if any(table.dim() != 2 or table.size(1) != width for table in (tables.source, tables.target, tables.output)):
        raise mixed
    try:
        weights = {
            one.ours: one.imported(tensors, order) for one in layer_weights(model.encoder.layers, model.decoder.layers)
        }
    except KeyError as error:
        raise DataError(f"{path}: has no {error.args[0]}", "the file is damaged; copy it again") from None
    except (IndexError, RuntimeError):
        raise mixed from None
    embeddings = {"source_embedding.weight": _rows(tables.source, source.read, order)}
    if model.embedding.tie != "all":
        embeddings["target_embedding.weight"] = _rows(tables.target, target.read, order)
    if model.embedding.tie == "none":
        embeddings["output.weight"] = _rows(tables.output, target.written, order)
    bias = tensors.get(BIAS, torch.zeros(1, len(tables.output))).float().flatten()
    numbers = torch.tensor(target.written)
    if int(numbers.max()) >= len(bias):
        raise DataError(f"{path}: {BIAS} has {len(bias):,} numbers, too few for the vocabulary")
    embeddings["output.bias"] = bias[numbers.clamp(min=0)].masked_fill(numbers < 0, NEVER)
    weights |= embeddings
    expected = model_weights(empty_model(model, len(source.read), len(target.read)))
    if any(name not in expected or weight.shape != expected[name].shape for name, weight in weights.items()):
        raise mixed
    return weights


def _rows(table: Tensor, numbers: list[int], order: Tensor) -> Tensor:
    """Rows of a table in our order of columns; zeros for -1."""
    index = torch.tensor(numbers)
    return table.float()[index.clamp(min=0)][:, order].masked_fill((index < 0)[:, None], 0.0)


def _search_settings(folder: Path, settings: Mapping[str, Any]) -> SearchConfig:
    """The decoding settings of `generate` that ours have too."""
    given = {**settings, **_read_if_there(folder / GENERATION)}
    ours = {"num_beams": "beam_size", "length_penalty": "length_penalty", "no_repeat_ngram_size": "no_repeat_ngram"}
    values = {name: given[theirs] for theirs, name in ours.items() if given.get(theirs) is not None}
    search = SearchConfig(length_normalization="average")
    for name, value in values.items():
        with suppress(ValidationError):  # a setting that ours cannot have keeps its default
            search = SearchConfig.model_validate(search.model_dump() | {name: value})
    return search


def languages(folder: Path) -> tuple[str, str]:
    """The languages: of the tokenizer's settings, or of a name such as `opus-mt-de-en`; else "source" and "target"."""
    known = _read_if_there(folder / TOKENIZER)
    pair = known.get("source_lang"), known.get("target_lang")
    if all(isinstance(one, str) and one for one in pair):
        return str(pair[0]), str(pair[1])
    for part in reversed(folder.absolute().parts):
        if match := _NAME.search(part):
            return match[1], match[2]
    default = DataConfig()
    return default.source_language, default.target_language
