"""Targets that are shares of classes, drawn as such: the fainter a colour, the smaller a class's share of the voxel."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import grey_window
from hipposeg.viz.slices import legend

PANEL = 1.65
OPACITY = 0.75


def overlay(
    ax: Axes, image: np.ndarray, shares: np.ndarray | None, spec: DatasetSpec, window: tuple[float, float] | None = None
) -> None:
    """A slice in grey and over it each class's colour, as opaque as its share.

    image: (horizontal, vertical). shares: (K, h, v) float with the background first, on the same or a coarser grid
    over the same area; None for the bare image.
    """
    low, high = window or grey_window(image)
    frame = {"origin": "lower", "extent": (0, image.shape[0], 0, image.shape[1]), "interpolation": "nearest"}
    ax.imshow(image.T, cmap="gray", vmin=low, vmax=high, **frame)
    if shares is not None:
        ax.imshow(mixed(shares, spec), **frame)
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.grid(False)
    ax.set_frame_on(False)


def mixed(shares: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """(K, h, v) shares -> (v, h, 4) RGBA: the classes' colours mixed by share, opaque by all that is not background."""
    foreground = np.moveaxis(np.clip(shares[1:], 0, 1), 0, -1).transpose(1, 0, 2)  # (v, h, classes)
    total = foreground.sum(-1, keepdims=True)
    colours = np.array([to_rgb(item.colour) for item in spec.labels])
    rgb = np.divide(foreground @ colours, total, out=np.zeros((*total.shape[:2], 3)), where=total > 0)
    return np.concatenate([np.clip(rgb, 0, 1), OPACITY * np.clip(total, 0, 1)], axis=-1)


def strips(rows: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray | None]]], spec: DatasetSpec) -> Figure:
    """Rows of slices, each under one grey window: name -> panels of (title, image (h, v), shares (K, h, v) or None)."""
    columns = max(len(panels) for panels in rows.values())
    width, height = next(iter(rows.values()))[0][1].shape
    title = 0.25 if any(text for panels in rows.values() for text, _, _ in panels) else 0.0
    size = (PANEL * columns, (PANEL * height / width + title) * len(rows) + 0.4)
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for row, (name, panels) in zip(axes, rows.items(), strict=True):
        window = tuple(np.percentile(np.concatenate([image.ravel() for _, image, _ in panels]), (1, 99.5)))
        for ax, (text, image, shares) in zip(row, panels, strict=False):
            overlay(ax, image, shares, spec, window)
            ax.set_title(text, fontsize=9, weight="normal")
        for ax in row[len(panels) :]:
            ax.set_axis_off()
        row[0].set_ylabel(name, fontsize=9)
    legend(fig, spec)
    return fig
