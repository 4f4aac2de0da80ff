"""Language identification, optional, with the library lingua, which needs no network."""

from functools import cached_property
from typing import Any

import numpy as np

from nmtcli.errors import UserError
from nmtcli.prepare.cleaning.characters import Mask, Texts
from nmtcli.text.languages import primary

_SHORT = 20  # characters; shorter texts are identified too poorly


class LanguageRule:
    """Drops a pair with a side identified as another language with more than a given confidence."""

    name = "wrong-language"

    def __init__(self, source: str, target: str, confidence: float) -> None:
        """Language codes of two letters (ISO 639-1). Raises UserError for others, or if lingua is not installed."""
        self.codes, self.confidence = (source, target), confidence
        _ = self._detector, self._languages

    def broken(self, source: Texts, target: Texts) -> Mask:
        """Which pairs have a side in another language."""
        return self._wrong(source, 0) | self._wrong(target, 1)

    def reason(self, source: str, target: str) -> str:
        """The side and the language identified."""
        side, text, number = ("source", source, 0) if self._wrong(Texts([source]), 0)[0] else ("target", target, 1)
        identified = self._detector.detect_language_of(text)
        expected = self._languages[number]
        return f"the {side} seems to be {identified.name.capitalize()}, not {expected.name.capitalize()}"

    def _wrong(self, texts: Texts, side: int) -> Mask:
        rows = np.flatnonzero(texts.lengths >= _SHORT)
        wrong = np.zeros(len(texts.texts), np.bool_)
        long = [texts.texts[row] for row in rows.tolist()]
        values = self._detector.compute_language_confidence_values_in_parallel(long)
        for row, (best, *_) in zip(rows, values, strict=True):
            wrong[row] = best.language != self._languages[side] and best.value > self.confidence
        return wrong

    @cached_property
    def _detector(self) -> Any:
        try:
            from lingua import LanguageDetectorBuilder
        except ImportError:
            raise UserError(
                "data.cleaning.min_language_confidence needs the package lingua", "pip install 'nmtcli[langid]'"
            ) from None
        return LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()

    @cached_property
    def _languages(self) -> list[Any]:
        from lingua import IsoCode639_1, Language

        known = {language.iso_code_639_1.name.lower(): language for language in Language.all()}
        codes = [primary(code) for code in self.codes]
        if unknown := [code for code in codes if code not in known]:
            raise UserError(
                f"data.cleaning.min_language_confidence: lingua does not know the language {', '.join(unknown)}",
                f"set data.source_language and data.target_language to codes such as {IsoCode639_1.DE.name.lower()}",
            )
        return [known[code] for code in codes]
