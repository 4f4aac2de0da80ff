"""Word alignment from attention weights, and its error rate against a gold alignment.

Words are delimited by spaces in the raw line. The file format is Pharaoh's: `0-0 1-2 …`, source word, target word,
counted from 0. A gold alignment has sure links, `0-0`, and possible ones, `0?1` or `0p1` (Och and Ney 2003).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from operator import add

import numpy as np
from numpy.typing import NDArray

from nmtcli.data.words import NO_WORD
from nmtcli.errors import DataError
from nmtcli.metrics.texts import Text

Link = tuple[int, int]  # source word, target word

_LINK = re.compile(r"(\d{1,9})([-?p])(\d{1,9})", re.ASCII)


def by_word(weights: NDArray[np.float32], words: Sequence[int]) -> NDArray[np.float32]:
    """Sum columns [·, tokens] by word: [·, max(words) + 1]; tokens without a word are ignored."""
    number = np.asarray(words, dtype=np.int64)
    summed = np.zeros((weights.shape[0], int(number.max(initial=NO_WORD)) + 1), dtype=np.float32)
    np.add.at(summed.T, number[number != NO_WORD], weights.T[number != NO_WORD])
    return summed


def word_links(weights: NDArray[np.float32], source: Sequence[int], target: Sequence[int]) -> tuple[Link, ...]:
    """The most-attended source word of each target word, in the order of the target.

    weights [T, S] is the attention between tokens; source [S] and target [T] have the word of each token, NO_WORD for
    EOS. The weights of the tokens of a source word are summed. The first token of a target word counts most, each
    further one half of the previous one: the continuation of a word follows from its beginning, and its attention is
    less reliable. Attention to EOS does not count; a target word without other attention has no link.
    """
    weighted = by_word(weights, source) * 0.5 ** _place_in_word(target)[:, None]
    words = by_word(weighted.T, target).T  # [target words, source words]
    if not words.size:
        return ()
    best = words.argmax(axis=1)
    return tuple((int(best[word]), int(word)) for word in np.flatnonzero(words.any(axis=1)))


def _place_in_word(words: Sequence[int]) -> NDArray[np.float32]:
    """The number of previous tokens of the same word, [tokens]; words are in order."""
    number = np.asarray(words, dtype=np.int64)
    place = np.arange(len(number))
    begins = np.where(np.diff(number, prepend=number[:1] - 1) != 0, place, 0)
    return (place - np.maximum.accumulate(begins)).astype(np.float32)


def format_links(links: Iterable[Link] | None) -> str:
    """Links in Pharaoh format, `0-0 2-1`; empty for none."""
    return " ".join(f"{source}-{target}" for source, target in links or ())


@dataclass(frozen=True)
class GoldLinks:
    """The gold alignment of a pair: sure links, and possible ones, which include the sure ones."""

    sure: frozenset[Link]
    possible: frozenset[Link]


@dataclass(frozen=True)
class AlignmentQuality:
    """Counts of an alignment against a gold one (Och and Ney 2003, equation 20), which can be summed over pairs."""

    links: int = 0
    sure: int = 0  # links of the gold alignment
    right_sure: int = 0
    right_possible: int = 0

    def __add__(self, other: "AlignmentQuality") -> "AlignmentQuality":
        return AlignmentQuality(*map(add, astuple(self), astuple(other)))

    @property
    def precision(self) -> float:
        """The share of links that are possible."""
        return self.right_possible / self.links if self.links else 1.0

    @property
    def recall(self) -> float:
        """The share of sure links that were found."""
        return self.right_sure / self.sure if self.sure else 1.0

    @property
    def error_rate(self) -> float:
        """Alignment error rate, from 0 to 1; 0 is perfect."""
        total = self.links + self.sure
        return 1 - (self.right_sure + self.right_possible) / total if total else 0.0


def judge(links: Iterable[Link], gold: GoldLinks) -> AlignmentQuality:
    """The counts of one pair."""
    given = set(links)
    return AlignmentQuality(len(given), len(gold.sure), len(given & gold.sure), len(given & gold.possible))


def read_gold(text: Text) -> list[GoldLinks]:
    """The gold links of each line. Raises DataError for an invalid link."""
    parsed = [_parse(text, row, "0-0 for a sure link, 0?0 or 0p0 for a possible one") for row in range(len(text.lines))]
    return [
        GoldLinks(
            frozenset(link for link, kind in line if kind == "-"),
            frozenset(link for link, _ in line),
        )
        for line in parsed
    ]


def read_links(text: Text) -> list[list[Link]]:
    """The links of each line. Raises DataError for an invalid link."""
    hint = "0-0 1-2 …, source and target words counted from 0"
    parsed = [_parse(text, row, hint, kinds="-") for row in range(len(text.lines))]
    return [[link for link, _ in line] for line in parsed]


def _parse(text: Text, row: int, form: str, kinds: str = "-?p") -> list[tuple[Link, str]]:
    links = []
    for part in text.lines[row].split():
        match = _LINK.fullmatch(part)
        if match is None or match[2] not in kinds:
            raise DataError(f"{text.name}, line {row + 1}: {part[:40]} is not a link", f"write {form}")
        links.append(((int(match[1]), int(match[3])), match[2]))
    return links
