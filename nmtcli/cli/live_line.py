"""One line of figures that fits any terminal: what matters most stays longest."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

GAP = "  "
_BAR = 24  # columns, at most
_LEAST_BAR = 8
_WARNING = "yellow"


class Figure(NamedTuple):
    """A part of the line; of those that do not fit all, the ones of high rank go first."""

    rank: int
    text: str
    style: str = ""


def figures(metrics: dict[str, Any], total: int, left: float | None) -> list[Figure]:
    """What is known of an update, in the order it is shown; `left` are seconds."""
    return [Figure(0, f"{metrics['step']:,}/{total:,}", "bold"), *_known(metrics), *_left(left)]


def _known(metrics: dict[str, Any]) -> Iterator[Figure]:
    # key, rank, words
    known: list[tuple[str, int, Callable[[Any], str]]] = [
        ("epoch", 8, "epoch {:.2f}".format),
        ("loss", 1, "loss {:.3f}".format),
        ("perplexity", 5, lambda value: f"ppl {value:,.{1 if value < 1000 else 0}f}"),
        ("accuracy", 6, "acc {:.1%}".format),
        ("risk", 6, "risk {:.3f}".format),
        ("tokens_per_second", 4, "{:,.0f} tok/s".format),
        ("learning_rate", 7, "lr {:.1e}".format),
        ("gradient_norm", 9, "norm {:.2f}".format),
        ("data_wait", 10, "data wait {:.0%}".format),
        ("gpu_memory", 11, lambda value: f"GPU {value / 1e9:.1f} GB"),
        ("teacher_forcing", 12, "teacher forcing {:.1%}".format),
    ]
    for key, rank, words in known:
        if metrics.get(key) is not None:
            yield Figure(rank, words(metrics[key]))
    for key, word in (("skipped", "skipped"), ("out_of_memory", "split")):
        if metrics.get(key):
            yield Figure(3, f"{word} {metrics[key]:,}", _WARNING)


def _left(seconds: float | None) -> Iterator[Figure]:
    if seconds is not None:
        yield Figure(2, f"{timedelta(seconds=round(max(seconds, 0)))} left")


def fitting(shown: list[Figure], width: int) -> list[Figure]:
    """Those that stay in a line of so many columns, in the same order: a wider line has all of a narrower one."""
    kept: list[Figure] = []
    for figure in sorted(shown, key=lambda figure: figure.rank):
        if len(line([*kept, figure]).plain) > width:
            break
        kept.append(figure)
    return [figure for figure in shown if figure in kept]


def line(shown: list[Figure]) -> Text:
    """The figures beside each other."""
    return Text(GAP).join(Text(figure.text, style=figure.style) for figure in shown)


class LiveLine:
    """What training is at, drawn anew whenever it is looked at."""

    def __init__(self) -> None:
        self.total = 0
        self.metrics: dict[str, Any] = {"step": 0}
        self.validating: tuple[int, int] | None = None  # sentences done, of all
        self.spinner = Spinner("dots")
        self.began = self.moved = (0, 0.0)  # an update, and when it was done

    def start(self, step: int, total: int) -> None:
        """Begin to reckon the time left."""
        self.metrics, self.total = {"step": step}, total
        self.began = self.moved = (step, time.monotonic())

    def move(self, metrics: dict[str, Any]) -> None:
        """Show the figures of an update."""
        self.metrics, self.moved = metrics, (metrics["step"], time.monotonic())

    def left(self) -> float | None:
        """Seconds to the end at the mean speed since the start, validation and saving counted; None if not known."""
        (first, began), (step, moved) = self.began, self.moved
        if step <= first:
            return None
        return (moved - began) / (step - first) * (self.total - step) - (time.monotonic() - moved)

    def plain(self) -> str:
        """All figures in words, for a log file."""
        return line(figures(self.metrics, self.total, self.left())).plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The spinner, the figures that fit, and a bar where there is room for it."""
        width = options.max_width - 3  # the spinner, and the last column, which makes some terminals wrap
        done, total = (self.metrics["step"], self.total) if self.validating is None else self.validating
        if self.validating is None:
            shown = line(fitting(figures(self.metrics, total, self.left()), width))
        else:
            shown = Text(f"validating{GAP}{done:,}/{total:,} sentences")
        shown.truncate(width)
        cells: list[Any] = [self.spinner.render(console.get_time()), shown]
        if (room := width - shown.cell_len - 1) >= _LEAST_BAR:
            cells.append(ProgressBar(total=max(total, 1), completed=done, width=min(room, _BAR)))
        grid = Table.grid(padding=(0, 1, 0, 0))
        for _ in cells:
            grid.add_column(no_wrap=True)
        grid.add_row(*cells)
        yield grid
