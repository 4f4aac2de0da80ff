"""Token-budgeted, bucketed batches. The order of an epoch is a pure function of the seed and the epoch's number.

So a position (epoch, update) is all that a resume needs. Sentences of like length share a batch, and cost follows real
tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmtcli.errors import UserError
from nmtcli.prepare.shards import Shards
from nmtcli.vocabulary import BOS, EOS, PAD

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Sentence pairs as ids, padded. EOS ends a source; BOS opens a target's input and EOS ends its output."""

    source: Tensor  # [B, S]
    source_length: Tensor  # [B]
    target_input: Tensor  # [B, T]
    target_output: Tensor  # [B, T]
    target_tokens: int  # real target tokens, EOS counted; known on the host, so counting never waits for the device

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        if device.type == "cpu":
            return self

        def move(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True)

        return Batch(
            move(self.source),
            move(self.source_length),
            move(self.target_input),
            move(self.target_output),
            self.target_tokens,
        )


def make_batch(sources: Sequence[NDArray[np.integer]], targets: Sequence[NDArray[np.integer]]) -> Batch:
    """A batch of the given ids, without special ids, one array a sentence."""
    source, source_length = pad(sources, after=EOS)
    target_input, _ = pad(targets, before=BOS)
    target_output, target_length = pad(targets, after=EOS)
    return Batch(
        torch.from_numpy(source),
        torch.from_numpy(source_length),
        torch.from_numpy(target_input),
        torch.from_numpy(target_output),
        int(target_length.sum()),
    )


def pad(
    sentences: Sequence[NDArray[np.integer]], before: int | None = None, after: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids [B, L] padded with PAD, each sentence between `before` and `after`, and lengths [B]."""
    first = 0 if before is None else 1
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    total = lengths + first + (after is not None)
    padded = np.full((len(sentences), total.max(initial=1)), PAD, dtype=np.int64)
    for row, sentence in enumerate(sentences):
        padded[row, first : first + len(sentence)] = sentence
    if before is not None:
        padded[:, 0] = before
    if after is not None:
        padded[np.arange(len(sentences)), first + lengths] = after
    return padded, total


def longest_pair(shards: Shards) -> int:
    """Tokens of the longest side of any pair, EOS counted."""
    return 1 + max(int(shards.source_lengths.max(initial=0)), int(shards.target_lengths.max(initial=0)))


@dataclass(frozen=True)
class BatchPlan:
    """Cuts the pairs of a corpus into batches, and the batches into updates.

    A batch holds at most `batch_tokens` tokens: sentences times the longest side, EOS and padding counted. An update is
    one batch, or with `update_tokens` the batches that together have about so many target tokens.
    """

    shards: Shards
    batch_tokens: int
    update_tokens: int | None
    seed: int

    def __post_init__(self) -> None:
        """Refuse a budget that the longest pair does not fit."""
        longest = longest_pair(self.shards)
        if longest > self.batch_tokens:
            raise UserError(
                f"train.batch_tokens is {self.batch_tokens}, but the longest training pair has {longest} tokens",
                f"set train.batch_tokens={longest} or more, or prepare the data with a smaller data.max_tokens",
            )

    def epoch(self, epoch: int) -> list[list[Rows]]:
        """The updates of an epoch: for each update its batches, for each batch its rows in the corpus."""
        random = np.random.default_rng((self.seed, epoch))
        batches = self._cut(random.permutation(len(self.shards)))
        order = random.permutation(len(batches))
        return self._group([batches[index] for index in order])

    def load(self, rows: Rows) -> Batch:
        """The pairs at `rows`."""
        return make_batch([self.shards.source(int(r)) for r in rows], [self.shards.target(int(r)) for r in rows])

    def _cut(self, rows: Rows) -> list[Rows]:
        """Shuffled rows, sorted into buckets of like length (ties stay shuffled), cut at the budget."""
        source, target = self.shards.source_lengths[rows] // 2, self.shards.target_lengths[rows] // 2
        rows = rows[np.lexsort((source, target))]
        longest = np.maximum(self.shards.source_lengths[rows], self.shards.target_lengths[rows]).astype(np.int64) + 1
        batches, start = [], 0
        while start < len(rows):
            window = longest[start : start + self.batch_tokens // longest[start]]
            cost = np.maximum.accumulate(window) * np.arange(1, len(window) + 1)
            count = int(np.searchsorted(cost > self.batch_tokens, True))
            batches.append(rows[start : start + count])
            start += count
        return batches

    def _group(self, batches: list[Rows]) -> list[list[Rows]]:
        if self.update_tokens is None:
            return [[batch] for batch in batches]
        tokens = np.array([int((self.shards.target_lengths[batch] + 1).sum()) for batch in batches])
        group = (tokens.cumsum() - tokens / 2) // self.update_tokens
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        return [batches[a:b] for a, b in zip(starts, [*starts[1:], len(batches)], strict=True)]
