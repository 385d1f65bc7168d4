"""Charts of what a cohort holds: box sizes, intensities, class shares and volumes.

`table` is always `hipposeg_lab.studies.statistics.describe(cohort)`: one row per case.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.style import INK, MUTED, SERIES

BACKGROUND = "#c9d1d9"


def axis_name(spec: DatasetSpec, axis: int) -> str:
    """Such as "axis 1 (P to A)", or "axis 0" where the ends are not known."""
    low, high = spec.axes[axis]
    return f"axis {axis} ({low} to {high})" if low else f"axis {axis}"


def box_sizes(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """How many voxels the boxes have along each axis: three histograms on one scale, medians marked."""
    columns = [f"size_{axis}" for axis in range(3)]
    low, high = table[columns].to_numpy().min() - 1, table[columns].to_numpy().max() + 1
    fig, axes = plt.subplots(1, 3, figsize=(9, 2.7), sharex=True, sharey=True)
    for axis, ax in enumerate(axes):
        sizes = table[columns[axis]]
        ax.hist(sizes, np.arange(low, high + 1) - 0.5, color=SERIES[0], rwidth=0.85)
        ax.axvline(sizes.median(), color=INK, linewidth=1, linestyle="--")
        ax.text(sizes.median() + 0.6, ax.get_ylim()[1], f"median {sizes.median():g}", va="top", fontsize=9)
        ax.set(title=axis_name(spec, axis), xlabel="box size (voxels)")
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("cases")
    # The labels at the medians sit under the title, above the highest bar.
    axes[0].set_ylim(top=axes[0].get_ylim()[1] * 1.25)
    for ax in axes:
        ax.texts[0].set_y(axes[0].get_ylim()[1] * 0.98)
    return fig


def intensities(table: pd.DataFrame) -> Figure:
    """Each case's intensities as a line from the 1st to the 99th percentile, sorted by median, coloured by dtype."""
    ordered = table.sort_values(["median", "p99"]).reset_index()
    fig, ax = plt.subplots(figsize=(9, 3.4))
    for colour, dtype in zip(SERIES, sorted(set(ordered.stored_dtype)), strict=False):
        rows = ordered[ordered.stored_dtype == dtype]
        ax.vlines(rows.index, rows.p1, rows.p99, color=colour, linewidth=1.4, alpha=0.55)
        ax.scatter(rows.index, rows["median"], s=7, color=colour, label=f"{dtype}: {len(rows)} cases", zorder=3)
    if ordered.p1.min() > 0:
        ax.set_yscale("log")
    ax.set(xlabel="cases, sorted by median intensity", ylabel="intensity as stored", xlim=(-2, len(ordered) + 1))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", title="1st to 99th percentile, dot at the median", alignment="left")
    return fig


def class_shares(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Mean share of the box's voxels in each class, as one bar on its true scale."""
    fig, ax = plt.subplots(figsize=(9, 1.45))
    left = 0.0
    classes = [("background", BACKGROUND), *((item.name, item.colour) for item in spec.labels)]
    for number, (name, colour) in enumerate(classes):
        share = 100 * table[f"share_{name}"].mean()
        ax.barh(0, share, left=left, color=colour, height=0.6)
        text = f"{name} {share:.1f} %"
        if number == 0:
            ax.text(share / 2, 0, text, ha="center", va="center")
        else:
            # Too thin to write in: the names fan out above the bar.
            x = 100 - 14 * (len(classes) - 1 - number)
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.8, "relpos": (0.8, 0)}
            ax.annotate(text, (left + share / 2, 0.3), (x, 0.75), ha="right", va="center", arrowprops=line)
        left += share
    ax.set(xlim=(0, 100), ylim=(-0.35, 1), yticks=[], xlabel="share of the box's voxels (%), mean over cases")
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)
    return fig


def volumes(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Volumes per label as histograms, and, with two labels or more, the first against the second."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.3), width_ratios=(1.35, 1))
    columns = [f"volume_{name}" for name in spec.names]
    values = table[columns].to_numpy()
    edges = np.histogram_bin_edges(values, 24)
    for item, column in zip(spec.labels, columns, strict=True):
        text = f"{item.name}: {table[column].mean():.0f} ± {table[column].std():.0f} mm³"
        axes[0].hist(table[column], edges, color=item.colour, alpha=0.45, label=text)
        axes[0].hist(table[column], edges, color=item.colour, histtype="step", linewidth=1.6)
    axes[0].set(xlabel="volume (mm³)", ylabel="cases", title="Volume of each part")
    axes[0].set_ylim(top=axes[0].get_ylim()[1] * 1.28)
    axes[0].legend(loc="upper right", fontsize=9)
    other = columns[1] if len(columns) > 1 else "subject"
    axes[1].scatter(table[columns[0]], table[other], s=12, color=INK, alpha=0.5, linewidth=0)
    r = table[columns[0]].corr(table[other])
    names = [column.removeprefix("volume_") for column in (columns[0], other)]
    axes[1].set(xlabel=f"{names[0]} (mm³)", ylabel=f"{names[1]} (mm³)", title=f"One case, one dot: r = {r:.2f}")
    if len(columns) > 1:
        axes[1].set_aspect("equal", adjustable="datalim")
    return fig


def class_intensities(
    densities: Mapping[str, NDArray[np.float64]], edges: NDArray[np.float64], spec: DatasetSpec
) -> Figure:
    """Distributions of z-scored intensity in each class (`statistics.class_densities`): how far they overlap."""
    colours = {"background": MUTED} | {item.name: item.colour for item in spec.labels}
    fig, ax = plt.subplots(figsize=(9, 2.9))
    for name, density in densities.items():
        ax.stairs(density, edges, fill=True, color=colours[name], alpha=0.22)
        ax.stairs(density, edges, color=colours[name], linewidth=1.8, label=name)
    ax.set(xlabel="intensity, z-scored within its box (standard deviations)", ylabel="density", xlim=edges[[0, -1]])
    ax.legend()
    return fig
