"""Diagram of a U-shaped network: a box for each stage that ran, an arrow where one stage reads another.

Rows are resolutions, the finest on top; stages stand in the order in which they run. A box is as high as its output's
side (square root) and as wide as its channels (logarithm), with its name, output shape and parameters above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path

from hipposeg.viz.style import INK, MUTED, SERIES, text_width

if TYPE_CHECKING:
    from hipposeg.models.inspection import Stage, Traced

# All lengths are in inches, measured from the upper left corner: y grows downwards. Text size is in points.
TALLEST, WIDE = 0.95, 0.075
SIZE, LINE = 7.5, 0.125
GAP, EDGE, AIR = 0.3, 0.12, 0.12
NOTE = "height of a box: square root of its side; width: logarithm of its channels; text: channels @ sides, parameters"
ROLES = {
    "input": ("input", MUTED),
    "encoder": ("encoder", SERIES[0]),
    "decoder": ("decoder", SERIES[2]),
    "gate": ("attention gate", SERIES[3]),
    "head": ("output", SERIES[1]),
}


@dataclass(eq=False)
class Box:
    """A stage on paper. label: lines of text above it. reads: numbers of boxes. x, y: upper left corner."""

    label: tuple[str, ...]
    role: str
    reads: tuple[int, ...]
    width: float
    height: float
    x: float = EDGE
    y: float = 0.0

    @property
    def right(self) -> float:
        """The right edge of the box."""
        return self.x + self.width

    @property
    def middle(self) -> float:
        """Half-way from left to right."""
        return self.x + self.width / 2

    @property
    def end(self) -> float:
        """The right edge of box and label."""
        return max(self.right, self.x + max(text_width(line, SIZE, "bold") for line in self.label))


def diagram(network: Traced, title: str = "") -> Figure:
    """Draw a traced network.

    Args:
        network: of `trace`.
        title: stands before the number of parameters; the class's name if empty.
    """
    boxes = {-1: _box(network, network, ("input",), "input", ())}
    for number, stage in enumerate(network.stages):
        role = "gate" if stage.name.startswith("gates.") else stage.role
        boxes[number] = _box(stage, network, (stage.name, f"{stage.parameters:,}"), role, stage.reads)
    sides = {-1: network.sides} | {number: stage.sides for number, stage in enumerate(network.stages)}
    finest_first = sorted(set(sides.values()), key=math.prod, reverse=True)
    height = _place(boxes, [[number for number in boxes if sides[number] == row] for row in finest_first])
    total = f"{title or network.name}: {network.parameters:,} parameters"
    width = max(*(box.end + GAP for box in boxes.values()), text_width(NOTE, SIZE), text_width(total, 11, "bold"))
    fig = plt.figure(figsize=(width + 2 * EDGE, height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width + 2 * EDGE), ylim=(height, 0))
    ax.set_axis_off()
    for box in boxes.values():
        _draw(ax, box)
        for read in box.reads:
            _arrow(ax, boxes[read], box, boxes)
    ax.text(EDGE, 0.24, total, fontsize=11, weight="bold")
    ax.text(EDGE, height - 0.14, NOTE, fontsize=SIZE, va="baseline", color=MUTED)
    present = {box.role for box in boxes.values()} - {"input"}
    handles = [Patch(**_colours(role), label=ROLES[role][0]) for role in ROLES if role in present]
    corner = (EDGE / fig.get_figwidth(), 0.3 / height)
    fig.legend(handles=handles, loc="lower left", bbox_to_anchor=corner, ncols=len(handles), fontsize=SIZE,
               borderaxespad=0, borderpad=0, handlelength=1.5)  # fmt: skip
    return fig


def _box(stage: Stage | Traced, network: Traced, label: tuple[str, ...], role: str, reads: tuple[int, ...]) -> Box:
    """A box of the stage's size, with its name, its output's shape, and the rest of the label."""
    side = (math.prod(stage.sides) / math.prod(network.sides)) ** (1 / len(network.sides))
    shape = f"{stage.channels} @ {'×'.join(map(str, stage.sides))}"
    width, height = WIDE * math.log2(max(2, stage.channels)), TALLEST * math.sqrt(side)
    return Box((label[0], shape, *label[1:]), role, reads, width, height)


def _place(boxes: dict[int, Box], rows: list[list[int]]) -> float:
    """Set the corners of the boxes, in running order, and return the height of the page.

    A box stands right of its row's last one and of what it reads in other rows, so that no arrow crosses a label.
    """
    y = 0.3
    for row in rows:
        y += 3 * LINE + 0.16
        for number in row:
            boxes[number].y = y
        y += max(boxes[number].height for number in row)
    free = {box.y: EDGE for box in boxes.values()}
    placed: list[Box] = []
    for box in boxes.values():
        least = [free[box.y]]
        for source in (boxes[read] for read in box.reads):
            if source.y < box.y:  # the arrow comes down from its middle
                least.append(source.middle + GAP)
            elif source.y > box.y:  # the arrow rises into the middle of this box
                least.append(source.end + AIR - box.width / 2)
            else:  # other arrows rise from this source
                rising = [up for up in placed if up.y < box.y and source in (boxes[read] for read in up.reads)]
                least += [up.middle + GAP for up in rising]
        box.x = max(least)
        free[box.y] = box.end + GAP
        placed.append(box)
    return y + 0.62


def _colours(role: str) -> dict[str, Any]:
    """Edge and opaque fill of a role, so that arrows pass behind boxes."""
    colour = ROLES[role][1]
    return {"edgecolor": colour, "facecolor": tuple(1 - 0.3 * (1 - part) for part in to_rgb(colour))}


def _draw(ax: Axes, box: Box) -> None:
    """The box, its label above it, and for an output an arrow that leaves the network."""
    style = {"boxstyle": "round,pad=0,rounding_size=0.03", "linewidth": 1.1, "zorder": 3}
    ax.add_patch(FancyBboxPatch((box.x, box.y), box.width, box.height, **style, **_colours(box.role)))
    for number, line in enumerate(box.label):
        y = box.y - 0.06 - LINE * (len(box.label) - 1 - number)
        ax.text(box.x, y, line, fontsize=SIZE, va="baseline", weight="normal" if number else "bold", zorder=4)
    if box.role == "head":
        y = box.y + box.height / 2
        _line(ax, [(box.right, y), (box.right + 0.8 * GAP, y)])


def _arrow(ax: Axes, source: Box, target: Box, boxes: dict[int, Box]) -> None:
    """From what is read to what reads it: along the row, behind what stands between, or round one corner."""
    if source.y == target.y:
        between = any(box.y == source.y and source.x < box.x < target.x for box in boxes.values())
        y = source.y + source.height * (0.78 if between else 0.5)
        points = [(source.right, y), (target.x, y)]
    elif source.y < target.y:
        y = target.y + target.height / 2
        points = [(source.middle, source.y + source.height), (source.middle, y), (target.x, y)]
    else:
        y = source.y + source.height / 2
        points = [(source.right, y), (target.middle, y), (target.middle, target.y + target.height)]
    skip = source.y == target.y and source.role == "encoder" and target.role in ("decoder", "gate", "head")
    _line(ax, points, ROLES["encoder"][1] if skip else INK)


def _line(ax: Axes, points: list[tuple[float, float]], colour: str = INK) -> None:
    ax.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>,head_length=3.5,head_width=2", color=colour,
                                 linewidth=1.0, joinstyle="miter", zorder=1))  # fmt: skip
