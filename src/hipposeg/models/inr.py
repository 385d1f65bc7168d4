"""Coordinate heads: a U-Net's features, and a small network that reads them at any point of space.

An implicit neural representation gives a value for a position instead of a voxel. Here it also reads the U-Net's
features, interpolated linearly between voxels (as in LIIF, Chen et al. 2021, arXiv:2012.09161), so that a network of 2
mm voxels can be evaluated every millimetre. Four heads separate what such a query adds:

- `conv`: one linear layer, the plain U-Net's head. It commutes with linear interpolation, so off the grid it equals
  interpolated logits: the control.
- `mlp`: hidden layers without position: the effect of a nonlinear head.
- `mlp-xyz`: the same hidden layers with the position.
- `siren-xyz`: the same with sine activations (Sitzmann et al. 2020, arXiv:2006.09661).

Backbone and initial weights are equal in all four; number and width of hidden layers are equal in the last three.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from hipposeg.models.unet import CONV, UNet

HEADS = ("conv", "mlp", "mlp-xyz", "siren-xyz")

# Positions are divided by this, so that those inside a crop lie between about -1 and 1.
HALF_EXTENT_MM = 32.0
OMEGA = 30.0


class Sine(nn.Module):
    """sin(x); the frequency is in the weights (`siren_start`)."""

    forward = staticmethod(torch.sin)


@torch.no_grad()
def siren_start(layers: Sequence[nn.Module]) -> None:
    """Initialise layers of n inputs as a SIREN: uniform within OMEGA / n (first), sqrt(6 / n) (hidden).

    The paper writes sin(OMEGA * (W x + b)) with W smaller by OMEGA: the same function at the start, whose frequencies
    this project's learning rates would move 30 times as fast. The last layer keeps the paper's sqrt(6 / n) / OMEGA.
    """
    for number, layer in enumerate(layers):
        last, inputs = number == len(layers) - 1, layer.in_channels
        reach = OMEGA / inputs if number == 0 else math.sqrt(6 / inputs) / (OMEGA if last else 1)
        layer.weight.uniform_(-reach, reach)
        if not last:
            layer.bias.mul_(OMEGA)


class Head(nn.Module):
    """Class logits at points, from the features there and, for `-xyz`, the positions.

    One of HEADS, from `inputs` channels; two hidden layers of `width`. Every layer is a 1-wide convolution, in float32
    whatever the backbone's precision, because bfloat16 would round positions to a quarter of a millimetre.
    """

    def __init__(self, kind: str, inputs: int, n_classes: int, width: int = 64, dims: int = 3) -> None:
        super().__init__()
        if kind not in HEADS:
            raise ValueError(f"no head is called {kind!r}; there are {', '.join(HEADS)}")
        self.reads_points = kind.endswith("-xyz")
        hidden = [] if kind == "conv" else [width] * 2
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
    """Positions of a grid's voxels in mm from its centre: (dims, *sides) float32."""
    axes = [(torch.arange(n) - (n - 1) / 2) * step for n, step in zip(sides, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


class INRUNet(nn.Module):
    """A U-Net with a coordinate head, trained on its own grid and evaluated anywhere.

    Args:
        head: one of HEADS.
        in_channels, n_classes, channels: as of `UNet`.
        spacing: voxel size of its images in mm, two numbers for slices and three for volumes.
        width: of the head's hidden layers.

    Input (B, in_channels, *S) and optionally positions (B, dims, *S) in mm from the image's centre, by default the
    regular grid's. Output (B, n_classes, *S) logits.
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
        """(B, in_channels, *S), (B, dims, *S) mm -> (B, n_classes, *S)."""
        if points is None:
            points = lattice(images.shape[2:], self.spacing).to(images.device)
            points = points.expand(len(images), *points.shape)
        return self.head(self.features(images), points)

    def query(self, features: Tensor, points: Tensor) -> Tensor:
        """Evaluate off the grid: (B, channels[0], *S) from `features`, (B, dims, *P) mm -> (B, n_classes, *P) logits.

        Features are interpolated linearly between the voxels of S and repeated beyond the outermost.
        """
        extent = [side * step / 2 for side, step in zip(features.shape[2:], self.spacing, strict=True)]
        half = torch.tensor(extent, device=points.device).view(1, -1, *[1] * len(extent))
        where = (points / half).movedim(1, -1).flip(-1)  # grid_sample: the last axis first, -1 to 1 over the image
        found = grid_sample(features.float(), where, mode="bilinear", padding_mode="border", align_corners=False)
        return self.head(found, points)
