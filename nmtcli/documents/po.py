"""PO files of GNU gettext: messages without a translation are filled and marked `fuzzy`, to be reviewed.

Everything else stays as it is, byte for byte.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nmtcli.documents.document import Segment, Source, has_words
from nmtcli.errors import DataError
from nmtcli.text.inline import Content, content_of, written
from nmtcli.text.spans import Scanner

_ROW = re.compile(r"[ \t]*(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d+)\])?)?[ \t]*\"((?:[^\"\\]|\\.)*)\"[ \t]*")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_CHARACTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_WRITTEN = {"\\": "\\\\", '"': '\\"', **{character: f"\\{name}" for name, character in _CHARACTERS.items()}}
_CHARSET = re.compile(r'^"Content-Type:[^"\n]*charset=(?!utf-?8\b)([\w.:-]+)', re.IGNORECASE | re.MULTILINE)
_FLAGS = re.compile(r"#,[ \t]*")
_IS_FUZZY = re.compile(r"(?:[^\n]*,)?[ \t]*fuzzy[ \t]*(?:,|\r?$)", re.MULTILINE)
_TAGS = Scanner({"tag"})


@dataclass
class _String:
    """A string of a message, and where it stands in the file: from its first quotation mark to its last one."""

    start: int
    end: int
    text: str = ""


@dataclass
class _Message:
    line: int
    start: int  # of its first keyword
    strings: dict[str, _String] = field(default_factory=dict)  # by keyword
    flags: int | None = None  # where its flags begin
    previous: int | None = None  # where its comment with the previous message begins


@dataclass(frozen=True)
class _Slot:
    """A string to fill: what is kept of each line around the text, and the number of its segment."""

    message: _Message
    string: _String
    lines: tuple[tuple[str, int | None, str], ...]


class Po:
    """A PO file."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for the first line that is not PO."""
        self._source = Source.read(path)
        self.segments: list[Segment] = []
        self._slots: list[_Slot] = []
        count = 0
        for message in self._messages():
            count += 1
            self._add(message)
        if not count:
            raise DataError(f"{path}:1: no message (msgid)", "give a PO file")

    def write(self, translations: Sequence[Content], language: str | None = None) -> bytes:
        """The file with the translations."""
        if len(translations) != len(self.segments):
            raise ValueError("one translation for each segment")
        replacements: list[tuple[int, int, str]] = []
        marked: set[int] = set()
        newline = "\r\n" if "\r\n" in self._source.text else "\n"
        for slot in self._slots:
            rows = [
                before + ("" if number is None else written(translations[number])) + after
                for before, number, after in slot.lines
            ]
            replacements.append((slot.string.start, slot.string.end, _quoted("\n".join(rows), newline)))
            message = slot.message
            if message.start not in marked:
                marked.add(message.start)
                if message.flags is not None:
                    if not _IS_FUZZY.match(self._source.text, message.flags):
                        replacements.append((message.flags, message.flags, "fuzzy, "))
                else:
                    at = message.start if message.previous is None else message.previous
                    replacements.append((at, at, f"#, fuzzy{newline}"))
        declared = _CHARSET.search(self._source.text)
        if marked and declared is not None:  # CHARSET of a template, or an encoding in which the text was ASCII
            replacements.append((*declared.span(1), "UTF-8"))
        return self._source.bytes(replacements)

    def _add(self, message: _Message) -> None:
        """The segments of a message without a translation."""
        strings = message.strings
        targets = {key: string for key, string in strings.items() if key.startswith("msgstr")}
        source = strings["msgid"].text
        if not source.strip() or any(string.text for string in targets.values()):
            return
        forms = {"msgid": self._lines(source, message.line)}
        if "msgid_plural" in strings:
            forms["msgid_plural"] = self._lines(strings["msgid_plural"].text, message.line)
        for key, string in targets.items():
            plural = "msgid_plural" in strings and (key != "msgstr[0]" or len(targets) == 1)
            self._slots.append(_Slot(message, string, forms["msgid_plural" if plural else "msgid"]))

    def _lines(self, text: str, line: int) -> tuple[tuple[str, int | None, str], ...]:
        """The lines of a message, each a segment."""
        rows: list[tuple[str, int | None, str]] = []
        for row in text.split("\n"):
            inner = row.strip()
            if not has_words(inner):
                rows.append((row, None, ""))
                continue
            before, after = row.split(inner, 1)
            rows.append((before, len(self.segments), after))
            self.segments.append(Segment(content_of(inner, _TAGS.scan(inner)), (), line))
        return tuple(rows)

    def _messages(self) -> Iterator[_Message]:
        """The messages, without the header and obsolete ones."""
        message = _Message(0, 0)
        keyword = ""
        flags = previous = None
        at = 0
        for number, line in enumerate(self._source.text.split("\n"), 1):
            start, at = at, at + len(line) + 1
            row = line.removesuffix("\r")
            stripped = row.strip()
            if not stripped or stripped.startswith("#"):
                keyword = ""
                if stripped and message.strings:
                    yield from self._whole(message)
                    message, flags, previous = _Message(0, 0), None, None
                match = _FLAGS.match(row)
                flags = start + match.end() if match else flags
                previous = start if previous is None and row.startswith("#|") else previous
                if row.startswith("#~"):  # an obsolete message, whose flags these were
                    flags = previous = None
                continue
            match = _ROW.fullmatch(row)
            if match is None or (match[1] is None and not keyword):
                raise self._mistake(number, f"not a keyword with a string: {stripped[:60]}")
            begin = start + match.start(3) - 1
            if match[1] is None:
                string = message.strings[keyword]
                string.text += _read(match[3])
                string.end = start + match.end(3) + 1
                continue
            keyword = match[1]
            if message.strings and (keyword == "msgctxt" or (keyword == "msgid" and "msgid" in message.strings)):
                yield from self._whole(message)
                message, flags, previous = _Message(0, 0), None, None
            if keyword in message.strings:
                raise self._mistake(number, f"a second {keyword} in one message")
            if keyword.startswith("msgstr") and "msgid" not in message.strings:
                raise self._mistake(number, f"{keyword} without msgid")
            if not message.strings:
                message = _Message(number, start, flags=flags, previous=previous)
                flags = previous = None
            message.strings[keyword] = _String(begin, start + match.end(3) + 1, _read(match[3]))
        if message.strings:
            yield from self._whole(message)

    def _whole(self, message: _Message) -> Iterator[_Message]:
        """The message if it is not the header. Raises DataError if it has no msgid or msgstr."""
        if "msgid" not in message.strings:
            raise self._mistake(message.line, "a message without msgid")
        if not any(keyword.startswith("msgstr") for keyword in message.strings):
            raise self._mistake(message.line, "a message without msgstr")
        yield message

    def _mistake(self, line: int, what: str) -> DataError:
        return DataError(f"{self._source.name}:{line}: {what}", "correct the file; msgfmt --check finds all mistakes")


def _read(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] == "x" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        return chr(int(escape, 8)) if escape[0] in "01234567" else _CHARACTERS.get(escape, escape)

    return _ESCAPE.sub(character, text)


def _quoted(text: str, newline: str) -> str:
    """A string of PO, a line of the file for each line of the text."""
    rows = re.findall(r"[^\n]*\n|[^\n]+", text) or [""]
    strings = ['"' + "".join(_WRITTEN.get(character, character) for character in row) + '"' for row in rows]
    return newline.join(['""', *strings] if len(strings) > 1 else strings)
