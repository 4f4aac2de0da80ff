"""Training as a person sees it: one live line, a table at each validation, the model as a table."""

import math
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from rich.markup import escape
from rich.progress import Progress, TextColumn
from rich.table import Table

from nmtcli.cli.console import progress, say, stderr, stdout, warn
from nmtcli.config import Config
from nmtcli.export.exporter import reachable_formats
from nmtcli.prepare.directory import PreparedData
from nmtcli.train.exposure import Accuracies
from nmtcli.train.logs import Metrics, Observer, Sample
from nmtcli.train.plan import plan_run


class TrainingDisplay(Observer):
    """A live progress line on a terminal, plain lines elsewhere, both on stderr."""

    def __init__(self, run: Path, changes: list[str]) -> None:
        self.run = run
        self.changes = changes
        self.bar: Progress = progress(TextColumn("{task.fields[status]}"))
        self.task = self.bar.add_task("update", total=None, status="")
        self.translating = self.bar.add_task("translating", total=None, visible=False, status="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def started(self, metrics: Metrics) -> None:
        """Say what is trained, where, and whether it goes on."""
        for change in self.changes:
            warn(f"changed since this run began: {change}")
        frozen = f" ({metrics['frozen']:,} of them frozen)" if metrics["frozen"] else ""
        say(
            f"{metrics['parameters']:,} parameters{frozen}, {metrics['pairs']:,} pairs,"
            f" {metrics['device']} in {metrics['precision']}, torch {metrics['torch']}"
        )
        if metrics["step"]:
            say(f"going on from update {metrics['step']:,} of {metrics['total']:,} in {self.run}")
        self.bar.update(self.task, completed=metrics["step"], total=metrics["total"])

    def updated(self, metrics: Metrics) -> None:
        """Move the bar; off a terminal print a line."""
        status = (
            f"epoch {metrics['epoch']:.2f}  loss {metrics['loss']:.3f}  {metrics['tokens_per_second']:,.0f} tok/s"
            f"  lr {metrics['learning_rate']:.2e}  data wait {metrics['data_wait']:.0%}"
        )
        if "teacher_forcing" in metrics:
            status += f"  teacher forcing {metrics['teacher_forcing']:.1%}"
        if "risk" in metrics:
            status += f"  risk {metrics['risk']:.3f}"
        if metrics["skipped"]:
            status += f"  skipped {metrics['skipped']}"
        self.bar.update(self.task, completed=metrics["step"], status=status)
        if not stderr.is_terminal:
            say(f"update {metrics['step']}  {status}")

    def validating(self, done: int, total: int) -> None:
        """Show how far the translation of the validation set is."""
        self.bar.update(self.translating, completed=done, total=total, visible=done < total)

    def validated(self, metrics: Metrics, samples: list[Sample]) -> None:
        """Print the scores and a few translations."""
        mark = " [green]best so far[/]" if metrics["improved"] else f" (best was {metrics['without_improvement']} ago)"
        stderr.print(f"[bold]validation at update {metrics['step']:,}[/]  {scores(metrics)}{mark}")
        show_accuracy(metrics["accuracy_by_position"])
        table = Table(show_header=False, box=None, padding=(0, 1))
        for source, reference, translation in samples:
            for label, text in (("source", source), ("reference", reference), ("translation", translation)):
                table.add_row(f"[dim]{label}[/]", escape(text))
        if stderr.is_terminal:
            stderr.print(table)

    def averaged(self, metrics: Metrics) -> None:
        """Print the scores of the average."""
        mark = " [green]best of all[/]" if metrics["improved"] else " (not better than the best checkpoint)"
        stderr.print(f"[bold]average of {len(metrics['checkpoints'])} checkpoints[/]  {scores(metrics)}{mark}")

    def stopped(self, metrics: Metrics) -> None:
        """Say why, and what to do next."""
        self.bar.stop()
        say(f"stopped: {metrics['reason']}")
        say(f"next: nmt translate -m {self.run} -i FILE -o FILE")


def scores(metrics: Metrics) -> str:
    """What was measured in a validation."""
    return (
        f"BLEU {metrics['bleu']:.2f}  chrF {metrics['chrf']:.2f}"
        f"  loss {metrics['loss']:.3f}  perplexity {metrics['perplexity']:.2f}"
        f"  accuracy {metrics['accuracy']:.1%}  exact {metrics['exact_match']:.1%}"
    )


def show_accuracy(by_position: Accuracies) -> None:
    """Accuracy after the true words and after the model's own: a table on a terminal, elsewhere a line."""
    rows = {"teacher-forced": "teacher_forced", "free-running": "free_running"}
    cells = [[f"{found[key]:.1%}" for found in by_position.values()] for key in rows.values()]
    if stderr.is_terminal:
        table = Table("accuracy at position", *by_position, box=None, padding=(0, 1))
        for name, values in zip(rows, cells, strict=True):
            table.add_row(name, *values)
        stderr.print(table)
    else:
        parts = (f"{bucket} {forced}/{free}" for bucket, forced, free in zip(by_position, *cells, strict=True))
        say(f"accuracy by position, {'/'.join(rows)}: {'  '.join(parts)}")


def show_plan(config: Config, data: PreparedData, device: torch.device) -> None:
    """Print the model, an epoch, memory, and what the model can be exported to, on stdout."""
    plan = plan_run(config, data, device)
    table = Table(title="model")
    for column in ("part", "shape", "parameters"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, shape in plan.weights.items():
        table.add_row(name, " × ".join(map(str, shape)), f"{math.prod(shape):,}")
    table.add_section()
    table.add_row("all", "", f"{plan.parameters:,}")
    stdout.print(table)
    sentences, source, target = plan.largest
    rows = Table(show_header=False, box=None)
    rows.add_row(
        "an epoch", f"{plan.pairs:,} pairs, {plan.updates:,} updates of {plan.target_tokens:,.0f} target tokens"
    )
    rows.add_row("largest batch", f"{sentences:,} sentences, {source} source and {target} target tokens each")
    rows.add_row(
        "memory",
        f"{megabytes(plan.state_bytes)} weights, gradients and optimizer,"
        f" {megabytes(plan.activation_bytes)} activations of the largest batch",
    )
    rows.add_row("export to", ", ".join(reachable_formats(config.model)))
    stdout.print(rows)


def megabytes(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e6:,.0f} MB"
