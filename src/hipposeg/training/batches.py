"""Training samples, and the batches that are drawn from them: order and changes depend on (seed, epoch, step) alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.profiler import record_function

from hipposeg.training.augmentation import Augmentation, Batch, augment
from hipposeg.training.classic import Classic, classic

# What a profile calls the time that augmentation takes.
AUGMENTING = "augmentation"


@dataclass(frozen=True)
class Samples:
    """Training data, resident in memory: images (N, C, *S) float32, labels (N, *S) uint8, voxel sides in mm along S.

    context: (N, D) float32, what a network is told beside each image, or None.
    """

    images: Tensor
    labels: Tensor
    n_classes: int
    spacing: tuple[float, ...]
    context: Tensor | None = None


def seeded(*parts: int | str) -> Generator:
    """A CPU generator whose stream depends on the parts alone, such as (seed, epoch, step)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def drawn(samples: Samples, seed: int, epoch: int, empty: float | None = None) -> Tensor:
    """Order of one epoch: (N,) indices of samples.

    Every sample once, or, with `empty`, that share of samples without any foreground: whichever kind is then too rare
    comes again, each of its samples as often as the others of its kind, but for one time. The epoch keeps its length.
    Raises ValueError if a share between 0 and 1 asks for a kind that is not there.
    """
    count, generator = len(samples.images), seeded(seed, epoch, "order")
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
    """The batch that a recipe's augmentation makes of samples, whichever kind it is; arguments as for `augment`."""
    change = classic if isinstance(settings, Classic) else augment
    with record_function(AUGMENTING):
        return change(images, labels, n_classes, settings, generator)


def batches(
    samples: Samples, size: int, device: str, changes: Augmentation | Classic, seed: int, epoch: int,
    empty: float | None = None,
) -> Iterator[tuple[int, Batch]]:  # fmt: skip
    """Yield (step, batch) of one epoch, augmented; a smaller last batch counts only if alone.

    size: samples a step. changes: ranges of the augmentation. empty: share of empty samples (`drawn`).
    """
    order = drawn(samples, seed, epoch, empty)
    for step in range(max(1, len(order) // size)):
        chosen = order[step * size : (step + 1) * size]
        images, labels = samples.images[chosen].to(device), samples.labels[chosen].to(device)
        batch = changed(images, labels, samples.n_classes, changes, seeded(seed, epoch, step))
        if samples.context is not None:
            batch = replace(batch, context=samples.context[chosen].to(device))
        yield step, batch
