"""Dots with intervals for things that are compared: models, heads, folds; and Dice against the minutes it took."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from hipposeg.viz.evaluation import WIDTH
from hipposeg.viz.style import INK, MUTED, SERIES


def ranges(
    table: pd.DataFrame, xlabel: str, colours: Mapping[str, str] | None = None, line: tuple[str, float] | None = None,
    one_scale: bool = False,
) -> Figure:  # fmt: skip
    """A dot with its interval for each row, series and panel, rows and panels in their order of appearance.

    table: columns row, value, low, high, and, where there are several, series (named in the legend, and drawn side by
    side in a row that has several) and panel (drawn beside each other, each with an axis of its own unless one_scale).
    colours: by series. line: a name and a value to compare with, drawn in every panel.
    """
    table = table if "series" in table else table.assign(series="")
    table = table if "panel" in table else table.assign(panel="")
    rows, series, panels = (list(dict.fromkeys(table[name])) for name in ("row", "series", "panel"))
    colours = colours or dict(zip(series, SERIES, strict=False))
    abreast = len(series) if table.groupby(["panel", "row"])["series"].nunique().max() > 1 else 1
    size = (WIDTH, 1.1 + len(rows) * (0.24 + 0.2 * abreast))
    fig, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, sharex=one_scale, squeeze=False)
    for ax, panel in zip(axes[0], panels, strict=True):
        for name, found in table[table["panel"] == panel].groupby("series", sort=False):
            y = np.array([rows.index(row) for row in found["row"]])
            y = y + (_offset(series.index(name), abreast) if abreast > 1 else 0)
            ax.hlines(y, found["low"], found["high"], color=colours[name], linewidth=2.2)
            ax.plot(found["value"], y, "o", color=colours[name], markersize=6, markeredgecolor="white", label=name)
        if line:
            ax.axvline(line[1], color=MUTED, linestyle="--", linewidth=1, zorder=0)
            ax.annotate(line[0], (line[1], 1), xycoords=("data", "axes fraction"), xytext=(4, 3), fontsize=9,
                        textcoords="offset points", color=MUTED, va="bottom")  # fmt: skip
        ax.set(xlabel=xlabel, title=panel, ylim=(len(rows) - 0.45, -0.55))
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set_yticks(range(len(rows)), rows)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
    if len(series) > 1:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(series))
    return fig


def _offset(index: int, count: int) -> float:
    """Where the n-th of several dots stands within a row of height 1."""
    return (index - (count - 1) / 2) * 0.6 / count


def by_fold(scores: pd.DataFrame, published: Mapping[str, Mapping[str, float]]) -> Figure:
    """Mean Dice of each fold as a dot and of all cases as a line, one panel for each kind of folds.

    scores: columns folds, fold, dice, a row per case. published: kind of folds -> method -> mean Dice that others
    report on such folds, drawn as dashed lines.
    """
    kinds = list(dict.fromkeys(scores["folds"]))
    size = (min(WIDTH, 1.4 + 4.1 * len(kinds)), 3.4)
    fig, axes = plt.subplots(1, len(kinds), figsize=size, sharey=True, squeeze=False)
    for ax, kind in zip(axes[0], kinds, strict=True):
        rows = scores[scores["folds"] == kind]
        each = rows.groupby("fold")["dice"].mean()
        ax.plot(each.index, each, "o", color=SERIES[0], markersize=8, label="mean of a fold")
        ax.axhline(rows["dice"].mean(), color=SERIES[0], linewidth=1.6, label="mean of all its cases")
        for index, (method, value) in enumerate(published.get(kind, {}).items()):
            ax.axhline(value, color=SERIES[1 + index % (len(SERIES) - 1)], linewidth=1.3, linestyle="--", label=method)
        ax.set(title=f"{kind} folds", xlabel="fold", xlim=(-0.5, 4.5))
        ax.set_xticks(range(5))
    axes[0, 0].set_ylabel("mean Dice")
    handles: dict[str, object] = {}
    for ax in axes[0]:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(handles.values(), handles, loc="outside lower center", ncols=2)
    return fig


def dice_by_minutes(table: pd.DataFrame) -> Figure:
    """Mean Dice with interval against the minutes of training, on a logarithmic axis; a named dot for each model.

    table: index model; columns minutes, value, low, high, dims (2 or 3, shown by the marker). Models without minutes
    are left out.
    """
    kept = table.dropna(subset=["minutes"]).sort_values(["minutes", "value"])
    fig, ax = plt.subplots(figsize=(WIDTH, 4.6))
    for dims, marker in ((2, "s"), (3, "o")):
        rows = kept[kept["dims"] == dims]
        if rows.empty:
            continue
        colour = SERIES[dims - 2]
        ax.vlines(rows["minutes"], rows["low"], rows["high"], color=colour, linewidth=1.4, alpha=0.45)
        ax.plot(rows["minutes"], rows["value"], marker, color=colour, markersize=7, markeredgecolor="white",
                linestyle="", label=f"{dims}D")  # fmt: skip
    ax.set_xscale("log")
    if len(kept):
        ax.set_xlim(kept["minutes"].min() / 1.3, kept["minutes"].max() * 2.2)
        ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if _within(tick, ax.get_xlim())]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    ax.set(xlabel="training (minutes)", ylabel="mean Dice (bars: 95 % interval)")
    if kept["dims"].nunique() > 1:
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    _name_dots(ax, [(str(model), row["minutes"], row["value"]) for model, row in kept.iterrows()])
    return fig


def _name_dots(ax: Axes, dots: Sequence[tuple[str, float, float]]) -> None:
    """Write a name beside each dot, at the nearest height where it covers no dot and no other name."""
    ax.figure.draw_without_rendering()  # so that the places of dots in pixels are known
    taken = [Bbox.from_bounds(*(ax.transData.transform(dot[1:]) - 4), 8, 8) for dot in dots]
    for name, *at in dots:
        text = ax.annotate(name, at, (9, 0), textcoords="offset points", fontsize=8, color=INK, va="center",
                           in_layout=False, path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip
        for height in sorted(range(-150, 151, 3), key=abs):
            text.set_position((9, height))
            box = text.get_window_extent()
            inside = ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        else:
            text.set_position((9, height := 0))
        if abs(height) > 9:
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
            ax.annotate("", at, (8, height), textcoords="offset points", in_layout=False, arrowprops=line, zorder=1)
        taken.append(text.get_window_extent())


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
