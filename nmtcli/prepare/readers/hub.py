"""Data sets of the Hugging Face hub or of a folder, streamed with `datasets`."""

import glob
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets

from nmtcli.errors import DataError
from nmtcli.prepare.readers.records import Sides

_PROGRESS = 1000  # rows between progress reports


def copy_pairs(name: str, options: dict[str, Any], sides: Sides, path: Path, on_row: Callable[[int], None]) -> None:
    """Write the pairs of a data set to a JSON Lines file, so that it is downloaded once.

    Raises DataError if it cannot be read or its first row does not have both sides.
    """
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(_stream(name, options), start=1):
            if number == 1:
                sides.check(record, name)
            pair = dict.fromkeys(record)  # a row without both sides keeps its place and its field names
            with suppress(KeyError):
                pair = dict(zip(("source", "target"), sides.find(record), strict=True))
            file.write(json.dumps(pair, default=str) + "\n")
            if number % _PROGRESS == 0:
                on_row(number)


def _stream(name: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a data set."""
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # errors are reported below
    try:
        with _plainly_named(name) as place:
            yield from datasets.load_dataset(place, streaming=True, **options)
    except Exception as error:  # datasets and its dependencies raise errors of many types
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{name}: cannot read it: {reason}") from None


@contextmanager
def _plainly_named(name: str) -> Iterator[str]:
    """A name that `datasets` does not take for a glob pattern: for such a folder a new one with links to its files."""
    folder = Path(name)
    if not folder.is_dir() or glob.escape(str(folder.resolve())) == str(folder.resolve()):
        yield name
        return
    with TemporaryDirectory(prefix="nmt-hub-") as place:
        for file in folder.resolve().rglob("*"):
            link = Path(place) / file.relative_to(folder.resolve())
            if file.is_dir():
                link.mkdir(parents=True, exist_ok=True)
            else:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
        yield place
