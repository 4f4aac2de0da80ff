"""SentencePiece tokenizers with the special ids of `nmtcli.vocabulary`.

The tokenizer of a data directory is copied unchanged into every checkpoint and export by `Tokenizers.save` and
`Tokenizers.load`; `Tokenizers.reuse` loads a tokenizer from another project.
"""

import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from random import Random
from tempfile import NamedTemporaryFile
from typing import Any, Self

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from nmtcli.config import TokenizerConfig
from nmtcli.config.section import AUTO, settled
from nmtcli.data import normalization
from nmtcli.data.digests import sha256
from nmtcli.data.piece_model import (
    read_pieces,
    renumbered,
    special_ids,
    without_normalization,
    without_rule_file,
)
from nmtcli.data.subword_sampling import BpeSampler, UnigramSampler
from nmtcli.data.workers import interruptible_call
from nmtcli.errors import DataError, UserError
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL, UNK, check_symbols

JOINT_FILE = "tokenizer.model"
SOURCE_FILE = "tokenizer.source.model"
PRETRAINED_FILE = "tokenizer.source.json"  # in place of it, of a pretrained encoder
TARGET_FILE = "tokenizer.target.model"

ALPHABETS = 500  # most different characters of text in alphabets, with accents, digits and punctuation
# A fixed number: the model depends on how the sums of EM are divided over threads.
_TRAINING_THREADS = 16


def vocabulary_size(kind: str, sample: Sequence[str], share: float) -> int:
    """Pieces for a training text of which `sample` is a share: about 8 times the square root of its words.

    A word is taken as six bytes of UTF-8, so that text without blanks counts too. The characters of the text find room.
    """
    if kind in {"char", "word"}:
        return 8_000
    words = sum(len(text.encode()) for text in sample) / share / 6
    characters = len(set().union(*sample))
    by_words = min(max(8 * math.sqrt(words), 2_000), 32_000)
    return round(max(by_words, 512 + 2 * characters) / 1_000) * 1_000


class Tokenizer:
    """A SentencePiece model. Encoding normalises the text (NFC or NFKC, single spaces), so decoding returns
    `normalize(line)`, not always `line`.

    User-defined symbols are always one piece; the longest match wins. `PretrainedTokenizer` has the same interface.
    """

    max_tokens: int | None = None  # of a sentence that the model can read; None: no limit
    special_ids: tuple[int, int, int, int] | None = None  # of a pretrained encoder: its PAD, BOS, EOS and UNK

    def __init__(self, model: bytes) -> None:
        """Raises ValueError unless `model` is a SentencePiece model with the ids of `nmtcli.vocabulary`."""
        try:
            self._processor = sentencepiece.SentencePieceProcessor.from_proto(model)
        except RuntimeError:
            raise ValueError("not a SentencePiece model") from None
        ids = special_ids(self._processor)
        if ids != (PAD, BOS, EOS, UNK):
            raise ValueError(f"its ids of pad, bos, eos and unk are {ids}, not {(PAD, BOS, EOS, UNK)}")
        self._model = model
        pieces = read_pieces(model)
        self.type = pieces.type  # unigram, bpe, char or word
        self._ordinary = pieces.ordinary
        self._symbols = pieces.symbols  # a symbol of a Marian model has a ▁, the space before it
        # (?!) never matches
        longest_first = sorted(map(re.escape, self._symbols), key=len, reverse=True)
        self._symbol = re.compile(f"({'|'.join(longest_first) or '(?!)'})")

    @classmethod
    def train(cls, sentences: Iterable[str], config: TokenizerConfig, symbols: Sequence[str] = ()) -> Self:
        """Train a tokenizer of at most `config.vocab_size` pieces.

        `symbols` (tags of corpora) become user-defined symbols, besides those of `config`. The same sentences in the
        same order give the same model, byte for byte. Raises UserError if there is no text, if the vocabulary is too
        small for its characters, or if a symbol is not valid.
        """
        symbols = list(dict.fromkeys((*config.symbols, *symbols)))
        try:
            check_symbols(symbols)
        except ValueError as error:
            raise UserError(str(error)) from None
        nonblank = [line for line in sentences if line.strip()]
        if not nonblank:
            raise _no_text()
        if config.vocab_size == AUTO:
            config = config.model_copy(update={"vocab_size": vocabulary_size(config.type, nonblank, share=1)})
        words = config.type == "word"
        byte_fallback = config.byte_fallback and not words  # bytes would encode a word's space too, as ▁
        # with type word, SentencePiece gives a symbol two pieces, one of them with a space before it
        fixed = SPECIAL + 256 * byte_fallback + len(symbols) * (2 if words else 1)
        if config.type in {"char", "word"} and settled(config.vocab_size) <= fixed:
            raise _too_small(config, "special ids, bytes and symbols alone need", fixed + 1)
        coverage = 1.0 if words else config.character_coverage
        if coverage == AUTO:
            characters = len(set().union(*nonblank))
            fits = fixed + 2 * characters <= settled(config.vocab_size)
            coverage = 1.0 if characters <= ALPHABETS and fits else 0.9995
        model = io.BytesIO()
        try:
            with _normalization_options(config) as options:
                interruptible_call(
                    sentencepiece.SentencePieceTrainer.train,
                    # an iterator and a writer, not files, keep the paths of this machine out of the model
                    sentence_iterator=iter(nonblank),
                    model_writer=model,
                    model_type=config.type,
                    vocab_size=settled(config.vocab_size),
                    hard_vocab_limit=False,
                    character_coverage=settled(coverage),
                    byte_fallback=byte_fallback,
                    **options,
                    user_defined_symbols=symbols,
                    unk_surface=" ⁇" if words else " ⁇ ",  # a word includes the space before it
                    pad_id=PAD,
                    bos_id=BOS,
                    eos_id=EOS,
                    unk_id=UNK,
                    max_sentence_length=2**30,  # cleaning limits it; the default silently skips long lines
                    num_threads=_TRAINING_THREADS,
                    minloglevel=2,
                )
        except RuntimeError as error:
            raise _explain(error, config) or error from None
        return cls(without_rule_file(model.getvalue()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model file written by `save`. Raises DataError if it is missing or damaged."""
        return cls._open(path, bytes, "damaged tokenizer", "copy it or prepare the data again")

    @classmethod
    def adopt(cls, path: Path) -> Self:
        """Read any SentencePiece model and renumber its special ids if needed, with the same segmentation.

        Raises DataError if it is missing or not a SentencePiece model.
        """
        return cls._open(path, renumbered, "cannot use this tokenizer", "give a SentencePiece .model file")

    @classmethod
    def _open(cls, path: Path, change: Callable[[bytes], bytes], problem: str, hint: str) -> Self:
        try:
            return cls(change(path.read_bytes()))
        except OSError as error:
            raise DataError(f"{path}: cannot read the tokenizer: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{path}: {problem}: {error}", hint) from None

    def save(self, path: Path) -> None:
        """Write the model file."""
        path.write_bytes(self._model)

    @cached_property
    def lowercases(self) -> bool:
        """Whether the normalisation includes lower-casing, whatever program trained the model."""
        return self.normalize("A") == "a"

    @property
    def digest(self) -> str:
        """SHA-256 of the model."""
        return sha256(self._model)

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self._model == other._model

    def __hash__(self) -> int:
        return hash(self._model)

    def has_symbol(self, text: str) -> bool:
        """Whether `text` is a user-defined symbol."""
        return text in self.symbols

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The user-defined symbols."""
        return frozenset(symbol.removeprefix("▁") for symbol in self._symbols)

    @cached_property
    def byte_pieces(self) -> NDArray[np.bool_]:
        """Which ids are bytes of rare characters, [vocabulary]: `byte_pieces[ids].sum()` counts them."""
        return np.array(self._processor.is_byte(list(range(len(self)))))

    @cached_property
    def word_starts(self) -> NDArray[np.bool_]:
        """Which ids start a word, [vocabulary]; the first id of a sentence always does."""
        starts = np.array([piece.startswith("▁") for piece in self._all_pieces])
        starts[UNK] = self.type == "word"  # for other types the ▁ before it is a separate piece
        return starts

    @cached_property
    def spanning_spaces(self) -> NDArray[np.bool_]:
        """Which ids have a space after their first character, and so span two words, [vocabulary]."""
        return np.array(["▁" in piece[1:] for piece in self._all_pieces])

    @property
    def _all_pieces(self) -> list[str]:
        return self.pieces(range(len(self)))

    def encode(self, lines: list[str], threads: int | None = None) -> list[list[int]]:
        """Ids of each line, without BOS and EOS; an empty list for a line that is empty after normalisation.

        The lines must be valid Unicode (no lone surrogates). `threads` affects speed only; None: one per core.
        """
        threads = threads or -1
        if self.type == "word":
            # SentencePiece merges adjacent unknown words into one UNK
            return self._encode_parts(lines, lambda parts: [self._encode_words(part) for part in parts])
        if self.type == "unigram" and self._symbols:
            # SentencePiece segments a symbol abcd before d as ▁abc, dd if the score is better
            return self._encode_parts(lines, lambda parts: self._segmenter.encode(parts, num_threads=threads))
        return self._processor.encode(lines, num_threads=threads)  # type: ignore[no-any-return]

    def encode_arrays(self, lines: list[str], threads: int | None = None) -> list[NDArray[np.int32]]:
        """The same as `encode` with an array for each line, which is faster for many lines."""
        if self.type == "word" or (self.type == "unigram" and self._symbols):
            return [np.array(row, np.int32) for row in self.encode(lines, threads)]
        return self._processor.encode(lines, num_threads=threads or -1, return_type="numpy")  # type: ignore[no-any-return]

    def sample(self, rows: Sequence[Sequence[int]], alpha: float, seed: int) -> list[list[int]]:
        """A random segmentation of each sentence (subword regularisation): the ids change, the text does not.

        `alpha` is the smoothing of a unigram model (0: uniform; large: the best segmentation) or the share of merges
        that BPE-dropout skips. The result depends on the model and the arguments only. Symbols, bytes, special and
        unknown ids stay. Raises UserError for types char and word, which have one segmentation.
        """
        sample = partial(self._sampler.sample, alpha=alpha, generator=Random(seed))
        return [self._sample_row(row, sample) for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a sentence, without line breaks.

        PAD, BOS, EOS and ids outside the vocabulary are skipped, as a model may produce them.
        """
        size = len(self)
        return one_line(self._processor.decode([int(token) for token in ids if EOS < token < size]))

    def decode_all(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sentence; see `decode`."""
        return [self.decode(row) for row in rows]  # SentencePiece's batch call starts threads for microseconds of work

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id in SentencePiece's notation (`▁` marks the start of a word)."""
        return [str(self._processor.id_to_piece(int(token))) for token in ids]

    def normalize(self, line: str) -> str:
        """The normalised line; equal to `decode(encode(line))` without unknown characters."""
        return one_line(self._processor.normalize(line).replace("▁", " "))

    @cached_property
    def _segmenter(self) -> sentencepiece.SentencePieceProcessor:
        """The same model without normalisation, for parts of normalised sentences."""
        return sentencepiece.SentencePieceProcessor.from_proto(without_normalization(self._model))

    def _encode_parts(self, lines: list[str], encode: Callable[[list[str]], list[list[int]]]) -> list[list[int]]:
        """Ids of lines: `encode` returns those of the normalised text between symbols."""
        split = [self._symbol.split(text) for text in self._processor.normalize(lines)]  # text, symbol, text, …, text
        encoded = iter(encode([part for parts in split for part in parts[::2]]))
        rows = []
        for parts in split:
            row = list(next(encoded))
            for symbol in parts[1::2]:
                row += [self._symbols[symbol], *next(encoded)]
            rows.append(row)
        return rows

    def _encode_words(self, text: str) -> list[int]:
        return [self._ordinary.get(word, UNK) for word in re.findall("▁[^▁]*|[^▁]+", text)]

    def _sample_row(self, row: Sequence[int], sample: Callable[[str], list[int] | None]) -> list[int]:
        """A row with each run of ordinary pieces segmented by `sample`."""
        sampled: list[int] = []
        for ordinary, run in itertools.groupby(map(int, row), self._texts.__contains__):
            ids = list(run)
            if not ordinary:
                sampled += ids
                continue
            text = "".join(self._texts[token] for token in ids)
            words = re.split("(?=▁)", text) if self._words_are_separate else [text]
            parts = [sample(word) for word in words if word]
            sampled += ids if None in parts else [token for part in parts if part is not None for token in part]
        return sampled

    @cached_property
    def _sampler(self) -> UnigramSampler | BpeSampler:
        if self.type not in {"unigram", "bpe"}:
            raise UserError(
                f"subword sampling needs a tokenizer of type unigram or bpe; this one is {self.type}",
                "set train.subword_sampling to null",
            )
        ids = list(self._texts)
        scores = dict(zip(ids, self._processor.get_score(ids), strict=True))
        return (UnigramSampler if self.type == "unigram" else BpeSampler)(self._ordinary, scores)

    @cached_property
    def _texts(self) -> dict[int, str]:
        """The text of each ordinary piece."""
        return {number: piece for piece, number in self._ordinary.items()}

    @cached_property
    def _words_are_separate(self) -> bool:
        """Whether no piece spans two words, so that words can be segmented separately."""
        return not any("▁" in piece[1:] for piece in self._ordinary)


def one_line(text: str) -> str:
    """Text without line breaks, which byte pieces can produce, and without surrounding spaces."""
    return text.replace("\n", " ").replace("\r", " ").strip(" ")


@contextmanager
def _normalization_options(config: TokenizerConfig) -> Iterator[dict[str, Any]]:
    """Normalisation options of SentencePiece's trainer: a built-in rule name, or a temporary file with our rules."""
    if config.normalization == "none":
        yield {"normalization_rule_name": "identity"}
    elif config.normalization in {"nfkc", "nmt_nfkc"}:
        yield {"normalization_rule_name": config.normalization + ("_cf" if config.lowercase else "")}
    else:
        with NamedTemporaryFile("w", encoding="ascii", suffix=".tsv") as file:
            file.write(normalization.tsv(config.lowercase))
            file.flush()
            yield {"normalization_rule_tsv": file.name}


def _explain(error: RuntimeError, config: TokenizerConfig) -> UserError | None:
    """The UserError for an error of SentencePiece's trainer; None if it is not a known one."""
    needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
    if needed:
        content, otherwise = "the characters of this text need", ", or lower data.tokenizer.character_coverage"
        return _too_small(config, content, int(needed[1]), otherwise)
    return _no_text() if "(all_chars_count) > (0)" in str(error) else None


def _no_text() -> UserError:
    return UserError(
        "no text to train the tokenizer on: every line is blank or was dropped",
        "nmt prepare --dry-run shows the dropped pairs",
    )


def _too_small(config: TokenizerConfig, content: str, needed: int, otherwise: str = "") -> UserError:
    return UserError(
        f"data.tokenizer.vocab_size {config.vocab_size} is too small: {content} {needed}",
        f"set data.tokenizer.vocab_size to {needed} or more{otherwise}",
    )


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides; the same object if joint."""

    source: Tokenizer
    target: Tokenizer

    @property
    def joint(self) -> bool:
        """Whether both sides share a vocabulary."""
        return self.source is self.target

    @property
    def pretrained(self) -> bool:
        """Whether the source has the tokenizer of a pretrained encoder."""
        return self.source.special_ids is not None

    def save(self, directory: Path) -> None:
        """Write one file (joint) or two into an existing directory."""
        if self.joint:
            self.source.save(directory / JOINT_FILE)
        else:
            self.source.save(directory / (PRETRAINED_FILE if self.pretrained else SOURCE_FILE))
            self.target.save(directory / TARGET_FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the files written by `save`. Raises DataError."""
        return cls._read(directory, Tokenizer.load)

    @classmethod
    def reuse(cls, path: Path) -> Self:
        """The tokenizer(s) of another project: a SentencePiece model file for both sides, or a directory with the files
        that `save` writes (a data directory, a checkpoint, an export).

        Special ids are renumbered to those of `nmtcli.vocabulary`. Raises DataError.
        """
        if path.is_dir():
            return cls._read(path, Tokenizer.adopt)
        tokenizer = Tokenizer.adopt(path)
        return cls(tokenizer, tokenizer)

    @classmethod
    def _read(cls, directory: Path, read: Callable[[Path], Tokenizer]) -> Self:
        if (directory / JOINT_FILE).exists():
            tokenizer = read(directory / JOINT_FILE)
            return cls(tokenizer, tokenizer)
        if (directory / PRETRAINED_FILE).exists():
            from nmtcli.data.pretrained_tokenizer import PretrainedTokenizer  # noqa: PLC0415 - needs an extra

            return cls(PretrainedTokenizer.load(directory / PRETRAINED_FILE), read(directory / TARGET_FILE))
        if not (directory / SOURCE_FILE).exists() and not (directory / TARGET_FILE).exists():
            raise DataError(
                f"{directory}: has no tokenizer", f"expected {JOINT_FILE}, or {SOURCE_FILE} and {TARGET_FILE}"
            )
        return cls(read(directory / SOURCE_FILE), read(directory / TARGET_FILE))
