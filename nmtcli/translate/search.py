"""The search over the step protocol. It knows no model and no PyTorch.

What is as large as the vocabulary is computed where the model is; the few continuations that are chosen come to the
host once a step, and the rest is bookkeeping in NumPy. One loop serves greedy search (a beam of one), beam search,
diverse groups, constraints, n-best lists and sampling, for every model and ensemble. What differs is the `Choice` of
continuations.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from array_api_compat import array_namespace, device

from nmtcli.errors import UserError
from nmtcli.models.protocol import Array, Step, StepDecoder, first_array, index_array, select_rows
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.choosing import Choice, Continuations, Likeliest, unfinished
from nmtcli.translate.constraints import Constraint, Tracker
from nmtcli.translate.restrictions import restrict
from nmtcli.translate.sampling import Draw, SamplingOptions
from nmtcli.vocabulary import BOS, EOS

Normalization = Literal["gnmt", "average"]


@dataclass(frozen=True)
class SearchOptions:
    """What to search for. `docs/search.md` tells each in full."""

    beam_size: int = 5
    n_best: int = 1
    length_penalty: float = 1.0
    keep_attention: bool = False
    length_normalization: Normalization = "gnmt"
    coverage_penalty: float = 0.0
    no_repeat_ngram: int = 0  # the size that occurs once only; 0 for none
    stopping: Literal["count", "best", "bound"] = "best"
    groups: int = 1  # beam_size is a multiple of it
    diversity: float = 0.5
    byte_pieces: BytePieces | None = None  # of the vocabulary: they make whole characters only


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation: ids up to and with EOS, its log-probability, and the score it was ranked by.

    `obeys` is False where the constraint of the sentence could not be met within its limit.
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    attention: Array | None = None  # [T, S]
    obeys: bool = True
    repaired: bool = False  # bytes that made no character were taken out


@dataclass(frozen=True)
class _Beam:
    """The unfinished hypotheses of the sentences in the batch; all have the same length t."""

    tokens: Array  # [B, N, t], from BOS
    log_prob: Array  # [B, N]; -inf where there is no hypothesis
    attention: Array | None  # [B, N, t - 1, S]

    def extended(self, step: Step) -> Array | None:
        """The attention of these hypotheses with that of `step`: [B, N, t, S]."""
        if step.attention is None:
            return None
        latest = step.attention[:, :, None, :]
        return latest if self.attention is None else array_namespace(latest).concat([self.attention, latest], axis=2)


@dataclass
class _Pool:
    """What is finished of one group of one sentence, each with how far its constraint has come."""

    finished: list[tuple[int, Hypothesis]] = field(default_factory=list)

    def done(self, options: SearchOptions, best: float, length: int, limit: int) -> bool:
        """Whether the group is done, by the rule `options.stopping`.

        `best` is the log-probability of its likeliest unfinished hypothesis, of that length so far.
        """
        wanted = -(-options.n_best // options.groups)
        enough = wanted if options.stopping == "bound" else options.beam_size // options.groups
        if len(self.finished) < enough or options.stopping == "count":
            return len(self.finished) >= enough
        scores = sorted((hypothesis.score for _, hypothesis in self.finished), reverse=True)
        if options.stopping == "best":
            # Where a model is sure, improbable endings fill the beam's width before the translation that is meant ends.
            wanted, limit = 1, length
        # A log-probability falls with every token, and no length is divided by more than the limit is.
        within_reach = best / length_normalizer(limit, options.length_penalty, options.length_normalization)
        return scores[wanted - 1] >= within_reach


def length_normalizer(length: int, alpha: float, kind: Normalization = "gnmt") -> float:
    """What a log-probability is divided by: GNMT's length penalty (Wu et al. 2016, eq. 14), or length to the alpha."""
    return float(((5 + length) / 6 if kind == "gnmt" else length) ** alpha)


def coverage(attention: Array, source_length: int) -> float:
    """GNMT's coverage (Wu et al. 2016, eq. 14) of attention [T, S]: 0 where each source token got 1 in all, else less.

    A token that got none counts as one that got 1e-6.
    """
    got = array_namespace(attention).sum(attention, axis=0)[:source_length].tolist()
    return sum(math.log(min(max(total, 1e-6), 1.0)) for total in got)


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

    source [B, S] and source_length [B] go to the decoder as they are (an ensemble takes tuples of them). max_length and
    min_length are one limit a sentence, EOS counted; a hypothesis that reaches its longest must end there. Each step
    keeps the `beam_size` likeliest unfinished hypotheses; one that would rank among them but ends in EOS is finished
    instead. A sentence leaves the batch when it is done by the rule `options.stopping` or no unfinished hypothesis is
    left. Where no hypothesis obeys the sentence's constraint within its limit, those that come closest are given.
    """
    width = options.beam_size // options.groups
    choice = Likeliest(width, options.groups, options.diversity)
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
    """So many translations of each sentence, drawn independently; all of them, in no order.

    `numbers` are one a sentence, its line for example: what is drawn depends on the seed, that number and the sentence,
    not on the batch. The rest is as in `beam_search`, without the options that make and rank a beam. Raises ValueError
    for a constraint that requires something: it would not be drawn fairly.
    """
    if any(one and one.rule(one.start()).wanted for one in constraints or ()):
        raise ValueError("phrases cannot be required of samples")
    count = sampling.samples
    options = replace(options, beam_size=count, n_best=count, groups=1, stopping="count")
    draw = Draw(sampling, numbers)
    pools = _search(decoder, source, source_length, (min_length, max_length), options, draw, count, constraints)
    found = [[hypothesis for _, hypothesis in pool.finished] for (pool,) in pools]
    return [[own[place] for place in draw.shuffled(n, len(own))] for n, own in enumerate(found)]


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
    """The loop; it begins with `copies` empty hypotheses a sentence and returns the pool of each group."""
    count, width = len(limits[1]), options.beam_size // options.groups
    constraints = constraints or [None] * count
    shortest = limits[0] or [1] * count
    longest = [max(limit, one.shortest if one else 1) for limit, one in zip(limits[1], constraints, strict=True)]
    source_lengths = first_array(source_length).tolist()
    pools = [[_Pool() for _ in range(options.groups)] for _ in range(count)]
    tracker = Tracker(constraints, copies)
    sentences = list(range(count))  # which sentence each row of the batch is
    memory, cache = decoder.start(source, source_length)
    beam = _first_beam(first_array(source), count, copies)
    if copies > 1:
        cache = select_rows(cache, index_array([row for row in sentences for _ in range(copies)], beam.tokens))
    while sentences:
        length = beam.tokens.shape[2]  # of what this step makes, EOS counted
        step = decoder.step(beam.tokens[:, :, -1], memory, cache)
        attention = beam.extended(step) if options.keep_attention or options.coverage_penalty else None
        if options.coverage_penalty and attention is None:
            raise UserError("a coverage penalty needs attention, and this model gives none", "set it to 0")
        totals = step.log_probs  # the largest array there is: it is not copied
        totals += beam.log_prob[:, :, None]
        left = [longest[sentence] - length for sentence in sentences]
        too_short = [row for row, sentence in enumerate(sentences) if length < shortest[sentence]]
        restrict(totals, beam.tokens, options.no_repeat_ngram, tracker, too_short, left, options.byte_pieces)
        chosen = choice(totals, sentences, tracker).on_host()  # [B, G, C]
        for row, group, rank in _finished(chosen, width):
            parent = int(chosen.parent[row, group, rank])
            log_prob = float(chosen.log_prob[row, group, rank])
            tokens = (*beam.tokens[row, parent, 1:].tolist(), EOS)
            weights = None if attention is None else attention[row, parent]
            score = hypothesis_score(log_prob, length, weights, source_lengths[sentences[row]], options)
            rule = tracker.rule(row, parent)
            kept = weights if options.keep_attention else None
            entry = rule.progress, Hypothesis(tokens, log_prob, score, kept, rule.may_end)
            pools[sentences[row]][group].finished.append(entry)
        chosen, going = _going(
            unfinished(chosen, width),
            [pools[sentence] for sentence in sentences],
            [longest[sentence] for sentence in sentences],
            length,
            options,
        )
        beam, cache = _advance(beam, attention, step, chosen, going)
        tracker.advance(going, chosen.parent[:, 0], chosen.token[:, 0])
        if len(going) < len(sentences):
            memory = select_rows(memory, index_array(going, beam.tokens))
            sentences = [sentences[row] for row in going]
    return pools


def _first_beam(like: Array, count: int, copies: int) -> _Beam:
    """So many copies of the empty hypothesis for each sentence."""
    xp, where = array_namespace(like), device(like)
    tokens = xp.full((count, copies, 1), BOS, dtype=xp.int64, device=where)
    return _Beam(tokens, xp.zeros((count, copies), dtype=xp.float32, device=where), None)


def _finished(chosen: Continuations, width: int) -> Iterator[tuple[int, int, int]]:
    """Row, group and rank of those of the first `width` continuations of each group that end a hypothesis."""
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
    """Those that obey, best first; if none does, those that come closest first."""
    if any(hypothesis.obeys for _, hypothesis in entries):
        entries = [(0, hypothesis) for _, hypothesis in entries if hypothesis.obeys]
    return [hypothesis for _, hypothesis in sorted(entries, key=lambda entry: (-entry[0], -entry[1].score))]


def _going(
    chosen: Continuations, pools: Sequence[Sequence[_Pool]], limits: Sequence[int], length: int, options: SearchOptions
) -> tuple[Continuations, list[int]]:
    """The rows that go on, and their hypotheses without groups that are done: [B', 1, N'].

    There are no more of them a row than the row that has most needs.
    """
    live = np.isfinite(chosen.log_prob)
    counts = live.sum(axis=2)  # [B, G]
    best = chosen.log_prob.max(axis=2, initial=-math.inf, where=live).tolist()
    for row, (groups, limit) in enumerate(zip(pools, limits, strict=True)):
        for group, pool in enumerate(groups):
            if pool.finished and counts[row, group] and pool.done(options, best[row][group], length, limit):
                counts[row, group] = 0
    going = counts.any(axis=1).nonzero()[0]
    width = int(counts.max(initial=0))
    log_prob, parent, token = (array[going][:, :, :width] for array in (chosen.log_prob, chosen.parent, chosen.token))
    is_open = counts[going] > 0  # [B', G]
    log_prob = np.where(is_open[:, :, None] & np.isfinite(log_prob), log_prob, -math.inf)
    shape = (len(going), 1, len(pools[0]) * width)
    return Continuations(*(array.reshape(shape) for array in (log_prob, parent, token))), going.tolist()


def _advance(
    beam: _Beam, attention: Array | None, step: Step, chosen: Continuations, going: list[int]
) -> tuple[_Beam, Array]:
    """The beam and the cache after the chosen continuations [B', 1, N'] of the rows that go on."""
    xp, where = array_namespace(beam.tokens), device(beam.tokens)
    batch, slots, length = beam.tokens.shape
    parent = chosen.parent[:, 0]
    rows = (np.asarray(going, dtype=np.int64)[:, None] * slots + parent).ravel()  # the old row of each hypothesis
    stays = len(rows) == batch * slots and bool((rows == np.arange(len(rows))).all())
    flat, value, token = (
        xp.asarray(array, device=where) for array in (rows, chosen.log_prob[:, 0], chosen.token[:, 0])
    )
    prefix = xp.take(xp.reshape(beam.tokens, (batch * slots, length)), flat, axis=0)
    tokens = xp.concat([xp.reshape(prefix, (*parent.shape, length)), token[:, :, None]], axis=2)
    if attention is not None:
        rest = attention.shape[2:]
        attention = xp.take(xp.reshape(attention, (batch * slots, *rest)), flat, axis=0)
        attention = xp.reshape(attention, (*parent.shape, *rest))
    return _Beam(tokens, value, attention), step.cache if stays else select_rows(step.cache, flat)
