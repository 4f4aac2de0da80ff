"""Charts as shapes for an SVG, without a plotting library and with reproducible bytes.

Places are in units of the SVG, from the left and from the top. The macro `figure` of the templates draws them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 400.0, 150.0  # of the plot area
COLOURS = 7  # of the style sheet, c0 to c6; safe for colour-blind eyes
_MOST_POINTS = 400  # of a curve; of more, the lowest and the highest of each stretch
_MOST_DOTS = 60

Ticks = tuple[tuple[float, str], ...]  # places and labels
Reading = tuple[int, float | None]  # the update of a measurement, and its finite value; None leaves a gap


@dataclass(frozen=True)
class Bar:
    """A bar; `label` is its tooltip, `style` its CSS class of colour."""

    x: float
    y: float
    width: float
    height: float
    label: str
    style: str = "c0"


@dataclass(frozen=True)
class Line:
    """A line; `path` is SVG path data."""

    path: str
    style: str = "c1"


@dataclass(frozen=True)
class Point:
    """A value with its tooltip and, if it has one, its interval from `low` to `high`."""

    x: float
    y: float
    label: str
    style: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mark:
    """A ring around a value, with its tooltip and the text beside it."""

    x: float
    y: float
    label: str
    style: str
    text: str


@dataclass(frozen=True)
class Chart:
    """Shapes, with x-axis labels (`across`), which may have several lines, and grid lines of the y axis (`up`)."""

    across: Ticks
    up: Ticks
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    points: tuple[Point, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def label_lines(self) -> int:
        """The number of lines of the x-axis labels."""
        return max((label.count("\n") + 1 for _, label in self.across), default=0)


def place_of(value: float, low: float, high: float) -> float:
    """The place of `value` on a horizontal axis from `low` to `high`."""
    return round(WIDTH * (value - low) / (high - low), 1)


def height_of(value: float, low: float, high: float) -> float:
    """The height of `value` on a vertical axis from `low` to `high`."""
    return round(HEIGHT * (1 - (value - low) / (high - low)), 1)


def grid(low: float, high: float, unit: str = "") -> Ticks:
    """Grid lines at round values of a vertical axis."""
    return tuple((height_of(value, low, high), label + unit) for value, label in round_values(low, high))


def round_values(low: float, high: float, most: float = 6) -> list[tuple[float, str]]:
    """Round numbers from low to high, at most so many and one, each with its label: 0.50, 20k, 3e-05."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(number * step, short(number * step, digits)) for number in numbers]


def short(value: float, digits: int = 0) -> str:
    """A number for an axis whose steps have so many digits: 20k, 1,500, 0.50, 3e-05."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:g}{letter}"
    if abs(value) >= 1e3:
        return f"{value:,g}"
    return f"{value:.{digits}f}" if 0 < digits <= 4 else f"{value:g}"


def histogram_outline(edges: Sequence[float], heights: Sequence[float]) -> str:
    """The outline of a histogram as path data: bins between the places `edges`, with the `heights` of their tops."""
    steps = "".join(f"V{y:g}H{right:g}" for right, y in zip(edges[1:], heights, strict=True))
    return f"M{edges[0]:g} {HEIGHT:g}{steps}V{HEIGHT:g}"


@dataclass(frozen=True)
class Curve:
    """Measurements in order; `style` is a CSS class."""

    style: str
    readings: Sequence[Reading]
    dots: bool = False  # one for each measurement, with its value as a tooltip
    marked: int | None = None  # the update whose value has a mark


def curve_chart(curves: Sequence[Curve], last: int, *, zero: bool, log: bool, named: bool = True) -> Chart | None:
    """The curves from update 0 to `last`; None where there is no number to draw.

    `zero` lets the axis begin there; `log` makes it logarithmic where values are positive and far apart; `named` writes
    the values of marks beside them.
    """
    values = [value for curve in curves for _, value in curve.readings if value is not None]
    if not values:
        return None
    low, high, last = min(values), max(values), max(last, 1)
    if log and low > 0 and high / low > 30:
        ends = math.log(low), math.log(high)
        up: Ticks = tuple(
            (height_of(math.log(tick), *ends), short(tick)) for tick in _powers(low, high) if low <= tick <= high
        )
    else:
        log = False
        low = min(low, 0.0) if zero else low
        room = (high - low) / 20 or abs(high) / 20 or 1.0
        ends = (low if zero else low - room), high + room
        up = grid(*ends)

    def place(step: float, value: float) -> tuple[float, float]:
        return place_of(step, 0, last), height_of(math.log(value) if log else value, *ends)

    lines, points, marks = [], [], []
    for curve in curves:
        path, pen = "", "M"
        for step, value in thinned(curve.readings):
            if value is not None:
                x, y = place(step, value)
                path += f"{pen}{x:g} {y:g}"
            pen = "M" if value is None else "L"
        if path:
            lines.append(Line(path, curve.style))
        known = [(step, value) for step, value in curve.readings if value is not None]
        if len(known) == 1 or (curve.dots and len(known) <= _MOST_DOTS):
            points += [Point(*place(*one), f"update {one[0]:,}: {one[1]:.5g}", curve.style) for one in known]
        if curve.marked is not None and (before := [one for one in known if one[0] <= curve.marked]):
            step, value = before[-1]
            text = f"{value:.3g} at {step:,}" if value < 1 else f"{value:.1f} at {step:,}"
            marks.append(Mark(*place(step, value), f"best validation: {text}", curve.style, text if named else ""))
    across = tuple((place_of(tick, 0, last), label) for tick, label in round_values(0, last, 5))
    return Chart(across, up, lines=tuple(lines), points=tuple(points), marks=tuple(marks))


def thinned(readings: Sequence[Reading]) -> list[Reading]:
    """Few enough measurements that still show every peak: of each stretch the lowest and the highest, and each gap."""
    if len(readings) <= _MOST_POINTS:
        return list(readings)
    kept: set[int] = {0, len(readings) - 1}
    stretches = _MOST_POINTS // 2
    for number in range(stretches):
        stretch = range(number * len(readings) // stretches, (number + 1) * len(readings) // stretches)
        numbers = [(value, index) for index in stretch if (value := readings[index][1]) is not None]
        if numbers:
            kept |= {min(numbers)[1], max(numbers)[1]}
        kept |= {index for index in stretch if readings[index][1] is None}
    return [readings[index] for index in sorted(kept)]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten, or those between them or every second, from about low to about high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 5))
    between = (1, 3) if last - first < 3 else (1,)
    return [factor * 10.0**power for power in range(first, last + 1, every) for factor in between]
