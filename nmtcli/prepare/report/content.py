"""Findings about what the text consists of: identifiers, characters that cannot be written, what readers left out."""

from collections.abc import Iterator

from nmtcli.prepare.report.finding import Finding, named, percent, sides, splits
from nmtcli.prepare.report.report import Report
from nmtcli.prepare.rows import HEADER, INLINE_CODES, QUOTED

_UNWRITABLE = 0.0, 0.05  # of texts: none of them can ever be translated as it should
_IDENTIFIERS = 0.5  # of the texts of a side


def find_identifiers(report: Report) -> Iterator[Finding]:
    """A side that is no text: a wrong column, most likely."""
    for name, split in splits(report):
        for side, language, text, _ in sides(report, split):
            if text.identifiers > _IDENTIFIERS * text.texts:
                yield Finding(
                    "bad",
                    f"{percent(text.identifiers / text.texts)} of the texts of the {name} {side} ({language}) are"
                    " numbers or identifiers.",
                    "Is it the right column? Name those of the text in a YAML file, for example columns: [2, 3].",
                )


def find_unwritable(report: Report) -> Iterator[Finding]:
    """Characters that no translation can ever have."""
    for name, split in splits(report):
        tokens = split.target_tokens
        if tokens is not None and tokens.unwritable_share > _UNWRITABLE[0]:
            yield Finding(
                "bad" if tokens.unwritable_share > _UNWRITABLE[1] else "look",
                f"{percent(tokens.unwritable_share)} of the texts of the {name} target ({report.target_language}) have"
                f" characters that the tokenizer cannot write: {named(tokens.unwritable)}.",
                "data.tokenizer.normalization: nmt_nfc keeps them; a tokenizer given by --tokenizer stays as it is.",
            )


def find_notes(report: Report) -> Iterator[Finding]:
    """What readers did beside reading."""
    words = {
        HEADER: ("line{s} of column names left out: {corpora}.", "Nothing to do."),
        QUOTED: (
            "cell{s} quoted as spreadsheets do; the quotes were removed: {corpora}.",
            "Nothing to do. If these quotes are text, give it as JSON lines.",
        ),
        INLINE_CODES: (
            "inline code{s} (tags of another program) left out of the text: {corpora}.",
            "The model never learns to place them. Give the text with its tags as line files to keep them, list these"
            " in data.tokenizer.symbols and set data.cleaning.markup: false.",
        ),
    }
    for note, (text, hint) in words.items():
        counts: dict[str, int] = {}
        for corpus in (*report.train.corpora, *report.valid.corpora):
            if found := corpus.notes.get(note, 0):
                counts[corpus.name] = counts.get(corpus.name, 0) + found
        if counts:
            total = sum(counts.values())
            told = text.format(s="s" * (total != 1), corpora=", ".join(counts))
            yield Finding("look", f"{total:,} {told}", hint)
