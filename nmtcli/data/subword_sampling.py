"""Subword regularisation: unigram sampling (Kudo 2018) and BPE-dropout (Provilkov et al. 2020).

SentencePiece can sample too, but mixes a number of the process into the seed: a resumed training run would not be
reproducible.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from random import Random

# A position of a lattice: its incoming edges, each with start position and piece id, and the cumulative sum of their
# weights.
_Step = tuple[list[tuple[int, int]], list[float]]


_WORD = 20  # characters; longer texts are not remembered


class UnigramSampler:
    """Samples a segmentation with probability proportional to that of the unigram model to the power of alpha."""

    def __init__(self, pieces: Mapping[str, int], scores: Mapping[int, float]) -> None:
        self._pieces = pieces
        self._scores = scores  # log-probabilities
        self._longest = max(map(len, pieces), default=0)
        self._known_lattice = lru_cache(2**14)(self._make_lattice)

    def sample(self, text: str, alpha: float, generator: Random) -> list[int]:
        """Ids of a sampled segmentation of a text that has at least one."""
        # a few thousand words make up most of a text; where a "word" is a whole sentence, hardly one comes again
        make = self._known_lattice if len(text) <= _WORD else self._make_lattice
        lattice = make(text, alpha)
        ids = []
        position = len(text)
        while position:
            edges, weights = lattice[position]
            position, piece = generator.choices(edges, cum_weights=weights)[0]
            ids.append(piece)
        return ids[::-1]

    def _make_lattice(self, text: str, alpha: float) -> list[_Step]:
        """The lattice; the weight of an edge is that of all segmentations up to the end of its piece."""
        totals = [0.0]  # logarithms
        lattice: list[_Step] = [([], [])]
        for end in range(1, len(text) + 1):
            edges = []
            logs = []
            for start in range(max(0, end - self._longest), end):
                piece = self._pieces.get(text[start:end])
                if piece is not None and totals[start] > -math.inf:
                    edges.append((start, piece))
                    logs.append(totals[start] + alpha * self._scores[piece])
            top = max(logs, default=-math.inf)
            weights: list[float] = []
            for log in logs:
                weights.append((weights[-1] if weights else 0.0) + math.exp(log - top))
            totals.append(top + math.log(weights[-1]) if weights else -math.inf)
            lattice.append((edges, weights))
        return lattice


class BpeSampler:
    """Merges like BPE, but skips each possible merge of a step with probability alpha."""

    def __init__(self, pieces: Mapping[str, int], scores: Mapping[int, float]) -> None:
        self._pieces = pieces
        self._scores = {piece: scores[number] for piece, number in pieces.items()}  # higher scores merge earlier

    def sample(self, text: str, alpha: float, generator: Random) -> list[int] | None:
        """Ids of a sampled segmentation; None if an unmerged character is not a piece."""
        parts = list(text)
        while True:
            best, where = -math.inf, -1
            for place in range(len(parts) - 1):
                score = self._scores.get(parts[place] + parts[place + 1])
                if score is not None and generator.random() >= alpha and score > best:
                    best, where = score, place
            if where < 0:
                break
            parts[where : where + 2] = [parts[where] + parts[where + 1]]
        ids = [self._pieces.get(part) for part in parts]
        return None if None in ids else [number for number in ids if number is not None]
