"""Augmentation of a whole batch with torch, the same code for slices and volumes.

Parameters are drawn per sample on the CPU from one generator, so a batch depends on nothing but that generator's seed.
Labels become targets: the share of each class in each voxel. Moved by linear interpolation, they keep the border where
it went; nearest-neighbour labels would round it to whole voxels, and a border of whole voxels is what Dice is lost by.
No mirroring by default: every volume is stored in one orientation (notebook 01), so a mirrored one is no likely scan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample, interpolate, one_hot


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; 0 switches one off.

    rotate: degrees, uniform in +/- this (3D: about each axis). scale: log-uniform factor in 1/(1+s) to 1+s.
    shift: voxels, uniform in +/-. elastic: standard deviation in voxels of a smooth displacement,
    which is drawn every `knots` voxels.
    gain, offset: of the z-scored intensity, uniform. gamma: log-uniform exponent range on the min-max scaled intensity.
    noise: largest standard deviation of added Gaussian noise, in units of the z-score. flip: probability of a mirror
    image along the sample's first axis.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    flip: float = 0.0
    knots: int = 12


@dataclass(frozen=True)
class Batch:
    """What a training step gets.

    images: (B, C, *S) float32. targets: (B, K, *S) float32, each voxel's shares of the classes, which add up to 1.
    points: (B, dims, *S) float32, where each voxel was in the sample it came from, in voxels from that box's centre.
    context: (B, D) float32, what else a network is told of the samples as they were before these changes, or None.
    """

    images: Tensor
    targets: Tensor
    points: Tensor
    context: Tensor | None = None


def _uniform(batch: int, count: int, reach: float, generator: Generator) -> Tensor:
    """(batch, count) uniform in [-reach, reach)."""
    return (torch.rand(batch, count, generator=generator) * 2 - 1) * reach


def rotation(angles: Tensor) -> Tensor:
    """(B, planes) angles in radians to (B, dims, dims) matrices; there is one plane of rotation in 2D, 3 in 3D."""
    dims = 2 if angles.shape[1] == 1 else 3
    matrix = torch.eye(dims).repeat(len(angles), 1, 1)
    planes = [(i, j) for i in range(dims) for j in range(i + 1, dims)]
    for (i, j), angle in zip(planes, angles.T, strict=True):
        turn = torch.eye(dims).repeat(len(angles), 1, 1)
        turn[:, i, i] = turn[:, j, j] = angle.cos()
        turn[:, i, j] = -angle.sin()
        turn[:, j, i] = angle.sin()
        matrix = matrix @ turn
    return matrix


def centred_points(sides: Sequence[int]) -> Tensor:
    """(*S, dims) positions of a grid's voxels, in voxels from its centre."""
    axes = [torch.arange(side) - (side - 1) / 2 for side in sides]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def _source_points(shape: torch.Size, settings: Augmentation, generator: Generator) -> Tensor:
    """(B, *S, dims) where to sample, in voxels from the box's centre."""
    batch, sides = shape[0], shape[2:]
    dims = len(sides)
    points = centred_points(sides)
    factor = torch.exp(_uniform(batch, dims, math.log1p(settings.scale), generator))
    angles = _uniform(batch, dims * (dims - 1) // 2, math.radians(settings.rotate), generator)
    matrix = rotation(angles) * factor[:, None, :]
    moved = torch.einsum("...j,bij->b...i", points, matrix)
    moved = moved + _uniform(batch, dims, settings.shift, generator).view(batch, *[1] * dims, dims)
    if settings.elastic:
        knots = torch.randn(batch, dims, *[max(2, side // settings.knots) for side in sides], generator=generator)
        mode = "bilinear" if dims == 2 else "trilinear"
        field = interpolate(knots * settings.elastic, size=tuple(sides), mode=mode, align_corners=True)
        moved = moved + field.movedim(1, -1)
    if settings.flip:
        mirrored = torch.rand(batch, generator=generator) < settings.flip
        moved[mirrored, ..., 0] *= -1
    return moved


def sample(values: Tensor, points: Tensor) -> Tensor:
    """Values (B, C, *S) at points (B, *S, dims) in voxels from the centre: linear, zero outside the box."""
    half = torch.tensor([side / 2 for side in values.shape[2:]])
    grid = (points / half).flip(-1).to(values.device)  # grid_sample wants the last axis first, -1 to 1 over the box
    return grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def augment(images: Tensor, labels: Tensor, n_classes: int, settings: Augmentation, generator: Generator) -> Batch:
    """Change a batch at random.

    Args:
        images: (B, C, *S) float32, z-scored. labels: (B, *S) uint8. Either may be on any device.
        n_classes: background included.
        settings: ranges of the changes.
        generator: a CPU generator; the result depends on its state and on nothing else.

    Returns:
        The changed images and the targets moved with them; what comes from outside the box is background of mean
        intensity 0.
    """
    batch, dims, device = images.shape[0], images.ndim - 2, images.device
    targets = one_hot(labels.long(), n_classes).movedim(-1, 1).float()
    points = _source_points(images.shape, settings, generator)
    if settings.rotate or settings.scale or settings.shift or settings.elastic or settings.flip:
        images = sample(images, points)
        foreground = sample(targets[:, 1:], points)
        targets = torch.cat([1 - foreground.sum(1, keepdim=True), foreground], 1)
    each = (batch, *[1] * (dims + 1))
    if settings.gamma:
        exponent = torch.exp(_uniform(batch, 1, math.log1p(settings.gamma), generator)).view(each).to(device)
        low = images.amin(dim=tuple(range(1, dims + 2)), keepdim=True)
        reach = images.amax(dim=tuple(range(1, dims + 2)), keepdim=True) - low + 1e-6
        images = ((images - low) / reach) ** exponent * reach + low
    if settings.gain or settings.offset:
        gain = 1 + _uniform(batch, 1, settings.gain, generator).view(each).to(device)
        images = images * gain + _uniform(batch, 1, settings.offset, generator).view(each).to(device)
    if settings.noise:
        sigma = torch.rand(batch, 1, generator=generator).view(each) * settings.noise
        images = images + (torch.randn(images.shape, generator=generator) * sigma).to(device)
    return Batch(images, targets, points.movedim(-1, 1).to(device))
