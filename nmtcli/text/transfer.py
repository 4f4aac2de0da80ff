"""Tag transfer: tags of a source text put into its translation by word alignment.

An element, that is a pair of tags, becomes the run of target words that are most clearly aligned with the words between
its tags. An element inside another one stays inside it, and neighbours do not overlap. A single tag goes beside the
translation of the word that it stands beside.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

from nmtcli.text.inline import Content, Tag, merged, partners, plain
from nmtcli.text.marks import marks
from nmtcli.text.versions import Range, word_ranges

Link = tuple[int, int]  # source word, target word

_SYMBOL = re.compile(r"__\w+__")
_DEEPEST = 100  # elements in one another, far below Python's limit of recursion; tags of deeper ones are single tags
_HALF_INSIDE = 0.01  # weight of a target token that is aligned both inside and outside an element


def transfer(
    content: Content,
    translation: str,
    links: Iterable[Link],
    source_words: Sequence[Range] | None = None,
    target_words: Sequence[Range] | None = None,
) -> Content:
    """The translation of `plain(content)` with each tag of `content` exactly once; one between blanks keeps them.

    `links` are between words, which are runs of characters other than blanks unless their ranges are given. Without any
    link the words are aligned by their relative position. Well-formed content stays well-formed, and a translation that
    is the source text itself, with each word aligned to itself, gives `content` again.
    """
    roots, text = _tree(content)
    if not roots:
        return merged([translation])
    source_words = word_ranges(text) if source_words is None else source_words
    target_words = word_ranges(translation) if target_words is None else target_words
    links = sorted(set(links)) or _diagonal(len(source_words), len(target_words))
    cuts = sorted({position for node in _all(roots) for position in (node.start, node.end)})
    cells = _aligned(text, translation, links, source_words, target_words, cuts)
    placement = _Placement(text, translation, cells)
    placement.place(roots, 0, len(cells.target), 0, len(cells.source))
    return merged(_rendered(roots, translation))


@dataclass
class _Node:
    """A single tag, or an element with what is inside it. Positions are in the text without tags."""

    opening: Tag
    start: int
    closing: Tag | None = None
    end: int = 0
    apart: bool = False  # a single tag between blanks, as one that stands for a word
    children: list["_Node"] = field(default_factory=list)
    gaps: Range = (0, 0)  # in the translation: before which target cell it begins, and before which it ends
    at: Range = (0, 0)  # in the translation: characters


@dataclass(frozen=True)
class _Cells:
    """Tokens of both texts, cut where a tag stands inside one, and the source cells of each target cell."""

    source: list[Range]
    target: list[Range]
    linked: list[set[int]]


def _tree(content: Content) -> tuple[list[_Node], str]:
    """Elements and single tags as trees, and the text without tags."""
    pairs = partners(content)
    closings = set(pairs.values())
    roots: list[_Node] = []
    stack: list[tuple[_Node, int]] = []
    position = 0
    for number, part in enumerate(content):
        if isinstance(part, str):
            position += len(part)
            continue
        if number in closings:
            node, _ = stack.pop()
            node.closing, node.end = part, position
        else:
            node = _Node(part, position, end=position)
            (stack[-1][0].children if stack else roots).append(node)
            if number in pairs and len(stack) < _DEEPEST:
                stack.append((node, pairs[number]))
            elif number in pairs:
                closings.remove(pairs[number])
            position += part.blank
    text = plain(content)
    for node in _all(roots):
        around = text[: node.start][-1:], text[node.start :][:1]
        node.apart = node.closing is None and all(map(str.isspace, around))
    return roots, text


def _all(nodes: Iterable[_Node]) -> Iterable[_Node]:
    for node in nodes:
        yield node
        yield from _all(node.children)


def _diagonal(source: int, target: int) -> list[Link]:
    """Links between words at the same relative position."""
    return [(min(word * source // target, source - 1), word) for word in range(target)] if source else []


def _aligned(
    text: str,
    translation: str,
    links: Sequence[Link],
    source_words: Sequence[Range],
    target_words: Sequence[Range],
    cuts: Sequence[int],
) -> _Cells:
    """Cells and their links. Tokens of linked words that have the same text are linked with each other only."""
    source, target = _tokens(text, source_words), _tokens(translation, target_words)
    linked, same = _token_links(text, translation, links, source, target)
    source_cells: list[Range] = []
    cells_of: list[list[int]] = []
    for start, end, _ in source:
        inside = cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
        parts = list(pairwise([start, *inside, end]))
        cells_of.append(list(range(len(source_cells), len(source_cells) + len(parts))))
        source_cells += parts
    target_cells: list[Range] = []
    target_links: list[set[int]] = []
    for number, (start, end, _) in enumerate(target):
        if number in same:
            cells = cells_of[same[number]]
            shift = start - source_cells[cells[0]][0]
            target_cells += [(begin + shift, stop + shift) for begin, stop in (source_cells[cell] for cell in cells)]
            target_links += [{cell} for cell in cells]
        else:
            target_cells.append((start, end))
            target_links.append({cell for token in linked[number] for cell in cells_of[token]})
    return _Cells(source_cells, target_cells, target_links)


@cache
def _token() -> re.Pattern[str]:
    """A word with its combining marks, or another character."""
    return re.compile(rf"\w[\w{marks()}]*|[^\w\s]")


def _tokens(text: str, words: Sequence[Range]) -> list[tuple[int, int, int]]:
    """Words and punctuation marks apart: start, end, and the number of the word it is a part of (-1 for none)."""
    starts = [start for start, _ in words]
    tokens: list[tuple[int, int, int]] = []
    for match in _token().finditer(text):
        start, end = match.span()
        first, last = bisect_right(starts, start), bisect_left(starts, end)
        for begin, stop in pairwise([start, *starts[first:last], end]):
            word = bisect_right(starts, begin) - 1
            tokens.append((begin, stop, word if word >= 0 and begin < words[word][1] else -1))
    return tokens


def _token_links(
    text: str,
    translation: str,
    links: Sequence[Link],
    source: Sequence[tuple[int, int, int]],
    target: Sequence[tuple[int, int, int]],
) -> tuple[list[set[int]], dict[int, int]]:
    """For each target token the source tokens of its word; and the source token with the same text, each once."""
    of_word: list[dict[int, list[int]]] = [{}, {}]
    for side, tokens in enumerate((source, target)):
        for number, (_, _, word) in enumerate(tokens):
            of_word[side].setdefault(word, []).append(number)
    written = [[text[start:end] for start, end, _ in source], [translation[start:end] for start, end, _ in target]]
    linked: list[set[int]] = [set() for _ in target]
    same: dict[int, int] = {}
    taken: set[int] = set()

    def match(ours: Sequence[int], theirs: Sequence[int]) -> None:
        for there in theirs:
            one = next((one for one in ours if one not in taken and written[0][one] == written[1][there]), None)
            if one is not None and there not in same:
                same[there] = one
                taken.add(one)

    symbols = [
        [number for number, token in enumerate(tokens) if _SYMBOL.fullmatch(token) and tokens.count(token) == 1]
        for tokens in written
    ]
    match(*symbols)
    for source_word, target_word in links:
        match(of_word[0].get(source_word, []), of_word[1].get(target_word, []))
    for source_word, target_word in links:
        ours = [one for one in of_word[0].get(source_word, []) if _is_word(written[0][one])]
        for there in of_word[1].get(target_word, []):
            if there not in same and _is_word(written[1][there]):
                linked[there].update(ours)
    return linked, same


def _is_word(token: str) -> bool:
    return token[0].isalnum() or token[0] == "_"


class _Placement:
    """Finds the place of each node in the translation."""

    def __init__(self, text: str, translation: str, cells: _Cells) -> None:
        self._text, self._translation, self._cells = text, translation, cells
        self._starts = [start for start, _ in cells.source]
        self._ends = [end for _, end in cells.source]

    def place(self, nodes: Sequence[_Node], low: int, high: int, first: int, last: int) -> None:
        """Place nodes between the target cells low and high. Their parent has the source cells first to last."""
        free = [True] * (high - low)
        elements: list[Range] = []
        points: list[_Node] = []
        for node in nodes:
            begin, end = bisect_left(self._starts, node.start), bisect_right(self._ends, node.end)
            run = self._run(begin, end, low, free) if node.closing is not None and begin < end else None
            if run is None:
                points.append(node)
                continue
            elements.append(run)
            free[run[0] - low : run[1] - low] = [False] * (run[1] - run[0])
            node.gaps = run
            self.place(node.children, *run, begin, end)
        for node in points:
            gap = self._gap(node, low, high, first, last)
            for begin, end in elements:
                if begin < gap < end:
                    gap = begin if gap - begin <= end - gap else end
            node.gaps = (gap, gap)
            begin, end = bisect_left(self._starts, node.start), bisect_right(self._ends, node.end)
            self.place(node.children, gap, gap, begin, end)
        for node in nodes:
            opening = "open" if node.closing is not None else node.opening.role
            start = self._character(node.start, node.gaps[0], opening)
            end = self._character(node.end, node.gaps[1], "close") if node.closing is not None else start
            node.at = (start, max(start, end))

    def _run(self, begin: int, end: int, low: int, free: Sequence[bool]) -> Range | None:
        """The run of free target cells that are most clearly aligned with the source cells begin to end."""
        weights: list[float] = []
        for offset in range(len(free)):
            linked = self._cells.linked[low + offset]
            inside = sum(begin <= cell < end for cell in linked)
            weight = (2 * inside - len(linked)) / len(linked) if linked else 0.0
            weights.append(max(weight, _HALF_INSIDE) if inside else weight)
        best: tuple[float, int, int] | None = None
        total, start = 0.0, 0
        for offset, weight in enumerate(weights):
            if not free[offset]:
                total, start = 0.0, offset + 1
                continue
            if total <= 0:
                total, start = 0.0, offset
            total += weight
            if weight > 0 and total > 0 and (best is None or total > best[0]):
                best = (total, start, offset + 1)
        return None if best is None else (low + best[1], low + best[2])

    def _gap(self, node: _Node, low: int, high: int, first: int, last: int) -> int:
        """Before which target cell a single tag or an element without words stands."""
        after = bisect_left(self._starts, node.end)  # the source cell after it
        before = bisect_right(self._ends, node.start) - 1
        if before < first:
            return low
        if after >= last:
            return high
        glued = self._ends[before] == node.start and self._starts[after] > node.end
        there = {cell: [at for at in range(low, high) if cell in self._cells.linked[at]] for cell in (before, after)}
        for cell in (before, after) if glued else (after, before):
            if there[cell]:
                return max(there[cell]) + 1 if cell == before else min(there[cell])
        for cell in range(before - 1, first - 1, -1):
            if linked := [at for at in range(low, high) if cell in self._cells.linked[at]]:
                return max(linked) + 1
        return low

    def _character(self, position: int, gap: int, role: str) -> int:
        """The character of the translation where a tag stands in a gap between cells: before, in or after its blanks,
        as in the source.
        """
        before = bisect_right(self._ends, position)
        left = self._ends[before - 1] if before else 0
        after = bisect_left(self._starts, position)
        right = self._starts[after] if after < len(self._starts) else len(self._text)
        target = self._cells.target
        begin = target[gap - 1][1] if gap else 0
        end = target[gap][0] if gap < len(target) else len(self._translation)
        if left == right:
            return begin if role == "close" else end
        return end if position == right else min(begin + position - left, end)


def _rendered(roots: Sequence[_Node], translation: str) -> Iterable[str | Tag]:
    """The parts of the translation with all tags."""
    at = 0

    def parts(nodes: Sequence[_Node], stop: int) -> Iterable[str | Tag]:
        nonlocal at
        for node in sorted(nodes, key=lambda node: node.gaps):
            start = min(max(node.at[0], at), stop)
            yield translation[at:start]
            at = start
            if node.apart and translation[:at][-1:].strip():
                yield " "
            yield node.opening
            if node.apart and translation[at:][:1].strip():
                yield " "
            if node.opening.blank and translation[at : at + 1].isspace():
                at += 1
            if node.closing is not None:
                end = min(max(node.at[1], at), stop)
                yield from parts(node.children, end)
                yield translation[at:end]
                at = end
                yield node.closing

    yield from parts(roots, len(translation))
    yield translation[at:]
