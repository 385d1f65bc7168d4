"""Figures about wrong voxels and wrong scores: kinds of error, where they lie, outcomes of voxels, inflated scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec, Label
from hipposeg.viz.intervals import dots
from hipposeg.viz.style import ERROR, INK, MUTED, SERIES, WIDTH
from hipposeg.viz.surface import meshes

# The page draws errors in the same colours (css/base.css).
KINDS = {
    "swap": ("one part taken for the other", ERROR),
    "false_positive": ("background taken for hippocampus", "#009E73"),
    "missed": ("hippocampus missed", "#CC79A7"),
}
DEPTHS = ("#dadaeb", "#9e9ac8", "#6a51a3", "#3f007d")
RIGHT = Label(1, "right", "#D9D9D9")
SHORT = ("wrong part", "too much", "missed")  # in the order of KINDS
ERRORS = tuple(Label(at, text, KINDS[kind][1]) for at, (kind, text) in enumerate(zip(KINDS, SHORT, strict=True), 2))


def bars(table: pd.DataFrame, colours: Sequence[str], xlabel: str) -> Figure:
    """Draw a horizontal bar for each row of a table, made of its columns put end to end."""
    fig, ax = plt.subplots(figsize=(WIDTH, 1.4 + 0.34 * len(table)))
    table.plot.barh(stacked=True, ax=ax, color=list(colours), width=0.62, legend=False)
    ax.set(xlabel=xlabel, ylabel="")
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(table.columns), fontsize=9)
    return fig


def by_position(table: pd.DataFrame, names: Mapping[str, str], bins: Sequence[str], ends: tuple[str, str]) -> Figure:
    """Draw wrong tissue along the long axis, a column for each run: mm3 in the average volume, and % of the truth.

    table: rows as `studies.errors` gives them. names: run -> name. bins: names of the positions, the outer two beyond
    the true structure's ends, where there is no truth to take a per cent of. ends: texts at the axis' two ends.
    """
    fig, axes = plt.subplots(2, len(names), figsize=(WIDTH, 5.2), sharex=True, sharey="row", squeeze=False)
    for (above, below), (run, name) in zip(axes.T, names.items(), strict=True):
        rows = table[(table["run"] == run) & (table["by"] == "position")]
        truth = rows.drop_duplicates("bin").set_index("bin")["true_mm3"].reindex(bins).to_numpy(dtype=float)
        amounts = rows.pivot(index="bin", columns="kind", values="mm3").reindex(bins)
        shares = 100 / np.where(truth > 0, truth, np.nan)
        for ax, scale in ((above, 1.0), (below, shares)):
            start = np.zeros(len(bins))
            for kind, (text, colour) in KINDS.items():
                height = np.nan_to_num(amounts[kind].to_numpy() * scale)
                ax.bar(range(len(bins)), height, bottom=start, width=0.92, color=colour, label=text)
                start += height
            for end in (0.5, len(bins) - 1.5):
                ax.axvline(end, color=MUTED, linewidth=0.9, linestyle="--")
            ax.grid(False, axis="x")
            ax.tick_params(axis="x", length=0)
        above.set_title(name)
        below.set_xticks([0.5, (len(bins) - 1) / 2, len(bins) - 1.5], [ends[0], "middle", ends[1]])
    axes[0, 0].set_ylabel("wrong tissue (mm³ a volume)")
    axes[1, 0].set_ylabel("wrong tissue (% of the truth)")
    fig.supxlabel("position along the true hippocampus in tenths of its length; dashed lines: its ends", fontsize=9)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(KINDS), fontsize=9)
    return fig


def inflation(table: pd.DataFrame, titles: Mapping[str, str], names: Mapping[str, str], best: str) -> Figure:
    """Draw for each practice and run a line from the honest score to the dot, the score as shown.

    table: rows as `studies.inflation` gives them. titles: practice -> its text; practices without one are left out.
    names: run -> name, in the order of the legend. best: the run whose difference stands beside the row's text. A row
    that is the same for every run is drawn once.
    """
    rows = []
    for practice, title in titles.items():
        here = table[(table["practice"] == practice) & (practice != "honest") & table["run"].isin(list(names))]
        mine = here.loc[here["run"] == best, "difference"]
        text = f"{title}  {mine.iloc[0]:+.3f}".replace("-", "\N{MINUS SIGN}") if len(mine) else title
        once = len(here) > 1 and len(here[["honest", "shown"]].drop_duplicates()) == 1
        here = here[:1].assign(series="every run") if once else here.assign(series=here["run"].map(names))
        rows.append(here.assign(row=text))
    found = pd.concat(rows)
    ends = found[["honest", "shown"]]
    colours = dict(zip(names.values(), (MUTED, *SERIES), strict=False)) | {"every run": INK}
    return dots(found.assign(value=found["shown"], low=ends.min(axis=1), high=ends.max(axis=1)), "score", colours)


def outcomes(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The outcome of every voxel of two label maps (X, Y, Z) as uint8: a value of RIGHT or ERRORS, 0 for background."""
    swap, too_much, missed = (label.value for label in ERRORS)
    conditions = (prediction == truth, (prediction > 0) & (truth > 0), truth == 0)
    return np.select(conditions, (RIGHT.value * (truth > 0), swap, too_much), missed).astype(np.uint8)


def outcome_spec(spec: DatasetSpec) -> DatasetSpec:
    """The data set's description with outcomes as its labels, for any figure that draws label maps."""
    return replace(spec, labels=(RIGHT, *ERRORS))


def blocks(found: np.ndarray, spec: DatasetSpec, spacing: Sequence[float]) -> dict[str, Any]:
    """Smooth surfaces of what is right, and every wrong voxel as a cube: name -> PolyData, mm.

    found: of `outcomes`. spec: of `outcome_spec`. Smoothing would remove single voxels, and most errors are such.
    """
    import pyvista
    from vtkmodules.vtkFiltersGeometry import vtkDataSetSurfaceFilter

    made = meshes(np.where(found == RIGHT.value, found, 0).astype(np.uint8), spec, spacing)
    grid = pyvista.ImageData(dimensions=np.add(found.shape, 1), spacing=tuple(spacing))
    grid.cell_data["outcome"] = found.ravel(order="F")
    for item in ERRORS:
        if (found == item.value).any():
            skin = vtkDataSetSurfaceFilter()
            skin.SetInputData(grid.threshold((item.value - 0.5, item.value + 0.5), scalars="outcome"))
            skin.Update()
            made[item.name] = pyvista.wrap(skin.GetOutput()).compute_normals(split_vertices=True, feature_angle=30)
    return made
