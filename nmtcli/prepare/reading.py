"""The first pass: read and judge every pair and count statistics of the text.

Memory holds one byte per pair, its verdict; repeated text is found through hashes on disk.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nmtcli.config import DataConfig
from nmtcli.data.links import LinkCounts
from nmtcli.data.workers import Workers
from nmtcli.errors import DataError, each
from nmtcli.prepare.cleaning.characters import Texts
from nmtcli.prepare.cleaning.duplicates import Duplicates, pair_hashes
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import (
    DUPLICATE,
    DUPLICATE_SOURCE,
    EXAMPLES,
    RULES,
    Example,
    Judged,
    Verdicts,
    active_rules,
    code,
    duplicate_rules,
    example,
    judge,
    text_rules,
)
from nmtcli.prepare.corpus import Corpus
from nmtcli.prepare.protection import MaskCounts, PairTexts
from nmtcli.prepare.rows import Block, OnProgress, line_of
from nmtcli.prepare.statistics import RATIO_BINS, Counts, TextCounts, add, ratios

TRAIN, VALID = "train", "valid"

Hashes = npt.NDArray[np.uint64]


def changed_while_read(names: Sequence[str]) -> DataError:
    """The error for texts that changed after their digest was taken."""
    return DataError(
        "\n".join(f"{name}: changed while it was read" for name in names), "start again when nothing writes to it"
    )


@dataclass(frozen=True)
class RawBlock:
    """A block for a worker, of the training split or not."""

    block: Block
    training: bool


@dataclass
class ReadBlock:
    """The result of the first pass for a block."""

    judged: Judged
    counts: tuple[TextCounts, TextCounts]
    ratios: Counts
    crlf_lines: int
    line_breaks: int
    notes: dict[str, int]
    hashes: tuple[Hashes, Hashes] | None  # of both sides, if a rule is about repeated text


class ReadingTask:
    """The task for one block, in any process."""

    def __init__(self, config: DataConfig, held_out: HeldOut, *, training: bool) -> None:
        self._rules = text_rules(config, held_out, training=training)
        self._texts = PairTexts(config) if training else None
        self._hashed = training and bool(duplicate_rules(config.cleaning))

    def __call__(self, block: Block) -> ReadBlock:
        """Parse, judge and count."""
        rows = block.rows()
        sides = rows.sources, rows.targets
        source, target = self._texts(*sides) if self._texts else map(Texts, sides)
        judged = judge(block, rows, source, target, self._rules)
        hashes = (source.read.hashes, target.read.hashes) if self._hashed else None
        counts = TextCounts.of(source), TextCounts.of(target)
        return ReadBlock(judged, counts, ratios(source, target), rows.crlf_lines, rows.line_breaks, rows.notes, hashes)


@dataclass
class CorpusRead:
    """The result of the first pass for a corpus."""

    corpus: Corpus
    rows: int = 0
    crlf_lines: int = 0
    line_breaks: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)  # by kind; known after the second pass


class Picked(NamedTuple):
    """A row with its place and its text."""

    row: int
    file: str
    line: int
    source: str
    target: str


@dataclass
class SplitRead:
    """The result of the first pass for a split: a verdict on each row, and statistics."""

    name: str
    rules: tuple[str, ...]  # those that are on, in order
    corpora: list[CorpusRead] = field(default_factory=list)
    verdicts: Verdicts = field(default_factory=lambda: np.zeros(0, np.uint8))
    examples: dict[str, list[Example]] = field(default_factory=dict)
    counts: tuple[TextCounts, TextCounts] = field(default_factory=lambda: (TextCounts(), TextCounts()))
    ratios: Counts = field(default_factory=lambda: np.zeros(RATIO_BINS, np.int64))
    # known after the second pass
    links: LinkCounts = field(default_factory=LinkCounts)
    masked: MaskCounts = field(default_factory=MaskCounts)
    several_sentences: int = 0  # kept sources with several sentences

    @property
    def training(self) -> bool:
        """Whether this is the training split."""
        return self.name == TRAIN

    @property
    def aligned(self) -> bool:
        """Whether any of its corpora has word alignment."""
        return any(read.corpus.aligned for read in self.corpora)

    @property
    def kept(self) -> int:
        """The number of rows that no rule has dropped so far."""
        return int(np.count_nonzero(self.verdicts == 0))

    def parts(self) -> Iterator[tuple[CorpusRead, Verdicts]]:
        """Each corpus with a writable view of the verdicts on its rows."""
        ends = np.cumsum([0, *(read.rows for read in self.corpora)]).tolist()
        for read, (start, end) in zip(self.corpora, pairwise(ends), strict=True):
            yield read, self.verdicts[start:end]

    def blocks(self) -> Iterator[tuple[CorpusRead, Block, Verdicts]]:
        """Read again: each block with its corpus and the verdicts on its rows. Raises DataError if a file changed."""
        for read, verdicts in self.parts():
            start = 0
            for block in read.corpus.blocks():
                if start + block.size <= read.rows:
                    yield read, block, verdicts[start : start + block.size]
                start += block.size
            if start != read.rows:
                raise DataError(
                    f"{read.corpus.reader.name}: had {read.rows:,} rows in the first pass, {start:,} in the second",
                    "the file changed while it was read: start again when nothing writes to it",
                )

    def pick(self, selected: npt.NDArray[np.int64]) -> Iterator["Picked"]:
        """The rows with these ascending numbers, with their text."""
        start = 0
        for _, block, _ in self.blocks():
            inside = selected[np.searchsorted(selected, start) : np.searchsorted(selected, start + block.size)]
            if len(inside):
                rows = block.rows()
                for row in inside.tolist():
                    place = block.file, line_of(block, rows, row - start)
                    yield Picked(row, *place, rows.sources[row - start], rows.targets[row - start])
            start += block.size
            if not len(selected) or start > selected[-1]:
                return

    def add_examples(self, by_rule: dict[str, list[Example]]) -> None:
        """Keep the first examples of each rule."""
        for rule, examples in by_rule.items():
            kept = self.examples.setdefault(rule, [])
            kept += examples[: EXAMPLES - len(kept)]


def read_split(
    name: str,
    corpora: Sequence[Corpus],
    config: DataConfig,
    held_out: HeldOut,
    workers: Workers,
    *,
    spill: Path,
    on_progress: OnProgress,
) -> SplitRead:
    """Read all corpora of a split. `spill` is a new directory for hashes.

    Raises one DataError that lists all files that are damaged or not line-aligned.
    """
    training = name == TRAIN
    rules = text_rules(config, held_out, training=training)
    split = SplitRead(name, active_rules(config.cleaning, rules, training=training))
    kinds = duplicate_rules(config.cleaning) if training else []
    spill.mkdir()
    duplicates = {kind: Duplicates(spill / kind) for kind in kinds}
    verdicts = bytearray()

    def read(corpus: Corpus) -> None:
        of_corpus = CorpusRead(corpus)
        split.corpora.append(of_corpus)
        for result in workers.map(RawBlock(block, training) for block in corpus.blocks()):
            first = len(verdicts)
            verdicts.extend(result.judged.verdicts.tobytes())
            of_corpus.rows += len(result.judged.verdicts)
            _count(split, of_corpus, result)
            if result.hashes is not None:
                for kind, store in duplicates.items():
                    store.add(hashes_of(kind, result.hashes, corpus.tag), first)
            on_progress(f"reading {name}", len(verdicts), None)

    each(read, corpora)
    split.verdicts = np.frombuffer(verdicts, np.uint8)
    on_progress(f"reading {name}", len(split.verdicts), len(split.verdicts))
    for kind, store in duplicates.items():
        _drop_repeated(split, kind, store)
    return split


def _count(split: SplitRead, read: CorpusRead, result: ReadBlock) -> None:
    read.crlf_lines += result.crlf_lines
    read.line_breaks += result.line_breaks
    read.notes.update(result.notes)
    for total, counts in zip(split.counts, result.counts, strict=True):
        add(total, counts)
    split.ratios += result.ratios
    split.add_examples(result.judged.examples)


def hashes_of(kind: str, hashes: tuple[Hashes, Hashes], tag: str | None) -> Hashes:
    """The hashes that are equal for rows that repeat each other by a rule. Sources with other tags are others."""
    source, target = hashes
    if tag is not None:
        source = source ^ Texts([tag]).hashes
    if kind == DUPLICATE:
        return pair_hashes(source, target)
    return source if kind == DUPLICATE_SOURCE else target


def _drop_repeated(split: SplitRead, rule: str, store: Duplicates) -> None:
    """Set the verdict of repeated rows, with the first ones as examples."""
    first_of: dict[int, int] = {}
    for rows, firsts in store.repeated(split.verdicts):
        split.verdicts[rows] = code(rule)
        lowest = np.argsort(rows)[:EXAMPLES]
        first_of |= dict(zip(rows[lowest].tolist(), firsts[lowest].tolist(), strict=True))
    shown = sorted(first_of)[:EXAMPLES]
    selected = np.unique(np.array([*shown, *(first_of[row] for row in shown)], np.int64))
    places: dict[int, str] = {}
    for row, file, line, source, target in split.pick(selected):
        places[row] = f"{file}:{line}"
        if row in shown:
            reason = f"repeats {places[first_of[row]]}"
            split.add_examples({rule: [example(file, line, reason, source, target)]})


def counts_of(verdicts: Verdicts, rules: Sequence[str]) -> dict[str, int]:
    """The number of rows that each rule dropped."""
    counts = np.bincount(verdicts, minlength=len(RULES) + 1)
    return {rule: int(counts[code(rule)]) for rule in rules}
