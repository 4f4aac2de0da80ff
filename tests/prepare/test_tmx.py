"""Translation memories (TMX) as tools write them: a bad unit drops only itself."""

from pathlib import Path

import pytest

from nmtcli.errors import DataError
from nmtcli.prepare.rows import INLINE_CODES
from tests.prepare.test_readers import open_corpus, pairs_of, write


def unit(*segments: tuple[str, str]) -> str:
    return "<tu>" + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in segments) + "</tu>"


GOOD = unit(("en", "house"), ("de", "Haus"))


def tmx(*units: str, declaration: str = '<?xml version="1.0" encoding="UTF-8"?>') -> str:
    return f'{declaration}\n<tmx version="1.4"><header srclang="en"/><body>\n{"".join(units)}\n</body></tmx>\n'


def read(folder: Path, content: str | bytes, name: str = "x.tmx"):
    raw = content.encode() if isinstance(content, str) else content
    blocks = [block.rows() for block in open_corpus(folder, path=write(folder / name, raw)).reader.blocks()]
    pairs = [pair for rows in blocks for pair in zip(rows.sources, rows.targets, strict=True)]
    reasons = [problem.reason for rows in blocks for _, problem in sorted(rows.problems.items())]
    return pairs, reasons, sum(rows.notes.get(INLINE_CODES, 0) for rows in blocks)


BAD = {
    "no German": unit(("en", "x"), ("fr", "y")),
    "no languages": unit(("", "x"), ("", "y")),
    "no segment": '<tu><tuv xml:lang="en"/><tuv xml:lang="de"/></tu>',
    "no variant": "<tu></tu>",
    "tags that cross": unit(("en", "<hi>x"), ("de", "y</hi>")),
    "an open bracket": unit(("en", "a < b"), ("de", "c")),
    "no end": GOOD.removesuffix("</tu>"),
    "unbound prefix": unit(("en", "<q:x/>a"), ("de", "b")),
}


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("bad", BAD)
def test_a_malformed_unit_drops_only_itself(bad, where, tmp_path):
    units = [GOOD, GOOD]
    units.insert(where, BAD[bad])
    pairs, reasons, _ = read(tmp_path, tmx(*units))
    good = [pair for pair in pairs if pair == ("house", "Haus")]
    assert len(pairs) == 3
    assert len(good) == 2
    assert len(reasons) == 1


def test_an_empty_segment_is_an_empty_side(tmp_path):
    pairs, reasons, _ = read(tmp_path, tmx(unit(("en", ""), ("de", "x")), GOOD))
    assert pairs == [("", "x"), ("house", "Haus")]
    assert not reasons


ENCODINGS = {
    "utf-16": ("UTF-16", "utf-16"),
    "utf-16 by its zeros": ("UTF-16", "utf-16-le"),
    "big-endian by its zeros": ("UTF-16", "utf-16-be"),
    "utf-8 with mark": ("UTF-8", "utf-8-sig"),
    "GB2312": ("GB2312", "gb18030"),
    "Shift_JIS": ("Shift_JIS", "shift_jis"),
    "EUC-KR": ("EUC-KR", "euc-kr"),
    "latin": ("ISO-8859-1", "latin-1"),
    "windows": ("windows-1252", "cp1252"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_by_mark_or_declaration(encoding, tmp_path):
    declared, used = ENCODINGS[encoding]
    word = {"GB2312": "房子", "Shift_JIS": "家", "EUC-KR": "집", "latin": "Häuser", "windows": "Häuser"}.get(
        encoding, "집"
    )
    text = tmx(unit(("en", "house"), ("de", word)), declaration=f'<?xml version="1.0" encoding="{declared}"?>')
    assert read(tmp_path, text.encode(used))[0] == [("house", word)]


@pytest.mark.parametrize("declared", ["UTF-16", "utf-16le", "UTF-32", "ISO-10646-UCS-2", "windows-1252", "GB2312"])
def test_a_wrong_encoding_declaration_is_ignored(declared, tmp_path):
    words = ["집이 오래되었다", "강아지가 잔다"]
    text = tmx(*(unit(("en", "x"), ("de", word)) for word in words), declaration=f'<?xml encoding="{declared}"?>')
    assert read(tmp_path, text)[0] == [("x", word) for word in words]


def test_a_missing_language_is_reported_with_the_available_ones(tmp_path):
    _, reasons, _ = read(tmp_path, tmx(GOOD, unit(("eng", "house"), ("ger", "Haus"))))
    assert reasons == ["no segment in en (languages: eng, ger)"]


def test_invalid_bytes_drop_only_their_unit(tmp_path):
    pairs, _, _ = read(
        tmp_path, tmx(GOOD, unit(("en", "x"), ("de", "§")), GOOD).encode().replace("§".encode(), b"\xa7")
    )
    assert pairs == [("house", "Haus"), ("x", "\ufffd"), ("house", "Haus")]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("a &amp; b &lt; c &#65;&#x42;", "a & b < c AB"),
        ("AT&T & Co", "AT&T & Co"),
        ("a&nbsp;b &eacute;", "a\u00a0b é"),
        ("a&#1;b&#x0;&#55296;", "a\ufffdb\ufffd\ufffd"),
        ("a\x01b", "a\ufffdb"),
        ("&unknown; x", "&unknown; x"),
        ("<![CDATA[a <b> c]]>", "a <b> c"),
    ],
)
def test_character_references_are_decoded(given, text, tmp_path):
    assert read(tmp_path, tmx(unit(("en", given), ("de", "y"))))[0] == [(text, "y")]


@pytest.mark.parametrize(
    ("codes", "languages", "expected"),
    [
        (["en", "en-GB"], ("en-GB", "de"), 1),
        (["en-GB", "en"], ("en", "de"), 1),
        (["en-US", "en_gb"], ("en-GB", "de"), 1),
        (["en-US", "en-GB"], ("en", "de"), 0),
        (["fr", "EN"], ("en-US", "de"), 1),
        (["zh-CN", "zh-TW"], ("zh_TW", "de"), 1),
    ],
)
def test_exact_language_codes_have_precedence_over_regions(codes, languages, expected, tmp_path):
    from nmtcli.data.files import File
    from nmtcli.prepare.readers.records import Sides
    from nmtcli.prepare.readers.tmx import Tmx

    texts = ["first", "second"]
    content = tmx(unit(*zip(codes, texts, strict=True), ("de", "x")))
    path = Path(write(tmp_path / "x.tmx", content.encode()))
    (block,) = Tmx(File(str(path), path), Sides(languages, None)).blocks()
    assert block.rows().sources == [texts[expected]]


@pytest.mark.parametrize(
    ("segment", "text", "codes"),
    [
        ("one<ph/>two", "one two", 1),
        ('one <bpt i="1">&lt;b></bpt>two<ept i="1">&lt;/b></ept>.', "one two.", 2),
        ("one<it>x</it>, two", "one, two", 1),
        ("one<ph/><ph/>two", "one two", 2),
        ("世<ph/>界", "世界", 1),
        ("one<hi>two</hi>", "onetwo", 0),
        ("<ph/>one<ph/>", "one", 2),
    ],
)
def test_inline_codes_become_a_space_and_are_counted(segment, text, codes, tmp_path):
    pairs, _, counted = read(tmp_path, tmx(unit(("en", segment), ("de", "x"))))
    assert pairs == [(text, "x")]
    assert counted == codes


def test_units_may_cross_block_boundaries(tmp_path):
    units = [unit(("en", f"house {n} " + "x" * (n % 700)), ("de", f"Haus {n}")) for n in range(9000)]
    pairs, reasons, _ = read(tmp_path, tmx(*units).encode("utf-16"))
    assert [target for _, target in pairs] == [f"Haus {n}" for n in range(9000)]
    assert not reasons


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tmx(GOOD)[:-8], "cut short"),
        (tmx(GOOD, GOOD)[:-40], "cut short"),
        (tmx(GOOD, "<!-- " + GOOD), "cut short"),
        (tmx(), "no translation unit"),
        (tmx(unit(("en", "x"), ("fr", "y"))), r"no unit has text in en and de \(languages: en, fr\)"),
        ("house\n", "not XML"),
        (tmx(GOOD, declaration='<?xml version="1.0" encoding="klingon"?>'), "unknown encoding klingon"),
        ("", "is empty"),
    ],
)
def test_files_that_are_not_tmx_are_refused(content, words, tmp_path):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content)


@pytest.mark.parametrize("encoding", ["hex", "zlib", "rot13", "base64", "undefined"])
def test_codecs_that_are_no_encodings_are_refused(encoding, tmp_path):
    content = tmx(GOOD, declaration=f'<?xml version="1.0" encoding="{encoding}"?>')
    with pytest.raises(DataError, match=f"unknown encoding {encoding}"):
        read(tmp_path, content)


def test_elements_in_each_other_without_end_drop_only_their_unit(tmp_path):
    deep = unit(("en", "<hi>" * 3000 + "x" + "</hi>" * 3000), ("de", "y"))
    pairs, reasons, _ = read(tmp_path, tmx(deep, GOOD))
    assert [pair for pair in pairs if pair == ("house", "Haus")]
    assert len(reasons) == 1


def test_an_ampersand_in_cdata_is_text(tmp_path):
    pairs, reasons, _ = read(tmp_path, tmx(unit(("en", "<![CDATA[Tom & Jerry]]> &"), ("de", "Tom &amp; Jerry &"))))
    assert pairs == [("Tom & Jerry &", "Tom & Jerry &")] and not reasons


def test_a_code_between_words_that_end_in_a_mark_becomes_a_space(tmp_path):
    pairs, _, _ = read(tmp_path, tmx(unit(("en", "हिन्दी<ph/>भाषा"), ("de", "a"))))
    assert pairs == [("हिन्दी भाषा", "a")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("codes", [("en", "en-GB"), ("pt", "pt-BR"), ("zh_TW", "zh")])
def test_a_language_and_its_variant_have_a_segment_each(codes, order, tmp_path):
    exact = tuple((code, f"text in {code}") for code in codes)
    other = tuple((code if "-" in code or "_" in code else f"{code}-XX", f"text in {code}") for code in codes)
    for segments in (exact, other):
        path = write(tmp_path / "x.tmx", tmx(unit(*(segments[place] for place in order))).encode())
        corpus = open_corpus(tmp_path, path=path, languages=codes)
        assert pairs_of(corpus.reader) == [tuple(f"text in {code}" for code in codes)]


def test_a_comment_may_follow_the_end(tmp_path):
    assert read(tmp_path, tmx(GOOD) + "<!-- made by x -->\n")[0] == [("house", "Haus")]


@pytest.mark.parametrize("length", [0, 2**18 - 60, 2**19])
def test_units_in_comments_are_no_units(length, tmp_path):
    hidden = unit(("en", "cat"), ("de", "Katze"))
    pairs, reasons, _ = read(tmp_path, tmx(GOOD, f"<!--{hidden}{'-x' * length}{hidden}-->", GOOD, "<!---->", GOOD))
    assert pairs == [("house", "Haus")] * 3 and not reasons
