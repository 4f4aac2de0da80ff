"""Charts as shapes for an SVG: no plotting library, and the same bytes each time."""

from dataclasses import dataclass

WIDTH, HEIGHT = 400.0, 150.0  # of the area that is drawn on, in units of the SVG
COLOURS = 7  # of the style sheet, c0 to c6; safe for colour-blind eyes


@dataclass(frozen=True)
class Bar:
    """A bar; `label` is what a pointer over it reads, `style` its class of colour."""

    x: float
    y: float
    width: float
    height: float
    label: str
    style: str = "c0"


@dataclass(frozen=True)
class Line:
    """A line through `path`."""

    path: str
    style: str = "c1"


@dataclass(frozen=True)
class Point:
    """A value with its interval from `low` to `high`, all of them heights."""

    x: float
    y: float
    low: float
    high: float
    label: str
    style: str


@dataclass(frozen=True)
class Chart:
    """Shapes, with the labels below and the lines across with theirs. A label below may have several lines."""

    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    points: tuple[Point, ...] = ()

    @property
    def label_lines(self) -> int:
        """How many lines the labels below take."""
        return max((label.count("\n") + 1 for _, label in self.across), default=0)


def height_of(value: float, low: float, high: float) -> float:
    """Where `value` stands on an axis from `low` to `high`."""
    return round(HEIGHT * (1 - (value - low) / (high - low)), 1)
