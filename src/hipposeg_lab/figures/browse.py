"""Sliders that move the three planes through a case, for a person in Jupyter."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from hipposeg.data.spec import DatasetSpec
from hipposeg.viz.planes import fullest, plane_name
from hipposeg.viz.slices import three_plane


def browse(
    image: np.ndarray,
    masks: Mapping[str, np.ndarray | None],
    spec: DatasetSpec,
    title: str = "",
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> Any:
    """`three_plane` under three sliders, one for each axis: an ipywidgets box to be displayed.

    image: (X, Y, Z). masks: name -> (X, Y, Z) label map or None. It starts where `three_plane` would.
    """
    import ipywidgets as widgets
    from IPython.display import display

    first = next((mask for mask in masks.values() if mask is not None), None)
    sliders = [
        widgets.IntSlider(
            value=fullest(first, axis, image.shape),
            max=image.shape[axis] - 1,
            description=plane_name(spec, axis),
            continuous_update=False,
        )
        for axis in range(3)
    ]

    def draw(**centre: int) -> None:
        figure = three_plane(
            image, masks, spec, title, [centre[f"axis{axis}"] for axis in range(3)], spacing=tuple(spacing)
        )
        display(figure)
        plt.close(figure)

    output = widgets.interactive_output(draw, {f"axis{axis}": slider for axis, slider in enumerate(sliders)})
    return widgets.VBox([widgets.HBox(sliders), output])
