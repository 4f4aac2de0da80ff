"""Bytes of a user's file: local or at a URL, plain or compressed, and every way to fail told in one line.

Compression is recognised by content, not by name.
"""

import bz2
import gzip
import hashlib
import lzma
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nmtcli.errors import DataError

_CHUNK = 2**20  # bytes read at a time when only looking or counting


def _open_zstd(path: Path) -> Any:
    return pa.input_stream(str(path), compression="zstd")


_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}
_UNREADABLE = {
    b"\xff\xfe": ("UTF-16 or UTF-32 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    b"PK\x03\x04": ("a zip archive", "unpack it first: plain text, gzip, bzip2, xz and zstd are read"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it first: plain text, gzip, bzip2, xz and zstd are read"),
}


@dataclass(frozen=True)
class File:
    """A file as the user named it, and where its bytes lie on this machine."""

    name: str
    path: Path

    @classmethod
    def fetch(cls, name: str, cache: Path) -> "File":
        """The file a path or a URL names; what is remote is copied into `cache` once. Raises DataError."""
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{name!a}: the name of the file is not UTF-8", "rename it") from None
        if "://" not in name:
            return cls(name, Path(name))
        local = cache / hashlib.sha256(name.encode()).hexdigest()
        if not local.exists():
            try:
                filesystem, remote = fsspec.core.url_to_fs(name)
                with tempfile.NamedTemporaryFile(dir=cache, delete=False) as partial:
                    filesystem.get_file(remote, partial.name)
                Path(partial.name).rename(local)
            except ImportError as error:
                raise DataError(f"{name}: cannot fetch it: {error}", "pip install 'fsspec[http]' for https") from None
            except FileNotFoundError:
                raise DataError(f"{name}: no such file") from None
            except Exception as error:  # every file system has errors of its own
                raise DataError(f"{name}: cannot fetch it: {str(error) or type(error).__name__}") from None
        return cls(name, local)

    def digest(self) -> str:
        """Sha256 of the file as stored, in hexadecimal. Raises DataError if it cannot be read."""
        with self.readable(), self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def check_there(self) -> None:
        """Raises DataError if this is not a file that can be read more than once."""
        with self.readable():
            if not stat.S_ISREG(self.path.stat().st_mode):
                kind = "a directory" if self.path.is_dir() else "not a regular file"
                raise DataError(f"{self.name}: is {kind}", "give a file; it is read more than once")
            with self.path.open("rb") as file:
                file.read(1)

    def check(self) -> bytes:
        """The first megabyte of its content. Raises DataError if this is no text we can read, or empty."""
        self.check_there()
        with self.readable():
            with self.path.open("rb") as file:
                self._refuse_unreadable(file.read(_CHUNK))
            with self.open() as content:
                start = content.read(_CHUNK)
        if not start:
            raise DataError(f"{self.name}: is empty")
        self._refuse_unreadable(start)
        if start.count(0) > len(start) // 4:
            raise DataError(
                f"{self.name}: is binary, or UTF-16 text", "give UTF-8 text: iconv -f UTF-16 -t UTF-8 converts it"
            )
        return start

    def open(self) -> BinaryIO:
        """The uncompressed bytes; use it inside `readable()`."""
        with self.path.open("rb") as file:
            start = file.read(8)
        for magic, opener in _COMPRESSED.items():
            if start.startswith(magic):
                return BufferedReader(opener(self.path), _CHUNK)  # splits lines in C
        return self.path.open("rb", buffering=_CHUNK)

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """Whole lines with their ends, about a megabyte at a time, and how many they are. Raises DataError.

        Where a block ends is a function of the content alone.
        """
        with self.readable(), self.open() as file:
            while lines := file.read(_CHUNK) + file.readline():
                yield lines, len(_ends(lines)) + (lines[-1:] != b"\n")

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Turn what can go wrong in reading into one clear line."""
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise DataError(f"{self.name}: damaged or cut short: {error}", "copy or download it again") from None
        except FileNotFoundError:
            raise DataError(f"{self.name}: no such file") from None
        except OSError as error:
            if error.errno is None:  # bz2 and Arrow tell damage so
                raise DataError(f"{self.name}: damaged or cut short: {error}", "copy or download it again") from None
            raise DataError(f"{self.name}: cannot read it: {error.strerror or error}") from None

    def _refuse_unreadable(self, start: bytes) -> None:
        for magic, (kind, hint) in _UNREADABLE.items():
            if start.startswith(magic):
                raise DataError(f"{self.name}: is {kind}", hint)


@dataclass(frozen=True)
class FromFile:
    """What the readers of one file have in common."""

    data: File

    @property
    def name(self) -> str:
        """The file."""
        return self.data.name

    @property
    def files(self) -> tuple[File, ...]:
        """The one file."""
        return (self.data,)


class LineReader:
    """Gives as many lines of an open file as asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._rest = file, b""

    def take(self, lines: int) -> tuple[bytes, int]:
        """So many lines with their ends, and how many they are: fewer at the end of the file."""
        content, ends = self._rest, _ends(self._rest)
        while len(ends) < lines and (part := self._file.read(_CHUNK)):
            ends = np.concatenate([ends, len(content) + _ends(part)])
            content += part
        if len(ends) < lines:
            self._rest = b""
            return content, len(ends) + (content[-1:] not in (b"", b"\n"))
        cut = int(ends[lines - 1]) + 1 if lines else 0
        self._rest = content[cut:]
        return content[:cut], lines


def _ends(content: bytes) -> npt.NDArray[np.intp]:
    """Where lines end in it: quicker than counting."""
    return np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
