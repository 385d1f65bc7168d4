"""One slice of a case, outlined from label maps of several resolutions that share the volume's centre."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, fullest, grey_window, outline, plane
from hipposeg.viz.slices import legend

MARGIN_MM = 4.0


def contours(
    image: np.ndarray, masks: Mapping[str, tuple[np.ndarray, Sequence[float]]], spec: DatasetSpec,
    spacing: Sequence[float], axis: int = 0,
) -> Figure:  # fmt: skip
    """A panel for each label map, three in a row, over the same slice of the image, cut where the first map holds most.

    image: (X, Y, Z). masks: name -> (label map, its voxel size in mm); all grids cover the image's box and share its
    centre, as `data.rescale.Resampling` makes them. spacing: the image's. Outlines follow the edges of each map's own
    voxels: what is drawn is what was decided.
    """
    first, step = next(iter(masks.values()))
    # Position of the cut in mm from the common centre.
    place = (fullest(first, axis, first.shape) - (first.shape[axis] - 1) / 2) * step[axis]
    size = np.multiply(image.shape, spacing)
    across, up = PLANES[axis]
    window = _around(first, step, axis)
    shown = (window[1] - window[0], window[3] - window[2])
    columns = min(3, len(masks))
    rows = -(-len(masks) // columns)
    width = 9.6 / 3
    paper = (width * columns, rows * (width * shown[1] / shown[0] + 0.3) + 0.3)
    fig, axes = plt.subplots(rows, columns, figsize=paper, squeeze=False)
    cut = plane(image, axis, _index(place, image.shape[axis], spacing[axis]))
    low, high = grey_window(image)
    frame = (-size[across] / 2, size[across] / 2, -size[up] / 2, size[up] / 2)
    for ax, (name, (mask, voxel)) in zip(axes.flat, masks.items(), strict=False):
        ax.imshow(cut.T, cmap="gray", vmin=low, vmax=high, origin="lower", extent=frame, interpolation="nearest")
        _outlines(ax, plane(mask, axis, _index(place, mask.shape[axis], voxel[axis])), spec, voxel[across], voxel[up])
        ax.set(xlim=window[:2], ylim=window[2:], xticks=[], yticks=[], aspect="equal")
        ax.set_title(name, fontsize=9, weight="normal")
        ax.grid(False)
        ax.set_frame_on(False)
    for ax in axes.flat[len(masks) :]:
        ax.set_axis_off()
    legend(fig, spec)
    return fig


def _outlines(ax: Axes, cut: np.ndarray, spec: DatasetSpec, horizontal: float, vertical: float) -> None:
    """Each label's outline in mm from the centre of the slice (h, v) with these voxel sizes."""
    for item in spec.labels:
        edges = outline(cut == item.value)  # voxel units; voxel 0 spans -0.5 to 0.5
        middle = (np.array(cut.shape) - 1) / 2
        lines = (edges - middle) * (horizontal, vertical)
        ax.add_collection(LineCollection(lines, colors=item.colour, linewidths=1.6, capstyle="round"))


def _index(place: float, count: int, step: float) -> int:
    """The slice, of `count` with this step in mm, in which a position from the common centre lies."""
    return int(np.clip(np.floor(place / step + (count - 1) / 2 + 0.5), 0, count - 1))


def _around(mask: np.ndarray, step: Sequence[float], axis: int) -> tuple[float, float, float, float]:
    """Left, right, bottom and top in mm from the centre: all of the mask, seen along `axis`, with a margin."""
    ends = []
    for side in PLANES[axis]:
        held = np.nonzero((mask > 0).any(axis=tuple(other for other in range(3) if other != side)))[0]
        low, high = (held[0], held[-1]) if held.size else (0, mask.shape[side] - 1)
        middle = (mask.shape[side] - 1) / 2
        ends += [(low - 0.5 - middle) * step[side] - MARGIN_MM, (high + 0.5 - middle) * step[side] + MARGIN_MM]
    return tuple(ends)
