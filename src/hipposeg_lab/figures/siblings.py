"""Charts of the evidence that neighbouring case numbers are one person's two hippocampi, and of the folds."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, plane_name
from hipposeg.viz.style import ERROR, INK, MUTED, SERIES

Pair = tuple[int, int]

# One colour for each kind of pair, in every figure: within a person, across persons in sequence, at random.
KINDS = (SERIES[2], SERIES[3], MUTED)


def pair_scatter(values: pd.Series, groups: Mapping[str, Sequence[Pair]], quantity: str) -> Figure:
    """A panel for each kind of pair: the value of its first case against that of its second, with Pearson's r."""
    fig, axes = plt.subplots(1, len(groups), figsize=(3.0 * len(groups), 3.75), sharex=True, sharey=True, squeeze=False)
    for ax, (name, pairs), colour in zip(axes[0], groups.items(), KINDS, strict=False):
        first, second = (np.array([values[pair[side]] for pair in pairs]) for side in (0, 1))
        ax.axline((values.mean(), values.mean()), slope=1, color=MUTED, linewidth=0.8, linestyle="--")
        ax.scatter(first, second, s=16, color=colour, alpha=0.7, linewidth=0)
        r = round(np.corrcoef(first, second)[0, 1], 2) + 0.0  # no "-0.00"
        ax.set_title(f"{name}\nr = {r:.2f}, {len(pairs)} pairs")
        ax.set_xlabel(f"first of the pair ({quantity})")
        ax.set_aspect("equal")
    axes[0, 0].set_ylabel(f"second of the pair ({quantity})")
    return fig


def chance_histogram(random: NDArray[np.float64], observed: Mapping[str, float]) -> Figure:
    """Correlations of many random pairings as a histogram, with the observed ones as lines."""
    fig, ax = plt.subplots(figsize=(9, 2.7))
    ax.hist(random, 40, color=KINDS[2], alpha=0.6, label=f"{len(random)} random pairings")
    top = ax.get_ylim()[1] * 1.25
    for (name, r), colour in zip(observed.items(), KINDS, strict=False):
        ax.axvline(r, color=colour, linewidth=2)
        side = "right" if r > 0.5 else "left"
        ax.text(r, top * 0.97, f" {name}: {r:.2f} ", color=colour, weight="bold", va="top", ha=side)
    ax.set(xlim=(min(-0.6, random.min()), 1), ylim=(0, top))
    ax.set(xlabel="correlation of the two volumes of a pair", ylabel="pairings")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left")
    return fig


def barcodes(
    images: Mapping[int, NDArray[np.float32]], groups: Sequence[Sequence[int]], names: Mapping[int, str]
) -> Figure:
    """Which intensities occur in a scan, as bars of a code: one row per case, rows of one group in one colour.

    images: case -> (X, Y, Z). A short range of intensities is drawn, near the middle of the first image, about ten of
    its steps wide.
    """
    values = {case: np.unique(images[case]) for group in groups for case in group}
    everything = np.concatenate([images[case].ravel() for case in values])
    start = float(np.median(everything))
    width = 10 * max(float(np.median(np.diff(found))) for found in values.values())
    fig, ax = plt.subplots(figsize=(9, 0.42 * len(values) + 1.0))
    y, ticks = 0.0, []
    for number, group in enumerate(groups):
        for case in group:
            inside = values[case][(values[case] >= start) & (values[case] <= start + width)]
            ax.vlines(inside, y - 0.4, y + 0.4, color=SERIES[number % len(SERIES)], linewidth=2.2)
            ticks.append((y, names[case]))
            y -= 1.0
        y -= 0.45
    ax.set_yticks(*zip(*ticks, strict=True))
    ax.set(xlim=(start, start + width), xlabel="stored intensity: every value that occurs in the scan is one bar")
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return fig


def agreement(differences: Mapping[str, Mapping[str, NDArray[np.float64]]], least: float = 1e-7) -> Figure:
    """Differences within pairs, as a share of the mean, on a log axis: rows are quantities, colours kinds of pair.

    differences: quantity -> kind of pair -> differences (`statistics.ratio_difference`). Smaller than `least`
    (float32's own precision) is drawn at `least`.
    """
    fig, ax = plt.subplots(figsize=(9, 0.95 * len(differences) + 1.1))
    rng = np.random.default_rng(0)
    for row, kinds in enumerate(differences.values()):
        for number, ((name, values), colour) in enumerate(zip(kinds.items(), KINDS, strict=False)):
            y = -row + 0.27 - 0.27 * number
            jitter = rng.uniform(-0.09, 0.09, len(values))
            ax.scatter(np.maximum(values, least), y + jitter, s=10, color=colour, alpha=0.55, linewidth=0,
                       label=name if row == 0 else None)  # fmt: skip
            if not len(values):
                continue
            ax.plot([max(np.median(values), least)] * 2, [y - 0.12, y + 0.12], color=INK, linewidth=2)
    ax.set_xscale("log")
    ax.set_yticks(-np.arange(len(differences)), list(differences))
    ax.set(xlabel="difference between the two cases of a pair, as a share of their mean (bar: median)",
           xlim=(least / 2, 4), ylim=(-len(differences) + 0.5, 0.55))  # fmt: skip
    ax.grid(axis="y", visible=False)
    fig.legend(loc="outside upper left", ncols=3, markerscale=2)
    return fig


def mean_masks(maps: Mapping[str, NDArray[np.float64]], spec: DatasetSpec, spacing: Sequence[float]) -> Figure:
    """Mean masks (X, Y, Z) summed along the line of sight, coronal above axial: mm of foreground behind each point."""
    views = [axis for axis in range(3) if axis != 0]
    fig, axes = plt.subplots(len(views), len(maps), figsize=(2.7 * len(maps) + 0.6, 4.9), squeeze=False,
                             height_ratios=[1, 1.25])  # fmt: skip
    thickness = {axis: {name: volume.sum(axis) * spacing[axis] for name, volume in maps.items()} for axis in views}
    top = max(float(image.max()) for by_name in thickness.values() for image in by_name.values())
    for row, axis in zip(axes, views, strict=True):
        horizontal, vertical = (0, max(PLANES[axis]))
        for ax, (name, image) in zip(row, thickness[axis].items(), strict=True):
            extent = (0, image.shape[0] * spacing[horizontal], 0, image.shape[1] * spacing[vertical])
            shown = ax.imshow(image.T, origin="lower", extent=extent, cmap="magma", vmin=0, vmax=top)
            ax.set(xticks=[], yticks=[], title=name if axis == views[0] else "")
            low, high = spec.axes[vertical]
            for text, y, va in ((low, 0.02, "bottom"), (high, 0.98, "top")):
                ax.text(0.5, y, text, color="white", weight="bold", transform=ax.transAxes, ha="center", va=va)
            ax.grid(False)
        row[0].set_ylabel(f"{plane_name(spec, axis)} view")
    fig.colorbar(shown, ax=axes, label="mm of hippocampus along the line of sight (mean)", shrink=0.7)
    return fig


def folds(
    splits: Mapping[str, Sequence[Mapping[str, Sequence[int]]]], subject: Mapping[int, int] | pd.Series
) -> Figure:
    """People in columns, folds in rows: who trains, who is scored, and who is on both sides."""
    everyone = {subject[case] for rows in splits.values() for row in rows for part in row.values() for case in part}
    people = sorted(everyone)
    colours = ["#ffffff", "#cfe3f1", SERIES[0], ERROR]
    heights = [len(rows) + 0.8 for rows in splits.values()]
    fig, axes = plt.subplots(len(splits), 1, figsize=(9, 0.3 * sum(heights) + 1.6), sharex=True, height_ratios=heights)
    for ax, (name, rows) in zip(axes, splits.items(), strict=True):
        trained = [{subject[case] for case in row["train"]} for row in rows]
        scored = [{subject[case] for case in row["scored"]} for row in rows]
        grid = [[(p in t) + 2 * (p in s) for p in people] for t, s in zip(trained, scored, strict=True)]
        ax.imshow(grid, cmap=ListedColormap(colours), vmin=-0.5, vmax=3.5, aspect="auto")
        for line in range(1, len(rows)):
            ax.axhline(line - 0.5, color="white", linewidth=2)
        ax.set_yticks(range(len(rows)), [f"fold {number}" for number in range(len(rows))])
        both = [len(t & s) for t, s in zip(trained, scored, strict=True)]
        count = ", ".join(map(str, both)) if any(both) else "no"
        ax.set_title(f"{name}: {count} people on both sides")
        ax.grid(False)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlabel("people, in order of their case numbers")
    names = ("in neither part", "trains", "is scored", "on both sides: one volume trains, the other is scored")
    patches = [Patch(facecolor=fill, edgecolor=MUTED, label=name) for fill, name in zip(colours, names, strict=True)]
    fig.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=9)
    return fig
