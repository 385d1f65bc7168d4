"""Figures about wrong voxels: kinds of error, where they lie, outcomes of voxels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec, Label
from hipposeg.viz.style import ERROR, MUTED, WIDTH
from hipposeg.viz.surface import meshes

# The page draws errors in the same colours (css/base.css).
KINDS = {
    "swap": ("one part taken for the other", ERROR),
    "false_positive": ("background taken for hippocampus", "#009E73"),
    "missed": ("hippocampus missed", "#CC79A7"),
}
RIGHT = Label(1, "right", "#D9D9D9")
SHORT = ("wrong part", "too much", "missed")  # in the order of KINDS
ERRORS = tuple(Label(at, text, KINDS[kind][1]) for at, (kind, text) in enumerate(zip(KINDS, SHORT, strict=True), 2))


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
        below.set_xlabel("along the true hippocampus; dashed lines: its ends", fontsize=9)
    axes[0, 0].set_ylabel("wrong tissue (mm³ a volume)")
    axes[1, 0].set_ylabel("wrong tissue (% of the truth)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(KINDS), fontsize=9)
    return fig


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
