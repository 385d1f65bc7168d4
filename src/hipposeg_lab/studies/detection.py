"""Does uncertainty find the bad cases? Rank correlation, area under the ROC curve, and risk against coverage.

A case's uncertainty is computed from its probabilities alone. It is judged by the Dice of the same prediction: whether
uncertain cases have a low Dice (Spearman), whether they separate the worst quarter from the rest (AUROC), and the mean
Dice that is left when the most uncertain cases are handed to a person (Geifman and El-Yaniv 2017, arXiv:1705.08500).
"""

from collections.abc import Sequence

import numpy as np

from hipposeg import metrics
from hipposeg_lab.studies.calibration import BAND_MM, LEAST
from hipposeg_lab.studies.errors import border_distance

# Share of the cases that count as bad: those with the lowest Dice.
BAD = 0.25


def entropy(found: np.ndarray, spacing: Sequence[float]) -> float:
    """Mean entropy in nats of class probabilities (K, X, Y, Z) within 3 mm of the predicted border; NaN without one."""
    near = border_distance(found.argmax(0), spacing) <= BAND_MM
    p = np.maximum(found[:, near], LEAST)
    return float(-(p * np.log(p)).sum(0).mean(dtype=np.float64)) if near.any() else float("nan")


def expected_loss(found: np.ndarray) -> float:
    """1 - the Dice that probabilities (K, X, Y, Z) predict for their own mask, mean over the foreground classes.

    The expected overlap of class k with its mask is the sum of its probabilities in the mask, the expected true size
    their sum everywhere.
    """
    mask, expected = found.argmax(0), []
    for label in range(1, len(found)):
        inside, total = found[label][mask == label].sum(dtype=float), found[label].sum(dtype=float)
        size = np.count_nonzero(mask == label)
        expected.append(2 * inside / (total + size) if total + size else np.nan)
    return 1 - float(np.nanmean(expected))


def disagreement(members: Sequence[np.ndarray], found: np.ndarray) -> float:
    """1 - mean Dice of the members' masks with the mask of `found`, the mean of their probabilities (K, X, Y, Z)."""
    mask = found.argmax(0)
    masks = [member.argmax(0) for member in members]
    return 1 - float(np.nanmean([metrics.dice(one == k, mask == k) for one in masks for k in range(1, len(found))]))


def spearman(uncertainty: np.ndarray, dice: np.ndarray) -> float:
    """Rank correlation; -1 if the more uncertain case always has the lower Dice. NaN for a constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(uncertainty, dice).statistic) if np.ptp(uncertainty) and np.ptp(dice) else float("nan")


def auroc(uncertainty: np.ndarray, bad: np.ndarray) -> float:
    """Chance that a bad case is more uncertain than another one; 0.5 is chance. NaN if all or none are bad."""
    from scipy.stats import mannwhitneyu

    if bad.all() or not bad.any():
        return float("nan")
    pairs = int(bad.sum()) * int((~bad).sum())
    return float(mannwhitneyu(uncertainty[bad], uncertainty[~bad]).statistic / pairs)


def worst(dice: np.ndarray) -> np.ndarray:
    """The cases with the lowest Dice, as booleans: the fraction BAD of them, rounded up; of equals the first."""
    found = np.zeros(len(dice), bool)
    found[np.argsort(dice, kind="stable")[: int(np.ceil(BAD * len(dice)))]] = True
    return found


def coverage_curve(uncertainty: np.ndarray, dice: np.ndarray) -> list[tuple[float, float, float]]:
    """(share of cases kept, their mean Dice, the same if the true Dice chose them), from the surest case to all."""
    count = np.arange(1, len(dice) + 1)
    kept = np.cumsum(dice[np.argsort(uncertainty, kind="stable")]) / count
    best = np.cumsum(np.sort(dice)[::-1]) / count
    return [(n / len(dice), float(a), float(b)) for n, a, b in zip(count.tolist(), kept, best, strict=True)]
