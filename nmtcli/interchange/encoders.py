"""A pretrained encoder of Hugging Face `transformers`: its folder opened for `nmt prepare` and `nmt train`.

The folder has config.json, the weights as safetensors and the files of a fast tokenizer. `nmt prepare` stores the
tokenizer in the data directory, `nmt train` the settings and weights in each checkpoint. No folder is needed later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from nmtcli.checkpoint import INFO, read_json
from nmtcli.data.pretrained_tokenizer import PretrainedTokenizer
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import DataError, UserError
from nmtcli.interchange.hub import hub_folder, is_hub_name, no_safetensors
from nmtcli.models.pretrained import FAMILIES, position_limit
from nmtcli.paths import quoted

# What a folder of a hub model is fetched for: other files are weights of other programs.
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
# Keys of config.json that say where the model is from, or are of its output layers.
_OMITTED = {
    *("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype", "model_type"),
    *("id2label", "label2id", "problem_type", "return_dict", "output_hidden_states", "output_attentions"),
}
_AROUND = 2  # tokens before and after a sentence
T = TypeVar("T")


@dataclass(frozen=True)
class EncoderFolder:
    """The folder of a pretrained encoder, and the settings in its config.json."""

    name: str  # as the user gave it
    path: Path
    architecture: dict[str, Any]  # with `model_type` first

    @classmethod
    def open(cls, name: str) -> Self:
        """The encoder of a folder or of the Hugging Face Hub.

        Raises UserError where there is none, for a kind or weights that `nmt` does not read, or without transformers.
        """
        given = Path(name)
        hint = "give the folder of a pretrained encoder, or check its name and the network"
        path = hub_folder(given, hint, _FILES) if is_hub_name(given) else given
        if not path.is_dir():
            raise UserError(
                f"{name}: no such folder", "give the folder of a pretrained encoder, or OWNER/NAME of the hub"
            )
        if not (path / INFO).is_file():
            raise UserError(f"{name}: not a pretrained encoder (no {INFO})", "give a folder that transformers saved")
        settings = read_json(path / INFO)
        kind = settings.get("model_type")
        if kind not in FAMILIES:
            what = "not a model of transformers" if kind is None else f"a model of type {kind}"
            raise UserError(f"{name}: {what}; a pretrained encoder is one of {', '.join(FAMILIES)}", "choose another")
        if settings.get("is_decoder") or settings.get("add_cross_attention"):
            raise UserError(f"{name}: a decoder, not an encoder (is_decoder or add_cross_attention)", "choose another")
        if not any(path.glob("*.safetensors")):
            raise no_safetensors(given, "AutoModel")
        AutoConfig = _transformers().AutoConfig  # noqa: N806
        config = _read(name, lambda: AutoConfig.from_pretrained(path, local_files_only=True)).to_dict()
        architecture = {"model_type": kind, **_kept(config)}
        _read(name, lambda: _try(architecture))
        return cls(name, path, architecture)

    def tokenizer(self) -> PretrainedTokenizer:
        """Its tokenizer. Raises UserError for one that transformers does not have as a fast one."""
        tokenizer = _read(
            self.name,
            lambda: _transformers().AutoTokenizer.from_pretrained(self.path, local_files_only=True),
        )
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"{self.name}: has only a slow tokenizer ({type(tokenizer).__name__})", "nmt needs a tokenizer.json"
            )
        if tokenizer.pad_token_id is None:
            raise UserError(f"{self.name}: its tokenizer has no padding token", "choose another encoder")
        backend = tokenizer.backend_tokenizer
        backend.enable_truncation(position_limit(self.architecture))
        backend.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
        try:
            made = PretrainedTokenizer(backend.to_str().encode())
        except ValueError as error:
            raise UserError(f"{self.name}: cannot use its tokenizer: {error}", "choose another encoder") from None
        if (size := max(backend.get_vocab().values()) + 1) > self.architecture["vocab_size"]:
            raise UserError(
                f"{self.name}: its tokenizer has {size:,} pieces, the encoder embeddings of"
                f" {self.architecture['vocab_size']:,}",
                "copy the folder again",
            )
        return made

    def settings(self) -> dict[str, Any]:
        """The settings of `model.encoder` that it decides, without the ids of special tokens."""
        config = _transformers().AutoConfig.for_model(**self.architecture)
        sizes = {"layers": config.num_hidden_layers, "hidden_size": config.hidden_size}
        return {"architecture": self.architecture, **sizes}

    def has(self, architecture: dict[str, Any]) -> bool:
        """Whether this is its architecture, which another version of transformers may have written."""
        ours, theirs = (
            _kept(_transformers().AutoConfig.for_model(**one).to_dict()) for one in (self.architecture, architecture)
        )
        return ours == theirs

    def check(self, tokenizers: Tokenizers) -> None:
        """Raises UserError unless the source of the data has the vocabulary of this encoder."""
        source = tokenizers.source
        if not isinstance(source, PretrainedTokenizer):
            raise UserError(
                "model.encoder.type is pretrained, but the data was prepared with a tokenizer of its own",
                f"prepare it again with --set data.tokenizer.pretrained={quoted(Path(self.name))}",
            )
        theirs = self.tokenizer()
        if theirs.names != source.names or theirs.special_ids != source.special_ids:
            raise UserError(
                f"{self.name}: the data was prepared with the tokenizer of another encoder",
                f"prepare it again with --set data.tokenizer.pretrained={quoted(Path(self.name))}",
            )

    def weights(self) -> dict[str, Tensor]:
        """The weights in fp32, by their names in `PretrainedEncoder.model`. Raises DataError for damaged ones."""
        model, report = _read(
            self.name,
            lambda: _transformers().AutoModel.from_pretrained(
                self.path,
                local_files_only=True,
                use_safetensors=True,
                dtype="float32",
                output_loading_info=True,
            ),
        )
        weights = {name: weight.detach() for name, weight in model.named_parameters() if not name.startswith("pooler.")}
        if missing := sorted(name for name in report["missing_keys"] if name in weights):
            raise DataError(f"{self.name}: has no weights {', '.join(missing[:3])}", "copy the folder again")
        return weights


def _try(architecture: dict[str, Any]) -> None:
    """Raise an error for settings that are no model, or that can read no word."""
    if position_limit(architecture) <= _AROUND:
        raise ValueError(f"max_position_embeddings is {architecture['max_position_embeddings']}")
    transformers = _transformers()
    with torch.device("meta"):
        transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**architecture))


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    """The settings in a config.json that make a model of another kind."""
    return {key: value for key, value in config.items() if key not in _OMITTED}


def _transformers() -> Any:
    try:
        import transformers  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("a pretrained encoder needs transformers", "pip install 'nmtcli[pretrained]'") from None
    return transformers


def _read(name: str, open_part: Callable[[], T]) -> T:
    """A part of a folder by the code of transformers, whose errors are many; without its warnings and progress bar."""
    logging = _transformers().logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return open_part()
    except (UserError, MemoryError):
        raise
    except Exception as error:  # of many types for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{name}: transformers cannot open it: {reason}", "copy the folder again, or choose another"
        ) from None
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
