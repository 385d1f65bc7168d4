"""Where wrong voxels lie: along the hippocampus' long axis, and how far from the border that was drawn wrongly.

A wrong voxel has a kind (`metrics.ERROR_KINDS`). Its distance is that to the nearest voxel whose true class would make
the prediction right: for a swap one of the predicted part, for background taken as hippocampus one of hippocampus, for
missed hippocampus one of background. So 1 mm on a 1 mm grid is a border drawn one voxel off. Its position is the share
of the true structure's length from the anterior end, below 0 or above 1 beyond its ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DatasetSpec
from hipposeg.results.load import Run
from hipposeg.stats import interval

COLUMNS = ("run", "by", "bin", "kind", "mm3", "low", "high", "people", "true_mm3")
PARTS = 10
POSITIONS = ("before", *(f"{10 * part} to {10 * part + 10} %" for part in range(PARTS)), "behind")
REACHES_MM = (1.0, 2.0, 3.0)
DISTANCES = (*(f"up to {reach:g} mm" for reach in REACHES_MM), "farther")


@dataclass(frozen=True)
class Mistakes:
    """One run's errors over its scored cases.

    Attributes:
        confusion: voxel counts (K + 1, K + 1), rows true.
        volumes: mm3 by kind (columns) for each case (index).
        depths: distance in mm from the true border of every wrong voxel of all cases.
    """

    confusion: np.ndarray
    volumes: pd.DataFrame
    depths: np.ndarray


def mistakes(runs: Sequence[Run], cohort: Cohort) -> dict[str, Mistakes]:
    """Take the errors of runs with masks apart that share their scored cases: run -> Mistakes."""
    spec, near = cohort.spec, {}
    for number in runs[0].masks if runs else ():
        near[number] = metrics.border_distance(cohort.cases[number].label, cohort.cases[number].spacing)
    found = {}
    for run in runs:
        total, volumes, depths = np.zeros((spec.n_classes, spec.n_classes), np.int64), {}, []
        for number, mask in run.masks.items():
            case = cohort.cases[number]
            total += metrics.confusion(mask, case.label, spec.n_classes)
            kinds, voxel = metrics.error_masks(mask, case.label), float(np.prod(case.spacing))
            volumes[number] = {kind: wrong.sum() * voxel for kind, wrong in kinds.items()}
            depths.append(near[number][mask != case.label])
        found[run.name] = Mistakes(total, pd.DataFrame.from_dict(volumes, orient="index"), np.concatenate(depths))
    return found


def long_axis(spec: DatasetSpec) -> tuple[int, bool]:
    """The axis from posterior to anterior, and whether anterior is its high end. Raises ValueError if unknown."""
    for axis, ends in enumerate(spec.axes):
        if set(ends) == {"A", "P"}:
            return axis, ends[1] == "A"
    raise ValueError(f"the axes end in {spec.axes}; expected one from P to A, to tell anterior from posterior")


def positions(truth: np.ndarray, axis: int, anterior_high: bool) -> np.ndarray:
    """Share of the true structure's length, from its anterior end, at the middle of every slice across `axis`.

    truth: label map (X, Y, Z). Returns (slices,), below 0 and above 1 beyond the ends. Raises ValueError if empty.
    """
    held = np.flatnonzero((truth > 0).any(axis=tuple(other for other in range(3) if other != axis)))
    if not held.size:
        raise ValueError("the true label map is empty, so it has no ends; leave the case out")
    share = (np.arange(truth.shape[axis]) + 0.5 - held[0]) / (held[-1] + 1 - held[0])
    return 1 - share if anterior_high else share


def wrong_voxels(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], spec: DatasetSpec
) -> pd.DataFrame:
    """One row a wrong voxel: kind, position (share of the length), distance (mm). Label maps (X, Y, Z)."""
    axis, anterior_high = long_axis(spec)
    share = positions(truth, axis, anterior_high)
    to_class = np.stack([_away(truth == value, spacing) for value in range(spec.n_classes)])
    to_any = _away(truth > 0, spacing)
    tables = []
    for kind, mask in metrics.error_masks(prediction, truth).items():
        where = np.nonzero(mask)
        distance = to_any[where] if kind == "false_positive" else to_class[(prediction[where], *where)]
        tables.append(pd.DataFrame({"kind": kind, "position": share[where[axis]], "distance": distance}))
    return pd.concat(tables, ignore_index=True)


def of_run(run: Run, cohort: Cohort) -> pd.DataFrame:
    """`wrong_voxels` of all cases of one run, with columns case and mm3 (of a voxel) before the others."""
    tables = []
    for number, mask in run.masks.items():
        case = cohort.cases[number]
        found = wrong_voxels(mask, case.label, case.spacing, cohort.spec)
        found.insert(0, "mm3", float(np.prod(case.spacing)))
        found.insert(0, "case", number)
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def true_tissue(cases: Sequence[int], cohort: Cohort) -> pd.Series:
    """True hippocampus in the average case by position, in mm3: indexed by POSITIONS."""
    axis, anterior_high = long_axis(cohort.spec)
    total = np.zeros(len(POSITIONS))
    for number in cases:
        case = cohort.cases[number]
        held = (case.label > 0).sum(axis=tuple(other for other in range(3) if other != axis))
        np.add.at(total, _position_bin(positions(case.label, axis, anterior_high)), held * np.prod(case.spacing))
    return pd.Series(total / len(cases), POSITIONS)


def study(runs: Sequence[Run], wrong: Mapping[str, pd.DataFrame], cohort: Cohort) -> pd.DataFrame:
    """Wrong tissue in the average volume, by position and by distance, kind by kind: columns COLUMNS.

    wrong: run -> what `of_run` gives. mm3 is the mean over cases with its interval over people; true_mm3 the true
    tissue at that position, empty for distances.
    """
    rows = []
    for run in runs:
        cases, table, subjects = list(run.values().index), wrong[run.name], run.subjects()
        tissue = true_tissue(cases, cohort)
        reached = np.searchsorted(REACHES_MM, table["distance"] * (1 - 1e-9))
        bins = {
            "position": np.array(POSITIONS)[_position_bin(table["position"].to_numpy())],
            "distance": np.array(DISTANCES)[reached],
        }
        for by, names in (("position", POSITIONS), ("distance", DISTANCES)):
            sums = table.assign(bin=bins[by]).pivot_table(
                index="case", columns=["bin", "kind"], values="mm3", aggfunc="sum"
            ).reindex(cases).fillna(0.0)  # fmt: skip
            for name in names:
                for kind in metrics.ERROR_KINDS:
                    values = sums[name, kind] if (name, kind) in sums else pd.Series(0.0, cases)
                    found = interval(values.to_numpy(), subjects.to_numpy())
                    rows.append({
                        "run": run.name, "by": by, "bin": name, "kind": kind, "mm3": found.value, "low": found.low,
                        "high": found.high, "people": subjects.nunique(), "true_mm3": tissue.get(name, np.nan),
                    })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _away(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance in mm of every voxel from the nearest one of a boolean mask; infinite if that is empty."""
    return distance_transform_edt(~mask, sampling=tuple(spacing)) if mask.any() else np.full(mask.shape, np.inf)


def _position_bin(share: np.ndarray) -> np.ndarray:
    """Index into POSITIONS of shares of the length."""
    return np.clip(np.floor(share * PARTS).astype(int) + 1, 0, PARTS + 1)
