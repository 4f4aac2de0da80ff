"""The scanner of protected spans."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.errors import DataError
from nmtcli.text.spans import KINDS, Scanner, Span, read_patterns

PIECES = [
    "see", " ", ".", ",", "(", ")", "https://x.y/a_(b)?c=1", "www.foo.org", "me@x.org", "12,500", "3.5 km", "%", "50 %",
    "{name}", "{{n}}", "{", "}", "%s", "%(name)s", "%1$s", "${x}", "{n, plural, one {# item} other {items}}", "__A__",
    "<b>", "</b>", '<a href="{u}">', "<br/>", "<!-- x -->", "<", ">", "'", '"', "語", "é", "__", "-", "€", "%%", "\n",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
SCANNER = Scanner()


def found(text, kinds=KINDS, patterns=()):
    return [(span.kind, span.text) for span in Scanner(kinds, patterns).scan(text)]


@given(TEXTS)
def test_spans_are_apart_in_order_and_have_their_text(text):
    spans = SCANNER.scan(text)
    end = 0
    for span in spans:
        assert end <= span.start < span.end
        assert text[span.start : span.end] == span.text
        end = span.end
    assert Scanner().scan(text) == spans


@given(TEXTS, TEXTS)
def test_known_code_stays_whole_and_the_rest_is_scanned(before, after):
    text = f"{before}a < b %s 5 km{after}"
    code = Span(len(before), len(text) - len(after), "code", "a < b %s 5 km")
    spans = SCANNER.scan(text, [code])
    assert code in spans
    assert sorted(spans, key=lambda span: span.start) == spans
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://x.y/a_(b), or (http://a.b/c).", ["https://x.y/a_(b)", "http://a.b/c"]),
        ("www.foo.org! Mail <me@x.org>.", ["www.foo.org", "me@x.org"]),
        ("请看https://x.y/z。好", ["https://x.y/z"]),
        ("12,500 people, 3.5 km, 50 % of $12.50 on 2026-11-30", ["12,500", "3.5 km", "50 %", "$12.50", "2026-11-30"]),
        ("the 2nd of 3D and v2x", []),
        ("the 12 in total", ["12"]),
        ("第12章と3本", ["12", "3"]),
        ("%s of %(name)s, %1$s and %.2f or 100%", ["%s", "%(name)s", "%1$s", "%.2f", "100%"]),
        ("100% discount", ["100%"]),
        ("%ds ago", ["%d"]),
        ("{n} and {{n}} and ${x} {d, date, short}", ["{n}", "{{n}}", "${x}", "{d, date, short}"]),
        ("{n, plural, one {# '{' item} other {# items}} left", ["{n, plural, one {# '{' item} other {# items}}"]),
        ("song __A__ and __A__", ["__A__", "__A__"]),
        ('<a href="{url}">{url}</a>', ['<a href="{url}">', "{url}", "</a>"]),
        ("1 < 2 and a <b or c", ["1", "2"]),
        ("a<br/>b<!-- no -->", ["<br/>", "<!-- no -->"]),
        ('<x a="1 > 0"/>', ['<x a="1 > 0"/>']),
    ],
)
def test_what_is_protected(text, expected):
    assert [span for _, span in found(text)] == expected


def test_the_first_counts_then_the_longest_then_the_user():
    assert found("abc", patterns=[re.compile("b"), re.compile("ab")]) == [("custom", "ab")]
    assert found("{x}", patterns=[re.compile(r"\{x\}")]) == [("custom", "{x}")]
    assert found("{x}", patterns=[re.compile("x")]) == [("variable", "{x}")]
    assert found("5 km {x}", kinds=["variable"]) == [("variable", "{x}")]
    assert found("aXb", patterns=[re.compile(r"(?=X)"), re.compile(r"\bq*")]) == []  # nothing but empty matches


def test_patterns_of_the_user_are_checked(tmp_path):
    path = tmp_path / "protect.txt"
    path.write_bytes(b"ISO \\d+\r\n\nNo\\. \\d+\n")
    assert [pattern.pattern for pattern in read_patterns(path)] == ["ISO \\d+", "No\\. \\d+"]
    assert found("ISO 9001 and No. 5", patterns=read_patterns(path)) == [("custom", "ISO 9001"), ("custom", "No. 5")]
    path.write_text("good\n[bad\n\nx*\n(worse\n")
    with pytest.raises(DataError) as error:
        read_patterns(path)
    assert f"{path}:2: '[bad' is not a regular expression" in error.value.message
    assert f"{path}:4: 'x*' matches empty text" in error.value.message
    assert f"{path}:5: '(worse' is not" in error.value.message


@pytest.mark.parametrize(
    "text", ["a", "<a ", "{", "1", "<!--", "%", "@", "))", "www.", "__a", "{a,plural,", "<a '", "%0", "%1$"]
)
def test_a_long_line_takes_no_long_time(text):
    SCANNER.scan(text * 20_000)
    SCANNER.scan("%" + "0" * 100_000 + text)
    SCANNER.scan("%(a)" + "0" * 100_000 + text)
