"""The way to the network's grid and back: exact, label-free, and right in millimetres."""

import nibabel as nib
import numpy as np
import pytest

from hipposeg.data import grid

SIZE = (48, 64, 48)


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


@pytest.mark.parametrize(("value", "message"), [(7.0, "same value in every voxel"), (np.nan, "not finite")])
def test_zscore_refuses_what_it_cannot_scale(value, message):
    with pytest.raises(ValueError, match=message):
        grid.zscore(np.full((1, 3, 3, 3), value, np.float32))


@pytest.mark.parametrize("shape", [(31, 40, 24), (35, 50, 36), (43, 59, 47), (48, 64, 48), (1, 1, 1)])
def test_round_trip_is_exact_when_nothing_is_cropped(shape):
    label = random_box(shape)
    placed, placement = grid.place(label, SIZE, fill=9)
    assert placed.shape == SIZE and placed.dtype == label.dtype and not placement.cropped
    assert (placed == 9).sum() == np.prod(SIZE) - label.size
    assert np.array_equal(placement.restore(placed), label)


def test_crop_keeps_the_centre_and_restore_fills_the_rest():
    line = np.arange(1, 8).reshape(7, 1, 1)  # 1..7 along axis 0
    placed, placement = grid.place(line, (4, 1, 2))
    assert placement.cropped
    assert placed[:, 0, 0].tolist() == [3, 4, 5, 6]
    assert placement.restore(placed)[:, 0, 0].tolist() == [0, 0, 3, 4, 5, 6, 0]


def test_place_keeps_leading_axes_and_can_be_reused_on_a_label():
    image = np.random.default_rng(1).random((2, 5, 6, 7)).astype(np.float32)
    placed, placement = grid.place(image, (8, 8, 8))
    assert placed.shape == (2, 8, 8, 8)
    alone, _ = grid.place(image[1], (8, 8, 8))
    assert np.array_equal(placed[1], alone)
    assert placement.apply(random_box((5, 6, 7))).dtype == np.uint8


def test_restore_refuses_another_grid():
    _, placement = grid.place(np.zeros((5, 6, 7)), (8, 8, 8))
    with pytest.raises(ValueError, match="must be the grid's size"):
        placement.restore(np.zeros((8, 8, 9)))


def test_round_trip_through_a_file_keeps_voxels_and_header(tmp_path):
    label = random_box((35, 50, 36))
    affine = np.array([[1, 0, 0, -12.5], [0, 1, 0, 3.25], [0, 0, 1, 40], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(label, affine), tmp_path / "native.nii.gz")
    native = nib.load(tmp_path / "native.nii.gz")
    placed, placement = grid.place(label, SIZE)
    nib.save(nib.Nifti1Image(placement.restore(placed), native.affine, native.header), tmp_path / "back.nii.gz")
    back = nib.load(tmp_path / "back.nii.gz")
    assert np.array_equal(np.asarray(back.dataobj), label)
    assert np.array_equal(back.affine, native.affine)
    assert back.header.get_zooms() == native.header.get_zooms()


def test_bad_requests_say_what_was_expected():
    with pytest.raises(ValueError, match="three sizes"):
        grid.place(np.zeros((4, 4, 4)), (4, 4))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_cuts_along_the_axis(axis):
    volume = np.random.default_rng(4).random((2, 5, 6, 7))
    stack = grid.slices(volume, axis)
    assert stack.shape[0] == volume.shape[1 + axis]
    assert np.array_equal(stack[3], np.take(volume, 3, axis=1 + axis))


def test_every_real_volume_survives_the_round_trip(msd_dir):
    for path in sorted((msd_dir / "labelsTr").glob("hippocampus_*.nii.gz")):
        label = np.asarray(nib.load(path).dataobj)
        placed, placement = grid.place(label, SIZE)
        assert not placement.cropped, f"{path.name} with shape {label.shape} does not fit into {SIZE}"
        assert np.array_equal(placement.restore(placed), label), path.name
