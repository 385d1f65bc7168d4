"""Charts that the page draws with HTML and CSS: positions in per cent, so that text keeps its size on a phone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hipposeg_lab.page.view import CLASSES, RunRow

TICK = 0.05
CHART_LABELS = (*CLASSES, "mean")


@dataclass(frozen=True)
class Mark:
    """A dot with its interval. at, low, high: per cent of the axis; value: the number itself."""

    label: str
    value: float
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """A linear axis that starts and ends on a tick."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Position of a value in per cent, rounded so that equal inputs give equal bytes."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> list[tuple[float, float]]:
        """(value, position) of each tick, at most seven of them."""
        n = round((self.high - self.low) / TICK)
        step = math.ceil(n / 6)
        values = [round(self.low + TICK * index, 10) for index in range(0, n + 1, step)]
        return [(value, self.at(value)) for value in values]


def axis_for(values: Sequence[float]) -> Axis:
    """The shortest axis on ticks that holds all values with a little air, within 0 and 1."""
    low = math.floor((min(values) - TICK / 5) / TICK) * TICK
    high = math.ceil((max(values) + TICK / 5) / TICK) * TICK
    return Axis(round(max(0.0, low), 10), round(min(1.0, high), 10))


def extent(rows: Sequence[RunRow]) -> list[float]:
    """All Dice values and interval ends of the charted labels."""
    metrics = ("dice", "dice_low", "dice_high")
    found = [row.get(label, metric) for row in rows for label in CHART_LABELS for metric in metrics]
    return [value for value in found if value is not None]


def mark(row: RunRow, label: str, axis: Axis) -> Mark | None:
    """A label's Dice on the axis, None if there is none; a missing interval shrinks to the dot."""
    value = row.get(label, "dice")
    if value is None:
        return None
    low, high = (
        axis.at(value if end is None else end) for end in (row.get(label, "dice_low"), row.get(label, "dice_high"))
    )
    return Mark(label, value, axis.at(value), low, high)


def marks(row: RunRow, axis: Axis) -> list[Mark]:
    """One mark per charted label that has a Dice."""
    return [found for label in CHART_LABELS if (found := mark(row, label, axis))]


def sparkline(values: Sequence[float], width: int = 96, height: int = 24) -> str:
    """Points of an SVG polyline through `values`, evenly spaced, the smallest at the bottom; "" for fewer than two."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    step = width / (len(values) - 1)
    return " ".join(f"{i * step:.1f},{1 + (height - 2) * (1 - (v - low) / span):.1f}" for i, v in enumerate(values))
