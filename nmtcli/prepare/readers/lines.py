"""Two line-aligned text files.

Only LF ends a line. A lone CR, U+0085 or U+2028 is part of the text: programs that break lines there lose the
alignment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from nmtcli.data.files import File, LineReader
from nmtcli.errors import DataError, each
from nmtcli.prepare.rows import Rows, decode_lines

Item = TypeVar("Item")


@dataclass(frozen=True)
class PairBlock:
    """Lines of two files, as bytes."""

    line: int
    size: int
    files: tuple[str, str]
    sides: tuple[bytes, bytes]

    @property
    def file(self) -> str:
        """The source file."""
        return self.files[0]

    def rows(self) -> Rows:
        """Decode both sides."""
        source, target = (
            decode_lines(lines, self.size, self.line, file) for lines, file in zip(self.sides, self.files, strict=True)
        )
        return Rows(source[0], target[0], target[1] | source[1], source[2] + target[2])


@dataclass(frozen=True)
class LinePairs:
    """Line n of one file translates line n of the other."""

    source: File
    target: File

    @property
    def name(self) -> str:
        """The names of both files."""
        return f"{self.source.name} and {self.target.name}"

    @property
    def files(self) -> tuple[File, ...]:
        """Both files."""
        return (self.source, self.target)

    def check(self) -> None:
        """Check the start of each file. Raises one DataError with all errors."""
        each(File.check, dict.fromkeys(self.files))

    def digest(self) -> str:
        """SHA-256 of both files."""
        return f"{self.source.digest()} {self.target.digest()}"

    def blocks(self) -> Iterator[PairBlock]:
        """Blocks with the same lines of both. Raises DataError if their numbers of lines differ."""
        line, files = 1, (self.source.name, self.target.name)
        hint = "line n of one file must translate line n of the other; only LF ends a line"
        for lines, count, others in line_aligned(self.source.blocks(), self.source, self.target, hint):
            yield PairBlock(line, count, files, (lines, others))
            line += count


def line_aligned(
    blocks: Iterable[tuple[Item, int]], source: File, other: File, hint: str
) -> Iterator[tuple[Item, int, bytes]]:
    """Each block of the lines of `source`, its size, and the same lines of another file.

    Raises DataError, with the hint, if their numbers of lines differ.
    """
    done = 0

    def mismatch(ours: int, others: int) -> DataError:
        counts = f"{source.name} has {ours:,} lines, {other.name} {others:,}"
        return DataError(f"{counts}: the files must be line-aligned", hint)

    with other.readable(), other.open() as file:
        reader = LineReader(file)
        for block, size in blocks:
            lines, count = reader.take(size)
            if count < size:
                raise mismatch(sum(size for _, size in source.blocks()), done + count)
            yield block, size, lines
            done += size
        if reader.take(1)[1]:
            raise mismatch(done, sum(size for _, size in other.blocks()))
