"""Byte fallback: every search produces complete UTF-8 characters only, with any options."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.constraints import Phrase, Phrases, WordEdges
from nmtcli.translate.ensemble import Ensemble
from nmtcli.translate.sampling import SamplingOptions
from nmtcli.translate.search import SearchOptions, beam_search, sample
from nmtcli.translate.shortlist import Candidates
from nmtcli.vocabulary import EOS, SPECIAL
from tests.laws.tables import Table, exhaustive

BYTES = [0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xED, 0x41, 0xF4, 0xC0]
FIRST = SPECIAL + 2  # the first byte, behind two words
VALUES = np.array([-1] * FIRST + BYTES, dtype=np.int16)
ID = {byte: FIRST + place for place, byte in enumerate(BYTES)}
E_ACUTE, EURO = (ID[0xC3], ID[0xA9]), (ID[0xE2], ID[0x82], ID[0xAC])


def spelled(tokens, values=VALUES) -> bytes:
    return b"".join(b"w" if values[token] < 0 else bytes([values[token]]) for token in tokens if token != EOS)


def is_whole(tokens) -> bool:
    try:
        spelled(tokens).decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=200)
@given(st.lists(st.integers(-1, 255) | st.sampled_from([0xC3, 0xE0, 0xED, 0xF0, 0xF4, 0x80, 0x9F, 0xA0]), max_size=9))
def test_repaired_bytes_equal_pythons_decoding(found):
    everything = BytePieces(np.array([-1] * SPECIAL + list(range(256)), dtype=np.int16))
    tokens = [SPECIAL + byte for byte in found]
    kept = [tokens[place] for place in everything.whole(tokens)]
    assert spelled(kept, everything.values).decode() == spelled(tokens, everything.values).decode("utf-8", "ignore")


def constraint(kind):
    edges = WordEdges(frozenset(ID.values()), (EOS, 3, 4, 5))
    banned = Phrases((Phrase(({ID[0xC3]: 1}, {ID[0xA9]: 2}), least=0, most=0, whole=True, inner=0),), edges)
    return {
        "none": None,
        "prefix": Phrases(prefix=EURO),
        "required": Phrases((Phrase.of([E_ACUTE], least=2),)),
        "banned": banned,
        "last byte banned": Phrases((Phrase.of([(ID[0xA9],)], 0, 0), Phrase.of([(ID[0x82],)], 0, 0))),
        "both": Phrases((Phrase.of([EURO]),), prefix=(4, *E_ACUTE)),
    }[kind]


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10_000),
    as_torch=st.booleans(),
    beam=st.integers(1, 4),
    groups=st.sampled_from([1, 2]),
    limits=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    repeat=st.integers(0, 2),
    shortest=st.integers(1, 4),
    kind=st.sampled_from(["none", "prefix", "required", "banned", "last byte banned", "both"]),
    ensemble=st.booleans(),
)
@example(359, False, 3, 1, [1, 5], 1, 1, "banned", False).via("a sample for which every next token is forbidden")
def test_every_search_makes_whole_characters(
    seed, as_torch, beam, groups, limits, repeat, shortest, kind, ensemble
):  # fmt: skip
    table = Table(len(VALUES), seed, as_torch)
    source, length = table.arrays(list(range(len(limits))))
    decoder = Ensemble([table, Table(len(VALUES), seed + 1, not as_torch)]) if ensemble else table
    if ensemble:
        other = Table(len(VALUES), seed + 1, not as_torch).arrays(list(range(len(limits))))
        source, length = (source, other[0]), (length, other[1])
    options = SearchOptions(
        beam * groups, beam, groups=groups, no_repeat_ngram=repeat, byte_pieces=BytePieces(VALUES)
    )  # fmt: skip
    shared = [constraint(kind)] * len(limits)
    least = [min(shortest, limit) for limit in limits]
    found = beam_search(decoder, source, length, limits, options, min_length=least, constraints=shared)
    if kind in ("none", "banned", "last byte banned"):
        drawn = SamplingOptions(beam, top_k=3, seed=seed)
        found += sample(
            decoder, source, length, limits, drawn, options, range(len(limits)), min_length=least, constraints=shared
        )
        assert all(len(pool) == beam for pool in found[len(limits) :])
    assert all(found)
    assert all(is_whole(one.tokens) for pool in found for one in pool)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), limit=st.integers(1, 4), as_torch=st.booleans())
def test_a_beam_wide_enough_finds_the_best_of_whole_characters(seed, limit, as_torch):
    table = Table(len(VALUES), seed, as_torch)
    options = SearchOptions(400, 5, byte_pieces=BytePieces(VALUES))
    (found,) = beam_search(table, *table.arrays([1]), [limit], options)
    expected = exhaustive(table, 1, limit, 1.0, allowed=is_whole)[:5]
    assert [one.tokens for one in found] == [tokens for _, tokens in expected]


def test_a_shortlist_starts_no_character_that_it_cannot_complete():
    pieces = BytePieces(VALUES)
    allowed = np.ones((3, len(VALUES)), dtype=np.bool_)
    allowed[1, [ID[0xA9], ID[0x82], ID[0xAC]]] = False
    allowed[2, ID[0x82]] = False
    pieces.prune(allowed)
    begins = [{byte for byte in (0xC3, 0xE2, 0xED, 0xF4) if row[ID[byte]]} for row in allowed]
    assert begins == [{0xC3, 0xE2, 0xED, 0xF4}, set(), {0xC3, 0xE2}]  # A9 and AC follow neither ED nor F4


@pytest.mark.parametrize("as_torch", [False, True])
def test_shortlisted_search_makes_whole_characters(as_torch):
    tokens = np.array([0, 1, 2, 3, 4, ID[0xC3], ID[0xA9], ID[0xE2]])
    table = Table(len(tokens), 3, as_torch)
    pieces = BytePieces(VALUES).restricted_to(tokens)
    options = SearchOptions(30, 30, byte_pieces=pieces)
    (found,) = Candidates(tokens, np.ones((1, len(tokens)), np.bool_)).originals(
        beam_search(table, *table.arrays([1]), [5], options)
    )
    assert any(ID[0xC3] in one.tokens for one in found)
    assert all(is_whole(one.tokens) for one in found)
