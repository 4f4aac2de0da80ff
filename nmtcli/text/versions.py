"""Two versions of a text, such as masked and unmasked, or without and with tags, and corresponding positions."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

Range = tuple[int, int]  # first and end character

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Versions:
    """Corresponding parts of two versions of a text: (part of the first, part of the second). Either may be empty."""

    parts: tuple[tuple[str, str], ...]

    @property
    def first(self) -> str:
        """The first version."""
        return "".join(before for before, _ in self.parts)

    @property
    def second(self) -> str:
        """The second version."""
        return "".join(after for _, after in self.parts)

    @property
    def swapped(self) -> "Versions":
        """The second version as the first one."""
        return Versions(tuple((after, before) for before, after in self.parts))

    def moved(self, start: int, end: int) -> Range:
        """Where the characters `start` to `end` of the first version are in the second one.

        Of a part that differs, all of it. An empty range if they are not there.
        """
        at = to = 0
        moved: Range | None = None
        for before, after in self.parts:
            if at < end and start < at + len(before):
                begin, stop = to, to + len(after)
                if before == after:
                    begin, stop = to + max(start - at, 0), to + min(end - at, len(before))
                moved = (begin if moved is None else moved[0], stop)
            at, to = at + len(before), to + len(after)
        return moved or (to, to)


def word_ranges(text: str) -> list[Range]:
    """The words of a text, which are runs of characters other than blanks."""
    return [match.span() for match in _WORD.finditer(text)]


def overlapping(words: Sequence[Range], part: Range) -> range:
    """The numbers of the words that share a character with a part of the text."""
    if part[0] >= part[1]:
        return range(0)
    first = bisect_right([end for _, end in words], part[0])
    return range(first, max(first, bisect_left([start for start, _ in words], part[1])))
