"""Aligned text files: line n of one translates line n of the other.

Only LF ends a line. A lone CR, U+0085 or U+2028 is part of the text: many readers break lines there and lose the
alignment. Compression is recognised by content, not by name. Files are streamed and read more than once.
"""

import bz2
import gzip
import hashlib
import lzma
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self

from nmtcli.errors import DataError, UserError

_BOM = b"\xef\xbb\xbf"
_CHANGED = "did a file change meanwhile? Start again when nothing writes to it"
_CHUNK = 2**20  # bytes read at a time when only counting
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_UNREADABLE = {
    b"\xff\xfe": ("UTF-16 or UTF-32 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8"),
    b"\x28\xb5\x2f\xfd": ("a zstd file", "decompress it first: plain text, gzip, bzip2 and xz are read"),
    b"PK\x03\x04": ("a zip archive", "unpack it first: plain text, gzip, bzip2 and xz are read"),
}


@dataclass(frozen=True, slots=True)
class SentencePair:
    """One aligned pair and its line number, from 1."""

    source: str
    target: str
    line: int


@dataclass(frozen=True, slots=True)
class InvalidPair:
    """A pair with a side that is not UTF-8: which file, which byte of the line (from 1), the text as far as legible."""

    file: Path
    line: int
    byte: int
    text: str


@dataclass(frozen=True)
class AlignedFiles:
    """Two files with the same number of lines."""

    source: Path
    target: Path


@dataclass(frozen=True)
class PrepareFiles:
    """All files of one `nmt prepare`."""

    train: tuple[AlignedFiles, ...]
    valid: AlignedFiles

    @classmethod
    def pair(
        cls,
        train_source: Sequence[Path],
        train_target: Sequence[Path],
        valid_source: Path | None,
        valid_target: Path | None,
    ) -> Self:
        """Pair the files up in order. Raises UserError that lists every mistake."""
        mistakes: list[str] = []
        if len(train_source) != len(train_target):
            mistakes.append(
                f"{len(train_source)} --train-source and {len(train_target)} --train-target files:"
                " they pair up in order, so there must be as many"
            )
        elif not train_source:
            mistakes.append("--train-source and --train-target are needed")
        if valid_source is None or valid_target is None:
            mistakes.append("--valid-source and --valid-target are needed: training measures itself on them")
        if mistakes or valid_source is None or valid_target is None:
            raise UserError("\n".join(mistakes), "nmt prepare --help shows the options")
        train = tuple(map(AlignedFiles, train_source, train_target))
        return cls(train, AlignedFiles(valid_source, valid_target))

    def __iter__(self) -> Iterator[AlignedFiles]:
        yield from self.train
        yield self.valid


@dataclass(frozen=True)
class FileFacts:
    """What a pass over a file tells without looking at its words."""

    lines: int
    crlf_lines: int


def digest(path: Path) -> str:
    """Sha256 of the file as stored, in hexadecimal. Raises DataError if it cannot be read."""
    with _readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path) -> None:
    """Look at the first bytes only. Raises DataError if this is no text file we can read."""
    with _readable(path):
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a directory" if path.is_dir() else "not a regular file"
            raise DataError(f"{path}: is {kind}", "give a text file, plain or compressed; it is read more than once")
        with path.open("rb") as file:
            _refuse_unreadable(path, file.read(_CHUNK))
        with _open(path) as file:
            start = file.read(_CHUNK)
    if not start:
        raise DataError(f"{path}: is empty")
    _refuse_unreadable(path, start)
    if start.count(0) > len(start) // 4:
        raise DataError(f"{path}: is binary, or UTF-16 text", "give UTF-8 text: iconv -f UTF-16 -t UTF-8 converts it")


def count_lines(path: Path) -> FileFacts:
    """Read the file to its end and count. Raises DataError if it is damaged or cut short."""
    lines = crlf = 0
    last = b""
    with _readable(path), _open(path) as file:
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n")
            crlf += chunk.count(b"\r\n") + (last == b"\r" and chunk[:1] == b"\n")
            last = chunk[-1:]
    return FileFacts(lines + (last not in (b"", b"\n")), crlf)


def read_pairs(files: AlignedFiles) -> Iterator[SentencePair | InvalidPair]:
    """The pairs in order, without line ends (LF or CRLF) and byte order marks. Raises DataError.

    For files that `count_lines` found to have as many lines.
    """
    lines = zip_longest(_read_lines(files.source), _read_lines(files.target))
    for number, (source, target) in enumerate(lines, start=1):
        if source is None or target is None:
            raise DataError(f"{files.source} and {files.target}: one ended early, at line {number}", _CHANGED)
        file = files.source
        try:
            source_text = source.decode("utf-8")
            file = files.target
            pair = SentencePair(source_text, target.decode("utf-8"), number)
        except UnicodeDecodeError as error:
            yield InvalidPair(file, number, error.start + 1, error.object.decode("utf-8", "replace"))
        else:
            yield pair


def _read_lines(path: Path) -> Iterator[bytes]:
    with _readable(path), _open(path) as file:
        first = file.readline()
        if first:
            yield _strip_end(first.removeprefix(_BOM))
        for line in file:
            yield _strip_end(line)


def _strip_end(line: bytes) -> bytes:
    if line.endswith(b"\r\n"):
        return line[:-2]
    return line.removesuffix(b"\n")


def _open(path: Path) -> BufferedReader:
    """The uncompressed bytes of a file."""
    with path.open("rb") as file:
        start = file.read(8)
    for magic, opener in _COMPRESSED.items():
        if start.startswith(magic):
            return BufferedReader(opener(path))  # splits lines in C
    return path.open("rb")


def _refuse_unreadable(path: Path, start: bytes) -> None:
    for magic, (kind, hint) in _UNREADABLE.items():
        if start.startswith(magic):
            raise DataError(f"{path}: is {kind}", hint)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what can go wrong in reading into one clear line."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: damaged or cut short: {error}", "copy or download it again") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror or error}") from None
