"""Analyses of notebook 04 beyond scores: receptive fields, and jumps between slices."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import nn

from hipposeg.data.cohort import Cohort
from hipposeg.inference import Prep
from hipposeg.models import inspection
from hipposeg.training.machine import Machine


def effective_field(network: nn.Module, prep: Prep, images: Sequence[np.ndarray], machine: Machine) -> np.ndarray:
    """Mean effective receptive field of the box's middle voxel over images (C, X, Y, Z): (*prep.size) float64.

    For a 2D network it is the field of the middle slice, in the slices that it reads.
    """
    machine.place(network)
    voxel = tuple(side // 2 for side in prep.size)
    total = np.zeros(prep.size)
    for image in images:
        samples = prep.place(image)[0].to(machine.device)
        if prep.axis is None:
            total += inspection.effective(network, samples, voxel).sum(0)
            continue
        inside = [at for axis, at in enumerate(voxel) if axis != prep.axis]
        field = inspection.effective(network, samples[[voxel[prep.axis]]], inside)
        total += inspection.in_volume(field, prep.axis, voxel[prep.axis], prep.size[prep.axis])
    return total / len(images)


def slice_jump(label: np.ndarray, spacing: Sequence[float], axis: int) -> float:
    """Mean area in mm2 in which the class changes from a slice to the next across `axis`, where either has a label.

    Slices that are predicted independently are less aligned than a smooth surface. label: (X, Y, Z); NaN if empty.
    """
    moved = np.moveaxis(label, axis, 0)
    first, second = moved[:-1], moved[1:]
    holds = ((first > 0) | (second > 0)).any(axis=(1, 2))
    if not holds.any():
        return float("nan")
    area = float(np.prod([step for other, step in enumerate(spacing) if other != axis]))
    return float((first != second).sum(axis=(1, 2))[holds].mean() * area)


def jumps(masks: Mapping[str, Mapping[int, np.ndarray]], cohort: Cohort) -> pd.DataFrame:
    """`slice_jump` of source (such as "truth") -> case -> label map: columns source, case, subject, axis, jump."""
    rows = []
    for source, found in masks.items():
        for number, label in found.items():
            case = cohort.cases[number]
            rows += [(source, number, case.subject, a, slice_jump(label, case.spacing, a)) for a in range(3)]
    return pd.DataFrame(rows, columns=["source", "case", "subject", "axis", "jump"])
