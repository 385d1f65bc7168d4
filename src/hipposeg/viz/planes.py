"""Slices as arrays: which plane an axis gives, which slice to show, which greys, and the border of a mask.

Nothing here draws. A slice is indexed `[horizontal, vertical]`, in the layout of `PLANES`.
"""

from collections.abc import Sequence

import numpy as np

from hipposeg.data.spec import DatasetSpec

# For each axis that a slice is cut across: the axes drawn horizontally and vertically. The long axis 1 lies
# horizontally in two of the three planes, so that anterior is at the same side in both and rows stay low.
PLANES = {0: (1, 2), 1: (0, 2), 2: (1, 0)}


def plane_name(spec: DatasetSpec, axis: int) -> str:
    """One of "sagittal", "coronal", "axial": the slices across `axis`, from the letters at the ends of the axes."""
    known = {frozenset("PA"): "coronal", frozenset("IS"): "axial", frozenset("LR"): "sagittal"}
    names = [known.get(frozenset(letters)) for letters in spec.axes]
    # With two axes known the third follows, even where its direction does not.
    if names.count(None) == 1:
        names[names.index(None)] = next(iter(set(known.values()) - set(names)))
    return names[axis] or f"across axis {axis}"


def plane(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """One slice of `volume` (X, Y, Z) as (horizontal, vertical), in the layout of `PLANES`."""
    rest = [other for other in range(3) if other != axis]
    cut = np.take(volume, index, axis)
    return cut if tuple(rest) == PLANES[axis] else cut.T


def fullest(mask: np.ndarray | None, axis: int, shape: Sequence[int]) -> int:
    """The slice across `axis` with most foreground (the first such), or the middle one where there is none."""
    if mask is None or not mask.any():
        return shape[axis] // 2
    return int(np.argmax((mask > 0).sum(tuple(other for other in range(3) if other != axis))))


def grey_window(image: np.ndarray) -> tuple[float, float]:
    """The intensities drawn black and white: the 0.5th and 99.5th percentile; one bright vessel dims nothing."""
    low, high = np.percentile(image, (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def outline(mask: np.ndarray) -> np.ndarray:
    """The border of a boolean mask (H, V) along voxel edges: segments (n, 2, 2) in voxel units.

    Voxel edges, not a contour between voxel centres: what is drawn is exactly what is scored.
    """
    padded = np.pad(mask.astype(bool), 1)
    segments = []
    for axis in (0, 1):
        for h, v in np.argwhere(np.diff(padded, axis=axis)):
            # The edge between padded cells i and i + 1 lies at i - 0.5 in the unpadded frame.
            start = (h - 0.5, v - 1.5) if axis == 0 else (h - 1.5, v - 0.5)
            step = (0, 1) if axis == 0 else (1, 0)
            segments.append((start, (start[0] + step[0], start[1] + step[1])))
    return np.array(segments, dtype=float).reshape(-1, 2, 2)
