"""Markup in text that keeps its pairs: tags are removed or left for masking, and entities are decoded."""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nmtcli.config import DataConfig
from nmtcli.data.links import Links
from nmtcli.prepare.pairs import PairEdits, Pairs
from nmtcli.prepare.protection import scanner_of
from nmtcli.prepare.rows import ENTITIES, TAGS, Block, Rows
from nmtcli.text.edits import Edit
from nmtcli.text.inline import tag
from nmtcli.text.masking import shared_spans
from nmtcli.text.spans import Kind, Span
from nmtcli.text.versions import overlapping

_TAG: tuple[Kind, ...] = ("tag",)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
# Elements that mark a part of a line, often of a word
_INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "g", "hi", "i",
    "ins", "kbd", "mark", "mrk", "pc", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt",
    "u", "var", "wbr",
})  # fmt: skip
# Elements that begin a line
_BLOCKS = frozenset({
    "article", "aside", "blockquote", "br", "caption", "dd", "div", "dl", "dt", "figcaption", "figure", "footer",
    "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre", "section",
    "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip
# Scripts without spaces between words, and their punctuation
_RUNNING = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_RUNNING_MARKS = ("IDEOGRAPHIC", "FULLWIDTH")


def in_word(character: str) -> bool:
    """Whether a character is a letter, digit or combining mark of a script with spaces between words."""
    if not character or not (character.isalnum() or unicodedata.category(character)[0] == "M"):
        return False
    return not unicodedata.name(character, "").startswith(_RUNNING)


@dataclass(frozen=True)
class Markup:
    """How the markup of kept pairs is changed. Symbols that the user declares are no markup."""

    masked: bool  # tags that both sides have stay, for masking
    declared: tuple[str, ...]

    @classmethod
    def of(cls, config: DataConfig) -> "Markup | None":
        """As data.cleaning.markup says; None if it changes no text."""
        setting = config.cleaning.markup
        return cls(setting == "mask", config.declared) if setting in ("strip", "mask") else None

    def edits(self, source: str, target: str) -> tuple[PairEdits, Counter[str]] | None:
        """The edits of a pair and their counts; None without markup."""
        if not any(mark in text for text in (source, target) for mark in "<&"):
            return None
        scanner = scanner_of(_TAG, self.declared)
        spans = [[span for span in scanner.scan(text) if span.kind == "tag"] for text in (source, target)]
        kept: list[list[Span]] = [[], []]
        if self.masked:
            shared = shared_spans(source, target, scanner, _TAG)
            kept = [[span for _, span, _ in shared], [span for _, _, span in shared]]
        removed = [[span for span in one if span not in stay] for one, stay in zip(spans, map(set, kept), strict=True)]
        edits, counts = [], Counter({TAGS: len(removed[0]) + len(removed[1])})
        for text, tags, gone in zip((source, target), spans, removed, strict=True):
            ranges = [(one.start, one.end) for one in tags]
            entities = [edit for edit in _decoded(text) if not overlapping(ranges, (edit.start, edit.start + 1))]
            counts[ENTITIES] += len(entities)
            edits.append(sorted([*_without_tags(text, gone), *entities]))
        return (edits[0], edits[1]), +counts

    def changed(self, rows: Rows) -> Rows:
        """The rows with their markup changed, and word links moved accordingly."""
        edits: dict[int, PairEdits] = {}
        notes = Counter(rows.notes)
        for number, pair in enumerate(zip(rows.sources, rows.targets, strict=True)):
            if (found := self.edits(*pair)) is not None and found[1]:
                edits[number] = found[0]
                notes += found[1]
        if not edits:
            return rows
        pairs = Pairs(rows.sources, rows.targets, rows.links).edited(edits)
        return replace(
            rows,
            sources=pairs.sources,
            targets=pairs.targets,
            links=pairs.links,
            lost_links=_lost(rows.links, pairs.links),
            notes=dict(notes),
        )


@dataclass(frozen=True)
class MarkupBlock:
    """A block whose markup is changed when it is parsed."""

    block: Block
    markup: Markup

    @property
    def line(self) -> int:
        """The line of its first row."""
        return self.block.line

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.block.size

    @property
    def file(self) -> str:
        """The file of the rows."""
        return self.block.file

    def rows(self) -> Rows:
        """Parse the block and change its markup."""
        return self.markup.changed(self.block.rows())


def _lost(before: Links | None, after: Links | None) -> frozenset[int]:
    """The pairs that had links and have none."""
    if before is None or after is None:
        return frozenset()
    return frozenset(((before.counts > 0) & (after.counts == 0)).nonzero()[0].tolist())


def _decoded(text: str) -> Iterator[Edit]:
    """The edits that decode entities; an unknown one stays. A line break becomes a blank."""
    for match in _ENTITY.finditer(text):
        character = html.unescape(match[0])
        if character != match[0]:
            yield Edit(*match.span(), " " if character in "\r\n" else character)


def _without_tags(text: str, tags: Sequence[Span]) -> Iterator[Edit]:
    """The edits that remove tags.

    Blanks around tags stay one blank. Words that a line break or an unknown tag divides get a blank between them.
    """
    for run in _runs(text, tags):
        start, end = run[0].start, run[-1].end
        inside = text[start:end]
        before, after = text[start - 1 : start] if start else "", text[end : end + 1]
        if not before or before.isspace():
            end += len(text[end:]) - len(text[end:].lstrip())
        if end == len(text):
            start = len(text[:start].rstrip())
        blank = before and after and not before.isspace() and not after.isspace()
        spaced = any(map(str.isspace, _between(inside, run))) or any(_divides(one, before, after) for one in run)
        yield Edit(start, end, " " if blank and spaced else "")


def _runs(text: str, tags: Sequence[Span]) -> Iterator[list[Span]]:
    """Tags with nothing but blanks between them."""
    run: list[Span] = []
    for one in tags:
        if run and text[run[-1].end : one.start].strip():
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _between(inside: str, run: Sequence[Span]) -> str:
    """The text between the tags of a run."""
    first = run[0].start
    return "".join(inside[one.end - first : other.start - first] for one, other in pairwise(run))


def _divides(span: Span, before: str, after: str) -> bool:
    """Whether a tag divides the text around it into words."""
    name = tag(span.text).name.lower()
    if name in _BLOCKS:
        running = (unicodedata.name(one, "").startswith((*_RUNNING, *_RUNNING_MARKS)) for one in before + after)
        return not all(running)
    return name not in _INLINE and in_word(before) and in_word(after)
