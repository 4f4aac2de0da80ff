"""nmtcli: train, use and deploy neural machine translation models from the command line.

From Python: `from nmtcli import Translator`. Names are imported at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nmtcli.version import __version__

if TYPE_CHECKING:
    from nmtcli.errors import DataError, UserError
    from nmtcli.translate.alignment import AttentionMap
    from nmtcli.translate.translation import Candidate, LineHandling, Request, Translation
    from nmtcli.translate.translator import Translator

_PLACES = {
    "Translator": "translate.translator",
    "Translation": "translate.translation",
    "Candidate": "translate.translation",
    "LineHandling": "translate.translation",
    "Request": "translate.translation",
    "AttentionMap": "translate.alignment",
    "UserError": "errors",
    "DataError": "errors",
}

__all__ = [
    "AttentionMap",
    "Candidate",
    "DataError",
    "LineHandling",
    "Request",
    "Translation",
    "Translator",
    "UserError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
