"""Protected spans in a translation: masked by placeholder symbols before it and put back after it, or checked."""

import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from nmtcli.text.edits import Edit
from nmtcli.text.inline import Violation
from nmtcli.text.marks import marks
from nmtcli.text.spans import KINDS, Kind, Scanner, Span
from nmtcli.text.versions import Versions

MOST = 9  # symbols of one kind, and so masked spans of one kind in a text

_LETTERS = "A-Za-z0-9\u00c0-\u024f"
_SYMBOL = re.compile(rf"__(?:{'|'.join(KINDS).upper()})(?:_[2-9])?__")


def symbol(kind: Kind, number: int) -> str:
    """The placeholder symbol of the span of this kind with this number, from 1: `__URL__`, `__URL_2__`."""
    return f"__{kind.upper()}__" if number == 1 else f"__{kind.upper()}_{number}__"


def symbols(kinds: Iterable[Kind]) -> tuple[str, ...]:
    """All placeholder symbols of these kinds, for the vocabulary of a tokenizer."""
    return tuple(symbol(kind, number) for kind in kinds for number in range(1, MOST + 1))


@dataclass(frozen=True)
class Masked:
    """A text whose protected spans are placeholder symbols, each of which stands for one span."""

    versions: Versions  # the text, and the masked text
    spans: Mapping[str, Span]  # by symbol; positions are in the text

    @property
    def text(self) -> str:
        """The masked text."""
        return self.versions.second


def mask(text: str, protected: Iterable[Span], known: Collection[str] | None = None) -> Masked:
    """Replace these spans of a text, which are in order, by placeholder symbols.

    Spans stay as they are if their symbol is not in `known`, or if there are more than `MOST` of their kind.
    """
    parts: list[tuple[str, str]] = []
    spans: dict[str, Span] = {}
    names = _Names([text])
    end = 0
    for span in protected:
        name = names.take(span.kind)
        if name is None or (known is not None and name not in known):
            continue
        between = text[end : span.start]
        parts += [(between, between), (span.text, name)]
        spans[name] = span
        end = span.end
    return Masked(Versions((*parts, (text[end:], text[end:]))), spans)


def shared_spans(
    source: str, target: str, scanner: Scanner, kinds: Collection[Kind] = KINDS
) -> list[tuple[str, Span, Span]]:
    """The spans of these kinds that both sides of a training pair have: the symbol for both, and the span of each side.

    The symbols are numbered as `mask` numbers those of the source, and in its order.
    """
    names = _Names((source, target))
    spans: dict[tuple[Kind, str], deque[Span]] = {}
    for span in scanner.scan(target):
        spans.setdefault((span.kind, span.text), deque()).append(span)
    shared: list[tuple[str, Span, Span]] = []
    for span in scanner.scan(source):
        same = spans.get((span.kind, span.text))
        if not same or span.kind not in kinds or (name := names.take(span.kind)) is None:
            continue
        shared.append((name, span, same.popleft()))
    return shared


def pair_edits(shared: Sequence[tuple[str, Span, Span]]) -> tuple[list[Edit], list[Edit]]:
    """The edits of each side, in order, that put the symbols of `shared_spans` in place of the spans."""
    of_target = sorted(Edit(span.start, span.end, name) for name, _, span in shared)
    return [Edit(span.start, span.end, name) for name, span, _ in shared], of_target


@cache
def _ends() -> tuple[str, str]:
    """The patterns of the start and the end of a word, beside which there is no combining mark."""
    return rf"(?<![{marks()}])\b", rf"\b(?![{marks()}])"


def plant(
    source: str, target: str, kinds: Sequence[Kind], drawn: Random, kept: Collection[str] = ()
) -> tuple[str, str] | None:
    """A training pair with a placeholder symbol instead of a name that both sides have, each once; None without one.

    So a model learns to translate symbols in place of which its training text has few spans. A name has an initial
    capital and is not a part of the symbols `kept`.
    """
    start, end = _ends()
    names = [re.findall(rf"{start}[^\W\d_]{{3,}}{end}", side) for side in (source, target)]
    both = [
        name
        for name in names[0]
        if name[0].isupper()
        and names[0].count(name) == names[1].count(name) == 1
        and not any(name in symbol for symbol in kept)
    ]
    if not both:
        return None
    new = symbol(drawn.choice(kinds), 1)
    if new in source or new in target:
        return None
    name = re.compile(rf"{start}{re.escape(drawn.choice(both))}{end}")
    return name.sub(new, source, count=1), name.sub(new, target, count=1)


class _Names:
    """Hands out the symbols of each kind in order, without those that the texts have themselves."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._taken = {match[0] for text in texts for match in _SYMBOL.finditer(text)}
        self._numbers = Counter[Kind]()

    def take(self, kind: Kind) -> str | None:
        """The next symbol; None after `MOST`."""
        self._numbers[kind] += 1
        while symbol(kind, self._numbers[kind]) in self._taken:
            self._numbers[kind] += 1
        return symbol(kind, self._numbers[kind]) if self._numbers[kind] <= MOST else None


def unmask(translation: str, masked: Masked) -> tuple[Versions, list[Violation]]:
    """The translation of a masked text, without and with the spans, and which symbols are not there exactly once.

    A symbol that stands for no span stays in the translation.
    """
    found = Counter[str]()
    parts: list[tuple[str, str]] = []
    end = 0
    for match in _SYMBOL.finditer(translation):
        found[match[0]] += 1
        between = translation[end : match.start()]
        parts += [(between, between), (match[0], masked.spans[match[0]].text if match[0] in masked.spans else match[0])]
        end = match.end()
    parts.append((translation[end:], translation[end:]))
    violations = [Violation("missing", span.text) for name, span in masked.spans.items() if not found[name]]
    violations += [Violation("repeated", masked.spans[name].text) for name in masked.spans if found[name] > 1]
    violations += [Violation("added", name) for name in found if name not in masked.text]
    return Versions(tuple(parts)), violations


def respelled(versions: Versions, spelling: Mapping[str, str]) -> Versions:
    """The versions with some texts of the second one, where both are the same, written in another way there."""
    if not spelling:
        return versions
    pattern = re.compile("|".join(map(whole_text, sorted(spelling, key=len, reverse=True))))
    parts: list[tuple[str, str]] = []
    for first, second in versions.parts:
        at = 0
        for match in pattern.finditer(first) if first == second else ():
            between = first[at : match.start()]
            parts += [(between, between), (match[0], spelling[match[0]])]
            at = match.end()
        parts.append((first[at:], second[at:]))
    return Versions(tuple(parts))


def with_symbols(text: str, spans: Mapping[str, Span]) -> str:
    """A text that belongs to a masked one, with the symbol in place of each span that it has."""
    names: dict[str, list[str]] = {}
    for name, span in spans.items():
        names.setdefault(span.text, []).append(name)
    if not names:
        return text
    pattern = "|".join(map(whole_text, sorted(names, key=len, reverse=True)))
    return re.sub(pattern, lambda match: names[match[0]].pop(0) if names[match[0]] else match[0], text)


def whole_text(text: str) -> str:
    """A regular expression for this text where it is not a part of a longer word or number."""
    before = rf"(?<![{_LETTERS}])" if re.match(rf"[{_LETTERS}]", text) else ""
    after = rf"(?![{_LETTERS}]|[.,:'’][{_LETTERS}])" if re.search(rf"[{_LETTERS}]$", text) else ""
    return f"{before}{re.escape(text)}{after}"


def span_violations(
    spans: Sequence[Span], translation: str, scanner: Scanner, added: Iterable[str] = ()
) -> list[Violation]:
    """Whether the translation has the text of each protected span as often as the source, in any order.

    For translations without masks. A span counts as repeated if `scanner` finds it more often, and as missing if its
    text occurs less often: of spans that begin together the longest one counts, so that 5 is not found in 5 km, and a
    span that begins or ends with a letter or digit is not a part of a longer word or number. Those in `added` may occur
    besides.
    """
    expected = Counter(span.text for span in spans)
    if not expected:
        return []
    choices = map(whole_text, sorted(expected, key=len, reverse=True))
    written = Counter(match[0] for match in re.finditer("|".join(choices), translation))
    found = Counter(span.text for span in scanner.scan(translation))
    violations = [
        Violation("missing", text) for text, count in expected.items() if max(written[text], found[text]) < count
    ]
    most = expected + Counter(added)
    return violations + [Violation("repeated", text) for text in expected if found[text] > most[text]]
