"""Token-budgeted batches of sentences of similar length, in an order that is a pure function of seed and epoch.

So a resume needs only the position (epoch, block, position), and little computation is spent on padding.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmtcli.config import TrainConfig
from nmtcli.config.section import settled
from nmtcli.data.batching import Sentences, cut, pad, training_length
from nmtcli.data.directory import PreparedData
from nmtcli.data.links import Links
from nmtcli.data.shards import Rows, Shards
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import UserError
from nmtcli.staging import write_whole
from nmtcli.train.distributed import Ranks
from nmtcli.train.epochs import Epochs, Purpose, corpus_weights
from nmtcli.vocabulary import BOS, EOS, PAD


@dataclass(frozen=True)
class Batch:
    """Sentence pairs as ids, padded. EOS ends a source; BOS opens a target's input and EOS ends its output."""

    source: Tensor  # [B, S]
    source_length: Tensor  # [B]
    target_input: Tensor  # [B, T]
    target_output: Tensor  # [B, T]
    target_tokens: int  # real target tokens, EOS counted; known on the host, so counting never waits for the device
    alignment: Tensor | None = None  # [B, T, S], as from `guide`, with guided alignment

    @property
    def cells(self) -> int:
        """Tokens on both sides, padding counted: what memory grows with."""
        return len(self.source) * (self.source.size(1) + self.target_input.size(1))

    def halves(self) -> "list[Batch]":
        """The batch as two, each with its own padding; itself if it has one pair. For a batch on the host."""
        middle = len(self.source) // 2
        return [self._part(part) for part in (slice(middle), slice(middle, None))] if middle else [self]

    def parts(self, count: int) -> "list[Batch]":
        """The batch as `count` with about the same tokens, or one a pair; padded like this one, for few shapes."""
        count = min(count, len(self.source))
        return [self] if count == 1 else [self._rows(slice(number, None, count)) for number in range(count)]

    def _rows(self, part: slice) -> "Batch":
        """These pairs with their padding."""
        tensors = {name: value[part] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors, target_tokens=int((tensors["target_output"] != PAD).sum()))

    def _part(self, part: slice) -> "Batch":
        length, output = self.source_length[part], self.target_output[part]
        real = output != PAD
        width, height = int(length.max()), int(real.sum(dim=1).max())
        alignment = None if self.alignment is None else self.alignment[part, :height, :width]
        return Batch(
            self.source[part, :width],
            length,
            self.target_input[part, :height],
            output[:, :height],
            int(real.sum()),
            alignment,
        )

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        if device.type == "cpu":
            return self

        moved: dict[str, Any] = {
            name: value.pin_memory().to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def make_batch(source: Sentences, target: Sentences, links: Links | None = None) -> Batch:
    """A batch of the given pairs, with their alignment where links are given."""
    padded_source, source_length = pad(source, after=EOS, padded_length=training_length)
    target_input, _ = pad(target, before=BOS, padded_length=training_length)
    target_output, target_length = pad(target, after=EOS, padded_length=training_length)
    return Batch(
        torch.from_numpy(padded_source),
        torch.from_numpy(source_length),
        torch.from_numpy(target_input),
        torch.from_numpy(target_output),
        int(target_length.sum()),
        None if links is None else torch.from_numpy(guide(links, target_output.shape[1], padded_source.shape[1])),
    )


def guide(links: Links, target_size: int, source_size: int) -> NDArray[np.float32]:
    """Target attention weights [B, T, S]: uniform over the source tokens that a target token is linked to.

    A target token without links has a row of zeros, and so has EOS: aligners leave it out, and a model can predict the
    end of a sentence without attention.
    """
    weights = np.zeros((len(links.counts), target_size, source_size), np.float32)
    weights[links.pair, links.positions[:, 1], links.positions[:, 0]] = 1
    weights /= np.maximum(weights.sum(axis=2, keepdims=True), 1)
    return weights


@dataclass(frozen=True)
class Updates(Sequence[list[Rows]]):
    """The updates of a block. Each is a list of batches, each batch the rows of its pairs."""

    rows: Rows  # of all batches
    bounds: NDArray[np.int64]  # where in `rows` each batch begins, and the end of the last
    order: NDArray[np.int64]  # of the batches
    starts: NDArray[np.int64]  # where in `order` each update begins, and the end of the last

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> list[Rows]:  # type: ignore[override]  # no slices
        if not 0 <= index < len(self):
            raise IndexError(index)
        batches = self.order[self.starts[index] : self.starts[index + 1]]
        return [self.rows[self.bounds[batch] : self.bounds[batch + 1]] for batch in batches]


@dataclass(frozen=True)
class BatchPlan:
    """Cuts the pairs of each block of an epoch into batches, and the batches into updates.

    A batch holds at most `batch_tokens` tokens: sentences times the longest side, EOS and padding counted. An update is
    one batch, or with `update_tokens` as many batches as have about that number of target tokens.
    """

    shards: Shards
    epochs: Epochs
    batch_tokens: int
    update_tokens: int | None
    guided: bool = False  # whether batches have alignments

    @classmethod
    def training(cls, data: PreparedData, settings: TrainConfig) -> "BatchPlan":
        """The plan of a training run. Raises UserError for settings that do not fit the data."""
        longest, batch_tokens = data.train.longest + 1, settled(settings.batch_tokens)
        if longest > batch_tokens:
            raise UserError(
                f"train.batch_tokens is {batch_tokens}, but the longest training pair has {longest} tokens",
                f"set train.batch_tokens={longest} or more, or prepare with a smaller data.cleaning.max_tokens",
            )
        corpora = data.manifest.corpora
        weights = corpus_weights(corpora, settings)
        sizes, names = [corpus.pairs for corpus in corpora], [corpus.name for corpus in corpora]
        epochs = Epochs(sizes, weights, settings.seed, names)
        return cls(data.train, epochs, batch_tokens, settings.update_tokens, settings.guided_alignment > 0)

    def block(self, epoch: int, number: int) -> Updates:
        """The updates of one block of an epoch."""
        rows = self.epochs.rows(epoch, number)
        source, target = self.shards.lengths(rows)
        lengths, which = np.unique(np.maximum(source, target) + 1, return_inverse=True)
        longest = np.array([training_length(int(length)) for length in lengths], np.int64)[which]
        difference = target - source
        # Within one longest side, from short targets over equal lengths to short sources, and back for the next: pairs
        # of a batch then have like lengths on both sides. Rows of the same lengths stay shuffled.
        forth = np.unique(longest, return_inverse=True)[1] % 2 == 1
        order = np.lexsort((np.where(forth, difference, -difference), longest))
        bounds = cut(longest[order], self.batch_tokens, few_shapes=True)
        tokens = np.diff(np.append(0, (target[order] + 1).cumsum(dtype=np.int64))[bounds])
        shuffled = self.epochs.random(Purpose.BATCHES, epoch, number).permutation(len(tokens))
        return Updates(rows[order], bounds, shuffled, self._group(tokens[shuffled]))

    def updates(self, epochs: int) -> int:
        """The number of updates in `epochs`, extrapolated from the first block by its share of the pairs."""
        first = self.block(0, 0)
        return max(1, round(len(first) * self.epochs.pairs(epochs) / max(1, len(first.rows))))

    def total_updates(self, settings: TrainConfig) -> int:
        """The number of updates of a run: the smaller one of `max_updates` and those of `max_epochs`."""
        updates = settled(settings.max_updates)
        return updates if settings.max_epochs is None else min(updates, self.updates(settings.max_epochs))

    def largest(self, epoch: int, block: int) -> Rows:
        """The batch of a block with the most tokens on both sides, padding counted."""
        return max((rows for update in self.block(epoch, block) for rows in update), key=self._cells)

    def _cells(self, rows: Rows) -> int:
        source, target = self.shards.lengths(rows)
        return len(source) * int(source.max() + target.max() + 2)

    def load(self, rows: Rows) -> Batch:
        """The pairs at `rows`."""
        links = Links.unpack(self.shards.links(rows)) if self.guided else None
        return make_batch(*self.shards.gather(rows), links)

    def _group(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first batch of each update, and the end of the last, from the target tokens of each batch."""
        if self.update_tokens is None:
            return np.arange(len(tokens) + 1)
        group = (tokens.cumsum() - tokens / 2) // self.update_tokens
        return np.append(np.flatnonzero(np.diff(group, prepend=-1)), len(tokens))


def share(batches: Sequence[Rows], rank: int, ranks: int) -> list[tuple[int, slice]]:
    """The part of an update that one of several processes computes: batches by number, and which of their pairs.

    Batches are dealt out whole as long as each process gets one; of the rest, and of an update of few batches, each of
    n processes takes every n-th pair. Pairs lie in the order of their lengths, so all parts have about the same tokens.
    All parts together are the update, whatever the number of processes.
    """
    dealt = len(batches) // ranks * ranks
    parts = [(number, slice(None)) for number in range(rank, dealt, ranks)]
    parts += [(number, slice((rank + number) % ranks, None, ranks)) for number in range(dealt, len(batches))]
    return [(number, taken) for number, taken in parts if len(batches[number][taken])]


def write_pairs(path: Path, batches: Sequence[Batch], tokenizers: Tokenizers, ranks: Ranks) -> None:
    """Write the pairs of an update, of all ranks, as text in JSON lines, for inspection."""
    pairs = [
        {"source": tokenizers.source.decode(source), "target": tokenizers.target.decode(target)}
        for batch in batches
        for source, target in zip(batch.source.tolist(), batch.target_output.tolist(), strict=True)
    ]
    everyone = chain.from_iterable(ranks.gather(pairs))
    if ranks.first:
        write_whole(path, "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in everyone).encode("utf-8"))
