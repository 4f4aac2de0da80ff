"""`nmt export`: a run to a model directory for use."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmtcli.cli.console import stdout


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, or one checkpoint of it.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Directory to make.")],
    form: Annotated[
        Literal["safetensors", "onnx"],
        typer.Option("--format", help="safetensors is for nmt with PyTorch, onnx for without."),
    ] = "safetensors",
    average: Annotated[
        str | None, typer.Option("--average", metavar="last:N|best:N", help="Mean of the weights of N checkpoints.")
    ] = None,
) -> None:
    """Export a model: small, without the trainer's state, checked against the one it came from."""
    from rich.table import Table

    from nmtcli.export.exporter import export_model

    report = export_model(run, output, form, average)
    table = Table(show_header=False, box=None)
    table.add_row(
        "exported", f"{output} ({report.format}, {report.bytes / 1e6:.1f} MB, {report.parameters:,} parameters)"
    )
    table.add_row("from", ", ".join(report.checkpoints))
    table.add_row(
        "checked",
        f"{report.match_rate:.1%} of {report.probes} probes translated alike;"
        f" log-probabilities differ by at most {report.largest_log_prob_difference:.1e} a token",
    )
    table.add_row("use it", f"nmt translate -m {output}")
    stdout.print(table)
