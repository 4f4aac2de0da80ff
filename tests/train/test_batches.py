"""Batches: each pair once an epoch, never over the budget, reproducible order."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.config import TrainConfig
from nmtcli.data.batching import Sentences, pad, training_length
from nmtcli.data.directory import open_data
from nmtcli.errors import UserError
from nmtcli.train.batches import BatchPlan, make_batch, share
from nmtcli.train.epochs import Epochs
from nmtcli.vocabulary import BOS, EOS, PAD


@dataclass
class Corpus:
    """Lengths in the place of shards."""

    sides: np.ndarray  # [rows, 2]

    def lengths(self, rows):
        return self.sides[rows, 0], self.sides[rows, 1]


pairs = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=200)


def plan(lengths, batch_tokens=60, update_tokens=None, seed=1, block_rows=10_000):
    epochs = Epochs([len(lengths)], [Fraction(1)], seed, chunk_rows=16, block_rows=block_rows)
    return BatchPlan(Corpus(np.array(lengths, dtype=np.int32)), epochs, batch_tokens, update_tokens)


def updates_of(batch_plan, epoch):
    return [update for block in range(batch_plan.epochs.blocks(epoch)) for update in batch_plan.block(epoch, block)]


def batches_of(batch_plan, epoch=0):
    return [batch for update in updates_of(batch_plan, epoch) for batch in update]


@given(pairs, st.integers(21, 200), st.one_of(st.none(), st.integers(1, 300)), st.integers(0, 5), st.integers(20, 300))
def test_an_epoch_visits_each_pair_once_within_the_budget(lengths, budget, update_tokens, epoch, block_rows):
    updates = updates_of(plan(lengths, budget, update_tokens, block_rows=block_rows), epoch)
    batches = [batch for update in updates for batch in update]
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(max(lengths[row]) + 1 for row in batch) <= budget
    assert all(updates)


@given(pairs)
def test_a_pair_over_the_budget_is_a_batch_of_its_own(lengths):
    for batch in batches_of(plan(lengths, batch_tokens=12)):
        assert len(batch) == 1 or len(batch) * max(max(lengths[row]) + 1 for row in batch) <= 12


@given(pairs)
def test_the_order_is_a_function_of_seed_and_epoch(lengths):
    one, other = ([batch.tolist() for batch in batches_of(plan(lengths, seed=1))] for _ in range(2))
    assert one == other


def test_epochs_and_seeds_differ_also_in_which_pairs_share_a_batch():
    lengths = [(n % 9 + 1, n % 7 + 1) for n in range(300)]
    batches = [batches_of(plan(lengths, seed=seed), epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert len({str(sorted(sorted(batch) for batch in epoch)) for epoch in batches}) == 4


def test_updates_accumulate_batches_to_update_tokens():
    lengths = [(n % 9 + 1, n % 7 + 1) for n in range(2000)]
    updates = updates_of(plan(lengths, batch_tokens=100, update_tokens=400), 0)
    tokens = [sum(lengths[row][1] + 1 for batch in update for row in batch) for update in updates]
    assert 350 < np.mean(tokens) < 450
    assert max(tokens) <= 400 + 100


@pytest.mark.parametrize("block_rows", [10_000, 500])
def test_the_number_of_updates_is_predicted(block_rows):
    lengths = [(n % 9 + 1, n % 7 + 1) for n in range(2000)]
    batch_plan = plan(lengths, batch_tokens=100, block_rows=block_rows)
    counted = sum(len(updates_of(batch_plan, epoch)) for epoch in range(3))
    assert batch_plan.updates(3) == pytest.approx(counted, rel=0.02)
    assert batch_plan.updates(1) == pytest.approx(len(updates_of(batch_plan, 0)), rel=0 if block_rows > 2000 else 0.02)


def test_updates_are_a_sequence():
    updates = plan([(3, 3)] * 100).block(0, 0)
    assert len(list(updates)) == len(updates)
    for index in (-1, len(updates)):
        with pytest.raises(IndexError):
            updates[index]


def test_a_budget_too_small_for_the_longest_pair_is_refused(data):
    prepared = open_data(data)
    longest = prepared.train.longest + 1
    message = f"batch_tokens is {longest - 1}, but the longest training pair has {longest}"
    with pytest.raises(UserError, match=message) as error:
        BatchPlan.training(prepared, TrainConfig(batch_tokens=longest - 1))
    assert f"train.batch_tokens={longest}" in error.value.hint
    BatchPlan.training(prepared, TrainConfig(batch_tokens=longest))


def test_a_batch_is_padded_and_framed():
    batch = make_batch(Sentences.of([[7, 8, 9], [7]]), Sentences.of([[5], [5, 6]]))
    assert batch.source.tolist() == [[7, 8, 9, EOS], [7, EOS, PAD, PAD]]
    assert batch.source_length.tolist() == [4, 2]
    assert batch.target_input.tolist() == [[BOS, 5, PAD], [BOS, 5, 6]]
    assert batch.target_output.tolist() == [[5, EOS, PAD], [5, 6, EOS]]
    assert batch.target_tokens == 5


@given(st.lists(st.lists(st.integers(4, 99), max_size=9), min_size=1, max_size=9), st.booleans(), st.booleans())
def test_padding_keeps_the_tokens(rows, begin, end):
    padded, lengths = pad(Sentences.of(rows), BOS if begin else None, EOS if end else None)
    framed = [[BOS] * begin + row + [EOS] * end for row in rows]
    assert [row[:length].tolist() for row, length in zip(padded, lengths, strict=True)] == framed
    assert (padded != PAD).sum() == sum(map(len, framed))
    assert padded.shape[1] == max(1, *map(len, framed))


def mixed_lengths(count):
    random = np.random.default_rng(0)
    source = random.lognormal(2.5, 0.5, count).astype(int).clip(1, 60)
    target = (source * random.normal(1, 0.15, count)).astype(int).clip(1, 60)
    return np.stack([source, target], axis=1)


def test_padding_is_little_on_mixed_lengths():
    lengths = mixed_lengths(5000)
    real = (lengths + 1).sum()
    padded = sum(
        len(batch) * sum(training_length(int(side) + 1) for side in lengths[batch].max(axis=0))
        for batch in batches_of(plan(lengths, 1000))
    )
    assert 1 - real / padded < 0.08


def shared(update, rank, ranks):
    return [update[number][taken] for number, taken in share(update, rank, ranks)]


@given(pairs, st.integers(1, 5), st.integers(1, 300))
def test_the_shares_of_all_ranks_are_the_update(lengths, ranks, update_tokens):
    for update in updates_of(plan(lengths, update_tokens=update_tokens), 0):
        shares = [shared(update, rank, ranks) for rank in range(ranks)]
        rows = [row for part in shares for batch in part for row in batch]
        assert sorted(rows) == sorted(row for batch in update for row in batch)
        assert all(len(batch) for part in shares for batch in part)


@pytest.mark.parametrize("update_tokens", [None, 16_000])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_the_shares_of_ranks_have_about_the_same_tokens(ranks, update_tokens):
    lengths = mixed_lengths(5000)
    for update in updates_of(plan(lengths, batch_tokens=4000, update_tokens=update_tokens), 0):
        tokens = [sum((lengths[b] + 1).sum() for b in shared(update, rank, ranks)) for rank in range(ranks)]
        whole = [(lengths[batch] + 1).sum() for batch in update]
        dealt = len(update) // ranks * (max(whole) - min(whole))  # batches are not all equally full
        assert max(tokens) - min(tokens) <= dealt + len(update) % ranks * 2 * (lengths.max() + 1)


@given(st.integers(1, 10_000))
def test_training_lengths_are_few_and_at_most_an_eighth_longer(length):
    padded = training_length(length)
    assert length <= padded <= length * 9 / 8
    assert training_length(padded) == padded
    octave = 2 ** (length - 1).bit_length()
    assert len({training_length(other) for other in range(octave // 2 + 1, octave + 1)}) <= 8


def test_batches_have_few_shapes():
    lengths = mixed_lengths(5000)
    bare = [batch for update in updates_of(plan(lengths, batch_tokens=1500), 0) for batch in update]
    assert sum(len(batch) % max(1, 2 ** len(batch).bit_length() // 16) != 0 for batch in bare) <= 1
    assert all(len(batch) * training_length(int(lengths[batch].max()) + 1) <= 1500 for batch in bare)
    shapes = {(len(batch), *(training_length(int(side) + 1) for side in lengths[batch].max(axis=0))) for batch in bare}
    assert len(shapes) <= len({tuple(lengths[batch].max(axis=0)) for batch in bare})


@given(pairs)
def test_both_halves_of_a_batch_are_the_batch(lengths):
    """The same pairs in the same order, no padding beyond their own longest, the same target tokens."""
    sides = zip(*lengths, strict=True)
    batch = make_batch(*(Sentences.of([[4 + row % 9] * n for row, n in enumerate(side)]) for side in sides))
    halves = batch.halves()
    assert len(halves) == min(2, len(lengths))
    assert sum(half.target_tokens for half in halves) == batch.target_tokens
    for name in ("source", "target_input", "target_output"):
        parts = [getattr(half, name) for half in halves]
        assert len(halves) == 1 or all((part != PAD).any(dim=0).all() for part in parts)
        width = getattr(batch, name).shape[1]
        padded = [torch.nn.functional.pad(part, (0, width - part.shape[1]), value=PAD) for part in parts]
        assert torch.equal(torch.cat(padded), getattr(batch, name))
    assert torch.equal(torch.cat([half.source_length for half in halves]), batch.source_length)
