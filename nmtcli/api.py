"""A library function and an options class for each command; imported at first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmtcli.export.exporter import export
    from nmtcli.export.options import ExportOptions
    from nmtcli.prepare.options import PrepareOptions
    from nmtcli.prepare.prepare import prepare
    from nmtcli.score.options import ScoreOptions
    from nmtcli.score.scoring import score
    from nmtcli.train.options import TrainOptions
    from nmtcli.train.train import train
    from nmtcli.translate.options import TranslateOptions
    from nmtcli.translate.translate import translate_file

_PLACES = {
    "prepare": "prepare.prepare",
    "PrepareOptions": "prepare.options",
    "train": "train.train",
    "TrainOptions": "train.options",
    "translate_file": "translate.translate",
    "TranslateOptions": "translate.options",
    "score": "score.scoring",
    "ScoreOptions": "score.options",
    "export": "export.exporter",
    "ExportOptions": "export.options",
}

__all__ = [
    "ExportOptions",
    "PrepareOptions",
    "ScoreOptions",
    "TrainOptions",
    "TranslateOptions",
    "export",
    "prepare",
    "score",
    "train",
    "translate_file",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"nmtcli.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
