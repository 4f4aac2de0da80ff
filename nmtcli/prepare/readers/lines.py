"""Two line-aligned text files.

Only LF ends a line. A lone CR, U+0085 or U+2028 is part of the text: programs that break lines there lose the
alignment.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nmtcli.data.files import File, LineReader
from nmtcli.errors import DataError, each
from nmtcli.prepare.rows import Rows, decode_lines


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
        """Check the start of both files. Raises one DataError with all errors."""
        each(File.check, dict.fromkeys(self.files))

    def digest(self) -> str:
        """Sha256 of both files."""
        return f"{self.source.digest()} {self.target.digest()}"

    def blocks(self) -> Iterator[PairBlock]:
        """Blocks with the same lines of both. Raises DataError if their numbers of lines differ."""
        done = 0
        files = self.source.name, self.target.name
        with self.target.readable(), self.target.open() as target:
            reader = LineReader(target)
            for lines, count in self.source.blocks():
                others, found = reader.take(count)
                if found < count:
                    raise self._mismatch(sum(count for _, count in self.source.blocks()), done + found)
                yield PairBlock(done + 1, count, files, (lines, others))
                done += count
            if reader.take(1)[1]:
                raise self._mismatch(done, sum(count for _, count in self.target.blocks()))

    def _mismatch(self, source: int, target: int) -> DataError:
        return DataError(
            f"{self.source.name} has {source:,} lines, {self.target.name} {target:,}: the files must be line-aligned",
            "line n of one file must translate line n of the other; only LF ends a line",
        )
