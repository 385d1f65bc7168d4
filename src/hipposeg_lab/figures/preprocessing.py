"""Figures of notebook 02: one intensity scale, one grid, other voxel sizes, slices along each axis, and N4."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz import slices
from hipposeg.viz.intervals import swarm
from hipposeg.viz.style import INK, MUTED, SERIES, WIDTH
from hipposeg_lab.figures.exploration import Histogram, axis_name, histograms

# Coarse enough that a bin holds several steps of an 8-bit image; finer bins would show the steps.
BINS = 61
SCALES = {"as stored": "intensity (no unit)", "z-scored": "standard deviations"}

# title -> (image, label, spacing in mm)
Volumes = Mapping[str, tuple[np.ndarray, np.ndarray, tuple[float, float, float]]]


def intensity_curves(
    raw: Mapping[int, np.ndarray], scaled: Mapping[int, np.ndarray], dtypes: Mapping[int, str]
) -> Figure:
    """Draw each case's histogram of stored intensities (log axis) beside that of its z-scored ones.

    raw, scaled: case number -> intensities of any shape. dtypes: case number -> stored dtype, which gives the colour.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.5))
    colours = dict(zip(sorted(set(dtypes.values())), SERIES, strict=False))
    edges = np.geomspace(1, max(float(image.max()) for image in raw.values()), BINS), np.linspace(-3, 4, BINS)
    for ax, images, ends in zip(axes, (raw, scaled), edges, strict=True):
        middle = np.sqrt(ends[1:] * ends[:-1]) if ax is axes[0] else (ends[1:] + ends[:-1]) / 2
        for number, image in images.items():
            share = 100 * np.histogram(image, ends)[0] / image.size
            ax.plot(middle, share, color=colours[dtypes[number]], linewidth=0.9, alpha=0.4)
        ax.set(xlim=ends[[0, -1]], ylim=(0, 1.15 * ax.get_ylim()[1]))
    axes[0].set(title="As stored", xlabel="intensity (no unit, logarithmic axis)", xscale="log")
    axes[0].set_ylabel("share of the box's voxels per bin (%)")
    axes[1].set(title="After z-scoring", xlabel="intensity (standard deviations of the box)")
    for kind, colour in colours.items():
        count = sum(dtype == kind for dtype in dtypes.values())
        axes[1].plot([], [], color=colour, label=f"{kind}: {count} cases shown")
    axes[1].legend(loc="upper right", fontsize=9)
    return fig


def one_window(views: Mapping[str, tuple[np.ndarray, np.ndarray]], spec: DatasetSpec, axis: int = 0) -> Figure:
    """Draw cases side by side, before above and after below, each row under one grey window for all its cases.

    views: title -> (image as stored, the same image z-scored), each (X, Y, Z). The middle slice across `axis` is drawn.
    A row's window goes from the lowest 1st to the highest 99th percentile of its cases. Raises ValueError without
    views.
    """
    if not views:
        raise ValueError("no cases to compare; choose some by a rule, such as data.statistics.at_ranks")
    fig, axes = slices.panels([[slices.plane_size(before, axis) for before, _ in views.values()]] * 2)
    for row, (name, unit), images in zip(axes, SCALES.items(), zip(*views.values(), strict=True), strict=True):
        ends = np.array([np.percentile(image, (1, 99)) for image in images])
        window = float(ends[:, 0].min()), float(ends[:, 1].max())
        for ax, image in zip(row, images, strict=True):
            slices.overlay(ax, slices.plane(image, axis, image.shape[axis] // 2), None, spec, window=window)
        row[0].set_ylabel(name, fontsize=9)
        fig.colorbar(row[-1].images[0], ax=row, label=unit, pad=0.01, panchor=False, aspect=14, format="{x:,g}")
    _titles(axes[0], views)
    slices.letters(axes[1, 0], spec, axis)
    slices.scale_bar(axes[1, 0])
    return fig


def _titles(axes: Sequence[Axes], titles: Sequence[str] | Mapping[str, object]) -> None:
    """Light titles over panels."""
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title, fontsize=9, weight="normal")


def room(table: pd.DataFrame, size: Sequence[int], spec: DatasetSpec) -> Figure:
    """Draw every case's box against the grid along each axis: a bubble per size, its area the number of cases."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.7))
    for axis, limit in enumerate(size):
        counts = table[f"size_{axis}"].value_counts().sort_index()
        ax.scatter(counts.index, [axis] * len(counts), s=9 * counts, alpha=0.75, linewidth=0,
                   color=np.where(counts.index <= limit, SERIES[0], SERIES[1]))  # fmt: skip
        ax.plot([limit, limit], [axis - 0.38, axis + 0.38], color=INK, linewidth=2)
        text = f"grid {limit}, smallest room {limit - int(counts.index.max())}"
        ax.text(limit + 0.6, axis, text, va="center", fontsize=9)
    ax.set_yticks(range(3), [axis_name(spec, axis) for axis in range(3)])
    least = table[["size_0", "size_1", "size_2"]].to_numpy().min()
    ax.set(ylim=(2.55, -0.55), xlim=(least - 2, max(size) + 13), xlabel="box size (voxels)")
    ax.grid(axis="y", visible=False)
    return fig


def placed(
    views: Mapping[str, tuple[np.ndarray, np.ndarray, tuple[slice, slice, slice]]], spec: DatasetSpec, axis: int = 0
) -> Figure:
    """Draw cases in the grid, one panel each: padding hatched, the native box framed, the label over it.

    views: title -> (image (X, Y, Z) in the grid, label in the grid, the box's place as three slices). Drawn in voxels.
    """
    fig, axes = slices.panels([[slices.plane_size(image, axis) for image, _, _ in views.values()]])
    for ax, (image, label, inside) in zip(axes[0], views.values(), strict=True):
        outside = np.ones(image.shape, bool)
        outside[inside] = False
        # Padding is left out of the picture, so that the hatch under it shows.
        shown, index = np.ma.masked_array(image, outside), slices.fullest(label, axis, image.shape)
        slices.overlay(
            ax,
            slices.plane(shown, axis, index),
            slices.plane(label, axis, index),
            spec,
            window=slices.grey_window(image[inside]),
        )
        hatch = {"facecolor": "#f1f3f5", "hatch": "///", "edgecolor": "#c4ccd4", "zorder": -1}
        ax.add_patch(Rectangle((0, 0), *slices.plane_size(image, axis), **hatch))
        across, up = (inside[side] for side in slices.PLANES[axis])
        size = (across.stop - across.start, up.stop - up.start)
        ax.add_patch(Rectangle((across.start, up.start), *size, fill=False, edgecolor=INK, linewidth=1.2))
    _titles(axes[0], views)
    slices.letters(axes[0, 0], spec, axis)
    for text in axes[0, 0].texts:  # on the light hatch, not on tissue
        text.set(color=INK, path_effects=[])
    slices.legend(fig, spec)
    return fig


def resampled(image: Volumes, difference: np.ndarray, spec: DatasetSpec, axis: int = 0) -> Figure:
    """Draw one case on several grids in true size, and what resampling there and back changed.

    image: title -> volume, label, spacing, the native grid first. difference: (X, Y, Z) on the first grid, in SD.
    """
    first, label, mm = next(iter(image.values()))
    size = slices.plane_size(first, axis, mm)
    fig, axes = slices.panels([[*(slices.plane_size(volume, axis, step) for volume, _, step in image.values()), size]])
    place = (slices.fullest(label, axis, first.shape) + 0.5) / first.shape[axis]
    for ax, (title, (volume, mask, step)) in zip(axes[0], image.items(), strict=False):
        index = min(int(place * volume.shape[axis]), volume.shape[axis] - 1)
        slices.case_panel(ax, slices.CaseView(title, volume, {"": mask}, step, index), "", spec, axis, alpha=0.18)
    limit, index = float(np.percentile(np.abs(difference), 99.5)), int(place * difference.shape[axis])
    last = axes[0, -1]
    cut, extent = slices.plane(difference, axis, index), (0, size[0], 0, size[1])
    shown = slices.picture(last, cut.T, extent, cmap="RdBu_r", vmin=-limit, vmax=limit)
    _titles(axes[0], [*image, "there and back, minus original"])
    fig.colorbar(shown, ax=last, label="difference (SD)", shrink=0.8, pad=0.03, panchor=False)
    slices.scale_bar(axes[0, 0])
    slices.letters(axes[0, 0], spec, axis)
    slices.legend(fig, spec)
    return fig


def along_axes(image: np.ndarray, label: np.ndarray, spec: DatasetSpec, count: int = 7) -> Figure:
    """Draw `count` evenly spaced slices through the labelled part along each axis: three rows in one scale.

    image, label: (X, Y, Z) with cubic voxels.
    """
    widest = max(slices.plane_size(image, axis)[0] for axis in range(3))
    fig, axes = slices.panels([[(widest, slices.plane_size(image, axis)[1])] * count for axis in range(3)])
    window = slices.grey_window(image)
    for axis, row in enumerate(axes):
        found = np.flatnonzero((label > 0).any(axis=tuple(other for other in range(3) if other != axis)))
        # Within the label, not at its very tips.
        chosen = np.rint(np.linspace(found[0], found[-1], count + 2)[1:-1]).astype(int)
        for ax, index in zip(row, chosen, strict=True):
            slices.overlay(
                ax, slices.plane(image, axis, index), slices.plane(label, axis, index), spec, window=window, alpha=0.25
            )
            # One scale for all rows: narrower planes leave paper free at their sides.
            middle = slices.plane_size(image, axis)[0] / 2
            ax.set_xlim(middle - widest / 2, middle + widest / 2)
            ax.set_title(f"{index + 1} of {image.shape[axis]}", fontsize=8, weight="normal", loc="center")
        row[0].set_ylabel(f"across axis {axis}\n{slices.plane_name(spec, axis)}", fontsize=9)
        slices.letters(row[0], spec, axis, size=7)
    slices.scale_bar(axes[0, 0], size=7)
    slices.legend(fig, spec)
    return fig


def n4_fields(cases: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], spec: DatasetSpec) -> Figure:
    """Draw a row per case: original, corrected, and the field between them in per cent on one scale for all rows.

    cases: title -> (original (X, Y, Z), corrected, label), voxels drawn as cubes.
    """
    fig, axes = slices.panels([[slices.plane_size(before, 0)] * 3 for before, _, _ in cases.values()])
    fields = []
    for before, after, _ in cases.values():
        field = np.divide(before, after, out=np.ones(before.shape, np.float64), where=after > 0)
        fields.append(100 * (field / np.exp(np.log(field[field > 0]).mean()) - 1))
    limit = max(float(np.percentile(np.abs(field), 99)) for field in fields)
    for row, (title, (before, after, label)), field in zip(axes, cases.items(), fields, strict=True):
        index = slices.fullest(label, 0, before.shape)
        for ax, image in zip(row, (before, after), strict=False):
            slices.case_panel(ax, slices.CaseView("", image, {"": label}, index=index), "", spec, 0, alpha=0)
        width, height = slices.plane_size(before, 0)
        shown = slices.picture(
            row[2], slices.plane(field, 0, index).T, (0, width, 0, height), cmap="PuOr_r", vmin=-limit, vmax=limit
        )
        row[0].set_ylabel(title, fontsize=9)
    _titles(axes[0], ("as stored", "after N4", "field found by N4"))
    fig.colorbar(
        shown, ax=list(axes[:, 2]), label="brighter or darker than the box's mean (%)", shrink=0.75, panchor=False
    )
    slices.scale_bar(axes[0, 0])
    slices.letters(axes[0, 0], spec, 0)
    slices.legend(fig, spec)
    return fig


def n4_effects(table: pd.DataFrame, changes: pd.DataFrame) -> Figure:
    """Draw over all cases the range of the field, the change of the image, and that of contrast and variation.

    table: `hipposeg_lab.studies.n4_effect.effects`. changes: `relative_changes` of it; its first three columns count.
    """
    found = (
        (100 * table.field_range, "Range of the field", "brightest over darkest part (%)"),
        (table.correlation, "Original and corrected", "correlation of intensities"),
        (table.z_change, "What a network sees", "RMS change of the z-score (SD)"),
    )
    shown = [Histogram(values, title, label, f"median {values.median():.3g}", values.median(), SERIES[0])
             for values, title, label in found]  # fmt: skip
    for name, change in (100 * changes.iloc[:, :3]).items():
        text = f"higher after N4: {(change > 0).sum()} of {change.notna().sum()}"
        shown.append(Histogram(change, str(name).capitalize(), "change by N4 (%)", text, 0, SERIES[1]))
    return histograms(shown)


def n4_planted(table: pd.DataFrame) -> Figure:
    """Draw for each setting, a dot per case, how much of a planted field N4 missed, and what it changes without one.

    table: `hipposeg_lab.studies.n4_effect.planted`.
    """
    columns = {
        "Planted field that is missed": (table.missed, "share of its SD (%)"),
        "Field found in the original": (table.found_range, "brightest over darkest part (%)"),
        "Variation in the hippocampus": (table.cv_corrected / table.cv_original - 1, "change in the original (%)"),
    }
    parts = [pd.DataFrame({"row": table.setting, "series": table.setting, "value": 100 * values, "panel": name})
             for name, (values, _) in columns.items()]  # fmt: skip
    fig = swarm(pd.concat(parts), {name: text for name, (_, text) in columns.items()}, middle="mean")
    for ax, mark in zip(fig.axes[::2], (100, 0), strict=True):
        ax.axvline(mark, color=MUTED, linewidth=1, linestyle="--")
    return fig
