"""Attention gates on the skip connections of a U-Net (Oktay et al. 2018, arXiv:1804.03999).

A gate multiplies the fine features by weights between 0 and 1, one for each place, computed from the skip itself and
from the next coarser decoder feature, which has a larger receptive field. It learns from the segmentation loss alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hipposeg.models.unet import CONV, UNet


def doubled(x: Tensor) -> Tensor:
    """(B, C, *S) -> (B, C, *2S), linearly interpolated.

    Equal to `interpolate(scale_factor=2, align_corners=False)`, whose backward pass is not deterministic on every
    device.
    """
    for axis in range(2, x.ndim):
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
        before = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
        after = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), last], axis)
        halves = [x + (before - x) / 4, x + (after - x) / 4]
        x = torch.stack(halves, axis + 1).flatten(axis, axis + 1)
    return x


class AttentionGate(nn.Module):
    """Additive attention: map = sigmoid(psi(relu(w_x(skip) + w_g(gate)))) at the gate's resolution, then doubled.

    Args:
        dims: 2 or 3.
        skip: channels of the encoder feature.
        gate: channels of the decoder feature of half its resolution.
        inner: channels in which the two are added.
        spatial: False averages the score over space, so that a sample has one weight: a control with the same layers
            and parameters, which can scale a skip and cannot choose places.

    As in the paper, a strided convolution brings the skip to the gate's resolution and the map is interpolated
    linearly. The authors' code (github.com/ozan-oktay/Attention-Gated-Networks) also convolves the product.
    """

    def __init__(self, dims: int, skip: int, gate: int, inner: int, spatial: bool = True) -> None:
        super().__init__()
        self.w_x = CONV[dims](skip, inner, 2, stride=2, bias=False)
        self.w_g = CONV[dims](gate, inner, 1)
        self.psi = CONV[dims](inner, 1, 1)
        self.spatial = spatial

    def forward(self, skip: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """(B, skip, *S), (B, gate, *S/2) -> gated skip (B, skip, *S) and map (B, 1, *S) in [0, 1]."""
        score = self.psi((self.w_x(skip) + self.w_g(gate)).relu())  # (B, 1, *S/2)
        if not self.spatial:
            score = score.mean(dim=tuple(range(2, score.ndim)), keepdim=True).expand_as(score)
        attention = doubled(score.sigmoid())
        return skip * attention, attention


class AttentionUNet(UNet):
    """The U-Net with a gate on every skip connection, otherwise equal to `UNet`, initial weights included.

    A gate has as many inner channels as its skip, as in the authors' code; `spatial` as of `AttentionGate`.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        n_classes: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        spatial: bool = True,
        **options: Any,
    ) -> None:
        # The U-Net first: it draws the same random numbers, and so the same initial weights, as the one without gates.
        super().__init__(dims, in_channels, n_classes, channels, **options)
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        self.gates = nn.ModuleList(AttentionGate(dims, wide, deep, wide, spatial) for wide, deep in reversed(pairs))

    def gated(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Decoder features as of `stages`, and the map of each gate in [0, 1], (B, 1, *S / 2**i), both finest first."""
        *skips, x = self.encoded(x)
        found, maps = [], []
        for gate, up, merge, skip in zip(self.gates, self.up, self.merge, reversed(skips), strict=True):
            kept, attention = gate(skip, x)
            x = merge(torch.cat([up(x), kept], dim=1))
            found.append(x)
            maps.append(attention)
        return found[::-1] or [x], maps[::-1]

    def stages(self, x: Tensor) -> list[Tensor]:
        """As of `UNet`."""
        return self.gated(x)[0]

    def maps(self, x: Tensor) -> list[Tensor]:
        """(B, in_channels, *S) -> map of each gate in [0, 1], finest first: (B, 1, *S / 2**i)."""
        return self.gated(x)[1]
