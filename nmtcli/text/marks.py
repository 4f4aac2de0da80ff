r"""Combining marks and joiners: parts of a word, which `\w` of Python's regular expressions does not match."""

import unicodedata
from functools import cache
from itertools import chain, pairwise

# The planes with scripts, and variation selectors.
_RANGES = range(0x300, 0x20000), range(0xE0100, 0xE01F0)
_JOINERS = "\u200c\u200d"


@cache
def marks() -> str:
    """All combining marks (category M), ZWNJ and ZWJ, as the inside of a character class."""
    points = [point for point in chain(*_RANGES) if unicodedata.category(chr(point))[0] == "M"]
    runs = [_JOINERS]
    first = points[0]
    for point, following in pairwise([*points, -1]):
        if following != point + 1:
            runs.append(f"{chr(first)}-{chr(point)}")
            first = following
    return "".join(runs)
