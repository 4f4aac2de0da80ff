"""A finding about a corpus, and functions that all checks use."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nmtcli.prepare.report.report import Report, SplitReport, TextReport, TokenReport
from nmtcli.prepare.report.writing import is_letter

Severity = Literal["bad", "look", "fine"]

_NAMES = 5  # characters named in a sentence


@dataclass(frozen=True)
class Finding:
    """A possible problem of a corpus, and what to do about it."""

    severity: Severity
    text: str
    hint: str


def percent(share: float) -> str:
    """A share as text: never 0% for more than none, nor 100% for less than all."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def splits(report: Report) -> tuple[tuple[str, SplitReport], ...]:
    """Both splits, each with its name."""
    return ("training", report.train), ("validation", report.valid)


def sides(report: Report, split: SplitReport) -> Iterator[tuple[str, str, TextReport, TokenReport | None]]:
    """Name, language, text and tokens of each side of a split."""
    yield "source", report.source_language, split.source, split.source_tokens
    yield "target", report.target_language, split.target, split.target_tokens


def share_of(text: TextReport, system: tuple[str, ...]) -> float:
    """The share of letters in these scripts; 1 without letters."""
    letters = {name: share for name, share in text.scripts.items() if is_letter(name)}
    return sum(letters.get(name, 0) for name in system) / sum(letters.values()) if letters else 1.0


def named(characters: dict[str, int]) -> str:
    """The most frequent characters, each with its name and count."""
    shown = list(characters.items())[:_NAMES]
    return ", ".join(
        f"{'◌' * bool(unicodedata.combining(one))}{one if one.isprintable() else ''}"
        f" ({unicodedata.name(one, f'U+{ord(one):04X}')}, {count:,} time{'s' * (count != 1)})".strip()
        for one, count in shown
    )
