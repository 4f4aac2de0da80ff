"""TMX, the translation memory exchange format: units of segments in several languages."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from nmtcli.errors import DataError
from nmtcli.prepare.files import FromFile
from nmtcli.prepare.readers.records import Pair, TextBlock, text_blocks

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_CODES = {"bpt", "ept", "it", "ph", "ut"}  # inline elements that hold codes of another program, not text


@dataclass(frozen=True)
class Tmx(FromFile):
    """Segments of the two languages of each unit, whatever their region (`en` finds `en-GB`)."""

    languages: tuple[str, str]

    def check(self) -> None:
        """Look for the first unit. Raises DataError if there is none, or without both languages."""
        self.data.check()
        for unit in self._units():
            found = list(_segments(unit))
            if not all(_matching(found, language) for language in self.languages):
                there = ", ".join(sorted(language for language, _ in found)) or "none"
                raise DataError(
                    f"{self.name}: its first unit has no {' and '.join(self.languages)} (languages: {there})",
                    "name the languages as the file does: -s LANG -t LANG",
                )
            return
        raise DataError(f"{self.name}: no translation unit (tu) in it", "is it TMX?")

    def digest(self) -> str:
        """Sha256 of the file, and the languages."""
        return f"{self.data.digest()} {self.languages}"

    def blocks(self) -> Iterator[TextBlock]:
        """All units; a segment's inline codes are left out."""
        return text_blocks(map(self._pair, self._units()), self.name)

    def _pair(self, unit: ElementTree.Element) -> Pair | str:
        segments = list(_segments(unit))
        source, target = (_matching(segments, language) for language in self.languages)
        if source is None or target is None:
            return f"no segment in {self.languages[0] if source is None else self.languages[1]}"
        return source, target

    def _units(self) -> Iterator[ElementTree.Element]:
        with self.data.readable(), self.data.open() as file:
            try:
                events = ElementTree.iterparse(file, ("start", "end"))
                _, root = next(events)
                for event, element in events:
                    if event == "end" and _name(element) == "tu":
                        yield element
                        root.clear()
                        element.clear()
                    elif event == "start" and _name(element) == "body":
                        root = element
            except ElementTree.ParseError as error:
                line, column = error.position
                raise DataError(f"{self.name}:{line}: not XML at column {column + 1}: {error}") from None


def _segments(unit: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Language and text of each segment."""
    for variant in unit.findall("{*}tuv"):
        segment = variant.find("{*}seg")
        if segment is not None:
            yield variant.get(_LANGUAGE) or variant.get("lang") or "", _text(segment)


def _name(element: ElementTree.Element) -> str:
    """The name without a namespace."""
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element) -> str:
    inner = (("" if _name(child) in _CODES else _text(child)) + (child.tail or "") for child in element)
    return (element.text or "") + "".join(inner)


def _matching(segments: list[tuple[str, str]], language: str) -> str | None:
    wanted = language.lower().replace("_", "-")
    for found, text in segments:
        name = found.lower().replace("_", "-")
        if name == wanted or name.startswith(f"{wanted}-"):
            return text
    return None
