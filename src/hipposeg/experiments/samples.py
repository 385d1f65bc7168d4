"""Turn cases into training samples in memory."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from hipposeg.data import grid
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.data.grid import rescale, rescale_label
from hipposeg.data.n4 import N4Params, n4_cohort
from hipposeg.data.read import Case
from hipposeg.files import cached_arrays, sha256_bytes
from hipposeg.inference import Prep
from hipposeg.training.batches import Patches, Samples, Volume, seeded
from hipposeg.training.loop import TrainConfig
from hipposeg.workspace import Workspace


def images_of(cohort: Cohort, prep: Prep, ws: Workspace) -> dict[int, np.ndarray]:
    """Case -> image (C, X, Y, Z) float32 on its native grid, bias corrected if the model's input needs that."""
    if prep.n4:
        return n4_cohort(cohort, N4Params(), ws.work / "cache" / "n4")
    return {number: case.image for number, case in cohort.cases.items()}


def make_samples(
    images: dict[int, np.ndarray], cohort: Cohort, prep: Prep, cases: list[int],
    only: Mapping[int, np.ndarray] | None = None,
) -> Samples:  # fmt: skip
    """Stack training cases: whole volumes in 3D, every slice of every crop in 2D.

    Slices without hippocampus are kept in their natural proportion: a 2D network meets them in every new scan. For a
    network that works in another spacing, images and labels are rescaled as images are at inference.

    images: case -> (C, X, Y, Z) float32. only: case -> indices of its slices (`training_slices`); by default all.
    """
    inputs, targets = [], []
    for number in cases:
        image, label, spacing = images[number], cohort.cases[number].label, cohort.cases[number].spacing
        if not prep.takes(spacing):
            image, _ = rescale(image, spacing, prep.spacing, prep.size)
            label, _ = rescale_label(label, spacing, prep.spacing, prep.size, cohort.spec.n_classes)
        found, placement = prep.place(image)
        label = placement.apply(label)
        if prep.axis is None:
            inputs.append(found)
            targets.append(torch.from_numpy(label)[None])
            continue
        inside = placement.inside_grid[prep.axis]
        chosen = (only or {}).get(number, slice(None))
        inputs.append(found[inside][chosen])
        targets.append(torch.from_numpy(np.moveaxis(label, prep.axis, 0).copy())[inside][chosen])
    sides = [side for axis, side in enumerate(prep.spacing) if axis != prep.axis]
    return Samples(torch.cat(inputs), torch.cat(targets), cohort.spec.n_classes, tuple(sides))


def make_patches(
    images: dict[int, np.ndarray], cohort: Cohort, prep: Prep, cases: list[int], config: TrainConfig, folder: Path
) -> Patches:  # fmt: skip
    """Training cases from which patches (3D) or slices (2D) are drawn.

    Cases in another spacing than the network's are resampled once and kept as files in `folder`.
    """
    volumes = []
    for number in cases:
        image, case = images[number], cohort.cases[number]
        label = case.label
        if not prep.takes(case.spacing):
            image, label = _resampled(image, case, prep, cohort.spec.n_classes, folder)
        volumes.append(Volume.of(image, label, cohort.spec.n_classes))
    spacing = tuple(side for axis, side in enumerate(prep.spacing) if axis != prep.axis)
    return Patches(
        volumes, prep.size, prep.axis, prep.neighbours, cohort.spec.n_classes, spacing, config.patches,
        config.channel_dropout,
    )  # fmt: skip


def _resampled(
    image: np.ndarray, case: Case, prep: Prep, n_classes: int, folder: Path
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    name = sha256_bytes(case.sha256.encode(), repr((prep.spacing, [side % 2 for side in prep.size])).encode())[:32]
    paths = [folder / f"{name}.{kind}.npy" for kind in ("image", "label")]

    def make() -> tuple[np.ndarray, np.ndarray]:
        found = rescale(image, case.spacing, prep.spacing, prep.size)[0]
        return found, rescale_label(case.label, case.spacing, prep.spacing, prep.size, n_classes)[0]

    return cached_arrays(paths, make)


def shared(cohort: Cohort, cases: list[int], share: float, seed: int) -> list[int]:
    """Cases of a fraction of the training subjects, at least two; a larger fraction of a seed holds a smaller one."""
    if share >= 1:
        return cases
    people = sorted({cohort.cases[number].subject for number in cases})
    order = torch.randperm(len(people), generator=seeded(seed, "people")).tolist()
    kept = {people[index] for index in order[: max(2, round(share * len(people)))]}
    return [number for number in cases if cohort.cases[number].subject in kept]


def training_slices(cohort: Cohort, prep: Prep, fold: Fold) -> dict[int, np.ndarray]:
    """Slices that train, for folds that hold slices back: case -> indices among the slices in the network's grid.

    Of the scored volumes (`data.folds`), all that are not held back. If other volumes replace them, the same number of
    evenly spaced slices of these. Empty for folds that hold nothing back.

    Raises ValueError if the network takes other samples than those slices, or the added volumes have too few.
    """
    if "held" not in fold:
        return {}
    axis, first, step = fold["held"]
    cases = {number: cohort.cases[number] for number in [*fold["scored"], *fold["added"]]}
    if prep.axis != axis or not all(prep.takes(case.spacing) for case in cases.values()):
        raise ValueError(
            f"this fold holds slices across axis {axis} back; take a model on such slices, in the files' own voxels"
        )
    inside = {n: grid.Placement(case.image.shape[1:], prep.size).inside_native[axis] for n, case in cases.items()}
    counts = {number: part.stop - part.start for number, part in inside.items()}
    free = {n: np.flatnonzero((np.arange(inside[n].start, inside[n].stop) - first) % step) for n in fold["scored"]}
    if fold["added"] == fold["scored"]:
        return free
    wanted, there = sum(map(len, free.values())), sum(counts[number] for number in fold["added"])
    if wanted > there:
        raise ValueError(f"{wanted} slices are to be matched, and the {len(fold['added'])} added volumes have {there}")
    chosen, start, found = np.arange(wanted) * there // wanted, 0, {}
    for number in fold["added"]:
        found[number] = chosen[(start <= chosen) & (chosen < start + counts[number])] - start
        start += counts[number]
    return found
