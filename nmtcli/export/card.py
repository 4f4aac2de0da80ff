"""The report and the model card of an export: contents, origin and quality.

The card begins with metadata in YAML, by which the Hugging Face Hub indexes a model.
"""

import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from nmtcli.checkpoint import ModelInfo, RunDirectory, StoredPrecision
from nmtcli.config import Config
from nmtcli.data.directory import PreparedData
from nmtcli.errors import UserError
from nmtcli.export.checking import Comparison
from nmtcli.export.conditions import CTRANSLATE2_REFUSES, ExportFormat
from nmtcli.settings import changed_settings, load_config

# The names of metrics and libraries on the Hub.
_METRICS = {"BLEU": "sacrebleu", "chrF2": "chrf", "TER": "ter"}
_LIBRARIES: dict[ExportFormat, str] = {"marian": "transformers", "argos": "argostranslate"}


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


def model_card(
    report: ExportReport, info: ModelInfo, origin: Path, license: str | None = None, data: PreparedData | None = None
) -> str:
    """The card in Markdown. `origin` is the checkpoint; its run has the training settings."""
    text = (resources.files("nmtcli.export") / "card.md.j2").read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    comparison = report.comparison
    scores = zip(comparison.model_scores, comparison.export_scores, strict=True)
    return environment.from_string(text).render(
        metadata=card_metadata(report, info, license, data),
        license=license,
        report=report,
        info=info,
        comparison=comparison,
        speed=comparison.sentences_per_second,
        scores=list(scores),
        settings=training_settings(origin),
        refuses=CTRANSLATE2_REFUSES if report.format == "ctranslate2" else None,
    )


def card_metadata(report: ExportReport, info: ModelInfo, license: str | None, data: PreparedData | None) -> str:
    """The metadata of the card, in YAML: languages, licence, task, library, data sets of the Hub, metrics, scores."""
    languages = [re.split("[-_]", code)[0] for code in (info.source_language, info.target_language)]
    scores = [
        EvalResult(
            task_type="translation",
            dataset_type="validation",
            dataset_name=report.comparison.probes,
            metric_type=_METRICS[score.name],
            metric_name=score.name,
            metric_value=round(score.value, 2),
            metric_args={"signature": score.signature},
        )
        for score in report.comparison.export_scores
    ]
    header: str = ModelCardData(
        language=[code for code in dict.fromkeys(languages) if re.fullmatch("[a-z]{2,3}", code)] or None,
        license=license or "unknown",
        pipeline_tag="translation",
        library_name=_LIBRARIES.get(report.format, "nmtcli"),
        tags=["nmtcli", "translation"],
        datasets=list(data.manifest.hubs) or None if data else None,
        metrics=list(dict.fromkeys(score.metric_type for score in scores)) or None,
        model_name=f"{info.source_language}-{info.target_language}" if scores else None,
        eval_results=scores or None,
    ).to_yaml()
    return header


def training_settings(origin: Path) -> list[str]:
    """The non-default settings of model and training, `key=value`; none if the checkpoint is not in a run."""
    checkpoints = origin.resolve().parent
    run = RunDirectory(checkpoints.parent)
    if checkpoints != run.checkpoints or not (run.path / "config.yaml").is_file():
        return []
    try:
        config = load_config(files=[run.path / "config.yaml"])
    except UserError:
        return []
    changed = changed_settings(Config(), config)
    return [f"{key}={value}" for key, _, value in changed if key.startswith(("model.", "train."))]
