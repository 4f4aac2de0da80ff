"""Protected spans: the parts of a text that a translation must keep as they are, found by one scanner."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nmtcli.data.files import read_text
from nmtcli.errors import DataError

# custom: a regular expression of the user; code: text that a document declares untranslatable
Kind = Literal["custom", "code", "tag", "url", "email", "icu", "variable", "symbol", "number"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_Find = Callable[[str, int], tuple[int, int] | None]  # text, first position: start and end of the next match

# Letters that a number or an address cannot touch. Scripts without spaces between words may touch it.
_LETTERS = "A-Za-z0-9_\u00c0-\u024f\u0370-\u052f"
_UNITS = (
    "%|‰|°[CF]?|km/h|m/s|mph|[kcmµμn]?m[²³]?|[kmµμ]?g|[mcdh]?[lL]|[kMGTm]?(?:Hz|W|Wh|V|Pa)|mA|[kKMGT]i?[Bb](?:/s|ps)?"
    "|[kMG]bit/s|dB|kcal|px|dpi|fps|rpm|[mµμn]?s|min|h|ft|lbs?|oz|yd|EUR|USD|GBP|CHF|JPY|CNY|[€$£¥₹]"
)
_BLANK = "[ \u00a0\u202f]"
_NUMBER = re.compile(
    rf"(?<![{_LETTERS}.,])(?:[€$£¥₹]{_BLANK}?)?[-+−]?\d+(?:[.,:/'’\u00a0\u202f-]\d+)*"
    rf"(?:{_BLANK}?(?:{_UNITS})(?![{_LETTERS}'’])|(?![{_LETTERS}]))"
)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,}"
)
_URL = re.compile(
    r"(?<![A-Za-z0-9+.-])(?:[A-Za-z][A-Za-z0-9+.-]{0,20}://|www\.|mailto:)"
    r"[^\s<>\"“”«»\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]{1,2000}"
)
_AFTER_URL = ".,;:!?'’*_"  # signs of the sentence at the end of a URL
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_TAG = re.compile(
    r"<(?:/?[A-Za-z][A-Za-z0-9:_.-]*(?=\s|/?>)(?:\"[^\"]*\"|'[^']*'|[^<>\"'])*>|!--(?:[^<]|<(?!!--))*?-->)"
)
_VARIABLE = re.compile(
    r"\$\{[^{}\n]+\}|\{\{[^{}\n]+\}\}|\{[^{}\n]*\}"  # ${x}, {{x}}, {x}, {n, number}, {}
    r"|%\([^()\s]+\)[-+#0]*+\d*+(?:\.\d++)?[A-Za-z]"  # %(name)s
    r"|%(?:\d++\$)?[-+#0]*+(?:\d++|\*)?(?:\.(?:\d++|\*))?(?:[ds@]|(?:hh?|ll?|[qjztL])?[diouxXeEfFgGcsaAp](?![A-Za-z]))"
    r"|%%"
)
_SYMBOL = re.compile(r"__[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*__")
_LONGEST_ICU = 2000  # characters
_ICU = re.compile(r"\{\s*[\w.]+\s*,\s*(?:plural|select|selectordinal)\s*,")


@dataclass(frozen=True)
class Span:
    """A part of a text: `text[start:end] == span.text`, in characters."""

    start: int
    end: int
    kind: Kind
    text: str


class Scanner:
    """Finds the protected spans of a text.

    Spans do not overlap. The one that starts first counts; of those that start together the longest one; of equally
    long ones the one whose kind is first in `KINDS`. The result depends on the text only.
    """

    def __init__(self, kinds: Collection[Kind] = KINDS, patterns: Sequence[re.Pattern[str]] = ()) -> None:
        """Spans of these kinds; `patterns` are regular expressions of the user, of kind `custom`."""
        finders: dict[Kind, list[_Find]] = {"custom": [_search(pattern) for pattern in patterns]}
        finders |= {kind: [find] for kind, find in _BUILT_IN.items()}
        self._finders = [(kind, find) for kind in KINDS if kind in kinds for find in finders.get(kind, ())]

    def scan(self, text: str, code: Iterable[Span] = ()) -> list[Span]:
        """The spans in order. No other span begins inside those of `code`, which the caller knows already."""
        fixed = sorted(code, key=lambda span: span.start)
        spans: list[Span] = []
        at = 0
        for known in fixed:
            spans += self._between(text, at, known.start)
            spans.append(known)
            at = known.end
        return spans + self._between(text, at, len(text))

    def _between(self, text: str, at: int, limit: int) -> list[Span]:
        """The spans of text[at:limit]."""
        text = text[:limit]
        spans: list[Span] = []
        ahead = [find(text, at) for _, find in self._finders]
        while True:
            for number, (_, find) in enumerate(self._finders):
                match = ahead[number]
                if match is not None and match[0] < at:
                    ahead[number] = find(text, at)
            matches = [(*match, number) for number, match in enumerate(ahead) if match is not None]
            if not matches:
                return spans
            start, at, number = min(matches, key=lambda match: (match[0], -match[1], match[2]))
            spans.append(Span(start, at, self._finders[number][0], text[start:at]))


def read_patterns(path: Path) -> list[re.Pattern[str]]:
    """Read one regular expression a line; blank lines are ignored. Raises DataError that names every invalid line."""
    patterns: list[re.Pattern[str]] = []
    mistakes: list[str] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        expression = line.removesuffix("\r")
        if not expression.strip():
            continue
        try:
            pattern = re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            mistakes.append(f"{path}:{number}: {expression!r} is not a regular expression: {error}")
            continue
        if pattern.match("") is not None:
            mistakes.append(f"{path}:{number}: {expression!r} matches empty text")
        patterns.append(pattern)
    if mistakes:
        raise DataError("\n".join(mistakes), "write one regular expression of Python's re a line")
    return patterns


def _search(pattern: re.Pattern[str]) -> _Find:
    """The next match that is not empty."""

    def find(text: str, at: int) -> tuple[int, int] | None:
        while (match := pattern.search(text, at)) is not None:
            if match.end() > match.start():
                return match.span()
            at = match.end() + 1
            if at > len(text):
                break
        return None

    return find


def _url(text: str, at: int) -> tuple[int, int] | None:
    """The next URL, without the punctuation of the sentence around it."""
    while (match := _URL.search(text, at)) is not None:
        start, end = match.span()
        while text[end - 1] in _AFTER_URL or text.count(text[end - 1], start, end) > text.count(
            _BRACKETS.get(text[end - 1], text[end - 1]), start, end
        ):
            end -= 1
        if end - start > len("www."):
            return start, end
        at = match.end()
    return None


def _icu(text: str, at: int) -> tuple[int, int] | None:
    """The next plural, select or selectordinal argument of an ICU message, up to its closing brace."""
    while (match := _ICU.search(text, at)) is not None:
        end = _closing_brace(text, match.start())
        if end is not None:
            return match.start(), end
        at = match.end()
    return None


def _closing_brace(text: str, start: int) -> int | None:
    """The position after the brace that closes the one at `start`; None if there is none nearby.

    ICU quotes braces by apostrophes: '{' is text.
    """
    depth, quoted = 0, False
    for at in range(start, min(start + _LONGEST_ICU, len(text))):
        character = text[at]
        if character == "'" and (quoted or text[at + 1 : at + 2] in tuple("{}#|")):
            quoted = not quoted
        elif not quoted:
            depth += (character == "{") - (character == "}")
            if depth == 0:
                return at + 1
    return None


_BUILT_IN: dict[Kind, _Find] = {
    "tag": _search(_TAG),
    "url": _url,
    "email": _search(_EMAIL),
    "icu": _icu,
    "variable": _search(_VARIABLE),
    "symbol": _search(_SYMBOL),
    "number": _search(_NUMBER),
}
