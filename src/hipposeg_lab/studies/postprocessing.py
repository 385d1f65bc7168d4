"""Post-processing as an ablation: the same stored masks with small pieces removed and holes filled, scored again.

Each step takes a label map (X, Y, Z) of integers, background 0, and returns one; none reads an image or a truth.
Components touch by faces, edges or corners. nnU-Net decides on its training cases whether to keep the largest one
(Isensee et al. 2021, doi 10.1038/s41592-020-01008-z); here each step is only measured.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import ndimage

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.metrics import MEAN, UNION
from hipposeg.results.load import Run
from hipposeg.stats import interval

COLUMNS = ("run", "step", "label", "dice", "difference", "low", "high", "subjects")
TOUCHING = np.ones((3, 3, 3), dtype=bool)


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected component of a boolean mask (X, Y, Z), the first of equal ones."""
    parts, count = ndimage.label(mask, TOUCHING)
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])) if count > 1 else mask


def largest_part(labels: np.ndarray) -> np.ndarray:
    """Keep only the largest component of every class."""
    kept = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        kept[largest(labels == value)] = value
    return kept


def largest_whole(labels: np.ndarray) -> np.ndarray:
    """Keep only the largest component of the foreground."""
    return np.where(largest(labels > 0), labels, 0).astype(labels.dtype)


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Fill background enclosed by foreground with the class of the nearest foreground voxel."""
    holes = ndimage.binary_fill_holes(labels > 0) & (labels == 0)
    if not holes.any():
        return labels
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.where(holes, labels[tuple(nearest)], labels)


def every_step(labels: np.ndarray) -> np.ndarray:
    """All three, one after the other."""
    return fill_holes(largest_part(largest_whole(labels)))


STEPS = {"largest-part": largest_part, "largest-whole": largest_whole, "fill-holes": fill_holes, "all": every_step}


def study(runs: Sequence[Run], cohort: Cohort) -> pd.DataFrame:
    """Dice after each step, its difference from the stored masks, and an interval over subjects: columns COLUMNS."""
    rows = []
    for run in runs:
        subjects, before = run.subjects(), dice_table(run.masks, cohort)
        for step, change in STEPS.items():
            table = dice_table({case: change(mask) for case, mask in run.masks.items()}, cohort)
            for label in table:
                found = interval((table[label] - before[label]).to_numpy(), subjects.to_numpy())
                ends = found.value, found.low, found.high
                rows.append((run.name, step, label, table[label].mean(), *ends, subjects.nunique()))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def dice_table(masks: Mapping[int, np.ndarray], cohort: Cohort) -> pd.DataFrame:
    """Dice by case (rows) of each part, their union and their mean (NaN skipped), as in `metrics.score_case`."""
    rows = {}
    for number, mask in masks.items():
        truth = cohort.cases[number].label
        rows[number] = metrics.class_dice(mask, truth, cohort.spec) | {UNION: metrics.dice(mask > 0, truth > 0)}
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index()
    return table.assign(**{MEAN: table[list(cohort.spec.names)].mean(axis=1)})
