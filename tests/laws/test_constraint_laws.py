"""Constrained search against exhaustive search, alone and in batches, on decoders of a few lines."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.translate.constraints import Phrase, Phrases, WordEdges, satisfies
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.vocabulary import EOS, SPECIAL
from tests.laws.tables import Table, every_translation, exhaustive, occurrences

SIZE = SPECIAL + 2  # the words 3, 4 and 5
phrase = st.lists(st.integers(3, SIZE - 1), min_size=1, max_size=2).map(tuple)


@st.composite
def bounds(draw):
    """Spellings, and how often they must and may occur."""
    least = draw(st.integers(0, 2))
    most = draw(st.none() | st.integers(least, 2))
    return draw(st.lists(phrase, min_size=1, max_size=2)), least, most


def ends(spellings, tokens) -> int:
    """At how many places one of the spellings ends; of two that end alike one is enough, and a shorter one hides a
    longer one that begins with it.
    """
    shown = [one for one in spellings if not any(other != one and one[: len(other)] == other for other in spellings)]
    return sum(
        any(tokens[: n + 1][-len(one) :] == one for one in shown if len(one) <= n + 1) for n in range(len(tokens))
    )


def within(tokens, prefix, wanted) -> bool:
    counts = [(ends(spellings, tokens[:-1]), least, most) for spellings, least, most in wanted]
    return tokens[: len(prefix)] == prefix and all(
        least <= n and (most is None or n <= most) for n, least, most in counts
    )


def build(prefix, wanted):
    return Phrases(tuple(Phrase.of(spellings, least, most) for spellings, least, most in wanted), prefix=prefix)


@settings(max_examples=300, deadline=None)
@given(prefix=st.just(()) | phrase, wanted=st.lists(bounds(), max_size=3))
def test_the_automaton_accepts_sequences_that_contain_all_phrases(prefix, wanted):
    constraint = build(prefix, wanted)
    for tokens in every_translation(SIZE, 5):
        # a forced beginning stands whatever is banned
        if ends_in(prefix, wanted):
            break
        assert satisfies(constraint, tokens) == within(tokens, prefix, wanted), tokens


def ends_in(prefix, wanted) -> bool:
    return any(most is not None and ends(spellings, prefix) > most for spellings, _, most in wanted)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 1.5]),
    kind=st.sampled_from(["gnmt", "average"]),
    cases=st.lists(st.none() | st.tuples(st.just(()) | phrase, st.lists(bounds(), max_size=2)), min_size=1, max_size=4),
    as_torch=st.booleans(),
)
def test_a_constrained_beam_wide_enough_finds_what_exhaustive_search_finds(seed, alpha, kind, cases, as_torch):
    cases = [None if case and ends_in(*case) else case for case in cases]
    table = Table(SIZE, seed, as_torch)
    options = SearchOptions(200, n_best=5, length_penalty=alpha, length_normalization=kind)
    sentences = [5 * n + 1 for n in range(len(cases))]
    constraints = [build(*case) if case else None for case in cases]
    limits = [4 + n % 2 for n in range(len(cases))]
    results = beam_search(table, *table.arrays(sentences), limits, options, constraints=constraints)
    for sentence, limit, case, constraint, found in zip(sentences, limits, cases, constraints, results, strict=True):
        limit = max(limit, constraint.shortest) if constraint else limit  # noqa: PLW2901
        if limit > 6:
            assert all(hypothesis.satisfied == within(hypothesis.tokens, *case) for hypothesis in found)
            continue
        allowed = (lambda tokens, case=case: within(tokens, *case)) if case else (lambda tokens: True)
        expected = exhaustive(table, sentence, limit, alpha, kind, allowed)[:5]
        if expected:
            assert [h.tokens for h in found if h.satisfied] == [tokens for _, tokens in expected]
            assert [h.score for h in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
        else:  # what comes closest is given, and said not to obey
            assert found
            assert not any(hypothesis.satisfied for hypothesis in found)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    beam=st.integers(1, 4),
    groups=st.sampled_from([1, 2]),
    cases=st.lists(st.none() | st.tuples(st.just(()) | phrase, st.lists(bounds(), max_size=3)), min_size=2, max_size=5),
    as_torch=st.booleans(),
)
def test_a_constrained_sentence_alone_is_translated_as_in_a_batch(seed, beam, groups, cases, as_torch):
    table = Table(9, seed, as_torch)
    options = SearchOptions(beam * groups, n_best=beam, groups=groups)
    source, length = table.arrays(list(range(len(cases))))
    constraints = [build(*case) if case else None for case in cases]
    limits = [8 + n for n in range(len(cases))]
    together = beam_search(table, source, length, limits, options, constraints=constraints)
    for n in range(len(cases)):
        row = slice(n, n + 1)
        (alone,) = beam_search(table, source[row], length[row], limits[row], options, constraints=constraints[row])
        assert [(h.tokens, h.satisfied) for h in alone] == [(h.tokens, h.satisfied) for h in together[n]]
        for hypothesis in alone:
            assert hypothesis.log_prob == pytest.approx(table.log_prob(n, hypothesis.tokens), abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    beam=st.integers(1, 5),
    required=st.lists(st.lists(st.integers(3, 29), min_size=1, max_size=4).map(tuple), min_size=1, max_size=4),
    prefix=st.lists(st.integers(3, 29), max_size=3).map(tuple),
)
def test_a_narrow_beam_finds_all_phrases_too(seed, beam, required, prefix):
    """The banks of dynamic beam allocation: what has come further is never crowded out."""
    table = Table(30, seed)
    constraint = build(prefix, [([one], 1, None) for one in required])
    (found,) = beam_search(table, *table.arrays([1]), [40], SearchOptions(beam), constraints=[constraint])
    (best,) = found
    assert best.satisfied
    assert best.tokens[: len(prefix)] == prefix
    assert all(occurrences(one, best.tokens) for one in required)


def test_whole_words_end_where_their_last_word_ends():
    haus, boot, comma, the, quote = range(4, 9)
    edges = WordEdges(frozenset({boot}), (EOS, 3, haus, comma, the, quote), frozenset({quote}))
    must = Phrases((Phrase.of([[haus]], whole=True),), edges)
    for tokens, expected in {
        (haus, EOS): True,
        (haus, comma, EOS): True,
        (the, haus, the, EOS): True,
        (haus, boot, EOS): False,
        (haus, boot, haus, EOS): True,
        (the, EOS): False,
    }.items():
        assert satisfies(must, tokens) == expected
    must_not = Phrases((Phrase(({haus: 1},), least=0, most=0, whole=True),), edges)
    inner = Phrases((Phrase(({the: 1, haus: 2}, {haus: 2}), least=0, most=0, whole=True, inner=1),), edges)
    for tokens, expected in {
        (the, EOS): True,
        (the, haus, boot, EOS): True,
        (haus, EOS): False,
        (haus, boot, haus, comma, EOS): False,
    }.items():
        assert satisfies(must_not, tokens) == expected
    assert not satisfies(inner, (comma, quote, haus, EOS))
    assert not satisfies(inner, (haus, EOS))
    assert satisfies(inner, (boot, haus, boot, EOS))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), as_torch=st.booleans())
def test_banned_words_are_never_produced_and_search_finds_alternatives(seed, as_torch):
    edges = WordEdges(frozenset({5}), (EOS, 3, 4))
    constraint = Phrases((Phrase(({4: 1},), least=0, most=0, whole=True),), edges)
    table = Table(SIZE, seed, as_torch)

    def allowed(tokens):
        return all(after == 5 for word, after in pairwise(tokens) if word == 4)

    (found,) = beam_search(table, *table.arrays([1]), [5], SearchOptions(200, n_best=200), constraints=[constraint])
    expected = exhaustive(table, 1, 5, 1.0, allowed=allowed)
    assert [h.tokens for h in found if h.satisfied] == [tokens for _, tokens in expected]


def test_a_forced_prefix_costs_one_row_a_step():
    table = Table(20, 1)
    options = SearchOptions(beam_size=8)
    beam_search(table, *table.arrays([1]), [30], options, constraints=[Phrases(prefix=(3, 4, 5, 6))])
    assert table.rows[:6] == [1, 1, 1, 1, 1, 8]


def test_a_length_limit_too_short_for_required_phrases_is_raised():
    table = Table(20, 1)
    constraint = build((7, 8), [([(3, 4, 5)], 2, None)])
    assert constraint.shortest == 2 + 6 + 1
    (found,) = beam_search(table, *table.arrays([1]), [2], SearchOptions(), constraints=[constraint])
    assert found[0].satisfied
    assert len(found[0].tokens) == 9


def test_required_phrases_may_repeat_an_ngram():
    table = Table(20, 1)
    constraint = build((9, 9), [([(5,)], 2, 2)])
    options = SearchOptions(no_repeat_ngram=1)
    (found,) = beam_search(table, *table.arrays([1]), [12], options, constraints=[constraint])
    words = found[0].tokens[2:-1]
    assert found[0].tokens[:2] == (9, 9)
    assert words.count(5) == 2
    assert len(set(words)) == len(words) - 1


def test_a_phrase_has_tokens():
    for spellings in ([], [()], [(3,), ()]):
        with pytest.raises(ValueError, match="without tokens"):
            Phrase.of(spellings)
    assert np.all(Phrase.of([(3, 4), (5,)]).remaining() == np.array([1, 1, 0]))
