"""Figures of notebook 07 about what goes wrong: confused classes, kinds of error, distance from the border."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from hipposeg.viz.evaluation import WIDTH
from hipposeg.viz.style import ERROR, INK, MUTED

# The page draws errors in the same colours (css/base.css).
KINDS = {
    "swap": ("one part taken for the other", ERROR),
    "false_positive": ("background taken for hippocampus", "#009E73"),
    "missed": ("hippocampus missed", "#CC79A7"),
}
DEPTHS = ("#dadaeb", "#9e9ac8", "#6a51a3", "#3f007d")
_SHADES = LinearSegmentedColormap.from_list("shades", ("#ffffff", "#0072B2"))


def confusion_matrices(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Where each true class's voxels went, in per cent of the row, one panel per run.

    matrices: run name -> counts (K + 1, K + 1), rows true, columns predicted, background first.
    """
    count = len(matrices)
    fig, axes = plt.subplots(1, count, figsize=(min(WIDTH, 1.2 + 3.9 * count), 3.6), squeeze=False)
    for ax, (name, counts) in zip(axes[0], matrices.items(), strict=True):
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        ax.imshow(share, cmap=_SHADES, vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(share):
            text = f"{100 * value:.1f} %" if value >= 0.0005 or not counts[row, column] else "< 0.1 %"
            ax.text(column, row, text, ha="center", va="center", color="white" if value > 0.55 else INK, fontsize=10)
        ax.set(title=name, xlabel="predicted")
        ax.set_xticks(range(len(classes)), classes)
        ax.set_yticks(range(len(classes)), classes if ax is axes[0, 0] else [""] * len(classes))
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    axes[0, 0].set_ylabel("true")
    return fig


def error_kinds(
    volumes: Mapping[str, Mapping[str, float]], depths: Mapping[str, np.ndarray], voxel_mm: float
) -> Figure:
    """How much of each kind of error, and how far from the true border all of it lies; a bar for each run.

    volumes: run name -> kind -> mm3 in the average scored volume. depths: run name -> distance in mm of every wrong
    voxel from the nearest voxel of another true class. voxel_mm: width of a voxel, the least distance there is.
    """
    names = list(volumes)
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.2 + 0.42 * len(names)), sharey=True)
    kinds = {text: [volumes[name][kind] for name in names] for kind, (text, _) in KINDS.items()}
    _stack(left, kinds, [colour for _, colour in KINDS.values()])
    for row, total in enumerate(np.sum(list(kinds.values()), axis=0)):
        left.annotate(f"{total:.0f}", (total, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    left.set(xlabel="wrong tissue in the average volume (mm³)", title="Kinds of error", ylim=(len(names) - 0.5, -0.5))
    left.set_xlim(right=1.12 * left.get_xlim()[1])
    left.set_yticks(range(len(names)), names)
    edges = voxel_mm * np.array([0, 1, 2, 3, np.inf])
    texts = ("touching it", *(f"up to {edge:g} mm" for edge in edges[2:4]), "farther")
    within = [[100 * np.mean(depths[name] <= edge * (1 + 1e-9)) if depths[name].size else 0.0 for name in names]
              for edge in edges[1:]]  # fmt: skip
    _stack(right, dict(zip(texts, np.diff([[0.0] * len(names), *within], axis=0), strict=True)), DEPTHS)
    right.set(xlabel="share of the wrong voxels (%)", title="Distance from the true border", xlim=(0, 100))
    for ax in (left, right):
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        side = "left" if ax is left else "right"
        fig.legend(*ax.get_legend_handles_labels(), loc=f"outside lower {side}", ncols=2, fontsize=9)
    return fig


def by_position(table: pd.DataFrame, names: Mapping[str, str], bins: Sequence[str], ends: tuple[str, str]) -> Figure:
    """Wrong tissue along the long axis, a column for each run: mm3 in the average volume, and per cent of the truth.

    table: rows as `studies.errors` gives them. names: run -> name. bins: names of the positions, the outer two beyond
    the true structure's ends, where there is no truth to take a per cent of. ends: what stands at the axis' two ends.
    """
    fig, axes = plt.subplots(2, len(names), figsize=(WIDTH, 5.2), sharex=True, sharey="row", squeeze=False)
    places = np.arange(len(bins))
    for column, (run, name) in enumerate(names.items()):
        rows = table[(table["run"] == run) & (table["by"] == "position")]
        truth = rows.drop_duplicates("bin").set_index("bin")["true_mm3"].reindex(bins).to_numpy(dtype=float)
        amounts = rows.pivot(index="bin", columns="kind", values="mm3").reindex(bins)
        shares = 100 / np.where(truth > 0, truth, np.nan)
        for row, (ax, scale) in enumerate(zip(axes[:, column], (1.0, shares), strict=True)):
            start = np.zeros(len(bins))
            for kind, (text, colour) in KINDS.items():
                height = np.nan_to_num(amounts[kind].to_numpy() * scale)
                ax.bar(places, height, bottom=start, width=0.92, color=colour, label=text if not column + row else None)
                start += height
            for edge in (0.5, len(bins) - 1.5):
                ax.axvline(edge, color=MUTED, linewidth=0.9, linestyle="--")
            ax.grid(False, axis="x")
            ax.tick_params(axis="x", length=0)
        axes[0, column].set_title(name)
        axes[1, column].set_xticks([0.5, (len(bins) - 1) / 2, len(bins) - 1.5], [ends[0], "middle", ends[1]])
    axes[0, 0].set_ylabel("wrong tissue (mm³ a volume)")
    axes[1, 0].set_ylabel("in per cent of the truth there")
    fig.supxlabel("position along the true hippocampus in tenths of its length; dashed lines: its ends", fontsize=9)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(KINDS), fontsize=9)
    return fig


def by_distance(table: pd.DataFrame, names: Mapping[str, str], bins: Sequence[str]) -> Figure:
    """Share of each kind of error by its distance from the border that was missed, a bar for each kind and run.

    table: rows as `studies.errors` gives them. names: run -> name. bins: names of the distances, the nearest first.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 1.6 + 0.34 * len(KINDS) * len(names)))
    parts = {name: [] for name in bins}
    ticks = []
    for kind, (text, _) in KINDS.items():
        for run, name in names.items():
            rows = table[(table["run"] == run) & (table["by"] == "distance") & (table["kind"] == kind)]
            amounts = rows.set_index("bin")["mm3"].reindex(bins)
            total = amounts.sum()
            for place in bins:
                parts[place].append(100 * amounts[place] / total if total else 0.0)
            ticks.append(f"{text}, {name}")
    _stack(ax, parts, DEPTHS)
    ax.set_yticks(range(len(ticks)), ticks)
    ax.set(xlabel="share of the wrong tissue of this kind (%)", xlim=(0, 100), ylim=(len(ticks) - 0.5, -0.5))
    for edge in range(len(names), len(ticks), len(names)):
        ax.axhline(edge - 0.5, color=MUTED, linewidth=0.8)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(bins), fontsize=9)
    return fig


def _stack(ax: Axes, parts: Mapping[str, Sequence[float]], colours: Sequence[str]) -> None:
    """Horizontal bars, one row per run, of parts put end to end."""
    start = np.zeros(len(next(iter(parts.values()))))
    for (text, values), colour in zip(parts.items(), colours, strict=True):
        ax.barh(np.arange(len(start)), values, left=start, color=colour, height=0.62, label=text)
        start += values
