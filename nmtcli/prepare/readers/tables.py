"""CSV, Parquet and data sets of the hub, read as streams through `datasets`."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nmtcli.errors import DataError
from nmtcli.prepare.files import File
from nmtcli.prepare.readers.records import Sides, TextBlock, find_or_say, text_blocks


@dataclass(frozen=True)
class Table:
    """Rows that `datasets.load_dataset` streams: a local CSV or Parquet file, or a data set by its name."""

    name: str
    loader: str  # what load_dataset is asked for: csv, parquet, or the name of a data set
    options: Mapping[str, Any]  # further arguments of load_dataset
    sides: Sides
    data: File | None  # None: the data set is not a file of ours

    @property
    def files(self) -> tuple[File, ...]:
        """The file, if it is one."""
        return () if self.data is None else (self.data,)

    def check(self) -> None:
        """Read the first row. Raises DataError."""
        if self.data is not None:
            self.data.check_there()
        first = next(self._records(), None)
        if first is None:
            raise DataError(f"{self.name}: has no rows")
        self.sides.check(first, self.name)

    def digest(self) -> str:
        """Sha256 of the file; without a file, of every row's text: a data set by name can change under it."""
        if self.data is not None:
            return f"{self.data.digest()} {self.sides}"
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(repr(block.pairs).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def blocks(self) -> Iterator[TextBlock]:
        """All rows."""
        return text_blocks((find_or_say(self.sides.find, record) for record in self._records()), self.name)

    def _records(self) -> Iterator[dict[str, Any]]:
        import datasets

        datasets.disable_progress_bars()
        try:
            yield from datasets.load_dataset(self.loader, streaming=True, **self.options)
        except DataError:
            raise
        except Exception as error:  # the library and those below it have errors of many kinds
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"{self.name}: cannot read it: {reason}") from None
