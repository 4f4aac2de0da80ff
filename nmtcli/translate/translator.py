"""Sentences in, translations out, in the same order: tokenize, batch by length, search, detokenize."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from nmtcli.checkpoint import ModelInfo, find_model, read_info
from nmtcli.config import SearchConfig
from nmtcli.errors import UserError
from nmtcli.models.protocol import Array, StepDecoder
from nmtcli.prepare.tokenizer import Tokenizers
from nmtcli.settings import replace_search
from nmtcli.translate.assembly import Assembler, EncodedLine
from nmtcli.translate.decoding import decode
from nmtcli.translate.long_lines import cut_points
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.translation import Candidate, LineHandling, Request, Translation, Treatment
from nmtcli.vocabulary import EOS, PAD

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")  # and halves of characters


class Runtime(StepDecoder, Protocol):
    """An engine that runs a model, and makes arrays of its own kind."""

    def array(self, values: NDArray[np.int64]) -> Array:
        """A NumPy array as this runtime takes it."""


@dataclass(frozen=True)
class Translator:
    """A model, its tokenizers, how to search, and what to do with lines."""

    runtime: Runtime
    tokenizers: Tokenizers
    search: SearchConfig
    handling: LineHandling = field(default_factory=LineHandling)
    threads: int | None = None  # of the tokenizer; None is one a core

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        *,
        handling: LineHandling | None = None,
        threads: int | None = None,
        **search: Any,
    ) -> "Translator":
        """The translator in a run, a checkpoint or an export.

        `device` is auto, cpu, cuda or the name of one device, such as cuda:1. `threads` are those of the CPU. Settings
        of `SearchConfig` given by name, such as `beam_size=1`, replace the model's own. Raises UserError or DataError.
        """
        directory = find_model(Path(path))
        info = read_info(directory)
        settings = replace_search(info.search, search)
        tokenizers = Tokenizers.load(directory)
        runtime = open_runtime(directory, info, device, threads)
        return cls(runtime, tokenizers, settings, handling or LineHandling(), threads)

    def translate(
        self, lines: Iterable[str | Request], *, n_best: int = 1, attention: bool = False, alignment: bool = False
    ) -> list[Translation]:
        """A translation for each line, in order.

        Each has up to `n_best` candidates. `attention` keeps where the model looked, `alignment` which words it linked.
        Control characters count as blanks. Raises UserError where the model has no attention to keep.
        """
        requests = [Request(line) if isinstance(line, str) else line for line in lines]
        encoded, treatments = self._encode([without_controls(request.source) for request in requests])
        owners = [row for row, line in enumerate(encoded) for _ in line.parts]
        parts = [part for line in encoded for part in line.parts]
        found: list[list[list[Hypothesis]]] = [[] for _ in requests]
        drawn = attention or alignment or self.handling.dictionary is not None
        by_part: list[list[Hypothesis]] = [[] for _ in parts]
        for rows, hypotheses in self._batches(parts, n_best, drawn):
            for row, pool in zip(rows, hypotheses, strict=True):
                if drawn and pool and pool[0].attention is None:
                    raise UserError("the model has no attention", "it draws on no word more than on others")
                by_part[row] = pool
        for owner, pool in zip(owners, by_part, strict=True):
            found[owner].append(pool)
        translations = []
        for request, line, pools, treatment in zip(requests, encoded, found, treatments, strict=True):
            assembler = Assembler(self.tokenizers, line, self.handling.dictionary, attention, alignment)
            translations.append(Translation(request.source, assembler.candidates(pools), treatment))
        return translations

    def batches(self, lines: Sequence[str]) -> Iterator[tuple[list[int], list[tuple[Candidate, ...]]]]:
        """Batch after batch, as they are done: which lines, and their best candidate. Lines are taken whole; those
        without tokens are left out."""
        ids = self.tokenizers.source.encode(list(lines), self.threads)
        for rows, hypotheses in self._batches(ids, 1, drawn=False):
            whole = [EncodedLine(lines[row], ids[row], [0, len(ids[row])]) for row in rows]
            assemblers = [Assembler(self.tokenizers, line, None, False, False) for line in whole]
            yield rows, [one.candidates([pool]) for one, pool in zip(assemblers, hypotheses, strict=True)]

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
        self, sources: Sequence[list[int]], n_best: int, drawn: bool
    ) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
        """Which rows of `sources` were translated together, and what was found for each; those without tokens are left
        out."""
        for rows in length_batches([len(tokens) + 1 for tokens in sources], self.search.batch_tokens):
            yield rows, self._decode([sources[row] for row in rows], rows, n_best, drawn)

    def _decode(
        self, sources: Sequence[list[int]], numbers: Sequence[int], n_best: int, drawn: bool
    ) -> list[list[Hypothesis]]:
        length = np.array([len(sentence) + 1 for sentence in sources], dtype=np.int64)
        source = np.full((len(sources), int(length.max())), PAD, dtype=np.int64)
        for row, sentence in enumerate(sources):
            source[row, : length[row]] = [*sentence, EOS]
        return decode(
            self.runtime,
            self.runtime.array(source),
            self.runtime.array(length),
            length.tolist(),
            self.search,
            self.tokenizers.target.decode_all,
            n_best=n_best,
            keep_attention=drawn,
            numbers=numbers,
        )


_TREATMENTS: dict[str, Treatment] = {"split": "split", "cut": "cut", "refuse": "refused"}


def without_controls(line: str) -> str:
    """A line with a blank for each control character, line ends among them, and U+FFFD for half a character."""
    return _CONTROL.sub(lambda found: " " if found[0] < "\ud800" else "\ufffd", line)


def has_controls(line: str) -> bool:
    """Whether `without_controls` would change it."""
    return _CONTROL.search(line) is not None


def open_runtime(directory: Path, info: ModelInfo, device: str, threads: int | None = None) -> Runtime:
    """The engine for the model in `directory`. PyTorch is imported only for a PyTorch model."""
    if info.kind == "onnx":
        from nmtcli.translate.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(directory, threads)
    from nmtcli.checkpoint import load_model
    from nmtcli.models.device import DeviceName, open_device
    from nmtcli.translate.runtimes.pytorch import TorchRuntime

    kind, _, number = device.partition(":")
    if kind not in get_args(DeviceName) or (number and (kind != "cuda" or not number.isdecimal())):
        raise UserError(f"device {device}: no such device", "auto, cpu, cuda, or one GPU by its number, as in cuda:1")
    where = open_device(cast("DeviceName", kind), threads, int(number or 0))
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
