"""An ensemble against its members, written down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.errors import UserError
from nmtcli.translate.ensemble import Ensemble
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.vocabulary import SPECIAL
from tests.laws.tables import Table, exhaustive
from tests.laws.test_constraint_laws import bounds, build, ends_in, phrase, within

SIZE = SPECIAL + 2


class Written:
    """The mean of tables, as a table."""

    def __init__(self, members, weights, mean):
        self.members, self.mean, self.size = members, mean, SIZE
        self.weights = np.array(weights) / np.sum(weights)

    def row(self, sentence, history):
        with np.errstate(divide="ignore"):
            rows = np.stack([member.row(sentence, history) for member in self.members]).astype(np.float64)
            if self.mean == "probability":
                return np.log(self.weights @ np.exp(rows))
            joint = np.exp(self.weights @ rows)
            return np.log(joint / joint.sum())

    log_prob = Table.log_prob


def build_ensemble(seed, kinds, weights, mean):
    members = [Table(SIZE, seed + n, as_torch, attends=n == 0) for n, as_torch in enumerate(kinds)]
    return Ensemble(members, weights, mean), Written(members, weights, mean)


def arrays(ensemble, sentences):
    # each member has a source of its own: other lengths, as of another tokenizer
    pairs = [
        member.arrays(sentences, [2 + n + place for n in range(len(sentences))])
        for place, member in enumerate(ensemble.members)
    ]
    return tuple(source for source, _ in pairs), tuple(length for _, length in pairs)


cases = {
    "seed": st.integers(0, 10_000),
    "kinds": st.lists(st.booleans(), min_size=1, max_size=3),
    "mean": st.sampled_from(["probability", "log_probability"]),
    "data": st.data(),
}


asked = st.tuples(st.just(()) | phrase, st.lists(bounds(), max_size=2)).filter(lambda case: not ends_in(*case))


@settings(max_examples=150, deadline=None)
@given(
    **cases,
    alpha=st.sampled_from([0.0, 0.6, 1.0]),
    kind=st.sampled_from(["gnmt", "average"]),
    stopping=st.sampled_from(["count", "best", "bound"]),
    wishes=st.lists(st.none() | asked, min_size=1, max_size=3),
)
def test_a_wide_beam_of_an_ensemble_finds_what_exhaustive_search_finds(
    seed, kinds, mean, data, alpha, kind, stopping, wishes
):
    """Alone and in batches, whatever each sentence must begin with, have and not have."""
    weights = [data.draw(st.sampled_from([0.2, 1.0, 3.0])) for _ in kinds]
    ensemble, written = build_ensemble(seed, kinds, weights, mean)
    sentences = [1 + 3 * n for n in range(len(wishes))]
    constraints = [None if wish is None else build(*wish) for wish in wishes]
    options = SearchOptions(200, n_best=5, length_penalty=alpha, length_normalization=kind, stopping=stopping)
    limits = [4] * len(wishes)
    results = beam_search(ensemble, *arrays(ensemble, sentences), limits, options, constraints=constraints)
    for sentence, wish, constraint, found in zip(sentences, wishes, constraints, results, strict=True):
        limit = max(4, constraint.shortest) if constraint else 4
        if limit > 5:
            assert all(hypothesis.satisfied == within(hypothesis.tokens, *wish) for hypothesis in found)
            continue
        allowed = (lambda tokens, wish=wish: within(tokens, *wish)) if wish else (lambda tokens: True)
        expected = exhaustive(written, sentence, limit, alpha, kind, allowed)[:5]
        obedient = [hypothesis for hypothesis in found if hypothesis.satisfied]
        assert [h.score for h in obedient] == pytest.approx([score for score, _ in expected], abs=1e-3)
        assert [h.tokens for h in obedient] == [tokens for _, tokens in expected]


@settings(max_examples=40, deadline=None)
@given(**cases)
def test_a_sentence_alone_is_translated_by_an_ensemble_as_in_a_batch(seed, kinds, mean, data):
    weights = [data.draw(st.sampled_from([0.5, 1.0])) for _ in kinds]
    ensemble, _ = build_ensemble(seed, kinds, weights, mean)
    source, length = arrays(ensemble, [1, 2, 3, 4])
    limits = [3, 9, 5, 7]
    options = SearchOptions(3, n_best=3, keep_attention=True)
    together = beam_search(ensemble, source, length, limits, options)
    for n in range(4):
        row = slice(n, n + 1)
        own = tuple(array[row] for array in source), tuple(array[row] for array in length)
        (alone,) = beam_search(ensemble, *own, limits[row], options)
        assert [h.tokens for h in alone] == [h.tokens for h in together[n]]
        assert alone[0].attention.shape == (len(alone[0].tokens), source[0].shape[1])  # the first member's source


def test_an_ensemble_of_equal_models_is_that_model():
    table = Table(20, 3)
    options = SearchOptions(4, n_best=4)
    (expected,) = beam_search(table, *table.arrays([1]), [9], options)
    for mean in ("probability", "log_probability"):
        ensemble = Ensemble([table, table, table], [1, 2, 5], mean)
        source, length = table.arrays([1])
        (found,) = beam_search(ensemble, (source,) * 3, (length,) * 3, [9], options)
        assert [h.tokens for h in found] == [h.tokens for h in expected]
        assert [h.log_prob for h in found] == pytest.approx([h.log_prob for h in expected], abs=1e-4)


def test_incompatible_ensembles_are_refused():
    one, other = Table(20, 3), Table(21, 3)
    for weights in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]):
        with pytest.raises(UserError, match="weight"):
            Ensemble([one, other], weights)
    source, length = one.arrays([1])
    with pytest.raises(UserError, match="20, 21 tokens"):
        beam_search(Ensemble([one, other]), (source, source), (length, length), [9], SearchOptions())
