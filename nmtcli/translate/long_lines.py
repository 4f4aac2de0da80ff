"""Splitting of lines that are longer than training sentences, and joining of their translations."""

import re
from collections.abc import Sequence

_CLOSERS = "\"'”’»›)]}」』）】"
_SENTENCE = re.compile(rf"[.!?…।॥؟۔。！？｡][{re.escape(_CLOSERS)}]*$")
_CLAUSE = re.compile(rf"[,;:—–،؛、，；：][{re.escape(_CLOSERS)}]*$")
_UNSPACED_END = re.compile(rf"[。！？｡、，；：][{re.escape(_CLOSERS)}]*$")
# Thai and Lao, Burmese, Khmer, then Chinese and Japanese with their punctuation (not Korean)
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_BETWEEN_SENTENCES = 3
_SHORTEST = 8  # minimum pieces of a sentence; excludes abbreviations such as Dr.
_CONTEXT = 4  # pieces before a border that decide its type: a full stop and closing quotes


def cut_points(pieces: Sequence[str], limit: int) -> list[int]:
    """The bounds of parts of at most `limit` pieces: [0, …, len(pieces)].

    Parts are sentences, as most models are trained on single sentences and omit others. If no sentence ends within the
    limit, a part ends at the last clause border, else at the last word border, else at the limit.
    """
    points = [0]
    while True:
        begin, reach = points[-1], min(points[-1] + limit, len(pieces) - 1)
        borders = {at: _border(pieces, at) for at in range(begin + 1, reach + 1)}
        ends = (at for at, border in borders.items() if border == _BETWEEN_SENTENCES and at - begin >= _SHORTEST)
        if (end := next(ends, None)) is None:
            if len(pieces) - begin <= limit:
                return [*points, len(pieces)]
            end = max(borders, key=lambda at: (borders[at], at))
        points.append(end)


def _border(pieces: Sequence[str], at: int) -> int:
    """The type of border before piece `at`: 3 between sentences, 2 clauses, 1 words, 0 inside a word."""
    before = "".join(pieces[max(0, at - _CONTEXT) : at])
    if not pieces[at].startswith("▁") and not _UNSPACED_END.search(before):
        return 0
    if pieces[at] == "▁":  # a separate space belongs to the next piece
        before = before.removesuffix("▁")
    if _SENTENCE.search(before):
        after = "".join(pieces[at : at + 2]).lstrip("▁")
        return 1 if after[:1].islower() else _BETWEEN_SENTENCES  # 1 for the dot of an abbreviation
    return 2 if _CLAUSE.search(before) else 1


def joint(left: str, right: str) -> str:
    """The separator of two translated parts: a space, or nothing in scripts without spaces."""
    spaced = not (left and right and UNSPACED.match(left[-1]) and UNSPACED.match(right[0]))
    return " " if spaced and left and right else ""
