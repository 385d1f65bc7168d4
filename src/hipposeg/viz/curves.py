"""Curves over training, and values against values: accuracy and training time, pairs, agreement of volumes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.style import INK, MUTED, SERIES, WIDTH, line_style


def training_curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], second: str = "dice_mean",
    titles: tuple[str, str] = ("Dice of the test fold, for display only", "mean Dice"),
) -> Figure:  # fmt: skip
    """Draw the training loss by epoch, and beside it a second quantity.

    Args:
        histories: run name -> one mapping an epoch, with `epoch`, `loss` and, where it was recorded, `second`.
        second: key of the right panel.
        titles: title and y axis of the right panel.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), sharex=True)
    for ax, key in zip(axes, ("loss", second), strict=True):
        for index, (name, lines) in enumerate(histories.items()):
            noted = [(line["epoch"], line[key]) for line in lines if key in line]
            marker = {"marker": "o", "markersize": 4} if key == second else {}
            ax.plot(*zip(*noted, strict=True), label=name, linewidth=1.8, **marker, **line_style(index))
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    # The first loss is several times the last one, and runs differ at the end.
    axes[0].set(ylabel="training loss (logarithmic)", title="Loss", yscale="log")
    readable_log(axes[0].yaxis)
    axes[1].set(title=titles[0], ylabel=titles[1])
    shown = [line["dice_mean"] for lines in histories.values() for line in lines if "dice_mean" in line]
    if second == "dice_mean" and shown:  # the first epochs would squeeze the end of the curves
        axes[1].set_ylim(max(min(shown), max(shown) - 0.25) - 0.01, max(shown) + 0.02)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(3, len(histories)))
    return fig


def readable_log(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, several in each decade."""
    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def dice_by_minutes(table: pd.DataFrame) -> Figure:
    """Draw mean Dice with its interval against training time on a logarithmic axis, a named dot for each model.

    Args:
        table: index model; columns minutes, value, low, high, dims (2 or 3, shown by the marker). Models without
            minutes are left out.
    """
    kept = table.dropna(subset=["minutes"]).sort_values(["minutes", "value"])
    fig, ax = plt.subplots(figsize=(WIDTH, 4.6))
    for dims, marker in ((2, "s"), (3, "o")):
        rows, colour = kept[kept["dims"] == dims], SERIES[dims - 2]
        if len(rows):
            ax.vlines(rows["minutes"], rows["low"], rows["high"], color=colour, linewidth=1.4, alpha=0.45)
            ax.plot(rows["minutes"], rows["value"], marker, color=colour, markersize=7, markeredgecolor="white",
                    label=f"{dims}D")  # fmt: skip
    ax.set(xlabel="training time (minutes)", ylabel="mean Dice (bars: 95 % interval)", xscale="log")
    if len(kept):
        ax.set_xlim(kept["minutes"].min() / 1.3, kept["minutes"].max() * 2.2)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.minorticks_off()
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
        for height in [*sorted(range(-150, 151, 3), key=abs), 0]:
            text.set_position((9, height))
            box = text.get_window_extent()
            inside = ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        if abs(height) > 9:
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
            ax.annotate("", at, (8, height), textcoords="offset points", in_layout=False, arrowprops=line, zorder=1)
        taken.append(box)


def volume_agreement(cases: pd.DataFrame, found: Mapping[str, Any], spec: DatasetSpec) -> Figure:
    """Draw Bland and Altman's plot for each label: error against size, bias and limits of agreement.

    Args:
        cases: one run's rows, with label, volume_true, volume_predicted, volume_bias (mm3).
        found: label -> `stats.Agreement` of its volumes.
        spec: of the data set.
    """
    colours = {label.name: label.colour for label in spec.labels}
    fig, axes = plt.subplots(1, len(found), figsize=(WIDTH, 3.5), sharey=True, squeeze=False)
    for ax, (label, result) in zip(axes[0], found.items(), strict=True):
        rows = cases[cases["label"] == label]
        middle = (rows["volume_true"] + rows["volume_predicted"]) / 2
        ax.scatter(middle, rows["volume_bias"], s=16, color=colours.get(label, INK), edgecolors="white", linewidths=0.4)
        for value, dash in ((result.bias, "-"), (result.low, "--"), (result.high, "--")):
            ax.axhline(value, color=INK, linewidth=1.1, linestyle=dash)
            text = f"{value:+.0f}".replace("-", "\N{MINUS SIGN}")
            ax.annotate(text, (1, value), (-2, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
                        ha="right", va="bottom", fontsize=8)  # fmt: skip
        ax.axhline(0, color=MUTED, linewidth=0.8, zorder=0)
        ax.set(title=f"{label}, ICC {result.icc_agreement:.2f}", xlabel="mean of both volumes (mm³)")
        low, high = ax.get_xlim()
        ax.set_xlim(low, high + 0.12 * (high - low))
    axes[0, 0].set_ylabel("predicted \N{MINUS SIGN} true volume (mm³)")
    return fig


class Pairs(NamedTuple):
    """One panel of `equality`: values against values, in one unit."""

    title: str
    x: pd.Series | np.ndarray
    y: pd.Series | np.ndarray
    colour: str
    xlabel: str
    ylabel: str


def equality(panels: list[Pairs], columns: int) -> Figure:
    """Draw pairs of values as dots, with a dashed line of equality; each row of panels shares one square scale."""
    rows = -(-len(panels) // columns)
    size = (WIDTH, rows * (WIDTH / columns + 0.2))
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for start, row in zip(range(0, len(panels), columns), axes, strict=True):
        shown = panels[start : start + columns]
        values = np.concatenate([np.asarray(side, float) for one in shown for side in (one.x, one.y)])
        low, high = float(values.min()), float(values.max())
        air = 0.05 * max(high - low, 1e-6)
        for ax, one in zip(row, shown, strict=False):
            for line in (ax.axhline, ax.axvline) if low < 0 < high else ():
                line(0, color=MUTED, linewidth=0.6, zorder=0)
            ax.axline((low, low), slope=1, color=MUTED, linewidth=0.9, linestyle="--", zorder=0)
            ax.scatter(one.x, one.y, s=16, color=one.colour, edgecolors="white", linewidths=0.4)
            ax.set(title=one.title, xlabel=one.xlabel, ylabel=one.ylabel if ax is row[0] else "")
            ax.set(xlim=(low - air, high + air), ylim=(low - air, high + air), aspect="equal")
        for ax in row[len(shown) :]:
            ax.set_axis_off()
    return fig
