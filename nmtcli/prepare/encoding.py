"""The second pass: encode and write the kept pairs."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nmtcli.config import DataConfig
from nmtcli.data.batching import Sentences
from nmtcli.data.links import EncodedSide, LinkCounts, Links, Numbers, token_links
from nmtcli.data.shards import ShardWriter, record_batch
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.data.workers import Workers
from nmtcli.prepare.augmentation import Augmenter
from nmtcli.prepare.cleaning.characters import Mask, Texts
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.cleaning.rules import EMPTY, EXAMPLES, TOO_MANY_TOKENS, Example, Verdicts, code, example
from nmtcli.prepare.losses import CharacterCounts, CharacterLosses
from nmtcli.prepare.pairs import Pairs
from nmtcli.prepare.protection import MaskCounts, PairMasker
from nmtcli.prepare.reading import CorpusRead, RawBlock, ReadBlock, ReadingTask, SplitRead
from nmtcli.prepare.rows import Block, OnProgress, Rows, line_of
from nmtcli.prepare.statistics import TokenCounts, add
from nmtcli.text.sentences import several_sentences


@dataclass(frozen=True)
class ReadyBlock:
    """A block for a worker: its rows' verdicts, the tag of their sources and the shares of pairs with a copy."""

    block: Block
    training: bool
    verdicts: Verdicts
    tag: str | None
    aligned: bool  # whether this split has word alignment
    augment: Mapping[str, float]


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
    masked: MaskCounts
    copies: Counter[str]
    several_sentences: int
    examples: dict[str, list[Example]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Encoded:
    """Some pairs and their tokens."""

    pairs: Pairs
    tagged: list[str]  # sources with their tag
    source: Sentences
    target: Sentences

    def select(self, mask: Mask) -> "_Encoded":
        """The pairs that are true in `mask`."""
        tagged = self.tagged if mask.all() else list(compress(self.tagged, mask.tolist()))
        return _Encoded(self.pairs.select(mask), tagged, self.source.select(mask), self.target.select(mask))

    def __add__(self, other: "_Encoded") -> "_Encoded":
        source, target = (
            Sentences(np.concatenate([one.ids, two.ids]), np.concatenate([one.lengths, two.lengths]))
            for one, two in ((self.source, other.source), (self.target, other.target))
        )
        return _Encoded(self.pairs + other.pairs, self.tagged + other.tagged, source, target)


class EncodingTask:
    """The task for one block, in any process."""

    def __init__(
        self, config: DataConfig, held_out: HeldOut, tokenizers: Path, *, training: bool, threads: int | None
    ) -> None:
        """`tokenizers` is their directory."""
        self._tokenizers = Tokenizers.load(tokenizers)
        longest = (config.cleaning.max_tokens if training else None) or _NO_LIMIT
        # of the source no more than a pretrained encoder can read, for validation too
        self._max_tokens = min(longest, self._tokenizers.source.max_tokens or _NO_LIMIT), longest
        self._training, self._threads = training, threads
        self._masker, self._augmenter = PairMasker(config), Augmenter(config, held_out)
        self._losses = CharacterLosses(self._tokenizers.source), CharacterLosses(self._tokenizers.target)
        self._size = max(len(self._tokenizers.source), len(self._tokenizers.target))

    def __call__(self, ready: ReadyBlock) -> EncodedBlock:
        """Parse again, mask, encode, drop pairs with too many tokens or none, and add changed copies."""
        rows, block = ready.block.rows(), ready.block
        mask = ready.verdicts == 0
        stays = np.flatnonzero(mask)
        links = (rows.links or Links.none(len(rows.sources))) if ready.aligned else None
        plain = Pairs(rows.sources, rows.targets, links).select(mask)
        masked, spans = self._masker(plain)
        encoded = self._encode(masked, ready.tag)
        lost, long = self._empty(encoded, ready.tag), self._too_long(encoded)
        verdicts = ready.verdicts.copy()
        verdicts[stays[long]] = code(TOO_MANY_TOKENS)
        verdicts[stays[lost]] = code(EMPTY)
        examples: dict[str, list[Example]] = {}
        for number in np.flatnonzero(lost | long)[: 2 * EXAMPLES].tolist():
            rule, reason = self._reason(encoded, number, bool(lost[number]))
            texts = masked.sources[number], masked.targets[number]
            dropped = example(block.file, line_of(block, rows, int(stays[number])), reason, *texts)
            examples.setdefault(rule, []).append(dropped)
        good = ~(lost | long)
        kept = encoded.select(good)
        lost_links = self._lost_links(rows, plain, masked, stays, good)
        kept, copies = self._with_copies(kept, ready)
        between_tokens, link_counts = self._token_links(kept, ready.tag)
        texts_of_split = None if self._training else (kept.tagged, kept.pairs.targets)  # as a model must read them
        batch = record_batch(kept.source, kept.target, texts_of_split, self._size, between_tokens)
        of_kept = [counts for number, counts in spans.items() if good[number]]
        return EncodedBlock(
            verdicts,
            batch.serialize().to_pybytes(),
            (self._count(0, kept.source, kept.pairs.sources), self._count(1, kept.target, kept.pairs.targets)),
            link_counts + LinkCounts(0, lost_links),
            MaskCounts(len(of_kept), sum(of_kept, Counter())),
            copies,
            sum(map(several_sentences, plain.select(good).sources)) if self._training else 0,
            examples,
        )

    def _encode(self, pairs: Pairs, tag: str | None) -> _Encoded:
        tagged = [f"{tag} {text}" for text in pairs.sources] if tag is not None else pairs.sources
        source, target = (
            _sentences(tokenizer.encode_arrays(texts, self._threads))
            for tokenizer, texts in ((self._tokenizers.source, tagged), (self._tokenizers.target, pairs.targets))
        )
        return _Encoded(pairs, tagged, source, target)

    def _empty(self, encoded: _Encoded, tag: str | None) -> Mask:
        """Which pairs have a side without tokens."""
        empty: Mask = (encoded.source.lengths == 0) | (encoded.target.lengths == 0)
        if tag is not None:
            empty |= encoded.source.lengths <= len(self._tokenizers.source.encode([tag])[0])
        return empty

    def _too_long(self, encoded: _Encoded) -> Mask:
        source, target = self._max_tokens
        return np.asarray((encoded.source.lengths > source) | (encoded.target.lengths > target))

    def _with_copies(self, kept: _Encoded, ready: ReadyBlock) -> tuple[_Encoded, Counter[str]]:
        """The pairs with their changed copies behind them, and the number of copies by kind."""
        pairs, kinds = self._augmenter(kept.pairs, ready.augment)
        if not kinds:
            return kept, Counter()
        copies = self._encode(pairs, ready.tag)
        good = ~(self._empty(copies, ready.tag) | self._too_long(copies))
        return kept + copies.select(good), Counter(compress(kinds, good.tolist()))

    def _token_links(self, kept: _Encoded, tag: str | None) -> tuple[Sentences | None, LinkCounts]:
        links = kept.pairs.links
        if links is None:
            return None, LinkCounts()
        between_tokens, counts = token_links(
            links if tag is None else links.after_tag(),
            EncodedSide(kept.tagged, kept.source, self._tokenizers.source),
            EncodedSide(kept.pairs.targets, kept.target, self._tokenizers.target),
        )
        return between_tokens.pack(), counts

    def _lost_links(self, rows: Rows, plain: Pairs, masked: Pairs, stays: Numbers, good: Mask) -> int:
        """The number of good pairs whose links were dropped when their markup was changed or they were masked."""
        if plain.links is None or masked.links is None:
            return 0
        lost = (plain.links.counts > 0) & (masked.links.counts == 0)
        lost |= np.isin(stays, list(rows.lost_links))
        return int(np.count_nonzero(lost & good))

    def _count(self, side: int, ids: Sentences, texts: list[str]) -> SideCounts:
        tokenizer = (self._tokenizers.source, self._tokenizers.target)[side]
        words = "".join(texts).count(" ") + len(texts)
        return SideCounts(TokenCounts.of(ids, words, tokenizer.byte_pieces), self._losses[side].count(Texts(texts)))

    def _reason(self, encoded: _Encoded, number: int, lost: bool) -> tuple[str, str]:
        if lost:
            return EMPTY, "a side is empty after normalisation"
        lengths = (int(side.lengths[number]) for side in (encoded.source, encoded.target))
        sides = zip(("source", "target"), lengths, self._max_tokens, strict=True)
        side, length, limit = max(sides, key=lambda one: one[1] - one[2])
        return TOO_MANY_TOKENS, f"the {side} has {length} tokens, more than {limit}"


def _sentences(rows: Sequence[npt.NDArray[np.int32]]) -> Sentences:
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    return Sentences(np.concatenate([np.empty(0, np.int32), *rows]), lengths)


class BlockWork:
    """The task of a worker: to judge blocks in the first pass and encode them in the second, of both splits.

    Each part is built at its first block.
    """

    def __init__(self, config: DataConfig, held_out: HeldOut, tokenizers: Path, threads: int | None) -> None:
        """`tokenizers` is the directory that has them when the second pass begins."""
        self._reading = cache(lambda training: ReadingTask(config, held_out, training=training))
        self._encoding = cache(
            lambda training: EncodingTask(config, held_out, tokenizers, training=training, threads=threads)
        )

    def __call__(self, item: RawBlock | ReadyBlock) -> ReadBlock | EncodedBlock:
        """Judge or encode a block."""
        if isinstance(item, RawBlock):
            return self._reading(item.training)(item.block)
        return self._encoding(item.training)(item)


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
        corpora = deque[CorpusRead]()  # of the blocks in work

        def ready() -> Iterator[ReadyBlock]:
            for read, block, verdicts in split.blocks():
                corpora.append(read)
                shares = read.corpus.augment.shares() if split.training else {}
                yield ReadyBlock(block, split.training, verdicts, read.corpus.tag, split.aligned, shares)

        for result in workers.map(ready()):
            corpora.popleft().copies.update(result.copies)
            split.verdicts[done : done + len(result.verdicts)] = result.verdicts
            split.add_examples(result.examples)
            if result.sides[0].tokens.rows:
                writer.write(result.batch)
            for sums, counts in zip(total, result.sides, strict=True):
                add(sums.tokens, counts.tokens)
                add(sums.characters, counts.characters)
            split.links += result.links
            split.masked += result.masked
            split.several_sentences += result.several_sentences
            done += len(result.verdicts)
            on_progress(f"encoding {split.name}", done, len(split.verdicts))
    split.rules = with_limit_of_encoder(split.rules, split.verdicts)
    return total


def with_limit_of_encoder(rules: tuple[str, ...], verdicts: Verdicts) -> tuple[str, ...]:
    """The rules, and the one about tokens if a pretrained encoder has applied it and no setting has."""
    applied = TOO_MANY_TOKENS not in rules and code(TOO_MANY_TOKENS) in verdicts
    return (*rules, TOO_MANY_TOKENS) if applied else rules


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


_NO_LIMIT = 2**31  # tokens
_SLICE = 2**20  # rows at a time, so that memory stays bounded


def sample_pairs(
    split: SplitRead, size: int, seed: int, masker: PairMasker, augmenter: Augmenter
) -> tuple[Sequence[str], Sequence[str]]:
    """Both sides of a sample of the kept pairs as a model sees them: masked, with the changed copies of the sample."""
    selected = sample_rows(split.verdicts, size, seed)
    sources, targets = [], []
    for *_, source, target in split.pick(selected):
        sources.append(source)
        targets.append(target)
    pairs, _ = masker(Pairs(sources, targets))
    sample, end = pairs, 0
    for read, verdicts in split.parts():
        begin, end = end, end + len(verdicts)
        if shares := read.corpus.augment.shares():
            sample += augmenter(pairs.select((begin <= selected) & (selected < end)), shares)[0]
    return sample.sources, sample.targets
