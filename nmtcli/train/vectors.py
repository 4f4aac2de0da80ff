"""Embeddings that begin with word vectors trained elsewhere: text files of word2vec, GloVe or gensim.

A line is a word and its numbers between blanks; word2vec and gensim begin with a line of two counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nmtcli.config import EmbeddingConfig
from nmtcli.errors import DataError
from nmtcli.prepare.files import File
from nmtcli.prepare.tokenizer import Tokenizer, Tokenizers

_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's ▁


@dataclass(frozen=True)
class WordVectors:
    """Vectors of the pieces that are whole words and are in the file."""

    name: str
    ids: list[int]  # of the vocabulary
    vectors: NDArray[np.float32]  # [len(ids), E]

    @classmethod
    def read(cls, name: str, tokenizer: Tokenizer, size: int) -> "WordVectors":
        """The vectors of a file for a vocabulary. Raises DataError with file and line."""
        wanted = {
            piece.removeprefix(_WORD_START): number
            for number, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))
            if piece.startswith(_WORD_START) and piece != _WORD_START
        }
        file = File(name, Path(name))
        file.check()
        found: dict[int, NDArray[np.float32]] = {}
        with file.readable(), file.open() as content:
            for number, line in enumerate(content, start=1):
                word, *numbers = line.decode("utf-8", "replace").rstrip().rsplit(" ", size)
                if number == 1 and len(numbers) == 1 and word.isdecimal():
                    _check_width(name, 1, int(numbers[0]), size)
                    continue
                if number <= 2 and (len(numbers) < size or " " in word):
                    _check_width(name, number, len(line.split()) - 1, size)
                if word in wanted and wanted[word] not in found:
                    found[wanted[word]] = _parse(numbers, name, number, size)
        if not found:
            raise DataError(f"{name}: has a vector for none of the vocabulary's words", "is it for this language?")
        return cls(name, list(found), np.stack(list(found.values())))

    def put(self, table: torch.Tensor) -> None:
        """Into an embedding [V, E]; other rows stay as they are."""
        with torch.no_grad():
            table[self.ids] = torch.from_numpy(self.vectors).to(table)


WordVectorPair = tuple[WordVectors | None, WordVectors | None]  # of the source and of the target, where there are any


def read_word_vectors(embedding: EmbeddingConfig, tokenizers: Tokenizers) -> WordVectorPair:
    """The vectors that the settings name. Raises DataError as `WordVectors.read`."""
    sides = ((embedding.source_vectors, tokenizers.source), (embedding.target_vectors, tokenizers.target))
    source, target = (None if name is None else WordVectors.read(name, own, embedding.size) for name, own in sides)
    return source, target


def _check_width(name: str, line: int, width: int, size: int) -> None:
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
