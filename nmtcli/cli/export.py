"""`nmt export`: a run to a model directory for use."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nmtcli.cli.console import stdout, warn
from nmtcli.cli.options import Preset
from nmtcli.errors import CheckFailed, UserError
from nmtcli.paths import quoted

if TYPE_CHECKING:
    from nmtcli.config import ModelConfig
    from nmtcli.export.conditions import ExportFormat
    from nmtcli.export.report import ExportReport


def export(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Run directory, or one checkpoint of it; with --check a config too."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Directory to make.")] = None,
    form: Annotated[
        Literal["safetensors", "onnx", "ctranslate2"] | None,
        typer.Option(
            "--format", help="safetensors (the default) is for nmt with PyTorch, onnx and ctranslate2 for without."
        ),
    ] = None,
    average: Annotated[
        str | None, typer.Option("--average", metavar="last:N|best:N", help="Mean of the weights of N checkpoints.")
    ] = None,
    quantize: Annotated[
        Literal["int8", "int16", "fp16", "bf16"] | None,
        typer.Option("--quantize", help="Smaller weights; int8 also computes faster on a CPU."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DATA", help="Data directory whose validation text the export is checked with."),
    ] = None,
    vocabulary_shortlist: Annotated[
        bool,
        typer.Option(
            "--vocabulary-shortlist", help="Learn from --data which tokens a line can need, for translate --shortlist."
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Export also what fails its check: unlike the model, or less than half as fast. The card says so.",
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell which formats a model of these settings can have, and why not.")
    ] = False,
    preset: Preset = None,
) -> None:
    """Export a model: small, without the trainer's state, checked against the one it came from."""
    if check:
        idle: dict[str, object] = {"-o": output, "--average": average, "--data": data}
        idle |= {"--vocabulary-shortlist": vocabulary_shortlist, "--force": force}
        if named := [name for name, value in idle.items() if value]:
            raise UserError(f"{', '.join(named)}: --check exports nothing", "leave it out, or leave --check out")
        _check(run, preset, form, quantize)
        return
    if preset is not None:
        raise UserError("--preset goes with --check: a preset has no weights to export")
    if run is None or output is None:
        raise UserError("nothing to export", "nmt export RUN -o DIR, or nmt export RUN --check")
    from nmtcli.export.exporter import Export, export_model

    wanted = Export(form or "safetensors", quantize or "fp32", average, data, vocabulary_shortlist, force)
    _show(export_model(run, output, wanted), output)


def _show(report: "ExportReport", output: Path) -> None:
    from rich.table import Table

    comparison = report.comparison
    speed = comparison.sentences_per_second
    table = Table(show_header=False, box=None)
    table.add_row(
        "exported",
        f"{output} ({report.format}, {report.precision}, {report.bytes / 1e6:.1f} MB,"
        f" {report.parameters:,} parameters)",
    )
    table.add_row("from", ", ".join(report.checkpoints))
    table.add_row(
        "checked",
        f"{comparison.match_rate:.1%} of {comparison.probes} translated alike;"
        f" log-probabilities differ by at most {comparison.largest_log_prob_difference:.1e} a token",
    )
    for before, after in zip(comparison.model_scores, comparison.export_scores, strict=True):
        table.add_row(after.name, f"{before.value:.2f} before, {after.value:.2f} now")
    table.add_row("speed", f"{speed.model:.0f} sentences/s before, {speed.export:.0f} now")
    table.add_row("use it", f"nmt translate -m {quoted(output)}{' --shortlist' if report.shortlist else ''}")
    stdout.print(table)
    for one in (*comparison.failures, *(f"{report.format} cannot search so: {one}" for one in report.replaced)):
        warn(one)


def _check(run: Path | None, preset: str | None, form: "ExportFormat | None", quantize: str | None) -> None:
    """Print what stands in the way of each format; raises CheckFailed for one that was asked for and cannot be."""
    from nmtcli.export.conditions import PRECISIONS, reachable_formats, unmet

    name, model = _settings(run, preset)
    show_formats(model)
    if form is not None and unmet(model, form):
        raise CheckFailed(f"{name}: cannot be exported to {form}", "change the settings named above")
    having = [one for one in reachable_formats(model) if quantize is None or quantize in PRECISIONS[one]]
    if not having or (form is not None and form not in having):
        to = f" to {form}" if form else ""
        others = f"--format {' or '.join(having)} has it" if having else "take another precision"
        raise CheckFailed(f"{name}: cannot be exported{to} in {quantize}", others)


def show_formats(model: "ModelConfig") -> None:
    """Print a row for each format: its precisions, or why a model of these settings cannot have it."""
    from typing import get_args

    from rich.table import Table

    from nmtcli.export.conditions import CTRANSLATE2_REFUSES, PRECISIONS, ExportFormat, unmet

    table = Table("export to", "", box=None, pad_edge=False)
    for form in get_args(ExportFormat):
        conditions = unmet(model, form)
        words = [f"no: {one}" for one in conditions] or [", ".join(PRECISIONS[form])]
        if form == "ctranslate2" and not conditions:
            words.append(f"refuses {CTRANSLATE2_REFUSES}")
        table.add_row(form, "\n".join(words))
    stdout.print(table)


def _settings(run: Path | None, preset: str | None) -> tuple[str, "ModelConfig"]:
    """The settings of a model in a run, a checkpoint, an export, a config file, or a preset under another config."""
    from nmtcli.checkpoint import INFO, find_model, read_info
    from nmtcli.settings import load_config

    if run is None:
        if preset is None:
            raise UserError("--check needs settings to look at", "nmt export RUN --check, or --preset NAME")
        return preset, load_config(preset).model
    if run.is_file():
        return str(run), load_config(preset, files=[run]).model
    if preset is not None:
        raise UserError(f"{run}: has settings of its own", "leave --preset out, or give a config file")
    if not (run / INFO).is_file() and (run / "config.yaml").is_file():
        return str(run), load_config(files=[run / "config.yaml"]).model
    return str(run), read_info(find_model(run)).model
