"""The interface of readers: blocks of some thousand rows, which are parsed where they are used.

A reader returns blocks in order; a block can be sent to another process and parsed there. A row that cannot be read is
kept as a problem, so that line numbers stay correct and nothing is lost silently.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nmtcli.data.files import File
from nmtcli.data.links import Links

OnProgress = Callable[[str, int, int | None], None]  # stage, pairs done, all pairs if known

MALFORMED = "malformed"
INVALID_UTF8 = "invalid-utf8"

# Counts of changes that readers make to the text
HEADER = "header-lines"  # first lines with column names
QUOTED = "quoted-cells"  # TSV cells that were quoted as in spreadsheets
INLINE_CODES = "inline-codes"  # inline elements with codes of a translation tool
TAGS = "tags"  # tags that data.cleaning.markup removes
ENTITIES = "entities"  # entities that it decodes


@dataclass(frozen=True)
class Problem:
    """A row that cannot be read: its rule, file, reason, and the text as far as it is legible."""

    rule: str
    file: str
    reason: str
    text: str


@dataclass
class Rows:
    """The text of a block: one entry per row and side, empty for a problem."""

    sources: list[str]
    targets: list[str]
    problems: dict[int, Problem] = field(default_factory=dict)  # by index in the block
    crlf_lines: int = 0  # number of CRLF line ends; the CR is dropped
    line_breaks: int = 0  # number of LF inside a text; replaced by a space
    links: Links | None = None  # word alignment of the raw texts, if the corpus has one
    lost_links: frozenset[int] = frozenset()  # rows whose links were dropped when their markup was changed
    notes: dict[str, int] = field(default_factory=dict)  # counts of changes, see above
    lines: npt.NDArray[np.int64] | None = None  # of each row, where they do not follow each other


def line_of(block: "Block", rows: Rows, index: int) -> int:
    """The line (or number of the unit or row) of a row of a block."""
    return block.line + index if rows.lines is None else int(rows.lines[index])


class Block(Protocol):
    """Consecutive rows of a corpus."""

    @property
    def line(self) -> int:
        """The line (or number of the unit or row) of its first row, from 1."""

    @property
    def size(self) -> int:
        """Number of rows."""

    @property
    def file(self) -> str:
        """The file of the rows."""

    def rows(self) -> Rows:
        """Parse the block."""


class Reader(Protocol):
    """A corpus on disk."""

    @property
    def name(self) -> str:
        """The name of the corpus in messages."""

    @property
    def files(self) -> tuple[File, ...]:
        """The files of the corpus."""

    def check(self) -> None:
        """Check the start of each file. Raises DataError."""

    def digest(self) -> str:
        """A digest of the content."""

    def blocks(self) -> Iterator[Block]:
        """All rows. Raises DataError if a file is damaged."""


def decode_lines(lines: bytes, size: int, line: int, file: str) -> tuple[list[str], dict[int, Problem], int]:
    """The lines of a block without their ends, the lines that are not UTF-8, and the number of CRLF line ends.

    Only LF ends a line. A byte order mark is dropped at the start of a file (`line` is 1).
    """
    problems: dict[int, Problem] = {}
    if line == 1:
        lines = lines.removeprefix(b"\xef\xbb\xbf")
    try:
        texts = lines.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        texts = [_decode_line(text, index, file, problems) for index, text in enumerate(lines.split(b"\n"))]
    if terminated := len(texts) > size:  # a line end after the last line leaves an empty rest
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
