"""Training samples and batches; order and augmentation depend on (seed, epoch, step) alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.profiler import record_function

from hipposeg.training.augmentation import Augmentation, Batch, Classic, augment, classic

# What a profile calls the time that augmentation takes.
AUGMENTING = "augmentation"


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
        """Images (B, C, *S) and labels (B, *S) of the samples with these indices; `training.patches` draws them."""
        return self.images[chosen], self.labels[chosen]

    def finished(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        """What is left to do with a batch after augmentation: here nothing."""
        return batch


def seeded(*parts: int | str) -> Generator:
    """A CPU generator whose stream depends on the parts alone, such as (seed, epoch, step)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


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
    with record_function(AUGMENTING):
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
