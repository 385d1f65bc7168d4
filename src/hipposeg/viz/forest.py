"""Paired differences at a glance: one row a comparison, its interval against zero and what is too small to matter.

The layout is that of a meta-analysis (Lewis and Clarke 2001, doi:10.1136/bmj.322.7300.1479): names at the left, marks
with intervals in the middle, the same numbers at the right. What the protocol says of a row is told by the shape of
its mark, by its colour and in words.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hipposeg.viz.style import INK, MUTED, SERIES, text_width

COLUMNS = ("difference", "low", "high", "people", "seeds", "verdict")
HEADS = ("difference (95 % interval)", "people", "seeds", "verdict")
# Inches: a row, the chart between the texts, and the air between columns of text.
ROW, CHART, GAP = 0.25, 3.1, 0.2
SIZE = 8.5
# An interval that reaches this many times as far as the median one is cut at the axis' end.
CUT = 6


@dataclass(frozen=True)
class Mark:
    """How a verdict is drawn: shape, colour, and whether the shape is filled."""

    shape: str
    colour: str
    filled: bool = True


# Told apart by shape alone, too: to the right, to the left, closed and flat, open.
MARKS = {
    "ahead": Mark(">", SERIES[2]),
    "behind": Mark("<", SERIES[1]),
    "equivalent": Mark("s", SERIES[0]),
    "undecided": Mark("o", INK, filled=False),
}
NO_VERDICT = Mark("d", MUTED, filled=False)


def forest(
    rows: pd.DataFrame, margin: float, xlabel: str = "mean Dice, row minus reference", *, sort: bool = True
) -> Figure:
    """Forest plot of paired differences, as `results.compare.differences` gives them.

    rows: one row a comparison. Columns: difference, low, high (ends of its 95 % interval), people, seeds, verdict
    (`stats.verdict`; None or any other text is no verdict and printed as it is). Index: names, or (family, name) where
    there are several families; families stay in the order of their first row, and each gets a heading. A row without
    a difference (NaN) is listed with its text and no mark. margin: half the width of the shaded band, in the unit of
    the differences; within it a difference is too small to matter. sort: largest difference first within a family;
    False keeps the table's order. Raises ValueError for a table without rows or columns that are missing.
    """
    missing = [column for column in COLUMNS if column not in rows]
    if missing or rows.empty:
        found = f"lacks the columns {', '.join(missing)}" if missing else "has no row"
        raise ValueError(f"the table of differences {found}; pass what results.compare.differences returns")
    lines = _lines(rows, sort)
    texts = [_words(row) if row is not None else ("",) * len(HEADS) for _, row in lines]
    fig, (left, middle, right) = _page(lines, texts)
    _names(left, [(name, row is None) for name, row in lines])
    for y, (_, row) in enumerate(lines):
        if row is not None and np.isfinite(row["difference"]):
            _whisker(middle, y, row)
    _scale(middle, rows, margin, xlabel)
    _cut(middle, lines)
    _numbers(right, texts, [row for _, row in lines])
    return fig


def _lines(rows: pd.DataFrame, sort: bool) -> list[tuple[str, pd.Series | None]]:
    """The plot's lines from the top: (name, row), or (family, None) for a heading."""
    grouped = rows.index.nlevels > 1
    families = list(dict.fromkeys(rows.index.get_level_values(0))) if grouped else [""]
    lines: list[tuple[str, pd.Series | None]] = []
    for family in families:
        part = rows.xs(family, level=0) if grouped else rows
        part = part.sort_values("difference", ascending=False, kind="stable", na_position="last") if sort else part
        lines += [(str(family), None)] if grouped else []
        lines += [(str(name), row) for name, row in part.iterrows()]
    return lines


def _words(row: pd.Series) -> tuple[str, ...]:
    """A row's numbers as they are printed, in the order of HEADS."""
    if not np.isfinite(row["difference"]):
        return ("", "", "", _verdict(row))
    low, high = (_signed(row[end]) for end in ("low", "high"))
    counts = tuple(f"{row[name]:.0f}" for name in ("people", "seeds"))
    return (f"{_signed(row['difference'])} ({low} to {high})", *counts, _verdict(row))


def _verdict(row: pd.Series) -> str:
    """The verdict in words; why there is none, where there is none."""
    if isinstance(row["verdict"], str) and row["verdict"]:
        return row["verdict"]
    one = row["seeds"] == 1
    return "no verdict: one seed" if one else f"no verdict: {row['seeds']:.0f} seeds"


def _signed(value: float) -> str:
    """Four decimals with a sign that is as wide for minus as for plus."""
    return f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def _page(lines: list[tuple[str, pd.Series | None]], texts: list[tuple[str, ...]]) -> tuple[Figure, tuple[Axes, ...]]:
    """The figure and its three columns: names, chart, numbers; each text gets the room it needs."""
    names = max(text_width(name, SIZE, "bold" if row is None else "normal") for name, row in lines)
    numbers = sum(_widths(texts)) + GAP * len(HEADS)
    size = (names + GAP + CHART + numbers + 0.2, ROW * (len(lines) + 1) + 0.8)
    fig, axes = plt.subplots(1, 3, figsize=size, layout="none", width_ratios=(names + GAP, CHART, numbers))
    fig.subplots_adjust(left=0.1 / size[0], right=1 - 0.1 / size[0], bottom=0.7 / size[1], top=1 - 0.1 / size[1],
                        wspace=0)  # fmt: skip
    for ax in axes:
        ax.set_ylim(len(lines) - 0.5, -1.5)
    for ax in (axes[0], axes[2]):
        ax.set_axis_off()
    # The chart ends below the line of heads.
    box = axes[1].get_position()
    axes[1].set_position((box.x0, box.y0, box.width, box.height * len(lines) / (len(lines) + 1)))
    axes[1].set_ylim(len(lines) - 0.5, -0.5)
    return fig, tuple(axes)


def _widths(texts: list[tuple[str, ...]]) -> list[float]:
    """Inches of each column of text, its head included."""
    columns = zip(HEADS, *texts, strict=True)
    return [max(text_width(text, SIZE) for text in column) for column in columns]


def _names(ax: Axes, names: list[tuple[str, bool]]) -> None:
    """The names, headings in bold; rows under a heading are indented by a little."""
    grouped = any(heading for _, heading in names)
    ax.set_xlim(0, 1)
    for y, (name, heading) in enumerate(names):
        indent = 7 if grouped and not heading else 0
        ax.annotate(name, (0, y), xytext=(indent, 0), textcoords="offset points", va="center", fontsize=SIZE,
                    weight="bold" if heading else "normal")  # fmt: skip


def _whisker(ax: Axes, y: int, row: pd.Series) -> None:
    """The interval as a line, and the difference as its verdict's mark."""
    mark = MARKS.get(row["verdict"], NO_VERDICT)
    ax.hlines(y, row["low"], row["high"], color=mark.colour, linewidth=1.6)
    fill = mark.colour if mark.filled else "white"
    ax.plot(row["difference"], y, mark.shape, color=fill, markeredgecolor=mark.colour, markeredgewidth=1.4,
            markersize=7)  # fmt: skip


def _scale(ax: Axes, rows: pd.DataFrame, margin: float, xlabel: str) -> None:
    """Zero, the band of what is too small to matter, and an axis that holds every interval but a few that are huge.

    One model that failed would leave the others no room: what reaches more than six times as far as the median row
    does is cut.
    """
    ends = rows[["difference", "low", "high"]].dropna().to_numpy(dtype=float)
    reach = np.abs(ends).max(axis=1, initial=0)
    kept = ends[reach <= CUT * max(np.median(reach), 2 * margin)] if len(ends) else ends
    # Twice the band at least, so that a row well within it looks like one.
    kept = np.append(kept, [-2 * margin, 2 * margin])
    low, high = float(kept.min()), float(kept.max())
    air = 0.05 * (high - low)
    ax.axvspan(-margin, margin, color="#dfe3e8", linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1, zorder=1)
    ax.set_xlim(low - air, high + air)
    ax.set_xlabel(f"{xlabel}\n(shaded: ±{margin:g})", fontsize=SIZE)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.tick_params(axis="x", labelsize=SIZE)
    ax.set_yticks([])
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)


def _cut(ax: Axes, lines: list[tuple[str, pd.Series | None]]) -> None:
    """An arrow at the axis' end for every interval that goes on beyond it."""
    low, high = ax.get_xlim()
    for y, (_, row) in enumerate(lines):
        if row is None or not np.isfinite(row["difference"]):
            continue
        colour = MARKS.get(row["verdict"], NO_VERDICT).colour
        for end, beyond, shape in ((low, row["low"] < low, "<"), (high, row["high"] > high, ">")):
            if beyond:
                ax.plot(end, y, shape, color=colour, markersize=6, clip_on=False)


def _numbers(ax: Axes, texts: list[tuple[str, ...]], rows: list[pd.Series | None]) -> None:
    """The columns of text at the right, each under its head; counts right-aligned."""
    widths = _widths(texts)
    total = sum(widths) + GAP * len(HEADS)
    ax.set_xlim(0, total)
    x = GAP
    for column, (head, width) in enumerate(zip(HEADS, widths, strict=True)):
        counts = head in ("people", "seeds")
        at, align = (x + width, "right") if counts else (x, "left")
        ax.text(at, -1, head, ha=align, va="center", fontsize=SIZE, color=MUTED)
        for y, (words, row) in enumerate(zip(texts, rows, strict=True)):
            last = column == len(HEADS) - 1
            colour = MARKS.get(row["verdict"], NO_VERDICT).colour if last and row is not None else INK
            ax.text(at, y, words[column], ha=align, va="center", fontsize=SIZE, color=colour)
        x += width + GAP
