"""Figures of notebook 01: what a cohort holds, pairs of neighbouring cases, boxes around the truth, and the folds.

`table` is `hipposeg_lab.studies.statistics.describe(cohort)`: one row per case.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.slices import PLANES, edge, legend, panels, picture, plane, plane_name, plane_size
from hipposeg.viz.style import ERROR, INK, MUTED, SERIES, WIDTH
from hipposeg_lab.figures.pairs import Pairs, equality

# One colour for each kind of pair: within a subject, across subjects in sequence, at random.
KINDS = (SERIES[2], SERIES[3], MUTED)


class Histogram(NamedTuple):
    """One panel of `histograms`. text: above the bars. mark: where a dashed line stands."""

    values: pd.Series
    title: str
    xlabel: str
    text: str
    mark: float
    colour: str


def histograms(panels: Sequence[Histogram], columns: int = 3, bins: Any = 30) -> Figure:
    """Draw distributions over cases, `columns` in a row, each with a dashed line and a line of text above the bars."""
    rows = -(-len(panels) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, 2.5 * rows), squeeze=False, sharey="row")
    for ax, one in zip(axes.flat, panels, strict=False):
        ax.hist(one.values, bins, color=one.colour, rwidth=0.88)
        ax.axvline(one.mark, ymax=0.86, color=INK, linewidth=1.2, linestyle="--")
        ax.set(title=one.title, xlabel=one.xlabel)
        ax.text(0.02, 0.97, one.text, transform=ax.transAxes, va="top", fontsize=9)
        ax.grid(axis="x", visible=False)
    for row in axes:
        row[0].set(ylabel="cases", ylim=(0, 1.18 * row[0].get_ylim()[1]))
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    return fig


def axis_name(spec: DatasetSpec, axis: int) -> str:
    """Such as "axis 1 (P to A)", or "axis 0" where the ends are not known."""
    low, high = spec.axes[axis]
    return f"axis {axis} ({low} to {high})" if low else f"axis {axis}"


def box_sizes(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Draw how many voxels the boxes have along each axis: three histograms on one scale, medians marked."""
    sizes = table[[f"size_{axis}" for axis in range(3)]]
    shown = [Histogram(values, axis_name(spec, axis), "box size (voxels)", f"median {values.median():g}",
                       values.median(), SERIES[0]) for axis, (_, values) in enumerate(sizes.items())]  # fmt: skip
    return histograms(shown, bins=np.arange(sizes.min().min() - 1, sizes.max().max() + 2) - 0.5)


def intensities(table: pd.DataFrame) -> Figure:
    """Draw each case's intensities from the 1st to the 99th percentile, sorted by median, coloured by stored type."""
    ordered = table.sort_values(["median", "p99"]).reset_index()
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    for colour, (dtype, rows) in zip(SERIES, ordered.groupby("stored_dtype"), strict=False):
        ax.vlines(rows.index, rows.p1, rows.p99, color=colour, linewidth=1.4, alpha=0.55)
        ax.scatter(rows.index, rows["median"], s=7, color=colour, label=f"{dtype}: {len(rows)} cases", zorder=3)
    ax.set(xlabel="cases, sorted by median intensity", ylabel="intensity as stored (no unit)")
    ax.set(xlim=(-2, len(ordered) + 1), yscale="log" if ordered.p1.min() > 0 else "linear")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", title="1st to 99th percentile, dot at the median", alignment="left")
    return fig


def volumes(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Draw histograms of the labels' volumes, and the first label's volume against the last one's."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3), width_ratios=(1.35, 1))
    columns = [f"volume_{name}" for name in spec.names]
    edges = np.histogram_bin_edges(table[columns].to_numpy(), 24)
    for item, column in zip(spec.labels, columns, strict=True):
        text = f"{item.name}: {table[column].mean():.0f} ± {table[column].std():.0f} mm³"
        left.hist(table[column], edges, color=item.colour, alpha=0.45, label=text)
        left.hist(table[column], edges, color=item.colour, histtype="step", linewidth=1.6)
    left.set(xlabel="volume (mm³)", ylabel="cases", title="Volume of each part", ylim=(0, 1.28 * left.get_ylim()[1]))
    left.legend(loc="upper right", fontsize=9)
    first, last = columns[0], columns[-1]
    right.scatter(table[first], table[last], s=12, color=INK, alpha=0.5, linewidth=0)
    right.set(xlabel=f"{spec.names[0]} (mm³)", ylabel=f"{spec.names[-1]} (mm³)", aspect="equal")
    right.set_title(f"One dot a case: r = {table[first].corr(table[last]):.2f}")
    return fig


def class_intensities(
    densities: Mapping[str, NDArray[np.float64]], edges: NDArray[np.float64], spec: DatasetSpec
) -> Figure:
    """Draw the distribution of z-scored intensity in each class (`statistics.class_densities`)."""
    colours = {"background": MUTED} | {item.name: item.colour for item in spec.labels}
    fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
    for name, density in densities.items():
        ax.stairs(density, edges, fill=True, color=colours[name], alpha=0.22)
        ax.stairs(density, edges, color=colours[name], linewidth=1.8, label=name)
    ax.set(xlabel="intensity, z-scored within its box (standard deviations)", ylabel="density", xlim=edges[[0, -1]])
    ax.legend()
    return fig


def pair_scatter(values: pd.Series, groups: Mapping[str, Sequence[tuple[int, int]]], quantity: str) -> Figure:
    """Draw, for each kind of pair, the value of its first case against that of its second, with Pearson's r."""
    panels = []
    for (name, pairs), colour in zip(groups.items(), KINDS, strict=False):
        first, second = (np.array([values[pair[side]] for pair in pairs]) for side in (0, 1))
        r = round(np.corrcoef(first, second)[0, 1], 2) + 0.0  # no "-0.00"
        title = f"{name}\nr = {r:.2f}, {len(pairs)} pairs"
        labels = (f"first of the pair ({quantity})", f"second of the pair ({quantity})")
        panels.append(Pairs(title, first, second, colour, *labels))
    return equality(panels, len(panels))


def chance_histogram(random: NDArray[np.float64], observed: Mapping[str, float]) -> Figure:
    """Draw the correlations of many random pairings as a histogram, with the observed ones as lines."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.7))
    ax.hist(random, 40, color=KINDS[2], alpha=0.6, label=f"{len(random)} random pairings")
    top = ax.get_ylim()[1] * 1.25
    for (name, r), colour in zip(observed.items(), KINDS, strict=False):
        ax.axvline(r, color=colour, linewidth=2)
        side = "right" if r > 0.5 else "left"
        ax.text(r, top * 0.97, f" {name}: {r:.2f} ", color=colour, weight="bold", va="top", ha=side)
    ax.set(xlim=(min(-0.6, random.min()), 1), ylim=(0, top))
    ax.set(xlabel="correlation of the two volumes of a pair", ylabel="pairings")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left")
    return fig


def barcodes(
    images: Mapping[int, NDArray[np.float32]], groups: Sequence[Sequence[int]], names: Mapping[int, str]
) -> Figure:
    """Draw each intensity that occurs in a scan as a bar: a row for each case, each group of cases in one colour.

    images: case -> (X, Y, Z). The range begins at the median intensity and is ten of the largest steps wide.
    """
    values = {case: np.unique(images[case]) for group in groups for case in group}
    start = float(np.median(np.concatenate([images[case].ravel() for case in values])))
    end = start + 10 * max(float(np.median(np.diff(found))) for found in values.values())
    fig, ax = plt.subplots(figsize=(WIDTH, 0.42 * len(values) + 1.0))
    rows = [(1.45 * number + place, number, case) for number, group in enumerate(groups)
            for place, case in enumerate(group, start=number * (len(group) - 1))]  # fmt: skip
    for y, number, case in rows:
        inside = values[case][(values[case] >= start) & (values[case] <= end)]
        ax.vlines(inside, y - 0.4, y + 0.4, color=SERIES[number % len(SERIES)], linewidth=2.2)
    ax.set_yticks([y for y, _, _ in rows], [names[case] for _, _, case in rows])
    ax.set(xlim=(start, end), xlabel="stored intensity (no unit); each value that occurs is one bar")
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return fig


def mean_masks(maps: Mapping[str, NDArray[np.float64]], spec: DatasetSpec, spacing: Sequence[float]) -> Figure:
    """Draw mean masks (X, Y, Z) summed along the line of sight, coronal above axial: mm of foreground."""
    fig, axes = plt.subplots(2, len(maps), figsize=(2.7 * len(maps) + 0.6, 4.9), squeeze=False, height_ratios=[1, 1.25])
    thickness = {axis: {name: volume.sum(axis) * spacing[axis] for name, volume in maps.items()} for axis in (1, 2)}
    top = max(float(image.max()) for by_name in thickness.values() for image in by_name.values())
    for row, (axis, images) in zip(axes, thickness.items(), strict=True):
        vertical = 3 - axis  # axis 0 lies horizontally in both views
        for ax, (name, image) in zip(row, images.items(), strict=True):
            extent = (0, image.shape[0] * spacing[0], 0, image.shape[1] * spacing[vertical])
            shown = picture(ax, image.T, extent, cmap="magma", vmin=0, vmax=top)
            ax.set_title(name if axis == 1 else "")
            for text, y, va in zip(spec.axes[vertical], (0.02, 0.98), ("bottom", "top"), strict=True):
                ax.text(0.5, y, text, color="white", weight="bold", transform=ax.transAxes, ha="center", va=va)
        row[0].set_ylabel(f"{plane_name(spec, axis)} view")
    fig.colorbar(shown, ax=axes, label="mm of hippocampus along the line of sight (mean)", shrink=0.7)
    return fig


def folds(
    splits: Mapping[str, Sequence[Mapping[str, Sequence[int]]]], subject: Mapping[int, int] | pd.Series
) -> Figure:
    """Draw a raster of subjects by folds: who is in training, in the test fold, and on both sides."""
    sets = [part for rows in splits.values() for row in rows for part in row.values()]
    everyone = sorted({subject[case] for part in sets for case in part})
    colours = ["#ffffff", "#cfe3f1", SERIES[0], ERROR]
    heights = [len(rows) + 0.8 for rows in splits.values()]
    size = (WIDTH, 0.3 * sum(heights) + 1.6)
    fig, axes = plt.subplots(len(splits), 1, figsize=size, sharex=True, height_ratios=heights, squeeze=False)
    for ax, (name, rows) in zip(axes[:, 0], splits.items(), strict=True):
        sides = [[{subject[case] for case in row[part]} for part in ("train", "scored")] for row in rows]
        grid = [[(one in train) + 2 * (one in test) for one in everyone] for train, test in sides]
        ax.imshow(grid, cmap=ListedColormap(colours), vmin=-0.5, vmax=3.5, aspect="auto")
        ax.hlines(np.arange(len(rows) - 1) + 0.5, -0.5, len(everyone) - 0.5, color="white", linewidth=2)
        ax.set_yticks(range(len(rows)), [f"fold {number}" for number in range(len(rows))])
        both = [len(train & test) for train, test in sides]
        ax.set_title(f"{name}: {', '.join(map(str, both)) if any(both) else 'no'} subjects on both sides")
        ax.grid(False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("subjects, in order of their case numbers")
    names = ("in neither part", "training", "test fold", "on both sides: one volume in each")
    patches = [Patch(facecolor=fill, edgecolor=MUTED, label=name) for fill, name in zip(colours, names, strict=True)]
    fig.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=9)
    return fig


def margins(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Draw the distance from label to box on six sides as bubbles, and the label's centre minus the box's in mm."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3), width_ratios=(1.35, 1))
    sides = [(f"{end}_{axis}", axis, end) for axis in range(3) for end in ("low", "high")]
    faint = {"color": SERIES[0], "alpha": 0.35, "linewidth": 0}
    largest = table[[column for column, _, _ in sides]].to_numpy().max()
    for y, (column, _, _) in enumerate(sides):
        found, counts = np.unique(table[column], return_counts=True)
        left.scatter(found, np.full(len(found), y), s=620 * counts / len(table), **faint)
        _mean_sd(left, table[column], y, f"{table[column].mean():.1f} ± {table[column].std():.1f}", largest + 1)
    left.set_yticks(range(6), [f"axis {axis}, {spec.axes[axis][end == 'high'] or end}" for _, axis, end in sides])
    left.set(xlim=(0, largest + 4.5), ylim=(5.6, -0.6), title="Margins on the six sides",
             xlabel="voxels between label and border of the box")  # fmt: skip
    centres = table[[f"centre_{axis}" for axis in range(3)]]
    for y, (_, values) in enumerate(centres.items()):
        spread = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.36
        right.scatter(values, y + spread, s=8, **faint)
        _mean_sd(right, values, y, f"SD {values.std():.1f} mm", centres.to_numpy().max() + 0.5)
    right.axvline(0, color=MUTED, linewidth=0.8, linestyle="--")
    right.set_yticks(range(3), [f"axis {axis}" for axis in range(3)])
    right.set(xlabel="label centre minus box centre (mm)", title="Centres", ylim=(2.5, -0.5))
    right.set_xlim(right=right.get_xlim()[1] + 2.5)
    return fig


def _mean_sd(ax: Axes, values: pd.Series, y: float, text: str, x: float) -> None:
    """A dot at the mean with a bar of one standard deviation to either side, and a text at `x`."""
    ax.errorbar(values.mean(), y, xerr=values.std(), fmt="o", color=INK, markersize=5, linewidth=1.6)
    ax.text(x, y, text, va="center", fontsize=9)


def frequency_map(frequencies: NDArray[np.float32], spec: DatasetSpec, spacing: Sequence[float]) -> Figure:
    """Draw how often each voxel of the stretched box belongs to each label, in three planes.

    frequencies: (K, X, Y, Z), background first. A colour is as strong as its label is frequent; lines mark where one
    label is the most frequent class.
    """
    inside, winner = 1 - frequencies[0], frequencies.argmax(0)
    sizes = [plane_size(inside, axis, spacing) for axis in range(3)]
    fig, axes = panels([sizes])
    for axis, ax in enumerate(axes[0]):
        index = int(inside.sum(tuple(other for other in range(3) if other != axis)).argmax())
        shown = np.ones((*plane(inside, axis, index).shape, 3))
        for item in spec.labels:
            share = plane(frequencies[item.value], axis, index)
            shown -= share[..., None] * (1 - np.array(to_rgb(item.colour)))
        width, height = sizes[axis]
        picture(ax, np.clip(shown, 0, 1).swapaxes(0, 1), (0, width, 0, height))
        for item in spec.labels:
            spacings = tuple(spacing[side] for side in PLANES[axis])
            edge(ax, plane(winner, axis, index) == item.value, item.colour, spacings, linewidths=1.5)
        ax.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor=MUTED))
        ax.set_title(plane_name(spec, axis))
        for letter, x, y in zip([end for side in PLANES[axis] for end in spec.axes[side]], (0.04, 0.96, 0.5, 0.5),
                                (0.5, 0.5, 0.06, 0.94), strict=True):  # fmt: skip
            ax.text(x, y, letter, transform=ax.transAxes, weight="bold", ha="center", va="center")
    legend(fig, spec)
    return fig


def slice_shares(held: NDArray[np.bool_], place: NDArray[np.float64], spec: DatasetSpec) -> Figure:
    """Draw the share of slices that hold each label, by the slice's relative position in its box.

    held: (slices, K), whether each foreground class occurs. place: (slices,) from 0 to 1.
    """
    bins = np.minimum((20 * place).astype(int), 19)
    shares = 100 * pd.DataFrame(held, columns=spec.names).groupby(bins).mean().reindex(range(20), fill_value=0)
    fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
    for label in spec.labels:
        ax.stairs(shares[label.name], np.linspace(0, 100, 21), color=label.colour, linewidth=2, label=label.name)
    ax.set(xlabel="position of the slice in its box (% of the slicing axis)", ylabel="slices with the label (%)")
    ax.set(xlim=(0, 100), ylim=(0, 103))
    fig.legend(loc="outside upper right", ncols=len(spec.labels))
    return fig
