"""Whole heads: agreement with another tool's masks, the same head changed, and images that must not pass as good.

The folder that HIPPOSEG_HEADS names holds T1 scans `<name>.nii.gz` and masks of the whole hippocampus,
`<name>_ref_L.nii.gz` and `<name>_ref_R.nii.gz`, by hippodeep: agreement with another tool, not truth. Every change
keeps the affine right, so the unchanged scan's labels can be compared where they lie in the head.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from hipposeg import files, metrics
from hipposeg.data.spec import DataError
from hipposeg.predict import card, crop, registration
from hipposeg.predict.ensemble import Ensemble, load_ensemble
from hipposeg.predict.registration import resampled
from hipposeg.predict.scan import Scan, read
from hipposeg.predict.segment import REFUSED, SIDES, Result, segment
from hipposeg.workspace import Workspace

QUESTION = "How well are whole heads segmented, and what must not pass?"
TABLE, STARTS = "heads.csv", "heads_starts.csv"
T1 = "t1.nii.gz"  # scans with another ending have another contrast
COLUMNS = (
    *(
        "image",
        "change",
        "expected",
        "status",
        "reasons",
        "reference_left",
        "reference_right",
        "same_left",
        "same_right",
    ),
    *("agreement_left", "agreement_right", "volume_left", "volume_right", "intracranial_ml", "seconds", "memory_mb"),
)
STARTS_COLUMNS = ("image", "side", "axis", "moved_mm", "steps", "settled", "same_crop", "dice")
REFERENCE = {"left": "_ref_L.nii.gz", "right": "_ref_R.nii.gz"}
UNCHANGED, EXCHANGED = "none", "left and right exchanged in the header"
MOVED_MM = 10


def rotated(scan: Scan, degrees: float = 20.0, axis: int = 0) -> Scan:
    """The head rotated in its field of view by interpolation; where it lies is known by the affine."""
    turn = Rotation.from_euler("xyz"[axis], degrees, degrees=True).as_matrix()
    middle = scan.affine @ np.append((np.array(scan.image.shape) - 1) / 2, 1)
    about = np.eye(4)
    about[:3, :3], about[:3, 3] = turn, middle[:3] - turn @ middle[:3]
    image = resampled(scan.image, scan.affine, scan.image.shape, about @ scan.affine, order=3)
    return replace(scan, image=image, affine=about @ scan.affine, like=None)


def at_spacing(scan: Scan, spacing: tuple[float, float, float]) -> Scan:
    """The scan on a grid of other voxels; thicker slices are averaged over their thickness."""
    factors = np.divide(spacing, scan.spacing)
    image = ndimage.uniform_filter(scan.image, np.maximum(1, np.rint(factors)).astype(int))
    grid = scan.affine @ np.diag([*factors, 1.0])
    size = tuple(np.maximum(1, np.floor((np.array(scan.image.shape) - 1) / factors) + 1).astype(int).tolist())
    return replace(scan, image=resampled(image, scan.affine, size, grid, order=3), affine=grid, like=None)


def exchanged(scan: Scan) -> Scan:
    """The same voxels under a header that calls left right."""
    return replace(scan, affine=np.diag([-1.0, 1.0, 1.0, 1.0]) @ scan.affine, like=None)


def inverted(scan: Scan) -> Scan:
    """Bright where the head is dark and dark where it is bright, as fluid is in T2; the background stays dark."""
    high = np.percentile(scan.image, 99.5)
    return replace(scan, image=np.where(scan.image > scan.image.mean() / 2, np.clip(high - scan.image, 0, None), 0))


def stripped(scan: Scan) -> Scan:
    """The brain alone, by the template's dilated brain mask."""
    found = registration.locate(scan.image, scan.affine)
    mask = nibabel.load(registration.TEMPLATE / "mni152_2mm_mask.nii.gz")
    there = np.linalg.inv(mask.affine) @ np.linalg.inv(found.affine) @ scan.affine
    inside = ndimage.affine_transform(
        np.asarray(mask.dataobj, np.float32), there[:3, :3], there[:3, 3], scan.image.shape, order=1
    )
    return replace(scan, image=np.where(inside > 0.5, scan.image, 0).astype(np.float32))


def cut_off(scan: Scan) -> Scan:
    """The head without what lies below the middle of the hippocampi: half of each is outside of the image."""
    found = registration.locate(scan.image, scan.affine)
    middle = np.mean([registration.BOXES[side] for side in SIDES], axis=(0, 1))
    voxel = np.linalg.inv(scan.affine) @ found.affine @ np.append(middle, 1)
    top = int(np.abs(registration.own_axes(scan.affine)[2] @ scan.affine[:3, :3] / scan.spacing).argmax())
    upwards = scan.affine[2, top] > 0
    keep = [slice(None)] * 3
    keep[top] = slice(int(voxel[top]), None) if upwards else slice(0, int(voxel[top]))
    grid = scan.affine.copy()
    grid[:3, 3] = (scan.affine @ np.array([*(one.start or 0 for one in keep), 1.0]))[:3]
    return replace(scan, image=np.ascontiguousarray(scan.image[tuple(keep)]), affine=grid, like=None)


def noise(scan: Scan) -> Scan:
    """No head at all: the scan's own values in any order."""
    values = np.random.default_rng(0).permutation(scan.image.ravel())
    return replace(scan, image=values.reshape(scan.image.shape))


# change -> what makes it, and the statuses that are right.
GOOD, NEVER = "ok or check", "check or refused"
CHANGES: dict[str, tuple[Callable[[Scan], Scan], str]] = {
    UNCHANGED: (lambda scan: scan, GOOD),
    "rotated by 20 degrees": (rotated, GOOD),
    "resampled to 1.25 mm": (lambda scan: at_spacing(scan, (1.25,) * 3), GOOD),
    EXCHANGED: (exchanged, GOOD),
    "brain alone": (stripped, GOOD),
    "inverted contrast": (inverted, NEVER),
    "slices of 6 mm": (lambda scan: at_spacing(scan, (scan.spacing[0], scan.spacing[1], 6.0)), NEVER),
    "cut off at the hippocampi": (cut_off, NEVER),
    "voxels in random order": (noise, NEVER),
}


def heads(folder: Path) -> list[Path]:
    """The scans of a folder, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    found = [one for one in sorted(folder.glob("*.nii.gz")) if "_ref_" not in one.name]
    if not found:
        raise FileNotFoundError(f"{folder}: found no scan *.nii.gz; HIPPOSEG_HEADS names a folder of whole heads")
    return found


def sides_of(result: Result) -> dict[str, np.ndarray]:
    """Each side's whole mask, (X, Y, Z) bool; empty ones of a refused scan."""
    labels = np.zeros(result.scan.image.shape, np.uint8) if result.labels is None else result.labels
    return {"left": (labels == 1) | (labels == 2), "right": labels > 2}


def moved_to(mask: np.ndarray, affine: np.ndarray, scan: Scan) -> np.ndarray:
    """A mask on another scan's grid: where linear interpolation is above one half."""
    there = np.linalg.inv(affine) @ scan.affine
    return (
        ndimage.affine_transform(mask.astype(np.float32), there[:3, :3], there[:3, 3], scan.image.shape, order=1) > 0.5
    )


def expected_of(path: Path, change: str) -> str:
    """The right statuses of a changed scan; a name that does not end in t1 is of another contrast."""
    return CHANGES[change][1] if path.name.endswith(T1) else NEVER


def row(path: Path, change: str, before: Result | None, ensemble: Ensemble) -> tuple[dict, Result]:
    """Segment a changed scan and compare it with the reference masks and with the unchanged scan's result."""
    scan = CHANGES[change][0](read(path))
    begun = time.perf_counter()
    try:
        found = segment(scan, ensemble)
    except DataError as error:  # such as a cut-off head that is taken for a crop
        why = str(error).replace(str(path), path.name)
        found = Result(scan, None, {}, {}, (), REFUSED, (why,))
    seconds = time.perf_counter() - begun
    row = {
        "image": path.name.removesuffix(".nii.gz"), "change": change, "expected": expected_of(path, change),
        "status": found.status, "reasons": "; ".join(found.reasons), "intracranial_ml": found.intracranial_ml,
        "seconds": round(seconds, 1),
    }  # fmt: skip
    masks = sides_of(found)
    for one in found.hippocampi:
        row[f"agreement_{one.side}"] = one.agreement
    for side in SIDES if found.labels is not None else ():
        row[f"volume_{side}"] = found.volumes[side].predicted
        reference = path.with_name(path.name.removesuffix(".nii.gz") + REFERENCE[side])
        if reference.is_file() and change != EXCHANGED:
            other = nibabel.load(reference)
            drawn = moved_to(np.asarray(other.dataobj) >= 128, other.affine, scan)
            row[f"reference_{side}"] = metrics.dice(masks[side], drawn)
        if before is not None and before.labels is not None:
            other = SIDES[1 - SIDES.index(side)] if change == EXCHANGED else side
            grid = np.diag([-1.0, 1.0, 1.0, 1.0]) @ before.affine if change == EXCHANGED else before.affine
            row[f"same_{side}"] = metrics.dice(masks[side], moved_to(sides_of(before)[other], grid, scan))
    return row, found


def _alone(path: Path) -> int:
    """Peak memory in MB of a process that reads and segments one scan."""
    segment(path)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def rows(path: Path, ensemble: Ensemble) -> Iterator[dict]:
    """One row a change of a scan; the first has time and memory of a process of its own."""
    before = None
    for change in CHANGES if path.name.endswith(T1) else (UNCHANGED,):
        measured = {}
        if change == UNCHANGED:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                begun = time.perf_counter()
                memory = pool.submit(_alone, path).result()
                measured = {"seconds": round(time.perf_counter() - begun, 1), "memory_mb": memory}
        found, result = row(path, change, before, ensemble)
        before = before or result
        yield found | measured


def starts(path: Path, ensemble: Ensemble) -> Iterator[dict]:
    """Begin each side's crop 10 mm off along each axis: does it end in the same crop, and in the same mask?"""
    scan = read(path)
    located = registration.locate(scan.image, scan.affine)
    region = crop.region(scan.image, scan.affine, located)
    for side in SIDES:
        first = crop.start(region, located, side)
        end = crop.settle(region, first, ensemble.first, ensemble.card.boxes, crop.APART_MM)
        for axis in range(3):
            for sign in (-1, 1):
                by = np.eye(3, dtype=int)[axis] * sign * MOVED_MM
                begun = replace(first, low=tuple(np.add(first.low, by)), high=tuple(np.add(first.high, by)))
                found = crop.settle(region, begun, ensemble.first, ensemble.card.boxes, crop.APART_MM)
                same = found.box == end.box
                yield {
                    "image": path.name.removesuffix(".nii.gz"), "side": side, "axis": axis, "moved_mm": sign * MOVED_MM,
                    "steps": found.steps, "settled": int(found.settled), "same_crop": int(same),
                    "dice": 1.0 if same else _dice_of(region, found.box, end.box, ensemble),
                }  # fmt: skip


def _dice_of(region: crop.Region, a: crop.Box, b: crop.Box, ensemble: Ensemble) -> float:
    """Dice of the masks of two crops, in the region."""
    masks = []
    for box in (a, b):
        mask = ensemble.predict(region.cut(box)).probabilities.argmax(axis=0) > 0
        whole = np.zeros(np.array(region.image.shape) + 100, dtype=bool)
        whole[tuple(slice(low + 50, high + 50) for low, high in zip(box.low, box.high, strict=True))] = (
            mask[::-1] if box.mirrored else mask
        )
        masks.append(whole)
    return metrics.dice(*masks)


def update(ws: Workspace) -> str:
    """Segment every scan of HIPPOSEG_HEADS under every change, unless it was done with this card; returns which."""
    table = ws.artifacts / "studies" / TABLE
    state, made = table.with_suffix(".json"), {"card": files.sha256_file(card.PACKAGED / card.NAME)}
    if table.is_file() and state.is_file() and files.read_json(state) == made:
        return "kept"
    if not (named := os.environ.get("HIPPOSEG_HEADS")):
        return "left out: HIPPOSEG_HEADS names no folder of whole heads"
    ensemble, found, begun = load_ensemble(), [], []
    for path in heads(Path(named)):
        for one in rows(path, ensemble):
            print(*(f"{name}={value}" for name, value in one.items()), flush=True)
            found.append(one)
        begun += starts(path, ensemble) if path.name.endswith(T1) else []
    files.write_csv(table.with_name(STARTS), STARTS_COLUMNS, begun)
    files.write_csv(table, COLUMNS, [dict.fromkeys(COLUMNS, "") | one for one in found])
    files.write_json(state, made)
    return "made"
