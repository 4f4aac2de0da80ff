"""The second pass: encode and write the kept pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from pathlib import Path

import numpy as np

from nmtcli.config import DataConfig
from nmtcli.data.batching import Sentences
from nmtcli.data.links import EncodedSide, LinkCounts, Links, token_links
from nmtcli.data.shards import ShardWriter, record_batch
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.data.workers import Workers
from nmtcli.prepare.cleaning.characters import Mask, Texts
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import EMPTY, EXAMPLES, TOO_MANY_TOKENS, Example, Verdicts, code, example
from nmtcli.prepare.losses import CharacterCounts, CharacterLosses
from nmtcli.prepare.reading import RawBlock, ReadBlock, ReadingTask, SplitRead
from nmtcli.prepare.rows import Block, OnProgress
from nmtcli.prepare.statistics import TokenCounts, add


@dataclass(frozen=True)
class ReadyBlock:
    """A block for a worker: its rows' verdicts and the tag of their sources."""

    block: Block
    training: bool
    verdicts: Verdicts
    tag: str | None
    aligned: bool  # whether this split has word alignment


@dataclass
class SideCounts:
    """Counts of one side in the second pass."""

    tokens: TokenCounts = field(default_factory=TokenCounts)
    characters: CharacterCounts = field(default_factory=CharacterCounts)


@dataclass
class EncodedBlock:
    """An encoded block: its rows as the bytes of a record batch, and verdicts updated with pairs dropped here."""

    verdicts: Verdicts
    batch: bytes
    sides: tuple[SideCounts, SideCounts]
    links: LinkCounts
    examples: dict[str, list[Example]] = field(default_factory=dict)


class EncodingTask:
    """The task for one block, in any process."""

    def __init__(self, config: DataConfig, tokenizers: Path, *, training: bool, threads: int | None) -> None:
        """`tokenizers` is their directory."""
        self._tokenizers = Tokenizers.load(tokenizers)
        self._max_tokens = config.cleaning.max_tokens if training else None
        self._training, self._threads = training, threads
        self._losses = CharacterLosses(self._tokenizers.source), CharacterLosses(self._tokenizers.target)
        self._size = max(len(self._tokenizers.source), len(self._tokenizers.target))

    def __call__(self, ready: ReadyBlock) -> EncodedBlock:
        """Parse again, encode, and drop pairs with too many tokens or none."""
        rows, block = ready.block.rows(), ready.block
        mask = ready.verdicts == 0
        stays = np.flatnonzero(mask)
        sources, targets = (_select(side, mask) for side in (rows.sources, rows.targets))
        tagged = [f"{ready.tag} {text}" for text in sources] if ready.tag is not None else sources
        source, target = self._encode(self._tokenizers.source, tagged), self._encode(self._tokenizers.target, targets)
        lost = (source.lengths == 0) | (target.lengths == 0)
        if ready.tag is not None:
            lost |= source.lengths <= len(self._tokenizers.source.encode([ready.tag])[0])
        long = np.zeros(len(stays), np.bool_)
        if self._max_tokens is not None:
            long = np.maximum(source.lengths, target.lengths) > self._max_tokens
        verdicts = ready.verdicts.copy()
        verdicts[stays[long]] = code(TOO_MANY_TOKENS)
        verdicts[stays[lost]] = code(EMPTY)
        examples: dict[str, list[Example]] = {}
        for number in np.flatnonzero(lost | long)[: 2 * EXAMPLES].tolist():
            rule, reason = self._reason(int(source.lengths[number]), int(target.lengths[number]), bool(lost[number]))
            place = block.file, block.line + int(stays[number])
            examples.setdefault(rule, []).append(example(*place, reason, sources[number], targets[number]))
        good = ~(lost | long)
        source, target = source.select(good), target.select(good)
        kept = [_select(side, good) for side in (sources, targets)]
        texts = None if self._training else (kept[0], kept[1])
        links, link_counts = None, LinkCounts()
        if ready.aligned:
            between_words = rows.links.select(verdicts == 0) if rows.links else Links.none(len(source.lengths))
            between_tokens, link_counts = token_links(
                between_words if ready.tag is None else between_words.after_tag(),
                EncodedSide(_select(tagged, good), source, self._tokenizers.source),
                EncodedSide(kept[1], target, self._tokenizers.target),
            )
            links = between_tokens.pack()
        batch = record_batch(source, target, texts, self._size, links).serialize().to_pybytes()
        sides = self._count(0, source, kept[0]), self._count(1, target, kept[1])
        return EncodedBlock(verdicts, batch, sides, link_counts, examples)

    def _count(self, side: int, ids: Sentences, texts: list[str]) -> SideCounts:
        tokenizer = (self._tokenizers.source, self._tokenizers.target)[side]
        words = "".join(texts).count(" ") + len(texts)
        return SideCounts(TokenCounts.of(ids, words, tokenizer.byte_pieces), self._losses[side].count(Texts(texts)))

    def _encode(self, tokenizer: Tokenizer, texts: list[str]) -> Sentences:
        rows = tokenizer.encode_arrays(texts, self._threads)
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        return Sentences(np.concatenate([np.empty(0, np.int32), *rows]), lengths)

    def _reason(self, source: int, target: int, lost: bool) -> tuple[str, str]:
        if lost:
            return EMPTY, "a side is empty after normalisation"
        side, length = ("source", source) if source > target else ("target", target)
        return TOO_MANY_TOKENS, f"the {side} has {length} tokens, more than {self._max_tokens}"


class BlockWork:
    """The task of a worker: to judge blocks in the first pass and encode them in the second, of both splits.

    Each part is built at its first block.
    """

    def __init__(self, config: DataConfig, held_out: HeldOut, tokenizers: Path, threads: int | None) -> None:
        """`tokenizers` is the directory that has them when the second pass begins."""
        self._reading = cache(lambda training: ReadingTask(config, held_out, training=training))
        self._encoding = cache(lambda training: EncodingTask(config, tokenizers, training=training, threads=threads))

    def __call__(self, item: RawBlock | ReadyBlock) -> ReadBlock | EncodedBlock:
        """Judge or encode a block."""
        if isinstance(item, RawBlock):
            return self._reading(item.training)(item.block)
        return self._encoding(item.training)(item)


def _select(texts: list[str], mask: Mask) -> list[str]:
    return texts if mask.all() else list(compress(texts, mask.tolist()))


def write_split(
    split: SplitRead,
    directory: Path,
    workers: Workers,
    *,
    fingerprint: str,
    vocabulary_size: int,
    on_progress: OnProgress,
) -> tuple[SideCounts, SideCounts]:
    """Encode the kept pairs of a split with the tokenizers in `directory`, and write them there.

    Sets the verdicts of rows dropped here in `split`.
    """
    total = SideCounts(), SideCounts()
    columns = {"with_text": not split.training, "with_links": split.aligned}
    with ShardWriter(directory / split.name, vocabulary_size, **columns, fingerprint=fingerprint) as writer:
        done = 0
        ready = (
            ReadyBlock(block, split.training, verdicts, read.corpus.tag, split.aligned)
            for read, block, verdicts in split.blocks()
        )
        for result in workers.map(ready):
            split.verdicts[done : done + len(result.verdicts)] = result.verdicts
            split.add_examples(result.examples)
            if result.sides[0].tokens.rows:
                writer.write(result.batch)
            for sums, counts in zip(total, result.sides, strict=True):
                add(sums.tokens, counts.tokens)
                add(sums.characters, counts.characters)
            split.links += result.links
            done += len(result.verdicts)
            on_progress(f"encoding {split.name}", done, len(split.verdicts))
    return total


def sample_rows(verdicts: Verdicts, size: int, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """At most `size` of the kept rows, sampled without replacement, in order."""
    kept = int(np.count_nonzero(verdicts == 0))
    if kept <= size:
        return np.flatnonzero(verdicts == 0)
    sample = np.sort(np.random.default_rng(seed).choice(kept, size, replace=False, shuffle=False))
    rows, before = [], 0
    for start in range(0, len(verdicts), _SLICE):
        here = start + np.flatnonzero(verdicts[start : start + _SLICE] == 0)
        first, last = np.searchsorted(sample, (before, before + len(here)))
        rows.append(here[sample[first:last] - before])
        before += len(here)
    return np.concatenate(rows)


_SLICE = 2**20  # rows at a time, so that memory stays bounded


def sample_pairs(split: SplitRead, size: int, seed: int) -> tuple[Sequence[str], Sequence[str]]:
    """Both sides of a sample of the kept pairs."""
    sources, targets = [], []
    for *_, source, target in split.pick(sample_rows(split.verdicts, size, seed)):
        sources.append(source)
        targets.append(target)
    return sources, targets
