"""Sentences in, translations out, in the same order: tokenize, batch by length, search, detokenize."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from nmtcli.checkpoint import ModelInfo, find_model, read_info
from nmtcli.config import SearchConfig
from nmtcli.models.protocol import Array, StepDecoder
from nmtcli.prepare.tokenizer import Tokenizers
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.decoding import decode
from nmtcli.translate.search import Hypothesis
from nmtcli.vocabulary import EOS, PAD

if TYPE_CHECKING:
    from nmtcli.models.device import DeviceName


class Runtime(StepDecoder, Protocol):
    """An engine that runs a model, and makes arrays of its own kind."""

    def array(self, values: NDArray[np.int64]) -> Array:
        """A NumPy array as this runtime takes it."""


@dataclass(frozen=True)
class Candidate:
    """One translation of a sentence. `score` ranks; `log_prob` is the model's own log-probability of the tokens."""

    text: str
    score: float
    log_prob: float
    attention: AttentionMap | None = None


@dataclass(frozen=True)
class Translation:
    """A sentence and its translations, best first; none for a sentence without tokens."""

    source: str
    candidates: tuple[Candidate, ...]

    @property
    def text(self) -> str:
        """The best translation; empty for a sentence without tokens."""
        return self.candidates[0].text if self.candidates else ""


@dataclass(frozen=True)
class Translator:
    """A model, its tokenizers and how to search."""

    runtime: Runtime
    tokenizers: Tokenizers
    search: SearchConfig

    @classmethod
    def load(
        cls, path: Path, device: "DeviceName" = "auto", search: Callable[[SearchConfig], SearchConfig] | None = None
    ) -> "Translator":
        """The translator in a run, a checkpoint or an export; `search` may change the model's own settings."""
        directory = find_model(path)
        info = read_info(directory)
        tokenizers = Tokenizers.load(directory)
        settings = search(info.search) if search else info.search
        return cls(open_runtime(directory, info, device), tokenizers, settings)

    def translate(self, lines: Sequence[str], n_best: int = 1, attention: bool = False) -> list[Translation]:
        """A translation for each line, in order. `attention` keeps where the model looked."""
        found: list[tuple[Candidate, ...]] = [()] * len(lines)
        for order, translated in self.batches(lines, n_best, attention):
            for index, candidates in zip(order, translated, strict=True):
                found[index] = candidates
        return [Translation(line, candidates) for line, candidates in zip(lines, found, strict=True)]

    def batches(
        self, lines: Sequence[str], n_best: int = 1, attention: bool = False
    ) -> Iterator[tuple[list[int], list[tuple[Candidate, ...]]]]:
        """Batch after batch, as they are done: which lines, and their candidates. Lines without tokens are left out."""
        ids = self.tokenizers.source.encode(list(lines))
        for rows in length_batches([len(sentence) + 1 for sentence in ids], self.search.batch_tokens):
            sources = [ids[row] for row in rows]
            hypotheses = self._search(sources, rows, n_best, attention)
            yield rows, [self._candidates(*pair) for pair in zip(sources, hypotheses, strict=True)]

    def _search(
        self, sources: Sequence[list[int]], numbers: Sequence[int], n_best: int, attention: bool
    ) -> list[list[Hypothesis]]:
        length = np.array([len(sentence) + 1 for sentence in sources], dtype=np.int64)
        source = np.full((len(sources), int(length.max())), PAD, dtype=np.int64)
        for row, sentence in enumerate(sources):
            source[row, : length[row]] = [*sentence, EOS]
        array, detokenize = self.runtime.array, self.tokenizers.target.decode_all
        return decode(
            self.runtime,
            array(source),
            array(length),
            length.tolist(),
            self.search,
            detokenize,
            n_best=n_best,
            keep_attention=attention,
            numbers=numbers,
        )

    def _candidates(self, source: list[int], hypotheses: Sequence[Hypothesis]) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(
                self.tokenizers.target.decode(list(hypothesis.tokens)),
                hypothesis.score,
                hypothesis.log_prob,
                self._attention(source, hypothesis),
            )
            for hypothesis in hypotheses
        )

    def _attention(self, source: list[int], hypothesis: Hypothesis) -> AttentionMap | None:
        if hypothesis.attention is None:
            return None
        weights = np.asarray(hypothesis.attention.tolist(), dtype=np.float32)[:, : len(source) + 1]
        source_pieces = [*self.tokenizers.source.pieces(source), "</s>"]
        target_pieces = [*self.tokenizers.target.pieces(list(hypothesis.tokens[:-1])), "</s>"]
        return AttentionMap(
            source_pieces, target_pieces, weights, self.tokenizers.target.decode(list(hypothesis.tokens))
        )


def open_runtime(directory: Path, info: ModelInfo, device: "DeviceName") -> Runtime:
    """The engine for the model in `directory`. PyTorch is imported only for a PyTorch model."""
    if info.kind == "onnx":
        from nmtcli.translate.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(directory)
    from nmtcli.checkpoint import load_model
    from nmtcli.models.device import open_device
    from nmtcli.translate.runtimes.pytorch import TorchRuntime

    where = open_device(device)
    return TorchRuntime(load_model(directory), where)


def length_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows in batches of like length, longest first, each within the token budget with padding counted.

    Rows of one token (EOS alone: an empty sentence) are left out; a row longer than the budget is a batch of its own.
    """
    rows = sorted((row for row, length in enumerate(lengths) if length > 1), key=lambda row: -lengths[row])
    start = 0
    while start < len(rows):
        count = max(1, budget // lengths[rows[start]])
        yield rows[start : start + count]
        start += count
