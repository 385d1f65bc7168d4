"""The phantom's anatomy: a curved hippocampus with head and tail, and the tissue around it.

The shape is a bent tube with elliptical cross-sections, from tail (low axis 1) to head (high axis 1). Its course and
half-widths follow averages over the 260 real label maps; a second lobe stands for the uncus. The surroundings are
painted layer by layer: white matter below, cortex with nearly the hippocampus's intensity below that, the amygdala next
to the head, fluid above and beside. A threshold therefore selects all grey matter and cannot isolate the hippocampus.
"""

from dataclasses import dataclass

import numpy as np

# Relative position along axis 1, from tail to head, and at each of them the tube's centre and half-widths in voxels.
STATION = np.linspace(0.0, 1.0, 11)
CENTRE_X = np.array([3.6, 1.9, -0.8, -2.1, -2.9, -3.1, -2.2, -0.2, 1.2, 3.1, 5.0])
CENTRE_Z = np.array([9.4, 8.0, 5.0, 2.9, 1.3, 0.0, -1.4, -2.5, -3.7, -5.2, -6.4])
HALF_X = np.array([2.8, 6.1, 6.1, 6.3, 6.2, 6.3, 7.0, 7.8, 7.8, 6.8, 2.8])
HALF_Z = np.array([2.3, 4.2, 3.8, 3.6, 3.6, 3.8, 4.3, 5.0, 5.1, 4.4, 2.2])
# Height difference along the average centre line; a subject's own `rise` rescales it.
RISE = float(CENTRE_Z[0] - CENTRE_Z[-1])
CANVAS = (52, 70, 62)

TISSUES = ("white", "grey", "fluid", "hippocampus", "amygdala", "thalamus", "vessel")


@dataclass(frozen=True)
class Shape:
    """One hippocampus.

    Attributes:
        head_volume: voxels in front of `split`.
        tail_volume: voxels behind `split`.
        length: extent along axis 1 in voxels.
        rise: height difference of the centre line from head to tail in voxels.
        bend: factor on its sideways course.
        roll: rotation of the cross-sections in radians.
        split: border between head and tail, as relative position along axis 1.
        uncus: factor on the size of the medial lobe at the head.
    """

    head_volume: float
    tail_volume: float
    length: float
    rise: float
    bend: float
    roll: float
    split: float
    uncus: float


@dataclass(frozen=True)
class Tube:
    """A shape on the canvas. All arrays are float32 and broadcast to the canvas.

    Attributes:
        distance: signed distance to the true surface in voxels, negative inside.
        position: relative position along axis 1.
        across: offset from the local centre along axis 0 in voxels.
        up: offset from the local centre along axis 2 in voxels.
        half_x: local half-width along axis 0 in voxels.
        half_z: local half-width along axis 2 in voxels.
    """

    distance: np.ndarray
    position: np.ndarray
    across: np.ndarray
    up: np.ndarray
    half_x: np.ndarray
    half_z: np.ndarray

    def crop(self, box: tuple[slice, slice, slice]) -> "Tube":
        """Crop every array to a box of the canvas."""
        full = [np.broadcast_to(part, CANVAS)[box] for part in self.__dict__.values()]
        return Tube(*full)


def smooth_field(generator: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Draw a smooth random field (float32, mean 0, standard deviation 1) that varies over about `scale` voxels."""
    bases = []
    for size in shape:
        knots = np.arange(-2 * scale, size + 2 * scale, scale)
        basis = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / scale) ** 2)
        bases.append((basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32))
    field = generator.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    for basis in bases:
        # Each pass contracts the leading axis and appends the grown one, so three passes restore the order.
        # A plain sum, because the last digits of a BLAS product depend on the number of threads.
        field = sum(values[..., None] * weights for values, weights in zip(field, basis.T, strict=True))
    return field


def make_label(shape: Shape, generator: np.random.Generator, n_labels: int) -> tuple[np.ndarray, Tube]:
    """Draw a label map.

    Head and tail are widened until their volumes are those of `shape`. The label follows the surface less exactly than
    the tissue, as a manual outline does.

    Args:
        shape: the hippocampus.
        generator: source of the outline's irregularities.
        n_labels: number of parts along axis 1.

    Returns:
        The label map (canvas, uint8; 1 is the most anterior part), and the tube that it was drawn from.
    """
    ripple = 0.75 * smooth_field(generator, CANVAS, 5.0) + 0.3 * smooth_field(generator, CANVAS, 2.5)
    outline = 0.35 * smooth_field(generator, CANVAS, 1.6)
    head, tail = 0.95, 0.95
    for _ in range(4):
        tube = _tube(shape, head, tail, ripple)
        inside = tube.distance + outline < 0
        front = np.broadcast_to(tube.position >= shape.split, CANVAS)
        head *= float(np.sqrt(shape.head_volume / max(1, np.count_nonzero(inside & front))))
        tail *= float(np.sqrt(shape.tail_volume / max(1, np.count_nonzero(inside & ~front))))
    borders = [shape.split] if n_labels == 2 else list(np.linspace(0, 1, n_labels + 1)[1:-1])
    part = n_labels - np.digitize(tube.position, borders)
    return np.where(inside, part, 0).astype(np.uint8), tube


def _tube(shape: Shape, head: float, tail: float, ripple: np.ndarray) -> Tube:
    """Compute the tube on the canvas, widened by the factors `head` and `tail`."""
    x, y, z = (np.arange(size, dtype=np.float32) - (size - 1) / 2 for size in CANVAS)
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    position = y / shape.length + 0.5
    along = np.clip(position, 0, 1)
    blend = 1 / (1 + np.exp(-(along - shape.split) / 0.04))
    wide = tail + (head - tail) * blend
    centre_x = np.interp(along, STATION, CENTRE_X) * shape.bend
    centre_z = np.interp(along, STATION, CENTRE_Z) * shape.rise / RISE
    half_x = (np.interp(along, STATION, HALF_X) * wide).astype(np.float32)
    half_z = (np.interp(along, STATION, HALF_Z) * wide).astype(np.float32)
    across, up = (x - centre_x).astype(np.float32), (z - centre_z).astype(np.float32)
    cosine, sine = np.float32(np.cos(shape.roll)), np.float32(np.sin(shape.roll))
    distance = _ellipse(cosine * across + sine * up, cosine * up - sine * across, half_x, half_z)
    uncus = _ellipsoid(
        (across - 5.5 * head, (position - 0.80) * shape.length, up - 1.5),
        (5.0 * head * shape.uncus, 6.0 * shape.uncus, 4.2 * head * shape.uncus),
    )
    distance = np.minimum(distance, uncus) + ripple
    beyond = np.maximum(-position, position - 1) * shape.length
    return Tube(np.maximum(distance, beyond), position, across, up, half_x, half_z)


def _ellipse(u: np.ndarray, v: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Signed distance to an ellipse, to first order: exact at the ends of its axes."""
    radius = np.sqrt((u / a) ** 2 + (v / b) ** 2) + 1e-6
    slope = np.sqrt((u / a**2) ** 2 + (v / b**2) ** 2) + 1e-6
    return radius * (radius - 1) / slope


def _ellipsoid(offset: tuple[np.ndarray, ...], half: tuple[float, float, float]) -> np.ndarray:
    """Signed distance to an ellipsoid, to first order."""
    radius = np.sqrt(sum((part / size) ** 2 for part, size in zip(offset, half, strict=True))) + 1e-6
    slope = np.sqrt(sum((part / size**2) ** 2 for part, size in zip(offset, half, strict=True))) + 1e-6
    return radius * (radius - 1) / slope


def _soft(distance: np.ndarray, width: float = 0.4) -> np.ndarray:
    """1 inside, 0 outside, with a partial-volume edge about a voxel wide."""
    return 1 / (1 + np.exp(np.clip(distance / width, -30, 30)))


def paint(tube: Tube, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Compute the fraction of each tissue in every voxel of the tube's crop (float32; they sum to 1).

    Later layers cover earlier ones. Random fields place the folds of the cortex and the fluid.
    """
    across, up, position, outside = tube.across, tube.up, tube.position, tube.distance
    shape = outside.shape
    length = 1 / float(position[0, 1, 0] - position[0, 0, 0])
    fold, gather, wander = (smooth_field(generator, shape, scale) for scale in (3.2, 3.5, 5.0))
    a, b = tube.half_x, tube.half_z
    # Below the surface and to its side, along one curve, so that layers wrap around the hippocampus.
    below = _soft(up + 0.35 * b + 0.25 * across * (across < 0), 1.2)
    layers = [
        ("white", np.ones(shape, np.float32)),
        ("thalamus", _soft(5.0 - up - 0.4 * across + 2.0 * wander, 1.5)),
        ("grey", _soft(_ellipsoid((across + 9, (position - 0.25) * length, up - 14), (5, 18, 8)) + 1.5 * wander)),
        ("fluid", _soft(_ellipsoid((across + 7, (position - 0.20) * length, up - 17), (5, 16, 6)) + 1.5 * wander)),
        ("grey", _soft(up + b + 4.5 + 0.8 * wander, 0.8) * _soft(0.0 - fold, 0.15)),
        ("fluid", _soft(up + b + 5.5, 0.8) * _soft(0.95 - fold, 0.15)),
        ("thalamus", _soft(_ellipsoid((across - a - 12, (position - 0.45) * length, up + 4), (9, 15, 12)) + wander)),
        ("fluid", _soft(np.abs(across - a - 3.0 - 1.2 * wander) - 1.4 - 0.9 * gather) * _soft(np.abs(up + 3) - 9, 0.8)),
        ("fluid", _soft(np.abs(outside - 8.2 + 0.8 * wander) - 0.9 - 0.7 * fold) * below),
        ("grey", _soft(np.abs(outside - 5.0 + 0.6 * wander) - 1.8) * below * _soft(across - 0.8 * a, 0.8)),
        ("white", _soft(np.abs(outside - 1.5) - 1.6 + 0.4 * gather) * below * _soft(across - 0.6 * a, 0.8)),
        ("grey", _soft(_ellipsoid((across - 0.95 * a, 0 * up, up + 0.95 * b), (4.2, 1e3, 3.2)) + 0.7 * gather)),
        ("fluid", _soft(np.abs(outside - 0.7) - 0.7 - 0.6 * gather) * _soft(-up, 1.0) * _soft(across - 0.8 * a, 1.0)),
        ("grey", _soft(_ellipsoid((across - 7, (position + 0.06) * length, up + 2), (5.5, 5.5, 5)) + 0.8 * wander)),
        ("amygdala", _soft(_ellipsoid((across, (position - 0.92) * length, up - b - 4.5), (9, 9.5, 6.0)) + wander)),
        ("hippocampus", _soft(outside)),
        ("white", 0.35 * _soft(np.abs(outside + 2.0) - 0.4 - 0.4 * gather) * _soft(-up, 1.0)),
        ("vessel", _vessels(generator, shape, across - a - 2.5, up)),
    ]
    fractions = {name: np.zeros(shape, np.float32) for name in TISSUES}
    for name, cover in layers:
        for part in fractions.values():
            part *= 1 - cover
        fractions[name] += cover
    return fractions


def _vessels(generator: np.random.Generator, shape: tuple[int, ...], across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """A few bright voxels medial to the hippocampus, where the arteries run."""
    chance = 0.012 * _soft(np.abs(across) - 3, 0.6) * _soft(np.abs(up + 2) - 7, 0.6)
    return np.where(generator.random(shape, dtype=np.float32) < chance, 0.8, 0).astype(np.float32)
