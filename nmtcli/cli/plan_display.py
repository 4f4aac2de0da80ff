"""The plan of a training run, and warnings of a long run."""

import math

import torch
from rich.table import Table
from rich.text import Text

from nmtcli.cli.console import stdout, warn
from nmtcli.cli.export import show_formats
from nmtcli.cli.progress import format_time
from nmtcli.config import Config, ModelConfig
from nmtcli.data.directory import PreparedData
from nmtcli.export.conditions import reachable_formats
from nmtcli.train.plan import LONG, MANY_EPOCHS, RunPlan, plan_run
from nmtcli.train.run import derived
from nmtcli.train.schedule import Schedule

_METRICS = {"bleu": "BLEU", "chrf": "chrF"}  # others have the name of the setting


def show_plan(given: Config, config: Config, data: PreparedData, device: torch.device, verbose: bool) -> None:
    """Print the plan on stdout; `config` is `given` with its derived settings.

    With `verbose` also all parameters, and what prevents each export format.
    """
    plan = plan_run(config, data, device)
    if verbose:
        stdout.print(_weights(plan))
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in rows(plan, given, config, data, device):
        table.add_row(name, Text(value))
    stdout.print(table)
    if verbose:
        show_formats(config.model, data.tokenizers)
    warn_of_many_epochs(plan.total, plan.epochs, plan.pairs)
    warn_of_long_time(plan.seconds)


def rows(
    plan: RunPlan, given: Config, config: Config, data: PreparedData, device: torch.device
) -> list[tuple[str, str]]:
    """The plan in about a dozen lines."""
    settings = config.train
    source, target = len(data.tokenizers.source), len(data.tokenizers.target)
    vocabulary = f"{source:,} pieces for both sides" if data.tokenizers.joint else f"{source:,} and {target:,} pieces"
    sentences, longest_source, longest_target = plan.largest
    patience = "no early stopping" if settings.patience is None else f"early stopping after {settings.patience} without"
    better = (
        "" if settings.patience is None else f" better {_METRICS.get(settings.valid_metric, settings.valid_metric)}"
    )
    automatic = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in derived(given, config).items())
    rate = f"peak learning rate {Schedule.of(config, plan.total).peak:g}, "
    if settings.encoder_learning_rate is not None:
        rate += f"of the encoder {settings.encoder_learning_rate:g}, "
    trained = f" ({plan.parameters - plan.frozen:,} trained, {plan.frozen:,} frozen)" if plan.frozen else ""
    return [
        ("model", describe(config.model)),
        ("parameters", f"{plan.parameters:,}{trained}; vocabulary {vocabulary}"),
        ("data", f"{plan.pairs:,} pairs an epoch: {plan.updates:,} updates of {plan.target_tokens:,.0f} target tokens"),
        ("training", f"{plan.total:,} updates at most, {plan.epochs:,.1f} epochs"),
        ("schedule", f"{settings.optimizer}, {rate}{settings.warmup_updates:,} warmup updates, {settings.schedule}"),
        ("validation", f"every {settings.valid_every:,} updates; {patience}{better}"),
        ("derived", automatic or "nothing"),
        ("largest batch", f"{sentences:,} sentences of {longest_source} source and {longest_target} target tokens"),
        (
            "memory",
            f"{_megabytes(plan.state_bytes)} weights, gradients and optimizer,"
            f" {_megabytes(plan.activation_bytes)} activations of the largest batch",
        ),
        (
            "time",
            f"{format_time(plan.seconds)} on {_place(device, settings.threads)} at {plan.tokens_per_second:,.0f} target"
            " tokens/s; validation comes on top, early stopping may end it sooner",
        ),
        ("export to", ", ".join(reachable_formats(config.model, data.tokenizers))),
    ]


def describe(model: ModelConfig) -> str:
    """A model in one line: encoder, decoder, attention."""
    encoder, decoder = model.encoder, model.decoder
    directions = {True: "bidirectional ", "first": "first layer bidirectional ", False: ""}
    cell = f"{directions[encoder.bidirectional]}{encoder.cell.upper()}" if encoder.type == "rnn" else "Transformer"
    if encoder.architecture is not None:
        cell = f"pretrained {encoder.architecture['model_type']}"
    decoder_cell = {"rnn": decoder.cell.upper(), "transformer": "Transformer", "ssru": "SSRU"}[decoder.type]
    attention = f"{decoder.heads} attention heads"
    if decoder.type == "rnn":
        kind = model.attention.type.replace("_", " ")
        attention = "no attention" if kind == "none" else f"{kind} attention"
    parts = (
        f"{kind}, {part.layers} layer{'s' if part.layers > 1 else ''} of {part.hidden_size}"
        for kind, part in ((f"{cell} encoder", encoder), (f"{decoder_cell} decoder", decoder))
    )
    return "; ".join((*parts, attention))


def warn_of_many_epochs(updates: int, epochs: float, pairs: int) -> None:
    """Warn of a run with very many epochs."""
    if epochs > MANY_EPOCHS:
        warn(
            f"{updates:,} updates are {epochs:,.0f} epochs of {pairs:,} pairs; --set train.max_epochs={MANY_EPOCHS}"
            " or a lower train.max_updates shortens the run and its learning-rate schedule"
        )


def warn_of_long_time(seconds: float) -> None:
    """Warn of a run of more than a day."""
    if seconds > LONG:
        warn(
            f"this run would take about {format_time(seconds)}; a lower train.max_updates, a smaller model or a"
            " GPU shortens it"
        )


def _weights(plan: RunPlan) -> Table:
    table = Table(title="model")
    for column in ("part", "shape", "parameters"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, shape in plan.weights.items():
        table.add_row(name, " × ".join(map(str, shape)), f"{math.prod(shape):,}")
    table.add_section()
    table.add_row("all", "", f"{plan.parameters:,}")
    return table


def _place(device: torch.device, threads: int | None) -> str:
    return str(device) if device.type != "cpu" else f"cpu with {threads} thread{'s' if threads != 1 else ''}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
