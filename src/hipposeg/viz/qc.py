"""The picture beside a predicted mask: is it to be believed? Three planes, bare and with outlines, and the volumes."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.slices import three_plane
from hipposeg.viz.style import ERROR, INK, MUTED, RC

LINE = 0.19  # inches for a line of text
WRAP = 118  # characters in a line at the figure's width
DPI = 110  # half the dots of the house's figures, which are drawn to be printed
FINE = "Nothing is unusual about this mask. That does not make it right: look."


def picture(
    image: np.ndarray, mask: np.ndarray, spec: DatasetSpec, name: str, volumes: Sequence[str], flags: Sequence[str],
    spacing: tuple[float, float, float], level: float,
) -> Figure:  # fmt: skip
    """Draw one scan.

    image, mask: (X, Y, Z). name: of the scan. volumes: each with its interval, as text. flags: sentences that ask for a
    look. spacing: mm. level: nominal coverage of the intervals.
    """
    with mpl.rc_context(RC):
        fig = three_plane(image, {"scan": None, "mask": mask}, spec, spacing=spacing, crosshair=False, alpha=0.0)
        numbers = f"{', '.join(volumes)}; {100 * level:.0f} % intervals"
        lines = [(name, INK, "bold"), *((part, INK, "normal") for part in textwrap.wrap(numbers, WRAP))]
        for flag in flags:
            lines += [(part, ERROR, "normal") for part in textwrap.wrap(f"Look: {flag}.", WRAP)]
        lines += [] if flags else [(FINE, MUTED, "normal")]
        width, height = fig.get_size_inches()
        room = LINE * (len(lines) + 0.6)
        fig.set_size_inches(width, height + room)
        fig.get_layout_engine().set(rect=(0, 0, 1, height / (height + room)))
        for number, (text, colour, weight) in enumerate(lines):
            y = 1 - LINE * (number + 0.4) / (height + room)
            fig.text(0.015, y, text, color=colour, weight=weight, fontsize=9, va="top", ha="left")
    return fig


def save(fig: Figure, path: Path) -> None:
    """Write the picture as PNG without date or version; unlike a committed figure it is not made as small as can be."""
    with mpl.rc_context(RC):
        fig.savefig(path, dpi=DPI, metadata={"Software": None})


def close(fig: Figure) -> None:
    """Let a figure go that was saved."""
    plt.close(fig)
