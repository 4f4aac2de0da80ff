"""Input lines of files and pipes, in windows. Only LF ends a line; invalid lines keep their place."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, NamedTuple

from pydantic import Field, StrictStr, ValidationError

from nmtcli.config.section import Section
from nmtcli.data.digests import checksum
from nmtcli.errors import DataError
from nmtcli.translate.translation import Request, has_controls

InputFormat = Literal["auto", "text", "jsonl"]

# Lines of a window are sorted by length and translated together. The windows depend on the text only.
MAX_LINES = 1000
MAX_BYTES = 2**18
MAX_LINE_BYTES = 2**20  # longer lines are not translated
DEEPEST = 100  # levels of a JSON line, far below what Python's recursion can write
_CHUNK = 2**16
_LIKE_JSON = re.compile(r'\s*(\[\s*)?\{\s*"[^"]*"\s*:|\s*\[\s*$')  # the start of an object, or of an array


class Prefix(Section):
    """The start of a file: number of bytes, and their xxh3-128 in hexadecimal."""

    bytes: int = 0
    digest: str = checksum().hexdigest()


class PrefixDigest:
    """The `Prefix` of what was read or written so far."""

    def __init__(self) -> None:
        self.bytes, self._digest = 0, checksum()

    def update(self, data: bytes) -> None:
        """Add what follows."""
        self.bytes += len(data)
        self._digest.update(data)

    def prefix(self) -> Prefix:
        """All that was added."""
        return Prefix(bytes=self.bytes, digest=self._digest.hexdigest())


class Tally(NamedTuple):
    """A number of lines, and the line number of the first one, from 1."""

    lines: int
    first: int


@dataclass
class Report:
    """Warnings about lines, by kind."""

    tallies: dict[str, Tally] = field(default_factory=dict)

    def note(self, kind: str, line: int) -> None:
        """Add a line; line numbers must increase."""
        self.add({kind: Tally(1, line)})

    def add(self, tallies: Mapping[str, Tally]) -> None:
        """Add the warnings of later lines."""
        for kind, tally in tallies.items():
            before = self.tallies.get(kind, Tally(0, tally.first))
            self.tallies[kind] = Tally(before.lines + tally.lines, before.first)


@dataclass(frozen=True)
class Window:
    """Lines that are translated together."""

    first: int  # line number of the first one, from 1
    lines: list[bytes]  # without LF
    jsonl: bool
    end: Prefix  # the input up to here
    begins: bool = False  # whether it has the first line that is not blank
    whole_document = False  # whether it belongs to a document that is written at the end

    @property
    def places(self) -> range:
        """The line number of each line."""
        return range(self.first, self.first + len(self.lines))

    def requests(self, report: Report) -> list[Request | None]:
        """The request of each line; None for an invalid one. Adds warnings to `report`."""
        if self.begins and not self.jsonl:
            filled = _first_filled(self.lines)
            if _LIKE_JSON.match(_decoded(filled)):
                report.note("json", self.first + self.lines.index(filled))
        return [self._request(number, raw, report) for number, raw in enumerate(self.lines, self.first)]

    def _request(self, number: int, raw: bytes, report: Report) -> Request | None:
        if len(raw) > MAX_LINE_BYTES:
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
    """The request of a JSON line: an object with text under `source` or a similar name; None for anything else.

    `prefix`, `required` and `banned` are those of `Request`. All keys except `source` are
    copied to `extra`.
    """
    record = _json_object(line)
    if record is None or (source := _source_key(record)) is None:
        return None
    try:
        given = {key: record[key] for key in _Constraints.model_fields if record.get(key) is not None}
        constraints = _Constraints.model_validate(given)
    except ValidationError:
        return None
    required = [_text(one) if isinstance(one, str) else [_text(text) for text in one] for one in constraints.required]
    banned = [_text(text) for text in constraints.banned]
    extra = {key: value for key, value in record.items() if key != "source"}
    return Request(_text(record[source]), extra, _text(constraints.prefix), required, banned)


# Names of the source text, in order of precedence.
_SOURCES = ("source", "src", "text", "sentence", "input")


class _Constraints(Section):
    """The lexical constraints of a JSON line."""

    prefix: StrictStr = ""
    required: list[StrictStr | list[StrictStr]] = Field(default_factory=list)
    banned: list[StrictStr] = Field(default_factory=list)


def _source_key(record: Mapping[str, Any]) -> str | None:
    """The key of the source text."""
    texts = {key.lower(): key for key in reversed(list(record)) if isinstance(record[key], str)}
    exact = next((name for name in _SOURCES if isinstance(record.get(name), str)), None)
    return exact or next((texts[name] for name in _SOURCES if name in texts), None)


def _misspelt(keys: Iterable[str]) -> bool:
    """Whether a key is similar to that of a constraint."""
    names = [*_Constraints.model_fields]
    return any(key not in names and difflib.get_close_matches(key.lower(), names, cutoff=0.8) for key in keys)


def _json_object(line: str) -> dict[str, Any] | None:
    """The JSON object in a line; None for anything else, also for one that is nested too deeply to be written."""
    try:
        record = json.loads(line, strict=False, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and not _is_deep(record) else None


def _is_deep(record: Any) -> bool:
    """Whether values stand in one another at more than DEEPEST levels."""
    level = [record]
    for _ in range(DEEPEST):
        nested = [value for value in level if isinstance(value, dict | list)]
        level = [item for value in nested for item in (value.values() if isinstance(value, dict) else value)]
        if not level:
            return False
    return True


def _text(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which JSON allows."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _decoded(line: bytes) -> str:
    return line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


def _first_filled(lines: list[bytes]) -> bytes:
    """The first line that is not blank; empty if there is none."""
    return next((line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()), b"")


class LineReader:
    """Reads a byte stream in windows of lines, in constant memory."""

    def __init__(self, stream: BinaryIO, form: InputFormat = "auto", wait: bool = True) -> None:
        """`form` auto is jsonl if the first line that is not blank is an object with source text.

        Windows are full; without `wait`, they have the lines that have arrived.
        """
        self._stream, self._form, self._wait = stream, form, wait
        self._consumed, self._lines = PrefixDigest(), 0
        self._begun = False  # whether a line that is not blank was read

    def windows(self) -> Iterator[Window]:
        """The lines that are left."""
        window: list[bytes] = []
        size = 0
        for line in self._read():
            if line is not None:
                window.append(line)
                size += len(line)
            if window and (len(window) == MAX_LINES or size >= MAX_BYTES or (line is None and not self._wait)):
                yield self._window(window)
                window, size = [], 0
        if window:
            yield self._window(window)

    def skip(self, done: Prefix, lines: int) -> None:
        """Skip the lines of an interrupted translation. Raises DataError if the input starts differently."""
        start = b""
        while chunk := self._stream.read1(min(_CHUNK, done.bytes - self._consumed.bytes)):  # type: ignore[attr-defined]
            if len(start) <= MAX_LINE_BYTES:
                start += chunk
            self._consumed.update(chunk)
        if self._consumed.prefix() != done:
            raise DataError(
                "the input is not that of the interrupted translation", "give the same input, or --overwrite"
            )
        self._lines = lines
        self._detect(_first_filled(start.split(b"\n")))

    def _window(self, lines: list[bytes]) -> Window:
        begins = self._detect(_first_filled(lines))
        first = self._lines + 1
        self._lines += len(lines)
        return Window(first, lines, self._form == "jsonl", self._consumed.prefix(), begins)

    def _detect(self, line: bytes) -> bool:
        """Choose the format by the first line that is not blank; False for all others."""
        if self._begun or not line:
            return False
        self._begun = True
        if self._form != "auto":
            return True
        text = _decoded(line)
        record = _json_object(text) if text.lstrip().startswith("{") else None
        self._form = "text" if record is None or _source_key(record) is None else "jsonl"
        return True

    def _read(self) -> Iterator[bytes | None]:
        """Lines without LF, and None where the next read may wait.

        A longer line is cut to MAX_LINE_BYTES + 1 bytes.
        """
        rest = b""
        open_line = False  # whether the input ended without LF
        while chunk := self._stream.read1(_CHUNK):  # type: ignore[attr-defined]
            *ended, last = chunk.split(b"\n")
            for part in ended:
                self._consumed.update(part + b"\n")
                yield (rest + part)[: MAX_LINE_BYTES + 1]
                rest = b""
            yield None
            self._consumed.update(last)
            rest += last[: MAX_LINE_BYTES + 1 - len(rest)]
            open_line = bool(rest)
        if open_line:
            yield rest
