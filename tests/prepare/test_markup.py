"""What data.cleaning.markup does with tags, entities and inline codes."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.config import CleaningConfig, DataConfig
from nmtcli.data.directory import open_data
from nmtcli.data.links import Links
from nmtcli.errors import ExitCode
from nmtcli.prepare.markup import Markup
from nmtcli.prepare.pairs import Pairs
from nmtcli.prepare.protection import PairMasker
from nmtcli.prepare.report.report import Report
from nmtcli.prepare.rows import ENTITIES, INLINE_CODES, TAGS, Rows
from nmtcli.text.spans import Scanner
from tests.conftest import nmt, overrides
from tests.prepare.test_protection import texts
from tests.prepare.test_readers import open_corpus, write
from tests.prepare.test_tmx import tmx, unit


def changed(source: str, target: str = "x", setting: str = "strip", symbols: tuple[str, ...] = ()) -> Rows:
    settings = {"cleaning": {"markup": setting}, "tokenizer": {"symbols": symbols}}
    markup = Markup.of(DataConfig.model_validate(settings))
    rows = Rows([source], [target])
    return rows if markup is None else markup.changed(rows)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Click <b>here</b> now", "Click here now"),
        ("un<b>believ</b>able", "unbelievable"),
        ("one<br/>two", "one two"),
        ("one <br/> two", "one two"),
        ("one<br> two", "one two"),
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("<li>one</li> <li>two</li>", "one two"),
        ("你好。<br/>他来了", "你好。他来了"),
        ("word<ph x='1'/>word, <ph/>.", "word word, ."),
        (" <i> a </i>  b", " a b"),
        ("a <b> <i>", "a"),
        ("salt &amp; pepper &unknown; &#233;", "salt & pepper &unknown; é"),
        ("1 &lt; 2 <!-- no --> yes", "1 < 2 yes"),
        ('<a href="x?a=1&amp;b=2">R&amp;D</a>', "R&D"),
        ("if a < b and c > d", "if a < b and c > d"),
        ("line&#10;break", "line break"),
        ("<br/>", ""),
    ],
)
def test_tags_are_removed_and_entities_decoded(text, plain):
    assert changed(text).sources == [plain]
    assert changed("x", text).targets == [plain]
    assert changed(text, setting="keep").sources == [text]


PARTS = ["<b>", "</b>", "<br/>", "<x id='1'/>", "<!-- c -->", "word", "你", ".", " ", " ", "<p>"]


@given(st.lists(st.sampled_from(PARTS), max_size=10).map("".join))
def test_words_and_single_blanks_stay(text):
    (plain,) = changed(text).sources
    assert not Scanner(["tag"]).scan(plain)
    assert re.sub(r"\s", "", plain) == re.sub(r"\s|<[^>]*>", "", text)
    assert "  " not in plain or "  " in text
    if Scanner(["tag"]).scan(text):
        longest = max(map(len, re.findall(" +", text)), default=0)
        assert max(map(len, re.findall(" +", plain)), default=0) <= max(longest, 1)
    # a blank between two words is never lost
    assert len(plain.split()) >= len(re.sub("<[^>]*>", "", text).split())


def test_declared_symbols_are_no_markup():
    assert changed("<name> <b>", symbols=("<name>",)).sources == ["<name>"]


def test_with_mask_tags_of_one_side_are_removed():
    rows = changed("<b>one</b> <i>two</i>", "<b>eins</b><br/>zwei", "mask")
    assert (rows.sources, rows.targets) == (["<b>one</b> two"], ["<b>eins</b> zwei"])
    assert rows.notes == {TAGS: 3}


def test_changes_are_counted():
    assert changed("<b>R&amp;D</b>", "R&amp;D").notes == {TAGS: 2, ENTITIES: 2}
    assert changed("a < b").notes == {}


def test_word_alignment_follows_removed_tags():
    markup = Markup.of(DataConfig(cleaning=CleaningConfig(markup="strip")))
    assert markup is not None
    numbers = np.array([[0, 0], [1, 1], [2, 2], [3, 3]])
    rows = Rows(["a <br/> b<br/>c d"], ["<p> a bc d"], links=Links(numbers, np.array([4])))
    after = markup.changed(rows)
    assert (after.sources, after.targets) == (["a b c d"], ["a bc d"])
    assert after.links is not None
    assert after.links.positions.tolist() == [[3, 2]]
    assert not after.lost_links
    lost = markup.changed(Rows(["<p> a"], ["b"], links=Links(np.array([[0, 0]]), np.array([1]))))
    assert lost.lost_links == {0}


INLINE = '<bpt i="{}">&lt;b&gt;</bpt>'
CODES = unit(
    ("en", f"Click {INLINE.format(1)}here<ept i='1'>&lt;/b&gt;</ept> <hi x='2'>now</hi><ph/>"),
    ("de", f"{INLINE.format(1)}Hier<ept i='1'>&lt;/b&gt;</ept> <hi x='2'>jetzt</hi> klicken"),
)


@pytest.mark.parametrize(
    ("setting", "source", "removed"),
    [
        ("drop", "Click here now", {INLINE_CODES: 5}),
        ("keep", "Click here now", {INLINE_CODES: 5}),
        ("strip", "Click here now", {INLINE_CODES: 5}),
        ("mask", 'Click <bpt i="1"/>here<ept i="1"/> <hi x="2">now</hi>', {TAGS: 1}),
    ],
)
def test_inline_codes_of_translation_memories(setting, source, removed, tmp_path):
    path = write(tmp_path / "x.tmx", tmx(CODES).encode())
    corpus = open_corpus(tmp_path, path=path, markup=setting)
    rows = next(iter(corpus.blocks())).rows()
    assert rows.sources == [source]
    assert rows.notes == removed


def test_inline_codes_are_masked_as_tags(tmp_path):
    path = write(tmp_path / "x.tmx", tmx(CODES).encode())
    rows = next(iter(open_corpus(tmp_path, path=path, markup="mask").blocks())).rows()
    masker = PairMasker(DataConfig(cleaning=CleaningConfig(markup="mask")))
    masked, counts = masker(Pairs(rows.sources, rows.targets))
    assert masked.sources == ["Click __TAG__here__TAG_2__ __TAG_3__now__TAG_4__"]
    assert masked.targets == ["__TAG__Hier__TAG_2__ __TAG_3__jetzt__TAG_4__ klicken"]
    assert counts == {0: {"tag": 4}}


def lines(folder: Path) -> list[object]:
    """A corpus with tags and entities in some pairs, as options of `nmt prepare`."""
    words = ["cat", "dog", "mat", "old", "red", "big"]
    pairs = []
    for number in range(60):
        word, other = words[number % 6], words[number // 6 % 6]
        pair = f"the {word} sees {other} {number}x", f"die {word} sieht {other} {number}y"
        if number % 3 == 1:
            pair = f"the <b>{word}</b> sees {other} {number}x", f"die <b>{word}</b><br/>sieht {other} {number}y"
        if number % 3 == 2:
            pair = pair[0] + " &amp; more", pair[1] + " &amp; mehr"
        pairs.append(pair)
    arguments: list[object] = ["--hold-out", 6, "--vocab-size", 360, "--processes", 1]
    for side, texts_of in zip(("source", "target"), zip(*pairs, strict=True), strict=True):
        (folder / f"t.{side}").write_text("".join(f"{text}\n" for text in texts_of))
        arguments += [f"--train-{side}", folder / f"t.{side}"]
    return arguments


@pytest.mark.parametrize(
    ("setting", "kept", "shown"),
    [("true", 20, ""), ("drop", 20, ""), ("false", 60, "<b>"), ("strip", 60, ""), ("mask", 60, "__TAG__")],
)
def test_every_setting_from_the_command_line_to_the_data(setting, kept, shown, tmp_path):
    command = ["prepare", "-o", tmp_path / "d", *lines(tmp_path), *overrides(f"data.cleaning.markup={setting}")]
    assert nmt(*map(str, command)) == ExitCode.DONE
    data, report = open_data(tmp_path / "d"), Report.load(tmp_path / "d")
    assert report.train.pairs_kept == kept - 6
    written = "\n".join(" | ".join(pair) for pair in [*texts(data), *data.valid.texts()])
    assert ("<b>" in written, "&amp;" in written, "__TAG__" in written) == (
        shown == "<b>",
        setting == "false",
        shown == "__TAG__",
    )
    notes = report.train.corpora[0].notes
    assert (TAGS in notes) == (setting in ("strip", "mask"))
    assert data.manifest.data.cleaning.markup == {"true": "drop", "false": "keep"}.get(setting, setting)
    # a second run finds the same data
    assert nmt(*map(str, command)) == ExitCode.DONE


def test_protected_tags_are_no_markup_for_the_rule(tmp_path):
    settings = overrides("data.protect=[tag]")
    assert nmt(*map(str, ["prepare", "-o", tmp_path / "d", *lines(tmp_path), *settings])) == ExitCode.DONE
    # pairs with <br/> on one side or an entity are dropped still
    assert Report.load(tmp_path / "d").train.pairs_kept == 14


def test_an_unknown_setting_is_refused_with_the_nearest(tmp_path, capsys):
    command = ["prepare", "-o", tmp_path / "d", *lines(tmp_path), *overrides("data.cleaning.markup=stripp")]
    assert nmt(*map(str, command)) == ExitCode.USAGE
    assert "did you mean strip?" in capsys.readouterr().err
