"""Networks of larger voxels evaluated on the files' own grid, in two ways, and one case drawn on finer grids.

A hook writes two files:

- offgrid.csv: every test case by both queries, against the truth on the native grid. Rows of "head" repeat the scores
  of the run; "trilinear" interpolates the logits of the same network.
- offgrid.npz, for one run: label maps of one case at 2, 1 and 0.5 mm by both queries, for a picture that needs no
  weights. At 0.5 mm there is no truth: that map is an illustration and is never scored.
"""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from hipposeg import files, metrics
from hipposeg.experiments.registry import RunSpec
from hipposeg.experiments.run import Finished
from hipposeg.inference import HEAD, TRILINEAR, off_grid

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
        image, spacing = finished.images[drawn], cohort.cases[drawn].spacing
        maps = {
            (query, size): off_grid(network, prep, image, spacing, machine, query, (size,) * 3).argmax(0)
            for size in DRAWN_MM
            for query in QUERIES
        }
        files.write_bytes(finished.folder / PICTURE, packed(drawn, maps))


def packed(case: int, maps: dict[tuple[str, float], np.ndarray]) -> bytes:
    """Label maps by query and voxel size as a compressed .npz, the same bytes for the same maps."""
    stream = io.BytesIO()
    named = {f"{query} {size:g}": found.astype(np.uint8) for (query, size), found in maps.items()}
    np.savez_compressed(stream, case=np.array(case), **named)
    return stream.getvalue()


def picture(path: Path) -> tuple[int, dict[tuple[str, float], Drawing]]:
    """Read offgrid.npz: the case's number, and (query, voxel size) -> (label map (X, Y, Z) uint8, voxel sides).

    All maps share the volume's centre, as `figures.offgrid.contours` expects them.
    """
    with np.load(path) as stored:
        names = [name.split(" ") for name in stored.files if name != "case"]
        maps = {(query, float(size)): (stored[f"{query} {size}"], (float(size),) * 3) for query, size in names}
        return int(stored["case"]), maps
