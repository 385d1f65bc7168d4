"""Inference: from an image and its spacing to a segmentation on the image's own grid, without any label."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from hipposeg.data import grid
from hipposeg.data.grid import rescale
from hipposeg.models.inr import lattice
from hipposeg.training.augmentation import centred_points, rotation, sample
from hipposeg.training.machine import Machine

# Increase when the way from an image to a mask changes: keys of earlier runs then differ.
NUMERICS = 1

Spacing = tuple[float, float, float]  # mm
# (C, X, Y, Z) float32 and a spacing -> a mask (X, Y, Z) uint8, or class probabilities (K, X, Y, Z) float32.
Predictor = Callable[[np.ndarray, Spacing], np.ndarray]
BATCH = 48  # samples a forward pass
OVERLAP = 0.5  # of neighbouring windows


@dataclass(frozen=True)
class Prep:
    """Input of a network.

    Attributes:
        size: grid that volumes are padded or cropped to, in voxels.
        axis: slicing axis of a 2D network; None in 3D.
        neighbours: slices on either side that a 2D network gets as channels.
        spacing: voxel size in mm that the network works in.
        n4: whether images are bias corrected (`data.n4`).
        views: whether probabilities are averaged over VIEWS, transformed copies of the volume (test-time augmentation).
        view_degrees, view_voxels: rotation and shift of each copy.
        window: whether `size` is that of a window, which slides over larger volumes instead of cropping them; in 2D
            its side along `axis` is 1.
        missing: channels that the network does not get; they are set to the mean.
    """

    size: tuple[int, int, int]
    axis: int | None = None
    neighbours: int = 0
    spacing: Spacing = (1.0, 1.0, 1.0)
    n4: bool = False
    views: bool = False
    view_degrees: float = 7.0
    view_voxels: float = 3.0
    window: bool = False
    missing: tuple[int, ...] = ()

    def takes(self, spacing: Spacing) -> bool:
        """Whether an image of this spacing (mm) needs no resampling."""
        return np.allclose(spacing, self.spacing, atol=1e-3)

    def channels(self, image_channels: int) -> int:
        """Input channels of the network."""
        return image_channels * (1 + 2 * self.neighbours)

    def place(self, image: np.ndarray) -> tuple[Tensor, grid.Placement]:
        """Samples of a volume (C, X, Y, Z): 3D (1, C, *size), 2D (slices, C', *size without axis), z-scored."""
        volume, placement = self.volume(image)
        return self.stack(volume), placement

    def volume(self, image: np.ndarray) -> tuple[Tensor, grid.Placement]:
        """The z-scored volume on the network's grid, (1, C, *size); with windows, on a grid at least that large."""
        size = tuple(map(max, image.shape[1:], self.size)) if self.window else self.size
        scaled = grid.zscore(image)
        scaled[list(self.missing)] = 0
        placed, placement = grid.place(scaled, size)
        return torch.from_numpy(np.ascontiguousarray(placed))[None], placement

    def stack(self, volume: Tensor) -> Tensor:
        """(1, C, *size) to samples: itself in 3D; in 2D its slices with their neighbours as channels."""
        if self.axis is None:
            return volume
        slices = volume[0].movedim(self.axis + 1, 0)  # (slices, C, H, W)
        k = self.neighbours
        padded = torch.cat([slices[:1]] * k + [slices] + [slices[-1:]] * k)
        stacked = [padded[i : i + len(slices)] for i in range(2 * k + 1)]
        return torch.cat(stacked, dim=1).contiguous()

    def unstack(self, samples: Tensor) -> Tensor:
        """Network outputs for samples (N, K, ...) to (K, *size)."""
        return samples[0] if self.axis is None else samples.movedim(0, self.axis + 1)


# The transformed copies: one for each corner of a cube, rotated about all three axes and shifted towards that corner.
# Strided convolutions are sensitive to sub-stride shifts; averaging over shifts removes most of it.
VIEWS = tuple(itertools.product((-1.0, 1.0), repeat=3))


def moved(volume: Tensor, corner: tuple[float, float, float], prep: Prep, back: bool = False) -> Tensor:
    """One transformed copy of (B, C, X, Y, Z), linearly interpolated, zero outside; `back` inverts the transform."""
    points = _view_points(tuple(volume.shape[2:]), corner, prep, back)
    return sample(volume, points.expand(len(volume), *points.shape))


@lru_cache(maxsize=2 * len(VIEWS))
@torch.inference_mode(False)  # what is kept must serve callers outside of it, too
def _view_points(sides: tuple[int, ...], corner: tuple[float, float, float], prep: Prep, back: bool) -> Tensor:
    """Where `moved` samples, (*sides, 3) in voxels from the centre."""
    turns = torch.tensor([[math.radians(prep.view_degrees) * side for side in corner]])
    matrix, shift = rotation(turns)[0], torch.tensor(corner) * prep.view_voxels
    if back:
        matrix, shift = matrix.T, -shift @ matrix.T
    return centred_points(sides) @ matrix + shift


def each_view(forward: Callable[[Tensor], Tensor], volume: Tensor, prep: Prep, together: int = 1) -> Iterator[Tensor]:
    """Yield the probabilities (1, K, X, Y, Z) of each transformed copy of a volume (1, C, X, Y, Z), transformed back.

    Voxels outside a copy are 0 in every class; the caller sets background to one minus the other classes. forward:
    probabilities of a batch of `together` copies.
    """
    for first in range(0, len(VIEWS), together):
        corners = VIEWS[first : first + together]
        found = forward(torch.cat([moved(volume, corner, prep) for corner in corners]))
        for corner, one in zip(corners, found.split(1), strict=True):
            yield moved(one, corner, prep, back=True)


@torch.inference_mode()
def predictions(model: nn.Module, prep: Prep, image: np.ndarray, machine: Machine) -> list[np.ndarray]:
    """Class probabilities of each transformed copy, or of the volume alone without test-time augmentation.

    Args:
        model: network in evaluation mode on the machine's device.
        prep: its input.
        image: (C, X, Y, Z) float32 in the network's spacing.
        machine: where and how to compute.

    Returns:
        Arrays (K, X, Y, Z) float32 on the image's grid; voxels that were cropped away are background.
    """
    volume, placement = prep.volume(image)

    def forward(volumes: Tensor) -> Tensor:
        found = []
        for part in prep.stack(volumes).split(BATCH):
            with machine.autocast():
                found.append(_read(model, prep, part, machine).float().cpu().softmax(1))
        outputs = torch.cat(found)
        return outputs if prep.axis is None else prep.unstack(outputs)[None]  # (B, K, *size)

    # Where layout matters, a batch of one volume keeps oneDNN from its fast kernels, and one of eight leaves the cache.
    together = min(max(2, machine.threads), len(VIEWS)) if machine.channels_last and prep.axis is None else 1
    views = each_view(forward, volume, prep, together) if prep.views else [forward(volume)]
    return [_background_first(placement.restore(view[0].numpy())) for view in views]


def _read(model: nn.Module, prep: Prep, samples: Tensor, machine: Machine) -> Tensor:
    """Logits (N, K, *S) of samples (N, C, *S), in overlapping windows where they exceed the network's size.

    Windows are weighted by a Gaussian, as in nnU-Net; only one batch of them is on the machine's device at a time.
    """
    sides = [side for axis, side in enumerate(prep.size) if axis != prep.axis]
    if not prep.window or list(samples.shape[2:]) == sides:
        return model(samples.to(machine.device))
    from monai.inferers import sliding_window_inference

    together = 1 if prep.axis is None else BATCH
    options = {"overlap": OVERLAP, "mode": "gaussian", "sw_device": machine.device, "device": "cpu"}
    return sliding_window_inference(samples, sides, together, model, **options)


def probabilities(model: nn.Module, prep: Prep, image: np.ndarray, machine: Machine) -> np.ndarray:
    """Mean of `predictions`, (K, X, Y, Z) float32."""
    return averaged(predictions(model, prep, image, machine))


def averaged(found: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of probabilities (K, X, Y, Z); background is one minus the other classes."""
    return _background_first(sum(found) / len(found))


def _background_first(found: np.ndarray) -> np.ndarray:
    found[0] = 1 - found[1:].sum(0)
    return found


# Two ways to evaluate a network of larger voxels on a finer grid.
HEAD, TRILINEAR = "head", "trilinear"


@torch.inference_mode()
def off_grid(
    model: nn.Module, prep: Prep, image: np.ndarray, spacing: Spacing, machine: Machine, query: str = HEAD
) -> np.ndarray:
    """Class probabilities of an `INRUNet` on the grid of an image with other voxels, (K, X, Y, Z) float32.

    The image is resampled about a centre that both grids share. Outside the network's grid is background.

    Args:
        model, prep, machine: as of `predictions`.
        image, spacing: (C, X, Y, Z) float32, and its voxel size in mm.
        query: HEAD evaluates the head at every point on interpolated features; TRILINEAR interpolates the logits.
    """
    coarse, resampling = rescale(image, spacing, prep.spacing, prep.size)
    samples = prep.place(coarse)[0].to(machine.device)
    points = lattice(resampling.native, spacing)
    with machine.autocast():
        if query == HEAD:  # slab by slab: half a million points times the head's width are many
            features = model.features(samples)
            slabs = [model.query(features, part[None].to(machine.device)) for part in points.split(16, dim=1)]
            logits = torch.cat([slab.float().cpu() for slab in slabs], 2)[0]
        else:
            inside = model(samples).float().cpu()[0].numpy()
            logits = torch.from_numpy(replace(resampling, size=prep.size).restore(inside))
    found = logits.softmax(0).numpy()
    half = torch.tensor([n * step / 2 for n, step in zip(prep.size, prep.spacing, strict=True)]).view(3, 1, 1, 1)
    outside = (points.abs() > half).any(0).numpy()
    found[1:, outside], found[0, outside] = 0, 1
    return found


def evaluator(model: nn.Module, prep: Prep, machine: Machine) -> Predictor:
    """A function from an image and its spacing to class probabilities on the image's grid.

    An image in another spacing is resampled, and its probabilities are interpolated back; an INR network is evaluated
    at the image's own voxels.
    """

    def evaluate(image: np.ndarray, spacing: Spacing) -> np.ndarray:
        if prep.takes(spacing):
            return probabilities(model, prep, image, machine)
        if getattr(model, "wants_points", False) and prep.axis is None:
            return off_grid(model, prep, image, spacing, machine)
        worked, resampling = rescale(image, spacing, prep.spacing, prep.size)
        return resampling.restore(probabilities(model, prep, worked, machine))

    return evaluate


def predictor(*evaluators: Predictor) -> Predictor:
    """A function from an image and its spacing to the most probable class, by the mean over evaluators."""

    def predict(image: np.ndarray, spacing: Spacing) -> np.ndarray:
        return sum(evaluate(image, spacing) for evaluate in evaluators).argmax(0).astype(np.uint8)

    return predict
