"""Figures of notebook 07 about probabilities: reliability of each method, and risk against coverage.

Tables come in as `studies.uncertainty` writes them.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.evaluation import WIDTH, line_style
from hipposeg.viz.style import INK, MUTED
from hipposeg_lab.figures.sensitivity import MARKERS

TOP = "predicted class"


def reliability(before: pd.DataFrame, after: pd.DataFrame, errors: pd.DataFrame, spec: DatasetSpec) -> Figure:
    """Accuracy against confidence, a panel for each method: as it comes (solid) and after its temperature (dotted).

    before, after: rows of method, label, bin, confidence, accuracy, voxels. errors: method, label, ece_before,
    ece_after. On the diagonal a probability means what it says; below it the network is too sure.
    """
    methods = list(dict.fromkeys(before["method"]))
    columns = min(4, len(methods))
    lines = -(-len(methods) // columns)
    fig, axes = plt.subplots(
        lines, columns, figsize=(WIDTH, 0.5 + 2.7 * lines), squeeze=False, sharex=True, sharey=True
    )
    for ax in axes.flat[len(methods) :]:
        ax.remove()
    for ax, method in zip(axes.flat, methods, strict=False):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
        for name, colour in [*((label.name, label.colour) for label in spec.labels), (TOP, INK)]:
            for table, dash, mark in ((before, "-", "o"), (after, ":", None)):
                found = table[(table["method"] == method) & (table["label"] == name) & (table["voxels"] > 0)]
                ax.plot(found["confidence"], found["accuracy"], dash, color=colour, marker=mark, markersize=3.5,
                        linewidth=1.6, label=name if mark else None)  # fmt: skip
        ax.set_title(_broken(method), fontsize=9.5)
        _told(ax, errors[(errors["method"] == method) & (errors["label"] == TOP)])
        ax.set(aspect="equal", xlim=(0, 1), ylim=(0, 1))
    for ax in axes[:, 0]:
        ax.set_ylabel("share that is so")
    for ax in axes.flat[max(0, len(methods) - columns) : len(methods)]:
        ax.set_xlabel("probability")
        ax.tick_params(labelbottom=True)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def _broken(text: str) -> str:
    """A title in two lines where it has a comma."""
    return text.replace(", ", ",\n")


def _told(ax: Axes, row: pd.DataFrame) -> None:
    """The expected calibration error of the predicted class, before and after."""
    if len(row):
        one = row.iloc[0]
        ax.text(0.97, 0.05, f"ECE {one['ece_before']:.3f} \N{RIGHTWARDS ARROW} {one['ece_after']:.3f}", ha="right",
                transform=ax.transAxes, fontsize=8.5)  # fmt: skip


def risk_coverage(table: pd.DataFrame, measure: str, least: float = 0.2, reach: float = 0.04) -> Figure:
    """Mean Dice of the cases that are kept when the most uncertain go first, for each method.

    measure: which uncertainty. least: share of cases at which the curves begin; fewer cases are mostly noise. reach: a
    method whose mean Dice is further than this below the best would squeeze the others, and is named instead. The grey
    line is what the true Dice itself would choose for the last method drawn.
    """
    rows = table[(table["measure"] == measure) & (table["coverage"] >= least)]
    whole = rows[rows["coverage"] == rows["coverage"].max()].set_index("method")["dice"]
    names: Sequence[str] = [name for name in whole.index if whole[name] >= whole.max() - reach]
    fig, ax = plt.subplots(figsize=(WIDTH, 4.4))
    for index, name in enumerate(whole.index):
        found = rows[rows["method"] == name]
        if name in names:
            ax.plot(found["coverage"], found["dice"], linewidth=1.8, label=name, marker=MARKERS[index % len(MARKERS)],
                    markevery=max(1, len(found) // 8), markersize=5, **line_style(index))  # fmt: skip
    last = rows[rows["method"] == names[-1]]
    ax.plot(last["coverage"], last["oracle"], color=MUTED, linewidth=1.4, linestyle="--",
            label=f"best possible order, {names[-1]}")  # fmt: skip
    ax.set(xlabel="share of volumes kept, the surest first", ylabel="mean Dice of those kept", xlim=(1, least))
    if off := [f"{name} ({whole[name]:.3f})" for name in whole.index if name not in names]:
        ax.set_title(f"Too low to be drawn: {'; '.join(off)}", fontsize=9.5, weight="normal", color=MUTED)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
