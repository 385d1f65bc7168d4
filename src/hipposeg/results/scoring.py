"""Scoring predicted masks: one row per case and label."""

from typing import Any

import numpy as np

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.data.leak_folds import scored_part


def score_all(predicted: dict[int, np.ndarray], cohort: Cohort, fold: Fold | None = None) -> list[dict[str, Any]]:
    """Score predictions against the labels.

    Args:
        predicted: case -> label map (X, Y, Z) uint8 on the native grid.
        cohort: the labelled cases.
        fold: the fold. Where only some slices are scored (`leak_folds`), they count as a volume of thicker slices.

    Returns:
        Rows with case, subject, label and the metrics of `metrics.score_case`.
    """
    part, steps = scored_part(fold or {})
    rows = []
    for number, mask in predicted.items():
        case = cohort.cases[number]
        spacing = [side * step for side, step in zip(case.spacing, steps, strict=True)]
        scores = metrics.score_case(mask[part], case.label[part], spacing, cohort.spec)
        rows += [{"case": number, "subject": case.subject, **row} for row in scores]
    return rows
