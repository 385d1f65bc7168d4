"""Patches from large volumes: where they lie, what they hold, and that the loop takes them as it takes samples."""

import numpy as np
import pytest
import torch

from hipposeg.inference import Prep
from hipposeg.models.unet import UNet
from hipposeg.training.augmentation import Augmentation
from hipposeg.training.batches import Patches, Volume, batches, seeded
from hipposeg.training.loop import TrainConfig, Training, fit, reached
from hipposeg.training.machine import Machine

MACHINE = Machine("cpu", "fp32", 1)


def ramp(shape=(12, 10, 8), channels=1, offset=0.0):
    """A volume whose intensity is the index of its voxel, and one voxel of foreground."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape) + offset
    label = np.zeros(shape, np.uint8)
    label[shape[0] * 3 // 4, shape[1] // 5, shape[2] * 3 // 4] = 1
    return Volume.of(np.concatenate([image] * channels), label, 2)


def places_of(image, volume):
    """The first voxel of each patch, found again by its intensity."""
    raw = image[:, 0].double() * volume.std[0] + volume.mean[0]
    return [np.unravel_index(round(float(one.flatten()[0])), volume.label.shape) for one in raw]


def test_patches_are_parts_of_the_volume_and_reach_its_ends():
    volume = ramp()
    data = Patches([volume], (6, 6, 8), None, 0, 2, (1.0, 1.0, 1.0), count=200)
    assert data.margin == (1, 1, 0), "the third axis is covered by every patch"
    data.margin = (0, 0, 0)
    images, labels = data.take(torch.arange(200), seed=0, epoch=1, step=0)
    firsts = places_of(images, volume)
    for image, label, (x, y, z) in zip(images, labels, firsts, strict=True):
        part = (slice(x, x + 6), slice(y, y + 6), slice(z, z + 8))
        expected = (volume.image[0][part] - volume.image.mean()) / volume.image.std()
        np.testing.assert_allclose(image[0], expected, atol=1e-5)
        np.testing.assert_array_equal(label, volume.label[part])
    assert {x for x, _, _ in firsts} == set(range(7)) and {y for _, y, _ in firsts} == set(range(5))
    # The voxel (9, 2, 6) is in 3 of 7 starts along x and 3 of 5 along y; a third of all patches is centred on it.
    share = float((labels > 0).flatten(1).any(1).float().mean())
    assert share == pytest.approx(1 / 3 + 2 / 3 * 9 / 35, abs=0.09)


def test_a_smaller_volume_is_centred_as_inference_places_it():
    volume = ramp((7, 9, 8))
    data = Patches([volume], (8, 12, 8), None, 0, 2, (1.0, 1.0, 1.0))
    images, labels = data.take(torch.arange(len(data)), 0, 1, 0)
    assert len(data) == 1 and data.margin == (0, 0, 0)
    expected, placement = Prep(size=(8, 12, 8)).place(volume.image)
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)
    np.testing.assert_array_equal(labels[0], placement.apply(volume.label))


def test_slices_with_neighbours_are_those_of_inference_and_each_comes_once():
    volume = ramp((6, 5, 4), channels=2)
    data = Patches([volume], (6, 1, 4), 1, 1, 2, (1.0, 1.0))
    images, labels = data.take(torch.arange(len(data)), 0, 1, 0)
    expected, _ = Prep(size=(6, 5, 4), axis=1, neighbours=1).place(volume.image)
    order = [int(at) for _, at in data.table]
    assert sorted(order) == list(range(5)) and images.shape == (5, 6, 6, 4)
    torch.testing.assert_close(images, expected[order], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(labels, volume.label.swapaxes(0, 1)[order])


def test_few_samples_an_epoch_see_all_volumes_in_turn():
    volumes = [ramp(offset=1e6 * number) for number in range(5)]
    data = Patches(volumes, (4, 4, 4), None, 0, 2, (1.0, 1.0, 1.0), count=2)
    seen = [int(data.table[(index + epoch * 2) % 5][0]) for epoch in range(5) for index in range(2)]
    assert sorted(seen) == sorted([*range(5)] * 2)


def test_margins_bring_tissue_into_corners_and_are_cut_off():
    """Rotated by up to 6 degrees, no voxel of an inner patch is empty; without margins some are."""
    shape = (40, 40, 40)
    label = np.zeros(shape, np.uint8)
    label[18:22, 18:22, 18:22] = 1
    image = np.random.default_rng(0).normal(100, 1, (1, *shape)).astype(np.float32)
    volume = Volume(image, label, np.zeros(1), np.ones(1), (np.array([[20, 20, 20]]),))

    def lowest(margin):
        data = Patches([volume], (16, 16, 16), None, 0, 2, (1.0, 1.0, 1.0), count=12)
        data.margin = margin or data.margin
        found = [batch for _, batch in batches(data, 4, "cpu", Augmentation(rotate=6), seed=1, epoch=1)]
        assert all(batch.images.shape == (4, 1, 16, 16, 16) for batch in found)
        assert all(batch.targets.shape == (4, 2, 16, 16, 16) for batch in found)
        # Patches at the volume's border do see the outside; here all begin in its middle.
        return min(float(batch.images.min()) for batch in found)

    original = Patches._start
    try:
        Patches._start = lambda self, volume, generator: [12 - margin for margin in self.margin]
        assert lowest(None) > 90 and lowest((0, 0, 0)) < 60
    finally:
        Patches._start = original


def test_dropped_channels_are_the_mean_and_one_always_stays():
    volume = ramp(channels=3)
    data = Patches([volume], (12, 10, 8), None, 0, 2, (1.0, 1.0, 1.0), count=300, channel_dropout=0.5)
    gone = []
    for _, batch in batches(data, 50, "cpu", Augmentation(noise=0.1, offset=0.2), seed=0, epoch=1):
        gone += (batch.images == 0).flatten(2).all(2).tolist()
    gone = np.array(gone)
    assert gone.shape == (300, 3) and not gone.all(1).any()
    # Half of 3 channels, but for the eighth of samples that would have lost all and keep one.
    assert gone.mean() == pytest.approx(0.5 - 1 / 24, abs=0.05)
    first = [batch.images for _, batch in batches(data, 50, "cpu", Augmentation(), seed=0, epoch=1)]
    again = [batch.images for _, batch in batches(data, 50, "cpu", Augmentation(), seed=0, epoch=1)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_loop_learns_from_patches_and_stops_when_every_class_is_good_enough(tmp_path):
    rng = np.random.default_rng(0)
    volumes = []
    for _ in range(3):
        label = np.zeros((20, 20, 20), np.uint8)
        x, y, z = rng.integers(3, 10, 3)
        label[x : x + 7, y : y + 7, z : z + 7] = 1
        image = (label + rng.normal(0, 0.2, label.shape)).astype(np.float32)[None]
        volumes.append(Volume.of(image, label, 2))
    data = Patches(volumes, (8, 8, 8), None, 0, 2, (1.0, 1.0, 1.0), count=16)
    config = TrainConfig(epochs=5, batch=4, lr=1e-2, muon=0.02, average=0.9, stop=0.7, watch_every=1)
    seen = iter((0.5, 0.69, 0.71, 0.9, 0.9))
    torch.manual_seed(seeded(0, "weights").initial_seed())
    training = Training(UNet(3, 1, 2, (4, 8)), config, MACHINE, 0)
    _, history, _ = fit(training, data, tmp_path, "k", lambda _: {"a": next(seen), "b": 1.0, "mean": 0.0})
    assert len(history) == 3 and history[-1]["loss"] < history[0]["loss"]
    again = Training(UNet(3, 1, 2, (4, 8)), config, MACHINE, 0)
    assert len(fit(again, data, tmp_path, "k", lambda _: {})[1]) == 3, "a resumed training has ended, too"


def test_a_class_that_nobody_has_does_not_hold_up_the_end():
    assert reached([{"dice": {"a": 0.8, "b": float("nan"), "mean": float("nan")}}], 0.7)
    assert not reached([{"dice": {"a": 0.8, "b": 0.6, "mean": 0.7}}], 0.7)
    assert not reached([{"dice": {"a": 0.8}}], None) and not reached([], 0.7) and not reached([{"loss": 1.0}], 0.7)
