"""The phrasebook corpus: reproducible, with held-out combinations, and in correct Korean."""

import os
import re
import runpy
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from functools import cache
from itertools import islice

import pytest

from nmtcli.demo import clauses, hangul, lexicon, phrasebook, sentences
from tests.conftest import ROOT, nmt

FILES = [f"{part}.{language}" for part in ("train", "valid", "test") for language in ("en", "ko")]


gold = runpy.run_path(str(ROOT / "recipes" / "phrasebook" / "gold.py"))


@pytest.fixture(scope="module")
def book():
    return phrasebook.generate(1, 6000)


@pytest.fixture(scope="module")
def everything():
    """Many sentences, reserved combinations among them: English to Korean."""
    return {made.pair.source: made.pair.target for made in islice(phrasebook.compose(5), 15_000)}


# The corpus.


def test_corpus_and_held_out_sizes(book):
    assert [len(part) for part in (book.train, book.valid, book.test)] == [6000, 150, 150]


def test_sentences_depend_on_the_seed_only():
    first, again, other = (list(islice(phrasebook.compose(seed), 2000)) for seed in (1, 1, 2))
    assert first == again
    assert len(set(first) & set(other)) < 500


def test_bytes_do_not_depend_on_hash_order(tmp_path, book):
    """Another process, whose sets are in another order, writes the same files."""
    command = [sys.executable, "-m", "nmtcli", "demo", "-o", str(tmp_path / "demo"), "--text-only", "--pairs", "6000"]
    another = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": another}, check=True)
    text = tmp_path / "demo" / "text"
    assert sorted(path.name for path in text.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (text / name).read_bytes() == phrasebook.contents(book)[name], name


def test_files_are_aligned_plain_lines(book):
    files = phrasebook.contents(book)
    for part in ("train", "valid", "test"):
        source, target = (files[f"{part}.{language}"] for language in ("en", "ko"))
        assert source.count(b"\n") == target.count(b"\n") == len(getattr(book, part))
        assert source.endswith(b"\n")
        assert not {b"\r", b"\t"} & {bytes([byte]) for byte in source + target}
        assert source.isascii()
        assert unicodedata.is_normalized("NFC", target.decode("utf-8"))


def test_too_few_pairs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 2000"):
        phrasebook.generate(1, 100)
    assert nmt("demo", "-o", tmp_path, "--text-only", "--pairs", "9") == 2


def test_sources_are_unique_with_one_translation_each(book, everything):
    sources = [pair.source for part in (book.train, book.valid, book.test) for pair in part]
    assert len(sources) == len(set(sources))
    shared = [pair for pair in book.train if pair.source in everything]
    assert len(shared) > 100
    assert all(everything[pair.source] == pair.target for pair in shared)


def test_lengths_vary(book):
    lengths = [len(pair.source.split()) for pair in book.train]
    assert min(lengths) <= 4
    assert max(lengths) >= 18
    assert 7.5 <= sum(lengths) / len(lengths) <= 10


# What is held out.


def verb_forms(verb):
    forms = (lexicon.with_s, lexicon.with_ing, str)
    return {verb.past, *(lexicon.inflect(verb.name, form) for form in forms)}


@cache
def forms_of(name):
    """A word in all its English forms, with "_" within."""
    forms = {name}
    for verb in lexicon.VERBS:
        forms |= verb_forms(verb) if verb.name == name else set()
    forms |= {adjective.comparative for adjective in lexicon.ADJECTIVES if adjective.name == name}
    if name in lexicon.NOUNS and lexicon.NOUNS[name].countable:
        forms.add(lexicon.NOUNS[name].bare)
    return {form.replace(" ", "_").lower() for form in forms}


def words_with_names_joined(text):
    """The words of a text, each expression of several as one: post_office, turned_on, younger_sister."""
    names = {form for verb in lexicon.VERBS for form in verb_forms(verb)} | set(lexicon.NOUNS)
    names |= {noun.bare for noun in lexicon.NOUNS.values() if noun.countable}
    names |= {adjective.comparative for adjective in lexicon.ADJECTIVES}
    names |= {person.english.removeprefix("my ") for person in sentences.PEOPLE}
    longest = sorted((name for name in names if " " in name), key=len, reverse=True)
    joined = re.sub(rf"\b({'|'.join(longest)})\b", lambda match: match[0].replace(" ", "_"), text)
    return phrasebook.words_of(joined)


def places_of_words(pairs):
    """Each English word, with the numbers of the pairs it is in."""
    places = defaultdict(set)
    for number, pair in enumerate(pairs):
        for word in words_with_names_joined(pair.source):
            places[word].add(number)
    return lambda name: set().union(*(places[form] for form in forms_of(name)))


@pytest.fixture(scope="module")
def in_training(book):
    return places_of_words(book.train)


@pytest.fixture(scope="module")
def made(book):
    """Every sentence of the book, found again from the seed."""
    missing, found = {*book.train, *book.valid, *book.test}, {}
    for sentence in phrasebook.compose(1):
        if not missing:
            return found
        found[sentence.pair] = sentence
        missing.discard(sentence.pair)
    return found


def test_reserved_combinations_never_occur_in_training_and_always_in_held_out_sentences(book, made):
    assert not any(phrasebook.reserved(made[pair]) for pair in book.train)
    assert all(phrasebook.reserved(made[pair]) for pair in book.valid + book.test)


def test_parts_of_held_out_combinations_occur_in_training(book, made):
    together = set().union(*(phrasebook.twos(made[pair]) for pair in book.train))
    assert all(phrasebook.twos(made[pair]) <= together for pair in book.valid + book.test)


def test_about_a_tenth_is_reserved_whatever_the_seed():
    for seed in (1, 2):
        sentences = list(islice(phrasebook.compose(seed), 3000))
        combinations = {words for made in sentences for words in made.pairs if len(words) == clauses.COMBINED}
        reserved = {words for made in sentences for words in phrasebook.reserved(made)}
        assert 0.07 < len(reserved) / len(combinations) < 0.13


def test_words_of_held_out_sentences_occur_in_training(book):
    for side in ("source", "target"):
        known = Counter(word for pair in book.train for word in phrasebook.words_of(getattr(pair, side)))
        for pair in book.valid + book.test:
            assert all(known[word] >= 5 for word in phrasebook.words_of(getattr(pair, side))), pair


def test_every_word_of_the_lists_is_in_training(in_training):
    verbs = {verb.name for verb in lexicon.VERBS} - {"be"}
    for name in [*verbs, *lexicon.NOUNS, *(adjective.name for adjective in lexicon.ADJECTIVES)]:
        assert len(in_training(name)) >= 5, name


# Korean.


@pytest.mark.parametrize(
    ("word", "particle", "expected"),
    [
        ("물", "을/를", "물을"),
        ("사과", "을/를", "사과를"),
        ("책", "이/가", "책이"),
        ("고양이", "이/가", "고양이가"),
        ("톰", "은/는", "톰은"),
        ("빵", "과/와", "빵과"),
        ("우유", "과/와", "우유와"),
        ("서울", "으로/로", "서울로"),
        ("집", "으로/로", "집으로"),
        ("학교", "으로/로", "학교로"),
        ("학생", "이에요/예요", "학생이에요"),
        ("의사", "이에요/예요", "의사예요"),
    ],
)
def test_particles(word, particle, expected):
    assert hangul.with_particle(word, particle) == expected


def test_particles_need_hangul():
    with pytest.raises(ValueError, match="Hangul"):
        hangul.with_particle("TV", "을/를")


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        ("먹 먹어 먹으", "먹어요 먹었어요 먹을_거예요 먹으세요"),
        ("가 가 가", "가요 갔어요 갈_거예요 가세요"),
        ("듣 들어 들으", "들어요 들었어요 들을_거예요 들으세요"),
        ("만들 만들어 만들", "만들어요 만들었어요 만들_거예요 만드세요"),
        ("부르 불러 부르", "불러요 불렀어요 부를_거예요 부르세요"),
        ("무겁 무거워 무거우", "무거워요 무거웠어요 무거울_거예요 무거우세요"),
        ("쓰 써 쓰", "써요 썼어요 쓸_거예요 쓰세요"),
        ("공부하 공부해 공부하", "공부해요 공부했어요 공부할_거예요 공부하세요"),
    ],
)
def test_conjugation(forms, expected):
    plain, _ = lexicon.read_forms(forms)
    made = [*(plain.polite(tense) for tense in ("present", "past", "future")), plain.honor().polite()]
    assert " ".join(form.replace(" ", "_") for form in made) == expected


def test_stems_fit_their_forms():
    """The forms in the tables agree: a form in -eo ends in a vowel, one in -eu in a vowel or ㄹ."""
    verbs = [*lexicon.VERBS, *(verb for _, verb in lexicon.STATES + lexicon.WEATHER)]
    tables = [verb.korean for verb in verbs] + [word.korean for word in lexicon.ADJECTIVES if word.korean]
    for forms in tables:
        assert hangul.final_consonant(forms.infinitive) == 0, forms
        assert hangul.final_consonant(forms.linking) in (0, hangul.FINALS["ㄹ"]), forms
        if hangul.final_consonant(forms.stem) == 0 and not forms.stem.endswith("르"):
            assert forms.linking == forms.stem, forms


PEOPLE = {person.english: person for person in (*sentences.PEOPLE, sentences.YOU, sentences.WHO)}
YESTERDAY = lexicon.Words("yesterday", "어제")
OFTEN = lexicon.Words("often", "자주")


def verb_of(stem):
    return next(verb for verb in lexicon.VERBS if verb.korean.stem == stem)


@pytest.mark.parametrize(
    ("who", "stem", "rest", "mood", "time", "english", "korean"),
    [
        ("I", "먹", ("rice", "밥을"), "DID", YESTERDAY, "I ate rice yesterday", "저는 어제 밥을 먹었어요"),
        (
            "my mother",
            "먹",
            ("rice", "밥을"),
            "NOW",
            OFTEN,
            "my mother often eats rice",
            "우리 어머니께서는 자주 밥을 드세요",
        ),
        ("I", "읽", ("books", "책을"), "WANTS", None, "I want to read books", "저는 책을 읽고 싶어요"),
        ("she", "읽", ("books", "책을"), "WANTS", None, "she wants to read books", "그녀는 책을 읽고 싶어 해요"),
        ("Tom", "치", ("the piano", "피아노를"), "CANNOT", None, "Tom cannot play the piano", "톰은 피아노를 못 쳐요"),
        ("Tom", "공부하", ("math", "수학을"), "CANNOT", None, "Tom cannot study math", "톰은 수학을 공부하지 못해요"),
        ("they", "가", ("home", "집에"), "DID_NOT", None, "they did not go home", "그들은 집에 안 갔어요"),
        ("we", "팔", ("it", "차를"), "NOT_NOW", None, "we do not sell it", "우리는 차를 팔지 않아요"),
        ("I", "만들", ("soup", "국을"), "MUST", None, "I have to make soup", "저는 국을 만들어야 해요"),
        ("he", "듣", ("music", "음악을"), "WILL", None, "he will listen to music", "그는 음악을 들을 거예요"),
        (
            "my father",
            "듣",
            ("music", "음악을"),
            "DOING",
            None,
            "my father is listening to music",
            "우리 아버지께서는 음악을 듣고 계세요",
        ),
        (
            "my grandmother",
            "살",
            ("in Seoul", "서울에"),
            "NOW",
            None,
            "my grandmother lives in Seoul",
            "우리 할머니께서는 서울에 사세요",
        ),
        (
            "Sujin",
            "알",
            ("a singer", "가수를"),
            "NOT_NOW",
            None,
            "Sujin does not know a singer",
            "수진은 가수를 몰라요",
        ),
        ("who", "사", ("a hat", "모자를"), "DID", YESTERDAY, "who bought a hat yesterday", "누가 어제 모자를 샀어요"),
    ],
)
def test_clauses(who, stem, rest, mood, time, english, korean):
    phrase = clauses.Phrase(verb_of(stem), *rest)
    words = clauses.say(PEOPLE[who], phrase, getattr(clauses, mood), time or clauses.NOTHING)
    assert words == (english, korean, ())


def test_questions_and_omitted_pronouns_in_korean():
    phrase = clauses.Phrase(verb_of("쓰"), "a letter", "편지를")
    you, teacher = PEOPLE["you"], PEOPLE["my teacher"]
    assert clauses.say(you, phrase, clauses.DID, ask="?")[:2] == ("did you write a letter", "편지를 썼어요")
    asked = clauses.say(teacher, phrase, clauses.DOING, ask="왜")
    assert asked[:2] == ("is my teacher writing a letter", "우리 선생님께서는 왜 편지를 쓰고 계세요")


def test_order_is_not_that_of_english():
    """Purpose and cause stand before the Korean verb; pronouns that take somebody up again are left out."""
    minsu, grandfather = PEOPLE["Minsu"], PEOPLE["my grandfather"]
    going = clauses.Phrase(verb_of("가"), "to the library", "도서관에")
    reading = clauses.Phrase(verb_of("읽"), "books", "책을")
    purpose = clauses.subordinate("to", minsu.again(), reading, clauses.NOW)
    made = clauses.say(minsu, going, clauses.DID, YESTERDAY, purpose)
    assert made.english == "Minsu went to the library yesterday to read books"
    assert made.korean == "민수는 어제 책을 읽으러 도서관에 갔어요"
    sick = clauses.Phrase(dict(lexicon.STATES)["sick"], "sick")
    cause = clauses.subordinate("because", grandfather.again(), sick, clauses.DID)
    made = clauses.say(grandfather, going, clauses.DID_NOT, around=cause)
    assert made.english == "my grandfather did not go to the library because he was sick"
    assert made.korean == "우리 할아버지께서는 편찮으셔서 도서관에 안 가셨어요"


def test_particles_agree_with_the_word_before_them(everything):
    """No 을 after a vowel, no 를 after a consonant, and so on, in any sentence."""
    wrong = {"를": True, "을": False, "는": True, "은": False, "와": True, "과": False, "가": True}
    nouns = {noun.korean for noun in lexicon.NOUNS.values()}
    people = {person.korean.split()[-1] for person in sentences.OTHERS}
    for target in everything.values():
        for word in phrasebook.words_of(target):
            if word[:-1] in nouns | people and word[-1] in wrong and word not in nouns:
                assert (hangul.final_consonant(word[:-1]) != 0) != wrong[word[-1]], target


# Gold alignments.


@pytest.mark.parametrize(
    ("english", "korean", "links"),
    [
        (
            "Anna reads a long report every morning.",
            "안나는 매일 아침 긴 보고서를 읽어요.",
            "0-0 1-5 2?3 3-3 4-4 5-1 6-2",
        ),
        (
            "My father could not open that dictionary.",
            "우리 아버지께서는 그 사전을 못 펴셨어요.",
            "0-0 1-1 3-4 4-5 5-2 5?5 6-3",
        ),
        ("They can help two lawyers.", "그들은 변호사를 두 명 도와줄 수 있어요.", "0-0 1-5 1-6 2-4 3-2 3?3 4-1 4?3"),
        ("Is the tea colder than the water?", "차는 물보다 더 차가워요?", "0?3 1?0 2-0 3?2 3-3 4?1 5?1 6-1"),
        ("Mina wants to go home in two days.", "미나는 이틀 후에 집에 가고 싶어 해요.", None),
    ],
)
def test_translated_words_are_linked(english, korean, links):
    sure, possible = gold["align"](english, korean)
    assert not sure & possible
    if links is None:
        assert {(7, 1), (5, 2), (4, 3), (3, 4), (1, 5)} <= sure
        assert (1, 6) in possible
    else:
        assert gold["formatted"](sure, possible) == links


def test_nearly_every_korean_word_has_its_english_one(book):
    linked, total = 0, 0
    for pair in book.test:
        sure, possible = gold["align"](*pair)
        assert all(at < len(pair.source.split()) and to < len(pair.target.split()) for at, to in sure | possible)
        linked += len({to for _, to in sure})
        total += len(pair.target.split())
    assert linked > 0.94 * total
