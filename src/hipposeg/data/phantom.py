"""A synthetic cohort in MSD's folder layout, for machines without the data and for tests.

It follows the statistics of the real 260 volumes: crop sizes, label volumes, margins, two correlated hippocampi per
subject, one scanner per subject (both stored dtypes, no common intensity scale, a quantisation step that identifies the
scan). It demonstrates and tests the pipeline; its scores have no clinical meaning.
"""

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.data.anatomy import CANVAS, TISSUES, Shape, make_label, paint, smooth_field
from hipposeg.data.spec import PHANTOM_SPEC, DataError, DatasetSpec
from hipposeg.files import read_json, write_bytes, write_json

# Raise it when the same parameters give other volumes; existing phantoms are then generated again.
GENERATOR_VERSION = 3

# Mean and SD over the real data: label volumes in mm3, length along axis 1 in voxels; the others are tuned to the
# crop sizes and the score of the mean label map on the real data.
HEAD_VOLUME = (1715.0, 300.0, 1054.0, 2593.0)
TAIL_VOLUME = (1580.0, 225.0, 993.0, 2169.0)
LENGTH = (38.8, 3.2, 30.0, 47.0)
RISE = (19.2, 4.2, 6.0, 32.0)
# Correlation between the two sides of one subject.
SIBLING = 0.95
LOW_MARGIN = ((5.85, 1.40), (5.20, 0.75), (4.80, 0.80))
HIGH_MARGIN = ((7.50, 1.60), (5.95, 1.05), (5.40, 0.85))
SMALLEST, LARGEST = (31, 40, 24), (43, 59, 47)
BYTE_SHARE = 0.21
# Mean intensity of each of TISSUES, in their order: T1-weighted, then, for further channels, T2-weighted.
CONTRAST = (
    dict(zip(TISSUES, (0.96, 0.46, 0.12, 0.50, 0.52, 0.80, 2.20), strict=True)),
    dict(zip(TISSUES, (0.35, 0.62, 1.40, 0.60, 0.59, 0.42, 0.10), strict=True)),
)


def parameters(spec: DatasetSpec, n_subjects: int, seed: int) -> dict[str, Any]:
    """Return what determines a phantom's contents, as its dataset.json records it."""
    classes, channels = list(spec.names), list(spec.channels)
    return {"version": GENERATOR_VERSION, "subjects": n_subjects, "seed": seed, "labels": classes, "channels": channels}


def ensure(folder: Path, spec: DatasetSpec, n_subjects: int, seed: int) -> None:
    """Generate the phantom in `folder`, unless it holds one made with the same parameters."""
    wanted = parameters(spec, n_subjects, seed)
    if _made_by(folder, wanted):
        return
    temporary = folder.with_name(f".{os.getpid()}.part.{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        generate(temporary, spec, n_subjects, seed)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError:
        # Another process may have finished the same phantom in between.
        if not _made_by(folder, wanted):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _made_by(folder: Path, wanted: dict[str, Any]) -> bool:
    try:
        return bool(read_json(folder / "dataset.json").get("phantom") == wanted)
    except (OSError, ValueError, AttributeError):
        return False


def generate(folder: Path, spec: DatasetSpec = PHANTOM_SPEC, n_subjects: int = 20, seed: int = 0) -> list[int]:
    """Write a phantom in MSD's layout.

    Half of the subjects, drawn at random, have both hippocampi labelled (cases 2s - 1 and 2s), the others one.

    Args:
        folder: where to write; dataset.json is written last.
        spec: classes and channels, any number of them.
        n_subjects: number of subjects.
        seed: of everything drawn.

    Returns:
        The case numbers.

    Raises:
        DataError: `n_subjects` is less than 1.
    """
    if n_subjects < 1:
        raise DataError(f"n_subjects is {n_subjects}; it must be at least 1")
    order = np.random.default_rng(seed).permutation(n_subjects) + 1
    both = set(order[: (n_subjects + 1) // 2].tolist())
    cases = []
    for subject in range(1, n_subjects + 1):
        shared = np.random.default_rng([seed, subject])
        scanner = _scanner(shared)
        traits = shared.standard_normal(8)
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
        "licence": "CC0",
        "tensorImageSize": "3D" if len(spec.channels) == 1 else "4D",
        "modality": {str(index): name for index, name in enumerate(spec.channels)},
        "labels": {"0": "background", **{str(label.value): label.name.capitalize() for label in spec.labels}},
        "numTraining": len(names),
        "numTest": 0,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": [],
        "phantom": parameters(spec, n_subjects, seed),
    }
    write_json(folder / "dataset.json", listing)
    return cases


def _scanner(generator: np.random.Generator) -> dict[str, float]:
    """Draw storage and quality of a subject's scan, shared by both sides as in the real data."""
    scale = float(np.clip(np.exp(generator.normal(7.6, 2.6)), 150.0, 0.9e6))
    return {
        "byte": float(generator.random() < BYTE_SHARE),
        "scale": scale,
        "step": scale / generator.uniform(150, 600),
        "noise": generator.uniform(0.025, 0.055),
        "bias": generator.uniform(0.03, 0.12),
        "contrast": generator.uniform(0.9, 1.1),
    }


def _shape(traits: np.ndarray, generator: np.random.Generator) -> Shape:
    """Draw one side's shape: the subject's traits, and variation of its own."""
    own = np.sqrt(SIBLING) * traits + np.sqrt(1 - SIBLING) * generator.standard_normal(traits.size)
    head, tail, length, rise, bend, roll, split, uncus = own
    # Head and tail volumes correlate by 0.29 in the real data, length and rise by about -0.6.
    tail = 0.29 * head + np.sqrt(1 - 0.29**2) * tail
    rise = -0.6 * length + 0.8 * rise
    return Shape(
        head_volume=_draw(head, HEAD_VOLUME),
        tail_volume=_draw(tail, TAIL_VOLUME),
        length=_draw(length, LENGTH),
        rise=_draw(rise, RISE),
        bend=float(1 + 0.2 * bend),
        roll=float(0.10 + 0.10 * roll),
        split=float(np.clip(0.575 + 0.025 * split, 0.5, 0.65)),
        uncus=float(np.clip(1 + 0.12 * uncus, 0.7, 1.3)),
    )


def _draw(deviate: float, law: tuple[float, float, float, float]) -> float:
    mean, deviation, low, high = law
    return float(np.clip(mean + deviation * deviate, low, high))


def _write_case(
    folder: Path, spec: DatasetSpec, case: int, traits: np.ndarray, scanner: dict[str, float], side: np.random.Generator
) -> None:
    """Draw one hippocampus, crop and paint it, and write image and label."""
    label, tube = make_label(_shape(traits, side), side, len(spec.labels))
    box = _box(label, side)
    fractions = paint(tube.crop(box), side)
    channels = [_acquire(fractions, CONTRAST[min(index, 1)], scanner, side) for index in range(len(spec.channels))]
    image = channels[0] if len(channels) == 1 else np.stack(channels, axis=-1)
    cut = label[box]
    stored_label = cut if side.random() < 0.7 else cut.astype(np.float32)
    affine = np.diag([*spec.spacing, 1.0])
    affine[:3, 3] = 1.0
    _write_nifti(folder / "imagesTr" / spec.file_name(case), image, affine)
    _write_nifti(folder / "labelsTr" / spec.file_name(case), stored_label, affine)


def _box(label: np.ndarray, generator: np.random.Generator) -> tuple[slice, slice, slice]:
    """Draw a crop around the label with the margins of the real data, between its smallest and largest crop."""
    slices = []
    for axis in range(3):
        found = np.flatnonzero(label.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = int(found[0]), int(found[-1])
        low = max(2, round(generator.normal(*LOW_MARGIN[axis])))
        high = max(2, round(generator.normal(*HIGH_MARGIN[axis])))
        size = min(max(last - first + 1 + low + high, SMALLEST[axis]), LARGEST[axis], CANVAS[axis])
        start = min(max(first - low, 0), CANVAS[axis] - size)
        slices.append(slice(start, start + size))
    return slices[0], slices[1], slices[2]


def _acquire(
    fractions: dict[str, np.ndarray], contrast: dict[str, float], scanner: dict[str, float], side: np.random.Generator
) -> np.ndarray:
    """Simulate one stored channel: tissue texture, bias field, noise, quantisation."""
    shape = fractions["white"].shape
    image = np.zeros(shape, np.float32)
    for name in TISSUES:
        image += fractions[name] * np.float32(contrast[name])
    image = image ** np.float32(scanner["contrast"])
    image *= 1 + 0.06 * smooth_field(side, shape, 1.5)
    image *= np.exp(scanner["bias"] * smooth_field(side, shape, 22.0))
    image += scanner["noise"] * side.standard_normal(shape, dtype=np.float32)
    image = np.maximum(image, 0)
    if scanner["byte"]:
        return np.clip(np.rint(image * 75), 0, 255).astype(np.uint8)
    return (np.rint(image * scanner["scale"] / 1.2 / scanner["step"]) * scanner["step"]).astype(np.float32)


def _write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write .nii.gz without a time stamp."""
    import nibabel as nib

    write_bytes(path, gzip.compress(nib.Nifti1Image(array, affine).to_bytes(), 1, mtime=0))
