"""Rows of values: dots with intervals, and forest plots of paired differences.

The tables are in long form, with the columns `row` and `value`, for intervals `low` and `high`, and where there are
several, `series` (the colour) and `panel` (side by side). Everything keeps its order of appearance.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hipposeg.viz.style import INK, MUTED, SERIES, WIDTH

BAND = "#dfe3e8"  # differences that are too small to matter


def dots(
    table: pd.DataFrame,
    xlabel: str | Mapping[str, str],
    colours: Mapping[str, str] | None = None,
    *,
    line: tuple[str, float] | None = None,
    one_scale: bool = False,
    numbers: str | None = None,
) -> Figure:
    """Draw a dot with its interval (without `low` and `high`, the dot only) for each row, series and panel.

    Args:
        table: see the module.
        xlabel: one text, or one for each panel.
        colours: by series.
        line: name and value of a dashed line in every panel.
        one_scale: all panels share one axis.
        numbers: the series whose values are printed beside its intervals.
    """

    table = table.assign(**{name: "" for name in ("series", "panel") if name not in table})
    rows, series, panels = (list(dict.fromkeys(table[name])) for name in ("row", "series", "panel"))
    colours = colours or dict(zip(series, SERIES, strict=False))
    # Series stand side by side in a row only where one row has several.
    several = table.groupby(["panel", "row"])["series"].nunique()
    abreast = len(series) if several.max() > 1 else 1
    size = (WIDTH, 1.1 + len(rows) * (0.24 + min(0.13, 0.6 / abreast) * abreast))
    fig, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, sharex=one_scale, squeeze=False)
    for ax, panel in zip(axes[0], panels, strict=True):
        for index, name in enumerate(series):
            found = table[(table["panel"] == panel) & (table["series"] == name)]
            place = (index - (abreast - 1) / 2) * 0.7 / abreast
            y = np.array([rows.index(row) + place * (several[panel, row] > 1) for row in found["row"]])
            _series(ax, found, y, colours[name], name, name == numbers)
        ax.set(xlabel=xlabel if isinstance(xlabel, str) else xlabel[panel], title=panel)
        ax.set(ylim=(len(rows) - 0.45, -0.55))
        ax.set_yticks(range(len(rows)), rows)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        if line:
            ax.axvline(line[1], color=MUTED, linestyle="--", linewidth=1, zorder=0)
            ax.annotate(line[0], (line[1], 1), (4, 3), xycoords=("data", "axes fraction"), fontsize=9,
                        textcoords="offset points", color=MUTED, va="bottom")  # fmt: skip
    if len(series) > 1 and series != rows:
        handles = {label: one for ax in axes[0] for one, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        columns = max(1, 115 // (8 + max(len(str(name)) for name in series)))  # characters on a line
        fig.legend(handles.values(), handles, loc="outside lower center", ncols=min(columns, len(series)))
    return fig


def _series(ax: Axes, found: pd.DataFrame, y: np.ndarray, colour: str, name: str, numbered: bool) -> None:
    if "low" in found:
        ax.hlines(y, found["low"], found["high"], color=colour, linewidth=2.2)
    shape = "D" if name == "mean" else "o"
    ax.plot(found["value"], y, shape, color=colour, markersize=6, markeredgecolor="white", label=name)
    if numbered:
        ends = found["high"].fillna(found["value"])
        for value, end, place in zip(found["value"], ends, y, strict=True):
            ax.annotate(f"{value:.3f}", (end, place), (6, 0), textcoords="offset points", va="center", fontsize=9)


COLUMNS = ("difference", "low", "high", "subjects", "seeds", "conclusion")
# The axis leaves out an interval that reaches this many times as far as the median one.
CUT = 6

# Shape, colour and fill of each conclusion. Shapes alone tell them apart: to the right, to the left, closed, open.
MARKS = {
    "better": (">", SERIES[2], SERIES[2]),
    "worse": ("<", SERIES[1], SERIES[1]),
    "equivalent": ("s", SERIES[0], SERIES[0]),
    "inconclusive": ("o", INK, "white"),
}
NO_CONCLUSION = ("d", MUTED, "white")


def forest(
    rows: pd.DataFrame, margin: float, xlabel: str = "mean Dice, row minus reference", *, sort: bool = True
) -> Figure:
    """Draw a forest plot of paired differences (Lewis and Clarke 2001, doi:10.1136/bmj.322.7300.1479).

    Args:
        rows: as `results.compare.differences` returns it, indexed by name or by (group, name); groups keep their order
            and get headings. A row without a difference (NaN) is listed with its conclusion only.
        margin: half the width of the shaded band, in the unit of the differences.
        xlabel: text of the axis.
        sort: largest difference first within a group, instead of the table's order.

    Raises:
        ValueError: the table has no rows or lacks columns.
    """
    missing = [column for column in COLUMNS if column not in rows]
    if missing or rows.empty:
        found = f"lacks the columns {', '.join(missing)}" if missing else "has no row"
        raise ValueError(f"the table of differences {found}; pass what results.compare.differences returns")
    lines = _lines(rows, sort)
    fig, ax = plt.subplots(figsize=(WIDTH, 0.9 + 0.25 * len(lines)))
    ax.set(ylim=(len(lines) - 0.5, -0.5), xlim=_reach(rows, margin), xlabel=f"{xlabel} (shaded: ±{margin:g})")
    ax.axvspan(-margin, margin, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1, zorder=1)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(False, axis="y")
    right = ax.secondary_yaxis("right")
    names = [name if row is not None else "" for name, row in lines]
    for side, texts in ((ax, names), (right, [_words(row) for _, row in lines])):
        side.set_yticks(range(len(lines)), texts, fontsize=8.5)
        side.tick_params(axis="y", length=0)
        for name, spine in side.spines.items():
            spine.set_visible(name == "bottom")
    for y, (name, row) in enumerate(lines):
        if row is None:  # inside the axes: as a tick's label, a long heading would leave them no room
            ax.text(0, y, name, transform=ax.get_yaxis_transform(), va="center", fontsize=8.5, weight="bold")
            continue
        right.get_yticklabels()[y].set_color(MARKS.get(row["conclusion"], NO_CONCLUSION)[1])
        if np.isfinite(row["difference"]):
            _whisker(ax, y, row)
    return fig


def _lines(rows: pd.DataFrame, sort: bool) -> list[tuple[str, pd.Series | None]]:
    """The plot's lines from the top: (name, row), or (group, None) for a heading."""
    grouped = rows.index.nlevels > 1
    lines: list[tuple[str, pd.Series | None]] = []
    for group in dict.fromkeys(rows.index.get_level_values(0)) if grouped else [""]:
        part = rows.xs(group, level=0) if grouped else rows
        part = part.sort_values("difference", ascending=False, kind="stable", na_position="last") if sort else part
        lines += [(str(group), None)] if grouped else []
        lines += [(str(name), row) for name, row in part.iterrows()]
    return lines


def _words(row: pd.Series | None) -> str:
    """A row's numbers and conclusion."""
    if row is None:
        return ""
    conclusion = row["conclusion"] if isinstance(row["conclusion"], str) and row["conclusion"] else "no conclusion"
    if not np.isfinite(row["difference"]):
        return conclusion
    value, low, high = (f"{row[end]:+.4f}".replace("-", "\N{MINUS SIGN}") for end in ("difference", "low", "high"))
    seeds = f"{row['seeds']:.0f} seed{'s' if row['seeds'] > 1 else ''}"
    return f"{value} ({low} to {high}), {row['subjects']:.0f} subjects, {seeds}: {conclusion}"


def _reach(rows: pd.DataFrame, margin: float) -> tuple[float, float]:
    """Ends of an axis that holds every interval but a few huge ones, and twice the band at least."""
    ends = rows[["difference", "low", "high"]].dropna().to_numpy(dtype=float)
    reach = np.abs(ends).max(axis=1, initial=0)
    kept = ends[reach <= CUT * max(np.median(reach), 2 * margin)] if len(ends) else ends
    kept = np.append(kept, [-2 * margin, 2 * margin])
    air = 0.05 * float(np.ptp(kept))
    return float(kept.min()) - air, float(kept.max()) + air


def _whisker(ax: Axes, y: int, row: pd.Series) -> None:
    """The interval as a line with its conclusion's mark, and an arrow where it goes on beyond the axis."""
    shape, colour, fill = MARKS.get(row["conclusion"], NO_CONCLUSION)
    ax.hlines(y, row["low"], row["high"], color=colour, linewidth=1.6)
    ax.plot(row["difference"], y, shape, color=fill, markersize=7, markeredgecolor=colour, markeredgewidth=1.4)
    low, high = ax.get_xlim()
    for end, beyond, arrow in ((low, row["low"] < low, "<"), (high, row["high"] > high, ">")):
        if beyond:
            ax.plot(end, y, arrow, color=colour, markersize=6, clip_on=False)
