"""Text with inline tags: what a segment of a document, or a line with markup, consists of."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nmtcli.text.spans import Span

Role = Literal["open", "close", "single"]

_NAME = re.compile(r"</?([A-Za-z][A-Za-z0-9:_.-]*)")
_VALUE_AT_END = re.compile(r"=[^\s\"'<>]+/>$")  # without quotes
# HTML elements without an end tag
VOID_ELEMENTS = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
})  # fmt: skip


@dataclass(frozen=True)
class Tag:
    """An inline tag as the document writes it. `name` pairs an opening tag with its closing one.

    `blank`: it stands between two words, as a line break does, and is a blank in the text without tags.
    """

    text: str
    role: Role
    name: str = ""
    blank: bool = False


Content = tuple[str | Tag, ...]  # text and tags in the order of the document


def plain(content: Content) -> str:
    """The text without its tags."""
    return "".join(part if isinstance(part, str) else " " * part.blank for part in content)


def merged(parts: Iterable[str | Tag]) -> Content:
    """Content without empty text, and with neighbouring texts as one."""
    content: list[str | Tag] = []
    for part in parts:
        if part == "":
            continue
        if isinstance(part, str) and content and isinstance(content[-1], str):
            content[-1] += part
        else:
            content.append(part)
    return tuple(content)


def parted(content: Content, code: Iterable[Span] = ()) -> tuple[Content, tuple[Span, ...]]:
    """The content with a blank for each line break between two words, and the spans of its text moved accordingly."""
    parts: list[str | Tag] = []
    shifts: list[int] = []
    text, length = plain(content), 0
    for part in content:
        if isinstance(part, Tag):
            around = text[length - 1 : length + 1] if length else ""
            touching = len(around) == 2 and not any(map(str.isspace, around)) and length not in shifts
            if part.name == "br" and touching:
                shifts.append(length)
                parts.append(replace(part, blank=True))
                continue
        else:
            length += len(part)
        parts.append(part)
    moved = [(span, bisect_right(shifts, span.start)) for span in code]
    return tuple(parts), tuple(Span(span.start + by, span.end + by, span.kind, span.text) for span, by in moved)


def written(content: Content) -> str:
    """The text with its tags."""
    return "".join(part if isinstance(part, str) else part.text for part in content)


def content_of(text: str, spans: Sequence[Span]) -> Content:
    """A line whose spans of kind `tag` are inline tags. `written` gives the line again."""
    parts: list[str | Tag] = []
    at = 0
    ends = {one.name for span in spans if span.kind == "tag" and (one := tag(span.text)).role == "close"}
    for span in spans:
        if span.kind == "tag":
            one, name = tag(span.text), _NAME.match(span.text)
            if one.role == "single" and name and name[1].lower() in ends and not is_self_closing(span.text):
                one = Tag(span.text, "open", name[1].lower())  # <link> of an application, which has a </link>
            parts += [text[at : span.start], one]
            at = span.end
    return parted(merged([*parts, text[at:]]))[0]


def tag(text: str) -> Tag:
    """An XML or HTML tag or comment."""
    match = _NAME.match(text)
    if match is None:
        return Tag(text, "single")
    name = match[1].lower()  # <B> … </b>
    if text.startswith("</"):
        return Tag(text, "close", name)
    if name in VOID_ELEMENTS:
        return Tag(text, "single", name)
    return Tag(text, "single" if is_self_closing(text) else "open", name)


def is_self_closing(text: str) -> bool:
    """Whether a tag ends with a slash that is not the end of a value: `<a href=http://x.org/>` is an opening tag."""
    return text.endswith("/>") and not _VALUE_AT_END.search(text)


def partners(content: Content) -> dict[int, int]:
    """The part with the closing tag of each part with an opening tag. Tags without a partner are left out."""
    pairs: dict[int, int] = {}
    stack: list[tuple[int, str]] = []
    for number, part in enumerate(content):
        if not isinstance(part, Tag):
            continue
        if part.role == "open":
            stack.append((number, part.name))
        elif part.role == "close" and part.name in {name for _, name in stack}:
            while stack:
                opening, name = stack.pop()
                if name == part.name:
                    pairs[opening] = number
                    break
    return pairs


@dataclass(frozen=True)
class Violation:
    """A protected part that a translation does not keep.

    missing: it occurs less often than in the source. repeated: more often. added: a tag or placeholder symbol that the
    source does not have. malformed: tags are not nested as they must be.
    """

    kind: Literal["missing", "repeated", "added", "malformed"]
    text: str


def tag_violations(source: Content, translation: Content) -> list[Violation]:
    """Whether each tag of the source occurs in the translation, as often and as well nested."""
    expected = Counter(part.text for part in source if isinstance(part, Tag))
    found = Counter(part.text for part in translation if isinstance(part, Tag))
    violations = [Violation("missing", text) for text in expected if found[text] < expected[text]]
    violations += [
        Violation("repeated" if text in expected else "added", text) for text in found if found[text] > expected[text]
    ]
    unpaired = _unpaired(source)
    violations += [Violation("malformed", text) for text in _unpaired(translation) - unpaired]
    return violations


def _unpaired(content: Content) -> Counter[str]:
    """The opening and closing tags without a partner."""
    pairs = partners(content)
    paired = {*pairs, *pairs.values()}
    return Counter(
        part.text
        for number, part in enumerate(content)
        if isinstance(part, Tag) and part.role != "single" and number not in paired
    )
