"""Augmentation with torchvision, the seeds' way: what changes, that image and label move together, that it repeats."""

import pytest
import torch

from hipposeg.training.augmentation import Augmentation, augment
from hipposeg.training.batches import seeded
from hipposeg.training.classic import Classic, classic

LABELS = torch.zeros(6, 24, 20, dtype=torch.uint8)
LABELS[:, 4:12, 6:16] = 1
LABELS[:, 12:16, 6:10] = 2
IMAGES = LABELS[:, None].float().repeat(1, 2, 1, 1)


def change(settings: Classic, seed: int = 0):
    return classic(IMAGES, LABELS, 3, settings, seeded(seed))


def test_nothing_switched_on_changes_nothing():
    found, ours = change(Classic()), augment(IMAGES, LABELS, 3, Augmentation(), seeded(0))
    assert torch.equal(found.images, IMAGES) and torch.equal(found.targets, ours.targets)
    assert torch.equal(found.points, ours.points)


def test_flip_mirrors_the_first_axis_of_image_and_label():
    found = change(Classic(flip=1.0))
    assert torch.equal(found.images, IMAGES.flip(2)) and torch.equal(found.targets.argmax(1), LABELS.flip(1).long())
    some = change(Classic(flip=0.5), seed=1).images
    mirrored = [torch.equal(image, IMAGES[0].flip(1)) for image in some]
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


def test_noise_has_its_width_and_moves_no_label():
    found = change(Classic(noise=0.2))
    assert (found.images - IMAGES).std().item() == pytest.approx(0.2, rel=0.1)
    assert torch.equal(found.targets.argmax(1), LABELS.long())


def test_apart_a_flip_is_one_of_the_ways():
    images = [image for n in range(8) for image in change(Classic(flip=0.5, rotate=45, apart=0.25), n).images]
    flipped = sum(torch.equal(image, IMAGES[0].flip(1)) for image in images)
    assert 14 <= flipped <= 34, "about half of 48 are flipped, and nothing else is done to them"


def test_apart_leaves_some_alone_and_either_turns_or_shifts_the_others():
    images = [change(Classic(rotate=45, shift=0.1, apart=0.25), seed).images for seed in range(8)]
    moved = [image[0] for batch in images for image in batch if not torch.equal(image, IMAGES[0])]
    assert 12 <= len(moved) <= 36, "about half of 48"
    # A shift by whole pixels keeps the values as they are; a turn interpolates between them.
    shifts = sum(torch.allclose(image, image.round(), atol=1e-4) for image in moved)
    assert 0 < shifts < len(moved)


def test_the_generator_decides_and_torchs_own_is_left_alone():
    settings = Classic(flip=0.5, rotate=10, noise=0.1)
    before = torch.random.get_rng_state()
    first, second, other = change(settings), change(settings), change(settings, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.images, second.images) and not torch.equal(first.images, other.images)


def test_volumes_are_refused():
    with pytest.raises(ValueError, match=r"take slices"):
        classic(IMAGES[..., None], LABELS[..., None], 3, Classic(), seeded(0))
