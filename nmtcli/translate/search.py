"""Beam search over the step protocol. It knows no model, and neither PyTorch nor NumPy by name.

One function serves greedy search (a beam of one), beam search and n-best lists, for every model and ensemble.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from array_api_compat import array_namespace, device, is_torch_array

from nmtcli.models.protocol import Array, Step, StepDecoder, select_rows
from nmtcli.vocabulary import BOS, EOS, PAD


@dataclass(frozen=True)
class SearchOptions:
    """What to search for."""

    beam_size: int = 5
    n_best: int = 1
    length_penalty: float = 1.0
    keep_attention: bool = False


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation: ids up to and with EOS, its log-probability, and the score it was ranked by."""

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    attention: Array | None = None  # [T, S]


@dataclass(frozen=True)
class _Beam:
    """The unfinished hypotheses of the sentences in the batch; all have the same length t."""

    tokens: Array  # [B, K, t], from BOS
    log_prob: Array  # [B, K]; -inf where there is no hypothesis
    attention: Array | None  # [B, K, t - 1, S]

    def extended(self, step: Step) -> Array | None:
        """The attention of these hypotheses with that of `step`: [B, K, t, S]."""
        if step.attention is None:
            return None
        latest = step.attention[:, :, None, :]
        return latest if self.attention is None else array_namespace(latest).concat([self.attention, latest], axis=2)


def length_normalizer(length: int, alpha: float) -> float:
    """GNMT's length penalty (Wu et al. 2016, eq. 14): a score is a log-probability divided by it."""
    return float(((5 + length) / 6) ** alpha)


def beam_search(
    decoder: StepDecoder, source: Array, source_length: Array, max_length: Sequence[int], options: SearchOptions
) -> list[list[Hypothesis]]:
    """The finished hypotheses of each sentence, best first, at most `n_best` each.

    source [B, S] and source_length [B] go to the decoder as they are. max_length is one limit a sentence, EOS counted;
    a hypothesis that reaches it must end there. Each step keeps the `beam_size` likeliest unfinished hypotheses; one
    that would rank among them but ends in EOS is finished instead. A sentence is done, and leaves the batch, when
    `beam_size` of its hypotheses are finished (the rule of fairseq) or no unfinished one is left.
    """
    beam_size = options.beam_size
    pools: list[list[Hypothesis]] = [[] for _ in max_length]
    sentences = list(range(len(max_length)))  # which sentence each row of the batch is
    memory, cache = decoder.start(source, source_length)
    beam = _first_beam(source)
    length = 0
    while sentences:
        length += 1
        step = decoder.step(beam.tokens[:, :, -1], memory, cache)
        attention = beam.extended(step) if options.keep_attention else None
        at_limit = [row for row, sentence in enumerate(sentences) if length >= max_length[sentence]]
        totals = _totals(beam.log_prob, step.log_probs, at_limit)
        value, parent, token = _likeliest(totals, 2 * beam_size)  # [B, 2K]: K of them at most are EOS
        for row, rank in _finished(value[:, :beam_size], token[:, :beam_size]):
            origin = int(parent[row, rank])
            tokens = (*beam.tokens[row, origin, 1:].tolist(), EOS)
            log_prob = float(value[row, rank])
            score = log_prob / length_normalizer(length, options.length_penalty)
            weights = None if attention is None else attention[row, origin]
            pools[sentences[row]].append(Hypothesis(tokens, log_prob, score, weights))
        value, parent, token = _unfinished(value, parent, token, beam_size)  # [B, K]
        alive = array_namespace(value).isfinite(value[:, 0]).tolist()
        going = [r for r, s in enumerate(sentences) if alive[r] and len(pools[s]) < beam_size]
        beam, cache = _advance(beam, attention, step, (value, parent, token), going)
        if len(going) < len(sentences):
            memory = select_rows(memory, _index(going, value))
            sentences = [sentences[row] for row in going]
    return [sorted(pool, key=lambda hypothesis: -hypothesis.score)[: options.n_best] for pool in pools]


def _first_beam(source: Array) -> _Beam:
    """One empty hypothesis a sentence; the first step makes them `beam_size`."""
    xp, where = array_namespace(source), device(source)
    tokens = xp.full((source.shape[0], 1, 1), BOS, dtype=xp.int64, device=where)
    return _Beam(tokens, xp.zeros((source.shape[0], 1), dtype=xp.float32, device=where), None)


def _totals(log_prob: Array, next_log_probs: Array, at_limit: list[int]) -> Array:
    """Log-probabilities [B, K, V] of all hypotheses one token longer; only EOS for the rows at their limit."""
    totals = log_prob[:, :, None] + next_log_probs
    totals[:, :, PAD] = -math.inf
    totals[:, :, BOS] = -math.inf
    if at_limit:
        ending = totals[at_limit][:, :, EOS]
        totals[at_limit] = -math.inf
        totals[at_limit, :, EOS] = ending
    return totals


def _likeliest(totals: Array, count: int) -> tuple[Array, Array, Array]:
    """The `count` best continuations of each sentence, best first: log-probability, hypothesis, token, each [B, ·]."""
    xp = array_namespace(totals)
    batch, beam, size = totals.shape
    flat = xp.reshape(totals, (batch, beam * size))
    count = min(count, beam * size)
    if is_torch_array(flat):
        value, index = flat.topk(count)
    else:
        index = flat.argpartition(-count, axis=1)[:, -count:]
        value = xp.take_along_axis(flat, index, axis=1)
        order = xp.argsort(-value, axis=1, stable=True)
        value, index = xp.take_along_axis(value, order, axis=1), xp.take_along_axis(index, order, axis=1)
    return value, index // size, index % size


def _finished(value: Array, token: Array) -> Iterator[tuple[int, int]]:
    """Row and rank of the continuations that end a hypothesis."""
    ends = (token == EOS) & array_namespace(value).isfinite(value)
    for row, ranks in enumerate(ends.tolist()):
        for rank, end in enumerate(ranks):
            if end:
                yield row, rank


def _unfinished(value: Array, parent: Array, token: Array, count: int) -> tuple[Array, Array, Array]:
    """The `count` best continuations that do not end, best first; -inf where there are fewer."""
    xp = array_namespace(value)
    ends = token == EOS
    value = xp.where(ends, -math.inf, value)
    order = xp.argsort(xp.astype(ends, xp.int64), axis=1, stable=True)[:, :count]
    value, parent, token = (xp.take_along_axis(array, order, axis=1) for array in (value, parent, token))
    return value, parent, token


def _advance(
    beam: _Beam, attention: Array | None, step: Step, chosen: tuple[Array, Array, Array], going: list[int]
) -> tuple[_Beam, Array]:
    """The beam and the cache after the chosen continuations, with the rows of finished sentences left out."""
    xp = array_namespace(beam.tokens)
    batch, width, length = beam.tokens.shape
    rows = _index(going, beam.tokens)
    value, parent, token = (xp.take(array, rows, axis=0) for array in chosen)  # [B', K]
    flat = xp.reshape(rows[:, None] * width + parent, (-1,))  # the old row of each new hypothesis
    shape = (len(going), token.shape[1])
    prefix = xp.reshape(xp.take(xp.reshape(beam.tokens, (batch * width, length)), flat, axis=0), (*shape, length))
    tokens = xp.concat([prefix, token[:, :, None]], axis=2)
    if attention is not None:
        rest = attention.shape[2:]
        attention = xp.take(xp.reshape(attention, (batch * width, *rest)), flat, axis=0)
        attention = xp.reshape(attention, (*shape, *rest))
    return _Beam(tokens, value, attention), select_rows(step.cache, flat)


def _index(rows: list[int], like: Array) -> Array:
    xp = array_namespace(like)
    return xp.asarray(rows, dtype=xp.int64, device=device(like))
