"""Draws `docs/images/attention-diagram.svg`, the worked example of docs/attention.md: `python docs/draw_attention.py`.

The numbers in it are those of the page, computed here again.
"""

import math
from itertools import pairwise
from pathlib import Path

SOURCE, WRITTEN, NEXT = ("a", "red", "hat"), ("ein", "roter"), "Hut"
STATES = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))  # of the encoder
QUERY = (2.0, 1.0)  # the decoder's state
PLACE = Path(__file__).parent / "images" / "attention-diagram.svg"

_STYLE = """
.card { fill: #ffffff; }
text { font: 15px system-ui, sans-serif; fill: #1f2933; text-anchor: middle; }
.small { font-size: 12.5px; fill: #52606d; }
.left { text-anchor: start; }
.title { font-weight: 600; }
.box { stroke-width: 1.5; }
.encoder { fill: #dbeafe; stroke: #2563eb; }
.decoder { fill: #dcfce7; stroke: #15803d; }
.attention { fill: #ffedd5; stroke: #c2410c; }
.flow { stroke: #52606d; stroke-width: 1.5; fill: none; marker-end: url(#arrow); }
.weight { stroke: #c2410c; fill: none; opacity: 0.85; }
"""


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def numbers() -> tuple[list[float], list[float], list[float]]:
    """Scores, weights and context of the example."""
    scores = [sum(a * b for a, b in zip(state, QUERY, strict=True)) for state in STATES]
    weights = softmax(scores)
    context = [sum(weight * state[part] for weight, state in zip(weights, STATES, strict=True)) for part in range(2)]
    return scores, weights, context


def box(x: int, y: int, kind: str, *lines: str, width: int = 104, height: int = 46) -> str:
    """A box around its middle, with lines of text in it."""
    first = y - 8.5 * (len(lines) - 1) + 5
    kinds = ("", *[' class="small"'] * (len(lines) - 1))
    rows = "".join(
        f'<text x="{x}" y="{first + 17 * row:g}"{style}>{line}</text>'
        for row, (line, style) in enumerate(zip(lines, kinds, strict=True))
    )
    corner = f'x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}"'
    frame = f'<rect class="box {kind}" {corner} rx="8"/>'
    return frame + rows


def arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    return f'<path class="flow" d="M{x},{y} L{to_x},{to_y}"/>'


def vector(values: tuple[float, ...] | list[float]) -> str:
    return f"({', '.join(f'{value:.2f}'.rstrip('0').rstrip('.') for value in values)})"


def picture() -> str:
    """The encoder on the left, the decoder on the right, attention above both."""
    scores, weights, context = numbers()
    columns = (85, 230, 375)
    parts = ['<text class="title left" x="38" y="410">Encoder: reads the source</text>']
    parts += ['<text class="title left" x="500" y="410">Decoder: writes the target</text>']
    rows = zip(columns, SOURCE, STATES, scores, weights, strict=True)
    for number, (x, word, state, score, weight) in enumerate(rows, start=1):
        parts += [f'<text x="{x}" y="375">{word}</text>', arrow(x, 358, x, 338)]
        label = f"h{'₁₂₃'[number - 1]} = {vector(state)}"
        parts.append(box(x, 312, "encoder", label, f"score {score:g}, weight {weight:.2f}", width=134))
    for left, right in pairwise(columns):
        parts.append(arrow(left + 67, 312, right - 68, 312))
    for x, word, state in ((555, WRITTEN[0], "s₁"), (685, WRITTEN[1], f"s₂ = {vector(QUERY)}")):
        parts += [f'<text x="{x}" y="375">{word}</text>', arrow(x, 358, x, 338), box(x, 312, "decoder", state)]
    parts += [arrow(442, 312, 501, 312), arrow(607, 312, 631, 312)]
    for x, weight in zip(columns, weights, strict=True):
        parts.append(
            f'<path class="weight" stroke-width="{1 + 11 * weight:.1f}" d="M{x},289 C{x},240 300,250 300,188"/>'
        )
    parts.append(box(300, 160, "attention", "context c", vector(context), width=150, height=56))
    parts.append('<path class="flow" d="M685,289 C685,225 560,160 379,160"/>')
    parts.append('<text class="small" x="470" y="152">query s₂</text>')
    parts.append(box(620, 95, "decoder", "tanh(W [c ; s₂])", "context and state together", width=210, height=56))
    parts += [
        '<path class="flow" d="M300,132 C300,95 400,95 513,95"/>',
        '<path class="flow" d="M710,289 C745,220 745,160 660,125"/>',
    ]
    parts += [arrow(620, 67, 620, 46), f'<text x="620" y="36" class="title">{NEXT}</text>']
    parts.append('<text class="small left" x="650" y="36">the next word</text>')
    head = '<path d="M0,0 L8,4 L0,8 z" fill="#52606d"/>'
    size = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    marker = f'<marker id="arrow" {size} orient="auto">{head}</marker>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 430" role="img"'
        ' aria-label="Encoder, decoder and attention for one target word">\n'
        f"<style>{_STYLE}</style><defs>{marker}</defs>\n"
        '<rect class="card" width="800" height="430" rx="10"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    PLACE.write_text(picture(), "utf-8")
