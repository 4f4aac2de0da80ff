"""Decoders of a few lines whose every translation can be written down, and the writing down."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from nmtcli.models.protocol import Step
from nmtcli.translate.search import length_normalizer
from nmtcli.vocabulary import BOS, EOS, PAD

Tokens = tuple[int, ...]


@dataclass
class Table:
    """A decoder whose next-token distribution depends on the sentence and on the whole prefix, by a hash.

    It counts the rows it is asked for, and its attention over `source_length` tokens is as random.
    """

    size: int
    seed: int
    torch: bool = False
    attends: bool = False
    sharpness: float = 2.0
    rows: list[int] = field(default_factory=list)
    known: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def random(self, sentence: int, history: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, sentence, history))

    def row(self, sentence: int, history: int) -> np.ndarray:
        if (sentence, history) not in self.known:
            self.known[sentence, history] = self.log_probs(sentence, history)
        return self.known[sentence, history]

    def log_probs(self, sentence: int, history: int) -> np.ndarray:
        logits = self.random(sentence, history).normal(size=self.size) * self.sharpness
        logits[[PAD, BOS]] = -np.inf
        return (logits - np.log(np.exp(logits).sum())).astype(np.float32)

    def attention(self, sentence: int, history: int, length: int, width: int) -> np.ndarray:
        weights = self.random(sentence, history + 1).dirichlet(np.full(length, 0.5))
        return np.pad(weights, (0, width - length)).astype(np.float32)

    def start(self, source, source_length):
        memory = {"sentence": source[:, 0], "length": source_length}
        if self.attends:
            memory["source"] = source
        return memory, (source[:, 0] * 0,)

    def step(self, tokens, memory, cache):
        beam = tokens.shape[1]
        history = (cache[0] * self.size + tokens.reshape(-1)) % 2**55  # long ones are any number
        self.rows.append(len(history))
        pairs = [(int(memory["sentence"][n // beam]), int(h)) for n, h in enumerate(history)]
        log_probs = np.stack([self.row(*pair) for pair in pairs]).reshape(-1, beam, self.size)
        attention = None
        if self.attends:
            width = memory["source"].shape[1]
            lengths = [int(memory["length"][n // beam]) for n in range(len(pairs))]
            looked = [self.attention(*pair, length, width) for pair, length in zip(pairs, lengths, strict=True)]
            attention = np.stack(looked).reshape(-1, beam, width)
        if self.torch:
            log_probs = torch.from_numpy(log_probs)
            attention = None if attention is None else torch.from_numpy(attention)
        return Step(log_probs, (history,), attention)

    def log_prob(self, sentence: int, tokens: Tokens) -> float:
        history, total = BOS, np.float32(0)
        for token in tokens:
            total += self.row(sentence, history)[token]
            history = history * self.size + token
        return float(total)

    def arrays(self, sentences: Sequence[int], lengths: Sequence[int] | None = None):
        """Source and length for a search; a sentence is its number, and zeros where it is longer."""
        lengths = lengths or [1] * len(sentences)
        source = np.zeros((len(sentences), max(lengths)), dtype=np.int64)
        source[:, 0] = sentences
        length = np.array(lengths, dtype=np.int64)
        return (torch.from_numpy(source), torch.from_numpy(length)) if self.torch else (source, length)


def every_translation(size: int, limit: int, shortest: int = 1) -> list[Tokens]:
    words = range(EOS + 1, size)
    return [
        (*prefix, EOS)
        for length in range(shortest, limit + 1)
        for prefix in itertools.product(words, repeat=length - 1)
    ]


def exhaustive(
    table,
    sentence: int,
    limit: int,
    alpha: float,
    kind: str = "gnmt",
    allowed: Callable[[Tokens], bool] = lambda tokens: True,
    shortest: int = 1,
) -> list[tuple[float, Tokens]]:
    """Every allowed translation of at most `limit` tokens with its score, best first."""
    found = [
        (table.log_prob(sentence, tokens) / length_normalizer(len(tokens), alpha, kind), tokens)
        for tokens in every_translation(table.size, limit, shortest)
        if allowed(tokens)
    ]
    return sorted(found, reverse=True)


def occurrences(phrase: Tokens, tokens: Tokens) -> int:
    return sum(tokens[n : n + len(phrase)] == phrase for n in range(len(tokens)))
