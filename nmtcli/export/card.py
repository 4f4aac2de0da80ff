"""A model card: what an export is, what it was made of, and how good it is, for whoever gets the directory."""

from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from nmtcli.checkpoint import ModelInfo
from nmtcli.config import Config
from nmtcli.errors import UserError
from nmtcli.export.conditions import CTRANSLATE2_REFUSES
from nmtcli.export.report import ExportReport
from nmtcli.settings import keys, load_config


def model_card(report: ExportReport, info: ModelInfo, origin: Path) -> str:
    """The card in Markdown. `origin` is the checkpoint; the run it lies in tells the settings of training."""
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
    """The settings of model and training that are not the default, `key=value`; none if there is no run around."""
    for folder in (origin, *origin.parents[:2]):
        if (folder / "config.yaml").is_file():
            break
    else:
        return []
    try:
        config = load_config(files=[folder / "config.yaml"])
    except UserError:
        return []
    default = Config()
    found = []
    for path, _ in keys():
        own: object = config
        usual: object = default
        for part in path:
            own, usual = getattr(own, part), getattr(usual, part)
        if own != usual and path[0] in ("model", "train"):
            found.append(f"{'.'.join(path)}={own}")
    return found
