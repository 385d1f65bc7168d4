"""Intervals and comparisons with the subject as the unit.

Both hippocampi of a subject come from one scan and agree closely (their volumes correlate at about 0.9), so they are
not two independent observations. Every interval resamples subjects, and every test compares subjects. Several seeds of
a model are averaged in an estimate and resampled in its interval (crossed factors: Owen 2007, doi:10.1214/07-AOAS122).
p-values average over seeds and ignore seed-to-seed variation.

NaN values are skipped. Equal inputs give equal bytes. `values` are (cases,) or (seeds, cases), and `subjects` holds the
subject of each case; other lengths raise ValueError.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES, FEW_RESAMPLES = 4000, 1000
SEED = 20210
LEVEL = 0.95
EQUIVALENCE_MARGIN = 0.005
SEEDS_FOR_A_VERDICT = 3
NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % percentile interval; NaN if there was nothing to average."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Width of the interval."""
        return self.high - self.low


@dataclass(frozen=True)
class Paired:
    """Difference a - b on the same subjects: mean over subjects, 95 % interval, Wilcoxon's p (NaN if it has none)."""

    difference: float
    low: float
    high: float
    p_value: float
    n_subjects: int
    n_seeds: int


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's bias and limits of agreement (units of the input), and intraclass correlations."""

    bias: float
    sd: float
    low: float
    high: float
    icc_agreement: float
    icc_consistency: float


def signed(value: float) -> str:
    """A difference as text with its sign and four decimals; what rounds to zero has no sign."""
    text = f"{value:+.4f}"
    return text if float(text) else text[1:]


def interval(values: np.ndarray, subjects: Sequence[int]) -> Interval:
    """Mean over cases with a 95 % interval over subjects, whose cases are drawn together."""
    sums, counts = _by_subject(values, subjects)
    total = counts.sum()
    if not total:
        return Interval(NAN, NAN, NAN)
    drawn, seeds = _draws(RESAMPLES, counts.shape[1], counts.shape[0])
    top, bottom = ((seeds @ table * drawn).sum(axis=1) for table in (sums, counts))
    # A resample of subjects without any value has no mean.
    low, high = _percentiles(np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0))
    return Interval(float(sums.sum() / total), low, high)


def of_cases(
    statistic: Callable[[np.ndarray, np.ndarray], float], subjects: Sequence[int], seeds: int = 1
) -> Interval:  # fmt: skip
    """Interval of a statistic, a function of indices of cases and of seeds, that is not a mean over cases.

    Subjects are resampled with all their cases, and seeds if there are several. Slower than `interval`.
    """
    rng, subjects = np.random.default_rng(SEED), np.asarray(subjects)
    cases = [np.flatnonzero(subjects == subject) for subject in np.unique(subjects)]
    drawn = [np.concatenate([cases[i] for i in rng.integers(0, len(cases), len(cases))]) for _ in range(FEW_RESAMPLES)]
    some = [rng.integers(0, seeds, seeds) if seeds > 1 else np.zeros(1, int) for _ in range(FEW_RESAMPLES)]
    low, high = _percentiles([statistic(*one) for one in zip(drawn, some, strict=True)])
    return Interval(float(statistic(np.arange(len(subjects)), np.arange(seeds))), low, high)


def paired(a: np.ndarray, b: np.ndarray, subjects: Sequence[int]) -> Paired:
    """Compare two runs, or two models with several seeds each, on the same cases in the same order.

    Seeds are averaged, then a subject's volumes; Wilcoxon's signed-rank test (doi:10.2307/3001968) runs over subjects.
    The interval resamples subjects and each side's seeds. A case that is NaN on either side is left out.
    """
    from scipy.stats import wilcoxon

    a, b = np.atleast_2d(np.asarray(a, dtype=float)), np.atleast_2d(np.asarray(b, dtype=float))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} against {b.shape[1]} cases; expected the same cases on both sides: align them")
    usable = ~(np.isnan(a).any(axis=0) | np.isnan(b).any(axis=0))
    kept = np.asarray(subjects)[usable]
    mine, theirs = (np.divide(*_by_subject(values[:, usable], kept)) for values in (a, b))  # (seeds, subjects)
    n_subjects, n_seeds = mine.shape[1], min(len(a), len(b))
    if not n_subjects:
        return Paired(NAN, NAN, NAN, NAN, 0, n_seeds)
    difference = mine.mean(axis=0) - theirs.mean(axis=0)
    drawn, seeds_a, seeds_b = _draws(RESAMPLES, n_subjects, len(a), len(b))
    mean_a, mean_b = seeds_a @ mine / len(a), seeds_b @ theirs / len(b)
    low, high = _percentiles(((mean_a - mean_b) * drawn).sum(axis=1) / n_subjects)
    p = float(wilcoxon(difference).pvalue) if n_subjects >= 6 and np.any(difference) else NAN
    return Paired(float(difference.mean()), low, high, p, n_subjects, n_seeds)


def holm(p_values: Sequence[float], declared: int = 0) -> np.ndarray:
    """Holm's step-down adjustment for one group of tests (Holm 1979, jstor 4615733); NaN are kept and not counted.

    declared: number of planned tests, if larger than that of the tests that were made.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = [index for index in np.argsort(p, kind="stable") if not np.isnan(p[index])]
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (max(declared, len(order)) - rank) * p[index]))
        adjusted[index] = running
    return adjusted


def conclusion(result: Paired) -> str | None:
    """`better` or `worse` if the interval excludes 0, `equivalent` if it is within the margin, else `inconclusive`.

    None with fewer than 3 seeds a side, because one training run says little about its configuration.
    """
    if result.n_seeds < SEEDS_FOR_A_VERDICT or np.isnan(result.low):
        return None
    if result.low > 0 or result.high < 0:
        return "better" if result.low > 0 else "worse"
    return "equivalent" if max(-result.low, result.high) <= EQUIVALENCE_MARGIN else "inconclusive"


def icc(ratings: np.ndarray) -> tuple[float, float]:
    """Single-rater intraclass correlations of Shrout & Fleiss 1979 (doi:10.1037/0033-2909.86.2.420).

    Args:
        ratings: (targets, raters); rows with NaN are left out.

    Returns:
        ICC(2,1), random raters, absolute agreement; ICC(3,1), fixed raters, consistency.

    Raises:
        ValueError: fewer than 2 rows or columns.
    """
    x = np.asarray(ratings, dtype=float)
    x = x[~np.isnan(x).any(axis=1)]
    n, k = x.shape
    if n < 2 or k < 2:
        raise ValueError(f"{n} complete targets and {k} raters; an intraclass correlation needs at least 2 of each")
    rows, columns, grand = x.mean(axis=1), x.mean(axis=0), x.mean()
    between = k * ((rows - grand) ** 2).sum() / (n - 1)
    raters = n * ((columns - grand) ** 2).sum() / (k - 1)
    residual = ((x - rows[:, None] - columns + grand) ** 2).sum() / ((n - 1) * (k - 1))
    consistency = between + (k - 1) * residual
    agreement = consistency + k * (raters - residual) / n
    return tuple(float((between - residual) / total) if total else NAN for total in (agreement, consistency))


def agreement(measured: np.ndarray, true: np.ndarray) -> Agreement:
    """Bland-Altman bias and limits, bias +/- 1.96 SD (doi:10.1016/S0140-6736(86)90837-8), and ICCs of (cases,) each.

    A constant bias lowers ICC(2,1), the agreement, and leaves ICC(3,1), the consistency.
    """
    measured, true = np.asarray(measured, dtype=float), np.asarray(true, dtype=float)
    difference = measured - true
    bias, sd = float(np.nanmean(difference)), float(np.nanstd(difference, ddof=1))
    return Agreement(bias, sd, bias - 1.96 * sd, bias + 1.96 * sd, *icc(np.stack([measured, true], axis=1)))


def correlation(x: np.ndarray, y: np.ndarray) -> Interval:
    """Pearson's r of two values per subject, (subjects,) without NaN, with a 95 % interval over subjects.

    NaN if one side does not vary. Raises ValueError if lengths differ, or with fewer than 3 subjects.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or len(x) < 3:
        raise ValueError(f"{len(x)} and {len(y)} values; a correlation needs the same 3 or more subjects on both sides")
    (drawn,) = _draws(RESAMPLES, len(x))
    weights = np.vstack([np.ones(len(x)), drawn]) / len(x)  # the first row is the sample itself
    x, y = x - x.mean(), y - y.mean()
    mx, my = weights @ x, weights @ y
    sxy, sxx, syy = weights @ (x * y) - mx * my, weights @ (x * x) - mx**2, weights @ (y * y) - my**2
    # A resample of one subject over and over does not vary; rounding leaves it a tiny spread.
    varies = (sxx > 1e-12 * (x * x).mean()) & (syy > 1e-12 * (y * y).mean())
    r = np.where(varies, sxy / np.sqrt(np.where(varies, sxx * syy, 1.0)), np.nan)
    if np.isnan(r).all():
        return Interval(NAN, NAN, NAN)
    return Interval(float(r[0]), *_percentiles(r[1:]))


def _by_subject(values: np.ndarray, subjects: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of values that are not NaN: two arrays (seeds, subjects)."""
    table, subjects = np.atleast_2d(np.asarray(values, dtype=float)), np.asarray(subjects)
    if table.shape[1:] != subjects.shape:
        raise ValueError(f"{table.shape[1]} values a seed but {subjects.size} subjects; expected one subject per case")
    _, place = np.unique(subjects, return_inverse=True)
    membership = np.eye(place.max() + 1 if place.size else 0)[place]  # (cases, subjects)
    found = ~np.isnan(table)
    return np.where(found, table, 0.0) @ membership, found.astype(float) @ membership


@lru_cache(maxsize=32)
def _draws(resamples: int, *sizes: int) -> tuple[np.ndarray, ...]:
    """How often each unit was drawn, with replacement, in each resample: one array (resamples, n) per size."""
    rng = np.random.default_rng(SEED)
    return tuple(
        rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(float) if n > 1 else np.ones((resamples, 1))
        for n in sizes
    )


def _percentiles(draws: Sequence[float]) -> tuple[float, float]:
    low, high = np.nanpercentile(draws, [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2])
    return float(low), float(high)
