"""Paths of the command line: comparison, and quoting for a shell."""

import os
import shlex
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from nmtcli.errors import UserError

PIPE = Path("-")  # standard input or output
STDIN_NAME = "standard input"
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")  # endings of compressed files


def file_format(path: Path) -> str:
    """The ending of a file name in lower case, without that of compression: .jsonl of both x.jsonl and x.jsonl.gz."""
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def as_argument(path: Path | str) -> str:
    """A path as an argument that is not parsed as an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def quoted(path: Path | str) -> str:
    """A path quoted for a shell."""
    return shlex.quote(as_argument(path))


def require_apart(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise UserError if an output file is also an input, or is given twice: by any name or link, or as `-`.

    Call it before opening a file for writing. Files are compared by device and inode, or by directory and name if they
    do not exist yet.
    """
    seen: dict[tuple[int | str, ...], str] = {}
    for path in inputs:
        if (identity := _identity(path, "input")) is not None:
            seen[identity] = _named(path, "input")
    written: dict[tuple[int | str, ...], str] = {}
    for path in outputs:
        if (identity := _identity(path, "output")) is None:
            continue
        name = _named(path, "output")
        if identity in seen:
            other = seen[identity]
            same = f"{name}: given twice" if name == other else f"{name}: is the same file as {other}"
            raise UserError(f"{same}; it would be overwritten while it is read", "write to another file")
        if identity in written:
            other = written[identity]
            same = f"{name}: given twice" if name == other else f"{name}: is the same file as {other}"
            raise UserError(f"{same}; both would be written", "give each output a file of its own")
        written[identity] = name


def _named(path: Path, role: str) -> str:
    return f"standard {role}" if path == PIPE else str(path)


def _identity(path: Path, role: str) -> tuple[int | str, ...] | None:
    """The identity of a file; None if it is not a regular file, such as a pipe, a terminal or a directory."""
    try:
        if path == PIPE:
            stream = sys.stdin if role == "input" else sys.stdout
            if stream is None:
                return None
            status = os.fstat(stream.fileno())
        else:
            status = path.stat()
    except FileNotFoundError:
        place = Path(os.path.realpath(path))
        try:
            folder = place.parent.stat()
        except OSError:
            return None
        return folder.st_dev, folder.st_ino, place.name
    except (OSError, ValueError):  # a stream without a file descriptor; a NUL in the name
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
