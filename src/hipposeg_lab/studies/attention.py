"""Do attention gates point at the hippocampus? Ratios of gate weights inside and outside the structure.

Maps are computed from images alone; labels enter only when the maps are evaluated. The measure is the mean weight
inside the true structure divided by the mean weight outside, within the crop. A hippocampus lies in the middle of every
crop, and an untrained network already separates tissues, so a ratio is compared with three controls:

- untrained: the same architecture with its initial weights;
- another case's map: the map of another subject, aligned at the centre: what the position in the crop explains;
- constant gate: one weight for all positions of a sample.

A 2D network processes slices, whose mean weights differ. So ratios are computed of the maps themselves (`volume`), and
of maps divided by their mean over each sample (`sample`), where only positions within a sample matter. The second ratio
of the constant gate is 1 by construction, which checks the measure.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from hipposeg import files, stats
from hipposeg.data import grid
from hipposeg.data.cohort import Cohort
from hipposeg.experiments.registry import RunSpec
from hipposeg.experiments.run import Finished
from hipposeg.experiments.weights import initial
from hipposeg.inference import BATCH, Prep
from hipposeg.results import compare
from hipposeg.training.machine import Machine

log = logging.getLogger(__name__)

TABLE = "attention.csv"
COLUMNS = ("case", "subject", "label", "scale", "control", "within", "ratio")
TRAINED, UNTRAINED, OTHER, CONSTANT = "trained", "untrained", "another case's map", "constant gate"
# The trained map where the other case's map reaches: only there can the two be compared.
REACHED = "trained, where another case's map reaches"
CONTROLS = (UNTRAINED, OTHER, CONSTANT)
VOLUME, SAMPLE = "volume", "sample"
# Gated model -> the control with the same parameters whose gates have one weight for all positions.
CONSTANTS = {model: f"{model}-constant" for model in ("attention2d", "attention3d")}

Maps = dict[int, np.ndarray]


@torch.inference_mode()
def maps(network: nn.Module, prep: Prep, image: np.ndarray, machine: Machine) -> Maps:
    """Compute a gated network's maps on the image's own grid.

    Args:
        network: with a method `maps`, in evaluation mode on the machine's device.
        prep: its input.
        image: (C, X, Y, Z) float32 in the network's spacing.
        machine: device and precision.

    Returns:
        Voxel size of a map in voxels of the image (1, 2, 4) -> (X, Y, Z) float32 from 0 to 1, finest first, repeated to
        the image's grid; NaN outside the network's box.
    """
    volume, placement = prep.volume(image)
    parts = []
    for part in prep.stack(volume).split(BATCH):
        with machine.autocast():
            parts.append([found.float().cpu() for found in network.maps(part.to(machine.device))])
    made = {}
    for fine in (torch.cat(found) for found in zip(*parts, strict=True)):  # (N, 1, *S / step)
        step = 2 ** len(made)
        for axis in range(2, fine.ndim):
            fine = fine.repeat_interleave(step, axis)
        made[step] = placement.restore(prep.unstack(fine).numpy(), np.nan)[0]
    return made


def ratio(found: np.ndarray, inside: np.ndarray) -> float:
    """Mean of a map (X, Y, Z) over `inside` (bool) divided by its mean over the rest; NaN voxels are skipped.

    NaN if the map has no value on one of the two sides, or only zeros outside.
    """
    known = ~np.isnan(found)
    within, without = (found[part & known].astype(float) for part in (inside, ~inside))
    if not within.size or not without.size or not without.any():
        return float("nan")
    return float(within.mean() / without.mean())


def relative(found: np.ndarray, axis: int | None) -> np.ndarray:
    """Divide a map (X, Y, Z) by its mean over each sample: each slice across `axis`, or the volume if axis is None."""
    over = tuple(other for other in range(3) if other != axis)
    known = ~np.isnan(found)
    total = np.where(known, found, 0).sum(over, keepdims=True, dtype=float)
    count = known.sum(over, keepdims=True)
    return found / np.divide(total, count, out=np.full(total.shape, np.nan), where=total > 0)


def paired_cases(cases: Sequence[int], subjects: Mapping[int, int]) -> dict[int, int]:
    """Map each case to the next case, cyclically, of another subject. Raises ValueError if there is only one."""
    ordered = sorted(cases)
    if len({subjects[number] for number in ordered}) < 2:
        raise ValueError(f"cases {ordered} are of one subject; the control with another case's map needs two")
    found = {}
    for at, number in enumerate(ordered):
        following = ordered[at + 1 :] + ordered[:at]
        found[number] = next(other for other in following if subjects[other] != subjects[number])
    return found


def laid_over(found: Maps, shape: Sequence[int]) -> Maps:
    """Place one case's maps on the grid of another, aligned at the centre; NaN where they do not reach."""
    placed = {
        scale: [grid.place(each, tuple(shape))[0] for each in (one, np.ones_like(one))] for scale, one in found.items()
    }
    return {scale: np.where(there > 0, one, np.nan) for scale, (one, there) in placed.items()}


def networks(trained: nn.Module, run: RunSpec, cohort: Cohort, machine: Machine) -> dict[str, nn.Module]:
    """The trained network of a gated run and the networks of its controls, in evaluation mode.

    The constant gate has initial weights: its ratio within a sample does not depend on them.
    """
    constant = replace(run, model=CONSTANTS[run.model])
    made = {UNTRAINED: initial(run, cohort.spec), CONSTANT: initial(constant, cohort.spec)}
    return {TRAINED: trained, **{name: machine.place(network).eval() for name, network in made.items()}}


def study(
    gated: Mapping[str, nn.Module], prep: Prep, images: Mapping[int, np.ndarray], cohort: Cohort, machine: Machine
) -> pd.DataFrame:
    """Compute the ratio of every case, scale and control: columns COLUMNS.

    Args:
        gated: control -> network, as `networks` returns them; TRAINED is required.
        prep: input of the networks.
        images: case -> (C, X, Y, Z) float32, in the network's spacing.
        cohort: labels and subjects.
        machine: device and precision.
    """
    found = {
        control: {number: maps(network, prep, image, machine) for number, image in images.items()}
        for control, network in gated.items()
    }
    neighbour = paired_cases(list(images), {number: cohort.cases[number].subject for number in images})
    found[OTHER] = {n: laid_over(found[TRAINED][neighbour[n]], image.shape[1:]) for n, image in images.items()}
    found[REACHED] = {
        n: {scale: np.where(np.isnan(over), np.nan, found[TRAINED][n][scale]) for scale, over in by_scale.items()}
        for n, by_scale in found[OTHER].items()
    }
    rows = []
    for control, by_case in found.items():
        for number, by_scale in by_case.items():
            case = cohort.cases[number]
            for scale, one in by_scale.items():
                kinds = {SAMPLE: relative(one, prep.axis)}
                if control != CONSTANT:
                    kinds = {VOLUME: one, **kinds}
                for within, values in kinds.items():
                    value = ratio(values, case.label > 0)
                    rows.append((number, case.subject, "hippocampus", scale, control, within, value))
    return pd.DataFrame(rows, columns=COLUMNS)


def hook(finished: Finished) -> None:
    """Write attention.csv for a gated network; skip other runs.

    Test cases of one subject, or with other voxels than the network's, cannot be studied: a warning is logged.
    """
    run, images, cohort = finished.run, finished.images, finished.cohort
    if run.model not in CONSTANTS:
        return
    prep = run.definition.prep
    fitting = all(prep.takes(cohort.cases[number].spacing) for number in images)
    if not fitting or len({cohort.cases[number].subject for number in images}) < 2:
        log.warning("%s: no study of attention; it needs two subjects and the network's voxels", run.name)
        return
    gated = networks(finished.network, run, cohort, finished.machine)
    table = study(gated, prep, images, cohort, finished.machine)
    files.write_csv(finished.folder / TABLE, COLUMNS, table.to_dict("records"))


def intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Mean ratio with its 95 % interval over subjects, and over seeds if the rows of `study` have a column seed."""
    rows = [(*key, *vars(stats.interval(*one)).values()) for key, one in _stacked(table).items()]
    return pd.DataFrame(rows, columns=["within", "scale", "control", "value", "low", "high"])


def beyond(table: pd.DataFrame) -> pd.DataFrame:
    """The trained network's ratio minus each control's on the same cases and voxels, with its 95 % interval."""
    found, rows = _stacked(table), []
    for (within, scale, control), (theirs, _) in found.items():
        if control not in (TRAINED, REACHED):
            mine, subjects = found[within, scale, REACHED if control == OTHER else TRAINED]
            one = stats.paired(mine, theirs, subjects)
            rows.append((within, scale, control, one.difference, one.low, one.high))
    return pd.DataFrame(rows, columns=["within", "scale", "control", "difference", "low", "high"])


def _stacked(table: pd.DataFrame) -> dict[tuple[str, int, str], tuple[np.ndarray, np.ndarray]]:
    """(within, scale, control) -> ratios (seeds, cases) and subjects (cases,), in order of appearance."""
    table = table if "seed" in table else table.assign(seed=0)
    groups = table.groupby(["within", "scale", "control"], sort=False)
    return {key: compare.stacked(group, "ratio") for key, group in groups}
