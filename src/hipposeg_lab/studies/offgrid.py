"""The study off the grid: networks of larger voxels asked on the files' own, in two ways, and one case drawn finer.

A run of such a model leaves two more files beside its scores:

- offgrid.csv.gz: every scored case by both queries, against the truth on the native grid. The rows of "head" are those
  of scores; "trilinear" is the same network's logits, interpolated.
- offgrid.npz: label maps of one case at 2, 1 and 0.5 mm by both queries, for a picture that needs no weights. At 0.5 mm
  there is no truth: that map is an illustration and is never scored.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hipposeg import files, metrics
from hipposeg.data.cohort import Cohort
from hipposeg.inference import HEAD, TRILINEAR, Prep, off_grid
from hipposeg.training.machine import Machine

TABLE, PICTURE = "offgrid.csv.gz", "offgrid.npz"
QUERIES = (HEAD, TRILINEAR)
COLUMNS = ("case", "subject", "label", "query", "dice", "nsd1", "nsd2")
DRAWN_MM = (2.0, 1.0, 0.5)

Drawing = tuple[np.ndarray, tuple[float, float, float]]


def is_off_grid(network: nn.Module | None, prep: Prep, cohort: Cohort) -> bool:
    """Whether a run belongs to the study: its network can be asked anywhere and was trained on other voxels."""
    return getattr(network, "wants_points", False) and not prep.takes(cohort.spec.spacing)


def study(
    network: nn.Module | None, prep: Prep, machine: Machine, images: dict[int, np.ndarray], cohort: Cohort,
    scores: Sequence[dict[str, Any]], work: Path,
) -> None:  # fmt: skip
    """Write offgrid.csv.gz and offgrid.npz into a run's work folder, or remove old ones if the run is not of the study.

    Args:
        network: in evaluation mode; None for the atlas. prep: its input. machine: device and precision.
        images: case -> (C, X, Y, Z) float32 on the native grid.
        scores: the rows of the run's scores, which the head's query gave; they say which cases are scored.
        work: the run's work folder.
    """
    if not is_off_grid(network, prep, cohort):
        for name in (TABLE, PICTURE):
            (work / name).unlink(missing_ok=True)
        return
    cases = list(dict.fromkeys(row["case"] for row in scores))
    rows = [{**row, "query": HEAD} for row in scores]
    for number in cases:
        case = cohort.cases[number]
        found = off_grid(network, prep, images[number], case.spacing, machine, TRILINEAR).argmax(0).astype(np.uint8)
        scored = metrics.score_case(found, case.label, case.spacing, cohort.spec)
        rows += [{"case": number, "subject": case.subject, "query": TRILINEAR, **row} for row in scored]
    files.write_csv(work / TABLE, COLUMNS, rows)
    drawn = min(cases)
    found = contours(network, prep, machine, images[drawn], cohort.cases[drawn].spacing)
    files.write_bytes(work / PICTURE, packed(drawn, found))


def contours(
    network: nn.Module, prep: Prep, machine: Machine, image: np.ndarray, spacing: tuple[float, float, float],
    sizes: Sequence[float] = DRAWN_MM,
) -> dict[tuple[str, float], np.ndarray]:  # fmt: skip
    """Class probabilities of one case on grids of several voxel sizes that share the image's centre.

    image: (C, X, Y, Z) float32 of voxels `spacing`. sizes: voxel sizes in mm. Returns (query, size) -> (K, X', Y', Z')
    float32. On the network's own voxels nothing is interpolated, and both queries agree.
    """
    return {
        (query, size): off_grid(network, prep, image, spacing, machine, query, (size,) * 3)
        for size in sizes
        for query in QUERIES
    }


def packed(case: int, found: dict[tuple[str, float], np.ndarray]) -> bytes:
    """The label maps of `contours` as a compressed .npz of some ten kilobytes, the same bytes for the same maps."""
    stream = io.BytesIO()
    maps = {f"{query} {size:g}": probability.argmax(0).astype(np.uint8) for (query, size), probability in found.items()}
    np.savez_compressed(stream, case=np.array(case), **maps)
    return stream.getvalue()


def picture(folder: Path) -> tuple[int, dict[tuple[str, float], Drawing]]:
    """Read a run's offgrid.npz: the case's number, and (query, voxel size) -> (label map (X, Y, Z) uint8, voxel sides).

    All maps share the volume's centre, as `viz.offgrid.contours` expects them. Raises FileNotFoundError if the run left
    no such file.
    """
    path = folder / PICTURE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; only runs of the study off the grid leave one: train such a model"
        )
    with np.load(path) as stored:
        names = [name.split(" ") for name in stored.files if name != "case"]
        maps = {(query, float(size)): (stored[f"{query} {size}"], (float(size),) * 3) for query, size in names}
        return int(stored["case"]), maps
