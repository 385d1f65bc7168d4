"""From a scan's own grid to a network's grid and back without loss, without any label.

Intensities are scaled per volume (`zscore`), the volume is padded or cropped about its centre (`place`), and
`Placement.restore` is the exact inverse that brings a prediction back to the native grid. Scans with another voxel size
are resampled first (`data.rescale`). Arrays may have any number of leading axes; the last three are space (X, Y, Z).
"""

from dataclasses import dataclass

import numpy as np

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]


def zscore(image: np.ndarray) -> np.ndarray:
    """Scale each channel to mean 0 and standard deviation 1 over the whole volume.

    Args:
        image: (C, X, Y, Z), any real dtype.

    Returns:
        (C, X, Y, Z) float32. Sums run in float64, because stored intensities reach millions.

    Raises:
        ValueError: a channel is constant or not finite.
    """
    if image.ndim != 4:
        raise ValueError(f"image has shape {image.shape}; expected (channels, X, Y, Z)")
    values = image.astype(np.float64)
    for channel, voxels in enumerate(values):
        # Not `std == 0`: rounding leaves a tiny spread in a constant image.
        constant = voxels.min() == voxels.max()
        if constant or not np.isfinite(voxels).all():
            found = "the same value in every voxel" if constant else "values that are not finite"
            raise ValueError(f"channel {channel} holds {found}; z-scoring needs a real image: check the file")
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
        """True if part of the volume does not fit into the grid."""
        return any(native > size for native, size in zip(self.native, self.size, strict=True))

    @property
    def inside_native(self) -> tuple[slice, slice, slice]:
        """The kept part, as indices into the volume."""
        return tuple(slice(max(0, -o), min(n, s - o))
                     for o, n, s in zip(self.offset, self.native, self.size, strict=True))  # fmt: skip

    @property
    def inside_grid(self) -> tuple[slice, slice, slice]:
        """The kept part, as indices into the grid."""
        return tuple(slice(max(0, o), min(s, n + o))
                     for o, n, s in zip(self.offset, self.native, self.size, strict=True))  # fmt: skip

    def apply(self, array: np.ndarray, fill: float = 0) -> np.ndarray:
        """Place (..., *native) into a new array (..., *size) of the same dtype, `fill` around it."""
        _check_space(array.shape, self.native, "the native shape")
        out = np.full((*array.shape[:-3], *self.size), fill, dtype=array.dtype)
        out[(..., *self.inside_grid)] = array[(..., *self.inside_native)]
        return out

    def restore(self, array: np.ndarray, fill: float = 0) -> np.ndarray:
        """Bring (..., *size) back to (..., *native): exact where the box was kept, `fill` where it was cropped."""
        _check_space(array.shape, self.size, "the grid's size")
        out = np.full((*array.shape[:-3], *self.native), fill, dtype=array.dtype)
        out[(..., *self.inside_native)] = array[(..., *self.inside_grid)]
        return out


def place(array: np.ndarray, size: Triple, fill: float = 0) -> tuple[np.ndarray, Placement]:
    """Pad or crop the last three axes to `size` voxels about the centre.

    Where the difference is odd, the extra voxel is at the high end. After `zscore` a fill of 0 is the mean intensity.

    Returns:
        The new array (..., *size) of the same dtype, and the Placement whose `restore` inverts it.
    """
    size = tuple(int(n) for n in size)
    if array.ndim < 3 or len(size) != 3 or min(size) < 1:
        raise ValueError(f"cannot place shape {array.shape} in {size}; expected (..., X, Y, Z) and three sizes >= 1")
    placement = Placement(tuple(int(n) for n in array.shape[-3:]), size)
    return placement.apply(array, fill), placement


def slices(array: np.ndarray, axis: int) -> np.ndarray:
    """Move spatial axis `axis` (0, 1 or 2) of (..., X, Y, Z) to the front: a stack of 2D slices, as a view.

    (X, Y, Z) with axis 1 gives (Y, X, Z); (C, X, Y, Z) with axis 1 gives (Y, C, X, Z).
    """
    if axis not in (0, 1, 2) or array.ndim < 3:
        raise ValueError(f"axis is {axis} for shape {array.shape}; expected axis 0, 1 or 2 of (..., X, Y, Z)")
    return np.moveaxis(array, axis - 3, 0)
