"""Assembly of the hypotheses of the parts of a line to translations of the line."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nmtcli.data.tokenizer import Tokenizers
from nmtcli.data.words import NO_WORD, raw_words, surfaces, word_numbers
from nmtcli.metrics.alignment import by_word, word_links
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.long_lines import UNSPACED, joint
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.translation import Candidate
from nmtcli.vocabulary import UNK


@dataclass(frozen=True)
class EncodedLine:
    """A line, its tokens, and the bounds of its parts: `cuts` is [0, …, len(tokens)]; [0, 0] without tokens.

    `tag`: the tokens of the language tag, which the line begins with, and each part.
    """

    text: str
    tokens: list[int]
    cuts: list[int]
    tag: tuple[int, ...] = ()

    @cached_property
    def parts(self) -> list[list[int]]:
        """The tokens of each part; none for a line without tokens."""
        bounds = [(begin, end) for begin, end in pairwise(self.cuts) if end > begin]
        return [[*(self.tag if begin else ()), *self.tokens[begin:end]] for begin, end in bounds]


@dataclass(frozen=True)
class Assembler:
    """Assembles the translations of one line."""

    tokenizers: Tokenizers
    line: EncodedLine
    dictionary: Mapping[str, str] | None  # see `LineHandling`
    keep_attention: bool
    keep_alignment: bool
    attention_name: str = ""
    keep_tokens: bool = False  # with the log-probability of each
    keep_pieces: bool = False  # the attention of text without blanks between words, too

    def candidates(self, choices: Iterable[Sequence[Hypothesis]]) -> tuple[Candidate, ...]:
        """The candidates of which each choice has a hypothesis of each part."""
        return tuple(map(self._candidate, choices))

    def _candidate(self, parts: Sequence[Hypothesis]) -> Candidate:
        weights = [_weights(part, len(ids)) for part, ids in zip(parts, self.line.parts, strict=True)]
        text = ""
        links: dict[int, int] = {}
        for part, part_weights, columns in zip(parts, weights, self._columns, strict=True):
            new, numbers, count = self._part(part, part_weights, columns)
            between = joint(text, new)
            before = len(text.split())
            if between == "" and text and count:
                before -= 1  # its first word continues the last one
            text += between + new
            if part_weights is not None and self.keep_alignment:
                first = min((word for word in columns if word != NO_WORD), default=0)
                own = [max(word - first, NO_WORD) for word in columns]  # a matrix of this part's words only
                for source, target in word_links(part_weights, own, [*numbers, NO_WORD]):
                    links.setdefault(target + before, source + first)
        blocks = [block for block in weights if block is not None]
        attends = len(blocks) == len(weights)
        shown = self.keep_attention or (self.keep_pieces and UNSPACED.search(self.line.text + text))
        return Candidate(
            text,
            sum(part.score for part in parts),
            sum(part.log_prob for part in parts),
            self._attention(parts, block_diagonal(blocks), text) if shown and attends else None,
            tuple((source, target) for target, source in links.items()) if self.keep_alignment and attends else None,
            self._tokens(parts) if self.keep_tokens else None,
        )

    def _tokens(self, parts: Sequence[Hypothesis]) -> tuple[tuple[str, float], ...]:
        """The pieces of the parts with the log-probability of each."""
        pieces = [piece for part in parts for piece in (*self.tokenizers.target.pieces(part.tokens[:-1]), "</s>")]
        return tuple(zip(pieces, [value for part in parts for value in part.token_log_probs or ()], strict=True))

    @cached_property
    def _columns(self) -> list[list[int]]:
        """The source word of each token of each part, with EOS."""
        if self.dictionary is None and not self.keep_alignment:
            return [[] for _ in self.line.parts]
        words = raw_words(self.tokenizers.source, self.line.text, self.line.tokens)
        tag = [NO_WORD] * len(self.line.tag)
        bounds = [(begin, end) for begin, end in pairwise(self.line.cuts) if end > begin]
        return [[*(tag if begin else ()), *words[begin:end], NO_WORD] for begin, end in bounds]

    def _part(
        self, part: Hypothesis, weights: NDArray[np.float32] | None, columns: Sequence[int]
    ) -> tuple[str, list[int], int]:
        """The text of a part, the word number of each token except EOS, and the number of words."""
        tokenizer, tokens = self.tokenizers.target, part.tokens[:-1]
        replaced: dict[int, str] = {}
        if self.dictionary is not None and weights is not None and UNK in tokens:
            line = self.line.text
            if self.line.tag:  # its first word, which is never a replacement
                line, columns = line.partition(" ")[2], [max(word - 1, NO_WORD) for word in columns]
            replaced = replacements(tokens, weights, columns, line, self.dictionary)
        if not replaced and not self.keep_alignment:
            return tokenizer.decode(tokens), [], 0
        written = surfaces(tokenizer, tokens, replaced)
        numbers, count = word_numbers(written)
        text = "".join(written).strip(" ")
        return text if replaced else tokenizer.decode(tokens), numbers, count

    def _attention(self, parts: Sequence[Hypothesis], weights: NDArray[np.float32], title: str) -> AttentionMap:
        source, target = self.tokenizers.source, self.tokenizers.target
        columns = [piece for ids in self.line.parts for piece in (*source.pieces(ids), "</s>")]
        rows = [piece for part in parts for piece in (*target.pieces(part.tokens[:-1]), "</s>")]
        return AttentionMap(columns, rows, weights, title, self.attention_name, self.line.text)


def replacements(
    ids: Sequence[int], weights: NDArray[np.float32], source: Sequence[int], line: str, dictionary: Mapping[str, str]
) -> dict[int, str]:
    """Replacements of UNK tokens, by position (Luong et al. 2015, "Addressing the Rare Word Problem", section 3).

    Each is the translation by `dictionary` of the most-attended source word, as written or in lower case, or the word.
    """
    attention = by_word(weights, source)  # [T, words]
    raw = line.split()
    if attention.shape[1] == 0:
        return {}
    chosen = {at: raw[int(attention[at].argmax())] for at, token in enumerate(ids) if token == UNK}
    return {at: dictionary.get(word, dictionary.get(word.lower(), word)) for at, word in chosen.items()}


def _weights(part: Hypothesis, tokens: int) -> NDArray[np.float32] | None:
    """The attention of a part without padding, [T, S], with EOS on both sides."""
    if part.attention is None:
        return None
    return np.asarray(part.attention.tolist(), dtype=np.float32)[:, : tokens + 1]


def block_diagonal(blocks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The attention weights of several parts as one matrix, with zeros between the parts."""
    joined = np.zeros((sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)), np.float32)
    row = column = 0
    for block in blocks:
        joined[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return joined


class Scored(Protocol):
    """What has a score for ranking."""

    @property
    def score(self) -> float:
        """The larger, the better."""


One = TypeVar("One", bound=Scored)


def combined(pools: Sequence[Sequence[One]], number: int, *, sampled: bool) -> list[tuple[One, ...]]:
    """At most `number` choices of one of each pool, with the largest sums of scores, best first; none of no pools.

    A member of a pool counts at most as much as those before it, which are closer to an unmet constraint. If they are
    `sampled`, in random order: the first of each pool, the second, and so on; the last of a pool that has fewer.
    """
    if not all(pools) or not pools:
        return []
    if sampled or len(pools) == 1:
        most = min(number, max(map(len, pools)))
        return [tuple(pool[min(rank, len(pool) - 1)] for pool in pools) for rank in range(most)]
    best: list[tuple[float, tuple[One, ...]]] = [(0.0, ())]
    for pool in pools:
        scores = accumulate((one.score for one in pool), min)
        ranked = list(zip(scores, pool, strict=True))
        sums = [
            (total + score, (*chosen, one))
            for rank, (total, chosen) in enumerate(best, 1)
            for score, one in ranked[: number // rank]  # of the others, `number` choices are at least as good
        ]
        best = heapq.nlargest(number, sums, key=lambda pair: pair[0])
    return [chosen for _, chosen in best]
