"""From what the search found for the parts of a line to translations of the line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nmtcli.data.tokenizer import Tokenizers
from nmtcli.data.words import NO_WORD, raw_words, surfaces, word_numbers
from nmtcli.metrics.alignment import word_links
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.long_lines import joint
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.translation import Candidate, without_controls
from nmtcli.translate.unknown import replacements
from nmtcli.vocabulary import UNK


@dataclass(frozen=True)
class EncodedLine:
    """A line, its tokens, and where they were cut: `cuts` is [0, …, len(tokens)], [0, 0] for a line without tokens."""

    text: str
    tokens: list[int]
    cuts: list[int]

    @cached_property
    def parts(self) -> list[list[int]]:
        """The tokens of each part; none for a line without tokens."""
        return [self.tokens[begin:end] for begin, end in pairwise(self.cuts) if end > begin]


@dataclass(frozen=True)
class Assembler:
    """Puts together the translations of one line."""

    tokenizers: Tokenizers
    line: EncodedLine
    dictionary: Mapping[str, str] | None  # see `LineHandling`
    keep_attention: bool
    keep_alignment: bool
    attention_name: str = ""
    raw: str = ""  # the line as it was read; in `line` control characters are blanks

    def candidates(self, found: Sequence[Sequence[Hypothesis]]) -> tuple[Candidate, ...]:
        """Best first. `found` has the hypotheses of each part; the r-th translation joins the r-th of each."""
        return tuple(self._candidate(parts) for parts in zip(*found, strict=False))

    def _candidate(self, parts: Sequence[Hypothesis]) -> Candidate:
        score, log_prob = sum(part.score for part in parts), sum(part.log_prob for part in parts)
        weights = [_weights(part, len(ids)) for part, ids in zip(parts, self.line.parts, strict=True)]
        text, words = "", []
        for part, drawn, columns in zip(parts, weights, self._columns, strict=True):
            new, numbers, count = self._part(part, drawn, columns)
            between = joint(text, new)
            before = len(text.split(" ")) if text else 0
            if between == "" and text and count:
                before -= 1  # its first word goes on with the last one
            text += between + new
            words += [*(number + before for number in numbers), NO_WORD]
        joined = _blocks(weights) if self.keep_attention or self.keep_alignment else None
        attention = self._attention(parts, joined, text) if joined is not None and self.keep_attention else None
        links = None
        if joined is not None and self.keep_alignment:
            found = word_links(joined, [word for columns in self._columns for word in columns], words)
            links = tuple((self._raw_words[source], target) for source, target in found)
        return Candidate(text, score, log_prob, attention, links)

    @cached_property
    def _columns(self) -> list[list[int]]:
        """The source word of each token of each part, its EOS included."""
        if self.dictionary is None and not self.keep_alignment:
            return [[] for _ in self.line.parts]
        words = raw_words(self.tokenizers.source, self.line.text, self.line.tokens)
        return [[*words[begin:end], NO_WORD] for begin, end in pairwise(self.line.cuts) if end > begin]

    @cached_property
    def _raw_words(self) -> list[int]:
        """For each word of `line` the number of the word of the raw line that it is a part of."""
        raw = self.raw.split()
        return [number for number, word in enumerate(raw) for _ in without_controls(word).split()]

    def _part(
        self, part: Hypothesis, weights: NDArray[np.float32] | None, columns: Sequence[int]
    ) -> tuple[str, list[int], int]:
        """The text of a part, the word of each of its tokens but EOS, and how many words there are."""
        tokenizer, tokens = self.tokenizers.target, part.tokens[:-1]
        replaced: dict[int, str] = {}
        if self.dictionary is not None and weights is not None and UNK in tokens:
            replaced = replacements(tokens, weights, columns, self.line.text, self.dictionary)
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


def _weights(part: Hypothesis, tokens: int) -> NDArray[np.float32] | None:
    """The attention of a part without padding, [T, S]; EOS is counted on both sides."""
    if part.attention is None:
        return None
    return np.asarray(part.attention.tolist(), dtype=np.float32)[:, : tokens + 1]


def _blocks(weights: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """The attention of the parts along one diagonal, None where a model has none."""
    present = [block for block in weights if block is not None]
    if len(present) < len(weights):
        return None
    joined = np.zeros((sum(len(block) for block in present), sum(block.shape[1] for block in present)), np.float32)
    row = column = 0
    for block in present:
        joined[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return joined
