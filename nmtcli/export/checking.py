"""The export check: compare translations and speed of an export with those of the original model.

Both translate the same lines: validation text with the decoding settings of the model, or random pieces greedily.
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nmtcli.checkpoint import ModelInfo, StoredPrecision
from nmtcli.config import SearchConfig
from nmtcli.data.batching import Sentences, pad
from nmtcli.data.directory import PreparedData
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.metrics.scores import Score, Variant, score_corpus
from nmtcli.models.protocol import Array, Cache, Memory, Step
from nmtcli.models.quantized import pack_floats
from nmtcli.models.seq2seq import Seq2Seq, log_softmax_
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.decoding import decode
from nmtcli.translate.runtimes import Runtime, Searcher
from nmtcli.translate.runtimes.ctranslate2 import POSITIONS
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.translation import LineHandling, Translation
from nmtcli.translate.translator import Translator
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL

PROBES, PROBE_LENGTH, PROBE_LIMIT = 64, 24, 40
TEXT_PROBES = 200
# Minimum share of equal translations. In fp32 one of 64 may be a tie within rounding; quantized weights change some
# words, and more of random pieces, where the model is uncertain. docs/export.md has measurements.
LEAST_MATCH: dict[StoredPrecision, float] = {"fp32": 0.98, "fp16": 0.95, "int16": 0.9, "bf16": 0.8, "int8": 0.6}
LEAST_RANDOM_MATCH: dict[StoredPrecision, float] = {"fp32": 0.98, "fp16": 0.9, "int16": 0.6, "bf16": 0.5, "int8": 0.3}
MOST_DIFFERENCE = 1e-3  # in fp32, of the log-probability of a token
LEAST_SPEED = 0.5  # of the model's
LEAST_DELAY = 1.0  # minimum difference in seconds for the check to fail; a smaller one may be noise
MEASURED_AGAIN = 10.0  # seconds; after a longer round there is no second one, as start-up is a small part of it


@dataclass(frozen=True)
class Probes:
    """Lines that both models translate, with references if there are any."""

    name: str
    sources: list[str]
    references: list[str] | None = None
    variant: Variant = field(default_factory=Variant)  # of the scores

    @classmethod
    def random(cls, tokenizer: Tokenizer) -> "Probes":
        """Text of 1 to PROBE_LENGTH random pieces, which needs no data."""
        random = np.random.default_rng(0)
        rows = [random.integers(SPECIAL, len(tokenizer), random.integers(1, PROBE_LENGTH + 1)) for _ in range(PROBES)]
        lines = tokenizer.decode_all(row.tolist() for row in rows)
        return cls(f"{PROBES} lines of random pieces", [line or "0" for line in lines])

    @classmethod
    def of(cls, data: PreparedData) -> "Probes":
        """The first lines of a validation set."""
        pairs = data.valid.texts()[:TEXT_PROBES]
        name = f"the first {len(pairs)} lines of the validation set"
        variant = Variant.in_training(data.manifest.target_language, data.tokenizers.target.lowercases)
        return cls(name, [pair.source for pair in pairs], [pair.target for pair in pairs], variant)


@dataclass(frozen=True)
class Speed:
    """Speed of the model and of its export, in sentences per second."""

    model: float
    export: float

    def too_slow(self, sentences: int) -> bool:
        """Whether the export is less than half as fast, with a difference in time that is not noise."""
        delay = sentences / self.export - sentences / self.model
        return self.export < LEAST_SPEED * self.model and delay > LEAST_DELAY


@dataclass(frozen=True)
class Comparison:
    """The comparison of an export with its model."""

    probes: str
    sentences: int
    match_rate: float
    least_match_rate: float
    largest_log_prob_difference: float  # per token, in equal translations
    bleu_against_model: float  # with the model's translations as references
    sentences_per_second: Speed
    model_scores: tuple[Score, ...] = ()
    export_scores: tuple[Score, ...] = ()

    @property
    def failures(self) -> list[str]:
        """Messages of the failed checks; empty if the export passes."""
        return [*self.differences, *([self.slowness] if self.slowness else [])]

    @property
    def slowness(self) -> str | None:
        """The message of an export that is too slow."""
        speed = self.sentences_per_second
        if not speed.too_slow(self.sentences):
            return None
        return (
            f"the export translates {speed.export:.3g} sentences/s, the original model {speed.model:.3g}:"
            f" less than {LEAST_SPEED:.0%} of the speed on this machine"
        )

    @property
    def differences(self) -> list[str]:
        """Messages of translations that differ too much from the model's."""
        messages = []
        if self.match_rate < self.least_match_rate:
            messages.append(
                f"{self.match_rate:.1%} of the translations ({self.probes}) equal those of the original model,"
                f" less than {self.least_match_rate:.0%}"
            )
        most = MOST_DIFFERENCE if self.least_match_rate == LEAST_MATCH["fp32"] else float("inf")
        if not self.largest_log_prob_difference < most:  # NaN too
            messages.append(
                f"log-probabilities differ by up to {self.largest_log_prob_difference:.1e} per token; the limit is"
                f" {most:.0e}"
            )
        return messages


def compare(
    model: Seq2Seq, export: Translator, info: ModelInfo, probes: Probes, tokenizers: Tokenizers | None = None
) -> Comparison:
    """Translate the probes with both; `info` is that of the export.

    `tokenizers` are those of the model, if the export has other ids; PAD and BOS have no probability there.
    """
    # A copy with packed matrices, as in `nmt translate`, for a fair comparison of speed.
    original: Runtime = TorchRuntime(pack_floats(deepcopy(model)), torch.device("cpu"))
    search = SearchConfig(beam_size=1, max_length=PROBE_LIMIT)
    if probes.references is not None:  # the model's settings as far as every engine supports them
        search = info.search.model_copy(update={"method": "beam", "stopping": "count", "beam_groups": 1})
    comparable: Runtime | Searcher = original
    if info.kind == "ctranslate2":
        searcher: Searcher = _LikeCTranslate2(original)  # so that a type checker holds it to all of the protocol
        comparable = searcher
    elif tokenizers is not None:
        comparable = _WithoutPadding(original)
    source = Translator(comparable, tokenizers or export.tokenizers, search)
    translated, speeds = _translated([source, replace(export, search=search)], probes)
    pairs = list(zip(*translated, strict=True))
    same = [(one, other) for one, other in pairs if one.text == other.text and "not-numbers" not in other.problems]
    lengths = [len(ids) + 1 for ids in export.tokenizers.target.encode([one.text for one, _ in same])]
    differences = [
        abs(one.candidates[0].log_prob - other.candidates[0].log_prob) / length
        for (one, other), length in zip(same, lengths, strict=True)
        if one.candidates and not one.problems  # a repaired translation does not have the search's log-probability
    ]
    texts = [[one.text for one in translations] for translations in translated]
    (bleu,) = score_corpus(texts[1], [texts[0]], ("bleu",), variant=probes.variant)
    scores: list[tuple[Score, ...]] = [(), ()]
    if probes.references is not None:
        scores = [tuple(score_corpus(one, [probes.references], variant=probes.variant)) for one in texts]
    return Comparison(
        probes=probes.name,
        sentences=len(pairs),
        match_rate=len(same) / len(pairs),
        least_match_rate=(LEAST_MATCH if probes.references else LEAST_RANDOM_MATCH)[info.precision],
        largest_log_prob_difference=float(np.max(differences, initial=0.0 if same else np.inf)),  # NaN if there is one
        bleu_against_model=bleu.value,
        sentences_per_second=Speed(*speeds),
        model_scores=scores[0],
        export_scores=scores[1],
    )


def _translated(translators: Sequence[Translator], probes: Probes) -> tuple[list[list[Translation]], list[float]]:
    """The translations of each translator, and its sentences per second, the better of two rounds.

    The first round also prepares packed weights and generated code, which should not count. Translators take turns, so
    that another busy program does not slow down only one of them.
    """
    seconds: list[list[float]] = [[] for _ in translators]
    translations: list[list[Translation]] = []
    while not translations or (len(seconds[0]) < 2 and sum(spent[0] for spent in seconds) < MEASURED_AGAIN):
        translations = []
        for translator, spent in zip(translators, seconds, strict=True):
            translator.translate(probes.sources[:4])
            start = time.perf_counter()
            translations.append(translator.translate(probes.sources))
            spent.append(time.perf_counter() - start)
    return translations, [len(probes.sources) / min(spent) for spent in seconds]


@dataclass(frozen=True)
class _WithoutPadding:
    """A PyTorch model in which the probability of PAD and BOS, which are never output, goes to the other tokens."""

    runtime: Runtime

    @property
    def parallel_batches(self) -> int:
        """See `Shared`."""
        return self.runtime.parallel_batches

    def share(self, batches: int) -> None:
        """See `Shared`."""
        self.runtime.share(batches)

    def array(self, values: NDArray[np.int64]) -> Array:
        """See `Runtime`."""
        return self.runtime.array(values)

    def start(self, source: Array, source_length: Array) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        return self.runtime.start(source, source_length)

    def step(self, tokens: Array, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        step = self.runtime.step(tokens, memory, cache)
        step.log_probs[..., [PAD, BOS]] = -torch.inf
        return replace(step, log_probs=log_softmax_(step.log_probs))


class _LikeCTranslate2(_WithoutPadding):
    """A PyTorch model with the output of CTranslate2: bytes that form no character are removed at the end."""

    max_tokens = POSITIONS - 1

    def check(self, config: SearchConfig, handling: LineHandling) -> None:
        """See `Searcher`: our own search can do all."""

    def search(
        self,
        sentences: Sequence[Sequence[int]],
        config: SearchConfig,
        n_best: int,
        keep_attention: bool,
        byte_pieces: BytePieces | None,
        keep_log_probs: bool = False,
    ) -> list[list[Hypothesis]]:
        """See `Searcher`; log-probabilities of tokens are never compared."""
        del keep_log_probs
        source, length = pad(Sentences.of(sentences), after=EOS)
        arrays = self.runtime.array(source), self.runtime.array(length)
        pools = decode(self, *arrays, length.tolist(), config, lambda rows: [], n_best=n_best)
        return pools if byte_pieces is None else [[_whole(one, byte_pieces) for one in pool] for pool in pools]


def _whole(hypothesis: Hypothesis, byte_pieces: BytePieces) -> Hypothesis:
    """The hypothesis without bytes that form no character."""
    kept = byte_pieces.whole(hypothesis.tokens)
    if len(kept) == len(hypothesis.tokens):
        return hypothesis
    return replace(hypothesis, tokens=tuple(hypothesis.tokens[place] for place in kept), repaired=True)
