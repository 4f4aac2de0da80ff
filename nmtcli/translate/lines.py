"""Lines of text files and pipes: LF alone ends a line, and each keeps its place whatever is in it."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, NamedTuple

import xxhash
from pydantic import Field, StrictBool, StrictStr, ValidationError

from nmtcli.config.section import Section
from nmtcli.errors import DataError
from nmtcli.translate.translation import Request, has_controls

InputFormat = Literal["auto", "text", "jsonl"]

# A window is read, sorted by length and translated before what comes after it. What is in it depends on the text alone.
MOST_LINES = 1000
MOST_BYTES = 2**18
LONGEST = 2**20  # bytes of a line that is still taken for one
_CHUNK = 2**16
_LIKE_JSON = re.compile(r'\s*(\[\s*)?\{\s*"[^"]*"\s*:|\s*\[\s*$')  # an object, an array of them, or where one begins


class Prefix(Section):
    """The beginning of a file: how many bytes, and their xxh3-128 in hexadecimal."""

    bytes: int = 0
    digest: str = xxhash.xxh3_128().hexdigest()


class Tally(NamedTuple):
    """How many lines something is true of, and the number of the first one, from 1."""

    lines: int
    first: int


@dataclass
class Report:
    """What was found in lines."""

    found: dict[str, Tally] = field(default_factory=dict)

    def note(self, what: str, line: int) -> None:
        """One more line; they come in order."""
        self.add({what: Tally(1, line)})

    def add(self, found: Mapping[str, Tally]) -> None:
        """What was found in lines after these."""
        for what, tally in found.items():
            before = self.found.get(what, Tally(0, tally.first))
            self.found[what] = Tally(before.lines + tally.lines, before.first)


@dataclass(frozen=True)
class Window:
    """Lines that are translated together."""

    first: int  # number of the first one, from 1
    lines: list[bytes]  # without LF
    jsonl: bool
    end: Prefix  # the input up to here

    def requests(self, report: Report) -> list[Request | None]:
        """What each line asks for; None for one that cannot be read. `report` is told of everything odd."""
        if self.first == 1 and not self.jsonl:
            filled = _first_filled(self.lines)
            if _LIKE_JSON.match(_decoded(filled)):
                report.note("json", 1 + self.lines.index(filled))
        return [self._request(number, raw, report) for number, raw in enumerate(self.lines, self.first)]

    def _request(self, number: int, raw: bytes, report: Report) -> Request | None:
        if len(raw) > LONGEST:
            report.note("overlong", number)
            return None
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.removesuffix(b"\r")
        text = raw.decode("utf-8", "replace")
        if "\ufffd" in text and text.encode() != raw:
            report.note("invalid-utf8", number)
        request = parse_json(text) if self.jsonl else Request(text)
        if self.jsonl and not text.strip():
            request = Request("")
        if request is None:
            report.note("malformed", number)
        elif has_controls(request.source):
            report.note("control-characters", number)
        if request is not None and _misspelt(request.extra):
            report.note("misspelt", number)
        return request


def parse_json(line: str) -> Request | None:
    """The request in a line of JSON: an object with text under `source`, or another of the usual names; None for
    anything else.

    Under `prefix`, `required`, `banned` and `placeholders` stands what is asked of the translation, as in `Request`.
    All keys but `source` are handed through.
    """
    record = _json_object(line)
    if record is None or (source := _source_key(record)) is None:
        return None
    try:
        own = _Asked.model_validate({key: record[key] for key in _Asked.model_fields if record.get(key) is not None})
    except ValidationError:
        return None
    required = [_text(one) if isinstance(one, str) else [_text(text) for text in one] for one in own.required]
    banned = [_text(text) for text in own.banned]
    extra = {key: value for key, value in record.items() if key != "source"}
    return Request(_text(record[source]), extra, _text(own.prefix), required, banned, own.placeholders)


# What the text to be translated is called, in the order it is looked for.
_SOURCES = ("source", "src", "text", "sentence", "input")


class _Asked(Section):
    """What a JSON line asks of its translation."""

    prefix: StrictStr = ""
    required: list[StrictStr | list[StrictStr]] = Field(default_factory=list)
    banned: list[StrictStr] = Field(default_factory=list)
    placeholders: StrictBool = False


def _source_key(record: Mapping[str, Any]) -> str | None:
    """The key of the text to be translated."""
    texts = {key.lower(): key for key in reversed(list(record)) if isinstance(record[key], str)}
    exact = next((name for name in _SOURCES if isinstance(record.get(name), str)), None)
    return exact or next((texts[name] for name in _SOURCES if name in texts), None)


def _misspelt(keys: Iterable[str]) -> bool:
    """Whether a key is nearly one that asks something of the translation."""
    asked = [*_Asked.model_fields]
    return any(key not in asked and difflib.get_close_matches(key.lower(), asked, cutoff=0.8) for key in keys)


def _json_object(line: str) -> dict[str, Any] | None:
    """A JSON object."""
    try:
        record = json.loads(line, strict=False, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _text(text: str) -> str:
    """JSON may hold lone halves of characters: U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _decoded(line: bytes) -> str:
    return line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


def _first_filled(lines: list[bytes]) -> bytes:
    """The first line that is not blank, if there is any."""
    return next((line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()), b"")


class LineReader:
    """Reads lines from a byte stream in windows, so that memory does not grow with the input."""

    def __init__(self, stream: BinaryIO, form: InputFormat = "auto") -> None:
        """`form` auto is JSON lines where the first filled line is an object with text under a usual name."""
        self._stream, self._form = stream, form
        self._position, self._digest = 0, xxhash.xxh3_128()
        self._lines = 0

    def windows(self, wait: bool = True) -> Iterator[Window]:
        """Windows as full as they may be; not waiting, each has the lines that have come."""
        window: list[bytes] = []
        size = 0
        for line in self._read():
            if line is not None:
                window.append(line)
                size += len(line)
            if window and (len(window) == MOST_LINES or size >= MOST_BYTES or (line is None and not wait)):
                yield self._window(window)
                window, size = [], 0
        if window:
            yield self._window(window)

    def skip(self, done: Prefix, lines: int) -> None:
        """Pass over what was read before. Raises DataError if the input begins otherwise."""
        start = b""
        while self._position < done.bytes and (
            chunk := self._stream.read1(min(_CHUNK, done.bytes - self._position))  # type: ignore[attr-defined]
        ):
            if len(start) <= LONGEST:
                start += chunk
            self._take(chunk)
        if self._prefix() != done:
            raise DataError("the input is not the one this translation was begun with", "begin again without --resume")
        self._lines = lines
        if lines:
            self._detect(_first_filled(start.split(b"\n")))

    def _window(self, lines: list[bytes]) -> Window:
        if self._lines == 0:
            self._detect(_first_filled(lines))
        self._lines += len(lines)
        return Window(self._lines - len(lines) + 1, lines, self._form == "jsonl", self._prefix())

    def _detect(self, line: bytes) -> None:
        if self._form == "auto":
            text = _decoded(line)
            record = _json_object(text) if text.lstrip().startswith("{") else None
            self._form = "text" if record is None or _source_key(record) is None else "jsonl"

    def _read(self) -> Iterator[bytes | None]:
        """Lines without their LF, and None where what comes next may have to be waited for.

        Of a line that is longer than LONGEST there is one byte more than that, to know it by.
        """
        rest = b""
        open_line = False  # whether the input has ended within a line
        while chunk := self._stream.read1(_CHUNK):  # type: ignore[attr-defined]
            *ended, last = chunk.split(b"\n")
            for part in ended:
                self._take(part + b"\n")
                yield (rest + part)[: LONGEST + 1]
                rest = b""
            yield None
            self._take(last)
            rest += last[: LONGEST + 1 - len(rest)]
            open_line = bool(rest)
        if open_line:
            yield rest

    def _take(self, data: bytes) -> None:
        self._position += len(data)
        self._digest.update(data)

    def _prefix(self) -> Prefix:
        return Prefix(bytes=self._position, digest=self._digest.hexdigest())
