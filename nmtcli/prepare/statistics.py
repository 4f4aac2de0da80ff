"""Statistics of the text of a block, which can be summed: sizes, scripts, lengths."""

from dataclasses import dataclass, field, fields
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from nmtcli.data.batching import Sentences
from nmtcli.prepare.cleaning.characters import BLANK, DIGIT, Texts
from nmtcli.prepare.losses import CharacterCounts
from nmtcli.vocabulary import UNK

LONGEST = 1000  # lengths from here on share the last bin
RATIO_BINS = 32  # of the binary logarithm of target length over source length, from -4 to 4
_SMALLEST_RATIO, _BIN = -4.0, 0.25

Counts = npt.NDArray[np.int64]
Summed = TypeVar("Summed", "TextCounts", "TokenCounts", CharacterCounts)


@dataclass
class TextCounts:
    """One side of all readable pairs before cleaning, in characters."""

    texts: int = 0
    characters: int = 0
    words: int = 0  # delimited by spaces
    lengths: Counts = field(default_factory=lambda: np.zeros(LONGEST + 1, np.int64))
    kinds: Counts = field(default_factory=lambda: np.zeros(256, np.int64))  # of `cleaning.characters`
    identifiers: int = 0  # texts that are numbers, or one word with a digit in it

    @classmethod
    def of(cls, texts: Texts) -> Self:
        """Count a block; empty texts do not count."""
        filled = texts.lengths[texts.lengths > 0]
        return cls(
            len(filled),
            int(filled.sum()),
            int(texts.kind_counts[BLANK]) + len(filled),
            np.bincount(filled.clip(max=LONGEST), minlength=LONGEST + 1),
            texts.kind_counts,
            _identifiers(texts),
        )


@dataclass
class TokenCounts:
    """One side of the kept pairs, in tokens without BOS and EOS."""

    rows: int = 0
    tokens: int = 0
    unknown: int = 0
    bytes: int = 0  # byte tokens, each one byte of a rare character
    words: int = 0
    longest: int = 0
    lengths: Counts = field(default_factory=lambda: np.zeros(LONGEST + 1, np.int64))

    @classmethod
    def of(cls, ids: Sentences, words: int, byte_pieces: npt.NDArray[np.bool_]) -> Self:
        """Count a block; `byte_pieces` [vocabulary] marks the ids of bytes."""
        return cls(
            len(ids.lengths),
            len(ids.ids),
            int(np.count_nonzero(ids.ids == UNK)),
            int(np.count_nonzero(byte_pieces[ids.ids])),
            words,
            int(ids.lengths.max(initial=0)),
            np.bincount(ids.lengths.clip(max=LONGEST), minlength=LONGEST + 1),
        )


def _identifiers(texts: Texts) -> int:
    """The number of texts with a digit and without a space."""
    digits = np.flatnonzero(texts.count(texts.kinds == DIGIT))
    return sum(len(texts.texts[row].split()) == 1 for row in digits.tolist())


def add(total: Summed, other: Summed) -> None:
    """Add the counts of another block; `longest` is the maximum."""
    for item in fields(total):
        one, two = getattr(total, item.name), getattr(other, item.name)
        setattr(total, item.name, max(one, two) if item.name == "longest" else one + two)


def ratios(source: Texts, target: Texts) -> Counts:
    """The number of pairs in each bin of the length ratio [RATIO_BINS]; pairs with an empty side do not count."""
    both = (source.lengths > 0) & (target.lengths > 0)
    logarithm = np.log2(target.lengths[both] / source.lengths[both])
    bins = ((logarithm - _SMALLEST_RATIO) / _BIN).astype(np.int64).clip(0, RATIO_BINS - 1)
    return np.bincount(bins, minlength=RATIO_BINS)


def ratio_of(edge: int) -> float:
    """The ratio at the lower edge of a bin."""
    return float(2 ** (_SMALLEST_RATIO + edge * _BIN))
