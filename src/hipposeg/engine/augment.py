"""Augmentation of a whole batch with torch, the same code for slices and volumes.

Parameters are drawn per sample on the CPU from one generator, so a batch depends on nothing but that generator's seed.
No mirroring: every volume is stored in one orientation (see notebook 01), so a mirrored one is not a likely scan.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample, interpolate


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; 0 switches one off.

    rotate: degrees, uniform in +/- this (3D: about each axis). scale: log-uniform factor in 1/(1+s) to 1+s.
    shift: voxels, uniform in +/-. elastic: standard deviation in voxels of a smooth displacement.
    gain, offset: of the z-scored intensity, uniform. gamma: log-uniform exponent range on the min-max scaled intensity.
    noise: largest standard deviation of added Gaussian noise, in units of the z-score.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0


def _uniform(batch: int, count: int, reach: float, generator: Generator) -> Tensor:
    """(batch, count) uniform in [-reach, reach)."""
    return (torch.rand(batch, count, generator=generator) * 2 - 1) * reach


def _rotations(batch: int, dims: int, reach: float, generator: Generator) -> Tensor:
    """(batch, dims, dims) rotation matrices, angles uniform within +/- reach degrees, one per plane of rotation."""
    matrix = torch.eye(dims).repeat(batch, 1, 1)
    planes = [(i, j) for i in range(dims) for j in range(i + 1, dims)]
    angles = _uniform(batch, len(planes), math.radians(reach), generator)
    for (i, j), angle in zip(planes, angles.T, strict=True):
        turn = torch.eye(dims).repeat(batch, 1, 1)
        turn[:, i, i] = turn[:, j, j] = angle.cos()
        turn[:, i, j] = -angle.sin()
        turn[:, j, i] = angle.sin()
        matrix = matrix @ turn
    return matrix


def _sampling_grid(shape: torch.Size, settings: Augmentation, generator: Generator) -> Tensor:
    """(B, *S, dims) points to sample at, in grid_sample's coordinates: last axis first, -1 to 1 over the box."""
    batch, sides = shape[0], shape[2:]
    dims = len(sides)
    axes = [torch.arange(side) - (side - 1) / 2 for side in sides]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)  # (*S, dims) voxels from the centre
    factor = torch.exp(_uniform(batch, dims, math.log1p(settings.scale), generator))
    matrix = _rotations(batch, dims, settings.rotate, generator) * factor[:, None, :]
    moved = torch.einsum("...j,bij->b...i", points, matrix)
    moved = moved + _uniform(batch, dims, settings.shift, generator).view(batch, *[1] * dims, dims)
    if settings.elastic:
        knots = torch.randn(batch, dims, *[max(2, side // 12) for side in sides], generator=generator)
        mode = "bilinear" if dims == 2 else "trilinear"
        field = interpolate(knots * settings.elastic, size=tuple(sides), mode=mode, align_corners=True)
        moved = moved + field.movedim(1, -1)
    half = torch.tensor([side / 2 for side in sides])
    return (moved / half).flip(-1)


def augment(images: Tensor, labels: Tensor, settings: Augmentation, generator: Generator) -> tuple[Tensor, Tensor]:
    """Change a batch at random.

    Args:
        images: (B, C, *S) float32, z-scored. labels: (B, *S) uint8. Either may be on any device.
        settings: ranges of the changes.
        generator: a CPU generator; the result depends on its state and on nothing else.

    Returns:
        Images and labels of the same shapes and dtypes. Labels are moved with the image by nearest neighbour;
        what comes from outside the box is background of mean intensity 0.
    """
    batch, dims, device = images.shape[0], images.ndim - 2, images.device
    if settings.rotate or settings.scale or settings.shift or settings.elastic:
        grid = _sampling_grid(images.shape, settings, generator).to(device)
        images = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        labels = grid_sample(labels[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0].to(labels.dtype)
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
    return images, labels
