"""`nmt score`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmtcli.cli.console import say, stdout, warn
from nmtcli.errors import CheckFailed, UserError

if TYPE_CHECKING:
    from nmtcli.score.metrics import Score
    from nmtcli.score.texts import Text

_RESAMPLES = 1000
# 20 000 lines of 1000 resamples take 1.6 GB; the interval of so long a test set is narrow anyway
_MOST_LINES_RESAMPLED = 20_000


def score(
    reference: Annotated[
        list[Path], typer.Option("-r", "--reference", metavar="FILE", help="Reference translation; repeat for several.")
    ],
    hypothesis: Annotated[
        list[Path] | None,
        typer.Argument(metavar="HYPOTHESIS", help="Translated text, one file a system; - or none: standard input."),
    ] = None,
    *,
    metric: Annotated[str, typer.Option("--metric", metavar="LIST", help="Of bleu, chrf, ter.")] = "bleu,chrf,ter",
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="BLEU and chrF ignore case, as TER always does.")
    ] = False,
    tokenize: Annotated[
        str | None,
        typer.Option(
            "--tokenize",
            metavar="NAME",
            help="BLEU's tokenizer: 13a (default), intl, zh, ja-mecab, ko-mecab, char, flores200, none …",
        ),
    ] = None,
    at_least: Annotated[
        str | None,
        typer.Option("--at-least", metavar="METRIC=SCORE,…", help="Exit with code 5 where a score is lower."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Unrounded scores for programs.")] = False,
) -> None:
    """Score translations with sacreBLEU: BLEU, chrF and TER with 95 % intervals and signatures.

    Give plain text: joined to words, detokenised, one sentence a line.
    """
    from nmtcli.score import texts
    from nmtcli.score.metrics import score_corpus

    paths = hypothesis or [texts.STDIN]
    if [*paths, *reference].count(texts.STDIN) > 1:
        raise UserError("standard input can be read only once", "give a file for every text but one")
    metrics = list(dict.fromkeys(name.strip().lower() for name in metric.split(",")))
    least = _minima(at_least, metrics) if at_least else {}
    references = [texts.read_text(path) for path in reference]
    systems = [texts.read_text(path) for path in paths]
    for system in systems:
        for one in references:
            texts.require_parallel(system, one)
    advice = texts.warnings(systems, references, metrics, tokenize)
    for line in advice:
        warn(line)

    resamples = _RESAMPLES
    if len(systems[0].lines) > _MOST_LINES_RESAMPLED:
        resamples = 0
        say(f"no 95 % interval: resampling more than {_MOST_LINES_RESAMPLED} lines would take too much memory")
    streams = [one.lines for one in references]
    scores = [
        score_corpus(system.lines, streams, metrics, bootstrap=resamples, lowercase=lowercase, tokenize=tokenize)
        for system in systems
    ]
    if as_json:
        print(_json(systems, references, scores, advice))
    else:
        _print_table([system.name for system in systems], scores)
    for system, of_system in zip(systems, scores, strict=True):
        for name, found in zip(metrics, of_system, strict=True):
            if found.value < least.get(name, found.value):
                raise CheckFailed(f"{system.name}: {found.name} is {found.value:.2f}, below {least[name]:g}")


def _minima(text: str, metrics: list[str]) -> dict[str, float]:
    """What `--at-least` asks for, by metric."""
    minima = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name not in metrics or name == "ter" or not number.replace(".", "", 1).isdigit():
            raise UserError(f"--at-least {text}: cannot read {part!r}", "write it as bleu=30 or bleu=30,chrf=55")
        minima[name] = float(number)
    return minima


def _json(systems: list[Text], references: list[Text], scores: list[list[Score]], advice: list[str]) -> str:
    rows = [
        {"system": system.name, "lines": len(system.lines), "empty_lines": system.lines.count(""), "scores": of_system}
        for system, of_system in zip(systems, scores, strict=True)
    ]
    document = {"systems": rows, "references": [one.name for one in references], "warnings": advice}
    return json.dumps(document, default=asdict, ensure_ascii=False, indent=2)


def _print_table(names: list[str], scores: list[list[Score]]) -> None:
    from rich.table import Table
    from rich.text import Text as Cell

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("system", overflow="fold")
    for one in scores[0]:
        table.add_column(f"{one.name} {'↓' if one.name == 'TER' else '↑'}", justify="right", no_wrap=True)
        if one.low is not None:
            table.add_column("95 %", style="dim", no_wrap=True)
    for name, of_system in zip(names, scores, strict=True):
        cells = [Cell(name)]
        for one in of_system:
            cells.append(Cell(f"{one.value:.1f}"))
            if one.low is not None:
                cells.append(Cell(f"{one.low:.1f}–{one.high:.1f}"))
        table.add_row(*cells)
    stdout.print(table)
    stdout.print()
    for one in scores[0]:
        # a signature is copied into papers: one line, whatever the width of the terminal
        stdout.print(Cell(f"{one.name}|{one.signature}", style="dim"), soft_wrap=True)
        if one.detail and len(scores) == 1:
            stdout.print(Cell(f"  {one.detail}", style="dim"), soft_wrap=True)
