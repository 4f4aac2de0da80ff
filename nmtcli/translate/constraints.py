"""Lexical constraints as automata over tokens: a forced prefix, required and banned phrases.

A `Constraint` is an automaton that reads the translation of one sentence. For each hypothesis it gives a `Rule` to the
search; each sentence of a batch has its own constraint, or none.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from nmtcli.models.protocol import Array, index_array
from nmtcli.vocabulary import EOS

State = Hashable


class SharedTokens(tuple[int, ...]):
    """Many tokens that rules of several hypotheses share; hashed by their number and ends, as all of them take long."""

    __slots__ = ()

    def __hash__(self) -> int:
        """A hash that is equal for equal tokens."""
        return hash((len(self), *self[:1], *self[-1:]))


@dataclass(frozen=True)
class Rule:
    """The possible next tokens of a hypothesis, and its progress."""

    may_end: bool = True
    only: int | None = None  # the only token that may follow
    forbidden: tuple[int, ...] = ()
    advancing: tuple[int, ...] = ()  # tokens that increase the progress
    confirming: tuple[int, ...] = ()  # without one of these next, progress is lost
    progress: int = 0  # number of required tokens that occur


class Constraint(Protocol):
    """An automaton over the tokens of one translation. Its states are immutable: hypotheses share them."""

    def __hash__(self) -> int: ...

    @property
    def shortest(self) -> int:
        """A length, with EOS, that is enough to satisfy it; the length limit is at least this."""

    @property
    def needed(self) -> frozenset[int]:
        """The tokens that may be needed to satisfy it."""

    def start(self) -> State:
        """The state before the first token."""

    def advance(self, state: State, token: int) -> State:
        """The state after another token."""

    def rule(self, state: State) -> Rule:
        """The rule of a state."""


@dataclass(frozen=True)
class Phrase:
    """Consecutive tokens that occur at least `least` and at most `most` times (None: no maximum).

    `arcs` are its segmentations as an automaton: from each position, the next position by token; the last position,
    len(arcs), is the end. A shorter alternative, as Hund of Hunde, may end before it, at one of `ends`. Occurrences may
    overlap. After a `whole` phrase, no token may continue its last word; after a
    `strict` one, nor may punctuation and letters or digits do so (12 and ,000), in one token or two. If `inner` is a
    position, the phrase may start there after a token that ends outside a word (`WordEdges`). `begun` are
    further pairs of a first token and the position after it, for phrases that start inside a token.
    """

    arcs: tuple[Mapping[int, int], ...]
    least: int = 1
    most: int | None = None
    whole: bool = False
    inner: int | None = None
    begun: tuple[tuple[int, int], ...] = ()
    strict: bool = False
    ends: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        spellings: Iterable[Sequence[int]],
        least: int = 1,
        most: int | None = None,
        whole: bool = False,
        strict: bool = False,
    ) -> "Phrase":
        """A phrase with these segmentations, each a sequence of tokens. Raises ValueError for none."""
        arcs: list[dict[int, int]] = [{}]
        end = -1  # placeholder of the last position
        ends: set[int] = set()
        spellings = sorted(set(map(tuple, spellings)), key=lambda spelling: (len(spelling), spelling))
        if not spellings or not spellings[0]:
            raise ValueError("a phrase without tokens")
        for spelling in spellings:
            position = 0
            for token in spelling[:-1]:
                shorter = arcs[position].get(token) == end  # a shorter segmentation ends here
                if shorter and not whole:
                    break
                if shorter:
                    ends.add(len(arcs))
                if shorter or token not in arcs[position]:
                    arcs[position][token] = len(arcs)
                    arcs.append({})
                position = arcs[position][token]
            else:
                arcs[position][spelling[-1]] = end
        last = len(arcs)
        closed = ({token: last if to == end else to for token, to in steps.items()} for steps in arcs)
        return cls(tuple(closed), least, most, whole, strict=strict, ends=frozenset(ends))

    def is_end(self, position: int) -> bool:
        """Whether the phrase, or a shorter alternative, ends at this position."""
        return position == len(self.arcs) or position in self.ends

    def segmentations(self) -> list[tuple[int, ...]]:
        """The tokens of each segmentation and alternative, the shortest first."""
        found, left = [], [((), 0)]  # type: tuple[list[tuple[int, ...]], list[tuple[tuple[int, ...], int]]]
        while left:
            tokens, position = left.pop()
            if self.is_end(position):
                found.append(tokens)
            if position < len(self.arcs):
                left += [((*tokens, token), to) for token, to in self.arcs[position].items()]
        return sorted(found, key=lambda tokens: (len(tokens), tokens))

    def remaining(self) -> list[int]:
        """The minimum number of tokens from each position to an end."""
        left = [0] * (len(self.arcs) + 1)
        for position in reversed(range(len(self.arcs))):
            if position not in self.ends:
                left[position] = 1 + min((left[to] for to in self.arcs[position].values()), default=len(self.arcs))
        return left


@dataclass(frozen=True)
class WordEdges:
    """Word boundaries of a vocabulary."""

    continuing: frozenset[int] = frozenset()  # tokens that continue the previous word
    apart: tuple[int, ...] = ()  # all others, with EOS
    opening: frozenset[int] = frozenset()  # tokens that end outside a word
    extending: frozenset[int] = frozenset()  # tokens that begin with punctuation and have letters or digits
    strictly_apart: tuple[int, ...] = ()  # `apart` without `extending`
    joining: frozenset[int] = frozenset()  # punctuation that may stand inside a word or number


@dataclass(frozen=True)
class _PhraseState:
    """A state of `Phrases`: the positions in phrases that may continue, the number of occurrences of each, and how much
    of the forced prefix was read.

    A whole phrase is counted with the token after its end; others are counted at their end.
    """

    active: frozenset[tuple[int, int]]
    counts: tuple[int, ...]
    length: int = 0


class Phrases:
    """A forced prefix, and phrases with minimum and maximum numbers of occurrences.

    It is mutable: states are numbered when they first occur. Sentences may share an instance, also in parallel batches.
    """

    def __init__(
        self, phrases: tuple[Phrase, ...] = (), edges: WordEdges = WordEdges(), prefix: tuple[int, ...] = ()
    ) -> None:
        self.phrases, self.edges, self.prefix = phrases, edges, prefix
        self._remaining = [phrase.remaining() for phrase in phrases]
        self._first: dict[int, list[tuple[int, int]]] = {}
        for number, phrase in enumerate(phrases):
            for token, to in (*phrase.arcs[0].items(), *phrase.begun):
                self._first.setdefault(token, []).append((number, to))
        self._inner = [(number, phrase.inner) for number, phrase in enumerate(phrases) if phrase.inner is not None]
        self._numbers: dict[_PhraseState, int] = {}
        self._rules: list[tuple[_PhraseState, Rule]] = []
        self._lock = Lock()

    @property
    def shortest(self) -> int:
        """See `Constraint`."""
        required = sum(phrase.least * left[0] for phrase, left in zip(self.phrases, self._remaining, strict=True))
        return 1 + len(self.prefix) + required

    @property
    def needed(self) -> frozenset[int]:
        """See `Constraint`."""
        required = (arcs for phrase in self.phrases if phrase.least for arcs in phrase.arcs)
        return frozenset(self.prefix).union(*required)

    def start(self) -> int:
        """See `Constraint`."""
        return self._number(_PhraseState(frozenset(self._inner), (0,) * len(self.phrases)))

    def advance(self, state: State, token: int) -> int:
        """See `Constraint`."""
        assert isinstance(state, int)
        reading, _ = self._rules[state]
        active, new = set(self._first.get(token, ())), Counter[int]()
        for number, position in reading.active:
            phrase = self.phrases[number]
            if position < len(phrase.arcs) and token in phrase.arcs[position]:
                active.add((number, phrase.arcs[position][token]))
            if not phrase.is_end(position):
                continue
            if phrase.strict and token in self.edges.joining:
                active.add((number, len(phrase.arcs)))  # the next token decides
            elif token not in self.edges.continuing and not (phrase.strict and token in self.edges.extending):
                new[number] += 1
        for number, position in list(active):
            phrase = self.phrases[number]
            if position == len(phrase.arcs) and not phrase.whole:
                active.remove((number, position))
                new[number] += 1
        if token in self.edges.opening:
            active.update(self._inner)
        length = min(reading.length + 1, len(self.prefix))
        counts = reading.counts  # states share it: it is as long as the list of phrases
        if new:
            counts = tuple(count + new[number] for number, count in enumerate(counts))
        return self._number(_PhraseState(frozenset(active), counts, length))

    def rule(self, state: State) -> Rule:
        """See `Constraint`."""
        assert isinstance(state, int)
        return self._rules[state][1]

    def counted(self, tokens: Iterable[int]) -> int:
        """How often the only phrase occurs in these tokens, whatever follows them."""
        state = self.start()
        for token in tokens:
            state = self.advance(state, token)
        (count,) = self._rules[state][0].counts
        return count

    def _number(self, reading: _PhraseState) -> int:
        with self._lock:
            number = self._numbers.setdefault(reading, len(self._rules))
            if number == len(self._rules):
                self._rules.append((reading, self._rule(reading)))
        return number

    def _rule(self, state: _PhraseState) -> Rule:
        end = [len(phrase.arcs) for phrase in self.phrases]
        waiting = {number for number, position in state.active if self.phrases[number].is_end(position)}
        going = [(number, position) for number, position in state.active if position < end[number]]
        # a waiting phrase counts, unless its last word continues
        counts = [count + (number in waiting) for number, count in enumerate(state.counts)]
        unmet, full, over, met = set(), set(), False, 0
        for number, (phrase, count) in enumerate(zip(self.phrases, counts, strict=True)):
            met += min(count, phrase.least) * self._remaining[number][0]
            if count < phrase.least:
                unmet.add(number)
            if phrase.most is not None and count >= phrase.most:
                full.add(number)
                over |= number in waiting and count > phrase.most
        forbidden = {
            token
            for number, position in [*going, *((number, 0) for number in full)]
            if number in full and not self.phrases[number].whole
            for token, to in self.phrases[number].arcs[position].items()
            if to == end[number]
        }
        begun = [(number, position) for number, position in going if number in unmet]
        advancing = {t for number, position in begun for t in self.phrases[number].arcs[position]}
        if not begun:
            advancing = {t for number in unmet for t in self.phrases[number].arcs[0]}
        unconfirmed = [self.phrases[number] for number in waiting if state.counts[number] < self.phrases[number].least]
        apart = self.edges.strictly_apart if any(phrase.strict for phrase in unconfirmed) else self.edges.apart
        prefix = self.prefix[state.length :]
        partial = [self._remaining[number][0] - self._remaining[number][position] for number, position in begun]
        return Rule(
            may_end=not (prefix or unmet or over),
            only=prefix[0] if prefix else None,
            forbidden=self.edges.apart if over else tuple(sorted(forbidden)),
            advancing=tuple(sorted(advancing)),
            confirming=apart if unconfirmed else (),
            progress=met + max(partial, default=0),
        )


def satisfies(constraint: Constraint, tokens: Sequence[int]) -> bool:
    """Whether a translation (ids with EOS) satisfies the constraint."""
    state = constraint.start()
    for token in tokens[:-1]:
        rule = constraint.rule(state)
        if token in rule.forbidden or rule.only not in {None, token}:
            return False
        state = constraint.advance(state, token)
    return constraint.rule(state).may_end


class Tracker:
    """The states of the constraints for the hypotheses of a batch."""

    def __init__(self, constraints: Sequence[Constraint | None], slots: int) -> None:
        """`slots` hypotheses per sentence, all in the start state."""
        self.constraints = list(constraints)
        self.states: list[list[State]] = [[one.start() if one else None] * slots for one in constraints]
        self.active = any(one is not None for one in constraints)
        self._arrays: dict[tuple[int, ...], Array] = {}

    def rule(self, row: int, slot: int) -> Rule:
        """The rule of a hypothesis."""
        constraint = self.constraints[row]
        return constraint.rule(self.states[row][slot]) if constraint else _FREE

    def progress(self, row: int, slot: int, token: int) -> int:
        """The progress of a hypothesis after another token."""
        constraint = self.constraints[row]
        if not constraint:
            return 0
        state = self.states[row][slot]
        return constraint.rule(state if token == EOS else constraint.advance(state, token)).progress

    def advance(self, rows: Sequence[int], parents: Array, tokens: Array) -> None:
        """Keep these rows, with hypotheses that continue `parents` by `tokens`, both [B', N]."""
        if not self.active:
            return
        states: list[list[State]] = []
        for row, origins, following in zip(rows, parents.tolist(), tokens.tolist(), strict=True):
            constraint, old = self.constraints[row], self.states[row]
            pairs = zip(origins, following, strict=True)
            states.append([constraint.advance(old[slot], token) if constraint else None for slot, token in pairs])
        self.constraints, self.states = [self.constraints[row] for row in rows], states
        self.active = any(one is not None for one in self.constraints)

    def places(self) -> "Places":
        """The rules of all hypotheses as places in [B, N, V]."""
        places = Places()
        for row, constraint in enumerate(self.constraints):
            for slot in range(len(self.states[row])) if constraint else ():
                rule = self.rule(row, slot)
                if len(rule.forbidden) > _MANY:
                    places.classes.append((row, slot, rule.forbidden))
                else:
                    places.forbidden.extend((row, slot, token) for token in rule.forbidden)
                places.advancing.extend((row, slot, token) for token in rule.advancing)
                if not rule.may_end:
                    places.forbidden.append((row, slot, EOS))
                if rule.only is not None:
                    places.forced.append((row, slot, rule.only))
        return places

    def array(self, tokens: tuple[int, ...], like: Array) -> Array:
        """Tokens as an array, cached for all rules that share them."""
        if tokens not in self._arrays:
            self._arrays[tokens] = index_array(tokens, like)
        return self._arrays[tokens]


_MANY = 50  # number of tokens of a rule for which an array is faster
_FREE = Rule()


@dataclass
class Places:
    """Row, hypothesis and token of forbidden, advancing and forced continuations."""

    forbidden: list[tuple[int, int, int]] = field(default_factory=list)
    advancing: list[tuple[int, int, int]] = field(default_factory=list)
    forced: list[tuple[int, int, int]] = field(default_factory=list)
    classes: list[tuple[int, int, tuple[int, ...]]] = field(
        default_factory=list
    )  # many forbidden tokens of one hypothesis


def index(places: Sequence[tuple[int, int, int]], like: Array) -> tuple[Array, Array, Array]:
    """Places as three index arrays."""
    row, slot, token = zip(*places, strict=True) if places else ((), (), ())
    return index_array(row, like), index_array(slot, like), index_array(token, like)
