"""Charts as shapes for an SVG, without a plotting library and with reproducible bytes."""

from dataclasses import dataclass

WIDTH, HEIGHT = 400.0, 150.0  # of the plot area, in units of the SVG
COLOURS = 7  # of the style sheet, c0 to c6; safe for colour-blind eyes


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
    """A value with its interval from `low` to `high`, as heights in the SVG."""

    x: float
    y: float
    low: float
    high: float
    label: str
    style: str


@dataclass(frozen=True)
class Chart:
    """Shapes, with x-axis labels (`across`), which may have several lines, and grid lines of the y axis (`up`)."""

    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    points: tuple[Point, ...] = ()

    @property
    def label_lines(self) -> int:
        """The number of lines of the x-axis labels."""
        return max((label.count("\n") + 1 for _, label in self.across), default=0)


def height_of(value: float, low: float, high: float) -> float:
    """The height of `value` on an axis from `low` to `high`."""
    return round(HEIGHT * (1 - (value - low) / (high - low)), 1)
