"""The CTranslate2 engine for exported Transformers, with its own search and without PyTorch.

Its beam search is equal to that of `nmt` (most probable unfinished hypotheses at each step; done when a beam is
finished) with two corrections: hypotheses are ranked again by the score of `nmt`, and those over the length limit are
ended at the limit and scored again by the model.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nmtcli.checkpoint import StoredPrecision
from nmtcli.config import SearchConfig
from nmtcli.errors import DataError, UserError, memory_ran_out
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.concurrency import count_parallel_batches, usable_threads
from nmtcli.translate.decoding import length_limits, search_options
from nmtcli.translate.forced import Floats, Ids
from nmtcli.translate.search import Hypothesis, SearchOptions, hypothesis_score
from nmtcli.translate.translation import LineHandling
from nmtcli.vocabulary import EOS

if TYPE_CHECKING:
    import ctranslate2

FOLDER = "ctranslate2"  # the folder of ctranslate2.Translator, beside config.json and tokenizers
POSITIONS = 1024  # maximum tokens of a sentence, with EOS
ROUNDED = 16  # source lengths are rounded up to a multiple, for equal length limits
SCORED_TOKENS = 500  # target tokens of a batch of scoring
# CTranslate2's names. With int8, layers that are not quantized stay in fp32.
TYPES: dict[StoredPrecision, str] = {
    "fp32": "float32",
    "int8": "int8_float32",
    "int16": "int16",
    "fp16": "float16",
    "bf16": "bfloat16",
}
Tokens = Sequence[int]


@dataclass(slots=True)
class _Candidate:
    """A hypothesis of CTranslate2: ids, with EOS if finished, and attention [T, S] if requested."""

    tokens: tuple[int, ...]
    log_prob: float
    attention: NDArray[np.float32] | None
    unscored: bool  # whether the log-probability must be computed again
    score: float = 0.0
    repaired: bool = False

    def within(self, limit: int) -> "_Candidate":
        """The hypothesis, ended at the limit; its EOS has the attention of the token before it."""
        if len(self.tokens) <= limit and self.tokens[-1] == EOS:
            return self
        kept = self.tokens[: limit - 1]
        weights = self.attention
        if weights is not None:
            weights = np.concatenate([weights[: len(kept)], weights[max(len(kept) - 1, 0) :][:1]])
        return _Candidate((*kept, EOS), self.log_prob, weights, unscored=True)

    def whole(self, byte_pieces: BytePieces) -> "_Candidate":
        """The hypothesis without bytes of incomplete characters."""
        kept = byte_pieces.whole(self.tokens)
        if len(kept) == len(self.tokens):
            return self
        tokens = tuple(self.tokens[place] for place in kept)
        weights = None if self.attention is None else self.attention[kept]
        return _Candidate(tokens, self.log_prob, weights, unscored=True, repaired=True)

    def hypothesis(self, keep_attention: bool) -> Hypothesis:
        """The hypothesis in the type of `search`."""
        attention = self.attention if keep_attention else None
        return Hypothesis(self.tokens, self.log_prob, self.score, attention, repaired=self.repaired)


class CTranslate2Runtime:
    """A CTranslate2 model: see `Searcher`."""

    max_tokens = POSITIONS - 1

    def __init__(
        self,
        directory: Path,
        precision: StoredPrecision,
        device: str = "auto",
        threads: int | None = None,
        number: int = 0,
    ) -> None:
        """Open the model on `device` auto, cpu or cuda; `number` selects the GPU.

        Raises DataError if the model is missing or damaged, UserError for an unavailable device.
        """
        folder = directory / FOLDER
        if not folder.is_dir():
            raise DataError(f"{folder}: missing", "the export is not complete; export it again")
        self._model = _open(folder, precision, device, threads or usable_threads(), number)
        self.parallel_batches = self._model.num_translators if self._model.device == "cpu" else 1
        self._source, target = (_vocabulary(folder, side) for side in ("source", "target"))
        self._target = target
        self._ids = {piece: number for number, piece in enumerate(target)}

    def share(self, batches: int) -> None:
        """See `Shared`; threads are divided when the model is opened."""

    def check(self, config: SearchConfig, handling: LineHandling) -> None:
        """Raise UserError for settings that CTranslate2 does not support."""
        unsupported = [
            (config.method != "beam", f"method {config.method}"),
            (config.beam_groups > 1, "beam_groups"),
            (config.stopping == "bound", "stopping bound"),
            (bool(handling.terms), "terminology"),
            (bool(handling.banned), "banned words"),
        ]
        if names := [name for is_set, name in unsupported if is_set]:
            raise UserError(
                f"CTranslate2 models do not support {', '.join(names)}",
                "leave it out, or export to onnx or safetensors",
            )

    def search(
        self,
        sentences: Sequence[Tokens],
        config: SearchConfig,
        n_best: int,
        keep_attention: bool,
        byte_pieces: BytePieces | None = None,
        keep_log_probs: bool = False,
    ) -> list[list[Hypothesis]]:
        """The finished hypotheses of each sentence (ids without EOS), best first, at most `n_best` each.

        Bytes of incomplete characters are removed, and the rest is scored again.
        """
        options = search_options(config, n_best, keep_attention)
        lengths = _lengths(sentences)
        shortest, longest = length_limits(config, lengths)
        # A call has one limit for all its sentences. To be independent of the batch, each is searched up to the limit
        # of its rounded length, and longer hypotheses are cut.
        rounded = length_limits(config, [-(-length // ROUNDED) * ROUNDED for length in lengths])[1]
        limits = [(low, min(high, POSITIONS)) for low, high in zip(shortest, rounded, strict=True)]
        candidates: list[list[_Candidate]] = [[] for _ in sentences]
        for limit in dict.fromkeys(limits):
            rows = [row for row, one in enumerate(limits) if one == limit]
            # it removes forbidden tokens from the distribution; `nmt` uses the probabilities of the model
            altered = limit[0] > 1 or options.no_repeat_ngram > 0
            pools = self._translate([sentences[row] for row in rows], limit, options, altered)
            for row, pool in zip(rows, pools, strict=True):
                within = [one.within(min(longest[row], POSITIONS)) for one in pool]
                if byte_pieces is not None:
                    within = [one.whole(byte_pieces) for one in within]
                different = list({one.tokens: one for one in reversed(within)}.values())  # cutting makes some equal
                rescored = any(one.unscored for one in different)  # their log-probabilities are of other hypotheses
                candidates[row] = different if rescored else _ranked(different, lengths[row], options)[:n_best]
        self._score(sentences, candidates)
        ranked = [_ranked(pool, length, options)[:n_best] for pool, length in zip(candidates, lengths, strict=True)]
        hypotheses = [[one.hypothesis(options.keep_attention) for one in pool] for pool in ranked]
        return self._with_token_log_probs(sentences, hypotheses) if keep_log_probs else hypotheses

    def forced(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """See `Forced`; CTranslate2 returns no attention for given translations."""
        sources = [row[: length - 1].tolist() for row, length in zip(source, source_length.tolist(), strict=True)]
        scores = np.zeros(target.shape, dtype=np.float32)
        targets = [row[: np.argmax(row == EOS)].tolist() for row in target]
        for row, log_probs in enumerate(self.log_probs(sources, targets)):
            scores[row, : len(log_probs)] = log_probs
        return scores, None

    def log_probs(self, sentences: Sequence[Tokens], targets: Sequence[Tokens]) -> list[list[float]]:
        """The log-probabilities of the tokens of given translations, and of their EOS; ids without EOS."""
        _lengths([*sentences, *targets])
        with found_libraries():
            scored = self._model.score_batch(
                [self._read(sentence) for sentence in sentences],
                [[self._target[token] for token in target] for target in targets],
                max_input_length=0,
                max_batch_size=SCORED_TOKENS,
                batch_type="tokens",
            )
        return [result.log_probs for result in scored]

    def _score(self, sentences: Sequence[Tokens], candidates: Sequence[Sequence[_Candidate]]) -> None:
        """Compute missing log-probabilities."""
        pairs = zip(sentences, candidates, strict=True)
        unscored = [(sentence, one) for sentence, pool in pairs for one in pool if one.unscored]
        if unscored:
            scored = self.log_probs([sentence for sentence, _ in unscored], [one.tokens[:-1] for _, one in unscored])
            for (_, one), log_probs in zip(unscored, scored, strict=True):
                one.log_prob, one.unscored = math.fsum(log_probs), False

    def _with_token_log_probs(
        self, sentences: Sequence[Tokens], pools: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        """The hypotheses with the log-probability of each token, computed by scoring them."""
        sources = [sentence for sentence, pool in zip(sentences, pools, strict=True) for _ in pool]
        scored = iter(self.log_probs(sources, [one.tokens[:-1] for pool in pools for one in pool]))
        return [[replace(one, token_log_probs=tuple(next(scored))) for one in pool] for pool in pools]

    def _translate(
        self, sentences: Sequence[Tokens], limits: tuple[int, int], options: SearchOptions, altered: bool
    ) -> list[list[_Candidate]]:
        """The beam of each sentence by CTranslate2; unfinished hypotheses do not end in EOS.

        `limits` are the minimum and maximum length with EOS. `altered`: its probabilities are not those of the model.
        """
        attends, beam = options.keep_attention or options.coverage_penalty > 0, options.beam_size
        shortest, longest = limits
        # It returns the best finished hypotheses by its length normalisation, which is that of average; 0.7 is closest
        # to gnmt at the lengths of sentences. With 0 it would stop when the most probable hypothesis is finished.
        penalty = max(options.length_penalty * (0.7 if options.length_normalization == "gnmt" else 1.0), 1e-6)
        with found_libraries():
            results = self._model.translate_batch(
                [self._read(sentence) for sentence in sentences],
                beam_size=beam,
                num_hypotheses=beam,
                length_penalty=penalty,
                no_repeat_ngram_size=options.no_repeat_ngram,
                max_input_length=0,
                min_decoding_length=min(shortest, longest) - 1,
                max_decoding_length=longest,
                return_scores=True,
                return_end_token=True,
                return_attention=attends,
            )
        first = self._first_attention(sentences) if attends and beam > 1 else None
        pools = []
        for row, result in enumerate(results):
            pool = []
            for place, (pieces, score) in enumerate(zip(result.hypotheses, result.scores, strict=True)):
                weights = _attention(result.attention[place]) if attends else None
                if weights is not None and first is not None:
                    weights[0] = first[row][0]
                tokens = tuple(self._ids[piece] for piece in pieces)
                pool.append(_Candidate(tokens, score * len(pieces) ** penalty, weights, altered))
            pools.append(pool)
        return pools

    def _first_attention(self, sentences: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        """The attention of the first token of each translation, [1, S]; with a beam, CTranslate2 confuses it between
        the sentences of a batch."""
        sources = [self._read(sentence) for sentence in sentences]
        with found_libraries():
            results = self._model.translate_batch(
                sources,
                beam_size=1,
                max_decoding_length=1,
                max_input_length=0,
                return_end_token=True,
                return_attention=True,
            )
        return [_attention(result.attention[0]) for result in results]

    def _read(self, sentence: Tokens) -> list[str]:
        return [self._source[token] for token in sentence]


def _ranked(pool: Sequence[_Candidate], source_length: int, options: SearchOptions) -> list[_Candidate]:
    """The candidates with the scores of `search`, best first."""
    for one in pool:
        one.score = hypothesis_score(one.log_prob, len(one.tokens), one.attention, source_length, options)
    return sorted(pool, key=lambda one: -one.score)


def _attention(weights: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Weights [T, S]; CTranslate2 omits that of the source EOS."""
    given = np.asarray(weights, np.float32).reshape(len(weights), -1)
    return np.concatenate([given, np.maximum(1 - given.sum(axis=1, keepdims=True), 0)], axis=1)


@contextmanager
def found_libraries() -> Iterator[None]:
    """Raises UserError where CTranslate2 does not find a library of CUDA, which it loads at the first product only."""
    try:
        yield
    except RuntimeError as error:
        if "cannot be loaded" not in str(error):
            raise
        raise UserError(f"CTranslate2 on a GPU: {error}", "install this library, or use --device cpu") from None


def computes_in(precision: StoredPrecision, device: str = "cpu") -> bool:
    """Whether CTranslate2 can run models of this precision on this machine's cpu or cuda."""
    return _compute_type(precision, device) in _library().get_supported_compute_types(device)


def _compute_type(precision: StoredPrecision, device: str) -> str:
    # on a CPU, half precision is for storage only
    return "float32" if device == "cpu" and precision in ("fp16", "bf16") else TYPES[precision]


def _library() -> Any:
    try:
        import ctranslate2  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError(
            "a CTranslate2 model needs the ctranslate2 extra", "pip install 'nmtcli[ctranslate2]'"
        ) from None
    return ctranslate2


def _open(folder: Path, precision: StoredPrecision, device: str, threads: int, number: int) -> "ctranslate2.Translator":
    ctranslate2 = _library()
    gpus = ctranslate2.get_cuda_device_count()
    if device == "cuda" and gpus <= number:
        raise UserError(f"GPU {number}: CTranslate2 finds {gpus} GPUs only", "use --device cpu")
    where = "cuda" if device != "cpu" and gpus else "cpu"
    parallel_batches = count_parallel_batches(threads)
    if not computes_in(precision, where):
        raise UserError(f"{folder}: CTranslate2 does not support {precision} on this machine", "export it in int8")
    try:
        return ctranslate2.Translator(
            str(folder),
            device=where,
            device_index=number,
            compute_type=_compute_type(precision, where),
            inter_threads=parallel_batches if where == "cpu" else 1,
            intra_threads=threads // parallel_batches,
        )
    except (OSError, ValueError, RuntimeError) as error:
        if memory_ran_out(error):
            raise
        raise DataError(f"{folder}: CTranslate2 cannot open it: {error}", "export the model again") from None


def int8_may_saturate() -> bool:
    """Whether int8 products of CTranslate2 may saturate in 16-bit sums.

    oneDNN, CTranslate2's default on AMD CPUs, uses such instructions without VNNI. Large weights then give wrong sums;
    MKL (CT2_USE_MKL=1 in the environment) is exact there, but slower.
    """
    if os.environ.get("CT2_USE_MKL") == "1":
        return False
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    if not any(word in limit for word in ("ALL", "DEFAULT", "VNNI", "BF16", "FP16", "AMX")):
        return True
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text("utf-8")))
    except OSError:
        return False
    return "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni", "amx_int8"}


def _vocabulary(folder: Path, side: str) -> list[str]:
    path: Any = folder / "shared_vocabulary.json"
    path = path if path.is_file() else folder / f"{side}_vocabulary.json"
    try:
        return list(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot read: {error}", "export the model again") from None


def _lengths(sentences: Sequence[Tokens]) -> list[int]:
    """The lengths of sentences with EOS. Raises ValueError for one that has more tokens than a model has positions."""
    lengths = [len(sentence) + 1 for sentence in sentences]
    if max(lengths, default=0) > POSITIONS:
        raise ValueError(f"{max(lengths) - 1:,} tokens; the maximum of CTranslate2 models is {POSITIONS - 1:,}")
    return lengths
