"""TMX, the translation memory exchange format: units of segments in several languages.

Units are cut out of the text and parsed one by one, so that one that is no XML costs itself alone.
"""

import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from xml.etree import ElementTree

from nmtcli.data.files import FromFile
from nmtcli.errors import DataError
from nmtcli.prepare.readers.records import Pair, TextBlock, match_language
from nmtcli.prepare.rows import INLINE_CODES, Rows

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_CODES = {"bpt", "ept", "it", "ph", "ut"}  # inline elements that hold codes of another program, not text
_BLOCK = 4096  # units handed on together
_CHUNK = 2**18  # characters
_CERTAIN = 8  # characters of several bytes that are not there by chance
_LONGEST_CHARACTER = 4  # bytes; the last one may be cut
_LONGEST = 2**22  # characters of a unit; what is longer has lost its end

_UNIT = re.compile(r"<((?:[\w.-]+:)?tu)(?=[\s>/])")
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
# names of encodings that are used for what has more characters
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949", "iso-8859-1": "cp1252"}
# scripts that are written without blanks between words
_RUNNING = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclass(frozen=True)
class TmxBlock:
    """Units as text."""

    line: int
    size: int
    file: str
    units: list[str]
    namespaces: str  # what the root element declares
    languages: tuple[str, str]

    def rows(self) -> Rows:
        """Parse each unit; the inline codes of its segments are left out and counted."""
        pairs, codes = [], 0
        for unit in self.units:
            pair, count = self._pair(unit)
            pairs.append(pair)
            codes += count
        return TextBlock(self.line, self.size, self.file, pairs, {INLINE_CODES: codes} if codes else {}).rows()

    def _pair(self, unit: str) -> tuple[Pair | str, int]:
        """Both sides or what is wrong with the unit, and the number of codes in them."""
        try:
            (element,) = ElementTree.fromstring(f"<r{self.namespaces}>{_REFERENCE.sub(_character, unit)}</r>")
        except (ElementTree.ParseError, ValueError) as error:
            return f"not XML: {error}", 0
        segments = list(_segments(element))
        sides: list[str] = []
        codes = 0
        for language in self.languages:
            found = match_language([code for code, _ in segments], language)
            if found is None:
                there = ", ".join(dict.fromkeys(code for code, _ in segments)) or "none"
                return f"no segment in {language} (languages: {there})", 0
            segment = next(segment for code, segment in segments if code == found)
            sides.append(_text(segment))
            codes += sum(_name(child) in _CODES for child in segment.iter())
        return (sides[0], sides[1]), codes


@dataclass(frozen=True)
class Tmx(FromFile):
    """Segments of the two languages of each unit, whatever their region (`en` finds `en-GB`)."""

    languages: tuple[str, str]

    def check(self) -> None:
        """Look for a unit with both languages. Raises DataError if there is none."""
        self.data.check_there()
        languages: set[str] = set()
        block = None
        for block in self.blocks():
            rows = block.rows()
            if any(source and target for source, target in zip(rows.sources, rows.targets, strict=True)):
                return
            languages |= {code for unit in block.units for code in re.findall(r"lang\s*=\s*[\"']([^\"']*)", unit)}
        if block is None:
            raise DataError(f"{self.name}: no translation unit (tu) in it", "is it TMX?")
        raise DataError(
            f"{self.name}: no unit has text in {' and '.join(self.languages)}"
            f" (languages: {', '.join(sorted(languages)) or 'none'})",
            "name the languages as the file does: -s LANG -t LANG",
        )

    def digest(self) -> str:
        """Sha256 of the file, and the languages."""
        return f"{self.data.digest()} {self.languages}"

    def blocks(self) -> Iterator[TmxBlock]:
        """All units."""
        text = self._text()
        head = next(text, "")
        root = re.search(r"<(?:[\w.-]+:)?tmx\b([^>]*)>", head)
        if root is None:
            raise DataError(f"{self.name}:1: not XML with a tmx element", "is it TMX?")
        namespaces = "".join(_NAMESPACE.findall(root[1]))
        units, line = self._units(head[root.end() :], text), 1
        while chunk := list(islice(units, _BLOCK)):
            yield TmxBlock(line, len(chunk), self.name, chunk, namespaces, self.languages)
            line += len(chunk)

    def _text(self) -> Iterator[str]:
        """The characters of the file, by its byte order mark, else by its declaration; what is none is U+FFFD."""
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
            except (LookupError, AttributeError):
                raise DataError(f"{self.name}: its encoding {encoding} is not known", "convert it to UTF-8") from None
            while chunk := file.read(_CHUNK):
                yield _NO_XML.sub("\ufffd", decoder.decode(chunk))
            yield _NO_XML.sub("\ufffd", decoder.decode(b"", final=True))

    def _units(self, text: str, more: Iterator[str]) -> Iterator[str]:
        """Each unit from its first tag to its last; one that the next one cuts off comes as far as it goes."""
        ended = False
        while True:
            begin = _UNIT.search(text)
            if begin is None:
                rest = next(more, None)
                ended = ended or ("</" in text and re.search(r"</(?:[\w.-]+:)?tmx\s*>", text) is not None)
                if rest is None:
                    break
                text = text[-100:] + rest
                continue
            text = text[begin.start() :]
            last = f"</{begin[1]}"
            end = re.compile(rf"{re.escape(last)}\s*>|<{re.escape(begin[1])}(?=[\s>/])|</(?:[\w.-]+:)?body\s*>")
            searched = len(begin[0])
            while (found := end.search(text, searched)) is None:
                searched = max(len(begin[0]), len(text) - 100)
                if len(text) > _LONGEST or (rest := next(more, None)) is None:
                    raise self._cut_short()
                text += rest
            stop = found.end() if found[0].startswith(last) else found.start()
            yield text[:stop]
            text = text[stop:]
        if not ended:
            raise self._cut_short()

    def _cut_short(self) -> DataError:
        return DataError(f"{self.name}: not XML to its end: it is cut short", "copy or download it again")


def _is_utf8(start: bytes) -> bool:
    """Whether text whose declaration can be read byte by byte is UTF-8, or was converted to it since.

    A declared UTF-16 cannot be true then, and bytes of other encodings make no UTF-8 but by chance.
    """
    text = start.decode("utf-8", "ignore")
    beyond = sum(character > "\x7f" for character in text)
    lost = len(start) - len(text.encode())
    declared = _DECLARED.match(start.lstrip())
    wide = declared is not None and declared[1].lower().startswith((b"utf-16", b"utf16", b"utf-32", b"ucs"))
    return wide or (beyond >= _CERTAIN and lost < _LONGEST_CHARACTER)


def _character(reference: re.Match[str]) -> str:
    """A reference that XML knows; what HTML knows as its character; else an ampersand that is text."""
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
    """Language and segment of each variant."""
    for variant in unit.findall("{*}tuv"):
        segment = variant.find("{*}seg")
        if segment is not None:
            yield variant.get(_LANGUAGE) or variant.get("lang") or "", segment


def _name(element: ElementTree.Element) -> str:
    """The name without a namespace."""
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element) -> str:
    """The text of a segment, with a blank for a code that stands between two words."""
    text = element.text or ""
    for child in element:
        code = _name(child) in _CODES
        inner = "" if code else _text(child)
        tail = child.tail or ""
        text += " " if code and _in_word(text[-1:]) and _in_word(tail[:1]) else ""
        text += inner + tail
    return text


def _in_word(character: str) -> bool:
    """Whether a letter or digit stands there, of a script with blanks between words."""
    return character.isalnum() and not unicodedata.name(character, "").startswith(_RUNNING)
