"""What all documents have in common: segments to translate, and the document with their translations."""

import bisect
import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nmtcli.data.files import File, read_text
from nmtcli.text.inline import Content, plain
from nmtcli.text.spans import Scanner, Span

_NO_WORDS = Scanner(["tag", "url", "email", "icu", "variable"])


@dataclass(frozen=True)
class Segment:
    """A paragraph, heading, table cell, message or sentence of subtitles.

    `code` are the spans of `plain(content)` that the document declares untranslatable. `line` is in the file, from 1.
    """

    content: Content
    code: tuple[Span, ...]
    line: int

    @property
    def text(self) -> str:
        """The text without tags."""
        return plain(self.content)


def has_words(text: str) -> bool:
    """Whether a text has something to translate: a letter outside of variables, tags, URLs and addresses."""
    at = 0
    for span in (*_NO_WORDS.scan(text), Span(len(text), len(text), "custom", "")):
        if any(map(str.isalpha, text[at : span.start])):
            return True
        at = span.end
    return False


class Document(Protocol):
    """A document that was read."""

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the order of the document."""

    def write(self, translations: Sequence[Content], language: str | None = None) -> bytes:
        """The document with one translation for each segment; `language` is that of the translations.

        A segment whose translation is its own content stays as it is, byte for byte.
        """


@dataclass(frozen=True)
class Source:
    """The text of a document file, with the byte order mark apart."""

    name: str
    text: str
    mark: bytes

    @classmethod
    def read(cls, path: Path) -> "Source":
        """Raises DataError for a file that cannot be read, or is not UTF-8."""
        text = read_text(path)
        with File(str(path), path).readable(), path.open("rb") as file:
            mark = codecs.BOM_UTF8 if file.read(3) == codecs.BOM_UTF8 else b""
        return cls(str(path), text, mark)

    def bytes(self, replacements: Iterable[tuple[int, int, str]]) -> bytes:
        """The file with these parts of its text, start and end, replaced."""
        parts: list[str] = []
        at = 0
        for start, end, new in sorted(replacements, key=lambda one: one[:2]):
            parts += [self.text[at:start], new]
            at = end
        return self.mark + "".join([*parts, self.text[at:]]).encode("utf-8", "replace")


class Lines:
    """Line numbers of positions in a text."""

    def __init__(self, text: str) -> None:
        self.starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]

    def number(self, position: int) -> int:
        """The line of a character, from 1."""
        return bisect.bisect_right(self.starts, position)
