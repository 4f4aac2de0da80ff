"""The parsed word lists of the phrasebook: nouns, verbs and adjectives with their forms in both languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from nmtcli.demo.hangul import Forms, end_in
from nmtcli.demo.words import (
    ADJECTIVES_TABLE,
    COUNT_NOUNS,
    FUTURE_TABLE,
    HABIT_TABLE,
    HUMBLE,
    LOCATIONS_TABLE,
    MASS_NOUNS,
    NAMED,
    NOT_AFTERWARDS,
    NOT_HABIT_TABLE,
    NOT_LASTING,
    NUMBERS_TABLE,
    PAST_TABLE,
    PLACES_TABLE,
    STATES_TABLE,
    TRANSPORT_TABLE,
    VERBS_TABLE,
    WEATHER_TABLE,
)

# Words that belong together: (verb, noun) or (adjective, noun), with "" where a word stands alone; and combinations,
# which have the subject in front.
Pairs = tuple[tuple[str, ...], ...]


class Words(NamedTuple):
    """English text, its Korean translation, and the related words in it."""

    english: str
    korean: str
    pairs: Pairs = ()


@dataclass(frozen=True)
class Verb:
    name: str
    past: str
    korean: Forms
    suppletive: Forms | None = None  # another verb, used of an honored person
    objects: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def of(self, honored: bool) -> Forms:
        return (self.suppletive or self.korean.honor()) if honored else self.korean

    def unmarked(self, honored: bool) -> Forms:
        """Before another verb, which carries the honorific -si- for both; only another verb stays."""
        return (self.suppletive or self.korean) if honored else self.korean


@dataclass(frozen=True)
class Noun:
    name: str
    korean: str
    kind: str
    bare: str
    unit: str = ""
    counter: str = ""

    @property
    def countable(self) -> bool:
        return bool(self.counter) and not self.unit

    @property
    def plural(self) -> bool:
        """Whether the bare form is a plural: apples, shoes."""
        return self.bare.endswith("s") and self.kind not in NAMED

    def counted(self, number: str) -> str:
        if number == "one":
            return article(f"{self.unit} of {self.name}" if self.unit else self.name)
        return f"{number} {with_s(self.unit)} of {self.name}" if self.unit else f"{number} {with_s(self.name)}"


class Adjective(NamedTuple):
    name: str
    comparative: str
    korean: Forms | None  # None for those that only stand before nouns
    attributive: str
    kinds: str


def with_s(word: str) -> str:
    """The plural of a noun, the third person of a verb."""
    if word in ("be", "have", "photo"):
        return {"be": "is", "have": "has", "photo": "photos"}[word]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "sh", "ch", "x", "o")) else "s")


def with_ing(verb: str) -> str:
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if verb in ("swim", "shop") else "") + "ing"


def inflect(verb: str, ending: Callable[[str], str]) -> str:
    """Inflect the first word: wait for, waits for."""
    first, space, rest = verb.partition(" ")
    return ending(first) + space + rest


def article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeio" or phrase.startswith("umb") else "a ") + phrase


def rows(table: str) -> Iterator[list[str]]:
    """The entries of a table, split into fields; a line that begins with a space continues the previous one."""
    for entry in table.replace("\n ", " ").replace(";", "\n").splitlines():
        if entry.strip():
            yield [field.strip() for field in entry.split("|")]


def split(field: str) -> list[str]:
    return [word.replace("_", " ") for word in field.split()]


def entries(table: str) -> Iterator[tuple[str, list[str]]]:
    """The entries of a table of nouns, each with the kind that heads its line."""
    for line in table.strip().splitlines():
        kind, _, rest = line.rpartition(": ")
        yield from ((kind, split(entry)) for entry in rest.split(","))


def read_nouns() -> dict[str, Noun]:
    nouns = [Noun(name, ko, kind, with_s(name), "", counter) for kind, (name, ko, counter) in entries(COUNT_NOUNS)]
    nouns += [Noun(name, ko, kind, name, *measure) for kind, (name, ko, *measure) in entries(MASS_NOUNS)]
    for _, (name, _, ko) in entries(PLACES_TABLE):
        nouns.append(Noun(name, ko, "y", name) if name[0].isupper() else Noun(name, ko, "l", f"the {name}"))
    return {noun.name: noun for noun in nouns}


NOUNS = read_nouns()
PREPOSITIONS = {name: preposition for _, (name, preposition, _) in entries(PLACES_TABLE)}


def of_kinds(kinds: str) -> tuple[str, ...]:
    return tuple(noun.name for noun in NOUNS.values() if noun.kind in kinds)


def expand(field: str) -> tuple[str, ...]:
    """A list of nouns, in which "+r" stands for all nouns of kind r and "tea*2" for tea, twice as likely."""
    names: list[str] = []
    for word in split(field):
        noun, _, times = word.partition("*")
        names += (of_kinds(noun[1:]) if noun[0] == "+" else (noun,)) * int(times or 1)
    return tuple(names)


def read_forms(field: str) -> tuple[Forms, Forms | None]:
    stem, infinitive, linking, *other = split(field)
    return Forms(stem, infinitive, linking), Forms(other[0], other[0][:-1] + "셔", other[0], True) if other else None


def read_verb(row: list[str]) -> Verb:
    (name, past), korean, places, marks = split(row[0]), read_forms(row[1]), split(row[3]), row[4].split()
    return Verb(name, past, *korean, expand(row[2]), tuple(places), tuple(marks))


def read_adjective(row: list[str]) -> Adjective:
    (name, *comparative), korean, kinds = split(row[0]), row[1], row[2].replace(" ", "")
    if korean.startswith("-"):
        return Adjective(name, "", None, korean[2:], kinds)
    forms, _ = read_forms(korean)
    attributive = forms.stem + "는" if forms.stem.endswith("있") else end_in(forms.linking, "ㄴ")
    return Adjective(name, comparative[0], forms, attributive, kinds)


VERBS = tuple(map(read_verb, rows(VERBS_TABLE)))
STATIVES = tuple(verb for verb in VERBS if "state" in verb.marks)
EVENTS = tuple(verb for verb in VERBS if "event" in verb.marks)
ACTIONS = tuple(verb for verb in VERBS if verb not in STATIVES + EVENTS)
REPEATED = tuple(verb for verb in ACTIONS if "once" not in verb.marks and "give" not in verb.marks)
MEANWHILE = tuple(verb for verb in REPEATED if verb.name in ("listen to", "drink", "wait for", "sing", "eat"))
MOTIONS = tuple(verb for verb in REPEATED if verb.name in ("go", "come"))
HABITS = tuple(verb for verb in REPEATED if "rare" not in verb.marks)
ASKED_ABOUT = tuple(verb for verb in REPEATED if "many" in verb.marks)
NAMED_VERBS = {verb.name: verb for verb in VERBS}
HUMBLE_VERBS = {name: replace(NAMED_VERBS[name], korean=read_forms(forms)[0]) for name, forms in HUMBLE.items()}
ADJECTIVES = tuple(map(read_adjective, rows(ADJECTIVES_TABLE)))
LOCATIONS = tuple((Words(row[0], row[1] + "에"), row[2], expand(row[3])) for row in rows(LOCATIONS_TABLE))
STATES = tuple((row[0], Verb("be", "was", *read_forms(row[1]))) for row in rows(STATES_TABLE))
WEATHER = tuple((row[1], read_verb([row[0], row[2], "", "", ""])) for row in rows(WEATHER_TABLE))
PAST, FUTURE, HABIT, NOT_HABIT = (
    tuple(Words(english, korean) for english, korean in rows(table))
    for table in (PAST_TABLE, FUTURE_TABLE, HABIT_TABLE, NOT_HABIT_TABLE)
)
TRANSPORT = tuple(Words(f"by {name}", f"{korean}로", (("", name),)) for _, (name, korean) in entries(TRANSPORT_TABLE))
# What is done with a thing that stays, what is done with it after that, and what is done at a place.
LASTING = [verb for verb in ACTIONS + EVENTS if verb.name not in split(NOT_LASTING)]
DONE_WITH = {name: [verb for verb in LASTING if name in verb.objects] for name in NOUNS}
DONE_AGAIN = [
    (name, verb, earlier)
    for name in of_kinds("wtucbgap")
    for verb in REPEATED
    for earlier in DONE_WITH[name]
    if NOUNS[name].countable and name in verb.objects and verb.name not in (*split(NOT_AFTERWARDS), earlier.name)
]
DONE_AT = {name: [verb for verb in REPEATED if name in verb.places and "to" not in verb.marks] for name in NOUNS}
NUMBERS = {name: korean for _, (name, korean) in entries(NUMBERS_TABLE)}
MONTHS = split("January February March April May June July August September October November December")
THOUSANDS = split("천 이천 삼천 사천 오천 육천 칠천 팔천 구천 만")  # from one thousand to ten
