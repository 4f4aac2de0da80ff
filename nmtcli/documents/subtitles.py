"""Subtitles: SubRip (.srt) and WebVTT (.vtt). Cue numbers, times and settings stay as they are.

A sentence over several cues is one segment. Its translation is divided over these cues in proportion to the length of
their text, between words.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Literal

from nmtcli.documents.division import divided
from nmtcli.documents.document import Lines, Segment, Source
from nmtcli.errors import DataError
from nmtcli.text.inline import Content, Tag, merged, partners, plain, tag

Kind = Literal["srt", "vtt"]

_TIME = {
    "srt": r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})",
    "vtt": r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})",
}
_TIMES = {kind: re.compile(rf"[ \t]*{time}[ \t]*-->[ \t]*{time}(?:[ \t][^\n]*)?\r?") for kind, time in _TIME.items()}
_TAG = {
    "srt": re.compile(r"</?[A-Za-z](?:\"[^\"\n]*\"|[^<>\"])*>|\{\\[^{}]*\}"),
    "vtt": re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.]+>"),
}
_HEADER = re.compile(r"WEBVTT(?:[ \t][^\n]*)?\r?(?:\n|$)")
_SENTENCE_END = re.compile(r"[.!?…。！？।؟։።♪♫][\"'”’»›)\]」』）】]*$")
_DASH = re.compile(r"[-–—‐][ \t]*(?=\S)")  # before the words of a speaker; not translated
_DASHES = ("-", "–", "—", "‐")
_NEW_SPEAKER = (*_DASHES, "[", "(", "♪", "♫")
_PAUSE = 2000  # milliseconds between cues that end a sentence
_MOST_CUES = 6  # of a segment, where no sentence ends
_WIDTH = 42  # characters of a line, unless the file has longer ones


@dataclass(frozen=True)
class _Piece:
    """The text of a cue, or of one speaker in it."""

    start: int  # of its text in the file
    end: int
    begin: int  # milliseconds
    until: int
    content: Content
    dash: bool  # before it, of another speaker


@dataclass(frozen=True)
class _Cue:
    begin: int  # milliseconds
    until: int
    start: int  # of its text in the file
    end: int


class Subtitles:
    """A file of subtitles."""

    def __init__(self, path: Path, kind: Kind) -> None:
        """Raises DataError for a file without cues or with a time that cannot be read."""
        self._source = Source.read(path)
        self._kind: Kind = kind
        text = self._source.text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        lines = Lines(text)
        pieces = [piece for cue in self._cues(lines) for piece in self._pieces(cue)]
        rows = (len(plain(self._content(row))) for piece in pieces for row in text[piece.start : piece.end].split("\n"))
        self._width = max(_WIDTH, *rows, 0)
        groups = ((group, _joined(group)) for group in _grouped(pieces))
        found = [(group, content) for group, content in groups if any(map(str.isalpha, plain(content)))]
        self._groups = [group for group, _ in found]
        self.segments = [Segment(content, (), lines.number(group[0].start)) for group, content in found]

    def write(self, translations: Sequence[Content], language: str | None = None) -> bytes:
        """The subtitles with the translations. A cue for which no word is left is empty."""
        replacements: list[tuple[int, int, str]] = []
        for group, segment, content in zip(self._groups, self.segments, translations, strict=True):
            if content == segment.content:
                continue
            parts = divided(content, [len(plain(piece.content)) for piece in group])
            for piece, part in zip(group, _closed(parts), strict=True):
                replacements.append((piece.start, piece.end, self._written(part)))
        return self._source.bytes(replacements)

    def _cues(self, lines: Lines) -> Iterator[_Cue]:
        name, text = self._source.name, self._source.text
        if not text.strip():
            raise DataError(f"{name}: is empty", "give a file of subtitles")
        begin = 0
        if self._kind == "vtt":
            if (header := _HEADER.match(text)) is None:
                raise DataError(f"{name}:1: the first line is not WEBVTT", "give a WebVTT file, or name it .srt")
            begin = header.end()
        form = "00:00:01,000 --> 00:00:02,500" if self._kind == "srt" else "00:00:01.000 --> 00:00:02.500"
        times: list[tuple[int, int, re.Match[str]]] = []  # where the cue begins, where its text begins, its times
        for start, stop in pairwise([*lines.starts, len(text) + 1]):
            row = text[start : stop - 1]
            if "-->" not in row or start < begin:
                continue
            if (match := _TIMES[self._kind].fullmatch(row)) is None:
                raise DataError(
                    f"{name}:{lines.number(start)}: not the times of a cue: {row.strip()[:60]}", f"write {form}"
                )
            times.append((self._head(start), min(stop, len(text)), match))
        if not times and self._kind == "srt":
            raise DataError(f"{name}:1: no cue with times", f"each cue has a line such as {form}")
        if times and self._kind == "srt" and text[: times[0][0]].strip():
            raise DataError(f"{name}:1: text before the first cue", f"each cue has a line such as {form}")
        ends = [head for head, _, _ in times[1:]] + [len(text)]
        for (_, start, match), end in zip(times, ends, strict=True):
            body = text[start:end]
            if self._kind == "vtt":  # a blank line ends a cue
                body = re.split(r"(?:^|\n)[ \t]*\r?(?:\n|$)", body, maxsplit=1)[0]
            body = body.rstrip()
            indent = len(body) - len(body.lstrip())
            groups = match.groups("0")
            yield _Cue(_milliseconds(groups[:4]), _milliseconds(groups[4:]), start + indent, start + len(body))

    def _head(self, times: int) -> int:
        """Where a cue begins: its number or name stands on the line before the times.

        A name of WebVTT comes after a blank line; other text there belongs to the cue before.
        """
        text = self._source.text
        start = text.rfind("\n", 0, max(times - 1, 0)) + 1
        row = text[start:times].strip()
        named = row.isdecimal() if self._kind == "srt" else re.search(r"\n[ \t]*\r?\n$", text[:start]) is not None
        return start if times and row and named else times

    def _pieces(self, cue: _Cue) -> Iterator[_Piece]:
        body = self._source.text[cue.start : cue.end]
        if not body:
            return
        rows = [(match.start(), match.end()) for match in re.finditer(r"[^\n]+", body)]
        rows = [(start, start + len(body[start:end].rstrip())) for start, end in rows if body[start:end].strip()]
        for start, end in self._speeches(body, rows):
            dash = _DASH.match(body, start, end)
            first = dash.end() if dash else start
            content = self._content(body[first:end])
            yield _Piece(cue.start + first, cue.start + end, cue.begin, cue.until, content, dash is not None)

    def _speeches(self, body: str, rows: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The lines of each speaker in a cue. A line with a dash is of another one where the first has a dash, too, or
        the line before ends a sentence.
        """
        texts = [plain(self._content(body[start:end])).strip() for start, end in rows]
        begin = 0
        for number, ((start, _), text) in enumerate(zip(rows, texts, strict=True)):
            others = number and (texts[0].startswith(_DASHES) or _SENTENCE_END.search(texts[number - 1]))
            if others and text.startswith(_DASHES):
                yield begin, rows[number - 1][1]
                begin = start
        yield begin, len(body)

    def _content(self, text: str) -> Content:
        """A text with its tags; line breaks become blanks."""
        parts: list[str | Tag] = []
        at = 0
        for match in _TAG[self._kind].finditer(text):
            one = _tag(match[0])
            parts += [self._read(text[at : match.start()]), " " if one.name == "br" else one]
            at = match.end()
        return merged([*parts, self._read(text[at:])])

    def _read(self, text: str) -> str:
        text = re.sub(r"[ \t]*\r?\n[ \t]*", " ", text)
        return html.unescape(text) if self._kind == "vtt" else text

    def _written(self, content: Content) -> str:
        """The lines of a cue, balanced."""
        number = ceil(len(plain(content)) / self._width)
        rows = divided(content, [1] * max(number, 1))
        return self._newline.join("".join(map(self._part, row)).strip() for row in rows if row)

    def _part(self, part: str | Tag) -> str:
        if isinstance(part, Tag):
            return part.text
        part = " ".join(part.replace("-->", "→").split("\n"))
        return html.escape(part, quote=False).replace("\u00a0", "&nbsp;") if self._kind == "vtt" else part


def _tag(text: str) -> Tag:
    if text[1:2] == "\\":  # {\an8}
        return Tag(text, "single")
    one = tag(text)
    return replace(one, name=one.name.partition(".")[0])  # </c> ends <c.red>


def _milliseconds(parts: Sequence[str]) -> int:
    hours, minutes, seconds, fraction = parts
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1000 + int(fraction.ljust(3, "0"))


def _grouped(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces of one segment: until a sentence ends, somebody else speaks, or after a pause."""
    group: list[_Piece] = []
    for piece in pieces:
        if group and not _goes_on(group, piece):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _goes_on(group: Sequence[_Piece], piece: _Piece) -> bool:
    before, text = group[-1], plain(piece.content).lstrip()
    return (
        len(group) < _MOST_CUES
        and piece.begin - before.until <= _PAUSE
        and not _SENTENCE_END.search(plain(before.content).rstrip())
        and not piece.dash
        and not text.startswith(_NEW_SPEAKER)
    )


def _joined(group: Sequence[_Piece]) -> Content:
    parts: list[str | Tag] = []
    for number, piece in enumerate(group):
        parts += [" " if number else "", *piece.content]
    return merged(parts)


def _closed(parts: Sequence[Content]) -> Iterator[Content]:
    """Each part with the tags that are open at its end closed, and open again in the next one."""
    whole = tuple(one for part in parts for one in part)
    closing = {opening: whole[end] for opening, end in partners(whole).items()}
    ends = set(partners(whole).values())
    stack: list[int] = []
    number = 0
    for part in parts:
        before = [whole[opening] for opening in stack]
        for _ in part:
            if number in closing:
                stack.append(number)
            elif number in ends:
                stack.pop()
            number += 1
        yield merged([*before, *part, *(closing[opening] for opening in reversed(stack))])
