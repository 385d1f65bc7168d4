"""Shrink a hippocampus by a known fraction with a smooth and invertible warp, image and label alike.

Each axis is warped alone: linear over the structure, which so keeps its shape and loses exactly that fraction of its
volume, then smooth up to the crop's two ends, which stay in place. The tissue around it fills the gap by stretching. In
real atrophy fluid fills it, so this tests the response to size and not to disease.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.ndimage import map_coordinates


def maps(label: np.ndarray, fraction: float, offset: Sequence[float] = (0, 0, 0)) -> list[CubicHermiteSpline]:
    """Along each axis: voxel position in the warped volume -> position in the original one.

    Args:
        label: (X, Y, Z) label map.
        fraction: volume to lose, between 0 and 1.
        offset: voxels that the structure's centre moves. A random part of a voxel makes the rounding of faces to whole
            voxels cancel over cases; without one, faces that move by less than half a voxel all stay.

    Raises:
        ValueError: the structure is so close to a side of the crop that the warp would fold.
    """
    found, factor, where = [], (1 - fraction) ** (1 / 3), np.argwhere(label > 0)
    ends = where.min(axis=0) - 0.5, where.max(axis=0) + 0.5
    for low, high, moved, side in zip(*ends, offset, label.shape, strict=True):
        middle, old = (low + high) / 2, np.array([-0.5, low, high, side - 0.5])
        new = np.array([-0.5, *(middle + moved + factor * (old[1:3] - middle)), side - 0.5])
        slopes = np.diff(old) / np.diff(new)  # that of the middle part is 1 / factor
        one = CubicHermiteSpline(new, old, [slopes[0], slopes[1], slopes[1], slopes[2]])
        # Sufficient for a cubic to increase everywhere: Fritsch and Carlson 1980 (doi:10.1137/0717021).
        if (np.diff(new) <= 0).any() or slopes[1] >= np.sqrt(8) * min(slopes[0], slopes[2]):
            raise ValueError(f"the label is too close to a side of the crop to shrink by {fraction:.0%} without a fold")
        found.append(one)
    return found


def jacobian(along: Sequence[CubicHermiteSpline], shape: tuple[int, ...]) -> np.ndarray:
    """Original volume a voxel of the warped volume, (X, Y, Z); positive everywhere if nothing folds."""
    return reduce(np.multiply.outer, [one(np.arange(side), 1) for one, side in zip(along, shape, strict=True)])


def shrunk(
    image: np.ndarray, label: np.ndarray, fraction: float, offset: Sequence[float] = (0, 0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """Shrink the structure in an image and its label map, (X, Y, Z) each; fraction and offset as in `maps`.

    The image is interpolated with cubic splines, the label's classes linearly. A voxel is foreground if at least half
    of it is, and then of the class that fills most of it, as in `grid.rescale_label`. Raises ValueError, see `maps`.
    """
    if not fraction:
        return image, label
    along = zip(maps(label, fraction, offset), label.shape, strict=True)
    places = np.meshgrid(*[one(np.arange(side)) for one, side in along], indexing="ij")
    parts = [
        map_coordinates((label == value).astype(np.float32), places, order=1, mode="nearest")
        for value in range(1, int(label.max()) + 1)
    ]
    moved = map_coordinates(image.astype(np.float32), places, order=3, mode="nearest")
    return moved, np.where(np.sum(parts, axis=0) >= 0.5, 1 + np.argmax(parts, axis=0), 0).astype(np.uint8)
