"""The scores of one or several systems as a web page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from nmtcli.errors import UserError
from nmtcli.metrics.scores import Score
from nmtcli.page.charts import COLOURS, Chart
from nmtcli.page.html import render
from nmtcli.score.analysis import Analysis, Breakdown, Sentence, has_words
from nmtcli.score.report.charts import bucket_chart, distribution_chart, interval_chart
from nmtcli.score.significance import Comparison
from nmtcli.staging import check_output

_MOST_COMPARED = 1_000_000  # words times words; marking differences in longer sentences takes too long
_ALIKE = 1.0  # chrF; with a smaller difference two translations of a sentence count as equal


@dataclass(frozen=True)
class Results:
    """The results of all systems; `scores` has a list of metrics for each system."""

    systems: list[str]
    references: list[str]
    lines: int
    scores: list[list[Score]]
    analysis: Analysis
    comparison: Comparison | None = None
    warnings: Sequence[str] = ()


def check_page(path: Path, systems: int) -> None:
    """Raise UserError if the page cannot be written. Call it before scoring."""
    check_output(path)
    if systems > COLOURS:
        raise UserError(f"--report shows at most {COLOURS} systems, not {systems}", "compare fewer at a time")


def page(results: Results) -> str:
    """The page. All text is escaped, and the page loads nothing."""
    analysis = results.analysis
    lists = (
        ("Where the systems differ most", "", analysis.different),
        (
            "The worst translations",
            "lowest mean over the systems; " if len(results.systems) > 1 else "",
            analysis.worst,
        ),
    )
    return render(
        "nmtcli.score.report",
        "page.html.j2",
        results=results,
        rows=tuple(_rows(results)),
        intervals=tuple(_intervals(results)),
        breakdowns=[(one, tuple(_bucket_charts(one, results.systems))) for one in analysis.breakdowns if one.buckets],
        distribution=distribution_chart(analysis.sentence_scores),
        lists=[(title, how, [(one, _marked(one)) for one in shown]) for title, how, shown in lists if shown],
        signatures=tuple(_signatures(results)),
    )


@dataclass(frozen=True)
class _Cell:
    """One metric of one system."""

    value: str
    interval: str | None
    p_value: str | None
    standing: str | None  # better or worse than the first system, where the difference is significant


@dataclass(frozen=True)
class _Row:
    """A system in the table: its scores, and its numbers of better, equal and worse sentences than the first."""

    name: str
    cells: list[_Cell]
    against_first: tuple[int, int, int] | None


def _rows(results: Results) -> Iterator[_Row]:
    first = results.analysis.sentence_scores[0]
    for number, (name, scores) in enumerate(zip(results.systems, results.scores, strict=True)):
        cells = []
        for one, base in zip(scores, results.scores[0], strict=True):
            digits = 4 if one.name == "COMET" else 1  # as in papers
            compared = results.comparison.systems[number][one.name] if results.comparison else None
            p_value = compared.p_value if compared else None
            cells.append(
                _Cell(
                    f"{one.value:.{digits}f}",
                    None if one.low is None else f"{one.low:.{digits}f}–{one.high:.{digits}f}",
                    None if p_value is None else f"p = {p_value:.4f}",
                    None if p_value is None or p_value >= 0.05 else _standing(one, base),
                )
            )
        sentences = zip(results.analysis.sentence_scores[number], first, strict=True)
        differences = [score - other for score, other in sentences]
        better, worse = (sum(sign * one >= _ALIKE for one in differences) for sign in (1, -1))
        yield _Row(name, cells, (better, len(first) - better - worse, worse) if number else None)


def _standing(score: Score, first: Score) -> str:
    """Whether a score is better or worse than the first system's; of TER the lower one is better."""
    higher = score.value > first.value
    return "better" if higher != (score.name == "TER") else "worse"


def _intervals(results: Results) -> Iterator[tuple[str, Chart]]:
    for scores in zip(*results.scores, strict=True):
        arrow = "lower is better" if scores[0].name == "TER" else "higher is better"
        yield f"{scores[0].name} ({arrow})", interval_chart(results.systems, scores)


def _bucket_charts(breakdown: Breakdown, names: Sequence[str]) -> Iterator[tuple[str, str, Chart]]:
    for metric in breakdown.metrics:
        yield (
            f"{metric} by {breakdown.title}",
            f"{breakdown.unit} (number of {breakdown.counted})",
            bucket_chart(breakdown, metric, names),
        )


def _marked(sentence: Sentence) -> list[list[tuple[bool, str]]]:
    """Each translation of a sentence with its differences from the reference."""
    return [list(marked(text, sentence.reference)) for text in sentence.hypotheses]


def marked(text: str, reference: str) -> Iterator[tuple[bool, str]]:
    """The text in parts: True for words (characters, in scripts without spaces) that differ from the reference."""
    words = has_words([text, reference])
    units, other = (line.split(" ") if words else list(line) for line in (text, reference))
    if len(units) * len(other) > _MOST_COMPARED:
        yield False, text
        return
    space = " " if words else ""
    end = 0
    for match in SequenceMatcher(None, units, other, autojunk=False).get_matching_blocks():
        for differs, part in ((True, units[end : match.a]), (False, units[match.a : match.a + match.size])):
            if part:
                yield differs, space.join(part)
                yield False, space
        end = match.a + match.size


def _signatures(results: Results) -> Iterator[str]:
    for score in results.scores[0]:
        yield f"{score.name}|{score.signature}"
    if results.comparison:
        for name, signature in results.comparison.signatures.items():
            yield f"{name}|{signature}"
