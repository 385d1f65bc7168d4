"""The benchmark's race: Dice after equal training times."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hipposeg.viz.style import SERIES, WIDTH

# One colour a code base; a released version is dashed, one with shortened schedule and bf16 is solid.
NAMES = {"ours": "Flagship", "nnunet": "nnU-Net v2", "dynunet": "MONAI DynUNet"}
COLOURS = dict(zip(NAMES, SERIES, strict=False))
# From here on systems that are close to each other can be distinguished.
UPPER = 0.8


def system_name(system: str) -> str:
    """Return `nnU-Net v2, shortened` for "nnunet-shortened"."""
    base, _, variant = system.partition("-")
    return ", ".join(part for part in (NAMES.get(base, base), variant) if part)


def race(table: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw mean Dice of both classes by minutes of training, with 95 % intervals over subjects, and its upper end.

    table: schedule in minutes (text) -> system -> look with "dice" and "train_s", as in summary.json.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.6))
    systems = sorted({name for rows in table.values() for name in rows}, key=lambda name: (name != "ours", name))
    schedules = [float(schedule) for schedule in table]
    for ax in axes:
        for at, system in enumerate(systems):
            looks = [rows[system] for rows in table.values() if system in rows]
            # A little apart, so that intervals at the same schedule do not cover each other.
            x = [look["train_s"] / 60 * (1 + 0.012 * (at - (len(systems) - 1) / 2)) for look in looks]
            y, low, high = ([look["dice"]["mean"][key] for look in looks] for key in ("value", "low", "high"))
            bars = [[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
            ax.errorbar(x, y, yerr=bars, label=system_name(system), color=COLOURS[system.partition("-")[0]], marker="o",
                        markersize=5, elinewidth=1, linestyle="--" if system.endswith("released") else "-",
                        linewidth=2.4 if system == "ours" else 1.4, zorder=4 if system == "ours" else 3)  # fmt: skip
        ax.set(xscale="log", xlabel="minutes of training")
        ax.set_xticks(schedules, [f"{schedule:g}" for schedule in schedules])
        ax.minorticks_off()
    axes[0].set(ylabel="Dice, mean of anterior and posterior", title="All systems", ylim=(-0.02, 1))
    axes[1].set(title=f"The same above {UPPER:g}", ylim=(UPPER, 0.92))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
