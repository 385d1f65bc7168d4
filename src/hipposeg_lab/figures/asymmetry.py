"""Figure of notebook 07 about the two volumes of one person: their difference, and the errors that they share."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.evaluation import WIDTH
from hipposeg.viz.style import INK, MUTED


def two_volumes(pairs: Mapping[str, pd.DataFrame], found: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Above: the true difference between a person's volumes against the predicted. Below: error against error.

    pairs: label -> a row per person, as `studies.siblings.pairs` gives it. found: the labels' rows of the study,
    indexed by label, with the correlations that the titles print. A dashed line marks equality.
    """
    colours = {label.name: label.colour for label in spec.labels}
    fig, axes = plt.subplots(2, len(pairs), figsize=(WIDTH, 6.6), squeeze=False)
    for (label, table), (above, below) in zip(pairs.items(), axes.T, strict=True):
        colour, row = colours.get(label, INK), found.loc[label]
        gaps = [table[f"{name}_second"] - table[f"{name}_first"] for name in ("true", "predicted")]
        _scatter(above, *gaps, colour)
        above.set(title=f"{label}, r = {row['r_difference']:.2f}", xlabel="true second \N{MINUS SIGN} first (mm³)")
        _scatter(below, table["error_first"], table["error_second"], colour)
        below.set(title=f"{label}, r = {row['r_error']:.2f}", xlabel="error of the first (mm³)")
    axes[0, 0].set_ylabel("predicted second \N{MINUS SIGN} first (mm³)")
    axes[1, 0].set_ylabel("error of the second (mm³)")
    return fig


def _scatter(ax: Axes, x: pd.Series, y: pd.Series, colour: str) -> None:
    """Dots on equal scales, with the line of equality and zero."""
    reach = 1.08 * max(float(np.abs(x).max()), float(np.abs(y).max()), 1.0)
    ax.axline((0, 0), slope=1, color=MUTED, linewidth=0.9, linestyle="--", zorder=0)
    for line in (ax.axhline, ax.axvline):
        line(0, color=MUTED, linewidth=0.6, zorder=0)
    ax.scatter(x, y, s=16, color=colour, edgecolors="white", linewidths=0.4)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
