"""Display of training: a live line, and a table at each validation."""

import math
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from nmtcli.cli.console import is_live, say, stderr, stdout, stdout_is_terminal, warn
from nmtcli.cli.live_line import LiveLine
from nmtcli.cli.plan_display import warn_of_long_time, warn_of_many_epochs
from nmtcli.cli.progress import EVERY, summary
from nmtcli.errors import REPORT_IT, CheckFailed
from nmtcli.paths import quoted
from nmtcli.train.curves import PAGE_FILE, SCORES
from nmtcli.train.exposure import Accuracies
from nmtcli.train.logs import Metrics, Observer, Sample
from nmtcli.train.verify import TOLERANCE, Resumption


class TrainingDisplay(Observer):
    """Observer that prints on stderr: a live line and tables on a terminal, plain lines elsewhere."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.line = LiveLine()
        self.live: Live | None = None
        if is_live():
            self.live = Live(self.line, console=stderr, refresh_per_second=8, redirect_stdout=stdout_is_terminal())
        self.before: Metrics = {}  # the last validation
        self.split_before = False
        self.began = self.printed_at = -math.inf
        self.first_step = self.pairs = self.skipped = 0
        self.updates = 0  # observed so far

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def started(self, metrics: Metrics) -> None:
        """Print the size of the model and data, the device, and the update at which a run resumes."""
        if self.live:
            self.live.start()
        ranks = f", {metrics['ranks']} processes" if metrics.get("ranks", 1) > 1 else ""
        frozen = f" ({metrics['frozen']:,} of them frozen)" if metrics.get("frozen") else ""
        say(
            f"{metrics['parameters']:,} parameters{frozen}, {metrics['pairs']:,} pairs,"
            f" {metrics['device']} in {metrics['precision']}{ranks}, torch {metrics['torch']}"
        )
        if metrics["step"]:
            say(f"resuming from update {metrics['step']:,} of {metrics['total']:,} in {self.run}")
        self.line.start(metrics["step"], metrics["total"])
        self.first_step, self.pairs, self.began = metrics["step"], metrics["pairs"], time.monotonic()

    def updated(self, metrics: Metrics) -> None:
        """Move the line; without a terminal, print the first update and then one line per minute."""
        self._warn(metrics)
        self.line.move(metrics)
        self.skipped = metrics.get("skipped", 0)
        if not self.live and time.monotonic() - self.printed_at >= EVERY:
            say(f"update {self.line.plain()}")
            self.printed_at = time.monotonic()

    def _warn(self, metrics: Metrics) -> None:
        """Warn once, as soon as it is known, of very many epochs or a very long time."""
        step, total = metrics["step"], self.line.total
        if self.first_step == 0 and not self.updates:
            warn_of_many_epochs(total, metrics["epoch"] * total / step, self.pairs)
        if self.updates == 1:  # not before: the time to the first update may include a validation
            stage = self.line.stage
            warn_of_long_time((time.monotonic() - stage.moved) / (step - stage.done) * (total - step))
        self.updates += 1

    def split(self, metrics: Metrics) -> None:
        """Warn the first time, with the setting to change; the live line has the count."""
        if not self.split_before:
            warn(
                f"out of memory at update {metrics['step']:,}: a batch of {metrics['tokens']:,} tokens was split into"
                f" {metrics['parts']} micro-batches, with the same result; a lower {metrics['setting']} is faster"
            )
        self.split_before = True

    def recovered(self, metrics: Metrics) -> None:
        """Warn of a return to an earlier checkpoint, with the new precision and learning rate."""
        warn(
            f"update {metrics['step']:,}: {metrics['reason']}; returned to update {metrics['to_step']:,}, now in"
            f" {metrics['precision']}, learning rate times {metrics['rate_scale']:g}"
        )
        self.line.start(metrics["to_step"], self.line.total)

    def passed_over(self, metrics: Metrics) -> None:
        """Warn of a damaged checkpoint, with the update at which training resumes."""
        warn(f"{metrics['reason']}; moved to {metrics['moved']}, resuming from update {metrics['step']:,}")

    def stayed_eager(self, metrics: Metrics) -> None:
        """Warn that layers are not compiled, with the compiler's reason."""
        warn(f"train.compile: {metrics['reason']}; layers stay eager, with the same result")

    def validating(self, done: int, total: int) -> None:
        """Show the progress of translating the validation set."""
        self.line.validating = (done, total) if done < total else None

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """Print the scores, their changes, and a few translations."""
        self.line.validating = None
        if stderr.is_terminal:
            stderr.print(
                Text.assemble(("\nvalidation at update " + f"{metrics['step']:,}", "bold"), _standing(metrics))
            )
            stderr.print(score_table(metrics, self.before), soft_wrap=False)
        else:
            stderr.print(Text(f"validation at update {metrics['step']:,}  {scores(metrics)}") + _standing(metrics))
        show_accuracy(metrics["accuracy_by_position"])
        show_samples(samples)
        self.before = metrics

    def averaged(self, metrics: Metrics) -> None:
        """Print the scores of the average."""
        mark = ("best of all", "green") if metrics["improved"] else ("not better than the best checkpoint", "yellow")
        number = len(metrics["checkpoints"])
        title = f"average of {number} checkpoint{'' if number == 1 else 's'}"
        stderr.print(Text.assemble((title, "bold"), f"  {scores(metrics)}  ", mark))

    def stopped(self, metrics: Metrics) -> None:
        """Print the reason, a summary and the next command."""
        if self.live:
            self.live.stop()
        say(f"stopped: {metrics['reason']}")
        done = summary(metrics["step"] - self.first_step, "updates", "done", time.monotonic() - self.began)
        say(f"{done}, {self.skipped:,} updates of the run skipped" if self.skipped else done)
        say(f"curves: {self.run / PAGE_FILE}")
        say(f"next: nmt translate -m {quoted(self.run)} -i FILE -o FILE")


def scores(metrics: Metrics) -> str:
    """The scores of a validation, as one line."""
    return "  ".join(f"{name} {form.format(metrics[key])}" for key, name, form in SCORES)


def _standing(metrics: Metrics) -> Text:
    if metrics["improved"]:
        return Text("  best so far", style="green")
    ago = metrics["without_improvement"]
    text = f"  best score {ago} validation{'s' if ago != 1 else ''} ago" if ago else "  all scores zero so far"
    return Text(text, style="yellow")


def score_table(metrics: Metrics, before: Metrics) -> Table:
    """The scores, and their changes since the last validation."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for _, name, _ in SCORES:
        table.add_column(name, justify="right")
    table.add_row(*(form.format(metrics[key]) for key, _, form in SCORES))
    if before:
        changes = (form.replace(":", ":+").format(metrics[key] - before[key]) for key, _, form in SCORES)
        table.add_row(*changes, style="dim")
    return table


def show_samples(samples: list[Sample]) -> None:
    """Print sources, references and translations: a table on a terminal, elsewhere lines."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    for sample in samples:
        for label, text in zip(("source", "reference", "translation"), sample, strict=True):
            if not stderr.is_terminal:
                say(f"{label}: {text}")
            table.add_row(Text(label, style="dim"), Text(text))
        table.add_row()
    if stderr.is_terminal:
        stderr.print()
        stderr.print(table, soft_wrap=False)


def show_accuracy(by_position: Accuracies) -> None:
    """Print teacher-forced and free-running accuracy: a table on a terminal, elsewhere a line."""
    rows = {"teacher-forced": "teacher_forced", "free-running": "free_running"}
    cells = [[f"{accuracy[key]:.1%}" for accuracy in by_position.values()] for key in rows.values()]
    if stderr.is_terminal:
        table = Table("accuracy by position", *by_position, box=None, padding=(0, 1))
        for name, values in zip(rows, cells, strict=True):
            table.add_row(name, *values)
        stderr.print(table)
    else:
        parts = (f"{bucket} {forced}/{free}" for bucket, forced, free in zip(by_position, *cells, strict=True))
        say(f"accuracy by position, {'/'.join(rows)}: {'  '.join(parts)}")


def show_resumption(comparison: Resumption, output: Path, device: str) -> None:
    """Print the comparison of a resumed and an uninterrupted run. Raises CheckFailed if they differ."""
    say(f"{comparison.updates} uninterrupted updates, against a run killed after update {comparison.killed_after}:")
    if comparison.exact:
        stdout.print(f"identical: all {comparison.tensors} tensors and the training state, bit for bit")
        shutil.rmtree(output)
        return
    table = Table("tensor", "relative difference")
    for name, difference in sorted(comparison.different.items(), key=lambda entry: -entry[1])[:10]:
        table.add_row(name, f"{difference:.1e}")
    stdout.print(table)
    worst = max(comparison.different.values(), default=0.0)
    text = f"{len(comparison.different)} of {comparison.tensors} tensors differ, by at most {worst:.1e} of their norm"
    if device == "cuda" and not comparison.state and worst <= TOLERANCE:
        stdout.print(f"equal within {TOLERANCE:.0e}: {text}; GPU kernels are not deterministic")
        shutil.rmtree(output)
        return
    state = f"; different training state: {', '.join(comparison.state)}" if comparison.state else ""
    raise CheckFailed(f"resuming is not exact: {text}{state}", f"{REPORT_IT}; both runs are in {output}")
