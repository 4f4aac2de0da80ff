"""Word alignment: of given pairs by a model's attention, and its error rate against a gold alignment.

A word is what stands between blanks in the raw line; links are written in Pharaoh's format, `0-0 1-2 …`, source first,
counted from 0. A gold alignment has sure links, `0-0`, and possible ones, `0?1` or `0p1` (Och and Ney 2003).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nmtcli.errors import DataError
from nmtcli.prepare.tokenizer import Tokenizer
from nmtcli.score.texts import Text

Link = tuple[int, int]  # source word, target word
Numbers = NDArray[np.int64]

_LINK = re.compile(r"(\d{1,9})([-?p])(\d{1,9})", re.ASCII)


class Words:
    """Which words of a raw line the tokens of a tokenizer belong to."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

        @lru_cache(2**16)
        def size(word: str) -> int:
            return len(tokenizer.normalize(word).split())

        self._size = size

    def of_tokens(self, line: str, ids: Sequence[int]) -> Numbers | None:
        """The word of each token, [tokens]; None where it is not certain.

        Normalisation may split a word of the raw line, or leave nothing of it; a token may hold parts of two words.
        """
        tokens = np.array(ids, dtype=np.int64)
        if not tokens.size or self._tokenizer.over_blanks[tokens].any():
            return None
        starts = self._tokenizer.word_starts[tokens]
        starts[0] = True
        normal = starts.cumsum() - 1  # the word of the normalised line
        sizes = [self._size(word) for word in line.split()]
        words = np.repeat(np.arange(len(sizes)), sizes)
        return words[normal] if len(words) == normal[-1] + 1 else None


def word_links(weights: NDArray[np.float32], source: Numbers, target: Numbers) -> list[Link]:
    """For each target word the source word it drew on most, in the order of the target.

    `weights` [T, S] is the attention between tokens, both ends of sentence included; `source` [S - 1] and `target`
    [T - 1] are the words of the other tokens. What tokens of a word draw, and what is drawn from them, adds up. A word
    that looks at the end of the source more than at any word has no link.
    """
    drawn = np.zeros((int(target[-1]) + 1, int(source[-1]) + 2), dtype=np.float64)  # the last column is EOS
    columns = np.append(source, source[-1] + 1)
    np.add.at(drawn, (target[:, None], columns[None, :]), weights[: len(target), : len(columns)])
    best = drawn.argmax(axis=1)
    written = set(target.tolist())
    return [(int(best[word]), word) for word in sorted(written) if best[word] <= source[-1]]


def format_links(links: Iterable[Link]) -> str:
    """Pharaoh's format."""
    return " ".join(f"{source}-{target}" for source, target in links)


@dataclass(frozen=True)
class GoldLinks:
    """The gold alignment of a pair: sure links, and possible ones, which include the sure."""

    sure: frozenset[Link]
    possible: frozenset[Link]


@dataclass(frozen=True)
class AlignmentQuality:
    """An alignment beside a gold one (Och and Ney 2003, equation 20); adds up over pairs."""

    links: int = 0
    sure: int = 0  # links of the gold alignment
    right_sure: int = 0
    right_possible: int = 0

    def __add__(self, other: "AlignmentQuality") -> "AlignmentQuality":
        return AlignmentQuality(
            self.links + other.links,
            self.sure + other.sure,
            self.right_sure + other.right_sure,
            self.right_possible + other.right_possible,
        )

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
    """The links of one pair beside the gold ones."""
    found = set(links)
    return AlignmentQuality(len(found), len(gold.sure), len(found & gold.sure), len(found & gold.possible))


def read_gold(text: Text) -> list[GoldLinks]:
    """The gold links of each line. Raises DataError for what is none."""
    parsed = [_parse(text, row, "0-0 for a sure link, 0?0 or 0p0 for a possible one") for row in range(len(text.lines))]
    return [
        GoldLinks(
            frozenset(link for link, kind in line if kind == "-"),
            frozenset(link for link, _ in line),
        )
        for line in parsed
    ]


def read_links(text: Text) -> list[list[Link]]:
    """The links of each line. Raises DataError for what is none."""
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
