"""Probes of networks: receptive fields, jumps between slices."""

import numpy as np
import pytest
from torch import nn

from hipposeg.inference import Prep
from hipposeg.models.unet import UNet
from hipposeg.training.machine import Machine
from hipposeg_lab.studies import probe

ISOTROPIC = (1.0, 1.0, 1.0)


def test_slice_jump_of_a_box_and_of_a_staircase():
    box = np.zeros((8, 8, 8), np.uint8)
    box[2:6, 2:6, 2:6] = 1
    # Five pairs of slices hold it; two of them change by its whole face of 16 mm2.
    assert probe.slice_jump(box, ISOTROPIC, 0) == pytest.approx(32 / 5)
    assert probe.slice_jump(box, (1.0, 2.0, 3.0), 0) == pytest.approx(6 * 32 / 5)
    ragged = box.copy()
    ragged[3], ragged[5] = np.roll(box[3], 1, 0), np.roll(box[5], 1, 0)
    assert probe.slice_jump(ragged, ISOTROPIC, 0) > probe.slice_jump(box, ISOTROPIC, 0)
    assert np.isnan(probe.slice_jump(np.zeros((4, 4, 4)), ISOTROPIC, 0))


class Plain(nn.Module):
    """Convolutions without stride, whose field is known: 1 + 2 for each 3-wide one."""

    divisor = 1

    def __init__(self, depth):
        super().__init__()
        each = [(nn.Conv2d(1, 1, 3, padding=1), nn.InstanceNorm2d(1), nn.ReLU()) for _ in range(depth)]
        self.layers = nn.Sequential(*(layer for layers in each for layer in layers), nn.Conv2d(1, 2, 1))

    def forward(self, x):
        return self.layers(x)


def test_theoretical_width_by_hand():
    assert probe.theoretical(Plain(4), 1, 2) == (9, 9)
    # One stage down: 2 + 2 voxels of the first block, then at twice the step one strided and one plain convolution, and
    # the last block; a voxel beside the coarse grid's edge reaches one side farther.
    width, height = probe.theoretical(UNet(2, 1, 3, (4, 4)), 1, 2)
    assert width == height and 14 <= width <= 18
    with pytest.raises(ValueError, match="wider than 192 voxels"):
        probe.theoretical(Plain(100), 1, 2)


def test_radius_and_share_beyond():
    field = np.zeros((9, 9, 9))
    field[4, 4, 4], field[4, 4, 6], field[1, 4, 4] = 5, 3, 2
    assert probe.radius(field, (4, 4, 4), 0.5, ISOTROPIC) == 0
    assert probe.radius(field, (4, 4, 4), 0.8, (1, 1, 2)) == 4
    assert probe.radius(field, (4, 4, 4), 1.0, ISOTROPIC) == 3
    assert probe.share_beyond(field, (4, 4, 4), 0, 1) == pytest.approx(0.2)
    assert probe.share_beyond(field, (4, 4, 4), 2, 1) == pytest.approx(0.3)


@pytest.mark.parametrize("axis", [None, 0])
def test_effective_field_lies_around_the_middle_voxel(axis):
    conv = nn.Conv3d if axis is None else nn.Conv2d
    prep = Prep((8, 8, 6), axis=axis, neighbours=0 if axis is None else 1)
    network = conv(prep.channels(1), 3, 3, padding=1)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 6)).astype(np.float32)
    field = probe.effective_field(network, prep, [image, image], Machine("cpu", "fp32", 1))
    assert field.shape == (8, 8, 6)
    assert [(int(at.min()), int(at.max())) for at in np.nonzero(field)] == [(3, 5), (3, 5), (2, 4)]
