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


def test_places_and_tilts_are_symmetric():
    (left_low, left_high), (low, high) = BOXES["left"], BOXES["right"]
    assert (low[0], high[0]) == (-left_high[0], -left_low[0]) and (low[1:], high[1:]) == (left_low[1:], left_high[1:])
    assert np.array_equal(registration.TILTS, np.arange(-2, 3) * 20)


def test_a_working_copy_covers_the_scan_along_its_own_axes():
    turn = Rotation.from_euler("xyz", (12, -20, 30), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (1.5, -1, 2), (5, 6, 7)
    ramp = np.indices((11, 12, 14)).astype(np.float32)
    for step, size in ((None, (9, 7, 14)), (3.0, (6, 5, 10))):
        copies = [registration.working_copy(one, affine, turn, *filter(None, [step])) for one in ramp]
        for array, grid in copies:
            assert array.shape == size and array.dtype == np.float32
            assert np.array_equal(grid[:3, :3], np.eye(3) * (step or 2))
        # The first voxel of the copy is the corner of the scan that is lowest along each axis: (0, 11, 0).
        np.testing.assert_allclose(turn @ grid[:3, 3], affine[:3, :3] @ (0, 11, 0) + affine[:3, 3], atol=1e-9)
        inner = [array[1:-2, 1:-2, 1:-2] for array, _ in copies]
        expected = np.indices(size) * (step or 2) / np.array([1.5, -1, 2]).reshape(3, 1, 1, 1)
        expected[1] += 11
        np.testing.assert_allclose(inner, expected[:, 1:-2, 1:-2, 1:-2], atol=0.02)


def test_a_coarser_grid_is_smoothed_to_its_resolution_and_a_finer_one_interpolated():
    image = np.zeros((21, 21, 21), np.float32)
    image[10, 10, 10] = 1
    found = resampled(image, np.diag((1.0, 1, 1, 1)), (11, 11, 11), np.diag((2.0, 2, 2, 1)))
    # A voxel of 2 mm is wider than one of 1 mm by a Gaussian whose full width at half maximum is sqrt(2^2 - 1^2) mm.
    sigma = np.sqrt(3) / np.sqrt(8 * np.log(2))
    weights = np.exp(-((np.arange(21) - 10) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum())[::2]
    np.testing.assert_allclose(found, weights[:, None, None] * weights[:, None] * weights, atol=1e-4)
    thick = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    kept = resampled(thick, np.diag((2.0, 2, 4, 1)), (5, 4, 3), np.diag((2.0, 2, 4, 1)))
    assert np.array_equal(kept, thick), "no sharper or smoother than it was"
    fine = resampled(thick, np.diag((2.0, 2, 2, 1)), (9, 7, 5), np.eye(4))
    np.testing.assert_allclose(fine[::2, ::2, ::2], thick, atol=1e-6)
    np.testing.assert_allclose(fine[1::2, 0, 0], (thick[1:, 0, 0] + thick[:-1, 0, 0]) / 2, atol=1e-6)


def test_smoothing_follows_the_scans_own_axes():
    image, affine = np.zeros((31, 21, 15), np.float32), np.zeros((4, 4))
    image[15, 10, 7] = 1
    affine[0, 2], affine[1, 0], affine[2, 1], affine[3, 3] = 3, 1, 2, 1  # voxels of 1, 2 and 3 mm, other axes
    found = resampled(image, affine, (11, 15, 15), affine @ np.diag((3, 1.5, 1, 1)))
    along_x, along_z = found[:, :, 7].sum(axis=1), found[5].sum(axis=0)
    weights = np.exp(-((np.arange(31) - 15) ** 2) / (2 * 8 / (8 * np.log(2))))
    np.testing.assert_allclose(along_x / along_x.max(), (weights / weights.max())[::3], atol=1e-3)
    assert np.count_nonzero(along_z) == 1, "along an axis of 3 mm nothing is smoothed"


def test_intensities_are_clamped_at_percentiles_of_what_is_above_zero():
    import SimpleITK as sitk  # noqa: N813

    array = np.concatenate([np.zeros(500), -np.ones(100), np.arange(1, 1001)]).reshape(4, 10, 40).astype(np.float32)
    found = sitk.GetArrayFromImage(registration._as_sitk(array, np.eye(4)))
    # Of 1 to 1000: 1 + 0.01 * 999 and 1 + 0.995 * 999.
    assert (found.min(), found.max()) == pytest.approx((10.99, 995.005))


def test_the_centre_is_that_of_what_is_brighter_than_the_mean():
    array = np.zeros((9, 10, 11), np.float32)
    array[2:5, 3:5, 6:10] = 7
    array[0] += 0.1
    grid = np.diag((2.0, 2, 2, 1))
    grid[:3, 3] = (-5, 8, 1)
    image = registration._as_sitk(array, grid, clamped=False)
    assert np.allclose(registration._centre(image), np.array((3, 3.5, 7.5)) * 2 + (-5, 8, 1))


def test_own_axes_are_named_by_the_nearest_directions():
    turn = Rotation.from_euler("xyz", (12, -20, 30), degrees=True).as_matrix()
    for order, signs in (((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, -1, 1)), ((1, 2, 0), (-1, 1, -1))):
        affine = np.eye(4)
        affine[:3, :3] = (turn * signs)[:, order] * (0.7, 1, 2)
        np.testing.assert_allclose(own_axes(affine), turn, atol=1e-12)


def test_impossible_sizes_are_no_head():
    for scales in ((0.6, 1, 1), (1, 1.4, 1), (-1, 1, 1)):
        assert registration.Located(np.diag((*scales, 1.0)), 1.0, False).collapsed
    assert not registration.Located(np.diag((0.75, 1, 1.25, 1)), 1.0, False).collapsed
    assert not registration.Located(np.diag((0.7, 1, 1.3, 1)), 1.0, False).collapsed
    assert not registration.Located(np.eye(4), 0.05, False).collapsed
    assert registration.Located(np.eye(4), 0.049, False).collapsed


def test_volume_and_rotation_of_a_known_affine():
    turn = Rotation.from_euler("xyz", (12, -20, 30), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag((0.9, 1.1, 1.2))
    found = registration.Located(affine, 1.0, False)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-12)
    assert found.intracranial_ml == pytest.approx(1880 * 0.9 * 1.1 * 1.2)


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
    # Voxels of 1 mm from 0 to 9: of nine places 3 mm apart along X those from -0.5 to 9.5 mm are inside.
    for first, inside in (
        (-36.45, 4),
        (-36.55, 3),
        (-12.0 - 9.45, 4),
        (-12.0 - 9.55, 3),
        (-32.45, 3),
        (-32.55, 4),
        (-35.5, 3),
        (-36.5, 3),
    ):
        affine = np.eye(4)
        affine[:3, 3] = (first, -60, -60)
        assert found.covered("left", affine, (10, 90, 90)) == pytest.approx(inside / 9)


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


def test_noise_is_no_head():
    noise = np.random.default_rng(0).normal(100, 30, (50, 50, 50)).astype(np.float32)
    assert locate(noise, np.diag((4.0, 4, 4, 1))).collapsed
