"""The data set to look at: a grid of cases with and without outlines, one case in full, and many cases small.

Which cases are drawn is decided by whoever calls, by a rule such as `data.statistics.at_ranks`; nothing here chooses.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import PLANES, grey_window, plane, plane_name
from hipposeg.viz.slices import CaseView, case_panel, heading, legend, letters, overlay, scale_bar, size_mm
from hipposeg.viz.style import INK, MUTED

PAGE = 9.6
PAPER = "#f1f3f5"
QUANTILES = (1, 25, 50, 75, 99)


def pairs(views: Sequence[CaseView], spec: DatasetSpec, title: str = "", *, axis: int = 0, columns: int = 3) -> Figure:
    """A grid of cases, each twice: the bare slice, and the same slice with the first mask over it.

    views: in the order in which they fill the grid, row by row. axis: that the slices are cut across, each where the
    mask holds most. All panels share one scale, and boxes lie in the middle of equal fields, so that their sizes
    compare. Raises ValueError without views.
    """
    field = _field(views, axis)
    fig, axes = _sheet(len(views), min(columns, len(views)), 2, field)
    for view, both in zip(views, axes, strict=True):
        for ax, name in zip(both, (None, next(iter(view.masks))), strict=True):
            _in_field(ax, view, name, spec, axis, field)
        both[0].set_title(view.title, fontsize=9, weight="normal")
    _annotate(fig, spec, axis, title)
    return fig


def overview(
    views: Sequence[CaseView], spec: DatasetSpec, title: str = "", *, axis: int = 0, columns: int = 5
) -> Figure:
    """Many cases as small multiples: one slice each with the outline of its first mask, and no fill over the tissue.

    views, axis, scale and errors: as for `pairs`.
    """
    field = _field(views, axis)
    fig, axes = _sheet(len(views), min(columns, len(views)), 1, field)
    for view, (ax,) in zip(views, axes, strict=True):
        _in_field(ax, view, next(iter(view.masks)), spec, axis, field, alpha=0.0)
        ax.set_title(view.title, fontsize=9, weight="normal")
    _annotate(fig, spec, axis, title)
    return fig


def _field(views: Sequence[CaseView], axis: int) -> tuple[float, float]:
    """Width and height in mm that hold every view's slice."""
    if not views:
        raise ValueError("no cases to draw; choose some by a rule, such as data.statistics.at_ranks")
    width, height = np.max([size_mm(view, axis) for view in views], axis=0)
    return float(width), float(height)


def _in_field(
    ax: Axes, view: CaseView, name: str | None, spec: DatasetSpec, axis: int, field: tuple[float, float],
    alpha: float = 0.35,
) -> None:  # fmt: skip
    """One slice in the middle of a field of one size for all, on paper that shows where the box ends."""
    case_panel(ax, view, name, spec, axis, alpha)
    low = [(own - all_) / 2 for own, all_ in zip(size_mm(view, axis), field, strict=True)]
    ax.add_patch(Rectangle(low, *field, facecolor=PAPER, edgecolor="none", zorder=-1))
    ax.set(xlim=(low[0], low[0] + field[0]), ylim=(low[1], low[1] + field[1]))


def _sheet(cells: int, columns: int, panels: int, field: tuple[float, float]) -> tuple[Figure, list[list[Axes]]]:
    """A page of `cells` cells, filled row by row, each of `panels` panels beside each other in the field's proportions.

    Placed by hand: constrained layout settles such grids in more than one way, so the bytes of the file would differ.
    """
    edge, near, far, top, bottom, name = 0.06, 0.05, 0.16, 0.28, 0.42, 0.27
    width = (PAGE - 2 * edge - (columns - 1) * far - columns * (panels - 1) * near) / (columns * panels)
    height, cell = width * field[1] / field[0], panels * width + (panels - 1) * near + far
    rows = -(-cells // columns)
    tall = top + rows * (name + height) + bottom
    fig = plt.figure(figsize=(PAGE, tall), layout="none")
    axes = []
    for number in range(cells):
        row, column = divmod(number, columns)
        y = 1 - (top + (row + 1) * (name + height)) / tall
        left = [edge + column * cell + panel * (width + near) for panel in range(panels)]
        axes.append([fig.add_axes((x / PAGE, y, width / PAGE, height / tall)) for x in left])
    return fig, axes


def _annotate(fig: Figure, spec: DatasetSpec, axis: int, title: str) -> None:
    """Letters and scale on the first panel, title and legend on the page."""
    letters(fig.axes[0], spec, axis, size=7)
    scale_bar(fig.axes[0], size=7)
    heading(fig, f"{title} ({plane_name(spec, axis)} slices)" if title else "")
    legend(fig, spec)


def card(
    image: np.ndarray, label: np.ndarray, spec: DatasetSpec, spacing: Sequence[float], stored_dtype: str
) -> dict[str, dict[str, str]]:
    """What a file holds, in words: heading -> name -> text.

    image: (X, Y, Z), intensities as stored. label: (X, Y, Z). spacing: mm.
    """
    counts = np.bincount(label.ravel(), minlength=spec.n_classes)
    share = [f"{100 * count / label.size:.1f} % of voxels" for count in counts]
    quantile = {q: _number(np.percentile(image, q)) for q in QUANTILES}
    held = [np.flatnonzero(_areas(label > 0, axis, spacing)) for axis in range(3)]
    return {
        "File": {
            "shape": f"{' × '.join(map(str, image.shape))} voxels",
            "voxel size": f"{' × '.join(f'{side:g}' for side in spacing)} mm",
            "stored as": stored_dtype,
        },
        "Intensity (no unit)": {
            "range": f"{_number(image.min())} to {_number(image.max())}",
            "1 %, 99 %": f"{quantile[1]}, {quantile[99]}",
            "quartiles": f"{quantile[25]}, {quantile[50]}, {quantile[75]}",
        },
        "Volume": {
            item.name: f"{counts[item.value] * np.prod(spacing):,.0f} mm³, {share[item.value]}" for item in spec.labels
        } | {"background": share[0]},
        "Slices with label": {
            plane_name(spec, axis): f"{len(found)} of {label.shape[axis]}, from {found[0] + 1} to {found[-1] + 1}"
            if found.size else f"none of {label.shape[axis]}"
            for axis, found in enumerate(held)
        },
    }  # fmt: skip


def sample(
    image: np.ndarray, label: np.ndarray, spec: DatasetSpec, title: str = "", *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), stored_dtype: str = "",
) -> Figure:  # fmt: skip
    """One case in full: three planes through the label's centre of mass, bare and outlined, with what its file holds.

    Below each plane: the area of each label in every slice of that direction, the slice shown dotted. At the right:
    the `card`, and the histogram of stored intensities with its quantiles. image, label: (X, Y, Z). spacing: mm.
    Raises ValueError if shapes differ or the label is empty.
    """
    if image.shape != label.shape or not label.any():
        found = f"an image {image.shape} and a label {label.shape} with {np.count_nonzero(label)} foreground voxels"
        raise ValueError(f"found {found}; expected one shape and some foreground")
    centre = [round(float(places.mean())) for places in np.nonzero(label)]
    extent = np.multiply(image.shape, spacing)
    widths = [extent[PLANES[axis][0]] for axis in range(3)]
    tall = max(extent[PLANES[axis][1]] for axis in range(3))
    panel, side = 6.7 / sum(widths), 3.0
    fig = plt.figure(figsize=(6.7 + side + 0.3, 2 * tall * panel + 2.2), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0.01)
    grid = fig.add_gridspec(3, 4, width_ratios=[*(width * panel for width in widths), side],
                            height_ratios=[tall * panel, tall * panel, 1.1])  # fmt: skip
    parts = [label == item.value for item in spec.labels]
    top = 1.06 * max(_areas(part, axis, spacing).max() for part in parts for axis in range(3))
    for axis in range(3):
        for row, mask in enumerate((None, label)):
            _plane(fig.add_subplot(grid[row, axis]), image, mask, spec, spacing, axis, centre)
        _profile(fig.add_subplot(grid[2, axis], ylim=(0, top)), parts, spec, spacing, axis, centre[axis])
    _table(fig.add_subplot(grid[:2, 3]), card(image, label, spec, spacing, stored_dtype))
    _histogram(fig.add_subplot(grid[2, 3]), image)
    heading(fig, title)
    legend(fig, spec)
    return fig


def _number(value: float) -> str:
    """An intensity in as many digits as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _areas(mask: np.ndarray, axis: int, spacing: Sequence[float]) -> np.ndarray:
    """Area of the mask in each slice across `axis`, in mm2."""
    rest = tuple(other for other in range(3) if other != axis)
    return mask.sum(rest) * spacing[rest[0]] * spacing[rest[1]]


def _plane(
    ax: Axes, image: np.ndarray, mask: np.ndarray | None, spec: DatasetSpec, spacing: tuple[float, float, float],
    axis: int, centre: Sequence[int],
) -> None:  # fmt: skip
    """One plane through the centre; dotted lines where the other two cut, on the bare image only."""
    horizontal, vertical = PLANES[axis]
    cut = None if mask is None else plane(mask, axis, centre[axis])
    overlay(ax, plane(image, axis, centre[axis]), cut, spec, spacing=(spacing[horizontal], spacing[vertical]),
            window=grey_window(image), alpha=0.25)  # fmt: skip
    ax.set_anchor("N")
    letters(ax, spec, axis)
    if mask is None:
        dotted = {"color": "white", "linewidth": 0.9, "alpha": 0.7, "linestyle": (0, (1, 3))}
        ax.axvline((centre[horizontal] + 0.5) * spacing[horizontal], **dotted)
        ax.axhline((centre[vertical] + 0.5) * spacing[vertical], **dotted)
        ax.set_title(f"{plane_name(spec, axis)}, slice {centre[axis] + 1}", fontsize=9, weight="normal")
        scale_bar(ax) if axis == 0 else None


def _profile(
    ax: Axes, parts: Sequence[np.ndarray], spec: DatasetSpec, spacing: Sequence[float], axis: int, shown: int
) -> None:
    """Area of each label's mask in every slice across `axis`."""
    edges = np.arange(parts[0].shape[axis] + 1) + 0.5
    for item, part in zip(spec.labels, parts, strict=True):
        ax.stairs(_areas(part, axis, spacing), edges, color=item.colour, fill=True, alpha=0.3)
        ax.stairs(_areas(part, axis, spacing), edges, color=item.colour, linewidth=1.4)
    ax.axvline(shown + 1, color=INK, linewidth=1, linestyle=":")
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel(f"{plane_name(spec, axis)} slice", fontsize=9)
    ax.set_ylabel("mm² of label" if axis == 0 else "", fontsize=9)
    ax.tick_params(labelsize=8, labelleft=axis == 0)


def _table(ax: Axes, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Headings in bold, under each its names and at the right of them their texts, one line each."""
    ax.set_axis_off()
    lines = [line for heading, rows in groups.items() for line in ((heading, ""), *rows.items(), ("", ""))][:-1]
    for number, (name, text) in enumerate(lines):
        y, heads = 1 - (number + 0.5) / len(lines), name in groups
        style = {"transform": ax.transAxes, "fontsize": 8.5, "va": "center"}
        ax.text(0.05, y, name, color=INK if heads else MUTED, weight="bold" if heads else "normal", **style)
        ax.text(0.4, y, text, **style)


def _histogram(ax: Axes, image: np.ndarray) -> None:
    """Stored intensities, with dashed lines at the quantiles."""
    low, high = np.percentile(image, (0, 99.9))
    ax.hist(image.ravel(), np.linspace(low, high, 41), color=MUTED, alpha=0.6)
    for quantile in QUANTILES:
        ax.axvline(np.percentile(image, quantile), color=INK, linewidth=0.8, linestyle="--")
    ax.set_xlabel("stored intensity (no unit)", fontsize=9)
    ax.set_ylabel("voxels", fontsize=9)
    ax.tick_params(labelsize=8)
