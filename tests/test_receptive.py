"""Receptive fields: widths that can be computed by hand, and gradients that stay inside them."""

import numpy as np
import pytest
import torch
from torch import nn

from hipposeg.models import receptive
from hipposeg.models.unet import UNet


class Plain(nn.Module):
    """Convolutions without stride, whose field is known: 1 + 2 for each 3-wide one."""

    divisor = 1

    def __init__(self, dims, depth):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims]
        layers = [layer for _ in range(depth) for layer in (conv(1, 1, 3, padding=1), norm(1), nn.ReLU())]
        self.layers = nn.Sequential(*layers, conv(1, 2, 1))

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize(("dims", "depth"), [(2, 1), (2, 4), (3, 3)])
def test_width_of_stacked_convolutions(dims, depth):
    assert receptive.theoretical(Plain(dims, depth), 1, dims) == (1 + 2 * depth,) * dims


def test_width_of_a_unet_is_the_same_along_each_axis_and_grows_with_depth():
    found = [receptive.theoretical(UNet(3, 1, 3, channels), 1, 3) for channels in ((4, 4), (4, 4, 4), (4, 4, 4, 4))]
    assert all(len(set(sizes)) == 1 for sizes in found)
    assert found[0][0] < found[1][0] < found[2][0]
    # One stage down, by hand: 2 + 2 voxels of the first block, then at twice the step one strided, one plain
    # convolution, and the last block; a voxel right beside the coarse grid's edge reaches one side farther.
    two = receptive.theoretical(UNet(2, 1, 3, (4, 4)), 1, 2)
    assert two == found[0][:2] and 14 <= two[0] <= 18


def test_the_model_itself_is_left_alone():
    model = UNet(2, 1, 3, (4, 8)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    receptive.theoretical(model, 1, 2)
    receptive.effective(model, torch.randn(1, 1, 16, 16), (8, 8))
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


class Everything(nn.Module):
    """Reads the mean of the whole input."""

    divisor = 1

    def forward(self, x):
        return x + x.mean(dim=(2, 3), keepdim=True)


def test_a_field_without_end_is_an_error():
    with pytest.raises(ValueError, match="the network sees all"):
        receptive.theoretical(Everything(), 1, 2)


def test_effective_field_lies_inside_the_theoretical_one_and_repeats():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    inputs = torch.randn(3, 1, 15, 15)
    field = receptive.effective(model, inputs, (7, 6))
    assert field.shape == (1, 15, 15) and field.dtype == np.float64
    rows, columns = np.nonzero(field[0])
    assert rows.min() == 5 and rows.max() == 9 and columns.min() == 4 and columns.max() == 8
    assert np.array_equal(field, receptive.effective(model, inputs, (7, 6)))


def test_slices_go_where_they_lie():
    field = np.stack([np.full((4, 5), value) for value in (1.0, 2.0, 3.0)])
    volume = receptive.in_volume(field, 1, 6, 10)
    assert volume.shape == (4, 10, 5)
    assert volume.sum((0, 2)).tolist() == [0, 0, 0, 0, 0, 20, 40, 60, 0, 0]
    # At the box's end the neighbour outside repeats the last slice.
    assert receptive.in_volume(field, 0, 0, 10).sum((1, 2)).tolist()[:2] == [60, 60]
    with pytest.raises(ValueError, match="odd"):
        receptive.in_volume(field[:2], 0, 0, 10)


def test_radius_and_share_beyond():
    field = np.zeros((9, 9, 9))
    field[4, 4, 4], field[4, 4, 6], field[1, 4, 4] = 5, 3, 2
    assert receptive.radius(field, (4, 4, 4), 0.5, (1, 1, 1)) == 0
    assert receptive.radius(field, (4, 4, 4), 0.8, (1, 1, 2)) == 4
    assert receptive.radius(field, (4, 4, 4), 1.0, (1, 1, 1)) == 3
    assert np.isnan(receptive.radius(np.zeros((2, 2, 2)), (0, 0, 0), 0.5, (1, 1, 1)))
    assert receptive.share_beyond(field, (4, 4, 4), 0, 1) == pytest.approx(0.2)
    assert receptive.share_beyond(field, (4, 4, 4), 2, 1) == pytest.approx(0.3)
