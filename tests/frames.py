"""Rows of invented runs, as `results.load` gives them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hipposeg.experiments.registry import RunSpec
from hipposeg.metrics import MEAN


def rows(run: RunSpec, dice: float | Sequence[float], label: str = MEAN, cases: int = 24, **changes) -> pd.DataFrame:
    """One row a case of one label; case numbers count from 1, two cases a subject.

    Args:
        run: which run.
        dice: of all `cases` cases, or of each.
        label: of all rows.
        cases: how many, if `dice` is one number.
        changes: other values of columns.
    """
    values = np.full(cases, dice) if np.isscalar(dice) else np.asarray(dice, float)
    numbers = np.arange(1, len(values) + 1)
    shared = {
        "run": run.name, "planned": run.name, "model": run.model, "folds": run.folds, "fold": run.fold,
        "seed": run.seed, "schedule": run.schedule, "device": "cpu", "precision": run.hardware or "bf16",
        "data_sha256": "d", "steps": 100, "train_s": 90.0, "processor": "A", "dims": 2, "params": 1000, "gflops": 1.5,
    }  # fmt: skip
    return pd.DataFrame({"case": numbers, "subject": (numbers + 1) // 2, "dice": values, "label": label}).assign(
        **(shared | changes)
    )


def three(model: str, dice: float, schedule: str = "S", spread: float = 0.0) -> pd.DataFrame:
    """Three seeds of a model on grouped fold 0, `spread` apart."""
    return pd.concat([
        rows(RunSpec(model, seed=seed, schedule=schedule), dice + spread * (seed - 1)) for seed in range(3)
    ])  # fmt: skip
