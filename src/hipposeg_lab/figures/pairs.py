"""Pairs of values around the line of equality, and Bland and Altman's plot."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.style import INK, MUTED, WIDTH


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
