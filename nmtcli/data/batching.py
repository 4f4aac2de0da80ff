"""Batches of sentences of similar length, and their padding: for training, translation and scoring alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nmtcli.vocabulary import PAD


@dataclass(frozen=True)
class Sentences:
    """Ids of some sentences without BOS and EOS, one sentence after the other."""

    ids: NDArray[np.int64]  # [sum of lengths]
    lengths: NDArray[np.int32]  # [B]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Self:
        """The sentences whose ids are the given lists."""
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        return cls(np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum())), lengths)

    def rows(self) -> list[list[int]]:
        """A list of ids for each sentence."""
        ids, ends = self.ids.tolist(), self.lengths.cumsum().tolist()
        return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def select(self, rows: NDArray[np.bool_]) -> "Sentences":
        """Those sentences that are true in `rows` [B]."""
        if rows.all():
            return self
        return Sentences(self.ids[np.repeat(rows, self.lengths)], self.lengths[rows])


def length_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows in batches of similar length, longest first, each within the token budget with padding counted.

    Rows of length 0 or 1 (an empty sentence, with or without EOS) are left out; a row longer than the budget is a batch
    of its own.
    """
    rows = sorted((row for row, length in enumerate(lengths) if length > 1), key=lambda row: -lengths[row])
    start = 0
    while start < len(rows):
        count = max(1, budget // lengths[rows[start]])
        yield rows[start : start + count]
        start += count


def cut(longest: NDArray[np.integer], budget: int, few_shapes: bool = False) -> NDArray[np.int64]:
    """Start of each batch, and the end of the last, for pairs sorted by the length of their longer side, `longest`.

    A batch has at most `budget` tokens, pairs times the longest side; a pair longer than that is a batch of its own.
    With `few_shapes` the number of pairs is rounded down, by less than an eighth (see `training_length`).
    """
    bounds, start = [0], 0
    while start < len(longest):
        window = longest[start : start + max(1, budget // int(longest[start]))]
        # the last of a window is its longest, so the cost only grows
        fitting = np.searchsorted(window * np.arange(1, len(window) + 1), budget, side="right")
        count = max(1, int(fitting))
        start += count - count % _step(count) if few_shapes else count
        bounds.append(start)
    return np.array(bounds)


def pad(
    sentences: Sentences,
    before: int | None = None,
    after: int | None = None,
    padded_length: Callable[[int], int] = int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids [B, L] padded with PAD, each sentence between `before` and `after`, and lengths [B].

    L is `padded_length` of the longest.
    """
    first = 0 if before is None else 1
    lengths = sentences.lengths.astype(np.int64)
    total = lengths + first + (after is not None)
    padded = np.full((len(lengths), padded_length(int(total.max(initial=1)))), PAD, dtype=np.int64)
    inner = padded[:, first:]
    inner[np.arange(inner.shape[1]) < lengths[:, None]] = sentences.ids
    if before is not None:
        padded[:, 0] = before
    if after is not None:
        padded[np.arange(len(lengths)), first + lengths] = after
    return padded, total


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple


def training_length(length: int) -> int:
    """The length to which training batches are padded: up to 16 tokens exactly, up to 32 a multiple of 2, and so on.

    Batches then have few shapes. OneDNN generates code for each shape of a product, which takes longer than the product
    (a tenth of a second for each batch of a new shape) and stays in memory, some megabytes a shape.
    """
    return round_up(length, _step(length - 1))


def _step(number: int) -> int:
    """An eighth of the largest power of two that is at most `number`; at least 1."""
    return max(1, (1 << number.bit_length()) // 16)
