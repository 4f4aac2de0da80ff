"""Attention heat maps, one per sentence, as a web page (`.html`) or a picture (`.png`)."""

import importlib.util
import io
import logging
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtcli.errors import UserError
from nmtcli.staging import check_output, write_output

_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's ▁
_MARKS = {"<s>", "</s>"}
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_BYTES = re.compile(f"(?:{_BYTE.pattern})+")
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
    data = _page(maps).encode() if path.suffix.lower() == ".html" else _picture(maps)
    write_output(path, data)


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


_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--text:#1b1b1b;--quiet:#5f5f5f;--line:#e4e4e4;--ink:8 48 107}
@media screen and (prefers-color-scheme:dark){
:root{--paper:#131519;--text:#ececec;--quiet:#a3a3a3;--line:#2c3037;--ink:130 190 255}}
*{box-sizing:border-box}
body{margin:2rem auto;max-width:90rem;padding:0 1.5rem;background:var(--paper);color:var(--text);
font:1rem/1.4 system-ui,-apple-system,"Segoe UI","Noto Sans",sans-serif}
h1{font-size:1.3rem;margin:0 0 .3rem} header p{margin:0 0 1rem;color:var(--quiet)}
.scale{white-space:nowrap}
.scale i{display:inline-block;width:6rem;height:.8rem;margin:0 .4rem;vertical-align:-.1rem;border:1px solid var(--line);
background:linear-gradient(to right,rgb(var(--ink)/0),rgb(var(--ink)));print-color-adjust:exact}
main{display:flex;flex-wrap:wrap;gap:2.5rem 3.5rem;align-items:flex-start}
figure{margin:0;width:min-content;min-width:min(20rem,100%);max-width:100%}
figcaption{text-align:left;margin-bottom:.8rem;overflow-wrap:anywhere}
figcaption p{margin:0 0 .25rem;padding-left:6.2rem;text-indent:-6.2rem}
figcaption span{display:inline-block;width:6.2rem;text-indent:0;color:var(--quiet);font-size:.85rem}
.switch{position:absolute;opacity:0} label{display:inline-block;margin:0 0 2rem;cursor:pointer;color:var(--quiet)}
label b{font-weight:400;padding:.2rem .7rem;border:1px solid var(--quiet)}
label b:first-child{border-radius:.4rem 0 0 .4rem} label b:last-child{border-radius:0 .4rem .4rem 0;border-left:0}
.switch:not(:checked)~label b:first-child,.switch:checked~label b:last-child{background:var(--text);color:var(--paper)}
.switch:focus-visible~label{outline:2px solid var(--text);outline-offset:3px}
.switch:checked~main .pieces,.switch:not(:checked)~main .words{display:none}
.map{overflow:auto;max-height:95vh;width:max-content;max-width:100%}
table{border-collapse:collapse;font-size:.85rem;line-height:1.5rem}
th{font-weight:400;white-space:nowrap;background:var(--paper)}
thead th{position:sticky;top:0;z-index:1;vertical-align:bottom;padding:.35rem 0}
thead span{display:inline-block;vertical-align:bottom;writing-mode:vertical-rl} .turned{transform:rotate(180deg)}
tbody th{position:sticky;left:0;text-align:right;padding:0 .5rem 0 0}
td{width:1.5rem;min-width:1.5rem;height:1.5rem;padding:0;border:1px solid var(--line);
background:rgb(var(--ink)/var(--w,0));print-color-adjust:exact}
tbody tr:hover th{font-weight:600} tbody td:hover{outline:2px solid var(--text);outline-offset:-2px}
@media print{
@page{size:landscape;margin:12mm} body{margin:0;padding:0;max-width:none} .map{overflow:visible;max-height:none}
figure{break-inside:avoid} label{display:none}
thead{display:table-row-group} th{position:static!important}
table{font-size:8pt;line-height:1.1} td{min-width:0;height:4mm;width:4mm}
}
"""


def _page(maps: Sequence[AttentionMap]) -> str:
    sentences = "1 sentence" if len(maps) == 1 else f"{len(maps)} sentences"
    of = f"Attention: {escape(_of(maps))}. " if _of(maps) else ""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>Attention: {sentences}</title><style>{_STYLE}</style></head><body>",
            f"<header><h1>Attention: {sentences}</h1>",
            f"<p>{of}A row is a target token, a column a source token; the stronger the colour, the larger the"
            ' attention weight. <span class="scale">0<i></i>1</span></p></header>',
            '<input class="switch" type="checkbox" id="words"><label for="words"><b>subwords</b><b>words</b></label>',
            "<main>",
            *(_figure(one) for one in maps),
            "</main></body></html>\n",
        ]
    )


def _of(maps: Sequence[AttentionMap]) -> str:
    """The selected layer and head of the maps, which are of one model."""
    return maps[0].of if maps else ""


def _figure(one: AttentionMap) -> str:
    texts = (("source", one.source_text), ("translation", one.title), ("reference", one.reference))
    caption = "".join(
        f'<p><span>{name}</span><bdi class="{name}">{escape(text)}</bdi></p>' for name, text in texts if text
    )
    words = by_words(one)
    tables = _table(labels(one.source), labels(one.target), one.weights, "pieces")
    tables += _table(words.source, words.target, words.weights, "words")
    return f"<figure><figcaption>{caption}</figcaption>{tables}</figure>"


def _table(source: Sequence[str], target: Sequence[str], weights: NDArray[np.float32], kind: str) -> str:
    turns = ("upright" if _is_upright(label) else "turned" for label in source)
    columns = "".join(
        f'<th scope="col"><span dir="auto" class="{turn}">{escape(label)}</span></th>'
        for label, turn in zip(source, turns, strict=True)
    )
    source, target = ([escape(label) for label in side] for side in (source, target))
    rows = "\n".join(
        f'<tr><th scope="row" dir="auto">{label}</th>{"".join(_cells(label, source, row))}</tr>'
        for label, row in zip(target, weights, strict=True)
    )
    return (
        f'<div class="map {kind}" tabindex="0"><table>\n'
        f"<thead><tr><th></th>{columns}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )


def _cells(target: str, source: Sequence[str], weights: NDArray[np.float32]) -> Iterator[str]:
    for label, weight in zip(source, weights.tolist(), strict=True):
        if weight < _FAINT:
            yield "<td></td>"
        else:
            yield f'<td style="--w:{weight:.2f}" title="{target} ← {label}: {weight:.2f}"></td>'


def _picture(maps: Sequence[AttentionMap]) -> bytes:
    """A PNG with a layout in inches by the size of the labels, without overlaps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # no warning of a title that is not bold

    shown = [one for one in maps if one.weights.size]
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
