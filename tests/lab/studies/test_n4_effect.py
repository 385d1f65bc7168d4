"""The effect of N4 by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from hipposeg.data.read import Case
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg_lab.studies import n4_effect as effect


def test_contrast_and_variation_by_hand():
    # A label of one voxel's width in a plane: 2 voxels of 10 and 14 inside, surroundings 0 and 4 in equal parts.
    image = np.zeros((1, 2, 1))
    image[0, :, 0] = (10, 14)
    assert effect.variation(image, image > 0) == pytest.approx(2 / 12)
    line = np.array([0, 4, 10, 14, 0, 4], dtype=float).reshape(6, 1, 1)
    label = np.array([0, 0, 1, 1, 0, 0], dtype=np.uint8).reshape(6, 1, 1)
    # Means 12 and 2, variances 4 and 4.
    assert effect.contrast_to_noise(line, label) == pytest.approx(10 / 2)
    assert np.isnan(effect.contrast_to_noise(line, np.zeros_like(label)))


def test_effects_of_a_correction_that_does_nothing_are_zero():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (8, 9, 10)).astype(np.uint8)
    image = (100 + 10 * label + rng.normal(size=label.shape))[None].astype(np.float32)
    case = Case(1, 1, image, label, np.eye(4), (1.0, 1.0, 1.0), "float32", "")
    cohort = SimpleNamespace(cases={1: case}, spec=MSD_HIPPOCAMPUS)
    row = effect.effects(cohort, {1: case.image}).loc[1]
    assert row.field_range == 0 and row.z_change == 0 and row.correlation == pytest.approx(1)
    assert row.cnr_before == row.cnr_after and row.cv_anterior_before == row.cv_anterior_after
