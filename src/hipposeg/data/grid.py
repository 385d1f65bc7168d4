"""From a scan's own grid to a network's grid and back, without any label.

Intensities are scaled per volume (`zscore`), the volume is padded or cropped about its centre (`place`), and
`Placement.restore` brings a prediction back exactly. Scans with another voxel size are resampled first (`rescale`). The
last three axes of an array are space (X, Y, Z); any axes before them are kept.
"""

from dataclasses import dataclass

import numpy as np

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

# Headers keep spacings in single precision: 2.0000001 mm voxels must not add a voxel to the grid.
SLACK = 1e-3


def zscore(image: np.ndarray) -> np.ndarray:
    """Scale each channel of (C, X, Y, Z) to mean 0 and standard deviation 1 over the whole volume, float32.

    Sums run in float64, because stored intensities reach millions.

    Raises:
        ValueError: a channel is constant or not finite.
    """
    values = image.astype(np.float64)
    for channel, voxels in enumerate(values):
        # Not `std == 0`: rounding leaves a tiny spread in a constant image.
        if not voxels.min() < voxels.max() or not np.isfinite(voxels).all():
            raise ValueError(f"channel {channel} is constant or not finite; z-scoring needs a real image")
    mean = values.mean(axis=(1, 2, 3), keepdims=True)
    std = values.std(axis=(1, 2, 3), keepdims=True)
    return ((values - mean) / std).astype(np.float32)


def _check_space(shape: tuple[int, ...], expected: Triple, what: str) -> None:
    if len(shape) < 3 or tuple(shape[-3:]) != expected:
        raise ValueError(f"array has shape {tuple(shape)}; its last three axes must be {what} {expected}")


@dataclass(frozen=True)
class Placement:
    """A volume of shape `native` centred in a grid of shape `size`, both in voxels."""

    native: Triple
    size: Triple

    @property
    def offset(self) -> Triple:
        """Index in the grid of the volume's first voxel; negative along an axis that is cropped."""
        return tuple((size - native) // 2 for native, size in zip(self.native, self.size, strict=True))

    @property
    def cropped(self) -> bool:
        """Whether part of the volume lies outside the grid, so that `restore` cannot bring it back."""
        return any(size < native for native, size in zip(self.native, self.size, strict=True))

    @property
    def inside_native(self) -> tuple[slice, slice, slice]:
        """The part of the volume that is kept, as indices into it."""
        return tuple(slice(max(0, -o), min(n, s - o))
                     for o, n, s in zip(self.offset, self.native, self.size, strict=True))  # fmt: skip

    @property
    def inside_grid(self) -> tuple[slice, slice, slice]:
        """The kept part, as indices into the grid."""
        return tuple(slice(max(0, o), min(s, n + o))
                     for o, n, s in zip(self.offset, self.native, self.size, strict=True))  # fmt: skip

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Place (..., *native) into a new array (..., *size) of the same dtype, 0 around it."""
        _check_space(array.shape, self.native, "the native shape")
        out = np.zeros((*array.shape[:-3], *self.size), dtype=array.dtype)
        out[(..., *self.inside_grid)] = array[(..., *self.inside_native)]
        return out

    def restore(self, array: np.ndarray, fill: float = 0) -> np.ndarray:
        """Bring (..., *size) back to (..., *native): exact where the volume was kept, `fill` where it was cropped."""
        _check_space(array.shape, self.size, "the grid's size")
        out = np.full((*array.shape[:-3], *self.native), fill, dtype=array.dtype)
        out[(..., *self.inside_native)] = array[(..., *self.inside_grid)]
        return out


def place(array: np.ndarray, size: Triple) -> tuple[np.ndarray, Placement]:
    """Pad or crop the last three axes to `size` voxels about the centre.

    Where the difference is odd, the extra voxel is at the high end; after `zscore`, 0 is the mean intensity.
    Returns the new array (..., *size) and the Placement whose `restore` inverts it.
    """
    placement = Placement(tuple(int(n) for n in array.shape[-3:]), tuple(int(n) for n in size))
    return placement.apply(array), placement


def covering(native: Triple, spacing: Spacing, new_spacing: Spacing, like: Triple) -> Triple:
    """The smallest grid of new voxels that covers the native one, with sides as odd or even as those of `like`.

    Padding or cropping it to `like` then moves no centre, not even by half a voxel.
    """
    least = [int(np.ceil(n * s / t - SLACK)) for n, s, t in zip(native, spacing, new_spacing, strict=True)]
    return tuple(n + (n - side) % 2 for n, side in zip(least, like, strict=True))


def _weights(count: int, side: float, new_count: int, new_side: float) -> np.ndarray:
    """Weight of each old voxel in each new one along one axis: (new_count, count) float64; rows add up to 1."""
    old = (np.arange(count) - (count - 1) / 2) * side  # centres, in mm from the common centre
    new = (np.arange(new_count) - (new_count - 1) / 2) * new_side
    if new_side < side:
        inside = np.clip(new, old[0], old[-1])
        return np.maximum(0, 1 - np.abs(inside[:, None] - old) / side)
    ends = np.minimum(new[:, None] + new_side / 2, old + side / 2)
    starts = np.maximum(new[:, None] - new_side / 2, old - side / 2)
    shared = np.maximum(0, ends - starts)
    return shared / shared.sum(1, keepdims=True)


@dataclass(frozen=True)
class Resampling:
    """Two grids over one region with a common centre: `native` voxels of `spacing`, `size` of `new_spacing` (mm)."""

    native: Triple
    size: Triple
    spacing: Spacing
    new_spacing: Spacing

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Floats (..., *size) -> (..., *native), linearly interpolated; outermost voxels are repeated."""
        from scipy.ndimage import affine_transform

        _check_space(array.shape, self.size, "the new grid")
        ratio = np.divide(self.spacing, self.new_spacing)
        offset = (np.array(self.size) - 1) / 2 - ratio * (np.array(self.native) - 1) / 2
        flat = array.reshape(-1, *self.size)
        out = np.empty((len(flat), *self.native), dtype=array.dtype)
        for target, volume in zip(out, flat, strict=True):
            volume = volume.astype(np.float64)
            target[...] = affine_transform(volume, ratio, offset, self.native, order=1, mode="nearest")
        return out.reshape(*array.shape[:-3], *self.native)


def rescale(array: np.ndarray, spacing: Spacing, new_spacing: Spacing, like: Triple) -> tuple[np.ndarray, Resampling]:
    """Resample the last three axes about their centre: means over larger voxels, interpolation to smaller ones.

    A scanner's larger voxel holds the mean of the tissue in it; interpolation alone would alias. A new voxel that
    exceeds the old grid uses the part that it covers. One-hot labels become soft labels.

    Args:
        array: (..., X, Y, Z), any real dtype.
        spacing, new_spacing: mm along X, Y, Z.
        like: a grid whose sides are odd or even as the new ones shall be (`covering`).

    Returns:
        The new array, float32, and the Resampling whose `restore` leads back.
    """
    native = tuple(int(n) for n in array.shape[-3:])
    size = covering(native, spacing, new_spacing, like)
    found = array.astype(np.float64)
    for axis in range(3):
        factors = _weights(native[axis], spacing[axis], size[axis], new_spacing[axis])
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
    soft, how = rescale(np.stack([label == k for k in range(n_classes)]), spacing, new_spacing, like)
    filled = soft[1:].sum(0) >= 0.5 - 1e-6
    return np.where(filled, 1 + soft[1:].argmax(0), 0).astype(np.uint8), how
