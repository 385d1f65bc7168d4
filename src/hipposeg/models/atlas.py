"""The image-free atlas: the mean training label map, stretched to the crop.

It measures what the crops alone reveal, because they were cut around the ground truth (notebook 01).
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate, one_hot


def stretch(maps: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """(K, X, Y, Z) float -> (K, *shape), trilinear, edge to edge."""
    return interpolate(maps[None], size=tuple(shape), mode="trilinear", align_corners=False)[0]


def mean_map(labels: Iterable[NDArray[np.uint8]], n_classes: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Mean of the training label maps, each stretched to `shape`: (K, *shape) float32 class frequencies."""
    total, count = torch.zeros(n_classes, *shape), 0
    for label in labels:
        classes = one_hot(torch.from_numpy(label.astype(np.int64)), n_classes).movedim(-1, 0).float()
        total += stretch(classes, shape)
        count += 1
    return total / count


def from_box(atlas: torch.Tensor, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The most frequent class at every voxel of a crop of this shape: (X, Y, Z) uint8."""
    return stretch(atlas, shape).argmax(0).numpy().astype(np.uint8)
