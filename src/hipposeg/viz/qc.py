"""The picture to check predicted masks by: three planes of each hippocampus, bare and with outlines."""

import io
from collections.abc import Mapping
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.viz.slices import (
    CaseView,
    case_panel,
    fullest,
    legend,
    letters,
    panels,
    plane_name,
    plane_size,
    scale_bar,
)
from hipposeg.viz.style import RC


def picture(views: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw hippocampi, two rows each.

    Args:
        views: "left", "right" (both in RAS axes) or "crop" -> image and label map, (X, Y, Z) at 1 mm.
    """
    spec, known = MSD_HIPPOCAMPUS, replace(MSD_HIPPOCAMPUS, axes=(("L", "R"), *MSD_HIPPOCAMPUS.axes[1:]))
    rows = [(name, image, mask, drawn) for name, (image, mask) in views.items() for drawn in (0, 1)]
    fig, axes = panels([[plane_size(image, axis) for axis in range(3)] for _, image, _, _ in rows])
    for row, (name, image, mask, drawn) in zip(axes, rows, strict=True):
        for axis, ax in enumerate(row):
            at, shown = fullest(mask, axis, image.shape), {"mask": mask if drawn else None}
            case_panel(ax, CaseView("", image, shown, (1.0, 1.0, 1.0), at), "mask", spec, axis, 0.0)
            letters(ax, known if name in ("left", "right") else spec, axis)
            if not drawn:
                ax.set_title(
                    f"{plane_name(spec, axis)}, slice {at + 1} of {image.shape[axis]}", fontsize=9, weight="normal"
                )
        row[0].set_ylabel(name if drawn else f"{name}, scan", fontsize=9)
        scale_bar(row[0])
    legend(fig, spec)
    return fig


def png(views: Mapping[str, tuple[np.ndarray, np.ndarray]], dpi: int = 110) -> bytes:
    """The picture as PNG, under this project's settings whatever the user's matplotlibrc holds; without date."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        fig, content = picture(views), io.BytesIO()
        fig.savefig(content, dpi=dpi, format="png", metadata={"Software": None})
        plt.close(fig)
    return content.getvalue()
