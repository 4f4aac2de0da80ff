"""`curves.html`: the curves of a run, or of several in the same plots, as one page that needs nothing else.

All of it is drawn from `metrics.jsonl`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nmtcli.checkpoint import AGAIN
from nmtcli.page.charts import COLOURS, Chart, Curve, Reading, curve_chart
from nmtcli.page.html import render
from nmtcli.staging import write_whole, writing
from nmtcli.train.history import History, read_history
from nmtcli.train.logs import Metrics, Observer, Sample

PAGE_FILE = "curves.html"


class _Chart(NamedTuple):
    """What is drawn: the metric's name and ours; see `curve_chart`."""

    key: str
    title: str
    zero: bool = True
    log: bool = False
    factor: float = 1.0


_CHARTS = (
    _Chart("loss", "Loss per target token", zero=False),
    _Chart("perplexity", "Perplexity, without label smoothing", zero=False, log=True),
    _Chart("accuracy", "Accuracy, %", factor=100),
    _Chart("bleu", "BLEU"),
    _Chart("chrf", "chrF"),
    _Chart("exact_match", "Exact match, %", factor=100),
    _Chart("learning_rate", "Learning rate"),
    _Chart("gradient_norm", "Gradient norm", log=True),
    _Chart("tokens_per_second", "Target tokens a second"),
    _Chart("data_wait", "Waiting for data, %", factor=100),
    _Chart("gpu_memory", "GPU memory, GB", factor=1e-9),
    _Chart("skipped", "Skipped updates"),
    _Chart("out_of_memory", "Batches split (out of memory)"),
    _Chart("teacher_forcing", "Teacher forcing, %", factor=100),
    _Chart("risk", "Risk"),
    _Chart("discriminator_accuracy", "Accuracy of the discriminator, %", factor=100),
)
_MARKED = {"bleu", "learning_rate"}  # their value at the best validation is written into the plot
_QUIET = {"skipped", "out_of_memory"}  # not drawn while they are zero


class CurvesPage(Observer):
    """Writes the page of a run anew after each validation and at the end."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def _write(self) -> None:
        path = self.run / PAGE_FILE
        with writing(path, AGAIN):
            write_whole(path, page([read_history(self.run)]).encode("utf-8", "replace"))

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """See `Observer`."""
        self._write()

    def stopped(self, metrics: Metrics) -> None:
        """See `Observer`."""
        self._write()


def page(runs: Sequence[History]) -> str:
    """The page: the same histories give the same text."""
    last = max(run.step for run in runs)
    return render(
        "nmtcli.train",
        "curves.html.j2",
        {"cell": _cell},
        runs=[
            _Run(run, f"c{number % COLOURS}" if len(runs) > 1 else "", tuple(_turns(run)))
            for number, run in enumerate(runs)
        ],
        charts=list(_charts(runs, last)),
        columns=SCORES,
    )


@dataclass(frozen=True)
class _Run:
    """A run as the template wants it."""

    history: History
    style: str
    turns: tuple[tuple[int, str], ...]


def _charts(runs: Sequence[History], last: int) -> Iterator[tuple[str, Chart]]:
    """Title and shapes of each chart that has something to draw."""
    several = len(runs) > 1
    for chart in _CHARTS:
        readings = [[_readings(records, chart) for records in (run.updated, run.validated)] for run in runs]
        if chart.key in _QUIET and not any(value for of_run in readings for one in of_run for _, value in one):
            continue
        pale = " pale" if several and any(validation for _, validation in readings) else ""
        curves = []
        for number, (run, (training, validation)) in enumerate(zip(runs, readings, strict=True)):
            colours = (f"c{number % COLOURS}",) * 2 if several else ("c0", "c1")
            best = run.best["step"] if run.best and chart.key in _MARKED else None
            curves += [
                Curve(f"{colours[0]} train{pale}", training, marked=best),
                Curve(f"{colours[1]} valid", validation, dots=True, marked=best),
            ]
        if shapes := curve_chart(curves, last, zero=chart.zero, log=chart.log, named=not several):
            yield chart.title, shapes


def _readings(records: Sequence[Metrics], chart: _Chart) -> list[Reading]:
    """The values of a metric; none where no record has it."""
    values = [(record["step"], _number(record.get(chart.key))) for record in records]
    known = any(value is not None for _, value in values)
    return [(step, None if value is None else value * chart.factor) for step, value in values] if known else []


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


SCORES = (  # key, name, format
    ("loss", "loss", "{:.3f}"),
    ("perplexity", "perplexity", "{:,.2f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("bleu", "BLEU", "{:.2f}"),
    ("chrf", "chrF", "{:.2f}"),
    ("exact_match", "exact", "{:.1%}"),
)


def _cell(value: Any, form: str) -> str:
    number = _number(value)
    return "–" if number is None else form.format(number)


def _turns(run: History) -> Iterator[tuple[int, str]]:
    """The update and a description of each event of a run."""
    splits = [turn for turn in run.turns if turn["event"] == "split"]
    for turn in run.turns:
        step = turn["step"]
        match turn["event"]:
            case "started":
                words = f"{turn.get('device')} in {turn.get('precision')}, torch {turn.get('torch')}"
                yield step, f"{'resumed' if step else 'started'}: {words}"
            case "recovered":
                words = f"returned to update {_cell(turn.get('to_step'), '{:,}')}: {turn.get('reason')}"
                yield step, f"{words}; now {turn.get('precision')}, learning rate times {turn.get('rate_scale')}"
            case "split" if turn is splits[0]:
                words = f"a batch of {_cell(turn.get('tokens'), '{:,}')} tokens did not fit into memory"
                often = f"; {len(splits)} times in all" if len(splits) > 1 else ""
                yield step, f"{words}, split into {turn.get('parts')} micro-batches; lower {turn.get('setting')}{often}"
            case "stopped":
                yield step, f"stopped: {turn.get('reason')}"
