"""How scores get inflated: one set of stored masks, scored honestly and in ten other ways that are in use.

Nothing is predicted anew, so whatever a practice adds is added by the scoring alone. The letters name the student
projects in which a practice was found (`report.published.CLAIMS`); what each practice does is said in PRACTICES, and
the score it stands beside is `metrics`' own: Dice per case and part, on the native grid, background left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.grid import place
from hipposeg.metrics import MEAN
from hipposeg.models import atlas
from hipposeg.runs.table import FLOOR, Run
from hipposeg.stats import interval

COLUMNS = ("run", "practice", "honest", "shown", "difference", "low", "high", "people", "note")

# Slug -> (title of a figure's row, what is done). `honest` of a row is the same masks' own honest score.
PRACTICES = {
    "honest": ("honest", "per case and part, on the native grid, background left out"),
    "background": ("background averaged in", "the background counts as a third class of the mean"),
    "pooled-slices": (
        "16 slices pooled",
        "voxels of 16 axial slices of a 64x64x64 box are pooled, background included; an absent class scores 1 (C)",
    ),
    "pooled-volumes": (
        "two volumes pooled",
        "voxels of two 64x64x64 boxes are pooled, background included; an absent class scores 1 (C)",
    ),
    "pooled-nothing": (
        "16 slices pooled, nothing predicted",
        "a prediction of nothing at all, scored as with 16 slices pooled; the same for every run (C)",
    ),
    "union": ("union called per class", "one Dice for the whole hippocampus, blind to errors between its parts"),
    "nonempty-slices": (
        "only slices that hold some",
        "axial slices in which the truth is empty are left out, which takes the truth to know (D)",
    ),
    "truth-crop": (
        "cropped around the truth",
        "whatever is predicted outside the truth's own bounding box is not scored (A)",
    ),
    "truth-crop-no-image": (
        "the same crop, no image read",
        "the mean training label map stretched to the truth's bounding box, against the same without it: the floor; "
        "the same for every run (A)",
    ),
    "nsd2": ("surface Dice at 2 mm", "normalised surface Dice at 2 mm, printed as Dice (B)"),
    "best-epoch": (
        "best epoch on scored cases",
        "the highest of the scores noted during training instead of the last one; both without averaged views",
    ),
}  # fmt: skip

SLICES, VOLUMES, BOX = 16, 2, (64, 64, 64)
AXIAL = 2

Pair = tuple[np.ndarray, np.ndarray]
Score = Callable[[np.ndarray, np.ndarray, int], float]


def class_mean(prediction: np.ndarray, truth: np.ndarray, n_classes: int, first: int = 1) -> float:
    """Mean Dice of the classes from `first` on, of label maps of one shape; NaN where no class is in either."""
    found = [metrics.dice(prediction == value, truth == value) for value in range(first, n_classes)]
    kept = [value for value in found if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def with_background(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """Mean Dice of all classes, background among them."""
    return class_mean(prediction, truth, n_classes, first=0)


def nonempty_slices(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """Mean Dice of (X, Y, Z) label maps over the axial slices whose truth is not empty."""
    held = (truth > 0).any(axis=(0, 1))
    return class_mean(prediction[..., held], truth[..., held], n_classes)


def truth_box(truth: np.ndarray) -> tuple[slice, ...]:
    """Bounding box of a label map's foreground, as indices. Raises ValueError if there is none."""
    found = np.nonzero(truth)
    if not found[0].size:
        raise ValueError("the true label map is empty, so there is no box around it; leave the case out")
    return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in found)


def whole(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """Dice of the whole foreground as one structure."""
    return metrics.dice(prediction > 0, truth > 0)


def truth_crop(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """Mean Dice inside the bounding box of the truth."""
    box = truth_box(truth)
    return class_mean(prediction[box], truth[box], n_classes)


def pooled(pairs: Iterable[Pair], n_classes: int, size: int, cut: bool) -> float:
    """Mean over batches of the Dice of all classes, background included, of each batch's pooled voxels.

    pairs: (prediction, truth) label maps (X, Y, Z), in the order of a loader that does not shuffle. Each is placed in
    the middle of BOX. size: slices (cut across the axial axis, batches run on from volume to volume) or volumes a
    batch. A class that is in neither mask of a batch scores 1.
    """
    placed = [[place(mask, BOX)[0] for mask in pair] for pair in pairs]
    blocks = [np.stack([np.moveaxis(mask, AXIAL, 0) for mask in pair]) for pair in placed]  # (2, Z, X, Y) each
    items = [block[:, index] for block in blocks for index in range(BOX[AXIAL])] if cut else blocks
    scores = []
    for start in range(0, len(items), size):
        prediction, truth = np.stack(items[start : start + size], axis=1)
        counts = metrics.confusion(prediction, truth, n_classes)
        hit, total = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
        scores.append(np.where(total > 0, 2 * hit / np.maximum(total, 1), 1.0).mean())
    return float(np.mean(scores))


def mean_crop(cohort: Cohort, train: Sequence[int], scored: Sequence[int]) -> pd.Series:
    """Mean Dice by scored case of a guess that reads no image and is told the truth's bounding box.

    The guess is the mean of the training label maps, each cropped to its own box, stretched to the scored case's.
    """
    n_classes = cohort.spec.n_classes
    crops = [cohort.cases[case].label[truth_box(cohort.cases[case].label)] for case in train]
    size = tuple(int(side) for side in np.median([crop.shape for crop in crops], axis=0).round())
    mean = atlas.mean_map(crops, n_classes, size)
    found = {}
    for case in scored:
        truth = cohort.cases[case].label[truth_box(cohort.cases[case].label)]
        found[case] = class_mean(atlas.from_box(mean, truth.shape), truth, n_classes)
    return pd.Series(found).sort_index()


PER_CASE: dict[str, Score] = {
    "background": with_background, "union": whole, "nonempty-slices": nonempty_slices, "truth-crop": truth_crop,
}  # fmt: skip


def study(
    runs: Sequence[Run], masks: Mapping[str, Mapping[int, np.ndarray]], cohort: Cohort, train: Sequence[int]
) -> pd.DataFrame:
    """One row a run and practice, columns COLUMNS, in the order of PRACTICES; all runs score the same cases.

    masks: run -> case -> (X, Y, Z). train: training cases of the fold. Intervals are of the difference, over people,
    where it is a mean over cases; elsewhere they are NaN. A practice that a run has no data for has no row.
    Raises KeyError if the floor is not among the runs.
    """
    n_classes, floor = cohort.spec.n_classes, {run.arm: run for run in runs}[FLOOR]
    scored = [int(case) for case in floor.values().index]
    labels = [cohort.cases[case].label for case in scored]
    crop = mean_crop(cohort, train, scored)
    pairs = {run.name: [(masks[run.name][case], label) for case, label in zip(scored, labels, strict=True)]
             for run in runs}  # fmt: skip

    def each(run: Run, score: Score) -> pd.Series:
        return pd.Series([score(*pair, n_classes) for pair in pairs[run.name]], scored)

    nothing = pooled([(np.zeros_like(label), label) for label in labels], n_classes, SLICES, cut=True)
    rows = []
    for run in runs:
        mine = each(run, class_mean)
        made = {name: _per_case(mine, each(run, score), run) for name, score in PER_CASE.items()}
        made["nsd2"] = _per_case(mine, run.values(MEAN, "nsd2"), run)
        made["truth-crop-no-image"] = _per_case(each(floor, class_mean), crop, run)
        slices, volumes = (pooled(pairs[run.name], n_classes, *batch) for batch in ((SLICES, True), (VOLUMES, False)))
        for name, shown in (("honest", mine.mean()), ("pooled-slices", slices), ("pooled-volumes", volumes)):
            made[name] = {"honest": mine.mean(), "shown": shown}
        made["pooled-nothing"] = {"honest": 0.0, "shown": nothing}
        noted = [line["dice"]["mean"] for line in run.history if line.get("dice")]
        if noted:
            made["best-epoch"] = {"honest": noted[-1], "shown": max(noted)}
        people = int(run.subjects().nunique())
        rows += [_row(run.name, name, made[name], people) for name in PRACTICES if name in made]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _per_case(honest: pd.Series, shown: pd.Series, run: Run) -> dict[str, float]:
    """Both means over cases, and the difference's interval over people."""
    found = interval((shown - honest).to_numpy(), run.subjects().to_numpy())
    return {"honest": honest.mean(), "shown": shown.mean(), "low": found.low, "high": found.high}


def _row(run: str, practice: str, made: Mapping[str, float], people: int) -> dict[str, Any]:
    """One row of the table; what has no interval has NaN."""
    row = {"run": run, "practice": practice, "low": np.nan, "high": np.nan, **made, "people": people}
    return row | {"difference": row["shown"] - row["honest"], "note": PRACTICES[practice][1]}
