"""Figures about N4: the fields that it finds, what they change over a cohort, and whether it finds a planted field."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, fullest, grey_window, plane
from hipposeg.viz.slices import legend, letters, overlay, scale_bar
from hipposeg.viz.style import INK, MUTED, SERIES


def fields(cases: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], spec: DatasetSpec, axis: int = 0) -> Figure:
    """A row per case: original, corrected, and the field between them in per cent on one scale for all rows.

    cases: title -> (original (X, Y, Z), corrected, label), voxels drawn as cubes.
    """
    width, height = PLANES[axis]
    ratios = [before.shape[height] / before.shape[width] for before, _, _ in cases.values()]
    size = (9.2, 2.6 * sum(ratios) + 0.1 * len(cases) + 0.75)
    fig, axes = plt.subplots(len(cases), 3, figsize=size, squeeze=False, height_ratios=ratios)
    percents = {}
    for title, (before, after, _) in cases.items():
        field = np.divide(before, after, out=np.ones(before.shape, np.float64), where=after > 0)
        percents[title] = 100 * (field / np.exp(np.log(field[field > 0]).mean()) - 1)
    limit = max(float(np.percentile(np.abs(percent), 99)) for percent in percents.values())
    for row, (title, (before, after, label)) in zip(axes, cases.items(), strict=True):
        index = fullest(label, axis, before.shape)
        for ax, image in zip(row, (before, after), strict=False):
            overlay(ax, plane(image, axis, index), plane(label, axis, index), spec, window=grey_window(image), alpha=0)
        percent = plane(percents[title], axis, index).T
        extent = (0, before.shape[width], 0, before.shape[height])
        shown = row[2].imshow(percent, cmap="PuOr_r", vmin=-limit, vmax=limit, origin="lower", extent=extent)
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


def effects(table: pd.DataFrame, changes: pd.DataFrame) -> Figure:
    """Every case: the field, the change of the image, and the relative change of contrast and variation.

    table: `hipposeg_lab.studies.n4_effect.effects`. changes: `relative_changes` of it; its first three columns are
    drawn.
    """
    fig, axes = plt.subplots(2, 3, figsize=(9.6, 5.0))
    panels = (
        (100 * table.field_range, "Range of the field", "brightest over darkest part (%)"),
        (table.correlation, "Original and corrected", "correlation of intensities"),
        (table.z_change, "What a network sees", "RMS change of the z-score (SD)"),
    )
    for ax, (values, title, label) in zip(axes[0], panels, strict=True):
        _histogram(ax, values, title, label, f"median {values.median():.3g}", values.median(), SERIES[0])
    for ax, name in zip(axes[1], changes, strict=False):
        values = 100 * changes[name]
        text = f"higher after N4: {(values > 0).sum()} of {values.notna().sum()}"
        _histogram(ax, values, name.capitalize(), "change by N4 (%)", text, 0, SERIES[1])
    for ax in axes[1, changes.shape[1] :]:
        ax.set_axis_off()
    for row in axes:
        row[0].set_ylabel("cases")
    return fig


def _histogram(ax: Axes, values: pd.Series, title: str, label: str, text: str, mark: float, colour: str) -> None:
    """One distribution over cases, with a dashed line at `mark` and a line of text above the bars."""
    ax.hist(values, 30, color=colour, rwidth=0.9)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.18)
    ax.axvline(mark, ymax=0.86, color=INK, linewidth=1.2, linestyle="--")
    ax.set(title=title, xlabel=label)
    ax.text(0.02, 0.97, text, transform=ax.transAxes, va="top", fontsize=9)


def planted(table: pd.DataFrame) -> Figure:
    """For each setting, a dot per case: how much of a planted field N4 missed, and the range that it finds unasked.

    table: `hipposeg_lab.studies.n4_effect.planted`.
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
    axes[0].axvline(100, color=MUTED, linewidth=1, linestyle="--")
    axes[2].axvline(0, color=MUTED, linewidth=1, linestyle="--")
    return fig
