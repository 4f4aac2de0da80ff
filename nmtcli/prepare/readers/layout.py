"""The columns of the two sides in a table: by the names in its first line, or by numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmtcli.errors import DataError
from nmtcli.prepare.readers.records import Sides

# Usual column names, besides the languages; a first line of these is a header.
_HEADERS = {
    *("source", "target", "src", "tgt", "trg", "text", "translation", "translated", "original", "reference"),
    *("sentence", "segment", "source_text", "target_text", "sentence1", "sentence2"),
    *("id", "idx", "index", "no", "nr", "number", "key", "score", "lang", "language"),
    *("english", "german", "french", "spanish", "italian", "portuguese", "russian", "chinese", "japanese", "korean"),
    *("arabic", "hindi", "persian", "thai", "vietnamese", "khmer", "turkish", "dutch", "polish", "czech"),
}
_NOT_TEXT = {"id", "idx", "index", "no", "nr", "number", "key", "score", "lang", "language"}


@dataclass(frozen=True)
class Layout:
    """The columns of both sides, from 0, in rows of `width` cells, and whether the first line has their names."""

    source: int
    target: int
    width: int
    named: bool
    shift: int = 0  # cells before the first named one: an index without a name

    def pair(self, cells: Sequence[str]) -> tuple[str, str] | str:
        """Both sides of a row, or the error in it. Empty cells after the last column are ignored."""
        cells = cells[self.shift :]
        surplus = cells[self.width :]
        if len(cells) < self.width or any(surplus):
            return f"{len(cells)} columns, but the first line has {self.width}"
        return cells[self.source], cells[self.target]


def find_layout(first: Sequence[str], second: Sequence[str], sides: Sides, name: str, *, headed: bool) -> Layout:
    """The layout of a table by its first two lines. `headed`: without column numbers the first line must be a header.

    Raises DataError.
    """
    cells = [cell.strip() for cell in first]
    width = max((number for number, cell in enumerate(cells, 1) if cell), default=len(cells))
    shift = int(len(second) == width + 1 and bool(second[-1]) and second[0].strip().isdecimal())
    if (columns := sides.names(cells)) is not None:
        return Layout(*columns, width, named=True, shift=shift)
    known = _HEADERS | {language.lower() for language in sides.languages}
    named = [cell.lower() for cell in cells if cell]
    header = len(named) >= 2 and known.issuperset(named)
    requested = sides.columns
    if requested is None and header:
        texts = [number for number, cell in enumerate(cells) if cell and cell.lower() not in _NOT_TEXT]
        if len(texts) >= 2:
            return Layout(texts[0], texts[1], width, named=True, shift=shift)
    if requested is None and not headed:
        requested = ("1", "2")
    if requested is not None and all(column.isdecimal() for column in requested):
        numbers = [int(column) - 1 for column in requested]
        if all(0 <= number < len(cells) for number in numbers):
            width = max(width, *(number + 1 for number in numbers))  # they may have no name in the header
            return Layout(numbers[0], numbers[1], len(first) if not header else width, named=header)
    names = " and ".join(requested or ("source", "target"))
    missing = next((column for column in requested or () if not column.isdecimal() or int(column) > len(cells)), None)
    problem = f"no column {missing}" if missing else f"no {names}"
    shown = ", ".join(cells)
    raise DataError(
        f"{name}: {problem} among {len(cells)} column{'s' * (len(cells) != 1)}: {shown[:200]}",
        "set the columns of the corpus in a YAML file: columns: [NAME, NAME], or numbers from 1: columns: [1, 2]",
    )
