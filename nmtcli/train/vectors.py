"""Embeddings that begin with word vectors trained elsewhere: text files of word2vec, GloVe or gensim.

A line is a word and its numbers between blanks; word2vec and gensim begin with a line of two counts.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nmtcli.config import EmbeddingConfig
from nmtcli.data.files import File
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import DataError

_FEW = 0.2  # of the words: of frequent ones good files lack hardly any
_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's ▁


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Vectors of the pieces that are whole words and are in the file."""

    name: str
    ids: list[int]  # of the vocabulary
    vectors: NDArray[np.float32]  # [len(ids), E]
    words: int  # pieces of the vocabulary that are whole words

    @classmethod
    def read(cls, name: str, tokenizer: Tokenizer, size: int) -> "WordVectors":
        """The vectors of a file for a vocabulary. Raises DataError with file and line."""
        words = {
            piece.removeprefix(_WORD_START): number
            for number, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))
            if piece.startswith(_WORD_START) and piece != _WORD_START
        }
        file = File(name, Path(name))
        _refuse_other_formats(name, file.check(), size)
        vectors: dict[int, NDArray[np.float32]] = {}
        with file.readable(), file.open() as content:
            for number, line in enumerate(content, start=1):
                raw = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                word, *numbers = raw.decode("utf-8", "replace").strip(" \t\r\n").replace("\t", " ").rsplit(" ", size)
                if number == 1 and len(numbers) == 1 and word.isdecimal():
                    _check_width(name, 1, int(numbers[0]), size)
                    continue
                if number <= 2 and (len(numbers) < size or " " in word):
                    _check_width(name, number, len(raw.split()) - 1, size)
                if word in words and words[word] not in vectors:
                    vectors[words[word]] = _parse(numbers, name, number, size)
        if not vectors:
            raise DataError(f"{name}: no vector for any word of the vocabulary", "check the language of the vectors")
        return cls(name, list(vectors), np.stack(list(vectors.values())), len(words))

    @property
    def summary(self) -> str:
        """For how many words there is a vector."""
        return f"{self.name}: vectors for {len(self.ids):,} of the {self.words:,} words in the vocabulary"

    @property
    def few(self) -> bool:
        """Whether they are so few that file and vocabulary do not fit together, most likely."""
        return len(self.ids) < _FEW * self.words

    def put(self, table: torch.Tensor, scale: float) -> None:
        """Into an embedding [V, E] that the model multiplies by `scale`; other rows stay as they are."""
        with torch.no_grad():
            table[self.ids] = torch.from_numpy(self.vectors).to(table) / scale


WordVectorPair = tuple[WordVectors | None, WordVectors | None]  # of the source and of the target, where there are any


def read_word_vectors(embedding: EmbeddingConfig, tokenizers: Tokenizers) -> WordVectorPair:
    """The vectors that the settings name. Raises DataError as `WordVectors.read`."""

    def read(name: str | None, tokenizer: Tokenizer) -> WordVectors | None:
        return None if name is None else WordVectors.read(name, tokenizer, embedding.size)

    return read(embedding.source_vectors, tokenizers.source), read(embedding.target_vectors, tokenizers.target)


def _refuse_other_formats(name: str, start: bytes, size: int) -> None:
    """Raises DataError for what tools save that is no text, or text with other signs between and in numbers."""
    head = start.removeprefix(codecs.BOM_UTF8)[:4096]
    lines = head.decode("utf-8", "replace").split("\n")
    if b"\0" in head or head.decode("utf-8", "replace").count("\ufffd") > len(head) // 20:
        raise DataError(
            f"{name}: is binary; word vectors are read as text",
            "save them as text: model.wv.save_word2vec_format(FILE, binary=False) in gensim, the .vec file of fastText",
        )
    sample = lines[1] if len(lines) > 1 and len(lines[0].split()) == 2 else lines[0]
    if sample.count(",") >= max(2, size // 2):
        signs = "commas in its numbers" if len(sample.split()) > 2 else "commas between its numbers"
        change = "tr , ." if len(sample.split()) > 2 else "tr , ' '"
        raise DataError(f"{name}: has {signs}", f"a line is a word and {size} numbers between blanks: {change} < FILE")


def _check_width(name: str, line: int, width: int, size: int) -> None:
    if width < 2:
        raise DataError(f"{name}:{line}: not a word and {size} numbers", "is it a file of word vectors?")
    if width != size:
        raise DataError(
            f"{name}:{line}: vectors of {width} numbers, but model.embedding.size is {size}",
            f"set model.embedding.size={width}",
        )


def _parse(numbers: Sequence[str], name: str, line: int, size: int) -> NDArray[np.float32]:
    try:
        vector = np.array(numbers, dtype=np.float32)
    except ValueError:
        raise DataError(f"{name}:{line}: not a word and {size} numbers") from None
    if len(vector) != size or not np.isfinite(vector).all():
        raise DataError(f"{name}:{line}: not a word and {size} numbers")
    return vector
