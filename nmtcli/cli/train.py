"""`nmt train`: train a model on a data directory, in a run directory."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nmtcli.cli.console import require_stdout, tell
from nmtcli.cli.options import command
from nmtcli.errors import UserError
from nmtcli.options import Option, Rule, check_rules
from nmtcli.paths import PIPE, quoted, require_apart
from nmtcli.train.options import TrainOptions


def _plot(context: typer.Context, runs: list[Path] | None) -> None:
    """Print the page of learning curves of these runs, and exit."""
    if not runs or context.resilient_parsing:  # of shell completion
        return
    from nmtcli.errors import each
    from nmtcli.train.curves import page
    from nmtcli.train.history import read_history

    require_stdout()
    if sys.stdout.isatty():
        raise UserError("--plot writes a web page to stdout", f"nmt train --plot {quoted(runs[0])} > curves.html")
    require_apart([run / "metrics.jsonl" for run in runs], [PIPE])
    histories = each(lambda run: read_history(run, str(run) if len(runs) > 1 else None), runs)
    print(page(histories), end="")
    raise typer.Exit


@dataclass(frozen=True, kw_only=True)
class _CommandOptions(TrainOptions):
    """The options of `train`, and those of the command line only: other processes, and no training."""

    gpus: Annotated[int | None, Option("Number of GPUs; with --device cpu: of processes.", min=1)] = None
    verify_resume: Annotated[
        int,
        Option(
            "Test that resuming is exact, bit for bit: 2N updates against N, a kill, and N more. RUN must be new.",
            metavar="N",
            min=0,
        ),
    ] = 0
    plot: Annotated[
        tuple[Path, ...],
        Option(
            "Write the learning curves of existing runs to stdout as a web page; train nothing. Repeatable.",
            metavar="RUN",
            more={"callback": _plot, "is_eager": True},
        ),
    ] = ()
    dry_run: Annotated[bool, Option("Print the plan (model, epochs, memory, time on this machine); train nothing.")] = (
        False
    )
    verbose: Annotated[bool, Option("With --dry-run: also print parameters and export formats.")] = False


_RULES: tuple[Rule[_CommandOptions], ...] = (
    Rule(
        lambda o: o.verbose and not o.dry_run, "--verbose needs --dry-run", "nmt train DATA -o RUN --dry-run --verbose"
    ),
    Rule(
        lambda o: o.verify_resume > 0 and o.dry_run,
        "--verify-resume and --dry-run are mutually exclusive: --verify-resume trains",
        "leave out one of them",
    ),
    Rule(
        lambda o: o.gpus is not None and o.gpus > 1 and o.dry_run,
        "--gpus and --dry-run are mutually exclusive: the plan is that of one process",
        "leave --gpus out",
    ),
)


@command(lambda: _CommandOptions)
def train(context: typer.Context, options: _CommandOptions) -> None:
    """Train a model. Run the same command again to resume it."""
    # Tensors of 2 MB and more in huge pages, for a tenth more speed on a CPU; must be set before torch is imported, and
    # makes it warn where the kernel has none.
    if Path("/sys/kernel/mm/transparent_hugepage").exists():
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from nmtcli.train.options import RULES

    check_rules(options, RULES)
    check_rules(options, _RULES)
    if options.verify_resume:
        _verify(options, context.obj)
        return
    if options.gpus is not None and options.gpus > 1 and _launch(options, context.obj):
        return
    from nmtcli.train import train as library

    if options.dry_run:
        from nmtcli.cli.plan_display import show_plan

        training = library.open_training(options, tell)
        show_plan(training.given, training.settings, training.data, training.device, options.verbose)
        return
    from nmtcli.cli.training_display import TrainingDisplay

    with TrainingDisplay(options.output) as display:
        library.train(options, [display], tell)


def _verify(options: _CommandOptions, arguments: list[str]) -> None:
    from nmtcli.cli.training_display import show_resumption
    from nmtcli.models.device import open_device
    from nmtcli.train.verify import verify_resume

    device = open_device(options.device)
    show_resumption(verify_resume(options.verify_resume, arguments, options.output), options.output, device.type)


def _launch(options: _CommandOptions, arguments: list[str]) -> bool:
    """Train in other processes, one per GPU; False if this is one of them."""
    from nmtcli.train.distributed import launched
    from nmtcli.train.launch import check_count, launch

    if launched():
        return False
    assert options.gpus is not None
    check_count(options.gpus, options.device)
    if code := launch(options.gpus, arguments):
        raise typer.Exit(code)
    return True
