"""`Translator`: tokenize, batch by length, decode, detokenize."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field

from nmtcli.arguments import check
from nmtcli.checkpoint import load_tokenizers
from nmtcli.config import SearchConfig
from nmtcli.data.batching import Sentences, length_batches, pad
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.data.words import normalized_parts
from nmtcli.errors import UserError
from nmtcli.models.protocol import Array, StepDecoder
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice, attention_name
from nmtcli.translate.assembly import Assembler, EncodedLine, combined
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.concurrency import each_batch
from nmtcli.translate.constraints import Constraint
from nmtcli.translate.decoding import Detokenizer, decode
from nmtcli.translate.engines import ModelOptions
from nmtcli.translate.ensemble import Ensemble, Mean, check_target_vocabularies
from nmtcli.translate.line_constraints import LineConstraints
from nmtcli.translate.long_lines import cut_points
from nmtcli.translate.paragraphs import Paragraphs, Sentence
from nmtcli.translate.runtimes import Runtime, Searcher, ShortlistRuntime
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
)
from nmtcli.vocabulary import EOS

if TYPE_CHECKING:
    from nmtcli.models.packed import Precision


SHORTLIST_BATCH_TOKENS = 1000  # maximum source tokens of a batch with a vocabulary shortlist
_PARTS = 2**20  # more than the parts of any line
_UNUSUAL = 0.05  # share of training sources with several sentences below which a model is one of single sentences
_Count = Annotated[int, Field(ge=1, le=10_000)]
_Number = Annotated[int, Field(ge=0, lt=2**43)]


@dataclass(frozen=True)
class _Part:
    """A sentence, or a part of one that is too long."""

    tokens: tuple[list[int], ...]  # one list, or one for each tokenizer of an ensemble
    number: int  # seed of sampling
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Translator:
    """A model or an ensemble with tokenizers, decoding settings and line handling."""

    runtime: Runtime | Searcher
    tokenizers: Tokenizers
    search: SearchConfig
    handling: LineHandling = field(default_factory=LineHandling)
    threads: int | None = None  # of the tokenizer; None: one per core
    member_sources: tuple[Tokenizer, ...] = ()  # source tokenizers of an ensemble, if they differ
    shortlist: Shortlist | None = None  # of a single PyTorch model
    attends: bool = False  # the model has attention
    attention_name: str = ""  # layer and head of the attention
    languages: tuple[str, str] = ("source", "target")
    several_sentences: float | None = None  # share of the training sources that have several; None: not known

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        device: str = "auto",
        *,
        weights: Sequence[float] | None = None,
        mean: Mean = "probability",
        selected_attention: AttentionChoice = DEFAULT_ATTENTION,
        handling: LineHandling | None = None,
        threads: int | None = None,
        quantize: "Precision | None" = None,
        shortlist: bool = False,
        **search: Any,
    ) -> "Translator":
        """Open a run, a checkpoint or an export; several make an ensemble with these `weights`.

        Members share the target vocabulary; the first model has the decoding settings and the source tokenizer for
        splitting lines. `mean` is of probabilities or log-probabilities. `selected_attention` is the layer and head
        of the first model for attention, alignment and UNK replacement. `device` is auto, cpu, cuda or one GPU such as
        cuda:1. `threads` are CPU threads. `quantize` is int8 on a CPU, fp16 on a GPU, bf16 on either. `shortlist` uses
        the vocabulary shortlist of the model. Keywords of `SearchConfig`, such as `beam_size=1`, replace decoding
        settings of the model. Raises UserError or DataError.
        """
        paths = [path] if isinstance(path, str | Path) else path
        check("path", paths, Sequence[str | Path])
        if not paths:
            raise UserError("path: an empty list of models", "give at least one model")
        return cls.open(
            ModelOptions(
                tuple(map(Path, paths)),
                device,
                search,
                handling or LineHandling(),
                weights,
                mean,
                selected_attention,
                threads,
                quantize,
                shortlist,
            )
        )

    @classmethod
    def open(cls, options: ModelOptions) -> "Translator":
        """Open the models of `options`. Raises UserError or DataError."""
        models = options.check()
        (first, info), engines = (models.directories[0], models.infos[0]), options.open_engines(models)
        tokenizers = [load_tokenizers(directory) for directory in models.directories]
        check_target_vocabularies(
            {str(path): pair.target for path, pair in zip(options.models, tokenizers, strict=True)}
        )
        runtime: Runtime | Searcher = engines[0]
        if len(engines) > 1 or options.weights is not None:
            members = [engine for engine in engines if not isinstance(engine, Searcher)]
            runtime = Ensemble(members, options.weights, options.mean)
        sources = tuple(pair.source for pair in tokenizers)
        translator = cls(
            runtime,
            tokenizers[0],
            models.search,
            options.handling,
            options.threads,
            member_sources=() if all(source == sources[0] for source in sources) else sources,
            shortlist=Shortlist.load(first, info.source_size, info.target_size) if options.shortlist else None,
            attends=info.model.attends,
            several_sentences=info.several_sentences,
            languages=(info.source_language, info.target_language),
            attention_name=attention_name(info.model, options.selected_attention) if info.model.attends else "",
        )
        _ = translator.line_constraints, translator.paragraphs  # raise UserError for invalid settings
        if isinstance(runtime, Searcher):
            runtime.check(models.search, options.handling)
        return translator

    @cached_property
    def line_constraints(self) -> LineConstraints:
        """The lexical constraints. Raises UserError for invalid ones."""
        return LineConstraints(
            self.tokenizers,
            self.handling,
            sampling=self.search.method != "beam",
            unsupported=isinstance(self.runtime, Searcher),
        )

    @property
    def single_sentences(self) -> bool:
        """Whether lines of several sentences are unlike the training text, and are not split."""
        unusual = self.several_sentences is not None and self.several_sentences < _UNUSUAL
        return unusual and not self.handling.split_sentences

    @cached_property
    def paragraphs(self) -> Paragraphs:
        """Divides lines and joins their translations. Raises UserError for settings that the model does not support."""
        constrained = self.search.method == "beam" and not isinstance(self.runtime, Searcher)
        sampled = self.search.method == "sampling"
        return Paragraphs(self.tokenizers, self.handling, self.languages, constrained, sampled, self.member_sources)

    @cached_property
    def byte_pieces(self) -> BytePieces | None:
        """The byte pieces of the target vocabulary."""
        return BytePieces.of(self.tokenizers.target)

    def translate(
        self,
        lines: Iterable[str | Request],
        *,
        n_best: int = 1,
        attention: bool = False,
        alignment: bool = False,
        token_scores: bool = False,
        numbers: Iterable[int] | None = None,
    ) -> list[Translation]:
        """A translation for each line, in order.

        Each has up to `n_best` candidates, with attention weights (`attention`), word alignment (`alignment`) and the
        log-probability of each token (`token_scores`).
        Lines are divided, and spans and tags kept, as `handling` says.
        Sampling depends on the `numbers` of the lines (1, 2, … by default), not on the other lines. Control characters
        count as spaces. Raises UserError if attention is needed and the model has none.
        """
        requests = as_requests(lines)
        check("n_best", n_best, _Count)
        if numbers is not None:
            numbers = list(numbers)
            check("numbers", numbers, Sequence[_Number])
            if len(numbers) != len(requests):
                raise UserError(f"numbers: {len(numbers)} for {len(requests)} lines", "give one for each line")
        numbers = range(1, len(requests) + 1) if numbers is None else numbers
        paragraphs = [self.paragraphs.divide(request) for request in requests]
        tagged = self.attends and any(paragraph.has_tags for paragraph in paragraphs)
        translations = iter(
            self._translate(
                [sentence for paragraph in paragraphs for sentence in paragraph.sentences],
                [number for paragraph, number in zip(paragraphs, numbers, strict=True) for _ in paragraph.sentences],
                n_best,
                attention,
                alignment,
                token_scores,
                tagged,
            )
        )
        return [
            self.paragraphs.join(one, list(islice(translations, len(one.sentences))), n_best, attention, alignment)
            for one in paragraphs
        ]

    def _translate(
        self,
        lines: Sequence[Sentence],
        numbers: Sequence[int],
        n_best: int,
        attention: bool,
        alignment: bool,
        token_scores: bool,
        tagged: bool,
    ) -> list[Translation]:
        """A translation for each sentence; `numbers` are those of their lines, in order.

        `tagged`: with the alignment that places tags.
        """
        encoded, treatments = self._encode(lines)
        parts: list[_Part] = []
        counts, problems = [], []
        for row, (sentence, treatment, number) in enumerate(zip(lines, treatments, numbers, strict=True)):
            first = parts[-1].number + 1 if parts and parts[-1].number // _PARTS == number else number * _PARTS
            ours, line_problems = self._parts(sentence, encoded[row], treatment, first)
            if ours is None:
                encoded[row] = EncodedLine(encoded[row].text, [], [0, 0])
            parts += ours or ()
            counts.append(len(ours or ()))
            problems.append(line_problems)
        alignment = alignment or tagged
        keep_attention = attention or alignment or self.handling.dictionary is not None
        by_part: list[list[Hypothesis]] = [[] for _ in parts]
        for rows, hypotheses in self._batches(parts, n_best, keep_attention, token_scores):
            for row, pool in zip(rows, hypotheses, strict=True):
                if keep_attention and pool and pool[0].attention is None:
                    raise UserError(
                        "the model has no attention", "leave attention, alignment and the dictionary of UNK out"
                    )
                by_part[row] = pool
        translations = []
        remaining = iter(by_part)
        for row, (sentence, line) in enumerate(zip(lines, encoded, strict=True)):
            pools = list(islice(remaining, counts[row]))
            if not all(hypothesis.satisfied for pool in pools for hypothesis in pool):
                problems[row].add("unmet")
            if any(hypothesis.repaired for pool in pools for hypothesis in pool):
                problems[row].add("incomplete")
            if not all(pools):  # a search ends with a hypothesis, unless all were NaN or infinite
                problems[row].add("not-numbers")
            words, name = self.handling.dictionary, self.attention_name
            assembler = Assembler(self.tokenizers, line, words, attention, alignment, name, token_scores, tagged)
            sampled = self.search.method == "sampling"
            candidates = assembler.candidates(combined(pools, n_best, sampled=sampled))
            problem = tuple(sorted(problems[row]))
            translations.append(Translation(sentence.request.source, candidates, treatments[row], problem))
        return translations

    def batches(self, lines: Sequence[str]) -> Iterator[tuple[list[int], list[tuple[Candidate, ...]]]]:
        """Row numbers and best candidates of each batch, in order of completion. Long lines are not split; empty
        lines are omitted."""
        ids = self.tokenizers.source.encode(list(lines), self.threads)
        tokens = self._member_tokens(lines, ids)
        sentences = [_Part(members, number * _PARTS) for number, members in enumerate(tokens, 1)]
        for rows, hypotheses in self._batches(sentences, 1, keep_attention=False):
            whole = [EncodedLine(lines[row], ids[row], [0, len(ids[row])]) for row in rows]
            assemblers = [Assembler(self.tokenizers, line, None, False, False) for line in whole]
            yield (
                rows,
                [one.candidates((best,) for best in pool) for one, pool in zip(assemblers, hypotheses, strict=True)],
            )

    def _parts(
        self, sentence: Sentence, line: EncodedLine, treatment: Treatment | None, first: int
    ) -> tuple[list[_Part] | None, set[Problem]]:
        """The parts of a sentence, numbered from `first`; None for contradictory constraints. And its problems."""
        if not line.parts:
            return [], set()
        texts = [line.text] if treatment is None else self._texts(line, sentence.tag)
        constraints, problems = self.line_constraints.constraints(sentence, texts)
        if constraints is None:
            return None, problems
        tokens = self._member_tokens(texts, line.parts)
        return [
            _Part(members, number, constraint)
            for number, (members, constraint) in enumerate(zip(tokens, constraints, strict=True), first)
        ], problems

    def _texts(self, line: EncodedLine, tag: str) -> list[str]:
        """The text of each part of a line that is too long, each with the language tag."""
        source = self.tokenizers.source
        texts = normalized_parts(source, line.text, line.tokens, line.cuts)
        if texts is None:
            return source.decode_all(line.parts)
        return [texts[0], *(f"{tag} {text}".strip() for text in texts[1:])]

    def _member_tokens(self, texts: Sequence[str], ids: Sequence[list[int]]) -> list[tuple[list[int], ...]]:
        """The tokens of each text for each source tokenizer; `ids` are those of the first one."""
        if not self.member_sources:
            return [(tokens,) for tokens in ids]
        others = [source.encode(list(texts), self.threads) for source in self.member_sources[1:]]
        return list(zip(ids, *others, strict=True))

    def _encode(self, sentences: Sequence[Sentence]) -> tuple[list[EncodedLine], list[Treatment | None]]:
        """The tokens of sentences, and the treatment of those over the limit."""
        handling, source = self.handling, self.tokenizers.source
        most = source.max_tokens, self.runtime.max_tokens if isinstance(self.runtime, Searcher) else None
        limit = min([handling.max_source_tokens, *(one for one in most if one is not None)])
        encoded: list[EncodedLine] = []
        treatments: list[Treatment | None] = []
        lines = [sentence.request.source for sentence in sentences]
        tags = {tag: tuple(source.encode([tag])[0]) for tag in {sentence.tag for sentence in sentences} if tag}
        for sentence, line, tokens in zip(sentences, lines, source.encode(lines, self.threads), strict=True):
            cuts, treatment, tag = [0, len(tokens)], None, tags.get(sentence.tag, ())
            if len(tokens) > limit:
                treatment = _TREATMENTS[handling.long_lines]
                if treatment == "split":
                    cuts = cut_points(source.pieces(tokens), max(limit - len(tag), 1))
                else:
                    cuts = [0, limit if treatment == "cut" else 0]
            encoded.append(EncodedLine(line, tokens[: cuts[-1]], cuts, tag))
            treatments.append(treatment)
        return encoded, treatments

    def _batches(
        self, sentences: Sequence[_Part], n_best: int, keep_attention: bool, token_scores: bool = False
    ) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
        """Rows and hypotheses of each batch; sentences without tokens are omitted."""
        lengths = [len(sentence.tokens[0]) + 1 for sentence in sentences]
        budget = self.search.batch_tokens
        if self.shortlist is not None:  # larger batches would need a larger vocabulary
            budget = min(budget, SHORTLIST_BATCH_TOKENS)
        batches = list(length_batches(lengths, budget))
        hypotheses = each_batch(
            self.runtime,
            lambda rows: self._decode([sentences[row] for row in rows], n_best, keep_attention, token_scores),
            batches,
        )
        yield from zip(batches, hypotheses, strict=True)

    def _decode(
        self, sentences: Sequence[_Part], n_best: int, keep_attention: bool, token_scores: bool
    ) -> list[list[Hypothesis]]:
        if isinstance(self.runtime, Searcher):
            sources = [sentence.tokens[0] for sentence in sentences]
            return self.runtime.search(sources, self.search, n_best, keep_attention, self.byte_pieces, token_scores)
        sides = zip(*(sentence.tokens for sentence in sentences), strict=True)
        rows = [pad(Sentences.of(side), after=EOS) for side in sides]
        source, length = rows[0]
        arrays: tuple[Array, Array] = self.runtime.array(source), self.runtime.array(length)
        if isinstance(self.runtime, Ensemble) and len(rows) > 1:
            arrays = self.runtime.arrays([ids for ids, _ in rows]), self.runtime.arrays([size for _, size in rows])
        runtime: StepDecoder = self.runtime
        detokenize: Detokenizer = self.tokenizers.target.decode_all
        constraints = [sentence.constraint for sentence in sentences]
        candidates, byte_pieces = None, self.byte_pieces
        if self.shortlist is not None:
            candidates = self.shortlist.candidates(source, constraints, byte_pieces)
            byte_pieces = byte_pieces and byte_pieces.restricted_to(candidates.tokens)
            runtime = cast(ShortlistRuntime, runtime).restricted_to(candidates.tokens, candidates.allowed)
            detokenize, constraints = candidates.detokenizer(detokenize), candidates.constraints(constraints)
        hypotheses = decode(
            runtime,
            *arrays,
            length.tolist(),
            self.search,
            detokenize,
            n_best=n_best,
            keep_attention=keep_attention,
            keep_log_probs=token_scores,
            numbers=[sentence.number for sentence in sentences],
            target_language=self.paragraphs.target_language,
            constraints=constraints,
            byte_pieces=byte_pieces,
        )
        return hypotheses if candidates is None else candidates.originals(hypotheses)


_TREATMENTS: dict[str, Treatment] = {"split": "split", "cut": "cut", "refuse": "refused"}
