"""Models of the Hugging Face Hub, through huggingface_hub and its local cache."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nmtcli.errors import DataError, UserError
from nmtcli.paths import quoted

_NAME = re.compile(r"(?P<name>[\w-][\w.-]*/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")
# Weights that no version of nmt reads, and weights of other frameworks.
_IGNORED = ["pytorch_model*", "*.bin.index.json", "tf_model*", "flax_model*", "rust_model*", "*.ckpt", "*.pt", "*.h5"]

MARIAN_CLASS = "AutoModelForSeq2SeqLM"  # of transformers, for MarianMT


def is_hub_name(path: Path) -> bool:
    """Whether a path that does not exist has the form OWNER/NAME or OWNER/NAME@REVISION, and OWNER is no directory."""
    return not path.exists() and _NAME.fullmatch(str(path)) is not None and not Path(path.parts[0]).is_dir()


def hub_folder(path: Path, hint: str, files: Sequence[str] | None = None) -> Path:
    """The folder of a model of the hub in the local cache; downloaded if it is not there.

    `hint` says what else to give. `files` are patterns of the files to download; None: all but weights that `nmt` does
    not read.

    Raises DataError where the hub has no such model or cannot be reached.
    """
    match = _NAME.fullmatch(str(path))
    assert match is not None
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise UserError(f"{path}: no such model", "give a directory, or pip install huggingface_hub") from None
    name, revision = match["name"], match["revision"]
    fetch = partial(
        snapshot_download,
        name,
        revision=revision,
        ignore_patterns=_IGNORED,
        allow_patterns=None if files is None else list(files),
    )
    try:
        folder = Path(fetch(local_files_only=True))
        if _has_weights(folder):
            return folder
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(fetch())
    except Exception as error:  # also those of the HTTP library, which are of many types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{path}: no such directory, and it cannot be downloaded from the Hugging Face Hub: {reason}",
            hint,
        ) from None


def no_safetensors(model: Path, kind: str) -> UserError:
    """The error for a folder or a hub model with other weights only; `kind` is the class of transformers for it."""
    match = _NAME.fullmatch(str(model)) if is_hub_name(model) else None
    name = str(model) if match is None else match["name"]
    revision = "" if match is None or match["revision"] is None else f", revision={match['revision']!r}"
    code = (
        f"from transformers import {kind} as M, AutoTokenizer as T; "
        f"[one.from_pretrained({name!r}{revision}).save_pretrained('NEW') for one in (M, T)]"
    )
    return UserError(
        f"{model}: has no model.safetensors; nmt reads no other weights, because opening a pickle can run code",
        f"if you trust it, convert it with transformers: python -c {quoted(code)}",
    )


def _has_weights(folder: Path) -> bool:
    """Whether a folder of the cache has more than single files that another program fetched."""
    weights = ("*.safetensors", "*.onnx", "*/model.bin")
    tokenizers = ("*.spm", "*.model", "tokenizer.json", "vocab.*")
    kinds = any(any(folder.glob(kind)) for kind in weights), any(any(folder.glob(kind)) for kind in tokenizers)
    return (folder / "config.json").is_file() and all(kinds)
