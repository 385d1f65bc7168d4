"""Slices with something over them: attention maps, gradients, soft labels, augmented samples, several resolutions."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz import slices
from hipposeg.viz.curves import readable_log
from hipposeg.viz.intervals import dots
from hipposeg.viz.style import ERROR, MUTED, WIDTH

# From blue to yellow, ever lighter, and read the same by colour-blind eyes; the tissue shows through.
MAP, OPACITY = "cividis", 0.6
# Below this share of the largest gradient a voxel is drawn as if it had none.
FAINTEST = 1e-4
PANEL = 1.55  # inches
MARGIN_MM = 4.0


@dataclass(frozen=True)
class MapView:
    """One case as `maps` shows it.

    title: at the left of its row. image: (X, Y, Z). label: true label map (X, Y, Z) uint8. maps: title of a column ->
    (X, Y, Z) float, NaN where unknown. spacing: mm.
    """

    title: str
    image: np.ndarray
    label: np.ndarray
    maps: Mapping[str, np.ndarray]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


def maps(
    views: Sequence[MapView], spec: DatasetSpec, title: str = "", axis: int = 0, *,
    what: str = "share of the skip that the gate lets through", limits: tuple[float, float] = (0, 1),
    part: int | None = None,
) -> Figure:  # fmt: skip
    """Draw a row for each case, in the slice with most hippocampus: the image, then each map over it.

    All panels have the true outline, all maps one scale of colours, between `limits`. part: value of a label; the slice
    is then the one that holds most of it. title: over the figure, the plane's name is added. what: beside the colours.
    Raises ValueError if the views differ in their maps' names.
    """
    names = list(views[0].maps)
    if any(list(view.maps) != names for view in views):
        raise ValueError(f"every case needs the maps {names}, in this order; found {[list(v.maps) for v in views]}")
    fig, axes = slices.panels(
        [[slices.plane_size(view.image, axis, view.spacing)] * (1 + len(names)) for view in views]
    )
    for row, view in zip(axes, views, strict=True):
        index = slices.fullest(view.label if part is None else view.label == part, axis, view.image.shape)
        case = slices.CaseView("", view.image, {"truth": view.label}, view.spacing, index)
        for ax, name in zip(row, (None, *names), strict=True):
            slices.case_panel(ax, case, "truth", spec, axis, alpha=0)
            if name:
                cut = np.ma.masked_invalid(slices.plane(view.maps[name], axis, index).T)
                extent = ax.images[0].get_extent()
                slices.picture(ax, cut, extent, cmap=MAP, vmin=limits[0], vmax=limits[1], alpha=OPACITY)
                for line in ax.collections:  # an orange line on yellow needs an edge
                    line.set_path_effects([withStroke(linewidth=2.6, foreground="black", alpha=0.6), Normal()])
        row[0].set_ylabel(view.title, fontsize=9)
        slices.scale_bar(row[0])
        slices.letters(row[0], spec, axis)
    for ax, name in zip(axes[0], ("image", *names), strict=True):
        ax.set_title(name, fontsize=9, weight="normal")
    # The bar shows the colours as they look over middle grey.
    colours = ListedColormap(OPACITY * mpl.colormaps[MAP](np.linspace(0, 1, 256))[:, :3] + (1 - OPACITY) * 0.5)
    bar = fig.colorbar(ScalarMappable(Normalize(*limits), colours), ax=axes, location="bottom", shrink=0.45, aspect=35,
                       pad=0.02, panchor=False)  # fmt: skip
    bar.set_label(what, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.grid(False)
    slices.heading(fig, f"{title} ({slices.plane_name(spec, axis)} slices)" if title else "")
    slices.legend(fig, spec)
    return fig


def ratios(table: pd.DataFrame, panels: Mapping[str, str], voxel_mm: float) -> Figure:
    """Draw mean attention inside the structure over outside for each scale and control, on one logarithmic scale.

    table: of `studies.attention.intervals`. panels: value of its column `within` -> title, the one with most
    controls first; rows of others are left out. voxel_mm: side of a voxel of scale 1. Dashed: 1.
    """
    parts = [table[table["within"] == within].assign(panel=title) for within, title in panels.items()]
    rows = pd.concat(parts, ignore_index=True).rename(columns={"control": "series"})
    rows["row"] = [f"skip of {scale * voxel_mm:g} mm voxels" for scale in rows["scale"]]
    fig = dots(rows, "mean inside / mean outside", one_scale=True)
    ends = np.append(rows[["low", "high"]].to_numpy(dtype=float), (0.8, 1.25))
    for ax in fig.axes:
        ax.axvline(1, color=MUTED, linestyle="--", linewidth=1, zorder=0)
        ax.set(xscale="log", xlim=(np.nanmin(ends) / 1.05, np.nanmax(ends) * 1.05))
        readable_log(ax.xaxis)
    return fig


def around(field: np.ndarray, voxel: Sequence[int], reach: Sequence[int]) -> np.ndarray:
    """Cut a field (X, Y, Z) within `reach` voxels of one on each axis, with zeros where the field ends."""
    padded = np.pad(field, [(distance, distance) for distance in reach])
    return padded[tuple(slice(at, at + 2 * distance + 1) for at, distance in zip(voxel, reach, strict=True))]


def receptive_fields(
    found: Mapping[str, np.ndarray], spec: DatasetSpec, spacing: Sequence[float], widths: Mapping[str, Sequence[int]],
    axes: Sequence[int] = (0, 1),
) -> Figure:  # fmt: skip
    """Draw gradients of one output voxel side by side, a row for each plane, on one logarithmic scale.

    found: name -> (X, Y, Z) from `around`, the voxel in the middle; one shape for all; each is divided by its largest
    value. spacing: mm. widths: name -> theoretical width in voxels on each axis, framed. axes: cut across these.
    """
    first = next(iter(found.values()))
    sizes = {axis: np.array(slices.plane_size(first, axis, spacing)) for axis in axes}
    fig, grid = slices.panels([[tuple(size)] * len(found) for size in sizes.values()])
    for row, (axis, size) in zip(grid, sizes.items(), strict=True):
        for ax, (name, field) in zip(row, found.items(), strict=True):
            cut = slices.plane(field / max(float(field.max()), np.finfo(float).tiny), axis, first.shape[axis] // 2)
            extent = (-size[0] / 2, size[0] / 2, -size[1] / 2, size[1] / 2)
            norm = LogNorm(FAINTEST, 1, clip=True)
            drawn = slices.picture(ax, np.maximum(cut, FAINTEST).T, extent, cmap=MAP, norm=norm)
            if name in widths:
                side = np.array([widths[name][other] * spacing[other] for other in slices.PLANES[axis]])
                ax.add_patch(Rectangle(-side / 2, *side, fill=False, edgecolor="white", linestyle="--"))
            ax.plot(0, 0, "+", color=ERROR, markersize=7, markeredgewidth=1.3)
        row[0].set_ylabel(slices.plane_name(spec, axis), fontsize=9)
        slices.scale_bar(row[0])
    for ax, name in zip(grid[0], found, strict=True):
        ax.set_title(name, fontsize=9, weight="normal")
    fig.colorbar(drawn, ax=grid, shrink=0.7, pad=0.01, panchor=False).set_label("gradient, share of its largest value")
    return fig


# title, image (horizontal, vertical), and over it a label map (h, v), soft labels (K, h, v), or None
Panel = tuple[str, np.ndarray, np.ndarray | None]


def strips(
    rows: Mapping[str, Sequence[Panel]], spec: DatasetSpec, *, axis: int | None = None, before: bool = False
) -> Figure:
    """Draw rows of slices, one grey window a row, under label maps or soft labels; images of one shape, 1 mm pixels.

    Soft labels (K, h, v), background first, on the same or a coarser grid: a class's colour is as opaque as its share.
    axis: that the slices are cut across, for letters on the first one. before: the first panel's grey window serves the
    row, and its outline is dotted in white on the others, so that changes of contrast and place show. Raises
    ValueError without panels and for shapes that differ.
    """
    shapes = {image.shape for row in rows.values() for _, image, _ in row}
    if len(shapes) != 1:
        raise ValueError(f"images of the shapes {sorted(shapes)}; expected some, of one shape")
    columns, (width, height) = max(len(row) for row in rows.values()), shapes.pop()
    titled = sum(any(title for title, _, _ in row) for row in rows.values())
    size = (PANEL * columns, (PANEL * height / width + 0.04) * len(rows) + 0.25 * titled + 0.4)
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        images = np.concatenate([image.ravel() for _, image, _ in (row[:1] if before else row)])
        window = slices.grey_window(images)
        for ax, (title, image, label) in zip(line, row, strict=False):
            soft = label is not None and label.ndim == 3
            slices.overlay(ax, image, None if soft else label, spec, window=window, alpha=0.2 if before else 0.35)
            if soft:
                slices.picture(ax, mixed(label, spec), ax.images[0].get_extent())
            if before and ax is not line[0]:
                slices.edge(ax, row[0][2] > 0, "white", linewidths=0.9, linestyles=(0, (1, 1.5)))
            ax.set_title(title, fontsize=9, weight="normal")
        for ax in line[len(row) :]:
            ax.set_axis_off()
        line[0].set_ylabel(textwrap.fill(name, 14), fontsize=9)
    if axis is not None:
        slices.letters(axes[0, 0], spec, axis, size=7)
        slices.scale_bar(axes[0, 0], size=7)
    slices.legend(fig, spec)
    return fig


def mixed(shares: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Mix the classes' colours by share, (K, h, v) -> (v, h, 4) RGBA, opaque by all that is not background."""
    foreground = np.moveaxis(np.clip(shares[1:], 0, 1), 0, -1).transpose(1, 0, 2)  # (v, h, classes)
    total = foreground.sum(-1, keepdims=True)
    colours = np.array([to_rgb(item.colour) for item in spec.labels])
    rgb = np.divide(foreground @ colours, total, out=np.zeros((*total.shape[:2], 3)), where=total > 0)
    return np.concatenate([np.clip(rgb, 0, 1), 0.75 * np.clip(total, 0, 1)], axis=-1)


def contours(
    image: np.ndarray, masks: Mapping[str, tuple[np.ndarray, Sequence[float]]], spec: DatasetSpec,
    spacing: Sequence[float], axis: int = 0,
) -> Figure:  # fmt: skip
    """Draw a panel for each label map, three in a row, over one slice of the image, where the first map holds most.

    image: (X, Y, Z). masks: name -> (label map, its voxel size in mm); all grids share the image's centre, as
    `data.grid.Resampling` makes them. spacing: the image's. Outlines follow the edges of each map's own voxels.
    """
    first, step = next(iter(masks.values()))
    place = (slices.fullest(first, axis, first.shape) - (first.shape[axis] - 1) / 2) * step[axis]  # mm from the centre
    window = _around(first, step, axis)
    columns, rows = min(3, len(masks)), -(-len(masks) // 3)
    tall = WIDTH / columns * (window[3] - window[2]) / (window[1] - window[0])
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, rows * (tall + 0.3) + 0.3), squeeze=False)
    low, high = slices.grey_window(image)
    width, height = slices.plane_size(image, axis, spacing)
    for ax, (name, (mask, voxel)) in zip(axes.flat, masks.items(), strict=False):
        cut = slices.plane(image, axis, _index(place, image.shape[axis], spacing[axis]))
        slices.picture(ax, cut.T, (-width / 2, width / 2, -height / 2, height / 2), cmap="gray", vmin=low, vmax=high)
        cut = slices.plane(mask, axis, _index(place, mask.shape[axis], voxel[axis]))
        for item in spec.labels:
            lines = slices.outline(cut == item.value) - (np.array(cut.shape) - 1) / 2
            lines = lines * [voxel[side] for side in slices.PLANES[axis]]
            ax.add_collection(LineCollection(lines, colors=item.colour, linewidths=1.6, capstyle="round"))
        ax.set(xlim=window[:2], ylim=window[2:])
        ax.set_title(name, fontsize=9, weight="normal")
    for ax in axes.flat[len(masks) :]:
        ax.set_axis_off()
    slices.legend(fig, spec)
    return fig


def _index(place: float, count: int, step: float) -> int:
    """The slice, of `count` with this step in mm, in which a position from the common centre lies."""
    return int(np.clip(np.floor(place / step + (count - 1) / 2 + 0.5), 0, count - 1))


def _around(mask: np.ndarray, step: Sequence[float], axis: int) -> tuple[float, float, float, float]:
    """Left, right, bottom and top in mm from the centre: all of the mask, seen along `axis`, with a margin."""
    ends = []
    for side in slices.PLANES[axis]:
        held = np.flatnonzero((mask > 0).any(axis=tuple(other for other in range(3) if other != side)))
        low, high = (held[0], held[-1]) if held.size else (0, mask.shape[side] - 1)
        middle = (mask.shape[side] - 1) / 2
        ends += [(low - 0.5 - middle) * step[side] - MARGIN_MM, (high + 0.5 - middle) * step[side] + MARGIN_MM]
    return tuple(ends)
