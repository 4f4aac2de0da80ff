"""A small English-Korean corpus of everyday sentences for `nmt demo` and the tests.

The sentences are generated from the word lists and the grammar beside this file. They demonstrate and test the toolkit
and are not a real resource: a model trained on them translates phrasebook sentences only. The same seed and number of
pairs give the same bytes on every machine.
Korean is in the polite style (haeyo-che), spoken by a woman (older brother: oppa, older sister: eonni).

Held-out sentences. A *combination* is three related words of a clause: subject, verb, and object or place; or thing and
its property or place. One in ten is reserved for any seed, by a hash (CRC-32) of the three words. A reserved
combination never occurs in a training sentence; every validation and test sentence has at least one. Each two of its
three words occur together in training, and each English and Korean word of a held-out sentence occurs there at least
MIN_COUNT times: the parts are known, their combination is new.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations as combinations_of
from itertools import islice
from random import Random

from nmtcli.demo.clauses import COMBINED
from nmtcli.demo.lexicon import split
from nmtcli.demo.sentences import OTHERS, Composer, Pair, Sentence
from nmtcli.demo.words import NONSENSE

MIN_COUNT = 5
MIN_PAIRS = 2000
HELD_OUT_SHARE = 40  # training sentences for each validation and each test sentence
RESERVED_ONE_IN = 10  # of all combinations

# Frequencies of the kinds of sentences.
METHODS = (
    *[Composer.statement] * 32,
    *[Composer.question, Composer.word_question] * 8,
    *[Composer.state, Composer.description] * 10,
    *[Composer.request, Composer.existence] * 6,
    *[Composer.sequence, Composer.contrast] * 4,
    *[Composer.price, Composer.relative] * 3,
)


@dataclass(frozen=True)
class Phrasebook:
    train: tuple[Pair, ...]
    valid: tuple[Pair, ...]
    test: tuple[Pair, ...]


def reserved(made: Sentence) -> list[tuple[str, ...]]:
    """The reserved combinations in a sentence."""
    combinations = (words for words in made.pairs if len(words) == COMBINED)
    return [words for words in combinations if zlib.crc32(" ".join(words).encode()) % RESERVED_ONE_IN == 0]


def twos(made: Sentence) -> set[tuple[str, ...]]:
    """All pairs of words in the combinations of a sentence."""
    return {two for words in made.pairs if len(words) == COMBINED for two in combinations_of(words, 2)}


def makes_sense(source: str) -> bool:
    """Whether nobody is named twice, and meals are at the right time of day."""
    text = source.replace("My ", "my ").replace("The ", "the ")
    if any(text.count(person.english) > 1 for person in OTHERS):
        return False
    return not any(meal in text and time in text for meal, times in NONSENSE for time in split(times))


def compose(seed: int) -> Iterator[Sentence]:
    """An endless sequence of different sentences that make sense, each with one translation."""
    random = Random(seed)
    composer, translations = Composer(random), dict[str, str]()
    while True:
        made = random.choice(METHODS)(composer)
        source, target = made.pair
        if source in translations:
            assert translations[source] == target, f"{source!r}: {translations[source]!r} and {target!r}"
        elif makes_sense(source):
            translations[source] = target
            yield made


def words_of(text: str) -> list[str]:
    return [word.strip(".,?") for word in text.lower().split()]


def generate(seed: int, pairs: int) -> Phrasebook:
    """The corpus of a seed, with `pairs` training pairs."""
    if pairs < MIN_PAIRS:
        raise ValueError(f"{pairs} pairs are too few for every word to occur several times: at least {MIN_PAIRS}")
    sentences = compose(seed)
    training = list(islice((made for made in sentences if not reserved(made)), pairs))
    train = tuple(made.pair for made in training)
    together = set().union(*map(twos, training))
    english = Counter(word for pair in train for word in words_of(pair.source))
    korean = Counter(word for pair in train for word in words_of(pair.target))

    def is_familiar(made: Sentence) -> bool:
        source, target = words_of(made.pair.source), words_of(made.pair.target)
        counts = [english[word] for word in source] + [korean[word] for word in target]
        return min(counts) >= MIN_COUNT and twos(made) <= together

    held_out = (made.pair for made in sentences if reserved(made) and is_familiar(made))
    size = pairs // HELD_OUT_SHARE
    return Phrasebook(train, tuple(islice(held_out, size)), tuple(islice(held_out, size)))


def contents(phrasebook: Phrasebook) -> dict[str, bytes]:
    """The contents of the six files, by name."""
    files = {}
    for name, pairs in (("train", phrasebook.train), ("valid", phrasebook.valid), ("test", phrasebook.test)):
        for language, lines in (("en", [pair.source for pair in pairs]), ("ko", [pair.target for pair in pairs])):
            files[f"{name}.{language}"] = "".join(f"{line}\n" for line in lines).encode()
    return files
