"""Receptive fields, drawn around the voxel that is asked: how much each voxel of the input moves its answer."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, plane, plane_name
from hipposeg.viz.style import ERROR

# Below this share of the largest gradient a voxel is drawn as if it had none.
FAINTEST = 1e-4
MAP = "cividis"


def around(field: np.ndarray, voxel: Sequence[int], reach: Sequence[int]) -> np.ndarray:
    """The part of a field (X, Y, Z) within `reach` voxels of one on each axis, zeros where the field ends."""
    padded = np.pad(field, [(distance, distance) for distance in reach])
    return padded[tuple(slice(at, at + 2 * distance + 1) for at, distance in zip(voxel, reach, strict=True))]


def fields(
    found: Mapping[str, np.ndarray], spec: DatasetSpec, spacing: Sequence[float], widths: Mapping[str, Sequence[int]],
    axes: Sequence[int] = (0, 1),
) -> Figure:  # fmt: skip
    """Fields side by side through the voxel asked, a row for each plane; one logarithmic scale, each field's largest 1.

    found: name -> (X, Y, Z) from `around`, the asked voxel in the middle; one shape for all. spacing: mm. widths: name
    -> theoretical width in voxels on each axis, framed as far as the picture goes. axes: cut across these.
    """
    shape = next(iter(found.values())).shape
    extent = [side * step / 2 for side, step in zip(shape, spacing, strict=True)]
    heights = [extent[PLANES[axis][1]] / extent[PLANES[axis][0]] for axis in axes]
    width = 8.0 / len(found)  # the paper's, less room for axes and the scale of colours
    fig, panels = plt.subplots(
        *(len(axes), len(found)), figsize=(9.6, width * sum(heights) + 0.25 * len(axes) + 0.4), squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    norm = LogNorm(FAINTEST, 1, clip=True)
    for row, axis in zip(panels, axes, strict=True):
        across, up = PLANES[axis]
        for ax, (name, field) in zip(row, found.items(), strict=True):
            cut = plane(field / max(float(field.max()), np.finfo(float).tiny), axis, shape[axis] // 2)
            limits = (-extent[across], extent[across], -extent[up], extent[up])
            drawn = ax.imshow(np.maximum(cut, FAINTEST).T, cmap=MAP, norm=norm, origin="lower", extent=limits)
            if name in widths:
                sides = [widths[name][side] * spacing[side] for side in (across, up)]
                corner = (-sides[0] / 2, -sides[1] / 2)
                ax.add_patch(Rectangle(corner, *sides, fill=False, edgecolor="white", linestyle="--"))
            ax.plot(0, 0, "+", color=ERROR, markersize=7, markeredgewidth=1.3)
            ax.set(xlim=limits[:2], ylim=limits[2:])
            ax.tick_params(labelleft=ax is row[0])
            ax.grid(False)
            if axis == axes[0]:
                ax.set_title(name, fontsize=9, weight="normal")
            ax.set_xlabel("mm" if axis == axes[-1] else "")
        row[0].set_ylabel(f"{plane_name(spec, axis)}, mm")
    bar = fig.colorbar(drawn, ax=panels, shrink=0.7, pad=0.01)
    bar.set_label("gradient, share of its largest value")
    return fig
