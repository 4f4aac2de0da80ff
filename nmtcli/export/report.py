"""The report of an export."""

from dataclasses import dataclass, field

from nmtcli.checkpoint import StoredPrecision
from nmtcli.export.checking import Comparison
from nmtcli.export.conditions import ExportFormat


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
