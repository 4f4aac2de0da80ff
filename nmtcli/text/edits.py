"""Edits of a text, and the words that they leave: what removed tags, masked spans and noise have in common."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    """`text[start:end]` becomes `replacement`; positions in characters of the text before."""

    start: int
    end: int
    replacement: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text after these edits, which are in order and do not overlap."""
    parts: list[str] = []
    at = 0
    for start, end, replacement in edits:
        parts += (text[at:start], replacement)
        at = end
    return "".join((*parts, text[at:]))


def words_after(text: str, edits: Sequence[Edit]) -> list[int | None]:
    """For each word of the text its word in the edited text, from 0; words are delimited by whitespace.

    None for a word that is removed or becomes several words. Two words can become one.
    """
    after = edited(text, edits)
    origins = _origins(len(text), edits)
    found: list[set[int]] = [set() for _ in text.split()]
    before_of, after_of = _word_of(text), _word_of(after)
    for position, (start, end) in enumerate(origins):
        word = after_of[position]
        if word is not None:
            for one in before_of[start:end]:
                if one is not None:
                    found[one].add(word)
    return [words.pop() if len(words) == 1 else None for words in found]


def _origins(length: int, edits: Sequence[Edit]) -> list[tuple[int, int]]:
    """For each character of the edited text the characters that it comes from: itself, or all of a replaced part."""
    origins: list[tuple[int, int]] = []
    at = 0
    for start, end, replacement in edits:
        origins += ((position, position + 1) for position in range(at, start))
        origins += [(start, end)] * len(replacement)
        at = end
    return [*origins, *((position, position + 1) for position in range(at, length))]


def _word_of(text: str) -> list[int | None]:
    """The number of the word of each character; None for whitespace."""
    numbers: list[int | None] = []
    word, inside = -1, False
    for character in text:
        blank = character.isspace()
        word += not blank and not inside
        inside = not blank
        numbers.append(None if blank else word)
    return numbers
