"""Calibration and detection against values worked out by hand, and against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from hipposeg_lab.studies import calibration, detection, uncertainty
from hipposeg_lab.studies.calibration import Voxels

RNG = np.random.default_rng(0)


def drawn(temperature, count=60_000, subject=1, seed=0):
    """Voxels whose truth is drawn from the probabilities before these are sharpened: that is how much they lie."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((count, 3))
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (honest.cumsum(1) < rng.random((count, 1))).sum(1)
    sharp = np.exp(temperature * logits)
    return Voxels(subject, (sharp / sharp.sum(1, keepdims=True)).astype(np.float32), truth.astype(np.uint8))


def test_error_by_hand():
    # Of four voxels of confidence 0.9 three are so, of two of confidence 0.25 none is.
    p = np.array([[0.1, 0.9]] * 4 + [[0.75, 0.25]] * 2, np.float32)
    voxels = Voxels(1, p, np.array([1, 1, 1, 0, 0, 0], np.uint8))
    table = calibration.histogram(voxels, 1)
    assert table.shape == (10, 3)
    assert table[9] == pytest.approx([4, 3.6, 3]) and table[2] == pytest.approx([2, 0.5, 0])
    assert calibration.error(table) == pytest.approx((4 * 0.15 + 2 * 0.25) / 6)
    # The predicted class: confidence 0.9 with 3 hits of 4, confidence 0.75 with 2 hits of 2.
    assert calibration.error(calibration.histogram(voxels, None)) == pytest.approx((4 * 0.15 + 2 * 0.25) / 6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature):
    voxels = drawn(temperature)
    found = calibration.fitted([voxels])
    assert found == pytest.approx(temperature, rel=0.03)
    mended = calibration.scaled(voxels.probabilities, found)
    assert mended.sum(1) == pytest.approx(1)
    assert (mended.argmax(1) == voxels.probabilities.argmax(1)).all(), "a temperature changes no decision"
    after = calibration.error(calibration.histogram(Voxels(1, mended, voxels.truth), None))
    assert after < 0.01
    with pytest.raises(ValueError, match="no voxel"):
        calibration.fitted([])


def test_only_voxels_near_a_border_count():
    true, predicted = np.zeros((20, 5, 5), np.uint8), np.zeros((20, 5, 5), np.uint8)
    true[:5], predicted[:12] = 1, 1
    found = np.stack([predicted == 0, predicted == 1]).astype(np.float32)
    for spacing, inside in ((1.0, [2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14]), (2.0, [4, 5, 11, 12])):
        counted = calibration.counted(2, found, true, (spacing, 1.0, 1.0))
        assert (counted.truth == true[inside].ravel()).all()
        assert (counted.probabilities[:, 1] == predicted[inside].ravel()).all()


def test_no_temperature_is_fitted_on_the_subjects_it_is_applied_to():
    voxels = [drawn(temperature, 20_000, subject, subject) for subject, temperature in ((1, 2.0), (2, 0.5), (3, 2.0))]
    found = uncertainty.temperatures(voxels, [])
    # Subjects 1 and 3 are one half, subject 2 the other: each half gets the temperature of the other.
    assert found[1] == found[3] == pytest.approx(0.5, rel=0.05) and found[2] == pytest.approx(2.0, rel=0.05)
    assert set(uncertainty.temperatures(voxels, [drawn(1.5)]).values()) == {calibration.fitted([drawn(1.5)])}


def test_rank_statistics_are_those_of_the_libraries():
    u, dice = RNG.random(40).round(1), RNG.random(40).round(1)
    bad = dice < 0.3
    assert detection.spearman(u, dice) == pytest.approx(scipy_stats.spearmanr(u, dice).statistic)
    assert detection.auroc(u, bad) == pytest.approx(roc_auc_score(bad, u))
    assert np.isnan(detection.auroc(u, np.zeros(40, bool))) and np.isnan(detection.spearman(np.ones(40), dice))


def test_the_worst_quarter_and_what_is_left_without_it():
    dice = np.array([0.9, 0.5, 0.8, 0.7, 0.85])
    assert detection.worst(dice).tolist() == [False, True, False, True, False]
    curve = detection.coverage_curve(-dice, dice)
    assert [share for share, _, _ in curve] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert all(kept == best for _, kept, best in curve), "an uncertainty that knows the truth is the best order"
    assert curve[1][1] == pytest.approx(0.875) and curve[-1][1] == pytest.approx(dice.mean())
    turned = detection.coverage_curve(dice, dice)
    assert turned[0][1] == 0.5 and turned[0][2] == 0.9


def test_uncertainty_of_a_case_by_hand():
    sure = np.zeros((2, 4, 1, 1))
    sure[1, 2:], sure[0, :2] = 1, 1
    assert detection.entropy(sure, (1, 1, 1)) == pytest.approx(0, abs=1e-5)
    assert detection.expected_loss(sure) == 0
    half = np.stack([np.full((4, 1, 1), 0.5), np.full((4, 1, 1), 0.5)])
    half[1, 2:] += 1e-9
    half[0, 2:] -= 1e-9
    assert detection.entropy(half, (1, 1, 1)) == pytest.approx(np.log(2))
    # Two of four voxels are marked; the expected overlap is 1, the sizes are 2 and 2.
    assert detection.expected_loss(half) == pytest.approx(1 - 2 * 1 / (2 + 2))
    other = sure[:, ::-1]
    assert detection.disagreement([sure, sure], sure) == 0
    assert detection.disagreement([sure, other], sure) == pytest.approx(0.5)
