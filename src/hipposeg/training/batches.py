"""Training samples and batches; order, patches and augmentation depend on (seed, epoch, step) alone.

`Samples` holds samples in memory. `Patches` draws them from volumes that are too large, or too many, for that. Of 3D
patches, a third are centred on a voxel of a random foreground class, as in nnU-Net (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z), because random patches of a large volume seldom hold a small structure. A 2D sample is
a slice with its neighbours, or a patch of it. Volumes may be memory-mapped: only what is drawn is read.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from hipposeg.training.augmentation import Augmentation, Batch, Classic, augment, classic

FOREGROUND = 1 / 3  # of all patches, centred on a foreground voxel
# Patches are drawn larger by this fraction of their side at each end, so that rotations bring tissue into corners.
MARGIN = 0.125
KEPT_VOXELS = 2000  # of each class and volume, to centre patches on

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Samples:
    """Training data in memory.

    Attributes:
        images: (N, C, *S) float32.
        labels: (N, *S) uint8.
        spacing: voxel size in mm along S.
        context: (N, D) float32, further input of the network, or None.
    """

    images: Tensor
    labels: Tensor
    n_classes: int
    spacing: tuple[float, ...]
    context: Tensor | None = None

    def __len__(self) -> int:
        """Samples of one epoch."""
        return len(self.images)

    def take(self, chosen: Tensor, seed: int, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, *S) and labels (B, *S) of the samples with these indices; `Patches` draws them."""
        return self.images[chosen], self.labels[chosen]

    def finished(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        """What is left to do with a batch after augmentation: here nothing."""
        return batch


def seeded(*parts: int | str) -> Generator:
    """A CPU generator whose stream depends on the parts alone, such as (seed, epoch, step)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class Volume:
    """One training volume.

    Attributes:
        image: (C, X, Y, Z) float32, intensities as stored.
        label: (X, Y, Z) uint8.
        mean, std: of each channel, (C,) float64.
        places: for each foreground class that the volume holds, some of its voxels, (n, 3).
    """

    image: np.ndarray
    label: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    places: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, image: np.ndarray, label: np.ndarray, n_classes: int) -> "Volume":
        """A volume with its moments and places."""
        moments = [(channel.mean(dtype=np.float64), channel.std(dtype=np.float64)) for channel in image]
        places = []
        for number in range(1, n_classes):
            found = np.flatnonzero(label == number)
            if found.size:
                kept = found[:: -(-found.size // KEPT_VOXELS)]
                places.append(np.stack(np.unravel_index(kept, label.shape), 1))
        mean, std = np.array(moments).T
        return cls(image, label, mean, std, tuple(places))


class Patches:
    """Patches or slices of volumes; they offer the loop what `Samples` do.

    Args:
        volumes: the training cases.
        size: of a patch in voxels; its side along `axis` is 1.
        axis: slicing axis of a 2D network; None in 3D.
        neighbours: slices on either side that a 2D network gets as channels.
        n_classes: with the background.
        spacing: voxel size in mm along the axes of a sample.
        count: samples an epoch; 0 takes as many patches as cover the volumes, or every slice once.
        channel_dropout: probability that a channel of a sample is set to 0, its mean; one channel always stays.
    """

    context = None

    def __init__(
        self, volumes: Sequence[Volume], size: Triple, axis: int | None, neighbours: int, n_classes: int,
        spacing: tuple[float, ...], count: int = 0, channel_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        self.volumes, self.size, self.axis, self.neighbours = tuple(volumes), size, axis, neighbours
        self.n_classes, self.spacing, self.channel_dropout = n_classes, spacing, channel_dropout
        shapes = np.array([volume.label.shape for volume in volumes])
        # An axis that every patch covers needs no margin: there is nothing outside.
        fits = (shapes <= size).all(0)
        self.margin = tuple(0 if fits[i] or i == axis else int(np.ceil(MARGIN * side)) for i, side in enumerate(size))
        if axis is None:
            owners = np.arange(len(volumes))
            whole = int(np.ceil(shapes / size).prod(1).sum())
            self.table = np.stack([owners, owners], 1)
        else:
            self.table = np.array([(v, i) for v, shape in enumerate(shapes) for i in range(shape[axis])])
            whole = len(self.table)
        # Shuffled once, so that any part of the table holds slices of many volumes.
        self.table = self.table[torch.randperm(len(self.table), generator=seeded("patches")).numpy()]
        self.count = count or whole

    def __len__(self) -> int:
        """Samples of one epoch."""
        return self.count

    def take(self, chosen: Tensor, seed: int, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Samples with these indices: z-scored images (B, C', *S) float32 with margins, labels (B, *S) uint8."""
        generator = seeded(seed, epoch, step, "patches")
        pairs = [self._draw(epoch, int(index), generator) for index in chosen]
        images, labels = zip(*pairs, strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))

    def _draw(self, epoch: int, index: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
        owner, at = self.table[(index + (epoch - 1) * self.count) % len(self.table)]
        volume = self.volumes[owner]
        start = self._start(volume, generator)
        if self.axis is None:
            return _window(volume, start, self._outer)
        # Neighbouring slices become channels, as in `inference.Prep.stack`; at the end the last one is repeated.
        last, found = volume.label.shape[self.axis] - 1, []
        for offset in range(-self.neighbours, self.neighbours + 1):
            start[self.axis] = min(max(at + offset, 0), last)
            image, label = _window(volume, start, self._outer)
            found.append(image.squeeze(self.axis + 1))
            if not offset:
                chosen = label.squeeze(self.axis)
        return np.concatenate(found), chosen

    @property
    def _outer(self) -> Triple:
        """Size of what is read, with margins."""
        return tuple(side + 2 * margin for side, margin in zip(self.size, self.margin, strict=True))

    def _start(self, volume: Volume, generator: Generator) -> list[int]:
        """First voxel of a patch with its margin, negative where it begins outside; small volumes are centred."""
        draws = torch.rand(6, generator=generator).tolist()
        centre = None
        if draws[0] < FOREGROUND and volume.places:
            places = volume.places[int(draws[1] * len(volume.places))]
            centre = places[int(draws[2] * len(places))]
        start = []
        for i, (whole, side) in enumerate(zip(volume.label.shape, self.size, strict=True)):
            free = whole - side
            if free <= 0:
                first = -((side - whole) // 2)
            else:
                first = int(draws[3 + i] * (free + 1)) if centre is None else min(max(centre[i] - side // 2, 0), free)
            start.append(first - self.margin[i])
        return start

    def finished(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        """Cut the margins off an augmented batch, and set dropped channels to 0."""
        margins = [margin for i, margin in enumerate(self.margin) if i != self.axis]
        inside = (..., *(slice(margin, -margin or None) for margin in margins))
        images, targets, points = (part[inside] for part in (batch.images, batch.targets, batch.points))
        per_slice = len(self.volumes[0].image)
        if self.channel_dropout and per_slice > 1:
            draws = torch.rand(len(images), per_slice, generator=seeded(seed, epoch, step, "channels"))
            kept = (draws >= self.channel_dropout) | (draws == draws.amax(1, keepdim=True))
            kept = kept.repeat(1, images.shape[1] // per_slice).view(*images.shape[:2], *[1] * len(margins))
            images = images * kept.to(images.device)
        return replace(batch, images=images.contiguous(), targets=targets.contiguous(), points=points)


def _window(volume: Volume, start: Sequence[int], size: Triple) -> tuple[np.ndarray, np.ndarray]:
    """Part of a volume, its image z-scored; 0, the mean, and background outside."""
    image = np.zeros((len(volume.image), *size), np.float32)
    label = np.zeros(size, np.uint8)
    inside, there = [], []
    for first, side, whole in zip(start, size, volume.label.shape, strict=True):
        low, high = max(0, first), min(whole, first + side)
        inside.append(slice(low - first, high - first))
        there.append(slice(low, high))
    shape = (-1, 1, 1, 1)
    values = volume.image[(slice(None), *there)].astype(np.float64)
    image[(slice(None), *inside)] = (values - volume.mean.reshape(shape)) / volume.std.reshape(shape)
    label[tuple(inside)] = volume.label[tuple(there)]
    return image, label


def drawn(samples: Samples, seed: int, epoch: int, empty: float | None = None) -> Tensor:
    """Order of one epoch: indices of samples, (N,). By default every sample once.

    With `empty`, that fraction of samples has no foreground; the kind that is too rare is repeated evenly.

    Raises:
        ValueError: `empty` requires a kind of sample that does not exist.
    """
    count, generator = len(samples), seeded(seed, epoch, "order")
    if empty is None:
        return torch.randperm(count, generator=generator)
    foreground = (samples.labels > 0).flatten(1).any(1)
    wanted = {False: round(empty * count), True: count - round(empty * count)}
    parts = []
    for kind, number in wanted.items():
        there = (foreground == kind).nonzero().flatten()
        if number and not len(there):
            raise ValueError(f"{empty:.0%} of the samples should be empty, and none is {'full' if kind else 'empty'}")
        rounds = -(-number // len(there)) if number else 0
        again = [there[torch.randperm(len(there), generator=generator)] for _ in range(rounds)]
        parts.append(torch.cat([*again, there[:0]])[:number])
    found = torch.cat(parts)
    return found[torch.randperm(len(found), generator=generator)]


def changed(
    images: Tensor, labels: Tensor, n_classes: int, settings: Augmentation | Classic, generator: Generator
) -> Batch:
    """Augment samples with either kind of augmentation; arguments as of `augment`."""
    change = classic if isinstance(settings, Classic) else augment
    return change(images, labels, n_classes, settings, generator)


def batches(
    samples: Samples, size: int, device: str, changes: Augmentation | Classic, seed: int, epoch: int,
    empty: float | None = None,
) -> Iterator[tuple[int, Batch]]:  # fmt: skip
    """Yield (step, batch) of one epoch, augmented; an incomplete last batch is dropped unless it is the only one."""
    order = drawn(samples, seed, epoch, empty)
    for step in range(max(1, len(order) // size)):
        chosen = order[step * size : (step + 1) * size]
        images, labels = (part.to(device) for part in samples.take(chosen, seed, epoch, step))
        batch = changed(images, labels, samples.n_classes, changes, seeded(seed, epoch, step))
        if samples.context is not None:
            batch = replace(batch, context=samples.context[chosen].to(device))
        yield step, samples.finished(batch, seed, epoch, step)
