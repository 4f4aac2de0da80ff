"""Decoding settings: the effect of each on the search."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nmtcli.config import SearchConfig
from nmtcli.metrics.scores import expected_scores, score_sentences
from nmtcli.translate.decoding import decode, length_limits, search_options
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.translator import Translator
from tests.laws.tables import Table


def detokenize(rows):
    return [" ".join(f"w{token}" for token in row[:-1]) for row in rows]


def run(table, config, n_best=1, **more):
    lengths = [3, 5, 4]
    source, length = table.arrays([1, 2, 3], lengths)
    return decode(table, source, length, lengths, config, detokenize, n_best=n_best, **more)


def test_method_beam_is_beam_search_with_these_options():
    config = SearchConfig(
        beam_size=4,
        length_normalization="average",
        length_penalty=0.7,
        coverage_penalty=0.2,
        no_repeat_ngram=2,
        stopping="bound",
        beam_groups=2,
        beam_diversity=0.9,
        min_length=3,
        max_length_factor=1.5,
        max_length_offset=2,
    )
    expected = SearchOptions(4, 2, 0.7, True, "average", 0.2, 2, "bound", 2, 0.9)
    assert search_options(config, 2, keep_attention=True) == expected
    table = Table(12, 3, attends=True)
    found = run(table, config, 2, keep_attention=True)
    again = beam_search(table, *table.arrays([1, 2, 3], [3, 5, 4]), [6, 9, 8], expected, min_length=[3, 3, 3])
    assert [[h.tokens for h in own] for own in found] == [[h.tokens for h in own] for own in again]
    assert search_options(config, 7).beam_size == 8


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=9),
    shortest=st.integers(0, 20),
    share=st.integers(0, 30).map(lambda tenths: tenths / 10),
    longest=st.none() | st.integers(20, 60),
)
def test_the_smaller_of_absolute_and_relative_length_limit_applies(lengths, shortest, share, longest):
    config = SearchConfig(min_length=shortest, min_length_factor=share, max_length=longest)
    low, high = length_limits(config, lengths)
    assert low == [max(1, shortest, int(share * length)) for length in lengths]
    assert high == [min(2 * length + 10, longest or 1000) for length in lengths]


def test_method_sampling_returns_the_requested_number_of_samples():
    table = Table(30, 3, sharpness=1.0)
    config = SearchConfig(method="sampling", temperature=0.9, top_k=20, top_p=0.95, seed=4)
    found = run(table, config, 6)
    assert [len(own) for own in found] == [6, 6, 6]
    assert [[h.tokens for h in own] for own in run(table, config, 6)] == [[h.tokens for h in own] for own in found]
    moved = run(table, config, 6, numbers=[10, 1, 2])
    assert [h.tokens for h in moved[0]] != [h.tokens for h in found[0]]
    assert [h.tokens for h in moved[1]] == [h.tokens for h in found[1]]


@pytest.mark.parametrize("metric", ["chrf", "bleu"])
def test_method_mbr_returns_the_sample_most_similar_to_the_others(metric):
    table = Table(9, 3, sharpness=1.5)
    config = SearchConfig(method="mbr", mbr_samples=12, mbr_metric=metric, seed=2)
    drawn = run(table, SearchConfig(method="sampling", seed=2), 12)
    for own, best in zip(drawn, run(table, config, 3), strict=True):
        texts = detokenize(h.tokens for h in own)
        scores = [sum(score_sentences([text] * 12, texts, metric)) / 12 for text in texts]
        assert best[0].score == pytest.approx(max(scores))
        assert [h.score for h in best] == sorted((h.score for h in best), reverse=True)
        assert len({h.tokens for h in best}) == len(best)
        assert {h.log_prob for h in best} <= {h.log_prob for h in own}


def test_expected_scores_of_equal_and_similar_samples():
    assert expected_scores(["a b c d"] * 3) == pytest.approx([100.0] * 3)
    scores = expected_scores(["the cat sat", "the cat sits", "a dog"])
    assert scores.index(max(scores)) in {0, 1}
    assert scores[2] == min(scores)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_size": 5, "beam_groups": 2}, "not a multiple"),
        ({"min_length": 9, "max_length": 8}, "over max_length"),
        ({"temperature": 0.5}, "temperature needs method sampling or mbr"),
        ({"seed": 3}, "seed needs"),
        ({"method": "sampling", "beam_groups": 5}, "beam_groups needs method beam"),
        ({"method": "sampling", "mbr_samples": 9}, "mbr_samples needs method mbr"),
        ({"beam_diversity": 0.9}, "beam_diversity needs beam_groups 2 or more"),
        ({"method": "mbr", "coverage_penalty": 0.1}, "coverage_penalty needs method beam"),
    ],
)
def test_conflicting_decoding_settings_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        SearchConfig(**given)


@pytest.mark.parametrize("settings", [{"method": "sampling"}, {"method": "mbr", "mbr_samples": 4}, {"beam_groups": 2}])
def test_a_trained_model_translates_by_any_method(trained, settings):
    lines = ["one two three", "", "four"]

    def translate():
        search = {"beam_size": 2, **settings}
        translator = Translator.load(trained, "cpu", **search)
        return [[candidate.text for candidate in own.candidates] for own in translator.translate(lines, n_best=2)]

    found = translate()
    assert found == translate()
    assert found[1] == []
    assert found[0]
    assert found[2]


def test_samples_keep_their_random_order(trained):
    """Ranked by score, the first would be the best of n, not a sample."""
    translator = Translator.load(trained, "cpu", method="sampling")
    pools = [one.candidates for one in translator.translate(["one two three", "four five"] * 10, n_best=5)]
    scores = [[candidate.score for candidate in pool] for pool in pools]
    assert any(one != sorted(one, reverse=True) for one in scores)


def test_diverse_groups_return_a_translation_once(tiny_model):
    runtime = TorchRuntime(tiny_model(), torch.device("cpu"))
    source, length = runtime.array(np.array([[4, 5, 6]])), runtime.array(np.array([3]))
    options = SearchOptions(4, n_best=4, groups=4, diversity=1e-6)
    (pool,) = beam_search(runtime, source, length, [6], options)
    assert len({one.tokens for one in pool}) == len(pool)


def test_the_attention_of_a_hypothesis_is_a_copy(tiny_model):
    runtime = TorchRuntime(tiny_model(), torch.device("cpu"))
    source, length = runtime.array(np.array([[4, 5, 6]] * 8)), runtime.array(np.array([3] * 8))
    pools = beam_search(runtime, source, length, [6] * 8, SearchOptions(4, n_best=4, keep_attention=True))
    for hypothesis in chain.from_iterable(pools):
        assert isinstance(hypothesis.attention, np.ndarray)
        assert hypothesis.attention.base is None


@pytest.fixture
def broken(trained):
    """A model whose output layer has a weight that is no number."""
    translator = Translator.load(trained, "cpu")
    bias = torch.full((len(translator.tokenizers.target),), float("nan"))
    translator.runtime.model.output.bias = torch.nn.Parameter(bias)
    return translator


def test_a_model_that_gives_no_numbers_is_reported(broken):
    found, empty = broken.translate(["one two", ""])
    assert found.text == "" and found.problems == ("not-numbers",)
    assert empty.problems == ()


def test_minimum_bayes_risk_by_bleu_compares_characters_without_spaces():
    """As one word each, the three that share all but a character would have nothing in common."""
    samples = ["今日はとても良い天気です", "今日はとても良い天気だ", "今日は良い天気です", "猫", "猫"]
    by_word, by_character = (expected_scores(samples, "bleu", language) for language in ("", "ja"))
    assert samples[int(np.argmax(by_word))] == "猫"
    assert samples[int(np.argmax(by_character))] == samples[0]
