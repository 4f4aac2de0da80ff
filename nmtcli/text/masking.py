"""Protected spans in a translation: masked by placeholder symbols before it and put back after it, or checked."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nmtcli.text.edits import Edit, edited
from nmtcli.text.inline import Content, Violation, merged
from nmtcli.text.spans import KINDS, Kind, Scanner, Span

MOST = 9  # symbols of one kind, and so masked spans of one kind in a text

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

    content: Content
    spans: Mapping[str, Span]  # by symbol; positions are in the text before


def mask(content: Content, scanner: Scanner, code: Sequence[Span] = (), known: Collection[str] | None = None) -> Masked:
    """Replace the protected spans of the text between tags by placeholder symbols.

    `code` are spans that are known already, with positions in the text without tags. Spans stay as they are if their
    symbol is not in `known`, or if there are more than `MOST` of their kind.
    """
    parts: list[Content] = []
    spans: dict[str, Span] = {}
    names = _Names(part for part in content if isinstance(part, str))
    at = 0
    for part in content:
        if not isinstance(part, str):
            parts.append((part,))
            at += part.blank
            continue
        inside = [_moved(span, -at) for span in code if at <= span.start and span.end <= at + len(part)]
        end = 0
        for span in scanner.scan(part, inside):
            name = names.take(span.kind)
            if name is None or (known is not None and name not in known):
                continue
            parts.append((part[end : span.start], name))
            spans[name] = _moved(span, at)
            end = span.end
        parts.append((part[end:],))
        at += len(part)
    return Masked(merged(piece for one in parts for piece in one), spans)


def shared_spans(
    source: str, target: str, scanner: Scanner, kinds: Collection[Kind] = KINDS
) -> list[tuple[str, Span, Span]]:
    """The spans of these kinds that both sides of a training pair have: the symbol for both, and the span of each side.

    The symbols are numbered as `mask` numbers those of the source, and in its order.
    """
    names = _Names((source, target))
    spans = scanner.scan(target)
    shared: list[tuple[str, Span, Span]] = []
    for span in scanner.scan(source):
        same = next((one for one in spans if (one.kind, one.text) == (span.kind, span.text)), None)
        if same is None or span.kind not in kinds or (name := names.take(span.kind)) is None:
            continue
        spans.remove(same)
        shared.append((name, span, same))
    return shared


def pair_edits(shared: Sequence[tuple[str, Span, Span]]) -> tuple[list[Edit], list[Edit]]:
    """The edits of each side, in order, that put the symbols of `shared_spans` in place of the spans."""
    of_target = sorted(Edit(span.start, span.end, name) for name, _, span in shared)
    return [Edit(span.start, span.end, name) for name, span, _ in shared], of_target


def mask_pair(source: str, target: str, scanner: Scanner, kinds: Collection[Kind] = KINDS) -> tuple[str, str]:
    """Mask the spans that both sides of a training pair have, each with one symbol on both sides."""
    of_source, of_target = pair_edits(shared_spans(source, target, scanner, kinds))
    return edited(source, of_source), edited(target, of_target)


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


def unmask(content: Content, spans: Mapping[str, Span]) -> tuple[Content, list[Violation]]:
    """Put the spans of a masked text back into its translation, and say which symbols are not there exactly once.

    A symbol that the masked text does not have stays in the translation.
    """
    found = Counter[str]()

    def original(match: re.Match[str]) -> str:
        found[match[0]] += 1
        return spans[match[0]].text if match[0] in spans else match[0]

    restored = merged(_SYMBOL.sub(original, part) if isinstance(part, str) else part for part in content)
    violations = [Violation("missing", span.text) for name, span in spans.items() if not found[name]]
    violations += [Violation("repeated", spans[name].text) for name in spans if found[name] > 1]
    return restored, violations + [Violation("added", name) for name in found if name not in spans]


def span_violations(spans: Iterable[Span], translation: str) -> list[Violation]:
    """Whether the translation has the text of each protected span as often as the source, in any order.

    For translations without masks. Of spans that begin together the longest one counts, so that 5 is not found in
    5 km. A span that begins or ends with a digit is not a part of a longer number.
    """
    expected = Counter(span.text for span in spans)
    if not expected:
        return []
    choices: list[str] = []
    for text in sorted(expected, key=len, reverse=True):
        before = r"(?<!\d)" if text[0].isdigit() else ""
        after = r"(?!\d)" if text[-1].isdigit() else ""
        choices.append(f"{before}{re.escape(text)}{after}")
    found = Counter(match[0] for match in re.finditer("|".join(choices), translation))
    return [
        Violation("missing" if found[text] < count else "repeated", text)
        for text, count in expected.items()
        if found[text] != count
    ]


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by, span.kind, span.text)
