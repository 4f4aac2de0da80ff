"""`nmt train`: a data directory and settings to a run directory."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmtcli.cli.console import say, warn
from nmtcli.cli.options import ConfigFiles, Device, Overrides, Preset
from nmtcli.errors import UserError


def train(
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the model and the plan; train nothing.")] = False,
) -> None:
    """Train a model. Run the same command again to go on after an interruption, exactly."""
    from nmtcli.checkpoint import RunDirectory
    from nmtcli.cli.training_display import TrainingDisplay, show_plan
    from nmtcli.models.device import explain_out_of_memory, open_device
    from nmtcli.prepare.directory import open_data
    from nmtcli.settings import load_config
    from nmtcli.train.finetuning import FirstModel
    from nmtcli.train.logs import MetricsLog, Observer, TensorBoardLog
    from nmtcli.train.run import open_run, resolve
    from nmtcli.train.trainer import Trainer
    from nmtcli.train.vectors import WordVectorPair, read_word_vectors

    if extend_vocabulary and finetune_from is None:
        raise UserError("--extend-vocabulary goes with --finetune-from MODEL")
    given = [*(overrides or []), *([f"train.precision={precision}"] if precision else [])]
    prepared = open_data(data)
    first = FirstModel.find(finetune_from, output) if finetune_from else None
    base = {"data": prepared.manifest.data.model_dump(), **({"model": first.model.model_dump()} if first else {})}
    settings = load_config(preset, config or [], given, base=base)
    where = open_device(device, settings.train.threads)
    settings = resolve(settings, prepared, where)
    if first:
        for line in first.check(settings, prepared, extend_vocabulary):
            say(line)
    elif settings.train.objective == "mrt" and not (output / "last").exists():
        warn("train.objective mrt begins with random weights; --finetune-from gives it a trained model")
    vectors: WordVectorPair = (None, None)
    if not RunDirectory(output).steps():  # a run that goes on has embeddings of its own
        vectors = read_word_vectors(settings.model.embedding, prepared.tokenizers)
    if dry_run:
        show_plan(settings, prepared, where)
        return
    run, changes = open_run(output, settings, prepared.manifest.fingerprint)
    with TrainingDisplay(output, changes) as display:
        observers: list[Observer] = [display, MetricsLog(output / "metrics.jsonl")]
        if TensorBoardLog.installed():
            observers.append(TensorBoardLog(output / "tensorboard"))
        with explain_out_of_memory("train.batch_tokens; run the same command to go on from the last checkpoint"):
            Trainer(settings, prepared, run, where, observers, first, vectors).fit()
