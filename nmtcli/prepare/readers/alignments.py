"""Word alignment files in Pharaoh format, as written by fast_align, eflomal and awesome-align.

Line n has the links of pair n, `0-0 1-2 …`: source word, target word, counted from 0 and delimited by spaces.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from nmtcli.data.files import File
from nmtcli.data.links import Links, count_words
from nmtcli.errors import DataError
from nmtcli.prepare.readers.lines import LinePairs, PairBlock, line_aligned
from nmtcli.prepare.rows import Rows, decode_lines

_LINK = "[0-9]{1,9}-[0-9]{1,9}"
_LINE = re.compile(rf"\s*(?:{_LINK}\s+)*(?:{_LINK}\s*)?")
_FORMAT = "each line is a word alignment in Pharaoh format, such as 0-0 1-2, counted from 0; or empty"


@dataclass(frozen=True)
class AlignedBlock(PairBlock):
    """Lines of two files and of their word alignment, as bytes."""

    alignment: str  # the file
    lines: bytes

    def rows(self) -> Rows:
        """Decode both sides and parse the links. Raises DataError for the first line that is not valid."""
        rows = super().rows()
        texts, problems, _ = decode_lines(self.lines, self.size, self.line, self.alignment)
        for index, problem in sorted(problems.items()):
            raise DataError(f"{self._place(index)}: {problem.reason}", _FORMAT)
        links = self._parse(texts)
        self._check(links, rows)
        return replace(rows, links=links)

    def _place(self, index: int) -> str:
        return f"{self.alignment}:{self.line + index}"

    def _parse(self, texts: list[str]) -> Links:
        for index, text in enumerate(texts):
            if not _LINE.fullmatch(text):
                wrong = next(part for part in text.split() if not re.fullmatch(_LINK, part))
                raise DataError(f"{self._place(index)}: {wrong[:40]} is not a link", _FORMAT)
        numbers = np.fromiter(map(int, " ".join(texts).replace("-", " ").split()), np.int64)
        counts = np.fromiter((text.count("-") for text in texts), np.int32, len(texts))
        return Links(numbers.reshape(-1, 2), counts)

    def _check(self, links: Links, rows: Rows) -> None:
        """Raise DataError for a link to a word that does not exist."""
        readable = np.ones(self.size, np.bool_)
        readable[list(rows.problems)] = False
        for number, (side, texts) in enumerate((("source", rows.sources), ("target", rows.targets))):
            words = np.fromiter(map(count_words, texts), np.int64, self.size)
            beyond = readable[links.pair] & (links.positions[:, number] >= words[links.pair])
            if beyond.any():
                first = int(beyond.argmax())
                index = int(links.pair[first])
                link = "-".join(map(str, links.positions[first]))
                raise DataError(
                    f"{self._place(index)}: link {link}, but the {side} has {words[index]} words",
                    "the alignment must be of these lines, with words delimited by spaces and counted from 0",
                )


@dataclass(frozen=True)
class AlignedLines(LinePairs):
    """Two text files and their word alignment, line by line."""

    alignment: File

    @property
    def files(self) -> tuple[File, ...]:
        """All three files."""
        return (self.source, self.target, self.alignment)

    def digest(self) -> str:
        """SHA-256 of all files."""
        return f"{super().digest()} {self.alignment.digest()}"

    def blocks(self) -> Iterator[AlignedBlock]:
        """Blocks with the same lines of all three. Raises DataError if their numbers of lines differ."""
        pairs = ((block, block.size) for block in super().blocks())
        hint = "line n of an alignment file has the links of pair n, or is empty"
        for block, size, lines in line_aligned(pairs, self.source, self.alignment, hint):
            yield AlignedBlock(block.line, size, block.files, block.sides, self.alignment.name, lines)
