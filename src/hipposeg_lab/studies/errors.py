"""Where wrong voxels lie, along the hippocampus' long axis and by distance, and a sentence on each case's errors.

A wrong voxel has a kind (`error_masks`). Its distance is measured to the nearest voxel whose true class would
make the prediction right: for a swap a voxel of the predicted part, for a false positive any hippocampus, for missed
hippocampus the background. So 1 mm on a 1 mm grid is a border drawn one voxel off. Its position is a fraction of the
true structure's length from the anterior end, below 0 or above 1 beyond its ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt

from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DatasetSpec
from hipposeg.metrics import UNION
from hipposeg.results.load import Run
from hipposeg.stats import interval

COLUMNS = ("run", "by", "bin", "kind", "mm3", "low", "high", "subjects", "true_mm3")
PARTS = 10
POSITIONS = ("before", *(f"{10 * part} to {10 * part + 10} %" for part in range(PARTS)), "behind")
REACHES_MM = (1.0, 2.0, 3.0)
DISTANCES = (*(f"up to {reach:g} mm" for reach in REACHES_MM), "farther")

WORDS = ("run", "case", "dice", "words")
# Kind -> its name in a sentence, and the border that its distance is measured from.
KINDS = {
    "swap": ("one part taken for the other", "the border between the parts"),
    "false_positive": ("too much", "the true outline"),
    "missed": ("hippocampus missed", "the true outline"),
}
THIRDS = ("the anterior third", "the middle third", "the posterior third")
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Mistakes:
    """One run's errors over its test cases."""

    volumes: pd.DataFrame  # mm3 by kind (columns) for each case (index)
    depths: np.ndarray  # distance in mm of every wrong voxel from the true border


def mistakes(runs: Sequence[Run], cohort: Cohort) -> dict[str, Mistakes]:
    """Count the errors of runs with masks on the same test cases; run -> Mistakes."""
    found, near = {}, {}
    for number in runs[0].masks if runs else ():
        near[number] = border_distance(cohort.cases[number].label, cohort.cases[number].spacing)
    for run in runs:
        volumes, depths = {}, []
        for number, mask in run.masks.items():
            case = cohort.cases[number]
            kinds, voxel = error_masks(mask, case.label), float(np.prod(case.spacing))
            volumes[number] = {kind: wrong.sum() * voxel for kind, wrong in kinds.items()}
            depths.append(near[number][mask != case.label])
        found[run.name] = Mistakes(pd.DataFrame.from_dict(volumes, orient="index"), np.concatenate(depths))
    return found


def confusion(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> np.ndarray:
    """Voxel counts, int64 (n_classes, n_classes): row is the true class, column the predicted one, background first."""
    pairs = truth.astype(np.int64).ravel() * n_classes + prediction.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def border_distance(truth: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance in mm of each voxel (X, Y, Z) from the nearest voxel of another true class; infinite without a border.

    On an isotropic 1 mm grid, 1 mm means that the voxel touches the true border.
    """
    values = np.unique(truth)
    if len(values) < 2:
        return np.full(truth.shape, np.inf)
    return sum(distance_transform_edt(truth == value, sampling=tuple(spacing)) for value in values)


def error_masks(prediction: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Wrong voxels by kind, each a boolean (X, Y, Z).

    `swap`: one foreground class taken for another; `false_positive`: background taken for foreground; `missed`:
    foreground taken for background.
    """
    wrong = prediction != truth
    masks = (wrong & (truth > 0) & (prediction > 0), wrong & (truth == 0), wrong & (prediction == 0))
    return dict(zip(KINDS, masks, strict=True))


def long_axis(spec: DatasetSpec) -> tuple[int, bool]:
    """The axis from posterior to anterior, and whether anterior is its high end. Raises ValueError if unknown."""
    for axis, ends in enumerate(spec.axes):
        if set(ends) == {"A", "P"}:
            return axis, ends[1] == "A"
    raise ValueError(f"the axes end in {spec.axes}; expected one from P to A, to tell anterior from posterior")


def positions(truth: np.ndarray, axis: int, anterior_high: bool) -> np.ndarray:
    """Position of the middle of every slice across `axis` of a label map: a fraction of the length from anterior.

    Below 0 and above 1 beyond the ends. Raises ValueError if the label map is empty.
    """
    held = np.flatnonzero((truth > 0).any(axis=tuple(other for other in range(3) if other != axis)))
    if not held.size:
        raise ValueError("the true label map is empty, so it has no ends; leave the case out")
    share = (np.arange(truth.shape[axis]) + 0.5 - held[0]) / (held[-1] + 1 - held[0])
    return 1 - share if anterior_high else share


def wrong_voxels(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], spec: DatasetSpec
) -> pd.DataFrame:
    """List the wrong voxels of a label map (X, Y, Z): columns kind, position, distance (mm)."""
    axis, anterior_high = long_axis(spec)
    share = positions(truth, axis, anterior_high)
    to_class = np.stack([_distance_to(truth == value, spacing) for value in range(spec.n_classes)])
    to_any = _distance_to(truth > 0, spacing)
    tables = []
    for kind, mask in error_masks(prediction, truth).items():
        where = np.nonzero(mask)
        distance = to_any[where] if kind == "false_positive" else to_class[(prediction[where], *where)]
        tables.append(pd.DataFrame({"kind": kind, "position": share[where[axis]], "distance": distance}))
    return pd.concat(tables, ignore_index=True)


def of_run(run: Run, cohort: Cohort) -> pd.DataFrame:
    """`wrong_voxels` of all cases of a run, with two more columns: case, and mm3 of a voxel."""
    tables = []
    for number, mask in run.masks.items():
        case = cohort.cases[number]
        found = wrong_voxels(mask, case.label, case.spacing, cohort.spec)
        tables.append(found.assign(case=number, mm3=float(np.prod(case.spacing))))
    return pd.concat(tables, ignore_index=True)


def study(runs: Sequence[Run], wrong: Mapping[str, pd.DataFrame], cohort: Cohort) -> pd.DataFrame:
    """Volume of wrong voxels in the average case, by position and by distance, for each kind: columns COLUMNS.

    wrong: run -> what `of_run` returns. mm3 is the mean over cases with its interval over subjects; true_mm3 the true
    volume at that position, NaN for distances.
    """
    rows = []
    for run in runs:
        cases, table, subjects = list(run.values().index), wrong[run.name], run.subjects()
        bins = {
            "position": _position_bin(table["position"].to_numpy()),
            "distance": np.searchsorted(REACHES_MM, table["distance"] * (1 - 1e-9)),
        }
        tissue = {"position": _true_volume(cases, cohort), "distance": np.full(len(DISTANCES), np.nan)}
        for by, names in (("position", POSITIONS), ("distance", DISTANCES)):
            sums = table.groupby([bins[by], "kind", "case"])["mm3"].sum()
            every = pd.MultiIndex.from_product([range(len(names)), KINDS, cases])
            each = sums.reindex(every, fill_value=0.0).to_numpy().reshape(len(names), len(KINDS), len(cases))
            for name, volume, by_kind in zip(names, tissue[by], each, strict=True):
                for kind, values in zip(KINDS, by_kind, strict=True):
                    found = vars(interval(values, subjects.to_numpy())).values()
                    rows.append((run.name, by, name, kind, *found, subjects.nunique(), volume))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _true_volume(cases: Sequence[int], cohort: Cohort) -> np.ndarray:
    """True hippocampus of the average case in mm3, at each of POSITIONS."""
    axis, anterior_high = long_axis(cohort.spec)
    total = np.zeros(len(POSITIONS))
    for number in cases:
        case = cohort.cases[number]
        held = (case.label > 0).sum(axis=tuple(other for other in range(3) if other != axis))
        np.add.at(total, _position_bin(positions(case.label, axis, anterior_high)), held * np.prod(case.spacing))
    return total / len(cases)


def _distance_to(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance in mm of every voxel to the nearest voxel of a boolean mask; infinite if the mask is empty."""
    return distance_transform_edt(~mask, sampling=tuple(spacing)) if mask.any() else np.full(mask.shape, np.inf)


def _position_bin(share: np.ndarray) -> np.ndarray:
    """Index into POSITIONS of fractions of the length."""
    return np.clip(np.floor(share * PARTS).astype(int) + 1, 0, PARTS + 1)


def in_words(runs: Sequence[Run], wrong: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A sentence for every test case: columns WORDS, with the mean Dice. wrong: run -> what `of_run` returns."""
    rows = []
    for run in runs:
        true, predicted = (run.values(UNION, name) for name in ("volume_true", "volume_predicted"))
        for case, dice in run.values().items():
            found = wrong[run.name].query("case == @case")
            rows.append((run.name, int(case), dice, what_went_wrong(found, float(true[case]), float(predicted[case]))))
    return pd.DataFrame(rows, columns=list(WORDS))


def what_went_wrong(wrong: pd.DataFrame, volume_true: float, volume_predicted: float) -> str:
    """Describe a case's `wrong_voxels`: share of each kind, distance, position, and the error of the volume (mm3).

    Kinds with less than a tenth of the error are left out. Raises ValueError if the true volume is not positive.
    """
    if not volume_true > 0:
        raise ValueError(f"the true volume is {volume_true} mm3; leave out cases without a true hippocampus")
    if wrong.empty:
        return "No voxel is wrong."
    shares = wrong["kind"].value_counts(normalize=True)
    shares = shares.reindex([kind for kind in KINDS if kind in shares]).sort_values(ascending=False, kind="stable")
    parts = []
    for kind, share in shares.items():
        if not parts or share >= LEAST_SHARE:
            mine, (name, border) = wrong[wrong["kind"] == kind], KINDS[kind]
            reach, third = _reach(mine["distance"]), _third(mine["position"])
            parts.append(f"{name}: {100 * share:.0f} % of the error, {reach} {border}{third}")
    text = "; ".join([*parts, _volume(volume_predicted / volume_true - 1)])
    return text[0].upper() + text[1:] + "."


def _reach(distance: pd.Series) -> str:
    """The smallest reach that contains more than half of the voxels."""
    for reach in REACHES_MM:
        if (distance <= reach * (1 + 1e-9)).mean() > 0.5:
            return f"most of it within {reach:g} mm of"
    return f"most of it farther than {REACHES_MM[-1]:g} mm from"


def _third(position: pd.Series) -> str:
    """The third of the long axis that contains more than half of the voxels, if there is one."""
    third = np.clip(np.floor(position * 3).astype(int), 0, 2)
    counts = np.bincount(third, minlength=3) / len(third)
    return f", in {THIRDS[int(counts.argmax())]}" if counts.max() > 0.5 else ""


def _volume(error: float) -> str:
    """The relative error of the volume in words."""
    if abs(error) < 0.005:
        return "volume right to within half a per cent"
    return f"volume too {'large' if error > 0 else 'small'} by {100 * abs(error):.0f} %"
