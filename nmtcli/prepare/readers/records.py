"""Rows with named fields: where the two sides stand in one, and blocks of text taken from them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nmtcli.errors import DataError
from nmtcli.prepare.rows import INVALID_UTF8, MALFORMED, Problem, Rows

_BLOCK = 8192  # rows handed on together

Pair = tuple[Any, Any]  # both sides as found: text, if all is well


@dataclass(frozen=True)
class Sides:
    """Finds the two sides of a record: in the columns asked for, or in the usual places.

    These are `source` and `target`, the languages themselves, or both languages under `translation` as in hub data.
    """

    languages: tuple[str, str]
    columns: tuple[str, str] | None

    def find(self, record: Mapping[str, Any]) -> Pair:
        """Both sides. Raises KeyError that says which names would do."""
        nested = record.get("translation")
        usual = ("source", "target"), self.languages
        places = [(record, names) for names in ((self.columns,) if self.columns else usual)]
        if isinstance(nested, Mapping):
            places.append((nested, self.columns or self.languages))
        for place, (source, target) in places:
            if source in place and target in place:
                return place[source], place[target]
        names = " and ".join(self.columns or ("source", "target"))
        raise KeyError(f"no {names} among {', '.join(map(str, nested or record)) or 'no fields'}")

    def check(self, record: Mapping[str, Any], place: str) -> None:
        """Raises DataError unless a first record has both sides."""
        try:
            self.find(record)
        except KeyError as error:
            hint = (
                "name them for the corpus in a YAML file, columns: [NAME, NAME]; or give -s and -t as the data has them"
            )
            raise DataError(f"{place}: {error.args[0]}", hint) from None


@dataclass(frozen=True)
class TextBlock:
    """Rows that came as text already. A row that is no pair of texts is a reason in words."""

    line: int
    size: int
    file: str
    pairs: Sequence[Pair | str]

    def rows(self) -> Rows:
        """Check that both sides are text of one line."""
        found = Rows([""] * self.size, [""] * self.size)
        for index, pair in enumerate(self.pairs):
            if isinstance(pair, str):
                found.problems[index] = Problem(MALFORMED, self.file, pair, "")
            else:
                self._add(found, index, *pair)
        return found

    def _add(self, found: Rows, index: int, source: Any, target: Any) -> None:
        if not isinstance(source, str) or not isinstance(target, str):
            side, value = ("target", target) if isinstance(source, str) else ("source", source)
            reason = f"the {side} is {'missing' if value is None else type(value).__name__}, not text"
            found.problems[index] = Problem(MALFORMED, self.file, reason, str(value)[:200])
            return
        try:
            (source + target).encode("utf-8")
        except UnicodeEncodeError:
            text = f"{source} ||| {target}".encode("utf-8", "replace").decode("utf-8")
            found.problems[index] = Problem(INVALID_UTF8, self.file, "half of a surrogate pair stands alone", text)
            return
        found.line_breaks += source.count("\n") + target.count("\n")
        found.sources[index], found.targets[index] = map(_one_line, (source, target))


def _one_line(text: str) -> str:
    return text.replace("\r\n", " ").replace("\n", " ")


def text_blocks(pairs: Iterable[Pair | str], file: str) -> Iterator[TextBlock]:
    """The pairs, some thousand at a time."""
    iterator, line = iter(pairs), 1
    while chunk := list(islice(iterator, _BLOCK)):
        yield TextBlock(line, len(chunk), file, chunk)
        line += len(chunk)


def find_or_say(find: Callable[[Mapping[str, Any]], Pair], record: Any) -> Pair | str:
    """Both sides of a record, or why there are none."""
    if not isinstance(record, Mapping):
        return f"a {type(record).__name__}, not an object with fields"
    try:
        return find(record)
    except KeyError as error:
        return str(error.args[0])
