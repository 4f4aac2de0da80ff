"""The quick rule by which training text with several sentences in a line is recognised."""

import pytest

from nmtcli.text.sentences import several_sentences


@pytest.mark.parametrize(
    "text",
    [
        "The dog is here. It is big.",
        'He said "No." She left.',
        "Really?! Yes",
        "Er kam 1990. Sie ging.",
        "你好。他来了。",
        "「はい。」彼は言った",
        "क्या? नहीं। हाँ",
        "ما هذا؟ هذا كلب.",
        "안녕. 나는 개야.",
        "Wait… What?",
        "¿Qué? ¡No!",
    ],
)
def test_several(text):
    assert several_sentences(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The dog is here.",
        "Mr. Smith and Dr. Jones met J. R. Tolkien.",
        "am 3. Mai, z. B. Montag",
        "The U.S. Army uses e.g. Jeeps",
        "see www.a.org. or not",
        "It costs 3.50 Euros",
        "你好。",
        "Wait... what?",
        "node.js and .NET",
    ],
)
def test_one(text):
    assert not several_sentences(text)


@pytest.mark.parametrize("text", [".", "。", ". ", "。'", "!?", ".'", "… "])
def test_a_long_run_of_marks_takes_no_long_time(text):
    assert not several_sentences(text * 200_000)
