"""Augmentation: labels travel with the image, parameters mean what they say, the generator decides all."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from hipposeg.engine.augment import Augmentation, _sampling_grid, augment
from hipposeg.engine.train import seeded

GEOMETRY = Augmentation(rotate=20, scale=0.2, shift=3, elastic=1.0)


def blob(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.zeros(2, *shape, dtype=torch.uint8)
    labels[(slice(None), *(slice(side // 3, 2 * side // 3) for side in shape))] = 1
    return labels[:, None].float(), labels


@pytest.mark.parametrize("shape", [(24, 32), (16, 24, 20)])
def test_labels_travel_with_the_image(shape):
    images, labels = augment(*blob(*shape), GEOMETRY, seeded(0, 1, 2))
    assert labels.dtype == torch.uint8
    agree = ((images[:, 0] > 0.5) == (labels == 1)).float().mean()
    assert agree > 0.97
    assert 0.3 < labels.sum() / blob(*shape)[1].sum() < 3


def test_generator_decides_all():
    images, labels = blob(24, 32)
    every = Augmentation(15, 0.1, 2, 1, 0.2, 0.2, 0.3, 0.1)
    first = augment(images, labels, every, seeded(0, 1, 2))
    again = augment(images, labels, every, seeded(0, 1, 2))
    other = augment(images, labels, every, seeded(0, 1, 3))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    # Parameters are drawn per sample: the two samples were equal and no longer are.
    assert not torch.equal(first[0][0], first[0][1])


def test_nothing_switched_on_changes_nothing():
    images, labels = blob(24, 32)
    same = augment(images, labels, Augmentation(), seeded(0))
    assert torch.equal(same[0], images) and torch.equal(same[1], labels)


@pytest.mark.parametrize("shape", [(13, 21), (9, 14, 11)])
def test_affine_equals_scipy(shape):
    # The grid of one sample, read back as an affine map in voxels, must give scipy's result on a box that is no cube.
    settings = Augmentation(rotate=25, scale=0.2, shift=2)
    images = torch.randn(1, 1, *shape, generator=seeded("image"))
    moved, _ = augment(images, torch.zeros(1, *shape, dtype=torch.uint8), settings, seeded("map"))
    grid = _sampling_grid(images.shape, settings, seeded("map"))[0].flip(-1).double().numpy()
    voxels = (grid + 1) * np.array(shape) / 2 - 0.5  # (*S, dims) sampled positions
    origin = voxels[(0,) * len(shape)]
    matrix = np.stack([voxels[tuple(int(a == b) for b in range(len(shape)))] - origin for a in range(len(shape))], 1)
    expected = affine_transform(images[0, 0].double().numpy(), matrix, origin, order=1, mode="grid-constant")
    assert np.allclose(moved[0, 0].numpy(), expected, atol=1e-4)
    # A rotation times positive factors: columns stay orthogonal up to the factors' order, and nothing is mirrored.
    assert np.linalg.det(matrix) > 0
    lengths = np.linalg.norm(matrix, axis=0)
    assert (lengths > 1 / 1.21).all() and (lengths < 1.21).all()


def test_noise_and_gain_have_the_stated_size():
    images, labels = torch.zeros(64, 1, 32, 32), torch.zeros(64, 32, 32, dtype=torch.uint8)
    noisy, _ = augment(images, labels, Augmentation(noise=0.2), seeded(1))
    spread = noisy.flatten(1).std(1)
    assert spread.max() < 0.21 and spread.min() < 0.05
    shifted, _ = augment(images + 1, labels, Augmentation(gain=0.25), seeded(1))
    assert shifted.min() >= 0.75 and shifted.max() <= 1.25
