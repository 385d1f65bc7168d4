"""Cases to look at: a grid of many, one in full, one under sliders, and a gallery of failures.

The caller chooses the cases, by a rule such as `studies.statistics.at_ranks`.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hipposeg.data.spec import DatasetSpec, Label
from hipposeg.viz import slices
from hipposeg.viz.style import INK, MUTED, WIDTH
from hipposeg_lab.figures.mistakes import KINDS

PAPER = "#f1f3f5"
QUANTILES = (1, 25, 50, 75, 99)
ERRORS = tuple(Label(value, text, colour) for value, (text, colour) in enumerate(KINDS.values(), start=1))


def grid(
    views: Sequence[slices.CaseView], spec: DatasetSpec, title: str = "", *, columns: int, bare: bool = False
) -> Figure:
    """Draw cases as a grid in one scale, filled row by row, each by the sagittal slice with most of its first mask.

    bare: each case twice, the slice alone and beside it the slice with filled labels; else outlines only. Boxes lie in
    the middle of equal fields, so that their sizes compare. Raises ValueError without views.
    """
    if not views:
        raise ValueError("no cases to draw; choose some by a rule, such as studies.statistics.at_ranks")
    sizes = [slices.plane_size(view.image, 0, view.spacing) for view in views]
    field = np.max(sizes, axis=0)
    names = (None, *views[0].masks) if bare else tuple(views[0].masks)
    fig, axes = _sheet(len(views), min(columns, len(views)), len(names), field)
    for view, size, cell in zip(views, sizes, axes, strict=True):
        for ax, name in zip(cell, names, strict=True):
            slices.case_panel(ax, view, name, spec, 0, alpha=0.35 if bare else 0.0)
            left, bottom = (np.array(size) - field) / 2
            # Pale paper shows where the box ends.
            ax.add_patch(Rectangle((left, bottom), *field, facecolor=PAPER, edgecolor="none", zorder=-1))
            ax.set(xlim=(left, left + field[0]), ylim=(bottom, bottom + field[1]))
        cell[0].set_title(view.title, fontsize=9, weight="normal")
    slices.letters(fig.axes[0], spec, 0, size=7)
    slices.scale_bar(fig.axes[0], size=7)
    slices.heading(fig, f"{title} ({slices.plane_name(spec, 0)} slices)" if title else "")
    slices.legend(fig, spec)
    return fig


def _sheet(cells: int, columns: int, each: int, field: np.ndarray) -> tuple[Figure, list[list[Axes]]]:
    """A page of `cells` cells, filled row by row, each of `each` panels beside each other in the field's proportions.

    Placed by hand: constrained layout settles such grids in more than one way, so the bytes of the file would differ.
    """
    margin, near, far, top, bottom, name = 0.06, 0.05, 0.16, 0.28, 0.42, 0.27
    width = (WIDTH - 2 * margin - (columns - 1) * far - columns * (each - 1) * near) / (columns * each)
    height, cell = width * field[1] / field[0], each * width + (each - 1) * near + far
    tall = top + -(-cells // columns) * (name + height) + bottom
    fig = plt.figure(figsize=(WIDTH, tall), layout="none")
    axes = []
    for number in range(cells):
        row, column = divmod(number, columns)
        y = 1 - (top + (row + 1) * (name + height)) / tall
        left = [margin + column * cell + panel * (width + near) for panel in range(each)]
        axes.append([fig.add_axes((x / WIDTH, y, width / WIDTH, height / tall)) for x in left])
    return fig, axes


def card(
    image: np.ndarray, label: np.ndarray, spec: DatasetSpec, spacing: Sequence[float], stored_dtype: str
) -> dict[str, dict[str, str]]:
    """Describe a file in words: heading -> name -> text.

    image: (X, Y, Z), intensities as stored. label: (X, Y, Z). spacing: mm.
    """
    counts = np.bincount(label.ravel(), minlength=spec.n_classes)
    share = [f"{100 * count / label.size:.1f} % of voxels" for count in counts]
    low, *quartiles, high = (_number(value) for value in np.percentile(image, QUANTILES))
    held = {slices.plane_name(spec, axis): np.flatnonzero(_areas(label > 0, axis, spacing)) for axis in range(3)}
    sizes = dict(zip(held, label.shape, strict=True))
    return {
        "File": {
            "shape": f"{' × '.join(map(str, image.shape))} voxels",
            "voxel size": f"{' × '.join(f'{side:g}' for side in spacing)} mm",
            "stored as": stored_dtype,
        },
        "Intensity (no unit)": {
            "range": f"{_number(image.min())} to {_number(image.max())}",
            "1 %, 99 %": f"{low}, {high}",
            "quartiles": ", ".join(quartiles),
        },
        "Volume": {
            item.name: f"{counts[item.value] * np.prod(spacing):,.0f} mm³, {share[item.value]}" for item in spec.labels
        } | {"background": share[0]},
        "Slices with label": {
            name: f"{len(found)} of {sizes[name]}, from {found[0] + 1} to {found[-1] + 1}"
            for name, found in held.items()
        },
    }  # fmt: skip


def _number(value: float) -> str:
    """An intensity in as many digits as are of use."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _areas(mask: np.ndarray, axis: int, spacing: Sequence[float]) -> np.ndarray:
    """Area of the mask in each slice across `axis`, in mm2."""
    rest = tuple(other for other in range(3) if other != axis)
    return mask.sum(rest) * spacing[rest[0]] * spacing[rest[1]]


def sample(
    image: np.ndarray, label: np.ndarray, spec: DatasetSpec, title: str = "", *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), stored_dtype: str = "",
) -> Figure:  # fmt: skip
    """Draw one case in full: three planes through the label's centre of mass, bare and outlined, and its `card`.

    Below each plane: the area of each label in every slice of that direction, the slice shown dotted. Below the card:
    the histogram of stored intensities with its quantiles. image, label: (X, Y, Z). spacing: mm. Raises ValueError if
    shapes differ or the label is empty.
    """
    if image.shape != label.shape or not label.any():
        found = f"an image {image.shape} and a label {label.shape} with {np.count_nonzero(label)} foreground voxels"
        raise ValueError(f"found {found}; expected one shape and some foreground")
    centre = [round(float(places.mean())) for places in np.nonzero(label)]
    sizes = [slices.plane_size(image, axis, spacing) for axis in range(3)]
    panel, side = 6.7 / sum(width for width, _ in sizes), 3.0
    tall = max(height for _, height in sizes) * panel
    fig = plt.figure(figsize=(6.7 + side + 0.3, 2 * tall + 2.2), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0.01)
    page = fig.add_gridspec(3, 4, width_ratios=[*(width * panel for width, _ in sizes), side],
                            height_ratios=[tall, tall, 1.1])  # fmt: skip
    top = 1.06 * max(_areas(label == item.value, axis, spacing).max() for item in spec.labels for axis in range(3))
    for axis in range(3):
        view = slices.CaseView("", image, {"label": label}, spacing, centre[axis])
        bare, outlined = (fig.add_subplot(page[row, axis], anchor="N") for row in range(2))
        for ax, name in ((bare, None), (outlined, "label")):
            slices.case_panel(ax, view, name, spec, axis, alpha=0.25)
            slices.letters(ax, spec, axis)
        slices.cross(bare, axis, centre, spacing)
        bare.set_title(f"{slices.plane_name(spec, axis)}, slice {centre[axis] + 1}", fontsize=9, weight="normal")
        _profile(fig.add_subplot(page[2, axis], ylim=(0, top)), label, spec, spacing, axis, centre[axis])
    slices.scale_bar(fig.axes[0])
    _table(fig.add_subplot(page[:2, 3]), card(image, label, spec, spacing, stored_dtype))
    ax = fig.add_subplot(page[2, 3])
    ax.hist(image.ravel(), np.linspace(*np.percentile(image, (0, 99.9)), 41), color=MUTED, alpha=0.6)
    for quantile in np.percentile(image, QUANTILES):
        ax.axvline(quantile, color=INK, linewidth=0.8, linestyle="--")
    ax.set(xlabel="stored intensity (no unit)", ylabel="voxels")
    ax.tick_params(labelsize=8)
    slices.heading(fig, title)
    slices.legend(fig, spec)
    return fig


def _profile(ax: Axes, label: np.ndarray, spec: DatasetSpec, spacing: Sequence[float], axis: int, shown: int) -> None:
    """Area of each label in every slice across `axis`."""
    edges = np.arange(label.shape[axis] + 1) + 0.5
    for item in spec.labels:
        areas = _areas(label == item.value, axis, spacing)
        ax.stairs(areas, edges, color=item.colour, fill=True, alpha=0.3)
        ax.stairs(areas, edges, color=item.colour, linewidth=1.4)
    ax.axvline(shown + 1, color=INK, linewidth=1, linestyle=":")
    ax.set(
        xlim=edges[[0, -1]], xlabel=f"{slices.plane_name(spec, axis)} slice", ylabel="mm² of label" if axis == 0 else ""
    )
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


def browse(
    image: np.ndarray, masks: Mapping[str, np.ndarray], spec: DatasetSpec, title: str = "", *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Any:  # fmt: skip
    """Return `three_plane` under three sliders, one for each axis, for Jupyter."""
    import ipywidgets as widgets
    from IPython.display import display

    def draw(**centre: int) -> None:
        figure = slices.three_plane(image, masks, spec, title, list(centre.values()), spacing=spacing)
        display(figure)
        plt.close(figure)

    first = next(iter(masks.values()))
    sliders = {}
    for axis, count in enumerate(image.shape):
        start = slices.fullest(first, axis, image.shape)
        sliders[slices.plane_name(spec, axis)] = widgets.IntSlider(start, 0, count - 1, continuous_update=False)
    return widgets.interactive(draw, **sliders)


@dataclass(frozen=True)
class Failure:
    """A case to show. title, words: above its row. image (X, Y, Z); truth: label map; kinds: kind -> boolean mask."""

    title: str
    words: str
    image: np.ndarray
    truth: np.ndarray
    kinds: dict[str, np.ndarray]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


def error_map(kinds: dict[str, np.ndarray]) -> np.ndarray:
    """Join masks (X, Y, Z) by kind, which do not overlap, into one map: values of ERRORS, else 0."""
    return sum(kinds[kind].astype(np.uint8) * label.value for kind, label in zip(KINDS, ERRORS, strict=True))


def failures(cases: Sequence[Failure], spec: DatasetSpec) -> Figure:
    """Draw a row for each case, a column for each plane, cut where most voxels are wrong; truth as outlines.

    All panels share one scale in mm.
    """
    sizes = np.array([[slices.plane_size(one.image, axis, one.spacing) for axis in range(3)] for one in cases])
    widths, heights = sizes[..., 0].max(0), sizes[..., 1].max(1)
    texts = [[one.title, *textwrap.wrap(one.words, 135)] for one in cases]
    scale = (WIDTH - 0.6) / widths.sum()
    tall = [height * scale + 0.17 * len(text) + 0.3 for height, text in zip(heights, texts, strict=True)]
    fig = plt.figure(figsize=(WIDTH, sum(tall) + 0.4), layout="constrained")
    *rows, last = fig.subfigures(len(cases) + 1, 1, height_ratios=[*tall, 0.4])
    errors = replace(spec, labels=ERRORS)
    for one, text, row in zip(cases, texts, rows, strict=True):
        row.suptitle("\n".join(text), x=0.01, ha="left", fontsize=9, color=INK)
        wrong = error_map(one.kinds)
        for axis, ax in enumerate(row.subplots(1, 3, width_ratios=widths)):
            index = slices.fullest(wrong, axis, wrong.shape)
            view = slices.CaseView("", one.image, {"wrong": wrong}, one.spacing, index)
            slices.case_panel(ax, view, "wrong", errors, axis, alpha=0.6)
            spacing = tuple(one.spacing[side] for side in slices.PLANES[axis])
            for label in spec.labels:
                slices.edge(
                    ax, slices.plane(one.truth, axis, index) == label.value, label.colour, spacing, linewidths=1.2
                )
            slices.letters(ax, spec, axis, size=8)
            ax.set_anchor("N")  # titles of a row at one height
            where = f"{slices.plane_name(spec, axis)}, slice {index + 1} of {one.image.shape[axis]}"
            ax.set_title(where, fontsize=8, weight="normal")
        slices.scale_bar(row.axes[0])
    handles = [plt.Line2D([], [], color=label.colour, linewidth=2, label=f"true {label.name}") for label in spec.labels]
    handles += [plt.Rectangle((0, 0), 1, 1, color=label.colour, label=label.name) for label in ERRORS]
    last.legend(handles=handles, loc="center", ncols=len(handles), fontsize=8, columnspacing=1.2)
    return fig
