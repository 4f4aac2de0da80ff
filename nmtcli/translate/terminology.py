"""Terminology constraints, and the files of terms, dictionaries and phrases."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nmtcli.data.files import read_text
from nmtcli.errors import DataError, UserError
from nmtcli.translate.constraints import Phrase
from nmtcli.translate.phrases import PhraseWriter, joins_words


@dataclass(frozen=True)
class Terminology:
    """The required phrase of each source term, which is normalised by the source tokenizer."""

    phrases: dict[str, Phrase]

    @classmethod
    def of(
        cls, terms: Mapping[str, Sequence[str]], normalize: Callable[[str], str], writer: PhraseWriter
    ) -> "Terminology":
        """A terminology of source terms with alternative target terms. Raises UserError for an invalid term."""
        targets: dict[str, list[str]] = {}
        for source, alternatives in terms.items():
            if not normalize(source):
                raise UserError(f"the term {source!r} has no text", "leave it out")
            for target in alternatives:
                try:
                    writer.required([target])
                except UserError as error:
                    raise UserError(f"the term {source!r}: {error.message}", error.hint) from None
            targets.setdefault(normalize(source), []).extend(alternatives)
        return cls({source: writer.required(alternatives) for source, alternatives in targets.items()})

    def occurring(self, line: str) -> list[tuple[Phrase, int]]:
        """The phrase of each term in a normalised line, and how often the term occurs. Terms are whole words; of
        overlapping terms the first one counts, and of those with the same start the longest one.
        """
        found = Counter[str]()
        at = 0
        while at < len(line):
            term = self._term_at(line, at) if _is_edge(line, at) else None
            if term is None:
                at += 1
                continue
            found[term] += 1
            at += len(term)
        return [(self.phrases[term], times) for term, times in found.items()]

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
    """Whether there is a word boundary at this position."""
    return not (0 < at < len(line) and joins_words(line[at - 1]) and joins_words(line[at]))


def read_terms(path: Path) -> dict[str, list[str]]:
    """Read tab-separated rows of source term and target term; several rows of a term are alternatives.

    Blank lines are ignored. Raises DataError for rows that are not two terms.
    """
    terms: dict[str, list[str]] = {}
    for number, line in _lines(path):
        source, *targets = line.split("\t")
        if len(targets) != 1 or not source.strip() or not targets[0].strip():
            raise DataError(f"{path}:{number}: not source term, tab, target term", f"correct the line: {line!r}")
        terms.setdefault(source, []).append(targets[0])
    return terms


def read_dictionary(path: Path) -> dict[str, str]:
    """Read rows of source word, tab, target word; of several target words the first one counts.

    Raises DataError for rows that are not two words.
    """
    words: dict[str, str] = {}
    for number, line in _lines(path):
        source, _, target = line.partition("\t")
        if not source.strip() or not target.strip():
            raise DataError(f"{path}:{number}: not source word, tab, target word", f"correct the line: {line!r}")
        words.setdefault(source.strip(), " ".join(target.split()))
    return words


def read_phrases(path: Path) -> list[str]:
    """Read one phrase per line; blank lines are ignored."""
    return [line for _, line in _lines(path)]


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    """The lines that are not blank, with line numbers."""
    lines = read_text(path).split("\n")
    return [(number, line.removesuffix("\r")) for number, line in enumerate(lines, 1) if line.strip()]
