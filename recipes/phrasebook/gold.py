"""Gold word alignments of the phrasebook.

    python recipes/phrasebook/gold.py TEXT_DIR

reads train, valid and test (.en, .ko) as `nmt demo` wrote them, and writes beside them NAME.gold, with sure links
`0-0` and possible ones `0?0` (Och and Ney 2003), and NAME.links, the sure ones alone, as `nmt prepare` takes them.

The links follow from the word lists that the sentences were made of. A Korean word has a sure link to the English word
whose translation its stem is: a noun, a verb, an adjective, a person, a number, a time, a modal. Words that have no
Korean word of their own (articles, prepositions, auxiliaries, conjunctions, the other words of an expression such as
"post office") are possible links of the word that they go with.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from nmtcli.demo import hangul, lexicon, sentences

Link = tuple[int, int]  # English word, Korean word, from 0

_ENDING = "이에요|예요|이었어요|였어요|이세요|세요|이셨어요|셨어요"
_PARTICLE = re.compile(f"(|을|를|이|가|은|는|과|와|에|에서|에게|으로|로|께|께서|께서는|보다|일에|{_ENDING})")
_BEFORE_NOUN = frozenset(lexicon.split("the a an to at in on by for with than of some any no there"))
_AUXILIARY = frozenset(lexicon.split("do does did is are am was were will to may shall have has had please there it"))
_JOINING = frozenset(lexicon.split("because if when before after while but and then that to"))
_ENGLISH_BE = ("is", "are", "am", "was", "were")


class Unit(NamedTuple):
    """An expression in both languages."""

    english: tuple[str, ...]
    korean: tuple[str, ...]
    sure: tuple[Link, ...]  # within the unit
    verb: bool = False  # its Korean goes on with an ending; else with a particle or nothing


def aligned(english: tuple[str, ...], korean: tuple[str, ...]) -> tuple[Link, ...]:
    """Word by word from the end; one English word is all of the Korean ones."""
    if len(english) == 1:
        return tuple((0, place) for place in range(len(korean)))
    count = min(len(english), len(korean))
    return tuple((len(english) - 1 - n, len(korean) - 1 - n) for n in range(count))


def unit(english: str, korean: str, verb: bool = False, sure: tuple[Link, ...] | None = None) -> Unit:
    """A unit of two texts."""
    words, parts = tuple(english.lower().split()), tuple(korean.split())
    return Unit(words, parts, aligned(words, parts) if sure is None else sure, verb)


def verb_units(forms: set[str], korean: list[hangul.Forms]) -> Iterator[Unit]:
    """A verb or adjective: each English form with each Korean stem; the words before a stem apart."""
    for form in korean:
        honored = {form.stem[:-1]} if form.honored else set()  # 드시, 드세요
        for stem in sorted({form.stem, form.open_stem, form.infinitive, form.linking, *honored}):
            *before, last = stem.split()
            for english in sorted(forms):
                head = tuple(english.lower().split())
                place = len(head) - 1 if head[0] in ("more", "take", "took") and len(head) > 1 else 0
                yield Unit(head, (last,), ((place, 0),), True)
                yield from (Unit(head, (word,), ((place, 0),)) for word in before)


def in_order(english: str, korean: str) -> Unit:
    """An expression of time or place."""
    words, parts = english.lower().split(), korean.split()
    if parts[-1] == "후에":  # in two days
        return unit(
            english,
            korean,
            sure=(*((len(words) - len(parts) + 1 + n, n) for n in range(len(parts) - 1)), (0, len(parts) - 1)),
        )
    return unit(english, korean)


@cache
def units() -> dict[str, list[Unit]]:
    """All units by their first English word."""
    found: list[Unit] = []
    for person in (*sentences.PEOPLE, sentences.WHO):
        words = person.english.lower().split()
        sure = ((0, 0), (len(words) - 1, 1)) if words[0] == "my" else None
        found.append(unit(person.english, person.korean, sure=sure))
    found += [unit("i", "제가"), unit("who", "누가"), unit("the children", "아이들")]
    for noun in lexicon.NOUNS.values():
        found += [unit(name, noun.korean) for name in sorted({noun.name, noun.bare.removeprefix("the ")})]
        if noun.unit:
            found += [unit(name, noun.counter) for name in (noun.unit, lexicon.with_s(noun.unit))]
    weather = [verb for name, verb in lexicon.WEATHER if not name]
    for verb in (*lexicon.VERBS, *lexicon.HUMBLE_VERBS.values(), *weather):
        names = {
            verb.name,
            verb.past,
            *(lexicon.inflect(verb.name, form) for form in (lexicon.with_s, lexicon.with_ing)),
        }
        names = names if verb.name != "be" else set(_ENGLISH_BE)
        forms = [
            verb.korean,
            *([verb.suppletive] if verb.suppletive else []),
            *(hangul.INSTEAD_OF_NOT[mark] for mark in verb.marks if mark in hangul.INSTEAD_OF_NOT),
        ]
        found += verb_units(names, forms)
    for name, verb in (*lexicon.STATES, *(one for one in lexicon.WEATHER if one[0])):
        found += verb_units({name}, [verb.korean, *([verb.suppletive] if verb.suppletive else [])])
    for adjective in lexicon.ADJECTIVES:
        names = {adjective.name, adjective.comparative} - {""}
        found += [unit(adjective.name, adjective.attributive)]
        found += verb_units(names, [adjective.korean]) if adjective.korean else []
    for table in (lexicon.PAST, lexicon.FUTURE, lexicon.HABIT, lexicon.NOT_HABIT, lexicon.TRANSPORT):
        found += [in_order(words.english, words.korean) for words in table]
    for words, *_ in lexicon.LOCATIONS:
        english, parts = words.english.split(), words.korean.split()
        where = english.index("front") if "front" in english else 0
        sure = ((len(english) - 1, 0), (where, 1)) if len(parts) == 2 else ((len(english) - 1, 0),)
        found.append(unit(words.english, words.korean, sure=sure))
    found += [unit(name, korean) for name, korean in lexicon.NUMBERS.items()]
    found += [unit(f"{name} thousand", lexicon.THOUSANDS[place]) for place, name in enumerate([*lexicon.NUMBERS][:10])]
    found += [unit(month, f"{place}월") for place, month in enumerate(lexicon.MONTHS, 1)]
    found += [unit(*pair.split("|")) for pair in _SMALL_WORDS.replace("\n", ";").strip(";").split(";")]
    found += [unit(*pair.split("|"), verb=True) for pair in _MODALS.replace("\n", ";").strip(";").split(";")]
    by_word = defaultdict(list)
    for one in dict.fromkeys(found):
        by_word[one.english[0]].append(one)
    return by_word


_SMALL_WORDS = """
my|제;this|이;these|이;that|그;those|그;why|왜;when|언제;where|어디;who|누구;what|무엇;how many|몇;how much|얼마;more|더
today|오늘;now|지금;together|같이;let's|우리;we|우리;cannot|못;not|못;not|안;please|주세요;when|때;before|전에;after|후에
won|원;o'clock|시;half|반;morning|오전;afternoon|오후;a|한
"""
_MODALS = """
can|수;could|수;cannot|수;can|있;could|있;cannot|못하;not|못하;cannot|못해;not|못해;not|않;not|아니;not|마;will|거;want|싶;wants|싶;wanted|싶
no|없;not|없;may|돼
"""


@cache
def comparatives() -> frozenset[str]:
    """All of them, the last word of each."""
    return frozenset(adjective.comparative.split()[-1] for adjective in lexicon.ADJECTIVES if adjective.comparative)


@cache
def counters() -> frozenset[str]:
    """The words with which things are counted, and hours."""
    return frozenset({noun.counter for noun in lexicon.NOUNS.values() if noun.countable} | {"시", "시에"})


def jamo(text: str) -> str:
    """A text whose syllables are taken apart: 갔 begins with 가."""
    return unicodedata.normalize("NFD", text)


def words(line: str) -> list[str]:
    """The words of a line without marks, in lower case."""
    return [word.strip(".,?").lower() for word in line.split()]


def fits(one: Unit, korean: list[str], at: int) -> bool:
    """Whether the Korean of a unit stands there."""
    *before, last = one.korean
    place = at + len(before)
    if place >= len(korean) or korean[at:place] != before:
        return False
    if one.verb:
        return jamo(korean[place]).startswith(jamo(last))
    return korean[place].startswith(last) and _PARTICLE.fullmatch(korean[place][len(last) :]) is not None


def align(source: str, target: str) -> tuple[set[Link], set[Link]]:
    """The sure links of a pair, and the possible ones beside them."""
    english, korean = words(source), words(target)
    there = [
        (at, one)
        for at, word in enumerate(english)
        for one in units()[word]
        if tuple(english[at : at + len(one.english)]) == one.english
        and (word not in ("do", "does", "did", "doing") or "homework" in english)
    ]
    sure, possible, used = set[Link](), set[Link](), set[int]()
    last = set[int]()
    verbs: dict[int, int] = {}  # Korean place of each verb to its English one
    place = 0
    while place < len(korean):
        word, before = korean[place], korean[place - 1] if place else ""
        special = _special(word, before, english)
        fitting = [] if special is not None else [(at, one) for at, one in there if fits(one, korean, place)]
        fitting.sort(key=lambda pair: (-len("".join(pair[1].korean)), pair[0] in used, -len(pair[1].english), pair[0]))
        if special is not None:
            (sure if special[1] else possible).update((at, place) for at in special[0])
            if special[1]:
                used |= special[0]
        if not fitting and special is None and (word in counters() or word == "더"):
            counted = {at for at, _ in there if at in last} if word != "더" else set()
            compared = {at for at, one in enumerate(english) if one in comparatives()} if word == "더" else set()
            possible |= {(at, place) for at in counted | compared}
        for at, one in fitting[:1]:
            last = {at, *(last if word in lexicon.NUMBERS.values() else ())}  # a thing, and how many
            used |= set(range(at, at + len(one.english)))
            places = range(place, place + len(one.korean))
            known = {(at + source_place, place + target_place) for source_place, target_place in one.sure}
            # take medicine and eat are one verb in Korean: either is possible
            others = {other for other in fitting[1:] if other[1].korean == one.korean and other[1].verb}
            others = {other for other in others if other[1].english != one.english}
            (possible if others else sure).update(known)
            possible |= {(other, place) for other, _ in others}
            linked = {source_place for source_place, _ in one.sure}
            for more in set(range(len(one.english))) - linked:
                possible |= {(at + more, each) for each in places}
            if one.verb:
                verbs[places[-1]] = at
            start = at
            while start and english[start - 1] in _BEFORE_NOUN:
                start -= 1
                possible |= {(start, each) for each in places}
            place = places[-1]
        place += 1
    for target_place, at in verbs.items():
        possible |= {(n, target_place) for n, word in enumerate(english) if word in _JOINING}
        earlier = max((other for other in verbs.values() if other < at), default=-1)
        possible |= {(n, target_place) for n in range(earlier + 1, at) if english[n] in _AUXILIARY}
    return sure, possible - sure


def _special(word: str, before: str, english: list[str]) -> tuple[set[int], bool] | None:
    """English places of a Korean word whose meaning its neighbour decides, and whether they are sure."""

    def of(*forms: str) -> set[int]:
        return {place for place, one in enumerate(english) if one in forms}

    if before.endswith("고") and word[0] in "있계":
        return (of(*_ENGLISH_BE), len(of(*_ENGLISH_BE)) == 1)
    if before.endswith("야") and word[0] in "하해했할" and of("have", "has", "had"):
        return (of("have", "has", "had", "to"), False)
    if before == "싶어":
        return (of("want", "wants", "wanted", "to"), False)
    if word == "것을":
        return (of("to", "like", "likes", "liked"), False)
    if (digits := re.match(r"[\d,]+", word)) and not word.endswith("월"):
        times = [place for place, one in enumerate(english) if re.fullmatch(r"\d+:\d+", one)]
        return ({*times} if times else of(digits[0]), True)
    return None


def formatted(sure: set[Link], possible: set[Link]) -> str:
    """A line of the gold file, in the order of the English words."""
    links = [(link, "-") for link in sure] + [(link, "?") for link in possible]
    return " ".join(f"{source}{mark}{target}" for (source, target), mark in sorted(links))


def main() -> None:
    """Read the directory from the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python gold.py TEXT_DIR")
    directory = Path(sys.argv[1])
    for name in ("train", "valid", "test"):
        sides = [(directory / f"{name}.{end}").read_text("utf-8").split("\n")[:-1] for end in ("en", "ko")]
        links = [align(*pair) for pair in zip(*sides, strict=True)]
        count, total = (
            sum(len({at for _, at in sure}) for sure, _ in links),
            sum(len(line.split()) for line in sides[1]),
        )
        for suffix, lines in (
            ("gold", [formatted(*pair) for pair in links]),
            ("links", [formatted(sure, set()) for sure, _ in links]),
        ):
            text = "".join(f"{line}\n" for line in lines)
            (directory / f"{name}.{suffix}").write_text(text, "utf-8", newline="\n")
        print(f"{name}: {len(links)} pairs; {count / total:.1%} of {total} Korean words have a sure link")


if __name__ == "__main__":
    main()
