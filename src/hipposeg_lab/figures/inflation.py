"""Figure of notebook 07 about scoring: how far each practice moves the score of the same masks."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hipposeg.viz.evaluation import WIDTH
from hipposeg.viz.style import GRID, INK, MUTED, SERIES

HONEST = "honest"


def inflation(table: pd.DataFrame, titles: Mapping[str, str], names: Mapping[str, str], told: str) -> Figure:
    """A row for each practice, and in it a line for each run from its honest score (ring) to the one shown (dot).

    table: rows as `studies.inflation` gives them. titles: practice -> what stands at the row; practices without one,
    and `honest` itself, are left out. names: run -> name, in the order of the legend; the first is drawn grey. told:
    the run whose differences stand at the right, where it has one. A row that is the same for every run is drawn once,
    in black.
    """
    runs = list(names)
    colours = dict(zip(runs, (MUTED, *SERIES), strict=False))
    shown = [practice for practice in titles if practice != HONEST and (table["practice"] == practice).any()]
    fig, ax = plt.subplots(figsize=(WIDTH, 1.3 + 0.5 * len(shown)))
    for row, practice in enumerate(shown):
        here = table[table["practice"] == practice].set_index("run")
        once = told in here.index and len(here) > 1 and len(here[["honest", "shown"]].drop_duplicates()) == 1
        present = [told] if once else [run for run in runs if run in here.index]
        for at, run in enumerate(present):
            y = row + (at - (len(present) - 1) / 2) * 0.7 / max(len(present), 3)
            one, colour = here.loc[run], INK if once else colours[run]
            ax.plot([one["honest"], one["shown"]], [y, y], color=colour, linewidth=1.6, zorder=1)
            ax.plot(one["honest"], y, "o", markersize=5, color="white", markeredgecolor=colour, markeredgewidth=1.3)
            ax.plot(one["shown"], y, "o", markersize=5.5, color=colour)
        if told in here.index:
            text = f"{here.loc[told, 'difference']:+.3f}".replace("-", "\N{MINUS SIGN}")
            ax.text(1.01, row, text, va="center", fontsize=9, transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(shown)), [titles[practice] for practice in shown])
    ax.set(ylim=(len(shown) - 0.45, -0.55), xlabel="score", xlim=(-0.02, 1.02))
    ax.hlines(np.arange(len(shown) - 1) + 0.5, 0, 1, color=GRID, linewidth=0.8, transform=ax.get_yaxis_transform())
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    marks = [Line2D([], [], marker="o", color="white", markeredgecolor=INK, label="honest score"),
             Line2D([], [], marker="o", linestyle="", color=INK, label="score as shown")]  # fmt: skip
    lines = [Line2D([], [], color=colours[run], linewidth=2.4, label=names[run]) for run in runs]
    fig.legend(handles=[*marks, *lines], loc="outside lower center", ncols=4, fontsize=9)
    return fig
