"""Pairs of values around the line of equality."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hipposeg.viz.style import MUTED, WIDTH


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
