"""Beam search and sampling over the step protocol, independent of models and of PyTorch.

Arrays of the size of the vocabulary stay on the device of the model; the chosen continuations are copied to the host
at each step, for bookkeeping in NumPy. One loop serves greedy search (beam size 1), beam search, diverse beam search,
constraints, n-best lists and sampling, for every model and ensemble. They differ in the `Choice` of continuations.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from nmtcli.errors import UserError
from nmtcli.models.protocol import (
    Array,
    Step,
    StepDecoder,
    first_array,
    index_array,
    namespace,
    on_host,
    select_rows,
)
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.choosing import BeamChoice, Choice, Continuations, unfinished
from nmtcli.translate.constraints import Constraint, Tracker
from nmtcli.translate.restrictions import restrict
from nmtcli.translate.sampling import SamplingChoice, SamplingOptions
from nmtcli.vocabulary import BOS, EOS

Normalization = Literal["gnmt", "average"]


@dataclass(frozen=True)
class SearchOptions:
    """Search options, explained in `docs/search.md`."""

    beam_size: int = 5
    n_best: int = 1
    length_penalty: float = 1.0
    keep_attention: bool = False
    length_normalization: Normalization = "gnmt"
    coverage_penalty: float = 0.0
    no_repeat_ngram: int = 0  # size of n-grams that must not repeat; 0: off
    stopping: Literal["count", "best", "bound"] = "best"
    groups: int = 1  # divides beam_size
    diversity: float = 0.5
    byte_pieces: BytePieces | None = None  # of the vocabulary, to complete characters
    keep_log_probs: bool = False  # of each token


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation: ids with EOS, log-probability, and the score for ranking.

    `satisfied` is False if no translation within the length limit satisfies the constraint.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    attention: Array | None = None  # [T, S]
    satisfied: bool = True
    repaired: bool = False  # bytes of incomplete characters were removed
    token_log_probs: tuple[float, ...] | None = None  # one per token; their sum is `log_prob`


@dataclass(frozen=True)
class _Beam:
    """The unfinished hypotheses of a batch, all of length t."""

    tokens: NDArray[np.int64]  # [B, N, t], from BOS
    log_prob: NDArray[np.float32]  # [B, N]; -inf for no hypothesis
    attention: Array | None  # [B, N, t - 1, S]
    sums: NDArray[np.float32] | None = None  # [B, N, t]: log-probabilities of the prefixes, from 0 for BOS

    def extended(self, step: Step) -> Array | None:
        """The attention of the hypotheses with that of `step`: [B, N, t, S]."""
        if step.attention is None:
            return None
        latest = step.attention[:, :, None, :]
        return latest if self.attention is None else namespace(latest).concat([self.attention, latest], axis=2)


@dataclass
class _Pool:
    """The finished hypotheses of one group of one sentence, with the progress of the constraint."""

    finished: list[tuple[int, Hypothesis]] = field(default_factory=list)

    def done(self, options: SearchOptions, best: float, length: int, limit: int) -> bool:
        """Whether the group is done, by `options.stopping`.

        `best` is the log-probability of its most probable unfinished hypothesis, of `length` tokens.
        """
        needed = -(-options.n_best // options.groups)
        enough = needed if options.stopping == "bound" else options.beam_size // options.groups
        if len(self.finished) < enough or options.stopping == "count":
            return len(self.finished) >= enough
        scores = sorted((hypothesis.score for _, hypothesis in self.finished), reverse=True)
        if options.stopping == "best":
            # a confident model fills the beam with improbable endings before the best translation ends
            needed, limit = 1, length
        # an upper bound: log-probabilities decrease with length, and the normaliser is largest at the limit
        bound = best / length_normalizer(limit, options.length_penalty, options.length_normalization)
        return scores[needed - 1] >= bound


def length_normalizer(length: int, alpha: float, kind: Normalization = "gnmt") -> float:
    """The divisor of log-probabilities: GNMT's length penalty (Wu et al. 2016, eq. 14), or length to the alpha."""
    return float(((5 + length) / 6 if kind == "gnmt" else length) ** alpha)


def coverage(attention: Array, source_length: int) -> float:
    """GNMT's coverage (Wu et al. 2016, eq. 14) of attention [T, S]: 0 if the weights of each source token sum to 1 or
    more, else negative. Sums are at least 1e-6.
    """
    totals = namespace(attention).sum(attention, axis=0)[:source_length].tolist()
    return sum(math.log(min(max(total, 1e-6), 1.0)) for total in totals)


def beam_search(
    decoder: StepDecoder,
    source: Array,
    source_length: Array,
    max_length: Sequence[int],
    options: SearchOptions,
    *,
    min_length: Sequence[int] | None = None,
    constraints: Sequence[Constraint | None] | None = None,
) -> list[list[Hypothesis]]:
    """The finished hypotheses of each sentence, best first, at most `n_best` each.

    source [B, S] and source_length [B] are passed to the decoder (tuples of them for an ensemble). max_length and
    min_length are limits per sentence, with EOS; a hypothesis at its maximum length ends. Each step keeps the
    `beam_size` most probable unfinished hypotheses; those in the beam that end in EOS are finished. A sentence leaves
    the batch when it is done by `options.stopping` or has no unfinished hypothesis. If no hypothesis satisfies the
    constraint within the limit, the closest ones are returned.
    """
    width = options.beam_size // options.groups
    choice = BeamChoice(width, options.groups, options.diversity)
    pools = _search(
        decoder, source, source_length, (min_length, max_length), options, choice, options.groups, constraints
    )
    return [_ranked([entry for pool in groups for entry in pool.finished])[: options.n_best] for groups in pools]


def sample(
    decoder: StepDecoder,
    source: Array,
    source_length: Array,
    max_length: Sequence[int],
    sampling: SamplingOptions,
    options: SearchOptions,
    numbers: Sequence[int],
    *,
    min_length: Sequence[int] | None = None,
    constraints: Sequence[Constraint | None] | None = None,
) -> list[list[Hypothesis]]:
    """`sampling.samples` independent samples of each sentence, in random order.

    `numbers` has one number per sentence, such as its line: samples depend on the seed, the number and the sentence,
    not on the batch. The rest is as in `beam_search`, without the options of a beam. Raises ValueError for required
    phrases, which would bias the samples.
    """
    if any(one and one.rule(one.start()).advancing for one in constraints or ()):
        raise ValueError("sampling does not support required phrases")
    count = sampling.samples
    options = replace(options, beam_size=count, n_best=count, groups=1, stopping="count")
    choice = SamplingChoice(sampling, numbers)
    pools = _search(decoder, source, source_length, (min_length, max_length), options, choice, count, constraints)
    samples = [[hypothesis for _, hypothesis in pool.finished] for (pool,) in pools]
    return [[one[place] for place in choice.shuffled(row, len(one))] for row, one in enumerate(samples)]


def _search(
    decoder: StepDecoder,
    source: Array,
    source_length: Array,
    limits: tuple[Sequence[int] | None, Sequence[int]],
    options: SearchOptions,
    choice: Choice,
    copies: int,
    constraints: Sequence[Constraint | None] | None,
) -> list[list[_Pool]]:
    """The search loop, from `copies` empty hypotheses per sentence; returns the pools of the groups."""
    count, width = len(limits[1]), options.beam_size // options.groups
    constraints = constraints or [None] * count
    shortest = limits[0] or [1] * count
    longest = [max(limit, one.shortest if one else 1) for limit, one in zip(limits[1], constraints, strict=True)]
    source_lengths = first_array(source_length).tolist()
    pools = [[_Pool() for _ in range(options.groups)] for _ in range(count)]
    tracker = Tracker(constraints, copies)
    sentences = list(range(count))  # the sentence of each row of the batch
    memory, cache = decoder.start(source, source_length)
    like = first_array(source)
    xp, where = namespace(like), device(like)
    beam = _first_beam(count, copies, options.keep_log_probs)
    if copies > 1:
        cache = select_rows(cache, index_array([row for row in sentences for _ in range(copies)], like))
    while sentences:
        length = beam.tokens.shape[2]  # of hypotheses after this step, with EOS
        step = decoder.step(xp.asarray(beam.tokens[:, :, -1], device=where), memory, cache)
        attention = beam.extended(step) if options.keep_attention or options.coverage_penalty else None
        if options.coverage_penalty and attention is None:
            raise UserError("coverage_penalty needs attention, which this model does not have", "set it to 0")
        left = [longest[sentence] - length for sentence in sentences]
        too_short = [row for row, sentence in enumerate(sentences) if length < shortest[sentence]]
        restrict(step.log_probs, beam.tokens, options.no_repeat_ngram, tracker, too_short, left, options.byte_pieces)
        prefix = xp.asarray(beam.log_prob, device=where)
        chosen = choice(step.log_probs, prefix, sentences, tracker).on_host()  # [B, G, C]
        for row, group, rank in _finished(chosen, width):
            parent = int(chosen.parent[row, group, rank])
            log_prob = float(chosen.log_prob[row, group, rank])
            tokens = (*beam.tokens[row, parent, 1:].tolist(), EOS)
            weights = None if attention is None else attention[row, parent]
            score = hypothesis_score(log_prob, length, weights, source_lengths[sentences[row]], options)
            rule = tracker.rule(row, parent)
            # A copy: a view would keep the attention of the whole batch.
            kept = np.array(on_host(weights)) if options.keep_attention and weights is not None else None
            of_tokens = None
            if beam.sums is not None:
                of_tokens = tuple(np.diff(beam.sums[row, parent], append=np.float32(log_prob)).tolist())
            hypothesis = Hypothesis(tokens, log_prob, score, kept, rule.may_end, token_log_probs=of_tokens)
            entry = rule.progress, hypothesis
            pools[sentences[row]][group].finished.append(entry)
        chosen, remaining = _remaining(
            unfinished(chosen, width),
            [pools[sentence] for sentence in sentences],
            [longest[sentence] for sentence in sentences],
            length,
            options,
        )
        beam, cache = _advance(beam, attention, step, chosen, remaining, like)
        tracker.advance(remaining, chosen.parent[:, 0], chosen.token[:, 0])
        if len(remaining) < len(sentences):
            memory = select_rows(memory, index_array(remaining, like))
            sentences = [sentences[row] for row in remaining]
    return pools


def _first_beam(count: int, copies: int, keep_log_probs: bool) -> _Beam:
    """`copies` empty hypotheses for each of `count` sentences."""
    tokens = np.full((count, copies, 1), BOS, dtype=np.int64)
    sums = np.zeros((count, copies, 1), dtype=np.float32) if keep_log_probs else None
    return _Beam(tokens, np.zeros((count, copies), dtype=np.float32), None, sums)


def _finished(chosen: Continuations, width: int) -> Iterator[tuple[int, int, int]]:
    """Row, group and rank of finished hypotheses in the first `width` continuations of each group."""
    log_prob, token = chosen.log_prob[:, :, :width], chosen.token[:, :, :width]
    row, group, rank = ((token == EOS) & np.isfinite(log_prob)).nonzero()
    yield from zip(row.tolist(), group.tolist(), rank.tolist(), strict=True)


def hypothesis_score(
    log_prob: float, length: int, attention: Array | None, source_length: int, options: SearchOptions
) -> float:
    """The score of a finished hypothesis (Wu et al. 2016, eq. 14)."""
    score = log_prob / length_normalizer(length, options.length_penalty, options.length_normalization)
    if options.coverage_penalty and attention is not None:
        score += options.coverage_penalty * coverage(attention, source_length)
    return score


def _ranked(entries: list[tuple[int, Hypothesis]]) -> list[Hypothesis]:
    """The hypotheses that satisfy the constraint, best first; if there are none, all, most progress first.

    Groups may find the same one; it is kept once.
    """
    entries = list({hypothesis.tokens: (progress, hypothesis) for progress, hypothesis in entries}.values())
    if any(hypothesis.satisfied for _, hypothesis in entries):
        entries = [(0, hypothesis) for _, hypothesis in entries if hypothesis.satisfied]
    return [hypothesis for _, hypothesis in sorted(entries, key=lambda entry: (-entry[0], -entry[1].score))]


def _remaining(
    chosen: Continuations, pools: Sequence[Sequence[_Pool]], limits: Sequence[int], length: int, options: SearchOptions
) -> tuple[Continuations, list[int]]:
    """The hypotheses of unfinished groups [B', 1, N'], padded to the row with the most, and the rows that remain."""
    live = np.isfinite(chosen.log_prob)
    if live.all() and not any(pool.finished for groups in pools for pool in groups):
        everything = (array.reshape(len(pools), 1, -1) for array in chosen)
        return Continuations(*everything), list(range(len(pools)))
    counts = live.sum(axis=2)  # [B, G]
    best = chosen.log_prob.max(axis=2, initial=-math.inf, where=live).tolist()
    for row, (groups, limit) in enumerate(zip(pools, limits, strict=True)):
        for group, pool in enumerate(groups):
            if pool.finished and counts[row, group] and pool.done(options, best[row][group], length, limit):
                counts[row, group] = 0
    rows = counts.any(axis=1).nonzero()[0]
    width = int(counts.max(initial=0))
    log_prob, parent, token = (array[rows][:, :, :width] for array in chosen)
    is_open = counts[rows] > 0  # [B', G]
    log_prob = np.where(is_open[:, :, None] & np.isfinite(log_prob), log_prob, -math.inf)
    shape = (len(rows), 1, len(pools[0]) * width)
    return Continuations(*(array.reshape(shape) for array in (log_prob, parent, token))), rows.tolist()


def _advance(
    beam: _Beam, attention: Array | None, step: Step, chosen: Continuations, remaining: list[int], like: Array
) -> tuple[_Beam, Array]:
    """The beam and the cache, of arrays `like`, after the chosen continuations [B', 1, N'] of the rows that remain."""
    batch, slots, length = beam.tokens.shape
    log_prob, parent, token = (array[:, 0] for array in chosen)  # [B', N']
    rows = (np.asarray(remaining, dtype=np.int64)[:, None] * slots + parent).ravel()  # the old row of each hypothesis
    prefix = beam.tokens.reshape(batch * slots, length)[rows].reshape(*parent.shape, length)
    tokens = np.concatenate([prefix, token[:, :, None]], axis=2)
    sums = beam.sums
    if sums is not None:
        before = sums.reshape(batch * slots, length)[rows].reshape(*parent.shape, length)
        sums = np.concatenate([before, log_prob[:, :, None]], axis=2)
    if len(rows) == batch * slots and (rows == np.arange(len(rows))).all():
        return _Beam(tokens, log_prob, attention, sums), step.cache
    xp, flat = namespace(like), index_array(rows, like)
    if attention is not None:
        rest = attention.shape[2:]
        attention = xp.take(xp.reshape(attention, (batch * slots, *rest)), flat, axis=0)
        attention = xp.reshape(attention, (*parent.shape, *rest))
    return _Beam(tokens, log_prob, attention, sums), select_rows(step.cache, flat)
