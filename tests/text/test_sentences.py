"""Paragraphs into sentences and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.text.sentences import split_sentences
from nmtcli.text.spans import Span

pytest.importorskip("sentencex", reason="pip install nmtcli[documents]")

LANGUAGES = st.sampled_from(["en", "de", "es", "fr", "zh", "ja", "th", "ru", "am", "hy", "xx", "", "de-AT", "zh_Hans"])
PARAGRAPHS = st.lists(
    st.sampled_from(
        ["a", "B", ".", "!", "?", "。", "…", " ", "  ", "\t", "\n", "\u00a0", "\u0085", "Mr.", "1.", '"', "é"]
    )
    | st.text(max_size=3),
    max_size=14,
).map("".join)


@given(PARAGRAPHS, LANGUAGES)
def test_the_sentences_and_what_is_between_them_are_the_paragraph(paragraph, language):
    split = split_sentences(paragraph, language)
    assert split.text == paragraph
    assert all(sentence == sentence.strip() != "" for sentence in split.sentences)
    assert all(not gap.strip() for gap in split.gaps)
    assert len(split.gaps) == len(split.sentences) + 1


@given(PARAGRAPHS, LANGUAGES, LANGUAGES)
def test_a_paragraph_of_translations_has_them_all_in_order(paragraph, source, target):
    split = split_sentences(paragraph, source)
    words = [f"S{number}." for number in range(len(split.sentences))]
    joined = split.joined(words, target)
    assert "".join(joined.split()) == "".join(words)
    if target == "en":
        assert joined.split() == words


@pytest.mark.parametrize(
    ("paragraph", "language", "expected"),
    [
        ("The dog is in the house. It is very big.  I don't like it.", "en", 3),
        ("Mr. Smith paid 3.50 dollars, e.g. for tea. Really?", "en", 2),
        ("Das ist z. B. Dr. Maier. Er kommt am 3. Mai.", "de", 2),
        ("Das ist z. B. Dr. Maier. Er kommt am 3. Mai.", "deu_Latn", 2),
        ("他来了。我走了！好吗？", "zh", 3),
        ("No end", "xx", 1),
        ("", "en", 0),
        ("  ", "en", 0),
    ],
)
def test_examples(paragraph, language, expected):
    assert len(split_sentences(paragraph, language).sentences) == expected


def test_blanks_follow_the_habit_of_the_target():
    english = split_sentences(" One. Two.\tThree. ", "en")
    assert english.joined(["一。", "二。", "三。"], "zh-Hans") == " 一。二。\t三。 "
    assert english.joined(["Eins.", "Zwei.", "Drei."], "de") == " Eins. Zwei.\tDrei. "
    assert english.joined(["一。", "二。", "三。"], "zho_Hans") == " 一。二。\t三。 "
    chinese = split_sentences("一。二。", "zh")
    assert chinese.joined(["One.", "Two."], "en") == "One. Two."
    assert chinese.joined(["一。", "二。"], "ja") == "一。二。"


def test_no_sentence_ends_inside_a_protected_span():
    text = "The file is called Yes. Sure. No here. It is new."
    span = Span(19, 32, "code", "Yes. Sure. No")
    assert text[span.start : span.end] == span.text
    assert len(split_sentences(text, "en").sentences) == 4
    assert split_sentences(text, "en", [span]).sentences == ("The file is called Yes. Sure. No here.", "It is new.")
