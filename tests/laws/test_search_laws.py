"""Beam search against exhaustive search, alone and in batches, on decoders of a few lines."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.models.protocol import Step
from nmtcli.translate.search import SearchOptions, beam_search, length_normalizer
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL


@dataclass
class Table:
    """A decoder whose next-token distribution depends on the sentence and on the whole prefix, by a hash."""

    size: int
    seed: int
    torch: bool = False

    def row(self, sentence: int, history: int) -> np.ndarray:
        logits = np.random.default_rng((self.seed, sentence, history)).normal(size=self.size) * 2
        logits[[PAD, BOS]] = -np.inf
        return (logits - np.log(np.exp(logits).sum())).astype(np.float32)

    def start(self, source, source_length):
        return {"sentence": source[:, 0]}, (source[:, 0] * 0,)

    def step(self, tokens, memory, cache):
        beam = tokens.shape[1]
        history = cache[0] * self.size + tokens.reshape(-1)
        rows = [self.row(int(memory["sentence"][n // beam]), int(h)) for n, h in enumerate(history)]
        log_probs = np.stack(rows).reshape(-1, beam, self.size)
        return Step(torch.from_numpy(log_probs) if self.torch else log_probs, (history,))


def search(table: Table, sentences: list[int], limits: list[int], options: SearchOptions):
    source = np.array(sentences)[:, None]
    length = np.ones(len(sentences), dtype=np.int64)
    if table.torch:
        return beam_search(table, torch.from_numpy(source), torch.from_numpy(length), limits, options)
    return beam_search(table, source, length, limits, options)


def exhaustive(table: Table, sentence: int, limit: int, alpha: float) -> list[tuple[float, tuple[int, ...]]]:
    """Every translation of at most `limit` tokens with its score, best first."""
    found = []
    words = range(EOS + 1, table.size)
    for length in range(1, limit + 1):
        for prefix in itertools.product(words, repeat=length - 1):
            tokens = (*prefix, EOS)
            history, total = BOS, np.float32(0)
            for token in tokens:
                total += table.row(sentence, history)[token]
                history = history * table.size + token
            found.append((float(total) / length_normalizer(length, alpha), tokens))
    return sorted(found, reverse=True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 1.5]),
    limits=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    as_torch=st.booleans(),
)
def test_a_beam_wide_enough_finds_what_exhaustive_search_finds(seed, alpha, limits, as_torch):
    table = Table(size=SPECIAL + 2, seed=seed, torch=as_torch)
    sentences = [7 * n + 1 for n in range(len(limits))]
    options = SearchOptions(beam_size=200, n_best=5, length_penalty=alpha)
    for sentence, limit, found in zip(sentences, limits, search(table, sentences, limits, options), strict=True):
        expected = exhaustive(table, sentence, limit, alpha)[:5]
        assert [hypothesis.tokens for hypothesis in found] == [tokens for _, tokens in expected]
        assert [hypothesis.score for hypothesis in found] == pytest.approx([score for score, _ in expected], abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), beam=st.integers(1, 6), count=st.integers(1, 6), as_torch=st.booleans())
def test_a_sentence_alone_is_translated_as_in_any_batch(seed, beam, count, as_torch):
    table = Table(size=9, seed=seed, torch=as_torch)
    options = SearchOptions(beam_size=beam, n_best=beam)
    limits = [3 + n for n in range(count)]
    together = search(table, list(range(count)), limits, options)
    alone = [search(table, [n], [limits[n]], options)[0] for n in range(count)]
    assert [[h.tokens for h in found] for found in together] == [[h.tokens for h in found] for found in alone]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(1, 8))
def test_a_beam_of_one_takes_the_likeliest_token_each_time(seed, limit):
    table = Table(size=8, seed=seed)
    (hypothesis,) = search(table, [3], [limit], SearchOptions(beam_size=1))[0]
    history, tokens = BOS, []
    while not tokens or tokens[-1] != EOS:
        token = int(table.row(3, history).argmax()) if len(tokens) < limit - 1 else EOS
        history = history * table.size + token
        tokens.append(token)
    assert list(hypothesis.tokens) == tokens


def test_a_wider_beam_lists_no_worse_first_and_scores_fall():
    table = Table(size=12, seed=5)
    found = search(table, [1, 2], [8, 8], SearchOptions(beam_size=6, n_best=6, length_penalty=1.0))
    for hypotheses in found:
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis.tokens for hypothesis in hypotheses}) == len(hypotheses)


def test_fewer_hypotheses_than_asked_are_not_made_up():
    table = Table(size=SPECIAL + 1, seed=0)  # two words, and one place before the end
    found = search(table, [1], [2], SearchOptions(beam_size=50, n_best=50))[0]
    assert sorted(h.tokens for h in found) == [(EOS,), (3, EOS), (4, EOS)]


@dataclass
class Broken:
    """A decoder gone wrong: all its numbers are NaN."""

    def start(self, source, source_length):
        return {}, (source[:, 0],)

    def step(self, tokens, memory, cache):
        return Step(np.full((*tokens.shape, 6), np.nan, dtype=np.float32), cache)


def test_a_broken_model_gives_no_hypothesis_and_ends():
    source = np.ones((2, 1), dtype=np.int64)
    assert beam_search(Broken(), source, source[:, 0], [5, 5], SearchOptions()) == [[], []]


def test_length_normalizer_is_that_of_gnmt():
    assert length_normalizer(1, 0.7) == 1.0
    assert length_normalizer(7, 1.0) == 2.0
    assert math.isclose(length_normalizer(25, 0.6), (30 / 6) ** 0.6)
