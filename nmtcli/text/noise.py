"""Changes of case and noise, as in text that people type: to augment training text, and to test a model with.

URLs, e-mail addresses, tags, variables and placeholder symbols never change, nor do the `symbols` of a tokenizer that
are given: a model must copy them as they are.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from random import Random

from nmtcli.text.edits import Edit, edited
from nmtcli.text.spans import Kind, Scanner

_KEPT: tuple[Kind, ...] = ("custom", "tag", "url", "email", "icu", "variable", "symbol")
_WORD_START = re.compile(r"(?:(?<=\s)|^)[^\w\s]*([^\W\d_])")  # the first letter of a word, possibly after a bracket
_TEXT_START = re.compile(r"[\W_]*([^\W\d_])")
_TYPED = re.compile(r"[^\W\d_]{3,}")  # letters long enough for a typing error
_MOST_TYPOS = 3

# Marks of scripts with blanks between words, then those after which no blank stands
_SPACED = ".,;:!?…‼⁇⁈⁉\u037e·،؛؟۔।॥։՝՜՞።፣፤፥፧၊။។៕"
_FULL_WIDTH = "。，、；：！？．｡､"
_OPENING = "¿¡"
_BLANKS = "(?:(?<![ \u00a0\u202f])[ \u00a0\u202f]++)?"  # a run of them is tried once
_CLOSING = "\"'”’»›)\\]}」』）"
_MARK = re.compile(
    rf"{_BLANKS}(?:(?<![{_SPACED}])[{_SPACED}]++(?!\w)|[{_FULL_WIDTH}]++)|[{_OPENING}]++[ \u00a0\u202f]*+"
)
_FINAL_MARK = re.compile(rf"{_BLANKS}(?<![{_SPACED}{_FULL_WIDTH}])[{_SPACED}{_FULL_WIDTH}]++(?=[{_CLOSING}]*+\s*+$)")

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    """The letters around each letter on a QWERTY keyboard."""
    around: dict[str, str] = {}
    for number, row in enumerate(_ROWS):
        above = _ROWS[number - 1] if number else ""
        below = _ROWS[number + 1] if number + 1 < len(_ROWS) else ""
        for at, letter in enumerate(row):
            beside = row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
            around[letter] = beside + above[at : at + 2] + below[max(at - 1, 0) : at + 1]
    return around


_NEIGHBOURS = _neighbours()


def upper(text: str, symbols: Sequence[str] = ()) -> str:
    """The text in upper case, by the rules of Unicode for all languages."""
    return _outside(text, symbols, str.upper)


def title(text: str, symbols: Sequence[str] = ()) -> str:
    """The text with the first letter of each word in title case; the other letters stay."""
    return _outside(text, symbols, lambda part: _WORD_START.sub(lambda match: match[0][:-1] + match[1].title(), part))


def lower_start(text: str, symbols: Sequence[str] = ()) -> str:
    """The text with its first letter in lower case, unless it begins with a digit or an abbreviation (USA)."""
    for start, end in _free(text, symbols):
        match = _TEXT_START.match(text, start, end)
        if match is not None:
            at = match.start(1)
            return text if text[at + 1 : at + 2].isupper() else text[:at] + text[at].lower() + text[at + 1 :]
        if any(map(str.isalnum, text[start:end])):
            break
    return text


def typos(text: str, random: Random, symbols: Sequence[str] = ()) -> str:
    """The text with a typing error in each of one to three words.

    An error drops or doubles a letter, swaps it with the next one, or replaces it by a neighbour on a QWERTY keyboard.
    The first letter of a word stays, and words of fewer than three letters. The number of words stays the same.
    """
    words = [match.span() for start, end in _free(text, symbols) for match in _TYPED.finditer(text, start, end)]
    chosen = random.sample(words, min(random.randint(1, _MOST_TYPOS), len(words)))
    return edited(text, [Edit(start, end, _mistyped(text[start:end], random)) for start, end in sorted(chosen)])


def _mistyped(word: str, random: Random) -> str:
    at = random.randrange(1, len(word))
    before, letter, after = word[:at], word[at], word[at + 1 :]
    choices = [before + after, before + letter + letter + after]
    if after[:1] not in ("", letter):
        choices.append(before + after[0] + letter + after[1:])
    if letter.lower() in _NEIGHBOURS:
        near = random.choice(_NEIGHBOURS[letter.lower()])
        choices.append(before + (near.upper() if letter.isupper() else near) + after)
    return random.choice(choices)


def without_punctuation(text: str, symbols: Sequence[str] = ()) -> str:
    """The text without marks between and after its words, as in chats; see `punctuation`."""
    return edited(text, punctuation(text, symbols))


def punctuation(text: str, symbols: Sequence[str] = ()) -> list[Edit]:
    """The edits that remove full stops, commas, colons, question marks and their like with the blanks before them.

    Quotes, brackets, dashes and apostrophes stay, and marks inside a word or number: 3.14, 12:30, e.g. A full-width
    mark between two words becomes a blank. None if no text would be left.
    """
    edits = []
    for match in _matches(_MARK, text, symbols):
        start, end = match.span()
        if start == 0:
            end += len(text[end:]) - len(text[end:].lstrip())
        glued = text[end - 1 : end] in _FULL_WIDTH and text[end : end + 1].isalnum() and start
        edits.append(Edit(start, end, " " * bool(glued)))
    return edits if edited(text, edits).strip() else []


def final_punctuation(text: str, symbols: Sequence[str] = ()) -> list[Edit]:
    """The edit that removes the marks at the end of the text, also before a closing quote; none if nothing is left."""
    edits = [Edit(*match.span(), "") for match in _matches(_FINAL_MARK, text, symbols)]
    return edits if edited(text, edits).strip() else []


def _matches(pattern: re.Pattern[str], text: str, symbols: Sequence[str]) -> Iterator[re.Match[str]]:
    """The matches outside the parts that never change."""
    kept = _scanner(tuple(symbols)).scan(text)
    for match in pattern.finditer(text):
        if all(match.end() <= span.start or span.end <= match.start() for span in kept):
            yield match


def _outside(text: str, symbols: Sequence[str], change: Callable[[str], str]) -> str:
    """The text with the parts changed that may change."""
    return edited(text, [Edit(start, end, change(text[start:end])) for start, end in _free(text, symbols)])


def _free(text: str, symbols: Sequence[str]) -> list[tuple[int, int]]:
    """The start and end of each part that may change."""
    spans = _scanner(tuple(symbols)).scan(text)
    starts = [0, *(span.end for span in spans)]
    return list(zip(starts, [*(span.start for span in spans), len(text)], strict=True))


@lru_cache(maxsize=8)
def _scanner(symbols: tuple[str, ...]) -> Scanner:
    longest_first = sorted(map(re.escape, symbols), key=len, reverse=True)
    return Scanner(_KEPT, [re.compile("|".join(longest_first))] if symbols else ())
