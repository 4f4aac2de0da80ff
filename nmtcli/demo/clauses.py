"""Clauses in English and Korean: who does what, in which mood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from nmtcli.demo.hangul import DO, EXIST, INSTEAD_OF_NOT, NOT, STAY_HONORED, WISH, Forms, end_in, with_particle
from nmtcli.demo.lexicon import Pairs, Verb, Words, inflect, with_ing, with_s
from nmtcli.demo.words import BEFORE_VERB

COMBINED = 3  # words in a combination: see phrasebook.py


def join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Nominal:
    """A person or a thing."""

    english: str
    korean: str
    pronoun: str = "it"
    honored: bool = False
    plural: bool = False
    counted: str = ""  # follows the particle: 사과를 세 개
    pairs: Pairs = ()

    def marked(self, particle: str) -> str:
        """With a particle, as topic, subject or object."""
        if self.korean and self.honored and particle in ("은/는", "이/가"):
            return self.korean + ("께서는" if particle == "은/는" else "께서")
        irregular = {("저", "이/가"): "제가", ("누구", "은/는"): "누가", ("", "은/는"): ""}
        marked = irregular.get((self.korean, particle))
        return join(with_particle(self.korean, particle) if marked is None else marked, self.counted)

    def again(self) -> Nominal:
        """As a pronoun, which Korean omits."""
        return replace(self, english=self.pronoun, korean="", pairs=())


@dataclass(frozen=True)
class Phrase:
    """A verb with its complements: after it in English, before it in Korean."""

    verb: Verb
    tail: str = ""
    head: str = ""
    pairs: Pairs = ()


class Mood(NamedTuple):
    tense: str = "present"
    modal: str = ""
    negative: bool = False


NOTHING = Words("", "")
NOW, DID, WILL = Mood(), Mood("past"), Mood("future")
NOT_NOW, DID_NOT = Mood("present", "", True), Mood("past", "", True)
DOING, WANTS, MUST = Mood("present", "progressive"), Mood("present", "want"), Mood("present", "must")
CAN, CANNOT, COULD_NOT = Mood("present", "can"), Mood("present", "can", True), Mood("past", "can", True)


def conjugate(verb: str, past: str, subject: Nominal, mood: Mood, ask: bool) -> tuple[str, str]:
    """The auxiliary, if one is needed, and the English verb."""
    tense, _, negative = mood
    no = " not" if negative else ""
    single = not subject.plural and subject.english not in ("I", "we", "you")
    if tense == "future":
        return "will" + no, verb
    if verb == "be":
        now, then = ("is", "was") if single else ("are", "were")
        if subject.english == "I":
            now, then = "am", "was"
        return (then if tense == "past" else now) + no, ""
    if negative or ask:
        return ("did" if tense == "past" else "does" if single else "do") + no, verb
    return "", past if tense == "past" else inflect(verb, with_s) if single else verb


def english_predicate(verb: Verb, subject: Nominal, mood: Mood, ask: bool = False) -> tuple[str, str]:
    if mood.modal == "can":
        able, unable = ("could", "could not") if mood.tense == "past" else ("can", "cannot")
        return unable if mood.negative else able, verb.name
    if mood.modal == "progressive":
        return conjugate("be", "was", subject, mood, ask)[0], inflect(verb.name, with_ing)
    if mood.modal:
        modal, past = {"want": ("want", "wanted"), "must": ("have", "had"), "like": ("like", "liked")}[mood.modal]
        auxiliary, main = conjugate(modal, past, subject, mood, ask)
        return auxiliary, f"{main} to {verb.name}"
    return conjugate(verb.name, verb.past, subject, mood, ask)


def with_modal(verb: Verb, subject: Nominal, modal: str, honored: bool) -> Forms:
    """The Korean verb and its auxiliary; `honored` tells whether the last of them carries the honorific."""
    base, own = verb.unmarked(subject.honored), verb.of(subject.honored)
    wish = WISH.after("고 ") if subject.english in ("I", "we", "you") else DO.honor(honored).after("고 싶어 ")
    return {
        "": own if honored else base,
        "progressive": (STAY_HONORED if honored else EXIST).after(base.stem + "고 "),
        "can": EXIST.honor(honored).after(end_in(own.linking, "ㄹ") + " 수 "),
        "must": DO.after(own.infinitive + "야 "),
        "want": wish.after(base.stem),
        "like": DO.honor(honored).after(base.open_stem + "는 것을 좋아"),
    }[modal]


def korean_forms(verb: Verb, subject: Nominal, mood: Mood) -> Forms:
    tense, modal, negative = mood
    honored = subject.honored
    if not negative:
        return with_modal(verb, subject, modal, honored)
    for instead in (INSTEAD_OF_NOT[mark] for mark in verb.marks if mark in INSTEAD_OF_NOT):
        return STAY_HONORED.modified("안") if honored and verb.suppletive else instead.honor(honored)
    # A word before the verb negates it, but not adjectives nor compounds of 하다.
    short = verb.korean.stem == "하" or not (verb.name == "be" or verb.korean.stem.endswith("하"))
    if short and (modal == "can" or (modal == "" and tense == "past")):
        return verb.of(honored).modified("못" if modal else "안")
    if modal == "can":
        return DO.honor(honored).after(verb.unmarked(honored).stem + "지 못")
    return NOT.honor(honored).after(with_modal(verb, subject, modal, False).stem + "지 ")


def say(
    subject: Nominal,
    phrase: Phrase,
    mood: Mood,
    time: Words = NOTHING,
    around: Words = NOTHING,
    ask: str = "",
    goes_on: bool = False,
) -> Words:
    """A clause, possibly before "but"; `around` is put inside it; `ask` is a Korean question word or "?"."""
    auxiliary, main = english_predicate(phrase.verb, subject, mood, bool(ask))
    often, late = (time.english, "") if time.english in BEFORE_VERB else ("", time.english)
    opening = (auxiliary, subject.english) if ask else (subject.english, auxiliary)
    english = join(*opening, often, main, phrase.tail, late, around.english)
    forms = korean_forms(phrase.verb, subject, mood)
    verb = (forms.past() if mood.tense == "past" else forms).stem + "지만" if goes_on else forms.polite(mood.tense)
    korean = join(subject.marked("은/는"), time.korean, around.korean, ask.strip("?"), phrase.head, verb)
    liked: Pairs = (("like", ""),) if mood.modal == "like" else ()
    combinations = tuple(
        (subject.english.lower(), *pair) for pair in phrase.pairs + around.pairs if all(pair) and len(pair) < COMBINED
    )
    return Words(english, korean, subject.pairs + phrase.pairs + around.pairs + liked + combinations)


def subordinate(relation: str, who: Nominal, inner: Phrase, mood: Mood) -> Words:
    """An adverbial clause: in English at the end, in Korean early, with an ending on its verb in place of a tense."""
    if relation in ("because", "if", "when"):
        english = f"{relation} {say(who, inner, mood).english}"
        modal = mood.modal.replace("progressive", "")
        forms = korean_forms(inner.verb, replace(who, english="I"), Mood("present", modal))
    else:
        verb = inner.verb.name if relation == "to" else inflect(inner.verb.name, with_ing)
        english = join(relation, verb, inner.tail)
        forms = inner.verb.unmarked(who.honored)
    stem, linking = forms.stem, forms.linking
    before, after, when = stem + "기 전에", end_in(linking, "ㄴ") + " 후에", end_in(linking, "ㄹ") + " 때"
    reason, condition, purpose, meanwhile = forms.infinitive + "서", linking + "면", linking + "러", linking + "면서"
    endings = {"because": reason, "if": condition, "when": when, "to": purpose}
    endings |= {"before": before, "after": after, "while": meanwhile}
    return Words(english, join(inner.head, endings[relation]), inner.pairs)
