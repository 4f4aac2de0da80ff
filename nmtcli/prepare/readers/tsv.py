"""Tab-separated columns, one pair per line, or with quoted cells as in spreadsheets one pair per row, as in CSV."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice

from nmtcli.prepare.readers.layout import Layout, find_layout
from nmtcli.prepare.readers.records import FileReader, TextBlock, text_blocks
from nmtcli.prepare.readers.tables import cells_of, read_lines, split_rows
from nmtcli.prepare.rows import HEADER, MALFORMED, QUOTED, Problem, Rows, decode_lines

_PROBE = 2**20  # bytes that decide whether cells are quoted
_NEEDS_QUOTES = re.compile('[,"\\n]')
_QUOTED_CELL = re.compile(r'(?<![^\t\n])"((?:[^"\t]|"")*)"(?![^\t\n])')


@dataclass(frozen=True)
class TsvBlock:
    """Lines of tab-separated columns, as bytes."""

    line: int
    size: int
    file: str
    lines: bytes
    layout: Layout
    header: int  # number of header lines skipped before it

    def rows(self) -> Rows:
        """Take the two columns of each line."""
        texts, problems, crlf = decode_lines(self.lines, self.size, self.line, self.file)
        sources, targets = [""] * self.size, [""] * self.size
        for index, text in enumerate(texts):
            pair = self.layout.pair(text.split("\t"))
            if isinstance(pair, str):
                if index not in problems:
                    problems[index] = Problem(MALFORMED, self.file, f"{pair}, between tabs", text)
                continue
            sources[index], targets[index] = pair
        return Rows(sources, targets, problems, crlf, notes={HEADER: self.header} if self.header else {})


class TsvFile(FileReader):
    """One pair per line: two tab-separated columns, named by the first line or numbered from 1."""

    def check(self) -> None:
        """Find the columns in the first line. Raises DataError."""
        self._layout(self.data.check())

    def blocks(self) -> Iterator[TsvBlock | TextBlock]:
        """The lines, or the rows if cells are quoted, without the header."""
        line = 1
        for lines, count in self.data.blocks():
            if line == 1:
                layout = self._layout(lines)
                if _is_quoted(lines):
                    yield from self._rows(layout)
                    return
            names = _blank_lines(lines) + 1 if line == 1 and layout.named else 0  # lines up to the header
            rows = b"" if names >= count else lines.split(b"\n", names)[-1]
            if rows:
                yield TsvBlock(line + names, count - names, self.name, rows, layout, min(names, 1))
            line += count

    def _rows(self, layout: Layout) -> Iterator[TextBlock]:
        """Rows of a spreadsheet, whose quoted cells may have several lines."""
        marks = 0

        def lines() -> Iterator[str]:
            nonlocal marks
            for line in read_lines(self.data):
                marks += sum(cell[:1] == '"' for cell in line.split("\t"))
                yield line

        rows = split_rows(lines(), "\t", layout)
        if layout.named:
            next(rows)
        pairs = (row if isinstance(row, str) else layout.pair(row) for row in rows)
        for block in text_blocks(pairs, self.name, layout.named + 1, layout.named):
            yield replace(block, notes={**block.notes, QUOTED: marks})
            marks = 0

    def _layout(self, start: bytes) -> Layout:
        first, second = ([], []) if not start else _cells(start)
        return find_layout(first, second, self.sides, f"{self.name}:{_blank_lines(start) + 1}", headed=False)


def _cells(start: bytes) -> tuple[list[str], list[str]]:
    """The cells of the first two lines, or rows."""
    if _is_quoted(start):
        rows = islice(split_rows(StringIO(_probed(start), newline="\n"), "\t"), 2)
        names, texts = [*map(cells_of, rows), [], []][:2]
        return names, texts
    lines = start.removeprefix(BOM_UTF8).split(b"\n", _blank_lines(start) + 2)[_blank_lines(start) :]
    texts = [line.decode("utf-8", "replace").removesuffix("\r") for line in (*lines, b"")]
    return texts[0].split("\t"), texts[1].split("\t")


def _blank_lines(start: bytes) -> int:
    """The number of blank lines at the start."""
    start = start.removeprefix(BOM_UTF8)
    return start[: len(start) - len(start.lstrip())].count(b"\n")


def _is_quoted(start: bytes) -> bool:
    """Whether cells with a comma, a quote or a line break are quoted and no others, as spreadsheets write them.

    In other files a quote is part of the text, and rarely fits this pattern everywhere.
    """
    text = _probed(start)
    cells = _QUOTED_CELL.findall(text)
    return bool(cells) and all(_NEEDS_QUOTES.search(cell) for cell in cells) and '"' not in _QUOTED_CELL.sub("", text)


def _probed(start: bytes) -> str:
    """The beginning as whole lines."""
    return start[:_PROBE].rpartition(b"\n")[0].decode("utf-8", "replace").replace("\r\n", "\n")
