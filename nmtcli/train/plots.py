"""Curves over updates as shapes for an SVG: no plotting library, and the same bytes each time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nmtcli.page.charts import HEIGHT, WIDTH

_MOST_POINTS = 400  # of a curve; of more, the lowest and the highest of each stretch
_MOST_DOTS = 60


class Point(NamedTuple):
    """A measured value, finite; None leaves a gap."""

    step: int
    value: float | None


@dataclass(frozen=True)
class Curve:
    """Points in order; `style` is a CSS class."""

    name: str
    style: str
    points: Sequence[Point]
    dots: bool = False  # one for each point, with its value to be read
    marked: int | None = None  # an update whose value is written beside the curve


@dataclass(frozen=True)
class Line:
    """A curve as it is drawn."""

    style: str
    path: str
    dots: tuple[tuple[float, float, str], ...]  # x, y, label
    mark: tuple[float, float, str] | None = None  # x, y, what is written there


@dataclass(frozen=True)
class Plot:
    """Several curves over one axis of updates."""

    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]  # labels below
    up: tuple[tuple[float, str], ...]  # lines across, and their labels


def plot(curves: Sequence[Curve], last: int, *, zero: bool, log: bool) -> Plot | None:
    """The curves from update 0 to `last`; None where there is no number to draw.

    `zero` lets the axis begin there; `log` makes it logarithmic where values are positive and far apart.
    """
    values = [value for curve in curves for _, value in curve.points if value is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    if log and low > 0 and high / low > 30:
        ticks = [tick for tick in _powers(low, high) if low <= tick <= high]
        scale = _Scale(math.log(low), math.log(high), log=True)
    else:
        low = min(low, 0.0) if zero else low
        room = (high - low) / 20 or abs(high) / 20 or 1.0
        scale = _Scale(low if zero else low - room, high + room)
        ticks = _steps(scale.low, scale.high, 6)
    last = max(last, 1)
    return Plot(
        tuple(_line(curve, last, scale) for curve in curves),
        tuple((_x(tick, last), short(tick)) for tick in _steps(0, last, 5)),
        tuple((scale.y(tick), short(tick)) for tick in ticks),
    )


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    log: bool = False

    def y(self, value: float) -> float:
        """From the top, in units of the SVG."""
        value = math.log(value) if self.log else value
        return round(HEIGHT * (1 - (value - self.low) / (self.high - self.low)), 1)


def _x(step: float, last: int) -> float:
    return round(WIDTH * step / last, 1)


def _line(curve: Curve, last: int, scale: _Scale) -> Line:
    path, pen = "", "M"
    for step, value in thinned(curve.points):
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{_x(step, last):g} {scale.y(value):g}"
        pen = "L"
    known = [(step, value) for step, value in curve.points if value is not None]
    drawn = known if curve.dots and len(known) <= _MOST_DOTS else known if len(known) == 1 else []
    dots = ((_x(step, last), scale.y(value), f"update {step:,}: {value:.5g}") for step, value in drawn)
    return Line(curve.style, path, tuple(dots), _mark(curve, last, scale))


def _mark(curve: Curve, last: int, scale: _Scale) -> tuple[float, float, str] | None:
    """The last value up to the update that is marked."""
    if curve.marked is None:
        return None
    known = [(step, value) for step, value in curve.points if value is not None and step <= curve.marked]
    if not known:
        return None
    step, value = known[-1]
    return _x(step, last), scale.y(value), f"{value:.3g} at {step:,}" if value < 1 else f"{value:.1f} at {step:,}"


def thinned(points: Sequence[Point]) -> list[Point]:
    """Few enough points that still show every peak: of each stretch the lowest and the highest, and each gap."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    kept: set[int] = {0, len(points) - 1}
    stretches = _MOST_POINTS // 2
    for number in range(stretches):
        stretch = range(number * len(points) // stretches, (number + 1) * len(points) // stretches)
        numbers = [(value, index) for index in stretch if (value := points[index].value) is not None]
        if numbers:
            kept |= {min(numbers)[1], max(numbers)[1]}
        kept |= {index for index in stretch if points[index].value is None}
    return [points[index] for index in sorted(kept)]


def _steps(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, at most so many and one."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(round_ * power for round_ in (1, 2, 5, 10) if round_ * power >= rough * (1 - 1e-9))
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten, or those between them or every second, from about low to about high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 5))
    between = (1, 3) if last - first < 3 else (1,)
    return [factor * 10.0**power for power in range(first, last + 1, every) for factor in between]


def short(value: float) -> str:
    """A number for an axis: 20k, 0.5, 3e-05."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
