"""The live line of training: figures in the width of the terminal, the most important ones first to stay."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nmtcli.cli.progress import Stage

GAP = "  "
_MAX_BAR = 24  # columns
_MIN_BAR = 8
_WARNING = "yellow"


class Figure(NamedTuple):
    """A part of the line; in a narrow terminal, parts of high rank are omitted first."""

    rank: int
    text: str
    style: str = ""


def figures(metrics: dict[str, Any], total: int, left: float | None) -> list[Figure]:
    """The figures of an update, in the order of display; `left` in seconds."""
    end = [] if left is None else [Figure(2, f"{timedelta(seconds=round(max(left, 0)))} left")]
    return [Figure(0, f"{metrics['step']:,}/{total:,}", "bold"), *_figures(metrics), *end]


def _figures(metrics: dict[str, Any]) -> Iterator[Figure]:
    # key, rank, format
    formats: list[tuple[str, int, Callable[[Any], str]]] = [
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
        ("discriminator_accuracy", 12, "discriminator {:.0%}".format),
    ]
    for key, rank, form in formats:
        if metrics.get(key) is not None:
            yield Figure(rank, form(metrics[key]))
    for key, word in (("skipped", "skipped"), ("out_of_memory", "split")):
        if metrics.get(key):
            yield Figure(3, f"{word} {metrics[key]:,}", _WARNING)


def fitting(shown: list[Figure], width: int) -> list[Figure]:
    """The figures that fit in `width` columns, in the same order; a wider line has all figures of a narrower one."""
    kept: list[Figure] = []
    for figure in sorted(shown, key=lambda figure: figure.rank):
        if len(line([*kept, figure]).plain) > width:
            break
        kept.append(figure)
    return [figure for figure in shown if figure in kept]


def line(shown: list[Figure]) -> Text:
    """The figures as one line."""
    return Text(GAP).join(Text(figure.text, style=figure.style) for figure in shown)


class LiveLine:
    """Progress of training; rendered at each refresh."""

    def __init__(self) -> None:
        self.total = 0
        self.metrics: dict[str, Any] = {"step": 0}
        self.validating: tuple[int, int] | None = None  # sentences done, and their total
        self.spinner = Spinner("dots")
        self.stage = Stage("updates", 0)

    def start(self, step: int, total: int) -> None:
        """Start at an update: the estimate of the time left counts from here."""
        self.metrics, self.total, self.stage = {"step": step}, total, Stage("updates", step, step / max(total, 1))

    def move(self, metrics: dict[str, Any]) -> None:
        """Set the figures of an update."""
        self.metrics = metrics
        self.stage.move(metrics["step"], self.total)

    def plain(self) -> str:
        """All figures as text, for a log file."""
        return line(figures(self.metrics, self.total, self.stage.left)).plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The spinner, the figures that fit, and a bar if there is room."""
        width = options.max_width - 3  # spinner, and the last column, where some terminals wrap
        done, total = (self.metrics["step"], self.total) if self.validating is None else self.validating
        if self.validating is None:
            shown = line(fitting(figures(self.metrics, total, self.stage.left), width))
        else:
            shown = line([*figures(self.metrics, self.total, None)[:1], Figure(1, f"validating {done:,}/{total:,}")])
        shown.truncate(width)
        cells: list[Any] = [self.spinner.render(console.get_time()), shown]
        if (room := width - shown.cell_len - 1) >= _MIN_BAR:
            cells.append(ProgressBar(total=max(total, 1), completed=done, width=min(room, _MAX_BAR)))
        grid = Table.grid(padding=(0, 1, 0, 0))
        for _ in cells:
            grid.add_column(no_wrap=True)
        grid.add_row(*cells)
        yield grid
