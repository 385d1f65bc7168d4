"""Figures about N4: the fields that it finds, what they change over a cohort, and whether it finds a planted field."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, fullest, grey_window, plane
from hipposeg.viz.slices import legend, letters, overlay, scale_bar
from hipposeg.viz.style import INK, MUTED, SERIES


def fields(
    cases: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], spec: DatasetSpec, axis: int = 0
) -> Figure:
    """A row per case: original, corrected, and the field between them in per cent on one scale for all rows.

    cases: title -> (original (X, Y, Z), corrected, label), voxels drawn as cubes.
    """
    fig, axes = plt.subplots(len(cases), 3, figsize=(8.6, 2.1 * len(cases) + 0.7), squeeze=False)
    percents = {}
    for title, (before, after, _) in cases.items():
        field = np.divide(before, after, out=np.ones(before.shape, np.float64), where=after > 0)
        percents[title] = 100 * (field / np.exp(np.log(field[field > 0]).mean()) - 1)
    limit = max(float(np.percentile(np.abs(percent), 99)) for percent in percents.values())
    for row, (title, (before, after, label)) in zip(axes, cases.items(), strict=True):
        index = fullest(label, axis, before.shape)
        for ax, image in zip(row, (before, after), strict=False):
            overlay(ax, plane(image, axis, index), plane(label, axis, index), spec, window=grey_window(image), alpha=0)
        width, height = (before.shape[other] for other in PLANES[axis])
        shown = row[2].imshow(plane(percents[title], axis, index).T, cmap="PuOr_r", vmin=-limit, vmax=limit,
                              origin="lower", extent=(0, width, 0, height))  # fmt: skip
        row[2].set(xticks=[], yticks=[])
        row[2].grid(False)
        row[2].set_frame_on(False)
        row[0].set_ylabel(title, fontsize=9)
    for ax, name in zip(axes[0], ("as stored", "after N4", "the field that N4 found"), strict=True):
        ax.set_title(name, fontsize=9, weight="normal")
    fig.colorbar(shown, ax=list(axes[:, 2]), label="brighter or darker than the box's mean (%)", shrink=0.75)
    scale_bar(axes[0, 0])
    letters(axes[0, 0], spec, axis)
    legend(fig, spec)
    return fig


def effects(table: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Every case: the field, the change of the image, and contrast and variation before and after.

    table: `hipposeg.data.n4_effect.effects`.
    """
    fig, axes = plt.subplots(2, 3, figsize=(9.6, 6.0))
    panels = (
        (100 * table.field_range, "Range of the field", "brightest over darkest part (%)"),
        (table.correlation, "Original and corrected", "correlation of intensities"),
        (table.z_change, "What a network sees", "change of the z-scored image (RMS, SD)"),
    )
    for ax, (values, title, label) in zip(axes[0], panels, strict=True):
        ax.hist(values, 30, color=SERIES[0], rwidth=0.9)
        ax.axvline(values.median(), color=INK, linewidth=1, linestyle="--")
        ax.set(title=title, xlabel=label)
        ax.text(0.98, 0.97, f"median {values.median():.3g}", transform=ax.transAxes, ha="right", va="top", fontsize=9)
        ax.set_ylim(top=ax.get_ylim()[1] * 1.12)
    axes[0, 0].set_ylabel("cases")
    pairs = [("cnr", "Contrast to noise", SERIES[0])]
    pairs += [(f"cv_{item.name}", f"Variation in {item.name}", item.colour) for item in spec.labels[:2]]
    for ax in axes[1, len(pairs) :]:
        ax.set_axis_off()
    for ax, (name, title, colour) in zip(axes[1], pairs, strict=False):
        before, after = table[f"{name}_before"], table[f"{name}_after"]
        low, high = min(before.min(), after.min()), max(before.max(), after.max())
        edge = 0.04 * (high - low)
        ends = [low - edge, high + edge]
        ax.plot(ends, ends, color=MUTED, linewidth=1, linestyle="--", zorder=1)
        ax.scatter(before, after, s=11, color=colour, alpha=0.7, linewidth=0)
        ax.set(title=title, xlabel="as stored", ylabel="after N4", aspect="equal",
               xlim=ends, ylim=ends)  # fmt: skip
        ax.text(0.03, 0.97, f"higher after N4: {(after > before).sum()} of {before.notna().sum()}",
                transform=ax.transAxes, va="top", fontsize=8.5)  # fmt: skip
    return fig


def planted(table: pd.DataFrame) -> Figure:
    """For each setting, a dot per case: how much of a planted field N4 missed, and the range that it finds unasked.

    table: `hipposeg.data.n4_effect.planted`.
    """
    names = list(dict.fromkeys(table.setting))
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 0.45 * len(names) + 1.6), sharey=True)
    change = 100 * (table.cv_corrected / table.cv_original - 1)
    columns = (
        (100 * table.missed, "Planted field that is missed", "share of its SD (%)"),
        (100 * table.found_range, "Field found in the original", "brightest over darkest part (%)"),
        (change, "Variation in the hippocampus", "change in the original (%)"),
    )
    for ax, (values, title, label) in zip(axes, columns, strict=True):
        for row, name in enumerate(names):
            some = values[table.setting == name]
            jitter = np.linspace(-0.16, 0.16, len(some))
            ax.scatter(some, row + jitter, s=14, color=SERIES[row], alpha=0.6, linewidth=0)
            ax.plot([some.mean()] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=2)
        ax.set(title=title, xlabel=label, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        ax.grid(axis="y", visible=False)
    axes[0].set_xlim(left=0)
    axes[1].set_xlim(left=0)
    axes[2].axvline(0, color=MUTED, linewidth=1, linestyle="--")
    return fig
