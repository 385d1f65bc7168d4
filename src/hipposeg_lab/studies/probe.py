"""Analyses of notebook 04 beyond scores: receptive fields, and jumps between slices.

The theoretical receptive field is what kernels and strides allow. The effective one is the gradient of an output with
respect to the input, which fades long before that limit (Luo et al. 2016, arXiv:1701.04128).
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from hipposeg.data.cohort import Cohort
from hipposeg.inference import Prep
from hipposeg.training.machine import Machine

# What does not move information between voxels once all weights are positive, or moves it between all of them.
SET_ASIDE = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LeakyReLU, nn.ReLU, nn.GELU, nn.SiLU, nn.PReLU, nn.Dropout)
LONGEST = 192


def theoretical(model: nn.Module, in_channels: int, dims: int) -> tuple[int, ...]:
    """Width in voxels, along each of `dims` axes, of the input that convolutions carry to one output voxel.

    In a copy whose weights are all 1 nothing cancels, so the gradient of an output is zero exactly where no path leads.
    The width depends a little on where in the coarsest grid a voxel lies; the largest is given. Normalisation is set
    aside: instance norm reads means over the whole input, so strictly every voxel depends on all of them.

    Raises:
        ValueError: the field has no end below LONGEST voxels, as in a network with attention between all patches.
    """
    linear = copy.deepcopy(model).cpu().double().eval()
    for parent in list(linear.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SET_ASIDE):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for name, weight in linear.named_parameters():
            weight.fill_(0 if name.endswith("bias") else 1)
    return tuple(_width(linear, in_channels, dims, axis) for axis in range(dims))


def _width(linear: nn.Module, in_channels: int, dims: int, axis: int) -> int:
    """The field's width along one axis, on an input that is long along it and as short as possible along the others."""
    sides = [LONGEST if other == axis else linear.divisor for other in range(dims)]
    x = torch.ones(1, in_channels, *sides, dtype=torch.float64, requires_grad=True)
    lines = linear(x).sum(1)[0].movedim(axis, 0).flatten(1).sum(1)  # (LONGEST,)
    widths = []
    for at in range(LONGEST // 2, LONGEST // 2 + linear.divisor):
        (gradient,) = torch.autograd.grad(lines[at], x, retain_graph=True)
        reached = gradient[0].movedim(axis + 1, 0).flatten(1).abs().sum(1).nonzero().flatten()
        if reached[0] == 0 or reached[-1] == LONGEST - 1:
            raise ValueError(f"the receptive field is wider than {LONGEST} voxels along axis {axis}")
        widths.append(int(reached[-1] - reached[0]) + 1)
    return max(widths)


def effective_field(network: nn.Module, prep: Prep, images: Sequence[np.ndarray], machine: Machine) -> np.ndarray:
    """Mean absolute gradient of the middle voxel's highest logit with respect to images (C, X, Y, Z).

    Returns (*prep.size) float64. A 2D network's field lies in the slices that it reads.
    """
    machine.place(network).eval()
    voxel = tuple(side // 2 for side in prep.size)
    inside = [at for axis, at in enumerate(voxel) if axis != prep.axis]
    total = np.zeros(prep.size)
    for image in images:
        volume = prep.volume(image)[0].to(machine.device).requires_grad_()
        samples = prep.stack(volume)
        sample = samples if prep.axis is None else samples[[voxel[prep.axis]]]
        logits = network(sample)[(0, slice(None), *inside)]  # (K,)
        (gradient,) = torch.autograd.grad(logits.max(), volume)
        total += gradient[0].abs().sum(0).double().cpu().numpy()
    return total / len(images)


def radius(field: np.ndarray, voxel: Sequence[int], share: float, spacing: Sequence[float]) -> float:
    """Distance in mm from the voxel within which `share` (0 to 1) of a field (X, Y, Z) lies."""
    lines = np.ogrid[tuple(map(slice, field.shape))]
    distance = np.sqrt(sum((step * (line - at)) ** 2 for line, at, step in zip(lines, voxel, spacing, strict=True)))
    order = np.argsort(distance, axis=None, kind="stable")
    summed = np.cumsum(field.ravel()[order])
    return float(distance.ravel()[order][np.searchsorted(summed, share * summed[-1])])


def share_beyond(field: np.ndarray, voxel: Sequence[int], axis: int, reach: int) -> float:
    """Share of a field (X, Y, Z) that lies more than `reach` voxels from the voxel along one axis."""
    near = np.abs(np.arange(field.shape[axis]) - voxel[axis]) <= reach
    return float(1 - np.compress(near, field, axis).sum() / field.sum())


def slice_jump(label: np.ndarray, spacing: Sequence[float], axis: int) -> float:
    """Mean area in mm2 in which the class changes from a slice to the next across `axis`, where either has a label.

    Slices that are predicted independently are less aligned than a smooth surface. label: (X, Y, Z); NaN if empty.
    """
    moved = np.moveaxis(label, axis, 0)
    first, second = moved[:-1], moved[1:]
    holds = ((first > 0) | (second > 0)).any(axis=(1, 2))
    if not holds.any():
        return float("nan")
    area = float(np.prod([step for other, step in enumerate(spacing) if other != axis]))
    return float((first != second).sum(axis=(1, 2))[holds].mean() * area)


def jumps(masks: Mapping[str, Mapping[int, np.ndarray]], cohort: Cohort) -> pd.DataFrame:
    """`slice_jump` of source (such as "truth") -> case -> label map: columns source, case, subject, axis, jump."""
    rows = []
    for source, found in masks.items():
        for number, label in found.items():
            case = cohort.cases[number]
            rows += [(source, number, case.subject, a, slice_jump(label, case.spacing, a)) for a in range(3)]
    return pd.DataFrame(rows, columns=["source", "case", "subject", "axis", "jump"])
