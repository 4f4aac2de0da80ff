"""Lines of text files and pipes: LF alone ends a line, and one comes out for each that went in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from nmtcli.translate.translator import Translation

Format = Literal["text", "tsv", "jsonl"]


@dataclass
class LineReader:
    """Reads lines from a byte stream in windows, so that memory does not grow with the input.

    What is not UTF-8 is replaced by U+FFFD and counted; the CR of CRLF is dropped; CR elsewhere and U+2028 stay.
    """

    stream: BinaryIO
    lines: int = 0
    invalid: int = 0
    first_invalid: int | None = None

    def windows(self, size: int) -> Iterator[list[str]]:
        """Lists of at most `size` lines."""
        window: list[str] = []
        for raw in self.stream:  # a binary stream is split on LF only
            window.append(self._decode(raw))
            if len(window) == size:
                yield window
                window = []
        if window:
            yield window

    def _decode(self, raw: bytes) -> str:
        self.lines += 1
        raw = raw.removesuffix(b"\n").removesuffix(b"\r")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.invalid += 1
            self.first_invalid = self.first_invalid or self.lines
            return raw.decode("utf-8", errors="replace")


def render(translation: Translation, line: int, form: Format) -> str:
    r"""What is written for input line number `line` (from 1), LF included.

    text: the translation. tsv: a row `line, score, log-probability, translation` for each candidate, or one with empty
    columns for a line without tokens. jsonl: an object a line.
    """
    if form == "text":
        return translation.text + "\n"
    if form == "tsv":
        rows = [(f"{c.score:.6f}", f"{c.log_prob:.6f}", c.text.replace("\t", " ")) for c in translation.candidates]
        return "".join("\t".join((str(line), *row)) + "\n" for row in rows or [("", "", "")])
    candidates = [{"text": c.text, "score": c.score, "log_prob": c.log_prob} for c in translation.candidates]
    record = {"line": line, "source": translation.source, "translation": translation.text, "candidates": candidates}
    return json.dumps(record, ensure_ascii=False) + "\n"
