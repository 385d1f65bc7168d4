"""Figures of changed inputs and of calibration, from the tables of `studies.sensitivity` and `studies.uncertainty`."""

from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.intervals import BAND
from hipposeg.viz.style import INK, MUTED, WIDTH, line_style

MARKERS = "osD^vP*X"
MEAN = "mean"
TOP = "predicted class"
ACROSS = 4  # panels in a row
# Columns and ends of what `severity` draws.
DICE, DIFFERENCE = ("dice", "low", "high"), ("difference", "difference_low", "difference_high")


def severity(
    table: pd.DataFrame, panels: Mapping[str, tuple[str, str]], columns: tuple[str, str, str] = DICE,
    bands: Collection[str] | None = None, margin: float | None = None,
) -> Figure:  # fmt: skip
    """Draw Dice, or its difference, against the severity of a change, a panel for each change, a line for each run.

    Args:
        table: one row per run, change, severity and label.
        panels: change -> title and x axis.
        columns: the value and the ends of its 95 % interval.
        bands: runs whose intervals are drawn; None draws all.
        margin: half the width of the grey band in which differences are too small to matter; the panels then share
            their y axis.
    """
    rows = table[table["label"] == MEAN]
    names = list(dict.fromkeys(rows["run"]))
    fig, axes = _panels(len(panels), 0.9, sharey=margin is not None)
    for ax, (change, (title, xlabel)) in zip(axes, panels.items(), strict=True):
        if margin is not None:
            ax.axhspan(-margin, margin, color=BAND, linewidth=0, zorder=0)
            ax.axhline(0, color=INK, linewidth=1)
            ax.xaxis.get_major_locator().set_params(integer=True)
        for index, name in enumerate(names):
            found = rows[(rows["run"] == name) & (rows["change"] == change)].sort_values("severity")
            style = line_style(index)
            ax.plot(found["severity"], found[columns[0]], marker=MARKERS[index % len(MARKERS)], markersize=4.5,
                    linewidth=1.6, label=name, **style)  # fmt: skip
            if bands is None or name in bands:
                ends = (found[end] for end in columns[1:])
                ax.fill_between(found["severity"], *ends, color=style["color"], alpha=0.13, linewidth=0)
        ax.set(title=title, xlabel=xlabel)
    for ax in axes[::ACROSS]:
        ax.set_ylabel("mean Dice" if columns == DICE else "difference in mean Dice")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(names)))
    return fig


def _panels(count: int, margin: float, **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, ACROSS in a row; margin: inches above and below them."""
    lines = -(-count // ACROSS)
    fig, axes = plt.subplots(lines, min(ACROSS, count), figsize=(WIDTH, margin + 2.7 * lines), squeeze=False, **shared)
    for ax in axes.flat[count:]:
        ax.remove()
    return fig, list(axes.flat[:count])


def reliability(before: pd.DataFrame, after: pd.DataFrame, errors: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Draw accuracy against confidence, a panel for each method: as predicted (solid), after temperature (dotted).

    before, after: rows of method, label, bin, confidence, accuracy, voxels. errors: method, label, ece_before,
    ece_after. Below the diagonal the network is overconfident.
    """
    methods = list(dict.fromkeys(before["method"]))
    fig, axes = _panels(len(methods), 0.5, sharex=True, sharey=True)
    for ax, method in zip(axes, methods, strict=True):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
        for name, colour in [*((label.name, label.colour) for label in spec.labels), (TOP, INK)]:
            for table, dash, mark in ((before, "-", "o"), (after, ":", None)):
                found = table[(table["method"] == method) & (table["label"] == name) & (table["voxels"] > 0)]
                ax.plot(found["confidence"], found["accuracy"], dash, color=colour, marker=mark, markersize=3.5,
                        linewidth=1.6, label=name if mark else None)  # fmt: skip
        ax.set_title(method.replace(", ", ",\n"), fontsize=9.5)
        for _, row in errors[(errors["method"] == method) & (errors["label"] == TOP)].iterrows():
            text = f"ECE {row['ece_before']:.3f} \N{RIGHTWARDS ARROW} {row['ece_after']:.3f}"
            ax.text(0.97, 0.05, text, ha="right", transform=ax.transAxes, fontsize=8.5)
        ax.set(aspect="equal", xlim=(0, 1), ylim=(0, 1))
    for ax in axes[::ACROSS]:
        ax.set_ylabel("fraction that is correct")
    for ax in axes[-ACROSS:]:
        ax.set_xlabel("predicted probability")
        ax.tick_params(labelbottom=True)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig
