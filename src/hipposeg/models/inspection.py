"""Facts about a network found by running it: its cost, its receptive field, and its stages.

The theoretical receptive field is what kernels and strides allow. The effective one is the gradient of an output with
respect to the input, which fades long before that limit (Luo et al. 2016, arXiv:1701.04128).
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

# The volume in mm that every cost refers to: nnU-Net's patch for this data set, about a typical crop.
REFERENCE_VOLUME = (40, 56, 40)
# What does not move information between voxels once all weights are positive, or moves it between all of them.
SET_ASIDE = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LeakyReLU, nn.ReLU, nn.GELU, nn.SiLU, nn.PReLU, nn.Dropout)
LARGEST = 1024

INPUT = -1
ENCODER, DECODER, HEAD = "encoder", "decoder", "head"


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
    device = next(model.parameters()).device
    was_training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model.eval()(torch.zeros(count, channels, *sides, device=device))
    model.train(was_training)
    return counter.get_total_flops() / 1e9


def theoretical(model: nn.Module, in_channels: int, dims: int) -> tuple[int, ...]:
    """Width in voxels, along each of `dims` axes, of the input that convolutions carry to one output voxel.

    In a copy whose weights are all 1 nothing cancels, so the gradient of an output is zero exactly where no path leads.
    The width depends a little on where in the coarsest grid a voxel lies; the largest is given. Normalisation is set
    aside: instance norm reads means over the whole input, so strictly every voxel depends on all of them.

    Raises:
        ValueError: the field has no end below LARGEST voxels, as in a network with attention between all patches.
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


def effective(model: nn.Module, inputs: Tensor, voxel: Sequence[int]) -> np.ndarray:
    """Mean absolute gradient of one voxel's highest logit with respect to the input: (C, *S) float64.

    Args:
        model: the network.
        inputs: (B, C, *S) float32 on its device.
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

    Slices outside the volume are added to the outermost one, as the network's own input repeats it.

    Args:
        field: from `effective`, with an odd number of channels: a slice and as many neighbours on each side.
        axis: slicing axis.
        index: the middle slice's place along it.
        depth: number of slices.
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
    lines = np.meshgrid(*[np.arange(side) for side in field.shape], indexing="ij", sparse=True)
    offsets = zip(lines, voxel, spacing, strict=True)
    distance = np.sqrt(sum((step * (line - at)) ** 2 for line, at, step in offsets)).ravel()
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


@dataclass(frozen=True)
class Stage:
    """A block of a U-Net: a direct child, or an item of a list of modules.

    Attributes:
        name: path of the module.
        role: ENCODER up to the coarsest stage, then DECODER; HEAD for what gives the network's output.
        channels: of its first output.
        sides: of that output in voxels.
        parameters: trainable ones.
        reads: numbers of the stages whose output it gets, INPUT for the network's input.
    """

    name: str
    role: str
    channels: int
    sides: tuple[int, ...]
    parameters: int
    reads: tuple[int, ...]


@dataclass(frozen=True)
class Traced:
    """A U-Net as it ran.

    Attributes:
        name: of its class.
        channels: of its input.
        sides: of its input in voxels.
        stages: in the order in which they run.
    """

    name: str
    channels: int
    sides: tuple[int, ...]
    stages: tuple[Stage, ...]

    @property
    def parameters(self) -> int:
        """Trainable parameters of all stages, which are all that the network has."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def skips(self) -> list[tuple[int, int]]:
        """(encoder stage, later stage of the same sides that reads it)."""
        return [
            (source, number)
            for number, stage in enumerate(self.stages)
            for source in stage.reads
            if source != INPUT and stage.role == DECODER and self.stages[source].role == ENCODER
            and self.stages[source].sides == stage.sides
        ]  # fmt: skip


def trace(model: nn.Module, channels: int, sides: tuple[int, ...]) -> Traced:
    """Run a copy of a U-Net on a batch of (channels, *sides) in training mode, and record what each stage reads.

    The run is on torch's meta device, which computes shapes and no values. Training mode runs the heads of deep
    supervision, too.

    Raises:
        ValueError: the network does not run on this input, or is not a U-Net made of such stages.
    """
    name, clone = type(model).__name__, copy.deepcopy(model).to("meta").train()
    watch = _Watch()
    blocks = list(_blocks(clone))
    for path, block in blocks:
        block.register_forward_pre_hook(lambda _, inputs, path=path: watch.enter(path, inputs))
        block.register_forward_hook(lambda _, __, output, path=path: watch.leave(path, output))
    images = torch.zeros(2, channels, *sides, device="meta")
    watch.mark(images, frozenset({INPUT}))
    try:
        with torch.no_grad(), watch:
            output = clone(images)
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{name} does not run on ({channels}, {', '.join(map(str, sides))}): {error}") from error
    shapes = [shape for _, shape, _ in watch.stages]
    sizes = [math.prod(shape[2:]) for shape in shapes]
    heads = watch.sources(output) - frozenset().union(*(reads for *_, reads in watch.stages))
    stages = []
    for number, (path, shape, reads) in enumerate(watch.stages):
        role = HEAD if number in heads else DECODER if number > sizes.index(min(sizes)) else ENCODER
        count = parameters(dict(blocks)[path])
        stages.append(Stage(path, role, shape[1], shape[2:], count, tuple(sorted(reads))))
    traced = Traced(name, channels, tuple(sides), tuple(stages))
    if traced.parameters < parameters(model) or any(len(shape) != len(sides) + 2 for shape in shapes):
        raise ValueError(f"{name} cannot be drawn as a U: not all of its stages give images")
    if not traced.skips:
        raise ValueError(f"{name} cannot be drawn as a U: it has no skip connections")
    return traced


def _blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Path and module of every stage."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{number}", item) for number, item in enumerate(child))
        elif parameters(child):
            yield name, child


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists and tuples, and in the values of dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


class _Watch(TorchFunctionMode):
    """Passes on, with every operation between stages, from which stages its inputs come.

    So a skip connection is one because the network reads it, not because a name says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.origins: dict[int, frozenset[int]] = {}
        self.kept: list[Tensor] = []  # so that no id is given twice
        self.reads: dict[str, frozenset[int]] = {}
        self.stages: list[tuple[str, tuple[int, ...], frozenset[int]]] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.mark(result, self.sources((args, kwargs)))
        return result

    def mark(self, value: Any, sources: frozenset[int]) -> None:
        for tensor in _tensors(value):
            self.kept.append(tensor)
            self.origins[id(tensor)] = sources

    def sources(self, value: Any) -> frozenset[int]:
        return frozenset().union(*(self.origins.get(id(tensor), frozenset()) for tensor in _tensors(value)))

    def enter(self, path: str, inputs: Any) -> None:
        self.reads[path] = self.sources(inputs)

    def leave(self, path: str, output: Any) -> None:
        self.stages.append((path, tuple(next(_tensors(output)).shape), self.reads[path]))
        self.mark(output, frozenset({len(self.stages) - 1}))
