"""Augmentation, of batches and slice by slice: targets and points follow the image, and the generator decides all."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from hipposeg.training.augmentation import (
    Augmentation,
    Batch,
    Classic,
    augment,
    centred_points,
    classic,
    coarsened,
    sample,
    shrunk_points,
)
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
def test_images_and_soft_labels_equal_scipys_interpolation_at_the_points(shape):
    images, labels = noise(4, 2, *shape)
    found = augment(images, labels, 3, GEOMETRY, seeded("map"))
    assert found.targets.shape == (4, 3, *shape) and found.targets.dtype == torch.float32
    centre = (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    for one in range(4):
        where = found.points[one].double().numpy() + centre
        moved = [map_coordinates(c.double().numpy(), where, order=1, mode="grid-constant") for c in images[one]]
        assert np.allclose(found.images[one].numpy(), moved, atol=1e-4)
        # What comes from outside the box is background, so that the soft add up to 1 there as well.
        for k in range(3):
            soft = map_coordinates(
                (labels[one] == k).double().numpy(), where, order=1, mode="grid-constant", cval=float(k == 0)
            )
            assert np.allclose(found.targets[one, k].numpy(), soft, atol=1e-5)
    assert torch.allclose(found.targets.sum(1), torch.ones(4, *shape), atol=1e-6)
    assert found.targets.min() > -1e-6 and ((found.targets > 0.01) & (found.targets < 0.99)).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_ranges_of_the_affine_map(shape):
    images, labels = noise(64, 1, *shape)
    matrices = [matrix_of(augment(images, labels, 3, Augmentation(rotate=10), seeded(0)), i)[0] for i in range(64)]
    assert np.allclose([m @ m.T for m in matrices], np.eye(len(shape)), atol=1e-5)
    angles = [math.degrees(math.acos(min(1, (np.trace(m) - len(shape) + 2) / 2))) for m in matrices]
    assert 5 < max(angles) < 10 * math.sqrt(3) and np.linalg.det(matrices).min() > 0.99
    scaled = augment(images, labels, 3, Augmentation(scale=0.2), seeded(0))
    factors = np.array([np.linalg.svd(matrix_of(scaled, i)[0], compute_uv=False) for i in range(64)])
    assert 1 / 1.21 < factors.min() < 0.9 and 1.1 < factors.max() < 1.21
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


LABELS = torch.zeros(6, 24, 20, dtype=torch.uint8)
LABELS[:, 4:12, 6:16] = 1
LABELS[:, 12:16, 6:10] = 2
IMAGES = LABELS[:, None].float().repeat(1, 2, 1, 1)


def change(settings: Classic, seed: int = 0):
    return classic(IMAGES, LABELS, 3, settings, seeded(seed))


def test_classic_flip_mirrors_the_first_axis_of_image_and_label():
    same, ours = change(Classic()), augment(IMAGES, LABELS, 3, Augmentation(), seeded(0))
    assert torch.equal(same.images, IMAGES) and torch.equal(same.targets, ours.targets)
    assert torch.equal(same.points, ours.points)
    found = change(Classic(flip=1.0))
    assert torch.equal(found.images, IMAGES.flip(2)) and torch.equal(found.targets.argmax(1), LABELS.flip(1).long())
    mirrored = [torch.equal(image, IMAGES[0].flip(1)) for image in change(Classic(flip=0.5), seed=1).images]
    assert 0 < sum(mirrored) < 6, "drawn for every slice by itself"


@pytest.mark.parametrize("settings", [Classic(rotate=15), Classic(scale=(0.8, 1.0)), Classic(shift=0.1)])
def test_image_and_label_move_together_by_a_draw_of_their_own(settings):
    found = change(settings)
    labels = found.targets.argmax(1)
    # The image is its label here: away from the borders, which one side interpolates, they stay equal.
    equal = (found.images[:, 0].round() == labels).float().mean()
    assert equal > 0.9 and not torch.equal(labels, LABELS.long())
    assert len({image.numpy().tobytes() for image in found.images}) == 6
    assert set(labels.unique().tolist()) <= {0, 1, 2}


def test_the_generator_decides_and_torchs_own_is_left_alone():
    settings = Classic(flip=0.5, rotate=10, noise=0.1)
    before = torch.random.get_rng_state()
    first, second, other = change(settings), change(settings), change(settings, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.images, second.images) and not torch.equal(first.images, other.images)


@pytest.mark.parametrize("sides", [(40, 56, 40), (48, 48)])
@pytest.mark.parametrize("fraction", [-0.25, 0.0, 0.3, 0.6])
def test_a_structure_loses_the_fraction_and_nothing_folds(sides, fraction):
    """Volume of an ellipsoid against the fraction; far tissue, and a sample without a label, stay in place."""
    dims = len(sides)
    points = centred_points(sides)
    radii = torch.tensor([10.0, 18.0, 11.0][:dims])
    label = (((points - 1.0) / radii) ** 2).sum(-1) < 1
    labels = torch.stack([label, torch.zeros_like(label)]).to(torch.uint8)
    both = points.expand(2, *points.shape)
    moved = shrunk_points(both, labels, torch.full((2,), fraction))
    left = sample(labels[:1, None].float(), moved[:1]).sum() / label.sum()
    assert left.item() == pytest.approx(1 - fraction, abs=0.01)
    for axis in range(dims):
        steps = moved[..., axis].diff(dim=axis + 1)
        assert steps.min() > 0.2, "positions along an axis keep their order"
    corner = (0,) * dims
    assert torch.equal(moved[0][corner], points[corner]) and torch.equal(moved[1], points)


def test_sizes_change_image_and_label_alike():
    label = (centred_points((24, 24)).norm(dim=-1) < 7).to(torch.uint8)[None]
    settings = Augmentation(shrink=(0.5, 0.5))
    batch = augment(label[:, None].float(), label, 2, settings, seeded(0, "sizes"))
    assert torch.equal(batch.images[:, 0], batch.targets[:, 1])
    assert batch.targets[:, 1].sum() / label.sum() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dims", [2, 3])
def test_larger_voxels_average_and_keep_what_is_linear(dims):
    images = torch.rand(2, 1, *(8,) * dims, generator=seeded(0, "voxels"))
    images[1] = 3.0
    sides = torch.tensor([[2.0] + [1.0] * (dims - 1), [1.7] * dims])
    found = coarsened(images, sides)
    pairs = images[0].reshape(1, 4, 2, *(8,) * (dims - 1)).mean(2)  # what voxels twice as long measure
    between = found[0, :, 1:-1].unfold(1, 2, 2).mean(-1)  # the interpolated values around the middle of two of them
    assert torch.allclose(between, (pairs[:, 1:] + pairs[:, :-1]) / 2, atol=1e-6)
    assert torch.allclose(found[1], images[1]), "an even image stays as it is"
    assert torch.equal(coarsened(images, torch.ones(2, dims)), images), "as do voxels of the image's own size"


def test_larger_voxels_change_the_image_alone():
    image = torch.rand(1, 1, 16, 16, generator=seeded(0, "image"))
    label = (image[:, 0] > 0.5).to(torch.uint8)
    batch = augment(image, label, 2, Augmentation(coarse=1.0), seeded(0, "coarse"))
    assert batch.images.var() < 0.8 * image.var() and torch.equal(batch.targets[:, 1], label.float())
