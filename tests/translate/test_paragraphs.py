"""Paragraphs, protected spans and tags: lines are divided, and their translations joined."""

import itertools
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nmtcli import LineHandling, Translator
from nmtcli.config import SearchConfig, TokenizerConfig
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import UserError
from nmtcli.text.inline import Tag, content_of, written
from nmtcli.text.masking import symbols
from nmtcli.text.spans import KINDS, Scanner
from nmtcli.text.versions import word_ranges
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.assembly import combined
from nmtcli.translate.line_constraints import LineConstraints
from nmtcli.translate.paragraphs import Paragraph, Paragraphs
from nmtcli.translate.translation import Candidate, Request, Translation, without_controls
from tests.conftest import nmt
from tests.text.contents import WELL_FORMED
from tests.text.test_spans import PIECES

SENTENCES = ["one two. Three four!", "see www.a.org or {name}", "eins zwei. Drei"] * 4
LINE = st.lists(st.sampled_from([*PIECES, "One two.", "He came.", "<b>", "</b>", "語。"]), max_size=8).map(
    " ".join
) | WELL_FORMED.map(written)
HANDLINGS = [
    LineHandling(split_sentences=split, protect=protect, tags=tags)
    for split, protect, tags in itertools.product([False, True], ["none", "mask", "copy"], ["keep", "transfer"])
]


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    """A joint tokenizer with all placeholder symbols and two language tags."""
    config = TokenizerConfig(vocab_size=600, symbols=symbols(KINDS))
    tokenizer = Tokenizer.train(SENTENCES, config, ["<2de>", "<2ja>"])
    return Tokenizers(tokenizer, tokenizer)


def unchanged(paragraph: Paragraph) -> list[Translation]:
    """Each sentence translated by itself, each word aligned with itself."""
    translations = []
    for sentence in paragraph.sentences:
        source = sentence.request.source.removeprefix("<2de> ").removeprefix("<2ja> ")
        tag = len(sentence.request.source.split()) - len(source.split())
        words = len(source.split())
        pieces = re.findall(r"\S", sentence.request.source), re.findall(r"\S", source)
        shift = len(pieces[0]) - len(pieces[1])
        attention = AttentionMap(*map(list, pieces), np.eye(len(pieces[1]), len(pieces[0]), shift, np.float32), "")
        alignment = tuple((word + tag, word) for word in range(words))
        candidate = Candidate(source, -1.0, -2.0, attention, alignment)
        translations.append(Translation(sentence.request.source, (candidate,) if source.strip() else ()))
    return translations


def joined(tokenizers: Tokenizers, handling: LineHandling, line: str, languages=("en", "de")) -> Translation:
    paragraphs = Paragraphs(tokenizers, handling, languages, constrained=True)
    paragraph = paragraphs.divide(Request(line))
    return paragraphs.join(paragraph, unchanged(paragraph), 1, attention=True, alignment=True)


# ---- what is not changed comes out as it went in ----


@settings(max_examples=150)
@example("<b>1.</b> (5) 25 5", LineHandling(protect="mask", tags="transfer"), "de")
@example("<i>5,</i> 25 5 <b>5</b>.", LineHandling(protect="copy", tags="transfer"), None)
@given(LINE, st.sampled_from(HANDLINGS), st.sampled_from(["de", None]))
def test_a_line_translated_by_itself_is_the_line(tokenizers, line, handling, language):
    handling = replace(handling, target_language=language)
    translation = joined(tokenizers, handling, line)
    if not translation.text:
        assert not line.strip() or not re.sub(r"<[^>]*>", "", line).strip()
        return
    same = line = without_controls(line)
    if handling.split_sentences and translation.text != line:  # sentences that touch get a blank
        same, translation = line.replace(" ", ""), replace(translation, candidates=())
        assert not translation.violations
        return
    assert translation.text == same
    assert not translation.violations and not translation.problems
    assert written(translation.content) == line


@settings(max_examples=100)
@given(LINE, st.sampled_from(HANDLINGS))
def test_words_are_aligned_with_themselves(tokenizers, line, handling):
    translation = joined(tokenizers, handling, line)
    if translation.text != line or not line.strip():
        return
    links = translation.candidates[0].alignment
    words = [line[start:end] for start, end in word_ranges(line)]
    assert links is not None
    assert {target for _, target in links} <= set(range(len(words)))
    if handling.protect != "mask" and not re.search("[<>語]", line):
        assert links == tuple((word, word) for word in range(len(words)))


def test_the_attention_of_a_paragraph_is_that_of_its_sentences(tokenizers):
    handling = LineHandling(split_sentences=True)
    attention = joined(tokenizers, handling, "One two. He came.").candidates[0].attention
    assert "".join(attention.source) == "Onetwo.Hecame."
    assert np.array_equal(attention.weights, np.eye(14, dtype=np.float32))
    assert attention.title == attention.source_text == "One two. He came."


def test_tags_and_spans_come_back(tokenizers):
    handling = LineHandling(split_sentences=True, protect="mask", tags="transfer", target_language="de")
    line = "See <b>www.a.org</b> for 5 km. <i>Then</i> write <a href='x'>me@a.org</a>!"
    paragraphs = Paragraphs(tokenizers, handling, ("en", "de"), constrained=True)
    paragraph = paragraphs.divide(Request(line))
    assert [one.request.source for one in paragraph.sentences] == [
        "<2de> See __URL__ for __NUMBER__.",
        "<2de> Then write __EMAIL__!",
    ]
    assert paragraphs.join(paragraph, unchanged(paragraph), 1, False, True).text == line


def test_violations_are_told_and_decide(tokenizers):
    line = "See <b>www.a.org</b> for 5 km."
    for decision, text in (("keep", "Sieh"), ("source", line), ("fail", "")):
        handling = LineHandling(protect="mask", tags="transfer", on_violation=decision)
        paragraphs = Paragraphs(tokenizers, handling, ("en", "de"), constrained=True)
        paragraph = paragraphs.divide(Request(line))
        candidate = Candidate("Sieh __URL__ __URL__ für __EMAIL__", -1.0, -1.0, None, ((0, 0),))
        translation = paragraphs.join(paragraph, [Translation("", (candidate,))], 1, False, False)
        assert [(one.kind, one.text) for one in translation.violations] == [
            ("missing", "5 km"),
            ("repeated", "www.a.org"),
            ("added", "__EMAIL__"),
        ]
        assert {"missing-span", "repeated-span", "added-span"} <= set(translation.problems)
        assert ("kept-source" in translation.problems) == (decision == "source")
        assert ("violation" in translation.problems) == (decision == "fail") == (translation.content is None)
        assert translation.text.startswith(text) and bool(translation.text) == bool(text)


@given(st.lists(st.lists(st.integers(-9, 0), min_size=1, max_size=4), min_size=1, max_size=4), st.integers(1, 6))
def test_candidates_of_a_paragraph_have_the_best_sums(scores, number):
    pools = [[Candidate(str(score), float(score), 0.0) for score in sorted(pool, reverse=True)] for pool in scores]
    sums = [sum(one.score for one in chosen) for chosen in combined(pools, number, sampled=False)]
    everything = sorted((sum(one.score for one in chosen) for chosen in itertools.product(*pools)), reverse=True)
    assert sums == everything[:number]


def test_candidates_closer_to_a_constraint_stay_before_others_of_a_larger_score():
    closer, other, sentence = Candidate("a", -3.0, -3.0), Candidate("b", -1.0, -1.0), Candidate("c", -1.0, -1.0)
    pools = [[sentence], [closer, other]]
    assert combined(pools, 2, sampled=False) == [(sentence, closer), (sentence, other)]


@pytest.mark.parametrize("line", ["<br>", "<b></b>", " <b> </b>"])
def test_a_line_of_tags_stays(tokenizers, line):
    translation = joined(tokenizers, LineHandling(tags="transfer", on_violation="fail"), line)
    assert translation.text == written(translation.content) == line
    assert not translation.problems


def test_copied_spans_belong_to_the_part_that_has_them():
    plain = Tokenizer.train(SENTENCES, TokenizerConfig(vocab_size=300))
    handling = LineHandling(protect="copy", localize_numbers=True)
    paragraphs = Paragraphs(Tokenizers(plain, plain), handling, ("en", "de"), constrained=True)
    line = "A man with 1,600 of 16 shirts, a dog with 6 balls of 1,600, 6 times."
    (sentence,) = paragraphs.divide(Request(line)).sentences
    constraints = LineConstraints(Tokenizers(plain, plain), handling, sampling=False)
    parts = ["A man with 1,600 of 16 shirts,", "a dog with 6 balls of 1,600,", "6 times."]
    found = constraints._copied(sentence, parts)
    assert [{copy.text: count for copy, count in one.items()} for one in found] == [
        {"1.600": 1, "16": 1},
        {"6": 1, "1.600": 1},
        {"6": 1},
    ]
    assert constraints._copied(sentence, [line]) == [Counter(sentence.copies)]
    (cut,) = constraints._copied(sentence, parts[:1])  # --long-lines cut
    assert {copy.text: count for copy, count in cut.items()} == {"1.600": 1, "16": 1}


# ---- settings ----


def test_settings_that_the_model_does_not_support_are_refused(tokenizers):
    plain = Tokenizer.train(SENTENCES, TokenizerConfig(vocab_size=300))
    for handling, constrained, message in (
        (LineHandling(protect="mask"), True, "knows no placeholder symbols"),
        (LineHandling(protect="copy"), False, "needs beam search"),
        (LineHandling(patterns=["("]), True, "not a regular expression"),
    ):
        with pytest.raises(UserError, match=message):
            Paragraphs(Tokenizers(plain, plain), handling, ("en", "de"), constrained)
    with pytest.raises(UserError, match="no tag for it") as error:
        Paragraphs(tokenizers, LineHandling(target_language="fr"), ("en", "de"), True)
    assert "de, ja" in str(error.value.hint)


def test_an_ensemble_uses_the_symbols_that_all_its_models_know(tokenizers):
    other = Tokenizer.train(SENTENCES, TokenizerConfig(vocab_size=600, symbols=symbols(["url"])), ["<2de>"])
    sources = (tokenizers.source, other)
    with pytest.raises(UserError, match="no tag for it"):
        Paragraphs(tokenizers, LineHandling(target_language="ja"), ("en", "de"), True, sources=sources)
    for members, expected in (((), "<2de> __URL__ sells __NUMBER__"), (sources, "<2de> __URL__ sells 7,000")):
        paragraphs = Paragraphs(tokenizers, LineHandling(target_language="de"), ("en", "de"), True, sources=members)
        (sentence,) = paragraphs.divide(Request("www.a.org sells 7,000")).sentences
        assert sentence.request.source == expected


def test_the_target_language_of_a_model_without_tags_is_its_own(tokenizers):
    plain = Tokenizer.train(SENTENCES, TokenizerConfig(vocab_size=300, symbols=("<bt>", "<br>")))
    with pytest.raises(UserError, match="--target-language fr: the model translates into de only"):
        Paragraphs(Tokenizers(plain, plain), LineHandling(target_language="fr"), ("en", "de"), True)
    for language, own in (("de-AT", "de"), ("zh", "target"), ("zh", "kyoto"), ("bt", "target")):
        paragraphs = Paragraphs(Tokenizers(plain, plain), LineHandling(target_language=language), ("en", own), True)
        (sentence,) = paragraphs.divide(Request("ACME")).sentences
        assert sentence.request.source == "ACME"  # <bt> is no language


def test_options_of_protection_have_an_effect_without_symbols():
    plain = Tokenizer.train(SENTENCES, TokenizerConfig(vocab_size=300))
    for handling, expected in (
        (LineHandling(), ()),
        (LineHandling(patterns=["ACME"]), ("ACME", "7,000")),
        (LineHandling(protect_kinds=["number"]), ("7,000",)),
        (LineHandling(localize_numbers=True), ("7.000",)),
        (LineHandling(on_violation="fail"), ("7,000",)),
    ):
        paragraphs = Paragraphs(Tokenizers(plain, plain), handling, ("en", "de"), constrained=True)
        (sentence,) = paragraphs.divide(Request("ACME sells 7,000")).sentences
        assert tuple(copy.text for copy in sentence.copies) == expected
    with pytest.raises(UserError, match="needs protected numbers"):
        handling = LineHandling(localize_numbers=True, protect_kinds=["url"])
        Paragraphs(Tokenizers(plain, plain), handling, ("en", "de"), constrained=True)


def test_patterns_and_kinds_choose_what_is_protected(tokenizers):
    handling = LineHandling(protect_kinds=["url"], patterns=[r"ACME-\d+"])
    paragraphs = Paragraphs(tokenizers, handling, ("en", "de"), constrained=True)
    (sentence,) = paragraphs.divide(Request("www.a.org sells ACME-12 for 5 km")).sentences
    assert sentence.request.source == "__URL__ sells __CUSTOM__ for 5 km"


@pytest.mark.parametrize("method", ["mask", "copy"])
def test_numbers_are_localized_on_request(tokenizers, method):
    handling = LineHandling(protect=method, localize_numbers=True)
    paragraphs = Paragraphs(tokenizers, handling, ("en", "de"), constrained=True)
    paragraph = paragraphs.divide(Request("It costs $12,500.5 or 7 on 2026-11-30."))
    (sentence,) = paragraph.sentences
    source = sentence.request.source
    assert ("12,500.5" in source) == (method == "copy")
    text = source.replace("12,500.5", "12.500,5")
    joined = paragraphs.join(paragraph, [Translation(source, (Candidate(text, 0.0, 0.0),))], 1, False, False)
    assert joined.text == "It costs $12.500,5 or 7 on 2026-11-30." and not joined.violations
    if method == "copy":
        assert {copy.text for copy in sentence.copies} == {"$12.500,5", "7", "2026-11-30"}


@pytest.mark.parametrize(("target", "text"), [("ja", "一。二。"), ("de", "一。 二。")])
def test_sentences_are_joined_as_the_target_language_does(tokenizers, target, text):
    handling = LineHandling(split_sentences=True)
    paragraphs = Paragraphs(tokenizers, handling, ("en", target), constrained=True)
    paragraph = paragraphs.divide(Request("One two. He came."))
    translations = [Translation("", (Candidate(text, 0.0, 0.0),)) for text in ("一。", "二。")]
    assert paragraphs.join(paragraph, translations, 1, False, False).text == text


# ---- with a model ----


def test_a_paragraph_is_the_translations_of_its_sentences(trained):
    alone = Translator.load(trained, "cpu", beam_size=2)
    sentences = ["One two three.", "Four five six?", "Seven eight."]
    expected = [one.text for one in alone.translate(sentences)]
    handling = LineHandling(split_sentences=True, source_language="en")
    together = Translator.load(trained, "cpu", beam_size=2, handling=handling)
    lines = ["One two three.  Four five six? Seven eight.", "", "Seven eight."]
    first, empty, last = together.translate(lines, n_best=2, attention=True, alignment=True)
    assert first.text == f"{expected[0]}  {expected[1]} {expected[2]}"
    assert (empty.candidates, last.text) == ((), expected[2])
    assert len(first.candidates) == 2 and first.candidates[0].score >= first.candidates[1].score
    assert first.candidates[0].attention.weights.sum() == pytest.approx(
        len(first.candidates[0].attention.target), abs=0.1
    )
    words = len(lines[0].split()), len(word_ranges(first.text))
    assert all(source < words[0] and target < words[1] for source, target in first.candidates[0].alignment)


def test_sampling_differs_between_the_sentences_of_a_line(trained):
    handling = LineHandling(split_sentences=True, source_language="en")
    drawing = Translator.load(trained, "cpu", method="sampling", seed=2, handling=handling, min_length=4)
    line = "One two three. One two three. One two three."
    (found,) = drawing.translate([line], numbers=[5])
    assert found.text == drawing.translate(["four", line], numbers=[1, 5])[1].text
    length = len(found.text) // 3
    assert len({found.text[at * length : (at + 1) * length].strip() for at in range(3)}) > 1


def test_tags_are_put_back_whatever_the_translation_is(trained):
    handling = LineHandling(tags="transfer", split_sentences=True, source_language="en")
    translator = Translator.load(trained, "cpu", beam_size=2, handling=handling)
    line = "<p>One <b>two</b> three. Four<br/>five <i><u>six</u> nine</i>.</p>"
    (found,) = translator.translate([line])
    scanner = Scanner(["tag"])
    assert sorted(span.text for span in scanner.scan(found.text)) == sorted(span.text for span in scanner.scan(line))
    assert not found.violations
    assert written(content_of(found.text, scanner.scan(found.text))) == found.text
    plain = Translator.load(trained, "cpu", beam_size=2, handling=replace(handling, tags="keep"))
    bare = plain.translate([re.sub(r"<br/>", " ", line).replace("<p>", "")])[0].text
    assert bare  # tags as text: the model writes something else


def test_the_command_line_has_it_all(trained, tmp_path, capsys):
    (tmp_path / "in").write_text("One <b>two</b> {name}. Three four.\n\nFive.\n")
    out = tmp_path / "out"
    command = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", out, "-b", "2", "--source-language", "en"]
    options = ["--split-sentences", "--tags", "transfer", "--protect", "copy", "--protect-kinds", "variable"]
    assert nmt(*command, *options, "--format", "jsonl", "--alignment", "-") == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert records[0]["translation"].count("{name}") == 1
    assert records[0]["translation"].count("<b>") == records[0]["translation"].count("</b>") == 1
    assert records[1]["translation"] == "" and records[0]["candidates"][0]["alignment"]
    assert nmt(*command, "--protect-kinds", "url,phone") == 2
    assert "no kind 'phone'" in capsys.readouterr().err
    assert nmt(*command, "--protect", "none", "--protect-kinds", "url") == 2
    (tmp_path / "patterns").write_text("ok\n(\n")
    assert nmt(*command, "--protect-patterns", tmp_path / "patterns") == 3
    assert "patterns:2: '('" in capsys.readouterr().err
    assert nmt(*command, "--protect", "mask") == 2
    assert "knows no placeholder symbols" in capsys.readouterr().err


# ---- protected spans and constraints together ----


def divided(tokenizers: Tokenizers, handling: LineHandling, request: Request) -> Paragraph:
    return Paragraphs(tokenizers, handling, ("en", "de"), constrained=True).divide(request)


@pytest.mark.parametrize("line", ["", "   ", "\ufeff"])
@pytest.mark.parametrize("split", [False, True])
def test_an_empty_line_has_no_language_tag(tokenizers, line, split):
    handling = LineHandling(target_language="de", split_sentences=split)
    for sentence in divided(tokenizers, handling, Request(line)).sentences:
        assert not tokenizers.source.encode([sentence.request.source])[0]


def test_each_part_of_a_long_line_has_the_language_tag(tokenizers):
    handling = LineHandling(target_language="de", max_source_tokens=9)
    translator = Translator(None, tokenizers, SearchConfig(), handling)
    paragraph = translator.paragraphs.divide(Request("one two. Three four! see www.a.org. One two, one two."))
    (line,), treatments = translator._encode(paragraph.sentences)
    tag = tokenizers.source.encode(["<2de>"])[0]
    assert treatments == ["split"] and len(line.parts) > 2
    assert all(part[: len(tag)] == tag and len(part) <= 9 for part in line.parts)
    assert [token for part in line.parts for token in part[len(tag) :]] == line.tokens[len(tag) :]


def test_constraints_of_a_masked_line_have_its_symbols(tokenizers):
    line = "one 12 two 5 three 5"
    request = Request(line, prefix="eins 12", required=["5 km", ["5", "drei 5"]], banned=["12", "120"])
    (sentence,) = divided(tokenizers, LineHandling(protect="mask"), request).sentences
    names = {span.text: name for name, span in reversed(sentence.masked.spans.items())}  # the first of each
    first, second = names["12"], names["5"]
    assert sentence.request.prefix == f"eins {first}"
    assert sentence.request.required == [f"{second} km", [second, f"drei {second}"]]
    assert sentence.request.banned == [first, "120"]


@pytest.mark.parametrize("protect", ["mask", "copy"])
def test_a_term_with_a_protected_span_is_not_protected(tokenizers, protect):
    handling = LineHandling(protect=protect, terms={"COVID-19": ["Corona"]})
    (sentence,) = divided(tokenizers, handling, Request("one COVID-19 two 19")).sentences
    assert "COVID-19" in sentence.request.source
    kept = [span.text for span in sentence.masked.spans.values()] + [span.text for span in sentence.protected]
    assert kept == ["19"]


@pytest.mark.parametrize("source", ["COVID-19", "one"])
def test_a_span_in_the_translation_of_a_term_is_no_violation(tokenizers, source):
    handling = LineHandling(protect="copy", terms={source: ["COVID-19"]})
    paragraphs = Paragraphs(tokenizers, handling, ("en", "de"), constrained=True)
    paragraph = paragraphs.divide(Request(f"On 19 two {source}"))
    for text, problems in (("On 19 two COVID-19", ()), ("On 19 19 two COVID-19", ("repeated-span",))):
        translation = Translation("", (Candidate(text, -1.0, -1.0),))
        assert paragraphs.join(paragraph, [translation], 1, False, False).problems == problems


def test_no_term_is_looked_for_inside_a_copied_span(tokenizers):
    handling = LineHandling(protect="copy", terms={"one": ["eins"]})
    constraints = LineConstraints(tokenizers, handling, sampling=False)
    for line, terms in (("see www.one.org two", 0), ("see www.one.org one", 1)):
        (sentence,) = divided(tokenizers, handling, Request(line)).sentences
        (constraint,), _ = constraints.constraints(sentence, [sentence.request.source])
        assert sum(not phrase.strict and phrase.least for phrase in constraint.phrases) == terms


def test_kinds_that_the_model_has_no_symbols_for_are_copied():
    tokenizer = Tokenizer.train(SENTENCES, TokenizerConfig(vocab_size=600, symbols=symbols(["url", "code", "custom"])))
    tokenizers = Tokenizers(tokenizer, tokenizer)
    handling = LineHandling(protect_kinds=["email"])
    (sentence,) = divided(tokenizers, handling, Request("see a@b.org or www.a.org")).sentences
    assert [copy.text for copy in sentence.copies] == ["a@b.org"]
    with pytest.raises(UserError, match="no placeholder symbols for email"):
        Paragraphs(tokenizers, replace(handling, protect="mask"), ("en", "de"), constrained=True)
    with pytest.raises(UserError, match="no placeholder symbols for email"):
        Paragraphs(tokenizers, handling, ("en", "de"), constrained=False)


def test_spans_beyond_the_symbols_are_copied(tokenizers):
    numbers = [str(number) for number in range(101, 112)]
    (sentence,) = divided(tokenizers, LineHandling(protect="mask"), Request(" ".join(numbers))).sentences
    assert [span.text for span in sentence.masked.spans.values()] == numbers[:9]
    assert [span.text for span in sentence.protected] == numbers[9:]


def test_no_break_spaces_of_protected_spans_are_kept(tokenizers):
    handling = LineHandling(protect="copy")
    paragraphs = Paragraphs(tokenizers, handling, ("en", "de"), constrained=True)
    paragraph = paragraphs.divide(Request("one 12\u202f500 two"))
    answer = Translation("", (Candidate("eins 12 500 zwei", -1.0, -1.0),))
    translation = paragraphs.join(paragraph, [answer], 1, attention=False, alignment=False)
    assert (translation.text, translation.violations) == ("eins 12\u202f500 zwei", ())


def test_no_sentence_ends_inside_a_pattern(tokenizers):
    handling = LineHandling(split_sentences=True, protect="copy", patterns=["Jeopardy! Live"])
    assert len(divided(tokenizers, handling, Request("He saw Jeopardy! Live yesterday. One two.")).sentences) == 2


def test_words_of_a_segment_with_tags_are_aligned_with_themselves(tokenizers):
    content = ("one ", Tag("<a href='x y'>", "open", "a"), "two", Tag("</a>", "close", "a"), " three")
    paragraphs = Paragraphs(tokenizers, LineHandling(tags="transfer"), ("en", "de"), constrained=True)
    paragraph = paragraphs.divide(Request("one two three", content=content))
    translation = paragraphs.join(paragraph, unchanged(paragraph), 1, attention=True, alignment=True)
    words = translation.text.split()
    assert translation.candidates[0].alignment == tuple(
        (["one", "two", "three"].index(plain_word), number)
        for number, plain_word in enumerate(re.sub(r"<.*>(two)<.*|y'>(two)</a>", r"\1\2", word) for word in words)
        if plain_word in ("one", "two", "three")
    )
