"""What a 2D network is fed: a slice with its neighbours, and the same slice after augmentation."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.slices import legend, overlay

PANEL = 1.45


def strips(rows: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray | None]]], spec: DatasetSpec) -> Figure:
    """Rows of slices under one grey window per row.

    rows: name -> panels, each an image (H, W) and a label map (H, W) or None for the bare image.
    """
    columns = max(len(panels) for panels in rows.values())
    height, width = next(iter(rows.values()))[0][0].shape[::-1]
    size = (PANEL * columns, PANEL * height / width * len(rows) + 0.4)
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for row, (name, panels) in zip(axes, rows.items(), strict=True):
        window = tuple(np.percentile(np.concatenate([image.ravel() for image, _ in panels]), (1, 99.5)))
        for ax, (image, label) in zip(row, panels, strict=False):
            overlay(ax, image, label, spec, window=window)
        for ax in row[len(panels) :]:
            ax.set_axis_off()
        row[0].set_ylabel(name, fontsize=9)
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
