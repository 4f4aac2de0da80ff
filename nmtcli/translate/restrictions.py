"""What no hypothesis may go on with: limits of length, repeated n-grams, and the rules of the constraints."""

import math
from collections.abc import Sequence

from array_api_compat import array_namespace, device

from nmtcli.models.protocol import Array
from nmtcli.translate.constraints import Tracker, index
from nmtcli.vocabulary import BOS, EOS, PAD


def restrict(
    totals: Array,
    tokens: Array,
    no_repeat_ngram: int,
    tracker: Tracker,
    too_short: Sequence[int],
    at_limit: Sequence[int],
) -> None:
    """Set log-probabilities totals [B, N, V] of the continuations of tokens [B, N, t] to -inf in place.

    `too_short` are the rows that must not end yet, `at_limit` those that must: what is at its limit ends, whatever else
    forbids it. A forced token is not forbidden by anything, and one a constraint wants may repeat an n-gram.
    """
    totals[:, :, PAD] = -math.inf
    totals[:, :, BOS] = -math.inf
    ending = array_namespace(totals).asarray(totals[:, :, EOS], copy=True)
    places = tracker.places() if tracker.active else None
    forced = index(places.forced, totals) if places and places.forced else None
    sure = totals[forced] if forced else None
    if 0 < no_repeat_ngram < tokens.shape[2]:
        wanted = index(places.wanted, totals) if places else None
        kept = totals[wanted] if wanted else None
        totals[repeats(tokens, no_repeat_ngram)] = -math.inf
        if wanted:
            totals[wanted] = kept
    if places:
        totals[index(places.forbidden, totals)] = -math.inf
        for row, slot, many in places.classes:
            totals[row, slot, tracker.array(many, totals)] = -math.inf
    if too_short:
        totals[list(too_short), :, EOS] = -math.inf
    if forced:
        totals[forced[:2]] = -math.inf
        totals[forced] = sure
    if at_limit:
        rows = list(at_limit)
        totals[rows] = -math.inf
        totals[rows, :, EOS] = ending[rows]


def repeats(tokens: Array, size: int) -> tuple[Array, Array, Array]:
    """Row, hypothesis and token, wherever the token after tokens [B, N, t] would repeat an n-gram of this size."""
    xp = array_namespace(tokens)
    batch, slots, length = tokens.shape
    following = tokens[:, :, size:]  # [B, N, W]: the last tokens of the n-grams there are, without BOS
    windows = following.shape[2]
    same = xp.ones((batch, slots, windows), dtype=xp.bool, device=device(tokens))
    for place in range(size - 1):
        same &= tokens[:, :, 1 + place : 1 + place + windows] == tokens[:, :, length - size + 1 + place, None]
    row, slot, window = xp.nonzero(same)
    return row, slot, following[row, slot, window]
