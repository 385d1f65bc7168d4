"""From a scan's own grid to the one a network takes, and back without loss.

Nothing here reads a label: the same steps work on a scan that nobody has segmented. Intensities are scaled per box
(`zscore`), the box is padded or cropped about its centre (`place`), and `Placement.restore` is the exact inverse that
brings a prediction back to the native grid, whose header is then the file's own. `resample` is for scans whose voxels
have another size. Arrays may carry any number of leading axes; the last three are space (X, Y, Z).
"""

from dataclasses import dataclass

import numpy as np

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
ORDERS = {"nearest": 0, "linear": 1}


def zscore(image: np.ndarray) -> np.ndarray:
    """Scale each channel to mean 0 and standard deviation 1 over the whole box.

    image: (C, X, Y, Z), any real dtype. Returns float32 (C, X, Y, Z). Sums run in float64, because stored intensities
    reach millions. Raises ValueError if a channel is constant or holds a value that is not finite.
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
    """How a box of shape `native` lies, centred, in a grid of shape `size` (both in voxels)."""

    native: Triple
    size: Triple

    @property
    def offset(self) -> Triple:
        """Index in the grid of the box's first voxel; negative along an axis that is cropped."""
        return tuple((size - native) // 2 for native, size in zip(self.native, self.size, strict=True))

    @property
    def cropped(self) -> bool:
        """True if some of the box does not fit into the grid."""
        return any(native > size for native, size in zip(self.native, self.size, strict=True))

    @property
    def inside_native(self) -> tuple[slice, slice, slice]:
        """The kept part, as indices into the box."""
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
    """Pad and/or crop the last three axes to `size` voxels about the centre; no label is read.

    Returns the new array (..., *size), same dtype, and the Placement whose `restore` undoes it. After `zscore` a fill
    of 0 is the box's mean intensity. Where the difference is odd, the extra voxel goes to the high end.
    """
    size = tuple(int(n) for n in size)
    if array.ndim < 3 or len(size) != 3 or min(size) < 1:
        raise ValueError(f"cannot place shape {array.shape} in {size}; expected (..., X, Y, Z) and three sizes >= 1")
    placement = Placement(tuple(int(n) for n in array.shape[-3:]), size)
    return placement.apply(array, fill), placement


@dataclass(frozen=True)
class Resampling:
    """Two grids over the same region that share their centre: `native` voxels of `spacing`, `size` of `new_spacing`.

    Sharing the centre (not the first voxel) keeps the region covered equally on both sides when sizes are rounded.
    """

    native: Triple
    size: Triple
    spacing: Spacing
    new_spacing: Spacing

    def apply(self, array: np.ndarray, order: str = "linear") -> np.ndarray:
        """(..., *native) -> (..., *size)."""
        _check_space(array.shape, self.native, "the native shape")
        return _interpolate(array, self.size, np.divide(self.new_spacing, self.spacing), order)

    def restore(self, array: np.ndarray, order: str = "linear") -> np.ndarray:
        """(..., *size) -> (..., *native), on exactly the native grid; values are interpolated, so not exact."""
        _check_space(array.shape, self.size, "the resampled size")
        return _interpolate(array, self.native, np.divide(self.spacing, self.new_spacing), order)

    def affine(self, native: np.ndarray) -> np.ndarray:
        """The resampled grid's affine, float64 (4, 4) in mm, given the native one."""
        ratio = np.divide(self.new_spacing, self.spacing)
        step = np.diag([*ratio, 1.0])
        step[:3, 3] = (np.array(self.native) - 1) / 2 - ratio * (np.array(self.size) - 1) / 2
        return np.asarray(native, dtype=np.float64) @ step


def _interpolate(array: np.ndarray, shape: Triple, ratio: np.ndarray, order: str) -> np.ndarray:
    from scipy.ndimage import affine_transform

    if order not in ORDERS:
        raise ValueError(f"order is {order!r}; choose one of {', '.join(ORDERS)} (labels: nearest)")
    old = np.array(array.shape[-3:])
    offset = (old - 1) / 2 - ratio * (np.array(shape) - 1) / 2
    integer = array.dtype.kind in "biu"
    flat = array.reshape(-1, *old)
    out = np.empty((len(flat), *shape), dtype=array.dtype)
    for target, volume in zip(out, flat, strict=True):
        # float64 inside; mode="nearest" repeats the edge, so that no voxel is invented from zeros outside the box.
        moved = affine_transform(volume.astype(np.float64), ratio, offset, shape, order=ORDERS[order], mode="nearest")
        target[...] = np.rint(moved) if integer else moved
    return out.reshape(*array.shape[:-3], *shape)


def resample(array: np.ndarray, spacing: Spacing, new_spacing: Spacing,
             order: str = "linear") -> tuple[np.ndarray, Resampling]:  # fmt: skip
    """Bring the last three axes from voxels of `spacing` to voxels of `new_spacing` (mm); dtype stays.

    order: "linear" for images, "nearest" for labels. Returns the new array and the Resampling that leads back to the
    native grid and gives the new affine. Linear interpolation does not smooth first: to much coarser voxels
    (more than about twice the size) smooth the image beforehand. Raises ValueError if a spacing is not positive.
    """
    spacing, new_spacing = tuple(map(float, spacing)), tuple(map(float, new_spacing))
    if array.ndim < 3 or len(spacing) != 3 or len(new_spacing) != 3 or not min(*spacing, *new_spacing) > 0:
        raise ValueError(f"cannot resample shape {array.shape} from {spacing} to {new_spacing} mm; expected "
                         "(..., X, Y, Z) and two triples of positive millimetres")  # fmt: skip
    native = tuple(int(n) for n in array.shape[-3:])
    size = tuple(max(1, round(n * s / t)) for n, s, t in zip(native, spacing, new_spacing, strict=True))
    how = Resampling(native, size, spacing, new_spacing)
    return how.apply(array, order), how


def slices(array: np.ndarray, axis: int) -> np.ndarray:
    """Move spatial axis `axis` (0, 1 or 2) of (..., X, Y, Z) to the front: a stack of 2D slices, as a view.

    (X, Y, Z) with axis 1 gives (Y, X, Z); (C, X, Y, Z) with axis 1 gives (Y, C, X, Z).
    """
    if axis not in (0, 1, 2) or array.ndim < 3:
        raise ValueError(f"axis is {axis} for shape {array.shape}; expected axis 0, 1 or 2 of (..., X, Y, Z)")
    return np.moveaxis(array, axis - 3, 0)
