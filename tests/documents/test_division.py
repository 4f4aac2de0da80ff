"""Translations divided over cues and lines."""

from hypothesis import given
from hypothesis import strategies as st

from nmtcli.documents.division import divided
from nmtcli.text.inline import Tag, plain
from tests.text.contents import WELL_FORMED

WORDS = st.text(alphabet="abcé,.", min_size=1, max_size=8)
PARTS = st.lists(st.lists(WORDS, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=5)


@given(PARTS)
def test_the_text_itself_is_divided_as_it_was(parts):
    content = (" ".join(parts),)
    assert [plain(part) for part in divided(content, [len(part) for part in parts])] == parts


@given(WELL_FORMED, st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_nothing_is_lost(content, lengths):
    parts = divided(content, lengths)
    assert len(parts) == len(lengths)
    assert [one for part in parts for one in part if isinstance(one, Tag)] == [
        one for one in content if isinstance(one, Tag)
    ]
    assert "".join("".join(map(plain, parts)).split()) == "".join(plain(content).split())


@given(st.lists(WORDS, min_size=1, max_size=12), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_each_part_has_a_word_while_there_are_enough(words, lengths):
    parts = [plain(part) for part in divided((" ".join(words),), lengths)]
    assert " ".join(part for part in parts if part) == " ".join(words)
    assert sum(bool(part) for part in parts) == min(len(words), len(lengths))


def test_text_without_blanks_is_divided_between_characters():
    parts = [plain(part) for part in divided(("今日は天気がいいです。明日も。",), [7, 8])]
    assert "".join(parts) == "今日は天気がいいです。明日も。"
    assert all(parts)
    assert not parts[1].startswith("。")
