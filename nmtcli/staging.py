"""Atomic writing of files and directories, safe against a kill or a power failure."""

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
    """Turn an OSError of writing `path` into ResourceError (disk full) or UserError; `then` is the end of the hint."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{path}: the disk is full", f"free some space {then}") from error
        raise UserError(f"{path}: cannot write there: {error.strerror or error}", f"fix that {then}") from error


@contextmanager
def staged(output: Path, then: str = "or choose another -o") -> Iterator[Path]:
    """A temporary directory beside `output`, renamed to it at the end of the block, or removed after an exception.

    A killed run leaves only the hidden `.NAME.partial`, which the next run removes. `output` may exist if it is empty.
    Raises ResourceError on a full disk, UserError if the directory is not writable; see `writing`.
    """
    check_name(output)
    output = output.resolve()
    if output == Path.cwd() or output.is_mount():  # a directory is renamed to it
        kind = "the working directory" if output == Path.cwd() else "a mount point"
        raise UserError(f"{output}: is {kind}, which cannot be replaced", f"give a new directory in it {then}")
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
        raise UserError(f"{output}: another nmt process is writing it", "wait for it, or choose another -o") from None
    finally:
        os.close(lock)


class _Busy(Exception):
    """Another process writes to the directory."""


def _take(lock: int, partial: Path) -> None:
    """Lock the directory and remove what a killed run left. The operating system drops the lock with the process."""
    if not locked(lock):
        raise _Busy
    if not partial.exists() or not os.path.samestat(os.fstat(lock), partial.stat()):
        raise _Busy  # another process has just renamed it to its final name
    for entry in partial.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def locked(descriptor: int) -> bool:
    """Lock an open file until it is closed or the process ends; False if another process has the lock.

    On a file system without locks this does nothing.
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
    """Hold the lock file `path` with the number and host of this process. Yields None, or the current holder.

    The file is removed at the end of the block; one of a killed process is not locked. Raises UserError if it cannot be
    created.
    """
    while True:
        with writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not locked(descriptor):
                yield os.pread(descriptor, 300, 0).decode(errors="replace").strip() or "a process that has just started"
                return
            if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
                continue  # its holder has just removed it
            with suppress(OSError):  # on a full disk the lock holds without a description
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


@contextmanager
def staged_file(output: Path) -> Iterator[Path]:
    """A temporary file beside `output`, renamed to it at the end of the block, or removed after an exception.

    Raises ResourceError on a full disk, UserError if it cannot be written; see `writing`.
    """
    output = output.resolve()
    partial = _partial(output)
    with writing(output):
        try:
            yield partial
            _flush_file(partial)
            partial.rename(output)
            _flush_directory(output.parent)
        finally:
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file atomically: it has its old or its new content at any moment. Raises OSError.

    A device or a pipe is written directly; for a link, its target is replaced.
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
        if path.exists():
            with suppress(OSError):  # a file system without permissions
                shutil.copymode(path, partial)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_output(path: Path, content: bytes, then: str = "or name another file") -> None:
    """`write_whole` for a file given by the user; raises ResourceError or UserError as `writing` does."""
    with writing(path, then):
        write_whole(path, content)


def check_output(path: Path, replaced: bool = True) -> None:
    """Raise UserError if a file cannot be written there. Call it before long work.

    `replaced`: by `write_whole` or `staged_file`, which need its directory; else it is written in place.
    """
    with writing(path, "or name another file"):
        folder = path.absolute().parent
        if path.is_dir():
            raise UserError(f"{path}: cannot write: is a directory", "name a file")
        if not folder.is_dir():
            raise UserError(
                f"{path}: cannot write: no directory {path.parent}", f"mkdir -p {shlex.quote(str(path.parent))}"
            )
        needed = [path if path.exists() else folder]
        if replaced and path.is_file():
            needed.append(path.resolve().parent)
        if not all(os.access(one, os.W_OK) for one in needed):
            raise UserError(f"{path}: cannot write: permission denied, or a read-only file system", "name another file")


def check_name(path: Path) -> None:
    """Raise UserError for a directory name that is not UTF-8, which libraries for models and data need."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="replace")
        raise UserError(f"{shown}: the name is not UTF-8", "rename it, or choose another") from None


def _partial(path: Path) -> Path:
    """The temporary path of a file or directory; a hash replaces a name that would become too long."""
    name = f".{path.name}.partial"
    if len(os.fsencode(name)) > _LONGEST_NAME >= len(os.fsencode(path.name)):
        name = f".{sha256(os.fsencode(path.name)).hexdigest()}.partial"
    return path.with_name(name)


def _flush(directory: Path) -> None:
    """Flush every file to disk before the rename, so that a final name never has incomplete content after a power
    failure.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            _flush_file(path)
    for path in (directory, *directory.rglob("*")):
        if path.is_dir():
            _flush_directory(path)


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
