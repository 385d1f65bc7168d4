"""Flag unusual predictions: a few measures of a mask, and limits from the predictions for unseen subjects.

One in 200 of the networks' predictions for subjects they never saw lies beyond a limit, on that side. So a flag means
"unlike the predictions for the data set's crops", such as those of a looser crop, a rotated or a mirrored one. A mask
can be wrong without a flag.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hipposeg.data.spec import DatasetSpec
from hipposeg.metrics import UNION

# Percentage of the calibration masks beyond a limit, on one side.
BEYOND = 0.5

# Measure -> which ends are limited, and the words of a flag. {0}: the value, {1}: the limit.
STRAY, MARGIN, ORDER, DOUBT = "stray", "margin", "order", "doubt"
RULES = {
    STRAY: ("high", "{0:.1%} of the hippocampus lies apart from its largest piece (limit {1:.1%})"),
    MARGIN: ("low", "voxels between the hippocampus and the nearest side of the crop: {0:.0f} (limit {1:.0f})"),
    ORDER: ("low", "the anterior part's centre is {0:.0f} mm in front of the posterior's (limit {1:.0f})"),
    DOUBT: (
        "high",
        "the averaged predictions differ in the total volume by {0:.1%} (standard deviation; limit {1:.1%})",
    ),
}
VOLUME_WORDS = "the {label} volume of {0:.0f} mm³ is {side} the limit of {1:.0f}"


def measure(
    mask: np.ndarray, spacing: Sequence[float], spread: Mapping[str, float], spec: DatasetSpec
) -> dict[str, float]:
    """Measure one predicted mask.

    Args:
        mask: (X, Y, Z) label map.
        spread: standard deviation of each label's volume over the averaged predictions, in mm3.

    Returns:
        Each label's volume and the union's in mm3; STRAY, a fraction; MARGIN in voxels; ORDER in mm along the axis from
        posterior to anterior; DOUBT, the union's spread over its volume. NaN where a mask is empty.
    """
    from scipy import ndimage

    inside, voxel = mask > 0, float(np.prod(spacing))
    found = {label.name: voxel * int((mask == label.value).sum()) for label in spec.labels}
    found[UNION] = voxel * int(inside.sum())
    found |= {STRAY: np.nan, MARGIN: np.nan, ORDER: np.nan, DOUBT: np.nan}
    if not inside.any():
        return found
    pieces, _ = ndimage.label(inside, np.ones((3, 3, 3)))
    found[STRAY] = 1 - np.bincount(pieces[inside]).max() / inside.sum()
    where = np.argwhere(inside)
    found[MARGIN] = float(min(where.min(axis=0).min(), (np.subtract(mask.shape, 1) - where.max(axis=0)).min()))
    axis = spec.axes.index(("P", "A"))
    front, back = (np.argwhere(mask == value)[:, axis] for value in (1, 2))
    if len(front) and len(back):
        found[ORDER] = float(front.mean() - back.mean()) * spacing[axis]
    found[DOUBT] = spread[UNION] / found[UNION]
    return found


def limits(measured: Sequence[Mapping[str, float]], spec: DatasetSpec) -> dict[str, list[float | None]]:
    """[low, high] of each measure over the calibration masks; None for an end without a limit."""
    found = {}
    for name in (*spec.names, UNION, *RULES):
        values = np.array([one[name] for one in measured], dtype=float)
        sides = RULES[name][0] if name in RULES else "both"
        if np.isnan(values).all():  # a single prediction has no spread
            found[name] = [None, None]
            continue
        low = np.nanpercentile(values, BEYOND, method="lower")
        high = np.nanpercentile(values, 100 - BEYOND, method="higher")
        found[name] = [float(low) if sides != "high" else None, float(high) if sides != "low" else None]
    return found


def flags(measured: Mapping[str, float], within: Mapping[str, Sequence[float | None]]) -> list[str]:
    """A sentence for each measure beyond its limits; only one for an empty prediction."""
    if not measured[UNION]:
        return ["no hippocampus was found"]
    found = []
    for name, (low, high) in within.items():
        value = measured[name]  # NaN where a part is missing, which its volume shows
        if low is not None and value < low:
            found.append(_words(name, value, low, "below"))
        if high is not None and value > high:
            found.append(_words(name, value, high, "above"))
    return found


def _words(name: str, value: float, limit: float, side: str) -> str:
    if name in RULES:
        return RULES[name][1].format(value, limit)
    return VOLUME_WORDS.format(value, limit, label="total" if name == UNION else name, side=side)
