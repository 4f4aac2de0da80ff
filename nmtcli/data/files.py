"""Read the user's files, local or at a URL, plain or compressed, with an error message for each kind of failure.

When reading, compression is recognised by content; when writing, it is selected by name.
"""

import bz2
import codecs
import errno
import gzip
import lzma
import os
import re
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase, UnsupportedOperation
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nmtcli.data.digests import sha256, sha256_of
from nmtcli.errors import DataError, ResourceError, UserError
from nmtcli.paths import PIPE, STDIN_NAME, quoted

_CHUNK = 2**20  # bytes read at a time


def _pyarrow() -> Any:
    try:
        import pyarrow  # noqa: PLC0415 - not needed to translate with an export
    except ImportError:
        raise UserError("zstd needs pyarrow, which is not installed", "pip install pyarrow, or use gzip") from None
    return pyarrow


def _open_zstd(file: BinaryIO) -> Any:
    return _pyarrow().input_stream(file, compression="zstd")


class _Streams:
    """The content of bzip2 or xz streams, one after the other.

    Those of the standard library take a damaged second stream for the end of the file.
    """

    def __init__(self, new: Callable[[], Any], file: BinaryIO) -> None:
        self._new, self._file, self._decompressor = new, file, new()
        self._rest = b""

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end. Raises EOFError where the last stream is cut short."""
        while True:
            if self._decompressor.eof:
                self._rest = self._decompressor.unused_data.lstrip(b"\0")  # padding of xz
                while not self._rest:
                    if not (chunk := self._file.read(_CHUNK)):
                        return b""
                    self._rest = chunk.lstrip(b"\0")
                self._decompressor = self._new()
            if self._decompressor.needs_input and not self._rest:
                self._rest = self._file.read(_CHUNK)
                if not self._rest:
                    raise EOFError("the file ends inside a stream")
            data: bytes = self._decompressor.decompress(self._rest, size)
            self._rest = b""
            if data:
                return data

    def close(self) -> None:
        """Nothing is open."""


_COMPRESSED: dict[bytes, Callable[[BinaryIO], Any]] = {
    rb"\x1f\x8b": gzip.open,
    # with the start of a block, or the end of the stream
    rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)": lambda file: _Streams(bz2.BZ2Decompressor, file),
    rb"\xfd7zXZ\x00": lambda file: _Streams(lzma.LZMADecompressor, file),
    rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18": _open_zstd,  # a skippable frame is first in files of pzstd
}
_LEVEL = 6  # of gzip, that of the gzip command
_ARCHIVES = {b"PK\x03\x04": "a zip archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive"}
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_LEAST = 4  # bytes that tell it from a single zero in UTF-8 text
_PROBE = 4096  # bytes for recognising UTF-16 without a byte order mark


def decompressed(file: "BufferedReader[Any]", name: str) -> BinaryIO:
    """The bytes of a stream, decompressed if they are gzip, bzip2, xz or zstd. It need not be seekable."""
    start = file.peek(10)[:10]
    for magic, opener in _COMPRESSED.items():
        if re.match(magic, start, re.DOTALL):
            return BufferedReader(_Unpacked(file, opener, name), _CHUNK)  # splits lines in C
    return file


def compressor(path: Path) -> Callable[[bytes], bytes]:
    """The compression of a file by the ending of its name (`COMPRESSED`); for other endings bytes stay as they are.

    Compressed blocks may be written one after the other; they are read as one text. Equal bytes give equal blocks.
    Raises UserError if a package is missing.
    """
    ending = path.suffix.lower()
    if ending == ".gz":
        return lambda data: gzip.compress(data, _LEVEL, mtime=0)
    if ending == ".bz2":
        return bz2.compress
    if ending == ".xz":
        return lzma.compress
    if ending == ".zst":
        arrow = _pyarrow()
        return lambda data: arrow.compress(data, "zstd", asbytes=True)
    return lambda data: data


class _Unpacked(RawIOBase):
    """The content of a compressed stream. Unlike gzip.GzipFile and others it has no file descriptor."""

    def __init__(self, file: BinaryIO, opener: Callable[[BinaryIO], Any], name: str) -> None:
        self._file, self._name, self._bytes = file, name, 0
        with self._report_damage():
            self._content = opener(file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        with self._report_damage():
            chunk = self._content.read1(len(view))
        view[: len(chunk)] = chunk
        self._bytes += len(chunk)
        return len(chunk)

    def estimated_size(self) -> int | None:
        try:
            status, done = os.fstat(self._file.fileno()), self._file.tell()
        except OSError:  # a pipe, or not a file of the operating system
            return None
        return self._bytes * status.st_size // done if self._bytes and stat.S_ISREG(status.st_mode) else None

    def close(self) -> None:
        if not self.closed:
            self._content.close()
            self._file.close()
        super().close()

    @contextmanager
    def _report_damage(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise _damaged(self._name, error) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise _damaged(self._name, error) from None  # bz2 and Arrow raise it for damage


def estimated_size(content: BinaryIO) -> int | None:
    """The decompressed size in bytes of a compressed file that `decompressed` opened, estimated from what was read.

    None for a pipe, a plain file, and before the first read.
    """
    raw = getattr(content, "raw", None)
    return raw.estimated_size() if isinstance(raw, _Unpacked) else None


def _damaged(name: str, error: Exception) -> DataError:
    if "too much memory" in str(error):  # zstd --long=31
        return DataError(f"{name}: cannot decompress: {error}", "compress it again with zstd, without --long")
    return DataError(f"{name}: damaged or cut short: {error}", "copy or download it again")


@contextmanager
def opened(path: Path) -> "Iterator[BufferedReader[Any]]":
    """The bytes of a file, a pipe, or standard input for `-`. Raises DataError."""
    if path == PIPE:
        if sys.stdin is None:
            raise DataError("standard input is closed", "give a file")
        stream = sys.stdin.buffer
        try:
            stream = stream if isinstance(stream, BufferedReader) else BufferedReader(stream)
        except UnsupportedOperation:
            raise DataError("standard input cannot be read", "give a file") from None
        yield stream
        return
    with ExitStack() as stack:
        with File(str(path), path).readable():
            file = stack.enter_context(BufferedReader(path.open("rb", buffering=0), _CHUNK))
        yield file


def as_text(file: "BufferedReader[Any]", path: Path) -> BinaryIO:
    """The decompressed bytes of a text file. Raises DataError if its beginning is not UTF-8."""
    name = name_of(path)
    content = decompressed(file, name)
    assert isinstance(content, BufferedReader)
    refuse_unreadable(name, content.peek(_PROBE), packed=content is not file)
    return content


def read_text(path: Path) -> str:
    """The text of a file, a pipe, or standard input for `-`, without its byte order mark. Raises DataError."""
    name = name_of(path)
    with opened(path) as file, File(name, path).readable():
        content = as_text(file, path).read()
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        hint = f"convert it from its encoding, for example: iconv -f LATIN1 -t UTF-8 {_shown(name)} > NEW"
        raise DataError(f"{name}:{line}: not UTF-8 text", hint) from None


def name_of(path: Path) -> str:
    """The name of a file in messages."""
    return STDIN_NAME if path == PIPE else str(path)


def _shown(name: str) -> str:
    return "-" if name == STDIN_NAME else quoted(name)


def refuse_unreadable(name: str, start: bytes, packed: bool = False) -> None:
    """Raise DataError if the beginning of a file is not UTF-8 text, with the command that converts it as hint.

    `packed`: the text comes from a compressed file.
    """
    for magic, kind in _ARCHIVES.items():
        if start.startswith(magic):
            raise DataError(f"{name}: is {kind}", "unpack it first: plain text, gzip, bzip2, xz and zstd are read")
    encoding = next((encoding for mark, encoding in _ENCODINGS.items() if start.startswith(mark)), None)
    if encoding is None and len(start) >= _LEAST and start.count(0) > len(start) / 4:
        probe = start[:_PROBE]
        zeros = probe[::2].count(0), probe[1::2].count(0)
        if max(zeros) <= 4 * min(zeros):  # in UTF-16 most scripts have zeros in every second byte
            raise DataError(f"{name}: is binary", "give a UTF-8 text file")
        encoding = "UTF-16LE" if zeros[1] > zeros[0] else "UTF-16BE"
    if encoding is not None:
        convert = f"iconv -f {encoding} -t UTF-8"
        command = f"unpack it, then {convert}" if packed else f"{convert} {_shown(name)} > NEW"
        raise DataError(f"{name}: is {encoding} text", f"convert it: {command}")


@dataclass(frozen=True)
class File:
    """A file: its name as given by the user, and its path on this machine."""

    name: str
    path: Path

    @classmethod
    def fetch(cls, name: str, cache: Path, folder: Path = Path()) -> "File":
        """The file of a path or URL; a remote file is downloaded into `cache` once. Raises DataError.

        Relative paths are those of `folder`, by default the working directory.
        """
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{name!a}: the name of the file is not UTF-8", "rename it") from None
        if "\0" in name:
            raise DataError(f"{name!a}: not the name of a file: it has a NUL character", "correct the name")
        if "://" not in name or os.path.lexists(folder / name):
            return cls(name, folder / name)
        local = cache / sha256(name)
        if not local.exists():
            try:
                filesystem, remote = _file_system(name)
                with tempfile.NamedTemporaryFile(dir=cache, delete=False) as partial:
                    filesystem.get_file(remote, partial.name)
                Path(partial.name).rename(local)
            except ImportError as error:
                raise DataError(f"{name}: cannot download: {error}", "for https: pip install 'fsspec[http]'") from None
            except FileNotFoundError:
                raise DataError(f"{name}: no such file") from None
            except Exception as error:  # every file system of fsspec raises other types
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise ResourceError(f"{name}: cannot download: {error.strerror}", "free some disk space") from None
                raise DataError(f"{name}: cannot download: {str(error) or type(error).__name__}") from None
        return cls(name, local)

    def digest(self) -> str:
        """SHA-256 of the file as stored. Raises DataError if it cannot be read."""
        with self.readable():
            return sha256_of(self.path)

    def check_there(self) -> None:
        """Raise DataError unless this is a file that can be read more than once."""
        with self.readable():
            if not stat.S_ISREG(self.path.stat().st_mode):
                kind = "a directory" if self.path.is_dir() else "not a regular file"
                raise DataError(f"{self.name}: is {kind}", "give a file; it is read more than once")
            with self.path.open("rb") as file:
                file.read(1)

    def check(self, empty: bool = False) -> bytes:
        """The first megabyte of content. Raises DataError if it is not UTF-8 text, or empty without `empty`."""
        self.check_there()
        with self.readable(), BufferedReader(self.path.open("rb", buffering=0), _CHUNK) as file:
            content = decompressed(file, self.name)
            start = content.read(_CHUNK)
        if not start and not empty:
            raise DataError(f"{self.name}: is empty")
        refuse_unreadable(self.name, start, packed=content is not file)
        return start

    def open(self) -> BinaryIO:
        """The decompressed bytes; use it inside `readable()`."""
        return decompressed(BufferedReader(self.path.open("rb", buffering=0), _CHUNK), self.name)

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """Blocks of whole lines with their ends, about a megabyte each, and their number of lines. Raises DataError.

        Block boundaries depend on the content only.
        """
        with self.readable(), self.open() as file:
            while lines := file.read(_CHUNK) + file.readline():
                yield lines, len(_ends(lines)) + (lines[-1:] != b"\n")

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Turn errors of reading into a DataError."""
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{self.name}: no such file") from None
        except OSError as error:
            raise DataError(f"{self.name}: cannot read it: {error.strerror or error}") from None


def _file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and its path of the file, without expansion of wildcards."""
    import fsspec  # noqa: PLC0415 - not needed to translate with an export

    kind = fsspec.get_filesystem_class(url.partition("://")[0])
    return kind(**kind._get_kwargs_from_urls(url)), str(kind._strip_protocol(url))


class LineReader:
    """Reads a given number of lines at a time from an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._rest = file, b""

    def take(self, lines: int) -> tuple[bytes, int]:
        """The next lines with their ends, and their number, which is smaller at the end of the file."""
        parts, found, size = [self._rest], [_ends(self._rest)], len(self._rest)
        count = len(found[0])
        while count < lines and (part := self._file.read(_CHUNK)):
            found.append(size + _ends(part))
            parts.append(part)
            size, count = size + len(part), count + len(found[-1])
        content, ends = b"".join(parts), np.concatenate(found)
        if len(ends) < lines:
            self._rest = b""
            return content, len(ends) + (content[-1:] not in (b"", b"\n"))
        cut = int(ends[lines - 1]) + 1 if lines else 0
        self._rest = content[cut:]
        return content[:cut], lines


def _ends(content: bytes) -> npt.NDArray[np.intp]:
    """The positions of line ends."""
    return np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
