"""Division of a translation into parts of given lengths, between words."""

import re
from collections.abc import Sequence

from nmtcli.text.inline import Content, Tag, plain

# between words; between characters of scripts without blanks, unless punctuation follows
_RUNNING = "\u0e01-\u0e30\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_BORDER = re.compile(rf"\s+|(?<=[{_RUNNING}、。，！？；：」』）])(?=[{_RUNNING}「『（])")


def divided(content: Content, lengths: Sequence[int]) -> list[Content]:
    """As many parts as there are lengths, in proportion to them, without the blanks between the parts.

    Each border is the one that is nearest to its place. Parts at the end are empty if there are fewer words than parts.
    """
    text = plain(content)
    borders = [match.span() for match in _BORDER.finditer(text) if match.start() > 0 and match.end() < len(text)]
    total, blanks = sum(lengths) or 1, len(lengths) - 1
    cuts: list[tuple[int, int]] = []
    done = first = 0
    for number, length in enumerate(lengths[:-1]):
        done += length
        last = len(borders) - (blanks - number - 1)  # as many borders stay as are needed
        if first >= max(last, first + 1) or first >= len(borders):
            break
        # the lengths do not count the blanks between parts
        place = done * (len(text) - blanks) / total + number
        nearest = min(range(first, max(last, first + 1)), key=lambda at: (abs(borders[at][0] - place), at))
        cuts.append(borders[nearest])
        first = nearest + 1
    return _cut(content, cuts, len(lengths))


def _cut(content: Content, cuts: Sequence[tuple[int, int]], count: int) -> list[Content]:
    """The parts between the cuts. A tag at a cut belongs to the part before it if it closes, else to the next one."""
    parts: list[list[str | Tag]] = [[] for _ in range(count)]
    number = position = 0
    for part in content:
        if isinstance(part, Tag):
            if number < len(cuts) and position >= cuts[number][0] and part.role != "close":
                number += 1
            parts[number].append(part)
            continue
        at = 0
        while at < len(part):
            if number and position + at < cuts[number - 1][1]:  # blanks at a cut
                at = min(len(part), cuts[number - 1][1] - position)
                continue
            stop = len(part) if number == len(cuts) else min(len(part), cuts[number][0] - position)
            if stop > at:
                parts[number].append(part[at:stop])
                at = stop
            if at < len(part):
                number += 1
        position += len(part)
    return [tuple(part) for part in parts]
