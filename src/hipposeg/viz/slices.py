"""Slices of a volume with label maps drawn over them, in true aspect, with orientation letters and a scale bar.

Slices are indexed `[horizontal, vertical]` and drawn in mm, the low end at the left and at the bottom. Directions that
a data set does not know (`spec.axes` holds "") get no letter: no figure claims a side.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, withStroke

from hipposeg.data.spec import MSD_HIPPOCAMPUS, DatasetSpec
from hipposeg.viz.style import INK, RC, WIDTH

# For each axis that a slice is cut across: the axes drawn horizontally and vertically. The long axis 1 lies
# horizontally in two of the three planes, so that anterior is at the same side in both and rows stay low.
PLANES = {0: (1, 2), 1: (0, 2), 2: (1, 0)}

# Inches of paper per mm of tissue in the largest layout; figures with many panels shrink from there.
SCALE = 0.066


def plane_name(spec: DatasetSpec, axis: int) -> str:
    """Return "sagittal", "coronal" or "axial" for slices across `axis`, from the letters at the ends of the axes."""
    known = {frozenset("PA"): "coronal", frozenset("IS"): "axial", frozenset("LR"): "sagittal"}
    names = [known.get(frozenset(letters)) for letters in spec.axes]
    # With two axes known the third follows, even where its direction does not.
    if names.count(None) == 1:
        names[names.index(None)] = next(iter(set(known.values()) - set(names)))
    return names[axis] or f"across axis {axis}"


def plane(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Cut one slice of `volume` (X, Y, Z) as (horizontal, vertical), in the layout of `PLANES`."""
    rest = [other for other in range(3) if other != axis]
    cut = np.take(volume, index, axis)
    return cut if tuple(rest) == PLANES[axis] else cut.T


def plane_size(volume: np.ndarray, axis: int, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> tuple[float, float]:
    """Width and height of a slice of `volume` across `axis`, in mm."""
    horizontal, vertical = PLANES[axis]
    return volume.shape[horizontal] * spacing[horizontal], volume.shape[vertical] * spacing[vertical]


def fullest(mask: np.ndarray | None, axis: int, shape: Sequence[int]) -> int:
    """Find the first slice across `axis` with most foreground, or the middle one where there is none."""
    if mask is None or not mask.any():
        return shape[axis] // 2
    return int(np.argmax((mask > 0).sum(tuple(other for other in range(3) if other != axis))))


def grey_window(image: np.ndarray) -> tuple[float, float]:
    """The intensities drawn black and white: 0.5th and 99.5th percentile, so that one bright vessel dims nothing."""
    low, high = np.percentile(image, (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def outline(mask: np.ndarray) -> np.ndarray:
    """The border of a boolean mask (H, V) along voxel edges: segments (n, 2, 2) in voxel units.

    Voxel edges, not a contour between voxel centres: what is drawn is exactly what is scored.
    """
    # The edge between padded cells i and i + 1 lies at i - 0.5 in the unpadded frame.
    padded = np.pad(mask.astype(bool), 1)
    across, along = (np.argwhere(np.diff(padded, axis=axis)) for axis in (0, 1))
    across, along = across - (0.5, 1.5), along - (1.5, 0.5)
    return np.concatenate([np.stack([across, across + (0, 1)], 1), np.stack([along, along + (1, 0)], 1)])


@dataclass(frozen=True)
class CaseView:
    """One case as a figure shows it.

    Attributes:
        title: above or beside the panel.
        image: (X, Y, Z).
        masks: name -> (X, Y, Z) label map, or None for the bare image.
        spacing: voxel size in mm.
        index: the slice to show; None takes the one with most foreground in the first mask.
    """

    title: str
    image: np.ndarray
    masks: Mapping[str, np.ndarray | None]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    index: int | None = None


def overlay(
    ax: Axes,
    image: np.ndarray,
    label: np.ndarray | None,
    spec: DatasetSpec,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    window: tuple[float, float] | None = None,
    alpha: float = 0.35,
) -> None:
    """Draw a slice in grey, and over it each label as a semi-transparent fill with an outline.

    image, label: (horizontal, vertical), as `plane` gives them. spacing: mm. alpha: opacity of the fill, 0 for
    outlines only. The axes are in mm, with equal scales and no frame.
    """
    if label is not None and label.shape != image.shape:
        raise ValueError(f"label slice {label.shape} and image slice {image.shape} differ; cut both at one place")
    low, high = window or grey_window(image)
    extent = (0, image.shape[0] * spacing[0], 0, image.shape[1] * spacing[1])
    picture(ax, image.T, extent, cmap="gray", vmin=low, vmax=high)
    for item in spec.labels if label is not None else ():
        mask = label == item.value
        if mask.any():
            fill = np.zeros((*mask.T.shape, 4))
            fill[mask.T] = (*to_rgb(item.colour), alpha)
            picture(ax, fill, extent)
            edge(ax, mask, item.colour, spacing, linewidth=1.1)


def edge(ax: Axes, mask: np.ndarray, colour: str, spacing: tuple[float, float] = (1.0, 1.0), **style) -> None:
    """Draw the `outline` of a boolean mask (horizontal, vertical) in mm."""
    lines = (outline(mask) + 0.5) * np.asarray(spacing)
    ax.add_collection(LineCollection(lines, colors=colour, capstyle="round", **style))


def picture(ax: Axes, values: np.ndarray, extent: Sequence[float], **style) -> AxesImage:
    """Draw an array (vertical, horizontal) within `extent` in mm, without ticks, grid and frame."""
    drawn = ax.imshow(values, origin="lower", extent=tuple(extent), interpolation="nearest", **style)
    ax.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[], aspect="equal")
    ax.grid(False)
    ax.set_frame_on(False)
    return drawn


def letters(ax: Axes, spec: DatasetSpec, axis: int, size: float = 9) -> None:
    """Write the orientation letters of a slice across `axis` inside its four borders, where they are known."""
    horizontal, vertical = PLANES[axis]
    left, right, bottom, top = ax.images[0].get_extent()
    middle, centre, inset = (left + right) / 2, (bottom + top) / 2, 0.7
    for text, x, y, ha, va in (
        (spec.axes[horizontal][0], left + inset, centre, "left", "center_baseline"),
        (spec.axes[horizontal][1], right - inset, centre, "right", "center_baseline"),
        (spec.axes[vertical][0], middle, bottom + inset, "center", "bottom"),
        (spec.axes[vertical][1], middle, top - inset, "center", "top"),
    ):
        if text:
            _haloed(ax.text(x, y, text, ha=ha, va=va, color="white", fontsize=size, weight="bold"))


def scale_bar(ax: Axes, size: float = 8) -> None:
    """A bar of 10 mm in the lower left corner of the slice that `ax` shows, where labels seldom lie."""
    left, _, bottom, _ = ax.images[0].get_extent()
    x, y = left + 1.5, bottom + 1.8
    _haloed(ax.plot([x, x + 10], [y, y], color="white", linewidth=2.2, solid_capstyle="butt")[0])
    _haloed(ax.text(x + 5, y + 0.7, "10 mm", color="white", fontsize=size, ha="center", va="bottom"))


def legend(fig: Figure, spec: DatasetSpec) -> None:
    """The labels' colours and names under the panels."""
    handles = [Patch(facecolor=item.colour, edgecolor=item.colour, label=item.name) for item in spec.labels]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, handlelength=1.2)


def heading(fig: Figure, title: str) -> None:
    """A left-aligned bold title over the whole figure."""
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold", color=INK)


def _haloed(artist):
    """Give a white artist a dark edge, so that it can be read on bright tissue."""
    artist.set_path_effects([withStroke(linewidth=2.0, foreground="black", alpha=0.6), Normal()])
    return artist


def case_panel(ax: Axes, view: CaseView, name: str | None, spec: DatasetSpec, axis: int, alpha: float = 0.35) -> None:
    """Draw one mask of one case over its slice across `axis`; None draws the bare image of the same slice."""
    first, mask = next(iter(view.masks.values())), view.masks[name] if name is not None else None
    index = fullest(first, axis, view.image.shape) if view.index is None else view.index
    cut = None if mask is None else plane(mask, axis, index)
    spacing = tuple(view.spacing[other] for other in PLANES[axis])
    window = grey_window(view.image)
    overlay(ax, plane(view.image, axis, index), cut, spec, spacing=spacing, window=window, alpha=alpha)


def panels(sizes: Sequence[Sequence[tuple[float, float]]]) -> tuple[Figure, np.ndarray]:
    """Return a figure of panels in one scale: `sizes` holds (width, height) in mm by row and column."""
    widths = np.max([[width for width, _ in row] for row in sizes], axis=0)
    heights = np.max([[height for _, height in row] for row in sizes], axis=1)
    scale = min(SCALE, WIDTH / widths.sum())
    size = (widths.sum() * scale + 0.18 * len(widths) + 0.2, heights.sum() * scale + 0.3 * len(heights) + 0.6)
    fig, axes = plt.subplots(
        *(len(heights), len(widths)), figsize=size, squeeze=False, layout="constrained",
        gridspec_kw={"width_ratios": widths, "height_ratios": heights},
    )  # fmt: skip
    for ax in axes.flat:
        # Lower panels hang from the top of their row, so that all titles of a row stand at one height.
        ax.set_anchor("N")
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.05, wspace=0.01, hspace=0.01)
    return fig, axes


def three_plane(
    image: np.ndarray,
    masks: Mapping[str, np.ndarray | None],
    spec: DatasetSpec,
    title: str = "",
    centre: Sequence[int] | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Figure:
    """Draw one case in three planes: a row for each mask (the name at its left), a column for each plane.

    image: (X, Y, Z). masks: name -> (X, Y, Z) label map, or None for a row without overlay. centre: the voxel that all
    planes pass through, with dotted lines (None takes, on each axis, the slice with most foreground in the first mask).
    All panels share one scale in mm.
    """
    first = next((mask for mask in masks.values() if mask is not None), None)
    centre = [fullest(first, axis, image.shape) for axis in range(3)] if centre is None else centre
    rows = [(CaseView(name, image, {name: mask}, spacing), centre) for name, mask in masks.items()]
    fig = _planes(rows, spec, alpha=0.35, crosshair=True)
    heading(fig, title)
    return fig


def quality(views: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw hippocampi, bare above and outlined below, to check masks by.

    Args:
        views: "left" and "right", both in RAS axes, or "crop" -> image and label map, (X, Y, Z) at 1 mm.
    """
    sides = set(views) <= {"left", "right"}  # a crop does not tell its side
    spec = replace(MSD_HIPPOCAMPUS, axes=(("L", "R"), *MSD_HIPPOCAMPUS.axes[1:])) if sides else MSD_HIPPOCAMPUS
    rows = []
    for name, (image, mask) in views.items():
        centre = [fullest(mask, axis, image.shape) for axis in range(3)]
        rows.append((CaseView(f"{name}, scan", image, {"": None}), centre))
        rows.append((CaseView(name, image, {"": mask}), centre))
    return _planes(rows, spec, alpha=0, crosshair=False)


def quality_png(views: Mapping[str, tuple[np.ndarray, np.ndarray]], dpi: int = 110) -> bytes:
    """`quality` as PNG without a date, in the project's settings whatever the user's matplotlibrc holds."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        fig, content = quality(views), io.BytesIO()
        fig.savefig(content, dpi=dpi, format="png", metadata={"Software": None})
        plt.close(fig)
    return content.getvalue()


def _planes(rows: Sequence[tuple[CaseView, Sequence[int]]], spec: DatasetSpec, alpha: float, crosshair: bool) -> Figure:
    """Three planes through a voxel of each case, its title at the left; the planes are named over each new image."""
    fig, axes = panels([[plane_size(view.image, axis, view.spacing) for axis in range(3)] for view, _ in rows])
    shown = None
    for row, (view, centre) in zip(axes, rows, strict=True):
        for axis, ax in enumerate(row):
            case_panel(ax, replace(view, index=centre[axis]), next(iter(view.masks)), spec, axis, alpha)
            letters(ax, spec, axis)
            if crosshair:  # where the other two planes cut
                horizontal, vertical = ((centre[side] + 0.5) * view.spacing[side] for side in PLANES[axis])
                style = {"color": "white", "linewidth": 0.8, "alpha": 0.6, "linestyle": (0, (1, 3))}
                ax.axvline(horizontal, **style)
                ax.axhline(vertical, **style)
            if view.image is not shown:
                text = f"{plane_name(spec, axis)}, slice {centre[axis] + 1} of {view.image.shape[axis]}"
                ax.set_title(text, fontsize=9, weight="normal")
        shown = view.image
        row[0].set_ylabel(view.title, fontsize=9)
        scale_bar(row[0])
    legend(fig, spec)
    return fig


def row_of_cases(views: Sequence[CaseView], spec: DatasetSpec, title: str = "", *, axis: int = 0) -> Figure:
    """Draw cases side by side in one plane: a column for each case, a row for each mask (all cases have the same).

    Each column shows one slice: `view.index`, else the one across `axis` with most foreground in the first mask.
    """
    names = list(views[0].masks)
    if any(list(view.masks) != names for view in views):
        raise ValueError(f"every case needs the masks {names}, in this order; found {[list(v.masks) for v in views]}")
    fig, axes = panels([[plane_size(view.image, axis, view.spacing) for view in views] for _ in names])
    for row, name in zip(axes, names, strict=True):
        for ax, view in zip(row, views, strict=True):
            case_panel(ax, view, name, spec, axis)
        row[0].set_ylabel(name, fontsize=9)
        scale_bar(row[0])
        letters(row[0], spec, axis)
    for ax, view in zip(axes[0], views, strict=True):
        ax.set_title(view.title, fontsize=9, weight="normal")
    heading(fig, f"{title} ({plane_name(spec, axis)} slices)" if title else "")
    legend(fig, spec)
    return fig
