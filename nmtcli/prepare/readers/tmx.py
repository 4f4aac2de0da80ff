"""TMX, the translation memory exchange format: translation units with segments in several languages.

Each unit is parsed separately, so that invalid XML loses that unit only.
"""

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from xml.etree import ElementTree

from nmtcli.errors import DataError
from nmtcli.prepare.markup import in_word
from nmtcli.prepare.readers.records import FileReader, Pair, TextBlock, match_languages
from nmtcli.prepare.rows import INLINE_CODES, Rows

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_CODES = {"bpt", "ept", "it", "ph", "ut"}  # inline elements with codes of a translation tool, not text
_BLOCK = 4096  # units of a block
_CHUNK = 2**18  # characters
_CERTAIN = 8  # so many valid multi-byte characters are UTF-8, not chance
_LONGEST_CHARACTER = 4  # bytes; the last one may be cut
_LONGEST = 2**22  # maximum characters of a unit; a longer one has no end

_UNIT = re.compile(r"<(?:((?:[\w.-]+:)?tu)(?=[\s>/])|!--)")  # or a comment
_DECLARED = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")
_NAMESPACE = re.compile(r"""\sxmlns:[\w.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*')""")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_REFERENCE = re.compile(r"&(?:#[xX]([0-9A-Fa-f]+);|#([0-9]+);|([A-Za-z][A-Za-z0-9]*);)?")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    "<\0".encode("latin-1"): "utf-16-le",
    "\0<".encode("latin-1"): "utf-16-be",
}
_END = re.compile(r"</(?:[\w.-]+:)?tmx\s*>")
_CDATA = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)  # where an ampersand is text
# encodings that are declared for text in a larger encoding
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949", "iso-8859-1": "cp1252"}


@dataclass(frozen=True)
class TmxBlock:
    """Translation units as text."""

    line: int
    size: int
    file: str
    units: list[str]
    namespaces: str  # declarations of the root element
    languages: tuple[str, str]
    codes: bool  # whether inline codes become tags

    def rows(self) -> Rows:
        """Parse each unit; inline codes become tags, or are removed and counted."""
        pairs, codes = [], 0
        for unit in self.units:
            pair, count = self._pair(unit)
            pairs.append(pair)
            codes += count
        return TextBlock(self.line, self.size, self.file, pairs, {INLINE_CODES: codes} if codes else {}).rows()

    def _pair(self, unit: str) -> tuple[Pair | str, int]:
        """Both sides or the error in the unit, and the number of inline codes that were removed."""
        try:
            parts = _CDATA.split(unit)
            parts[::2] = (_REFERENCE.sub(_character, part) for part in parts[::2])
            (element,) = ElementTree.fromstring(f"<r{self.namespaces}>{''.join(parts)}</r>")
        except (ElementTree.ParseError, ValueError) as error:
            return f"not XML: {error}", 0
        segments = list(_segments(element))
        sides: list[str] = []
        codes = 0
        matches = match_languages([code for code, _ in segments], self.languages)
        for language, match in zip(self.languages, matches, strict=True):
            if match is None:
                there = ", ".join(dict.fromkeys(code for code, _ in segments)) or "none"
                return f"no segment in {language} (languages: {there})", 0
            segment = next(segment for code, segment in segments if code == match)
            try:
                sides.append(_text(segment, self.codes))
            except RecursionError:
                return "elements nested too deeply", 0
            codes += 0 if self.codes else sum(_name(child) in _CODES for child in segment.iter())
        return (sides[0], sides[1]), codes


@dataclass(frozen=True)
class Tmx(FileReader):
    """The segments of two languages of each unit, of any region (`en` matches `en-GB`).

    Inline codes are removed, or with `codes` become tags.
    """

    codes: bool = False

    def check(self) -> None:
        """Find a unit with both languages. Raises DataError if there is none."""
        self.data.check_there()
        languages: set[str] = set()
        block = None
        for block in self.blocks():
            rows = block.rows()
            if any(source and target for source, target in zip(rows.sources, rows.targets, strict=True)):
                return
            languages |= {code for unit in block.units for code in re.findall(r"lang\s*=\s*[\"']([^\"']*)", unit)}
        if block is None:
            raise DataError(f"{self.name}: has no translation unit (tu)", "give a TMX file")
        raise DataError(
            f"{self.name}: no unit has text in {' and '.join(self.sides.languages)}"
            f" (languages: {', '.join(sorted(languages)) or 'none'})",
            "give the language codes of the file: -s LANG -t LANG",
        )

    def digest(self) -> str:
        """SHA-256 of the file, and the languages."""
        return f"{type(self).__name__} {self.data.digest()} {self.sides.languages}"

    def blocks(self) -> Iterator[TmxBlock]:
        """All units."""
        text = self._text()
        head = next(text, "")
        root = re.search(r"<(?:[\w.-]+:)?tmx\b([^>]*)>", head)
        if root is None:
            raise DataError(f"{self.name}:1: not XML with a tmx element", "give a TMX file")
        namespaces = "".join(_NAMESPACE.findall(root[1]))
        units, line = self._units(head[root.end() :], text), 1
        while chunk := list(islice(units, _BLOCK)):
            yield TmxBlock(line, len(chunk), self.name, chunk, namespaces, self.sides.languages, self.codes)
            line += len(chunk)

    def _text(self) -> Iterator[str]:
        """The text of the file, decoded by its byte order mark or its declaration; invalid bytes are U+FFFD."""
        with self.data.readable(), self.data.open() as file:
            start = file.read(_CHUNK)
            if not start:
                raise DataError(f"{self.name}: is empty")
            encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
            if encoding is None:
                declared = _DECLARED.match(start.lstrip())
                encoding = "utf-8" if declared is None or _is_utf8(start) else declared[1].decode().lower()
            try:
                decoder = codecs.getincrementaldecoder(_WIDER.get(encoding, encoding))("replace")
                yield _NO_XML.sub("\ufffd", decoder.decode(start))
            except (LookupError, AttributeError, AssertionError, TypeError, UnicodeError):  # also codecs not of text
                raise DataError(f"{self.name}: unknown encoding {encoding}", "convert it to UTF-8") from None
            while chunk := file.read(_CHUNK):
                yield _NO_XML.sub("\ufffd", decoder.decode(chunk))
            yield _NO_XML.sub("\ufffd", decoder.decode(b"", final=True))

    def _units(self, text: str, more: Iterator[str]) -> Iterator[str]:
        """Each unit from its start tag to its end tag, or to the start of the next unit; none of comments."""
        ended = False
        while True:
            begin = _UNIT.search(text)
            if begin is None:
                rest = next(more, None)
                ended = ended or _END.search(text) is not None
                if rest is None:
                    break
                text = text[-100:] + rest
                continue
            if begin[1] is None:  # a comment
                ended = ended or _END.search(text, 0, begin.start()) is not None
                text = text[begin.end() :]
                while (stop := text.find("-->")) < 0:
                    if (rest := next(more, None)) is None:
                        raise self._cut_short()
                    text = text[-2:] + rest
                text = text[stop:]
                continue
            text = text[begin.start() :]
            last = f"</{begin[1]}"
            end = re.compile(rf"{re.escape(last)}\s*>|<{re.escape(begin[1])}(?=[\s>/])|</(?:[\w.-]+:)?body\s*>")
            searched = len(begin[0])
            while (match := end.search(text, searched)) is None:
                searched = max(len(begin[0]), len(text) - 100)
                if len(text) > _LONGEST or (rest := next(more, None)) is None:
                    raise self._cut_short()
                text += rest
            stop = match.end() if match[0].startswith(last) else match.start()
            yield text[:stop]
            text = text[stop:]
        if not ended:
            raise self._cut_short()

    def _cut_short(self) -> DataError:
        return DataError(f"{self.name}: cut short: the XML has no end", "copy or download it again")


def _is_utf8(start: bytes) -> bool:
    """Whether text with a declaration in single bytes is UTF-8, for example after a conversion.

    It cannot be UTF-16 even if declared so, and text in other encodings is rarely valid UTF-8.
    """
    text = start.decode("utf-8", "ignore")
    beyond = sum(character > "\x7f" for character in text)
    lost = len(start) - len(text.encode())
    declared = _DECLARED.match(start.lstrip())
    wide = declared is not None and declared[1].lower().startswith((b"utf-16", b"utf16", b"utf-32", b"ucs"))
    return wide or (beyond >= _CERTAIN and lost < _LONGEST_CHARACTER)


def _character(reference: re.Match[str]) -> str:
    """An XML reference as it is, an HTML entity as its character, and any other ampersand as text."""
    hexadecimal, decimal, name = reference.groups()
    if name in {"amp", "lt", "gt", "quot", "apos"}:
        return reference[0]
    if name is not None:
        character = html.unescape(reference[0])
        return character if character != reference[0] else f"&amp;{name};"
    if hexadecimal is None and decimal is None:
        return "&amp;"
    digits = hexadecimal or decimal
    number = int(digits, 16 if hexadecimal else 10) if len(digits) < 9 else 0
    valid = number in {9, 10, 13} or 32 <= number < 0xD800 or 0xE000 <= number < 0xFFFE or 0x10000 <= number < 0x110000
    return reference[0] if valid else "\ufffd"


def _segments(unit: ElementTree.Element) -> Iterator[tuple[str, ElementTree.Element]]:
    """The language and segment of each variant."""
    for variant in unit.findall("{*}tuv"):
        segment = variant.find("{*}seg")
        if segment is not None:
            yield variant.get(_LANGUAGE) or variant.get("lang") or "", segment


def _name(element: ElementTree.Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element, codes: bool) -> str:
    """The text of a segment: inline codes as tags, or without them and with a space between two words."""
    text = element.text or ""
    for child in element:
        name, tail = _name(child), child.tail or ""
        if name in _CODES:
            text += _tag(child, "/") if codes else " " * (in_word(text[-1:]) and in_word(tail[:1]))
        else:
            inner = _text(child, codes)
            text += f"{_tag(child)}{inner}</{name}>" if codes and name == "hi" else inner
        text += tail
    return text


def _tag(element: ElementTree.Element, end: str = "") -> str:
    """An inline element as a tag, with the attribute by which translations refer to it."""
    found = next(((name, element.get(name, "")) for name in ("i", "x", "type") if element.get(name)), None)
    attribute = "" if found is None else f' {found[0]}="{html.escape(found[1])}"'
    return f"<{_name(element)}{attribute}{end}>"
