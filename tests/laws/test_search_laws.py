"""Beam search against exhaustive search, alone and in batches, on decoders of a few lines."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.errors import UserError
from nmtcli.models.protocol import Step
from nmtcli.translate.choosing import BeamChoice
from nmtcli.translate.constraints import Tracker
from nmtcli.translate.search import SearchOptions, beam_search, coverage, length_normalizer
from nmtcli.vocabulary import BOS, EOS, SPECIAL, UNK
from tests.laws.tables import Table, every_translation, exhaustive, occurrences


def search(table: Table, sentences: list[int], limits: list[int], options: SearchOptions, **more):
    return beam_search(table, *table.arrays(sentences), limits, options, **more)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 1.5]),
    kind=st.sampled_from(["gnmt", "average"]),
    stopping=st.sampled_from(["count", "best", "bound"]),
    limits=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    shortest=st.integers(1, 3),
    as_torch=st.booleans(),
)
def test_a_beam_wide_enough_finds_what_exhaustive_search_finds(seed, alpha, kind, stopping, limits, shortest, as_torch):
    table = Table(size=SPECIAL + 2, seed=seed, torch=as_torch)
    sentences = [7 * n + 1 for n in range(len(limits))]
    options = SearchOptions(200, n_best=5, length_penalty=alpha, length_normalization=kind, stopping=stopping)
    least = [min(shortest, limit) for limit in limits]
    results = search(table, sentences, limits, options, min_length=least)
    for sentence, limit, low, found in zip(sentences, limits, least, results, strict=True):
        expected = exhaustive(table, sentence, limit, alpha, kind, shortest=low)[:5]
        assert [hypothesis.tokens for hypothesis in found] == [tokens for _, tokens in expected]
        assert [hypothesis.score for hypothesis in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
        true = [table.log_prob(sentence, hypothesis.tokens) for hypothesis in found]
        assert [hypothesis.log_prob for hypothesis in found] == pytest.approx(true, abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 4),
    alpha=st.sampled_from([0.0, 1.0, 1.5]),
    kind=st.sampled_from(["gnmt", "average"]),
)
def test_later_stopping_finds_no_lower_score(seed, width, alpha, kind):
    table = Table(size=SPECIAL + 5, seed=seed)
    found = []
    for stopping in ("count", "best", "bound"):
        options = SearchOptions(width, length_penalty=alpha, length_normalization=kind, stopping=stopping)
        found.append([own[0].score for own in search(table, [1, 2, 3], [8, 9, 7], options)])
    for by_count, by_best, by_bound in zip(*found, strict=True):
        assert by_count <= by_best + 1e-5
        assert by_best <= by_bound + 1e-5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 3), as_torch=st.booleans())
def test_no_repeat_ngram_forbids_repetitions_only(seed, size, as_torch):
    table = Table(size=SPECIAL + 1, seed=seed, torch=as_torch)

    def once(tokens):
        words = tokens[:-1]
        return all(occurrences(words[n : n + size], words) == 1 for n in range(len(words) - size + 1))

    options = SearchOptions(100, n_best=100, no_repeat_ngram=size)
    for sentence, found in zip([1, 2], search(table, [1, 2], [5, 6], options), strict=True):
        limit = 4 + sentence
        expected = exhaustive(table, sentence, limit, 1.0, allowed=once)
        assert [hypothesis.tokens for hypothesis in found] == [tokens for _, tokens in expected]


@pytest.mark.parametrize("as_torch", [False, True])
@pytest.mark.parametrize("beam", [1, 4])
def test_a_search_that_cannot_go_on_without_repetition_ends(as_torch, beam):
    table = Table(size=SPECIAL + 2, seed=1, torch=as_torch)
    options = SearchOptions(beam, no_repeat_ngram=1)
    (found,) = search(table, [1], [20], options, min_length=[15])
    tokens = found[0].tokens[:-1]
    assert sorted(set(tokens)) == sorted(tokens) == [UNK, SPECIAL, SPECIAL + 1] and np.isfinite(found[0].score)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), beta=st.sampled_from([0.0, 0.2, 1.0]), as_torch=st.booleans())
def test_coverage_penalty_ranks_by_attended_source_tokens(seed, beta, as_torch):
    table = Table(size=SPECIAL + 1, seed=seed, torch=as_torch, attends=True)
    lengths = [3, 5]
    options = SearchOptions(60, n_best=60, coverage_penalty=beta)
    results = beam_search(table, *table.arrays([1, 2], lengths), [4, 4], options)
    for sentence, length, found in zip([1, 2], lengths, results, strict=True):
        expected = []
        for tokens in every_translation(table.size, 4):
            history, got = BOS, np.zeros(length)
            for token in tokens:
                got += table.attention(sentence, history, length, length)
                history = history * table.size + token
            penalty = beta * np.log(np.minimum(np.maximum(got, 1e-6), 1)).sum()
            expected.append((table.log_prob(sentence, tokens) / length_normalizer(len(tokens), 1.0) + penalty, tokens))
        expected.sort(reverse=True)
        assert [h.score for h in found] == pytest.approx([score for score, _ in expected], abs=1e-3)
        assert found[0].attention is None


def test_coverage_penalty_is_zero_where_all_tokens_are_attended():
    assert coverage(np.array([[1.0, 0.2], [0.5, 0.8], [0.0, 0.7]]), 2) == 0
    assert math.isclose(coverage(np.array([[0.5, 0.25, 0.25]]), 2), math.log(0.5) + math.log(0.25))
    with pytest.raises(UserError, match="attention"):
        search(Table(8, 1), [1], [4], SearchOptions(coverage_penalty=0.1))


FEATURES = [
    {},
    {"stopping": "bound"},
    {"no_repeat_ngram": 1},
    {"coverage_penalty": 0.3},
    {"length_normalization": "average"},
    {"groups": 2, "diversity": 0.7},
    {"groups": 3, "diversity": 2.0, "stopping": "bound", "n_best": 4},
]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    beam=st.integers(1, 3),
    count=st.integers(1, 6),
    features=st.sampled_from(FEATURES),
    as_torch=st.booleans(),
)
def test_a_sentence_alone_is_translated_as_in_any_batch(seed, beam, count, features, as_torch):
    table = Table(size=9, seed=seed, torch=as_torch, attends=True)
    beam *= features.get("groups", 1)
    options = SearchOptions(**{"beam_size": beam, "n_best": beam, **features})
    limits = [3 + n for n in range(count)]
    source, length = table.arrays(list(range(count)), [1 + n for n in range(count)])
    together = beam_search(table, source, length, limits, options)
    rows = range(count)
    alone = [beam_search(table, source[n : n + 1], length[n : n + 1], limits[n : n + 1], options)[0] for n in rows]
    assert [[h.tokens for h in found] for found in together] == [[h.tokens for h in found] for found in alone]
    assert all(found for found in together)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), beam=st.integers(1, 4), as_torch=st.booleans())
def test_stopping_by_bound_never_scores_lower(seed, beam, as_torch):
    table = Table(size=9, seed=seed, torch=as_torch)
    count, bound = (
        search(table, [1, 2], [6, 9], SearchOptions(beam, n_best=1, stopping=stopping))
        for stopping in ("count", "bound")
    )
    long = search(table, [1, 2], [6, 9], SearchOptions(beam, n_best=beam, stopping="bound"))
    for early, late, most in zip(count, bound, long, strict=True):
        assert late[0].score >= early[0].score
        assert most[0].score == late[0].score


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), as_torch=st.booleans())
def test_diverse_beam_groups_avoid_tokens_of_earlier_groups(seed, as_torch):
    table = Table(size=12, seed=seed, torch=as_torch)
    lone = search(table, [1, 2], [4, 6], SearchOptions(2, n_best=2))
    apart = search(table, [1, 2], [4, 6], SearchOptions(4, n_best=4, groups=2, diversity=0.0))
    strong = search(table, [1, 2], [4, 6], SearchOptions(3, n_best=3, groups=3, diversity=100.0))
    for own, both, different in zip(lone, apart, strong, strict=True):
        # without diversity each group is a beam of its own, and what all find is returned once
        assert [h.tokens for h in both][: len(own)] == [h.tokens for h in own]
        assert len({h.tokens for h in both}) == len(both)
        assert len({h.tokens[0] for h in different if len(h.tokens) > 1}) == sum(len(h.tokens) > 1 for h in different)


def test_few_decoder_rows_are_computed_for_finished_hypotheses():
    """Finished sentences leave the batch, so a long one costs its own rows only."""
    lengths = np.random.default_rng(3).integers(1, 60, 40).tolist()
    table = Table(size=40, seed=1, sharpness=0.2)  # endings are rare: translations are as long as they may be
    options = SearchOptions(beam_size=4)
    search(table, list(range(40)), lengths, options)
    needed = sum(1 + 4 * (length - 1) for length in lengths)
    assert sum(table.rows) <= 1.15 * needed
    assert 40 * 4 * max(lengths) > 1.7 * needed  # what it would be if they stayed


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(1, 8))
def test_beam_size_one_is_greedy_search(seed, limit):
    table = Table(size=8, seed=seed)
    (hypothesis,) = search(table, [3], [limit], SearchOptions(beam_size=1))[0]
    history, tokens = BOS, []
    while not tokens or tokens[-1] != EOS:
        token = int(table.row(3, history).argmax()) if len(tokens) < limit - 1 else EOS
        history = history * table.size + token
        tokens.append(token)
    assert list(hypothesis.tokens) == tokens


def test_a_wider_beam_scores_no_lower_and_candidates_are_sorted():
    table = Table(size=12, seed=5)
    found = search(table, [1, 2], [8, 8], SearchOptions(beam_size=6, n_best=6, length_penalty=1.0))
    for hypotheses in found:
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis.tokens for hypothesis in hypotheses}) == len(hypotheses)


def test_a_short_candidate_list_is_not_padded():
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


def test_a_model_of_nan_probabilities_gives_no_hypothesis():
    source = np.ones((2, 1), dtype=np.int64)
    assert beam_search(Broken(), source, source[:, 0], [5, 5], SearchOptions()) == [[], []]


def test_length_normalizer_is_that_of_gnmt():
    assert length_normalizer(1, 0.7) == 1.0
    assert length_normalizer(7, 1.0) == 2.0
    assert math.isclose(length_normalizer(25, 0.6), (30 / 6) ** 0.6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1_000, 9_000),
    width=st.integers(1, 6),
    possible=st.sampled_from([1.0, 0.5, 0.01]),
    hypotheses=st.sampled_from([1.0, 0.7]),
    as_torch=st.booleans(),
)
def test_the_most_probable_continuations_of_a_large_vocabulary_are_chosen(
    seed, size, width, possible, hypotheses, as_torch
):
    generator = np.random.default_rng(seed)
    log_probs = generator.permutation(3 * width * size).reshape(3, width, size).astype(np.float32)
    log_probs[generator.random(log_probs.shape) > possible] = -np.inf
    prefix = generator.integers(0, size, (3, width)).astype(np.float32)
    prefix[generator.random(prefix.shape) > hypotheses] = -np.inf
    totals = log_probs + prefix[:, :, None]
    arrays = map(torch.from_numpy, (log_probs, prefix)) if as_torch else (log_probs, prefix)
    chosen = BeamChoice(width)(*arrays, [0, 1, 2], Tracker([None] * 3, width)).on_host()
    for row in range(3):
        expected = np.sort(totals[row], axis=None)[::-1][: 2 * width]
        np.testing.assert_array_equal(chosen.log_prob[row, 0], expected)
        np.testing.assert_array_equal(totals[row, chosen.parent[row, 0], chosen.token[row, 0]], expected)
