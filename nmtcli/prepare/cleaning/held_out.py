"""Text that must not be trained on: lines and n-grams of the validation and test corpora."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmtcli.prepare.cleaning.characters import Mask, Texts

_WORDS, _CHARACTERS = 5, 15  # shorter lines, such as "Thank you very much.", do not indicate leakage
# In scripts without spaces each character counts as a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class HeldOut:
    """Hashes and n-grams of the held-out lines of each side."""

    sources: Hashes
    targets: Hashes
    n: int | None
    source_ngrams: frozenset[str]
    target_ngrams: frozenset[str]
    sampled: Hashes  # sources sampled from the training text, of any length

    @classmethod
    def of(cls, sides: Iterable[tuple[list[str], list[str]]], n: int | None, sampled: Sequence[str] = ()) -> "HeldOut":
        """From the texts of both sides; `n` is the size of n-grams in words, None for no n-grams."""
        lines: tuple[list[str], list[str]] = ([], [])
        for sources, targets in sides:
            lines[0].extend(sources)
            lines[1].extend(targets)
        hashes = [np.unique(Texts(list(filter(_long_enough, side))).hashes) for side in lines]
        ngrams = [frozenset(gram for line in side for gram in _ngrams(line, n)) for side in lines]
        return cls(hashes[0], hashes[1], n, ngrams[0], ngrams[1], Texts(sampled).hashes)

    def sampled_sources(self, texts: Texts) -> Mask:
        """Which texts are a source sampled from the training text."""
        return np.isin(texts.hashes, self.sampled)

    def in_sources(self, texts: Texts) -> Mask:
        """Which texts are a held-out source line."""
        return np.isin(texts.hashes, self.sources)

    def in_targets(self, texts: Texts) -> Mask:
        """Which texts are a held-out target line."""
        return np.isin(texts.hashes, self.targets)

    def ngram_in_sources(self, texts: Texts) -> Mask:
        """Which texts share an n-gram with a held-out source line."""
        return self._sharing(texts, self.source_ngrams)

    def ngram_in_targets(self, texts: Texts) -> Mask:
        """Which texts share an n-gram with a held-out target line."""
        return self._sharing(texts, self.target_ngrams)

    def _sharing(self, texts: Texts, ngrams: frozenset[str]) -> Mask:
        found = (not ngrams.isdisjoint(_ngrams(text, self.n)) for text in texts.texts)
        return np.fromiter(found, np.bool_, len(texts.texts))


def _long_enough(text: str) -> bool:
    words = len(text.split())
    return words >= _WORDS or (words == 1 and len(text) >= _CHARACTERS)


def _ngrams(text: str, n: int | None) -> Iterable[str]:
    """All n-grams of words, ignoring case and punctuation."""
    if n is None:
        return
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - n + 1):
        yield " ".join(words[start : start + n])
