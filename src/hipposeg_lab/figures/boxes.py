"""Charts of how the boxes were cut around the truth, and of what a box alone gives away."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, plane_name
from hipposeg.viz.style import INK, MUTED, SERIES


def margins(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Left: distance from label to box on six sides, as bubbles. Right: label centre minus box centre, in mm."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.3), width_ratios=(1.35, 1))
    sides = [(f"{end}_{axis}", axis, end) for axis in range(3) for end in ("low", "high")]
    largest = table[[column for column, _, _ in sides]].to_numpy().max()
    faint = {"color": SERIES[0], "alpha": 0.35, "linewidth": 0}
    for y, (column, _, _) in enumerate(sides):
        found, counts = np.unique(table[column], return_counts=True)
        left.scatter(found, np.full(len(found), -y), s=620 * counts / len(table), **faint)
        _mean_sd(left, table[column], -y, f"{table[column].mean():.1f} ± {table[column].std():.1f}", largest + 1)
    names = [f"axis {axis}, {spec.axes[axis][end == 'high'] or end}" for _, axis, end in sides]
    left.set_yticks(-np.arange(6), names)
    left.set(xlim=(0, largest + 4.5), ylim=(-5.6, 0.6), xlabel="voxels between label and border of the box",
             title="Margins on the six sides")  # fmt: skip
    centres = [f"centre_{axis}" for axis in range(3)]
    rng = np.random.default_rng(0)
    for axis in range(3):
        values = table[centres[axis]]
        right.scatter(values, -axis + rng.uniform(-0.18, 0.18, len(values)), s=8, **faint)
        _mean_sd(right, values, -axis, f"SD {values.std():.1f} mm", table[centres].to_numpy().max() + 0.5)
    right.axvline(0, color=MUTED, linewidth=0.8, linestyle="--")
    right.set_yticks(-np.arange(3), [f"axis {axis}" for axis in range(3)])
    right.set(xlabel="label centre minus box centre (mm)", title="Centres", ylim=(-2.5, 0.5))
    right.set_xlim(right=right.get_xlim()[1] + 2.5)
    return fig


def _mean_sd(ax: Axes, values: pd.Series, y: float, text: str, x: float) -> None:
    """A dot at the mean with a bar of one standard deviation to either side, and a text at `x`."""
    ax.errorbar(values.mean(), y, xerr=values.std(), fmt="o", color=INK, markersize=5, linewidth=1.6)
    ax.text(x, y, text, va="center", fontsize=9)


def frequency_map(frequencies: NDArray[np.float32], spec: DatasetSpec, spacing: Sequence[float]) -> Figure:
    """How often each voxel of the stretched box belongs to each label: (K, X, Y, Z), background first, three planes.

    A colour is as strong as its label is frequent; lines mark where one label is the most frequent class.
    """
    _, *shape = frequencies.shape
    inside = 1 - frequencies[0]
    centre = [int(inside.sum(tuple(other for other in range(3) if other != axis)).argmax()) for axis in range(3)]
    extent = [size * step for size, step in zip(shape, spacing, strict=True)]
    widths = [extent[PLANES[axis][0]] for axis in range(3)]
    height = max(extent[PLANES[axis][1]] for axis in range(3))
    fig, axes = plt.subplots(1, 3, figsize=(9, 9 * height / sum(widths) + 0.6), width_ratios=widths)
    for axis, ax in enumerate(axes):
        horizontal, vertical = PLANES[axis]
        cut = np.take(frequencies, centre[axis], axis + 1)
        cut = cut if horizontal < vertical else cut.swapaxes(1, 2)
        picture = np.ones((*cut.shape[1:], 3))
        for item in spec.labels:
            picture -= cut[item.value][..., None] * (1 - np.array(to_rgb(item.colour)))
        frame = {"origin": "lower", "extent": (0, widths[axis], 0, extent[vertical])}
        ax.imshow(np.clip(picture, 0, 1).swapaxes(0, 1), **frame)
        winner = cut.argmax(0)
        for item in spec.labels:
            ax.contour((winner == item.value).T.astype(float), [0.5], colors=[item.colour], linewidths=1.5, **frame)
        ax.set(xticks=[], yticks=[], title=plane_name(spec, axis), anchor="N")
        for side in ("top", "right"):
            ax.spines[side].set_visible(True)
        ax.grid(False)
        for letter, x, y in ((spec.axes[horizontal][0], 0.04, 0.5), (spec.axes[horizontal][1], 0.96, 0.5),
                             (spec.axes[vertical][0], 0.5, 0.06), (spec.axes[vertical][1], 0.5, 0.94)):  # fmt: skip
            ax.text(x, y, letter, transform=ax.transAxes, weight="bold", ha="center", va="center")
    return fig


def dice_strip(cases: pd.DataFrame, spec: DatasetSpec, extra: Sequence[str] = ("mean", "union")) -> Figure:
    """Each case's Dice by label, with means: `cases` has the columns label and dice (a run's scores)."""
    colours = {item.name: item.colour for item in spec.labels} | dict.fromkeys(extra, INK)
    fig, ax = plt.subplots(figsize=(9, 0.52 * len(colours) + 0.9))
    rng = np.random.default_rng(0)
    for y, (name, colour) in enumerate(colours.items()):
        dice = cases.loc[cases.label == name, "dice"].dropna()
        ax.scatter(dice, -y + rng.uniform(-0.17, 0.17, len(dice)), s=16, color=colour, alpha=0.6, linewidth=0)
        ax.plot([dice.mean()] * 2, [-y - 0.32, -y + 0.32], color=INK, linewidth=2.2)
        ax.text(1.01, -y, f"{dice.mean():.3f}", va="center", weight="bold")
    ax.set_yticks(-np.arange(len(colours)), list(colours))
    ax.set(xlim=(0, 1), xlabel="Dice of one case (bar and number: mean)")
    ax.grid(axis="y", visible=False)
    return fig
