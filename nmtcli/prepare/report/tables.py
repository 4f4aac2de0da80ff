"""The report for a terminal: pairs, the first dropped pair of each rule, tokens of both sides, findings."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nmtcli.prepare.report.findings import Finding, findings
from nmtcli.prepare.report.report import CorpusReport, Report, SplitReport


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
    wrong = [finding for finding in findings(report) if finding.severity != "fine"]
    if wrong:
        parts += [Text(""), *(_finding(finding) for finding in wrong)]
    return Group(*parts)


def _finding(finding: Finding) -> Text:
    style = "bold red" if finding.severity == "bad" else "bold yellow"
    return Text.assemble((f"{finding.severity}: ", style), finding.text, (f" → {finding.hint}", "dim"))


def _pairs_table(report: Report) -> Table:
    """A column for each training corpus, if there are several, one for all of them, one for validation."""
    corpora = report.train.corpora if len(report.train.corpora) > 1 else ()
    splits = (report.train, report.valid)
    parts: list[CorpusReport | SplitReport] = [*corpora, *splits]
    table = _table("pairs", *(corpus.name for corpus in corpora), "all training" if corpora else "train", "valid")
    table.add_row("read", *(f"{part.pairs_read:,}" for part in parts))
    for name, rule in report.train.rules.items():
        if not rule.dropped and not (name in report.valid.rules and report.valid.rules[name].dropped):
            continue
        counts = [corpus.dropped[name] for corpus in corpora]
        counts += [split.rules[name].dropped if name in split.rules else -1 for split in splits]
        table.add_row(f"  dropped: {name}", *(f"{count:,}" if count >= 0 else "–" for count in counts))
    table.add_row("kept", *(f"{part.pairs_kept:,}" for part in parts), style="bold")
    for title, field in (("CRLF line ends removed", "crlf_lines"), ("line breaks inside a text", "line_breaks")):
        sums = [sum(getattr(corpus, field) for corpus in split.corpora) for split in splits]
        if any(sums):
            table.add_row(title, *(f"{getattr(corpus, field):,}" for corpus in corpora), *(f"{n:,}" for n in sums))
    if any(split.alignment for split in splits):
        for title, field in (("with word alignment", "pairs"), ("word alignment dropped", "pairs_lost")):
            shown = (f"{getattr(split.alignment, field):,}" if split.alignment else "–" for split in splits)
            table.add_row(title, *("" for _ in corpora), *shown)
    return table


def _sides_table(report: Report) -> Table:
    languages = (report.source_language, report.target_language)
    sides = (side for split in (report.train, report.valid) for side in (split.source_tokens, split.target_tokens))
    known = [side for side in sides if side is not None]
    table = _table("tokens", *(f"{split} {language}" for split in ("train", "valid") for language in languages))
    sizes = (report.source_vocabulary_size, report.target_vocabulary_size)
    table.add_row("vocabulary", *(f"{size:,}" for size in sizes * 2 if size is not None))
    table.add_row("tokens", *(f"{side.tokens:,}" for side in known))
    table.add_row("mean length", *(f"{side.mean_length:.1f}" for side in known))
    table.add_row("longest", *(f"{side.longest:,}" for side in known))
    table.add_row("tokens per word", *(f"{side.tokens_per_word:.2f}" for side in known))
    table.add_row("unknown", *(f"{side.unknown_share:.2%}" for side in known))
    table.add_row("byte tokens", *(f"{side.byte_share:.2%}" for side in known))
    return table


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="left" if header == headers[0] else "right")
    return table
