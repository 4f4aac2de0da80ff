"""Changes to the text that the settings ask for: masked spans, removed markup and added copies, as rows of a table."""

from collections.abc import Callable, Iterator

from nmtcli.prepare.augmentation import KINDS
from nmtcli.prepare.report.report import CorpusReport, Report, SplitReport
from nmtcli.prepare.rows import ENTITIES, TAGS
from nmtcli.text.spans import KINDS as SPAN_KINDS

Part = CorpusReport | SplitReport


def change_rows(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Title and cells of each row, a cell for each of `report.parts`; rows without a number are left out."""
    yield from _rows(report, {"tags removed": _note(TAGS), "entities decoded": _note(ENTITIES)})
    spans = {f"masked spans: {kind}": _spans(kind) for kind in SPAN_KINDS}
    yield from _rows(report, {"pairs with masked spans": _masked, **spans})
    yield from _rows(report, {f"copies added: {kind}": _copies(kind) for kind in KINDS})


def _rows(report: Report, counts: dict[str, Callable[[Part], int | None]]) -> Iterator[tuple[str, list[str]]]:
    for title, count in counts.items():
        numbers = [count(part) for _, part in report.parts]
        if any(numbers):
            yield title, ["–" if number is None else f"{number:,}" for number in numbers]


def _corpora(part: Part) -> tuple[CorpusReport, ...]:
    return part.corpora if isinstance(part, SplitReport) else (part,)


def _note(note: str) -> Callable[[Part], int]:
    return lambda part: sum(corpus.notes.get(note, 0) for corpus in _corpora(part))


def _copies(kind: str) -> Callable[[Part], int]:
    return lambda part: sum(corpus.copies.get(kind, 0) for corpus in _corpora(part))


def _masked(part: Part) -> int | None:
    """None for a single corpus: spans are counted for a whole split."""
    if isinstance(part, CorpusReport):
        return None
    return part.masked.pairs if part.masked else 0


def _spans(kind: str) -> Callable[[Part], int | None]:
    def count(part: Part) -> int | None:
        if isinstance(part, CorpusReport):
            return None
        return part.masked.spans.get(kind, 0) if part.masked else 0

    return count
