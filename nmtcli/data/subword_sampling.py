"""Other segmentations of the same text, drawn at random: unigram sampling (Kudo 2018) and BPE-dropout (Provilkov et al.
2020).

SentencePiece can draw them too, but mixes a number of its own into the seed, another one in each process: a training
that goes on after an interruption would not be the same.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from random import Random

# One step of a lattice: the ways to reach a position, each the position it comes from and the id of the piece between,
# and the running sum of their weights.
_Step = tuple[list[tuple[int, int]], list[float]]


class UnigramSampler:
    """Draws a segmentation with a probability in proportion to that of the unigram model, to the power of alpha."""

    def __init__(self, pieces: Mapping[str, int], scores: Mapping[int, float]) -> None:
        self._pieces = pieces
        self._scores = scores  # log-probabilities
        self._longest = max(map(len, pieces), default=0)
        # most words of a text are a few thousand that come again and again
        self._lattice = lru_cache(2**14)(self._make_lattice)

    def draw(self, text: str, alpha: float, generator: Random) -> list[int]:
        """Ids of a text that has at least one segmentation."""
        lattice = self._lattice(text, alpha)
        ids = []
        position = len(text)
        while position:
            ways, weights = lattice[position]
            position, piece = generator.choices(ways, cum_weights=weights)[0]
            ids.append(piece)
        return ids[::-1]

    def _make_lattice(self, text: str, alpha: float) -> list[_Step]:
        """The steps to each position; the weight of a way is that of all segmentations up to the end of its piece."""
        totals = [0.0]  # logarithms
        lattice: list[_Step] = [([], [])]
        for end in range(1, len(text) + 1):
            ways = []
            logs = []
            for start in range(max(0, end - self._longest), end):
                piece = self._pieces.get(text[start:end])
                if piece is not None and totals[start] > -math.inf:
                    ways.append((start, piece))
                    logs.append(totals[start] + alpha * self._scores[piece])
            top = max(logs, default=-math.inf)
            weights: list[float] = []
            for log in logs:
                weights.append((weights[-1] if weights else 0.0) + math.exp(log - top))
            totals.append(top + math.log(weights[-1]) if weights else -math.inf)
            lattice.append((ways, weights))
        return lattice


class BpeSampler:
    """Merges as BPE does, but leaves out each merge that is possible at a step with probability alpha."""

    def __init__(self, pieces: Mapping[str, int], scores: Mapping[int, float]) -> None:
        self._pieces = pieces
        self._scores = {piece: scores[number] for piece, number in pieces.items()}  # the higher, the earlier a merge

    def draw(self, text: str, alpha: float, generator: Random) -> list[int] | None:
        """Ids of a text; None if a character that stays alone is no piece."""
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
