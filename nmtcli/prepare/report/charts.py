"""Histograms of training text as bars, overlaid with validation text as a line."""

import math
from collections.abc import Sequence
from itertools import pairwise

from nmtcli.page.charts import HEIGHT, Bar, Chart, Line, grid, height_of, histogram_outline, place_of, round_values
from nmtcli.prepare.report.findings import percent
from nmtcli.prepare.report.report import Histogram

_LEAST_TOP = 0.001  # share of texts that the axis reaches at least


def length_chart(train: Histogram, valid: Histogram) -> Chart:
    """Lengths of texts, in bins of equal width from 0; the open last bin has the same width."""
    width, valid_width = _width(train), _width(valid)
    edges, valid_edges = ([*one.edges[:-1], one.edges[-2] + _width(one)] for one in (train, valid))
    labels = [*(f"{low:.0f} to {high - 1:.0f}" for low, high in pairwise(edges[:-1])), f"{edges[-2]:.0f} or more"]
    reach = max(edges[-1], valid_edges[-1])
    # validation bins may have another width: scale their shares to the width of training bins
    line = [share * width / valid_width for share in _shares(valid)]
    ticks = [(value, label) for value, label in round_values(0, reach, min(reach, 8)) if value < reach]
    return _chart(edges, _shares(train), labels, valid_edges, line, (0, reach), ticks)


def ratio_chart(train: Histogram, valid: Histogram) -> Chart:
    """Length ratios, in logarithmic bins."""
    edges, valid_edges = ([math.log2(edge) for edge in one.edges] for one in (train, valid))
    labels = [f"{low:.2g} to {high:.2g}" for low, high in pairwise(train.edges)]
    octaves = range(math.ceil(edges[0]) + 1, math.floor(edges[-1]))
    ticks = [(float(octave), f"1/{2**-octave}" if octave < 0 else f"{2**octave}") for octave in octaves]
    return _chart(edges, _shares(train), labels, valid_edges, _shares(valid), (edges[0], edges[-1]), ticks)


def _width(histogram: Histogram) -> float:
    return histogram.edges[1] - histogram.edges[0] if len(histogram.edges) > 2 else 1.0


def _shares(histogram: Histogram) -> list[float]:
    """The share of all texts in each bin."""
    total = max(sum(histogram.counts), 1)
    return [count / total for count in histogram.counts]


def _chart(
    edges: Sequence[float],
    shares: Sequence[float],
    labels: Sequence[str],
    valid_edges: Sequence[float],
    valid_shares: Sequence[float],
    ends: tuple[float, float],
    ticks: Sequence[tuple[float, str]],
) -> Chart:
    """Training text in bins between `edges`, validation text in bins of its own; the axis has `ends` and `ticks`."""
    top = 1.05 * max(*shares, *valid_shares, _LEAST_TOP)
    bars = []
    places = [place_of(edge, *ends) for edge in edges]
    for (left, right), share, label in zip(pairwise(places), shares, labels, strict=True):
        y = height_of(share, 0, top)
        if share:
            bars.append(Bar(left, y, round(right - left, 1), round(HEIGHT - y, 1), f"{label}: {percent(share)}"))
    heights = [height_of(share, 0, top) for share in valid_shares]
    outline = histogram_outline([place_of(edge, *ends) for edge in valid_edges], heights)
    return Chart(
        tuple((place_of(value, *ends), label) for value, label in ticks),
        grid(0, 100 * top, "%"),
        tuple(bars),
        (Line(outline),) if any(valid_shares) else (),
    )
