"""Model directories and run directories: written atomically, read without executing anything in them.

A model directory has `config.json` (the description of the model), the tokenizer(s) and the weights. A checkpoint also
has the trainer state; an export may have another format. A run directory has checkpoints. torch is imported inside the
functions that use weights: other exports are opened without it.
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from nmtcli.config import Config, ModelConfig, SearchConfig, Section
from nmtcli.data.digests import checksum_of
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import DataError, UserError
from nmtcli.paths import quoted
from nmtcli.staging import check_name, exclusive, staged, write_whole, writing
from nmtcli.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from nmtcli.data.directory import PreparedData
    from nmtcli.models.packed import Precision
    from nmtcli.models.seq2seq import Seq2Seq

FORMAT = 1
INFO, WEIGHTS, STATE, TENSORS = "config.json", "model.safetensors", "state.json", "trainer.safetensors"
REPORT, CARD = "export.json", "README.md"  # of an export: the result of its check, as JSON and as text
POINTERS = "best", "last"  # of a run, in order of preference
Kind = Literal["pytorch", "onnx", "ctranslate2"]
StoredPrecision = Literal["fp32", "int8", "int16", "fp16", "bf16"]
AGAIN = "and run the same command again to resume"
_PARTIAL, _ASIDE = ".partial", ".diverged"  # endings of hidden checkpoints: incomplete, of a diverged training


class ModelInfo(Section):
    """`config.json` of a model directory: all that is needed to build and use the model."""

    format: int = FORMAT
    nmtcli: str = __version__
    kind: Kind = "pytorch"
    precision: StoredPrecision = "fp32"  # of the weights
    source_language: str
    target_language: str
    source_size: int  # vocabulary sizes
    target_size: int
    data_fingerprint: str
    updates: int
    several_sentences: float | None = None  # share of training sources with several; None for models before 0.2.0
    model: ModelConfig
    search: SearchConfig

    @classmethod
    def of(cls, data: "PreparedData", updates: int, config: Config) -> "ModelInfo":
        """The description of a model trained on this data with these settings."""
        return cls(
            source_language=data.manifest.source_language,
            target_language=data.manifest.target_language,
            source_size=len(data.tokenizers.source),
            target_size=len(data.tokenizers.target),
            data_fingerprint=data.manifest.fingerprint,
            updates=updates,
            several_sentences=data.manifest.several_sentences,
            model=config.model,
            search=config.search,
        )


class NewerFormat(DataError):
    """The format of a model is newer than this version of nmt."""


def upgrade(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """The `config.json` of an older format in the current one; raises NewerFormat for a newer one."""
    written = raw.get("format")
    if not isinstance(written, int) or written < 1:
        raise DataError(f"{path}: not the config of an nmt model (no format number)")
    if written > FORMAT:
        raise NewerFormat(
            f"{path}: format {written}, written by nmt {raw.get('nmtcli', '?')};"
            f" this nmt {__version__} reads up to {FORMAT}",
            "upgrade nmtcli",
        )
    return raw


def read_info(directory: Path) -> ModelInfo:
    """`config.json` of the model in `directory`; raises DataError where it is missing or damaged."""
    path = directory / INFO
    try:
        return ModelInfo.model_validate(upgrade(read_json(path), path))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", "the file is damaged") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; raises DataError where it cannot."""
    try:
        loaded = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not valid JSON", "the file is damaged or cut short") from None
    if not isinstance(loaded, dict):
        raise DataError(f"{path}: not a JSON object", "the file is damaged")
    return loaded


def load_tokenizers(directory: Path) -> Tokenizers:
    """The tokenizers of the model in `directory`; raises DataError where they are damaged or of another model."""
    info, tokenizers = read_info(directory), Tokenizers.load(directory)
    for side, tokenizer, size in (
        ("source", tokenizers.source, info.source_size),
        ("target", tokenizers.target, info.target_size),
    ):
        if len(tokenizer) != size:
            raise DataError(
                f"{directory}: the {side} tokenizer has {len(tokenizer):,} pieces, the model {size:,}",
                "the files are of different models; copy them again",
            )
    return tokenizers


def find_model(path: Path) -> Path:
    """The model directory of `path`: a checkpoint or an export itself, or the best (else last) checkpoint of a run."""
    if (path / INFO).is_file():
        return path
    run = RunDirectory(path)
    for name in POINTERS:
        if (directory := run.pointer(name)) is not None:
            return directory
    if steps := run.steps():  # the pointers are missing
        return run.checkpoint(steps[-1])
    if not path.exists():
        raise DataError(f"{path}: no such model", "give a run directory, a checkpoint or an export")
    if (path / "manifest.json").is_file():
        raise DataError(f"{path}: a data directory, not a model", "train a model on it first: nmt train DATA -o RUN")
    if run.checkpoints.is_dir():
        raise DataError(f"{path}: the run has no checkpoint yet", "wait until nmt train saves the first one")
    if path.name in POINTERS and path.is_file():
        raise DataError(f"{path}: is a pointer to a checkpoint, not a model", f"use the run: -m {quoted(path.parent)}")
    raise DataError(f"{path}: not a model directory (no {INFO}, no checkpoints)")


def model_files(path: Path) -> list[Path]:
    """The files of the model at `path` and of its run, which no output may overwrite."""
    try:
        directory = find_model(path)
    except DataError:
        return []  # opening it reports the error
    endings = {".json", ".jsonl", ".model", ".spm", ".safetensors", ".onnx", ".data", ".bin", ".yaml", ".md"}
    folders = directory, RunDirectory(path).checkpoints
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in endings]
    return [
        *files,
        *(path / name for name in (*POINTERS, "config.yaml", "fingerprint", "first-weights", "metrics.jsonl")),
    ]


def write_model(directory: Path, info: ModelInfo, weights: dict[str, "Tensor"], tokenizers: Tokenizers) -> None:
    """Write config, tokenizers and weights, all that translation needs, into an existing directory."""
    write_info(directory, info, tokenizers)
    save_tensors(directory / WEIGHTS, weights)


def write_info(directory: Path, info: ModelInfo, tokenizers: Tokenizers) -> None:
    """Write config and tokenizers, which every kind of model has."""
    tokenizers.save(directory)
    (directory / INFO).write_text(info.model_dump_json(indent=2) + "\n", "utf-8")


def file_digests(directory: Path, omitted: Collection[str] = (REPORT, CARD)) -> dict[str, dict[str, int | str]]:
    """Size and checksum of each file of a model by path; by default without report and card of an export."""
    digests: dict[str, dict[str, int | str]] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name not in omitted:
            digests[name] = {"bytes": path.stat().st_size, "xxh3": checksum_of(path)}
    return digests


def check_export(directory: Path, info: ModelInfo) -> None:
    """Raise DataError unless every file of an export exists and is unchanged. Checkpoints have no list of files."""
    if not (directory / REPORT).is_file():
        if info.kind == "pytorch" and info.precision == "fp32":
            return
        raise DataError(f"{directory / REPORT}: missing", "the export is not complete; export it again")
    check_files(directory)


def check_files(directory: Path) -> None:
    """Raise DataError unless the files in the list of `export.json` are there and unchanged."""
    written = read_json(directory / REPORT).get("files")
    if not isinstance(written, dict):
        raise DataError(f"{directory / REPORT}: has no list of files", "the export is damaged; export it again")
    digests = file_digests(directory)
    for name, was in written.items():
        now = digests.get(name)
        if now is None:
            raise DataError(f"{directory / name}: missing", "the export is not complete; export it again")
        if now != was:
            size = was.get("bytes") if isinstance(was, dict) else None
            known = isinstance(size, int) and size != now["bytes"]
            change = f"has {now['bytes']:,} bytes, was written with {size:,}" if known else "was changed"
            raise DataError(f"{directory / name}: {change}", "the export is damaged; export it again")


def require_access(directory: Path) -> None:
    """Raise DataError if a file there cannot be opened, for example for lack of permission: it may be sound."""
    try:
        for path in directory.iterdir():
            if path.is_file():
                path.open("rb").close()
    except OSError as error:
        raise DataError(
            f"{error.filename or directory}: cannot read: {error.strerror}", f"correct that, {AGAIN}"
        ) from None


def write_trainer_state(directory: Path, state: dict[str, Any], tensors: dict[str, "Tensor"]) -> None:
    """Write the trainer state, which only a resume needs, beside the model in the same directory."""
    save_tensors(directory / TENSORS, tensors)
    (directory / STATE).write_text(_state_text(state), "utf-8")


def _state_text(state: dict[str, Any]) -> str:
    return json.dumps(state, indent=2) + "\n"


def read_trainer_state(directory: Path) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """Read the trainer state; raises DataError where it is missing or damaged."""
    return read_json(directory / STATE), load_tensors(directory / TENSORS)


def save_tensors(path: Path, tensors: dict[str, "Tensor"], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file. Raises OSError."""
    from safetensors.torch import save_file

    with tensor_file(path):
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, path, metadata)


@contextmanager
def tensor_file(path: Path) -> Iterator[None]:
    """Context in which safetensors writes `path`: with the permissions of any new file, and errors that are OSErrors.

    safetensors would let the owner alone read it.
    """
    from safetensors import SafetensorError

    path.touch()
    mode = path.stat().st_mode
    try:
        yield
        with suppress(OSError):  # a file system without permissions
            path.chmod(mode)
    except SafetensorError as error:  # the errno is only in its message
        if (number := re.search(r"os error (\d+)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def load_tensors(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a safetensors file. Raises DataError if it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_name(path)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise DataError(f"{path}: missing", _another(path)) from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: damaged or cut short ({error})", _another(path)) from None


def _another(path: Path) -> str:
    """A hint which checkpoint to use in place of the one with this file."""
    run = RunDirectory(path.parent.parent.parent)
    others = [run.checkpoint(step) for step in run.steps() if run.checkpoint(step) != path.parent]
    return f"use another checkpoint: -m {shlex.quote(str(others[-1]))}" if others else "copy or export the model again"


def model_weights(model: "Seq2Seq") -> dict[str, "Tensor"]:
    """The weights by name; tied ones once."""
    return {name: weight.detach() for name, weight in model.named_parameters()}


def put_weights(model: "Seq2Seq", weights: dict[str, "Tensor"], path: Path) -> None:
    """Copy saved weights into a model; raises DataError unless names and shapes are equal."""
    current = model_weights(model)
    wrong = sorted(current.keys() ^ weights.keys())
    wrong = wrong or [name for name in current if current[name].shape != weights[name].shape]
    if wrong:
        raise DataError(
            f"{path}: weights do not match {INFO}: {', '.join(wrong[:3])}", "the model directory is damaged"
        )
    for name, weight in current.items():
        weight.copy_(weights[name])


def load_model(directory: Path, precision: "Precision | None" = None) -> "Seq2Seq":
    """The PyTorch model of a checkpoint or a safetensors export, on the CPU, in evaluation mode.

    With a precision its matrices are packed in it (`nmtcli.models.quantized`), for translation only; matrices stored in
    int8 always are. Without, weights stored in bf16 or fp16 are converted to fp32. Raises UserError
    where int8 is stored and another precision is given.
    """
    from nmtcli.models.quantized import assemble, empty_model, reduce_weights, stored_precision
    from nmtcli.models.seq2seq import Seq2Seq

    info, path = read_info(directory), directory / WEIGHTS
    tensors = load_tensors(path)
    sizes = info.model, info.source_size, info.target_size
    stored = stored_precision(tensors)
    if stored == "int8" and precision not in (None, "int8"):
        raise UserError(
            f"{directory}: is stored in int8 and cannot be loaded in {precision}", "use the run it was exported from"
        )
    if precision is None and stored != "int8":
        model = Seq2Seq(*sizes)
        put_weights(model, tensors, path)
        return model.eval()
    if precision is not None and stored != precision:
        tensors = reduce_weights(empty_model(*sizes), tensors, precision)
    try:
        return assemble(*sizes, tensors)
    except ValueError as error:
        raise DataError(f"{path}: weights do not match {INFO}: {error}", "the model directory is damaged") from None


def average_weights(directories: Sequence[Path]) -> dict[str, "Tensor"]:
    """The mean of the weights of several checkpoints."""
    total: dict[str, Tensor] = {}
    for directory in directories:
        for name, weight in load_tensors(directory / WEIGHTS).items():
            total[name] = total[name] + weight.double() if name in total else weight.double()
    return {name: (weight / len(directories)).float() for name, weight in total.items()}


def hide(path: Path, ending: str = _PARTIAL) -> None:
    """Rename a directory of a run to its hidden name with this ending, in place of what is there."""
    hidden = path.with_name(f".{path.name.removeprefix('.').removesuffix(_ASIDE)}{ending}")
    shutil.rmtree(hidden, ignore_errors=True)
    path.rename(hidden)


class RunDirectory:
    """A run: `config.yaml`, `metrics.jsonl`, `checkpoints/step-0012000/` and the pointers `last` and `best`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """The path of the checkpoint of an update."""
        return self.checkpoints / f"step-{step:07d}"

    def steps(self) -> list[int]:
        """The updates that have a checkpoint, in order. Each is complete: it was renamed into place."""
        names = ((path, path.name.removeprefix("step-")) for path in self.checkpoints.glob("step-*"))
        steps = ((path, int(name)) for path, name in names if name.isascii() and name.isdecimal())
        return sorted(step for path, step in steps if path == self.checkpoint(step))  # step-10 is a copy by the user

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training into this directory; creates it if it does not exist.

        The lock ends with the process; reading a run ignores it. Raises UserError, with host and process id, where
        another process has the lock.
        """
        check_name(self.path)
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path / ".lock") as owner:
            if owner is not None:
                raise UserError(
                    f"{self.path}: another nmt is already training in it: {owner}", "wait for it, or choose another -o"
                )
            yield

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Add a checkpoint and point `last` to it, atomically.

        Raises ResourceError on a full disk.
        """
        with staged(self.checkpoint(step), AGAIN) as directory:
            write(directory)
        self.point("last", step)

    def save_state(self, step: int, state: dict[str, Any]) -> None:
        """Replace the numbers of the trainer state in the checkpoint of an update."""
        path = self.checkpoint(step) / STATE
        with writing(path, AGAIN):
            write_whole(path, _state_text(state).encode())

    def set_search(self, search: SearchConfig) -> None:
        """Give the checkpoints, and their average, other decoding settings; damaged ones are left as they are."""
        for path in [*self.checkpoints.glob(f"step-*/{INFO}"), *self.checkpoints.glob(f"average/{INFO}")]:
            with suppress(DataError):
                raw = read_json(path) | {"search": search.model_dump()}
                write_whole(path, f"{json.dumps(raw, indent=2)}\n".encode())

    def move_damaged(self, step: int) -> Path:
        """Rename a damaged checkpoint; returns its new path."""
        path = self.checkpoint(step)
        places = (path.with_name(f"damaged-{path.name}{f'-{n}' if n else ''}") for n in count())
        moved = next(place for place in places if not place.exists())
        with writing(self.path, AGAIN):
            path.rename(moved)
        return moved

    def set_aside(self, steps: Sequence[int]) -> None:
        """Hide checkpoints of a diverged training. Of several attempts, those of the first are kept."""
        earlier = self._aside()
        for step in steps:
            hide(self.checkpoint(step), _PARTIAL if step in earlier else _ASIDE)

    def bring_back(self) -> None:
        """Undo `set_aside`; the checkpoints of later attempts are deleted."""
        hidden = self._aside()
        for step in self.steps():
            if hidden and step >= min(hidden):
                hide(self.checkpoint(step))
        for step, path in hidden.items():
            path.rename(self.checkpoint(step))

    def _aside(self) -> dict[int, Path]:
        """The hidden checkpoints of a diverged training, by update."""
        paths = self.checkpoints.glob(f".step-*{_ASIDE}")
        return {int(path.name.removeprefix(".step-").removesuffix(_ASIDE)): path for path in paths}

    def point(self, name: str, checkpoint: int | Path | None) -> None:
        """Let a pointer name the checkpoint of an update or a model directory of the run; None removes it."""
        if checkpoint is None:
            (self.path / name).unlink(missing_ok=True)
            return
        directory = self.checkpoint(checkpoint) if isinstance(checkpoint, int) else checkpoint
        with writing(self.path / name, AGAIN):
            write_whole(self.path / name, f"{directory.relative_to(self.path).as_posix()}\n".encode())

    def pointer(self, name: str) -> Path | None:
        """The checkpoint that a pointer names; None without the pointer. Raises DataError where that does not exist."""
        directory = self._named(name)
        if directory is not None and not (directory / INFO).is_file():
            raise DataError(
                f"{self.path / name}: points to {directory}, which is not a checkpoint", "the run directory is damaged"
            )
        return directory

    def has(self, name: str) -> bool:
        """Whether a pointer names a model that exists."""
        directory = self._named(name)
        return directory is not None and (directory / INFO).is_file()

    def _named(self, name: str) -> Path | None:
        path = self.path / name
        return self.path / path.read_text("utf-8", "replace").strip() if path.is_file() else None

    def prune(self, keep: set[int], aside: bool = True) -> None:
        """Delete checkpoints not in `keep`, the leftovers of a killed save or prune, and those set `aside`.

        The newest and those that `last` and `best` name are always kept.
        """
        needed = {self._named(name) for name in POINTERS} | {self.checkpoint(step) for step in keep}
        hidden = self._aside().values() if aside else ()
        for path in (*map(self.checkpoint, self.steps()[:-1]), *hidden):
            if path not in needed:
                hide(path)  # first, so that no incomplete checkpoint has this name
        for leftover in self.checkpoints.glob(f".*{_PARTIAL}"):
            shutil.rmtree(leftover, ignore_errors=True)  # a file in use may stay until the next time

    def select(self, selection: str) -> list[Path]:
        """The checkpoints of `last:N` or `best:N`. Raises UserError if there are too few."""
        kind, _, number = selection.partition(":")
        if kind not in ("last", "best") or not number.isdecimal() or int(number) < 1:
            raise UserError(f"--average {selection}: write it as last:N or best:N")
        steps = self.steps()
        if not steps:
            raise DataError(f"{self.path}: the run has no checkpoint")
        if kind == "best":
            best = read_json(self.checkpoint(steps[-1]) / STATE).get("best")
            if not isinstance(best, list) or not all(isinstance(entry, list) and entry for entry in best):
                raise DataError(
                    f"{self.checkpoint(steps[-1]) / STATE}: has no list of best checkpoints", "it is damaged"
                )
            steps = sorted(step for *_, step in best[: int(number)] if step in steps)
        chosen = steps[-int(number) :]
        if len(chosen) < int(number):
            raise UserError(
                f"--average {selection}: the run has {len(chosen)} such checkpoints only",
                f"train with train.keep_{kind}={number}, or average fewer",
            )
        return [self.checkpoint(step) for step in chosen]
