"""A run's masks as files, and their scores as rows of a table."""

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from hipposeg import files, metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.data.leak_folds import scored_part
from hipposeg.data.read import Case
from hipposeg.inference import Predictor

# A run's scores, one row for each case and label; compressed, because the full profile has hundreds of runs.
CASES = "cases.csv.gz"
CASE_COLUMNS = ("case", "subject", "label", *metrics.METRICS, "volume_true", "volume_predicted")


def predict_all(
    predict: Predictor, images: dict[int, np.ndarray], cohort: Cohort, cases: list[int], folder: Path
) -> dict[int, np.ndarray]:
    """Predict the cases and write them as NIfTI in their native geometry; returns case -> (X, Y, Z) uint8."""
    shutil.rmtree(folder, ignore_errors=True)
    predicted = {}
    for number in cases:
        case = cohort.cases[number]
        predicted[number] = predict(images[number], case.spacing)
        write_mask(folder / cohort.spec.file_name(number), predicted[number], case)
    return predicted


def write_mask(path: Path, mask: np.ndarray, case: Case) -> None:
    """Write (X, Y, Z) uint8 with the case's affine, in mm, as reproducible NIfTI gzip."""
    image = nibabel.Nifti1Image(mask, case.affine, dtype=np.uint8)
    image.header.set_xyzt_units("mm")
    with files.replacing(path) as temporary:
        nibabel.save(image, temporary)


def score_all(predicted: dict[int, np.ndarray], cohort: Cohort, fold: Fold | None = None) -> list[dict[str, Any]]:
    """Rows of CASES for these predictions.

    Of a fold that scores some slices alone (`leak_folds`), these are taken for a volume of thicker ones: its distances
    then stand beside no others.
    """
    part, steps = scored_part(fold or {})
    rows = []
    for number, mask in predicted.items():
        case = cohort.cases[number]
        spacing = [side * step for side, step in zip(case.spacing, steps, strict=True)]
        scores = metrics.score_case(mask[part], case.label[part], spacing, cohort.spec)
        rows += [{"case": number, "subject": case.subject, **row} for row in scores]
    return rows
