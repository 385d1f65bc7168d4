"""Cost of a network: trainable parameters and floating-point operations."""

import math

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# The volume in mm that every cost refers to: nnU-Net's patch for this data set, about a typical crop.
REFERENCE_VOLUME = (40, 56, 40)


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def gflops(
    model: nn.Module, channels: int, axis: int | None, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> float:
    """Billions of floating-point operations of one forward pass over the reference volume.

    A multiplication and an addition count as two, as in torch's counter; sides are rounded up to multiples of
    `divisor`.

    Args:
        model: the network.
        channels: of its input.
        axis: slicing axis of a 2D network, which runs over all slices; None in 3D.
        spacing: voxel size in mm that the network works in.
    """
    sides, count = [math.ceil(mm / side) for mm, side in zip(REFERENCE_VOLUME, spacing, strict=True)], 1
    if axis is not None:
        count = sides.pop(axis)
    sides = [-(-side // model.divisor) * model.divisor for side in sides]
    was_training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model.eval()(torch.zeros(count, channels, *sides, device=next(model.parameters()).device))
    model.train(was_training)
    return counter.get_total_flops() / 1e9
