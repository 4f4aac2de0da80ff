"""Markdown (CommonMark, with tables and strikethrough): the text of paragraphs, headings, list items and cells.

The parser is markdown-it-py. It is made to tell where each inline mark stands, so that all else stays byte for byte.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmtcli.documents import html as html_format
from nmtcli.documents.document import Segment, Source
from nmtcli.errors import DataError, UserError
from nmtcli.text.inline import Content, Role, Tag, merged, parted, partners, plain, tag, written
from nmtcli.text.spans import Span

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline

_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|$)")
_FRONT_MATTER = re.compile(  # YAML, and the TOML of Hugo
    r"---[ \t]*\r?\n(?:[^\r\n]*\r?\n)*?(?:---|\.\.\.)[ \t]*(?:\r?\n|$)"
    r"|\+\+\+[ \t]*\r?\n(?:[^\r\n]*\r?\n)*?\+\+\+[ \t]*(?:\r?\n|$)"
)
_PAIRS = {"em": 1, "strong": 2, "s": 2}  # characters of a mark
# Characters that would be marks, and what would begin a block
_ESCAPED = re.compile(r"[\\`*\[\]|]|(?<![^\W_])_|_(?![^\W_])|~(?=~)|(?<=~)~|<(?=[A-Za-z/!?])|&(?=#?[A-Za-z0-9]+;)")
_BLOCK = re.compile(r"#{1,6}(?=\s|$)|>|[-+](?=\s|$)|(?:=+|-+)[ \t]*(?:[\r\n]|$)|~~~")
_MARKS = re.compile(r"[*_~`]+ ?")
# What GitHub and Pandoc add to CommonMark: the box of a task, the kind of an alert, a footnote and its mark
_HEAD = re.compile(r"\[[ xX]\][ \t]+|\[![A-Za-z]+\][ \t]*(?:\n|$)|\[\^[^\]\s]+\]:[ \t]+")
_NOTE = re.compile(r"\[\^[^\]\s]+\]:?")
_ELEMENT = re.compile(r"</?[A-Za-z]")  # of HTML
_NUMBERED = re.compile(r"(\d{1,9})([.)])(?=\s|$)")


@dataclass(frozen=True)
class _Mark:
    """An inline mark, in characters of the text of its block: a tag, or a character written in another way."""

    start: int
    end: int
    new: str | Tag


@dataclass(frozen=True)
class _Place:
    start: int
    end: int
    segment: Segment
    write: Callable[[Content], str]


class Markdown:
    """A Markdown file."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for an empty file, or one that cannot be read; any text is Markdown."""
        self._source = Source.read(path)
        self._places = list(_places(self._source))
        self.segments = [place.segment for place in self._places]

    def write(self, translations: Sequence[Content], language: str | None = None) -> bytes:
        """The file with the translations. A translation is written on one line."""
        return self._source.bytes(
            (place.start, place.end, place.write(content))
            for place, content in zip(self._places, translations, strict=True)
            if content != place.segment.content
        )


def _places(source: Source) -> Iterator[_Place]:
    parser = _parser()
    front = _FRONT_MATTER.match(source.text)
    begin = front.end() if front else 0
    text = source.text.replace("\0", "\ufffd")  # as the parser does
    body = text[begin:]
    rows = [(begin + match.start(1), begin + match.end(1)) for match in _LINE.finditer(body)]
    before = source.text.count("\n", 0, begin)
    env: dict[str, Any] = {}
    cell: tuple[int, int] = (-1, 0)  # row of the last table cell, and where it ends
    for previous, token in _with_previous(parser.parse(body, env)):
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "html_block":
            start, end = rows[first][0], rows[last - 1][1]
            yield from _html_places(source, start, end, token.content, before + first + 1)
        if token.type != "inline" or not token.content.strip():
            continue
        lines = token.content.split("\n")
        offsets: list[int] = []
        at = cell[1] if previous in ("th_open", "td_open") and cell[0] == first else rows[first][0]
        for row, line in zip(range(first, last), lines, strict=False):
            found = _located(line, text, at if row == first else rows[row][0], rows[row][1], previous)
            if found is None:
                break
            offsets += found
        if len(offsets) != len(token.content) + 1:
            continue  # its text is spelt in another way, such as by tabs
        if previous in ("th_open", "td_open"):
            cell = (first, offsets[-1])
        yield from _place(parser, source.text, token.content, offsets, env, before + first + 1, previous)


def _with_previous(tokens: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for number, token in enumerate(tokens):
        yield (tokens[number - 1].type if number else "", token)


def _located(line: str, text: str, start: int, end: int, block: str) -> list[int] | None:
    """Where each character of a line of a block stands in the file, and where the line ends."""
    if block in ("th_open", "td_open"):
        pattern = "".join(r"\\?\|" if character == "|" else re.escape(character) for character in line)
        if (match := re.compile(pattern).search(text, start, end)) is None:
            return None
        at, offsets = match.start(), []
        for character in line:
            at += text[at] == "\\" and character == "|"
            offsets.append(at)
            at += 1
        return [*offsets, at]
    at = text.rfind(line, start, end)
    return None if at < 0 else [*range(at, at + len(line)), at + len(line)]


def _place(
    parser: "MarkdownIt", text: str, content: str, offsets: Sequence[int], env: dict[str, Any], line: int, block: str
) -> Iterator[_Place]:
    if head := _HEAD.match(content):
        content, offsets = content[head.end() :], offsets[head.end() :]
    parts: list[str | Tag] = []
    code: list[Span] = []
    at = length = 0
    inside: list[str] = []  # elements whose text stays
    translatable = False

    def add(part: str) -> None:
        nonlocal length, translatable
        parts.append(part)
        if inside and part.strip():
            code.append(Span(length, length + len(part), "code", part))
        translatable = translatable or (not inside and any(map(str.isalpha, part)))
        length += len(part)

    for mark in _marks(parser, content, env):
        add(content[at : mark.start].replace("\n", " "))
        at = mark.end
        if isinstance(mark.new, str):
            add(mark.new)
            continue
        raw = text[offsets[mark.start] : offsets[mark.end]]
        parts.append(replace(mark.new, text=mark.new.text or raw))
        name, role = mark.new.name, mark.new.role
        if role == "open" and (inside or name == "code" or html_format.is_fixed(raw)):
            inside.append(name)
        elif role == "close" and name in inside:
            del inside[len(inside) - 1 - inside[::-1].index(name)]
    add(content[at:].replace("\n", " "))
    if translatable:
        segment = Segment(*parted(merged(parts), code), line)
        cell = block in ("th_open", "td_open")
        yield _Place(offsets[0], offsets[-1], segment, lambda content: _written(content, cell, block == "heading_open"))


def _html_places(source: Source, start: int, end: int, content: str, line: int) -> Iterator[_Place]:
    """The segments of a block of HTML, unless it stands inside a quotation or a list."""
    raw = source.text[start:end].rstrip("\r\n")
    if raw.replace("\r\n", "\n") != content.rstrip("\n"):
        return
    try:
        found = list(html_format.places(raw, source.name, line))
    except DataError:  # a block may end inside an element
        return
    for place in found:
        yield _Place(start + place.start, start + place.end, place.segment, html_format.written)


def _marks(parser: "MarkdownIt", content: str, env: dict[str, Any]) -> list[_Mark]:
    """The marks of the text of a block, in order."""
    from markdown_it.rules_inline import StateInline  # noqa: PLC0415 - an extra

    state = StateInline(content, parser, env, [])
    trace: list[_Mark] = []
    delimiters: dict[int, int] = {}  # where each delimiter stands, by the id of its token
    env["nmt"] = (state, trace, delimiters)
    parser.inline.tokenize(state)
    for rule in parser.inline.ruler2.getRules(""):
        if rule.__name__ != "fragments_join":
            rule(state)
    for token in state.tokens:
        kind, _, end = token.type.rpartition("_")
        if kind in _PAIRS and id(token) in delimiters:
            start = delimiters[id(token)]
            start -= kind == "strong" and end == "open"
            role: Role = "open" if end == "open" else "close"
            trace.append(_Mark(start, start + _PAIRS[kind], Tag("", role, kind)))
    return sorted(trace, key=lambda mark: (mark.start, mark.end))


def _parser() -> "MarkdownIt":
    try:
        from markdown_it import MarkdownIt  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("Markdown needs markdown-it-py", "pip install 'nmtcli[documents]'") from None
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.inline.ruler.before("link", "note", _note)
    for rule in parser.inline.ruler.__rules__:
        parser.inline.ruler.at(rule.name, _traced(rule.name, rule.fn))
    return parser


def _note(state: "StateInline", silent: bool) -> bool:
    """A rule of the parser: the mark of a footnote, with the colon where a note begins."""
    match = _NOTE.match(state.src, state.pos)
    if match is None:
        return False
    begins = state.src[: state.pos].rpartition("\n")[2] == ""
    text = match[0] if begins else match[0].removesuffix(":")
    if not silent:
        state.push("text", "", 0).content = text
    state.pos += len(text)
    return True


def _traced(name: str, rule: "Callable[[StateInline, bool], bool]") -> "Callable[[StateInline, bool], bool]":
    """A rule of the parser that also tells where its mark stands."""

    def traced(state: "StateInline", silent: bool) -> bool:
        main, trace, delimiters = state.env.get("nmt", (None, [], {}))
        start, before = state.pos, len(state.tokens)
        if not rule(state, silent):
            return False
        if state is main and not silent:
            tokens = state.tokens[before:]
            if name in ("emphasis", "strikethrough"):
                at = state.pos
                for token in reversed(tokens):
                    at -= len(token.content)
                    delimiters[id(token)] = at
            else:
                trace += _rule_marks(name, state, start, tokens)
        return True

    return traced


def _rule_marks(name: str, state: "StateInline", start: int, tokens: Sequence[Any]) -> list[_Mark]:
    """The marks between `start` and the position of the parser, by the name of the rule that found them."""
    end, text = state.pos, state.src
    kind = tokens[-1].type if tokens else ""
    if name == "link":
        middle = state.md.helpers.parseLinkLabel(state, start, True)
        closing = text[middle:end]
        if closing in ("]", "][]"):  # the text is the name of the link, which must stay
            closing = f"][{text[start + 1 : middle]}]"
        return [_Mark(start, start + 1, Tag("", "open", "link")), _Mark(middle, end, Tag(closing, "close", "link"))]
    if kind == "code_inline":
        length = len(tokens[-1].markup)
        inner = text[start + length : end - length]
        blank = inner[:1] in " \n" and inner[-1:] in " \n" and inner.strip(" \n") != ""
        return _code_marks(start, end, length + blank)
    if name == "autolink":
        return _code_marks(start, end, 1)
    new: str | Tag | None = None
    if name == "html_inline":
        new = tag(text[start:end])
    elif name in ("image", "note"):
        new = Tag("", "single")
    elif kind in ("hardbreak", "softbreak"):
        start -= len(text[:start]) - len(text[:start].rstrip(" "))
        new = " " if kind == "softbreak" and not _HEAD.match(text, end) else Tag("", "single", "br")
    elif name in ("escape", "entity") and tokens:
        new = tokens[-1].content
    return [] if new is None else [_Mark(start, end, new)]


def _code_marks(start: int, end: int, length: int) -> list[_Mark]:
    return [
        _Mark(start, start + length, Tag("", "open", "code")),
        _Mark(end - length, end, Tag("", "close", "code")),
    ]


def _filled(content: Content) -> Content:
    """The content without marks that have nothing between them, which would be text in Markdown."""
    pairs = partners(content)
    empty = {
        at
        for opening, end in pairs.items()
        if _MARKS.fullmatch(written(content[opening : opening + 1])) and not plain(content[opening:end]).strip()
        for at in (opening, end)
    }
    return tuple(part for at, part in enumerate(content) if at not in empty)


def _written(content: Content, cell: bool, heading: bool) -> str:
    """The Markdown of a translation."""
    whole = ""
    code: Tag | None = None  # the tag before the code here
    begins: list[int] = []  # where a line begins with text
    for number, part in enumerate(filled := _filled(content)):
        before = filled[number - 1] if number else None
        if isinstance(part, Tag):
            if part.name == "code" and not _ELEMENT.match(part.text):
                code = part if part.role == "open" else None
            if part.text.startswith("[") and isinstance(before, str) and before.endswith("!"):
                whole = f"{whole[:-1]}\\!"  # else an image
            whole += part.text
            continue
        if before is None or (isinstance(before, Tag) and before.name == "br" and "\n" in before.text):
            begins.append(len(whole))
        text = " ".join(part.split("\n"))
        if code:
            delimiter = re.escape(code.text.strip())
            text = re.sub(rf"(?<!`){delimiter}(?!`)", lambda match: "'" * len(match[0]), text)
            whole += text.replace("|", "\\|") if cell else text
        else:
            whole += _ESCAPED.sub(r"\\\g<0>", text)
    for begin in reversed(() if cell else begins):
        whole = whole[:begin] + _no_block(whole[begin:].lstrip(" "))
    whole = whole.strip()
    return re.sub(r"(#+)$", r"\\\1", whole) if heading else whole


def _no_block(text: str) -> str:
    """The text with an escape where it would begin a list, a heading or a quotation."""
    if _NUMBERED.match(text):
        return _NUMBERED.sub(r"\1\\\2", text, count=1)
    return f"\\{text}" if _BLOCK.match(text) else text
