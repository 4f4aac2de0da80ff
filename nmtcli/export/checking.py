"""Does an export translate like the model it came from, and how fast?

Both translate the same lines: those of a validation set, by the model's own search, or text of random pieces, greedily.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nmtcli.checkpoint import Kind, ModelInfo, StoredPrecision
from nmtcli.config import SearchConfig
from nmtcli.models.protocol import Array, Cache, Memory, Step
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.prepare.directory import PreparedData
from nmtcli.prepare.tokenizer import Tokenizer
from nmtcli.score.metrics import Score, score_corpus
from nmtcli.translate.batching import padded
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.decoding import decode
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.translation import LineHandling, Translation
from nmtcli.translate.translator import Runtime, Searcher, Translator
from nmtcli.vocabulary import BOS, PAD, SPECIAL

PROBES, PROBE_LENGTH, PROBE_LIMIT = 64, 24, 40
TEXT_PROBES = 200
# Share of the lines translated alike. In fp32 one of 64 may be a tie within rounding; rounded weights change a word
# here and there, and more where the pieces are random and a model is sure of nothing. docs/export.md has measurements.
LEAST_MATCH: dict[StoredPrecision, float] = {"fp32": 0.98, "fp16": 0.95, "int16": 0.9, "bf16": 0.8, "int8": 0.6}
LEAST_RANDOM_MATCH: dict[StoredPrecision, float] = {"fp32": 0.98, "fp16": 0.9, "int16": 0.6, "bf16": 0.5, "int8": 0.3}
MOST_DIFFERENCE = 1e-3  # in fp32, of the log-probability of a token


@dataclass(frozen=True)
class Probes:
    """Lines that both models translate, and translations of them by people where there are any."""

    name: str
    sources: list[str]
    references: list[str] | None = None

    @classmethod
    def random(cls, tokenizer: Tokenizer) -> "Probes":
        """Text of 1 to PROBE_LENGTH random pieces, so that no data needs to be at hand."""
        random = np.random.default_rng(0)
        rows = [random.integers(SPECIAL, len(tokenizer), random.integers(1, PROBE_LENGTH + 1)) for _ in range(PROBES)]
        lines = tokenizer.decode_all(row.tolist() for row in rows)
        return cls(f"{PROBES} lines of random pieces", [line or "0" for line in lines])

    @classmethod
    def of(cls, data: PreparedData) -> "Probes":
        """The first lines of a validation set."""
        pairs = data.valid.texts()[:TEXT_PROBES]
        name = f"the first {len(pairs)} lines of the validation set"
        return cls(name, [pair.source for pair in pairs], [pair.target for pair in pairs])


@dataclass(frozen=True)
class Speed:
    """Of the model and of its export, in sentences a second."""

    model: float
    export: float


@dataclass(frozen=True)
class Comparison:
    """How alike an export and its model translate."""

    probes: str
    match_rate: float
    least_match_rate: float
    largest_log_prob_difference: float  # a token, among those translated alike
    bleu_against_model: float  # the model's translations as references
    sentences_per_second: Speed
    model_scores: tuple[Score, ...] = ()
    export_scores: tuple[Score, ...] = ()

    @property
    def failures(self) -> list[str]:
        """Why this is no good export, in words; nothing if it is one."""
        found = []
        if self.match_rate < self.least_match_rate:
            found.append(
                f"{self.match_rate:.1%} of {self.probes} are translated like the model does,"
                f" fewer than {self.least_match_rate:.0%}"
            )
        if self.least_match_rate == LEAST_MATCH["fp32"] and self.largest_log_prob_difference > MOST_DIFFERENCE:
            found.append(
                f"log-probabilities differ by up to {self.largest_log_prob_difference:.1e} a token,"
                f" more than {MOST_DIFFERENCE:.0e}"
            )
        return found


def compare(model: Seq2Seq, export: Translator, info: ModelInfo, probes: Probes) -> Comparison:
    """Let both translate the probes; `info` is that of the export."""
    original: Runtime = TorchRuntime(model, torch.device("cpu"))
    search = SearchConfig(beam_size=1, max_length=PROBE_LIMIT)
    if probes.references is not None:  # what every engine can do of the model's own settings
        search = info.search.model_copy(update={"method": "beam", "stopping": "count", "beam_groups": 1})
    tokenizers = export.tokenizers
    first, first_speed = _translated(Translator(_comparable(original, info.kind), tokenizers, search), probes)
    second, second_speed = _translated(replace(export, search=search), probes)
    pairs = list(zip(first, second, strict=True))
    same = [(one, other) for one, other in pairs if one.text == other.text]
    lengths = [len(ids) + 1 for ids in tokenizers.target.encode([one.text for one, _ in same])]
    differences = [
        abs(one.candidates[0].log_prob - other.candidates[0].log_prob) / length
        for (one, other), length in zip(same, lengths, strict=True)
        if one.candidates and not one.problems  # of what was repaired, the log-probability is not the search's
    ]
    texts = [[one.text for one in found] for found in (first, second)]
    (bleu,) = score_corpus(texts[1], [texts[0]], ("bleu",))
    scores: list[tuple[Score, ...]] = [(), ()]
    if probes.references is not None:
        scores = [tuple(score_corpus(own, [probes.references])) for own in texts]
    return Comparison(
        probes=probes.name,
        match_rate=len(same) / len(pairs),
        least_match_rate=(LEAST_MATCH if probes.references else LEAST_RANDOM_MATCH)[info.precision],
        largest_log_prob_difference=max(differences, default=0.0 if same else float("inf")),
        bleu_against_model=bleu.value,
        sentences_per_second=Speed(first_speed, second_speed),
        model_scores=scores[0],
        export_scores=scores[1],
    )


def _translated(translator: Translator, probes: Probes) -> tuple[Sequence[Translation], float]:
    """A translation of each line, and sentences a second."""
    translator.translate(probes.sources[:4])  # what is made at the first call is not of the speed
    start = time.perf_counter()
    found = translator.translate(probes.sources)
    return found, len(found) / (time.perf_counter() - start)


def _comparable(runtime: Runtime, kind: Kind) -> Runtime | Searcher:
    return _LikeCTranslate2(runtime) if kind == "ctranslate2" else runtime


@dataclass(frozen=True)
class _LikeCTranslate2:
    """A PyTorch model that writes what CTranslate2 would.

    The probability of PAD and BOS, which no search writes, is shared out among the other tokens; bytes that form no
    character are taken out at the end.
    """

    runtime: Runtime
    at_once = 1

    def share(self, batches: int) -> None:
        """See `Shared`: nothing to do for one batch at a time."""

    def check(self, config: SearchConfig, handling: LineHandling) -> None:
        """See `Searcher`: our own search can do all."""

    def search(
        self,
        sentences: Sequence[Sequence[int]],
        config: SearchConfig,
        n_best: int,
        keep_attention: bool,
        byte_pieces: BytePieces | None,
    ) -> list[list[Hypothesis]]:
        """See `Searcher`."""
        source, length = padded(sentences)
        arrays = self.runtime.array(source), self.runtime.array(length)
        found = decode(self, *arrays, length.tolist(), config, lambda rows: [], n_best=n_best)
        return found if byte_pieces is None else [[_whole(one, byte_pieces) for one in pool] for pool in found]

    def start(self, source: Array, source_length: Array) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        return self.runtime.start(source, source_length)

    def step(self, tokens: Array, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        step = self.runtime.step(tokens, memory, cache)
        log_probs = step.log_probs.clone()
        log_probs[..., [PAD, BOS]] = -torch.inf
        return replace(step, log_probs=torch.log_softmax(log_probs, dim=-1))


def _whole(found: Hypothesis, byte_pieces: BytePieces) -> Hypothesis:
    """Without bytes that form no character."""
    kept = byte_pieces.whole(found.tokens)
    if len(kept) == len(found.tokens):
        return found
    return replace(found, tokens=tuple(found.tokens[place] for place in kept), repaired=True)
