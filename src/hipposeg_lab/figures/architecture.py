"""Diagram of a U-Net, drawn from the network itself: it runs once, and what each stage reads is recorded.

Rows are resolutions, the finest on top; stages are in the order in which they run. A box is as high as its output's
side (square root) and as wide as its channels (logarithm), with its name, output shape and parameters above it.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path
from matplotlib.transforms import Bbox
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hipposeg.models.cost import parameters
from hipposeg.models.unet import UNet
from hipposeg.viz.style import INK, MUTED, SERIES

# What a stage is, by the name of the U-Net's part that it belongs to; and the colour of each role.
INPUT, ENCODER, DECODER, GATE, HEAD = "input", "encoder", "decoder", "attention gate", "output"
PARTS = {"input": INPUT, "stem": ENCODER, "down": ENCODER, "up": DECODER, "merge": DECODER, "gates": GATE,
         "head": HEAD, "coarse_heads": HEAD}  # fmt: skip
COLOURS = {INPUT: MUTED, ENCODER: SERIES[0], DECODER: SERIES[2], GATE: SERIES[3], HEAD: SERIES[1]}

# Inches from the upper left corner, y downwards; the step to the next box is longer if it stands in the same row.
TALLEST, WIDE, STEP, STEP_IN_ROW, EDGE, LINE = 0.95, 0.075, 0.75, 0.95, 0.12, 0.125
SIZE = 7.5  # points
NOTE = "height of a box: square root of its side; width: logarithm of its channels; text: channels @ sides, parameters"


@dataclass(frozen=True)
class Stage:
    """A block of a U-Net, or its input."""

    name: str  # path of the module
    channels: int  # of its first output
    sides: tuple[int, ...]  # of that output in voxels
    parameters: int = 0  # trainable ones
    reads: tuple[int, ...] = ()  # places of the stages whose output it gets

    @property
    def role(self) -> str:
        """INPUT, ENCODER, DECODER, GATE or HEAD."""
        return PARTS[self.name.partition(".")[0]]


class _Origins(TorchFunctionMode):
    """Notes on every tensor which stages it comes from, so that a skip is one because the network reads it."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        _note(result, _sources(args))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _note(value: Any, sources: set[int]) -> None:
    for tensor in _tensors(value):
        tensor.sources = sources


def _sources(value: Any) -> set[int]:
    return set().union(*(getattr(tensor, "sources", ()) for tensor in _tensors(value)))


def trace(model: UNet, channels: int, sides: tuple[int, ...]) -> list[Stage]:
    """Run a copy of a U-Net on (channels, *sides) and list its stages in running order, the input first.

    The run is on torch's meta device, which computes shapes and no values, in training mode, so that the heads of deep
    supervision run, too.
    """
    model, stages = copy.deepcopy(model).to("meta").train(), [Stage("input", channels, tuple(sides))]

    def ran(name: str, block: nn.Module, inputs: Any, output: Any) -> None:
        shape = next(_tensors(output)).shape
        stages.append(Stage(name, shape[1], tuple(shape[2:]), parameters(block), tuple(sorted(_sources(inputs)))))
        _note(output, {len(stages) - 1})

    for name, child in model.named_children():
        blocks = child.named_children() if isinstance(child, nn.ModuleList) else [("", child)]
        for number, block in blocks:
            if parameters(block):
                block.register_forward_hook(partial(ran, f"{name}.{number}".strip(".")))
    images = torch.zeros(2, channels, *sides, device="meta")
    images.sources = {0}
    with torch.no_grad(), _Origins():
        model(images)
    return stages


def diagram(stages: Sequence[Stage], title: str) -> Figure:
    """Draw the stages of `trace`, with the number of all parameters behind the title."""
    dims, finest, boxes = len(stages[0].sides), math.prod(stages[0].sides), []
    rows = sorted({stage.sides for stage in stages}, key=math.prod, reverse=True)
    tall = {sides: TALLEST * math.sqrt((math.prod(sides) / finest) ** (1 / dims)) for sides in rows}
    tops, y = {}, 0.3
    for sides in rows:
        tops[sides] = y + 3 * LINE + 0.16
        y = tops[sides] + tall[sides]
    x = EDGE
    for before, stage in zip((None, *stages), stages, strict=False):
        if before:
            x += STEP_IN_ROW if stage.sides == before.sides else STEP
        width = WIDE * math.log2(max(2, stage.channels))
        boxes.append(Bbox.from_bounds(x, tops[stage.sides], width, tall[stage.sides]))
    size = (x + STEP_IN_ROW + 2 * EDGE, y + 0.62)
    fig = plt.figure(figsize=size, layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, size[0]), ylim=(size[1], 0))
    ax.set_axis_off()
    for stage, box in zip(stages, boxes, strict=True):
        _draw(ax, stage, box)
        for source in stage.reads:
            skip = stages[source].role == ENCODER and stages[source].sides == stage.sides
            _line(ax, _course(boxes[source], box, boxes), COLOURS[ENCODER] if skip else INK)
    total = sum(stage.parameters for stage in stages)
    ax.text(EDGE, 0.24, f"{title}: {total:,} parameters", fontsize=11, weight="bold")
    ax.text(EDGE, size[1] - 0.14, NOTE, fontsize=SIZE, va="baseline", color=MUTED)
    present = {stage.role for stage in stages} - {INPUT}
    handles = [Patch(**_colours(role), label=role) for role in COLOURS if role in present]
    corner = (EDGE / size[0], 0.3 / size[1])
    fig.legend(handles=handles, loc="lower left", bbox_to_anchor=corner, ncols=len(handles), fontsize=SIZE,
               borderaxespad=0, borderpad=0, handlelength=1.5)  # fmt: skip
    return fig


def _colours(role: str) -> dict[str, Any]:
    """Edge and opaque fill, so that arrows pass behind boxes."""
    fill = tuple(1 - 0.3 * (1 - part) for part in to_rgb(COLOURS[role]))
    return {"edgecolor": COLOURS[role], "facecolor": fill}


def _draw(ax: Axes, stage: Stage, box: Bbox) -> None:
    """The box, its label above it, and for an output an arrow that leaves the network."""
    style = {"boxstyle": "round,pad=0,rounding_size=0.03", "linewidth": 1.1, "zorder": 3}
    ax.add_patch(FancyBboxPatch((box.x0, box.y0), box.width, box.height, **style, **_colours(stage.role)))
    label = [stage.name, f"{stage.channels} @ {'×'.join(map(str, stage.sides))}", f"{stage.parameters:,}"]
    for number, line in enumerate(label[: 2 if stage.role == INPUT else 3][::-1]):
        weight = "bold" if line == stage.name else "normal"
        ax.text(box.x0, box.y0 - 0.06 - LINE * number, line, fontsize=SIZE, va="baseline", weight=weight, zorder=4)
    if stage.role == HEAD:
        y = (box.y0 + box.y1) / 2
        _line(ax, [(box.x1, y), (box.x1 + 0.25, y)])


def _course(source: Bbox, target: Bbox, boxes: Sequence[Bbox]) -> list[tuple[float, float]]:
    """Corners of an arrow: along the row, behind what lies between, or round one corner."""
    if source.y0 == target.y0:
        between = any(box.y0 == source.y0 and source.x0 < box.x0 < target.x0 for box in boxes)
        y = source.y0 + source.height * (0.78 if between else 0.5)
        return [(source.x1, y), (target.x0, y)]
    middle = (source.y0 + source.y1) / 2
    if source.y0 > target.y0:
        x = (target.x0 + target.x1) / 2
        return [(source.x1, middle), (x, middle), (x, target.y1)]
    x, y = (source.x0 + source.x1) / 2, (target.y0 + target.y1) / 2
    return [(x, source.y1), (x, y), (target.x0, y)]


def _line(ax: Axes, points: list[tuple[float, float]], colour: str = INK) -> None:
    ax.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>,head_length=3.5,head_width=2", color=colour,
                                 linewidth=1.0, joinstyle="miter", zorder=1))  # fmt: skip
