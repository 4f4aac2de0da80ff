"""Which continuations of the hypotheses a search looks at, in order of preference.

Shape letters as in `nmtcli.models.protocol`; the N hypotheses of a sentence are G groups of N / G, group after group.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from nmtcli.models.protocol import Array, index_array, on_host
from nmtcli.translate.constraints import Tracker
from nmtcli.vocabulary import EOS


@dataclass(frozen=True)
class Continuations:
    """Some hypotheses one token longer, best first: [B, G, C] each, parents counted among the N of the sentence."""

    log_prob: Array  # of the whole hypothesis; -inf where there is none
    parent: Array
    token: Array

    def on_host(self) -> "Continuations":
        """The same as NumPy arrays."""
        return Continuations(*(on_host(array) for array in (self.log_prob, self.parent, self.token)))


class Choice(Protocol):
    """A way to choose: the likeliest, or by chance."""

    def __call__(self, totals: Array, sentences: list[int], tracker: Tracker) -> Continuations:
        """totals [B, N, V] are log-probabilities of all continuations, `sentences` the numbers of the rows.

        The first `beam size / groups` of each group are those that count; some of them may end in EOS, so twice as many
        are given where there are.
        """


@dataclass(frozen=True)
class Likeliest:
    """Beam search; in groups, diverse beam search (Vijayakumar et al. 2016) with Hamming diversity."""

    width: int  # hypotheses of a group
    groups: int = 1
    diversity: float = 0.0

    def __call__(self, totals: Array, sentences: list[int], tracker: Tracker) -> Continuations:
        """See `Choice`."""
        xp = array_namespace(totals)
        batch, beam, size = totals.shape
        slots = beam // self.groups
        found: list[Continuations] = []
        taken = None  # how often earlier groups have taken each token at this step, [B, 1, V]
        for group in range(self.groups):
            first = group * slots
            own = totals[:, first : first + slots]
            ranking = own if taken is None else own - self.diversity * taken
            flat = xp.reshape(ranking, (batch, slots * size))
            place = _largest(flat, 2 * self.width)  # [B, C]
            known = None
            if tracker.active:
                place, known = _allocated(flat, place, size, first, tracker)
            log_prob = xp.take_along_axis(xp.reshape(own, (batch, slots * size)), place, axis=1)
            if known is not None:
                log_prob = xp.where(known, -math.inf, log_prob)
            parts = (log_prob, first + place // size, place % size)
            found.append(Continuations(*(array[:, None] for array in parts)))
            if group + 1 < self.groups:
                counts = self._counts(found[-1], size)
                taken = counts if taken is None else taken + counts
        if self.groups == 1:
            return found[0]
        return Continuations(*(_joined([getattr(part, name) for part in found]) for name in _FIELDS))

    def _counts(self, chosen: Continuations, size: int) -> Array:
        """How many hypotheses that this group keeps end in each token, [B, 1, V]."""
        xp = array_namespace(chosen.token)
        kept = unfinished(chosen.on_host(), self.width)
        token = np.where(np.isfinite(kept.log_prob), kept.token, size)[:, 0]  # [B, K]; none counts for nothing
        where = device(chosen.token)
        same = xp.asarray(token, device=where)[:, :, None] == xp.arange(size, device=where)
        return xp.sum(xp.astype(same, chosen.log_prob.dtype), axis=1)[:, None]


_FIELDS = ("log_prob", "parent", "token")


def unfinished(chosen: Continuations, width: int) -> Continuations:
    """The first `width` continuations of each group that go on; -inf where there are fewer. NumPy arrays in and out."""
    log_prob = np.where(chosen.token == EOS, -np.inf, chosen.log_prob).astype(chosen.log_prob.dtype)
    order = np.argsort(~np.isfinite(log_prob), axis=2, kind="stable")[:, :, :width]
    parts = (log_prob, chosen.parent, chosen.token)
    return Continuations(*(np.take_along_axis(array, order, axis=2) for array in parts))


def _largest(flat: Array, count: int) -> Array:
    """Places of the `count` largest values of each row of [B, M], largest first: [B, count], or [B, M] if M is less."""
    xp = array_namespace(flat)
    count = min(count, flat.shape[1])
    if is_torch_array(flat):
        return _torch_largest(flat, count)
    place = flat.argpartition(-count, axis=1)[:, -count:]
    order = xp.argsort(-xp.take_along_axis(flat, place, axis=1), axis=1, stable=True)
    return xp.take_along_axis(place, order, axis=1)


_BLOCK = 64  # places of which at first only the largest value is looked at,
_WORTH = 2**12  # in rows as long as this


def _torch_largest(flat: Array, count: int) -> Array:
    """`_largest` of a tensor. On a CPU, among the `count` blocks with the largest values: 4 to 8 times faster."""
    rows, size = flat.shape
    blocks = size // _BLOCK
    if flat.device.type != "cpu" or size < _WORTH or blocks < 4 * count:
        return flat.topk(count).indices
    whole = flat[:, : blocks * _BLOCK].unflatten(1, (blocks, _BLOCK))
    own = whole.amax(dim=2).topk(count).indices.sort(dim=1).values  # [B, count], blocks in order
    xp = array_namespace(flat)
    place = (own[:, :, None] * _BLOCK + xp.arange(_BLOCK)).flatten(1)
    rest = xp.arange(blocks * _BLOCK, size).expand(rows, -1)
    place = xp.concat([place, rest], axis=1)  # [B, count · BLOCK + rest]
    return place.gather(1, flat.gather(1, place).topk(count).indices)


def _allocated(flat: Array, place: Array, size: int, first: int, tracker: Tracker) -> tuple[Array, Array]:
    """Continuations in the order of dynamic beam allocation (Post and Vilar 2018; in arrays as Hu et al. 2019).

    flat [B, K·V]; place [B, C] are the likeliest. To them come the likeliest token of each hypothesis, those its
    constraint wants, and the likeliest of those that hold what it has. Continuations that have come equally far form a
    bank. The best of each bank come first, that of the furthest before the others; then the second best, and so on:
    each bank has its share of any beam. Also returned, [B, M] like the places: which of them are there already, or
    impossible.
    """
    xp = array_namespace(flat)
    batch, slots = flat.shape[0], flat.shape[1] // size
    start = xp.arange(slots, device=device(flat)) * size
    likeliest = xp.argmax(xp.reshape(flat, (batch, slots, size)), axis=2) + start  # [B, K]
    wanted: list[list[int]] = [[] for _ in range(batch)]
    holders: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for row, own in enumerate(wanted):
        for slot in range(slots) if tracker.constraints[row] else ():
            rule = tracker.rule(row, first + slot)
            own.extend(slot * size + token for token in rule.wanted)
            if rule.holding:
                holders.setdefault(rule.holding, []).append((row, slot))
    for tokens, places in holders.items():  # one look-up a kind, and there is hardly ever a second
        holding = tracker.array(tokens, flat)
        row, slot = (index_array(part, flat) for part in zip(*places, strict=True))
        best = xp.argmax(flat[row[:, None], slot[:, None] * size + holding], axis=1)
        for (at, _), found in zip(places, (slot * size + holding[best]).tolist(), strict=True):
            wanted[at].append(found)
    most = max(map(len, wanted))
    # rows are filled up with what is there already
    extra = [own + [fill] * (most - len(own)) for own, fill in zip(wanted, place[:, 0].tolist(), strict=True)]
    parts = [place, likeliest, *([index_array(extra, place)] if most else [])]
    place = xp.sort(xp.concat(parts, axis=1), axis=1)  # [B, M]
    value = xp.take_along_axis(flat, place, axis=1)
    value[:, 1:] = xp.where(place[:, 1:] == place[:, :-1], -math.inf, value[:, 1:])
    order = xp.argsort(-value, axis=1, stable=True)
    place, value = xp.take_along_axis(place, order, axis=1), xp.take_along_axis(value, order, axis=1)
    progress = [
        [tracker.progress(row, first + at // size, at % size) for at in own] for row, own in enumerate(place.tolist())
    ]
    bank = index_array(progress, place)  # [B, M]
    before = xp.tril(bank[:, :, None] == bank[:, None, :], k=-1)  # [B, M, M]: better ones of the same bank
    rank = xp.sum(xp.astype(before, xp.int64), axis=2)
    key = rank * (xp.max(bank) + 1) + xp.max(bank) - bank
    key = xp.where(xp.isfinite(value), key, xp.max(key) + 1)
    order = xp.argsort(key, axis=1, stable=True)
    return xp.take_along_axis(place, order, axis=1), xp.isinf(xp.take_along_axis(value, order, axis=1))


def _joined(parts: list[Array]) -> Array:
    """Groups one after the other: [B, G, C]."""
    shortest = min(part.shape[2] for part in parts)  # with constraints, groups look at more or fewer
    return array_namespace(parts[0]).concat([part[:, :, :shortest] for part in parts], axis=1)
