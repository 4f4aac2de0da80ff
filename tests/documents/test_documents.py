"""Documents: read, and written with translations."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nmtcli.documents.formats import ENDINGS, is_document, open_document
from nmtcli.errors import DataError, UserError
from nmtcli.text.inline import Tag, content_of, merged, plain, tag_violations
from nmtcli.text.spans import Scanner
from nmtcli.text.transfer import transfer
from tests.documents.samples import SAMPLES

for package in ("lxml", "markdown_it"):
    pytest.importorskip(package, reason="pip install nmtcli[documents]")

EXACT = [name for name in SAMPLES if name.endswith((".srt", ".vtt", ".md", ".html"))]
FILLED = [name for name in SAMPLES if name not in EXACT]  # what has a translation is not to be translated again
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# what is a mark in some format, and words
MARKS = """* _a_ snake_case ` [x] (y) <b> &amp; a&b # - 1. > | ~~ \\ ! ![z](u) 語 -- == + www.a.b " ' <!-- ]]> %s"""
WORDS = st.sampled_from([*MARKS.split(), "one", "Two", "été", "a\u00a0b"])
LINES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join).filter(lambda line: any(map(str.isalpha, line)))


@pytest.fixture(params=SAMPLES)
def name(request):
    return request.param


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def identity(document):
    return [segment.content for segment in document.segments]


def other_words(segment):
    """The text with other words, but for its code."""
    parts, at = [], 0
    for span in segment.code:
        parts += [re.sub(r"\w+", "eins", segment.text[at : span.start]), span.text]
        at = span.end
    return "".join([*parts, re.sub(r"\w+", "eins", segment.text[at:])])


def canonical(content):
    return ElementTree.canonicalize(content.decode())


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("change", [lambda text: text, lambda text: "\ufeff" + text.replace("\n", "\r\n")])
def test_the_source_as_its_translation_gives_the_same_bytes(name, change, write):
    content = change(SAMPLES[name]).encode()
    document = open_document(write(name, content))
    assert document.segments
    assert document.write(identity(document), "de") == content
    assert document.write(identity(document)) == content


def test_translations_are_what_is_read_from_the_new_file(name, write):
    """Upper case through every format: the same tags, the same number of segments."""
    document = open_document(write(name, SAMPLES[name]))
    upper = [merged(part if isinstance(part, Tag) else part.upper() for part in one) for one in identity(document)]
    new = document.write(upper, "de")
    assert new != SAMPLES[name].encode()
    if name in EXACT:
        assert identity(open_document(write(name, new))) == upper
    else:
        assert not open_document(write(name, new)).segments


def test_nothing_but_text_changes(name, write):
    document = open_document(write(name, SAMPLES[name]))
    new = document.write([(*one, "ZZZ") for one in identity(document)]).decode()
    assert new.count("ZZZ") >= len(document.segments)
    if name in EXACT and not name.endswith((".md", ".srt", ".vtt")):
        assert re.sub(r"\s+", " ", new.replace("ZZZ", "")) == re.sub(r"\s+", " ", SAMPLES[name])
    for kept in ("00:00:02,500 --> 00:00:04,000", "untouched", "No</p>", 'msgstr "fertig"', ">Fertig<", "align:start"):
        assert (kept in new) == (kept in SAMPLES[name])


@pytest.mark.parametrize("name", [name for name in EXACT if not name.endswith((".srt", ".vtt"))])
@SHARED
@given(st.data())
def test_any_text_is_read_again_as_it_was_written(name, write, data):
    """Characters that are marks of the format are text in a translation."""
    document = open_document(write(name, SAMPLES[name]))
    translations = []
    for content in identity(document):
        fixed = next((part.name == "code" for part in content if isinstance(part, Tag)), False)
        translations.append(content if fixed or len(content) > 1 else (data.draw(LINES),))
    again = open_document(write(f"new{name}", document.write(translations)))
    assert [re.sub(r" +", " ", plain(one)) for one in identity(again)] == [
        re.sub(r" +", " ", plain(one)) for one in translations
    ]


@SHARED
@given(st.lists(st.lists(st.sampled_from(["one", "Two,", "three.", "été", "7"]), max_size=9), min_size=3, max_size=9))
@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_words_of_subtitles_are_divided_over_the_cues(name, write, lines):
    document = open_document(write(name, SAMPLES[name]))
    texts = [" ".join(words) for words, _ in zip(lines, document.segments, strict=False)]
    texts += ["end"] * (len(document.segments) - len(texts))
    aligned = [transfer(one, text, []) for one, text in zip(identity(document), texts, strict=True)]
    new = document.write(aligned).decode()
    written = re.sub(r"<[^>]*>|\{[^}]*\}", "", new).split()
    assert [word for word in written if word in set(" ".join(texts).split()) - {"7"}] == [
        word for text in texts for word in text.split() if word != "7"
    ]
    times = re.compile(r"^.*-->.*$", re.MULTILINE)
    assert times.findall(new) == times.findall(SAMPLES[name])


def test_sentences_over_cues_are_one_segment(write):
    document = open_document(write("a.srt", SAMPLES["a.srt"]))
    assert [(segment.line, segment.text) for segment in document.segments] == [
        (3, "The old lighthouse keeper had never seen such a storm. Nobody had."),
        (12, "Are you coming?"),
        (13, "In a minute!"),
    ]
    words = "Der alte Leuchtturmwärter hatte so einen Sturm noch nie gesehen. Niemand hatte das."
    links = [(2, 2), (3, 2), (6, 9), (7, 4), (8, 5), (9, 6)]
    first = transfer(document.segments[0].content, words, links)
    new = document.write([first, ("- Kommst du?",), ("- Gleich!",)]).decode()
    assert "Der alte Leuchtturmwärter hatte\n\n2" in new
    assert "<i>so einen Sturm</i> noch nie gesehen. Niemand" in new.replace("\n", " ")
    assert all(len(line) <= 45 for line in new.splitlines())


def test_messages_are_filled_and_to_be_reviewed(write):
    document = open_document(write("a.po", SAMPLES["a.po"]))
    assert [segment.text for segment in document.segments] == [
        "Hello %s, welcome",
        "Line one",
        'Line "two"',
        "one file",
        "%d files",
    ]
    new = document.write(identity(document)).decode()
    catalog = pytest.importorskip("babel.messages.pofile").read_po(iter(new.splitlines()), abort_invalid=True)
    for message in catalog:
        if message.id and message.id != "finished":
            assert message.string == message.id
            assert message.fuzzy
    unfilled = re.sub(r"#, fuzzy\n", "", new.replace("fuzzy, ", ""))
    assert len(unfilled.splitlines()) == len(SAMPLES["a.po"].splitlines()) + 2  # a message of two lines
    assert all(line in unfilled for line in SAMPLES["a.po"].splitlines() if not line.startswith("msgstr"))


def test_a_catalog_with_one_plural_form_has_the_plural(write):
    text = 'msgid "one"\nmsgid_plural "%d many"\nmsgstr[0] ""\n'
    document = open_document(write("a.po", text))
    assert b'msgstr[0] "%d many"' in document.write(identity(document))


@pytest.mark.parametrize(("name", "units"), [("a.xlf", 4), ("b.xliff", 2)])
def test_units_get_a_target_and_its_state(name, units, write):
    document = open_document(write(name, SAMPLES[name]))
    assert len(document.segments) == units
    new = document.write(identity(document), "de")
    root = ElementTree.fromstring(new)
    found = 0
    for unit in root.iter():
        source, target = unit.find("{*}source"), unit.find("{*}target")
        if source is None or target is None or "Fertig" in "".join(target.itertext()):
            continue
        found += 1
        assert "".join(target.itertext()) == "".join(source.itertext())
        state = target.get("state") or unit.get("state")
        assert state == ("needs-review-translation" if name == "a.xlf" else "translated")
        segmented = unit.find("{*}seg-source")
        assert [child.attrib for child in target] == [
            child.attrib for child in (source if segmented is None else segmented)
        ]
    assert found == units
    assert b'target-language="de"' in new if name == "a.xlf" else b'trgLang="de"' in new
    assert canonical(open_document(write(name, new)).write([])) == canonical(new)


def test_tags_of_each_format_are_transferred(name, write):
    document = open_document(write(name, SAMPLES[name]))
    for segment in document.segments:
        words = segment.text.split()
        links = [(word, len(words) - 1 - word) for word in range(len(words))]
        result = transfer(segment.content, " ".join(reversed(words)), links)
        assert not tag_violations(segment.content, result)
    texts = [transfer(segment.content, other_words(segment), []) for segment in document.segments]
    again = open_document(write(f"new{name}", document.write(texts)))
    if name in EXACT and name not in ("a.srt", "a.vtt"):
        tags = [sorted(part.text for part in one if isinstance(part, Tag)) for one in identity(again)]
        assert tags == [sorted(part.text for part in one if isinstance(part, Tag)) for one in identity(document)]


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        ("a.srt", "1\n00:00:01,000 --> 00:00:02\nHello\n", 2, "not the times of a cue"),
        ("a.srt", "Hello\n\nthere\n", 1, "no cue with times"),
        ("a.srt", "Hello\n\n1\n00:00:01,000 --> 00:00:02,000\nHello\n", 1, "text before the first cue"),
        ("a.vtt", "1\n00:01.000 --> 00:02.000\nHello\n", 1, "not WEBVTT"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> soon\nHello\n", 3, "not the times of a cue"),
        ("a.html", "<p>a</p>\n<p>b <a href='x", 2, "inside a tag"),
        ("a.html", "<p>a</p>\n<!-- b\n", 2, "inside a tag"),
        ("a.html", "<p>a</p>\n<script>var a;\n", 2, "inside <script>"),
        ("a.po", 'msgid "a"\nmsgstr ""\n\nmsgid "b\nmsgstr ""\n', 4, "not a keyword with a string"),
        ("a.po", 'msgid "a"\n\nmsgid "b"\nmsgstr ""\n', 1, "without msgstr"),
        ("a.po", 'msgstr "a"\n', 1, "without msgid"),
        ("a.po", "\n\n", 1, "no message"),
        ("a.po", 'msgid "a"\nmsgstr "b"\nmsgstr "c"\n', 3, "a second msgstr"),
        ("a.xlf", SAMPLES["a.xlf"][:600], 10, "not XML"),
        ("a.xlf", "<html/>", 1, "not XLIFF"),
        ("a.xlf", "", 1, "not XML"),
        ("a.xlf", '<xliff version="1.2"><file><body>\n<trans-unit id="1"/></body></file></xliff>', 2, "without source"),
        ("a.md", b"a\n\xff\n", 2, "not UTF-8"),
        ("a.srt", SAMPLES["a.srt"].encode("utf-16"), None, "is UTF-16"),
    ],
)
def test_a_broken_file_is_told_in_one_line(name, text, line, words, write):
    path = write(name, text)
    with pytest.raises(DataError) as error:
        open_document(path)
    assert error.value.message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert words in error.value.message
    assert "\n" not in error.value.message
    assert error.value.hint


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_or_missing_file_is_told(ending, tmp_path, write):
    with pytest.raises(DataError, match="no such file"):
        open_document(tmp_path / f"missing{ending}")
    empty = write(f"a{ending}", "")
    if ending in (".md", ".markdown", ".html", ".htm", ".xhtml"):  # an empty text is one
        assert open_document(empty).write([]) == b""
        return
    with pytest.raises(DataError):
        open_document(empty)


def test_other_formats_are_refused(tmp_path):
    assert not is_document(tmp_path / "a.docx")
    assert is_document(tmp_path / "A.HTML")
    with pytest.raises(UserError, match="not a known format"):
        open_document(tmp_path / "a.docx")


def test_nothing_outside_the_file_is_read(write, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    text = SAMPLES["a.xlf"].replace("<xliff", f'<!DOCTYPE x [<!ENTITY e SYSTEM "{tmp_path}/secret.txt">]><xliff', 1)
    document = open_document(write("a.xlf", text.replace("the <x", "&e; <x")))
    assert b"secret<" not in document.write(identity(document))
    assert "secret" not in "".join(segment.text for segment in document.segments)
    written = document.write([transfer(segment.content, "a b c d", []) for segment in document.segments], "de")
    assert written.count(b"&e;") == 2  # in source and target
    assert b"secret<" not in written


@pytest.mark.parametrize("name", SAMPLES)
@SHARED
@given(st.data())
def test_any_damage_is_an_error_of_the_user_or_a_document(name, write, data):
    """No traceback for a file that is cut, or has other characters in it."""
    text = SAMPLES[name]
    at = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(at, min(len(text), at + 20)))
    path = write(f"broken{name}", text[:at] + data.draw(st.text(max_size=5)) + text[stop:])
    try:
        document = open_document(path)
    except UserError:
        return
    document.write([transfer(segment.content, "a b c d", []) for segment in document.segments], "de")
    if name in EXACT:
        assert document.write(identity(document)) == path.read_bytes()


def test_the_dash_of_a_speaker_stays(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\n- Where?\n– <i>Here.</i>\n", "utf-8")
    document = open_document(path)
    assert [segment.text for segment in document.segments] == ["Where?", "Here."]
    written = document.write([("Wo?",), ("Hier.",)]).decode()
    assert written.endswith("- Wo?\n– Hier.\n")


def test_a_rule_at_the_start_of_a_crlf_file_is_read_at_once(write):
    """Each line had two readings as front matter: sixty lines would take years."""
    document = open_document(write("a.md", "---\r\n" + "text\r\n" * 60))
    assert len(document.segments) == 1


def test_flags_of_an_obsolete_message_are_not_those_of_the_next(write):
    head = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    old = '#, fuzzy\n#~ msgid "a"\n#~ msgstr "b"\n\n'
    document = open_document(write("a.po", f'{head}{old}msgid "one"\nmsgstr ""\n'))
    written = document.write([segment.content for segment in document.segments], "de").decode()
    assert old in written
    assert '#, fuzzy\nmsgid "one"\nmsgstr "one"' in written


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<ul><li translate="no">A<li>One two<li>Three</ul><p>Four five</p>', ["One two", "Three", "Four five"]),
        ('<ul><li translate="no">A<ul><li>in it</ul>B<li>One</ul><p>Two</p>', ["One", "Two"]),
        ('<table><tr><td translate="no">A<td>One<tr><td>Two</table>', ["One", "Two"]),
        ('<p translate="no">A <b>B</b><p>One', ["One"]),
        ('<div translate="no"><p>A<p>B</div><p>One', ["One"]),
        ('<div><p translate="no">A</div>One', ["One"]),
        ('<div translate="no"><b><div>x</b></div>in</div><p>One', ["One"]),
        ('<ul><li translate="no"><p>A<li>One</ul>', ["One"]),
        ('<p translate="no">A <span/>b<p>One two<p>Three', ["One two", "Three"]),
        ('<p translate="no">A <b>b<p>One', ["One"]),
    ],
)
def test_an_element_that_is_not_translated_ends_without_its_end_tag(body, found, write):
    document = open_document(write("a.html", f"<html><body>{body}</body></html>\n"))
    assert [segment.text for segment in document.segments] == found


def upper(path):
    """The document in capitals, by a search that knows its tags and keeps its code."""
    document = open_document(path)
    code = {span.text for segment in document.segments for span in segment.code}
    contents = [
        tuple(part if isinstance(part, Tag) or part in code else part.upper() for part in one)
        for one in identity(document)
    ]
    return document.write(contents).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- [ ] buy milk\n- [x] sleep\n", "- [ ] BUY MILK\n- [x] SLEEP\n"),
        ("A word.[^1]\n\n[^1]: The note.\n", "A WORD.[^1]\n\n[^1]: THE NOTE.\n"),
        ("A word.[^a]\n\n[^a]: a note\n[^b]: one more\n", "A WORD.[^a]\n\n[^a]: A NOTE\n[^b]: ONE MORE\n"),
        ("see [^1]: there\n", "SEE [^1]: THERE\n"),
        ("an [x] and [ ]\n", "AN \\[X\\] AND \\[ \\]\n"),
    ],
)
def test_boxes_and_footnotes_of_markdown_stay(text, expected, write):
    assert upper(write("a.md", text)) == expected


def test_text_above_the_next_times_belongs_to_the_cue_before(write):
    times = [f"00:0{second}.000 --> 00:0{second + 1}.000\n" for second in (1, 2, 3)]
    text = "WEBVTT\n\n{}first\n{}second\n\nname\n{}third.\n"
    expected = "WEBVTT\n\n{}FIRST\n{}SECOND\n\nname\n{}THIRD.\n"
    assert upper(write("a.vtt", text.format(*times))) == expected.format(*times)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('<meta charset="iso-8859-1">', "M&#228;dchen"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', "M&#228;dchen"),
        ('<meta charset="UTF-8">', "Mädchen"),
        ("", "Mädchen"),
    ],
)
def test_a_declared_encoding_of_html_is_respected(head, expected, write):
    document = open_document(write("a.html", f"<html><head>{head}</head><body><p>A girl.</p></body></html>"))
    assert f"<p>{expected}.</p>" in document.write([("Mädchen.",)]).decode()


def test_xhtml_has_no_entities_of_html(write):
    text = '<html xmlns="http://www.w3.org/1999/xhtml"><body><p>one\u00a0two</p></body></html>'
    new = upper(write("a.xhtml", text))
    assert "".join(ElementTree.fromstring(new).itertext()) == "ONE\u00a0TWO"


@pytest.mark.parametrize("charset", ["ISO-8859-1", "CHARSET", "utf-8"])
def test_a_catalog_declares_the_encoding_it_is_written_in(charset, write):
    head = f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset={charset}\\n"\n\n'
    new = open_document(write("a.po", head + 'msgid "A girl."\nmsgstr ""\n')).write([("Mädchen.",)]).decode()
    assert f"charset={'utf-8' if charset == 'utf-8' else 'UTF-8'}\\n" in new
    assert 'msgstr "Mädchen."' in new


def test_a_unit_of_codes_only_is_left_alone(write):
    text = SAMPLES["a.xlf"]
    unit = '<trans-unit id="codes"><source><ph id="1">&lt;br&gt;</ph></source></trans-unit>'
    document = open_document(write("a.xlf", text.replace("</body>", f"{unit}</body>", 1)))
    assert len(document.segments) == len(open_document(write("b.xlf", text)).segments)


XLIFF = """<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file original="a" source-language="en"
datatype="plaintext"><body>%s</body></file></xliff>"""


def units(*rows):
    return XLIFF % "".join(f'<trans-unit id="{number}">{row}</trans-unit>' for number, row in enumerate(rows, 1))


def test_blanks_at_the_ends_of_an_xliff_segment_stay(write):
    document = open_document(write("a.xlf", units("<source> Save <g id='1'>it</g> now. </source>")))
    assert [segment.text for segment in document.segments] == ["Save it now."]
    content = document.segments[0].content
    new = document.write([("Jetzt ", *content[1:-1], " sichern.")]).decode()
    assert re.search(r"<target[^>]*> Jetzt <g [^>]*>it</g> sichern. </target>", new)


def test_line_breaks_of_xliff_are_kept_where_the_file_says_so(write):
    row = "<source{}>Line one\nLine two</source>"
    document = open_document(write("a.xlf", units(row.format(" xml:space='preserve'"), row.format(""))))
    assert [segment.text for segment in document.segments] == ["Line one Line two"] * 2
    breaks = [[part.text for part in content if isinstance(part, Tag)] for content in identity(document)]
    assert breaks == [["\n"], []]
    new = document.write([("Zeile eins", document.segments[0].content[1], "Zeile zwei"), ("Zeile",)]).decode()
    assert ">Zeile eins\nZeile zwei</target>" in new


def test_an_empty_target_of_segment_marks_is_no_translation(write):
    marks = "<source>One.</source><target><mrk mtype='seg' mid='1'/></target>"
    code = "<source>One <x id='1'/></source><target><x id='1'/></target>"
    assert len(open_document(write("a.xlf", units(marks, code))).segments) == 1


def test_messages_without_words_are_left(write):
    rows = [("%d", False), ("{name}", False), ("https://a.org/b", False), ("%d files", True), ("<b>{x}</b>", False)]
    text = "".join(f'msgid "{row}"\nmsgstr ""\n\n' for row, _ in rows)
    assert [segment.text for segment in open_document(write("a.po", text)).segments] == [
        row for row, translated in rows if translated
    ]
    written = units(*(f"<source>{row}</source>" for row, _ in rows[:4]))
    assert len(open_document(write("a.xlf", written)).segments) == 1


@pytest.mark.parametrize("flags", ["fuzzy, python-format", "python-format, fuzzy", "python-format"])
def test_a_message_is_marked_as_fuzzy_once(write, flags):
    document = open_document(write("a.po", f'#, {flags}\nmsgid "one %d"\nmsgstr ""\n'))
    assert document.write([("eins %d",)]).decode().count("fuzzy") == 1


def test_class_spans_of_webvtt_are_pairs(write):
    cue = "WEBVTT\n\n00:01.000 --> 00:02.000\nI saw <c.red>a dog</c> and <v.loud Bob>him</v> today\n"
    (segment,) = open_document(write("a.vtt", cue)).segments
    assert [part.name for part in segment.content if isinstance(part, Tag)] == ["c", "c", "v", "v"]


def test_front_matter_of_hugo_is_left(write):
    (segment,) = open_document(write("a.md", '+++\ntitle = "One"\n+++\n\nTwo.\n')).segments
    assert segment.text == "Two."


def test_tags_with_an_end_are_pairs_whatever_their_name(write):
    for text in ("My <link>friend</link> here", "My <a href=http://x.org/>friend</a> here"):
        roles = [part.role for part in content_of(text, Scanner({"tag"}).scan(text)) if isinstance(part, Tag)]
        assert roles == ["open", "close"], text
    text = "One <br> two <img src=a> <link rel=b/> <br/>"
    assert {part.role for part in content_of(text, Scanner({"tag"}).scan(text)) if isinstance(part, Tag)} == {"single"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Prices:  \n\\- five euros\n", "PRICES:  \n\\- FIVE EUROS\n"),
        ("See:\\\n\\# one\n", "SEE:\\\n\\# ONE\n"),
        ("Then  \n\\> two\n", "THEN  \n\\> TWO\n"),
        ("So  \n1\\. three\n", "SO  \n1\\. THREE\n"),
        ("See \\![link](x)\n", "SEE \\![LINK](x)\n"),
        ("Use ``git log `x` `` here\n", "USE ``git log `x` `` HERE\n"),
        ("> [!NOTE]\n> Useful text\n", "> [!NOTE]\n> USEFUL TEXT\n"),
        ("Press <kbd>Ctrl</kbd> now\n", "PRESS <kbd>Ctrl</kbd> NOW\n"),
        ('By <span translate="no">Acme</span> of\n', 'BY <span translate="no">Acme</span> OF\n'),
        (
            "<div>\r\n<p>Hello world</p>\r\n</div>\r\n\r\nText\r\n",
            "<div>\r\n<p>HELLO WORLD</p>\r\n</div>\r\n\r\nTEXT\r\n",
        ),
        ("next\0 nul\n", "NEXT\ufffd NUL\n"),
    ],
)
def test_translations_of_markdown_are_the_same_blocks(text, expected, write):
    assert upper(write("a.md", text)) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["Hi Bob.", "- Hello Ann."], ["HI BOB.", "- HELLO ANN."]),
        (["- Hi Bob", "- Hello Ann, how", "are you today?"], ["- HI BOB", "- HELLO ANN, HOW ARE YOU TODAY?"]),
        (["I went home", "- he said", "to me."], ["I WENT HOME - HE SAID TO ME."]),
        (["Hello<br>world"], ["HELLO WORLD"]),
    ],
)
@pytest.mark.parametrize("ending", ["srt", "vtt"])
def test_speakers_of_a_cue_stay_apart(rows, expected, ending, write):
    head, mark = ("1\n", ",") if ending == "srt" else ("WEBVTT\n\n", ".")
    times = f"00:00:01{mark}000 --> 00:00:04{mark}000"
    path = write(f"a.{ending}", "\n".join([f"{head}{times}", *rows, ""]))
    assert upper(path).split("\n")[-1 - len(expected) : -1] == expected


def test_codes_of_xliff_may_declare_namespaces(write):
    codes = '<g id="1" xmlns:m="urn:m&amp;n" m:x="1">world</g> <ph id="2"><m:y xmlns:m="urn:o"/></ph>'
    written = upper(write("a.xlf", units(f"<source>Hello {codes} too</source>")))
    found = ElementTree.fromstring(written).find(".//{*}target")
    assert (found[0].text, found[0].attrib["{urn:m&n}x"]) == ("WORLD", "1") and found[1][0].tag == "{urn:o}y"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_encodings_of_xliff(encoding, end, write):
    name = encoding.removesuffix("-le").removesuffix("-be")
    head = f'<?xml version="1.0" encoding="{name}"?>\n'
    text = head + units("<source>Über uns</source>").strip() + end
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    document = open_document(write("a.xlf", (mark + text).encode(encoding)))
    written = document.write([("Über dich",)], "de")
    assert "Über dich</target>" in ElementTree.canonicalize(written.decode(name).removeprefix(head.strip()))
    assert written.decode(name).endswith(f"</xliff>{end}")
