"""Many texts as one array of characters, so that rules count them with NumPy.

Each character has one kind: space (BLANK), control character, digit, symbol, or letter of a script. The script is the
first word of the character's Unicode name, in lower case: latin, cyrillic, cjk, hiragana, hangul …
"""

import sys
import unicodedata
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from nmtcli.data.digests import hashes

OTHER, BLANK, CONTROL, DIGIT, SYMBOL, FIRST_SCRIPT = range(6)

_WITHOUT = frozenset(("Cn", "Co", "Cs"))  # unassigned, private use, surrogate
_SCRIPT_OF = {"ideographic": "cjk", "katakana-hiragana": "katakana", "modifier": "combining"}
# first words of names that are not scripts: variation selectors, mathematical letters, signs
_NO_SCRIPT = {"variation", "mathematical", "double-struck", "black-letter", "script", "micro", "ohm", "kelvin"} | {
    *("angstrom", "feminine", "masculine", "alef", "bet", "gimel", "dalet", "euler", "planck", "turned", "musical")
}
_BYTE_ORDER_MARK = "\ufeff"
_PREFIXES = {"fullwidth", "halfwidth", "small", "squared", "circled"}  # the script follows

Codes = npt.NDArray[np.uint32]
Kinds = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@cache
def _tables() -> tuple[Kinds, tuple[str, ...]]:
    """The kind of each code point [0x110000], and the names of the scripts from FIRST_SCRIPT on."""
    kinds = np.full(sys.maxunicode + 1, OTHER, np.uint8)
    scripts: dict[str, int] = {}
    for code in chain(range(0x40000), range(0xE0000, 0xE0200)):  # the other planes are empty or private
        character = chr(code)
        category = unicodedata.category(character)
        if category in _WITHOUT:
            continue
        if character.isspace():
            kinds[code] = BLANK
        elif category == "Cc" or character == "\ufffd":
            kinds[code] = CONTROL
        elif category[0] == "N":
            kinds[code] = DIGIT
        elif category[0] in "PS":
            kinds[code] = SYMBOL
        elif category[0] in "LM" and (script := _script(character)) not in _NO_SCRIPT:
            kinds[code] = FIRST_SCRIPT + scripts.setdefault(script, len(scripts))
    return kinds, tuple(scripts)


def _script(character: str) -> str:
    first, *rest = unicodedata.name(character, "unnamed").lower().split(" ")
    word = rest[0] if first in _PREFIXES and rest else first
    return _SCRIPT_OF.get(word, word)


def script_names() -> tuple[str, ...]:
    """The names of all scripts; the kind of a letter is FIRST_SCRIPT plus its script's index here."""
    return _tables()[1]


class Texts:
    """One side of a block: its texts and their concatenated characters."""

    def __init__(self, texts: Sequence[str], *, lowercase: bool = False, read: "Texts | None" = None) -> None:
        """The texts must be valid Unicode. `lowercase`: case makes no difference to `hashes`.

        `read` are the texts with masks, if they have some.
        """
        self.texts, self._lowercase, self._read = texts, lowercase, read
        self.lengths: npt.NDArray[np.int64] = np.fromiter(map(len, texts), np.int64, len(texts))  # in characters

    @property
    def read(self) -> "Texts":
        """The texts as a model reads them."""
        return self._read or self

    @cached_property
    def codes(self) -> Codes:
        """Code points of all texts."""
        return np.frombuffer("".join(self.texts).encode("utf-32-le"), np.uint32)

    @cached_property
    def kinds(self) -> Kinds:
        """The kind of each character."""
        return _tables()[0][self.codes]

    @cached_property
    def kind_counts(self) -> npt.NDArray[np.int64]:
        """The number of characters of each kind in all texts [256]."""
        return np.bincount(self.kinds, minlength=256)

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """The end of each text in `codes`."""
        return self.lengths.cumsum()

    @cached_property
    def encoded(self) -> list[bytes]:
        """Each text in UTF-8."""
        return [text.encode() for text in self.texts]

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """A 64-bit hash of each text, the same for composed and decomposed accents and for all kinds of blanks."""
        composed = (unicodedata.normalize("NFC", text.replace(_BYTE_ORDER_MARK, "")) for text in self.texts)
        cased = map(str.lower, composed) if self._lowercase else composed
        return np.fromiter(hashes(" ".join(text.split()).encode() for text in cased), np.uint64, len(self.texts))

    def rows(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The number of the text of each position in `codes`."""
        return np.searchsorted(self.ends, positions, "right")

    def count(self, flags: Mask) -> npt.NDArray[np.int64]:
        """The number of flagged characters in each text."""
        return np.bincount(self.rows(np.flatnonzero(flags)), minlength=len(self.texts))

    def having(self, kind: int) -> Mask:
        """Which texts have a character of a kind."""
        if not self.kind_counts[kind]:
            return np.zeros(len(self.texts), np.bool_)
        return self.count(self.kinds == kind) > 0

    def repeats(self, times: int) -> Mask:
        """Which texts have a character other than a space more than `times` times in a row."""
        run = self.codes[1:] == self.codes[:-1]  # true `times` times in a row at such a repetition
        done = 1
        while done < times and run.any():
            step = min(done, times - done)
            run = run[:-step] & run[step:]
            done += step
        starts = np.flatnonzero(run)
        inside = (self.rows(starts) == self.rows(starts + times)) & (self.kinds[starts] != BLANK)
        repeating = np.zeros(len(self.texts), np.bool_)
        repeating[self.rows(starts[inside])] = True
        return repeating
