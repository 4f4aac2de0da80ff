"""Does an export translate like the model it came from, and how fast?

Both translate the same lines: those of a validation set, by the model's own search, or text of random pieces, greedily.
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch

from nmtcli.checkpoint import Kind, ModelInfo, StoredPrecision
from nmtcli.config import SearchConfig
from nmtcli.data.batching import Sentences, pad
from nmtcli.data.directory import PreparedData
from nmtcli.data.tokenizer import Tokenizer
from nmtcli.metrics.scores import Score, score_corpus
from nmtcli.models.protocol import Array, Cache, Memory, Step
from nmtcli.models.quantized import pack_floats
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.decoding import decode
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.translation import LineHandling, Translation
from nmtcli.translate.translator import Runtime, Searcher, Translator
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL

PROBES, PROBE_LENGTH, PROBE_LIMIT = 64, 24, 40
TEXT_PROBES = 200
# Share of the lines translated alike. In fp32 one of 64 may be a tie within rounding; rounded weights change a word
# here and there, and more where the pieces are random and a model is sure of nothing. docs/export.md has measurements.
LEAST_MATCH: dict[StoredPrecision, float] = {"fp32": 0.98, "fp16": 0.95, "int16": 0.9, "bf16": 0.8, "int8": 0.6}
LEAST_RANDOM_MATCH: dict[StoredPrecision, float] = {"fp32": 0.98, "fp16": 0.9, "int16": 0.6, "bf16": 0.5, "int8": 0.3}
MOST_DIFFERENCE = 1e-3  # in fp32, of the log-probability of a token
LEAST_SPEED = 0.5  # of the model's
LEAST_DELAY = 1.0  # seconds that the probes must take longer for a speed to be judged: less may be noise
MEASURED_AGAIN = 10.0  # seconds of a round after which there is no second: start-up is no great part of it


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
    """Of the model and of its export, in sentences per second."""

    model: float
    export: float

    def too_slow(self, sentences: int) -> bool:
        """Whether the export is less than half as fast, by a time for so many sentences that is no noise."""
        delay = sentences / self.export - sentences / self.model
        return self.export < LEAST_SPEED * self.model and delay > LEAST_DELAY


@dataclass(frozen=True)
class Comparison:
    """How alike an export and its model translate, and how fast."""

    probes: str
    sentences: int
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
        return [*self.differences, *([self.slowness] if self.slowness else [])]

    @property
    def slowness(self) -> str | None:
        """That it is much slower than the model, in words."""
        speed = self.sentences_per_second
        if not speed.too_slow(self.sentences):
            return None
        return (
            f"it translates {speed.export:.3g} sentences/s, the model it came from {speed.model:.3g}:"
            f" less than {LEAST_SPEED:.0%} of that speed on this machine"
        )

    @property
    def differences(self) -> list[str]:
        """What it translates too unlike the model, in words."""
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
    # A copy, with its matrices packed as for `nmt translate`: else its speed would not be that of the model in use.
    original: Runtime = TorchRuntime(pack_floats(deepcopy(model)), torch.device("cpu"))
    search = SearchConfig(beam_size=1, max_length=PROBE_LIMIT)
    if probes.references is not None:  # what every engine can do of the model's own settings
        search = info.search.model_copy(update={"method": "beam", "stopping": "count", "beam_groups": 1})
    tokenizers = export.tokenizers
    source = Translator(_comparable(original, info.kind), tokenizers, search)
    found, speeds = _translated([source, replace(export, search=search)], probes)
    pairs = list(zip(*found, strict=True))
    same = [(one, other) for one, other in pairs if one.text == other.text]
    lengths = [len(ids) + 1 for ids in tokenizers.target.encode([one.text for one, _ in same])]
    differences = [
        abs(one.candidates[0].log_prob - other.candidates[0].log_prob) / length
        for (one, other), length in zip(same, lengths, strict=True)
        if one.candidates and not one.problems  # of what was repaired, the log-probability is not the search's
    ]
    texts = [[one.text for one in own] for own in found]
    (bleu,) = score_corpus(texts[1], [texts[0]], ("bleu",))
    scores: list[tuple[Score, ...]] = [(), ()]
    if probes.references is not None:
        scores = [tuple(score_corpus(own, [probes.references])) for own in texts]
    return Comparison(
        probes=probes.name,
        sentences=len(pairs),
        match_rate=len(same) / len(pairs),
        least_match_rate=(LEAST_MATCH if probes.references else LEAST_RANDOM_MATCH)[info.precision],
        largest_log_prob_difference=max(differences, default=0.0 if same else float("inf")),
        bleu_against_model=bleu.value,
        sentences_per_second=Speed(*speeds),
        model_scores=scores[0],
        export_scores=scores[1],
    )


def _translated(translators: Sequence[Translator], probes: Probes) -> tuple[list[list[Translation]], list[float]]:
    """By each translator a translation of each line, and its sentences per second, the better of two rounds.

    The first round makes what later calls keep (packed weights, code for each shape), which is not of the speed. They
    take turns, so that another program that computes for a while does not slow down one alone.
    """
    seconds: list[list[float]] = [[] for _ in translators]
    found: list[list[Translation]] = []
    while not found or (len(seconds[0]) < 2 and sum(spent[0] for spent in seconds) < MEASURED_AGAIN):
        found = []
        for translator, spent in zip(translators, seconds, strict=True):
            translator.translate(probes.sources[:4])
            start = time.perf_counter()
            found.append(translator.translate(probes.sources))
            spent.append(time.perf_counter() - start)
    return found, [len(probes.sources) / min(spent) for spent in seconds]


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
        source, length = pad(Sentences.of(sentences), after=EOS)
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
