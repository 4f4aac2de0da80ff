"""CSV and Parquet files."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from nmtcli.data.files import File
from nmtcli.errors import DataError
from nmtcli.prepare.readers.layout import Layout, find_layout
from nmtcli.prepare.readers.records import FileReader, TextBlock, pair_or_error, text_blocks

_BATCH = 1000  # rows of Parquet read at a time
_LONGEST_ROW = 100  # maximum lines of a CSV row: a quote left open for longer is an error
_DELIMITERS = ",;\t"

csv.field_size_limit(2**31 - 1)  # cleaning rules limit lengths


class CsvFile(FileReader):
    """A CSV file with column names in the first line, or with numbered columns."""

    def check(self) -> None:
        """Find the columns and the first row. Raises DataError."""
        self.data.check()
        layout, _, rows = self._open()
        if layout.named:
            next(rows)
        if next(rows, None) is None:
            raise DataError(f"{self.name}: has no rows")

    def blocks(self) -> Iterator[TextBlock]:
        """All rows; one with another number of cells than the first line is malformed."""
        layout, skipped, rows = self._open()
        if layout.named:
            next(rows)
        pairs = (row if isinstance(row, str) else layout.pair(row) for row in rows)
        yield from text_blocks(pairs, self.name, skipped + layout.named + 1, layout.named)

    def _open(self) -> tuple[Layout, int, Iterator[list[str] | str]]:
        """The layout, the number of lines before the rows, and the rows: cells, or the error in a row."""
        lines = read_lines(self.data)
        first = next(lines, "")
        skipped = 0
        delimiters = _DELIMITERS
        if first.lower().startswith("sep=") and len(first.rstrip("\r\n")) == len("sep=") + 1:
            delimiters, skipped = first[len("sep=")], 1
            first = next(lines, "")
        start = [first, *islice(lines, _LONGEST_ROW)]
        found: list[tuple[int, str, Layout]] = []
        errors: list[DataError] = []
        for delimiter in delimiters:
            rows = [cells_of(row) for row in split_rows(iter(start), delimiter)]
            one, two = [*rows, [], []][:2]
            try:
                layout = find_layout(one, two, self.sides, self.name, headed=True)
            except DataError as reason:
                errors.append(reason)
                continue
            found.append((sum(isinstance(layout.pair(row), tuple) for row in rows), delimiter, layout))
        if not found:
            raise errors[0]
        # a comma may be part of the text
        _, delimiter, layout = max(found, key=lambda one: (one[0], one[1] != ","))
        return layout, skipped, split_rows(chain(start, lines), delimiter, layout)


def read_lines(data: File) -> Iterator[str]:
    """The lines with their LF. Bytes that are no UTF-8 come as lone surrogates."""
    with data.readable(), data.open() as file:
        yield from TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="\n")


def cells_of(row: list[str] | str) -> list[str]:
    """The cells of a row; of one that is wrong, what is wrong with it."""
    return [row] if isinstance(row, str) else row


def split_rows(lines: Iterator[str], delimiter: str, layout: Layout | None = None) -> Iterator[list[str] | str]:
    """The cells of each row, or the error in it. An error loses the first line of the row only."""
    waiting: deque[str] = deque()
    while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
        if not line.strip("\r\n"):
            continue
        if '"' not in line:
            yield line.rstrip("\r\n").split(delimiter)
            continue
        parts = [line]
        while (cells := _parsed(parts, delimiter)) is None and len(parts) < _LONGEST_ROW:
            if (more := waiting.popleft() if waiting else next(lines, None)) is None:
                break
            parts.append(more)
        if isinstance(cells, list) and (len(parts) == 1 or layout is None or not isinstance(layout.pair(cells), str)):
            yield cells
            continue
        waiting.extendleft(reversed(parts[1:]))
        yield cells if isinstance(cells, str) else "a quote is not closed"


def _parsed(parts: Sequence[str], delimiter: str) -> list[str] | str | None:
    """The cells of a row of several lines, the error in it, or None if a quote is still open."""
    try:
        return next(csv.reader(parts, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return None if "end of data" in str(error) else f"not CSV: {error}"


class Parquet(FileReader):
    """A Parquet file."""

    def check(self) -> None:
        """Read the first row. Raises DataError."""
        self.data.check_there()
        first = next((record for record in self._records() if isinstance(record, dict)), None)
        if first is None:
            raise DataError(f"{self.name}: has no row that can be read")
        self.sides.check(first, self.name)

    def blocks(self) -> Iterator[TextBlock]:
        """All rows."""
        rows = (one if isinstance(one, str) else pair_or_error(self.sides.find, one) for one in self._records())
        return text_blocks(rows, self.name)

    def _records(self) -> Iterator[dict[str, Any] | str]:
        """The rows, or what is wrong with a row."""
        with self.data.readable(), self.data.path.open("rb") as file:
            try:
                for batch in map(_without_times, pa.parquet.ParquetFile(file).iter_batches(batch_size=_BATCH)):
                    try:
                        yield from batch.to_pylist()
                    except UnicodeDecodeError:
                        yield from (_record(batch.slice(row, 1)) for row in range(batch.num_rows))
            except pa.ArrowException as error:
                raise DataError(f"{self.name}: cannot read it: {str(error).splitlines()[0]}") from None


def _without_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with nulls for dates and times, which are no text, and which Python may be unable to represent."""
    for number, one in enumerate(batch.schema):
        if pa.types.is_temporal(one.type):
            batch = batch.set_column(number, one.name, pa.nulls(batch.num_rows))
    return batch


def _record(row: pa.RecordBatch) -> dict[str, Any] | str:
    """The only row of a batch, or the error in it."""
    try:
        record: dict[str, Any] = row.to_pylist()[0]
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason}"
    return record
