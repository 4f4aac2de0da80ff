"""Which pairs of which corpus an epoch visits, and in which order: a pure function of seed and epoch.

Each corpus is an endless sequence of rows made of cycles; a cycle visits every row once, in chunks of consecutive rows
that are shuffled among and within themselves. An epoch takes the next stretch of each sequence, as long as the corpus
times its weight. So weights are exact in the long run, and nothing has to be remembered from one epoch to the next.
"""

from collections.abc import Sequence
from enum import IntEnum
from fractions import Fraction

import numpy as np

from nmtcli.config import TrainConfig
from nmtcli.data.directory import CorpusSize
from nmtcli.data.shards import Rows
from nmtcli.errors import UserError, nearest

CHUNK_ROWS = 2048  # read together, so near each other in the file
BLOCK_ROWS = 4_000_000  # planned together: what is in memory at once, some hundred bytes a row


class Purpose(IntEnum):
    """What random numbers are for; keeps streams of like keys apart."""

    CHUNKS = 1
    ROWS_OF_CHUNK = 2
    BLOCKS = 3
    ROWS_OF_BLOCK = 4
    BATCHES = 5
    SUBWORDS = 6
    DROPOUT = 7


def seeds(purpose: Purpose, *key: int) -> np.random.SeedSequence:
    """The seeds for one purpose and place."""
    return np.random.SeedSequence((purpose, *key))


def corpus_weights(corpora: Sequence[CorpusSize], settings: TrainConfig) -> list[Fraction]:
    """How often an epoch visits each pair of each corpus.

    Raises UserError for a weight without its corpus, and where no pair is left.
    """
    names = [corpus.name for corpus in corpora]
    known = f"the data has {', '.join(names)}"
    if unknown := [name for name in settings.corpus_weights if name not in names]:
        lines = (f"train.corpus_weights: there is no corpus {name}{nearest(name, names)}" for name in unknown)
        raise UserError("\n".join(lines), known)
    sizes = [corpus.pairs for corpus in corpora]
    totals = {name: sum(corpus.pairs for corpus in corpora if corpus.name == name) for name in names}
    if settings.corpus_temperature is not None:
        shares = {name: total ** (1 / settings.corpus_temperature) for name, total in totals.items()}
        scale = sum(sizes) / sum(shares.values())
        return [_exactly(shares[name] * scale / totals[name]) if totals[name] else Fraction(0) for name in names]
    weights = [_exactly(settings.corpus_weights.get(name, 1.0)) for name in names]
    if all(weight * totals[name] < 1 for name, weight in zip(names, weights, strict=True)):
        raise UserError("train.corpus_weights leaves no training pair in an epoch", known)
    return weights


def _exactly(weight: float) -> Fraction:
    """A weight as it was written: 0.1 is a tenth."""
    return Fraction(str(weight))


class Epochs:
    """The epochs of some corpora whose rows follow each other.

    An epoch is cut into blocks of about `block_rows`, each shuffled as a whole: a corpus of any length needs the memory
    of one block, and (epoch, block) is enough to resume.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[Fraction],
        seed: int,
        names: Sequence[str] | None = None,
        *,
        chunk_rows: int = CHUNK_ROWS,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        """`sizes` are the pairs of each corpus, `weights` how often an epoch visits each of them.

        Corpora of one name are parts of one: fractions of pairs add up over them.
        """
        self.sizes, self.weights, self.seed = sizes, weights, seed
        self.chunk_rows, self.block_rows = chunk_rows, block_rows
        self._starts: list[Fraction] = []  # the fraction that the parts before leave to each
        before: dict[object, Fraction] = {}
        for name, size, weight in zip(names or range(len(sizes)), sizes, weights, strict=True):
            start = before.get(name, Fraction(0))
            self._starts.append(start)
            before[name] = (start + weight * size) % 1

    def pairs(self, epochs: int) -> int:
        """How many pairs the first so many epochs visit."""
        return sum(self._end(corpus, epochs) for corpus in range(len(self.sizes)))

    def blocks(self, epoch: int) -> int:
        """How many blocks an epoch has; none where small weights leave no pair to this one."""
        return -(-self._pairs_of(epoch) // self.block_rows)

    def rows(self, epoch: int, block: int) -> Rows:
        """The shuffled rows of one block."""
        parts = np.concatenate([self._parts(corpus, epoch) for corpus in range(len(self.sizes))])
        parts = self.random(Purpose.BLOCKS, epoch).permutation(parts)
        ends = (parts[:, 4] - parts[:, 3]).cumsum()
        of_block = parts[(ends - 1) * self.blocks(epoch) // self._pairs_of(epoch) == block]
        rows = np.concatenate([np.empty(0, np.int64), *(self._rows_of_chunk(*part) for part in of_block.tolist())])
        return self.random(Purpose.ROWS_OF_BLOCK, epoch, block).permutation(rows)

    def random(self, purpose: Purpose, *key: int) -> np.random.Generator:
        """Random numbers for one purpose and place."""
        return np.random.default_rng(seeds(purpose, self.seed, *key))

    def _pairs_of(self, epoch: int) -> int:
        return self.pairs(epoch + 1) - self.pairs(epoch)

    def _end(self, corpus: int, epochs: int) -> int:
        """How far so many epochs come in the sequence of a corpus."""
        return int(self._starts[corpus] + self.weights[corpus] * self.sizes[corpus] * epochs)

    def _parts(self, corpus: int, epoch: int) -> Rows:
        """What an epoch takes from a corpus, [parts, 5]: corpus, cycle, chunk, and from where to where in it."""
        size, position, end = self.sizes[corpus], self._end(corpus, epoch), self._end(corpus, epoch + 1)
        parts = [np.empty((0, 5), np.int64)]
        while position < end:
            cycle, start = divmod(position, size)
            stop = min(start + end - position, size)
            chunks = self.random(Purpose.CHUNKS, corpus, cycle).permutation(-(-size // self.chunk_rows))
            lengths = np.minimum(self.chunk_rows, size - chunks * self.chunk_rows)
            before = lengths.cumsum() - lengths
            first, last = np.maximum(start - before, 0), np.minimum(stop - before, lengths)
            taken = np.stack(np.broadcast_arrays(corpus, cycle, chunks, first, last), axis=1)
            parts.append(taken[first < last])
            position += stop - start
        return np.concatenate(parts)

    def _rows_of_chunk(self, corpus: int, cycle: int, chunk: int, first: int, last: int) -> Rows:
        begin = chunk * self.chunk_rows
        length = min(self.chunk_rows, self.sizes[corpus] - begin)
        order = self.random(Purpose.ROWS_OF_CHUNK, corpus, cycle, chunk).permutation(length)
        return sum(self.sizes[:corpus]) + begin + order[first:last]
