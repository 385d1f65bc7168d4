"""Cases become training samples, resident in memory."""

import numpy as np
import torch

from hipposeg.config import Workspace
from hipposeg.data import grid
from hipposeg.data.cohort import Cohort
from hipposeg.data.n4 import N4Params, n4_cohort
from hipposeg.engine.train import Samples
from hipposeg.inference import Prep


def images_of(cohort: Cohort, prep: Prep, ws: Workspace) -> dict[int, np.ndarray]:
    """Case -> image (C, X, Y, Z) float32 on its native grid, bias corrected if the arm asks for it."""
    if prep.n4:
        return n4_cohort(cohort, N4Params(), ws.work / "cache" / "n4")
    return {number: case.image for number, case in cohort.cases.items()}


def make_samples(images: dict[int, np.ndarray], cohort: Cohort, prep: Prep, cases: list[int]) -> Samples:
    """Stack the training cases: volumes in 3D, every slice of every native box in 2D.

    Slices without hippocampus stay in, in their natural share: a 2D network meets them in every new scan.
    """
    inputs, targets = [], []
    for number in cases:
        found, placement = prep.place(images[number])
        label = torch.from_numpy(placement.apply(cohort.cases[number].label))
        if prep.axis is None:
            inputs.append(found)
            targets.append(label[None])
            continue
        inside = placement.inside_grid[prep.axis]
        inputs.append(found[inside])
        targets.append(torch.from_numpy(np.ascontiguousarray(grid.slices(label.numpy(), prep.axis)))[inside])
    return Samples(torch.cat(inputs), torch.cat(targets))
