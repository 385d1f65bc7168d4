"""Figures of the benchmark: Dice after the same minutes, and what a training step and a prediction cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hipposeg.viz.style import INK, MUTED, RC, SERIES, save_figure

# One colour a code base; a peer as released is dashed, with its schedule shortened and bf16 drawn through.
COLOURS = {"ours": SERIES[0], "nnunet": SERIES[1], "dynunet": SERIES[2]}
NAMES = {"ours": "ours", "nnunet": "nnU-Net v2", "dynunet": "MONAI DynUNet"}
# From here on systems that are close to each other can be told apart.
UPPER = 0.8


def system_name(system: str) -> str:
    """`nnU-Net v2, shortened` for "nnunet-shortened"."""
    base, _, variant = system.partition("-")
    return ", ".join(part for part in (NAMES.get(base, base), variant) if part)


def system_colour(system: str) -> str:
    """The colour of a system's code base."""
    return COLOURS.get(system.partition("-")[0], MUTED)


def race(table: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Mean Dice of both classes by minutes of training, with 95 % intervals over people; beside it the upper end.

    table: schedule in minutes (text) -> system -> look with "dice" and "train_s", as in summary.json.
    """
    fig, (whole, upper) = plt.subplots(1, 2, figsize=(10.4, 4.4))
    for ax in (whole, upper):
        _curves(ax, table)
    whole.set(ylabel="Dice, mean of anterior and posterior", title="all", ylim=(-0.02, 1))
    upper.set(title=f"the same above {UPPER:g}", ylim=(UPPER, 0.92))
    fig.suptitle("nnunet fold 0, bars: 95 % interval over people, one seed")
    fig.legend(*whole.get_legend_handles_labels(), loc="outside right center")
    return fig


def _curves(ax: Axes, table: Mapping[str, Mapping[str, Any]]) -> None:
    """One line a system over the minutes it trained, on a logarithmic axis."""
    systems = sorted({name for rows in table.values() for name in rows}, key=lambda name: (name != "ours", name))
    for at, system in enumerate(systems):
        looks = [rows[system] for rows in table.values() if system in rows]
        # A little apart, so that intervals at the same schedule do not cover each other.
        apart = 1 + 0.012 * (at - (len(systems) - 1) / 2)
        x = [look["train_s"] / 60 * apart for look in looks]
        means = [look["dice"]["mean"] for look in looks]
        y = [mean["value"] for mean in means]
        bars = [[mean["value"] - mean["low"] for mean in means], [mean["high"] - mean["value"] for mean in means]]
        ax.errorbar(x, y, yerr=bars, label=system_name(system), color=system_colour(system), marker="o", markersize=5,
                    linewidth=2.4 if system == "ours" else 1.4, elinewidth=1, zorder=4 if system == "ours" else 3,
                    linestyle="--" if system.endswith("released") else "-")  # fmt: skip
    schedules = [float(schedule) for schedule in table]
    ax.set_xscale("log")
    ax.set_xticks(schedules, [f"{schedule:g}" for schedule in schedules])
    ax.minorticks_off()
    ax.set_xlabel("minutes of training")


def throughput(table: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Training and inference seconds a volume, peak memory, and the share of the measured bf16 peak, by system.

    table: system -> numbers, as in summary.json.
    """
    panels = (
        ("train_s_per_volume", "training, s a volume", "{:.3g}"),
        ("predict_s_per_volume", "inference, s a volume", "{:.3g}"),
        ("peak_mb", "peak memory, MB", "{:.0f}"),
        ("share_of_bf16_peak", "share of the bf16 peak", "{:.0%}"),
    )
    fig, axes = plt.subplots(1, len(panels), figsize=(11, 1.2 + 0.42 * len(table)), sharey=True)
    for ax, (key, title, text) in zip(axes, panels, strict=True):
        _bars(ax, table, key, text)
        ax.set_title(title, fontsize=10)
    axes[0].set_yticks(range(len(table)), [system_name(system) for system in table])
    axes[0].invert_yaxis()
    return fig


def _bars(ax: Axes, table: Mapping[str, Mapping[str, Any]], key: str, text: str) -> None:
    """One horizontal bar a system, with its number at the end; none where it was not measured."""
    for y, (system, row) in enumerate(table.items()):
        if (value := row.get(key)) is not None:
            ax.barh(y, value, height=0.6, color=system_colour(system))
            ax.annotate(text.format(value), (value, y), xytext=(4, 0), textcoords="offset points", va="center",
                        fontsize=9, color=INK)  # fmt: skip
    ax.grid(False, axis="y")
    ax.set_xlim(right=ax.get_xlim()[1] * 1.3)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(" ")


def save(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write race.svg and throughput.svg for what the summary holds; returns the files written."""
    written = []
    for name, drawing in (("race", race), ("throughput", throughput)):
        if summary[name]:
            with mpl.rc_context(RC):
                figure = drawing(summary[name])
                save_figure(figure, folder / f"{name}.svg", phantom=False)
                plt.close(figure)
            written.append(folder / f"{name}.svg")
    return written
