"""Edits of a text and the words after them."""

from hypothesis import given
from hypothesis import strategies as st

from nmtcli.text.edits import Edit, edited, words_after

WORDS = st.lists(st.sampled_from(["a", "bc", "def", "b", "-", "é語"]), max_size=8)


@given(WORDS)
def test_without_edits_every_word_stays(words):
    text = "  ".join(words)
    assert edited(text, []) == text
    assert words_after(text, []) == list(range(len(words)))


@given(WORDS, WORDS, st.sampled_from(["", "X", "X Y", "XY"]))
def test_words_around_an_edit_stay_and_those_in_it_become_its_word(before, after, replacement):
    text = " ".join([*before, "|p q|", *after])
    edits = [Edit(text.index("|"), text.rindex("|") + 1, replacement)]
    inside = [len(before)] * 2 if len(replacement.split()) == 1 else [None, None]
    later = range(len(before) + len(replacement.split()), len(edited(text, edits).split()))
    assert words_after(text, edits) == [*range(len(before)), *inside, *later]


def test_replaced_words_become_one_and_split_words_are_none():
    text = "it is 12 km from<br>here ."
    edits = [Edit(6, 11, "__NUMBER__"), Edit(16, 20, " "), Edit(24, 26, "")]
    assert edited(text, edits) == "it is __NUMBER__ from here"
    assert words_after(text, edits) == [0, 1, 2, 2, None, None]
