"""Lines longer than what a model was trained on: where to cut their tokens, and how to join the translations."""

import re
from collections.abc import Sequence

_CLOSERS = "\"'”’»›)]}」』）】"
_SENTENCE = re.compile(rf"[.!?…।॥؟۔。！？｡][{re.escape(_CLOSERS)}]*$")
_CLAUSE = re.compile(rf"[,;:—–،؛、，；：][{re.escape(_CLOSERS)}]*$")
_UNSPACED_END = re.compile(rf"[。！？｡、，；：][{re.escape(_CLOSERS)}]*$")
# Thai and Lao, Burmese, Khmer, then Chinese and Japanese with their punctuation (not Korean)
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_BETWEEN_SENTENCES = 3
_SHORTEST = 8  # pieces of a part that ends with a sentence: Dr. alone is none
_CONTEXT = 4  # pieces looked at before a border: a full stop and what closes after it


def cut_points(pieces: Sequence[str], limit: int) -> list[int]:
    """Where parts begin and end, so that none has more than `limit` of these pieces: [0, …, len(pieces)].

    Parts are sentences, for that is what most models are trained on: one that gets ten at once leaves nine out. Where
    no sentence ends within reach, a part goes to the last clause border, else to the last border of words, else to any.
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
    """How good it is to cut before piece `at`: 3 between sentences, 2 clauses, 1 words, 0 within a word."""
    before = "".join(pieces[max(0, at - _CONTEXT) : at])
    if not pieces[at].startswith("▁") and not _UNSPACED_END.search(before):
        return 0
    if pieces[at] == "▁":  # a blank of its own goes with what follows
        before = before.removesuffix("▁")
    if _SENTENCE.search(before):
        after = "".join(pieces[at : at + 2]).lstrip("▁")
        return 1 if after[:1].islower() else _BETWEEN_SENTENCES  # 1 for the dot of an abbreviation
    return 2 if _CLAUSE.search(before) else 1


def joint(left: str, right: str) -> str:
    """What stands between the translations of two parts: a blank, or nothing where the script has none."""
    spaced = not (left and right and _UNSPACED.match(left[-1]) and _UNSPACED.match(right[0]))
    return " " if spaced and left and right else ""
