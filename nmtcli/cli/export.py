"""`nmt export`: write a model directory for deployment."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Table

from nmtcli.cli.console import require_stdout, stdout, warn
from nmtcli.cli.options import command
from nmtcli.errors import CheckFailed, UserError
from nmtcli.export.options import RULES, ExportOptions
from nmtcli.options import Option, Rule, check_rules
from nmtcli.paths import quoted

if TYPE_CHECKING:
    from nmtcli.config import ModelConfig
    from nmtcli.data.tokenizer import Tokenizers
    from nmtcli.export.card import ExportReport
    from nmtcli.export.conditions import ExportFormat


@dataclass(frozen=True, kw_only=True)
class _CommandOptions(ExportOptions):
    """The options of `export`, and --check, which exports nothing."""

    check: Annotated[bool, Option("List the possible formats, and what prevents the others; export nothing.")] = False
    preset: Annotated[str | None, Option("With --check: check this preset.", metavar="NAME")] = None

    @property
    def exporting(self) -> str:
        """The given options that --check does not use."""
        given: dict[str, object] = {"-o": self.output, "--average": self.average, "--data": self.data}
        given |= {"--vocabulary-shortlist": self.vocabulary_shortlist, "--force": self.force, "--license": self.license}
        return ", ".join(name for name, value in given.items() if value)


_RULES: tuple[Rule[_CommandOptions], ...] = (
    Rule(
        lambda o: o.check and o.exporting,
        "{o.exporting} cannot be used with --check, which exports nothing",
        "leave one of them out",
    ),
    Rule(
        lambda o: o.preset is not None and not o.check,
        "--preset needs --check: a preset has no weights to export",
    ),
)


@command(lambda: _CommandOptions)
def export(context: typer.Context, options: _CommandOptions) -> None:
    """Export a model for deployment: without the training state, and compared with the original model."""
    del context
    check_rules(options, _RULES)
    if options.check:
        require_stdout()
        _check(options.run, options.preset, options.form, options.quantize)
        return
    check_rules(options, RULES)  # before torch is imported
    from nmtcli.export.exporter import export as library

    assert options.output is not None
    _show(library(options), options.output)


def _show(report: "ExportReport", output: Path) -> None:
    comparison = report.comparison
    speed = comparison.sentences_per_second
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # paths stay whole
    table.add_row(
        "exported",
        f"{output} ({report.format}, {report.precision}, {report.bytes / 1e6:.1f} MB,"
        f" {report.parameters:,} parameters)",
    )
    table.add_row("from", ", ".join(report.checkpoints))
    table.add_row(
        "checked",
        f"{comparison.match_rate:.1%} equal translations of {comparison.probes};"
        f" log-probabilities differ by at most {comparison.largest_log_prob_difference:.1e} a token",
    )
    for before, after in zip(comparison.model_scores, comparison.export_scores, strict=True):
        table.add_row(after.name, f"{before.value:.2f} before, {after.value:.2f} now")
    table.add_row("speed", f"{speed.model:.0f} sentences/s before, {speed.export:.0f} now")
    stdout.print(table)
    use = f"nmt translate -m {quoted(output)}{' --shortlist' if report.shortlist else ''}"
    use = f"argospm install {quoted(output)}" if report.format == "argos" else use
    stdout.print(f" use it    {use}", soft_wrap=True)  # below the table, which would fold a long command
    for failure in comparison.failures:
        warn(failure)
    for setting in report.replaced:
        warn(f"{report.format} does not support this decoding setting: {setting}")


def _check(run: Path | None, preset: str | None, form: "ExportFormat | None", quantize: str | None) -> None:
    """Print what prevents each format. Raises CheckFailed if `form` or `quantize` is impossible."""
    from nmtcli.export.conditions import PRECISIONS, reachable_formats, unmet

    name, model, tokenizers = _model(run, preset)
    show_formats(model, tokenizers)
    if form is not None and unmet(model, tokenizers, form):
        raise CheckFailed(f"{name}: cannot be exported to {form}", "change the settings named above")
    possible = [one for one in reachable_formats(model, tokenizers) if quantize is None or quantize in PRECISIONS[one]]
    if not possible or (form is not None and form not in possible):
        to = f" to {form}" if form else ""
        hint = f"{quantize} is possible with --format {' or '.join(possible)}" if possible else "use another precision"
        raise CheckFailed(f"{name}: cannot be exported{to} in {quantize}", hint)


def show_formats(model: "ModelConfig", tokenizers: "Tokenizers | None") -> None:
    """Print a row for each format: its precisions, or what prevents it."""
    from nmtcli.export.conditions import CTRANSLATE2_REFUSES, PRECISIONS, ExportFormat, unmet

    table = Table("export to", "", box=None, pad_edge=False)
    for form in get_args(ExportFormat):
        conditions = unmet(model, tokenizers, form)
        lines = [f"no: {one}" for one in conditions] or [", ".join(PRECISIONS[form])]
        if form == "ctranslate2" and not conditions:
            lines.append(f"without {CTRANSLATE2_REFUSES}")
        table.add_row(form, "\n".join(lines))
    stdout.print(table)


def _model(run: Path | None, preset: str | None) -> tuple[str, "ModelConfig", "Tokenizers | None"]:
    """Name and settings of the model of a run, checkpoint, export, config file or preset, and its tokenizers if any."""
    from nmtcli.checkpoint import INFO, RunDirectory, load_tokenizers, read_info
    from nmtcli.interchange.models import local_model
    from nmtcli.settings import load_config

    if run is None:
        if preset is None:
            raise UserError("--check needs a run or a preset", "nmt export RUN --check, or --preset NAME")
        return preset, load_config(preset).model, None
    if run.is_file():
        return str(run), load_config(preset, files=[run]).model, None
    if preset is not None:
        raise UserError(f"{run}: --preset does not apply, it has settings", "leave --preset out, or give a config file")
    if (run / "config.yaml").is_file() and not RunDirectory(run).steps() and not (run / INFO).is_file():
        return str(run), load_config(files=[run / "config.yaml"]).model, None
    directory = local_model(run)
    return str(run), read_info(directory).model, load_tokenizers(directory)
