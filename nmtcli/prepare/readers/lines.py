"""Text files a line at a time: two aligned files, or one of tab-separated columns.

Only LF ends a line. A lone CR, U+0085 or U+2028 is part of the text: many readers break lines there and lose the
alignment.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nmtcli.errors import DataError, each
from nmtcli.prepare.files import File, FromFile, LineReader
from nmtcli.prepare.rows import MALFORMED, Problem, Rows, decode_lines


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
        """Both files."""
        return f"{self.source.name} and {self.target.name}"

    @property
    def files(self) -> tuple[File, ...]:
        """Both files."""
        return (self.source, self.target)

    def check(self) -> None:
        """Look at the start of both files; raises one DataError with all that is wrong."""
        each(File.check, dict.fromkeys(self.files))

    def digest(self) -> str:
        """Sha256 of both files."""
        return f"{self.source.digest()} {self.target.digest()}"

    def blocks(self) -> Iterator[PairBlock]:
        """As many lines of both at a time. Raises DataError if their numbers of lines differ."""
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
            f"{self.source.name} has {source:,} lines but {self.target.name} has {target:,}",
            "line n of one file must translate line n of the other, and only LF ends a line",
        )


@dataclass(frozen=True)
class TsvBlock:
    """Lines of tab-separated columns, as bytes."""

    line: int
    size: int
    file: str
    lines: bytes
    columns: tuple[int, int]  # from 0
    width: int  # columns of the first line, and so of every line

    def rows(self) -> Rows:
        """Take the two columns of each line."""
        texts, problems, crlf = decode_lines(self.lines, self.size, self.line, self.file)
        sources, targets = [""] * self.size, [""] * self.size
        source, target = self.columns
        for index, text in enumerate(texts):
            cells = text.split("\t")
            if len(cells) == self.width:
                sources[index], targets[index] = cells[source], cells[target]
            elif index not in problems:
                reason = f"{len(cells)} tab-separated columns where the first line has {self.width}"
                problems[index] = Problem(MALFORMED, self.file, reason, text)
        return Rows(sources, targets, problems, crlf)


@dataclass(frozen=True)
class TsvFile(FromFile):
    """A pair a line: two columns of those between tabs, named by the first line or numbered from 1."""

    columns: tuple[str, str] | None

    def check(self) -> None:
        """Find the columns in the first line. Raises DataError."""
        self._layout(self.data.check())

    def digest(self) -> str:
        """Sha256 of the file, and the columns."""
        return f"{self.data.digest()} {self.columns}"

    def blocks(self) -> Iterator[TsvBlock]:
        """The lines; those of column names are left out."""
        line = 1
        for lines, count in self.data.blocks():
            if line == 1:
                columns, width, named = self._layout(lines)
            names = int(line == 1 and named)  # the first line is no pair then
            rows = lines.partition(b"\n")[2] if names else lines
            if rows:
                yield TsvBlock(line + names, count - names, self.name, rows, columns, width)
            line += count

    def _layout(self, start: bytes) -> tuple[tuple[int, int], int, bool]:
        """Indices of both columns, number of columns, and whether the first line names them."""
        ((text, *_), *_) = decode_lines(start.split(b"\n", 1)[0], 1, 1, self.name)
        cells = text.removesuffix("\r").split("\t")
        wanted = self.columns or ("1", "2")
        named = not all(column.isdecimal() for column in wanted)
        found = []
        for column in wanted:
            if named and column in cells:
                found.append(cells.index(column))
            elif not named and 1 <= int(column) <= len(cells):
                found.append(int(column) - 1)
            else:
                raise DataError(
                    f"{self.name}:1: no column {column} among {len(cells)} tab-separated ones",
                    "a line is source, tab, target; or name the corpus in a YAML file with, say, columns: [2, 3]",
                )
        return (found[0], found[1]), len(cells), named
