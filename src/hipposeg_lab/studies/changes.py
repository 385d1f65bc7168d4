"""Changes of an image before prediction, and their inverse for the prediction, back to the grid of the labels.

Changes of the crop: voxels cut from one side, or added to one side by reflection. The published crops have nearly
constant margins, so a network may have learned where in a crop a hippocampus lies. Changes of the image: effects of
scanners and files. Each change has a severity; random ones depend on case and severity alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import rotate

from hipposeg.data.grid import rescale
from hipposeg.data.phantom import smooth_field
from hipposeg.data.read import Case
from hipposeg.data.spec import DatasetSpec

# Severities: first within the ranges of the training augmentation, then beyond.
BOX_VOXELS = (1, 2, 3)
DEGREES = (5.0, 10.0, 20.0, 30.0)
NOISE = (0.1, 0.2, 0.4, 0.8)
BIAS = (0.1, 0.2, 0.4, 0.8)
COARSE = (1.5, 2.0, 3.0)
FACTORS = (0.001, 1000.0)
# Correlation length of the bias field in voxels: about half a crop.
BIAS_SCALE = 20.0

Array = np.ndarray
Step = Callable[[Array], Array]


@dataclass(frozen=True)
class Change:
    """One change."""

    names: tuple[str, ...]  # the curves that it is a point of
    severity: float
    unit: str  # of the severity
    apply: Step  # image (C, X, Y, Z) float32 -> the network's input (C, X', Y', Z')
    undo: Step = lambda found: found  # class probabilities (K, X', Y', Z') -> (K, X, Y, Z) on the image's own grid


def of_box(case: Case, spec: DatasetSpec) -> list[Change]:
    """Every side cut, and every side padded, by 1 to 3 voxels; a cut ends where it would reach the label."""
    found = []
    for axis in range(3):
        for end, fallback in enumerate(("low", "high")):
            side = spec.axes[axis][end] or f"axis {axis} {fallback}"
            room = margin(case.label, axis, end)
            for voxels in BOX_VOXELS:
                found.append(Change(("cut", f"cut {side}"), voxels, "voxels", *cut(axis, end, min(voxels, room))))
                found.append(Change(("padded", f"padded {side}"), voxels, "voxels", *padding(axis, end, voxels)))
    return found


def margin(label: Array, axis: int, end: int) -> int:
    """Voxels of background between a label map (X, Y, Z) and one side of its crop; end: 0 low, 1 high."""
    found = np.flatnonzero((label > 0).any(axis=tuple({0, 1, 2} - {axis})))
    return int(found[0] if end == 0 else label.shape[axis] - 1 - found[-1])


def padding(axis: int, end: int, voxels: int, mode: str = "reflect") -> tuple[Step, Step]:
    """Functions that add voxels at one side, by default by reflection, and remove them."""
    width = [(0, 0)] * 4
    width[axis + 1] = (voxels, 0) if end == 0 else (0, voxels)
    keep = [slice(low, -high or None) for low, high in width]
    return lambda image: np.pad(image, width, mode=mode), lambda found: found[tuple(keep)]


def cut(axis: int, end: int, voxels: int) -> tuple[Step, Step]:
    """Functions that remove voxels at one side, and fill them with background."""
    add, remove = padding(axis, end, voxels, "constant")
    return remove, lambda found: _with_background(add(found))


def _with_background(found: Array) -> Array:
    """Class probabilities whose background is what the other classes leave."""
    found[0] = 1 - found[1:].sum(0)
    return found


def of_image(case: Case, spec: DatasetSpec) -> list[Change]:
    """Rotation, noise, bias field, lower resolution, rescaled intensities, and mirrored axes."""
    found = rotations(case, spec)
    found += [Change(("noise",), sd, "SD of the image", _noisy(case.number, sd)) for sd in NOISE]
    found += [Change(("bias field",), sd, "SD of the log", _biased(case.number, sd)) for sd in BIAS]
    found += [Change(("resolution",), mm, "mm", _coarse(case, mm)) for mm in COARSE]
    found += [Change(("rescaled",), factor, "factor", _rescaled(factor)) for factor in FACTORS]
    for axis in range(3):
        between = "-".join(end or f"axis {axis}" for end in dict.fromkeys(spec.axes[axis]))
        found.append(Change((f"mirrored {between}",), 1.0, "times", *[_mirrored(axis)] * 2))
    return found


def rotations(case: Case, spec: DatasetSpec) -> list[Change]:
    """Rotations about each axis, in opposite directions for odd and even case numbers."""
    sign = 1 if case.number % 2 else -1
    return [
        Change(("rotation",), angle, "degrees", *turned(axis, sign * angle)) for angle in DEGREES for axis in (0, 1, 2)
    ]


def turned(axis: int, degrees: float) -> tuple[Step, Step]:
    """Functions that rotate about an axis through the crop's centre, with reflection beyond the crop, and rotate back.

    Interpolation is linear; voxels without a prediction are background.
    """
    plane = sorted({0, 1, 2} - {axis})

    def moved(volume: Array, angle: float, mode: str) -> Array:
        return np.stack([rotate(part, angle, plane, reshape=False, order=1, mode=mode) for part in volume])

    return (
        lambda image: moved(image, degrees, "reflect"),
        lambda found: _with_background(moved(found, -degrees, "constant")),
    )


def _noisy(case: int, sd: float) -> Step:
    def apply(image: Array) -> Array:
        drawn = np.random.default_rng([case, round(1000 * sd), 1]).standard_normal(image.shape, dtype=np.float32)
        return image + sd * image.std(axis=(1, 2, 3), dtype=np.float64, keepdims=True).astype(np.float32) * drawn

    return apply


def _biased(case: int, sd: float) -> Step:
    def apply(image: Array) -> Array:
        field = smooth_field(np.random.default_rng([case, round(1000 * sd), 2]), image.shape[1:], BIAS_SCALE)
        return image * np.exp(sd * (field - field.mean()) / field.std())

    return apply


def _coarse(case: Case, mm: float) -> Step:
    def apply(image: Array) -> Array:
        fewer, how = rescale(image, tuple(case.spacing), (mm,) * 3, image.shape[1:])
        return how.restore(fewer)

    return apply


def _rescaled(factor: float) -> Step:
    """Another unit and another zero, as in another export of the scan."""
    return lambda image: (factor * (image.astype(np.float64) + image.max())).astype(np.float32)


def _mirrored(axis: int) -> Step:
    return lambda volume: np.ascontiguousarray(np.flip(volume, axis + 1))
