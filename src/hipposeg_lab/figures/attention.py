"""What attention gates let through: maps over slices, and how much of it lies inside the structure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.intervals import ranges
from hipposeg.viz.planes import PLANES, fullest, grey_window, plane, plane_name
from hipposeg.viz.slices import heading, legend, letters, overlay, scale_bar
from hipposeg.viz.style import MUTED

# From blue to yellow, ever lighter, and read the same by colour-blind eyes; the tissue shines through.
MAP, OPACITY = "cividis", 0.6
WIDTH = 9.6


@dataclass(frozen=True)
class MapView:
    """One case as `maps` shows it.

    title: at the left of its row. image: (X, Y, Z). label: true label map (X, Y, Z) uint8. maps: title of a column ->
    (X, Y, Z) float, from 0 to 1 for shares, NaN where unknown. spacing: mm.
    """

    title: str
    image: np.ndarray
    label: np.ndarray
    maps: Mapping[str, np.ndarray]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


def maps(
    views: Sequence[MapView], spec: DatasetSpec, title: str = "", axis: int = 0, *,
    what: str = "share of the skip that the gate lets through", limits: tuple[float, float] = (0, 1),
    part: int | None = None,
) -> Figure:  # fmt: skip
    """A row for each case, in the slice that holds most hippocampus: the image, then each map over it.

    part: the value of a label; the slice is then the one that holds most of it.

    All panels have the true outline, all maps one scale of colours, between `limits`. title: over the figure, the
    plane's name is added. what: beside the colours. Raises ValueError if the views differ in their maps' names.
    """
    names = list(views[0].maps)
    if any(list(view.maps) != names for view in views):
        raise ValueError(f"every case needs the maps {names}, in this order; found {[list(v.maps) for v in views]}")
    across, up = PLANES[axis]
    sizes = np.array([[view.image.shape[side] * view.spacing[side] for side in (across, up)] for view in views])
    heights = WIDTH / (1 + len(names)) * sizes[:, 1] / sizes[:, 0]
    fig, axes = plt.subplots(
        *(len(views), 1 + len(names)), figsize=(WIDTH, heights.sum() + 0.1 * len(views) + 1.3), squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0.01)
    for row, view in zip(axes, views, strict=True):
        index = fullest(view.label if part is None else view.label == part, axis, view.image.shape)
        image, label = plane(view.image, axis, index), plane(view.label, axis, index)
        window, spacing = grey_window(view.image), (view.spacing[across], view.spacing[up])
        for ax, name in zip(row, (None, *names), strict=True):
            overlay(ax, image, label, spec, spacing=spacing, window=window, alpha=0)
            if name:
                cut = plane(view.maps[name], axis, index).T
                frame = {"origin": "lower", "extent": ax.images[0].get_extent(), "interpolation": "nearest"}
                ax.imshow(np.ma.masked_invalid(cut), cmap=MAP, vmin=limits[0], vmax=limits[1], alpha=OPACITY, **frame)
                for outline in ax.collections:  # an orange line on yellow needs an edge
                    outline.set_path_effects([withStroke(linewidth=2.6, foreground="black", alpha=0.6), Normal()])
        row[0].set_ylabel(view.title, fontsize=9)
        scale_bar(row[0])
        letters(row[0], spec, axis)
    for ax, name in zip(axes[0], ("image", *names), strict=True):
        ax.set_title(name, fontsize=9, weight="normal")
    bar = fig.colorbar(
        ScalarMappable(Normalize(*limits), _on_grey()), ax=axes, location="bottom", shrink=0.45, aspect=35, pad=0.02
    )
    bar.set_label(what, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.grid(False)
    heading(fig, f"{title} ({plane_name(spec, axis)} slices)" if title else "")
    legend(fig, spec)
    return fig


def _on_grey() -> Colormap:
    """The colours of a map as they look over middle grey, for the bar."""
    colours = mpl.colormaps[MAP](np.linspace(0, 1, 256))[:, :3]
    return ListedColormap(OPACITY * colours + (1 - OPACITY) * 0.5)


def ratios(table: pd.DataFrame, panels: Mapping[str, str], voxel_mm: float) -> Figure:
    """Mean attention inside the structure over outside: a dot with its interval for each scale and control.

    table: as `studies.attention_summary.intervals` gives it: columns within, scale, control, value, low, high.
    panels: value of `within` -> title, the one with most controls first; rows of others are left out.
    voxel_mm: side of a voxel of scale 1. All panels share one logarithmic scale; the dashed line is at 1: as much
    inside as outside.
    """
    parts = [table[table["within"] == within].assign(panel=title) for within, title in panels.items()]
    rows = pd.concat(parts, ignore_index=True).rename(columns={"control": "series"})
    rows["row"] = [f"skip of {scale * voxel_mm:g} mm voxels" for scale in rows["scale"]]
    fig = ranges(rows, "mean inside / mean outside", one_scale=True)
    ends = np.append(rows[["low", "high"]].to_numpy(dtype=float), (0.8, 1.25))
    for ax in fig.axes:
        ax.axvline(1, color=MUTED, linestyle="--", linewidth=1, zorder=0)
        ax.set(xscale="log", xlim=(np.nanmin(ends) / 1.05, np.nanmax(ends) * 1.05))
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    return fig
