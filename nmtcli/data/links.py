"""Word alignment: which words of a pair translate each other, and so which tokens.

A word is what stands between blanks in the raw line, as aligners see it. A tokenizer sees the line normalised, where
words may fall apart, grow together or vanish. Where it is not certain which tokens a word became, the links of the
whole pair are dropped: a wrong link teaches something wrong, a missing one nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nmtcli.data.batching import Sentences
from nmtcli.data.shards import Lengths
from nmtcli.data.tokenizer import Tokenizer

_OTHER_BLANK = re.compile(r"[^\S \t]")  # some aligners take it for a blank, others for a part of a word
_MOST_TOKENS = 2**16  # positions of a longer sentence do not fit in two bytes

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Links:
    """Links of some sentence pairs, one pair's after the other; positions from 0, of words or of tokens."""

    positions: Numbers  # [L, 2], source and target
    counts: Lengths  # [B], links of each pair

    @classmethod
    def none(cls, pairs: int) -> Self:
        """No links for so many pairs."""
        return cls(np.empty((0, 2), np.int64), np.zeros(pairs, np.int32))

    @classmethod
    def unpack(cls, flat: Sentences) -> Self:
        """What `pack` made."""
        return cls(flat.ids.reshape(-1, 2), flat.lengths // 2)

    def pack(self) -> Sentences:
        """As lists of numbers: source position, target position, source position, …"""
        return Sentences(self.positions.ravel(), 2 * self.counts)

    @cached_property
    def pair(self) -> Numbers:
        """The number of the sentence pair of each link, [L]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def select(self, pairs: Mask) -> "Links":
        """The links of those pairs that are true in `pairs` [B]."""
        return Links(self.positions[pairs[self.pair]], self.counts[pairs])

    def behind_tag(self) -> "Links":
        """The links between words once a tag is the first word of each source."""
        return Links(self.positions + np.array([1, 0]), self.counts)


def count_words(text: str) -> int:
    """The words of a raw line; where aligners differ, as many as any of them sees."""
    words = len(text.split())
    return words if not _OTHER_BLANK.search(text) else max(words, len(re.findall(r"[^ \t]+", text)))


@dataclass(frozen=True)
class LinkCounts:
    """Pairs whose words are linked."""

    kept: int = 0
    lost: int = 0  # their links; it was not certain which tokens their words became

    def __add__(self, other: "LinkCounts") -> "LinkCounts":
        return LinkCounts(self.kept + other.kept, self.lost + other.lost)


@dataclass(frozen=True)
class EncodedSide:
    """One side of some sentence pairs."""

    texts: Sequence[str]  # raw
    tokens: Sentences
    tokenizer: Tokenizer


class _WordTokens(NamedTuple):
    """Which tokens the words of some sentences became."""

    first: Numbers  # [W], the first token of each word, counted from 0 in its sentence
    sizes: Numbers  # [W], tokens of each word
    before: Numbers  # [B], words of all sentences before
    certain: Mask  # [B], whether these words are those of the raw line


def token_links(words: Links, source: EncodedSide, target: EncodedSide) -> tuple[Links, LinkCounts]:
    """Links between tokens from those between words: each token of a word with each token of the other."""
    linked = words.counts > 0
    sides = [_word_tokens(side, linked) for side in (source, target)]
    certain = sides[0].certain & sides[1].certain
    kept = certain[words.pair]
    pair = words.pair[kept]
    at = [side.before[pair] + words.positions[kept, column] for column, side in enumerate(sides)]  # words
    begin = [side.first[word] for side, word in zip(sides, at, strict=True)]
    height, width = (side.sizes[word] for side, word in zip(sides, at, strict=True))
    sizes = height * width
    link = np.repeat(np.arange(len(sizes)), sizes)  # [token links]: the number of the word link
    inside = np.arange(len(link)) - (sizes.cumsum() - sizes)[link]
    positions = np.stack([begin[0][link] + inside // width[link], begin[1][link] + inside % width[link]], axis=1)
    counts = np.bincount(pair[link], minlength=len(linked)).astype(np.int32)
    lost = int(np.count_nonzero(linked & ~certain))
    return Links(positions, counts), LinkCounts(int(np.count_nonzero(linked)) - lost, lost)


def _word_tokens(side: EncodedSide, linked: Mask) -> _WordTokens:
    """The words of a side, as its tokens tell; only those of `linked` sentences are compared with the raw line."""
    ids, lengths, tokenizer = side.tokens.ids, side.tokens.lengths.astype(np.int64), side.tokenizer
    begins = lengths.cumsum() - lengths  # [B]
    sentence = np.repeat(np.arange(len(lengths)), lengths)  # [tokens]
    starts = tokenizer.word_starts[ids]
    starts[begins[lengths > 0]] = True
    first = np.flatnonzero(starts)
    sizes = np.diff(np.append(first, len(ids)))
    counts = np.bincount(sentence[first], minlength=len(lengths))  # words of each sentence
    over_blank = np.bincount(sentence[tokenizer.over_blanks[ids]], minlength=len(lengths)) > 0
    raw = _raw_words([text if wanted else "" for text, wanted in zip(side.texts, linked, strict=True)], tokenizer)
    certain = (counts == raw) & ~over_blank & (lengths < _MOST_TOKENS)
    return _WordTokens(first - begins[sentence[first]], sizes, counts.cumsum() - counts, certain)


def _raw_words(texts: Sequence[str], tokenizer: Tokenizer) -> Numbers:
    """The words of each raw line, [B]; -1 where one of them is not one word for the tokenizer."""
    lines = [text.split() for text in texts]
    seen = {word: tokenizer.normalize(word) for word in {word for words in lines for word in words}}
    odd = {word for word, text in seen.items() if not text or " " in text}
    plain = (odd.isdisjoint(words) and not _OTHER_BLANK.search(text) for words, text in zip(lines, texts, strict=True))
    counts = (len(words) if certain else -1 for words, certain in zip(lines, plain, strict=True))
    return np.fromiter(counts, np.int64, len(lines))
