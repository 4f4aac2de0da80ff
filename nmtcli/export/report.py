"""What an export says of itself."""

from dataclasses import dataclass, field

from nmtcli.checkpoint import StoredPrecision
from nmtcli.export.checking import Comparison
from nmtcli.export.conditions import ExportFormat


@dataclass(frozen=True)
class ExportReport:
    """What was exported and how its check went; `export.json` in the directory."""

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
    replaced: list[str] = field(default_factory=list)  # settings of search that the format cannot follow
    files: dict[str, dict[str, int | str]] = field(default_factory=dict)
