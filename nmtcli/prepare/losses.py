"""The characters of a text that a tokenizer cannot reproduce, and those that it encodes as bytes."""

import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nmtcli.data.tokenizer import Tokenizer
from nmtcli.prepare.cleaning.characters import Texts

_UNKNOWN, _WRITTEN, _SPELLED, _LOST = range(4)
_NO_LOSS = "\ufeff\N{LOWER ONE EIGHTH BLOCK}"  # a byte order mark, and SentencePiece's space


@dataclass
class CharacterCounts:
    """Counts of one side, which can be summed."""

    unwritable_texts: int = 0  # with a character that the tokenizer changes or removes
    unwritable: Counter[str] = field(default_factory=Counter)
    spelled: Counter[str] = field(default_factory=Counter)  # characters encoded as bytes, a token each


class CharacterLosses:
    """Counts characters by how the tokenizer encodes them, tested at their first occurrence."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._fates = np.zeros(sys.maxunicode + 1, np.uint8)

    def count(self, texts: Texts) -> CharacterCounts:
        """Count the characters of a block."""
        codes = texts.codes
        fates = self._fates[codes]
        if len(new := np.unique(codes[fates == _UNKNOWN])):
            self._fates[new] = [self._fate(chr(code)) for code in new.tolist()]
            fates = self._fates[codes]
        lost = fates == _LOST
        texts_lost = np.count_nonzero(texts.count(lost)) if lost.any() else 0
        return CharacterCounts(int(texts_lost), _counted(codes[lost]), _counted(codes[fates == _SPELLED]))

    def _fate(self, character: str) -> int:
        if character.isspace() or character in _NO_LOSS or unicodedata.category(character) == "Cc":
            return _WRITTEN
        around = f"a{character}a"
        # equal means canonically equivalent, or different in case only, with `lowercase`
        if _plain(self._tokenizer.normalize(around)) != _plain(around):
            return _LOST
        (ids,) = self._tokenizer.encode([character])
        return _SPELLED if self._tokenizer.byte_pieces[ids].any() else _WRITTEN


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower())


def _counted(codes: npt.NDArray[np.uint32]) -> Counter[str]:
    values, counts = np.unique(codes, return_counts=True)
    return Counter({chr(code): count for code, count in zip(values.tolist(), counts.tolist(), strict=True)})
