"""Figures of notebook 06: captioned slices, images and texts in their common space, and lowest losses."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.slices import legend, overlay
from hipposeg.viz.style import INK, MUTED, SERIES, WIDTH, line_style

# One colour for each source of a ranking.
SOURCES = {"CLIP": SERIES[0], "raw pixels": SERIES[1], "chance": MUTED}


def captioned(slices: Sequence[tuple[np.ndarray, np.ndarray, str]], spec: DatasetSpec, columns: int = 4) -> Figure:
    """Draw slices (image, label, text), each (horizontal, vertical), with their outlines and the text below."""
    rows = -(-len(slices) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, 3.35 * rows + 0.3), squeeze=False)
    for ax, (image, label, text) in zip(axes.flat, slices, strict=False):
        overlay(ax, image, label, spec, alpha=0)
        ax.set_xlabel(textwrap.fill(text, 31), fontsize=8.5, color=INK, linespacing=1.25)
    for ax in axes.flat[len(slices) :]:
        ax.set_axis_off()
    legend(fig, spec)
    return fig


def principal(points: np.ndarray, count: int = 2) -> np.ndarray:
    """(N, D) -> (N, count): coordinates along the directions of largest variance, each direction's sign fixed."""
    centred = points - points.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:count]
    largest = np.abs(directions).argmax(1)
    return centred @ (directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]).T


def space(images: np.ndarray, texts: np.ndarray, along: np.ndarray) -> Figure:
    """Draw image and caption embeddings (N, D) by PCA: as they are, and each kind about its own mean.

    along: (N,) percent of the long axis, NaN for slices without hippocampus, drawn in grey.
    """
    both = np.concatenate([images, texts])
    centred = np.concatenate([images - images.mean(0), texts - texts.mean(0)])
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.3))
    empty = np.isnan(along)
    for ax, points, title in zip(axes, (both, centred), ("As they are", "Each kind about its own mean"), strict=True):
        found = principal(points)
        for part, marker, size in ((found[: len(images)], "o", 9), (found[len(images) :], "^", 16)):
            ax.scatter(*part[empty].T, s=size, marker=marker, color=MUTED, alpha=0.45, linewidths=0)
            drawn = ax.scatter(*part[~empty].T, s=size, marker=marker, c=along[~empty], cmap="viridis", vmin=0,
                               vmax=100, alpha=0.7, linewidths=0)  # fmt: skip
        ax.set(title=title, xlabel="first principal component", ylabel="second principal component")
    bar = fig.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("% of the long axis, posterior to anterior", fontsize=9)
    bar.ax.grid(False)
    kinds = (("o", INK, "slice"), ("^", INK, "caption"), ("o", MUTED, "no hippocampus visible"))
    handles = [Line2D([], [], marker=marker, linestyle="", color=colour, label=text) for marker, colour, text in kinds]
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


def lowest_losses(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], ends: Mapping[str, tuple[float, float]]
) -> Figure:
    """Draw the lowest loss that cosine logits can reach, against their scale, for several sets of class vectors.

    lines: name of the vectors -> (scales, lowest losses). ends: training -> (its scale, its last loss), drawn as a dot.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 4.0))
    for index, (name, (scales, losses)) in enumerate(lines.items()):
        ax.plot(scales, losses, label=name, linewidth=1.8, **line_style(index))
    for index, (name, (scale, loss)) in enumerate(ends.items()):
        ax.plot(scale, loss, "Ds"[index % 2], color=INK, markersize=7, markerfacecolor=("white", INK)[index % 2])
        ax.annotate(name, (scale, loss), xytext=(8, 6), textcoords="offset points", fontsize=9)
    ax.axvline(1, color=MUTED, linestyle="--", linewidth=1, zorder=0)
    ax.annotate("no scale", (1, 0), xycoords=("data", "axes fraction"), xytext=(4, 4), textcoords="offset points",
                fontsize=9, color=MUTED)  # fmt: skip
    ax.set(xlabel="scale (1 / temperature)", ylabel="training loss", ylim=(0, None), xscale="log")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
