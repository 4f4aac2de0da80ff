"""Byte pieces (byte fallback) in the search: translations have complete UTF-8 characters only.

The possible next bytes are those of well-formed UTF-8 (Unicode Standard, table 3-7). They depend on the last three
tokens, so hypotheses need no state.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# Multi-byte characters: ranges of the first and the second byte, and the number of bytes after the first.
_LEADS = (
    (0xC2, 0xDF, 0x80, 0xBF, 1),
    (0xE0, 0xE0, 0xA0, 0xBF, 2),
    (0xE1, 0xEC, 0x80, 0xBF, 2),
    (0xED, 0xED, 0x80, 0x9F, 2),
    (0xEE, 0xEF, 0x80, 0xBF, 2),
    (0xF0, 0xF0, 0x90, 0xBF, 3),
    (0xF1, 0xF3, 0x80, 0xBF, 3),
    (0xF4, 0xF4, 0x80, 0x8F, 3),
)
_CONTINUING = (0x80, 0xBF)
MAX_FOLLOWING = 3  # maximum number of bytes after the first byte of a character

Span = tuple[int, int]


class Vocabulary(Protocol):
    """The interface of a tokenizer."""

    @property
    def byte_pieces(self) -> NDArray[np.bool_]:
        """Which ids are byte pieces, [V]."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of pieces."""


class BytePieces:
    """The byte pieces of a target vocabulary, or of a shortlist."""

    def __init__(self, values: NDArray[np.int16]) -> None:
        """`values` [V] is the byte of each token, -1 for text."""
        self.values = values
        self._of_several = values >= 0x80  # [V], bytes of characters of several bytes

    @classmethod
    def of(cls, tokenizer: Vocabulary) -> "BytePieces | None":
        """The byte pieces of a tokenizer; None if it has none."""
        values = np.full(len(tokenizer.byte_pieces), -1, dtype=np.int16)
        ids = tokenizer.byte_pieces.nonzero()[0].tolist()
        values[ids] = [int(piece[3:5], 16) for piece in tokenizer.pieces(ids)]  # <0xC3>
        return cls(values) if ids else None

    def restricted_to(self, tokens: NDArray[np.int64]) -> "BytePieces":
        """The byte pieces of a vocabulary of these tokens, in this order."""
        return BytePieces(self.values[tokens])

    def prune(self, allowed: NDArray[np.bool_]) -> None:
        """Remove first bytes without a possible second byte from the `allowed` tokens [B, V] of each sentence."""
        for first, last, low, high, _ in _LEADS:
            leads, second = self._between(first, last), self._between(low, high)
            allowed[:, leads] &= allowed[:, second].any(axis=1, keepdims=True)

    @cached_property
    def misplaced(self) -> list[Span]:
        """Tokens that cannot start a character, as spans of ids."""
        begins = (self.values < 0x80) | np.isin(self.values, [*self._following])
        return _spans(np.flatnonzero(~begins))

    @cached_property
    def _following(self) -> dict[int, tuple[Span, int]]:
        """For each first byte with a possible second byte: the second bytes, and the number of following bytes."""
        return {
            byte: ((low, high), count)
            for first, last, low, high, count in _LEADS
            if len(self._between(low, high))
            for byte in range(first, last + 1)
        }

    @cached_property
    def too_long(self) -> list[NDArray[np.int64]]:
        """By the number of tokens that may follow, 0 to 2: the first bytes that need more."""
        return [
            np.flatnonzero(np.isin(self.values, [byte for byte, (_, count) in self._following.items() if count > left]))
            for left in range(MAX_FOLLOWING)
        ]

    def unfinished(self, tokens: NDArray[np.int64]) -> tuple[list[tuple[int, int]], NDArray[np.bool_]] | None:
        """The hypotheses of tokens [B, N, t] that end inside a character: K rows and slots, and the possible next
        tokens [K, V]; None if there are none.
        """
        parts = self._of_several[tokens[:, :, -1]]
        if not parts.any():
            return None
        places, masks = [], []
        for row, slot in np.argwhere(parts).tolist():
            span = self._awaited(tokens[row, slot, -MAX_FOLLOWING:].tolist())
            if span is not None:
                places.append((row, slot))
                masks.append((self.values >= span[0]) & (self.values <= span[1]))
        return (places, np.stack(masks)) if places else None

    def whole(self, tokens: Sequence[int]) -> list[int]:
        """The positions of tokens that are text or bytes of complete characters."""
        kept: list[int] = []
        partial: list[int] = []  # positions of an incomplete character
        span: Span | None = None
        left = 0
        for place, token in enumerate(tokens):
            byte = int(self.values[token])
            if span is not None and span[0] <= byte <= span[1]:
                partial.append(place)
                span, left = _CONTINUING, left - 1
                if left == 0:
                    kept += partial
                    span = None
                continue
            span = None
            if byte < 0x80:
                kept.append(place)
            elif byte in self._following:
                (span, left), partial = self._following[byte], [place]
        return kept

    def _awaited(self, last: Sequence[int]) -> Span | None:
        """The possible next bytes after the last tokens of a hypothesis; None if the character is complete."""
        for after, token in enumerate(reversed(last)):
            byte = int(self.values[token])
            if byte in self._following:
                span, count = self._following[byte]
                return None if after >= count else span if after == 0 else _CONTINUING
            if not 0x80 <= byte <= 0xBF:
                return None
        return None

    def _between(self, low: int, high: int) -> NDArray[np.int64]:
        return np.flatnonzero((self.values >= low) & (self.values <= high))


def _spans(ids: NDArray[np.int64]) -> list[Span]:
    """Sorted ids as half-open spans: filling a slice is much faster than indexing."""
    runs = np.split(ids, np.flatnonzero(np.diff(ids) != 1) + 1)
    return [(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
