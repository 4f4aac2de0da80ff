"""Attention heat maps as a web page or an image."""

import importlib.util
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nmtcli.errors import UserError
from nmtcli.translate.alignment import AttentionMap, by_words, check_attention_path, write_attention
from tests.conftest import nmt


def attention(source: str, target: str, title: str = "1.") -> AttentionMap:
    """A map that leans on the diagonal, from pieces with spaces between them."""
    columns, rows = source.split(), target.split()
    weights = np.full((len(rows), len(columns)), 0.1 / max(1, len(columns)), dtype=np.float32)
    for row in range(len(rows)):
        weights[row, min(row, len(columns) - 1)] += 0.9
    return AttentionMap(columns, rows, weights, title)


class Page(HTMLParser):
    """What a browser would see: the text of each kind of tag, the attributes of cells, the links."""

    def __init__(self, path: Path, kind: str = "pieces") -> None:
        super().__init__()
        self.wanted = kind
        self.texts: dict[str, list[str]] = {}
        self.cells: list[dict[str, str | None]] = []
        self.links: list[str | None] = []
        self.kind = ""  # of the map: pieces or words
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        self.links += [value for name, value in attributes if name in {"src", "href"}]
        if tag == "div":
            self.kind = (dict(attributes)["class"] or "").split()[-1]
        if tag == "td" and self.kind == self.wanted:
            self.cells.append(dict(attributes))

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass
        if tag == "div":
            self.kind = ""

    def handle_data(self, data: str) -> None:
        if self._open and data.strip() and (self.kind in ("", self.wanted) or self._open[-1] not in ("th", "span")):
            self.texts.setdefault(self._open[-1], []).append(data)


@pytest.fixture
def png_size():
    def size(path: Path) -> tuple[int, int]:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n")
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")

    return size


def test_a_map_refuses_weights_of_another_shape():
    with pytest.raises(ValueError, match="2 target, 3 source"):
        AttentionMap(["a", "b", "c"], ["x", "y"], np.zeros((3, 2), dtype=np.float32), "")


def test_attention_page_marks_word_continuations_with_a_dot(tmp_path):
    write_attention(tmp_path / "a.html", [attention("▁quick ly ▁gone .", "▁schnell ▁fort ▁ . </s>")])
    page = Page(tmp_path / "a.html")
    assert page.texts["span"] == ["0", "1", "translation", "quick", "·ly", "gone", "."]  # 0 to 1 is the colour scale
    assert page.texts["th"] == ["schnell", "fort", "_", ".", "</s>"]
    assert len(page.cells) == 4 * 5
    assert page.cells[0] == {"style": "--w:0.92", "title": "schnell ← quick: 0.92"}


def test_attention_page_of_unspaced_text_has_no_dots(tmp_path):
    write_attention(tmp_path / "a.html", [attention("▁ 猫 が 鳴く", "▁ 고양이")])
    assert Page(tmp_path / "a.html").texts["th"] == ["_", "고양이"]
    assert 'class="upright">猫<' in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_page_is_self_contained_and_escapes_its_text(tmp_path):
    write_attention(tmp_path / "a.html", [attention('▁<script>alert("x")</script>', "▁a&b", "<b> & co")])
    page = Page(tmp_path / "a.html")
    assert page.links == []
    assert "script" not in page.texts
    assert page.texts["bdi"] == ["<b> & co"]
    assert page.cells[0]["title"] == 'a&b ← <script>alert("x")</script>: 1.00'
    assert "http" not in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_attention_page_joins_pieces_and_bytes_to_words(tmp_path):
    """Columns are summed and rows averaged, so that a row still sums to 1."""
    source = "▁It <0xE2> <0x80> <0x99> s ▁quick ly . </s>"
    one = attention(source, "▁schnell ▁da . </s>")
    joined = by_words(one)
    assert joined.source == ["It’s", "quickly.", "</s>"]
    assert joined.target == ["schnell", "da.", "</s>"]
    assert joined.weights.sum(axis=1) == pytest.approx(1)
    assert joined.weights[0] == pytest.approx([one.weights[0, :5].sum(), one.weights[0, 5:8].sum(), one.weights[0, 8]])
    assert joined.weights[1] == pytest.approx(
        (one.weights[1:3, :5].sum(1).mean(), one.weights[1:3, 5:8].sum(1).mean(), one.weights[1:3, 8].mean())
    )
    write_attention(tmp_path / "a.html", [one])
    assert len(Page(tmp_path / "a.html").cells) == 4 * 9
    words = Page(tmp_path / "a.html", "words")
    assert len(words.cells) == 3 * 3
    assert words.texts["th"] == joined.target


def test_unspaced_text_has_only_its_bytes_joined():
    joined = by_words(attention("▁ 猫 <0xE2> <0x80> <0x99> が </s>", "▁ 고양이 </s>"))
    assert joined.source == ["_", "猫", "’", "が", "</s>"]


def test_a_page_shows_the_sentences_and_a_reference_where_there_is_one(tmp_path):
    one = replace(attention("▁a", "▁b", "a translation"), source_text="a source")
    write_attention(tmp_path / "a.html", [one, replace(one, reference="a reference")])
    found = Page(tmp_path / "a.html").texts["bdi"]
    assert found == ["a source", "a translation", "a source", "a translation", "a reference"]


def test_punctuation_labels_are_not_rotated(tmp_path):
    """A turned apostrophe would be read as a hyphen."""
    write_attention(tmp_path / "a.html", [attention("▁don ' t &", "▁x")])
    text = (tmp_path / "a.html").read_text("utf-8")
    assert re.findall('class="(upright|turned)">([^<]*)<', text)[:4] == [
        ("turned", "don"), ("upright", "&#39;"), ("turned", "t"), ("upright", "&amp;")
    ]  # fmt: skip


def test_small_attention_weights_are_white(tmp_path):
    write_attention(tmp_path / "a.html", [attention(" ".join(f"▁w{i}" for i in range(30)), "▁x")])
    assert [bool(cell) for cell in Page(tmp_path / "a.html").cells] == [True] + [False] * 29


def test_attention_page_holds_hundreds_of_maps_and_empty_sentences(tmp_path):
    one = attention("▁a ▁b", "▁c </s>")
    empty = AttentionMap([], ["</s>"], np.zeros((1, 0), dtype=np.float32), "empty")
    write_attention(tmp_path / "a.html", [one] * 300 + [empty])
    page = Page(tmp_path / "a.html")
    assert len(page.texts["bdi"]) == 301
    assert page.texts["h1"] == ["Attention: 301 sentences"]


def test_image_size_grows_with_sentence_length_and_number_of_maps(tmp_path, png_size):
    small, large = attention("▁a ▁b", "▁b ▁b"), attention("▁a " * 20, "▁b " * 30)
    write_attention(tmp_path / "one.png", [small])
    write_attention(tmp_path / "large.PNG", [large])
    write_attention(tmp_path / "two.png", [small, large])
    (_, one), (width, two), (large_width, large_height) = (
        png_size(tmp_path / name) for name in ("one.png", "two.png", "large.PNG")
    )
    assert one < large_height < two
    assert large_width == width


def test_image_keeps_long_labels_and_titles_inside(tmp_path, png_size):
    # dollars would be mathematics to matplotlib
    labels = attention(
        "▁Donaudampfschifffahrtsgesellschaft ▁$x_1$", "▁Donaudampfschifffahrtsgesellschaft", "$ is " * 40
    )
    short = attention("▁a ▁$x_1$", "▁a", "$ is")
    write_attention(tmp_path / "long.png", [labels])
    write_attention(tmp_path / "short.png", [short])
    (wide, high), (_, low) = png_size(tmp_path / "long.png"), png_size(tmp_path / "short.png")
    assert high > low + 300
    from matplotlib.image import imread

    ink = imread(tmp_path / "long.png")[:, :, :3].min(axis=2) < 0.9
    assert not ink[:, :8].any() and not ink[:, wide - 8 :].any()
    assert not ink[:8].any() and not ink[high - 8 :].any()


@pytest.mark.filterwarnings("error:Glyph")
def test_image_shows_control_characters_as_unknown_ones(tmp_path):
    """matplotlib would print a warning of each, as no font has them."""
    write_attention(tmp_path / "a.png", [attention("▁a\x16 ▁b", "▁b\x05 ▁\x9f", "one\ttwo\x7f")])
    assert (tmp_path / "a.png").stat().st_size > 0


def test_image_over_its_size_limit_suggests_the_page(tmp_path):
    one = attention("▁a", "▁b")
    for maps, reason in (
        ([one] * 7, "1 to 6 sentences, not 7"),
        ([], "not 0"),
        ([attention("▁a", "▁b " * 600)], "too long"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            write_attention(tmp_path / "a.png", maps)
        assert ".html" in str(caught.value.hint)
        assert list(tmp_path.iterdir()) == []


def test_image_warns_of_characters_without_a_font(tmp_path, monkeypatch):
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    with pytest.raises(UserError, match="no installed font has 猫") as caught:
        write_attention(tmp_path / "a.png", [attention("▁猫", "▁cat")])
    assert ".html" in str(caught.value.hint)


def test_image_uses_a_second_font_for_missing_characters(tmp_path, monkeypatch):
    from matplotlib import font_manager

    from nmtcli.translate import alignment

    plain, mathematics = (font_manager.findfont(name) for name in ("DejaVu Sans", "STIXGeneral"))
    lacks = min(set(font_manager.get_font(mathematics).get_charmap()) - set(font_manager.get_font(plain).get_charmap()))
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [plain, mathematics])
    assert alignment._fonts(f"a{chr(lacks)}") == ["DejaVu Sans", "STIXGeneral"]
    assert alignment._fonts("a") == ["DejaVu Sans"]


def test_image_without_matplotlib_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="matplotlib") as caught:
        check_attention_path(tmp_path / "a.png")
    assert "pip install 'nmtcli[plot]'" in str(caught.value.hint)
    check_attention_path(tmp_path / "a.html")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.svg", "not a format of attention heat maps"),
        ("a", "not a format of attention heat maps"),
        ("no/a.html", "no directory"),
    ],
)
def test_unusable_attention_paths_are_refused_before_translation(tmp_path, name, reason):
    with pytest.raises(UserError, match=reason):
        check_attention_path(tmp_path / name)
    with pytest.raises(UserError, match=reason):
        write_attention(tmp_path / name, [])


def test_the_attention_page_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.html"
    path.write_text("before")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_attention(path, [attention("▁a", "▁b")])
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


def test_blank_lines_at_the_start_leave_no_picture_to_draw(trained, tmp_path, capsys):
    (tmp_path / "in").write_text("\n" * 6 + "one\n")
    command = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "--device", "cpu"]
    assert nmt(*command, "--attention", tmp_path / "a.png") == 0
    assert "a.png: not written: the first 6 lines have no attention" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
    assert (tmp_path / "out").read_text().count("\n") == 7
