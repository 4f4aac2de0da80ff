"""The batches that a rank computes, update after update, from any position in the data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from nmtcli.config import TrainConfig
from nmtcli.data.batching import Sentences, cut
from nmtcli.data.directory import PreparedData
from nmtcli.data.shards import Rows
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.train.batches import Batch, BatchPlan, make_batch, share
from nmtcli.train.distributed import Ranks
from nmtcli.train.epochs import Purpose, seeds
from nmtcli.train.state import TrainState


class Feed:
    """One rank's share of the training data."""

    def __init__(self, data: PreparedData, settings: TrainConfig, ranks: Ranks) -> None:
        self.plan, self.ranks = BatchPlan.training(data, settings), ranks
        self.passes = 0.0  # over the data, so far
        self.subwords = None
        if settings.subword_sampling is not None:
            self.subwords = SubwordSampling(self.plan, data.tokenizers, settings.subword_sampling, settings.seed)

    def updates(self, state: TrainState) -> Iterator[list[Batch]]:
        """The batches of each update, from where `state` stands on; moves its epoch, block and position."""
        while True:
            blocks = self.plan.epochs.blocks(state.epoch)
            while state.block < blocks:
                updates = self.plan.block(state.epoch, state.block)
                while state.position < len(updates):
                    batches = self._load(updates[state.position], state)
                    state.position += 1
                    self.passes = state.epoch + (state.block + state.position / len(updates)) / blocks
                    yield batches
                state.block, state.position = state.block + 1, 0
            state.epoch, state.block = state.epoch + 1, 0

    def largest(self, state: TrainState) -> list[Batch]:
        """The batch of the block with the most tokens, as this rank gets it in an update of this batch alone.

        A rank without a pair of it gets the first one: all ranks must compile and fail alike.
        """
        rows = self.plan.largest(state.epoch, state.block)
        if self.plan.update_tokens is None:
            own = rows[self.ranks.rank :: self.ranks.size]
            rows = own if len(own) else rows[:1]
        return [self.plan.load(rows)] if len(rows) else []

    def one_pair(self) -> Batch:
        """A batch of one pair, for a rank that has none while others do."""
        return self.plan.load(np.zeros(1, np.int64))

    def _load(self, update: list[Rows], state: TrainState) -> list[Batch]:
        parts = share(update, self.ranks.rank, self.ranks.size)
        if self.subwords is None:
            return [self.plan.load(update[number][taken]) for number, taken in parts]
        place = (state.epoch, state.block, state.position)
        loaded = (self.subwords.load(update[number], (*place, number), taken) for number, taken in parts)
        return list(chain.from_iterable(loaded))


@dataclass(frozen=True)
class SubwordSampling:
    """Loads the batches of a plan with sampled segmentations: a pure function of the batch, its place and the seed."""

    plan: BatchPlan
    tokenizers: Tokenizers
    alpha: float  # as `Tokenizer.sample` takes it
    seed: int

    def load(self, rows: Rows, place: Sequence[int], taken: slice = slice(None)) -> list[Batch]:
        """The pairs `taken` of those at `rows`, sampled for the place of their batch (epoch, block, position, batch).

        Sampled sentences are longer than those the batch was planned for, so they may come as several batches, each
        within the budget. The loss is a sum over batches: this changes no update.
        """
        source_seed, target_seed = seeds(Purpose.SUBWORDS, self.seed, *place).generate_state(2).tolist()
        source, target = self.plan.shards.gather(rows)
        # all pairs are sampled, whichever are taken: each then comes alike whatever the number of ranks
        sources = self._sample(self.tokenizers.source, source, source_seed)[taken]
        targets = self._sample(self.tokenizers.target, target, target_seed)[taken]
        longest = np.array([max(len(s), len(t)) + 1 for s, t in zip(sources, targets, strict=True)])
        order = np.argsort(longest, kind="stable")
        bounds = cut(longest[order], self.plan.batch_tokens)
        return [
            make_batch(Sentences.of([sources[row] for row in part]), Sentences.of([targets[row] for row in part]))
            for part in np.split(order, bounds[1:-1])
        ]

    def _sample(self, tokenizer: Tokenizer, sentences: Sentences, seed: int) -> list[list[int]]:
        """Another segmentation of each sentence; the stored one where that alone would not fit a batch."""
        stored = sentences.rows()
        sampled = tokenizer.sample(stored, self.alpha, seed)
        fits = self.plan.batch_tokens - 1  # EOS counts
        return [new if len(new) <= fits else old for old, new in zip(stored, sampled, strict=True)]
