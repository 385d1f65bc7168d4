"""A predictor sees an image and a spacing; what it returns lies on the image's own grid."""

import numpy as np
import pytest
import torch
from torch import nn

from hipposeg.data import grid
from hipposeg.inference import VIEWS, Prep, each_view, evaluator, moved, predictor, probabilities
from hipposeg.training.machine import Machine

MACHINE = Machine("cpu", "fp32", 1)


class Threshold(nn.Module):
    """Class 1 where the middle input channel is above 0.5: a prediction must follow the image voxel by voxel."""

    def __init__(self, middle: int) -> None:
        super().__init__()
        self.middle = middle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = 50 * (x[:, self.middle] - 0.5)
        return torch.stack([-score, score, torch.full_like(score, -500.0)], 1)


IMAGE = np.random.default_rng(0).normal(size=(1, 11, 14, 9)).astype(np.float32)
STANDARD = (IMAGE - IMAGE.mean()) / IMAGE.std()


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("neighbours", [0, 1])
def test_prediction_follows_the_image(axis, neighbours):
    prep = Prep((16, 16, 16), axis, 0 if axis is None else neighbours)
    found = predictor(evaluator(Threshold(0 if axis is None else neighbours), prep, MACHINE))(IMAGE, (1.0, 1.0, 1.0))
    assert found.dtype == np.uint8 and found.shape == IMAGE.shape[1:]
    assert np.array_equal(found, (STANDARD[0] > 0.5).astype(np.uint8))


def test_neighbours_are_the_next_slices():
    samples, placement = Prep((16, 16, 16), axis=1, neighbours=1).place(IMAGE)
    assert samples.shape == (16, 3, 16, 16)
    first = placement.inside_grid[1].start
    volume = placement.restore(samples[:, 1].movedim(0, 1).numpy())
    assert np.allclose(volume, STANDARD[0], atol=1e-5)
    assert torch.equal(samples[first + 3, 0], samples[first + 2, 1])
    assert torch.equal(samples[first + 3, 2], samples[first + 4, 1])
    assert torch.equal(samples[0, 0], samples[0, 1])  # the border repeats itself


def test_probabilities_sum_to_one_and_cropped_voxels_are_background():
    views = probabilities(Threshold(0), Prep((16, 16, 16), views=True), IMAGE, MACHINE)
    assert np.allclose(views.sum(0), 1, atol=1e-5) and views.min() >= -1e-6
    found = probabilities(Threshold(0), Prep((8, 16, 16)), IMAGE, MACHINE)
    assert found.shape == (3, *IMAGE.shape[1:])
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert (found[0, 0] == 1).all() and (found[0, -1] == 1).all()


def test_other_spacing_is_worked_on_in_the_networks_own():
    # A 2 mm image of a 1 mm network: the mask comes back on the 2 mm grid, over the same tissue.
    image = np.zeros((1, 16, 16, 16), np.float32)
    image[0, 4:12, 4:12, 4:12] = 1.0
    found = predictor(evaluator(Threshold(0), Prep((40, 40, 40)), MACHINE))(image, (2.0, 2.0, 2.0))
    assert found.shape == (16, 16, 16)
    assert (found == 1)[5:11, 5:11, 5:11].all()
    assert not found[:3].any() and not found[13:].any()


PREP = Prep((24, 28, 26), views=True)
INNER = (..., slice(7, -7), slice(7, -7), slice(7, -7))


def smooth_volume() -> torch.Tensor:
    """(1, 1, 24, 28, 26): a bump in the middle, wide enough that linear interpolation hardly changes it."""
    axes = [torch.arange(side) - (side - 1) / 2 + 0.7 for side in (24, 28, 26)]
    distance = sum(axis**2 / 40 for axis in torch.meshgrid(*axes, indexing="ij"))
    return torch.exp(-distance)[None, None]


def test_every_view_is_turned_shifted_and_brought_back():
    volume = smooth_volume()
    for corner in VIEWS:
        view = moved(volume, corner, PREP)
        assert (view - volume).abs().max() > 0.1, "the view really moved"
        # Away from the box's edges, which a view cuts off, only the smoothing of two interpolations is left.
        assert (moved(view, corner, PREP, back=True) - volume)[INNER].abs().max() < 0.06
    assert len({moved(volume, corner, PREP).numpy().tobytes() for corner in VIEWS}) == 8


def test_views_of_something_indifferent_to_place_are_their_mean():
    volume = smooth_volume()
    found = sum(each_view(lambda view: torch.cat([1 - view, view], 1), volume, PREP)) / len(VIEWS)
    assert (found[:, 1:] - volume)[INNER].abs().max() < 0.06
    # A voxel-wise rule on a half-filled box: what no view covers is nobody's, never foreground.
    ones = sum(each_view(torch.ones_like, torch.zeros_like(volume), PREP)) / len(VIEWS)
    assert ones.max() <= 1 + 1e-5 and ones[0, 0, 0, 0, 0] < ones[0, 0, 12, 14, 13]


class Position(torch.nn.Module):
    """Gives each window's own content as logits, and records the shapes of windows."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        return torch.cat([-x, x], 1)


@pytest.mark.parametrize(("prep", "shape"), [
    (Prep(size=(8, 8, 8), window=True), (20, 12, 8)),
    (Prep(size=(8, 8, 8), window=True), (5, 20, 9)),
    (Prep(size=(8, 1, 8), axis=1, window=True), (20, 6, 12)),
    (Prep(size=(24, 1, 16), axis=1, window=True), (20, 6, 12)),
])  # fmt: skip
def test_windows_cover_volumes_of_any_size(prep, shape):
    """A network that works voxel by voxel gives the same in windows and whole: nothing is cropped or moved."""
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    network = Position().eval()
    found = probabilities(network, prep, image, MACHINE)
    scaled = torch.from_numpy(grid.zscore(image))
    expected = torch.cat([-scaled, scaled]).softmax(0).numpy()
    assert found.shape == (2, *shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    sides = tuple(side for axis, side in enumerate(prep.size) if axis != prep.axis)
    assert {one[2:] for one in network.seen} == {sides}, "the network never gets more than its window"


def test_a_missing_channel_is_its_mean_for_the_network():
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    whole, _ = Prep(size=(8, 8, 8)).volume(image)
    found, _ = Prep(size=(8, 8, 8), missing=(1,)).volume(image)
    assert torch.equal(found[:, 0], whole[:, 0]) and not found[:, 1].any()
