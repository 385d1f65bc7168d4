"""A few small cases and runs with masks, as studies get them, for their tests."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from hipposeg import metrics
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.results.table import Run

TRAIN, SCORED = (1, 2, 3, 4), (5, 6, 7, 9)


def truth(case: int) -> np.ndarray:
    """A two-part label map, anterior at the high end of axis 1, a little different in each case."""
    label = np.zeros((14, 24 + case % 3, 12), np.uint8)
    label[4:9, 5:12, 3:8] = 2
    label[4:9, 12 : 19 + case % 2, 4:9] = 1
    return label


def cohort() -> SimpleNamespace:
    """Eight cases with what studies ask of a cohort."""
    cases = {
        number: SimpleNamespace(label=truth(number), spacing=(1.0, 1.0, 1.0), subject=(number + 1) // 2)
        for number in (*TRAIN, *SCORED)
    }
    return SimpleNamespace(cases=cases, spec=SPEC, sha256="d")


def shifted(by: int) -> dict[int, np.ndarray]:
    """Masks that are the truth moved along axis 1."""
    return {case: np.roll(truth(case), by, 1) for case in SCORED}


def run_of(model: str, masks: dict[int, np.ndarray], history: tuple[float, ...] = (), **config) -> Run:
    """A run with these masks, scored by `metrics`. history: mean Dice noted after each epoch."""
    rows = []
    for case, mask in masks.items():
        scores = metrics.score_case(mask, truth(case), (1.0, 1.0, 1.0), SPEC)
        rows += [{"case": case, "subject": (case + 1) // 2, **row} for row in scores]
    base = {"model": model, "folds": "grouped", "fold": 0, "seed": 0, "schedule": "standard", "device": "cpu",
            "precision": "float32", "torch": "2"}  # fmt: skip
    lines = [{"epoch": epoch, "loss": 1.0, "dice": {"mean": dice}} for epoch, dice in enumerate(history, start=1)]
    name = "{model}.{folds}{fold}.s{seed}.{schedule}".format(**(base | config))
    return Run(name, base | config, pd.DataFrame(rows), lines, False, Path("nowhere"))
