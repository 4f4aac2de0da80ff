"""Terms that must be translated as given, where they occur in a line."""

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
    """For each source term (as the source tokenizer normalises text) the phrase that its translation must have."""

    phrases: dict[str, Phrase]

    @classmethod
    def of(
        cls, terms: Mapping[str, Sequence[str]], normalize: Callable[[str], str], writer: PhraseWriter
    ) -> "Terminology":
        """Source terms with the target terms of which any will do. Raises UserError for one that cannot be written."""
        targets: dict[str, list[str]] = {}
        for source, own in terms.items():
            if not normalize(source):
                raise UserError(f"the term {source!r} has no text", "leave it out")
            for target in own:
                try:
                    writer.required([target])
                except UserError as error:
                    raise UserError(f"the term {source!r}: {error.message}", error.hint) from None
            targets.setdefault(normalize(source), []).extend(own)
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


def read_terms(path: Path) -> dict[str, list[str]]:
    """A file of tab-separated rows: source term, target term. A term in several rows may be translated by any.

    Blank lines are left out. Raises DataError for rows that are not two terms.
    """
    terms: dict[str, list[str]] = {}
    for number, line in _lines(path):
        source, *targets = line.split("\t")
        if len(targets) != 1 or not source.strip() or not targets[0].strip():
            raise DataError(f"{path}:{number}: not a row of source term, tab, target term", f"it has {line!r}")
        terms.setdefault(source, []).append(targets[0])
    return terms


def read_dictionary(path: Path) -> dict[str, str]:
    """A file of source word, tab, target word; of several target words the first one counts.

    Raises DataError for rows that are not two words.
    """
    words: dict[str, str] = {}
    for number, line in _lines(path):
        source, _, target = line.partition("\t")
        if not source.strip() or not target.strip():
            raise DataError(f"{path}:{number}: not a source word, a tab and a target word")
        words.setdefault(source.strip(), " ".join(target.split()))
    return words


def read_phrases(path: Path) -> list[str]:
    """A file with a phrase on each line; blank lines are left out."""
    return [line for _, line in _lines(path)]


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    lines = read_text(path).split("\n")
    return [(number, line.removesuffix("\r")) for number, line in enumerate(lines, 1) if line.strip()]
