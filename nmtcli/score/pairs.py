"""Scores of given sentence pairs by a model: log-probabilities and word alignment."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from nmtcli.data.batching import Sentences, length_batches, pad, round_up
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.data.words import NO_WORD, raw_words
from nmtcli.metrics import perplexity
from nmtcli.metrics.alignment import Link, word_links
from nmtcli.translate.forced import Floats, Forced
from nmtcli.vocabulary import EOS

_rounded = partial(round_up, multiple=8)  # lengths of batches: each new shape costs memory that is not given back


@dataclass(frozen=True)
class PairScore:
    """The score of a target given its source. `links` is the word alignment of the raw lines, None if not requested."""

    pieces: list[str]  # of the tokenizer, with EOS
    log_probs: list[float]  # natural logarithms, one per piece
    links: tuple[Link, ...] | None = None

    @property
    def log_prob(self) -> float:
        """The log-probability of the whole target, without length normalisation."""
        return math.fsum(self.log_probs)

    @property
    def per_token(self) -> float:
        """The mean log-probability of the pieces, EOS included."""
        return self.log_prob / len(self.log_probs)

    @property
    def perplexity(self) -> float:
        """The perplexity of the target per token."""
        return perplexity(self.per_token)


class PairScorer:
    """A model and its tokenizers, ready to score pairs of lines."""

    def __init__(
        self, forced: Forced, tokenizers: Tokenizers, batch_tokens: int, max_tokens: int | None = None
    ) -> None:
        """`batch_tokens` is the batch size on the longer side, padding included; it affects speed only.

        `max_tokens` is the longest side that the engine can score; None: any.
        """
        self._forced, self._tokenizers, self._batch_tokens = forced, tokenizers, batch_tokens
        self._max_tokens = max_tokens

    def score(self, sources: Sequence[str], targets: Sequence[str], links: bool = False) -> list[PairScore | None]:
        """A score for each pair, in order; None if the source is empty after normalisation or the pair too long."""
        tokenizers = self._tokenizers.source, self._tokenizers.target
        source_ids, target_ids = tokenizers[0].encode(list(sources)), tokenizers[1].encode(list(targets))
        longest = tokenizers[0].max_tokens  # of a pretrained encoder, which reads no more
        source_ids = [ids[:longest] for ids in source_ids]
        scores: list[PairScore | None] = [None] * len(sources)
        pairs = zip(source_ids, target_ids, strict=True)
        sizes = [max(map(len, pair)) if pair[0] else 0 for pair in pairs]
        if self._max_tokens is not None:
            sizes = [size if size <= self._max_tokens else 0 for size in sizes]
        lengths = [_rounded(size + 1) if size else 0 for size in sizes]
        for rows in length_batches(lengths, self._batch_tokens):
            batch = [source_ids[row] for row in rows], [target_ids[row] for row in rows]
            scored = score_ids(self._forced, *batch, attention=links, longest=longest)
            for row, (log_probs, weights) in zip(rows, scored, strict=True):
                pieces = [*tokenizers[1].pieces(target_ids[row]), "</s>"]
                linked = None
                if weights is not None:
                    texts = (sources[row], source_ids[row]), (targets[row], target_ids[row])
                    words = (raw_words(one, *text) for one, text in zip(tokenizers, texts, strict=True))
                    linked = word_links(weights, *([*numbers, NO_WORD] for numbers in words))  # of EOS
                scores[row] = PairScore(pieces, log_probs, linked)
        return scores


def score_ids(
    forced: Forced,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    attention: bool = False,
    longest: int | None = None,
) -> Iterator[tuple[list[float], Floats | None]]:
    """One batch of ids without EOS: log-probabilities [T] and attention [T, S] of each pair, with those of EOS.

    Sources are padded to `longest` tokens and EOS at most.
    """

    def within(size: int) -> int:
        return _rounded(size) if longest is None else min(_rounded(size), longest + 1)

    source, source_length = pad(Sentences.of(sources), after=EOS, padded_length=within)
    target, target_length = pad(Sentences.of(targets), after=EOS, padded_length=_rounded)
    log_probs, weights = forced(source, source_length, target, attention)
    for row, (read, written) in enumerate(zip(source_length.tolist(), target_length.tolist(), strict=True)):
        yield log_probs[row, :written].tolist(), None if weights is None else weights[row, :written, :read]
