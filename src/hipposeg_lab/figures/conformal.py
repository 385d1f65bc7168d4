"""Figures of conformal intervals: every volume with its own, how many hold the truth, and how wide they are."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.evaluation import WIDTH
from hipposeg.viz.style import ERROR, INK, MUTED

GROUP_NAMES = {"all": "all volumes", "halves": "random halves", "tercile 1": "smallest third",
               "tercile 2": "middle third", "tercile 3": "largest third"}  # fmt: skip


def intervals(rows: pd.DataFrame, spec: DatasetSpec, names: dict[str, str]) -> Figure:
    """Every volume's interval, in the order of the predicted volume, with the true volume as a dot.

    rows: case, label, predicted, lower, upper, true, inside; mm3. names: label -> title of its panel.
    """
    colours = _colours(spec)
    fig, axes = plt.subplots(1, len(names), figsize=(WIDTH, 3.7))
    for ax, (label, title) in zip(axes, names.items(), strict=True):
        chosen = rows[rows["label"] == label].sort_values(["predicted", "case"]).reset_index()
        ax.vlines(chosen.index, chosen["lower"], chosen["upper"], color=colours[label], alpha=0.35, linewidth=1.4)
        for inside, colour, size in ((True, INK, 5), (False, ERROR, 14)):
            part = chosen[chosen["inside"] == inside]
            ax.scatter(part.index, part["true"], s=size, color=colour, linewidths=0, zorder=3,
                       label="true volume, " + ("inside" if inside else "outside"))  # fmt: skip
        ax.set(title=title, xlabel="volumes, by predicted size")
        ax.set_xticks([])
    axes[0].set_ylabel("mm³")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2)
    return fig


def coverage(table: pd.DataFrame, spec: DatasetSpec, names: dict[str, str], level: float, method: str) -> Figure:
    """Left, the share of true volumes inside by group, with 95 % intervals; right, mean widths by third of the size.

    table: rows of conformal_coverage.csv. names: label -> title. level: nominal coverage, dashed. method: the scale
    that is drawn beside the constant interval.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.6), width_ratios=(1.5, 1))
    mine = table[table["method"] == method]
    groups = list(dict.fromkeys(mine["group"]))
    for at, (label, title) in enumerate(names.items()):
        rows = mine[mine["label"] == label].set_index("group").loc[groups]
        y = np.arange(len(groups)) + (at - (len(names) - 1) / 2) * 0.22
        style = {"color": _colours(spec)[label], "linewidth": 2, "capstyle": "butt"}
        left.hlines(y, rows["low"], rows["high"], **style)
        left.plot(rows["coverage"], y, "o", color=style["color"], markersize=5, markeredgecolor="white", label=title)
    left.axvline(level, color=INK, linestyle="--", linewidth=1.5, zorder=1)
    left.set(xlabel="share of true volumes inside the interval", ylim=(len(groups) - 0.4, -0.6), title="Coverage")
    left.set_yticks(range(len(groups)), [GROUP_NAMES.get(group, f"scored {group}") for group in groups])
    left.set_xlim(right=1.005)
    left.grid(False, axis="y")
    left.tick_params(axis="y", length=0)
    _widths(right, table, spec, names, method)
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
    return fig


def _widths(ax: Axes, table: pd.DataFrame, spec: DatasetSpec, names: dict[str, str], method: str) -> None:
    thirds = [group for group in GROUP_NAMES if group.startswith("tercile")]
    for label in names:
        for name, line in (("constant", ":"), (method, "-")):
            rows = table[(table["label"] == label) & (table["method"] == name)].set_index("group").loc[thirds]
            ax.plot(range(len(thirds)), rows["width"], line, marker="o", markersize=4, color=_colours(spec)[label])
    ax.plot([], [], "-", color=MUTED, label="scaled")
    ax.plot([], [], ":", color=MUTED, label="constant")
    ax.set(title="Mean width", ylabel="mm³", ylim=(0, None), xlim=(-0.2, len(thirds) - 0.8))
    ax.set_xticks(range(len(thirds)), [GROUP_NAMES[group].replace(" ", "\n") for group in thirds])
    ax.legend(loc="lower right")


def _colours(spec: DatasetSpec) -> dict[str, str]:
    """The classes' own colours; the total has the ink's."""
    return {label.name: label.colour for label in spec.labels} | {"union": INK}
