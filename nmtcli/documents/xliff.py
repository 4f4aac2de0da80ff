"""XLIFF 1.x and 2.x: units without a translation get a target and its state. Codes become inline tags.

The file is written by lxml: its XML is the same, its bytes may differ in the spelling of attributes.
"""

import re
from codecs import BOM_UTF16_LE
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, unescape

from nmtcli.data.files import File
from nmtcli.documents.document import Segment, has_words
from nmtcli.errors import DataError, UserError
from nmtcli.text.inline import Content, Role, Tag, merged, parted
from nmtcli.text.spans import Span

if TYPE_CHECKING:
    from lxml.etree import _Element, _ElementTree

_ELEMENTS = {"g", "mrk", "pc"}  # with text inside
# codes that begin or end: role, and the attribute that pairs them
_HALVES: dict[str, tuple[Role, str]] = {
    "bpt": ("open", "rid"),
    "ept": ("close", "rid"),
    "bx": ("open", "rid"),
    "ex": ("close", "rid"),
    "sc": ("open", "id"),
    "ec": ("close", "startRef"),
}
_UNTRANSLATED = {"new", "needs-translation", "initial"}  # states
_NAMESPACE = re.compile(r' xmlns(?::([\w.-]+))?="([^"]*)"')
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True)
class _Unit:
    """A trans-unit (1.x) or a segment (2.x)."""

    element: "_Element"
    source: "_Element"  # the text to translate
    segment: Segment
    blanks: tuple[str, str]  # before and after it


class Xliff:
    """An XLIFF file."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that is not XML, or not XLIFF."""
        self._tree, self._raw = _parsed(path)
        root = self._tree.getroot()
        version = root.get("version", "")
        if _name(root) != "xliff" or version[:2] not in ("1.", "2."):
            raise DataError(f"{path}:1: not XLIFF 1.x or 2.x", "give an XLIFF file")
        self._second = version.startswith("2.")
        self._units = list(self._find(root, path))
        self.segments = [unit.segment for unit in self._units]

    def write(self, translations: Sequence[Content], language: str | None = None) -> bytes:
        """The file with the translations; a target language is set if it has none."""
        tree = deepcopy(self._tree)
        copies = dict(zip(self._tree.iter(), tree.iter(), strict=True))
        for unit, content in zip(self._units, translations, strict=True):
            before, after = unit.blanks
            whole = (before, *content, after)
            self._fill(copies[unit.element], copies[unit.source], whole, content == unit.segment.content)
        if language is not None:
            attribute = "trgLang" if self._second else "target-language"
            root = tree.getroot()
            for element in [root] if self._second else root.iterchildren("{*}file"):
                element.set(attribute, element.get(attribute, language))
        return _bytes(tree, self._raw)

    def _find(self, root: "_Element", path: Path) -> Iterator[_Unit]:
        for element in root.iter("{*}segment" if self._second else "{*}trans-unit"):
            source = element.find("{*}source")
            if source is None:
                raise DataError(f"{path}:{element.sourceline}: {_name(element)} without source", "correct the file")
            target = element.find("{*}target")
            state = (element if self._second else target).get("state") if target is not None else None
            done = target is not None and _has_text(target) and state not in _UNTRANSLATED
            if done or element.get("approved") == "yes" or not _translatable(element):
                continue
            if not has_words(_segment(source).text):
                continue
            segmented = element.find("{*}seg-source")
            text = source if segmented is None else segmented
            yield _Unit(element, text, *_stripped(_segment(text)))

    def _fill(self, unit: "_Element", source: "_Element", content: Content, same: bool) -> None:
        """Write the target of a unit, after its source."""
        namespace = source.tag[: source.tag.index("}") + 1] if source.tag.startswith("{") else ""
        target = unit.find("{*}target")
        if target is None:
            target = unit.makeelement(f"{namespace}target")
            target.tail = source.tail
            source.addnext(target)
        for child in list(target):
            target.remove(child)
        new = deepcopy(source) if same else _element(source, content)
        target.text = new.text
        target.extend(list(new))
        if self._second:
            unit.set("state", "translated")
        else:
            target.set("state", "needs-review-translation")
            target.set("state-qualifier", "leveraged-mt")


def _parsed(path: Path) -> "tuple[_ElementTree, bytes]":
    """The XML of a file, and its bytes. Nothing outside the file is read."""
    try:
        from lxml import etree  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("XLIFF needs lxml", "pip install 'nmtcli[documents]'") from None
    with File(str(path), path).readable():
        raw = path.read_bytes()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, strip_cdata=False)
    try:
        return etree.ElementTree(etree.fromstring(raw, parser)), raw
    except etree.XMLSyntaxError as error:
        line = error.lineno or 1
        reason = str(error.msg or error).split(", line ")[0]
        raise DataError(f"{path}:{line}: not XML: {reason}", "correct the file; it may be cut short") from None
    except ValueError as error:
        raise DataError(f"{path}:1: not XML: {error}", "correct the file") from None


def _bytes(tree: "_ElementTree", raw: bytes) -> bytes:
    from lxml import etree  # noqa: PLC0415 - an extra

    encoding = tree.docinfo.encoding or "UTF-8"
    body = etree.tostring(tree, encoding=encoding)
    body = re.sub(rb"^<\?xml[^>]*\?>\s*", b"", body)
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n'.encode() if b"<?xml" in raw[:100] else b""
    ended = raw.rstrip(b"\0").endswith(b"\n")  # UTF-16 has a zero after or before it
    last = ("\n".encode("utf-16-le") if body.startswith(BOM_UTF16_LE) else b"\n") if ended else b""
    return head + body + last


def _name(element: "_Element") -> str:
    """The name of an element without its namespace; empty for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _translatable(element: "_Element") -> bool:
    """Whether the nearest `translate` attribute says so."""
    for one in (element, *element.iterancestors()):
        if (value := one.get("translate")) is not None:
            return bool(value != "no")
    return True


def _has_text(target: "_Element") -> bool:
    # empty marks are segments to fill
    codes = any(_name(one) not in ("mrk", "") for one in target.iterdescendants())
    return codes or bool("".join(target.itertext()).strip())


def _segment(source: "_Element") -> Segment:
    parts: list[str | Tag] = []
    code: list[Span] = []
    length = 0
    breaks = _keeps_line_breaks(source)

    def add(text: str | None, fixed: bool) -> None:
        nonlocal length
        rows = re.split(r"\r?\n", text or "") if breaks else [re.sub(r"[ \t]*[\r\n]\s*", " ", text or "")]
        for number, shown in enumerate(rows):
            if number:
                parts.append(Tag("\n", "single", "br"))
            if fixed and shown:
                code.append(Span(length, length + len(shown), "code", shown))
            parts.append(shown)
            length += len(shown)

    def walk(element: "_Element", fixed: bool) -> None:
        add(element.text, fixed)
        for child in element:
            name = _name(child)
            if name in _ELEMENTS:
                opening, closing = _element_tags(child, source.nsmap)
                parts.append(opening)
                walk(child, fixed or child.get("translate") == "no" or child.get("mtype") == "protected")
                parts.append(closing)
            else:
                parts.append(_code_tag(child, name, source.nsmap))
            add(child.tail, fixed)

    walk(source, False)
    return Segment(*parted(merged(parts), code), int(source.sourceline or 1))


def _keeps_line_breaks(element: "_Element") -> bool:
    """Whether the nearest `xml:space` attribute says so."""
    values = (one.get("{http://www.w3.org/XML/1998/namespace}space") for one in (element, *element.iterancestors()))
    return next((value for value in values if value is not None), "") == "preserve"


def _stripped(segment: Segment) -> tuple[Segment, tuple[str, str]]:
    """The segment without blanks at its ends, and these blanks."""
    content = list(segment.content)
    before = after = ""
    if content and isinstance(content[0], str):
        text = content[0].lstrip()
        before, content[0] = content[0][: len(content[0]) - len(text)], text
    if content and isinstance(content[-1], str):
        text = content[-1].rstrip()
        after, content[-1] = content[-1][len(text) :], text
    code = tuple(Span(one.start - len(before), one.end - len(before), one.kind, one.text) for one in segment.code)
    return Segment(merged(content), code, segment.line), (before, after)


def _element_tags(element: "_Element", declared: Mapping[Any, str]) -> tuple[Tag, Tag]:
    """The tags of an element with text inside, in one that has these namespaces."""
    from lxml import etree  # noqa: PLC0415 - an extra

    empty = element.makeelement(element.tag, element.attrib, nsmap=element.nsmap)
    written = _without(declared, etree.tostring(empty, encoding="unicode")).removesuffix("/>")
    qualified = re.match(r"<([^\s/>]+)", written)
    assert qualified
    name = f"{_name(element)} {element.get('id') or element.get('mid') or ''}"
    return Tag(f"{written}>", "open", name), Tag(f"</{qualified[1]}>", "close", name)


def _without(declared: Mapping[Any, str], xml: str) -> str:
    """The XML without declarations of namespaces that are declared outside."""

    def kept(match: re.Match[str]) -> str:
        prefix, uri = match.groups()
        return "" if declared.get(prefix) == unescape(uri, {"&quot;": '"'}) else match[0]

    return _NAMESPACE.sub(kept, xml)


def _code_tag(element: "_Element", name: str, declared: Mapping[Any, str]) -> Tag:
    """The tag of a code that has no text to translate."""
    from lxml import etree  # noqa: PLC0415 - an extra

    written = _without(declared, etree.tostring(element, encoding="unicode", with_tail=False))
    if name not in _HALVES:
        return Tag(written, "single", "br" if element.get("ctype") == "lb" else name)
    role, attribute = _HALVES[name]
    pair = element.get(attribute) or element.get("id") or ""
    return Tag(written, role, f"{name[1:]} {pair}")


def _element(source: "_Element", content: Content) -> Any:
    """An element with this content, and with the namespaces of `source`."""
    from lxml import etree  # noqa: PLC0415 - an extra

    inner = "".join(part.text if isinstance(part, Tag) else escape(_NO_XML.sub("", part)) for part in content)
    names = "".join(
        f' xmlns{":" * bool(prefix)}{prefix or ""}="{escape(uri, {chr(34): "&quot;"})}"'
        for prefix, uri in source.nsmap.items()
    )
    parser = etree.XMLParser(resolve_entities=False, no_network=True, strip_cdata=False)
    # entities of the document type must be declared; they stay references
    entities = "".join(f'<!ENTITY {node.name} "">' for node in source.iter(etree.Entity))
    return etree.fromstring(f"<!DOCTYPE target [{entities}]><target{names}>{inner}</target>", parser)
