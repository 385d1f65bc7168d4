"""One look for every figure, and saving that gives the same bytes each time."""

import io
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from hipposeg.files import replacing, smaller_png, smaller_svg

INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"
ERROR = "#D55E00"
# For runs and other things that are not anatomical labels (Okabe-Ito without the two label colours).
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999933", "#332288")
DASHES = ("-", "--", ":")
WIDTH = 9.6  # inches of a whole figure
PHANTOM_NOTICE = "PHANTOM: synthetic data, no patients"

RC = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": f"cycler('color', {list(SERIES)})",
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "svg.hashsalt": "hipposeg",
    "svg.fonttype": "path",
}


def use_style() -> None:
    """Apply the house style to matplotlib's defaults; called once by the notebook session."""
    mpl.rcParams.update(RC)


def line_style(index: int) -> dict[str, str]:
    """Colour and dashes of the n-th line, distinct for 18 of them."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index // len(SERIES) % len(DASHES)]}


def _saving(fig: Figure) -> AbstractContextManager[None]:
    """The house style, without a layout engine for figures that place their axes by hand."""
    return mpl.rc_context(RC | {"figure.constrained_layout.use": fig.get_layout_engine() is not None})


def preview(fig: Figure) -> bytes:
    """Return `fig` as a small PNG for a notebook: 100 dots per inch, 256 colours."""
    full = io.BytesIO()
    with _saving(fig):
        fig.savefig(full, format="png", dpi=100, metadata={"Software": None})
    return smaller_png(full.getvalue())


def save_figure(fig: Figure, path: Path, phantom: bool) -> None:
    """Write `fig` atomically as .svg or .png without date or version, marked loudly if no patient is in it."""
    if phantom and not any(text.get_text() == PHANTOM_NOTICE for text in fig.texts):
        width, height = fig.get_size_inches()
        # Flat and small figures get a flatter and smaller notice, so that all of it can be read.
        fig.text(0.5, 0.5, PHANTOM_NOTICE, color=ERROR, alpha=0.35, fontsize=min(22, 2.8 * width), weight="bold",
                 rotation=min(18, 35 * height / width), ha="center", va="center", zorder=100)  # fmt: skip
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    with _saving(fig), replacing(path) as temporary:
        fig.savefig(temporary, metadata=metadata)
        smaller = smaller_svg if path.suffix == ".svg" else smaller_png
        temporary.write_bytes(smaller(temporary.read_bytes()))  # the repository has 40 MB for everything
