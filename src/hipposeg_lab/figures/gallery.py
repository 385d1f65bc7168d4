"""Many cases in a grid, and one case under sliders."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz import slices
from hipposeg.viz.style import WIDTH

PAPER = "#f1f3f5"


def grid(
    views: Sequence[slices.CaseView], spec: DatasetSpec, title: str, *, columns: int, bare: bool = False
) -> Figure:
    """Draw cases as a grid in one scale, filled row by row, each by the sagittal slice with most of its first mask.

    bare: each case twice, the slice alone and beside it the slice with filled labels; else outlines only. Boxes lie in
    the middle of equal fields, so that their sizes compare. Raises ValueError without views.
    """
    if not views:
        raise ValueError("no cases to draw; choose some by a rule, such as evenly spaced ranks of a value")
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
    slices.heading(fig, f"{title} ({slices.plane_name(spec, 0)} slices)")
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


def browse(image: np.ndarray, masks: Mapping[str, np.ndarray], spec: DatasetSpec, title: str) -> Any:
    """Return `three_plane` under three sliders, one for each axis, for Jupyter; they count from 1, as the titles do."""
    import ipywidgets as widgets
    from IPython.display import display

    def draw(**shown: int) -> None:
        centre = [number - 1 for number in shown.values()]
        figure = slices.three_plane(image, masks, spec, title, centre)
        display(figure)
        plt.close(figure)

    first = next(iter(masks.values()))
    sliders = {}
    for axis, count in enumerate(image.shape):
        start = slices.fullest(first, axis, image.shape)
        sliders[slices.plane_name(spec, axis)] = widgets.IntSlider(start + 1, 1, count, continuous_update=False)
    return widgets.interactive(draw, **sliders)
