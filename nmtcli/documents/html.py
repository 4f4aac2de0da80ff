"""HTML: the text of paragraphs, headings, cells and other blocks. Everything else stays as it is, byte for byte."""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from nmtcli.documents.document import Lines, Segment, Source
from nmtcli.errors import DataError
from nmtcli.text.inline import VOID_ELEMENTS, Content, Tag, is_self_closing, merged, parted, tag
from nmtcli.text.spans import Span

_INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "br", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "img", "ins", "kbd", "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span",
    "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
}  # fmt: skip
# Elements whose end tag may be left out, and what ends them then, beside the end of what they stand in (HTML, 13.1.2.4)
_CELLS = {"td", "th", "tr", "thead", "tbody", "tfoot"}
_FOLLOWERS = {
    "li": {"li"},
    "dt": {"dt", "dd"},
    "dd": {"dt", "dd"},
    "option": {"option", "optgroup"},
    "optgroup": {"optgroup"},
    "td": _CELLS,
    "th": _CELLS,
    "tr": _CELLS - {"td", "th"},
    "thead": {"tbody", "tfoot"},
    "tbody": {"tbody", "tfoot"},
    "tfoot": {"tbody"},
    "p": {
        "address", "article", "aside", "blockquote", "details", "div", "dl", "fieldset", "figcaption", "figure",
        "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "main", "menu", "nav", "ol",
        "p", "pre", "section", "table", "ul",
    },
}  # fmt: skip
_CHARSET = re.compile(
    r"<meta\b[^>]*\bcharset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml\b[^>]*\bencoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE
)
_CODE = {"code", "kbd", "samp", "tt", "var"}  # inline elements whose text is not translated
_SKIPPED = {"script", "style", "pre", "textarea", "template", "svg", "math", "object", "iframe"}


@dataclass(frozen=True)
class Place:
    """A segment and where it stands in the text, in characters."""

    start: int
    end: int
    segment: Segment


class Html:
    """An HTML file."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that ends inside a tag, a comment or a script."""
        self._source = Source.read(path)
        self._places = list(places(self._source.text, self._source.name))
        self._xml = path.suffix.lower() == ".xhtml"
        declared = _CHARSET.search(self._source.text)
        self._ascii = declared is not None and (declared[1] or declared[2]).lower() not in ("utf-8", "utf8")
        self.segments = [place.segment for place in self._places]

    def write(self, translations: Sequence[Content], language: str | None = None) -> bytes:
        """The file with the translations."""
        return self._source.bytes(
            (place.start, place.end, self._written(content))
            for place, content in zip(self._places, translations, strict=True)
            if content != place.segment.content
        )

    def _written(self, content: Content) -> str:
        """The HTML of a translation, in ASCII where the file declares another encoding than that of its bytes.

        XML does not know the entities of HTML.
        """
        text = written(content).replace("&nbsp;", "&#160;" if self._xml else "&nbsp;")
        return text.encode("ascii", "xmlcharrefreplace").decode() if self._ascii else text


def written(content: Content) -> str:
    """The HTML of a translation."""
    return "".join(
        part.text if isinstance(part, Tag) else html.escape(part, quote=False).replace("\u00a0", "&nbsp;")
        for part in content
    )


def is_fixed(start_tag: str) -> bool:
    """Whether the text of an element is not translated."""
    events = _Events(start_tag, Lines(start_tag))
    events.feed(start_tag)
    return any(event.kind == "open" and (event.fixed or event.name in _CODE) for event in events.found)


def places(text: str, name: str, first: int = 1) -> Iterator[Place]:
    """The segments of an HTML text; `first` is the number of its first line in the file `name`."""
    lines = Lines(text)
    events = _Events(text, lines)
    try:
        events.feed(text)
        rest = events.rawdata
        cut_short = re.match(r"<[A-Za-z/!?]", rest) is not None
        if events.cdata_elem is None and not cut_short:
            events.close()
    except AssertionError as error:  # an invalid <! declaration
        raise DataError(f"{name}: not HTML: {error}", "correct the file") from None
    line = first - 1 + lines.number(len(text) - len(rest))
    if events.cdata_elem is not None:
        raise DataError(f"{name}:{line}: the file ends inside <{events.cdata_elem}>", "the file may be cut short")
    if cut_short:
        raise DataError(f"{name}:{line}: the file ends inside a tag: {rest[:40]!r}", "the file may be cut short")
    events.found.append(_Event(len(text), "end", ""))
    run: list[tuple[_Event, str]] = []
    skipped: list[str] = []
    for event, following in zip(events.found, [*events.found[1:], events.found[-1]], strict=True):
        raw = text[event.start : following.start]
        if skipped:
            skipped, inside = _still_skipped(skipped, event, is_self_closing(raw))
            if inside:
                continue
        if (event.kind in ("open", "close") and event.name in _INLINE) or event.kind in (
            "text",
            "reference",
            "comment",
        ):
            run.append((event, raw))
            continue
        yield from _place(run, text, lines, first)
        run = []
        if event.kind == "open" and not is_self_closing(raw) and event.name not in VOID_ELEMENTS:
            skipped = [event.name] if event.name in _SKIPPED or event.fixed else []


@dataclass(frozen=True)
class _Event:
    """A tag, text or another part of HTML. It ends where the next one begins."""

    start: int
    kind: str  # open, close, text, reference, comment, other, end
    name: str  # of an element
    fixed: bool = False  # translate="no"


class _Events(HTMLParser):
    def __init__(self, text: str, lines: Lines) -> None:
        super().__init__(convert_charrefs=False)
        self._lines = lines
        self.found: list[_Event] = []

    def _add(self, kind: str, name: str = "", fixed: bool = False) -> None:
        line, column = self.getpos()
        self.found.append(_Event(self._lines.starts[line - 1] + column, kind, name, fixed))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        fixed = (values.get("translate") or "").lower() == "no" or "notranslate" in (values.get("class") or "").split()
        self._add("open", tag, fixed)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add("open", tag)

    def handle_endtag(self, tag: str) -> None:
        self._add("close", tag)

    def handle_data(self, data: str) -> None:
        self._add("text")

    def handle_entityref(self, name: str) -> None:
        self._add("reference")

    def handle_charref(self, name: str) -> None:
        self._add("reference")

    def handle_comment(self, data: str) -> None:
        self._add("comment")

    def handle_decl(self, decl: str) -> None:
        self._add("other")

    def handle_pi(self, data: str) -> None:
        self._add("other")

    def unknown_decl(self, data: str) -> None:
        self._add("other")


def _still_skipped(stack: list[str], event: _Event, closed: bool) -> tuple[list[str], bool]:
    """The open elements in and with a skipped one after this event, none at its end; and whether the event is its own.

    `closed`: a tag that is start and end. An element whose end tag may be left out ends at what may follow it, and at
    the end of what it stands in.
    """
    if event.kind == "open":
        while (place := _ended_by(event.name, stack)) is not None:
            stack = stack[:place]
        if not stack:
            return [], False
        return (stack if closed or event.name in VOID_ELEMENTS else [*stack, event.name]), True
    if event.kind != "close":
        return stack, True
    if event.name in stack:
        place = len(stack) - 1 - stack[::-1].index(event.name)
        inside = stack[place + 1 :]
        crossed = event.name in _INLINE and not _INLINE.issuperset(inside)  # an end tag without its start tag in there
        return (stack if crossed else stack[:place]), True
    ends = event.name not in _INLINE and all(name in _INLINE or name in _FOLLOWERS for name in stack)
    return ([], False) if ends else (stack, True)


def _ended_by(name: str, stack: Sequence[str]) -> int | None:
    """The place of the innermost element that ends before a start tag, with all that is open in it."""
    for place in reversed(range(len(stack))):
        if name in _FOLLOWERS.get(stack[place], ()):
            return place
        if stack[place] not in _INLINE and stack[place] not in _FOLLOWERS:
            return None
    return None


def _place(run: Sequence[tuple[_Event, str]], text: str, lines: Lines, first: int) -> Iterator[Place]:
    """The segment of a run of text and inline elements, without blanks around it, if it has letters to translate."""
    parts: list[str | Tag] = []
    code: list[Span] = []
    fixed: list[str] = []
    length = 0
    translatable = False
    bounds: list[int] = []
    for event, raw in run:
        if event.kind in ("text", "reference"):
            shown = html.unescape(raw) if event.kind == "reference" else re.sub(r"[ \t\r\n\f]+", " ", raw)
            if not parts:
                shown = shown.lstrip(" ")
            if not shown:
                continue
            bounds += [event.start + len(raw) - len(raw.lstrip(" \t\r\n\f")) * (not parts), event.start + len(raw)]
            parts.append(shown)
            if not fixed:
                translatable = translatable or any(map(str.isalpha, shown))
            elif shown.strip():
                inner = shown.strip()
                begin = length + shown.index(inner)
                code.append(Span(begin, begin + len(inner), "code", inner))
            length += len(shown)
            continue
        if event.kind == "open" and event.name not in VOID_ELEMENTS and not is_self_closing(raw):
            if fixed:
                fixed = [*fixed, event.name]
            elif event.fixed or event.name in _CODE:
                fixed = [event.name]
        elif event.kind == "close" and event.name in fixed:
            fixed = fixed[: len(fixed) - 1 - fixed[::-1].index(event.name)]
        bounds += [event.start, event.start + len(raw)]
        parts.append(tag(raw) if event.kind != "comment" else Tag(raw, "single"))
    if not translatable:
        return
    start, end = bounds[0], bounds[-1]
    if isinstance(parts[-1], str):
        end = start + len(text[start:end].rstrip(" \t\r\n\f"))
        parts[-1] = parts[-1].rstrip(" ")
    yield Place(start, end, Segment(*parted(merged(parts), code), first - 1 + lines.number(start)))
