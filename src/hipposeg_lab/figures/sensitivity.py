"""Figures of notebook 07 about changed inputs: Dice against how far a box was cut, and against severity.

Tables come in as `studies.sensitivity` writes them: one row per run, change, severity and label.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hipposeg.viz.evaluation import WIDTH, line_style
from hipposeg.viz.style import INK, MUTED

MARKERS = "osD^vP*X"
MEAN = "mean"
# Units of severity, as an axis says them.
UNITS = {
    "mm": "voxel side (mm)",
    "SD of the image": "noise, in SD of the image",
    "SD of the log": "SD of the field's logarithm",
}
TOO_SMALL = "#e9ecf0"
DIFFERENCE_ENDS = ("difference_low", "difference_high")


def box(table: pd.DataFrame, run: str, margin: float) -> Figure:
    """What a cut or padded box costs: differences of every run, and, for one, each side at its furthest.

    run: whose bands are drawn and whose sides are shown one by one. Bands and whiskers are 95 % intervals of the
    difference over people. margin: half the width of the grey band, within which a difference is too small to matter.
    """
    rows = table[table["label"] == MEAN]
    names = list(dict.fromkeys(rows["run"]))
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 4.2), width_ratios=(1, 1, 1.15))
    titles = {"cut": "Cut at one side", "padded": "Padded by reflection"}
    for ax, (change, title) in zip(axes, titles.items(), strict=False):
        ax.axhspan(-margin, margin, color=TOO_SMALL, linewidth=0, zorder=0)
        ax.axhline(0, color=INK, linewidth=1)
        for index, name in enumerate(names):
            here = rows[(rows["run"] == name) & (rows["change"] == change)]
            _curve(ax, here, index, name, "difference", DIFFERENCE_ENDS if name == run else ())
        ax.set(xlabel="voxels, mean over six sides", title=title)
        ax.xaxis.get_major_locator().set_params(integer=True)
    ends = [ax.get_ylim() for ax in axes[:2]]
    for ax in axes[:2]:
        ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
    axes[0].set_ylabel("difference in mean Dice")
    axes[2].axvspan(-margin, margin, color=TOO_SMALL, linewidth=0, zorder=0)
    _sides(axes[2], rows[rows["run"] == run], tuple(titles))
    axes[2].set_title("Each side by itself")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(names)))
    return fig


def _curve(ax: Axes, rows: pd.DataFrame, index: int, name: str, column: str, ends: Sequence[str]) -> None:
    """A column against severity, and a band between two others where these are named."""
    rows = rows.sort_values("severity")
    style = line_style(index)
    ax.plot(rows["severity"], rows[column], marker=MARKERS[index % len(MARKERS)], markersize=4.5, linewidth=1.6,
            label=name, **style)  # fmt: skip
    if ends:
        ax.fill_between(rows["severity"], *(rows[end] for end in ends), color=style["color"], alpha=0.15, linewidth=0)


def _sides(ax: Axes, rows: pd.DataFrame, changes: Sequence[str]) -> None:
    """Loss of each side at the largest severity, cut and padded."""
    names = [name.removeprefix(f"{changes[0]} ") for name in dict.fromkeys(rows["change"])
             if name.startswith(f"{changes[0]} ")]  # fmt: skip
    for at, change in enumerate(changes):
        found = rows[rows["severity"] == rows["severity"].max()].set_index("change")
        for y, name in enumerate(names):
            row, style = found.loc[f"{change} {name}"], line_style(at)
            place = y + (at - 0.5) * 0.3
            ax.hlines(place, row["difference_low"], row["difference_high"], linewidth=2, color=style["color"])
            ax.plot(row["difference"], place, MARKERS[at], color=style["color"], markersize=5.5,
                    label=change if not y else None)  # fmt: skip
    ax.vlines(0, -0.6, len(names) - 0.4, color=INK, linewidth=1)
    ax.set_yticks(range(len(names)), names)
    # Room for the legend above the first side.
    ax.set(ylim=(len(names) - 0.4, -1.3), xlabel=f"difference at {rows['severity'].max():g} voxels")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="upper left", fontsize=9, ncols=2, columnspacing=1, handletextpad=0.2, borderaxespad=0)


def severity(table: pd.DataFrame, voxel_mm: float) -> Figure:
    """Dice against severity, a panel for each change that has several; the rest as dots in the last panel.

    voxel_mm: side of the files' own voxels, at which the curve of lower resolution begins. Bands are 95 % intervals
    over people. Panels have scales of their own.
    """
    rows = table[table["label"] == MEAN]
    names = list(dict.fromkeys(rows["run"]))
    steps = rows.groupby("change", sort=False)["severity"].nunique()
    curves = [change for change in steps.index if steps[change] > 2 and change != "rescaled"]
    columns = 3
    count = len(curves) + 1
    lines = -(-count // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(WIDTH, 0.5 + 2.9 * lines), squeeze=False)
    for ax in axes.flat[count:]:
        ax.remove()
    for ax, change in zip(axes.flat, curves, strict=False):
        here = rows[rows["change"] == change]
        unit = here["unit"].iloc[0]
        here = here.assign(severity=here["severity"].where(here["severity"] > 0, voxel_mm if unit == "mm" else 0))
        for index, name in enumerate(names):
            _curve(ax, here[here["run"] == name], index, name, "dice", ("low", "high"))
        ax.set(title=change.capitalize(), xlabel=UNITS.get(unit, unit))
    for ax in axes[:, 0]:
        ax.set_ylabel("mean Dice")
    _dots(axes.flat[len(curves)], rows, names, [change for change in steps.index if change not in curves])
    fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(5, len(names)))
    return fig


def _dots(ax: Axes, rows: pd.DataFrame, names: Sequence[str], changes: Sequence[str]) -> None:
    """Changes without a scale of severity: a row each, a dot for each run."""
    lines = []
    for change in changes:
        found = rows[(rows["change"] == change) & (rows["severity"] > 0)]
        lines += [(change, value, found[found["severity"] == value]) for value in sorted(found["severity"].unique())]
    for y, (_, _, found) in enumerate(lines):
        for index, name in enumerate(names):
            one = found[found["run"] == name]
            ax.plot(one["dice"], np.full(len(one), y + (index - len(names) / 2) * 0.1), MARKERS[index % len(MARKERS)],
                    color=line_style(index)["color"], markersize=5)  # fmt: skip
    titles = [f"×{value:g}" if change == "rescaled" else change.removeprefix("mirrored ") for change, value, _ in lines]
    ax.set_yticks(range(len(lines)), titles)
    ax.set(ylim=(len(lines) - 0.4, -0.6), xlabel="mean Dice", title="Rescaled (×), mirrored")
    ax.grid(True, axis="y", color=MUTED, alpha=0.2)
    ax.tick_params(axis="y", length=0)
