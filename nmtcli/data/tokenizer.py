"""Text to ids and back: SentencePiece, with the ids of `nmtcli.vocabulary`.

The tokenizer of a data directory is copied unchanged into every checkpoint and export, so `Tokenizers.save` and
`Tokenizers.load` on a directory are the only way in and out; `Tokenizers.reuse` takes in one made elsewhere.
"""

import hashlib
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
from nmtcli.data.piece_model import (
    read_pieces,
    renumbered,
    special_ids,
    without_normalization,
    without_rule_file,
)
from nmtcli.data.subword_sampling import BpeSampler, UnigramSampler
from nmtcli.errors import DataError, UserError
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL, UNK, check_symbols

JOINT_FILE = "tokenizer.model"
SOURCE_FILE = "tokenizer.source.model"
TARGET_FILE = "tokenizer.target.model"

# The model depends on how many threads share the sums of EM, so the number is fixed whatever the machine has.
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
    """One SentencePiece model. Encoding normalises the text (NFC or NFKC, blanks to single spaces), so decoding gives
    `normalize(line)`, not always `line`.

    User-defined symbols are one piece wherever they stand; of two that begin alike the longer one is read.
    """

    def __init__(self, model: bytes) -> None:
        """Raises ValueError if `model` is not a SentencePiece model with our special ids."""
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
        self._symbols = pieces.symbols
        # a pattern that never matches where there are no symbols
        longest_first = sorted(map(re.escape, self._symbols), key=len, reverse=True)
        self._symbol = re.compile(f"({'|'.join(longest_first) or '(?!)'})")

    @classmethod
    def train(cls, sentences: Iterable[str], config: TokenizerConfig, symbols: Sequence[str] = ()) -> Self:
        """A tokenizer of at most `config.vocab_size` pieces; fewer if the text has no more.

        `symbols` (tags of corpora) become user-defined symbols beside those of `config`. The same sentences in the same
        order give the same model, byte for byte. Raises UserError if there is no text, the vocabulary cannot hold its
        characters, or a symbol cannot be one.
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
        byte_fallback = config.byte_fallback and not words  # bytes would spell a word's blank too, as ▁
        # SentencePiece gives a symbol two pieces among words, one of them with the blank before it
        fixed = SPECIAL + 256 * byte_fallback + len(symbols) * (2 if words else 1)
        if config.type in {"char", "word"} and settled(config.vocab_size) <= fixed:
            raise _too_small(config, "special ids, bytes and symbols alone", fixed + 1)
        model = io.BytesIO()
        try:
            with _normalization_options(config) as options:
                sentencepiece.SentencePieceTrainer.train(
                    # an iterator and a writer instead of files keep the paths of this machine out of the model
                    sentence_iterator=iter(nonblank),
                    model_writer=model,
                    model_type=config.type,
                    vocab_size=settled(config.vocab_size),
                    hard_vocab_limit=False,
                    character_coverage=1.0 if words else config.character_coverage,
                    byte_fallback=byte_fallback,
                    **options,
                    user_defined_symbols=symbols,
                    unk_surface=" ⁇" if words else " ⁇ ",  # a word has its blank before it
                    pad_id=PAD,
                    bos_id=BOS,
                    eos_id=EOS,
                    unk_id=UNK,
                    max_sentence_length=2**30,  # cleaning has bounded it; by default long lines are left out silently
                    num_threads=_TRAINING_THREADS,
                    minloglevel=2,
                )
        except RuntimeError as error:
            raise _explain(error, config) or error from None
        return cls(without_rule_file(model.getvalue()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model file. Raises DataError if it is missing or not ours."""
        model = _read(path)
        try:
            return cls(model)
        except ValueError as error:
            raise DataError(f"{path}: damaged tokenizer: {error}", "copy it again or prepare the data anew") from None

    @classmethod
    def adopt(cls, path: Path) -> Self:
        """Read any SentencePiece model; one with other special ids is renumbered and segments as before.

        Raises DataError if it is missing or no SentencePiece model.
        """
        model = _read(path)
        try:
            return cls(renumbered(model))
        except ValueError as error:
            raise DataError(f"{path}: cannot use this tokenizer: {error}", "give a SentencePiece .model file") from None

    def save(self, path: Path) -> None:
        """Write the model file."""
        path.write_bytes(self._model)

    @property
    def digest(self) -> str:
        """Sha256 of the model, in hexadecimal."""
        return hashlib.sha256(self._model).hexdigest()

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self._model == other._model

    def __hash__(self) -> int:
        return hash(self._model)

    def has_symbol(self, text: str) -> bool:
        """Whether `text` is a user-defined symbol: one piece wherever it stands."""
        return text in self._symbols

    @cached_property
    def byte_pieces(self) -> NDArray[np.bool_]:
        """Which ids spell a byte of a rare character, [vocabulary]: `byte_pieces[ids].sum()` counts them."""
        return np.array(self._processor.is_byte(list(range(len(self)))))

    @cached_property
    def word_starts(self) -> NDArray[np.bool_]:
        """Which ids begin a word wherever they stand, [vocabulary]; the first of a sentence always does."""
        starts = np.array([piece.startswith("▁") for piece in self._all_pieces])
        starts[UNK] = self.type == "word"  # elsewhere it is characters, and the ▁ before them a piece of its own
        return starts

    @cached_property
    def over_blanks(self) -> NDArray[np.bool_]:
        """Which ids hold a blank behind their first character, and so parts of two words, [vocabulary]."""
        return np.array(["▁" in piece[1:] for piece in self._all_pieces])

    @property
    def _all_pieces(self) -> list[str]:
        return self.pieces(range(len(self)))

    def encode(self, lines: list[str], threads: int | None = None) -> list[list[int]]:
        """Ids of each line, without BOS and EOS; an empty list where nothing is left after normalisation.

        The lines must be valid Unicode (no lone surrogates). `threads` changes speed only; None is one a core.
        """
        threads = threads or -1
        if self.type == "word":
            # SentencePiece makes one UNK of several unknown words in a row
            return self._encode_parts(lines, lambda parts: [self._encode_words(part) for part in parts])
        if self.type == "unigram" and self._symbols:
            # SentencePiece takes ▁abc, dd for the symbol abcd before d if the score is better
            return self._encode_parts(lines, lambda parts: self._segmenter.encode(parts, num_threads=threads))
        return self._processor.encode(lines, num_threads=threads)  # type: ignore[no-any-return]

    def encode_arrays(self, lines: list[str], threads: int | None = None) -> list[NDArray[np.int32]]:
        """The same as `encode`, an array for each line: quicker where there are many."""
        if self.type == "word" or (self.type == "unigram" and self._symbols):
            return [np.array(row, np.int32) for row in self.encode(lines, threads)]
        return self._processor.encode(lines, num_threads=threads or -1, return_type="numpy")  # type: ignore[no-any-return]

    def sample(self, rows: Sequence[Sequence[int]], alpha: float, seed: int) -> list[list[int]]:
        """Another segmentation of each sentence, drawn at random: the ids change, the text does not.

        `alpha` smooths the distribution of a unigram model (0 makes all segmentations alike probable, a large one
        leaves the best) or is the share of merges that BPE-dropout leaves out. The result depends on the model and the
        arguments only. Symbols, bytes, special and unknown ids stay as they are. Raises UserError for characters and
        words, which have one segmentation.
        """
        draw = partial(self._sampler.draw, alpha=alpha, generator=Random(seed))
        return [self._sample_row(row, draw) for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of one sentence, always one line.

        PAD, BOS, EOS and ids outside the vocabulary are skipped: a model may produce any of them.
        """
        size = len(self)
        return _one_line(self._processor.decode([int(token) for token in ids if EOS < token < size]))

    def decode_all(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sentence; see `decode`."""
        return [self.decode(row) for row in rows]  # SentencePiece's batch starts threads for what takes microseconds

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id as SentencePiece writes it (`▁` marks a word's begin), to label a heat map."""
        return [str(self._processor.id_to_piece(int(token))) for token in ids]

    def normalize(self, line: str) -> str:
        """What the tokenizer sees of a line; `decode(encode(line))` where nothing is unknown."""
        return _one_line(self._processor.normalize(line).replace("▁", " "))

    @cached_property
    def _segmenter(self) -> sentencepiece.SentencePieceProcessor:
        """The same model for parts of sentences that are normalised already."""
        return sentencepiece.SentencePieceProcessor.from_proto(without_normalization(self._model))

    def _encode_parts(self, lines: list[str], encode: Callable[[list[str]], list[list[int]]]) -> list[list[int]]:
        """Ids of lines: `encode` gives those of the normalised text between symbols."""
        cut = [self._symbol.split(text) for text in self._processor.normalize(lines)]  # text, symbol, text, …, text
        encoded = iter(encode([part for parts in cut for part in parts[::2]]))
        rows = []
        for parts in cut:
            row = list(next(encoded))
            for symbol in parts[1::2]:
                row += [self._symbols[symbol], *next(encoded)]
            rows.append(row)
        return rows

    def _encode_words(self, text: str) -> list[int]:
        return [self._ordinary.get(word, UNK) for word in re.findall("▁[^▁]*|[^▁]+", text)]

    def _sample_row(self, row: Sequence[int], draw: Callable[[str], list[int] | None]) -> list[int]:
        """A row with each run of ordinary pieces drawn anew by `draw`."""
        sampled: list[int] = []
        for ordinary, run in itertools.groupby(map(int, row), self._texts.__contains__):
            ids = list(run)
            if not ordinary:
                sampled += ids
                continue
            text = "".join(self._texts[token] for token in ids)
            words = re.split("(?=▁)", text) if self._words_apart else [text]
            drawn = [draw(word) for word in words if word]
            sampled += ids if None in drawn else [token for part in drawn if part is not None for token in part]
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
    def _words_apart(self) -> bool:
        """Whether no piece goes on into the next word, so that words can be segmented one by one."""
        return not any("▁" in piece[1:] for piece in self._ordinary)


def _one_line(text: str) -> str:
    """Text without what ends a line (bytes can spell it) and without blanks around."""
    return text.replace("\n", " ").replace("\r", " ").strip(" ")


@contextmanager
def _normalization_options(config: TokenizerConfig) -> Iterator[dict[str, Any]]:
    """Options of SentencePiece's trainer: the name of rules that it knows, or a file with ours for the time."""
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
    """SentencePiece's complaint in our words, None if it is about something we do not know."""
    needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
    if needed:
        return _too_small(config, "the characters of this text", int(needed[1]))
    return _no_text() if "(all_chars_count) > (0)" in str(error) else None


def _no_text() -> UserError:
    return UserError("there is no text to train the tokenizer on", "every line is blank or was dropped")


def _too_small(config: TokenizerConfig, what: str, needed: int) -> UserError:
    return UserError(
        f"data.tokenizer.vocab_size {config.vocab_size} is too small: {what} need {needed}",
        f"set data.tokenizer.vocab_size to {needed} or more, or lower data.tokenizer.character_coverage",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the tokenizer: {error.strerror}") from None


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides; one and the same object where they are joint."""

    source: Tokenizer
    target: Tokenizer

    @property
    def joint(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.source is self.target

    def save(self, directory: Path) -> None:
        """Write one file (joint) or two into an existing directory."""
        if self.joint:
            self.source.save(directory / JOINT_FILE)
        else:
            self.source.save(directory / SOURCE_FILE)
            self.target.save(directory / TARGET_FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote. Raises DataError."""
        return cls._read(directory, Tokenizer.load)

    @classmethod
    def reuse(cls, path: Path) -> Self:
        """The tokenizer(s) of another project: a SentencePiece model file for both sides, or a directory with the files
        that `save` writes (a data directory, a checkpoint, an export).

        Special ids are made ours. Raises DataError.
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
        if not (directory / SOURCE_FILE).exists() and not (directory / TARGET_FILE).exists():
            raise DataError(
                f"{directory}: no tokenizer here", f"expected {JOINT_FILE}, or {SOURCE_FILE} and {TARGET_FILE}"
            )
        return cls(read(directory / SOURCE_FILE), read(directory / TARGET_FILE))
