"""Figures of what preprocessing does: one intensity scale, one grid, other voxel sizes, slices along each axis."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, fullest, grey_window, plane, plane_name
from hipposeg.viz.slices import legend, letters, overlay, scale_bar
from hipposeg.viz.style import INK, SERIES

# Coarse enough that a bin holds several steps of an 8-bit image; finer bins would show the steps and not the tissue.
BINS = 61
SCALES = {"as stored": "intensity (no unit)", "z-scored": "standard deviations"}


def intensity_curves(
    raw: Mapping[int, np.ndarray], scaled: Mapping[int, np.ndarray], dtypes: Mapping[int, str]
) -> Figure:
    """A line per case: its histogram of stored intensities (log axis) beside that of its z-scored ones.

    raw, scaled: case number -> intensities of any shape. dtypes: case number -> stored dtype, which gives the colour.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.5))
    top = max(float(image.max()) for image in raw.values())
    panels = (
        (axes[0], raw, np.geomspace(1, top, BINS), "As stored", "intensity (no unit, logarithmic axis)"),
        (axes[1], scaled, np.linspace(-3, 4, BINS), "After z-scoring", "intensity (standard deviations of the box)"),
    )
    kinds = sorted(set(dtypes.values()))
    colours = dict(zip(kinds, SERIES, strict=False))
    for ax, images, edges, title, label in panels:
        for number, image in images.items():
            counts, _ = np.histogram(image, edges)
            # Share of voxels per bin: areas compare on the axis as it is drawn.
            ax.plot(np.sqrt(edges[1:] * edges[:-1]) if edges[0] > 0 else (edges[1:] + edges[:-1]) / 2,
                    100 * counts / image.size, color=colours[dtypes[number]], linewidth=0.9, alpha=0.4)  # fmt: skip
        ax.set(title=title, xlabel=label, xlim=edges[[0, -1]], ylim=(0, None))
    axes[0].set(xscale="log", ylabel="share of the box's voxels per bin (%)")
    for kind in kinds:
        count = sum(dtype == kind for dtype in dtypes.values())
        axes[1].plot([], [], color=colours[kind], label=f"{kind}: {count} cases shown")
    axes[1].set_ylim(top=axes[1].get_ylim()[1] * 1.15)
    axes[1].legend(loc="upper right", fontsize=9)
    return fig


def one_window(views: Mapping[str, tuple[np.ndarray, np.ndarray]], spec: DatasetSpec, axis: int = 0) -> Figure:
    """Cases side by side, before above and after below, each row under one grey window that serves all its cases.

    views: title -> (image as stored, the same image z-scored), each (X, Y, Z). The middle slice across `axis` is drawn.
    A row's window goes from the lowest 1st to the highest 99th percentile of its cases: what a network would see that
    got the numbers as they are. Raises ValueError without views.
    """
    if not views:
        raise ValueError("no cases to compare; choose some by a rule, such as data.statistics.at_ranks")
    shapes = [before.shape for before, _ in views.values()]
    widths = [shape[PLANES[axis][0]] for shape in shapes]
    height = 8.6 * max(shape[PLANES[axis][1]] for shape in shapes) / sum(widths)
    fig, axes = plt.subplots(2, len(views), figsize=(9.6, 2 * height + 0.7), squeeze=False, width_ratios=widths)
    for row, (name, unit), images in zip(axes, SCALES.items(), zip(*views.values(), strict=True), strict=True):
        ends = np.array([np.percentile(image, (1, 99)) for image in images])
        window = float(ends[:, 0].min()), float(ends[:, 1].max())
        for ax, image in zip(row, images, strict=True):
            overlay(ax, plane(image, axis, image.shape[axis] // 2), None, spec, window=window)
        row[0].set_ylabel(name, fontsize=9)
        fig.colorbar(row[-1].images[0], ax=row, label=unit, pad=0.01, aspect=14, format="{x:,g}")
        for ax in row:
            ax.set_anchor("N")
    for ax, title in zip(axes[0], views, strict=True):
        ax.set_title(title, fontsize=9, weight="normal")
    letters(axes[1, 0], spec, axis)
    scale_bar(axes[1, 0])
    return fig


def room(table: pd.DataFrame, size: Sequence[int], spec: DatasetSpec) -> Figure:
    """Every case's box against the grid along each axis: a bubble per size, its area the number of cases."""
    fig, ax = plt.subplots(figsize=(9, 2.7))
    for axis, limit in enumerate(size):
        counts = table[f"size_{axis}"].value_counts().sort_index()
        fits = counts.index <= limit
        ax.scatter(counts.index, [axis] * len(counts), s=9 * counts, alpha=0.75, linewidth=0,
                   color=np.where(fits, SERIES[0], SERIES[1]))  # fmt: skip
        ax.plot([limit, limit], [axis - 0.38, axis + 0.38], color=INK, linewidth=2)
        smallest = limit - int(counts.index.max())
        ax.text(limit + 0.6, axis, f"grid {limit}, smallest room {smallest}", va="center", fontsize=9)
    names = [f"axis {axis}" + (f"\n({low} to {high})" if low else "") for axis, (low, high) in enumerate(spec.axes)]
    ax.set(yticks=range(3), yticklabels=names, ylim=(2.55, -0.55), xlabel="box size (voxels)",
           xlim=(table[["size_0", "size_1", "size_2"]].to_numpy().min() - 2, max(size) + 13))  # fmt: skip
    ax.grid(axis="y", visible=False)
    return fig


def placed(
    views: Mapping[str, tuple[np.ndarray, np.ndarray, tuple[slice, slice, slice]]], spec: DatasetSpec, axis: int = 0
) -> Figure:
    """Cases in the grid, one panel each: padding hatched, the native box framed, the label over it.

    views: title -> (image (X, Y, Z) in the grid, label in the grid, the box's place as three slices). Drawn in voxels.
    """
    fig, axes = plt.subplots(1, len(views), figsize=(9.4, 2.9), squeeze=False)
    for ax, (title, (image, label, inside)) in zip(axes[0], views.items(), strict=True):
        index = fullest(label, axis, image.shape)
        horizontal, vertical = (inside[other] for other in PLANES[axis])
        outside = np.ones(image.shape, bool)
        outside[inside] = False
        # Padding is left out of the picture, so that the hatch under it shows.
        shown = np.ma.masked_array(image, outside)
        overlay(ax, plane(shown, axis, index), plane(label, axis, index), spec, window=grey_window(image[inside]))
        width, height = (image.shape[other] for other in PLANES[axis])
        ax.add_patch(Rectangle((0, 0), width, height, facecolor="#f1f3f5", hatch="///", edgecolor="#c4ccd4", zorder=-1))
        ax.add_patch(Rectangle((horizontal.start, vertical.start), horizontal.stop - horizontal.start,
                               vertical.stop - vertical.start, fill=False, edgecolor=INK, linewidth=1.2))  # fmt: skip
        ax.set_title(title, fontsize=9, weight="normal")
    letters(axes[0, 0], spec, axis)
    for text in axes[0, 0].texts:
        # On the light hatch, not on tissue.
        text.set(color=INK, path_effects=[])
    legend(fig, spec)
    return fig


def resampled(
    image: Mapping[str, tuple[np.ndarray, np.ndarray, tuple[float, float, float]]], difference: np.ndarray,
    spec: DatasetSpec, axis: int = 0,
) -> Figure:  # fmt: skip
    """One case on several grids beside each other in true size, and what the way there and back changed.

    image: title -> (image (X, Y, Z), label, spacing in mm). difference: (X, Y, Z) on the first grid, in SD.
    """
    fig, axes = plt.subplots(1, len(image) + 1, figsize=(9.6, 2.5))
    first_image, first_label, first_mm = next(iter(image.values()))
    place_mm = (fullest(first_label, axis, first_image.shape) + 0.5) / first_image.shape[axis]
    window = grey_window(first_image)
    for ax, (title, (volume, label, mm)) in zip(axes, image.items(), strict=False):
        index = min(int(place_mm * volume.shape[axis]), volume.shape[axis] - 1)
        spacing = tuple(mm[other] for other in PLANES[axis])
        cut = plane(label, axis, index)
        overlay(ax, plane(volume, axis, index), cut, spec, window=window, spacing=spacing, alpha=0.18)
        ax.set_title(title, fontsize=9, weight="normal")
    index = int(place_mm * difference.shape[axis])
    cut, width = plane(difference, axis, index), [difference.shape[o] * first_mm[o] for o in PLANES[axis]]
    limit = float(np.percentile(np.abs(difference), 99.5))
    frame = {"origin": "lower", "extent": (0, width[0], 0, width[1])}
    shown = axes[-1].imshow(cut.T, cmap="RdBu_r", vmin=-limit, vmax=limit, **frame)
    axes[-1].set(xticks=[], yticks=[])
    axes[-1].grid(False)
    axes[-1].set_frame_on(False)
    axes[-1].set_title("there and back, minus original", fontsize=9, weight="normal")
    fig.colorbar(shown, ax=axes[-1], label="difference (SD)", shrink=0.8, pad=0.03)
    scale_bar(axes[0])
    letters(axes[0], spec, axis)
    legend(fig, spec)
    return fig


def along_axes(image: np.ndarray, label: np.ndarray, spec: DatasetSpec, count: int = 7) -> Figure:
    """`count` evenly spaced slices through the labelled part along each axis: three rows in one scale.

    image, label: (X, Y, Z) with cubic voxels.
    """
    sizes = [[image.shape[other] for other in PLANES[axis]] for axis in range(3)]
    widest = max(width for width, _ in sizes)
    heights = [height for _, height in sizes]
    scale = 9.6 / (widest * count)
    fig, axes = plt.subplots(3, count, figsize=(10, sum(heights) * scale + 1.15), height_ratios=heights)
    window = grey_window(image)
    for axis, row in enumerate(axes):
        found = np.flatnonzero((label > 0).any(axis=tuple(other for other in range(3) if other != axis)))
        # Within the label, not at its very tips.
        chosen = np.rint(np.linspace(found[0], found[-1], count + 2)[1:-1]).astype(int)
        for ax, index in zip(row, chosen, strict=True):
            overlay(ax, plane(image, axis, index), plane(label, axis, index), spec, window=window, alpha=0.25)
            # One scale for all rows: narrower planes leave paper free at their sides.
            middle = image.shape[PLANES[axis][0]] / 2
            ax.set_xlim(middle - widest / 2, middle + widest / 2)
            ax.set_title(f"{index + 1} of {image.shape[axis]}", fontsize=8, weight="normal", loc="center")
        row[0].set_ylabel(f"across axis {axis}\n{plane_name(spec, axis)}", fontsize=9)
        letters(row[0], spec, axis, size=7)
    scale_bar(axes[0, 0], size=7)
    legend(fig, spec)
    return fig
