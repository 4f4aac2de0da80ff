"""Where the two sides stand in rows of cells: by the names in a first line, or by numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmtcli.errors import DataError
from nmtcli.prepare.readers.records import Sides

# What the first line of a table has where it names columns and not texts, beside the languages asked for.
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
    """The columns of both sides, from 0, of rows of `width` cells; and whether the first line names them."""

    source: int
    target: int
    width: int
    named: bool
    shift: int = 0  # cells before the first named one: an index that the first line leaves out

    def pair(self, cells: Sequence[str]) -> tuple[str, str] | str:
        """Both sides of a row, or why it has none. Empty cells after the last column do not count."""
        cells = cells[self.shift :]
        surplus = cells[self.width :]
        if len(cells) < self.width or any(surplus):
            return f"{len(cells)} columns where the first line has {self.width}"
        return cells[self.source], cells[self.target]


def find_layout(first: Sequence[str], second: Sequence[str], sides: Sides, name: str, *, headed: bool) -> Layout:
    """The layout of a table by its first two lines. `headed`: without numbers the first line must name the columns.

    Raises DataError.
    """
    cells = [cell.strip() for cell in first]
    width = max((number for number, cell in enumerate(cells, 1) if cell), default=len(cells))
    shift = int(len(second) == width + 1 and bool(second[-1]) and second[0].strip().isdecimal())
    if (found := sides.names(cells)) is not None:
        return Layout(*found, width, named=True, shift=shift)
    header = _is_header(cells, sides)
    wanted = sides.columns
    if wanted is None and header:
        texts = [number for number, cell in enumerate(cells) if cell and cell.lower() not in _NOT_TEXT]
        if len(texts) >= 2:
            return Layout(texts[0], texts[1], width, named=True, shift=shift)
    if wanted is None and not headed:
        wanted = ("1", "2")
    if wanted is not None and all(column.isdecimal() for column in wanted):
        numbers = [int(column) - 1 for column in wanted]
        if all(0 <= number < len(cells) for number in numbers):
            return Layout(numbers[0], numbers[1], len(first) if not header else width, named=header)
    names = " and ".join(wanted or ("source", "target"))
    missing = next((column for column in wanted or () if not column.isdecimal() or int(column) > len(cells)), None)
    what = f"no column {missing}" if missing else f"no {names}"
    shown = ", ".join(cells)
    raise DataError(
        f"{name}: {what} among {len(cells)} column{'s' * (len(cells) != 1)}: {shown[:200]}",
        "name them for the corpus in a YAML file, columns: [NAME, NAME], or count them from 1, columns: [1, 2]",
    )


def _is_header(cells: Sequence[str], sides: Sides) -> bool:
    """Whether each cell is the name of a column, two at least."""
    known = _HEADERS | {language.lower() for language in sides.languages}
    named = [cell for cell in cells if cell]
    return len(named) >= 2 and all(cell.lower() in known for cell in named)
