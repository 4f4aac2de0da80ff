"""Forbidden continuations of hypotheses: length limits, repeated n-grams, incomplete characters and constraints."""

import math
from collections.abc import Sequence

from array_api_compat import device

from nmtcli.models.protocol import Array, index_array, namespace
from nmtcli.translate.byte_pieces import MAX_FOLLOWING, BytePieces
from nmtcli.translate.constraints import Tracker, index
from nmtcli.vocabulary import BOS, EOS, PAD


def restrict(
    totals: Array,
    tokens: Array,
    no_repeat_ngram: int,
    tracker: Tracker,
    too_short: Sequence[int],
    left: Sequence[int],
    byte_pieces: BytePieces | None = None,
) -> None:
    """Set log-probabilities totals [B, N, V] of forbidden continuations of tokens [B, N, t] to -inf in place.

    `too_short` are the rows that must not end yet; `left` is the number of tokens after the next one in each row: at
    zero, the row must end. In order of precedence: a row at its limit ends, a byte sequence of a character is
    completed, a forced token is allowed, and a token that advances a constraint may repeat an n-gram. A hypothesis
    that cannot go on ends, although its constraint is not satisfied.
    """
    totals[:, :, PAD] = -math.inf
    totals[:, :, BOS] = -math.inf
    xp = namespace(totals)
    ending = xp.asarray(totals[:, :, EOS], copy=True)
    places = tracker.places() if tracker.active else None
    forced = index(places.forced, totals) if places and places.forced else None
    forced_totals = totals[forced] if forced else None
    unfinished = byte_pieces.unfinished(tokens) if byte_pieces else None
    rest = totals[unfinished[:2]] if unfinished else None  # [K, V]
    if byte_pieces:
        _keep_characters_whole(totals, left, byte_pieces)
    if 0 < no_repeat_ngram < tokens.shape[2]:
        advancing = index(places.advancing, totals) if places else None
        kept = totals[advancing] if advancing else None
        totals[repeats(tokens, no_repeat_ngram)] = -math.inf
        if advancing:
            totals[advancing] = kept
    if unfinished:
        rest = xp.where(unfinished[2], rest, -math.inf)
        totals[unfinished[:2]] = rest
    if places:
        totals[index(places.forbidden, totals)] = -math.inf
        for row, slot, many in places.classes:
            totals[row, slot, tracker.array(many, totals)] = -math.inf
    if too_short:
        totals[list(too_short), :, EOS] = -math.inf
    if forced:
        totals[forced[:2]] = -math.inf
        totals[forced] = forced_totals
    if unfinished:  # without an allowed byte, a forbidden one completes the character
        allowed = totals[unfinished[:2]]
        totals[unfinished[:2]] = xp.where(xp.any(xp.isfinite(allowed), axis=1)[:, None], allowed, rest)
    if places and any(token == EOS for _, _, token in places.forbidden):
        dead = xp.max(totals, axis=2) == -math.inf  # all that may follow is forbidden: it ends unsatisfied
        totals[:, :, EOS] = xp.where(dead, ending, totals[:, :, EOS])
    if rows := [row for row, count in enumerate(left) if count <= 0]:
        totals[rows] = -math.inf
        totals[rows, :, EOS] = ending[rows]


def _keep_characters_whole(totals: Array, left: Sequence[int], byte_pieces: BytePieces) -> None:
    """Forbid bytes that cannot start a character, and characters that do not fit in `left`, as in `restrict`."""
    for start, end in byte_pieces.misplaced:
        totals[:, :, start:end] = -math.inf
    for row, count in enumerate(left):
        if 0 < count <= MAX_FOLLOWING:
            totals[row, :, index_array(byte_pieces.too_long[count - 1].tolist(), totals)] = -math.inf


def repeats(tokens: Array, size: int) -> tuple[Array, Array, Array]:
    """Row, hypothesis and token of continuations of tokens [B, N, t] that would repeat an n-gram of this size."""
    xp = namespace(tokens)
    batch, slots, length = tokens.shape
    following = tokens[:, :, size:]  # [B, N, W]: the last tokens of all n-grams, without BOS
    windows = following.shape[2]
    same = xp.ones((batch, slots, windows), dtype=xp.bool, device=device(tokens))
    for place in range(size - 1):
        same &= tokens[:, :, 1 + place : 1 + place + windows] == tokens[:, :, length - size + 1 + place, None]
    row, slot, window = xp.nonzero(same)
    return row, slot, following[row, slot, window]
