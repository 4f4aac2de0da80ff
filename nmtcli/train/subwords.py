"""Subword sampling: another segmentation of each training sentence each time it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmtcli.data.batching import Sentences, cut
from nmtcli.data.shards import Rows
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.train.batches import Batch, BatchPlan, make_batch
from nmtcli.train.epochs import Purpose, seeds


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
