"""Crops around both hippocampi like those of the training set, cut from a whole head.

A crop's place and size change the predicted volumes, so they follow from the prediction itself: predict, cut the crop
anew around the mask with the margins of the training set, and repeat until it stays the same. All training crops are
left hippocampi, so right ones are mirrored.

A crop that cuts a hippocampus off shows a smaller one, around which the loop may stay. So it begins around all that is
found in crops a centimetre apart, and its end does not depend on the start, if that is within a centimetre.
"""

from collections.abc import Callable
from dataclasses import dataclass

import nibabel
import numpy as np
from scipy import ndimage

from hipposeg.data.spec import DataError
from hipposeg.experiments.registry import MODELS, SCANS
from hipposeg.predict.card import Boxes
from hipposeg.predict.registration import BOXES, Located, bounds, own_axes, resampled
from hipposeg.predict.scan import Scan

# Median voxels between hippocampus and crop in the training set, below and above it along each axis.
BELOW, ABOVE = np.array((6, 5, 5)), np.array((7, 6, 5))
MOST_STEPS = 10
# By how much the template's place may be wrong along an axis. At most 4.5 mm were measured.
APART_MM = 10
REACH_MM = (80, 75, 70)  # from between the hippocampi

# Of a user's own crop: voxels by which it may be smaller or larger than any in the training set, and its voxel size.
SIZE_MARGIN = 3
SPACING_TOLERANCE_MM = 0.02
# Largest rotation of crops in training, by augmentation. A head that is rotated further against the template's axes is
# taken along these; else its own axes are kept, which saves an interpolation.
ROTATED_DEGREES = MODELS[SCANS].training("standard").augmentation.rotate
WHOLE_HEAD = (
    "Give the whole head instead, if you have it. A looser, tighter or shifted crop than the training set's changes "
    "the volumes."
)

Predict = Callable[[np.ndarray], np.ndarray]  # crop (X, Y, Z) -> probabilities (K, X, Y, Z)


@dataclass(frozen=True)
class Region:
    """The middle of a head at 1 mm.

    Attributes:
        image: (X, Y, Z) float32.
        affine: (4, 4), its voxel index to mm.
    """

    image: np.ndarray
    affine: np.ndarray

    def cut(self, box: "Box") -> np.ndarray:
        """A crop as the networks take it; a right one is mirrored. Beyond the region the nearest voxel is repeated."""
        sides = list(zip(box.low, box.high, self.image.shape, strict=True))
        part = self.image[tuple(slice(max(0, low), min(high, side)) for low, high, side in sides)]
        part = np.pad(part, [(max(0, -low), max(0, high - side)) for low, high, side in sides], mode="edge")
        return np.ascontiguousarray(part[::-1] if box.mirrored else part)

    def grid_of(self, box: "Box") -> np.ndarray:
        """The affine of a crop, not mirrored."""
        grid = self.affine.copy()
        grid[:3, 3] += grid[:3, :3] @ box.low
        return grid


@dataclass(frozen=True)
class Box:
    """A crop of a region.

    Attributes:
        low: first voxel.
        high: the voxel after the last.
        mirrored: whether it is cut around a right hippocampus.
    """

    low: tuple[int, int, int]
    high: tuple[int, int, int]
    mirrored: bool

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(np.subtract(self.high, self.low).tolist())

    @property
    def centre(self) -> np.ndarray:
        """In voxels of the region."""
        return np.add(self.low, self.high) / 2

    @classmethod
    def around(cls, low: np.ndarray, high: np.ndarray, mirrored: bool) -> "Box":
        """The box with the margins of the training set around voxels from `low` to `high`, both included."""
        swap = np.array((mirrored, False, False))
        below, above = np.where(swap, ABOVE, BELOW), np.where(swap, BELOW, ABOVE)
        return cls(tuple((low - below).tolist()), tuple((high + 1 + above).tolist()), mirrored)


@dataclass(frozen=True)
class Settled:
    """Where the iteration ended. settled: at a fixed point, or in a cycle of two. moved: mm from the start's centre."""

    box: Box
    steps: int
    settled: bool
    moved: float


def region(image: np.ndarray, affine: np.ndarray, located: Located) -> Region:
    """Cut the middle of a head out at 1 mm, along the scan's own axes or, if the head is tilted, the template's.

    The grid passes through a voxel's centre, so a scan of 1 mm is not interpolated along its own axes.
    """
    own = own_axes(affine)
    cosine = (np.trace(own.T @ located.rotation) - 1) / 2
    turned = np.degrees(np.arccos(np.clip(cosine, -1, 1))) > ROTATED_DEGREES
    middle = located.affine @ (*np.mean([*BOXES["left"], *BOXES["right"]], axis=0), 1.0)
    voxel = np.rint(np.linalg.inv(affine) @ middle)[:3]
    grid = np.eye(4)
    grid[:3, :3] = located.rotation if turned else own
    grid[:3, 3] = affine[:3, :3] @ voxel + affine[:3, 3] - grid[:3, :3] @ REACH_MM
    size = tuple(2 * reach + 1 for reach in REACH_MM)
    part, corner = _part(image, np.linalg.inv(affine) @ grid, size)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ corner
    steps = np.linalg.inv(moved)[:3, :3] @ grid[:3, :3]
    order = 1 if np.allclose(steps, np.rint(steps), atol=1e-4) else 3
    return Region(resampled(part, moved, size, grid, order), grid)


def _part(image: np.ndarray, there: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that a grid covers, and its first voxel: filtering 40 million voxels takes seconds."""
    first, last = bounds(there, np.zeros(3), np.array(size) - 1)
    low = np.clip(np.floor(first).astype(int) - 8, 0, np.array(image.shape) - 1)
    high = np.clip(np.ceil(last).astype(int) + 9, 1, image.shape)
    return image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], low


def start(found: Region, located: Located, side: str) -> Box:
    """The crop where the template has this side's hippocampus."""
    low, high = np.array(BOXES[side], dtype=float)
    there = np.linalg.inv(found.affine) @ located.affine
    middle = there[:3, :3] @ (low + high) / 2 + there[:3, 3]
    # Axes differ by ROTATED_DEGREES at most, so the box stays one along them.
    half = np.diag(np.abs(there[:3, :3])) * (high - low) / 2
    return Box.around(*np.rint([middle - half, middle + half]).astype(int), side == "right")


def settle(found: Region, box: Box, predict: Predict, boxes: Boxes, apart: int = 0) -> Settled:
    """Move the crop until predicting in it leaves it where it is.

    Args:
        found: the head.
        box: the first crop.
        predict: one network, to be fast.
        boxes: limits of the crop's size.
        apart: mm along each axis between further first crops and this one; 0 for none.
    """
    begun, visited = box.centre, {}
    if apart:
        box = _around_all(found, box, predict, boxes, apart)
    for step in range(MOST_STEPS):
        if box in visited:  # a cycle, mostly of two crops one voxel apart: the largest of it
            cycle = list(visited)[visited[box] :]
            box = max(cycle, key=lambda one: (np.prod(one.size), one.low))
            return Settled(box, step, len(cycle) == 2, float(np.abs(box.centre - begun).max()))
        visited[box] = step
        where = _voxels(found, box, predict)
        if not len(where):
            return Settled(box, step + 1, False, float("inf"))
        moved = _limited(Box.around(where.min(axis=0), where.max(axis=0), box.mirrored), boxes)
        if moved == box:
            return Settled(box, step + 1, True, float(np.abs(box.centre - begun).max()))
        box = moved
    return Settled(box, MOST_STEPS, False, float(np.abs(box.centre - begun).max()))


def _voxels(found: Region, box: Box, predict: Predict) -> np.ndarray:
    """Voxels (n, 3) of the region in the largest piece that is found in a crop; none in one outside of the region."""
    if (np.array(box.high) <= 0).any() or (np.array(box.low) >= found.image.shape).any():
        return np.empty((0, 3), dtype=int)
    mask = largest_piece(predict(found.cut(box)).argmax(axis=0))
    return np.argwhere(mask[::-1] if box.mirrored else mask) + box.low


def _around_all(found: Region, box: Box, predict: Predict, boxes: Boxes, apart: int) -> Box:
    """The box around the largest piece of all that is found in a crop and those beside it."""
    shifts = apart * np.array([(0, 0, 0), *np.eye(3, dtype=int), *-np.eye(3, dtype=int)])
    crops = [Box(tuple((box.low + by).tolist()), tuple((box.high + by).tolist()), box.mirrored) for by in shifts]
    voxels = np.concatenate([_voxels(found, one, predict) for one in crops])
    if not len(voxels):
        return box
    low = voxels.min(axis=0)
    mask = np.zeros(np.ptp(voxels, axis=0) + 1, dtype=bool)
    mask[tuple((voxels - low).T)] = True
    where = np.argwhere(largest_piece(mask)) + low
    return _limited(Box.around(where.min(axis=0), where.max(axis=0), box.mirrored), boxes)


def _limited(box: Box, boxes: Boxes) -> Box:
    """A box no smaller and no larger than training crops, about the same centre."""
    size = np.clip(box.size, boxes.smallest, boxes.largest)
    low = np.add(box.low, np.subtract(box.size, size) // 2)
    return Box(tuple(low.tolist()), tuple((low + size).tolist()), box.mirrored)


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """A label map without all but its largest connected foreground."""
    pieces, count = ndimage.label(mask > 0, np.ones((3, 3, 3)))
    return mask if count < 2 else np.where(pieces == np.bincount(pieces[pieces > 0]).argmax(), mask, 0)


def back(probabilities: np.ndarray, grid: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A crop's most probable classes on the scan's own grid, (X, Y, Z) uint8.

    probabilities, (K, X, Y, Z), and grid, (4, 4), are the crop's, not mirrored; affine and shape the scan's.
    """
    there = np.linalg.inv(grid) @ affine
    first, last = bounds(np.linalg.inv(there), np.full(3, -1), np.array(probabilities.shape[1:]))
    low = np.clip(np.floor(first).astype(int), 0, shape)
    high = np.clip(np.ceil(last).astype(int) + 1, 0, shape)
    mask = np.zeros(shape, dtype=np.uint8)
    if (high <= low).any():
        return mask
    offset = there[:3, :3] @ low + there[:3, 3]
    classes = [
        ndimage.affine_transform(one, there[:3, :3], offset, tuple((high - low).tolist()), np.float32, order=1)
        for one in np.ascontiguousarray(probabilities[1:])
    ]
    found = np.stack([1 - np.sum(classes, axis=0), *classes]).argmax(axis=0)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = found
    return mask


def check(scan: Scan, boxes: Boxes) -> None:
    """Raise DataError unless voxels, axes, rotation and size of a crop are like those of the training set."""
    if not np.allclose(scan.spacing, boxes.spacing, atol=SPACING_TOLERANCE_MM, rtol=0):
        raise DataError(
            f"{scan.path}: found a crop with voxels of {_by(scan.spacing)} mm, expected {_by(boxes.spacing)} mm "
            f"within {SPACING_TOLERANCE_MM:g}. {WHOLE_HEAD}"
        )
    codes = "".join(nibabel.aff2axcodes(scan.affine))
    if codes != boxes.axes:
        raise DataError(
            f"{scan.path}: found a crop with axes {codes}, expected {boxes.axes} (right, front, top), as in "
            f"training. Reorient it, for instance with nibabel's as_closest_canonical. {WHOLE_HEAD}"
        )
    degrees = np.degrees(np.arccos(np.abs(own_axes(scan.affine)).max(axis=0).clip(max=1))).max()
    if degrees > ROTATED_DEGREES + 0.1:  # headers hold float32, and quaternions lose a little more
        raise DataError(
            f"{scan.path}: found a crop rotated by {degrees:.1f} degrees, expected {ROTATED_DEGREES:g} at most, as in "
            f"training. {WHOLE_HEAD}"
        )
    low, high = np.subtract(boxes.smallest, SIZE_MARGIN), np.add(boxes.largest, SIZE_MARGIN)
    if (scan.image.shape < low).any() or (scan.image.shape > high).any():
        raise DataError(
            f"{scan.path}: found {_by(scan.image.shape)} voxels, expected a whole head or a crop of {_by(low)} to "
            f"{_by(high)} around one hippocampus. {WHOLE_HEAD}"
        )


def _by(sizes: object) -> str:
    """ "31 x 40 x 24"."""
    return " x ".join(f"{size:g}" for size in np.asarray(sizes).tolist())
