"""Conformal intervals: quantiles by hand, coverage that is known, no look at test volumes; and flags of masks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.predict import quality
from hipposeg_lab.studies.coverage import (
    CHOSEN,
    CONSTANT,
    METHODS,
    SPREAD,
    VOLUME,
    Residuals,
    across_folds,
    across_halves,
    bounds,
    choose,
    coverage_rows,
    one_each,
    quantile,
    scale_of,
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


def test_one_volume_of_each_person_is_drawn_and_each_of_them_in_turn():
    subject = np.array([7, 7, 8, 9, 9, 9])
    rng = np.random.default_rng(0)
    draws = np.array([one_each(subject, np.array([0, 1, 2, 3, 4, 5]), rng) for _ in range(3000)])
    assert draws.shape == (3000, 3) and (subject[draws] == [7, 8, 9]).all()
    assert np.bincount(draws.ravel(), minlength=6) / 3000 == pytest.approx(
        [1 / 2, 1 / 2, 1, 1 / 3, 1 / 3, 1 / 3], abs=0.04
    )
    assert subject[one_each(subject, np.array([0, 3, 4]), rng)].tolist() == [7, 9]


def test_scales_and_ends():
    assert scale_of(CONSTANT, [5.0, 9.0], [2.0, 3.0]).tolist() == [1, 1]
    assert scale_of(VOLUME, [5.0, 0.0], [2.0, 3.0]).tolist() == [5, 1]
    assert scale_of(SPREAD, [5.0, 9.0], [0.2, 3.0]).tolist() == [1, 3]
    low, high = bounds(np.array([100.0, 10.0]), np.array([20.0, 30.0]))
    assert low.tolist() == [80, 0] and high.tolist() == [120, 40]


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


def test_halves_hold_the_level_and_are_the_same_each_time():
    found = made(120)
    coverage, width, people = across_halves(found, VOLUME, splits=60)
    assert coverage.shape == width.shape == (60, 3) and people == 60
    assert coverage.mean() == pytest.approx(0.9, abs=0.03)
    assert np.array_equal(coverage, across_halves(found, VOLUME, splits=60)[0])


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


def mask():
    """A hippocampus of two blocks, 3 voxels from the low side of axis 2, and one stray voxel."""
    found = np.zeros((20, 30, 20), np.uint8)
    found[8:12, 20:24, 3:7] = 1
    found[8:12, 12:20, 3:7] = 2
    return found


CALM = {"anterior": 3.0, "posterior": 3.0, "union": 4.0}


def test_measures_by_hand():
    found = quality.measure(mask(), (1.0, 2.0, 1.0), CALM, PHANTOM_SPEC)
    assert (found["anterior"], found["posterior"], found["union"]) == (128, 256, 384)
    assert found["margin"] == 3 and found["stray"] == 0
    assert found["order"] == (21.5 - 15.5) * 2 and found["doubt"] == pytest.approx(4 / 384)
    pieces = mask()
    pieces[0, 0, 0] = 2
    assert quality.measure(pieces, (1.0, 2.0, 1.0), CALM, PHANTOM_SPEC)["stray"] == pytest.approx(1 / 193)


def test_flags_name_what_is_beyond_the_limits():
    usual = quality.measure(mask(), (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    within = quality.limits([usual] * 3, PHANTOM_SPEC)
    assert quality.flags(usual, within) == []
    turned = quality.measure(mask()[:, ::-1], (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert [flag for flag in quality.flags(turned, within)] == [
        "the anterior part's centre is -6 mm in front of the posterior's (limit 6)"
    ]
    cut = quality.measure(mask()[:, :, 3:], (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert [flag.split(" (")[0] for flag in quality.flags(cut, within)] == [
        "voxels between the hippocampus and the nearest side of the crop: 0"
    ]
    doubtful = quality.measure(mask(), (1.0, 1.0, 1.0), CALM | {"union": 40.0}, PHANTOM_SPEC)
    assert (
        len(quality.flags(doubtful, within)) == 1 and "differ in the total volume" in quality.flags(doubtful, within)[0]
    )
    small = quality.measure(np.where(mask() == 1, 0, mask()), (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert any("anterior volume of 0 mm³ is below" in flag for flag in quality.flags(small, within))
    empty = quality.measure(mask() * 0, (1.0, 1.0, 1.0), CALM, PHANTOM_SPEC)
    assert quality.flags(empty, within) == ["no hippocampus was found"]


def test_without_a_spread_its_rule_is_silent():
    unknown = dict.fromkeys(CALM, float("nan"))
    found = quality.measure(mask(), (1.0, 1.0, 1.0), unknown, PHANTOM_SPEC)
    assert quality.limits([found], PHANTOM_SPEC)["doubt"] == [None, None]
