"""Resampling about a common centre: means over larger voxels, linear interpolation to smaller ones.

A scanner's larger voxel holds the mean of the tissue in it. Interpolation alone would use the nearest eight old voxels
and alias. The mean needs no width to choose, suits images and soft labels alike, is exact for a ramp, and never leaves
the range of the old values.
"""

from dataclasses import dataclass

import numpy as np

from hipposeg.data.grid import Spacing, Triple

# Headers keep spacings in single precision: 2.0000001 mm voxels must not ask for one voxel more.
SLACK = 1e-3


def covering(native: Triple, spacing: Spacing, new_spacing: Spacing, like: Triple) -> Triple:
    """The smallest grid of new voxels that covers the native one, with sides as odd or even as those of `like`.

    Padding or cropping it to `like` then moves no centre, not even by half a voxel (`grid.place`).
    """
    least = [int(np.ceil(n * s / t - SLACK)) for n, s, t in zip(native, spacing, new_spacing, strict=True)]
    return tuple(n + (n - side) % 2 for n, side in zip(least, like, strict=True))


def weights(count: int, side: float, new_count: int, new_side: float) -> np.ndarray:
    """Weight of each old voxel in each new one along one axis: (new_count, count) float64; rows add up to 1.

    A new voxel that exceeds the old grid uses the part that it covers.

    Args:
        count: number of old voxels.
        side: their size in mm.
        new_count: number of new voxels.
        new_side: their size in mm.

    Raises:
        ValueError: a new voxel lies outside the old grid.
    """
    old = (np.arange(count) - (count - 1) / 2) * side  # centres, in mm from the common centre
    new = (np.arange(new_count) - (new_count - 1) / 2) * new_side
    if new_side < side:
        inside = np.clip(new, old[0], old[-1])
        return np.maximum(0, 1 - np.abs(inside[:, None] - old) / side)
    ends = np.minimum(new[:, None] + new_side / 2, old + side / 2)
    starts = np.maximum(new[:, None] - new_side / 2, old - side / 2)
    shared = np.maximum(0, ends - starts)
    total = shared.sum(1, keepdims=True)
    if not (total > 0).all():
        raise ValueError(f"{new_count} voxels of {new_side} mm reach beyond {count} of {side} mm; ask for fewer")
    return shared / total


@dataclass(frozen=True)
class Resampling:
    """Two grids over one region with a common centre: `native` voxels of `spacing`, `size` of `new_spacing` (mm)."""

    native: Triple
    size: Triple
    spacing: Spacing
    new_spacing: Spacing

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Floats (..., *size) -> (..., *native), linearly interpolated; outermost voxels are repeated.

        Raises:
            ValueError: the last three axes are not `size`.
        """
        from scipy.ndimage import affine_transform

        if tuple(array.shape[-3:]) != self.size:
            raise ValueError(f"array has shape {array.shape}; its last three axes must be the new grid {self.size}")
        ratio = np.divide(self.spacing, self.new_spacing)
        offset = (np.array(self.size) - 1) / 2 - ratio * (np.array(self.native) - 1) / 2
        flat = array.reshape(-1, *self.size)
        out = np.empty((len(flat), *self.native), dtype=array.dtype)
        for target, volume in zip(out, flat, strict=True):
            volume = volume.astype(np.float64)
            target[...] = affine_transform(volume, ratio, offset, self.native, order=1, mode="nearest")
        return out.reshape(*array.shape[:-3], *self.native)


def rescale(array: np.ndarray, spacing: Spacing, new_spacing: Spacing, like: Triple) -> tuple[np.ndarray, Resampling]:
    """Resample the last three axes from voxels of `spacing` to voxels of `new_spacing`.

    Args:
        array: (..., X, Y, Z), any real dtype; one-hot labels become soft labels.
        spacing: mm along X, Y, Z.
        new_spacing: mm along X, Y, Z.
        like: a grid whose sides are odd or even as the new ones shall be (`covering`).

    Returns:
        The new array, float32, and the Resampling whose `restore` leads back.
    """
    native = tuple(int(n) for n in array.shape[-3:])
    size = covering(native, spacing, new_spacing, like)
    found = array.astype(np.float64)
    for axis in range(3):
        factors = weights(native[axis], spacing[axis], size[axis], new_spacing[axis])
        # einsum, not a matrix product: its sums do not depend on the number of threads.
        moved = np.einsum("ij,...j->...i", factors, np.moveaxis(found, axis - 3, -1))
        found = np.moveaxis(moved, -1, axis - 3)
    how = Resampling(native, size, tuple(map(float, spacing)), tuple(map(float, new_spacing)))
    return np.ascontiguousarray(found, dtype=np.float32), how


def rescale_label(
    label: np.ndarray, spacing: Spacing, new_spacing: Spacing, like: Triple, n_classes: int
) -> tuple[np.ndarray, Resampling]:
    """Resample a label map (X, Y, Z) to larger voxels, uint8.

    A voxel is foreground if at least half of it is, and then of the class that fills most of it (the lower at a tie).
    The largest of all fractions would give half-filled voxels to the background and shrink thin structures. Arguments
    as of `rescale`; n_classes counts the background.
    """
    shares, how = rescale(np.stack([label == k for k in range(n_classes)]), spacing, new_spacing, like)
    filled = shares[1:].sum(0) >= 0.5 - 1e-6
    return np.where(filled, 1 + shares[1:].argmax(0), 0).astype(np.uint8), how
