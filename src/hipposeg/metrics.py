"""Scoring: per case, per label, on the native grid, in the file's own spacing.

- Background is never averaged in. `union` (all foreground as one structure) and `mean` (average of the foreground
  classes) are separate labels.
- Both masks empty: every value is NaN.
- One mask empty: overlaps (Dice, IoU, NSD) are 0, distances (HD95, MSD) are NaN and counted beside their mean.

Dice and IoU are computed here, surface measures by MONAI. NSD is the surfel definition of Nikolov et al. 2021
(doi:10.2196/26151), in which each surface element has its area; HD95 is the larger of the two directed 95th
percentiles; MSD is the symmetric mean distance over both surfaces' voxels. Maier-Hein et al. 2024, Metrics Reloaded
(doi:10.1038/s41592-023-02151-z), describe what each measure rewards.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from hipposeg.data.spec import DatasetSpec

# Increase when a score's arithmetic changes: keys of earlier runs then differ.
NUMERICS = 1

METRICS = ("dice", "iou", "nsd1", "nsd2", "hd95", "msd", "volume_bias", "volume_abs_error")
DISTANCES = ("hd95", "msd")
NSD_TOLERANCES_MM = (1.0, 2.0)
UNION, MEAN = "union", "mean"


def score_case(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], spec: DatasetSpec) -> list[dict]:
    """Score integer label maps (X, Y, Z) of one case on its own grid with voxels of `spacing` mm.

    Returns:
        One dictionary per label of `labels_of(spec)`: label, METRICS (distances in mm, volumes in mm3), volume_true and
        volume_predicted. `mean` averages the foreground classes without NaN.

    Raises:
        ValueError: different shapes, unknown label values or an impossible spacing.
    """
    prediction, truth, spacing = _checked(prediction, truth, spacing, spec)
    prediction, truth = prediction[box := _box(prediction, truth)], truth[box]
    masks = [(label.name, prediction == label.value, truth == label.value) for label in spec.labels]
    rows = [_score(name, p, t, spacing) for name, p, t in [*masks, (UNION, prediction > 0, truth > 0)]]
    classes, union = rows[:-1], rows[-1]
    return [*classes, union, {"label": MEAN} | {key: _mean(row[key] for row in classes) for key in list(union)[1:]}]


def labels_of(spec: DatasetSpec) -> tuple[str, ...]:
    """The labels of a score table: the foreground classes, their union, their mean."""
    return (*spec.names, UNION, MEAN)


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two boolean masks: 2 |P and T| / (|P| + |T|). NaN if both are empty. Dice 1945, doi 10.2307/1932409."""
    total = int(prediction.sum()) + int(truth.sum())
    return 2.0 * int((prediction & truth).sum()) / total if total else float("nan")


def class_dice(prediction: np.ndarray, truth: np.ndarray, spec: DatasetSpec) -> dict[str, float]:
    """Name of each class -> its Dice between two label maps of one shape."""
    return {one.name: dice(prediction == one.value, truth == one.value) for one in spec.labels}


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Jaccard index of two boolean masks: |P and T| / |P or T|. NaN if both are empty."""
    union = int((prediction | truth).sum())
    return int((prediction & truth).sum()) / union if union else float("nan")


def surface_scores(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
    """nsd1, nsd2 (0 to 1), hd95 and msd (mm) of two boolean masks (X, Y, Z), neither of them empty."""
    import torch

    # MONAI's __init__ imports all of its packages, which takes 20 s once a process; so it waits for the first score.
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    # MONAI wants (batch, channel, X, Y, Z) of floats; here one case with one foreground channel.
    p, t = (torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None] for mask in (prediction, truth))
    shared = {"include_background": True, "spacing": tuple(spacing)}
    repeats = (1, len(NSD_TOLERANCES_MM), 1, 1, 1)
    with warnings.catch_warnings():
        # MONAI 1.6 passes one of its own deprecated arguments; nothing that a caller here could change.
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)
        nsd = compute_surface_dice(
            p.repeat(repeats), t.repeat(repeats), list(NSD_TOLERANCES_MM), use_subvoxels=True, **shared
        )
        hd95 = compute_hausdorff_distance(p, t, percentile=95, **shared)
        msd = compute_average_surface_distance(p, t, symmetric=True, **shared)
    values = [*nsd[0].tolist(), hd95.item(), msd.item()]
    return dict(zip(("nsd1", "nsd2", *DISTANCES), values, strict=True))


def _score(name: str, prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float | str]:
    voxel = float(np.prod(spacing))
    volume_predicted, volume_true = int(prediction.sum()) * voxel, int(truth.sum()) * voxel
    row: dict[str, float | str] = {"label": name} | dict.fromkeys(METRICS, float("nan"))
    if volume_predicted or volume_true:
        row |= {"dice": dice(prediction, truth), "iou": iou(prediction, truth), "nsd1": 0.0, "nsd2": 0.0}
        row |= {"volume_bias": volume_predicted - volume_true, "volume_abs_error": abs(volume_predicted - volume_true)}
    if volume_predicted and volume_true:
        row |= surface_scores(prediction, truth, spacing)
    return row | {"volume_true": volume_true, "volume_predicted": volume_predicted}


def _mean(values: Iterator[float]) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return sum(kept) / len(kept) if kept else float("nan")


def _box(prediction: np.ndarray, truth: np.ndarray) -> tuple[slice, ...]:
    """Bounding box of all foreground, one voxel wider where the grid allows; empty margins only cost time."""
    found = np.nonzero((prediction > 0) | (truth > 0))
    if not found[0].size:
        return (slice(0, 1),) * prediction.ndim
    return tuple(slice(max(int(axis.min()) - 1, 0), int(axis.max()) + 2) for axis in found)


def _checked(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], spec: DatasetSpec
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Refuse what cannot be scored, such as shapes that numpy would broadcast."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError(
            f"prediction has shape {prediction.shape}, truth {truth.shape}; expected one 3D shape for both: "
            "bring the prediction back to the native grid before scoring"
        )
    allowed = np.arange(spec.n_classes)
    for name, array in (("prediction", prediction), ("truth", truth)):
        found = np.unique(array)
        if not np.isin(found, allowed).all():
            raise ValueError(f"{name} holds values {found[:8].tolist()}; expected labels {allowed.tolist()} only")
    spacing = tuple(float(value) for value in spacing)
    if len(spacing) != 3 or not all(np.isfinite(value) and value > 0 for value in spacing):
        raise ValueError(f"spacing is {spacing}; expected three positive numbers in mm, from the image's header")
    return prediction, truth, spacing
