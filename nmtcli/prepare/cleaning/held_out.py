"""Text that must not be trained on: lines and n-grams of the validation and test corpora."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
import numpy.typing as npt

from nmtcli.prepare.cleaning.characters import Mask, Texts
from nmtcli.text.marks import marks

_WORDS, _CHARACTERS = 5, 15  # shorter lines, such as "Thank you very much.", do not indicate leakage
# In scripts without spaces each character counts as a word.
_UNSPACED = r"\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class HeldOut:
    """The held-out lines of both sides, and the sources that were sampled from the training text.

    Lines are known as they are and as a model reads them. What is held out of one side is held out of the other, too:
    a model may be trained in both directions.
    """

    lines: Hashes
    n: int | None
    ngrams: frozenset[str]
    sampled: Hashes  # of any length

    @classmethod
    def of(
        cls, blocks: Iterable[tuple[Texts, Texts]], n: int | None, sampled: tuple[Texts, Texts] | None = None
    ) -> "HeldOut":
        """From blocks of held-out pairs; `n` is the size of n-grams in words, None for no n-grams.

        `sampled` are the pairs sampled from the training text.
        """
        lines: list[Hashes] = [np.empty(0, np.uint64)]
        ngrams: set[str] = set()
        for texts in chain.from_iterable(blocks):
            long = np.fromiter(map(_long_enough, texts.texts), np.bool_, len(texts.texts))
            lines += [texts.hashes[long], texts.read.hashes[long]]
            ngrams.update(gram for text in texts.texts for gram in _ngrams(text, n))
        sources = [sampled[0].hashes, sampled[0].read.hashes] if sampled else lines[:1]
        return cls(np.unique(np.concatenate(lines)), n, frozenset(ngrams), np.unique(np.concatenate(sources)))

    def has_line(self, texts: Texts) -> Mask:
        """Which texts are a held-out line."""
        return _among(texts, self.lines)

    def has_sampled(self, sources: Texts) -> Mask:
        """Which sources are one sampled from the training text."""
        return _among(sources, self.sampled)

    def shares_ngram(self, texts: Texts) -> Mask:
        """Which texts share an n-gram with a held-out line."""
        shared = (not self.ngrams.isdisjoint(_ngrams(text, self.n)) for text in texts.texts)
        return np.fromiter(shared, np.bool_, len(texts.texts))


def _among(texts: Texts, known: Hashes) -> Mask:
    """Which texts are known, as they are or as a model reads them."""
    found: Mask = np.isin(texts.hashes, known)
    return found if texts.read is texts else found | np.isin(texts.read.hashes, known)


def _long_enough(text: str) -> bool:
    return len(text.split()) >= _WORDS or len(_UNSPACED_CHARACTER.findall(text)) >= _CHARACTERS


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
