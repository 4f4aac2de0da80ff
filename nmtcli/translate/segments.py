"""The segments of a document in windows, and translations collected until a document can be written."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmtcli.data.digests import checksum
from nmtcli.documents.document import Document, Segment
from nmtcli.errors import DataError
from nmtcli.text.inline import Content, Tag
from nmtcli.translate.lines import MAX_BYTES, MAX_LINES, Prefix, Report
from nmtcli.translate.translation import Request, has_controls


@dataclass(frozen=True)
class SegmentWindow:
    """Segments that are translated together; see `Window`."""

    first: int
    segments: Sequence[Segment]
    end: Prefix
    whole_document = True

    @property
    def places(self) -> list[int]:
        """The line of each segment in the file."""
        return [segment.line for segment in self.segments]

    def requests(self, report: Report) -> list[Request | None]:
        """The request of each segment. Adds warnings to `report`."""
        for segment in self.segments:
            if has_controls(segment.text.replace("\n", " ").replace("\r", " ")):
                report.note("control-characters", segment.line)
        return [Request(one.text, content=one.content, code=one.code) for one in self.segments]


class SegmentReader:
    """Reads the segments of a document in windows. `size` is that of their text in bytes."""

    def __init__(self, document: Document, path: Path) -> None:
        self._segments = document.segments
        self._digest = checksum(path.read_bytes()).hexdigest()
        self.size = sum(len(segment.text.encode("utf-8", "replace")) for segment in self._segments)
        self._skipped = self._read = 0

    def skip(self, done: Prefix, segments: int) -> None:
        """Skip the segments of an interrupted translation. Raises DataError if the document is another one."""
        if segments and done.digest != self._digest:
            raise DataError(
                "the document is not that of the interrupted translation", "give the same document, or --overwrite"
            )
        self._skipped, self._read = segments, done.bytes

    def windows(self) -> Iterator[SegmentWindow]:
        """The segments that are left."""
        window: list[Segment] = []
        size = 0
        for number, segment in enumerate(self._segments[self._skipped :], self._skipped + 1):
            window.append(segment)
            size += len(segment.text.encode("utf-8", "replace"))
            if len(window) == MAX_LINES or size >= MAX_BYTES or number == len(self._segments):
                self._read += size
                end = Prefix(bytes=self._read, digest=self._digest)
                yield SegmentWindow(number - len(window) + 1, window, end)
                window, size = [], 0


def content_json(content: Content | None) -> Any:
    """Text with inline tags as a JSON value; null for a segment that was not translated."""
    if content is None:
        return None
    return [part if isinstance(part, str) else [part.text, part.role, part.name, part.blank] for part in content]


def collected(file: Iterable[bytes]) -> Iterator[tuple[Content, Content | None]]:
    """Source and translation of each line that was written by `content_json`."""
    for line in file:
        source, translation = (None if side is None else _content(side) for side in json.loads(line))
        yield source or (), translation


def _content(side: Iterable[Any]) -> Content:
    return tuple(part if isinstance(part, str) else Tag(*part) for part in side)
