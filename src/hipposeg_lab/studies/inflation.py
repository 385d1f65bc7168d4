"""How scores get inflated: the same stored masks, scored honestly and in a dozen other ways that are in use.

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
from hipposeg.results.load import ATLAS, Run
from hipposeg.stats import interval, of_cases

COLUMNS = ("run", "practice", "honest", "shown", "difference", "low", "high", "people", "seeds", "note")

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
    "union-crop": (
        "union, cropped around the truth",
        "one Dice for the whole hippocampus; what is predicted outside the box around the truth is not scored (A)",
    ),
    "union-slices": (
        "union, slices that hold some, pooled",
        "one Dice for the whole hippocampus, over the voxels of all axial slices in which the truth is not empty (D)",
    ),
    "nonempty-slices": (
        "only slices that hold some",
        "axial slices in which the truth is empty are left out, which takes the truth to know",
    ),
    "truth-crop": (
        "cropped around the truth",
        "whatever is predicted outside the truth's own bounding box is not scored",
    ),
    "truth-crop-no-image": (
        "the same crop, no image read",
        "the mean training label map stretched to the truth's bounding box, against the same without it: the atlas; "
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


def union_crop(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """Dice of the whole foreground inside the bounding box of the truth."""
    box = truth_box(truth)
    return metrics.dice(prediction[box] > 0, truth[box] > 0)


def pooled(pairs: Iterable[Pair], n_classes: int, size: int, cut: bool) -> float:
    """`batched` over `box_counts` of (prediction, truth) label maps, in the order of a loader that does not shuffle."""
    return batched(np.concatenate([box_counts(*pair, n_classes, cut) for pair in pairs]), size)


def box_counts(prediction: np.ndarray, truth: np.ndarray, n_classes: int, cut: bool) -> np.ndarray:
    """Confusion counts of label maps (X, Y, Z) placed in the middle of BOX, of each axial slice (cut) or as a whole.

    Returns (items, K, K).
    """
    placed = [np.moveaxis(place(mask, BOX)[0], AXIAL, 0) for mask in (prediction, truth)]
    items = zip(*placed, strict=True) if cut else [placed]
    return np.stack([metrics.confusion(*item, n_classes) for item in items])


def batched(counts: np.ndarray, size: int) -> float:
    """Mean over batches of so many items of the Dice of all classes, background included, of each batch's counts.

    counts: (items, K, K); the last batch may be smaller. A class that is in neither mask of a batch scores 1.
    """
    sums = np.add.reduceat(counts, np.arange(0, len(counts), size), axis=0)
    hit, total = np.diagonal(sums, axis1=1, axis2=2), sums.sum(axis=1) + sums.sum(axis=2)
    return float(np.where(total > 0, 2 * hit / np.maximum(total, 1), 1.0).mean(axis=1).mean())


def held_counts(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Confusion counts (2, 2) of background and foreground over the axial slices whose truth is not empty."""
    held = (truth > 0).any(axis=(0, 1))
    return metrics.confusion(prediction[..., held] > 0, truth[..., held] > 0, 2)


def as_one(counts: np.ndarray) -> float:
    """Dice of the foreground over all volumes at once; counts: (volumes, 2, 2)."""
    whole = counts.sum(axis=0)
    return float(2 * whole[1, 1] / (whole[1].sum() + whole[:, 1].sum()))


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


def pooled_slices(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """A volume's part of `pooled` over slices: SLICES divides the box, so that no batch has slices of two volumes."""
    return pooled([(prediction, truth)], n_classes, SLICES, cut=True)


PER_CASE: dict[str, Score] = {
    "background": with_background, "pooled-slices": pooled_slices, "union": whole, "union-crop": union_crop,
    "nonempty-slices": nonempty_slices, "truth-crop": truth_crop,
}  # fmt: skip


def study(groups: Sequence[Sequence[Run]], cohort: Cohort, train: Sequence[int]) -> pd.DataFrame:
    """One row a group and practice, columns COLUMNS, in the order of PRACTICES; all runs score the same cases.

    groups: runs with masks, seeds of one model each, named by their first run. train: training cases of the fold.
    Intervals are of the difference, over people and seeds. The best epoch has none: what is noted during training is a
    mean. A practice that a group has no data for has no row. Raises KeyError without the atlas.
    """
    guess = {group[0].model: group[0] for group in groups}[ATLAS]
    scored, subjects = [int(case) for case in guess.values().index], guess.subjects().to_numpy()
    labels = [cohort.cases[case].label for case in scored]
    n_classes, rows = cohort.spec.n_classes, []

    def paired(run: Run) -> list[Pair]:
        return [(run.masks[case], label) for case, label in zip(scored, labels, strict=True)]

    def each(pairs: Sequence[Pair], score: Score) -> np.ndarray:
        return np.array([score(*pair, n_classes) for pair in pairs])

    guessed = each(paired(guess), class_mean)
    crop = mean_crop(cohort, train, scored).to_numpy()
    nothing = each([(np.zeros_like(label), label) for label in labels], pooled_slices)
    for group in groups:
        pairs = [paired(run) for run in group]
        mine = np.stack([each(one, class_mean) for one in pairs])
        made = {"honest": {"honest": mine.mean(), "shown": mine.mean()}}
        for name, score in PER_CASE.items():
            made[name] = _per_case(mine, np.stack([each(one, score) for one in pairs]), subjects)
        made["nsd2"] = _per_case(mine, np.stack([run.values(MEAN, "nsd2") for run in group]), subjects)
        made["truth-crop-no-image"] = _per_case(guessed, crop, subjects)
        made["pooled-nothing"] = _per_case(np.zeros_like(nothing), nothing, subjects)
        boxes = np.stack([[box_counts(*pair, n_classes, cut=False)[0] for pair in one] for one in pairs])
        made["pooled-volumes"] = _of_all(mine, boxes, lambda counts: batched(counts, VOLUMES), subjects)
        held = np.stack([[held_counts(*pair) for pair in one] for one in pairs])
        made["union-slices"] = _of_all(mine, held, as_one, subjects)
        noted = [[line["dice_mean"] for line in run.history if "dice_mean" in line] for run in group]
        if all(noted):
            last, highest = (float(np.mean([pick(one) for one in noted])) for pick in (lambda one: one[-1], max))
            made["best-epoch"] = {"honest": last, "shown": highest, "noted": len(noted[0])}
        shared = {"run": group[0].name, "people": len(set(subjects.tolist())), "seeds": len(group)}
        rows += [_row(name, made[name], shared) for name in PRACTICES if name in made]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _per_case(honest: np.ndarray, shown: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """Both means over cases, and the difference's interval over people and seeds: (cases,) or (seeds, cases)."""
    found = interval(shown - honest, subjects)
    return {"honest": honest.mean(), "shown": shown.mean(), "low": found.low, "high": found.high}


def _of_all(
    honest: np.ndarray, counts: np.ndarray, score: Callable[[np.ndarray], float], subjects: np.ndarray
) -> dict[str, float]:
    """The same of a score of many volumes at once: whoever is drawn anew is pooled anew.

    honest: (seeds, cases). counts: (seeds, cases, K, K).
    """

    def added(cases: np.ndarray, seeds: np.ndarray) -> float:
        return float(np.mean([score(counts[seed, cases]) - honest[seed, cases].mean() for seed in seeds]))

    found = of_cases(added, subjects, len(counts))
    shown = float(np.mean([score(one) for one in counts]))
    return {"honest": honest.mean(), "shown": shown, "low": found.low, "high": found.high}


def _row(practice: str, made: Mapping[str, float], shared: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the table; what has no interval has NaN."""
    row = {**shared, "practice": practice, "low": np.nan, "high": np.nan, **made}
    note = PRACTICES[practice][1] + (f"; {made['noted']} scores were noted" if "noted" in made else "")
    return row | {"difference": row["shown"] - row["honest"], "note": note}
