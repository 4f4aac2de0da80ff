"""Histograms of training text as bars, overlaid with validation text as a line."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from nmtcli.page.charts import HEIGHT, WIDTH, Bar, Chart, Line, height_of
from nmtcli.prepare.report.finding import percent
from nmtcli.prepare.report.report import Histogram

_GRID = tuple(step * power for power in (0.001, 0.01, 0.1) for step in (1, 2, 5))
_MOST_LINES, _MOST_LABELS = 4, 8


@dataclass(frozen=True)
class _Shares:
    """A histogram as shares of all texts in each bin."""

    edges: tuple[float, ...]  # places on the axis
    shares: tuple[float, ...]
    labels: tuple[str, ...]


def length_chart(train: Histogram, valid: Histogram) -> Chart:
    """Lengths of texts, in bins of equal width from 0; the open last bin has the same width."""
    width, valid_width = _width(train), _width(valid)
    reach = max(train.edges[-2] + width, valid.edges[-2] + valid_width)
    bars = _lengths(train, width)
    line = _lengths(valid, valid_width)
    # validation bins may have another width: scale their shares to the width of training bins
    line = replace(line, shares=tuple(share * width / valid_width for share in line.shares))
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100) if reach <= _MOST_LABELS * n * width)
    labels = [n * step * width for n in range(math.ceil(reach / width / step))]
    return _chart(bars, line, (0.0, reach), [(value, f"{value:.0f}") for value in labels])


def ratio_chart(train: Histogram, valid: Histogram) -> Chart:
    """Length ratios, in logarithmic bins."""
    bars, line = _ratios(train), _ratios(valid)
    low, high = bars.edges[0], bars.edges[-1]
    octaves = range(math.ceil(low) + 1, math.floor(high))
    labels = [(float(octave), f"1/{2**-octave}" if octave < 0 else f"{2**octave}") for octave in octaves]
    return _chart(bars, line, (low, high), labels)


def _width(histogram: Histogram) -> float:
    return histogram.edges[1] - histogram.edges[0] if len(histogram.edges) > 2 else 1.0


def _lengths(histogram: Histogram, width: float) -> _Shares:
    *closed, last = histogram.edges[:-1]
    labels = [f"{low:.0f} to {high - 1:.0f}" for low, high in pairwise(histogram.edges[:-1])]
    return _Shares((*closed, last, last + width), _shares(histogram), (*labels, f"{last:.0f} or more"))


def _ratios(histogram: Histogram) -> _Shares:
    labels = tuple(f"{low:.2g} to {high:.2g}" for low, high in pairwise(histogram.edges))
    return _Shares(tuple(math.log2(edge) for edge in histogram.edges), _shares(histogram), labels)


def _shares(histogram: Histogram) -> tuple[float, ...]:
    total = max(sum(histogram.counts), 1)
    return tuple(count / total for count in histogram.counts)


def _chart(bars: _Shares, line: _Shares, reach: tuple[float, float], labels: list[tuple[float, str]]) -> Chart:
    low, high = reach
    top = 1.05 * max(*bars.shares, *line.shares, _GRID[0])

    def x(value: float) -> float:
        return round(WIDTH * (value - low) / (high - low), 1)

    def y(share: float) -> float:
        return height_of(share, 0.0, top)

    rectangles = tuple(
        Bar(x(left), y(share), round(x(right) - x(left), 1), round(HEIGHT - y(share), 1), f"{label}: {percent(share)}")
        for (left, right), share, label in zip(pairwise(bars.edges), bars.shares, bars.labels, strict=True)
        if share
    )
    steps = "".join(f"V{y(share):g}H{x(right):g}" for right, share in zip(line.edges[1:], line.shares, strict=True))
    step = next((step for step in _GRID if top <= (_MOST_LINES + 1) * step), _GRID[-1])
    steps = f"M{x(line.edges[0]):g} {HEIGHT:g}{steps}V{HEIGHT:g}"
    return Chart(
        tuple((x(value), label) for value, label in labels),
        tuple((y(n * step), f"{100 * n * step:g}%") for n in range(1, int(top / step) + 1)),
        rectangles,
        (Line(steps),) if any(line.shares) else (),
    )
