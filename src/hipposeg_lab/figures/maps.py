"""Slices with something over them: maps of numbers, label maps, soft labels, augmented samples."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz import slices

# From blue to yellow, ever lighter, and read the same by colour-blind eyes; the tissue shows through.
MAP, OPACITY = "cividis", 0.6
PANEL = 1.55  # inches


@dataclass(frozen=True)
class MapView:
    """One case as `maps` shows it."""

    title: str  # at the left of its row
    image: np.ndarray  # (X, Y, Z)
    label: np.ndarray  # outlined label map (X, Y, Z) uint8
    maps: Mapping[str, np.ndarray]  # title of a column -> (X, Y, Z) float, NaN where unknown
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)  # mm


def maps(
    views: Sequence[MapView], spec: DatasetSpec, title: str, axis: int = 0, *, what: str, limits: tuple[float, float]
) -> Figure:
    """Draw a row for each case, in the slice with most hippocampus: the image, then each map over it.

    All panels have the true outline, all maps one scale of colours, between `limits`. title: over the figure, the
    plane's name is added. what: beside the colours. Raises ValueError if the views differ in their maps' names.
    """
    names = list(views[0].maps)
    if any(list(view.maps) != names for view in views):
        raise ValueError(f"every case needs the maps {names}, in this order; found {[list(v.maps) for v in views]}")
    fig, axes = slices.panels(
        [[slices.plane_size(view.image, axis, view.spacing)] * (1 + len(names)) for view in views]
    )
    for row, view in zip(axes, views, strict=True):
        index = slices.fullest(view.label, axis, view.image.shape)
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
    slices.heading(fig, f"{title} ({slices.plane_name(spec, axis)} slices)")
    slices.legend(fig, spec)
    return fig


# title, image (horizontal, vertical), and over it a label map (h, v), soft labels (K, h, v), or None
Panel = tuple[str, np.ndarray, np.ndarray | None]


def strips(
    rows: Mapping[str, Sequence[Panel]], spec: DatasetSpec, *, axis: int | None = None, before: bool = False
) -> Figure:
    """Draw rows of slices, one grey window a row, under label maps or soft labels; images of one shape, 1 mm pixels.

    Soft labels (K, h, v), background first, on the same or a coarser grid: a class's opacity is its fraction.
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
    """Mix the classes' colours by fraction, (K, h, v) -> (v, h, 4) RGBA, opaque by all that is not background."""
    foreground = np.moveaxis(np.clip(shares[1:], 0, 1), 0, -1).transpose(1, 0, 2)  # (v, h, classes)
    total = foreground.sum(-1, keepdims=True)
    colours = np.array([to_rgb(item.colour) for item in spec.labels])
    rgb = np.divide(foreground @ colours, total, out=np.zeros((*total.shape[:2], 3)), where=total > 0)
    return np.concatenate([np.clip(rgb, 0, 1), 0.75 * np.clip(total, 0, 1)], axis=-1)
