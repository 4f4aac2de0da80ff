"""Samples against the probabilities they are drawn from."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.translate.constraints import Phrase, Phrases
from nmtcli.translate.sampling import SamplingOptions
from nmtcli.translate.search import SearchOptions, sample
from nmtcli.vocabulary import BOS, EOS, SPECIAL
from tests.laws.tables import Table, every_translation

SIZE, LIMIT = SPECIAL + 2, 3


def draw(table, sentences, limits, sampling, numbers=None, **more):
    return sample(table, *table.arrays(sentences), limits, sampling, SearchOptions(), numbers or sentences, **more)


def cut(log_probs, sampling):
    """The distribution that one token is drawn from, written down plainly."""
    likeliest = sorted(range(EOS, len(log_probs)), key=lambda token: -log_probs[token])
    probabilities = {token: float(np.exp(log_probs[token] / sampling.temperature)) for token in likeliest}
    for token in likeliest[sampling.top_k :] if sampling.top_k else ():
        probabilities[token] = 0.0
    total, so_far = sum(probabilities.values()), 0.0
    for token in likeliest:
        if so_far >= sampling.top_p * total:
            probabilities[token] = 0.0
        so_far += probabilities[token]
    return {token: value / sum(probabilities.values()) for token, value in probabilities.items()}


def probability(table, sentence, tokens, sampling) -> float:
    history, total = BOS, 1.0
    for n, token in enumerate(tokens):
        total *= 1.0 if n + 1 == LIMIT else cut(table.row(sentence, history), sampling)[token]
        history = history * table.size + token
    return total


@pytest.mark.parametrize("as_torch", [False, True])
@pytest.mark.parametrize(
    "sampling",
    [
        SamplingOptions(4000),
        SamplingOptions(4000, temperature=0.5),
        SamplingOptions(4000, temperature=2.0, top_k=2),
        SamplingOptions(4000, top_p=0.7, seed=9),
        SamplingOptions(4000, top_k=3, top_p=0.8, temperature=1.5),
    ],
)
def test_sample_frequencies_are_model_probabilities(sampling, as_torch):
    """Chi-square over all translations: about their number, and with this seed well under five deviations above it."""
    table = Table(SIZE, seed=4, torch=as_torch, sharpness=1.0)
    for sentence, drawn in zip([1, 2], draw(table, [1, 2], [LIMIT, LIMIT], sampling), strict=True):
        counts = Counter(hypothesis.tokens for hypothesis in drawn)
        expected = {
            tokens: sampling.samples * probability(table, sentence, tokens, sampling)
            for tokens in every_translation(SIZE, LIMIT)
        }
        assert sum(expected.values()) == pytest.approx(sampling.samples)
        assert set(counts) <= {tokens for tokens, share in expected.items() if share}
        cells = [(counts[tokens], share) for tokens, share in expected.items() if share > 5]
        surprise = sum((count - share) ** 2 / share for count, share in cells)
        assert surprise < len(cells) + 5 * (2 * len(cells)) ** 0.5
        for hypothesis in drawn[:20]:  # the true log-probability, whatever was drawn from
            assert hypothesis.log_prob == pytest.approx(table.log_prob(sentence, hypothesis.tokens), abs=1e-4)


def test_the_first_sample_is_distributed_like_the_others():
    """Short translations end first; they must not be given first."""
    table = Table(SIZE, seed=4, sharpness=1.0)
    drawn = draw(table, [1] * 500, [5] * 500, SamplingOptions(8), numbers=list(range(500)))
    lengths = np.array([[len(hypothesis.tokens) for hypothesis in own] for own in drawn])
    error = lengths.std() / 500**0.5
    assert abs(lengths[:, 0].mean() - lengths.mean()) < 4 * error
    assert abs(lengths[:, -1].mean() - lengths.mean()) < 4 * error


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    numbers=st.lists(st.integers(0, 50), min_size=2, max_size=5),
    samples=st.integers(1, 5),
    temperature=st.sampled_from([0.5, 1.0]),
    top_p=st.sampled_from([0.6, 1.0]),
    top_k=st.sampled_from([None, 2]),
    prefixed=st.booleans(),
    as_torch=st.booleans(),
)
def test_samples_do_not_depend_on_the_batch(seed, numbers, samples, temperature, top_p, top_k, prefixed, as_torch):
    table = Table(9, seed, as_torch)
    sampling = SamplingOptions(samples, temperature, top_k, top_p, seed)
    sentences = list(range(len(numbers)))
    limits = [3 + 2 * n for n in sentences]
    constraints = [Phrases(prefix=(3, 4)) if prefixed and n % 2 else None for n in sentences]
    together = draw(table, sentences, limits, sampling, numbers, constraints=constraints)
    for n in sentences:
        row = slice(n, n + 1)
        (alone,) = draw(table, sentences[row], limits[row], sampling, numbers[row], constraints=constraints[row])
        assert [h.tokens for h in alone] == [h.tokens for h in together[n]]
        assert len(alone) == samples
        assert all(h.tokens[:2] == (3, 4) for h in alone if constraints[n])


def test_samples_depend_on_the_seed():
    table = Table(30, 1, sharpness=1.0)

    def tokens(seed, number=1):
        return [h.tokens for h in draw(table, [5], [20], SamplingOptions(4, seed=seed), [number])[0]]

    assert tokens(3) == tokens(3)
    assert tokens(3) != tokens(4)
    assert tokens(3) != tokens(3, number=2)


def test_samples_keep_length_limits_bans_and_no_repeat_ngram():
    table = Table(12, 1, sharpness=0.5)
    banned = Phrases((Phrase.of([(4,), (5, 6)], least=0, most=0),))
    (drawn,) = sample(
        table,
        *table.arrays([1]),
        [8],
        SamplingOptions(200),
        SearchOptions(no_repeat_ngram=2),
        [1],
        min_length=[3],
        constraints=[banned],
    )
    assert len(drawn) == 200
    for hypothesis in drawn:
        words = hypothesis.tokens[:-1]
        pairs = list(pairwise(words))
        assert 3 <= len(hypothesis.tokens) <= 8
        assert 4 not in words
        assert (5, 6) not in pairs
        assert len(set(pairs)) == len(pairs)


def test_phrases_cannot_be_required_of_samples():
    with pytest.raises(ValueError, match="required"):
        draw(Table(12, 1), [1], [8], SamplingOptions(2), constraints=[Phrases((Phrase.of([(4,)]),))])
