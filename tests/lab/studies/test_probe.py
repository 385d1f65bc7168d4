"""Probes of networks: receptive fields, jumps between slices, mirrored volumes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.inference import Prep
from hipposeg.models.unet import UNet
from hipposeg.training.machine import Machine
from hipposeg_lab.studies import probe

ISOTROPIC = (1.0, 1.0, 1.0)


def label_map(shape=(12, 20, 14)):
    label = np.zeros(shape, np.uint8)
    label[4:8, 11:16, 4:9] = 1
    label[4:8, 4:11, 5:8] = 2
    return label


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


def cohort_of(labels):
    cases = {n: SimpleNamespace(label=label, spacing=ISOTROPIC, subject=(n + 1) // 2) for n, label in labels.items()}
    return SimpleNamespace(cases=cases, spec=SPEC)


def test_jumps_have_a_row_for_each_source_case_and_axis():
    labels = {1: label_map(), 2: label_map()}
    table = probe.jumps({"truth": labels, "other": {1: np.roll(labels[1], 1, 0)}}, cohort_of(labels))
    assert len(table) == 9 and set(table.columns) == {"source", "case", "subject", "axis", "jump"}
    assert table[table.case == 1].pivot(index="axis", columns="source", values="jump").eval("truth == other").all()


class Threshold(nn.Module):
    """Calls bright voxels in the low half of axis 0 anterior: right only for volumes as they are stored."""

    divisor = 1

    def forward(self, x):
        low = torch.arange(x.shape[2]) < x.shape[2] // 2
        score = (x > 0) * low.view(1, 1, -1, 1, 1)
        return torch.cat([torch.full_like(x, 0.5), score.float(), torch.zeros_like(x)], 1)


def test_mirrored_volumes_are_scored_on_their_own_side():
    label = np.zeros((8, 8, 8), np.uint8)
    label[1:3, 2:6, 2:6] = 1
    images = {1: (label[None] * 10.0).astype(np.float32)}
    machine = Machine("cpu", "fp32", 1)
    table, masks = probe.mirrored(Threshold(), Prep((8, 8, 8)), images, cohort_of({1: label}), machine)
    found = table.set_index("query").dice
    # Posterior is in neither mask of this case, so the mean is that of the anterior part.
    assert found[probe.STORED] == 1 and found[probe.MIRRORED] == 0
    assert np.array_equal(masks[1][probe.STORED], label) and not masks[1][probe.MIRRORED].any()


@pytest.mark.parametrize("axis", [None, 0])
def test_effective_field_lies_around_the_middle_voxel(axis):
    conv = nn.Conv3d if axis is None else nn.Conv2d
    prep = Prep((8, 8, 6), axis=axis, neighbours=0 if axis is None else 1)
    network = conv(prep.channels(1), 3, 3, padding=1)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 6)).astype(np.float32)
    field, voxel = probe.effective_field(network, prep, [image, image], Machine("cpu", "fp32", 1))
    assert voxel == (4, 4, 3) and field.shape == (8, 8, 6)
    assert [(int(at.min()), int(at.max())) for at in np.nonzero(field)] == [(3, 5), (3, 5), (2, 4)]
