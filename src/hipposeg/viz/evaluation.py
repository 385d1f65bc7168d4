"""Figures that compare runs: scores with intervals, cases one by one, training curves, volumes.

`results` is a table of `results.tables.summary` (one row per run and label), `cases` one of `results.load` (one row per
run, case and label). Anterior and posterior keep their own two colours; everything that is not anatomy has another.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.style import INK, MUTED, SERIES

WIDTH = 9.6
DASHES = ("-", "--", ":")
TITLES = {
    "dice": "Dice",
    "iou": "intersection over union",
    "nsd1": "normalised surface Dice at 1 mm",
    "nsd2": "normalised surface Dice at 2 mm",
    "hd95": "95 % Hausdorff distance (mm)",
    "msd": "mean surface distance (mm)",
    "volume_abs_error": "absolute volume error (mm³)",
}


def run_names(results: pd.DataFrame) -> dict[str, str]:
    """Short names, in table order: the model, and what else is needed to tell runs of one model apart."""
    firsts = results.drop_duplicates("run").set_index("run")
    names = {}
    for run, row in firsts.iterrows():
        twins = firsts[firsts["model"] == row["model"]]
        told = {"folds": "{}", "fold": "fold {}", "seed": "seed {}", "schedule": "{}", "precision": "{}"}
        extra = [text.format(row[key]) for key, text in told.items() if twins[key].nunique() > 1]
        names[run] = " ".join([row["model"], ", ".join(extra)]).strip()
    return names


def line_style(index: int) -> dict[str, str]:
    """Colour and dashes of the n-th line, distinct for 18 of them."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index // len(SERIES) % len(DASHES)]}


def dice_by_run(results: pd.DataFrame, spec: DatasetSpec, atlas: str) -> Figure:
    """Dice of each run for every class and their mean, with 95 % intervals over subjects; the atlas' mean as a line."""
    names = run_names(results)
    marks = [(label.name, label.colour, "o") for label in spec.labels] + [("mean", INK, "D")]
    fig, ax = plt.subplots(figsize=(WIDTH, 1.3 + 0.62 * len(names)))
    for row, run in enumerate(names):
        for at, (label, colour, marker) in enumerate(marks):
            found = results[(results["run"] == run) & (results["label"] == label)].iloc[0]
            y = row + (at - (len(marks) - 1) / 2) * 0.6 / len(marks)
            ax.plot([found["dice_low"], found["dice_high"]], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
            ax.plot(found["dice"], y, marker, color=colour, markersize=6, markeredgecolor="white", zorder=3,
                    label=label if row == 0 else None)  # fmt: skip
            if label == "mean":
                edge = found["dice_high"] if np.isfinite(found["dice_high"]) else found["dice"]
                ax.annotate(f"{found['dice']:.3f}", (edge, y), xytext=(6, 0), textcoords="offset points",
                            va="center", fontsize=9, color=INK)  # fmt: skip
    baseline = results[(results["model"] == atlas) & (results["label"] == "mean")]["dice"]
    if len(baseline):
        ax.axvline(baseline.iloc[0], color=MUTED, linestyle="--", linewidth=1, zorder=0)
        ax.annotate("image-free atlas", (baseline.iloc[0], 1), xycoords=("data", "axes fraction"), xytext=(4, 3),
                    textcoords="offset points", ha="left", va="bottom", color=MUTED, fontsize=9)  # fmt: skip
    ax.set(xlabel="Dice, mean over scored volumes (bars: 95 % interval over subjects)", ylim=(len(names) - 0.45, -0.55))
    ax.set_xlim(right=min(1.0, ax.get_xlim()[1] + 0.03))
    ax.set_yticks(range(len(names)), list(names.values()))
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=len(marks))
    return fig


def case_distributions(
    cases: pd.DataFrame, results: pd.DataFrame, spec: DatasetSpec, metrics: Sequence[str] = ("dice", "hd95")
) -> Figure:
    """Every scored volume as a dot, for each run, one panel per metric (key of TITLES); a bar marks the median."""
    names = run_names(results)
    fig, axes = plt.subplots(1, len(metrics), figsize=(WIDTH, 1.5 + 0.75 * len(names)), sharey=True)
    for ax, metric in zip(axes, metrics, strict=True):
        for row, run in enumerate(names):
            for at, label in enumerate(spec.labels):
                chosen = cases[(cases["run"] == run) & (cases["label"] == label.name)]
                middle = row + (at - (len(spec.labels) - 1) / 2) * 0.8 / len(spec.labels)
                _swarm(ax, chosen[metric].to_numpy(), middle, 0.34 / len(spec.labels), label.colour,
                       label.name if row == 0 else None)  # fmt: skip
        ax.set(xlabel=TITLES[metric], ylim=(len(names) - 0.45, -0.55))
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        if "mm" in TITLES[metric]:
            ax.set_xlim(left=0)
    axes[0].set_yticks(range(len(names)), list(names.values()))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(spec.labels), markerscale=2)
    return fig


def _swarm(ax: Axes, values: np.ndarray, middle: float, half: float, colour: str, name: str | None) -> None:
    """Dots spread up and down in turn by rank within a neighbourhood, so that no random draw decides where one lies."""
    kept = np.sort(values[~np.isnan(values)])
    # The golden ratio's multiples fill the strip evenly and never repeat.
    spread = (np.arange(len(kept)) * 0.6180339887 % 1 - 0.5) * 2 * half
    ax.scatter(kept, middle + spread, s=9, color=colour, alpha=0.75, linewidths=0, label=name)
    if len(kept):
        ax.plot([np.median(kept)] * 2, [middle - half, middle + half], color=INK, linewidth=1.8, solid_capstyle="butt")


def training_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Training loss by epoch, and the scored fold's mean Dice where a run noted it. histories: run name -> lines."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.6), sharex=True)
    for index, (name, lines) in enumerate(histories.items()):
        style = {**line_style(index), "linewidth": 1.8}
        left.plot([line["epoch"] for line in lines], [line["loss"] for line in lines], label=name, **style)
        noted = [(line["epoch"], line["dice_mean"]) for line in lines if "dice_mean" in line]
        right.plot([epoch for epoch, _ in noted], [dice for _, dice in noted], marker="o", markersize=4, **style)
    # The first epoch's loss is several times the last one's, and runs differ at the end.
    left.set(xlabel="epoch", ylabel="training loss (logarithmic)", title="Loss", yscale="log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    left.yaxis.set_minor_formatter(NullFormatter())
    right.set(xlabel="epoch", ylabel="mean Dice", title="Scored volumes, for display only")
    # The first epochs' scores would squeeze the end of the curves, where runs differ.
    shown = [line["dice_mean"] for lines in histories.values() for line in lines if "dice_mean" in line]
    if shown:
        right.set_ylim(max(min(shown), max(shown) - 0.25) - 0.01, max(shown) + 0.02)
    for ax in (left, right):
        ax.xaxis.get_major_locator().set_params(integer=True)
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=min(3, len(histories)))
    return fig


def volume_agreement(cases: pd.DataFrame, found: Mapping[str, Any], spec: DatasetSpec) -> Figure:
    """Bland and Altman's plot for each class and the union: error against size, bias and limits of agreement.

    cases: one run's rows. found: label -> `stats.Agreement` of its volumes in mm3.
    """
    colours = {label.name: label.colour for label in spec.labels}
    fig, axes = plt.subplots(1, len(found), figsize=(WIDTH, 3.5), sharey=True)
    for ax, (label, result) in zip(axes, found.items(), strict=True):
        rows = cases[cases["label"] == label]
        middle = (rows["volume_true"] + rows["volume_predicted"]) / 2
        ax.scatter(middle, rows["volume_bias"], s=16, color=colours.get(label, INK), edgecolors="white", linewidths=0.4)
        for value, dash in ((result.bias, "-"), (result.low, "--"), (result.high, "--")):
            ax.axhline(value, color=INK, linewidth=1.1, linestyle=dash)
            ax.annotate(f"{value:+.0f}".replace("-", "\N{MINUS SIGN}"), (1, value), xycoords=("axes fraction", "data"),
                        xytext=(-2, 2), textcoords="offset points", ha="right", va="bottom", fontsize=8)  # fmt: skip
        ax.axhline(0, color=MUTED, linewidth=0.8, zorder=0)
        ax.set(title=f"{label}, ICC {result.icc_agreement:.2f}", xlabel="mean of both volumes (mm³)")
        low, high = ax.get_xlim()
        ax.set_xlim(low, high + 0.12 * (high - low))
    axes[0].set_ylabel("predicted \N{MINUS SIGN} true volume (mm³)")
    return fig
