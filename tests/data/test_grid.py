"""The way to the network's grid and back, exact where nothing is cropped, and resampling about a common centre."""

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from hipposeg.data import grid
from hipposeg.data.grid import Resampling, covering, rescale, rescale_label
from hipposeg.models.inr import lattice

SIZE = (48, 64, 48)
ONE, TWO = (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)
BOX = (24, 32, 24)


def random_box(shape, seed=0):
    """Labels 0 to 2 that fill the box to its very edges."""
    return np.random.default_rng(seed).integers(0, 3, shape, dtype=np.uint8)


def test_zscore_equals_the_formula_per_channel():
    image = np.array([[[[1, 2], [3, 4]]], [[[10, 10], [10, 50]]]], dtype=np.float32)  # (2, 1, 2, 2)
    scaled = grid.zscore(image)
    assert scaled.dtype == np.float32
    # By hand: mean 2.5, variance 1.25; mean 20, variance 300.
    assert np.allclose(scaled[0].ravel(), np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25))
    assert np.allclose(scaled[1].ravel(), np.array([-10, -10, -10, 30]) / np.sqrt(300))


def test_zscore_forgets_scale_and_offset_even_for_huge_intensities():
    image = np.random.default_rng(0).random((1, 6, 7, 8), dtype=np.float32)
    assert np.allclose(grid.zscore(image), grid.zscore(image * 1.7e6 + 3e5), atol=1e-5)


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_zscore_refuses_what_it_cannot_scale(value):
    with pytest.raises(ValueError, match="channel 0 is constant or not finite"):
        grid.zscore(np.full((1, 3, 3, 3), value, np.float32))


@pytest.mark.parametrize("shape", [(31, 40, 24), (35, 50, 36), (43, 59, 47), (48, 64, 48), (1, 1, 1)])
def test_round_trip_is_exact_when_nothing_is_cropped(shape):
    label = random_box(shape)
    placed, placement = grid.place(label + 1, SIZE)
    assert placed.shape == SIZE and placed.dtype == label.dtype and not placement.cropped
    assert (placed == 0).sum() == np.prod(SIZE) - label.size
    assert np.array_equal(placement.restore(placed), label + 1)


def test_crop_keeps_the_centre_and_restore_fills_the_rest():
    line = np.arange(1, 8).reshape(7, 1, 1)  # 1..7 along axis 0
    placed, placement = grid.place(line, (4, 1, 2))
    assert placement.cropped
    assert placed[:, 0, 0].tolist() == [3, 4, 5, 6]
    assert placement.restore(placed)[:, 0, 0].tolist() == [0, 0, 3, 4, 5, 6, 0]


def test_channels_are_placed_and_restored():
    image = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    placed, placement = grid.place(image, (5, 4, 7))
    assert placed.shape == (2, 5, 4, 7) and np.array_equal(placement.restore(placed), image)


def test_bad_requests_say_what_was_expected():
    _, placement = grid.place(np.zeros((5, 6, 7)), (8, 8, 8))
    with pytest.raises(ValueError, match="must be the grid's size"):
        placement.restore(np.zeros((8, 8, 9)))
    with pytest.raises(ValueError, match="must be the new grid"):
        Resampling((4, 4, 4), (2, 2, 2), ONE, TWO).restore(np.zeros((3, 2, 2)))


@pytest.mark.parametrize("native", [(35, 50, 36), (34, 51, 37), (31, 40, 24), (43, 59, 47)])
def test_a_ramp_stays_that_ramp(native):
    values = lattice(native, ONE).numpy()
    found, how = rescale(values, ONE, TWO, BOX)
    expected = lattice(how.size, TWO).numpy()
    whole = tuple(slice(1, -1) for _ in range(3))  # the outermost voxels may stick out of the image
    assert np.allclose(found[(slice(None), *whole)], expected[(slice(None), *whole)], atol=1e-5)
    assert found.dtype == np.float32 and found.min() >= values.min() and found.max() <= values.max()
    # The grid covers the image, and padding it to the box moves its centre by nothing.
    assert all(2 * new >= old and (new - side) % 2 == 0 for new, old, side in zip(how.size, native, BOX, strict=True))
    placed, _ = grid.place(expected, BOX)
    inside = placed.any(0)
    assert np.allclose(placed[:, inside], lattice(BOX, TWO).numpy()[:, inside])


def test_voxels_of_twice_the_side_are_means_of_eight():
    image = np.random.default_rng(0).normal(size=(2, 8, 12, 4)).astype(np.float32)
    found, how = rescale(image, ONE, TWO, (4, 6, 2))
    assert how.size == (4, 6, 2)
    assert np.allclose(found, image.reshape(2, 4, 2, 6, 2, 2, 2).mean((2, 4, 6)), atol=1e-6)
    assert found.mean() == pytest.approx(image.mean(), abs=1e-6)


def test_smaller_voxels_are_interpolated_and_equal_ones_kept():
    image = np.random.default_rng(1).normal(size=(1, 5, 6, 7)).astype(np.float32)
    same, how = rescale(image, ONE, ONE, (9, 8, 7))
    assert how.size == (5, 6, 7) and np.array_equal(same, image)
    found, how = rescale(image, TWO, ONE, (48, 64, 48))
    where = (np.indices((10, 12, 14)) - np.array([[[[4.5]]], [[[5.5]]], [[[6.5]]]])) / 2
    expected = map_coordinates(image[0], where + np.array([[[[2]]], [[[2.5]]], [[[3]]]]), order=1, mode="nearest")
    assert how.size == (10, 12, 14) and np.allclose(found[0], expected, atol=1e-6)


def test_restoring_follows_a_ramp_and_is_linear_between_centres():
    native = (7, 8, 9)
    how = Resampling(native, (14, 16, 18), TWO, ONE)
    fine, coarse = lattice(how.size, ONE).numpy(), lattice(native, TWO).numpy()
    assert np.allclose(how.restore(fine), coarse, atol=1e-5)
    line = np.random.default_rng(2).random(14)
    volume = np.broadcast_to(line[:, None, None], how.size)
    centres = (np.arange(7) - 3) * 2.0
    expected = np.interp(centres, np.arange(14) - 6.5, line)
    assert np.allclose(how.restore(volume), expected[:, None, None])


def test_single_precision_headers_add_no_voxel():
    assert covering((48, 48, 48), (1.0000001,) * 3, TWO, (24, 24, 24)) == (24, 24, 24)
    assert covering((47, 46, 49), ONE, TWO, (24, 24, 24)) == (24, 24, 26)


def test_half_filled_voxels_are_filled_and_then_go_to_the_larger_class():
    label = np.zeros((8, 2, 2), np.uint8)
    label[2] = 1  # the second 2 mm voxel holds half anterior: filled
    label[4, 0] = 1  # the third a quarter: empty
    label[6, :, 0] = label[6, 0, 1] = 2
    label[7, 0, :] = 1  # the last holds 3 of posterior, 2 of anterior, 3 of background: filled, and posterior
    coarse, how = rescale_label(label, ONE, TWO, (4, 1, 1), 3)
    assert coarse[:, 0, 0].tolist() == [0, 1, 0, 2] and how.size == (4, 1, 1) and coarse.dtype == np.uint8


def test_every_real_volume_survives_the_round_trip(msd_dir):
    for path in sorted((msd_dir / "labelsTr").glob("hippocampus_*.nii.gz")):
        label = np.asarray(nib.load(path).dataobj)
        placed, placement = grid.place(label, SIZE)
        assert not placement.cropped, f"{path.name} with shape {label.shape} does not fit into {SIZE}"
        assert np.array_equal(placement.restore(placed), label), path.name
