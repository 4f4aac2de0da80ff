"""Text that must not be trained on: lines and n-grams of the validation and test corpora."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from nmtcli.prepare.cleaning.characters import Mask, Texts
from nmtcli.text.marks import marks

_WORDS, _CHARACTERS = 5, 15  # shorter lines, such as "Thank you very much.", do not indicate leakage
# In scripts without spaces each character counts as a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class HeldOutSide:
    """Hashes and n-grams of the held-out lines of one side."""

    hashes: Hashes
    n: int | None
    ngrams: frozenset[str]

    @classmethod
    def of(cls, lines: Sequence[str], n: int | None) -> "HeldOutSide":
        """From the lines; `n` is the size of n-grams in words, None for no n-grams."""
        hashes = np.unique(Texts(list(filter(_long_enough, lines))).hashes)
        return cls(hashes, n, frozenset(gram for line in lines for gram in _ngrams(line, n)))

    def has_line(self, texts: Texts) -> Mask:
        """Which texts are a held-out line."""
        return np.isin(texts.hashes, self.hashes)

    def shares_ngram(self, texts: Texts) -> Mask:
        """Which texts share an n-gram with a held-out line."""
        shared = (not self.ngrams.isdisjoint(_ngrams(text, self.n)) for text in texts.texts)
        return np.fromiter(shared, np.bool_, len(texts.texts))


@dataclass(frozen=True)
class HeldOut:
    """The held-out lines of both sides, and the sources that were sampled from the training text."""

    source: HeldOutSide
    target: HeldOutSide
    sampled: Hashes  # of any length

    @classmethod
    def of(cls, sides: Iterable[tuple[list[str], list[str]]], n: int | None, sampled: Sequence[str] = ()) -> "HeldOut":
        """From the texts of both sides; `n` as in `HeldOutSide.of`."""
        lines: tuple[list[str], list[str]] = ([], [])
        for sources, targets in sides:
            lines[0].extend(sources)
            lines[1].extend(targets)
        return cls(HeldOutSide.of(lines[0], n), HeldOutSide.of(lines[1], n), Texts(sampled).hashes)

    def sampled_sources(self, texts: Texts) -> Mask:
        """Which texts are a source sampled from the training text."""
        return np.isin(texts.hashes, self.sampled)


def _long_enough(text: str) -> bool:
    words = len(text.split())
    long = words == 1 and len(text) >= _CHARACTERS
    return words >= _WORDS or long or len(_UNSPACED_CHARACTER.findall(text)) >= _CHARACTERS


@cache
def _word() -> re.Pattern[str]:
    """A word with its combining marks, or a character of a script without spaces."""
    return re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}](?:[^\W{_UNSPACED}]|[{marks()}])*")


def _ngrams(text: str, n: int | None) -> Iterable[str]:
    """All n-grams of words, ignoring case and punctuation."""
    if n is None:
        return
    words = _word().findall(unicodedata.normalize("NFC", text.casefold()))
    for start in range(len(words) - n + 1):
        yield " ".join(words[start : start + n])
