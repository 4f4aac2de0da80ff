"""Batches of sentences of similar length, and their arrays."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nmtcli.vocabulary import EOS, PAD


def length_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows in batches of similar length, longest first, each within the token budget with padding.

    Rows of one token (EOS of an empty sentence) are omitted; a row longer than the budget is a batch of its own.
    """
    rows = sorted((row for row, length in enumerate(lengths) if length > 1), key=lambda row: -lengths[row])
    start = 0
    while start < len(rows):
        count = max(1, budget // lengths[rows[start]])
        yield rows[start : start + count]
        start += count


def padded(sentences: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Source ids [B, S] with EOS and padding, and their lengths [B]."""
    length = np.array([len(sentence) + 1 for sentence in sentences], dtype=np.int64)
    source = np.full((len(sentences), int(length.max())), PAD, dtype=np.int64)
    for row, sentence in enumerate(sentences):
        source[row, : length[row]] = [*sentence, EOS]
    return source, length
