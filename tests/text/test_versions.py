"""Corresponding positions of two versions of a text."""

from hypothesis import given
from hypothesis import strategies as st

from nmtcli.text.versions import Versions, overlapping, word_ranges

PARTS = st.lists(
    st.text("ab _", max_size=4).map(lambda text: (text, text)) | st.tuples(st.text("cd", max_size=3), st.text("e")),
    max_size=6,
).map(lambda parts: Versions(tuple(parts)))


@given(PARTS, st.data())
def test_common_text_keeps_its_place(versions, data):
    start = data.draw(st.integers(0, len(versions.first)))
    end = data.draw(st.integers(start, len(versions.first)))
    begin, stop = versions.moved(start, end)
    assert 0 <= begin <= stop <= len(versions.second)
    common = [one for one in versions.first[start:end] if one in "ab _"]
    assert [one for one in versions.second[begin:stop] if one in "ab _"] == common
    assert versions.swapped.first == versions.second


def test_a_part_that_differs_moves_as_a_whole():
    versions = Versions((("See ", "See "), ("www.a.org", "__URL__"), (", now", ", now")))
    assert versions.moved(6, 7) == (4, 11)
    assert versions.moved(0, 5) == (0, 11)
    assert versions.moved(14, 18) == (12, 16)
    assert versions.swapped.moved(4, 11) == (4, 13)
    tagged = Versions((("a", "a"), ("", "<br>"), ("b", "b")))
    assert tagged.moved(1, 2) == (5, 6)
    assert tagged.swapped.moved(1, 5) == (1, 1)  # a tag has no place in the text without tags


@given(st.text("a ", max_size=12), st.data())
def test_words_that_share_a_character(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    words = word_ranges(text)
    shared = [number for number, (first, last) in enumerate(words) if max(first, start) < min(last, end)]
    assert list(overlapping(words, (start, end))) == shared
