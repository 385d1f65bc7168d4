"""Augmentation: targets and points travel with the image, parameters mean what they say, the generator decides all."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, map_coordinates
from torch.nn.functional import one_hot

from hipposeg.training.augmentation import Augmentation, Batch, augment
from hipposeg.training.batches import seeded

GEOMETRY = Augmentation(rotate=20, scale=0.2, shift=3, elastic=1.0, flip=0.5)
SHAPES = [(13, 21), (9, 14, 11)]  # no cubes: a mix-up of axes or of half voxels shows


def noise(batch: int, channels: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images, and random labels of three classes."""
    generator = seeded("noise", *shape)
    images = torch.randn(batch, channels, *shape, generator=generator)
    return images, torch.randint(0, 3, (batch, *shape), generator=generator, dtype=torch.uint8)


def regular(shape: tuple[int, ...]) -> torch.Tensor:
    """(dims, *S) positions of a box's voxels, from its centre."""
    return torch.stack(torch.meshgrid(*[torch.arange(side) - (side - 1) / 2 for side in shape], indexing="ij"))


def matrix_of(batch: Batch, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """The affine map (matrix, origin) in voxel indices behind a sample's points."""
    points = batch.points[sample].double().numpy()
    shape = points.shape[1:]
    voxels = points + (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    origin = voxels[(slice(None), *(0,) * len(shape))]
    steps = [voxels[(slice(None), *(int(a == b) for b in range(len(shape))))] - origin for a in range(len(shape))]
    return np.stack(steps, 1), origin


@pytest.mark.parametrize("shape", SHAPES)
def test_image_and_shares_equal_scipys_interpolation(shape):
    images, labels = noise(4, 2, *shape)
    found = augment(images, labels, 3, GEOMETRY, seeded("map"))
    assert found.targets.shape == (4, 3, *shape) and found.targets.dtype == torch.float32
    centre = (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    for sample in range(4):
        where = found.points[sample].double().numpy() + centre
        moved = [map_coordinates(c.double().numpy(), where, order=1, mode="grid-constant") for c in images[sample]]
        assert np.allclose(found.images[sample].numpy(), moved, atol=1e-4)
        # What comes from outside the box is background, so that the shares add up to 1 there as well.
        for k in range(3):
            shares = map_coordinates(
                (labels[sample] == k).double().numpy(), where, order=1, mode="grid-constant", cval=float(k == 0)
            )
            assert np.allclose(found.targets[sample, k].numpy(), shares, atol=1e-5)
    assert torch.allclose(found.targets.sum(1), torch.ones(4, *shape), atol=1e-6)
    assert found.targets.min() > -1e-6 and ((found.targets > 0.01) & (found.targets < 0.99)).any()


@pytest.mark.parametrize("shape", [(24, 32), (16, 24, 20)])
def test_points_are_where_voxels_came_from(shape):
    # An image that holds its own coordinates shows after augmentation where each voxel was taken from.
    own = regular(shape).expand(6, len(shape), *shape)
    found = augment(own, torch.zeros(6, *shape, dtype=torch.uint8), 2, GEOMETRY, seeded("points"))
    reach = (torch.tensor(shape).view(-1, *[1] * len(shape)) - 1) / 2
    inside = (found.points.abs() <= reach).all(1, keepdim=True).expand_as(own)
    assert found.points.shape == own.shape and inside.float().mean() > 0.6
    assert torch.allclose(found.images[inside], found.points[inside], atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_affine_equals_scipy(shape, flip):
    images, labels = noise(1, 1, *shape)
    settings = Augmentation(rotate=25, scale=0.2, shift=2, flip=flip)
    found = augment(images, labels, 3, settings, seeded("map"))
    matrix, origin = matrix_of(found, 0)
    expected = affine_transform(images[0, 0].double().numpy(), matrix, origin, order=1, mode="grid-constant")
    assert np.allclose(found.images[0, 0].numpy(), expected, atol=1e-4)
    assert (np.linalg.det(matrix) < 0) == bool(flip)
    lengths = np.linalg.norm(matrix, axis=0 if not flip else 1)
    assert (np.linalg.norm(matrix, 2) < 1.21) and (np.linalg.norm(np.linalg.inv(matrix), 2) < 1.21)
    assert (lengths > 1 / 1.21).all() and (lengths < 1.21).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_ranges_of_the_affine_map(shape):
    images, labels = noise(64, 1, *shape)
    matrices = [matrix_of(augment(images, labels, 3, Augmentation(rotate=10), seeded(0)), i)[0] for i in range(64)]
    assert np.allclose([m @ m.T for m in matrices], np.eye(len(shape)), atol=1e-5)
    angles = [math.degrees(math.acos(min(1, (np.trace(m) - len(shape) + 2) / 2))) for m in matrices]
    assert 5 < max(angles) < 10 * math.sqrt(3) and np.linalg.det(matrices).min() > 0.99
    shifted = augment(images, labels, 3, Augmentation(shift=2), seeded(0)).points - regular(shape)
    assert shifted.abs().max() <= 2.001 and shifted.abs().max() > 1.5
    assert torch.allclose(shifted.amax(tuple(range(2, 2 + len(shape)))), shifted.flatten(2)[..., 0], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_mirrors_the_first_axis(shape):
    images, labels = noise(64, 2, *shape)
    every = augment(images, labels, 3, Augmentation(flip=1.0), seeded(0))
    assert torch.allclose(every.images, images.flip(2), atol=1e-5)
    assert torch.allclose(every.targets.argmax(1), labels.flip(1).long())
    assert torch.equal(every.points[0], regular(shape).flip(1))
    half = augment(images, labels, 3, Augmentation(flip=0.5), seeded(0))
    mirrored = (half.points[:, 0].flatten(1)[:, 0] > 0).float().mean()
    assert 0.3 < mirrored < 0.7


def test_generator_decides_all():
    images, labels = noise(2, 1, 24, 32)
    images, labels = images[[0, 0]], labels[[0, 0]]
    settings = Augmentation(15, 0.1, 2, 1, 0.2, 0.2, 0.3, 0.1, 0.5)
    torch.manual_seed(0)
    first = augment(images, labels, 3, settings, seeded(0, 1, 2))
    torch.manual_seed(1)
    again = augment(images, labels, 3, settings, seeded(0, 1, 2))
    other = augment(images, labels, 3, settings, seeded(0, 1, 3))
    for name in ("images", "targets", "points"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
        # Parameters are drawn per sample: the two samples were equal and no longer are.
        assert not torch.equal(getattr(first, name)[0], getattr(first, name)[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_switched_on_changes_nothing(shape):
    images, labels = noise(2, 1, *shape)
    same = augment(images, labels, 3, Augmentation(), seeded(0))
    assert torch.equal(same.images, images)
    assert torch.equal(same.targets, one_hot(labels.long(), 3).movedim(-1, 1).float())
    assert torch.equal(same.points, regular(shape).expand(2, *[-1] * (len(shape) + 1)))


def test_intensities_change_by_the_stated_size():
    images, labels = torch.zeros(64, 1, 32, 32), torch.zeros(64, 32, 32, dtype=torch.uint8)
    spread = augment(images, labels, 2, Augmentation(noise=0.2), seeded(1)).images.flatten(1).std(1)
    assert spread.max() < 0.21 and spread.min() < 0.05
    gained = augment(images + 1, labels, 2, Augmentation(gain=0.25), seeded(1)).images
    assert gained.min() >= 0.75 and gained.max() <= 1.25
    ramp = torch.linspace(-2, 3, 32).expand(64, 1, 32, 32)
    bent = augment(ramp, labels, 2, Augmentation(gamma=0.5), seeded(1)).images
    assert torch.allclose(bent.amin((1, 2, 3)), torch.tensor(-2.0)) and (bent.diff(dim=-1) > 0).all()
    assert torch.allclose(bent.amax((1, 2, 3)), torch.tensor(3.0), atol=1e-4) and not torch.allclose(bent, ramp)
