"""Subword sampling: reproducible, within the budget, the same sentences in other pieces."""

import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.data.batching import Sentences
from nmtcli.data.subword_sampling import UnigramSampler
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.train.batches import BatchPlan
from nmtcli.train.epochs import Epochs
from nmtcli.train.feed import SubwordSampling
from nmtcli.vocabulary import EOS
from tests.conftest import TINY, nmt, overrides, prepare_arguments

BUDGET = 60


@dataclass
class Corpus:
    """Pairs in the place of shards."""

    pairs: list[tuple[list[int], list[int]]]

    def gather(self, rows):
        sources, targets = zip(*(self.pairs[row] for row in rows), strict=True)
        return Sentences.of(sources), Sentences.of(targets)


class Doubling:
    """In the place of a tokenizer: each id may come twice, one after the other."""

    def sample(self, rows, alpha, seed):
        random = np.random.default_rng(seed)
        return [np.repeat(row, 1 + (random.random(len(row)) < alpha)).tolist() for row in rows]


SENTENCE = st.lists(st.integers(4, 10**6), min_size=1, max_size=50, unique=True)
PAIRS = st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=20)


def sampling(pairs, alpha=0.5, seed=1):
    plan = BatchPlan(Corpus(pairs), Epochs([len(pairs)], [Fraction(1)], seed), BUDGET, None)
    return SubwordSampling(plan, Tokenizers(Doubling(), Doubling()), alpha, seed)


def load(subwords, place):
    return subwords.load(np.arange(len(subwords.plan.shards.pairs)), place)


def unpadded(batches):
    """The ids of each pair."""
    return [
        (source[:length].tolist()[:-1], target[: target.tolist().index(EOS)].tolist())
        for batch in batches
        for source, length, target in zip(batch.source, batch.source_length, batch.target_output, strict=True)
    ]


def test_a_tokenizer_with_one_segmentation_is_refused_before_anything_is_written(corpus, tmp_path, capsys):
    data, run = tmp_path / "data", tmp_path / "run"
    assert nmt(*prepare_arguments(corpus, data), *overrides("data.tokenizer.type=char")) == 0
    assert nmt("train", data, "-o", run, *overrides(*TINY, "train.subword_sampling=0.1")) == 2
    assert "subword sampling needs a tokenizer of type unigram or bpe" in capsys.readouterr().err
    assert not run.exists()


@given(PAIRS)
def test_batches_stay_in_the_budget_and_sentences_stay_the_same(pairs):
    batches = load(sampling(pairs), (0, 0, 0, 0))
    assert all(batch.source.shape[0] * max(batch.source.shape[1], batch.target_output.shape[1]) <= BUDGET
               for batch in batches)  # fmt: skip
    singled = [tuple(list(dict.fromkeys(side)) for side in pair) for pair in unpadded(batches)]
    assert sorted(singled) == sorted(pairs)
    assert sum(batch.target_tokens for batch in batches) == sum(len(target) + 1 for _, target in unpadded(batches))


@given(PAIRS)
def test_a_resampled_sentence_over_the_budget_keeps_its_stored_pieces(pairs):
    for source, target in unpadded(load(sampling(pairs, alpha=1.0), (0, 0, 0, 0))):
        for side in (source, target):
            stored = list(dict.fromkeys(side))
            assert side == (stored if 2 * len(stored) + 1 > BUDGET else np.repeat(stored, 2).tolist())


def test_lattices_of_sentences_without_blanks_are_not_kept():
    pieces = {"a": 4, "b": 5, "ab": 6}
    sampler = UnigramSampler(pieces, dict.fromkeys(pieces.values(), -1.0))
    for length in (2, 2, 100, 200):
        assert len(sampler.sample("ab" * length, 0.5, random.Random(1))) >= length
    assert sampler._known_lattice.cache_info()[::3] == (1, 1)  # hits and size


def test_segmentation_samples_depend_on_seed_and_position():
    pairs = [(list(range(10, 30)), list(range(10, 30)))]
    places = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    drawn = [unpadded(load(sampling(pairs, seed=seed), place)) for seed in (1, 2) for place in places]
    again = [unpadded(load(sampling(pairs, seed=seed), place)) for seed in (1, 2) for place in places]
    assert drawn == again
    sides = {str(side) for ((source, target),) in drawn for side in (source, target)}
    assert len(sides) == 2 * len(drawn)  # also the two sides of a pair differ
