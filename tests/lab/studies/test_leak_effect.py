"""Effect of a leak: the paired difference of leaking and clean training."""

import numpy as np
import pandas as pd
import pytest

from hipposeg.results.compare import CONCLUSIONS
from hipposeg_lab.studies import leaks

LABELS = ("anterior", "posterior", "union", "mean")


def result(fold, seed, dice):
    """A run of `leak-volumes` with one Dice for every case: odd ones on folds 0 and 1, even ones on 2 and 3."""
    cases = pd.DataFrame({"case": np.arange(1, 25, 2) + fold // 2})
    cases["subject"] = (cases["case"] + 1) // 2
    cases["dice"] = dice + 0.01 * cases["subject"]
    rows = pd.concat([cases.assign(label=label) for label in LABELS])
    same = dict.fromkeys(("schedule", "data_sha256", "device", "precision"), "same")
    return rows.assign(model="unet3d", folds="leak-volumes", fold=fold, seed=seed, steps=9, **same)


def test_the_effect_is_the_paired_difference_over_subjects_and_both_sides():
    leak, clean = {0: 0.80, 2: 0.84}, {1: 0.79, 3: 0.81}
    runs = pd.concat([result(fold, seed, dice) for fold, dice in (leak | clean).items() for seed in range(3)])
    table = pd.DataFrame(leaks.rows(runs, LABELS)).set_index("label")
    one = table.loc["mean"]
    assert one["difference"] == pytest.approx((0.01 + 0.03) / 2) and one["conclusion"] == CONCLUSIONS[0]
    assert (one["subjects"], one["seeds"]) == (12, 3)
    assert (one["kind"], one["model"]) == ("leak-volumes", "unet3d")
    assert one["leak"] == pytest.approx(0.82 + 0.01 * 6.5) and one["clean"] == pytest.approx(0.80 + 0.01 * 6.5)
    assert tuple(table.index) == LABELS
    assert set(leaks.COLUMNS) == set(table.reset_index().columns)
