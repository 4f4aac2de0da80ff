"""Charts of scores as shapes for an SVG, with a colour for each system."""

import math
from collections.abc import Sequence
from itertools import chain, pairwise

from nmtcli.metrics.scores import Score
from nmtcli.page.charts import HEIGHT, WIDTH, Bar, Chart, Line, Point, grid, height_of, histogram_outline
from nmtcli.score.analysis import Breakdown

_GROUP = 0.8  # width of a group of bars, as a share of its place
_LETTER = 6.5  # width of a letter of a label, in units of the SVG
_BINS = 20  # of sentence scores from 0 to 100


def interval_chart(names: Sequence[str], scores: Sequence[Score]) -> Chart:
    """One metric: the score of each system with its 95 % interval."""
    spans = [(one.value if one.low is None else one.low, one.value if one.high is None else one.high) for one in scores]
    ends = [*chain(*spans), *(one.value for one in scores)]
    margin = 0.15 * (max(ends) - min(ends)) or 0.05 * abs(max(ends)) or 1.0
    low, high = min(ends) - margin, max(ends) + margin
    place = WIDTH / len(scores)
    points = tuple(
        Point(
            round(place * (number + 0.5), 1),
            height_of(one.value, low, high),
            f"{name}: {one.value:.4g}, from {span[0]:.4g} to {span[1]:.4g}",
            f"c{number}",
            *(height_of(end, low, high) for end in span),
        )
        for number, (name, one, span) in enumerate(zip(names, scores, spans, strict=True))
    )
    across = tuple((point.x, _short(name, place)) for point, name in zip(points, names, strict=True))
    return Chart(across, grid(low, high), points=points)


def _short(name: str, width: float) -> str:
    """A name that fits below its point: the end of a long one, as file names differ at the end."""
    most = max(3, int(width / _LETTER))
    name = " ".join(name.split())
    return name if len(name) <= most else f"…{name[1 - most :]}"


def bucket_chart(breakdown: Breakdown, metric: str, names: Sequence[str]) -> Chart:
    """A group of bars for each bucket, a bar for each system."""
    buckets = breakdown.buckets
    top = 1.08 * max(1.0, *chain(*(bucket.scores[metric] for bucket in buckets)))
    place = WIDTH / len(buckets)
    width = _GROUP * place / len(names)
    bars = []
    for group, bucket in enumerate(buckets):
        start = place * (group + (1 - _GROUP) / 2)
        for number, (name, value) in enumerate(zip(names, bucket.scores[metric], strict=True)):
            y = height_of(value, 0.0, top)
            label = f"{name}, {bucket.label}: {value:.1f}"
            x = round(start + number * width, 1)
            bars.append(Bar(x, y, round(width, 1), round(HEIGHT - y, 1), label, f"c{number}"))
    across = tuple(
        (round(place * (group + 0.5), 1), f"{bucket.label}\n({bucket.size:,})") for group, bucket in enumerate(buckets)
    )
    return Chart(across, grid(0.0, top), bars=tuple(bars))


def distribution_chart(sentence_scores: Sequence[Sequence[float]]) -> Chart:
    """The distribution of sentence scores, a line for each system."""
    shares = [_shares(scores) for scores in sentence_scores]
    top = 1.08 * max(chain(*shares))
    edges = [WIDTH * number / _BINS for number in range(_BINS + 1)]
    lines = tuple(
        Line(histogram_outline(edges, [height_of(share, 0.0, top) for share in of_system]), f"c{number}")
        for number, of_system in enumerate(shares)
    )
    across = tuple((WIDTH * value / 100, f"{value}") for value in range(0, 101, 20))
    return Chart(across, grid(0.0, top, "%"), lines=lines)


def _shares(scores: Sequence[float]) -> list[float]:
    """The share of sentences in each bin, in percent."""
    edges = [100 * number / _BINS for number in range(_BINS)] + [math.inf]
    ordered = [sum(low <= score < high for score in scores) for low, high in pairwise(edges)]
    return [100 * count / len(scores) for count in ordered]
