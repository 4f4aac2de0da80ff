"""Directories and files that appear whole or not at all, whenever the process is killed or the power fails."""

import errno
import fcntl
import os
import shlex
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from nmtcli.errors import ResourceError, UserError

_LONGEST_NAME = 255  # bytes, on usual file systems


@contextmanager
def writing(path: Path, then: str = "or choose another -o") -> Iterator[None]:
    """An OSError of writing `path` in words: ResourceError on a full disk, else UserError; `then` ends the hint."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{path}: the disk is full", f"free some space {then}") from error
        raise UserError(f"{path}: cannot write there: {error.strerror or error}", f"mend that {then}") from error


@contextmanager
def staged(output: Path, then: str = "or choose another -o") -> Iterator[Path]:
    """A new directory beside `output` that takes its name if the block ends well, and is removed if not.

    A killed run leaves only the hidden `.NAME.partial`, which the next run removes. `output` may exist if it is empty.
    Raises ResourceError on a full disk, UserError if the place cannot be written; see `writing`.
    """
    check_name(output)
    output = output.resolve()
    partial = _partial(output)
    with writing(output, then):
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial, os.O_RDONLY)
    try:
        with writing(output, then):
            _take(lock, partial)
        try:
            with writing(output, then):
                yield partial
                _flush(partial)
                partial.rename(output)
                _flush_directory(output.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except _Busy:
        raise UserError(f"{output}: another nmt is writing it", "wait until it is done, or choose another -o") from None
    finally:
        os.close(lock)


class _Busy(Exception):
    """Another process writes here."""


def _take(lock: int, partial: Path) -> None:
    """Keep others out, and clear away what a killed run left. The lock ends with the process, however that ends."""
    if not locked(lock):
        raise _Busy
    if not partial.exists() or not os.path.samestat(os.fstat(lock), partial.stat()):
        raise _Busy  # it took its final name this moment
    for entry in partial.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def locked(descriptor: int) -> bool:
    """Lock an open file until it is closed, as it is when the process ends; False if another process has the lock.

    Where the file system has no locks nobody is kept out.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[str | None]:
    """Hold the lock file `path`, which tells others this process and its host. Gives None, or who holds it already.

    It goes when the block ends; one that a killed process left is free. Raises UserError if it cannot be made.
    """
    while True:
        with writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not locked(descriptor):
                yield os.pread(descriptor, 300, 0).decode(errors="replace").strip() or "a process just started"
                return
            if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
                continue  # its holder took it away this moment
            with suppress(OSError):  # a full disk: the lock holds, though its owner has no name
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            try:
                yield None
            finally:
                with suppress(OSError):
                    path.unlink()
            return
        finally:
            os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that its old or its new content is there at any moment. Raises OSError.

    A device or a pipe is written to as it is; of a link, what it points to is written anew.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            file.write(content)
        return
    path = path.resolve()
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_output(path: Path, content: bytes, then: str = "or name another file") -> None:
    """`write_whole` for a file that the user named: ResourceError on a full disk, else UserError; see `writing`."""
    with writing(path, then):
        write_whole(path, content)


def check_output(path: Path) -> None:
    """Raise UserError if a file could not be written there: to be asked before hours of work."""
    with writing(path, "or name another file"):
        folder = path.absolute().parent
        if path.is_dir():
            raise UserError(f"{path}: cannot write: is a directory", "name a file")
        if not folder.is_dir():
            raise UserError(
                f"{path}: cannot write: no directory {path.parent}", f"mkdir -p {shlex.quote(str(path.parent))}"
            )
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise UserError(
                f"{path}: cannot write: permission denied, or a disk that is read-only", "name another file"
            )


def check_name(path: Path) -> None:
    """Raise UserError for a directory whose name is not UTF-8: the libraries that open models and data need it so."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="replace")
        raise UserError(f"{shown}: the name is not UTF-8", "rename it, or choose another") from None


def _partial(path: Path) -> Path:
    """Where something is written before it takes its name; of a very long name only the beginning fits."""
    name = f".{path.name}.partial"
    if len(os.fsencode(name)) > _LONGEST_NAME >= len(os.fsencode(path.name)):
        name = f".{sha256(os.fsencode(path.name)).hexdigest()}.partial"
    return path.with_name(name)


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
