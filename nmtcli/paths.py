"""Paths as users give them: which name the same file, and how a command names one."""

import os
import shlex
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from nmtcli.errors import UserError

PIPE = Path("-")  # standard input or output
STDIN_NAME = "standard input"


def as_argument(path: Path | str) -> str:
    """A path as an argument that is not taken for an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def quoted(path: Path | str) -> str:
    """A path as it is typed in a shell."""
    return shlex.quote(as_argument(path))


def require_apart(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise UserError if a file that is written is also read, or written twice: under any name, by a link, or as
    standard input or output, for which `-` stands.

    To be asked before anything is opened for writing. Files are compared by device and inode; one that is not there yet
    by its directory and name.
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
            same = f"{name}: named twice" if name == other else f"{name}: is the same file as {other}"
            raise UserError(f"{same}; it would be overwritten while it is read", "write to another file")
        if identity in written:
            other = written[identity]
            same = f"{name}: named twice" if name == other else f"{name}: is the same file as {other}"
            raise UserError(f"{same}; both would be written", "give each output a file of its own")
        written[identity] = name


def _named(path: Path, role: str) -> str:
    return f"standard {role}" if path == PIPE else str(path)


def _identity(path: Path, role: str) -> tuple[int | str, ...] | None:
    """What tells a file from all others; None for what is no file, such as a pipe, a terminal or a directory."""
    try:
        if path == PIPE:
            stream = sys.stdin if role == "input" else sys.stdout
            if stream is None:
                return None
            found = os.fstat(stream.fileno())
        else:
            found = path.stat()
    except FileNotFoundError:
        place = Path(os.path.realpath(path))
        try:
            folder = place.parent.stat()
        except OSError:
            return None
        return folder.st_dev, folder.st_ino, place.name
    except (OSError, ValueError):  # a stream that is no file of the system; a NUL in the name
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
