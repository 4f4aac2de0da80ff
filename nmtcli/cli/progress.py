"""Progress with rate and time left: a bar on a terminal, elsewhere one line per minute."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from nmtcli.cli.console import is_live, say, stderr, stdout_is_terminal

EVERY = 60.0  # seconds between two plain lines


@dataclass
class Stage:
    """A stage of the work. Rate and time left ignore what was done before the first `move`."""

    name: str
    done: int
    share: float | None = None  # of the total, 0 to 1, if known
    total: int | None = None

    def __post_init__(self) -> None:
        self.began = self.moved = time.monotonic()
        self._first = self.done, self.share or 0.0

    def move(self, done: int, total: int | None, share: float | None = None) -> None:
        """Set what is done."""
        self.done, self.total, self.moved = done, total, time.monotonic()
        self.share = done / total if share is None and total else share

    @property
    def seconds(self) -> float:
        """Seconds from the start to the last `move`."""
        return self.moved - self.began

    @property
    def rate(self) -> float | None:
        """Mean number per second since the start."""
        done = self.done - self._first[0]
        return done / self.seconds if done > 0 and self.seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds to the end at the mean speed since the start."""
        if self.share is None or self.share <= (first := self._first[1]):
            return None
        return max(0.0, self.seconds * (1 - self.share) / (self.share - first) - (time.monotonic() - self.moved))

    def figures(self) -> Iterator[str]:
        """What is known, as text."""
        yield f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"
        if self.total is None and self.share is not None:
            yield f"{self.share:.0%}"
        if self.rate is not None:
            yield f"{format_rate(self.rate)}/s"
        if self.left is not None:
            yield f"{format_time(self.left)} left"


class Progress:
    """Shows the stages of some work on stderr, and a summary at the end."""

    def __init__(self, *, quiet: bool = False) -> None:
        """`quiet` shows nothing."""
        self._quiet = quiet
        self._stages: dict[str, tuple[Stage, TaskID]] = {}
        self._printed_at = self._began = time.monotonic()
        name = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), name, BarColumn(bar_width=24), _Figures())
        disabled = quiet or not is_live()
        self._bars = Bars(
            *columns, console=stderr, disable=disabled, transient=True, redirect_stdout=stdout_is_terminal()
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def move(self, name: str, done: int, total: int | None = None, share: float | None = None) -> None:
        """Set the progress of a stage: `done` of `total`, or `share` if the total is unknown."""
        if name not in self._stages:
            stage = Stage(name, done, share if share is not None else done / total if total else None)
            self._stages[name] = stage, self._bars.add_task(name, total=None, stage=stage)
        stage, task = self._stages[name]
        stage.move(done, total, share)
        self._bars.update(task, total=None if stage.share is None else 1.0, completed=stage.share or 0.0)
        if not self._quiet and not is_live() and time.monotonic() - self._printed_at >= EVERY:
            say(f"{name}: {', '.join(stage.figures())}")
            self._printed_at = time.monotonic()

    def summary(self, done: int, unit: str, verb: str) -> None:
        """Print what was done, the time and the rate."""
        if self._quiet:
            return
        say(summary(done, unit, verb, time.monotonic() - self._began))


class _Figures(ProgressColumn):
    """The figures of a stage, computed at each refresh."""

    def render(self, task: Task) -> Text:
        return Text("  ".join(task.fields["stage"].figures()))


def format_rate(rate: float) -> str:
    """A rate per second with thousands separators; below 100 with one decimal."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def format_time(seconds: float) -> str:
    """Hours, minutes and seconds; below a minute, seconds with one decimal."""
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def summary(done: int, unit: str, verb: str, seconds: float) -> str:
    """What was done, the time and the rate, as one line."""
    units = unit if done != 1 else unit.removesuffix("s")
    return f"{done:,} {units} {verb} in {format_time(seconds)}, {format_rate(done / max(seconds, 1e-3))} {unit}/s"
