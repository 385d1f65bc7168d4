"""Small files from which the page shows every scored case of a fold: image in few greys, truth, and predictions.

The page is made from artifacts alone, and the images of the data set are not among them. So notebook 07, which has
them, leaves this copy: 32 greys are enough to look at, and a case with ten predictions takes about 40 kB.

A file is a gzip stream of bytes: the grey image, the truth, then one label map for each model, each in C order
(X, Y, Z). Greys are stored as the step from the voxel before, modulo LEVELS, which compresses better;
`unpack` gives them back.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hipposeg import files
from hipposeg.config import Workspace
from hipposeg.data.cohort import Cohort
from hipposeg.runs.arms import FLAGSHIP
from hipposeg.runs.table import Run, RunError
from hipposeg.viz.planes import PLANES, grey_window, plane_name

FOLDER, INDEX = "explorer", "index.json"
LEVELS = 32
MOST_MODELS = 10
BUDGETS = ("standard", "smoke")


@dataclass(frozen=True)
class Volume:
    """One case as stored. grey: uint8 (X, Y, Z) below LEVELS. truth and masks: uint8 (X, Y, Z), one mask a model."""

    grey: np.ndarray
    truth: np.ndarray
    masks: tuple[np.ndarray, ...]


def chosen(runs: Sequence[Run]) -> list[Run]:
    """The models to show: one run for each arm (seed 0 of the main budget), the flagship first, the floor last.

    At most MOST_MODELS, in the order of the notebooks. Raises RunError if none is left.
    """
    main = [run for run in runs if run.config["seed"] == 0 and run.config["budget"] in BUDGETS]
    ranked = sorted(main, key=lambda run: (run.arm != FLAGSHIP, run.is_floor, run.config["notebook"]))
    if not ranked:
        raise RunError("no run of seed 0 to show in the explorer; run notebook 03 first, as `make 07` does")
    return ranked[: MOST_MODELS - 1] + [run for run in ranked[MOST_MODELS - 1 :] if run.is_floor][:1]


def greys(image: np.ndarray) -> np.ndarray:
    """An image (X, Y, Z) in LEVELS greys between the 0.5th and 99.5th percentile, uint8."""
    low, high = grey_window(image)
    return np.rint(np.clip((image - low) / (high - low), 0, 1) * (LEVELS - 1)).astype(np.uint8)


def pack(volume: Volume) -> bytes:
    """A volume as the bytes of its file; equal volumes give equal bytes."""
    flat = volume.grey.ravel()
    steps = (np.diff(flat, prepend=flat[:1] * 0).astype(np.int16) % LEVELS).astype(np.uint8)
    return gzip.compress(b"".join([steps.tobytes(), *(m.tobytes() for m in (volume.truth, *volume.masks))]), 9, mtime=0)


def unpack(content: bytes, shape: Sequence[int]) -> Volume:
    """The inverse of `pack`. Raises ValueError if the bytes do not hold whole volumes of this shape."""
    found, size = np.frombuffer(gzip.decompress(content), np.uint8), int(np.prod(shape))
    if found.size % size or found.size < 2 * size:
        raise ValueError(f"{found.size} bytes are not whole volumes of {tuple(shape)}; run notebook 07 again")
    steps, truth, *masks = found.reshape(-1, *shape)
    return Volume((np.cumsum(steps.ravel()) % LEVELS).astype(np.uint8).reshape(shape), truth, tuple(masks))


def write(ws: Workspace, cohort: Cohort, runs: Sequence[Run], folds: str = "grouped", fold: int = 0) -> Path:
    """Write artifacts/<ws>/explorer: a file for each scored case, and index.json; returns the latter's path.

    runs: as `Table.on` gives them. Files of cases that are not shown any more are removed.
    """
    spec, folder, models = cohort.spec, ws.artifacts / FOLDER, chosen(runs)
    cases = []
    for number in models[0].values().index:
        case = cohort.cases[int(number)]
        masks = tuple(run.prediction(spec, case.number) for run in models)
        name = f"{case.number:03d}.gz"
        files.write_bytes(folder / name, pack(Volume(greys(case.image[0]), case.label, masks)))
        shape = list(case.label.shape)
        cases.append(
            {"case": case.number, "person": case.subject, "shape": shape, "spacing": case.spacing, "file": name}
        )
    for stale in set(folder.glob("*.gz")) - {folder / case["file"] for case in cases}:
        stale.unlink()
    planes = [{"name": plane_name(spec, axis), "axes": PLANES[axis]} for axis in range(3)]
    models_said = [{"run": run.name, "arm": run.arm} for run in models]
    index = {"folds": folds, "fold": fold, "levels": LEVELS, "ends": spec.axes, "planes": planes}
    files.write_json(folder / INDEX, index | {"models": models_said, "cases": cases})
    return folder / INDEX
