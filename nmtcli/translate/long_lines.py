"""Lines longer than what a model was trained on: where to cut their tokens, and how to join the translations."""

import re
from collections.abc import Sequence

_CLOSERS = "\"'”’»›)]}」』）】"
_SENTENCE = re.compile(rf"[.!?…।॥؟۔。！？｡][{re.escape(_CLOSERS)}]*$")
_CLAUSE = re.compile(rf"[,;:—–،؛、，；：][{re.escape(_CLOSERS)}]*$")
_UNSPACED_END = re.compile(rf"[。！？｡、，；：][{re.escape(_CLOSERS)}]*$")
# Thai and Lao, Burmese, Khmer, then Chinese and Japanese with their punctuation (not Korean)
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_CONTEXT = 4  # pieces looked at before a border: a full stop and what closes after it


def cut_points(pieces: Sequence[str], limit: int) -> list[int]:
    """Where parts begin and end, so that none has more than `limit` of these pieces: [0, …, len(pieces)].

    Each cut is the last sentence border within reach; where there is none the last clause border, then the last
    border of words, then any.
    """
    points = [0]
    while len(pieces) - points[-1] > limit:
        begin = points[-1]
        points.append(max(range(begin + 1, begin + limit + 1), key=lambda at: (_border(pieces, at), at)))
    return [*points, len(pieces)]


def _border(pieces: Sequence[str], at: int) -> int:
    """How good it is to cut before piece `at`: 3 sentences, 2 clauses, 1 words, 0 within a word."""
    before = "".join(pieces[max(0, at - _CONTEXT) : at])
    if not pieces[at].startswith("▁") and not _UNSPACED_END.search(before):
        return 0
    if pieces[at] == "▁":  # a blank of its own goes with what follows
        before = before.removesuffix("▁")
    return 3 if _SENTENCE.search(before) else 2 if _CLAUSE.search(before) else 1


def joint(left: str, right: str) -> str:
    """What stands between the translations of two parts: a blank, or nothing where the script has none."""
    spaced = not (left and right and _UNSPACED.match(left[-1]) and _UNSPACED.match(right[0]))
    return " " if spaced and left and right else ""
