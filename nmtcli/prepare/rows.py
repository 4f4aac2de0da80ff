"""What every reader gives: blocks of some thousand rows, cheap to make, parsed where they are used.

A reader hands out blocks in order; a block can be sent to another process and parsed there. A row that cannot be read
keeps its place, with the problem beside it, so that line numbers stay true and nothing is lost silently.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from nmtcli.data.files import File
from nmtcli.data.links import Links

OnProgress = Callable[[str, int, int | None], None]  # stage, pairs done, all pairs if known

MALFORMED = "malformed"
INVALID_UTF8 = "invalid-utf8"

# What readers note beside the text, in counts
HEADER = "header-lines"  # first lines that name columns
QUOTED = "quoted-cells"  # cells of tab-separated columns that were quoted as spreadsheets do
INLINE_CODES = "inline-codes"  # elements of another program within a text


@dataclass(frozen=True)
class Problem:
    """A row that cannot be read: which rule counts it, where, why, and the text as far as legible."""

    rule: str
    file: str
    reason: str
    text: str


@dataclass
class Rows:
    """The text of a block: one entry a row on each side, empty where there is a problem."""

    sources: list[str]
    targets: list[str]
    problems: dict[int, Problem] = field(default_factory=dict)  # by index in the block
    crlf_lines: int = 0  # line ends that were CRLF; the CR is dropped
    line_breaks: int = 0  # LF inside a text, which is no line end there; replaced by a blank
    links: Links | None = None  # between words of the raw texts, where the corpus has any
    notes: dict[str, int] = field(default_factory=dict)  # by what is counted, see above


class Block(Protocol):
    """Consecutive rows of a corpus."""

    @property
    def line(self) -> int:
        """Line (or number of the unit, or of the row) of its first row, from 1."""

    @property
    def size(self) -> int:
        """Number of rows."""

    @property
    def file(self) -> str:
        """Where the rows come from."""

    def rows(self) -> Rows:
        """Parse it."""


class Reader(Protocol):
    """A corpus as it lies on disk."""

    @property
    def name(self) -> str:
        """What the user would call it."""

    @property
    def files(self) -> tuple[File, ...]:
        """The files it reads."""

    def check(self) -> None:
        """Look at its start. Raises DataError that says what is wrong."""

    def digest(self) -> str:
        """What identifies its content."""

    def blocks(self) -> Iterator[Block]:
        """All its rows. Raises DataError where it is damaged."""


def decode_lines(lines: bytes, size: int, line: int, file: str) -> tuple[list[str], dict[int, Problem], int]:
    """The lines of a block without their ends; what is not UTF-8 is a problem; how many ended in CRLF.

    Only LF ends a line. A byte order mark is dropped at the start of a file (`line` is 1).
    """
    problems: dict[int, Problem] = {}
    if line == 1:
        lines = lines.removeprefix(b"\xef\xbb\xbf")
    try:
        texts = lines.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        texts = [_decode_line(text, index, file, problems) for index, text in enumerate(lines.split(b"\n"))]
    if terminated := len(texts) > size:  # an end after the last line leaves an empty rest
        texts.pop()
    crlf = 0
    if b"\r\n" in lines:
        ended = size if terminated else size - 1
        crlf = sum(text.endswith("\r") for text in texts[:ended])
        texts[:ended] = [text.removesuffix("\r") for text in texts[:ended]]
    return texts, problems, crlf


def _decode_line(line: bytes, index: int, file: str, problems: dict[int, Problem]) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} of the line is not UTF-8"
        problems[index] = Problem(INVALID_UTF8, file, reason, line.decode("utf-8", "replace"))
        return ""
