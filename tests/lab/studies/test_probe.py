"""Probes of trained networks: jumps between slices, mirrored volumes, effective receptive fields."""

import numpy as np
import pytest
import torch

from hipposeg.inference import Prep
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


@pytest.mark.parametrize("axis", [None, 0])
def test_effective_field_lies_around_the_middle_voxel(axis):
    conv = torch.nn.Conv3d if axis is None else torch.nn.Conv2d
    prep = Prep((8, 8, 6), axis=axis, neighbours=0 if axis is None else 1)
    network = conv(prep.channels(1), 3, 3, padding=1)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 6)).astype(np.float32)
    field = probe.effective_field(network, prep, [image, image], Machine("cpu", "fp32", 1))
    assert field.shape == (8, 8, 6)
    assert [(int(at.min()), int(at.max())) for at in np.nonzero(field)] == [(3, 5), (3, 5), (2, 4)]
