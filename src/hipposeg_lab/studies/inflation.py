"""How scores get inflated: the same stored masks, scored honestly and in a dozen other ways that are in use.

Nothing is predicted again, so a difference comes from the scoring alone. `inflation.toml` describes the practices. The
honest score is that of `metrics`: Dice per case and part, on the native grid, background left out.
"""

import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.grid import place
from hipposeg.metrics import MEAN
from hipposeg.models import atlas
from hipposeg.results.load import ATLAS, Run
from hipposeg.stats import interval, of_cases
from hipposeg_lab.studies.errors import confusion

COLUMNS = ("run", "practice", "honest", "shown", "difference", "low", "high", "subjects", "seeds", "note")
_TEXT = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
# Practice -> (title of a figure's row, what is done).
PRACTICES = {name: (one["title"], one["what"]) for name, one in _TEXT.items()}
SLICES, VOLUMES, BOX = 16, 2, (64, 64, 64)
AXIAL = 2

Pair = tuple[np.ndarray, np.ndarray]
Score = Callable[[np.ndarray, np.ndarray, int], float]


def class_mean(prediction: np.ndarray, truth: np.ndarray, n_classes: int, first: int = 1) -> float:
    """Mean Dice of the classes from `first` on, of label maps of one shape; NaN where no class is in either."""
    found = [metrics.dice(prediction == value, truth == value) for value in range(first, n_classes)]
    kept = [value for value in found if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


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


def truth_crop(prediction: np.ndarray, truth: np.ndarray, n_classes: int, score: Score = class_mean) -> float:
    """A score inside the bounding box of the truth, by default mean Dice."""
    box = truth_box(truth)
    return score(prediction[box], truth[box], n_classes)


def pooled_slices(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """`batched` over slices: SLICES divides the box, so that no batch has slices of two volumes."""
    return batched(box_counts(prediction, truth, n_classes, cut=True), SLICES)


def box_counts(prediction: np.ndarray, truth: np.ndarray, n_classes: int, cut: bool) -> np.ndarray:
    """Confusion counts (items, K, K) of label maps (X, Y, Z) in the middle of BOX; cut: of each axial slice."""
    placed = [np.moveaxis(place(mask, BOX)[0], AXIAL, 0) for mask in (prediction, truth)]
    items = zip(*placed, strict=True) if cut else [placed]
    return np.stack([confusion(*item, n_classes) for item in items])


def batched(counts: np.ndarray, size: int) -> float:
    """Mean over batches of `size` items of the Dice of all classes, background included, of each batch's counts.

    counts: (items, K, K); the last batch may be smaller. A class that is in neither mask of a batch scores 1.
    """
    sums = np.add.reduceat(counts, np.arange(0, len(counts), size), axis=0)
    hit, total = np.diagonal(sums, axis1=1, axis2=2), sums.sum(axis=1) + sums.sum(axis=2)
    return float(np.where(total > 0, 2 * hit / np.maximum(total, 1), 1.0).mean(axis=1).mean())


def held_counts(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Confusion counts (2, 2) of background and foreground over the axial slices whose truth is not empty."""
    held = (truth > 0).any(axis=(0, 1))
    return confusion(prediction[..., held] > 0, truth[..., held] > 0, 2)


def as_one(counts: np.ndarray) -> float:
    """Dice of the foreground over all volumes at once; counts: (volumes, 2, 2)."""
    total = counts.sum(axis=0)
    return float(2 * total[1, 1] / (total[1].sum() + total[:, 1].sum()))


def mean_crop(cohort: Cohort, train: Sequence[int], scored: Sequence[int]) -> pd.Series:
    """Mean Dice by test case of a baseline that ignores the image, but uses the truth's bounding box.

    It is the mean of the training label maps, each cropped to its own box, stretched to the test case's box.
    """
    n_classes = cohort.spec.n_classes
    crops = {case: cohort.cases[case].label[truth_box(cohort.cases[case].label)] for case in (*train, *scored)}
    trained = [crops[case] for case in train]
    size = tuple(int(side) for side in np.median([crop.shape for crop in trained], axis=0).round())
    mean = atlas.mean_map(trained, n_classes, size)
    found = {case: class_mean(atlas.from_box(mean, crops[case].shape), crops[case], n_classes) for case in scored}
    return pd.Series(found).sort_index()


PER_CASE: dict[str, Score] = {
    "background": partial(class_mean, first=0), "pooled-slices": pooled_slices, "union": whole,
    "union-crop": partial(truth_crop, score=whole), "nonempty-slices": nonempty_slices, "truth-crop": truth_crop,
}  # fmt: skip


def study(groups: Sequence[Sequence[Run]], cohort: Cohort, train: Sequence[int]) -> pd.DataFrame:
    """Score groups of runs by every practice: one row a group and practice, columns COLUMNS.

    Intervals are of the difference, over subjects and seeds. The best epoch has none: the scores noted during training
    are means. A practice that a group has no data for has no row.

    Args:
        groups: runs with masks on the same cases: seeds of one model each, named by their first run; with the atlas.
        cohort: true labels.
        train: training cases of the fold.
    """
    atlas_run = {group[0].model: group[0] for group in groups}[ATLAS]
    scored, subjects = [int(case) for case in atlas_run.values().index], atlas_run.subjects().to_numpy()
    labels, n_classes, rows = [cohort.cases[case].label for case in scored], cohort.spec.n_classes, []

    def paired(run: Run) -> list[Pair]:
        return [(run.masks[case], label) for case, label in zip(scored, labels, strict=True)]

    def each(pairs: Sequence[Pair], score: Score) -> np.ndarray:
        return np.array([score(*pair, n_classes) for pair in pairs])

    from_atlas, crop = each(paired(atlas_run), class_mean), mean_crop(cohort, train, scored).to_numpy()
    nothing = each([(np.zeros_like(label), label) for label in labels], pooled_slices)
    for group in groups:
        pairs = [paired(run) for run in group]
        mine = np.stack([each(one, class_mean) for one in pairs])
        made = {"honest": {"honest": mine.mean(), "shown": mine.mean()}}
        for name, score in PER_CASE.items():
            made[name] = _per_case(mine, np.stack([each(one, score) for one in pairs]), subjects)
        made["nsd2"] = _per_case(mine, np.stack([run.values(MEAN, "nsd2") for run in group]), subjects)
        made["truth-crop-no-image"] = _per_case(from_atlas, crop, subjects)
        made["pooled-nothing"] = _per_case(np.zeros_like(nothing), nothing, subjects)
        boxes = np.stack([[box_counts(*pair, n_classes, cut=False)[0] for pair in one] for one in pairs])
        made["pooled-volumes"] = _of_all(mine, boxes, lambda counts: batched(counts, VOLUMES), subjects)
        held = np.stack([[held_counts(*pair) for pair in one] for one in pairs])
        made["union-slices"] = _of_all(mine, held, as_one, subjects)
        noted = [[line["dice_mean"] for line in run.history if "dice_mean" in line] for run in group]
        if all(noted):
            last, highest = (float(np.mean([pick(one) for one in noted])) for pick in (lambda one: one[-1], max))
            note = f"{PRACTICES['best-epoch'][1]}; {len(noted[0])} scores were noted"
            made["best-epoch"] = {"honest": last, "shown": highest, "note": note}
        shared = {"run": group[0].name, "subjects": len(set(subjects.tolist())), "seeds": len(group)}
        rows += [shared | {"practice": n, "note": text} | made[n] for n, (_, text) in PRACTICES.items() if n in made]
    found = pd.DataFrame(rows)
    return found.assign(difference=found["shown"] - found["honest"])[list(COLUMNS)]


def _per_case(honest: np.ndarray, shown: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """Means over cases of two scores, (cases,) or (seeds, cases), and the interval of their difference."""
    found = interval(shown - honest, subjects)
    return {"honest": honest.mean(), "shown": shown.mean(), "low": found.low, "high": found.high}


def _of_all(
    honest: np.ndarray, counts: np.ndarray, score: Callable[[np.ndarray], float], subjects: np.ndarray
) -> dict[str, float]:
    """The same for a score of many volumes at once, pooled again in each resample.

    honest: (seeds, cases). counts: (seeds, cases, K, K).
    """

    def added(cases: np.ndarray, seeds: np.ndarray) -> float:
        return float(np.mean([score(counts[seed, cases]) - honest[seed, cases].mean() for seed in seeds]))

    found = of_cases(added, subjects, len(counts))
    shown = float(np.mean([score(one) for one in counts]))
    return {"honest": honest.mean(), "shown": shown, "low": found.low, "high": found.high}
