"""Effect of N4 on a cohort: strength of the field it finds, and what happens to tissue and contrast.

The true field of these scans is unknown. So there are two kinds of evidence: what changes on every real case
(`effects`), and how much of a planted field N4 removes again (`planted`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import binary_dilation

from hipposeg.data.cohort import Cohort
from hipposeg.data.grid import zscore
from hipposeg.data.n4 import N4Params, bias_field
from hipposeg.data.read import Case

# Voxels around the label that count as its surroundings.
SHELL = 3


def field_of(image: np.ndarray, corrected: np.ndarray) -> np.ndarray:
    """The field that a correction divided out: float64, the images' shape, NaN where the corrected image is 0."""
    corrected = corrected.astype(np.float64)
    return np.divide(image, corrected, out=np.full(corrected.shape, np.nan), where=corrected > 0)


def field_range(field: np.ndarray) -> float:
    """How much brighter the field makes its brightest part than its darkest: 99th over 1st percentile, minus 1."""
    low, high = np.nanpercentile(field, (1, 99))
    return float(high / low - 1)


def contrast_to_noise(image: np.ndarray, label: np.ndarray) -> float:
    """Difference of mean intensity between the labelled voxels and their surroundings, over their pooled SD.

    image, label: (X, Y, Z). Surroundings: unlabelled voxels at most `SHELL` steps from the label. They contain white
    matter and fluid, whose differences count as noise. NaN if either part is empty.
    """
    inside = label > 0
    shell = binary_dilation(inside, iterations=SHELL) & ~inside
    if not inside.any() or not shell.any():
        return float("nan")
    a, b = image[inside].astype(np.float64), image[shell].astype(np.float64)
    return float(abs(a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2))


def variation(image: np.ndarray, mask: np.ndarray) -> float:
    """Coefficient of variation (SD over mean) of the intensities in `mask`; NaN if it is empty."""
    values = image[mask].astype(np.float64)
    return float(values.std() / values.mean()) if values.size else float("nan")


def effects(cohort: Cohort, corrected: Mapping[int, np.ndarray]) -> pd.DataFrame:
    """What the correction changed in the first channel, one row per case (index).

    Columns: subject, field_range (share), correlation (original with corrected intensities), z_change (root mean square
    difference of the z-scored images, in SD: the change of a network's input), cnr_before, cnr_after, and
    cv_<label>_before and cv_<label>_after for every label.
    """
    rows = {}
    for number, case in cohort.cases.items():
        before, after = case.image[0], corrected[number][0]
        change = zscore(case.image)[0].astype(np.float64) - zscore(corrected[number])[0]
        rows[number] = {
            "subject": case.subject,
            "field_range": field_range(field_of(before, after)),
            "correlation": float(np.corrcoef(before.ravel().astype(np.float64), after.ravel())[0, 1]),
            "z_change": float(np.sqrt((change**2).mean())),
        }
        for when, image in (("before", before), ("after", after)):
            rows[number][f"cnr_{when}"] = contrast_to_noise(image, case.label)
            for item in cohort.spec.labels:
                rows[number][f"cv_{item.name}_{when}"] = variation(image, case.label == item.value)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("case")


def smooth_field(shape: tuple[int, int, int], rng: np.random.Generator, strength: float = 0.1) -> np.ndarray:
    """A smooth positive field: the exponential of a random quadratic over the box whose SD is `strength`; float64."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    slopes, curves = rng.normal(size=3), rng.normal(size=3) / 2
    log_field = sum(s * axis + c * axis**2 for s, c, axis in zip(slopes, curves, axes, strict=True))
    log_field -= log_field.mean()
    return np.exp(strength * log_field / log_field.std())


def planted(cases: Mapping[int, Case], settings: Mapping[str, N4Params], strength: float = 0.1) -> pd.DataFrame:
    """Multiply each case by a known field and estimate it with N4, under several settings.

    The estimate for the planted image minus that for the original (both as logarithms) should be the planted field.

    Returns:
        One row per setting and case. Columns: setting, case, found_range (range of the field in the original), missed
        (SD of what is left of the planted field, as a share of its own SD: 0 all found, 1 nothing found), cv_original
        and cv_corrected (coefficient of variation in the foreground of the original).
    """
    rows = []
    for number, case in cases.items():
        image, inside = case.image[0], case.label > 0
        truth = smooth_field(image.shape, np.random.default_rng([0, number]), strength)
        dirty = (image * truth).astype(np.float32)
        for name, params in settings.items():
            own, both = (bias_field(one, case.spacing, params) for one in (image, dirty))
            left = np.log(both.astype(np.float64)) - np.log(own) - np.log(truth)
            rows.append({
                "setting": name, "case": number, "found_range": field_range(own),
                "missed": float(left.std() / np.log(truth).std()),
                "cv_original": variation(image, inside), "cv_corrected": variation(image / own, inside),
            })  # fmt: skip
    return pd.DataFrame(rows)


def relative_changes(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """From the table of `effects`: (after - before) / before of "contrast to noise" and of "variation in <label>"."""
    columns = {"contrast to noise": "cnr"} | {f"variation in {name}": f"cv_{name}" for name in names}
    return pd.DataFrame({name: table[f"{c}_after"] / table[f"{c}_before"] - 1 for name, c in columns.items()})


def mask_share(cohort: Cohort, inside: Mapping[int, np.ndarray]) -> float:
    """Mean share of the labelled voxels that an estimation mask (X, Y, Z) keeps."""
    return float(np.mean([inside[number][case.label > 0].mean() for number, case in cohort.cases.items()]))


def otsu_mask(image: np.ndarray) -> np.ndarray:
    """Voxels above Otsu's threshold, the mask that N4 uses by default: bool, the image's shape."""
    import SimpleITK as sitk  # noqa: N813

    return sitk.GetArrayFromImage(sitk.OtsuThreshold(sitk.GetImageFromArray(image), 0, 1)).astype(bool)
