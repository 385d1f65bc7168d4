"""The way from a scan to the template: a known affine is found, equal scans give equal results, noise is no head.

The template is taken at 4 mm here, an eighth of its voxels.
"""

from functools import cache

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hipposeg.predict import registration
from hipposeg.predict.registration import BOXES, TEMPLATE, locate, own_axes, resampled


@cache
def halved(name):
    image = nibabel.load(TEMPLATE / f"mni152_2mm_{name}.nii.gz")
    affine = image.affine @ np.diag((2, 2, 2, 1))
    size = tuple(side // 2 for side in image.shape)
    return resampled(np.asarray(image.dataobj, dtype=np.float32), image.affine, size, affine), affine


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr(registration, "template", lambda name: registration._as_sitk(*halved(name), name != "mask"))


def test_own_axes_are_named_by_the_nearest_directions():
    turn = Rotation.from_euler("xyz", (12, -20, 30), degrees=True).as_matrix()
    for order, signs in (((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, -1, 1)), ((1, 2, 0), (-1, 1, -1))):
        affine = np.eye(4)
        affine[:3, :3] = (turn * signs)[:, order] * (0.7, 1, 2)
        np.testing.assert_allclose(own_axes(affine), turn, atol=1e-12)


def test_a_turned_moved_and_larger_head_is_found_the_same_twice():
    order, (image, affine) = (2, 0, 1), halved("head")
    known = np.eye(4)
    known[:3, :3] = 1.05 * Rotation.from_euler("xyz", (15, -6, 10), degrees=True).as_matrix()
    known[:3, 3] = (20, -15, 30)
    stored = np.ascontiguousarray(image.transpose(order)[::-1])  # with other axes, one of them backwards
    to_first = np.zeros((4, 4))
    to_first[[*order, 3], range(4)] = 1
    to_first[:, 3] += (len(stored) - 1) * to_first[:, 0]
    to_first[:, 0] *= -1
    found, again = (locate(stored, known @ affine @ to_first) for _ in range(2))
    places = np.array([(*corner, 1.0) for box in BOXES.values() for corner in box])
    assert np.linalg.norm(places @ (found.affine - known).T, axis=1).max() < 2
    assert not found.collapsed and not found.stripped
    assert found.intracranial_ml == pytest.approx(1880 * 1.05**3, rel=0.03)
    assert found.affine.tobytes() == again.affine.tobytes() and found.metric == again.metric


def test_a_head_without_skull_takes_the_template_without_skull():
    assert locate(*halved("brain")).stripped


def test_noise_and_impossible_sizes_are_no_head():
    noise = np.random.default_rng(0).normal(100, 30, (50, 50, 50)).astype(np.float32)
    assert locate(noise, np.diag((4.0, 4, 4, 1))).collapsed
    for scales in ((0.6, 1, 1), (1, 1.4, 1), (-1, 1, 1)):
        assert registration.Located(np.diag((*scales, 1.0)), 1.0, False).collapsed
    assert not registration.Located(np.diag((0.8, 1, 1.2, 1)), 1.0, False).collapsed


def test_the_share_of_a_hippocampus_that_lies_in_the_image():
    found, affine = registration.Located(np.eye(4), 1.0, False), np.diag((-1.5, 1.5, 1.5, 1.0))
    affine[:3, 3] = (60, -90, -60)
    assert [found.covered(side, affine, (80, 100, 60)) for side in ("left", "right")] == [1, 1]
    affine[2, 3] = -11.5  # the middle of both
    assert [found.covered(side, affine, (80, 100, 60)) for side in ("left", "right")] == pytest.approx(
        [0.5, 0.5], abs=0.1
    )
    affine[:3, 3] = (60, -90, -60)
    assert found.covered("left", affine, (40, 100, 60)) == 0 < found.covered("right", affine, (40, 100, 60))
