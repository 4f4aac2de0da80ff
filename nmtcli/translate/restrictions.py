"""What no hypothesis may go on with: limits of length, repeated n-grams, incomplete characters, and the rules of the
constraints."""

import math
from collections.abc import Sequence

from array_api_compat import array_namespace, device

from nmtcli.models.protocol import Array, index_array
from nmtcli.translate.byte_pieces import MOST_FOLLOWING, BytePieces
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
    """Set log-probabilities totals [B, N, V] of the continuations of tokens [B, N, t] to -inf in place.

    `too_short` are the rows that must not end yet; `left` says of each row how many tokens may follow the next one:
    where there are none it ends, whatever else forbids it. A forced token is not forbidden by anything, and one a
    constraint wants may repeat an n-gram. A character that is spelled in bytes is completed whatever else is asked.
    """
    totals[:, :, PAD] = -math.inf
    totals[:, :, BOS] = -math.inf
    xp = array_namespace(totals)
    ending = xp.asarray(totals[:, :, EOS], copy=True)
    places = tracker.places() if tracker.active else None
    forced = index(places.forced, totals) if places and places.forced else None
    sure = totals[forced] if forced else None
    unfinished = byte_pieces.unfinished(tokens) if byte_pieces else None
    rest = totals[unfinished[:2]] if unfinished else None  # [K, V]
    if byte_pieces:
        _keep_characters_whole(totals, left, byte_pieces)
    if 0 < no_repeat_ngram < tokens.shape[2]:
        wanted = index(places.wanted, totals) if places else None
        kept = totals[wanted] if wanted else None
        totals[repeats(tokens, no_repeat_ngram)] = -math.inf
        if wanted:
            totals[wanted] = kept
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
        totals[forced] = sure
    if unfinished:  # where nothing else is left, it is completed by what is forbidden
        own = totals[unfinished[:2]]
        totals[unfinished[:2]] = xp.where(xp.any(xp.isfinite(own), axis=1)[:, None], own, rest)
    if rows := [row for row, count in enumerate(left) if count <= 0]:
        totals[rows] = -math.inf
        totals[rows, :, EOS] = ending[rows]


def _keep_characters_whole(totals: Array, left: Sequence[int], byte_pieces: BytePieces) -> None:
    """No character begins within itself, and none that cannot be completed: `left`, as in `restrict`, counts EOS."""
    for start, end in byte_pieces.misplaced:
        totals[:, :, start:end] = -math.inf
    for row, count in enumerate(left):
        if 0 < count <= MOST_FOLLOWING:
            totals[row, :, index_array(byte_pieces.too_long[count - 1].tolist(), totals)] = -math.inf


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
