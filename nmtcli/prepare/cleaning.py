"""Which pairs are dropped, and why: named rules in a fixed order, each counted.

A pair is dropped by the first rule it breaks; only that pair. Training pairs meet every rule. Validation pairs are
dropped only where they are not UTF-8 or empty, never for their length: scores compare only over the whole set.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from nmtcli.config import DataConfig, Section
from nmtcli.prepare.corpus import InvalidPair, SentencePair

INVALID_UTF8 = "invalid-utf8"
EMPTY = "empty"
TOO_MANY_CHARACTERS = "too-many-characters"
TOO_MANY_TOKENS = "too-many-tokens"

_EXAMPLES = 10  # kept of each rule
_EXCERPT = 80  # characters of a side shown in an example


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A pair with its ids, without BOS and EOS."""

    text: SentencePair
    source: list[int]
    target: list[int]


Pair = TypeVar("Pair", SentencePair, EncodedPair)


@dataclass(frozen=True)
class Rule(Generic[Pair]):
    """A reason to drop a pair: its name, and a check that says what is wrong (None: nothing)."""

    name: str
    broken: Callable[[Pair], str | None]


class Example(Section):
    """A dropped pair: where it stands and what is wrong with it."""

    file: str
    line: int
    reason: str
    excerpt: str


class Drops:
    """How many pairs each rule dropped, with the first few as examples. The rules in the order they are applied."""

    def __init__(self, text_rules: Sequence[Rule[SentencePair]], token_rules: Sequence[Rule[EncodedPair]] = ()) -> None:
        names = (INVALID_UTF8, *(rule.name for rule in text_rules), *(rule.name for rule in token_rules))
        self.counts = dict.fromkeys(names, 0)
        self.examples: dict[str, list[Example]] = {name: [] for name in names}

    def add(self, rule: str, file: Path, line: int, reason: str, *texts: str) -> None:
        """Count one pair."""
        self.counts[rule] += 1
        if len(self.examples[rule]) < _EXAMPLES:
            excerpt = " ||| ".join(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…" for text in texts)
            self.examples[rule].append(Example(file=str(file), line=line, reason=reason, excerpt=excerpt))


def text_rules(config: DataConfig, *, training: bool) -> list[Rule[SentencePair]]:
    """The rules that need only the text."""
    rules = [Rule[SentencePair](EMPTY, _blank)]
    if training:
        limit = config.max_characters
        rules.append(
            Rule(TOO_MANY_CHARACTERS, lambda pair: _longer(len(pair.source), len(pair.target), limit, "characters"))
        )
    return rules


def token_rules(config: DataConfig, *, training: bool) -> list[Rule[EncodedPair]]:
    """The rules that need the token ids."""
    rules = [Rule[EncodedPair](EMPTY, _nothing_left)]
    if training:
        limit = config.max_tokens
        rules.append(Rule(TOO_MANY_TOKENS, lambda pair: _longer(len(pair.source), len(pair.target), limit, "tokens")))
    return rules


def clean(
    pairs: Iterable[SentencePair | InvalidPair], rules: Sequence[Rule[SentencePair]], drops: Drops, file: Path
) -> Iterator[SentencePair]:
    """The pairs that can be read and break no rule; the others are counted in `drops`, as lines of `file`."""
    for pair in pairs:
        if isinstance(pair, InvalidPair):
            drops.add(INVALID_UTF8, pair.file, pair.line, f"byte {pair.byte} of the line is not UTF-8", pair.text)
        elif (found := _first_broken(pair, rules)) is None:
            yield pair
        else:
            drops.add(found[0], file, pair.line, found[1], pair.source, pair.target)


def clean_encoded(
    pairs: Iterable[EncodedPair], rules: Sequence[Rule[EncodedPair]], drops: Drops, file: Path
) -> list[EncodedPair]:
    """The pairs whose ids break no rule; the others are counted in `drops`, as lines of `file`."""
    kept = []
    for pair in pairs:
        if (found := _first_broken(pair, rules)) is None:
            kept.append(pair)
        else:
            drops.add(found[0], file, pair.text.line, found[1], pair.text.source, pair.text.target)
    return kept


def _first_broken(pair: Pair, rules: Sequence[Rule[Pair]]) -> tuple[str, str] | None:
    for rule in rules:
        reason = rule.broken(pair)
        if reason is not None:
            return rule.name, reason
    return None


def _blank(pair: SentencePair) -> str | None:
    for side, text in (("source", pair.source), ("target", pair.target)):
        if not text or text.isspace():
            return f"the {side} is blank"
    return None


def _nothing_left(pair: EncodedPair) -> str | None:
    """Some characters are not blank but vanish in normalisation, such as U+200B and U+FFFD."""
    for side, ids in (("source", pair.source), ("target", pair.target)):
        if not ids:
            return f"nothing is left of the {side} after normalisation"
    return None


def _longer(source: int, target: int, limit: int, unit: str) -> str | None:
    if source <= limit and target <= limit:
        return None
    side, length = ("source", source) if source > limit else ("target", target)
    return f"the {side} has {length} {unit}, {limit} are allowed"
