"""Sentences of a paragraph, found by sentencex; the whitespace between them is kept."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from nmtcli.errors import UserError
from nmtcli.text.languages import primary
from nmtcli.text.spans import Span

# Languages written without blanks between sentences: Chinese, Cantonese, Wu, Japanese, Thai, Lao, Khmer, Burmese
_WITHOUT_BLANKS = {"zh", "yue", "wuu", "ja", "th", "lo", "km", "my"}

_CLOSING, _OPENING = "\"'”’»›)\\]」』）", "\"'“‘«‹„([「『（¿¡"
_END = re.compile(
    # a run of marks is tried once, and nothing is tried in shorter pieces: time in proportion to the text
    rf"(?<![.!?…।؟])(?P<mark>[.!?…।؟]++)[{_CLOSING}]*+\s++[{_OPENING}]*+(?P<next>[^\W\d_])"
    rf"|(?<![。！？])[。！？]++[{_CLOSING}]*+\s*+[{_OPENING}]*+(?P<after>[^\W\d_])"
)
_LONGEST_WORD = 20  # characters before a mark that can be an abbreviation
_WORD_BEFORE = re.compile(r"\w+$")
_ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "mt", "vs", "nr", "hr", "fr", "bd", "abb", "fig", "vol",
    "mme", "mlle", "sra", "dra",
})  # fmt: skip


@dataclass(frozen=True)
class Sentences:
    """Sentences without the whitespace around them. `gaps` has the whitespace before each, and after the last one."""

    sentences: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def text(self) -> str:
        """The paragraph again."""
        return _interleaved(self.gaps, self.sentences)

    def joined(self, translations: Sequence[str], language: str) -> str:
        """The paragraph of the translations of all sentences, in the target language."""
        return _interleaved(self.gaps_in(language), translations)

    def gaps_in(self, language: str) -> tuple[str, ...]:
        """`gaps` in the target language.

        The whitespace between sentences is kept. Sentences that touch get a blank between them, and in a target
        language without blanks between sentences blanks go, but line breaks and tabs stay.
        """
        dense = primary(language) in _WITHOUT_BLANKS
        if not self.sentences:
            return self.gaps
        first, *between, last = self.gaps
        return (first, *((("" if set(gap) <= {" "} else gap) if dense else gap or " ") for gap in between), last)


def split_sentences(paragraph: str, language: str, kept: Iterable[Span] = ()) -> Sentences:
    """The sentences of a paragraph in this language (`en`, `zh-Hans`); rules of related languages for unknown ones.

    No sentence ends inside a span of `kept`. Raises UserError without sentencex.
    """
    # one character for one: some control characters make sentencex panic
    plain = "".join(" " if one.isspace() or unicodedata.category(one) in {"Cc", "Cs"} else one for one in paragraph)
    inside = {position for span in kept for position in range(span.start + 1, span.end)}
    pieces: list[str] = []
    begin = end = 0
    for length in map(len, _segmenter()(primary(language), plain)):
        end += length
        if end not in inside:
            pieces.append(paragraph[begin:end])
            begin = end
    sentences: list[str] = []
    gaps = [""]
    for piece in pieces:
        sentence = piece.strip()
        before, after = (piece, "") if not sentence else piece.split(sentence, 1)
        gaps[-1] += before
        if sentence:
            sentences.append(sentence)
            gaps.append(after)
    return Sentences(tuple(sentences), tuple(gaps))


def several_sentences(text: str) -> bool:
    """Whether a text probably has several sentences, by a quick rule for all languages.

    A sentence ends with a mark before a blank and a letter that is not lower case; a full-width mark needs no blank.
    Initials, short numbers and usual abbreviations before a full stop do not end one.
    """
    for match in _END.finditer(text):
        if not (match["next"] or match["after"]).islower() and not _abbreviated(text, match):
            return True
    return False


def _abbreviated(text: str, end: re.Match[str]) -> bool:
    """Whether the full stop belongs to an abbreviation, an initial or an ordinal number."""
    word = _WORD_BEFORE.search(text, max(end.start() - _LONGEST_WORD, 0), end.start())
    if end["mark"] != "." or word is None:
        return False
    before = word[0]
    initial = len(before) == 1 and before.lower() != before.upper()
    return initial or before.lower() in _ABBREVIATIONS or (before.isdigit() and len(before) < 3)


def _interleaved(gaps: Sequence[str], sentences: Sequence[str]) -> str:
    return "".join(gap + sentence for gap, sentence in zip(gaps, [*sentences, ""], strict=True))


@cache
def _segmenter() -> Callable[[str, str], list[str]]:
    try:
        import sentencex  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("splitting into sentences needs sentencex", "pip install 'nmtcli[documents]'") from None
    module: Any = sentencex

    def segment(language: str, text: str) -> list[str]:
        return list(module.segment(language, text))

    return segment
