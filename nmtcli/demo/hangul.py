"""Korean particles and endings, which depend on the final consonant of a word."""

from __future__ import annotations

from dataclasses import dataclass

FINALS = {"": 0, "ㄴ": 4, "ㄹ": 8, "ㅆ": 20}


def final_consonant(word: str) -> int:
    """The number of the last syllable's final consonant; 0 if it ends in a vowel."""
    code = ord(word[-1]) - ord("가")
    if not 0 <= code < 11172:
        raise ValueError(f"not a word in Hangul: {word!r}")
    return code % 28


def with_particle(word: str, particle: str) -> str:
    """Attach a particle given as "after a consonant/after a vowel", such as "을/를", in the form that fits the word."""
    after_consonant, after_vowel = particle.split("/")
    final = final_consonant(word)
    closed = final != 0 and not (particle == "으로/로" and final == FINALS["ㄹ"])
    return word + (after_consonant if closed else after_vowel)


def end_in(word: str, consonant: str) -> str:
    """Put a consonant at the end of the last syllable, in place of any other: 가 + ㄹ = 갈, 만들 + ㄴ = 만든."""
    return word[:-1] + chr(ord(word[-1]) - final_consonant(word) + FINALS[consonant])


@dataclass(frozen=True)
class Forms:
    """A Korean verb or adjective: stem, form in -eo, form in -eu. All other forms are derived from these three."""

    stem: str
    infinitive: str
    linking: str
    honored: bool = False

    @property
    def open_stem(self) -> str:
        """Before -n and -s the stem loses a final ㄹ: 살 -> 사(는), 사(세요)."""
        return end_in(self.stem, "") if final_consonant(self.stem) == FINALS["ㄹ"] else self.stem

    def past(self) -> Forms:
        stem = end_in(self.infinitive, "ㅆ")
        return Forms(stem, stem + "어", stem + "으")

    def polite(self, tense: str = "present") -> str:
        """As the end of a sentence."""
        if tense == "future":
            return end_in(self.linking, "ㄹ") + " 거예요"
        if tense == "past":
            return self.past().infinitive + "요"
        return self.stem[:-1] + "세요" if self.honored else self.infinitive + "요"

    def honor(self, honored: bool = True) -> Forms:
        """With the honorific -si-."""
        stem = self.open_stem if self.linking == self.stem else self.linking
        return Forms(stem + "시", stem + "셔", stem + "시", True) if honored else self

    def after(self, words: str) -> Forms:
        return Forms(words + self.stem, words + self.infinitive, words + self.linking, self.honored)

    def modified(self, adverb: str) -> Forms:
        """With an adverb before the last word: 키가 크 -> 키가 더 크."""
        start = self.stem.rfind(" ") + 1
        last = Forms(self.stem[start:], self.infinitive[start:], self.linking[start:], self.honored)
        return last.after(f"{self.stem[:start]}{adverb} ")


class Copula(Forms):
    """To be something, and 아니다, not to be it."""

    def polite(self, tense: str = "present") -> str:
        present = self.infinitive[:-1] + {"어": "에", "여": "예"}[self.infinitive[-1]] + "요"
        return present if tense == "present" else super().polite(tense)


EXIST, DO, ABSENT = Forms("있", "있어", "있으"), Forms("하", "해", "하"), Forms("없", "없어", "없으")
NOT, WISH = Forms("않", "않아", "않으"), Forms("싶", "싶어", "싶으")
STAY_HONORED = Forms("계시", "계셔", "계시", honored=True)
INSTEAD_OF_NOT = {"없": ABSENT, "모르": Forms("모르", "몰라", "모르"), "아니": Copula("아니", "아니어", "아니")}
