"""Drawing the same figures twice must give the same files."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hipposeg.viz.style import save_figure


def saved_twice(draw: Callable[[], Iterable[Figure]], folder: Path) -> tuple[list[str], list[str]]:
    """SHA-256 of every figure's SVG, from two drawings."""
    digests: tuple[list[str], list[str]] = ([], [])
    for run, found in enumerate(digests):
        for number, fig in enumerate(draw()):
            path = folder / f"{run}-{number}.svg"
            save_figure(fig, path, phantom=False)
            found.append(hashlib.sha256(path.read_bytes()).hexdigest())
            plt.close(fig)
    return digests
