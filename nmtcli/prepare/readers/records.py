"""Records with named fields: the fields of the two sides, and blocks of their texts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from nmtcli.data.files import File
from nmtcli.errors import DataError
from nmtcli.prepare.rows import HEADER, INVALID_UTF8, MALFORMED, Problem, Rows

_BLOCK = 8192  # rows of a block

Pair = tuple[Any, Any]  # the values of both sides, normally text


# Usual names of the two sides, in order of preference; the languages come after the first.
_USUAL = (("source", "target"), ("src", "tgt"), ("src", "trg"), ("source_text", "target_text"), ("text", "translation"))


@dataclass(frozen=True)
class Sides:
    """Finds the two sides of a record: in the given columns, or by usual names.

    These are `source` and `target`, the languages, both languages under `translation` as in hub data, or other usual
    names.
    """

    languages: tuple[str, str]
    columns: tuple[str, str] | None

    def find(self, record: Mapping[str, Any]) -> Pair:
        """Both sides. Raises KeyError that lists the fields."""
        nested = record.get("translation")
        for fields in (record, nested) if isinstance(nested, Mapping) else (record,):
            if (keys := self._keys(list(fields))) is not None:
                return fields[keys[0]], fields[keys[1]]
        names = " and ".join(self.columns or ("source", "target"))
        fields = nested if nested and isinstance(nested, Mapping) else record
        raise KeyError(f"no {names} among {', '.join(map(str, fields)) or 'no fields'}")

    def names(self, cells: Sequence[str]) -> tuple[int, int] | None:
        """The columns of both sides by their names; None if they are not there."""
        if (keys := self._keys(cells)) is None:
            return None
        return cells.index(keys[0]), cells.index(keys[1])

    def check(self, record: Mapping[str, Any], place: str) -> None:
        """Raise DataError unless the first record has both sides."""
        try:
            self.find(record)
        except KeyError as error:
            hint = (
                "set the columns of the corpus in a YAML file: columns: [NAME, NAME]; or give -s and -t as in the data"
            )
            raise DataError(f"{place}: {error.args[0]}", hint) from None

    def _keys(self, keys: Sequence[str]) -> tuple[str, str] | None:
        """The keys of both sides among these; given columns match exactly, usual names in any case."""
        if self.columns is not None:
            return self.columns if set(self.columns) <= set(keys) else None
        lower = {key.lower(): key for key in reversed(keys) if isinstance(key, str)}
        for source, target in (_USUAL[0], self.languages, *_USUAL[1:]):
            if source.lower() in lower and target.lower() in lower:
                return lower[source.lower()], lower[target.lower()]
        one, other = match_languages(list(lower), self.languages)
        return None if one is None or other is None else (lower[one], lower[other])


@dataclass(frozen=True)
class FileReader:
    """The base of readers of a single file with both sides."""

    data: File
    sides: Sides

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.data.name

    @property
    def files(self) -> tuple[File, ...]:
        """The one file."""
        return (self.data,)

    def digest(self) -> str:
        """SHA-256 of the file, and how its text is read."""
        return f"{type(self).__name__} {self.data.digest()} {self.sides}"


def match_languages(codes: Sequence[str], languages: tuple[str, str]) -> tuple[str | None, str | None]:
    """The codes among `codes` that match two languages, one for each: the same, else a regional variant, else the
    language of its region. `de` matches `de-AT`, and `de-AT` matches `de`, but for `pt` and `pt-BR` both are needed.
    """
    normal = [(code, code.lower().replace("_", "-")) for code in codes]
    found: list[str | None] = [None, None]
    tests: tuple[Callable[[str, str], bool], ...] = (
        str.__eq__,
        lambda code, name: code.startswith(f"{name}-"),
        lambda code, name: name.startswith(f"{code}-"),
    )
    for matches in tests:
        for side, language in enumerate(languages):
            name = language.lower().replace("_", "-")
            fits = (code for code, given in normal if code not in found and matches(given, name))
            found[side] = found[side] or next(fits, None)
    return found[0], found[1]


@dataclass(frozen=True)
class TextBlock:
    """Rows that are read already: pairs, or the error in a row."""

    line: int
    size: int
    file: str
    pairs: Sequence[Pair | str]
    notes: Mapping[str, int] = field(default_factory=dict)

    def rows(self) -> Rows:
        """Check that both sides are text, and replace line breaks."""
        parsed = Rows([""] * self.size, [""] * self.size, notes=dict(self.notes))
        for index, pair in enumerate(self.pairs):
            if isinstance(pair, str):
                reason = pair.encode("utf-8", "replace").decode()
                parsed.problems[index] = Problem(MALFORMED, self.file, reason, "")
            else:
                self._add(parsed, index, *pair)
        return parsed

    def _add(self, parsed: Rows, index: int, source: Any, target: Any) -> None:
        if not isinstance(source, str) or not isinstance(target, str):
            side, value = ("target", target) if isinstance(source, str) else ("source", source)
            reason = f"the {side} is {'missing' if value is None else type(value).__name__}, not text"
            shown = str(value)[:200].encode("utf-8", "replace").decode()
            parsed.problems[index] = Problem(MALFORMED, self.file, reason, shown)
            return
        try:
            (source + target).encode("utf-8")
        except UnicodeEncodeError:
            text = f"{source} ||| {target}".encode("utf-8", "replace").decode("utf-8")
            parsed.problems[index] = Problem(INVALID_UTF8, self.file, "not UTF-8, or a lone surrogate", text)
            return
        parsed.line_breaks += source.count("\n") + target.count("\n")
        parsed.sources[index], parsed.targets[index] = map(_one_line, (source, target))


def _one_line(text: str) -> str:
    return text.replace("\r\n", " ").replace("\n", " ")


def text_blocks(pairs: Iterable[Pair | str], file: str, first: int = 1, header: bool = False) -> Iterator[TextBlock]:
    """Blocks of some thousand pairs; the first pair is in line `first`, possibly after a `header`."""
    iterator, line = iter(pairs), first
    while chunk := list(islice(iterator, _BLOCK)):
        yield TextBlock(line, len(chunk), file, chunk, {HEADER: 1} if header and line == first else {})
        line += len(chunk)


def pair_or_error(find: Callable[[Mapping[str, Any]], Pair], record: Any) -> Pair | str:
    """Both sides of a record, or the error in it."""
    if not isinstance(record, Mapping):
        return f"a {type(record).__name__}, not an object with fields"
    try:
        return find(record)
    except KeyError as error:
        return str(error.args[0])
