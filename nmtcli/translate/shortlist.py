"""Vocabulary shortlists, learned from the training data.

A sentence is translated with the probable translations of its source tokens and the most frequent tokens. The
translation table is that of IBM model 1 (Brown et al. 1993), estimated by expectation maximisation on a sample. The
shortlist of a model is `shortlist.safetensors` in its directory:

    Shortlist.learn(open_data(data).train, info.source_size, info.target_size).save(directory)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from nmtcli.checkpoint import tensor_file
from nmtcli.errors import DataError, UserError
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.constraints import Constraint, Rule, SharedTokens, State
from nmtcli.translate.decoding import Detokenizer
from nmtcli.translate.search import Hypothesis
from nmtcli.vocabulary import PAD, SPECIAL

if TYPE_CHECKING:
    from nmtcli.data.batching import Sentences
    from nmtcli.data.shards import Shards

SHORTLIST = "shortlist.safetensors"
LIKELY, FREQUENT = 20, 200  # number of tokens for each source token, and of frequent tokens
CELLS = 2 * 10**7  # pairs of a source and a target position in the sample, about 1 GB of memory
ITERATIONS = 5
MULTIPLE = 256  # of the number of candidates

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """The candidate tokens of a batch."""

    tokens: Ids  # [R], sorted; the special ids are first, so they keep their numbers
    allowed: NDArray[np.bool_]  # [B, R]: the candidates of each sentence

    def constraints(self, constraints: Iterable[Constraint | None]) -> list[Constraint | None]:
        """Constraints over candidate numbers; sentences keep sharing them."""
        within = cache(lambda constraint: CandidateConstraint(constraint, self.tokens))
        return [None if constraint is None else within(constraint) for constraint in constraints]

    def originals(self, pools: Iterable[Iterable[Hypothesis]]) -> list[list[Hypothesis]]:
        """Hypotheses with ids of the vocabulary instead of candidate numbers."""
        return [[replace(one, tokens=tuple(self._ids(one.tokens))) for one in pool] for pool in pools]

    def detokenizer(self, detokenize: Detokenizer) -> Detokenizer:
        """A detokenizer for candidate numbers."""
        return lambda rows: detokenize(self._ids(row) for row in rows)

    def _ids(self, numbers: Sequence[int]) -> list[int]:
        return cast("list[int]", self.tokens[list(numbers)].tolist())


@dataclass(frozen=True)
class Shortlist:
    """The probable target tokens of each source token, and the most frequent ones."""

    likely: NDArray[np.int32]  # [source vocabulary, k], padded with PAD
    frequent: NDArray[np.int32]  # [N]
    target_size: int

    @classmethod
    def learn(
        cls, shards: "Shards", source_size: int, target_size: int, likely: int = LIKELY, frequent: int = FREQUENT
    ) -> "Shortlist":
        """Learn from training pairs, or from an evenly spaced sample of them.

        `source_size` and `target_size` are vocabulary sizes. The same data gives the same shortlist.
        """
        rows = _sample(shards)
        source, target = shards.gather(rows)
        pairs, probabilities = _translation_table(source, target, target_size)
        best = np.lexsort((-probabilities, pairs // target_size))
        owner = pairs[best] // target_size
        first = np.searchsorted(owner, np.arange(source_size + 1))
        rank = np.arange(len(best)) - first[owner]
        kept = rank < likely
        table = np.full((source_size, likely), PAD, dtype=np.int32)
        table[owner[kept], rank[kept]] = pairs[best][kept] % target_size
        counts = np.bincount(target.ids, minlength=target_size)
        common = np.argsort(-counts, kind="stable")[:frequent]
        return cls(table, np.sort(common[counts[common] > 0]).astype(np.int32), target_size)

    def save(self, directory: Path) -> None:
        """Write `shortlist.safetensors` into a model directory. Raises OSError."""
        from safetensors.numpy import save_file  # noqa: PLC0415 - rarely needed

        size = np.array([self.target_size], dtype=np.int32)
        with tensor_file(directory / SHORTLIST):
            save_file({"likely": self.likely, "frequent": self.frequent, "target_size": size}, directory / SHORTLIST)

    @classmethod
    def load(cls, directory: Path, source_size: int, target_size: int) -> "Shortlist":
        """The shortlist in the model directory, for vocabularies of these sizes.

        Raises UserError if there is none, DataError if it is damaged or of another model.
        """
        from safetensors import SafetensorError  # noqa: PLC0415 - rarely needed
        from safetensors.numpy import load_file  # noqa: PLC0415

        path = directory / SHORTLIST
        if not path.is_file():
            raise UserError(f"{directory}: has no vocabulary shortlist", "export it with --vocabulary-shortlist")
        try:
            arrays = load_file(path)
            shortlist = cls(arrays["likely"], arrays["frequent"], int(arrays["target_size"][0]))
        except (SafetensorError, OSError, KeyError, IndexError) as error:
            raise DataError(f"{path}: damaged or cut short ({error})", "export the model again") from None
        largest = max(int(part.max(initial=0)) for part in (shortlist.likely, shortlist.frequent))
        if len(shortlist.likely) != source_size or shortlist.target_size != target_size or largest >= target_size:
            raise DataError(f"{path}: is of another model", "export the model again")
        return shortlist

    def candidates(
        self, source: Ids, constraints: Sequence[Constraint | None], byte_pieces: BytePieces | None = None
    ) -> Candidates:
        """The candidates of padded source ids [B, S], with the tokens that constraints need; first bytes of
        `byte_pieces` only with a possible second byte.
        """
        allowed = np.zeros((len(source), self.target_size), dtype=np.bool_)
        allowed[:, self.frequent] = True
        allowed[np.arange(len(source))[:, None, None], self.likely[source]] = True
        allowed[:, :SPECIAL] = True
        for row, constraint in enumerate(constraints):
            if constraint is not None:
                allowed[row, list(constraint.needed)] = True
        if byte_pieces is not None:
            byte_pieces.prune(allowed)
        needed: NDArray[np.bool_] = np.logical_or.reduce(allowed, axis=0)
        # padded with tokens that no sentence is allowed, as kernels are compiled for each matrix size
        needed[np.flatnonzero(~needed)[: -int(needed.sum()) % MULTIPLE]] = True
        tokens = np.flatnonzero(needed)
        return Candidates(tokens, allowed[:, tokens])


class CandidateConstraint:
    """A constraint over candidate numbers instead of ids."""

    def __init__(self, constraint: Constraint, tokens: Ids) -> None:
        self._constraint, self._tokens = constraint, tokens.tolist()
        self._numbers = {token: number for number, token in enumerate(self._tokens)}
        self._rules: dict[State, Rule] = {}
        self._shared: dict[SharedTokens, SharedTokens] = {}

    @property
    def shortest(self) -> int:
        """See `Constraint`."""
        return self._constraint.shortest

    @property
    def needed(self) -> frozenset[int]:
        """See `Constraint`."""
        return frozenset(self._numbered(tuple(self._constraint.needed)))

    def start(self) -> State:
        """See `Constraint`."""
        return self._constraint.start()

    def advance(self, state: State, token: int) -> State:
        """See `Constraint`."""
        return self._constraint.advance(state, self._tokens[token])

    def rule(self, state: State) -> Rule:
        """See `Constraint`."""
        if state not in self._rules:
            rule = self._constraint.rule(state)
            self._rules[state] = Rule(
                rule.may_end,
                None if rule.only is None else self._numbers[rule.only],
                self._numbered(rule.forbidden),
                self._numbered(rule.advancing),
                self._numbered(rule.confirming),
                rule.progress,
            )
        return self._rules[state]

    def _numbered(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """The numbers of tokens that are candidates; rules keep sharing them."""
        if not isinstance(tokens, SharedTokens):
            return tuple(self._numbers[token] for token in tokens if token in self._numbers)
        if tokens not in self._shared:
            self._shared[tokens] = SharedTokens(self._numbers[token] for token in tokens if token in self._numbers)
        return self._shared[tokens]


def _sample(shards: "Shards") -> Ids:
    """Evenly spaced rows with about CELLS pairs of positions."""
    rows = np.arange(len(shards), dtype=np.int64)
    probe = rows[:: max(1, len(rows) // 10_000)]
    source, target = shards.lengths(probe)
    each = float(((source + 1) * target.astype(np.float64)).mean()) if len(probe) else 1.0
    count = min(len(rows), max(1, int(CELLS / max(each, 1.0))))
    return np.linspace(0, len(rows) - 1, count).astype(np.int64)


def _translation_table(source: "Sentences", target: "Sentences", target_size: int) -> tuple[Ids, NDArray[np.float64]]:
    """IBM model 1: cooccurring pairs, as source · target_size + target, and the probability of each target.

    PAD is the empty source word.
    """
    source_length, target_length = source.lengths.astype(np.int64), target.lengths.astype(np.int64)
    starts = np.cumsum(source_length + 1) - source_length - 1
    read = np.insert(source.ids, np.cumsum(source_length) - source_length, PAD)
    pair = np.repeat(np.arange(len(target_length)), target_length)  # of each target position
    width = source_length[pair] + 1
    begin = np.cumsum(width) - width
    position = np.arange(int(width.sum())) - np.repeat(begin - starts[pair], width)
    keys = read[position] * target_size + np.repeat(target.ids, width)
    pairs, number = np.unique(keys, return_inverse=True)
    owner = pairs // target_size
    probability = np.ones(len(pairs))
    for _ in range(ITERATIONS):
        share = probability[number]
        share /= np.repeat(np.add.reduceat(share, begin), width)
        count = np.bincount(number, share, minlength=len(pairs))
        probability = count / np.maximum(np.bincount(owner, count), 1e-300)[owner]
    return pairs[owner != PAD], probability[owner != PAD]
