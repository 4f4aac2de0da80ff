"""Tab-separated columns, a pair a line."""

from collections.abc import Iterator
from dataclasses import dataclass

from nmtcli.data.files import FromFile
from nmtcli.prepare.readers.layout import Layout, find_layout
from nmtcli.prepare.readers.records import Sides
from nmtcli.prepare.rows import HEADER, MALFORMED, QUOTED, Problem, Rows, decode_lines

_PROBE = 2**20  # bytes in which quotes are looked at


@dataclass(frozen=True)
class TsvBlock:
    """Lines of tab-separated columns, as bytes."""

    line: int
    size: int
    file: str
    lines: bytes
    layout: Layout
    quoted: bool  # whether cells are quoted as spreadsheets do
    header: int  # lines of column names that were left out before it

    def rows(self) -> Rows:
        """Take the two columns of each line."""
        texts, problems, crlf = decode_lines(self.lines, self.size, self.line, self.file)
        sources, targets = [""] * self.size, [""] * self.size
        marks = 0
        for index, text in enumerate(texts):
            pair = self.layout.pair(text.split("\t"))
            if isinstance(pair, str):
                if index not in problems:
                    problems[index] = Problem(MALFORMED, self.file, f"{pair}, between tabs", text)
                continue
            if self.quoted:
                marks += sum(cell[:1] == '"' for cell in pair)
                pair = _unquoted(pair[0]), _unquoted(pair[1])
            sources[index], targets[index] = pair
        notes = {name: count for name, count in ((HEADER, self.header), (QUOTED, marks)) if count}
        return Rows(sources, targets, problems, crlf, notes=notes)


@dataclass(frozen=True)
class TsvFile(FromFile):
    """A pair a line: two columns of those between tabs, named by the first line or numbered from 1."""

    sides: Sides

    def check(self) -> None:
        """Find the columns in the first line. Raises DataError."""
        self._layout(self.data.check())

    def digest(self) -> str:
        """Sha256 of the file, and the columns."""
        return f"{self.data.digest()} {self.sides}"

    def blocks(self) -> Iterator[TsvBlock]:
        """The lines; those of column names are left out."""
        line = 1
        for lines, count in self.data.blocks():
            if line == 1:
                layout, quoted = self._layout(lines), _is_quoted(lines)
            names = int(line == 1 and layout.named)  # the first line is no pair then
            rows = lines.partition(b"\n")[2] if names else lines
            if rows:
                yield TsvBlock(line + names, count - names, self.name, rows, layout, quoted, names)
            line += count

    def _layout(self, start: bytes) -> Layout:
        first, second = ([], []) if not start else _cells(start)
        return find_layout(first, second, self.sides, f"{self.name}:1", headed=False)


def _cells(start: bytes) -> tuple[list[str], list[str]]:
    """The cells of the first two lines."""
    lines = [*start.split(b"\n", 2)[:2], b""][:2]
    first, second = (decode_lines(line, 1, number, "")[0][0].removesuffix("\r") for number, line in enumerate(lines, 1))
    return first.split("\t"), second.split("\t")


def _is_quoted(start: bytes) -> bool:
    """Whether cells with a comma or a quote are quoted and no others, as spreadsheets write them.

    In other files a quote is a part of the text, and hardly ever stands so everywhere.
    """
    text = start[:_PROBE].rpartition(b"\n")[0].decode("utf-8", "replace").replace("\r\n", "\n")
    cells = [cell for line in text.split("\n") for cell in line.split("\t") if '"' in cell]
    return bool(cells) and all(_is_quoted_cell(cell) for cell in cells)


def _is_quoted_cell(cell: str) -> bool:
    inner = cell[1:-1].replace('""', "")
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner and ("," in cell or '""' in cell[1:-1])


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
