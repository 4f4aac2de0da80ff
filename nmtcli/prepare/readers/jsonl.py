"""JSON Lines: one object per line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from nmtcli.errors import DataError
from nmtcli.prepare.readers.records import FileReader, Pair, Sides, TextBlock, pair_or_error
from nmtcli.prepare.rows import Rows, decode_lines


@dataclass(frozen=True)
class JsonBlock:
    """Lines of JSON, as bytes."""

    line: int
    size: int
    file: str
    lines: bytes
    sides: Sides

    def rows(self) -> Rows:
        """Parse each line."""
        texts, problems, crlf = decode_lines(self.lines, self.size, self.line, self.file)
        parsed = TextBlock(self.line, self.size, self.file, [self._parse(text) for text in texts]).rows()
        return replace(parsed, problems=parsed.problems | problems, crlf_lines=crlf)

    def _parse(self, text: str) -> Pair | str:
        if not text.strip():
            return "", ""
        try:
            return pair_or_error(self.sides.find, json.loads(text))
        except (ValueError, RecursionError) as error:
            return f"not JSON: {error}"


class JsonLines(FileReader):
    """One pair per line: `{"source": …, "target": …}`, `{"translation": {"de": …, "en": …}}` or with given keys."""

    def check(self) -> None:
        """Parse the first non-blank line. Raises DataError."""
        self.data.check()
        start = next(self.data.blocks())[0].removeprefix(b"\xef\xbb\xbf")
        number = start[: len(start) - len(start.lstrip())].count(b"\n") + 1
        first = start.lstrip().split(b"\n", 1)[0]
        try:
            record = json.loads(first)
        except (ValueError, RecursionError) as error:
            array = first.startswith(b"[")
            hint = f"each line must be a JSON object{'; jq -c .[] FILE converts an array to lines' if array else ''}"
            raise DataError(f"{self.name}:{number}: not JSON: {error}", hint) from None
        if not isinstance(record, dict):
            raise DataError(f"{self.name}:{number}: not a JSON object", 'a line is {"source": …, "target": …}')
        self.sides.check(record, f"{self.name}:{number}")

    def blocks(self) -> Iterator[JsonBlock]:
        """All lines."""
        line = 1
        for lines, count in self.data.blocks():
            yield JsonBlock(line, count, self.name, lines, self.sides)
            line += count
