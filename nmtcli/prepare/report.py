"""What happened to the data: how much was read, dropped and why, kept, and how the sides look in tokens."""

from pathlib import Path
from typing import Self

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nmtcli.config import Section
from nmtcli.errors import DataError
from nmtcli.prepare.cleaning import Drops, Example
from nmtcli.vocabulary import UNK

REPORT_FILE = "report.json"


class RuleReport(Section):
    """What one cleaning rule dropped, with the first few pairs as examples."""

    dropped: int
    examples: tuple[Example, ...]


class SideReport(Section):
    """One side of the kept pairs. Lengths in tokens, without BOS and EOS."""

    tokens: int
    unknown_share: float
    mean_length: float
    longest: int


class SplitReport(Section):
    """One split. The sides are None where nothing was encoded (a dry run)."""

    pairs_read: int
    pairs_kept: int
    crlf_lines: int
    rules: dict[str, RuleReport]
    source: SideReport | None
    target: SideReport | None


class Report(Section):
    """Both splits and the vocabularies; None where there is none (a dry run)."""

    source_language: str
    target_language: str
    source_vocabulary_size: int | None
    target_vocabulary_size: int | None
    train: SplitReport
    valid: SplitReport

    def save(self, directory: Path) -> None:
        """Write `report.json`."""
        (directory / REPORT_FILE).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote. Raises DataError."""
        path = directory / REPORT_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot read it: {error.strerror}") from None
        except ValidationError:
            raise DataError(f"{path}: damaged", "delete the data directory and prepare it again") from None


class SideCount:
    """Counts the tokens of one side as they pass."""

    def __init__(self) -> None:
        self.rows = self.tokens = self.unknown = self.longest = 0

    def add(self, ids: list[int]) -> None:
        """Count one sentence."""
        self.rows += 1
        self.tokens += len(ids)
        self.unknown += ids.count(UNK)
        self.longest = max(self.longest, len(ids))

    def report(self) -> SideReport:
        """The counts so far."""
        return SideReport(
            tokens=self.tokens,
            unknown_share=self.unknown / max(self.tokens, 1),
            mean_length=self.tokens / max(self.rows, 1),
            longest=self.longest,
        )


def rule_reports(drops: Drops) -> dict[str, RuleReport]:
    """The drops of each rule, in the order the rules are applied."""
    return {
        rule: RuleReport(dropped=count, examples=tuple(drops.examples[rule])) for rule, count in drops.counts.items()
    }


def render(report: Report) -> RenderableType:
    """The report for a terminal: the pairs, the first dropped pair of each rule, the sides in tokens."""
    parts: list[RenderableType] = [_pairs_table(report)]
    first = [
        (name, rule.examples[0])
        for split in (report.train, report.valid)
        for name, rule in split.rules.items()
        if rule.examples
    ]
    parts += [Text(f"{name}: {example.file}:{example.line}: {example.reason}", style="dim") for name, example in first]
    if report.source_vocabulary_size is not None:
        parts += [Text(""), _sides_table(report)]
    return Group(*parts)


def _pairs_table(report: Report) -> Table:
    splits = (report.train, report.valid)
    table = _table("pairs", "train", "valid")
    table.add_row("read", *(f"{split.pairs_read:,}" for split in splits))
    for name in report.train.rules:
        counts = (f"{split.rules[name].dropped:,}" if name in split.rules else "–" for split in splits)
        table.add_row(f"  dropped: {name}", *counts)
    table.add_row("kept", *(f"{split.pairs_kept:,}" for split in splits), style="bold")
    if any(split.crlf_lines for split in splits):
        table.add_row("CRLF line ends removed", *(f"{split.crlf_lines:,}" for split in splits))
    return table


def _sides_table(report: Report) -> Table:
    languages = (report.source_language, report.target_language)
    sides = (report.train.source, report.train.target, report.valid.source, report.valid.target)
    known = [side for side in sides if side is not None]
    table = _table("tokens", *(f"{split} {language}" for split in ("train", "valid") for language in languages))
    sizes = (report.source_vocabulary_size, report.target_vocabulary_size)
    table.add_row("vocabulary", *(f"{size:,}" for size in sizes * 2 if size is not None))
    table.add_row("tokens", *(f"{side.tokens:,}" for side in known))
    table.add_row("mean length", *(f"{side.mean_length:.1f}" for side in known))
    table.add_row("longest", *(f"{side.longest:,}" for side in known))
    table.add_row("unknown", *(f"{side.unknown_share:.2%}" for side in known))
    return table


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="left" if header == headers[0] else "right")
    return table
