"""Calibration of probabilities: reliability, expected calibration error, and temperature scaling.

Far from any border a network is confident and right, so a large background would improve the result. Only voxels within
3 mm of a predicted or true border count. Guo et al. 2017 (arXiv:1706.04599) describe the error and
the temperature; a class's own error after Nixon et al. 2019 (arXiv:1904.01685), with bins of equal width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hipposeg import stats
from hipposeg_lab.studies.errors import border_distance

BAND_MM = 3.0
BINS = 10
# In addition to each class: the probability of the predicted class.
TOP = "predicted class"
LEAST = 1e-7
RESAMPLES = 1000


@dataclass(frozen=True)
class Voxels:
    """The counted voxels of one case of a subject: probabilities (N, K) float32 and true classes (N,) uint8."""

    subject: int
    probabilities: np.ndarray
    truth: np.ndarray


def counted(subject: int, found: np.ndarray, true: np.ndarray, spacing: Sequence[float]) -> Voxels:
    """Select the voxels near a border of class probabilities (K, X, Y, Z) or of true labels (X, Y, Z)."""
    near = np.minimum(*(border_distance(label, spacing) for label in (found.argmax(0), true))) <= BAND_MM
    return Voxels(subject, np.moveaxis(found, 0, -1)[near].astype(np.float32), true[near])


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logarithms of probabilities (N, K) by a temperature; above 1 they become less confident."""
    powers = np.maximum(probabilities, LEAST).astype(np.float64) ** (1 / temperature)
    return powers / powers.sum(1, keepdims=True)


def fitted(voxels: Sequence[Voxels]) -> float:
    """The temperature with the lowest mean negative log-likelihood. Raises ValueError without voxels."""
    from scipy.optimize import minimize_scalar

    if not sum(len(one.truth) for one in voxels):
        raise ValueError("no voxel to fit a temperature on; pass cases with a border")
    logs = np.log(np.maximum(np.concatenate([one.probabilities for one in voxels]), LEAST))
    truth = np.concatenate([one.truth for one in voxels]).astype(np.int64)
    chosen = np.take_along_axis(logs, truth[:, None], 1)[:, 0]

    def loss(power: float) -> float:
        """Loss of the inverse temperature, in which it is convex."""
        lifted = power * logs
        top = lifted.max(1)
        total = top + np.log(np.exp(lifted - top[:, None]).sum(1))
        return float(np.mean(total - power * chosen, dtype=np.float64))

    return 1 / float(minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-4}).x)


def histogram(voxels: Voxels, label: int | None) -> np.ndarray:
    """(BINS, 3): number of voxels, sum of confidences, number of correct ones, in bins of confidence of equal width.

    label: a class, whose probability is the confidence and whose voxels are correct; None for the predicted class.
    """
    p = voxels.probabilities
    confidence = p.max(1) if label is None else p[:, label]
    hit = (p.argmax(1) if label is None else label) == voxels.truth
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    columns = (None, confidence.astype(np.float64), hit.astype(np.float64))
    return np.stack([np.bincount(which, weight, BINS) for weight in columns], 1)


def error(table: np.ndarray) -> np.ndarray:
    """Expected calibration error of histograms (..., BINS, 3): mean gap of accuracy and confidence, over voxels."""
    gaps = np.abs(table[..., 2] - table[..., 1]).sum(-1)
    return gaps / np.maximum(table[..., 0].sum(-1), 1)


def by_subject(voxels: Sequence[Voxels], label: int | None) -> np.ndarray:
    """Histograms summed over each subject's cases: (subjects, BINS, 3), subjects in ascending order."""
    found: dict[int, np.ndarray] = {}
    for one in voxels:
        found[one.subject] = found.get(one.subject, 0) + histogram(one, label)
    return np.stack([found[subject] for subject in sorted(found)])


def drop(before: np.ndarray, after: np.ndarray) -> stats.Interval:
    """Decrease of the error from histograms `before` to `after` (subjects, BINS, 3), with an interval over subjects."""
    count = len(before)
    draws = np.random.default_rng(stats.SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    fallen = [error(np.einsum("rp,pbc->rbc", draws, table)) for table in (before, after)]
    low, high = np.percentile(fallen[0] - fallen[1], [2.5, 97.5])
    return stats.Interval(float(error(before.sum(0)) - error(after.sum(0))), float(low), float(high))
