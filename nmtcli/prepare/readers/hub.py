"""Data sets of the hub, or of a folder, streamed through `datasets`."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets

from nmtcli.errors import DataError
from nmtcli.prepare.readers.records import Sides

_TELL = 1000  # rows between words about progress


def copy_pairs(name: str, options: dict[str, Any], sides: Sides, path: Path, on_row: Callable[[int], None]) -> None:
    """Write the pairs of a data set of the hub to JSON lines, so that it crosses the network once.

    Raises DataError if it cannot be read or its first row has no two sides.
    """
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(_stream(name, options), start=1):
            if number == 1:
                sides.check(record, name)
            pair = dict.fromkeys(record)  # a row without two sides keeps its place and its names
            with suppress(KeyError):
                pair = dict(zip(("source", "target"), sides.find(record), strict=True))
            file.write(json.dumps(pair, default=str) + "\n")
            if number % _TELL == 0:
                on_row(number)


def _stream(name: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a data set. A folder is read by a link with a plain name: in others `datasets` sees patterns."""
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what is wrong is told below
    try:
        with TemporaryDirectory(prefix="nmt-hub-") as place:
            folder = Path(place) / "folder"
            if Path(name).is_dir():
                folder.symlink_to(Path(name).resolve(), target_is_directory=True)
            yield from datasets.load_dataset(str(folder) if folder.exists() else name, streaming=True, **options)
    except Exception as error:  # the library and those below it have errors of many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{name}: cannot read it: {reason}") from None
