"""Tables of scores for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from nmtcli import strict_json
from nmtcli.cli.console import print_table, stdout

if TYPE_CHECKING:
    from nmtcli.metrics.alignment import AlignmentQuality
    from nmtcli.metrics.scores import Score
    from nmtcli.score.analysis import Analysis, Breakdown, Sentence
    from nmtcli.score.robustness import Robustness
    from nmtcli.score.significance import Comparison

_SENTENCES = 3  # of each list; the report has more
_NAME = 40  # characters of a system in a line


def print_scores(names: list[str], scores: list[list[Score]], comparison: Comparison | None) -> None:
    """Print a row for each system, then the signatures."""
    table = _table()
    table.add_column("system", overflow="fold", max_width=_NAME)
    for one in scores[0]:
        table.add_column(f"{one.name} {'↓' if one.name == 'TER' else '↑'}", justify="right", no_wrap=True)
        if one.low is not None:
            table.add_column("95 %", style="dim", no_wrap=True)
    for number, (name, of_system) in enumerate(zip(names, scores, strict=True)):
        cells = [Text(name)]
        for one in of_system:
            digits = 4 if one.name == "COMET" else 1
            cells.append(Text(f"{one.value:.{digits}f}"))
            if one.low is not None:
                cells.append(Text(f"{one.low:.{digits}f}–{one.high:.{digits}f}"))
            compared = comparison.systems[number][one.name] if comparison else None
            if compared is not None and compared.p_value is not None:
                verdict = f"* {'better' if compared.better else 'worse'}" if compared.p_value < 0.05 else ""
                cells[-1].append(f"\np {compared.p_value:.4f}{verdict}")
        table.add_row(*cells)
    print_table(table)
    stdout.print()
    for one in scores[0]:
        # one line in any terminal, as it is copied into papers
        signature = comparison.signatures[one.name] if comparison else one.signature
        stdout.print(Text(f"{one.name}|{signature}", style="dim"), soft_wrap=True)
        if one.detail and len(scores) == 1:
            stdout.print(Text(f"  {one.detail}", style="dim"), soft_wrap=True)
    if comparison:
        test = "paired bootstrap resampling" if comparison.method == "bootstrap" else "paired approximate randomisation"
        note = f"p: p-value of the difference from {names[0]}, {test}; * significant (p < 0.05)"
        stdout.print(Text(note, style="dim"), soft_wrap=True)


def print_details(names: list[str], analysis: Analysis) -> None:
    """Print scores by length and word frequency, then single sentences."""
    if len(names) > 1:
        listed = "   ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
        stdout.print(Text(f"\nSystems in the tables below: {listed}"), soft_wrap=True)
    for breakdown in analysis.breakdowns:
        if breakdown.buckets:
            stdout.print()
            print_table(_breakdown(len(names), breakdown))
    if analysis.different:
        _print_sentences("Largest differences between the systems", analysis.different)
    _print_sentences("Worst translations", analysis.worst)


def _breakdown(systems: int, breakdown: Breakdown) -> Table:
    table = _table(f"By {breakdown.title}")
    table.add_column(breakdown.unit, no_wrap=True)
    table.add_column(breakdown.counted, justify="right", style="dim", no_wrap=True)
    for metric in breakdown.metrics:
        for number in range(1, systems + 1):
            table.add_column(f"{metric} {number}" if systems > 1 else metric, justify="right", no_wrap=True)
    for bucket in breakdown.buckets:
        values = [f"{value:.1f}" for metric in breakdown.metrics for value in bucket.scores[metric]]
        table.add_row(bucket.label, f"{bucket.size:,}", *values)
    return table


def _print_sentences(title: str, sentences: list[Sentence]) -> None:
    stdout.print()
    stdout.print(Text(f"{title}, by sentence chrF", style="bold"))
    for one in sentences[:_SENTENCES]:
        grid = _table()
        grid.show_header = False
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(justify="right", style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        if one.source is not None:
            grid.add_row("source", "", Text(one.source))
        grid.add_row("reference", "", Text(one.reference))
        for number, (value, text) in enumerate(zip(one.scores, one.hypotheses, strict=True), start=1):
            grid.add_row(f"system {number}" if len(one.scores) > 1 else "system", f"{value:.1f}", Text(text))
        stdout.print(Text(f"line {one.line:,}", style="dim"))
        stdout.print(grid)


def _table(title: str | None = None) -> Table:
    return Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")


def print_qualities(names: list[str], qualities: list[AlignmentQuality], as_json: bool) -> None:
    """Print alignment error rates as a table or as JSON."""
    if as_json:
        rows = [
            {"system": name, "error_rate": one.error_rate, "precision": one.precision, "recall": one.recall}
            | {"links": one.links, "sure_links": one.sure}
            for name, one in zip(names, qualities, strict=True)
        ]
        print(strict_json.dumps({"systems": rows}, indent=2))
        return
    table = _table()
    table.add_column("alignment", overflow="fold", max_width=_NAME)
    for title in ("AER ↓", "precision ↑", "recall ↑", "links", "sure links"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, one in zip(names, qualities, strict=True):
        shares = (f"{value:.4f}" for value in (one.error_rate, one.precision, one.recall))
        table.add_row(Text(name), *shares, f"{one.links:,}", f"{one.sure:,}")
    print_table(table)


def print_robustness(result: Robustness, as_json: bool) -> None:
    """Print the scores of original and changed source text with their differences, as a table or as JSON."""
    if as_json:
        print(strict_json.dumps(result, indent=2))
        return
    table = _table()
    table.add_column("source text", no_wrap=True)
    table.add_column("changed", justify="right", style="dim", no_wrap=True)
    for score in result.texts[0].scores:
        table.add_column(f"{score.name} {'↓' if score.name == 'TER' else '↑'}", justify="right", no_wrap=True)
        table.add_column("diff.", justify="right", no_wrap=True)
    for one in result.texts:
        if not one.differences:
            table.add_row(Text(f"{one.compared}:", style="bold"))
        cells = [f"{score.value:.1f}" for score in one.scores]
        differences = [f"{one.differences[score.name]:+.1f}" if one.differences else "" for score in one.scores]
        pairs = [cell for pair in zip(cells, differences, strict=True) for cell in pair]
        table.add_row(f"  {one.text}", f"{one.changed:,}" if one.differences else "", *pairs)
    print_table(table)
    stdout.print()
    signatures = dict.fromkeys(f"{score.name}|{score.signature}" for one in result.texts for score in one.scores)
    for signature in signatures:
        stdout.print(Text(signature, style="dim"), soft_wrap=True)
    note = "changed: lines; diff.: difference from the original, compared in the same way"
    stdout.print(Text(note, style="dim"), soft_wrap=True)
