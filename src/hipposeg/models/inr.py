"""Heads that can be asked anywhere: a U-Net's features, and at each point of space a small network that reads them.

An implicit neural representation gives a value for a position, not for a voxel. Here the position comes with the
U-Net's features there, interpolated linearly between its voxels (as in LIIF, Chen et al. 2021, arXiv:2012.09161), so a
network of 2 mm voxels can be asked at every millimetre. Four heads tell what such a query is worth:

- `conv`: one linear layer, the plain U-Net's head. Linear layers and linear interpolation commute, so off the grid it
  gives what interpolating its logits gives: the control.
- `mlp`: hidden layers, but no position: what a head that is not linear adds.
- `mlp-xyz`: the same hidden layers, which also read the position.
- `siren-xyz`: the same, with sines for activations (Sitzmann et al. 2020, arXiv:2006.09661).

Equal in all four: the backbone and its initial weights, and what the heads read of it. Equal in the three with hidden
layers: their number and width. Not equal: the control has no hidden layers, and reading the position costs three more
inputs, 3 * width weights.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from hipposeg.models.unet import CONV, UNet

HEADS = ("conv", "mlp", "mlp-xyz", "siren-xyz")

# Positions are divided by this, so that those inside a box lie between about -1 and 1.
HALF_EXTENT_MM = 32.0
OMEGA = 30.0


class Sine(nn.Module):
    """sin(x); the frequency is in the weights (`siren_start`)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.sin()


@torch.no_grad()
def siren_start(layers: Sequence[nn.Module], omega: float = OMEGA) -> None:
    """SIREN's own initial weights for layers of n inputs each, uniform within: first omega / n, hidden sqrt(6 / n).

    The paper writes sin(omega * (W x + b)) with W smaller by omega; the functions at the start are the same. With omega
    in front, this project's rates would move the frequencies 30 times as fast. The last layer keeps the paper's
    sqrt(6 / n) / omega: logits start near 0. Biases are torch's own, times omega where a sine follows.
    """
    for number, layer in enumerate(layers):
        last, inputs = number == len(layers) - 1, layer.in_channels
        reach = omega / inputs if number == 0 else math.sqrt(6 / inputs) / (omega if last else 1)
        layer.weight.uniform_(-reach, reach)
        if not last:
            layer.bias.mul_(omega)


class Head(nn.Module):
    """Class logits at points, from the features there and, for `-xyz`, the points' positions.

    Args:
        kind: one of HEADS. inputs: feature channels. n_classes: background included. width: of the hidden layers.
        depth: number of hidden layers. dims: 2 or 3.

    Every layer is a 1-wide convolution: the same small network at every point. Computed in float32 whatever the
    backbone's precision, because bfloat16 would round positions to a quarter of a millimetre. Raises ValueError on
    an unknown kind.
    """

    def __init__(self, kind: str, inputs: int, n_classes: int, width: int = 64, depth: int = 2, dims: int = 3) -> None:
        super().__init__()
        if kind not in HEADS:
            raise ValueError(f"no head is called {kind!r}; there are {', '.join(HEADS)}")
        self.reads_points = kind.endswith("-xyz")
        hidden = [] if kind == "conv" else [width] * depth
        sides = [inputs + dims * self.reads_points, *hidden, n_classes]
        convolutions = [CONV[dims](a, b, 1) for a, b in zip(sides[:-1], sides[1:], strict=True)]
        if kind == "siren-xyz":
            siren_start(convolutions)
        layers: list[nn.Module] = []
        for layer in convolutions:
            layers += [layer, Sine() if kind == "siren-xyz" else nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor, points: Tensor) -> Tensor:
        """(B, inputs, *P) features and (B, dims, *P) positions in mm -> (B, n_classes, *P) float32 logits."""
        with torch.autocast(features.device.type, enabled=False):
            found = features.float()
            if self.reads_points:
                found = torch.cat([found, points.float() / HALF_EXTENT_MM], 1)
            return self.layers(found)


def lattice(sides: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """(dims, *sides) float32: where the voxels of a grid lie, in mm from its centre."""
    axes = [(torch.arange(n) - (n - 1) / 2) * step for n, step in zip(sides, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


class INRUNet(nn.Module):
    """A U-Net whose head is asked at points, on its own grid in training and anywhere afterwards.

    Args:
        head: one of HEADS. in_channels, n_classes, channels: as for `UNet`. spacing: voxel size in mm of its images,
            two numbers for slices and three for volumes. width: of the head's hidden layers.

    Input (B, in_channels, *S) and, optionally, (B, dims, *S) positions in mm from the image's centre; without them,
    those of the regular grid. Output (B, n_classes, *S) logits. Sides must be divisible by `divisor`.
    """

    wants_points = True

    def __init__(
        self,
        head: str,
        in_channels: int,
        n_classes: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
        width: int = 64,
    ) -> None:
        super().__init__()
        # The backbone first: all heads then find the same random numbers spent, and the same backbone.
        self.backbone = UNet(len(spacing), in_channels, n_classes, channels)
        self.backbone.head = nn.Identity()
        self.head = Head(head, channels[0], n_classes, width, dims=len(spacing))
        self.divisor, self.spacing = self.backbone.divisor, tuple(spacing)

    def features(self, images: Tensor) -> Tensor:
        """(B, in_channels, *S) -> (B, channels[0], *S)."""
        return self.backbone.features(images)

    def forward(self, images: Tensor, points: Tensor | None = None) -> Tensor:
        """(B, in_channels, *S), (B, dims, *S) mm -> (B, n_classes, *S): each voxel's features, read where it lies."""
        if points is None:
            points = lattice(images.shape[2:], self.spacing).to(images.device)
            points = points.expand(len(images), *points.shape)
        return self.head(self.features(images), points)

    def query(self, features: Tensor, points: Tensor) -> Tensor:
        """Ask off the grid: (B, channels[0], *S) from `features`, (B, dims, *P) mm -> (B, n_classes, *P) logits.

        Features are interpolated linearly between the voxels of S, and repeat themselves beyond the outermost.
        """
        extent = [side * step / 2 for side, step in zip(features.shape[2:], self.spacing, strict=True)]
        half = torch.tensor(extent, device=points.device).view(1, -1, *[1] * len(extent))
        where = (points / half).movedim(1, -1).flip(-1)  # grid_sample: the last axis first, -1 to 1 over the box
        found = grid_sample(features.float(), where, mode="bilinear", padding_mode="border", align_corners=False)
        return self.head(found, points)
