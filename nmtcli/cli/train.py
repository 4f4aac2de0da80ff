"""`nmt train`: a data directory and settings to a run directory."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nmtcli.cli.console import say, warn
from nmtcli.cli.options import ConfigFiles, Device, Overrides, Preset
from nmtcli.errors import UserError
from nmtcli.paths import PIPE, quoted, require_apart

if TYPE_CHECKING:
    import torch

    from nmtcli.config import Config
    from nmtcli.models.device import DeviceName


def _plot(runs: list[Path] | None) -> None:
    """Print the page of curves of these runs, and end."""
    if not runs:
        return
    from nmtcli.errors import each
    from nmtcli.train.curves import page
    from nmtcli.train.history import read_history

    if sys.stdout.isatty():
        raise UserError("--plot writes a web page to stdout", f"nmt train --plot {quoted(runs[0])} > curves.html")
    require_apart([run / "metrics.jsonl" for run in runs], [PIPE])
    histories = each(lambda run: read_history(run, str(run) if len(runs) > 1 else None), runs)
    print(page(histories), end="")
    raise typer.Exit


def train(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data directory made by nmt prepare.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="RUN", help="Run directory; one that is there goes on.")
    ],
    preset: Preset = None,
    config: ConfigFiles = None,
    overrides: Overrides = None,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"] | None,
        typer.Option("--precision", help="Arithmetic; same as --set train.precision=…"),
    ] = None,
    finetune_from: Annotated[
        Path | None,
        typer.Option(
            "--finetune-from", metavar="MODEL", help="Run, checkpoint or export that gives the first weights."
        ),
    ] = None,
    extend_vocabulary: Annotated[
        bool,
        typer.Option(
            "--extend-vocabulary", help="With --finetune-from: data with other tokenizers; pieces in both stay."
        ),
    ] = False,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=1, help="Train on so many GPUs of this machine; with --device cpu, processes."),
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Go on with a run under other training settings than it began with.")
    ] = False,
    verify_resume: Annotated[
        int,
        typer.Option(
            "--verify-resume",
            metavar="N",
            min=0,
            help="Train 2N updates straight, and N, a kill and the rest; compare all bits. RUN must be new.",
        ),
    ] = 0,
    plot: Annotated[
        list[Path] | None,
        typer.Option(
            "--plot",
            metavar="RUN",
            callback=_plot,
            is_eager=True,
            help="Only draw the curves of runs that are there, as a web page on stdout. Repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the plan (model, epochs, memory, time on this machine); train nothing."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --dry-run: also each weight and export format.")
    ] = False,
) -> None:
    """Train a model. Run the same command again to go on after an interruption, exactly."""
    if extend_vocabulary and finetune_from is None:
        raise UserError("--extend-vocabulary goes with --finetune-from MODEL")
    if verbose and not dry_run:
        raise UserError("--verbose goes with --dry-run")
    if verify_resume:
        _verify(verify_resume, context.obj, output, device)
        return
    if gpus is not None and gpus > 1 and not dry_run and _launch(gpus, context.obj, device):
        return
    given = [*(overrides or []), *([f"train.precision={precision}"] if precision else [])]
    finetuning = finetune_from, extend_vocabulary
    plan = ("long" if verbose else "short") if dry_run else None
    _train(data, output, preset, config or [], given, device, finetuning, allow_changes, plan)


def _verify(updates: int, arguments: list[str], output: Path, device: "DeviceName") -> None:
    from nmtcli.cli.training_display import show_resumption
    from nmtcli.models.device import open_device
    from nmtcli.train.verify import verify_resume

    where = open_device(device)
    show_resumption(verify_resume(updates, arguments, output), output, where.type)


def _launch(count: int, arguments: list[str], device: "DeviceName") -> bool:
    """Train in so many other processes; False where this is one of them."""
    from nmtcli.train.distributed import launched
    from nmtcli.train.launch import check_count, launch

    if launched():
        return False
    check_count(count, device)
    if code := launch(count, arguments):
        raise typer.Exit(code)
    return True


def _train(
    data: Path,
    output: Path,
    preset: str | None,
    files: list[Path],
    given: list[str],
    device: "DeviceName",
    finetuning: tuple[Path | None, bool],
    allow_changes: bool,
    plan: str | None,
) -> None:
    """Train in this process, as one of several ranks where torchrun started it; or only show a short or long plan."""
    from nmtcli.checkpoint import AGAIN, RunDirectory
    from nmtcli.cli.plan_display import show_plan
    from nmtcli.cli.training_display import TrainingDisplay
    from nmtcli.data.directory import open_data
    from nmtcli.models.device import explain_out_of_memory, open_device
    from nmtcli.settings import load_config
    from nmtcli.staging import writing
    from nmtcli.train.curves import CurvesPage
    from nmtcli.train.distributed import joined, local_rank
    from nmtcli.train.finetuning import FirstModel
    from nmtcli.train.logs import Observer, WandbLog, open_logs
    from nmtcli.train.run import open_run, resolve, settings_of
    from nmtcli.train.trainer import Trainer
    from nmtcli.train.vectors import WordVectorPair, read_word_vectors

    prepared = open_data(data)
    finetune_from, extend_vocabulary = finetuning
    first = FirstModel.find(finetune_from, output) if finetune_from else None
    base = {"data": prepared.manifest.data.model_dump(), **({"model": first.model.model_dump()} if first else {})}
    as_given = load_config(preset, files, given, base=base)
    where = open_device(device, as_given.train.threads, local_rank())
    before = settings_of(output) if (output / "config.yaml").exists() else None
    settings = resolve(as_given, prepared, where, before, finetuning=first is not None)
    _warn_of_emulation(settings, where)
    if first:
        for line in first.check(settings, prepared, extend_vocabulary):
            say(line)
    elif settings.train.objective == "mrt" and not (output / "last").exists():
        warn("train.objective mrt begins with random weights; --finetune-from gives it a trained model")
    vectors: WordVectorPair = (None, None)
    if not RunDirectory(output).steps():  # a run that goes on has embeddings of its own
        vectors = read_word_vectors(settings.model.embedding, prepared.tokenizers)
        for one in dict.fromkeys(filter(None, vectors)):
            (warn if one.few else say)(one.summary)
    if settings.train.wandb_project:
        WandbLog.require()
    if plan:
        show_plan(as_given, settings, prepared, where, verbose=plan == "long")
        return
    fingerprint = prepared.manifest.fingerprint
    with ExitStack() as stack:
        ranks = stack.enter_context(joined(where))
        observers: list[Observer] = []
        if ranks.first:
            stack.enter_context(RunDirectory(output).lock())
            with writing(output, AGAIN):
                _, changes = open_run(output, settings, fingerprint, allow_changes)
            logs = open_logs(output, settings)
            display = stack.enter_context(TrainingDisplay(output, changes))
            observers = [display, *logs, CurvesPage(output)]
        ranks.most(0)  # until here the others wait for the directory
        with explain_out_of_memory("train.batch_tokens; the same command goes on from the last checkpoint"):
            Trainer(settings, prepared, RunDirectory(output), where, observers, first, vectors, ranks).fit()


def _warn_of_emulation(settings: "Config", where: "torch.device") -> None:
    from nmtcli.models.device import has_bf16

    if settings.train.precision == "bf16" and not has_bf16(where):
        warn(f"this {where.type.upper()} has no bf16 instructions: --precision fp32 is several times faster")
