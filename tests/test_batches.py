"""Batches: every pair once an epoch, never over the budget, the same order for the same seed and epoch."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.errors import UserError
from nmtcli.train.batches import BatchPlan, make_batch
from nmtcli.vocabulary import BOS, EOS, PAD


@dataclass
class Corpus:
    """Lengths in the place of shards."""

    source_lengths: np.ndarray
    target_lengths: np.ndarray

    def __len__(self):
        return len(self.source_lengths)


pairs = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=200)


def plan(lengths, batch_tokens=60, update_tokens=None, seed=1):
    sides = np.array(lengths, dtype=np.int32)
    return BatchPlan(Corpus(sides[:, 0], sides[:, 1]), batch_tokens, update_tokens, seed)


@given(pairs, st.integers(21, 200), st.one_of(st.none(), st.integers(1, 300)), st.integers(0, 5))
def test_an_epoch_visits_each_pair_once_within_the_budget(lengths, budget, update_tokens, epoch):
    updates = plan(lengths, budget, update_tokens).epoch(epoch)
    batches = [batch for update in updates for batch in update]
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(max(lengths[row]) + 1 for row in batch) <= budget
    assert all(updates)


@given(pairs)
def test_the_order_is_a_function_of_seed_and_epoch(lengths):
    def order(seed, epoch):
        return [batch.tolist() for update in plan(lengths, seed=seed).epoch(epoch) for batch in update]

    assert order(1, 0) == order(1, 0)


def test_epochs_and_seeds_differ():
    lengths = [(n % 9 + 1, n % 7 + 1) for n in range(300)]
    orders = {str([b.tolist() for u in plan(lengths, seed=s).epoch(e) for b in u]) for s in (1, 2) for e in (0, 1)}
    assert len(orders) == 4


def test_updates_gather_batches_to_about_the_tokens_asked_for():
    lengths = [(n % 9 + 1, n % 7 + 1) for n in range(2000)]
    updates = plan(lengths, batch_tokens=100, update_tokens=400).epoch(0)
    tokens = [sum(lengths[row][1] + 1 for batch in update for row in batch) for update in updates]
    assert 350 < np.mean(tokens) < 450
    assert max(tokens) <= 400 + 100


def test_a_budget_too_small_for_the_longest_pair_is_refused():
    with pytest.raises(UserError, match="batch_tokens is 20, but the longest training pair has 31") as error:
        plan([(3, 3), (30, 2)], batch_tokens=20)
    assert "train.batch_tokens=31" in error.value.hint


def test_a_batch_is_padded_and_framed():
    batch = make_batch([np.array([7, 8, 9]), np.array([7])], [np.array([5]), np.array([5, 6])])
    assert batch.source.tolist() == [[7, 8, 9, EOS], [7, EOS, PAD, PAD]]
    assert batch.source_length.tolist() == [4, 2]
    assert batch.target_input.tolist() == [[BOS, 5, PAD], [BOS, 5, 6]]
    assert batch.target_output.tolist() == [[5, EOS, PAD], [5, 6, EOS]]
    assert batch.target_tokens == 5


def test_padding_is_little_on_mixed_lengths():
    random = np.random.default_rng(0)
    source = random.lognormal(2.5, 0.5, 5000).astype(int).clip(1, 60)
    target = (source * random.normal(1, 0.15, 5000)).astype(int).clip(1, 60)
    lengths = np.stack([source, target], axis=1)
    batches = [batch for (batch,) in plan(lengths, batch_tokens=1000).epoch(0)]
    real = (lengths + 1).sum()
    padded = sum(len(batch) * (lengths[batch].max(axis=0) + 1).sum() for batch in batches)
    assert 1 - real / padded < 0.1
