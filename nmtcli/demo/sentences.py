"""Random sentences of several kinds, composed of clauses that make sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from nmtcli.demo.clauses import (
    CAN,
    CANNOT,
    COULD_NOT,
    DID,
    DID_NOT,
    DOING,
    MUST,
    NOT_NOW,
    NOTHING,
    NOW,
    WANTS,
    WILL,
    Mood,
    Nominal,
    Phrase,
    conjugate,
    english_predicate,
    join,
    say,
    subordinate,
)
from nmtcli.demo.hangul import ABSENT, EXIST, Copula, end_in, with_particle
from nmtcli.demo.lexicon import (
    ACTIONS,
    ADJECTIVES,
    ASKED_ABOUT,
    DONE_AGAIN,
    DONE_AT,
    DONE_WITH,
    EVENTS,
    FUTURE,
    HABIT,
    HABITS,
    HUMBLE_VERBS,
    LOCATIONS,
    MEANWHILE,
    MONTHS,
    MOTIONS,
    NAMED_VERBS,
    NOT_HABIT,
    NOUNS,
    NUMBERS,
    PAST,
    PREPOSITIONS,
    REPEATED,
    STATES,
    STATIVES,
    THOUSANDS,
    TRANSPORT,
    WEATHER,
    Pairs,
    Verb,
    Words,
    article,
    of_kinds,
    rows,
)
from nmtcli.demo.words import BEFORE_VERB, HINDERING, NAMED, PEOPLE_TABLE

PEOPLE = tuple(
    Nominal(en, ko, again, mark == "h", again in ("they", "we")) for en, ko, again, mark in rows(PEOPLE_TABLE)
)
OTHERS = tuple(person for person in PEOPLE if person.english not in ("I", "we", "he", "she", "they"))
YOU, IT, WHO = Nominal("you", "", "you"), Nominal("it", ""), Nominal("who", "누구")
MOODS = (
    *(NOW, NOW, NOW, NOW, DID, DID, DID, DID, DID, WILL, WILL, DOING, WANTS, MUST, CAN, Mood("past", "want")),
    *(Mood("past", "must"), Mood("present", "like"), NOT_NOW, DID_NOT, CANNOT, COULD_NOT, Mood("future", "", True)),
)


class Pair(NamedTuple):
    source: str
    target: str


class Sentence(NamedTuple):
    pair: Pair
    pairs: Pairs


def finish(words: Words, mark: str = ".") -> Sentence:
    english, korean, pairs = words
    return Sentence(Pair(english[0].upper() + english[1:] + mark, korean + mark), pairs)


class Composer:
    """Composes sentences; each method makes one kind of part or, from `statement` on, of sentence."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.pick = random.choice

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def noun_phrase(self, name: str, choices: str) -> Nominal:
        """In one of the forms `choices`: a, p(lural), d(efinite), t(his), T(hat), m(y), n(umber), j (adjective)."""
        noun, choice = NOUNS[name], self.pick(choices)
        one, several = (name, False) if noun.countable else (noun.bare, noun.plural)
        bare = Nominal(noun.bare, noun.korean, plural=noun.plural, pairs=(("", name),))
        if noun.kind in NAMED or choice == "p":
            return bare
        if choice == "j" and (adjectives := [adjective for adjective in ADJECTIVES if noun.kind in adjective.kinds]):
            adjective = self.pick(adjectives)
            english, korean = f"{adjective.name} {one}", f"{adjective.attributive} {noun.korean}"
            english = article(english) if noun.countable else english
            return Nominal(english, korean, plural=several, pairs=((adjective.name, name),))
        if choice == "n" and noun.counter:
            number = self.pick(tuple(NUMBERS)[noun.countable : 10 if noun.kind in "rfdectwbg" else 4])
            counted = f"{NUMBERS[number]} {noun.counter}"
            return replace(bare, english=noun.counted(number), plural=number != "one", counted=counted)
        determiners = {"t": ("these" if several else "this", "이 "), "T": ("those" if several else "that", "그 ")}
        determiner, korean = (determiners | {"d": ("the", ""), "m": ("my", "제 ")}).get(choice, ("", ""))
        english = f"{determiner} {one}" if determiner else article(one) if noun.countable else one
        return replace(bare, english=english, korean=korean + noun.korean, plural=several)

    def with_relative_clause(self, name: str, verb: Verb) -> Nominal:
        """A thing with a relative clause: what somebody did with it."""
        agent, time = self.pick(PEOPLE), self.pick((NOTHING, *PAST))
        english = join(f"the {name} that", agent.english, verb.past, time.english)
        done = end_in(verb.of(agent.honored).linking, "ㄴ")
        korean = join(agent.marked("이/가"), time.korean, done, NOUNS[name].korean)
        # the combination is that of whoever did it, not of the sentence's subject
        return Nominal(english, korean, pairs=((agent.english.lower(), verb.name, name),))

    def object_of(self, verb: Verb, counted: bool) -> Words:
        name = self.pick(verb.objects)
        noun = NOUNS[name]
        choices = {"become": "a", "like": "pppt", "hate": "pppt", "have": "aapj"}.get(verb.name, "")
        if not choices:
            choices = ("dddtT" if "the" in verb.marks else "aaapptjjj") + ("m" if noun.kind in "wtuc" else "")
        if counted and "many" in verb.marks:
            choices += "nn" if noun.countable else "nnnn"
        words = self.noun_phrase(name, choices)
        korean = words.marked("이/가" if "이" in verb.marks else "을/를")
        return Words(words.english, korean, ((verb.name, name), *words.pairs))

    def place_of(self, verb: Verb) -> Words:
        place = NOUNS[self.pick(verb.places)]
        english = f"{'to' if 'to' in verb.marks else PREPOSITIONS[place.name]} {place.bare}"
        if place.name == "home":
            english = "home" if "to" in verb.marks else "at home"
        particle = next((mark for mark in ("에", "으로") if mark in verb.marks), "에서")
        korean = with_particle(place.korean, "으로/로") if particle == "으로" else place.korean + particle
        return Words(english, korean, ((verb.name, place.name),))

    def phrase(self, verb: Verb, counted: bool = False, asked: Words = NOTHING) -> Phrase:
        """A verb with its object or place or both, and means of travel; `asked` replaces the object."""
        parts: list[Words] = [asked]
        if verb.objects and not asked.korean:
            parts = [self.object_of(verb, counted)]
        if verb.places and (not verb.objects or self.chance(0.3)):
            parts.append(self.place_of(verb))
        if verb in MOTIONS and self.chance(0.4):
            parts.append(self.pick(TRANSPORT[:3] if NOUNS[parts[-1].pairs[0][1]].kind == "y" else TRANSPORT))
        tail, head = [part.english for part in parts], [part.korean for part in reversed(parts)]
        return Phrase(
            verb, join(*tail), join(*head), ((verb.name, ""), *(pair for part in parts for pair in part.pairs))
        )

    def activity(self, subject: Nominal, mood: Mood) -> Phrase:
        """An activity, sometimes with or for somebody else."""
        lasting = mood in (NOW, NOT_NOW) or mood.modal in ("progressive", "can", "like")
        verbs = ACTIONS + EVENTS * 3 if mood == DID else REPEATED if lasting else ACTIONS
        verb = self.pick(HABITS if mood in (NOW, NOT_NOW) else verbs)
        phrase = self.phrase(verb, counted=not (lasting or mood.negative))
        other = self.pick([person for person in OTHERS if person != subject])
        if "give" in verb.marks:
            verb, particle = (HUMBLE_VERBS[verb.name], "께") if other.honored else (verb, "에게")
            head = f"{other.korean}{particle} {phrase.head}"
            return replace(phrase, verb=verb, tail=f"{phrase.tail} to {other.english}", head=head)
        if "social" in verb.marks and self.chance(0.25):
            head = join(with_particle(other.korean, "과/와"), phrase.head)
            return replace(phrase, tail=join(phrase.tail, "with", other.english), head=head)
        return phrase

    def condition(self, choices: Sequence[tuple[str, Verb]]) -> Phrase:
        name, verb = self.pick(choices)
        return Phrase(verb, name)

    def time(self, mood: Mood) -> Words:
        """A time that suits the mood; habits always have one, to tell "I read every day" from "I read yesterday"."""
        if mood == NOW:
            return self.pick(HABIT) if self.chance(0.7) else self.clock_time()
        if mood == NOT_NOW:
            return self.pick(NOT_HABIT)
        if mood == DOING:
            return self.pick((NOTHING, Words("now", "지금")))
        if (mood.modal in ("can", "like") and mood.tense == "present") or self.chance(0.4):
            return NOTHING
        if self.chance(0.07):
            month, day = self.random.randint(1, 12), self.random.randint(1, 15)
            return Words(f"on {MONTHS[month - 1]} {day}", f"{month}월 {day}일에")
        return self.pick(PAST if mood.tense == "past" else FUTURE)

    def clock_time(self) -> Words:
        hour, minute = self.random.randint(1, 12), self.pick((10, 20, 30, 40, 50))
        word, native = list(NUMBERS.items())[hour - 1]
        half = ("morning", "오전") if 6 <= hour < 12 else ("afternoon", "오후")
        said = (
            Words(f"at {word} o'clock", f"{native} 시에"),
            Words(f"at half past {word}", f"{native} 시 반에"),
            Words(f"at {word} in the {half[0]}", f"{half[1]} {native} 시에"),
            *[Words(f"at {hour}:{minute}", f"{hour}시 {minute}분에")] * 2,
        )
        return self.pick(said)

    def around(self, subject: Nominal, phrase: Phrase, mood: Mood) -> Words:
        """A subordinate clause: reason, purpose, condition or time."""
        again, tense = subject.again(), "past" if mood.tense == "past" else "present"
        if mood.negative or mood == WILL:
            inner = self.condition((*(STATES[:HINDERING] if mood.negative else STATES), *WEATHER))
            who = again if any(inner.tail == name for name, _ in STATES) else IT
            if mood == WILL:
                return subordinate("if", who, inner, NOW)
            # It is raining, not: it rains.
            return subordinate("because", who, inner, Mood(tense, "" if inner.verb.name == "be" else "progressive"))
        if phrase.verb in MOTIONS and (verbs := DONE_AT[phrase.pairs[1][1]]):
            inner = self.phrase(replace(self.pick(verbs), places=()), counted=True)
            inner = replace(inner, pairs=(*inner.pairs, (inner.verb.name, phrase.pairs[1][1])))
            if mood == DID and self.chance(0.5):
                return subordinate("because", again, inner, Mood(tense, self.pick(("want", "must"))))
            return subordinate("to", again, inner, NOW)
        if mood == NOW and self.chance(0.3):
            return subordinate("when", again, self.condition(STATES), NOW)
        relation = self.pick(("before", "after", "while"))
        verbs = list(MEANWHILE if relation == "while" else REPEATED)
        verb = self.pick([verb for verb in verbs if verb.name != phrase.verb.name])
        return subordinate(relation, again, self.phrase(verb, counted=True), NOW)

    def clause(self, subject: Nominal, mood: Mood, ask: str = "") -> Words:
        phrase = self.activity(subject, mood)
        around = self.around(subject, phrase, mood) if mood != NOT_NOW and self.chance(0.25) else NOTHING
        time = NOTHING if around.english.startswith(("if", "when")) else self.time(mood)
        if around.english.startswith(("if", "when", "because", "after")) and not ask and self.chance(0.4):
            main = say(subject, phrase, mood, time, around._replace(english=""))
            return main._replace(english=f"{around.english}, {main.english}")
        return say(subject, phrase, mood, time, around, ask)

    def statement(self) -> Sentence:
        return finish(self.clause(self.pick(PEOPLE), self.pick(MOODS)))

    def question(self) -> Sentence:
        subject, mood = self.pick((YOU, self.pick(OTHERS))), self.pick([mood for mood in MOODS if not mood.negative])
        return finish(self.clause(subject, mood, "?"), "?")

    def word_question(self) -> Sentence:
        subject, mood = self.pick((YOU, *PEOPLE[1:])), self.pick((DID, DID, WILL, NOW, WANTS, MUST))
        word, time = self.pick(("who", "what", "what", "how many", "where", "when", "why")), self.time(mood)
        if word == "who":
            return finish(say(WHO, self.activity(WHO, mood), mood, time), "?")
        verb, asked, ask = self.pick(REPEATED), NOTHING, {"when": "언제", "why": "왜"}.get(word, "?")
        if word == "when":
            mood, time = self.pick((DID, WILL, MUST)), NOTHING
        elif word == "where":
            verb = self.pick([verb for verb in REPEATED if verb.places])
            verb, ask = replace(verb, places=()), "어디에" if "에" in verb.marks else "어디에서"
        elif word == "what":
            verb = self.pick(ASKED_ABOUT)
            person = NOUNS[verb.objects[0]].kind == "p"
            word, asked = ("who", Words("", "누구를")) if person else (word, Words("", "무엇을"))
        elif word == "how many":
            verb = self.pick([verb for verb in ASKED_ABOUT if any(NOUNS[name].countable for name in verb.objects)])
            noun = self.pick([NOUNS[name] for name in verb.objects if NOUNS[name].countable])
            korean = f"{with_particle(noun.korean, '을/를')} 몇 {noun.counter}"
            word, asked = f"how many {noun.bare}", Words("", korean, ((verb.name, noun.name),))
        words = say(subject, self.phrase(verb, asked=asked), mood, time, ask=ask)
        return finish(words._replace(english=f"{word} {words.english}"), "?")

    def request(self) -> Sentence:
        verb, kind = self.pick(REPEATED), self.pick(("please", "please", "please do not", "let's", "shall we", "may I"))
        phrase = self.phrase(verb, counted=kind != "please do not")
        forms, together = verb.korean, kind in ("let's", "shall we")
        please = forms.infinitive + " 주세요" if "please" in verb.marks else verb.of(True).polite()
        endings = {"please": please, "please do not": forms.stem + "지 마세요", "let's": forms.polite()}
        endings |= {"shall we": end_in(forms.linking, "ㄹ") + "까요", "may I": forms.infinitive + "도 돼요"}
        english = join(kind, verb.name, phrase.tail, "together" if together else "")
        korean = join("우리 같이" if together else "", phrase.head, endings[kind])
        return finish(Words(english, korean, phrase.pairs), "?" if kind in ("shall we", "may I") else ".")

    def state(self) -> Sentence:
        """A state: what somebody is, likes, has or knows."""
        subject, mood, time = self.pick(PEOPLE), self.pick((NOW, NOW, NOW, NOT_NOW, DID, DID_NOT)), NOTHING
        phrase = self.phrase(self.pick((*STATIVES, *[NAMED_VERBS["have"]] * 2)), counted=not mood.negative)
        kind = self.random.random()
        if kind < 0.3:
            phrase = self.condition(STATES)
            time = self.pick((NOTHING, NOT_HABIT[0], Words("today", "오늘")) if mood.tense == "present" else PAST)
        elif kind < 0.5 and subject in OTHERS:
            phrase = self.profession(subject, mood.negative)
        ask = "?" if not mood.negative and self.chance(0.3) else ""
        return finish(say(subject, phrase, mood, time, ask=ask), ask or ".")

    def profession(self, subject: Nominal, negative: bool) -> Phrase:
        noun = NOUNS[self.pick(of_kinds("p"))]
        stem, infinitive = with_particle(noun.korean, "이/"), with_particle(noun.korean, "이어/여")
        head = with_particle(noun.korean, "이/가") if negative else ""
        verb = Verb("be", "was", Copula(stem, infinitive, stem), marks=("아니",))
        return Phrase(verb, noun.bare if subject.plural else article(noun.name), head, (("", noun.name),))

    def description(self) -> Sentence:
        adjective = self.pick([adjective for adjective in ADJECTIVES if adjective.korean])
        name, mood = self.pick(of_kinds(adjective.kinds)), self.pick((NOW, NOW, NOT_NOW, DID))
        kind = NOUNS[name].kind
        pairs: Pairs = ((adjective.name, name),)
        thing = self.noun_phrase(name, "dttTT" + ("m" if kind in "tuwc" else ""))
        if kind in "wtucbgap" and NOUNS[name].countable and self.chance(0.2):
            thing = self.with_relative_clause(name, self.pick(DONE_WITH[name]))
        forms, tail, head = adjective.korean or EXIST, adjective.name, ""
        if self.chance(0.5):
            other = self.pick([noun for noun in of_kinds(kind) if noun != name])
            thing, than = (self.noun_phrase(noun, "p" if kind in "rf" else "d") for noun in (name, other))
            forms, tail = forms.modified("더"), f"{adjective.comparative} than {than.english}"
            mood, head, pairs = NOW, f"{than.korean}보다", (*pairs, (adjective.name, other))
        ask = "?" if not mood.negative and self.chance(0.25) else ""
        return finish(say(thing, Phrase(Verb("be", "was", forms), tail, head, pairs), mood, ask=ask), ask or ".")

    def existence(self) -> Sentence:
        where, location, things = self.pick(LOCATIONS)
        name, kind, mood = self.pick(things), self.pick(("some", "some", "no", "any", "it")), self.pick((NOW, NOW, DID))
        pairs = ((location, name),)
        if kind == "it":
            thing, there = self.noun_phrase(name, "dtT"), Phrase(NAMED_VERBS["be"], where.english, where.korean, pairs)
            return finish(say(thing, there, mood))
        some = self.noun_phrase(name, "ajnnn" if kind == "some" else "p")
        be, _ = conjugate("be", "was", some, mood, False)
        english = {"some": f"there {be}", "no": f"there {be} no", "any": f"{be} there any"}[kind]
        exists = (ABSENT if kind == "no" else EXIST).polite(mood.tense)
        korean = join(where.korean, some.marked("이/가"), exists)
        words = Words(join(english, some.english, where.english), korean, (*some.pairs, *pairs))
        return finish(words, "?" if kind == "any" else ".")

    def price(self) -> Sentence:
        name, number = self.pick(of_kinds("wtuc")), self.random.randrange(10)
        thing, digits = self.noun_phrase(name, "tTd"), f"{500 * self.random.randint(1, 30):,}"
        won = Words(f"{tuple(NUMBERS)[number]} thousand won", f"{THOUSANDS[number]} 원")
        won = self.pick((won, Words(f"{digits} won", f"{digits}원")))
        be = "are" if thing.plural else "is"
        kind = self.pick(("ask", "tell", "tell", "buy"))
        if kind == "ask":
            return finish(
                Words(f"how much {be} {thing.english}", f"{thing.marked('은/는')} 얼마예요", thing.pairs), "?"
            )
        if kind == "tell":
            korean = f"{thing.marked('은/는')} {won.korean}이에요"
            return finish(Words(f"{thing.english} {be} {won.english}", korean, thing.pairs))
        head = f"{thing.marked('을/를')} {won.korean}에"
        phrase = Phrase(NAMED_VERBS["buy"], f"{thing.english} for {won.english}", head, (("buy", name),))
        return finish(say(self.pick(PEOPLE), phrase, DID, self.time(DID)))

    def relative(self) -> Sentence:
        """An activity with a thing that has a relative clause."""
        name, verb, earlier = self.pick(DONE_AGAIN)
        thing = self.with_relative_clause(name, earlier)
        phrase = Phrase(verb, thing.english, thing.marked("을/를"), ((verb.name, name), *thing.pairs))
        return finish(say(self.pick(PEOPLE), phrase, self.pick((DID, DID, DID_NOT, WILL, WANTS, MUST))))

    def sequence(self) -> Sentence:
        """Two consecutive activities: in Korean, the first verb has no tense."""
        subject, mood = self.pick(PEOPLE), self.pick((DID, DID, WILL, NOW, MUST))
        verbs = self.random.sample(HABITS if mood == NOW else REPEATED, 2)
        first, second = (self.phrase(verb, counted=mood != NOW) for verb in verbs)
        time = (
            self.pick([time for time in HABIT if time.english not in BEFORE_VERB]) if mood == NOW else self.time(mood)
        )
        head = join(first.head, first.verb.unmarked(subject.honored).stem + "고")
        korean = say(subject, second, mood, time, Words("", head, first.pairs))
        then = second.verb.name if mood == MUST else english_predicate(second.verb, subject, mood)[1]
        english = join(say(subject, first, mood).english, "and then", then, second.tail, time.english)
        return finish(korean._replace(english=english))

    def contrast(self) -> Sentence:
        """A contrast of two people, or of a wish and an obstacle."""
        one, other = self.random.sample(OTHERS, 2)
        phrase, mood = self.phrase(self.pick(REPEATED)), self.pick((DID, CAN, Mood("past", "want")))
        first = say(one, phrase, mood, goes_on=True)
        if mood.modal == "want":
            second = say(one.again(), self.condition(STATES[:HINDERING]), DID)
        else:
            second = say(other, Phrase(phrase.verb), mood._replace(negative=True))
            second = second._replace(english=f"{other.english} {'cannot' if mood == CAN else 'did not'}")
        return finish(Words(f"{first.english}, but {second.english}", f"{first.korean} {second.korean}", first.pairs))
