"""Surfaces of label maps with PyVista: a still picture, and a scene to turn in Jupyter.

Truth and prediction get the same smoothing: a blocky truth beside a smooth prediction would flatter the prediction.
PyVista needs an OpenGL library (EGL, OSMesa or a display). Without one it may end the process instead of raising, so
`problem` tries in a process of its own first.
"""

import functools
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.slices import heading, legend
from hipposeg.viz.style import MUTED

log = logging.getLogger(__name__)

# Standard deviation of the Gaussian that takes off the voxel steps; volumes change by a few per cent.
SMOOTHING_SD_VOXELS = 0.7

# Seen from a little above, across the long axis: (direction of the camera from the object, up).
VIEW = ((1.0, -0.35, 0.5), (0.0, 0.0, 1.0))

# Draws a red window and looks whether it is red.
PROBE = """
import pyvista
plotter = pyvista.Plotter(off_screen=True, window_size=(32, 32))
plotter.set_background("red")
assert plotter.screenshot(return_img=True)[16, 16].tolist()[:3] == [255, 0, 0], "the test picture is not red"
"""


@functools.cache
def problem() -> str | None:
    """Return why surfaces cannot be rendered on this machine and what to do, or None if they can."""
    advice = "Surfaces are left out. Install libegl1 with libgl1-mesa-dri, or libosmesa6, and run again."
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return f"VTK did not draw a test picture within 120 seconds. {advice}"
    if done.returncode:
        # VTK's message holds times and thread ids, which would differ between two runs of a notebook.
        log.info("the test picture ended with code %d: %s", done.returncode, done.stderr.strip())
        return f"PyVista and VTK found no way to draw on this machine. {advice}"
    return None


def fields(label: NDArray[np.uint8], n_classes: int) -> NDArray[np.float64]:
    """Return each label's lead over all other classes after smoothing, (K, X, Y, Z), background left out.

    The surface of a label is where its lead is zero, so two labels meet in one surface without gap or overlap.
    """
    from scipy.ndimage import gaussian_filter

    classes = [(label == value).astype(float) for value in range(n_classes)]
    smooth = np.stack([gaussian_filter(member, SMOOTHING_SD_VOXELS) for member in classes])
    return np.stack([smooth[k] - np.delete(smooth, k, axis=0).max(0) for k in range(1, n_classes)])


def meshes(label: NDArray[np.uint8], spec: DatasetSpec, spacing: Sequence[float]) -> dict[str, Any]:
    """Return the smoothed surface of each label in the map (X, Y, Z): name -> pyvista.PolyData, in mm."""
    import pyvista

    padded = np.pad(label, 3)
    origin = [-2.5 * step for step in spacing]
    grid = pyvista.ImageData(dimensions=padded.shape, spacing=tuple(spacing), origin=origin)
    found = {}
    for item, field in zip(spec.labels, fields(padded, spec.n_classes), strict=True):
        grid.point_data["lead"] = field.ravel(order="F")
        surface = grid.contour([0.0], scalars="lead")
        if surface.n_points:
            found[item.name] = surface.smooth_taubin(n_iter=20, pass_band=0.1).compute_normals()
    return found


# As `meshes`; a figure may bring its own.
Mesher = Callable[[NDArray[np.uint8], DatasetSpec, Sequence[float]], dict[str, Any]]


def _plotter(
    label: NDArray[np.uint8], spec: DatasetSpec, spacing: Sequence[float], span: float, mesher: Mesher, **options: Any
) -> Any:
    """A scene with one mesh for each label, seen along `VIEW` and filled by `span` mm."""
    import pyvista
    from vtkmodules.vtkCommonCore import vtkLogger

    # Without a display VTK warns, then finds EGL or OSMesa and draws.
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    plotter = pyvista.Plotter(**options)
    plotter.set_background("white")
    colours = {item.name: item.colour for item in spec.labels}
    for name, mesh in mesher(label, spec, spacing).items():
        plotter.add_mesh(mesh, color=colours[name], smooth_shading=True, specular=0.25, specular_power=12, ambient=0.18)
    extent = np.multiply(label.shape, spacing)
    direction, up = np.array(VIEW[0]) / np.linalg.norm(VIEW[0]), VIEW[1]
    plotter.camera.parallel_projection = True
    plotter.camera_position = [tuple(extent / 2 + direction * 4 * extent.max()), tuple(extent / 2), up]
    plotter.camera.parallel_scale = 0.27 * span
    return plotter


def picture(
    label: NDArray[np.uint8], spec: DatasetSpec, spacing: Sequence[float], span: float, mesher: Mesher = meshes,
    size: tuple[int, int] = (960, 560),
) -> NDArray[np.uint8]:  # fmt: skip
    """Render a label map (X, Y, Z), filled by `span` mm, off screen to (height, width, 3) uint8.

    Raises:
        RuntimeError: this machine cannot render (`problem`).
    """
    if reason := problem():
        raise RuntimeError(reason)
    plotter = _plotter(label, spec, spacing, span, mesher, off_screen=True, window_size=size, lighting="light kit")
    try:
        return np.asarray(plotter.screenshot(return_img=True))[..., :3]
    finally:
        plotter.close()


def _longest(label: NDArray[np.uint8], spacing: Sequence[float]) -> float:
    """The longest side of a label map in mm."""
    return float(np.max(np.multiply(label.shape, spacing)))


def figure(
    masks: Mapping[str, NDArray[np.uint8]], spec: DatasetSpec, spacing: Sequence[float], title: str,
    mesher: Mesher = meshes,
) -> Figure:  # fmt: skip
    """Draw pictures of several label maps side by side, in one scale, with names and legend. Raises as `picture`."""
    span = max(_longest(label, spacing) for label in masks.values())
    pictures = {name: picture(label, spec, spacing, span, mesher) for name, label in masks.items()}
    width = min(6.5, 10 / len(masks))
    fig, axes = plt.subplots(1, len(masks), figsize=(width * len(masks), 0.62 * width + 0.5), squeeze=False)
    for ax, (name, image) in zip(axes[0], pictures.items(), strict=True):
        ax.imshow(image, interpolation="antialiased")
        ax.set_title(name, fontsize=9, weight="normal")
        ax.set_axis_off()
        places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.04), (0.5, 0.96))
        for text, (x, y) in zip((*spec.axes[1], *spec.axes[2]), places, strict=True):
            ax.text(x, y, text, transform=ax.transAxes, ha="center", va="center", weight="bold", color=MUTED)
    heading(fig, title)
    legend(fig, spec)
    return fig


def _annotate(plotter: Any, shape: Sequence[int], spec: DatasetSpec, spacing: Sequence[float]) -> None:
    """Name the colours of a scene, and write the letters of the known directions at the ends of their axes."""
    names = [[item.name, item.colour] for item in spec.labels]
    plotter.add_legend(names, bcolor=None, face="rectangle", size=(0.28, 0.1), loc="lower left")
    ends = [(axis, end, text) for axis, both in enumerate(spec.axes) for end, text in enumerate(both) if text]
    extent = np.multiply(shape, spacing)
    points = [np.where(np.arange(3) == axis, end * extent, extent / 2) for axis, end, _ in ends]
    plotter.add_point_labels(np.array(points), [text for *_, text in ends], shape=None, show_points=False, bold=True,
                             always_visible=True, font_size=24, text_color=MUTED)  # fmt: skip


def without_downloads() -> None:
    """Keep trame from its renderer in WebAssembly, which it downloads without a hash before any scene is shown."""
    sys.modules.setdefault("trame.widgets.vtklocal", None)  # type: ignore[arg-type]


def show(label: NDArray[np.uint8], spec: DatasetSpec, spacing: Sequence[float]) -> Any:
    """Return a scene to turn and zoom in Jupyter; in Colab and without trame, a still picture and a word about it."""
    if reason := problem():
        raise RuntimeError(reason)
    turns = all(map(find_spec, ("trame_pyvista", "nest_asyncio2"))) and os.environ.get("HIPPOSEG_HEADLESS") != "1"
    turns = turns and "google.colab" not in sys.modules
    if turns:
        without_downloads()
    else:
        print("This is a still picture. In Jupyter on your own machine, with trame installed, the scene turns.")
    span = 1.8 * _longest(label, spacing)  # with room for the letters
    plotter = _plotter(label, spec, spacing, span, meshes, notebook=True, window_size=(700, 500))
    _annotate(plotter, label.shape, spec, spacing)
    return plotter.show(jupyter_backend="trame" if turns else "static", return_viewer=True)
