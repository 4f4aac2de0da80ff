"""Epochs: exact corpus weights in the long run, an order by seed, epoch and block."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.config import TrainConfig
from nmtcli.data.directory import CorpusSize
from nmtcli.errors import UserError
from nmtcli.train.epochs import Epochs, corpus_weights

weights = st.fractions(0, 3, max_denominator=12)
corpora = st.lists(st.tuples(st.integers(0, 60), weights), min_size=1, max_size=4)


def epochs_of(sizes_and_weights, seed=1, **limits):
    sizes, given_weights = zip(*sizes_and_weights, strict=True)
    return Epochs(sizes, given_weights, seed, **{"chunk_rows": 7, "block_rows": 25, **limits})


def rows(epochs, epoch):
    return [row for block in range(epochs.blocks(epoch)) for row in epochs.rows(epoch, block).tolist()]


@given(corpora, st.integers(1, 5))
def test_epochs_visit_each_pair_as_often_as_its_weight(sizes_and_weights, count):
    epochs = epochs_of(sizes_and_weights)
    visits = Counter(row for epoch in range(count) for row in rows(epochs, epoch))
    start = 0
    for size, weight in sizes_and_weights:
        own = [visits.pop(row, 0) for row in range(start, start + size)]
        assert sum(own) == int(count * weight * size)
        assert all(count * weight - 1 < number < count * weight + 1 for number in own)
        start += size
    assert not visits


@given(st.lists(st.integers(0, 100), min_size=1, max_size=4), st.integers(0, 5), st.integers(1, 30), st.integers(1, 99))
def test_an_epoch_without_weights_visits_each_pair_once(sizes, epoch, chunk_rows, block_rows):
    epochs = epochs_of([(size, Fraction(1)) for size in sizes], chunk_rows=chunk_rows, block_rows=block_rows)
    assert sorted(rows(epochs, epoch)) == list(range(sum(sizes)))


@given(corpora, st.integers(0, 3))
def test_a_block_is_a_function_of_seed_epoch_and_number(sizes_and_weights, epoch):
    one, other = epochs_of(sizes_and_weights), epochs_of(sizes_and_weights)
    for block in reversed(range(one.blocks(epoch))):
        assert one.rows(epoch, block).tolist() == other.rows(epoch, block).tolist()


def test_an_epoch_may_have_no_pairs():
    epochs = epochs_of([(1, Fraction(1, 2)), (1, Fraction(1, 2))])
    assert epochs.blocks(0) == 0
    assert epochs.rows(0, 0).tolist() == []
    assert sorted(rows(epochs, 1)) == [0, 1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), weights, st.integers(1, 6))
def test_parts_of_a_corpus_have_the_fractions_of_the_whole(sizes, weight, count):
    epochs = Epochs(sizes, [weight] * len(sizes), 1, ["law"] * len(sizes))
    assert epochs.pairs(1) == int(weight * sum(sizes))
    assert abs(epochs.pairs(count) - count * weight * sum(sizes)) < len(sizes)
    assert epochs.pairs(12) == 12 * weight * sum(sizes) or 12 % weight.denominator


def test_blocks_are_of_about_one_size():
    epochs = epochs_of([(1000, Fraction(1)), (300, Fraction(2))], block_rows=300)
    sizes = [len(epochs.rows(0, block)) for block in range(epochs.blocks(0))]
    assert len(sizes) == 6
    assert max(sizes) - min(sizes) <= 2 * 7


def test_epochs_and_seeds_differ_also_in_their_halves():
    orders = {str(rows(epochs_of([(300, Fraction(1))], seed=s), e)) for s in (1, 2) for e in (0, 1)}
    assert len(orders) == 4
    halves = epochs_of([(300, Fraction(1, 2))])
    assert {*rows(halves, 0), *rows(halves, 1)} == set(range(300))
    assert len({str(sorted(rows(halves, epoch))) for epoch in range(4)}) == 4


def test_every_pair_can_take_every_position():
    """The mean place of each row over many epochs is the middle."""
    epochs = epochs_of([(60, Fraction(1))], block_rows=60)
    places = np.mean([np.argsort(epochs.rows(epoch, 0)) for epoch in range(400)], axis=0)
    assert np.abs(places - 29.5).max() < 5 * 17.3 / 20  # five standard errors


SIZES = [CorpusSize(name="news", pairs=800), CorpusSize(name="talks", pairs=100), CorpusSize(name="empty", pairs=0)]


def weights_for(**settings):
    return corpus_weights(SIZES, TrainConfig(**settings))


def test_corpus_weights_default_to_one():
    assert weights_for(corpus_weights={"talks": 0.1}) == [1, Fraction(1, 10), 1]
    assert weights_for() == [1, 1, 1]


@given(st.floats(1, 100))
def test_temperature_keeps_the_pairs_and_flattens_the_shares(temperature):
    news, talks, empty = weights_for(corpus_temperature=temperature)
    assert float(news * 800 + talks * 100) == pytest.approx(900)
    assert float(news * 800 / (talks * 100)) == pytest.approx(8 ** (1 / temperature))
    assert empty == 0


def test_weights_of_unknown_corpora_are_refused_with_the_nearest():
    with pytest.raises(UserError) as error:
        weights_for(corpus_weights={"talk": 2, "qqq": 1})
    lines = error.value.message.splitlines()
    assert lines[0].endswith("there is no corpus talk; did you mean talks?")
    assert lines[1].endswith("there is no corpus qqq")
    assert error.value.hint == "the data has news, talks, empty"


def test_weights_that_leave_no_pairs_are_refused():
    for weight in (0, 1e-4):
        with pytest.raises(UserError, match="leaves no training pair"):
            weights_for(corpus_weights={"news": weight, "talks": 0})


def test_weights_that_round_every_corpus_to_nothing_are_refused():
    sizes = [CorpusSize(name=name, pairs=1) for name in ("a", "b")]
    with pytest.raises(UserError, match="no training pair"):
        corpus_weights(sizes, TrainConfig(corpus_weights={"a": 0.5, "b": 0.5}))
    assert corpus_weights([sizes[0]] * 2, TrainConfig(corpus_weights={"a": 0.5})) == [Fraction(1, 2)] * 2
