"""The report and the model card of an export: contents, origin and quality."""

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from nmtcli.checkpoint import ModelInfo, StoredPrecision
from nmtcli.config import Config
from nmtcli.errors import UserError
from nmtcli.export.checking import Comparison
from nmtcli.export.conditions import CTRANSLATE2_REFUSES, ExportFormat
from nmtcli.settings import changed_settings, load_config


@dataclass(frozen=True)
class ExportReport:
    """The contents of an export and the result of its check: `export.json`."""

    nmtcli: str
    torch: str
    format: ExportFormat
    precision: StoredPrecision
    shortlist: bool
    checkpoints: list[str]
    parameters: int
    bytes: int
    load_seconds: float
    comparison: Comparison
    passed: bool
    replaced: list[str] = field(default_factory=list)  # messages of decoding settings that the format does not support
    files: dict[str, dict[str, int | str]] = field(default_factory=dict)


def model_card(report: ExportReport, info: ModelInfo, origin: Path) -> str:
    """The card in Markdown. `origin` is the checkpoint; its run has the training settings."""
    text = (resources.files("nmtcli.export") / "card.md.j2").read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    comparison = report.comparison
    scores = zip(comparison.model_scores, comparison.export_scores, strict=True)
    return environment.from_string(text).render(
        report=report,
        info=info,
        comparison=comparison,
        speed=comparison.sentences_per_second,
        scores=list(scores),
        settings=training_settings(origin),
        refuses=CTRANSLATE2_REFUSES if report.format == "ctranslate2" else None,
    )


def training_settings(origin: Path) -> list[str]:
    """The non-default settings of model and training, `key=value`; none if the checkpoint is not in a run."""
    for folder in (origin, *origin.parents[:2]):
        if (folder / "config.yaml").is_file():
            break
    else:
        return []
    try:
        config = load_config(files=[folder / "config.yaml"])
    except UserError:
        return []
    changed = changed_settings(Config(), config)
    return [f"{key}={value}" for key, _, value in changed if key.startswith(("model.", "train."))]
