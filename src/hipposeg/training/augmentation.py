"""Augmentation of a whole batch with torch, the same code for slices and volumes.

Parameters are drawn per sample on the CPU from one generator, so a batch depends only on that generator's seed. Labels
become soft labels, moved by linear interpolation, which nearest-neighbour labels would round to whole voxels. No flips
by default: all volumes have one orientation (notebook 01). `classic` is the conventional alternative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample, interpolate, one_hot


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes; 0 switches one off.

    Attributes:
        rotate: degrees, uniform in +/- (in 3D about each axis).
        scale: log-uniform factor between 1 / (1 + scale) and 1 + scale, per axis.
        shift: voxels, uniform in +/-, per axis.
        elastic: standard deviation in voxels of a smooth displacement.
        gain: relative change of contrast, uniform in +/-.
        offset: change of brightness in units of the z-score, uniform in +/-.
        gamma: log-uniform exponent between 1 / (1 + gamma) and 1 + gamma, on the min-max scaled image.
        noise: largest standard deviation of Gaussian noise, in units of the z-score.
        flip: probability of a flip along the sample's first axis.
        knots: voxels between control points of the elastic displacement.
        shrink: fraction of its volume that the labelled structure loses, uniform from the first to the second value; a
            negative one makes it grow (`shrunk_points`).
        coarse: probability that a sample looks as if measured with larger voxels, each side uniform up to COARSEST
            voxels (`coarsened`).
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
    shrink: tuple[float, float] = (0.0, 0.0)
    coarse: float = 0.0


@dataclass(frozen=True)
class Classic:
    """Probabilities and ranges of conventional augmentation, slice by slice; 0 switches a change off.

    Attributes:
        flip: probability of a flip along the slice's first axis.
        rotate: degrees, uniform in +/-.
        scale: smallest and largest factor.
        shift: largest shift, as a fraction of the side.
        noise: standard deviation of Gaussian noise, in units of the z-score.
        apart: if set, rotation, the other moves and the flip are alternatives, the first two with this probability
            each.
    """

    flip: float = 0.0
    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    noise: float = 0.0
    apart: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Input of a training step.

    Attributes:
        images: (B, C, *S) float32.
        targets: (B, K, *S) float32 soft labels, which add up to 1 in each voxel.
        points: (B, dims, *S) float32, position of each voxel in the unchanged sample, in voxels from its centre.
        context: (B, D) float32, further input of the network, or None.
    """

    images: Tensor
    targets: Tensor
    points: Tensor
    context: Tensor | None = None


def _uniform(batch: int, count: int, reach: float, generator: Generator) -> Tensor:
    return (torch.rand(batch, count, generator=generator) * 2 - 1) * reach


def rotation(angles: Tensor) -> Tensor:
    """Rotation matrices (B, dims, dims) from angles (B, planes) in radians; 2D has one plane of rotation, 3D three."""
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
    """Positions of a grid's voxels, in voxels from its centre: (*S, dims)."""
    axes = [torch.arange(side) - (side - 1) / 2 for side in sides]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def _source_points(shape: torch.Size, settings: Augmentation, generator: Generator) -> Tensor:
    """Where to sample, in voxels from the centre: (B, *S, dims)."""
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


# Voxels between a structure and the sides of its crop: about the mean of the training set's, see `predict.crop`.
MARGIN = 6.0


def shrunk_points(points: Tensor, labels: Tensor, fractions: Tensor) -> Tensor:
    """Where to sample so that the labelled structure loses a fraction of its volume, and the tissue around stretches.

    Each axis is moved alone, linearly over the structure, which so keeps its shape; the displacement fades to zero at
    MARGIN beyond the structure's old ends.

    Args:
        points: (B, *S, dims), positions in voxels from the centre.
        labels: (B, *S); a sample without foreground stays as it is.
        fractions: (B,), each below 1; a negative one makes the structure grow.

    Returns:
        Moved positions, of the same shape.
    """
    dims, moved = points.shape[-1], points.clone()
    each = (-1, *[1] * dims)
    factor = ((1 - fractions) ** (1 / dims)).view(each)
    for axis in range(dims):
        side = labels.shape[axis + 1]
        there = (labels > 0).movedim(axis + 1, 1).flatten(2).any(2).float()  # (B, side)
        low, high = there.argmax(1), side - there.flip(1).argmax(1)
        half = ((high - low) / 2 * there.amax(1)).view(each)
        away = points[..., axis] - ((low + high - side) / 2).view(each)
        end, gap = factor * half, (1 - factor) * half
        share = away.abs().minimum(end) / end.clamp(min=1e-6)
        fade = (1 - (away.abs() - end).clamp(min=0) / (MARGIN + gap)).clamp(min=0)
        moved[..., axis] += away.sign() * gap * share * fade
    return moved


def sample(values: Tensor, points: Tensor) -> Tensor:
    """Sample values (B, C, *S) at points (B, *S, dims) in voxels from the centre: linear, zero outside."""
    half = torch.tensor([side / 2 for side in values.shape[2:]])
    grid = (points / half).flip(-1).to(values.device)  # grid_sample takes the last axis first, -1 to 1 over the image
    return grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


COARSEST = 3.0


def coarsened(images: Tensor, sides: Tensor) -> Tensor:
    """Images (B, C, *S) as if measured with larger voxels: averaged over them, then interpolated linearly.

    sides (B, dims) of the larger voxels are in the images' own, and rounded so that whole voxels fill an axis.
    """
    mode, size = "bilinear" if images.ndim == 4 else "trilinear", images.shape[2:]
    counts = (torch.tensor(size) / sides).round().clamp(min=1).int().tolist()
    averaged = [interpolate(image[None], count, mode="area") for image, count in zip(images, counts, strict=True)]
    return torch.cat([interpolate(image, size, mode=mode, align_corners=False) for image in averaged])


def augment(images: Tensor, labels: Tensor, n_classes: int, settings: Augmentation, generator: Generator) -> Batch:
    """Change a batch at random: images (B, C, *S) float32, z-scored, on any device, and labels (B, *S) uint8.

    The generator is a CPU's. Outside the image is background with intensity 0, the mean.
    """
    batch, dims, device = images.shape[0], images.ndim - 2, images.device
    targets = one_hot(labels.long(), n_classes).movedim(-1, 1).float()
    points = _source_points(images.shape, settings, generator)
    shrinks = settings.shrink != (0.0, 0.0)
    if shrinks:
        low, high = settings.shrink
        points = shrunk_points(points, labels.cpu(), torch.rand(batch, generator=generator) * (high - low) + low)
    if settings.rotate or settings.scale or settings.shift or settings.elastic or settings.flip or shrinks:
        images = sample(images, points)
        foreground = sample(targets[:, 1:], points)
        targets = torch.cat([1 - foreground.sum(1, keepdim=True), foreground], 1)
    if settings.coarse:
        changed = torch.rand(batch, 1, generator=generator) < settings.coarse
        images = coarsened(images, 1 + changed * torch.rand(batch, dims, generator=generator) * (COARSEST - 1))
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


def _transform(settings: Classic) -> torch.nn.Module:
    from torchvision.transforms import v2

    moves = {"scale": settings.scale, "translate": (settings.shift, settings.shift)}
    linear = {"interpolation": v2.InterpolationMode.BILINEAR}
    parts: list[torch.nn.Module] = []
    if settings.apart:
        chances = [settings.apart, settings.apart, settings.flip]
        ways = [v2.RandomAffine(settings.rotate, **linear), v2.RandomAffine(0, **moves, **linear)]
        return v2.RandomChoice([*ways, v2.RandomVerticalFlip(1), v2.Identity()], [*chances, 1 - sum(chances)])
    if settings.flip:
        parts.append(v2.RandomVerticalFlip(settings.flip))  # torchvision's vertical axis is a tensor's first
    if settings.rotate or settings.shift or settings.scale != (1.0, 1.0):
        parts.append(v2.RandomAffine(settings.rotate, **moves, **linear))
    if settings.noise:
        parts.append(v2.GaussianNoise(0.0, settings.noise, clip=False))
    return v2.Compose(parts) if parts else v2.Identity()


def classic(images: Tensor, labels: Tensor, n_classes: int, settings: Classic, generator: Generator) -> Batch:
    """Change a batch of slices at random with torchvision's transforms and nearest-neighbour labels.

    Used for the configurations of other projects. Arguments and result as of `augment`, in 2D; the points are those of
    the unchanged slices.
    """
    from torchvision import tv_tensors

    change = _transform(settings)
    changed = []
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
        torch.manual_seed(generator.initial_seed())
        for image, label in zip(images, labels, strict=True):
            changed.append(change(tv_tensors.Image(image), tv_tensors.Mask(label)))
    moved = torch.stack([torch.Tensor(image) for image, _ in changed])
    targets = torch.stack([label.as_subclass(Tensor) for _, label in changed])
    points = centred_points(images.shape[2:]).movedim(-1, 0).expand(len(images), *[-1] * 3)
    soft = one_hot(targets.long(), n_classes).movedim(-1, 1).float()
    return Batch(moved, soft, points.to(images.device))
