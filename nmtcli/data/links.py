"""Word alignment links, and their conversion from words to tokens.

A word is delimited by spaces in the raw line, as in aligners. A tokenizer normalises the line, which may split, merge
or remove words. If the tokens of a word are uncertain, all links of the pair are dropped: a missing link does no harm
in training, a wrong one does.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nmtcli.data.batching import Sentences
from nmtcli.data.shards import Lengths
from nmtcli.data.tokenizer import Tokenizer

_OTHER_SPACE = re.compile(r"[^\S \t]")  # a space for some aligners, a part of a word for others
_MAX_TOKENS = 2**16  # positions of a longer sentence do not fit in two bytes

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Links:
    """Word alignment links of several sentence pairs, concatenated; positions of words or tokens, from 0."""

    positions: Numbers  # [L, 2], source and target
    counts: Lengths  # [B], links of each pair

    @classmethod
    def none(cls, pairs: int) -> Self:
        """Empty links for a number of pairs."""
        return cls(np.empty((0, 2), np.int64), np.zeros(pairs, np.int32))

    @classmethod
    def unpack(cls, flat: Sentences) -> Self:
        """The inverse of `pack`."""
        return cls(flat.ids.reshape(-1, 2), flat.lengths // 2)

    def pack(self) -> Sentences:
        """As lists of numbers: source position, target position, source position, …"""
        return Sentences(self.positions.ravel(), 2 * self.counts)

    @cached_property
    def pair(self) -> Numbers:
        """The number of the sentence pair of each link, [L]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def select(self, pairs: Mask) -> "Links":
        """The links of the pairs that are true in `pairs` [B]."""
        return Links(self.positions[pairs[self.pair]], self.counts[pairs])

    def after_tag(self) -> "Links":
        """The links with source positions shifted by one, for a tag before each source."""
        return Links(self.positions + np.array([1, 0]), self.counts)

    def moved(self, words: "Mapping[int, tuple[WordMap, WordMap]]") -> "Links":
        """The links after changes of some pairs: the new word of each word of both sides, by the number of the pair.

        The links of a word that has no new word are dropped.
        """
        if not words:
            return self
        pairs = np.split(self.positions, self.counts.cumsum()[:-1])
        for number, sides in words.items():
            both = ((_new(sides[0], source), _new(sides[1], target)) for source, target in pairs[number].tolist())
            kept = sorted({(source, target) for source, target in both if source is not None and target is not None})
            pairs[number] = np.array(kept, np.int64).reshape(-1, 2)
        return Links(np.concatenate(pairs), np.fromiter(map(len, pairs), np.int32, len(pairs)))

    def __add__(self, other: "Links") -> "Links":
        return Links(np.concatenate([self.positions, other.positions]), np.concatenate([self.counts, other.counts]))


WordMap = Sequence[int | None]  # for each word its new number


def _new(words: WordMap, word: int) -> int | None:
    return words[word] if word < len(words) else None


def words_are_certain(text: str) -> bool:
    """Whether all aligners count the same words in a raw line."""
    return not _OTHER_SPACE.search(text)


def count_words(text: str) -> int:
    """The number of words of a raw line; where aligners differ, the largest."""
    words = len(text.split())
    return words if words_are_certain(text) else max(words, len(re.findall(r"[^ \t]+", text)))


@dataclass(frozen=True)
class LinkCounts:
    """Numbers of pairs with links."""

    kept: int = 0
    lost: int = 0  # links dropped, as the tokens of a word were uncertain

    def __add__(self, other: "LinkCounts") -> "LinkCounts":
        return LinkCounts(self.kept + other.kept, self.lost + other.lost)


@dataclass(frozen=True)
class EncodedSide:
    """One side of several sentence pairs."""

    texts: Sequence[str]  # raw
    tokens: Sentences
    tokenizer: Tokenizer


class _WordTokens(NamedTuple):
    """The tokens of each word of several sentences."""

    first: Numbers  # [W], the first token of each word, from 0 in its sentence
    sizes: Numbers  # [W], number of tokens of each word
    before: Numbers  # [B], number of words in all previous sentences
    certain: Mask  # [B], whether the words are those of the raw line


def token_links(words: Links, source: EncodedSide, target: EncodedSide) -> tuple[Links, LinkCounts]:
    """Token links from word links: each token of a source word with each token of its target word."""
    linked = words.counts > 0
    sides = [_word_tokens(side, linked) for side in (source, target)]
    certain = sides[0].certain & sides[1].certain
    kept = certain[words.pair]
    pair = words.pair[kept]
    linked_words = [side.before[pair] + words.positions[kept, column] for column, side in enumerate(sides)]
    begin = [side.first[word] for side, word in zip(sides, linked_words, strict=True)]
    height, width = (side.sizes[word] for side, word in zip(sides, linked_words, strict=True))
    sizes = height * width
    link = np.repeat(np.arange(len(sizes)), sizes)  # [token links]: the number of the word link
    inside = np.arange(len(link)) - (sizes.cumsum() - sizes)[link]
    positions = np.stack([begin[0][link] + inside // width[link], begin[1][link] + inside % width[link]], axis=1)
    counts = np.bincount(pair[link], minlength=len(linked)).astype(np.int32)
    lost = int(np.count_nonzero(linked & ~certain))
    return Links(positions, counts), LinkCounts(int(np.count_nonzero(linked)) - lost, lost)


def _word_tokens(side: EncodedSide, linked: Mask) -> _WordTokens:
    """The words of a side, derived from its tokens; only `linked` sentences are compared with the raw line."""
    ids, lengths, tokenizer = side.tokens.ids, side.tokens.lengths.astype(np.int64), side.tokenizer
    begins = lengths.cumsum() - lengths  # [B]
    sentence = np.repeat(np.arange(len(lengths)), lengths)  # [tokens]
    starts = tokenizer.word_starts[ids]
    starts[begins[lengths > 0]] = True
    first = np.flatnonzero(starts)
    counts = np.bincount(sentence[first], minlength=len(lengths))  # words of each sentence
    over_space = np.bincount(sentence[tokenizer.spanning_spaces[ids]], minlength=len(lengths)) > 0
    parts = _parts([text if has_links else "" for text, has_links in zip(side.texts, linked, strict=True)], tokenizer)
    certain = (counts == [sum(one) for one in parts]) & ~over_space & (lengths < _MAX_TOKENS)
    begin = counts.cumsum() - counts
    raw = np.ones(len(first), np.bool_)  # which words begin a word of the raw line
    for number in np.flatnonzero(certain).tolist():
        if any(count > 1 for count in parts[number]):
            raw[begin[number] : begin[number] + counts[number]] = False
            raw[begin[number] + np.cumsum([0, *parts[number][:-1]])] = True
    first = first[raw]
    sizes = np.diff(np.append(first, len(ids)))
    counts = np.bincount(sentence[first], minlength=len(lengths))
    return _WordTokens(first - begins[sentence[first]], sizes, counts.cumsum() - counts, certain)


def _parts(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """For each word of each raw line the number of words that the tokenizer makes of it; [-1] if that is not certain.

    The tokenizer of a pretrained encoder separates punctuation. Where SentencePiece splits a word, it is not certain.
    """
    lines = [text.split() for text in texts]
    counts = {word: len(tokenizer.normalize(word).split()) for word in {word for words in lines for word in words}}
    separates = tokenizer.special_ids is not None
    odd = {word for word, count in counts.items() if not count or (count > 1 and not separates)}
    return [
        [counts[word] for word in words] if odd.isdisjoint(words) and words_are_certain(text) else [-1]
        for words, text in zip(lines, texts, strict=True)
    ]
