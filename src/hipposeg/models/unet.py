"""The U-Net for 2D and 3D: plain, residual, or with deep supervision.

Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28) with the block of nnU-Net (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z): two convolutions, each with instance normalisation and LeakyReLU 0.01; strided
convolutions down and transposed convolutions up, whose backward pass is deterministic (that of trilinear upsampling is
not). Residual blocks after He et al. 2016 (doi:10.1109/CVPR.2016.90).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of (B, C, *S) are adjacent in memory; False where both layouts are the same."""
    return x.ndim in LAYOUTS and x.is_contiguous(memory_format=LAYOUTS[x.ndim]) and not x.is_contiguous()


def margins(sides: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Padding about the middle as torch's `pad` takes it, last axis first; negative margins crop."""
    rooms = [most - side for side, most in zip(sides, wanted, strict=True)]
    return [margin for room in reversed(rooms) for margin in (room // 2, room - room // 2)]


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
    """Mixin for torch's instance normalisation that keeps the memory layout of its input.

    torch's own works on contiguous tensors and copies others, which costs most of what the channels-last layout gains.
    Contiguous input is passed to torch's, with the same bytes.
    """

    def forward(self: Any, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S): each channel of each sample with mean 0 and variance 1, then scaled and shifted."""
        if self.affine and is_channels_last(x):
            return _ChannelsLastNorm.apply(x, self.weight, self.bias, self.eps)
        return super().forward(x)


class InstanceNorm2d(_KeepsLayout, nn.InstanceNorm2d):
    """torch's layer (Ulyanov et al. 2016, arXiv:1607.08022) for slices in either layout."""


class InstanceNorm3d(_KeepsLayout, nn.InstanceNorm3d):
    """torch's layer for volumes in either layout."""


CONV = {2: nn.Conv2d, 3: nn.Conv3d}
UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM = {2: InstanceNorm2d, 3: InstanceNorm3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}


class Block(nn.Module):
    """Two 3-wide convolutions, each with normalisation and LeakyReLU; the first may halve the resolution."""

    def __init__(self, dims: int, inputs: int, outputs: int, stride: int = 1, batch_norm: bool = False) -> None:
        super().__init__()
        norm = (BATCH_NORM if batch_norm else NORM)[dims]
        self.layers = nn.Sequential(
            CONV[dims](inputs, outputs, 3, stride, padding=1, bias=False),
            norm(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
            CONV[dims](outputs, outputs, 3, padding=1, bias=False),
            norm(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S / stride)."""
        return self.layers(x)


class ResidualBlock(nn.Module):
    """The same two convolutions with a shortcut, which is 1-wide where channels or resolution change."""

    def __init__(self, dims: int, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.layers = Block(dims, inputs, outputs, stride).layers[:-1]  # the last activation comes after the sum
        same = inputs == outputs and stride == 1
        projection = nn.Sequential(
            CONV[dims](inputs, outputs, stride, stride, bias=False), NORM[dims](outputs, affine=True)
        )
        self.shortcut = nn.Identity() if same else projection
        self.activation = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S / stride)."""
        return self.activation(self.layers(x) + self.shortcut(x))


class UNet(nn.Module):
    """Encoder and decoder with a skip connection at every resolution.

    Args:
        dims: 2 or 3.
        in_channels: channels of the input, in 2D with neighbouring slices.
        n_classes: number of classes with the background.
        channels: width of each stage; every stage after the first halves the resolution.
        residual: residual blocks instead of plain ones.
        supervised: number of coarser decoder stages with a head in training (deep supervision).
        batch_norm: batch instead of instance normalisation, for plain blocks.
        dropout: probability of dropping a channel of each coarser encoder stage in training.

    Input (B, in_channels, *S) float, output (B, n_classes, *S) logits; in training with `supervised` a list of logits,
    finest first. Each side of S must be divisible by `divisor`; raises ValueError otherwise.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        n_classes: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        residual: bool = False,
        supervised: int = 0,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        coarser = max(0, len(channels) - 2)
        if not 0 <= supervised <= coarser:
            raise ValueError(f"supervised is {supervised}; {len(channels)} stages have {coarser} coarser ones")
        block = ResidualBlock if residual else partial(Block, batch_norm=batch_norm)
        self.divisor = 2 ** (len(channels) - 1)
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        self.stem = block(dims, in_channels, channels[0])
        self.down = nn.ModuleList(block(dims, wide, deep, stride=2) for wide, deep in pairs)
        self.drop = DROPOUT[dims](dropout) if dropout else None
        self.up = nn.ModuleList(UP[dims](deep, wide, 2, stride=2) for wide, deep in reversed(pairs))
        self.merge = nn.ModuleList(block(dims, 2 * wide, wide) for wide, _ in reversed(pairs))
        self.head = CONV[dims](channels[0], n_classes, 1)
        self.coarse_heads = nn.ModuleList(CONV[dims](wide, n_classes, 1) for wide in channels[1 : 1 + supervised])

    def encoded(self, x: Tensor) -> list[Tensor]:
        """Encoder features of each resolution, finest first: (B, channels[i], *S / 2**i)."""
        if any(side % self.divisor for side in x.shape[2:]):
            raise ValueError(
                f"input sides {tuple(x.shape[2:])} are not divisible by {self.divisor}; pad with data.grid.place"
            )
        found = [self.stem(x)]
        for block in self.down:
            deeper = block(found[-1])  # (B, 2c, *S/2)
            found.append(self.drop(deeper) if self.drop else deeper)
        return found

    def stages(self, x: Tensor) -> list[Tensor]:
        """Decoder features of each resolution but the last, finest first: (B, channels[i], *S / 2**i)."""
        return self.decoded(*self.encoded(x))

    def decoded(self, *encoded: Tensor) -> list[Tensor]:
        """Decoder features as of `stages`, from the encoder features of `encoded`."""
        *skips, x = encoded
        found = []
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = merge(torch.cat([up(x), skip], dim=1))
            found.append(x)
        return found[::-1] or [x]  # a network of one stage has no decoder

    def features(self, x: Tensor) -> Tensor:
        """(B, in_channels, *S) -> (B, channels[0], *S): the input of the head."""
        return self.stages(x)[0]

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, in_channels, *S) -> (B, n_classes, *S); in training possibly a list with coarser logits after it."""
        finest, *coarser = self.stages(x)
        logits = self.head(finest)
        if not (self.training and self.coarse_heads):
            return logits
        return [logits, *(head(stage) for head, stage in zip(self.coarse_heads, coarser, strict=False))]
