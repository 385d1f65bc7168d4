"""Scatter plots drawn with HTML and CSS: positions in per cent, so that text keeps its size on a phone."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hipposeg_lab.page.numbers import show


@dataclass(frozen=True)
class Scale:
    """An axis from low to high, linear or logarithmic. ticks: (text, position in per cent)."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[str, float], ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Position of a value in per cent, rounded so that equal inputs give equal bytes."""
        a, b, x = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return round(100 * (x - a) / (b - a), 2)


@dataclass(frozen=True)
class Dot:
    """A mark. x, y: per cent from the left and from below. kind: CSS classes. tip: what it says when asked.

    name: text beside it, if any. case: number of the case that a press opens in the explorer, if any.
    """

    x: float
    y: float
    kind: str
    tip: str
    name: str = ""
    case: int | None = None


@dataclass(frozen=True)
class Scatter:
    """A plot. words: what it shows, for those who cannot see it. diagonal: whether y = x is drawn."""

    x: Scale
    y: Scale
    dots: tuple[Dot, ...]
    words: str
    diagonal: bool = False


def linear(title: str, values: Sequence[float], low: float | None = None, high: float | None = None) -> Scale:
    """A linear axis that holds all values, its ends on ticks (1, 2 or 5 times a power of ten) unless they are given."""
    a, b = min(values) if low is None else low, max(values) if high is None else high
    b = b if b > a else a + 1
    raw = (b - a) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if raw <= power * m * 1.0001)
    first = math.floor(a / step + 1e-9) if low is None else math.ceil(a / step - 1e-9)
    last = math.ceil(b / step - 1e-9) if high is None else math.floor(b / step + 1e-9)
    a, b = first * step if low is None else low, last * step if high is None else high
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    bare = Scale(title, a, b, ())
    ticks = tuple((f"{i * step:.{places}f}", bare.at(i * step)) for i in range(first, last + 1))
    return Scale(title, a, b, ticks)


def logarithmic(title: str, values: Sequence[float]) -> Scale:
    """A logarithmic axis for positive values, with ticks at 1, 2 and 5 times the powers of ten that fall inside."""
    low, high = min(values) / 1.25, max(values) * 1.25
    bare = Scale(title, low, high, (), log=True)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    at = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return Scale(title, low, high, tuple((show(value), bare.at(value)) for value in at), log=True)


def fence(values: Sequence[float]) -> float:
    """Below this a value is so far off that an axis that holds it would squeeze the rest (Tukey's outer fence)."""
    if len(values) < 4:
        return min(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low - 3 * (high - low)


def minutes(
    table: Sequence[tuple[str, float, float, int]], dims: dict[str, int], flagship: str | None
) -> Scatter | None:
    """Dice against minutes of training, a dot for each model; None without any.

    Models below the `fence` are arrows at the lower edge, and only one alone is labelled there: several labels overlap.

    Args:
        table: (model, minutes, mean Dice, seeds).
        dims: model -> 2 or 3, which gives the shape of its mark.
        flagship: labelled, as is the best model.
    """
    if not table:
        return None
    off = fence([dice for _, _, dice, _ in table])
    best = max(table, key=lambda row: row[2])[0]
    x = logarithmic("minutes of training, two threads, idle machine", [at for _, at, _, _ in table])
    alone = sum(dice < off for _, _, dice, _ in table) == 1
    y = linear("mean Dice", [dice for _, _, dice, _ in table if dice >= off])
    dots = []
    for model, at, dice, seeds in table:
        below, flat = dice < off, dims.get(model) == 2
        kind = " ".join(("best" if model == flagship else "mean", *["flat"] * flat, *["below"] * below))
        name = f"{model}, {show(dice, 'score')}" if below and alone else model if model in (flagship, best) else ""
        tip = f"{model} ({dims.get(model, 3)}D): {show(at, 'schedule')} minutes, mean Dice {show(dice, 'score')}, "
        tip += f"{show(seeds)} {'seed' if seeds == 1 else 'seeds'}{', below the axis' if below else ''}"
        dots.append(Dot(x.at(at), 0.0 if below else y.at(dice), kind, tip, name))
    return Scatter(x, y, tuple(dots), f"{len(dots)} models, minutes of training across, mean Dice upwards")
