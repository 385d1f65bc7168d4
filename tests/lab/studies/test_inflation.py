"""Ways to inflate a score: each against a count by hand or another library, and the study's table."""

import numpy as np
import pytest
from sklearn.metrics import f1_score
from stored_runs import SCORED, TRAIN, cohort, run_of, shifted, truth

from hipposeg import stats
from hipposeg.results.load import ATLAS
from hipposeg_lab.studies import inflation

N = 3


def line(values):
    """A label map of one row of voxels along axis 2."""
    return np.array(values, np.uint8).reshape(1, 1, -1)


def test_background_counts_as_a_class():
    prediction, true = line([0, 0, 0, 1, 2, 0]), line([0, 0, 0, 1, 2, 2])
    # Background: 2*3/(4+3); anterior 1; posterior 2*1/(1+2).
    assert inflation.class_mean(prediction, true, N) == pytest.approx((1 + 2 / 3) / 2)
    assert inflation.class_mean(prediction, true, N, first=0) == pytest.approx((6 / 7 + 1 + 2 / 3) / 3)


def test_what_lies_outside_the_true_box_is_not_scored():
    true = truth(5)
    prediction = true.copy()
    prediction[0, 0, 0], prediction[6, 8, 5] = 1, 0  # one outside the box, one inside
    kept = prediction.copy()
    kept[0, 0, 0] = 0
    assert inflation.truth_crop(prediction, true, N) == inflation.class_mean(kept, true, N)
    assert inflation.class_mean(prediction, true, N) < inflation.truth_crop(prediction, true, N) < 1
    with pytest.raises(ValueError, match="empty"):
        inflation.truth_crop(prediction, np.zeros_like(true), N)


def placed(mask):
    """A label map in the middle of a 64 cube, written out once more."""
    out = np.zeros(inflation.BOX, np.uint8)
    low = [(64 - side) // 2 for side in mask.shape]
    out[tuple(slice(start, start + side) for start, side in zip(low, mask.shape, strict=True))] = mask
    return out


@pytest.mark.parametrize(("size", "cut"), [(16, True), (24, True), (2, False)])
def test_pooling_is_the_mean_f1_of_batches_with_absent_classes_as_perfect(size, cut):
    pairs = [(shifted(2)[case], truth(case)) for case in SCORED]
    stack = np.concatenate([np.stack([placed(p), placed(t)]) for p, t in pairs], axis=0)
    predicted, true = stack[0::2], stack[1::2]  # (cases, 64, 64, 64)
    if cut:
        predicted, true = (np.moveaxis(part, 3, 1).reshape(-1, 64, 64) for part in (predicted, true))
    scores = []
    for start in range(0, len(true), size):
        part = (true[start : start + size].ravel(), predicted[start : start + size].ravel())
        scores.append(f1_score(*part, labels=[0, 1, 2], average="macro", zero_division=1.0))
    counts = np.concatenate([inflation.box_counts(*pair, N, cut) for pair in pairs])
    assert inflation.batched(counts, size) == pytest.approx(np.mean(scores))


def test_a_crop_around_the_truth_makes_a_guess_right_wherever_the_truth_lies():
    made = cohort()
    for number, case in made.cases.items():
        case.label = np.roll(truth(1), number % 3, 2)  # one shape, in different places
    found = inflation.mean_crop(made, TRAIN, SCORED)
    assert list(found.index) == list(SCORED) and found.tolist() == [1.0] * len(SCORED)


@pytest.fixture(scope="module")
def table():
    runs = [run_of(ATLAS, shifted(3)), run_of("unet2d", shifted(1), history=(0.5, 0.8, 0.7))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "FEW_RESAMPLES", 100)
        return inflation.study([[run] for run in runs], cohort(), TRAIN)


def test_study_has_every_practice_and_adds_up(table):
    assert tuple(table.columns) == inflation.COLUMNS
    practices = list(inflation.PRACTICES)
    assert list(table["practice"]) == [*practices[:-1], *practices], "only the trained run has epochs"
    assert (table["difference"] - (table["shown"] - table["honest"])).abs().max() < 1e-12
    assert set(table.loc[table["low"].isna(), "practice"]) == {"honest", "best-epoch"}
    assert (table["seeds"] == 1).all()
    inside = table.dropna()
    assert ((inside["low"] <= inside["difference"] + 1e-12) & (inside["difference"] <= inside["high"] + 1e-12)).all()


def test_study_of_one_practice_by_hand(table):
    rows = table[table["run"].str.startswith("unet2d")].set_index("practice")
    gains = [inflation.class_mean(shifted(1)[c], truth(c), N, 0) - inflation.class_mean(shifted(1)[c], truth(c), N)
             for c in SCORED]  # fmt: skip
    expected = stats.interval(np.array(gains), [(case + 1) // 2 for case in SCORED])
    found = rows.loc["background"]
    assert (found["difference"], found["low"], found["high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert tuple(rows.loc["best-epoch", ["honest", "shown"]]) == (0.7, 0.8)
    assert rows.loc["pooled-nothing", "honest"] == 0 < rows.loc["pooled-nothing", "shown"]
    atlas = table[table["run"].str.startswith(ATLAS)].set_index("practice")
    assert rows.loc["truth-crop-no-image", "honest"] == atlas.loc["honest", "shown"]
    assert (rows["subjects"] == 3).all()
