"""A network drawn from what it is: one box a stage, as `models.shapes.trace` found it by running the network.

Rows are resolutions, finest on top; the way down stands at the left, the way up at the right. A box is as high as its
output's side (square root) and as wide as its channels (logarithm), and carries its name, its output's shape and its
parameters. An arrow is drawn where one stage reads another, and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from hipposeg.viz.style import INK, MUTED, SERIES, text_width

if TYPE_CHECKING:
    from hipposeg.models.shapes import Stage, Traced

# All lengths are in inches, measured from the upper left corner: y grows downwards.
TALLEST, WIDE = 0.95, 0.075
SIZE, LINE = 7.5, 0.125
GAP_X, GAP_Y, EDGE, AIR = 0.3, 0.16, 0.12, 0.16
NOTE = "height of a box: square root of its side; width: logarithm of its channels; text: channels @ sides, parameters"

INPUT = "input"
ROLES = {
    INPUT: ("input", MUTED),
    "encoder": ("way down", SERIES[0]),
    "decoder": ("way up", SERIES[2]),
    "gate": ("attention gate", SERIES[3]),
    "head": ("output", SERIES[1]),
    "unread": ("runs, and nothing reads it", MUTED),
}
RISING = ("decoder", "gate", "head")


@dataclass
class Box:
    """A stage on paper. label: lines of text above it. x, y: its upper left corner, found by the layout."""

    label: tuple[str, ...]
    role: str
    width: float
    height: float
    x: float = 0.0
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
    def text(self) -> float:
        """What the widest line of the label takes."""
        return max(text_width(line, SIZE, "normal" if number else "bold") for number, line in enumerate(self.label))

    @property
    def end(self) -> float:
        """The right edge of box and label. Labels on the way up end where their box ends, others begin with it."""
        return self.right if self.role in RISING else max(self.right, self.x + self.text)


def diagram(network: Traced, title: str = "") -> Figure:
    """Draw a traced network: its stages as boxes, who reads whom as arrows, and the sum of its parameters.

    network: from `models.shapes.trace`. title: stands before the number of parameters; the class's name if empty.
    Raises ValueError for a network without stages.
    """
    if not network.stages:
        raise ValueError("the network has no stages; pass what models.shapes.trace returns")
    boxes = {-1: Box((INPUT, _shape(network)), INPUT, *_extent(network, network))}
    boxes |= {number: _box(stage, network) for number, stage in enumerate(network.stages)}
    reads = {number: stage.reads for number, stage in enumerate(network.stages)}
    rows = _rows(network)
    height = _place_vertically(boxes, rows)
    _place_down(boxes, reads, rows)
    _place_up(boxes, reads, rows)
    total = f"{title or network.name}: {network.parameters:,} parameters"
    width = max(*(box.end + GAP_X for box in boxes.values()), text_width(NOTE, SIZE), text_width(total, 11, "bold"))
    fig, ax = _page(width + 2 * EDGE, height)
    for number, box in boxes.items():
        _draw(ax, box)
        for read in reads.get(number, ()):
            _arrow(ax, boxes[read], box, boxes)
    ax.text(EDGE, 0.24, total, fontsize=11, weight="bold")
    _key(ax, [name for name in ROLES if name in {box.role for box in boxes.values()} - {INPUT}], height)
    return fig


def _shape(stage: Stage | Traced) -> str:
    return f"{stage.channels} @ {'×'.join(map(str, stage.sides))}"


def _extent(stage: Stage | Traced, network: Traced) -> tuple[float, float]:
    """Width and height of a stage's box."""
    side = (math.prod(stage.sides) / math.prod(network.sides)) ** (1 / len(network.sides))
    return WIDE * math.log2(max(2, stage.channels)), TALLEST * math.sqrt(side)


def _box(stage: Stage, network: Traced) -> Box:
    """The stage's box, under the end of its module's path."""
    parts = stage.name.split(".")
    name = parts[-1] if parts[-1].isidentifier() and parts[-1] != "rest" else ".".join(parts[-2:])
    role = "gate" if "gates" in parts else stage.role
    return Box((name, _shape(stage), f"{stage.parameters:,}"), role, *_extent(stage, network))


def _rows(network: Traced) -> list[list[int]]:
    """Numbers of the stages at each resolution, finest first; in a row from left to right, the input first."""
    shapes = {-1: network.sides} | {number: stage.sides for number, stage in enumerate(network.stages)}
    roles = {-1: INPUT} | {number: stage.role for number, stage in enumerate(network.stages)}
    order = (INPUT, "encoder", "unread", *RISING)
    finest_first = sorted(set(shapes.values()), key=math.prod, reverse=True)
    return [
        sorted((number for number in shapes if shapes[number] == sides), key=lambda n: (order.index(roles[n]), n))
        for sides in finest_first
    ]


def _place_vertically(boxes: dict[int, Box], rows: list[list[int]]) -> float:
    """Set the upper edge of every box, with room for its label; returns the height of the page."""
    y = 0.35
    for row in rows:
        y += 3 * LINE + GAP_Y
        for number in row:
            boxes[number].y = y
        y += max(boxes[number].height for number in row)
    return y + 0.62


def _place_down(boxes: dict[int, Box], reads: dict[int, tuple[int, ...]], rows: list[list[int]]) -> None:
    """Set the left edges of the input and the way down: a row starts right of the middle of what it reads."""
    for row in rows:
        free = EDGE
        for number in row:
            box = boxes[number]
            if box.role not in RISING:
                above = [boxes[read].middle + GAP_X for read in reads.get(number, ()) if boxes[read].y < box.y]
                box.x = max(free, *above, 0.0)
                free = box.end + GAP_X


def _place_up(boxes: dict[int, Box], reads: dict[int, tuple[int, ...]], rows: list[list[int]]) -> None:
    """Set the left edges of the way up, coarsest row first, then of the outputs.

    A stage stands right of the coarser one that it reads, and an output right of the arrows that rise beside it.
    """
    ends = {}
    for row in reversed(rows):
        free = max((boxes[number].end for number in row if boxes[number].role not in RISING), default=0.0)
        for number in row:
            box = boxes[number]
            if box.role in ("decoder", "gate"):
                coarser = [boxes[read].end + AIR for read in reads[number] if boxes[read].y > box.y]
                box.x = max(_after(free, box), *coarser, 0.0)
                free = box.right
        ends.update(dict.fromkeys(row, free))
    for number, box in boxes.items():
        if box.role == "head":
            beside = {read for read in reads[number] if boxes[read].y == box.y}
            rising = [boxes[n].middle for n in reads if beside & set(reads[n]) and boxes[n].y < box.y]
            box.x = max(_after(max(ends[number], *rising, 0.0), box), 0.0)
            ends |= {other: box.right for row in rows if number in row for other in row}


def _after(free: float, box: Box) -> float:
    """The left edge of a box whose label ends with it, right of what takes the row up to `free`."""
    return free + max(GAP_X, AIR + box.text - box.width)


def _page(width: float, height: float) -> tuple[Figure, Axes]:
    """A page in inches with its origin in the upper left corner."""
    fig = plt.figure(figsize=(width, height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    return fig, ax


def _patch(x: float, y: float, width: float, height: float, role: str) -> FancyBboxPatch:
    """A rounded box in its role's colour, opaque, so that arrows pass behind it."""
    colour = ROLES[role][1]
    pale = tuple(1 - 0.3 * (1 - part) for part in to_rgb(colour))
    dashes = "--" if role == "unread" else "-"
    return FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.03", facecolor=pale,
                          edgecolor=colour, linewidth=1.1, linestyle=dashes, zorder=3)  # fmt: skip


def _draw(ax: Axes, box: Box) -> None:
    """The box, its label above it, and for an output an arrow that leaves the network."""
    ax.add_patch(_patch(box.x, box.y, box.width, box.height, box.role))
    x, align = (box.right, "right") if box.role in RISING else (box.x, "left")
    for number, line in enumerate(box.label):
        y = box.y - 0.06 - LINE * (len(box.label) - 1 - number)
        ax.text(x, y, line, fontsize=SIZE, ha=align, va="baseline", weight="normal" if number else "bold", zorder=4)
    if box.role == "head":
        y = box.y + box.height / 2
        _line(ax, [(box.right, y), (box.right + 0.8 * GAP_X, y)])


def _arrow(ax: Axes, source: Box, target: Box, boxes: dict[int, Box]) -> None:
    """From what is read to who reads it: along the row, behind what stands between, or round one corner."""
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
    # What the way up gets of the way down stands out, in the colour of its source.
    skip = source.y == target.y and source.role == "encoder" and target.role in RISING
    _line(ax, points, ROLES["encoder"][1] if skip else INK, "--" if target.role == "unread" else "-")


def _line(ax: Axes, points: list[tuple[float, float]], colour: str = INK, style: str = "-") -> None:
    ax.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>,head_length=3.5,head_width=2", color=colour,
                                 linewidth=1.0, linestyle=style, joinstyle="miter", zorder=1))  # fmt: skip


def _key(ax: Axes, roles: list[str], height: float) -> None:
    """What colours and sizes mean, at the lower edge."""
    x, y = EDGE, height - 0.36
    for role in roles:
        ax.add_patch(_patch(x, y - 0.1, 0.14, 0.1, role))
        ax.text(x + 0.2, y, ROLES[role][0], fontsize=SIZE, va="baseline")
        x += 0.2 + text_width(ROLES[role][0], SIZE) + GAP_X
    ax.text(EDGE, height - 0.14, NOTE, fontsize=SIZE, va="baseline", color=MUTED)
