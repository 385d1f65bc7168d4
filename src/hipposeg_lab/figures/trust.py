"""Figures about what a prediction is worth: changed inputs, calibration, risk and coverage, intervals of volumes.

Tables are those that the studies of the same name write.
"""

from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.intervals import BAND
from hipposeg.viz.style import ERROR, INK, MUTED, WIDTH, line_style

MARKERS = "osD^vP*X"
MEAN = "mean"
TOP = "predicted class"
# Columns and ends of what `severity` draws.
DICE, DIFFERENCE = ("dice", "low", "high"), ("difference", "difference_low", "difference_high")


def severity(
    table: pd.DataFrame, panels: Mapping[str, tuple[str, str]], columns: tuple[str, str, str] = DICE,
    bands: Collection[str] | None = None, margin: float | None = None,
) -> Figure:  # fmt: skip
    """Draw Dice, or its difference, against the severity of a change, a panel for each change, a line for each run.

    Args:
        table: one row per run, change, severity and label.
        panels: change -> title and x axis.
        columns: the value and the ends of its 95 % interval.
        bands: runs whose intervals are drawn; None draws all.
        margin: half the width of the grey band in which differences are too small to matter; the panels then share
            their y axis.
    """
    rows = table[table["label"] == MEAN]
    names = list(dict.fromkeys(rows["run"]))
    across = min(4, len(panels))
    lines = -(-len(panels) // across)
    fig, axes = plt.subplots(
        lines, across, figsize=(WIDTH, 0.9 + 2.7 * lines), squeeze=False, sharey=margin is not None
    )
    for ax, (change, (title, xlabel)) in zip(axes.flat, panels.items(), strict=False):
        if margin is not None:
            ax.axhspan(-margin, margin, color=BAND, linewidth=0, zorder=0)
            ax.axhline(0, color=INK, linewidth=1)
            ax.xaxis.get_major_locator().set_params(integer=True)
        for index, name in enumerate(names):
            found = rows[(rows["run"] == name) & (rows["change"] == change)].sort_values("severity")
            style = line_style(index)
            ax.plot(found["severity"], found[columns[0]], marker=MARKERS[index % len(MARKERS)], markersize=4.5,
                    linewidth=1.6, label=name, **style)  # fmt: skip
            if bands is None or name in bands:
                ends = (found[end] for end in columns[1:])
                ax.fill_between(found["severity"], *ends, color=style["color"], alpha=0.13, linewidth=0)
        ax.set(title=title, xlabel=xlabel)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax in axes[:, 0]:
        ax.set_ylabel("mean Dice" if columns == DICE else "difference in mean Dice")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(names)))
    return fig


def reliability(before: pd.DataFrame, after: pd.DataFrame, errors: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Draw accuracy against confidence, a panel for each method: as predicted (solid), after temperature (dotted).

    before, after: rows of method, label, bin, confidence, accuracy, voxels. errors: method, label, ece_before,
    ece_after. Below the diagonal the network is overconfident.
    """
    methods = list(dict.fromkeys(before["method"]))
    across = min(4, len(methods))
    lines = -(-len(methods) // across)
    fig, axes = plt.subplots(lines, across, figsize=(WIDTH, 0.5 + 2.7 * lines), squeeze=False, sharex=True, sharey=True)
    for ax, method in zip(axes.flat, methods, strict=False):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
        for name, colour in [*((label.name, label.colour) for label in spec.labels), (TOP, INK)]:
            for table, dash, mark in ((before, "-", "o"), (after, ":", None)):
                found = table[(table["method"] == method) & (table["label"] == name) & (table["voxels"] > 0)]
                ax.plot(found["confidence"], found["accuracy"], dash, color=colour, marker=mark, markersize=3.5,
                        linewidth=1.6, label=name if mark else None)  # fmt: skip
        ax.set_title(method.replace(", ", ",\n"), fontsize=9.5)
        for _, row in errors[(errors["method"] == method) & (errors["label"] == TOP)].iterrows():
            text = f"ECE {row['ece_before']:.3f} \N{RIGHTWARDS ARROW} {row['ece_after']:.3f}"
            ax.text(0.97, 0.05, text, ha="right", transform=ax.transAxes, fontsize=8.5)
        ax.set(aspect="equal", xlim=(0, 1), ylim=(0, 1))
    for ax in axes.flat[len(methods) :]:
        ax.remove()
    for ax in axes[:, 0]:
        ax.set_ylabel("share that is correct")
    for ax in axes.flat[max(0, len(methods) - across) : len(methods)]:
        ax.set_xlabel("predicted probability")
        ax.tick_params(labelbottom=True)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def risk_coverage(table: pd.DataFrame, measure: str, least: float = 0.2, reach: float = 0.04) -> Figure:
    """Draw the mean Dice of the cases that are kept when the most uncertain are left out, for each method.

    measure: which uncertainty. least: share of cases at which the curves end; fewer cases are mostly noise. reach: a
    method whose mean Dice is further than this below the best would squeeze the others; the title names it. The grey
    line is the best possible order for the last method drawn.
    """
    rows = table[(table["measure"] == measure) & (table["coverage"] >= least)]
    whole = rows[rows["coverage"] == rows["coverage"].max()].set_index("method")["dice"]
    fig, ax = plt.subplots(figsize=(WIDTH, 4.4))
    for index, name in enumerate(whole.index):
        if whole[name] >= whole.max() - reach:
            last = rows[rows["method"] == name]
            ax.plot(last["coverage"], last["dice"], linewidth=1.8, label=name, marker=MARKERS[index % len(MARKERS)],
                    markevery=max(1, len(last) // 8), markersize=5, **line_style(index))  # fmt: skip
    name = last["method"].iloc[0]
    ax.plot(last["coverage"], last["oracle"], color=MUTED, linewidth=1.4, linestyle="--",
            label=f"best possible order, {name}")  # fmt: skip
    ax.set(xlabel="share of volumes kept, the most certain first", ylabel="mean Dice of those kept", xlim=(1, least))
    if off := [f"{name} ({whole[name]:.3f})" for name in whole.index if whole[name] < whole.max() - reach]:
        ax.set_title(f"Too low to be drawn: {'; '.join(off)}", fontsize=9.5, weight="normal", color=MUTED)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def intervals(rows: pd.DataFrame, spec: DatasetSpec, names: Mapping[str, str]) -> Figure:
    """Draw every volume's interval, in the order of the predicted volume, with the true volume as a dot.

    rows: case, label, predicted, lower, upper, true, inside; mm3. names: label -> title of its panel.
    """
    colours = {label.name: label.colour for label in spec.labels}
    fig, axes = plt.subplots(1, len(names), figsize=(WIDTH, 3.7))
    for ax, (label, title) in zip(axes, names.items(), strict=True):
        chosen = rows[rows["label"] == label].sort_values(["predicted", "case"]).reset_index()
        colour = colours.get(label, INK)
        ax.vlines(chosen.index, chosen["lower"], chosen["upper"], color=colour, alpha=0.35, linewidth=1.4)
        for inside, colour, size in ((True, INK, 5), (False, ERROR, 14)):
            part = chosen[chosen["inside"] == inside]
            ax.scatter(part.index, part["true"], s=size, color=colour, linewidths=0, zorder=3,
                       label="true volume, " + ("inside" if inside else "outside"))  # fmt: skip
        ax.set(title=title, xlabel="volumes, by predicted size")
        ax.set_xticks([])
    axes[0].set_ylabel("volume (mm³)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2)
    return fig
