"""Curves over training."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from hipposeg.viz.style import WIDTH, line_style


def training_curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], second: str = "dice_mean",
    titles: tuple[str, str] = ("Dice of the test fold, for display only", "mean Dice"),
) -> Figure:  # fmt: skip
    """Draw the training loss by epoch, and beside it a second quantity.

    Args:
        histories: run name -> one mapping an epoch, with `epoch`, `loss` and, where it was recorded, `second`.
        second: key of the right panel.
        titles: title and y axis of the right panel.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), sharex=True)
    for ax, key in zip(axes, ("loss", second), strict=True):
        for index, (name, lines) in enumerate(histories.items()):
            noted = [(line["epoch"], line[key]) for line in lines if key in line]
            marker = {"marker": "o", "markersize": 4} if key == second else {}
            ax.plot(*zip(*noted, strict=True), label=name, linewidth=1.8, **marker, **line_style(index))
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    # The first loss is several times the last one, and runs differ at the end.
    axes[0].set(ylabel="training loss (logarithmic)", title="Loss", yscale="log")
    readable_log(axes[0].yaxis)
    axes[1].set(title=titles[0], ylabel=titles[1])
    shown = [line["dice_mean"] for lines in histories.values() for line in lines if "dice_mean" in line]
    if second == "dice_mean" and shown:  # the first epochs would squeeze the end of the curves
        axes[1].set_ylim(max(min(shown), max(shown) - 0.25) - 0.01, max(shown) + 0.02)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(3, len(histories)))
    return fig


def readable_log(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, several in each decade."""
    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())
