"""Where prediction and truth agree: found, too much and missed, as a label map for slices and surfaces."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hipposeg.data.spec import DatasetSpec, Label
from hipposeg.viz.surface import meshes
from hipposeg_lab.figures.mistakes import KINDS

# True positives, false positives, false negatives. The two kinds of error have their colours of notebook 07.
FOUND = Label(1, "found by both (true positive)", "#D9D9D9")
TOO_MUCH = Label(2, "too much (false positive)", KINDS["false_positive"][1])
MISSED = Label(3, "missed (false negative)", KINDS["missed"][1])


def outcomes(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Every voxel's outcome for the whole hippocampus, (X, Y, Z) uint8: values of FOUND, TOO_MUCH, MISSED, else 0.

    prediction, truth: label maps (X, Y, Z). One part taken for the other counts as found: this view is about the outer
    border. Raises ValueError if the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ; bring both to one grid")
    found = np.zeros(truth.shape, np.uint8)
    found[(prediction > 0) & (truth > 0)] = FOUND.value
    found[(prediction > 0) & (truth == 0)] = TOO_MUCH.value
    found[(prediction == 0) & (truth > 0)] = MISSED.value
    return found


def outcome_spec(spec: DatasetSpec) -> DatasetSpec:
    """The data set's description with outcomes as its labels, for any figure that draws label maps."""
    return replace(spec, labels=(FOUND, TOO_MUCH, MISSED))


def blocks(found: np.ndarray, spec: DatasetSpec, spacing: Sequence[float]) -> dict[str, Any]:
    """What both found as the usual smooth surface, every wrong voxel as the cube that it is: name -> PolyData, mm.

    found: of `outcomes`. spec: of `outcome_spec`. Smoothing would take away single voxels, and most errors are such.
    """
    import pyvista
    from vtkmodules.vtkFiltersGeometry import vtkDataSetSurfaceFilter

    made = meshes(np.where(found == FOUND.value, found, 0).astype(np.uint8), spec, spacing)
    grid = pyvista.ImageData(dimensions=np.add(found.shape, 1), spacing=tuple(spacing))
    grid.cell_data["outcome"] = found.ravel(order="F")
    for item in (TOO_MUCH, MISSED):
        if (found == item.value).any():
            skin = vtkDataSetSurfaceFilter()
            skin.SetInputData(grid.threshold((item.value - 0.5, item.value + 0.5), scalars="outcome"))
            skin.Update()
            made[item.name] = pyvista.wrap(skin.GetOutput()).compute_normals(split_vertices=True, feature_angle=30)
    return made
