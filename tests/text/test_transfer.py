"""Tags put into a translation by word alignment."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmtcli.text.inline import Tag, content_of, merged, partners, plain, tag_violations, written
from nmtcli.text.spans import Scanner
from nmtcli.text.transfer import transfer
from tests.text.contents import ANY, TEXT, WELL_FORMED

LINKS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8)


def tags(content):
    return Counter(part for part in content if isinstance(part, Tag))


def between_blanks(content):
    """How many tags stand between two blanks, which they keep in the translation."""
    places = [at for at, part in enumerate(content) if isinstance(part, Tag)]
    around = [(plain(content[:at])[-1:], plain(content[at:])[:1]) for at in places]
    return sum(before.isspace() and after.isspace() for before, after in around)


def nested(content):
    """Whether every opening tag has a closing one, in order."""
    pairs = partners(content)
    return len(pairs) * 2 == sum(isinstance(part, Tag) and part.role != "single" for part in content)


def test_tags_in_capitals_are_pairs():
    """As in HTML that was written by hand."""
    line = "Please <A HREF=u>click <I>here</i></a> <BR> now"
    content = content_of(line, Scanner(["tag"]).scan(line))
    assert nested(content) and written(content) == line
    assert [content[at].text for at in partners(content)] == ["<I>", "<A HREF=u>"]


@given(st.one_of(WELL_FORMED, ANY))
def test_the_source_itself_aligned_with_itself_gets_its_tags_back(content):
    words = plain(content).split()
    for links in ([(word, word) for word in range(len(words))], []):
        assert transfer(content, plain(content), links) == content


@given(st.one_of(WELL_FORMED, ANY), TEXT, LINKS)
@example((" ", Tag("<br/>", "single", "<br/>"), " "), "1", [])
def test_every_tag_comes_exactly_once_and_the_text_is_kept(content, translation, links):
    result = transfer(content, translation, links)
    assert tags(result) == tags(content)
    added = len(plain(result)) - len(translation)
    assert 0 <= added <= 2 * between_blanks(content)
    assert plain(result).replace(" ", "") == translation.replace(" ", "")
    assert result == merged(result)
    assert all(violation.kind == "malformed" for violation in tag_violations(content, result))


@given(WELL_FORMED, TEXT, LINKS)
def test_well_formed_text_stays_well_formed(content, translation, links):
    assert nested(content)
    result = transfer(content, translation, links)
    assert nested(result)
    assert not tag_violations(content, result)
    assert parents(result) == parents(content)


def parents(content):
    """How often each tag stands inside which others."""
    found, stack = Counter(), []
    for part in content:
        if isinstance(part, Tag):
            if part.role == "close":
                stack.pop()
            else:
                found[(part, tuple(stack))] += 1
                if part.role == "open":
                    stack.append(part)
    return found


def put(source, translation, links):
    content = content_of(source, Scanner({"tag"}).scan(source))
    pairs = [tuple(map(int, link.split("-"))) for link in links.split()]
    return written(transfer(content, translation, pairs))


@pytest.mark.parametrize(
    ("source", "translation", "links", "expected"),
    [
        ("A <b>red</b> car.", "Une voiture rouge.", "0-0 2-1 1-2", "Une voiture <b>rouge</b>."),
        ("the <b>white house</b>", "la maison blanche", "0-0 2-1 1-2", "la <b>maison blanche</b>"),
        ("<b>Hello</b>, world!", "Bonjour, monde !", "0-0 1-1", "<b>Bonjour</b>, monde !"),
        ("<i>a <b>red</b> car</i>", "une voiture rouge", "0-0 2-1 1-2", "<i>une voiture <b>rouge</b></i>"),
        ("One line<br/>two lines", "Eine Zeile zwei Zeilen", "0-0 1-1 1-2 2-3", "Eine Zeile zwei<br/>Zeilen"),
        ('He <b>calls</b> his<x id="1"/> mother', "Er ruft seine Mutter an", "0-0 1-1 1-4 2-2 3-3", None),
        ("<p>All of it.</p>", "Alles.", "0-0 1-0 2-0", "<p>Alles.</p>"),
        ("<b></b>a b", "b a", "0-1 1-0", "<b></b>b a"),
        ("see <a>__URL__</a> now", "jetzt __URL__ sehen", "", "jetzt <a>__URL__</a> sehen"),
        ("a <b>b</b> c", "", "", "<b></b>"),
    ],
)
def test_examples(source, translation, links, expected):
    expected = expected or 'Er <b>ruft</b> seine<x id="1"/> Mutter an'
    assert put(source, translation, links) == expected


def test_words_of_texts_without_blanks_may_be_given():
    content = content_of("a <b>red</b> car", Scanner({"tag"}).scan("a <b>red</b> car"))
    text = "赤い車"
    result = transfer(content, text, [(1, 0), (2, 1)], target_words=[(0, 2), (2, 3)])
    assert written(result) == "<b>赤い</b>車"


def test_violations_are_told():
    def content(text):
        return content_of(text, Scanner({"tag"}).scan(text))

    source = content("a <b>b</b> <i>c</i>")
    told = [(one.kind, one.text) for one in tag_violations(source, content("<b><i>a</b></i> <i><u>b"))]
    assert ("repeated", "<i>") in told
    assert ("added", "<u>") in told
    assert ("malformed", "</i>") in told
    assert [(one.kind, one.text) for one in tag_violations(source, content("a <b>b</b>"))] == [
        ("missing", "<i>"),
        ("missing", "</i>"),
    ]
    assert not tag_violations(source, source)


def test_a_single_tag_between_blanks_stays_between_blanks():
    tag = Tag('<x id="2"/>', "single")
    for translation, expected in (
        ("Er kommt morgen", 'Er kommt <x id="2"/> morgen'),
        ("Er kommt  morgen", 'Er kommt <x id="2"/> morgen'),
    ):
        result = transfer(("He comes ", tag, " tomorrow"), translation, [(0, 0), (1, 1), (2, 2)])
        assert written(result) == expected


@pytest.mark.parametrize("word", ["हिन्दी", "Jose\u0301", "עִבְרִית", "नमस्\u200dते"])
def test_combining_marks_stay_with_their_word(word):
    content = ("I like ", Tag("<b>", "open", "b"), word, Tag("</b>", "close", "b"), " now")
    links = [(n, n) for n in range(4)]
    assert transfer(content, f"I like {word} now", links) == content


@pytest.mark.parametrize("depth", [99, 100, 101, 3000])
def test_tags_may_stand_in_one_another_at_any_depth(depth):
    source = "<b>" * depth + "one" + "</b>" * depth + " two"
    content = content_of(source, Scanner({"tag"}).scan(source))
    result = transfer(content, "eins zwei", [(0, 0), (1, 1)])
    assert tags(result) == tags(content)
    assert plain(result) == "eins zwei"
    if depth <= 100:
        assert written(result) == "<b>" * depth + "eins" + "</b>" * depth + " zwei"
