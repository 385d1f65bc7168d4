"""Gallery of failures: cases in three planes, wrong voxels in the colour of their kind, and a sentence each."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec, Label
from hipposeg.viz.evaluation import WIDTH
from hipposeg.viz.planes import PLANES, grey_window, outline, plane, plane_name
from hipposeg.viz.slices import letters, overlay, scale_bar
from hipposeg.viz.style import INK
from hipposeg_lab.figures.mistakes import KINDS

# Characters of a line of words above a row.
COLUMNS = 135
ERRORS = tuple(Label(value, text, colour) for value, (text, colour) in enumerate(KINDS.values(), start=1))


@dataclass(frozen=True)
class Failure:
    """A case to show. title, words: above its row. image (X, Y, Z); truth: label map; kinds: kind -> boolean mask."""

    title: str
    words: str
    image: np.ndarray
    truth: np.ndarray
    kinds: dict[str, np.ndarray]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


def error_map(kinds: dict[str, np.ndarray]) -> np.ndarray:
    """Boolean masks (X, Y, Z) by kind, which do not overlap, as one map: values of ERRORS, else 0."""
    return sum(kinds[kind].astype(np.uint8) * label.value for kind, label in zip(KINDS, ERRORS, strict=True))


def gallery(failures: Sequence[Failure], spec: DatasetSpec) -> Figure:
    """A row for each case, a column for each plane, cut where most voxels are wrong; truth as outlines.

    The slice across each axis is the first with the most wrong voxels, by rule. All panels share one scale in mm.
    """
    extents = [np.multiply(one.image.shape, one.spacing) for one in failures]
    widths = [max(extent[PLANES[axis][0]] for extent in extents) for axis in range(3)]
    heights = [max(extent[PLANES[axis][1]] for axis in range(3)) for extent in extents]
    texts = [[one.title, *textwrap.wrap(one.words, COLUMNS)] for one in failures]
    scale = (WIDTH - 0.6) / sum(widths)
    tall = [height * scale + 0.17 * len(text) + 0.3 for height, text in zip(heights, texts, strict=True)]
    fig = plt.figure(figsize=(WIDTH, sum(tall) + 0.4), layout="constrained")
    rows = fig.subfigures(len(failures) + 1, 1, height_ratios=[*tall, 0.4])
    for number, (one, text, row) in enumerate(zip(failures, texts, rows[:-1], strict=True)):
        row.suptitle("\n".join(text), x=0.01, ha="left", fontsize=9, color=INK)
        axes = row.subplots(1, 3, width_ratios=widths)
        wrong = error_map(one.kinds)
        for axis, ax in enumerate(axes):
            across = tuple(other for other in range(3) if other != axis)
            index = int(np.argmax((wrong > 0).sum(axis=across)))
            _panel(ax, one, wrong, axis, index, spec)
            where = f"slice {index + 1} of {one.image.shape[axis]}"
            ax.set_anchor("N")  # titles of a row at one height
            ax.set_title(where if number else f"{plane_name(spec, axis)}, {where}", fontsize=8, weight="normal")
        scale_bar(axes[0])
    handles = [plt.Line2D([], [], color=label.colour, linewidth=2, label=f"true {label.name}") for label in spec.labels]
    handles += [plt.Rectangle((0, 0), 1, 1, color=label.colour, label=label.name) for label in ERRORS]
    rows[-1].legend(handles=handles, loc="center", ncols=len(handles), fontsize=8, columnspacing=1.2)
    return fig


def _panel(ax: Axes, one: Failure, wrong: np.ndarray, axis: int, index: int, spec: DatasetSpec) -> None:
    """One slice: the image, wrong voxels filled, and each true part's outline in its colour."""
    errors = replace(spec, labels=ERRORS)
    spacing = tuple(one.spacing[other] for other in PLANES[axis])
    overlay(ax, plane(one.image, axis, index), plane(wrong, axis, index), errors, spacing=spacing,
            window=grey_window(one.image), alpha=0.6, linewidth=0.0)  # fmt: skip
    truth = plane(one.truth, axis, index)
    for label in spec.labels:
        edges = (outline(truth == label.value) + 0.5) * np.asarray(spacing)
        ax.add_collection(LineCollection(edges, colors=label.colour, linewidths=1.2, capstyle="round"))
    letters(ax, spec, axis, size=8)
