"""Instance normalisation that keeps the memory layout of its input.

torch's works on contiguous tensors and copies others, which costs most of what the channels-last layout gains.
Contiguous input is passed to torch's, with the same bytes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of (B, C, *S) are adjacent in memory; False where both layouts are the same."""
    return x.ndim in LAYOUTS and x.is_contiguous(memory_format=LAYOUTS[x.ndim]) and not x.is_contiguous()


class _ChannelsLastNorm(torch.autograd.Function):
    """Instance normalisation with few passes over memory: moments as plain sums, one multiply-add."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """(B, C, *S), (C,), (C,) -> (B, C, *S)."""
        space, channel = tuple(range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
        found = torch.empty_like(x)
        mean = x.mean(space, keepdim=True)  # (B, C, 1...)
        variance = torch.mul(x, x, out=found).mean(space, keepdim=True) - mean.square()
        inverse = (variance.clamp(min=0) + eps).rsqrt()
        scale = weight.view(channel) * inverse
        torch.addcmul(bias.view(channel) - mean * scale, x, scale, out=found)
        ctx.save_for_backward(x, scale, mean, inverse)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of input, weight and bias."""
        x, scale, mean, inverse = ctx.saved_tensors
        space, count = tuple(range(2, x.ndim)), x[0, 0].numel()
        found = gradient * x
        to_bias = gradient.sum(space, keepdim=True)  # (B, C, 1...)
        to_weight = (found.sum(space, keepdim=True) - mean * to_bias) * inverse
        slope = scale * inverse * to_weight / count
        torch.addcmul(mean * slope - scale * to_bias / count, gradient, scale, out=found).addcmul_(x, slope, value=-1)
        return found, to_weight.sum(0).flatten(), to_bias.sum(0).flatten(), None


class _KeepsLayout:
    """Mixin for torch's classes."""

    def forward(self: Any, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S): each channel of each sample with mean 0 and variance 1, then scaled and shifted."""
        if self.affine and is_channels_last(x):
            return _ChannelsLastNorm.apply(x, self.weight, self.bias, self.eps)
        return super().forward(x)


class InstanceNorm2d(_KeepsLayout, nn.InstanceNorm2d):
    """torch's layer (Ulyanov et al. 2016, arXiv:1607.08022) for slices in either layout."""


class InstanceNorm3d(_KeepsLayout, nn.InstanceNorm3d):
    """torch's layer for volumes in either layout."""
