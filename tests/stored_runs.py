"""Small cases and runs with masks, and runs with invented scores, for tests of studies."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from hipposeg import metrics
from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.experiments.registry import RunSpec
from hipposeg.results.load import Run

TRAIN, SCORED = (1, 2, 3, 4), (5, 6, 7, 9)
NOISE = 0.002 * np.random.default_rng(0).standard_normal((9, 24))


def truth(case: int) -> np.ndarray:
    """A two-part label map, anterior at the high end of axis 1, a little different in each case."""
    label = np.zeros((14, 24 + case % 3, 12), np.uint8)
    label[4:9, 5:12, 3:8] = 2
    label[4:9, 12 : 19 + case % 2, 4:9] = 1
    return label


def cohort() -> SimpleNamespace:
    """Eight cases with the parts of a cohort that studies use."""
    cases = {
        number: SimpleNamespace(label=truth(number), spacing=(1.0, 1.0, 1.0), subject=(number + 1) // 2)
        for number in (*TRAIN, *SCORED)
    }
    return SimpleNamespace(cases=cases, spec=SPEC, sha256="d")


def shifted(by: int) -> dict[int, np.ndarray]:
    """Masks that are the truth moved along axis 1."""
    return {case: np.roll(truth(case), by, 1) for case in SCORED}


def run_of(model: str, masks: Mapping[int, np.ndarray], history: tuple[float, ...] = (), seed: int = 0) -> Run:
    """A run with these masks, scored by `metrics`. history: mean Dice after each epoch."""
    rows = []
    for case, mask in masks.items():
        scores = metrics.score_case(mask, truth(case), (1.0, 1.0, 1.0), SPEC)
        rows += [{"case": case, "subject": (case + 1) // 2, **row} for row in scores]
    config = _config(RunSpec(model, seed=seed))
    run = Run(config["run"], pd.DataFrame(rows).assign(**config), config, Path("nowhere"))
    lines = [{"epoch": epoch, "loss": 1.0, "dice_mean": dice} for epoch, dice in enumerate(history, start=1)]
    run.__dict__.update(masks=dict(masks), history=lines)  # read from files otherwise
    return run


def invented(model: str, dice: float, seed: int = 0, schedule: str = "S", fold: int = 0, **config: Any) -> pd.DataFrame:
    """Rows of `results.load` with invented mean Dice near `dice`, of 12 subjects."""
    values = dice + NOISE[3 * len(model) % 9] * 0.1 + NOISE[seed]
    rows = pd.DataFrame({"case": range(1, 25), "label": "mean", "dice": values}).assign(n=24)
    return rows.assign(
        subject=(rows["case"] + 1) // 2, **_config(RunSpec(model, "grouped", fold, seed, schedule)) | config
    )


def three(model: str, dice: float, schedule: str = "S", **config: Any) -> pd.DataFrame:
    """`invented` with three seeds."""
    return pd.concat([invented(model, dice, seed, schedule, **config) for seed in range(3)])


def _config(run: RunSpec) -> dict[str, Any]:
    fixed = {"device": "cpu", "precision": "bf16", "data_sha256": "d", "steps": 1, "notebook": "03"}
    places = {name: getattr(run, name) for name in ("model", "folds", "fold", "seed", "schedule")}
    return {"run": run.name, "planned": run.name, **places, **fixed}
