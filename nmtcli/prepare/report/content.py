"""Findings about the content: identifiers, characters outside the vocabulary, text that readers removed."""

from collections.abc import Iterator

from nmtcli.prepare.report.finding import Finding, named, percent, sides, splits
from nmtcli.prepare.report.report import Report
from nmtcli.prepare.rows import HEADER, INLINE_CODES, QUOTED

_UNWRITABLE = 0.0, 0.05  # of texts; the model can never output them correctly
_IDENTIFIERS = 0.5  # of the texts of a side


def find_identifiers(report: Report) -> Iterator[Finding]:
    """A side of identifiers instead of text, probably a wrong column."""
    for name, split in splits(report):
        for side, language, text, _ in sides(report, split):
            if text.identifiers > _IDENTIFIERS * text.texts:
                yield Finding(
                    "bad",
                    f"{percent(text.identifiers / text.texts)} of the texts of the {name} {side} ({language}) are"
                    " numbers or identifiers.",
                    "Check the column; set those of the text in a YAML file, for example columns: [2, 3].",
                )


def find_unwritable(report: Report) -> Iterator[Finding]:
    """Characters that no translation can have."""
    for name, split in splits(report):
        tokens = split.target_tokens
        if tokens is not None and tokens.unwritable_share > _UNWRITABLE[0]:
            yield Finding(
                "bad" if tokens.unwritable_share > _UNWRITABLE[1] else "look",
                f"{percent(tokens.unwritable_share)} of the texts of the {name} target ({report.target_language}) have"
                f" characters that the tokenizer cannot output: {named(tokens.unwritable)}.",
                "data.tokenizer.normalization: nmt_nfc keeps them, unless you give --tokenizer.",
            )


def find_notes(report: Report) -> Iterator[Finding]:
    """Changes that readers made to the text."""
    messages = {
        HEADER: ("header line{s} skipped: {corpora}.", "Nothing to do."),
        QUOTED: (
            "quoted cell{s}, as in spreadsheets; the quotes were removed: {corpora}.",
            "Nothing to do. If these quotes are text, give the corpus as JSON Lines.",
        ),
        INLINE_CODES: (
            "inline code{s} (tags of a translation tool) removed from the text: {corpora}.",
            "The model does not learn to place them. To keep them, give text files with the tags, list the tags in"
            " data.tokenizer.symbols and set data.cleaning.markup: false.",
        ),
    }
    for note, (text, hint) in messages.items():
        counts: dict[str, int] = {}
        for corpus in (*report.train.corpora, *report.valid.corpora):
            if found := corpus.notes.get(note, 0):
                counts[corpus.name] = counts.get(corpus.name, 0) + found
        if counts:
            total = sum(counts.values())
            message = text.format(s="s" * (total != 1), corpora=", ".join(counts))
            yield Finding("look", f"{total:,} {message}", hint)
