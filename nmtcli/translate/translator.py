"""Sentences in, translations out, in the same order: tokenize, batch by length, search, detokenize."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nmtcli.checkpoint import ModelInfo, check_export, find_model, read_info
from nmtcli.config import SearchConfig
from nmtcli.data.batching import Sentences, length_batches, pad
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import UserError
from nmtcli.models.protocol import Array, StepDecoder
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice, attention_name
from nmtcli.settings import replace_search
from nmtcli.translate.arguments import check, check_options, model_paths
from nmtcli.translate.assembly import Assembler, EncodedLine
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.concurrency import Shared, each_batch
from nmtcli.translate.constraints import Constraint
from nmtcli.translate.decoding import Detokenizer, decode
from nmtcli.translate.engines import check_onnx_device, check_told
from nmtcli.translate.ensemble import Ensemble, Mean, check_target_vocabularies
from nmtcli.translate.long_lines import cut_points
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.shortlist import Shortlist
from nmtcli.translate.translation import (
    Candidate,
    LineHandling,
    Problem,
    Request,
    Translation,
    Treatment,
    as_requests,
    without_controls,
)
from nmtcli.translate.wording import Wording
from nmtcli.vocabulary import EOS

if TYPE_CHECKING:
    from nmtcli.models.packed import Precision


class Runtime(StepDecoder, Shared, Protocol):
    """An engine that runs a model, and makes arrays of its own kind."""

    def array(self, values: NDArray[np.int64]) -> Array:
        """A NumPy array as this runtime takes it."""


@runtime_checkable
class Searcher(Shared, Protocol):
    """An engine that searches itself, in place of the step protocol."""

    def check(self, config: SearchConfig, handling: LineHandling) -> None:
        """Raise UserError for what it cannot do."""

    def search(
        self,
        sentences: Sequence[Sequence[int]],
        config: SearchConfig,
        n_best: int,
        keep_attention: bool,
        byte_pieces: BytePieces | None,
    ) -> list[list[Hypothesis]]:
        """At most `n_best` hypotheses of each sentence (ids without EOS) of a batch, best first.

        Bytes that make no character are taken out of them.
        """


class ListingRuntime(Runtime, Protocol):
    """A runtime that can keep to a vocabulary shortlist."""

    def among(self, tokens: NDArray[np.int64], allowed: NDArray[np.bool_]) -> StepDecoder:
        """The same model with these target tokens [R] only, of which each sentence has those `allowed` [B, R]."""


LISTED_TOKENS = 1000  # source tokens of a batch with a vocabulary shortlist, at most
_PARTS = 2**20  # more than there can be in a line
_Count = Annotated[int, Field(ge=1, le=10_000)]
_Number = Annotated[int, Field(ge=0, lt=2**43)]


@dataclass(frozen=True)
class _Sentence:
    """What is searched for at once: a line, or a part of one."""

    tokens: tuple[list[int], ...]  # once, or for each member of an ensemble by its own tokenizer
    number: int  # which chance depends on
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Translator:
    """A model or an ensemble, its tokenizers, how to search, and what to do with lines."""

    runtime: Runtime | Searcher
    tokenizers: Tokenizers
    search: SearchConfig
    handling: LineHandling = field(default_factory=LineHandling)
    threads: int | None = None  # of the tokenizer; None is one a core
    member_sources: tuple[Tokenizer, ...] = ()  # of an ensemble whose members' source tokenizers differ
    shortlist: Shortlist | None = None  # of a single PyTorch model
    attention_name: str = ""  # of which layer and head the attention is

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        device: str = "auto",
        *,
        weights: Sequence[float] | None = None,
        mean: Mean = "probability",
        told: AttentionChoice = DEFAULT_ATTENTION,
        handling: LineHandling | None = None,
        threads: int | None = None,
        quantize: "Precision | None" = None,
        shortlist: bool = False,
        **search: Any,
    ) -> "Translator":
        """The translator in a run, a checkpoint or an export; of several, an ensemble with these `weights`.

        Its members share the target vocabulary; settings and the source tokenizer for cutting lines are the first's.
        Their probabilities are averaged, or with `mean` log_probability their log-probabilities. `told` is the
        attention of the first model that draws, links and replaces words. `device` is auto, cpu, cuda or the name of
        one device, such as cuda:1. `threads` are those of the CPU. `quantize` computes in fewer bits: int8 on a CPU,
        fp16 on a GPU, bf16 on both. With `shortlist` each sentence is translated with the tokens that the model's
        vocabulary shortlist has for it. Settings of `SearchConfig` given by name, such as `beam_size=1`, replace the
        model's own. Raises UserError or DataError.
        """
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in model_paths(path)]
        check_options(device, weights, mean, threads, quantize, shortlist)
        directories = [find_model(one) for one in paths]
        infos = [read_info(directory) for directory in directories]
        for directory, info in zip(directories, infos, strict=True):
            check_export(directory, info)
        check_onnx_device(infos, device)
        settings = replace_search(infos[0].search, search)
        if settings.coverage_penalty and not infos[0].model.attends:
            raise UserError(f"{paths[0]}: coverage_penalty needs attention, and this model has none", "set it to 0")
        tokenizers = [Tokenizers.load(directory) for directory in directories]
        check_target_vocabularies({str(one): own.target for one, own in zip(paths, tokenizers, strict=True)})
        opened = zip(directories, infos, strict=True)
        runtimes = [
            open_runtime(directory, info, device, threads, quantize, DEFAULT_ATTENTION if number else told)
            for number, (directory, info) in enumerate(opened)
        ]
        alone = len(runtimes) == 1 and weights is None
        runtime = runtimes[0] if alone else Ensemble(_members(paths, runtimes), weights, mean)
        sources = tuple(own.source for own in tokenizers)
        alike = all(source == sources[0] for source in sources)
        listed = _open_shortlist(directories, infos) if shortlist else None
        name = attention_name(infos[0].model, told) if infos[0].model.attends else ""
        members = () if alike else sources
        made = cls(runtime, tokenizers[0], settings, handling or LineHandling(), threads, members, listed, name)
        _ = made.wording  # to refuse now what cannot be
        if isinstance(runtime, Searcher):
            runtime.check(settings, made.handling)
        return made

    @cached_property
    def wording(self) -> Wording:
        """What the translations must say. Raises UserError where that cannot be."""
        return Wording(self.tokenizers, self.handling, drawn=self.search.method != "beam")

    @cached_property
    def byte_pieces(self) -> BytePieces | None:
        """Those of the target vocabulary."""
        return BytePieces.of(self.tokenizers.target)

    def translate(
        self,
        lines: Iterable[str | Request],
        *,
        n_best: int = 1,
        attention: bool = False,
        alignment: bool = False,
        numbers: Iterable[int] | None = None,
    ) -> list[Translation]:
        """A translation for each line, in order.

        Each has up to `n_best` candidates. `attention` keeps where the model looked, `alignment` which words it linked.
        What is drawn at random depends on the `numbers` of the lines (1, 2, … by default), not on what else is there.
        Control characters count as blanks. Raises UserError where the model has no attention to keep.
        """
        requests = as_requests(lines)
        check("n_best", n_best, _Count)
        if numbers is not None:
            numbers = list(numbers)
            check("numbers", numbers, Sequence[_Number])
            if len(numbers) != len(requests):
                raise UserError(f"numbers: {len(numbers)} for {len(requests)} lines", "give one for each line")
        encoded, treatments = self._encode([without_controls(request.source) for request in requests])
        counted = range(1, len(requests) + 1) if numbers is None else numbers
        sentences: list[_Sentence] = []
        counts, problems = [], []
        for row, (request, treatment, number) in enumerate(zip(requests, treatments, counted, strict=True)):
            own, found = self._sentences(request, encoded[row], treatment, number)
            if own is None:
                encoded[row] = EncodedLine(encoded[row].text, [], [0, 0])
            sentences += own or ()
            counts.append(len(own or ()))
            problems.append(found)
        drawn = attention or alignment or self.handling.dictionary is not None
        by_sentence: list[list[Hypothesis]] = [[] for _ in sentences]
        for rows, hypotheses in self._batches(sentences, n_best, drawn):
            for row, pool in zip(rows, hypotheses, strict=True):
                if drawn and pool and pool[0].attention is None:
                    raise UserError("the model has no attention", "it draws on no word more than on others")
                by_sentence[row] = pool
        translations = []
        remaining = iter(by_sentence)
        for row, (request, line) in enumerate(zip(requests, encoded, strict=True)):
            pools = list(islice(remaining, counts[row]))
            if not all(hypothesis.obeys for pool in pools for hypothesis in pool):
                problems[row].add("unmet")
            if any(hypothesis.repaired for pool in pools for hypothesis in pool):
                problems[row].add("incomplete")
            words, name = self.handling.dictionary, self.attention_name
            assembler = Assembler(self.tokenizers, line, words, attention, alignment, name, request.source)
            candidates = assembler.candidates(pools)
            translations.append(Translation(request.source, candidates, treatments[row], tuple(sorted(problems[row]))))
        return translations

    def batches(self, lines: Sequence[str]) -> Iterator[tuple[list[int], list[tuple[Candidate, ...]]]]:
        """Batch after batch, as they are done: which lines, and their best candidate. Lines are taken whole; those
        without tokens are left out."""
        ids = self.tokenizers.source.encode(list(lines), self.threads)
        tokens = self._member_tokens(lines, ids)
        sentences = [_Sentence(own, number * _PARTS) for number, own in enumerate(tokens, 1)]
        for rows, hypotheses in self._batches(sentences, 1, drawn=False):
            whole = [EncodedLine(lines[row], ids[row], [0, len(ids[row])]) for row in rows]
            assemblers = [Assembler(self.tokenizers, line, None, False, False) for line in whole]
            yield rows, [one.candidates([pool]) for one, pool in zip(assemblers, hypotheses, strict=True)]

    def _sentences(
        self, request: Request, line: EncodedLine, treatment: Treatment | None, number: int
    ) -> tuple[list[_Sentence] | None, set[Problem]]:
        """The parts of a line; None where what it asks for contradicts itself."""
        if not line.parts:
            return [], set()
        source = self.tokenizers.source
        # the text of a part is known by its tokens only
        texts = [line.text] if treatment is None else source.decode_all(line.parts)
        constraints, problems = self.wording.constraints(request, texts)
        if constraints is None:
            return None, problems
        tokens = self._member_tokens(texts, line.parts)
        return [
            _Sentence(own, number * _PARTS + part, constraint)
            for part, (own, constraint) in enumerate(zip(tokens, constraints, strict=True))
        ], problems

    def _member_tokens(self, texts: Sequence[str], ids: Sequence[list[int]]) -> list[tuple[list[int], ...]]:
        """The tokens of each text for each member of an ensemble; `ids` are those of the first."""
        if not self.member_sources:
            return [(own,) for own in ids]
        others = [source.encode(list(texts), self.threads) for source in self.member_sources[1:]]
        return list(zip(ids, *others, strict=True))

    def _encode(self, lines: list[str]) -> tuple[list[EncodedLine], list[Treatment | None]]:
        """The tokens of lines, and what was done with those over the limit."""
        handling, limit = self.handling, self.handling.max_source_tokens
        encoded: list[EncodedLine] = []
        treatments: list[Treatment | None] = []
        for line, tokens in zip(lines, self.tokenizers.source.encode(lines, self.threads), strict=True):
            cuts, treatment = [0, len(tokens)], None
            if len(tokens) > limit:
                treatment = _TREATMENTS[handling.long_lines]
                if treatment == "split":
                    cuts = cut_points(self.tokenizers.source.pieces(tokens), limit)
                else:
                    cuts = [0, limit if treatment == "cut" else 0]
            encoded.append(EncodedLine(line, tokens[: cuts[-1]], cuts))
            treatments.append(treatment)
        return encoded, treatments

    def _batches(
        self, sentences: Sequence[_Sentence], n_best: int, drawn: bool
    ) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
        """Which of the sentences were translated together, and what was found for each; those without tokens are left
        out."""
        lengths = [len(sentence.tokens[0]) + 1 for sentence in sentences]
        budget = self.search.batch_tokens
        if self.shortlist is not None:  # more sentences would need more of the vocabulary together
            budget = min(budget, LISTED_TOKENS)
        batches = list(length_batches(lengths, budget))
        found = each_batch(
            self.runtime, lambda rows: self._decode([sentences[row] for row in rows], n_best, drawn), batches
        )
        yield from zip(batches, found, strict=True)

    def _decode(self, sentences: Sequence[_Sentence], n_best: int, drawn: bool) -> list[list[Hypothesis]]:
        if isinstance(self.runtime, Searcher):
            if any(sentence.constraint is not None for sentence in sentences):
                raise UserError(
                    "a line says what its translation must say, which a CTranslate2 model cannot heed",
                    "leave that out, or export to onnx or safetensors",
                )
            sources = [sentence.tokens[0] for sentence in sentences]
            return self.runtime.search(sources, self.search, n_best, drawn, self.byte_pieces)
        sides = zip(*(sentence.tokens for sentence in sentences), strict=True)
        rows = [pad(Sentences.of(side), after=EOS) for side in sides]
        source, length = rows[0]
        arrays: tuple[Array, Array] = self.runtime.array(source), self.runtime.array(length)
        if isinstance(self.runtime, Ensemble) and len(rows) > 1:
            arrays = self.runtime.arrays([own for own, _ in rows]), self.runtime.arrays([own for _, own in rows])
        runtime: StepDecoder = self.runtime
        detokenize: Detokenizer = self.tokenizers.target.decode_all
        constraints = [sentence.constraint for sentence in sentences]
        candidates, byte_pieces = None, self.byte_pieces
        if self.shortlist is not None:
            candidates = self.shortlist.candidates(source, constraints, byte_pieces)
            byte_pieces = byte_pieces and byte_pieces.among(candidates.tokens)
            runtime = cast("ListingRuntime", runtime).among(candidates.tokens, candidates.allowed)
            detokenize, constraints = candidates.detokenizer(detokenize), candidates.constraints(constraints)
        found = decode(
            runtime,
            *arrays,
            length.tolist(),
            self.search,
            detokenize,
            n_best=n_best,
            keep_attention=drawn,
            numbers=[sentence.number for sentence in sentences],
            constraints=constraints,
            byte_pieces=byte_pieces,
        )
        return found if candidates is None else candidates.originals(found)


def _open_shortlist(directories: Sequence[Path], infos: Sequence[ModelInfo]) -> Shortlist:
    if len(infos) > 1 or infos[0].kind != "pytorch":
        raise UserError("a vocabulary shortlist is for a single PyTorch model", "leave it out")
    return Shortlist.load(directories[0], infos[0].source_size, infos[0].target_size)


_TREATMENTS: dict[str, Treatment] = {"split": "split", "cut": "cut", "refuse": "refused"}


def _members(paths: Sequence[Path], runtimes: Sequence[Runtime | Searcher]) -> list[Runtime]:
    """The models of an ensemble; raises UserError for one that cannot be a part of it."""
    for path, runtime in zip(paths, runtimes, strict=True):
        if isinstance(runtime, Searcher):
            raise UserError(
                f"{path}: a CTranslate2 model searches by itself and cannot be one of several",
                "take the run it came from, or export that to onnx",
            )
    return [runtime for runtime in runtimes if not isinstance(runtime, Searcher)]


def open_runtime(
    directory: Path,
    info: ModelInfo,
    device: str,
    threads: int | None = None,
    quantize: "Precision | None" = None,
    told: AttentionChoice = DEFAULT_ATTENTION,
) -> Runtime | Searcher:
    """The engine for the model in `directory`, which tells that attention.

    PyTorch is imported only for a PyTorch model.
    """
    check_told(info, told)
    if quantize and info.kind != "pytorch":
        raise UserError(
            f"{directory}: has the precision it was exported in; quantize is for PyTorch models",
            "export it again in another one",
        )
    if info.kind == "onnx":
        from nmtcli.translate.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(directory, threads)
    if info.kind == "ctranslate2":
        from nmtcli.translate.runtimes.ctranslate2 import CTranslate2Runtime

        return CTranslate2Runtime(directory, info.precision, device, threads)
    from nmtcli.checkpoint import load_model
    from nmtcli.models.device import DeviceName, open_device
    from nmtcli.translate.runtimes.pytorch import TorchRuntime

    kind, _, number = device.partition(":")
    if kind not in get_args(DeviceName) or (number and (kind != "cuda" or not number.isdecimal())):
        raise UserError(f"device {device}: no such device", "auto, cpu, cuda, or one GPU by its number, as in cuda:1")
    packed = "int8" if info.precision == "int8" else quantize  # stored halves are computed with in fp32
    where = open_device(cast("DeviceName", kind), threads, int(number or 0), packed)
    model = load_model(directory, quantize)
    if where.type == "cpu" and packed is None:
        from nmtcli.models.quantized import pack_floats

        model = pack_floats(model)
    if told != DEFAULT_ATTENTION:
        model.select_attention(told)
    return TorchRuntime(model, where)
