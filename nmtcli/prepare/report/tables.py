"""The report for a terminal: pairs, the first dropped pair of each rule, tokens of both sides, findings."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nmtcli.prepare.report.changes import change_rows
from nmtcli.prepare.report.findings import Finding, findings, token_facts
from nmtcli.prepare.report.report import Report


def render(report: Report) -> RenderableType:
    """The report as a rich renderable."""
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
    wrong = [finding for finding in findings(report) if finding.severity != "ok"]
    if wrong:
        parts += [Text(""), *(_finding(finding) for finding in wrong)]
    return Group(*parts)


def _finding(finding: Finding) -> Text:
    style = "bold red" if finding.severity == "problem" else "bold yellow"
    return Text.assemble((f"{finding.severity}: ", style), finding.text, (f" → {finding.hint}", "dim"))


def _pairs_table(report: Report) -> Table:
    """A column for each training corpus, if there are several, one for all of them, one for validation."""
    parts = [part for _, part in report.parts]
    splits = (report.train, report.valid)
    table = _table("pairs", *(name for name, _ in report.parts))
    table.add_row("read", *(f"{part.pairs_read:,}" for part in parts))
    for name in report.train.rules:
        if any(split.dropped.get(name) for split in splits):
            counts = (part.dropped.get(name) for part in parts)
            table.add_row(f"  dropped: {name}", *("–" if count is None else f"{count:,}" for count in counts))
    table.add_row("kept", *(f"{part.pairs_kept:,}" for part in parts), style="bold")
    for title, field in (("CRLF line ends removed", "crlf_lines"), ("line breaks inside a text", "line_breaks")):
        if any(getattr(split, field) for split in splits):
            table.add_row(title, *(f"{getattr(part, field):,}" for part in parts))
    for title, cells in change_rows(report):
        table.add_row(title, *cells)
    if any(split.alignment for split in splits):
        for title, field in (("with word alignment", "pairs"), ("word alignment dropped", "pairs_lost")):
            shown = (f"{getattr(split.alignment, field):,}" if split.alignment else "–" for split in splits)
            table.add_row(title, *("" for _ in parts[2:]), *shown)
    return table


def _sides_table(report: Report) -> Table:
    splits, languages = (report.train, report.valid), (report.source_language, report.target_language)
    table = _table("tokens", *(f"{split} {language}" for split in ("train", "valid") for language in languages))
    sizes = (report.source_vocabulary_size, report.target_vocabulary_size)
    table.add_row("vocabulary", *(f"{size:,}" for size in sizes * 2 if size is not None))
    for title, cells in token_facts([side for split in splits for side in (split.source_tokens, split.target_tokens)]):
        table.add_row(title, *cells)
    return table


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="left" if header == headers[0] else "right")
    return table
