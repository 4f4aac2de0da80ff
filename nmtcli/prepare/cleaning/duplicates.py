"""Repeated text in a corpus of any size, with bounded memory: hashes are distributed over files by their first bits.

Equal hashes are in the same file, and each file is sorted separately. With 64 bits, a billion pairs have a hash
collision with a probability of 3 %.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

_BITS = 6  # 64 files; a billion rows are 250 MB in each
_ENTRY = np.dtype([("hash", np.uint64), ("row", np.int64)])

Rows = npt.NDArray[np.int64]


class Duplicates:
    """Collects hashes of rows and finds rows with a hash of an earlier row."""

    def __init__(self, directory: Path) -> None:
        """`directory` must not exist; the caller deletes it."""
        directory.mkdir()
        self._files = [directory / f"{number:02d}" for number in range(2**_BITS)]

    def add(self, hashes: npt.NDArray[np.uint64], first_row: int) -> None:
        """Add the hashes of the next rows, in order, starting at row `first_row`."""
        entries = np.empty(len(hashes), _ENTRY)
        entries["hash"], entries["row"] = hashes, np.arange(first_row, first_row + len(hashes))
        part = (hashes >> np.uint64(64 - _BITS)).astype(np.uint8)
        entries = entries[np.argsort(part, kind="stable")]
        ends = np.bincount(part, minlength=2**_BITS).cumsum()
        for file, start, end in zip(self._files, [0, *ends[:-1]], ends, strict=True):
            if end > start:
                with file.open("ab") as part_file:  # not kept open, as the number of open files is limited
                    part_file.write(entries[start:end].tobytes())

    def repeated(self, verdicts: npt.NDArray[np.uint8]) -> Iterator[tuple[Rows, Rows]]:
        """For each file: the rows whose hash an earlier row has, and the first row with that hash.

        Only rows with verdict 0 in `verdicts` [rows] count.
        """
        for file in self._files:
            entries = np.frombuffer(file.read_bytes() if file.exists() else b"", _ENTRY)
            entries = entries[verdicts[entries["row"]] == 0]
            entries = entries[np.argsort(entries["hash"], kind="stable")]
            new = np.ones(len(entries), np.bool_)
            new[1:] = entries["hash"][1:] != entries["hash"][:-1]
            group = new.cumsum() - 1
            rows = entries["row"]
            yield rows[~new], rows[new][group][~new]


def pair_hashes(source: npt.NDArray[np.uint64], target: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hashes of pairs from the hashes of their sides; (a, b) and (b, a) differ."""
    mixed = source * np.uint64(0x9E3779B97F4A7C15) + target
    mixed ^= mixed >> np.uint64(32)
    return mixed * np.uint64(0xD6E8FEB86659FD93)
