"""Attention heat maps, one per sentence: a web page (`.html`), a picture (`.png`), or characters for a terminal."""

import importlib.util
import io
import logging
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtcli.errors import UserError
from nmtcli.staging import check_output, write_output

_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's ▁
_MARKS = {"<s>", "</s>"}
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_BYTES = re.compile(f"(?:{_BYTE.pattern})+")
_SHADES, _LONGEST, _WIDEST = " ░▒▓█", 14, 24  # in a terminal: shades, and maximum cells of source and target labels
_FAINT = 0.005  # weights that round to 0.00 are white, for smaller pages

MAX_PNG_MAPS = 6
_MAX_PIXELS = 16_000  # maximum side of a picture; few programs open larger ones
_DPI = 144
# inches: one weight; label to map; a line of a title; below a map; around everything
_CELL, _GAP, _LINE, _SPACE, _MARGIN = 0.22, 0.07, 0.22, 0.5, 0.2
_INK = np.array([8, 48, 107]) / 255  # RGB, as --ink below
_TITLE = {"fontweight": "bold", "fontsize": 10}


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """The attention weights of one sentence: `weights[t, s]` of source piece s for target piece t.

    `weights` is [T, S], rows summing to 1; `target` ends with the end-of-sentence piece when the model produced one.
    Pieces are those of the tokenizer, with SentencePiece's ▁. `of` is the selected layer and head of a model with
    several: `layer 5 of 6, mean of 8 heads`. `title` is the translation.
    """

    source: list[str]
    target: list[str]
    weights: NDArray[np.float32]
    title: str
    of: str = ""
    source_text: str = ""  # the source line
    reference: str = ""

    def __post_init__(self) -> None:
        if self.weights.shape != (len(self.target), len(self.source)):
            raise ValueError(f"weights {self.weights.shape} for {len(self.target)} target, {len(self.source)} source")


def check_attention_path(path: Path) -> None:
    """Raise UserError if `write_attention` cannot write `path`; to be called before a long translation."""
    if path.suffix.lower() not in {".html", ".png"}:
        raise UserError(
            f"{path}: not a format of attention heat maps",
            "use .html (any number of sentences) or .png; .json and .jsonl have the weights",
        )
    check_output(path)
    if path.suffix.lower() == ".png" and importlib.util.find_spec("matplotlib") is None:
        raise UserError("a .png needs matplotlib, which is not installed", "pip install 'nmtcli[plot]', or use .html")


def write_attention(path: Path, maps: Sequence[AttentionMap]) -> None:
    """Write heat maps as a web page (`.html`) or a picture (`.png`), by the suffix of `path`.

    The page needs no network and no script, and can have hundreds of sentences; a picture has up to six. The file is
    written atomically. Raises UserError for another suffix, a missing directory, a missing matplotlib, or a picture
    that is too large or has characters without an installed font.
    """
    check_attention_path(path)
    data = _page(maps).encode("utf-8", "replace") if path.suffix.lower() == ".html" else _picture(maps)
    write_output(path, data)


def terminal_map(one: AttentionMap, width: int) -> str:
    """A heat map with a row for each target piece and a column of two cells for each source piece.

    If it is wider than `width` cells, a message instead.
    """
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - for a terminal only

    target = [label if cell_len(label) <= _WIDEST else set_cell_size(label, _WIDEST) for label in labels(one.target)]
    left = max(map(cell_len, target), default=0) + 1
    if left + 2 * len(one.source) > width:
        return f"{len(one.source)} source pieces do not fit in {width} columns; use --attention FILE.html\n"
    source = [label[:_LONGEST] for label in labels(one.source)]
    height = max(map(len, source), default=0)
    upright = zip(*(label.rjust(height) for label in source), strict=True)
    lines = [" " * left + "".join(set_cell_size(character, 2) for character in row).rstrip() for row in upright]
    for label, weights in zip(target, one.weights.tolist(), strict=True):
        shades = (_SHADES[min(len(_SHADES) - 1, round(weight * (len(_SHADES) - 1)))] for weight in weights)
        lines.append(" " * (left - 1 - cell_len(label)) + label + " " + "".join(2 * shade for shade in shades).rstrip())
    return "\n".join(lines) + "\n"


def labels(pieces: Sequence[str]) -> list[str]:
    """Readable labels: a piece that continues a word starts with a dot: quick ·ly.

    There are no dots without spaces between words (Chinese, Japanese, or a vocabulary of words).
    """
    spaced = sum(piece.startswith(_WORD_START) for piece in pieces) > 1
    labels = []
    for piece in pieces:
        text = piece.replace(_WORD_START, "")
        continues = spaced and not piece.startswith(_WORD_START) and text[:1].isalnum()
        labels.append(f"·{text}" if continues else text or "_")
    return labels


def by_words(one: AttentionMap) -> AttentionMap:
    """The map between words: the columns of a word's pieces and bytes are summed, its rows averaged."""
    (source, columns), (target, rows) = (_words(pieces) for pieces in (one.source, one.target))
    weights = np.zeros((len(target), len(source)), np.float32)
    np.add.at(weights, (np.array(rows, int)[:, None], np.array(columns, int)), one.weights)
    weights /= np.maximum(np.bincount(np.array(rows, int), minlength=len(target)), 1)[:, None]
    return replace(one, source=source, target=target, weights=weights)


def _words(pieces: Sequence[str]) -> tuple[list[str], list[int]]:
    """Words as labels, and the word number of each piece. Without spaces, only bytes of a character are joined."""
    spaced = sum(piece.startswith(_WORD_START) for piece in pieces) > 1
    words: list[list[str]] = []
    numbers = []
    for before, piece in zip(["", *pieces], pieces, strict=False):
        if spaced:
            begins = piece.startswith(_WORD_START) or piece in _MARKS or before in _MARKS
        else:
            begins = not (_BYTE.fullmatch(piece) and _BYTE.fullmatch(before))
        if begins or not words:
            words.append([])
        words[-1].append(piece)
        numbers.append(len(words) - 1)
    return [_joined("".join(word)).replace(_WORD_START, "") or "_" for word in words], numbers


def _joined(text: str) -> str:
    """The text with byte pieces, `<0xE2><0x80><0x99>`, decoded."""
    return _BYTES.sub(
        lambda run: bytes.fromhex(run[0].replace("<0x", "").replace(">", "")).decode("utf-8", "replace"), text
    )


def _is_upright(label: str) -> bool:
    """Whether a vertical label is not rotated: Chinese, Japanese and Korean, and punctuation, which looks different
    when rotated.
    """
    if len(label) == 1 and not label.isalnum():
        return True
    return any(unicodedata.east_asian_width(character) in "WF" for character in label)


def _page(maps: Sequence[AttentionMap]) -> str:
    from nmtcli.page.html import render  # noqa: PLC0415 - slow to import

    figures = []
    for one in maps:
        words = by_words(one)
        pieces = ("pieces", _turned(labels(one.source)), labels(one.target), one.weights.tolist())
        texts = {"source": one.source_text, "translation": one.title, "reference": one.reference}
        figures.append((texts, (pieces, ("words", _turned(words.source), words.target, words.weights.tolist()))))
    return render("nmtcli.translate", "heat_maps.html.j2", figures=figures, of=_of(maps), faint=_FAINT)


def _turned(source: Sequence[str]) -> list[tuple[str, str]]:
    """Labels of columns with their direction."""
    return [("upright" if _is_upright(label) else "turned", label) for label in source]


def _of(maps: Sequence[AttentionMap]) -> str:
    """The selected layer and head of the maps, which are of one model."""
    return maps[0].of if maps else ""


def _picture(maps: Sequence[AttentionMap]) -> bytes:
    """A PNG with a layout in inches by the size of the labels, without overlaps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # no warning of a title that is not bold

    shown = [_visible(one) for one in maps if one.weights.size]
    if not 0 < len(shown) <= MAX_PNG_MAPS:
        raise UserError(
            f"a .png has 1 to {MAX_PNG_MAPS} sentences, not {len(shown)}",
            "use .html, for any number of sentences, or translate fewer lines",
        )
    figure = Figure(dpi=_DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    family = _fonts("".join("".join([one.title, *one.source, *one.target]) for one in shown))
    style: dict[str, Any] = {"family": family, "fontsize": 9, "color": "#1b1b1b", "parse_math": False}

    def measure(text: str, **more: Any) -> tuple[float, float]:
        box = figure.text(0, 0, text, **(style | more)).get_window_extent(canvas.get_renderer())
        figure.texts[-1].remove()
        return box.width / _DPI, box.height / _DPI

    left = _MARGIN + _GAP + max(measure(label)[0] for one in shown for label in labels(one.target))
    width = max(left + _CELL * max(len(one.source) for one in shown), 4.0) + _MARGIN
    titles = [_wrapped(one.title, measure(one.title, **_TITLE)[0], width - 2 * _MARGIN) for one in shown]
    heads = [max(measure(**_column_label(label))[1] for label in labels(one.source)) for one in shown]
    panels = [
        _LINE * len(title) + head + _CELL * len(one.target) + _SPACE
        for title, head, one in zip(titles, heads, shown, strict=True)
    ]
    height = sum(panels) + 2 * _MARGIN + (_LINE if _of(shown) else 0)
    if max(width, height) * _DPI > _MAX_PIXELS:
        raise UserError("the sentences are too long for one .png", "use .html, or translate fewer lines")

    figure.set_size_inches(width, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # inches, from the top left
    axes.set_axis_off()
    y = _MARGIN
    for one, title, head, panel in zip(shown, titles, heads, panels, strict=True):
        for number, line in enumerate(title):
            axes.text(_MARGIN, y + _LINE * number, line, va="top", **(style | _TITLE))
        _draw_map(axes, one, (left, y + _LINE * len(title) + _GAP + head + _GAP), style)
        y += panel
    _draw_scale(axes, (left, y), style)
    axes.text(_MARGIN, y + 0.1 + _LINE, f"attention: {_of(shown)}" if _of(shown) else "", va="center_baseline", **style)
    picture = io.BytesIO()
    canvas.print_png(picture)
    return picture.getvalue()


def _visible(one: AttentionMap) -> AttentionMap:
    """The map with U+FFFD for control characters, which no font has."""
    source, target, (title,) = (
        [_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) for text in texts]
        for texts in (one.source, one.target, [one.title])
    )
    return replace(one, source=source, target=target, title=title)


def _wrapped(title: str, measured: float, available: float) -> list[str]:
    """The title in lines; `measured` is its width and `available` the maximum width, in inches."""
    if measured <= available:
        return [title]
    # a tenth is reserved, as letters differ in width
    return textwrap.wrap(title, max(1, int(0.9 * len(title) * available / measured)))


def _column_label(label: str) -> dict[str, Any]:
    if _is_upright(label):
        return {"text": "\n".join(label), "ha": "center", "va": "bottom", "linespacing": 1.0}
    return {"text": label, "ha": "left", "va": "center_baseline", "rotation": 90, "rotation_mode": "anchor"}


def _draw_map(axes: Any, one: AttentionMap, corner: tuple[float, float], style: dict[str, Any]) -> None:
    left, top = corner
    rows, columns = one.weights.shape
    _draw_cells(axes, left + _CELL * np.arange(columns + 1), top + _CELL * np.arange(rows + 1), one.weights)
    for column, label in enumerate(labels(one.source)):
        placed = _column_label(label)
        axes.text(left + _CELL * (column + 0.5), top - _GAP, placed.pop("text"), **style, **placed)
    for row, label in enumerate(labels(one.target)):
        axes.text(left - _GAP, top + _CELL * (row + 0.5), label, ha="right", va="center_baseline", **style)


def _draw_cells(axes: Any, x: NDArray[Any], y: NDArray[Any], weights: NDArray[Any]) -> None:
    # one colour scale for all maps, to compare them
    colours = 1 - np.clip(weights, 0, 1)[:, :, None] * (1 - _INK)  # [T, S, RGB]
    axes.pcolormesh(x, y, colours, edgecolors="#e4e4e4", linewidth=0.5)


def _draw_scale(axes: Any, corner: tuple[float, float], style: dict[str, Any]) -> None:
    x, y = corner
    _draw_cells(axes, x + np.linspace(0, 1, 11), np.array([y, y + 0.1]), np.linspace(0, 1, 10)[None])
    for at, name, side in ((-_GAP, "0", "right"), (1 + _GAP, "1", "left")):
        axes.text(x + at, y + 0.05, name, ha=side, va="center_baseline", **style)


def _fonts(text: str) -> list[str]:
    """Installed font families that cover all characters of `text`, matplotlib's default first."""
    from matplotlib import font_manager  # noqa: PLC0415

    families = ["DejaVu Sans"]
    visible = {character for character in text if unicodedata.category(character)[0] not in "CZ"}
    missing = visible - _covered(font_manager.findfont(families[0]), visible)
    if not missing:
        return families
    # regular sans first; from disk, because matplotlib caches its list of fonts
    paths = sorted(font_manager.findSystemFonts(), key=lambda path: ("Sans" not in path, "Regular" not in path, path))
    coverage = {path: _covered(path, missing) for path in paths}
    while missing:
        best = max(paths, key=lambda path: len(coverage[path] & missing), default=None)
        if best is None or not coverage[best] & missing:
            raise UserError(
                f"no installed font has {' '.join(sorted(missing)[:8])}",
                "use .html, for the fonts of the browser, or install a font (Noto Sans has most scripts)",
            )
        font_manager.fontManager.addfont(best)
        families.append(font_manager.get_font(best).family_name)
        missing -= coverage[best]
    return families


def _covered(path: str, characters: set[str]) -> set[str]:
    from matplotlib.font_manager import get_font  # noqa: PLC0415

    try:
        font = get_font(path)
    except RuntimeError:  # not a format of FreeType
        return set()
    # bitmap fonts (colour emoji) cannot be scaled
    return {character for character in characters if font.scalable and font.get_char_index(ord(character))}
