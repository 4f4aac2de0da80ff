"""CSV, Parquet and data sets of the hub, read as streams through `datasets`."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import datasets

from nmtcli.errors import DataError
from nmtcli.prepare.files import FromFile
from nmtcli.prepare.readers.records import Sides, TextBlock, find_or_say, text_blocks

_TELL = 1000  # rows between words about progress


@dataclass(frozen=True)
class Table(FromFile):
    """A CSV or Parquet file."""

    form: str  # csv or parquet
    sides: Sides

    def check(self) -> None:
        """Read the first row. Raises DataError."""
        if self.form == "csv":
            self.data.check()
        else:
            self.data.check_there()
        first = next(self._records(), None)
        if first is None:
            raise DataError(f"{self.name}: has no rows")
        self.sides.check(first, self.name)

    def digest(self) -> str:
        """Sha256 of the file, and where the sides are looked for."""
        return f"{self.data.digest()} {self.sides}"

    def blocks(self) -> Iterator[TextBlock]:
        """All rows."""
        return text_blocks((find_or_say(self.sides.find, record) for record in self._records()), self.name)

    def _records(self) -> Iterator[dict[str, Any]]:
        options: dict[str, Any] = {"data_files": str(self.data.path), "split": "train"}
        if self.form == "csv":  # every cell is text: what looks like a number or like nothing is not guessed at
            cells = dict.fromkeys(self._header(), datasets.Value("string"))
            options |= {"features": datasets.Features(cells), "keep_default_na": False}
        return _stream(self.name, self.form, options)

    def _header(self) -> list[str]:
        """The names in the first line of a CSV file."""
        with self.data.readable(), self.data.open() as file:
            return next(csv.reader(TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")), [])


def copy_pairs(name: str, options: dict[str, Any], sides: Sides, path: Path, on_row: Callable[[int], None]) -> None:
    """Write the pairs of a data set of the hub to JSON lines, so that it crosses the network once.

    Raises DataError if it cannot be read or its first row has no two sides.
    """
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(_stream(name, name, options), start=1):
            if number == 1:
                sides.check(record, name)
            pair = dict.fromkeys(record)  # a row without two sides keeps its place and its names
            with suppress(KeyError):
                pair = dict(zip(("source", "target"), sides.find(record), strict=True))
            file.write(json.dumps(pair, default=str) + "\n")
            if number % _TELL == 0:
                on_row(number)


def _stream(name: str, loader: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows that `load_dataset` streams; `name` is what errors call it."""
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what is wrong is told below
    try:
        yield from datasets.load_dataset(loader, streaming=True, **options)
    except Exception as error:  # the library and those below it have errors of many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        hint = "CSV needs commas between cells, and names in its first line" if loader == "csv" else None
        raise DataError(f"{name}: cannot read it: {reason}", hint) from None
