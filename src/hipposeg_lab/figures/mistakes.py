"""Figures about wrong voxels and wrong scores: confused classes, kinds of error, where they lie, inflated scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
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
SHADES = LinearSegmentedColormap.from_list("shades", ("#ffffff", "#0072B2"))

FOUND = Label(1, "found by both (true positive)", "#D9D9D9")
TOO_MUCH = Label(2, "too much (false positive)", KINDS["false_positive"][1])
MISSED = Label(3, "missed (false negative)", KINDS["missed"][1])


def confusion_matrices(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw where each true class's voxels went, in per cent of the row, one panel per run.

    matrices: run name -> counts (K + 1, K + 1), rows true, columns predicted, background first.
    """
    count = len(matrices)
    fig, axes = plt.subplots(1, count, figsize=(min(WIDTH, 1.2 + 3.9 * count), 3.6), squeeze=False)
    for ax, (name, counts) in zip(axes[0], matrices.items(), strict=True):
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        ax.imshow(share, cmap=SHADES, vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(share):
            text = f"{100 * value:.1f} %" if value >= 0.0005 or not counts[row, column] else "< 0.1 %"
            ax.text(column, row, text, ha="center", va="center", color="white" if value > 0.55 else INK, fontsize=10)
        ax.set(title=name, xlabel="predicted")
        ax.set_xticks(range(len(classes)), classes)
        ax.set_yticks(range(len(classes)), classes if ax is axes[0, 0] else [""] * len(classes))
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    axes[0, 0].set_ylabel("true")
    return fig


def error_kinds(
    volumes: Mapping[str, Mapping[str, float]], depths: Mapping[str, np.ndarray], voxel_mm: float
) -> Figure:
    """Draw how much of each kind of error there is, and how far from the true border it lies; a bar for each run.

    volumes: run name -> kind -> mm3 in the average volume. depths: run name -> distance in mm of every wrong voxel from
    the nearest voxel of another true class. voxel_mm: width of a voxel, the least distance.
    """
    names = list(volumes)
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.2 + 0.42 * len(names)), sharey=True)
    kinds = {text: [volumes[name][kind] for name in names] for kind, (text, _) in KINDS.items()}
    _stack(left, kinds, [colour for _, colour in KINDS.values()], names)
    for row, total in enumerate(np.sum(list(kinds.values()), axis=0)):
        left.annotate(f"{total:.0f}", (total, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    left.set(xlabel="wrong tissue in the average volume (mm³)", title="Kinds of error")
    left.set_xlim(right=1.12 * left.get_xlim()[1])
    texts = ("touching it", *(f"up to {voxel_mm * edge:g} mm" for edge in (2, 3)), "farther")
    bins = voxel_mm * np.array([0, 1, 2, 3, np.inf]) * (1 + 1e-9)
    shares = [np.histogram(depths[name], bins)[0] / max(depths[name].size, 1) for name in names]
    _stack(right, dict(zip(texts, 100 * np.transpose(shares), strict=True)), DEPTHS, names)
    right.set(xlabel="share of the wrong voxels (%)", title="Distance from the true border", xlim=(0, 100))
    for ax, side in ((left, "left"), (right, "right")):
        fig.legend(*ax.get_legend_handles_labels(), loc=f"outside lower {side}", ncols=2, fontsize=9)
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


def by_distance(table: pd.DataFrame, names: Mapping[str, str], bins: Sequence[str]) -> Figure:
    """Draw the share of each kind of error by its distance from the missed border, a bar for each kind and run.

    table: rows as `studies.errors` gives them. names: run -> name. bins: names of the distances, the nearest first.
    """
    rows = table[(table["by"] == "distance") & table["run"].isin(list(names))]
    amounts = rows.pivot(index=["kind", "run"], columns="bin", values="mm3")[list(bins)]
    amounts = amounts.reindex([(kind, run) for kind in KINDS for run in names]).fillna(0.0)
    shares = 100 * amounts.div(amounts.sum(axis=1).clip(lower=1e-9), axis=0)
    ticks = [f"{KINDS[kind][0]}, {names[run]}" for kind, run in shares.index]
    fig, ax = plt.subplots(figsize=(WIDTH, 1.6 + 0.34 * len(ticks)))
    _stack(ax, {name: shares[name].to_numpy() for name in bins}, DEPTHS, ticks)
    ax.set(xlabel="share of the wrong tissue of this kind (%)", xlim=(0, 100))
    for end in range(len(names), len(ticks), len(names)):
        ax.axhline(end - 0.5, color=MUTED, linewidth=0.8)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(bins), fontsize=9)
    return fig


def _stack(ax: Axes, parts: Mapping[str, Sequence[float]], colours: Sequence[str], names: Sequence[str]) -> None:
    """Horizontal bars of parts put end to end, a row for each name."""
    start = np.zeros(len(names))
    for (text, values), colour in zip(parts.items(), colours, strict=True):
        ax.barh(np.arange(len(names)), values, left=start, color=colour, height=0.62, label=text)
        start += values
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)


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
    """Return every voxel's outcome for the whole hippocampus, (X, Y, Z) uint8: FOUND, TOO_MUCH, MISSED, else 0.

    prediction, truth: label maps (X, Y, Z). One part taken for the other counts as found: this view is about the outer
    border. Raises ValueError if the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ; bring both to one grid")
    here, there = prediction > 0, truth > 0
    return np.select([here & there, here, there], [FOUND.value, TOO_MUCH.value, MISSED.value]).astype(np.uint8)


def outcome_spec(spec: DatasetSpec) -> DatasetSpec:
    """The data set's description with outcomes as its labels, for any figure that draws label maps."""
    return replace(spec, labels=(FOUND, TOO_MUCH, MISSED))


def blocks(found: np.ndarray, spec: DatasetSpec, spacing: Sequence[float]) -> dict[str, Any]:
    """Return smooth surfaces of what both found, and every wrong voxel as a cube: name -> PolyData, mm.

    found: of `outcomes`. spec: of `outcome_spec`. Smoothing would remove single voxels, and most errors are such.
    """
    import pyvista
    from vtkmodules.vtkFiltersGeometry import vtkDataSetSurfaceFilter

    made = meshes(np.where(found == FOUND.value, found, 0).astype(np.uint8), spec, spacing)
    grid = pyvista.ImageData(dimensions=np.add(found.shape, 1), spacing=tuple(spacing))
    grid.cell_data["outcome"] = found.ravel(order="F")
    for item in (TOO_MUCH, MISSED):
        if (found == item.value).any():
            skin = vtkDataSetSurfaceFilter()
            skin.SetInputData(grid.threshold((item.value - 0.5, item.value + 0.5), scalars="outcome"))
            skin.Update()
            made[item.name] = pyvista.wrap(skin.GetOutput()).compute_normals(split_vertices=True, feature_angle=30)
    return made
