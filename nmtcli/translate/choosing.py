"""Selection of continuations of hypotheses: beam search, diverse beam search and dynamic beam allocation.

Shape letters as in `nmtcli.models.protocol`; the N hypotheses of a sentence are G consecutive groups of N / G.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from array_api_compat import device, is_torch_array

from nmtcli.models.protocol import Array, index_array, namespace, on_host
from nmtcli.translate.constraints import Tracker
from nmtcli.vocabulary import EOS


class Continuations(NamedTuple):
    """Hypotheses with one more token, best first: [B, G, C] each; parents are from 0 to N - 1."""

    log_prob: Array  # of the hypothesis; -inf for none
    parent: Array
    token: Array

    def on_host(self) -> "Continuations":
        """The same as NumPy arrays."""
        return Continuations(*map(on_host, self))


class Choice(Protocol):
    """A selection of continuations: by beam search or by sampling."""

    def __call__(self, log_probs: Array, prefix: Array, sentences: list[int], tracker: Tracker) -> Continuations:
        """The best continuations of hypotheses with log-probabilities `prefix` [B, N]; `sentences` number the rows.

        log_probs [B, N, V] are those of the next token, and may be overwritten. The first `beam size / groups` of each
        group form the beam; some of them may end in EOS, so up to twice as many are returned.
        """


@dataclass(frozen=True)
class BeamChoice:
    """Beam search; with groups, diverse beam search (Vijayakumar et al. 2016) with Hamming diversity."""

    width: int  # hypotheses of a group
    groups: int = 1
    diversity: float = 0.0

    def __call__(self, log_probs: Array, prefix: Array, sentences: list[int], tracker: Tracker) -> Continuations:
        """See `Choice`."""
        xp = namespace(log_probs)
        batch, beam, size = log_probs.shape
        if self.groups == 1 and not tracker.active:
            log_prob, place = _largest(log_probs, prefix, 2 * self.width)  # [B, C]
            return Continuations(*(array[:, None] for array in (log_prob, place // size, place % size)))
        totals = log_probs
        totals += prefix[:, :, None]
        slots = beam // self.groups
        chosen: list[Continuations] = []
        counts_before = None  # how often earlier groups chose each token at this step, [B, 1, V]
        for group in range(self.groups):
            first = group * slots
            part = totals[:, first : first + slots]
            ranking = part if counts_before is None else part - self.diversity * counts_before
            flat = xp.reshape(ranking, (batch, slots * size))
            _, place = _largest(ranking, xp.zeros_like(prefix[:, :slots]), 2 * self.width)  # [B, C]
            impossible = None
            if tracker.active:
                place, impossible = _allocated(flat, place, size, first, tracker)
            log_prob = xp.take_along_axis(xp.reshape(part, (batch, slots * size)), place, axis=1)
            if impossible is not None:
                log_prob = xp.where(impossible, -math.inf, log_prob)
            arrays = (log_prob, first + place // size, place % size)
            chosen.append(Continuations(*(array[:, None] for array in arrays)))
            if group + 1 < self.groups:
                counts = self._counts(chosen[-1], size)
                counts_before = counts if counts_before is None else counts_before + counts
        if self.groups == 1:
            return chosen[0]
        return Continuations(*map(_joined, zip(*chosen, strict=True)))

    def _counts(self, chosen: Continuations, size: int) -> Array:
        """How many hypotheses of this group end in each token, [B, 1, V]."""
        xp = namespace(chosen.token)
        kept = unfinished(chosen.on_host(), self.width)
        token = np.where(np.isfinite(kept.log_prob), kept.token, size)[:, 0]  # [B, K]; `size` for none
        where = device(chosen.token)
        same = xp.asarray(token, device=where)[:, :, None] == xp.arange(size, device=where)
        return xp.sum(xp.astype(same, chosen.log_prob.dtype), axis=1)[:, None]


def unfinished(chosen: Continuations, width: int) -> Continuations:
    """The first `width` continuations of each group without EOS; -inf if there are fewer. NumPy arrays in and out."""
    impossible = (chosen.token == EOS) | ~np.isfinite(chosen.log_prob)
    if not impossible[:, :, :width].any():
        return Continuations(*(array[:, :, :width] for array in chosen))
    log_prob = np.where(impossible, np.float32(-np.inf), chosen.log_prob)
    order = np.argsort(impossible, axis=2, kind="stable")[:, :, :width]
    row, group = np.ogrid[: order.shape[0], : order.shape[1]]
    return Continuations(
        *(array[row[..., None], group[..., None], order] for array in chosen._replace(log_prob=log_prob))
    )


_BLOCK = 32  # values per block: first the blocks with the largest values are selected,
_WORTH = 2**12, 2**16  # in rows of at least this length and arrays of this size


def _largest(values: Array, prefix: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest sums of values [B, K, V] and prefix [B, K], and their indices into [B, K·V]: [B, C] each.

    On a CPU, in the `count` blocks with the largest values, which is two to four times as fast. Block j of `blocks` has
    the values j, j + blocks, j + 2 blocks, …: NumPy is fastest at the maximum over an axis that is not the last.
    """
    xp = namespace(values)
    rows, slots, size = values.shape
    count, blocks = min(count, slots * size), size // _BLOCK
    few = slots * size < _WORTH[0] or rows * slots * size < _WORTH[1] or slots * blocks < 4 * count
    if few or getattr(device(values), "type", "cpu") != "cpu":
        return _top(xp.reshape(values + prefix[:, :, None], (rows, slots * size)), count)
    whole = xp.reshape(values[:, :, : blocks * _BLOCK], (rows, slots, _BLOCK, blocks))
    largest = xp.max(whole, axis=2) + prefix[:, :, None]  # [B, K, blocks]
    best = xp.sort(_top(xp.reshape(largest, (rows, slots * blocks)), count)[1], axis=1)  # [B, C], blocks in order
    first = best // blocks * size + best % blocks
    place = xp.reshape(first[:, :, None] + blocks * xp.arange(_BLOCK), (rows, count * _BLOCK))
    rest = xp.reshape(xp.arange(slots)[:, None] * size + xp.arange(blocks * _BLOCK, size), (1, -1))
    place = xp.concat([place, xp.broadcast_to(rest, (rows, rest.shape[1]))], axis=1)  # [B, C · BLOCK + rest]
    sums = xp.take_along_axis(xp.reshape(values, (rows, slots * size)), place, axis=1)
    sums += xp.take_along_axis(prefix, place // size, axis=1)
    log_prob, order = _top(sums, count)
    return log_prob, xp.take_along_axis(place, order, axis=1)


def _top(values: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest values of each row of [B, M], largest first, and their indices: [B, count] each."""
    if is_torch_array(values):
        largest, place = values.topk(count)
        return largest, place
    row = np.arange(len(values))[:, None]
    place = values.argpartition(-count, axis=1)[:, -count:]
    largest = values[row, place]
    order = (-largest).argsort(axis=1, stable=True)
    return largest[row, order], place[row, order]


def _allocated(flat: Array, place: Array, size: int, first: int, tracker: Tracker) -> tuple[Array, Array]:
    """Continuations in the order of dynamic beam allocation (Post and Vilar 2018; vectorised as in Hu et al. 2019).

    flat [B, K·V]; place [B, C] are the most probable ones. Added are the most probable token of each hypothesis, the
    tokens that advance its constraint, and the most probable one that keeps its progress. Continuations of equal
    progress form a bank. The order is the best one of each bank, most progress first, then the second best ones, and
    so on, so each bank has its part of any beam. Also returned, [B, M]: which of them are duplicates or impossible.
    """
    xp = namespace(flat)
    batch, slots = flat.shape[0], flat.shape[1] // size
    start = xp.arange(slots, device=device(flat)) * size
    most_probable = xp.argmax(xp.reshape(flat, (batch, slots, size)), axis=2) + start  # [B, K]
    added: list[list[int]] = [[] for _ in range(batch)]
    confirming: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for row, indices in enumerate(added):
        for slot in range(slots) if tracker.constraints[row] else ():
            rule = tracker.rule(row, first + slot)
            indices.extend(slot * size + token for token in rule.advancing)
            if rule.confirming:
                confirming.setdefault(rule.confirming, []).append((row, slot))
    for shared, places in confirming.items():  # hardly ever more than one
        tokens = tracker.array(shared, flat)
        row, slot = (index_array(part, flat) for part in zip(*places, strict=True))
        best = xp.argmax(flat[row[:, None], slot[:, None] * size + tokens], axis=1)
        for (at, _), index in zip(places, (slot * size + tokens[best]).tolist(), strict=True):
            added[at].append(index)
    most = max(map(len, added))
    # rows are padded with a duplicate
    extra = [
        indices + [fill] * (most - len(indices)) for indices, fill in zip(added, place[:, 0].tolist(), strict=True)
    ]
    parts = [place, most_probable, *([index_array(extra, place)] if most else [])]
    place = xp.sort(xp.concat(parts, axis=1), axis=1)  # [B, M]
    value = xp.take_along_axis(flat, place, axis=1)
    value[:, 1:] = xp.where(place[:, 1:] == place[:, :-1], -math.inf, value[:, 1:])
    order = xp.argsort(-value, axis=1, stable=True)
    place, value = xp.take_along_axis(place, order, axis=1), xp.take_along_axis(value, order, axis=1)
    progress = [
        [tracker.progress(row, first + at // size, at % size) for at in indices]
        for row, indices in enumerate(place.tolist())
    ]
    bank = index_array(progress, place)  # [B, M]
    before = xp.tril(bank[:, :, None] == bank[:, None, :], k=-1)  # [B, M, M]: better ones of the same bank
    rank = xp.sum(xp.astype(before, xp.int64), axis=2)
    key = rank * (xp.max(bank) + 1) + xp.max(bank) - bank
    key = xp.where(xp.isfinite(value), key, xp.max(key) + 1)
    order = xp.argsort(key, axis=1, stable=True)
    return xp.take_along_axis(place, order, axis=1), xp.isinf(xp.take_along_axis(value, order, axis=1))


def _joined(parts: tuple[Array, ...]) -> Array:
    """Groups one after the other: [B, G, C]."""
    shortest = min(part.shape[2] for part in parts)  # sizes differ with constraints
    return namespace(parts[0]).concat([part[:, :, :shortest] for part in parts], axis=1)
