"""From an image and its spacing to a segmentation on the image's own grid. Nothing here can see a label."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hipposeg.data import grid
from hipposeg.engine.machine import Machine

# Raise by hand when the way from an image to a mask changes: runs made before are then marked as older.
NUMERICS = 1

# (C, X, Y, Z) float32 and a spacing in mm -> (X, Y, Z) uint8.
Predictor = Callable[[np.ndarray, tuple[float, float, float]], np.ndarray]


@dataclass(frozen=True)
class Prep:
    """How a volume becomes a network's input.

    size: the box that volumes are padded or cropped to, in voxels. axis: the slicing axis of a 2D network, None in 3D.
    neighbours: slices on either side that a 2D network gets as further channels. spacing: mm that the network works in.
    n4: the network was trained on bias corrected images (`data.n4`) and must be given such.
    """

    size: tuple[int, int, int]
    axis: int | None = None
    neighbours: int = 0
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    n4: bool = False

    def channels(self, image_channels: int) -> int:
        """Input channels of the network."""
        return image_channels * (1 + 2 * self.neighbours)

    def place(self, image: np.ndarray) -> tuple[Tensor, grid.Placement]:
        """(C, X, Y, Z) -> z-scored samples of the whole box: 3D (1, C, *size), 2D (slices, C', *size without axis)."""
        boxed, placement = grid.place(grid.zscore(image), self.size)
        volume = torch.from_numpy(np.ascontiguousarray(boxed))
        if self.axis is None:
            return volume[None], placement
        slices = volume.movedim(self.axis + 1, 0)  # (slices, C, H, W)
        k = self.neighbours
        padded = torch.cat([slices[:1]] * k + [slices] + [slices[-1:]] * k)
        stacked = [padded[i : i + len(slices)] for i in range(2 * k + 1)]
        return torch.cat(stacked, dim=1).contiguous(), placement

    def unstack(self, samples: Tensor) -> Tensor:
        """Network outputs for the samples of `place`, (N, K, ...) -> (K, *size)."""
        return samples[0] if self.axis is None else samples.movedim(0, self.axis + 1)


@torch.inference_mode()
def probabilities(model: nn.Module, prep: Prep, image: np.ndarray, machine: Machine, batch: int = 48) -> np.ndarray:
    """Class probabilities on the image's grid, (K, X, Y, Z) float32; voxels that were cropped away are background.

    Args:
        model: a network in evaluation mode, on the machine's device.
        prep: the input that the network was trained with.
        image: (C, X, Y, Z) float32 in the network's spacing.
        machine: device and precision.
        batch: samples a forward pass.
    """
    samples, placement = prep.place(image)
    with machine.autocast():
        logits = torch.cat([model(part.to(machine.device)).float().cpu() for part in samples.split(batch)])
    inside = prep.unstack(logits.softmax(1)).numpy()  # (K, *size)
    restored = placement.restore(inside)
    restored[0] = 1 - restored[1:].sum(0)
    return restored


def predictor(model: nn.Module, prep: Prep, machine: Machine) -> Predictor:
    """A function of an image and its spacing; an image of another spacing is resampled there and back."""

    def predict(image: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
        if np.allclose(spacing, prep.spacing, atol=1e-3):
            return probabilities(model, prep, image, machine).argmax(0).astype(np.uint8)
        worked, resampling = grid.resample(image, spacing, prep.spacing)
        found = probabilities(model, prep, worked, machine)
        return resampling.restore(found).argmax(0).astype(np.uint8)

    return predict
