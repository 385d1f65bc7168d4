"""Conformal intervals: quantiles by hand, coverage that is known, no look at test volumes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hipposeg_lab.studies.coverage import (
    CHOSEN,
    CONSTANT,
    METHODS,
    SPREAD,
    VOLUME,
    Residuals,
    across_folds,
    choose,
    coverage_rows,
    quantile,
    terciles,
)


def made(n_subjects=60, relative=True, seed=0) -> Residuals:
    """Two volumes a person, in five folds; errors are proportional to the volume, or to the spread."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), 2)
    true = rng.uniform(1000, 3000, (3, len(subject)))
    spread = rng.uniform(5, 60, true.shape)
    error = rng.standard_normal(true.shape) * (0.05 * true if relative else 3 * spread)
    names = ("anterior", "posterior", "union")
    return Residuals(names, np.arange(len(subject)), subject, subject % 5, true, true + error, spread)


@pytest.mark.parametrize(
    ("n", "level", "wanted"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (29, 0.9, 27), (99, 0.9, 90), (4, 0.5, 3), (8, 0.9, np.inf)],
)
def test_quantile_is_the_counted_score(n, level, wanted):
    # ceil((n + 1) level): 10 x 0.9 = 9; 11 x 0.9 = 9.9 -> 10; 9 x 0.9 = 8.1 -> 9, one more than there are.
    scores = np.random.default_rng(1).permutation(np.arange(1.0, n + 1))
    assert quantile(scores, level) == wanted
    assert quantile(np.stack([scores, 2 * scores]), level).tolist() == [wanted, 2 * wanted]


@pytest.mark.parametrize("n", [9, 20, 39])
def test_coverage_of_exchangeable_scores_is_what_theory_says(n):
    """For continuous scores the chance of k of n + 1 ranks: exactly ceil((n + 1) 0.9) / (n + 1), for any law."""
    rng, trials = np.random.default_rng(n), 40_000
    scores = np.abs(rng.standard_cauchy((trials, n + 1)))
    found = (scores[:, -1] <= quantile(scores[:, :-1])).mean()
    wanted = np.ceil(round((n + 1) * 0.9, 9)) / (n + 1)
    assert found == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / trials))
    assert wanted >= 0.9


def test_the_narrower_scale_is_chosen():
    relative, spread = made(), made(relative=False)
    everyone = np.arange(len(relative.case))
    assert choose(relative, everyone) == VOLUME and choose(spread, everyone) == SPREAD
    assert choose(replace(spread, spread=np.full_like(spread.spread, np.nan)), everyone) == VOLUME


def test_scored_volumes_do_not_touch_their_intervals():
    found = made()
    lower, upper, scales = across_folds(found, CHOSEN)
    scored = found.fold == 2
    changed = found.true.copy()
    changed[:, scored] = np.random.default_rng(5).uniform(1, 9999, changed[:, scored].shape)
    again = across_folds(replace(found, true=changed), CHOSEN)
    assert np.array_equal(again[0][:, scored], lower[:, scored]) and again[2][2] == scales[2]
    assert not np.array_equal(again[1][:, ~scored], upper[:, ~scored])


def test_interval_by_hand():
    """Nine people in fold 1 calibrate fold 0: the greatest of their nine scores."""
    predicted = np.array([[1000.0, 2000.0, *range(1000, 1900, 100)]])
    errors = np.array([[0.0, 0.0, *range(10, 100, 10)]])
    ones = np.arange(11)
    found = Residuals(("union",), ones, ones, (ones > 1).astype(int), predicted + errors, predicted, errors * 0 + 7)
    greatest = max(error / volume for error, volume in zip(errors[0, 2:], predicted[0, 2:], strict=True))
    for method, wanted in ((CONSTANT, [90, 90]), (VOLUME, [1000 * greatest, 2000 * greatest]), (SPREAD, [90, 90])):
        lower, upper, _ = across_folds(found, method)
        assert (upper - predicted)[0, :2] == pytest.approx(wanted)
        assert (predicted - lower)[0, :2] == pytest.approx(wanted)


def test_rows_of_the_coverage_table():
    found = made()
    rows = pd.DataFrame(coverage_rows(found, splits=5))
    assert len(rows) == 3 * len(METHODS) * (1 + 3 + 5 + 1) and rows.notna().all(axis=None)
    lower, upper, _ = across_folds(found, VOLUME)
    third = terciles(found.predicted[1])
    assert np.bincount(third).tolist() == [0, 40, 40, 40]
    assert found.predicted[1][third == 1].max() < found.predicted[1][third == 2].min()
    inside = [
        low <= true <= high
        for low, true, high, t in zip(lower[1], found.true[1], upper[1], third, strict=True)
        if t == 3
    ]
    row = rows.set_index(["label", "method", "group"]).loc["posterior", VOLUME, "tercile 3"]
    assert row["coverage"] == pytest.approx(np.mean(inside)) and row["low"] <= row["coverage"] <= row["high"]
    assert row["width"] == pytest.approx((upper - lower)[1][third == 3].mean())
    assert row["subjects"] == len(np.unique(found.subject[third == 3]))
