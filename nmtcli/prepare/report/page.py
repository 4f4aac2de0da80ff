"""The data cleaning report as a web page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nmtcli.page.charts import Chart
from nmtcli.page.html import render
from nmtcli.prepare.cleaning.rules import RULES
from nmtcli.prepare.report.changes import change_rows
from nmtcli.prepare.report.charts import length_chart, ratio_chart
from nmtcli.prepare.report.explanations import EXPLANATIONS, Explanation
from nmtcli.prepare.report.findings import findings, percent, token_facts
from nmtcli.prepare.report.report import Report, RuleReport, SplitReport
from nmtcli.prepare.report.writing import is_letter

PAGE_FILE = "report.html"

_COLOURS = 7  # of scripts; the template's palette, safe for colour-blind eyes
_FEW = 0.0005  # share of characters below which the rest is not shown


def write_page(report: Report, path: Path) -> None:
    """Write the page: the same report gives the same bytes."""
    path.write_bytes(page(report).encode("utf-8", "replace"))


def page(report: Report) -> str:
    """The page. All text of the corpora is escaped, and the page loads nothing."""
    splits = report.train, report.valid
    return render(
        "nmtcli.prepare.report",
        "page.html.j2",
        {"percent": percent, "sides": _sides},
        report=report,
        findings=findings(report),
        columns=report.parts,
        rules=tuple(_rule_rows(report)),
        changes=tuple(change_rows(report)),
        others=tuple(_other_rules(report)),
        charts=tuple(_charts(report)),
        scripts=_script_rows(tuple(text.scripts for split in splits for text in (split.source, split.target))),
        facts=tuple(_facts(splits)),
    )


def _sides(excerpt: str) -> list[str]:
    """Both texts of an example, or the single text of an unreadable row."""
    sides = excerpt.split(" ||| ")
    return sides if len(sides) == 2 else [excerpt]


def _rule_rows(report: Report) -> Iterator[tuple[str, Explanation, list[tuple[str, RuleReport]]]]:
    """The rules that dropped something, with the first pairs that they dropped from each split."""
    for rule in report.train.rules:
        if dropped := _dropped(report, rule):
            yield rule, EXPLANATIONS[rule], [(name, one) for name, one in dropped if one.examples]


def _dropped(report: Report, rule: str) -> list[tuple[str, RuleReport]]:
    splits = ("training", report.train), ("validation", report.valid)
    return [(name, split.rules[rule]) for name, split in splits if rule in split.rules and split.rules[rule].dropped]


def _other_rules(report: Report) -> Iterator[tuple[str, list[tuple[str, Explanation]]]]:
    """The other rules: those that dropped nothing, and inactive ones."""
    on = report.train.rules
    yield "Dropped nothing", [(rule, EXPLANATIONS[rule]) for rule in on if not _dropped(report, rule)]
    yield "Off", [(rule, EXPLANATIONS[rule]) for rule in RULES if rule not in on]


def _charts(report: Report) -> Iterator[tuple[str, str, Chart]]:
    """Title, axis label and shapes of each chart."""
    train, valid = report.train, report.valid
    languages = report.source_language, report.target_language
    texts = (train.source, valid.source), (train.target, valid.target)
    for language, (one, other) in zip(languages, texts, strict=True):
        yield f"Lengths: {language}", "characters in a text", length_chart(one.lengths, other.lengths)
    tokens = (train.source_tokens, valid.source_tokens), (train.target_tokens, valid.target_tokens)
    for language, (seen, held) in zip(languages, tokens, strict=True):
        if seen is not None and held is not None:
            yield f"Lengths in tokens: {language}", "tokens in a text", length_chart(seen.lengths, held.lengths)
    below = f"{languages[1]} characters for each {languages[0]} character"
    yield "Length ratio", below, ratio_chart(train.ratios, valid.ratios)


def _script_rows(sides: Sequence[Mapping[str, float]]) -> list[tuple[str, str, list[float]]]:
    """Name, CSS class and share on each side of every script, then of the other characters."""
    totals = {name: sum(side.get(name, 0) for side in sides) for side in sides for name in side}
    letters = sorted(filter(is_letter, totals), key=lambda name: (-totals[name], name))
    kinds = [name for name in ("combining", "digits", "symbols", "blanks", "control") if name in totals]
    styles = [(name, f"s{number}") for number, name in enumerate(letters[:_COLOURS])]
    styles += [(name, "rest") for name in letters[_COLOURS:]] + [(name, name) for name in kinds]
    rows = [(name, style, [side.get(name, 0.0) for side in sides]) for name, style in styles]
    rest = [1 - sum(side.values()) if side else 0.0 for side in sides]
    if any(share >= _FEW for share in rest):
        rows.append(("other", "rest", [max(share, 0.0) for share in rest]))
    return rows


def _facts(splits: Sequence[SplitReport]) -> Iterator[tuple[str, list[str]]]:
    """Rows of the table of numbers, with a cell for each side of each split."""
    texts = [text for split in splits for text in (split.source, split.target)]
    yield "texts", [f"{text.texts:,}" for text in texts]
    yield "characters", [f"{text.characters:,}" for text in texts]
    yield "characters in a text, on average", [f"{text.characters / max(text.texts, 1):.1f}" for text in texts]
    yield from token_facts([tokens for split in splits for tokens in (split.source_tokens, split.target_tokens)])
