"""The data cleaning report: pairs read, dropped by rule and kept, and statistics of both sides."""

from collections import Counter
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from nmtcli.config import Section
from nmtcli.errors import DataError
from nmtcli.prepare.augmentation import KINDS
from nmtcli.prepare.cleaning.characters import BLANK, CONTROL, DIGIT, FIRST_SCRIPT, SYMBOL, script_names
from nmtcli.prepare.cleaning.rules import Example
from nmtcli.prepare.encoding import SideCounts
from nmtcli.prepare.protection import MaskCounts
from nmtcli.prepare.reading import SplitRead, counts_of
from nmtcli.prepare.statistics import LONGEST, Counts, TextCounts, ratio_of
from nmtcli.text.spans import KINDS as SPAN_KINDS

REPORT_FILE = "report.json"

_BINS = 25  # approximate number of bins of a length histogram
_NAMED = 10  # maximum number of characters listed
_RARE = 0.0005  # share of characters; scripts below are not listed


class Histogram(Section):
    """Counts between edges: `counts[i]` from `edges[i]` up to, not including, `edges[i + 1]`. The last is open."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class RuleReport(Section):
    """The number of pairs dropped by a rule, with the first ones as examples."""

    dropped: int
    examples: tuple[Example, ...]


class CorpusReport(Section):
    """One corpus of a split."""

    name: str
    tag: str | None
    pairs_read: int
    pairs_kept: int
    crlf_lines: int
    line_breaks: int
    dropped: dict[str, int]  # by rule
    notes: dict[str, int] = Field(default_factory=dict)  # header lines, inline codes, quoted cells: see `prepare.rows`
    copies: dict[str, int] = Field(
        default_factory=dict
    )  # added by data.train.augment, by kind; not in the file if none

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return fields if self.copies else {name: value for name, value in fields.items() if name != "copies"}

    @property
    def pairs(self) -> int:
        """Pairs in the data: kept ones and copies."""
        return self.pairs_kept + sum(self.copies.values())


class TextReport(Section):
    """One side before cleaning; empty texts do not count."""

    texts: int
    characters: int
    words: int  # delimited by spaces
    scripts: dict[str, float]  # share of all characters: scripts, digits, symbols, blanks; the largest first
    lengths: Histogram  # in characters
    identifiers: int = 0  # texts that are numbers, or one word with a digit in it


class TokenReport(Section):
    """One side of the kept pairs and their copies, in tokens without BOS and EOS."""

    tokens: int
    unknown_share: float
    byte_share: float  # byte tokens, each one byte of a rare character
    tokens_per_word: float
    mean_length: float
    longest: int
    lengths: Histogram
    unwritable_share: float = 0.0  # texts with a character that the tokenizer changes or removes
    unwritable: dict[str, int] = Field(default_factory=dict)  # the most frequent of these characters
    spelled: dict[str, int] = Field(default_factory=dict)  # the most frequent characters encoded as bytes


class AlignmentReport(Section):
    """The kept pairs, and the copies of them, with word alignment."""

    pairs: int
    pairs_lost: int  # whose links were dropped, as the tokens of a word were uncertain


class MaskReport(Section):
    """The kept pairs with spans masked by data.protect or data.cleaning.markup."""

    pairs: int
    spans: dict[str, int]  # by kind


class SplitReport(Section):
    """One split. Tokens are None in a dry run, which does not encode."""

    corpora: tuple[CorpusReport, ...]
    rules: dict[str, RuleReport]
    source: TextReport
    target: TextReport
    ratios: Histogram  # target characters for each source character
    source_tokens: TokenReport | None
    target_tokens: TokenReport | None
    # not written to the file if None
    alignment: AlignmentReport | None = None
    masked: MaskReport | None = None
    several_sentences: float | None = None  # share of kept training sources with several sentences

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        optional = ("alignment", "masked", "several_sentences")
        return {name: value for name, value in fields.items() if name not in optional or value is not None}

    @property
    def dropped(self) -> dict[str, int]:
        """Pairs of all corpora by the rule that dropped them."""
        return {name: rule.dropped for name, rule in self.rules.items()}

    @property
    def crlf_lines(self) -> int:
        """Line ends of Windows in all corpora."""
        return sum(corpus.crlf_lines for corpus in self.corpora)

    @property
    def line_breaks(self) -> int:
        """Line breaks inside a text in all corpora."""
        return sum(corpus.line_breaks for corpus in self.corpora)

    @property
    def pairs_read(self) -> int:
        """Pairs of all corpora."""
        return sum(corpus.pairs_read for corpus in self.corpora)

    @property
    def pairs_kept(self) -> int:
        """Pairs of all corpora that no rule dropped."""
        return sum(corpus.pairs_kept for corpus in self.corpora)

    @property
    def pairs(self) -> int:
        """Pairs in the data: kept ones and copies."""
        return sum(corpus.pairs for corpus in self.corpora)


class Report(Section):
    """Both splits and the vocabulary sizes, which are None in a dry run."""

    source_language: str
    target_language: str
    source_vocabulary_size: int | None
    target_vocabulary_size: int | None
    train: SplitReport
    valid: SplitReport

    @property
    def parts(self) -> list[tuple[str, CorpusReport | SplitReport]]:
        """Each training corpus by its name, if there are several; training text; validation text."""
        corpora = self.train.corpora if len(self.train.corpora) > 1 else ()
        together = "all training" if corpora else "training"
        return [*((corpus.name, corpus) for corpus in corpora), (together, self.train), ("validation", self.valid)]

    def save(self, directory: Path) -> None:
        """Write `report.json`."""
        (directory / REPORT_FILE).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the file written by `save`. Raises DataError."""
        path = directory / REPORT_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot read it: {error.strerror}") from None
        except ValidationError:
            raise DataError(f"{path}: damaged", "delete the data directory and prepare it again") from None


def split_report(split: SplitRead, tokens: tuple[SideCounts, SideCounts] | None) -> SplitReport:
    """The report of a split after the first pass, or after the second if `tokens` are given."""
    corpora = []
    for read, verdicts in split.parts():
        dropped = counts_of(verdicts, split.rules)
        corpora.append(
            CorpusReport(
                name=read.corpus.name,
                tag=read.corpus.tag,
                pairs_read=read.rows,
                pairs_kept=read.rows - sum(dropped.values()),
                crlf_lines=read.crlf_lines,
                line_breaks=read.line_breaks,
                dropped=dropped,
                notes=dict(read.notes),
                copies={kind: read.copies[kind] for kind in KINDS if read.copies[kind]},
            )
        )
    totals = counts_of(split.verdicts, split.rules)
    return SplitReport(
        corpora=tuple(corpora),
        rules={
            rule: RuleReport(dropped=count, examples=tuple(split.examples.get(rule, ())))
            for rule, count in totals.items()
        },
        source=_text_report(split.counts[0]),
        target=_text_report(split.counts[1]),
        ratios=Histogram(
            edges=tuple(ratio_of(n) for n in range(len(split.ratios) + 1)), counts=tuple(split.ratios.tolist())
        ),
        source_tokens=_token_report(tokens[0]) if tokens else None,
        target_tokens=_token_report(tokens[1]) if tokens else None,
        alignment=AlignmentReport(pairs=split.links.kept, pairs_lost=split.links.lost)
        if tokens and split.aligned
        else None,
        masked=MaskReport(pairs=split.masked.pairs, spans=_by_kind(split.masked)) if split.masked.pairs else None,
        several_sentences=split.several_sentences / split.kept if tokens and split.training else None,
    )


def _by_kind(masked: MaskCounts) -> dict[str, int]:
    return {kind: masked.spans[kind] for kind in SPAN_KINDS if masked.spans[kind]}


def _text_report(counts: TextCounts) -> TextReport:
    names = {BLANK: "blanks", CONTROL: "control", DIGIT: "digits", SYMBOL: "symbols"}
    names |= {FIRST_SCRIPT + index: name for index, name in enumerate(script_names())}
    total = max(counts.characters, 1)
    shares = {name: float(counts.kinds[kind]) / total for kind, name in names.items()}
    named = {name: share for name, share in shares.items() if share >= _RARE or (name == "control" and share)}
    return TextReport(
        texts=counts.texts,
        characters=counts.characters,
        words=counts.words,
        scripts=dict(sorted(named.items(), key=lambda item: -item[1])),
        lengths=_length_histogram(counts.lengths),
        identifiers=counts.identifiers,
    )


def _token_report(side: SideCounts) -> TokenReport:
    counts, characters = side.tokens, side.characters
    return TokenReport(
        tokens=counts.tokens,
        unknown_share=counts.unknown / max(counts.tokens, 1),
        byte_share=counts.bytes / max(counts.tokens, 1),
        tokens_per_word=counts.tokens / max(counts.words, 1),
        mean_length=counts.tokens / max(counts.rows, 1),
        longest=counts.longest,
        lengths=_length_histogram(counts.lengths),
        unwritable_share=characters.unwritable_texts / max(counts.rows, 1),
        unwritable=dict(_most(characters.unwritable)),
        spelled=dict(_most(characters.spelled)),
    )


def _most(characters: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent characters; those with equal counts by code point."""
    return sorted(characters.items(), key=lambda item: (-item[1], item[0]))[:_NAMED]


def _length_histogram(counts: Counts) -> Histogram:
    """Bins of one round width; the longest 0.5 % share the last bin."""
    total = counts.sum()
    reach = int(np.searchsorted(counts.cumsum(), 0.995 * total)) if total else 0
    width = next(w for w in (1, 2, 5, 10, 20, 50) if w * _BINS > reach)
    edges = list(range(0, min(reach + width, LONGEST) + 1, width))
    inner = np.add.reduceat(counts, edges) if total else np.zeros(len(edges), np.int64)
    return Histogram(edges=(*map(float, edges), float(LONGEST)), counts=tuple(inner.tolist()))
