"""Forbidden continuations of hypotheses: length limits, repeated n-grams, incomplete characters and constraints."""

import math
from collections.abc import Sequence

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from nmtcli.models.protocol import Array, index_array, namespace
from nmtcli.translate.byte_pieces import MAX_FOLLOWING, BytePieces
from nmtcli.translate.constraints import Tracker, index
from nmtcli.vocabulary import EOS


def restrict(
    log_probs: Array,
    tokens: NDArray[np.int64],
    no_repeat_ngram: int,
    tracker: Tracker,
    too_short: Sequence[int],
    left: Sequence[int],
    byte_pieces: BytePieces | None = None,
) -> None:
    """Set log_probs [B, N, V] of forbidden continuations of tokens [B, N, t] to -inf in place.

    `too_short` are the rows that must not end yet; `left` is the number of tokens after the next one in each row: at
    zero, the row must end. In order of precedence: a row at its limit ends, a byte sequence of a character is
    completed, a forced token is allowed, and a token that advances a constraint may repeat an n-gram. A hypothesis
    that cannot go on ends, although its constraint is not satisfied or it is too short.
    """
    log_probs[:, :, :EOS] = -math.inf  # PAD and BOS
    xp = namespace(log_probs)
    at_limit = [row for row, count in enumerate(left) if count <= 0]
    places = tracker.places() if tracker.active else None
    ending = xp.asarray(log_probs[:, :, EOS], copy=True) if places or at_limit or too_short else None
    forced = index(places.forced, log_probs) if places and places.forced else None
    forced_log_probs = log_probs[forced] if forced else None
    unfinished = rest = completing = None
    if byte_pieces and (found := byte_pieces.unfinished(tokens)):
        unfinished = tuple(index_array(part, log_probs) for part in zip(*found[0], strict=True))
        rest, completing = log_probs[unfinished], xp.asarray(found[1], device=device(log_probs))  # [K, V]
    if byte_pieces:
        _keep_characters_whole(log_probs, left, byte_pieces)
    if 0 < no_repeat_ngram < tokens.shape[2]:
        advancing = index(places.advancing, log_probs) if places else None
        kept = log_probs[advancing] if advancing else None
        log_probs[tuple(index_array(part, log_probs) for part in repeats(tokens, no_repeat_ngram))] = -math.inf
        if advancing:
            log_probs[advancing] = kept
    if unfinished:
        rest = xp.where(completing, rest, -math.inf)
        log_probs[unfinished] = rest
    if places:
        log_probs[index(places.forbidden, log_probs)] = -math.inf
        for row, slot, many in places.classes:
            log_probs[row, slot, tracker.array(many, log_probs)] = -math.inf
    if too_short:
        log_probs[list(too_short), :, EOS] = -math.inf
    if forced:
        log_probs[forced[:2]] = -math.inf
        log_probs[forced] = forced_log_probs
    if unfinished:  # without an allowed byte, a forbidden one completes the character
        allowed = log_probs[unfinished]
        log_probs[unfinished] = xp.where(xp.any(xp.isfinite(allowed), axis=1)[:, None], allowed, rest)
    if (places and any(token == EOS for _, _, token in places.forbidden)) or (too_short and no_repeat_ngram):
        dead = xp.max(log_probs, axis=2) == -math.inf  # all that may follow is forbidden: it ends in spite of that
        log_probs[:, :, EOS] = xp.where(dead, ending, log_probs[:, :, EOS])
    if at_limit:
        assert ending is not None
        log_probs[at_limit] = -math.inf
        log_probs[at_limit, :, EOS] = ending[at_limit]


def _keep_characters_whole(log_probs: Array, left: Sequence[int], byte_pieces: BytePieces) -> None:
    """Forbid bytes that cannot start a character, and characters that do not fit in `left`, as in `restrict`."""
    for start, end in byte_pieces.misplaced:
        log_probs[:, :, start:end] = -math.inf
    for row, count in enumerate(left):
        if 0 < count <= MAX_FOLLOWING:
            log_probs[row, :, index_array(byte_pieces.too_long[count - 1].tolist(), log_probs)] = -math.inf


def repeats(tokens: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], ...]:
    """Row, hypothesis and token of continuations of tokens [B, N, t] that would repeat an n-gram of this size."""
    batch, slots, length = tokens.shape
    following = tokens[:, :, size:]  # [B, N, W]: the last tokens of all n-grams, without BOS
    windows = following.shape[2]
    same = np.ones((batch, slots, windows), dtype=np.bool_)
    for place in range(size - 1):
        same &= tokens[:, :, 1 + place : 1 + place + windows] == tokens[:, :, length - size + 1 + place, None]
    row, slot, window = same.nonzero()
    return row, slot, following[row, slot, window]
