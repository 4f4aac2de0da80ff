"""Terms that must be translated as given, where they occur in a line."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nmtcli.errors import DataError, UserError
from nmtcli.translate.constraints import Phrase
from nmtcli.translate.phrases import PhraseWriter, joins_words


@dataclass(frozen=True)
class Terminology:
    """For each source term (as the source tokenizer normalises text) the phrase that its translation must have."""

    phrases: dict[str, Phrase]

    @classmethod
    def load(cls, path: Path, normalize: Callable[[str], str], writer: PhraseWriter) -> "Terminology":
        """Read a file of tab-separated rows: source term, target term. A term in several rows may be translated by any.

        Blank lines are left out. Raises DataError for rows that are not two terms, or terms that cannot be written.
        """
        targets: dict[str, list[str]] = {}
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                continue
            cells = line.removesuffix("\r").split("\t")
            source = normalize(cells[0])
            if len(cells) != 2 or not source:
                raise DataError(f"{path}:{number}: not a row of source term, tab, target term", f"it has {line!r}")
            try:
                writer.required([cells[1]])
            except UserError as error:
                raise DataError(f"{path}:{number}: {error.message}", error.hint) from None
            targets.setdefault(source, []).append(cells[1])
        return cls({source: writer.required(own) for source, own in targets.items()})

    def occurring(self, line: str) -> list[Phrase]:
        """The phrases for the terms in a normalised line, each once: whole words, of two that overlap the one that
        begins first, of two that begin alike the longer one.
        """
        found: dict[str, Phrase] = {}
        at = 0
        while at < len(line):
            term = self._term_at(line, at) if _is_edge(line, at) else None
            if term is None:
                at += 1
                continue
            found[term] = self.phrases[term]
            at += len(term)
        return list(found.values())

    def _term_at(self, line: str, at: int) -> str | None:
        for length in self._lengths:
            term = line[at : at + length]
            if len(term) == length and term in self.phrases and _is_edge(line, at + length):
                return term
        return None

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(term) for term in self.phrases}, reverse=True)


def _is_edge(line: str, at: int) -> bool:
    """Whether no word goes on over this place."""
    return not (0 < at < len(line) and joins_words(line[at - 1]) and joins_words(line[at]))


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text("utf-8-sig").removesuffix("\n").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read the terminology: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the terminology is not UTF-8 (byte {error.start})") from None
