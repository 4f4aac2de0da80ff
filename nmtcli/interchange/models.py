"""Find a model of ours or of another toolkit; the latter is converted once and kept in a cache.

The cache is `nmtcli/models` in `$XDG_CACHE_HOME` or `~/.cache`, a model directory for each content.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from nmtcli.checkpoint import INFO, REPORT, WEIGHTS, check_files, find_model, read_json
from nmtcli.data.digests import checksum_of, sha256
from nmtcli.errors import UserError
from nmtcli.interchange.hub import MARIAN_CLASS, hub_folder, is_hub_name, no_safetensors
from nmtcli.staging import staged, writing

CONVERSION = 1  # raised when the result of a conversion changes
_HINT = "or set XDG_CACHE_HOME to a directory that can be written"


def local_model(path: Path) -> Path:
    """The model directory of `path`: see `find_model`; of a MarianMT folder, its conversion.

    A name OWNER/NAME[@REVISION] that is no path is a model of the Hugging Face Hub. Raises DataError where there is no
    model, UserError for one that cannot be represented.
    """
    hint = "give a run directory, a checkpoint or an export, or check the name and the network"
    directory = find_model(hub_folder(path, hint) if is_hub_name(path) else path)
    settings = read_json(directory / INFO)
    kind = settings.get("model_type")
    if kind is None or "format" in settings:
        return directory
    if kind != "marian":
        raise UserError(
            f"{path}: a Hugging Face model of type {kind}; nmt opens those of type marian", "open it with transformers"
        )
    if is_hub_name(path) and not (directory / WEIGHTS).is_file():  # others were not downloaded
        raise no_safetensors(path, MARIAN_CLASS)
    return _converted(directory)


def is_foreign_model(path: Path) -> bool:
    """Whether `path` is a model of the hub, or a folder with a model that is not ours."""
    if is_hub_name(path):
        return True
    return (path / INFO).is_file() and "format" not in read_json(path / INFO)


def cache_directory() -> Path:
    """The directory of converted models."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and a user without an entry
        raise UserError("there is no home directory for converted models", "set XDG_CACHE_HOME") from None
    return cache / "nmtcli" / "models"


def _converted(folder: Path) -> Path:
    """The conversion of a MarianMT folder, from the cache if it is there."""
    from nmtcli.interchange.marian_reader import FILES, OPTIONAL, convert, languages

    if (folder / REPORT).is_file() and "files" in read_json(folder / REPORT):  # an export of ours
        check_files(folder)
    files = [folder / name for name in (*FILES, *OPTIONAL) if (folder / name).is_file()]
    content = [f"{file.name} {checksum_of(file)}" for file in files]
    digest = sha256("\n".join([str(CONVERSION), *languages(folder), *content]))
    output = cache_directory() / f"marian-{digest[:32]}"
    if (output / INFO).is_file():
        return output
    with writing(output, _HINT):
        output.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(output.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be converting it
        if not (output / INFO).is_file():
            with staged(output, _HINT) as directory:
                convert(folder, directory, digest)
    finally:
        os.close(lock)
    return output
