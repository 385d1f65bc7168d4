"""How far a network looks: the voxels that can reach an output (theoretical), and those that do (effective).

The theoretical receptive field is what kernels and strides allow. The effective one is the gradient of an output with
respect to the input, which fades long before that limit (Luo et al. 2016, arXiv:1701.04128).
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

# What does not move information between voxels once all weights are positive, or moves it between all of them.
SET_ASIDE = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LeakyReLU, nn.ReLU, nn.GELU, nn.SiLU, nn.PReLU, nn.Dropout)
LARGEST = 1024


def theoretical(model: nn.Module, in_channels: int, dims: int) -> tuple[int, ...]:
    """Width in voxels, along each axis, of the input that convolutions carry to one output voxel.

    In a copy whose weights are all 1 nothing cancels, so the gradient of an output is zero exactly where no path leads.
    Where in the coarsest grid a voxel lies changes the width a little; the largest is given. Normalisation is set
    aside: instance norm reads means over the whole input, so strictly every voxel depends on all of them.

    Args:
        model: a network with an attribute `divisor` that returns logits (B, K, *S). in_channels: of its input.
        dims: 2 or 3.

    Raises:
        ValueError: the field has no end below LARGEST voxels, as in a network with attention between all patches.
    """
    linear = _linear(model)
    return tuple(_width(linear, in_channels, dims, axis) for axis in range(dims))


def effective(model: nn.Module, inputs: Tensor, voxel: Sequence[int]) -> np.ndarray:
    """Mean absolute gradient of one voxel's winning logit with respect to the input: (C, *S) float64.

    Args:
        model: a network; it is put in evaluation mode for this and back. inputs: (B, C, *S) float32 on its device.
        voxel: index of the output voxel.
    """
    was_training = model.training
    model.eval()
    total = 0.0
    for sample in inputs.split(1):  # one at a time: a gradient keeps every layer's values
        sample = sample.clone().requires_grad_(True)
        logits = model(sample)[(0, slice(None), *voxel)]  # (K,)
        (gradient,) = torch.autograd.grad(logits.max(), sample)
        total = total + gradient[0].abs().double().cpu().numpy()
    model.train(was_training)
    return total / len(inputs)


def in_volume(field: np.ndarray, axis: int, index: int, depth: int) -> np.ndarray:
    """A 2D network's field (slices as channels, H, W) where its slices lie in the volume: float64 (X, Y, Z).

    index: the middle slice's place along `axis`, of `depth` slices. What would lie outside repeats the outermost slice,
    as the network's own input does. Raises ValueError for an even number of channels (images of several contrasts).
    """
    if len(field) % 2 == 0:
        raise ValueError(f"{len(field)} channels; expected a slice and as many neighbours on each side: an odd number")
    reach = len(field) // 2
    volume = np.zeros((depth, *field.shape[1:]))
    for offset, part in zip(range(-reach, reach + 1), field, strict=True):
        volume[min(max(index + offset, 0), depth - 1)] += part
    return np.moveaxis(volume, 0, axis)


def radius(field: np.ndarray, voxel: Sequence[int], share: float, spacing: Sequence[float]) -> float:
    """Distance in mm from the voxel within which `share` (0 to 1) of a field (X, Y, Z) lies. NaN for an empty field."""
    distance = np.sqrt(sum((step * (line - at)) ** 2 for line, at, step in _axes(field, voxel, spacing))).ravel()
    order = np.argsort(distance, kind="stable")
    summed = np.cumsum(field.ravel()[order])
    if not summed[-1] > 0:
        return float("nan")
    return float(distance[order][np.searchsorted(summed, share * summed[-1])])


def share_beyond(field: np.ndarray, voxel: Sequence[int], axis: int, reach: int) -> float:
    """Share of a field (X, Y, Z) that lies more than `reach` voxels from the voxel along one axis."""
    near = slice(max(0, voxel[axis] - reach), voxel[axis] + reach + 1)
    kept = field[tuple(near if other == axis else slice(None) for other in range(field.ndim))]
    return float(1 - kept.sum() / field.sum())


def _axes(field: np.ndarray, voxel: Sequence[int], spacing: Sequence[float]) -> list[tuple[np.ndarray, int, float]]:
    """For each axis: its indices, shaped to broadcast, the voxel's index, and the step in mm."""
    lines = np.meshgrid(*[np.arange(side) for side in field.shape], indexing="ij", sparse=True)
    return list(zip(lines, voxel, spacing, strict=True))


def _linear(model: nn.Module) -> nn.Module:
    """A copy in double precision with weights 1 and biases 0, normalisation and activations replaced by nothing."""
    made = copy.deepcopy(model).cpu().double().eval()
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SET_ASIDE):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.fill_(0 if name.endswith("bias") else 1)
    return made


def _width(linear: nn.Module, in_channels: int, dims: int, axis: int) -> int:
    """The field's width along one axis, on an input that is long along it and as short as possible along the others."""
    side = 64
    while side <= LARGEST:
        length = -(-side // linear.divisor) * linear.divisor
        sides = [length if other == axis else linear.divisor for other in range(dims)]
        x = torch.ones(1, in_channels, *sides, dtype=torch.float64, requires_grad=True)
        lines = linear(x).sum(1)[0].movedim(axis, 0).flatten(1).sum(1)  # (length,)
        found = []
        for at in range(length // 2, length // 2 + linear.divisor):
            (gradient,) = torch.autograd.grad(lines[at], x, retain_graph=True)
            reached = gradient[0].movedim(axis + 1, 0).flatten(1).abs().sum(1).nonzero().flatten()
            if reached[0] == 0 or reached[-1] == length - 1:
                break
            found.append(int(reached[-1] - reached[0]) + 1)
        if len(found) == linear.divisor:
            return max(found)
        side *= 2
    raise ValueError(f"the receptive field reaches beyond {LARGEST} voxels along axis {axis}: the network sees all")
