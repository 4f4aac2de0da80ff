"""Directories and files that appear whole or not at all, whenever the process is killed or the power fails."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nmtcli.errors import ResourceError, UserError


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """A new directory beside `output` that takes its name if the block ends well, and is removed if not.

    A killed run leaves only the hidden `.NAME.partial`, which the next run removes. `output` may exist if it is empty.
    Raises ResourceError on a full disk, UserError if the place cannot be written.
    """
    output = output.resolve()
    partial = output.with_name(f".{output.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{output}: cannot write there: {error.strerror or error}", "choose another -o") from error
    try:
        _take(lock, partial)
        yield partial
        _flush(partial)
        partial.rename(output)
        _flush_directory(output.parent)
    except _Busy:
        raise UserError(f"{output}: another nmt is writing it", "wait until it is done, or choose another -o") from None
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{output}: the disk is full", "free some space or choose another -o") from error
        raise UserError(f"{output}: cannot write there: {error.strerror or error}", "choose another -o") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(lock)


class _Busy(Exception):
    """Another process writes here."""


def _take(lock: int, partial: Path) -> None:
    """Keep others out, and clear away what a killed run left. The lock ends with the process, however that ends."""
    with suppress(OSError):  # a file system without locks
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Busy from None
    if not partial.exists() or not os.path.samestat(os.fstat(lock), partial.stat()):
        raise _Busy  # it took its final name this moment
    for entry in partial.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that its old or its new content is there at any moment. Raises OSError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _flush(directory: Path) -> None:
    """Force every file to the disk before the rename, so that a power cut cannot leave a whole name on half a file."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for path in (directory, *directory.rglob("*")):
        if path.is_dir():
            _flush_directory(path)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
