"""What a 2D network is fed: a slice with its neighbours, and the same slice after augmentation."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import grey_window, outline
from hipposeg.viz.slices import legend, letters, overlay, scale_bar

PANEL = 1.45


def strips(
    rows: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray | None]]], spec: DatasetSpec, titles: Sequence[str] = (),
    axis: int = 0,
) -> Figure:  # fmt: skip
    """Rows of slices under one grey window per row.

    rows: name -> panels, each an image (H, W) and a label map (H, W) or None for the bare image. titles: of columns.
    axis: that the slices are cut across, for the letters of the first one, whose pixels are 1 mm wide.
    """
    columns = max(len(panels) for panels in rows.values())
    height, width = next(iter(rows.values()))[0][0].shape[::-1]
    size = (PANEL * columns, PANEL * height / width * len(rows) + (0.7 if titles else 0.4))
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for row, (name, panels) in zip(axes, rows.items(), strict=True):
        window = tuple(np.percentile(np.concatenate([image.ravel() for image, _ in panels]), (1, 99.5)))
        for ax, (image, label) in zip(row, panels, strict=False):
            overlay(ax, image, label, spec, window=window)
        for ax in row[len(panels) :]:
            ax.set_axis_off()
        row[0].set_ylabel(name, fontsize=9)
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title, fontsize=9)
    letters(axes[0, 0], spec, axis, size=7)
    scale_bar(axes[0, 0], size=7)
    legend(fig, spec)
    return fig


def augmentation_grid(
    rows: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], spec: DatasetSpec, *, axis: int = 0,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Figure:  # fmt: skip
    """What each recipe of augmentation does to one slice: a row for each recipe, the original first, then its draws.

    rows: recipe -> (image, label) pairs, the slice itself and then what was drawn; image (H, V) float and label (H, V)
    integer, all of one shape and laid out as `planes.plane` gives them. All panels share the original's grey window, so
    that a change of contrast shows as one. The white dotted outline on the draws is the original's, so that one sees
    how far the label moved. axis: that the slice is cut across, for its letters. spacing: pixel size in mm. Raises
    ValueError without rows, for a row without draws, and for shapes that differ.
    """
    if not rows or any(len(panels) < 2 for panels in rows.values()):
        raise ValueError("nothing to compare: every recipe needs the slice itself and at least one draw")
    shapes = {array.shape for panels in rows.values() for pair in panels for array in pair}
    if len(shapes) > 1:
        raise ValueError(f"images and labels of the shapes {sorted(shapes)}; expected one shape for the whole grid")
    columns, (width, height) = max(len(panels) for panels in rows.values()), next(iter(shapes))
    ratio = height * spacing[1] / (width * spacing[0])
    fig, axes = plt.subplots(len(rows), columns, squeeze=False,
                             figsize=(PANEL * columns, (PANEL * ratio + 0.24) * len(rows) + 0.4))  # fmt: skip
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.045, wspace=0, hspace=0)
    for row, (name, panels) in zip(axes, rows.items(), strict=True):
        image, label = panels[0]
        window = grey_window(image)
        before = (outline(label > 0) + 0.5) * np.asarray(spacing)
        for ax, (drawn, moved) in zip(row, panels, strict=False):
            overlay(ax, drawn, moved, spec, spacing=spacing, window=window, alpha=0.2)
            if ax is not row[0]:
                ax.add_collection(LineCollection(before, colors="white", linewidths=0.9, linestyles=(0, (1, 1.5))))
        for ax in row[len(panels) :]:
            ax.set_axis_off()
        row[0].set_title(name, fontsize=9, weight="bold")
    axes[0, 1].set_title("draws; dotted: the label before", fontsize=9, weight="normal")
    letters(axes[0, 0], spec, axis, size=7)
    scale_bar(axes[0, 0], size=7)
    legend(fig, spec)
    return fig


def slice_shares(areas: np.ndarray, spec: DatasetSpec) -> Figure:
    """Share of training slices that hold each label, by the slice's place in its box.

    areas: (slices, K) voxels of each foreground class; by case and slice, with the relative position of the
    slice in its box, 0 to 1, as column K.
    """
    fig, ax = plt.subplots(figsize=(7.2, 2.9))
    edges = np.linspace(0, 1, 21)
    place = np.clip(np.digitize(areas[:, -1], edges) - 1, 0, len(edges) - 2)
    for index, label in enumerate(spec.labels):
        share = [
            100 * (areas[place == k, index] > 0).mean() if (place == k).any() else 0 for k in range(len(edges) - 1)
        ]
        ax.stairs(share, 100 * edges, color=label.colour, linewidth=2, label=label.name)
    ax.set(xlabel="place of the slice in its box (% of the slicing axis)", ylabel="slices with the label (%)",
           xlim=(0, 100), ylim=(0, 103))  # fmt: skip
    fig.legend(loc="outside upper right", ncols=len(spec.labels))
    return fig
