"""Networks of larger voxels evaluated on the files' own grid, in two ways.

A hook writes offgrid.csv: every test case by both queries, against the truth on the native grid. Rows of "head" repeat
the scores of the run; "trilinear" interpolates the logits of the same network.
"""

import numpy as np

from hipposeg import files, metrics
from hipposeg.experiments.run import Finished
from hipposeg.inference import HEAD, TRILINEAR, off_grid

TABLE = "offgrid.csv"
QUERIES = (HEAD, TRILINEAR)
COLUMNS = ("case", "subject", "label", "query", "dice", "nsd1", "nsd2")


def hook(finished: Finished) -> None:
    """Write offgrid.csv if the network takes points and was trained on other voxels."""
    network, cohort, prep = finished.network, finished.cohort, finished.run.definition.prep
    if not getattr(network, "wants_points", False) or prep.takes(cohort.spec.spacing):
        return
    rows = [{**row, "query": HEAD} for row in finished.scores]
    for number, image in finished.images.items():
        case = cohort.cases[number]
        found = off_grid(network, prep, image, case.spacing, finished.machine, TRILINEAR).argmax(0).astype(np.uint8)
        scored = metrics.score_case(found, case.label, case.spacing, cohort.spec)
        rows += [{"case": number, "subject": case.subject, "query": TRILINEAR, **row} for row in scored]
    files.write_csv(finished.folder / TABLE, COLUMNS, rows)
