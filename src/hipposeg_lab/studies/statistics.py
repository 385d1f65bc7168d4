"""Evidence on the origin of a cohort's volumes: pairs from one subject, crops cut around the truth.

Pure functions of arrays and tables. Volumes are in mm3, distances in voxels unless a name says mm.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hipposeg.data.cohort import Cohort
from hipposeg.data.grid import place, zscore

Pair = tuple[int, int]


def quantisation_step(image: NDArray[np.floating]) -> float:
    """The median gap between an image's sorted distinct values: the step in which its intensities were stored.

    A scanner writes integers; rescaling to float multiplies them by one factor. It remains as the gap between values,
    and differs from scan to scan. NaN for a constant image.
    """
    values = np.unique(np.asarray(image, np.float64))
    return float(np.median(np.diff(values))) if len(values) > 1 else float("nan")


def margins(label: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Voxels between the foreground and the crop's sides: (2, 3), low sides first. Raises ValueError if empty."""
    found = np.argwhere(label)
    if not len(found):
        raise ValueError("the label map has no foreground, so it has no margins; leave such cases out")
    return np.array([found.min(0), np.subtract(label.shape, 1) - found.max(0)])


def centre_offset(label: NDArray[np.uint8], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Centre of mass of the foreground minus centre of the crop, in mm: (3,)."""
    return (np.argwhere(label).mean(0) - (np.array(label.shape) - 1) / 2) * np.asarray(spacing)


def shared_slices(label: NDArray[np.uint8], axis: int) -> int:
    """How many slices across `axis` contain several labels: 0 where the border between labels is a slice's face."""
    rest = tuple(other for other in range(label.ndim) if other != axis)
    held = [(label == value).any(axis=rest) for value in np.unique(label[label > 0])]
    return int((np.sum(held, axis=0) > 1).sum())


def describe(cohort: Cohort) -> pd.DataFrame:
    """One row per case, indexed by case number.

    Columns: subject, stored_dtype, size_0..2 (voxels), p1, median, p99, maximum, mean, sd (of the first channel),
    step (`quantisation_step`), share_<label> and share_background (of the crop's voxels), volume_<label> and volume
    (mm3), low_0..2 and high_0..2 (`margins`), centre_0..2 (`centre_offset`, mm).
    """
    rows = {}
    for number, case in cohort.cases.items():
        image, label, voxel = case.image[0], case.label, float(np.prod(case.spacing))
        p1, median, p99 = np.percentile(image, (1, 50, 99))
        counts = np.bincount(label.ravel(), minlength=cohort.spec.n_classes)
        rows[number] = row = {
            "subject": case.subject, "stored_dtype": case.stored_dtype,
            "p1": p1, "median": median, "p99": p99, "maximum": image.max(), "mean": image.mean(dtype=np.float64),
            "sd": image.std(dtype=np.float64), "step": quantisation_step(image),
            "share_background": counts[0] / label.size, "volume": counts[1:].sum() * voxel,
        }  # fmt: skip
        for item in cohort.spec.labels:
            row[f"share_{item.name}"] = counts[item.value] / label.size
            row[f"volume_{item.name}"] = counts[item.value] * voxel
        sides, centre = margins(label), centre_offset(label, case.spacing)
        for axis in range(3):
            row |= {f"size_{axis}": label.shape[axis], f"centre_{axis}": centre[axis]}
            row |= {f"low_{axis}": sides[0, axis], f"high_{axis}": sides[1, axis]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("case")


def at_ranks(values: pd.Series, n: int) -> list[int]:
    """The cases at `n` evenly spaced ranks of a value, smallest and largest among them: cases chosen by rule."""
    ordered = values.sort_values(kind="stable").index
    return [int(ordered[round(rank)]) for rank in np.linspace(0, len(ordered) - 1, n)]


def neighbours(cases: Iterable[int], first: str) -> list[Pair]:
    """Available pairs of consecutive case numbers: (odd, odd + 1) for first="odd", (even, even + 1) for "even"."""
    if first not in ("odd", "even"):
        raise ValueError(f"first is {first!r}; choose odd or even")
    present = set(cases)
    return [(n, n + 1) for n in sorted(present) if n + 1 in present and n % 2 == (first == "odd")]


def random_pairs(cases: Sequence[int], n: int, rng: np.random.Generator) -> list[Pair]:
    """`n` disjoint random pairs of case numbers, none of them consecutive. Raises ValueError if cases are too few."""
    if 2 * n > len(cases):
        raise ValueError(f"{len(cases)} cases are too few for {n} disjoint pairs")
    for _ in range(100):  # so few cases that neighbours met: draw again
        order = [int(case) for case in rng.permutation(cases)]
        pairs = [(a, b) for a, b in zip(order[::2], order[1::2], strict=False) if abs(a - b) > 1]
        if len(pairs) >= n:
            return pairs[:n]
    raise ValueError(f"found no {n} pairs without neighbours in {len(cases)} cases; ask for fewer")


def _sides(values: Mapping[int, float] | pd.Series, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Values of the first and of the second of each pair."""
    return tuple(np.array([values[pair[side]] for pair in pairs], float) for side in (0, 1))


def correlation(values: Mapping[int, float] | pd.Series, pairs: Sequence[Pair]) -> float:
    """Pearson's r between the first and the second of each pair. NaN for fewer than three pairs."""
    return float(np.corrcoef(*_sides(values, pairs))[0, 1]) if len(pairs) > 2 else float("nan")


def ratio_difference(values: Mapping[int, float] | pd.Series, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Difference of two positive values as a share of their mean, for each pair: 0 if equal, at most 2."""
    first, second = _sides(values, pairs)
    return np.abs(first - second) / ((first + second) / 2)


def floating(table: pd.DataFrame, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with both images stored as floating point: the step of integers is 1 in every scan."""
    return [pair for pair in pairs if all(table.stored_dtype[case].startswith("float") for case in pair)]


def mean_mask(labels: Iterable[NDArray[np.uint8]], size: Sequence[int]) -> NDArray[np.float64]:
    """Share of cases with foreground at each voxel, crops aligned at the centre in (X, Y, Z) `size`."""
    placed = [place((label > 0).astype(np.float32), tuple(size))[0] for label in labels]
    return np.mean(placed, axis=0, dtype=np.float64)


def siblings_in_training(fold: Mapping[str, Sequence[int]], subject: Mapping[int, int] | pd.Series) -> int:
    """How many test cases of a fold have another case of the same subject in its training part."""
    trained = {subject[case] for case in fold["train"]}
    return sum(subject[case] in trained for case in fold["scored"])


def class_densities(cohort: Cohort, edges: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Histogram densities of z-scored intensities (first channel), for background and each label, over all cases.

    Every case is z-scored over its own crop first, because the files share no common scale. Values beyond `edges`
    count at the ends.
    """
    names = ("background", *cohort.spec.names)
    counts = np.zeros((len(names), len(edges) - 1))
    for case in cohort.cases.values():
        scaled = np.clip(zscore(case.image)[0], edges[0], edges[-1])
        for value in range(len(names)):
            counts[value] += np.histogram(scaled[case.label == value], edges)[0]
    return {name: row / (row.sum() * np.diff(edges)) for name, row in zip(names, counts, strict=True)}
