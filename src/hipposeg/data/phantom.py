"""A synthetic data set in MSD's folder layout, for machines without the data, for smoke runs and for tests.

Each case is a bent tube with two parts in noisy surroundings of the same intensity. Sizes, file types and the pairing
of cases are as in the real data; scores have no clinical meaning. Bytes depend on the parameters alone.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.data.spec import PHANTOM_SPEC, DatasetSpec
from hipposeg.files import read_json, write_bytes, write_json

# Raise it when the same parameters give other volumes; existing phantoms are then generated again.
GENERATOR_VERSION = 4

CANVAS = (48, 64, 48)
# Correlation between the two sides of one subject.
SIBLING = 0.95
# Mean and standard deviation of the voxels between label and crop, at either end of each axis.
MARGIN = ((6.6, 1.5), (5.6, 0.9), (5.1, 0.8))
BYTE_SHARE = 0.21
# Intensities of white matter, grey matter, fluid and hippocampus: T1-weighted; further channels are T2-weighted.
CONTRAST = ((0.95, 0.50, 0.12, 0.50), (0.35, 0.60, 1.40, 0.60))


def parameters(spec: DatasetSpec, n_subjects: int, seed: int) -> dict[str, Any]:
    """Everything that determines a phantom's contents, as its dataset.json records it."""
    classes, channels = list(spec.names), list(spec.channels)
    return {"version": GENERATOR_VERSION, "subjects": n_subjects, "seed": seed, "labels": classes, "channels": channels}


def is_current(folder: Path, spec: DatasetSpec, n_subjects: int, seed: int) -> bool:
    """Whether `folder` holds a complete phantom that was made with these parameters."""
    try:
        return read_json(folder / "dataset.json")["phantom"] == parameters(spec, n_subjects, seed)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def generate(folder: Path, spec: DatasetSpec = PHANTOM_SPEC, n_subjects: int = 20, seed: int = 0) -> list[int]:
    """Write a phantom in MSD's layout.

    Half of the subjects, drawn at random, have both hippocampi labelled (cases 2s - 1 and 2s), the others one. Classes
    and channels may be any. dataset.json is written last and marks the phantom as complete. Returns the case numbers.
    """
    order = np.random.default_rng(seed).permutation(n_subjects) + 1
    both = set(order[: (n_subjects + 1) // 2].tolist())
    cases = []
    for subject in range(1, n_subjects + 1):
        shared = np.random.default_rng([seed, subject])
        scanner = _scanner(shared)
        traits = shared.standard_normal(6)
        chosen = int(shared.integers(2))
        for side in (0, 1):
            if subject in both or side == chosen:
                case = 2 * subject - 1 + side
                _write_case(folder, spec, case, traits, scanner, np.random.default_rng([seed, subject, side + 1]))
                cases.append(case)
    names = [spec.file_name(case) for case in cases]
    listing = {
        "name": spec.title,
        "description": "Synthetic shapes for tests and for machines without the data; no patients",
        "modality": {str(index): name for index, name in enumerate(spec.channels)},
        "labels": {"0": "background", **{str(label.value): label.name.capitalize() for label in spec.labels}},
        "numTraining": len(names),
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "phantom": parameters(spec, n_subjects, seed),
    }
    write_json(folder / "dataset.json", listing)
    return cases


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


def _scanner(generator: np.random.Generator) -> dict[str, float]:
    """Draw storage and quality of a subject's scan, shared by both sides as in the real data."""
    scale = float(np.clip(np.exp(generator.normal(7.6, 2.6)), 150.0, 0.9e6))
    return {
        "byte": float(generator.random() < BYTE_SHARE),
        "scale": scale,
        "step": scale / generator.uniform(150, 600),
        "noise": generator.uniform(0.025, 0.055),
        "bias": generator.uniform(0.03, 0.12),
    }


def _write_case(
    folder: Path, spec: DatasetSpec, case: int, traits: np.ndarray, scanner: dict[str, float], side: np.random.Generator
) -> None:
    own = np.sqrt(SIBLING) * traits + np.sqrt(1 - SIBLING) * side.standard_normal(traits.size)
    distance, part = _tube(own, len(spec.labels), side)
    # The label follows the surface less exactly than the tissue, as a manual outline does.
    label = np.where(distance + 0.3 * smooth_field(side, CANVAS, 1.6) < 0, part, 0).astype(np.uint8)
    crop = _crop(label, side)
    fractions = _tissues(distance[crop], side)
    channels = [_acquire(fractions, CONTRAST[min(index, 1)], scanner, side) for index in range(len(spec.channels))]
    image = channels[0] if len(channels) == 1 else np.stack(channels, axis=-1)
    stored_label = label[crop] if side.random() < 0.7 else label[crop].astype(np.float32)
    affine = np.diag([*spec.spacing, 1.0])
    affine[:3, 3] = 1.0
    write_nifti(folder / "imagesTr" / spec.file_name(case), image, affine)
    write_nifti(folder / "labelsTr" / spec.file_name(case), stored_label, affine)


def _tube(traits: np.ndarray, n_labels: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the surface in voxels, negative inside, and the part at each place along axis 1 (1 in front).

    The mean length, widths and course are about those of the 260 real label maps.
    """
    size, length, rise, bend, split, head = np.clip(traits, -2.5, 2.5)
    x, y, z = (axis - (side - 1) / 2 for axis, side in zip(np.ogrid[tuple(map(slice, CANVAS))], CANVAS, strict=True))
    length = 38.8 + 2.8 * length
    position = y / length + 0.5
    along = np.clip(position, 0, 1)
    width = (1 + 0.08 * size) * np.sqrt(1 - (2 * along - 1) ** 4 + 1e-4)
    half_x = (6.3 + (2.0 + 0.4 * head) * along) * width
    half_z = (4.1 + (1.1 + 0.3 * head) * along) * width
    across = x + 3 - (7 + bend) * (2 * along - 1) ** 2
    up = z - (15 + 2.5 * rise) * (0.5 - along)
    distance = (np.sqrt((across / half_x) ** 2 + (up / half_z) ** 2) - 1) * half_z
    distance = distance + 0.4 * smooth_field(generator, CANVAS, 5.0)
    borders = [0.55 + 0.02 * split] if n_labels == 2 else np.linspace(0, 1, n_labels + 1)[1:-1]
    beyond = (np.abs(position - 0.5) - 0.5) * length
    return np.maximum(distance, beyond).astype(np.float32), n_labels - np.digitize(position, borders)


def _crop(label: np.ndarray, generator: np.random.Generator) -> tuple[slice, ...]:
    """Draw a crop around the label with margins as in the real data."""
    slices = []
    for axis, law in enumerate(MARGIN):
        found = np.flatnonzero(label.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = (max(2, round(generator.normal(*law))) for _ in range(2))
        slices.append(slice(max(0, int(found[0]) - low), int(found[-1]) + 1 + high))
    return tuple(slices)


def _tissues(distance: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """Fraction of white matter, grey matter, fluid and hippocampus in every voxel; they sum to 1."""
    inside = _soft(distance)
    # White matter around most of the hippocampus; grey matter of its intensity touches it in places.
    rim = 1.2 + 1.5 * smooth_field(generator, distance.shape, 4.0)
    fluid = _soft(1.1 - smooth_field(generator, distance.shape, 3.5), 0.15) * (1 - inside)
    grey = _soft(0.1 - smooth_field(generator, distance.shape, 3.2), 0.15) * _soft(rim - distance)
    grey *= 1 - inside - fluid
    return [1 - grey - fluid - inside, grey, fluid, inside]


def _soft(distance: np.ndarray, width: float = 0.4) -> np.ndarray:
    """1 for negative values, 0 for positive ones, with a partial-volume edge of about `width`."""
    return 1 / (1 + np.exp(np.clip(distance / width, -30, 30)))


def _acquire(
    fractions: list[np.ndarray], contrast: tuple[float, ...], scanner: dict[str, float], side: np.random.Generator
) -> np.ndarray:
    """Simulate one stored channel: bias field, noise, quantisation."""
    image = sum(fraction * np.float32(value) for fraction, value in zip(fractions, contrast, strict=True))
    image = image * np.exp(scanner["bias"] * smooth_field(side, image.shape, 22.0))
    image += scanner["noise"] * side.standard_normal(image.shape, dtype=np.float32)
    image = np.maximum(image, 0)
    if scanner["byte"]:
        return np.clip(np.rint(image * 75), 0, 255).astype(np.uint8)
    return (np.rint(image * scanner["scale"] / 1.2 / scanner["step"]) * scanner["step"]).astype(np.float32)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write .nii.gz without a time stamp."""
    import nibabel as nib

    write_bytes(path, gzip.compress(nib.Nifti1Image(array, affine).to_bytes(), 1, mtime=0))
