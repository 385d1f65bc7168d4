"""The study off the grid: networks of larger voxels evaluated on the files' own, in two ways, and one case drawn finer.

A hook writes two files:

- offgrid.csv: every test case by both queries, against the truth on the native grid. The rows of "head" are those
  of scores; "trilinear" is the same network's logits, interpolated.
- offgrid.npz, for one run: label maps of one case at 2, 1 and 0.5 mm by both queries, for a picture that needs no
  weights. At 0.5 mm there is no truth: that map is an illustration and is never scored.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from hipposeg import files, metrics
from hipposeg.experiments.hooks import Finished
from hipposeg.experiments.spec import RunSpec
from hipposeg.inference import HEAD, TRILINEAR, Prep, off_grid
from hipposeg.training.machine import Machine

TABLE, PICTURE = "offgrid.csv", "offgrid.npz"
# The run of the picture in each data set.
PICTURED = {"msd": RunSpec("unet3d-inr-siren-xyz"), "phantom": RunSpec("unet3d-inr-siren-xyz", schedule="smoke")}
QUERIES = (HEAD, TRILINEAR)
COLUMNS = ("case", "subject", "label", "query", "dice", "nsd1", "nsd2")
DRAWN_MM = (2.0, 1.0, 0.5)

Drawing = tuple[np.ndarray, tuple[float, float, float]]


def hook(finished: Finished) -> None:
    """Write offgrid.csv, and offgrid.npz for one run, if the network takes points and was trained on other voxels."""
    network, cohort, machine, run = finished.network, finished.cohort, finished.machine, finished.run
    prep = run.definition.prep
    if not getattr(network, "wants_points", False) or prep.takes(cohort.spec.spacing):
        return
    rows = [{**row, "query": HEAD} for row in finished.scores]
    for number, image in finished.images.items():
        case = cohort.cases[number]
        found = off_grid(network, prep, image, case.spacing, machine, TRILINEAR).argmax(0).astype(np.uint8)
        scored = metrics.score_case(found, case.label, case.spacing, cohort.spec)
        rows += [{"case": number, "subject": case.subject, "query": TRILINEAR, **row} for row in scored]
    files.write_csv(finished.folder / TABLE, COLUMNS, rows)
    if replace(run, hardware="") == PICTURED[cohort.dataset]:
        drawn = min(finished.images)
        found = contours(network, prep, machine, finished.images[drawn], cohort.cases[drawn].spacing)
        files.write_bytes(finished.folder / PICTURE, packed(drawn, found))


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


def picture(path: Path) -> tuple[int, dict[tuple[str, float], Drawing]]:
    """Read offgrid.npz: the case's number, and (query, voxel size) -> (label map (X, Y, Z) uint8, voxel sides).

    All maps share the volume's centre, as `figures.offgrid.contours` expects them.
    """
    with np.load(path) as stored:
        names = [name.split(" ") for name in stored.files if name != "case"]
        maps = {(query, float(size)): (stored[f"{query} {size}"], (float(size),) * 3) for query, size in names}
        return int(stored["case"]), maps
