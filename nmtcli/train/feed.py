"""The batches that a rank computes, update after update, from any position in the data."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from nmtcli.config import TrainConfig
from nmtcli.data.directory import PreparedData
from nmtcli.data.shards import Rows
from nmtcli.train.batches import Batch, BatchPlan, share
from nmtcli.train.distributed import Ranks
from nmtcli.train.state import TrainState
from nmtcli.train.subwords import SubwordSampling


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
        """The batch of the block with the most tokens, as this rank gets it in an update of this batch alone."""
        rows = self.plan.largest(state.epoch, state.block)
        if self.plan.update_tokens is None:
            rows = rows[self.ranks.rank :: self.ranks.size]
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
