"""Analyses of notebook 04 beyond scores: receptive fields, jumps between slices, and a mirrored volume."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import nn

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.inference import Prep, probabilities
from hipposeg.models import receptive
from hipposeg.training.machine import Machine

# Ways to predict a volume: as stored, mirrored and mirrored back, and the mean of both (flip TTA).
STORED, MIRRORED, BOTH = "as stored", "mirrored", "mean of both"


def effective_field(
    network: nn.Module, prep: Prep, images: Sequence[np.ndarray], machine: Machine
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Mean effective receptive field of the box's middle voxel: (*prep.size) float64, and that voxel.

    images: (C, X, Y, Z) each. A 2D network is asked about the middle slice; its field lies in the slices that it reads.
    """
    machine.place(network)
    voxel = tuple(side // 2 for side in prep.size)
    total = np.zeros(prep.size)
    for image in images:
        samples = prep.place(image)[0].to(machine.device)
        if prep.axis is None:
            total += receptive.effective(network, samples, voxel).sum(0)
            continue
        inside = [at for axis, at in enumerate(voxel) if axis != prep.axis]
        field = receptive.effective(network, samples[[voxel[prep.axis]]], inside)
        total += receptive.in_volume(field, prep.axis, voxel[prep.axis], prep.size[prep.axis])
    return total / len(images), voxel


def slice_jump(label: np.ndarray, spacing: Sequence[float], axis: int) -> float:
    """Mean area in mm2 in which the class changes from a slice to the next across `axis`, where either holds a label.

    label: (X, Y, Z). A smooth surface changes little by little; slices that were decided one by one do not line up.
    NaN for an empty label map.
    """
    moved = np.moveaxis(label, axis, 0)
    first, second = moved[:-1], moved[1:]
    holds = ((first > 0) | (second > 0)).any(axis=(1, 2))
    if not holds.any():
        return float("nan")
    area = float(np.prod([step for other, step in enumerate(spacing) if other != axis]))
    return float((first != second).sum(axis=(1, 2))[holds].mean() * area)


def jumps(masks: Mapping[str, Mapping[int, np.ndarray]], cohort: Cohort) -> pd.DataFrame:
    """`slice_jump` of label maps across all axes: rows of source, case, subject, axis, jump.

    masks: source (such as "truth") -> case -> (X, Y, Z).
    """
    rows = []
    for source, found in masks.items():
        for number, label in found.items():
            case = cohort.cases[number]
            for axis in range(3):
                jump = slice_jump(label, case.spacing, axis)
                rows.append({"source": source, "case": number, "subject": case.subject, "axis": axis, "jump": jump})
    return pd.DataFrame(rows)


def mirrored(
    network: nn.Module, prep: Prep, images: Mapping[int, np.ndarray], cohort: Cohort, machine: Machine
) -> tuple[pd.DataFrame, dict[int, dict[str, np.ndarray]]]:
    """Mean Dice when a network meets each volume as stored and mirrored along axis 0; images: case -> (C, X, Y, Z).

    The prediction of the mirrored volume is mirrored back before it is scored. Returns rows of case, subject, query,
    dice (queries STORED, MIRRORED, BOTH), and the masks: case -> query -> (X, Y, Z) uint8.
    """
    rows, masks = [], {}
    for number, image in images.items():
        case = cohort.cases[number]
        stored = probabilities(network, prep, image, machine)
        turned = probabilities(network, prep, np.ascontiguousarray(image[:, ::-1]), machine)[:, ::-1]
        asked = {STORED: stored, MIRRORED: turned, BOTH: (stored + turned) / 2}
        masks[number] = {query: found.argmax(0).astype(np.uint8) for query, found in asked.items()}
        for query, mask in masks[number].items():
            scores = list(metrics.class_dice(mask, case.label, cohort.spec).values())
            rows.append({"case": number, "subject": case.subject, "query": query, "dice": float(np.nanmean(scores))})
    return pd.DataFrame(rows), masks
