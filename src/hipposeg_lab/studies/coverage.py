"""Split conformal intervals for volumes: pure functions of arrays.

An interval is the predicted volume, more and less q times a scale. q is the k-th smallest of n calibration scores
|true - predicted| / scale, with k = ceil((n + 1) * level). If a new volume's score is exchangeable with those n, the
interval covers the true volume with a probability of at least `level`, for any network and distribution of errors:
Vovk et al. 2005 (doi:10.1007/b106715), Lei et al. 2018 (doi:10.1080/01621459.2017.1307116), Angelopoulos and Bates 2021
(arXiv:2107.07511). The two volumes of a subject are alike, so calibration draws one of each subject.

The scale decides which intervals are wide. The rule, fixed before any interval was computed: the one of CANDIDATES
with the narrower intervals on the calibration volumes, in the mean over labels and relative to the constant interval's
width. Neither coverage nor test volumes play a part in the choice.
"""

import math
from dataclasses import dataclass

import numpy as np

from hipposeg.predict.card import CONSTANT, SPREAD, VOLUME, bounds, scale_of
from hipposeg.stats import interval

LEVEL = 0.90
SEED = 20211
SPLITS = 200

CANDIDATES = (VOLUME, SPREAD)
CHOSEN = "chosen"
METHODS = (CONSTANT, *CANDIDATES, CHOSEN)
COVERAGE_COLUMNS = ("label", "method", "group", "coverage", "low", "high", "width", "subjects")
HALVES = "halves"


@dataclass(frozen=True)
class Residuals:
    """Predicted volumes of subjects that the networks never saw, and the true ones."""

    labels: tuple[str, ...]  # L names
    case: np.ndarray  # (n,) case numbers
    subject: np.ndarray  # (n,) subject numbers
    fold: np.ndarray  # (n,) folds
    true: np.ndarray  # (L, n) volumes in mm3
    predicted: np.ndarray  # (L, n) volumes in mm3
    spread: np.ndarray  # (L, n) standard deviation in mm3 over the averaged predictions; NaN for a single one

    def scale(self, method: str) -> np.ndarray:
        """(L, n): the divisor of scores and factor of intervals."""
        return scale_of(method, self.predicted, self.spread)

    def scores(self, method: str) -> np.ndarray:
        """(L, n): |true - predicted| / scale."""
        return np.abs(self.true - self.predicted) / self.scale(method)


def quantile(scores: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """The ceil((n + 1) * level)-th smallest of n scores, along the last axis; infinite if that is more than n."""
    n = scores.shape[-1]
    k = math.ceil(round((n + 1) * level, 9))  # 0.9 * 10 is a little more than 9 in floating point
    return np.sort(scores, axis=-1)[..., k - 1] if k <= n else np.full(scores.shape[:-1], np.inf)


def one_each(subject: np.ndarray, among: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one volume of each subject from the indices `among`; sorted indices."""
    shuffled = rng.permutation(among)
    _, first = np.unique(subject[shuffled], return_index=True)
    return np.sort(shuffled[first])


def calibrate(found: Residuals, drawn: np.ndarray, method: str, level: float = LEVEL) -> np.ndarray:
    """The quantile of each label, (L,), from the volumes `drawn` (indices)."""
    return quantile(found.scores(method)[:, drawn], level)


def choose(found: Residuals, drawn: np.ndarray, level: float = LEVEL) -> str:
    """The candidate scale by the module's rule, from the volumes `drawn` alone; the first where widths are equal."""
    constant = calibrate(found, drawn, CONSTANT, level)

    def width(method: str) -> float:
        mean = found.scale(method)[:, drawn].mean(axis=1)
        with np.errstate(invalid="ignore"):  # too few subjects: infinite widths
            relative = calibrate(found, drawn, method, level) * mean / constant
        return float(relative.mean()) if np.isfinite(relative).all() else math.inf

    return min(CANDIDATES, key=width)


def calibrated(
    found: Residuals, people: np.ndarray, method: str, rng: np.random.Generator, level: float = LEVEL
) -> tuple[str, np.ndarray]:
    """The scale (resolving CHOSEN) and its quantiles (L,) from one volume of each of these subjects."""
    drawn = one_each(found.subject, np.flatnonzero(np.isin(found.subject, people)), rng)
    settled = choose(found, drawn, level) if method == CHOSEN else method
    return settled, calibrate(found, drawn, settled, level)


def across_folds(
    found: Residuals, method: str, level: float = LEVEL, scored: Residuals | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Ends of the interval of every volume, (L, n) each, calibrated on the other folds; and the scale in each fold.

    scored: other predictions of the same cases, which get the intervals.
    """
    scored = scored or found
    lower, upper, scales = np.empty_like(scored.predicted), np.empty_like(scored.predicted), []
    for fold in np.unique(found.fold):
        inside = found.fold == fold
        rng = np.random.default_rng([SEED, int(fold)])
        settled, q = calibrated(found, np.unique(found.subject[~inside]), method, rng, level)
        half = q[:, None] * scored.scale(settled)[:, inside]
        lower[:, inside], upper[:, inside] = bounds(scored.predicted[:, inside], half)
        scales.append(settled)
    return lower, upper, scales


def across_halves(
    found: Residuals, method: str, level: float = LEVEL, splits: int = SPLITS
) -> tuple[np.ndarray, np.ndarray, int]:
    """Calibrate on a random half of the subjects and test on the other, many times, the same splits for every method.

    Returns:
        Coverage (splits, L), mean width in mm3 (splits, L), and the number of test subjects in a split.
    """
    rng, people = np.random.default_rng([SEED, 1000]), np.unique(found.subject)
    coverage, width = [], []
    for _ in range(splits):
        inside = rng.permutation(people)[: len(people) // 2]
        settled, q = calibrated(found, inside, method, rng, level)
        scored = ~np.isin(found.subject, inside)
        half = q[:, None] * found.scale(settled)[:, scored]
        lower, upper = bounds(found.predicted[:, scored], half)
        true = found.true[:, scored]
        coverage.append(((lower <= true) & (true <= upper)).mean(axis=1))
        width.append((upper - lower).mean(axis=1))
    return np.array(coverage), np.array(width), len(people) - len(people) // 2


def terciles(values: np.ndarray) -> np.ndarray:
    """1, 2 or 3 for each of (n,) values by its rank, in equal parts; 1 holds the smallest."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return 1 + 3 * ranks // len(values)


def coverage_rows(found: Residuals, level: float = LEVEL, splits: int = SPLITS) -> list[dict]:
    """Rows of conformal_coverage.csv: the fraction of true volumes inside, for each label, method and group.

    Groups: `all`; `tercile 1` to `3` of the predicted volume; `fold n`; `halves`, the mean over random half-splits. The
    interval is by bootstrap over subjects; for `halves` it holds the central 95 % of splits.
    """
    rows = []
    for method in METHODS:
        lower, upper, _ = across_folds(found, method, level)
        inside = ((lower <= found.true) & (found.true <= upper)).astype(float)
        halves, widths, people = across_halves(found, method, level, splits)
        for at, label in enumerate(found.labels):
            third = terciles(found.predicted[at])
            groups = {"all": np.full(len(third), True)}
            groups |= {f"tercile {n}": third == n for n in (1, 2, 3)}
            groups |= {f"fold {n}": found.fold == n for n in np.unique(found.fold)}
            for group, among in groups.items():
                share = interval(inside[at, among], found.subject[among])
                width, count = float((upper - lower)[at, among].mean()), len(np.unique(found.subject[among]))
                rows.append((label, method, group, share.value, share.low, share.high, width, count))
            mean, width = float(halves[:, at].mean()), float(widths[:, at].mean())
            low, high = map(float, np.percentile(halves[:, at], (2.5, 97.5)))
            rows.append((label, method, HALVES, mean, low, high, width, people))
    return [dict(zip(COVERAGE_COLUMNS, row, strict=True)) for row in rows]
