"""Is the attention of a gated network on the hippocampus? Computed by a hook while the network is at hand.

Maps come from images alone. Labels enter only where finished maps are measured: the mean inside the true structure over
the mean outside, within the image's box. A ratio by itself says little, since a hippocampus lies in the middle of every
box and an untrained network tells tissue apart, too. So it stands beside those of three controls:

- the same architecture with its initial weights;
- the map of another person's case, laid over this one centre on centre: what the place in the box explains;
- the constant gate, which gives all places of a sample one weight.

A 2D network's sample is a slice. Stacked to a volume, even constant maps differ from slice to slice, so ratios are
taken twice: of the map as it is, and of the map divided by its mean over each sample, where only places within it
count. For the constant gate only the second is taken: it is 1 by construction, which checks the measure.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from hipposeg import files
from hipposeg.data import grid
from hipposeg.data.cohort import Cohort
from hipposeg.experiments.hooks import Finished
from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.weights import initial
from hipposeg.inference import Prep
from hipposeg.training.machine import Machine

TABLE = "attention.csv"
log = logging.getLogger(__name__)

TRAINED, UNTRAINED, OTHER, CONSTANT = "trained", "untrained", "another case's map", "constant gate"
# The trained map where the other case's reaches: only there may the two be compared.
REACHED = "trained, where another case's map reaches"
CONTROLS = (UNTRAINED, OTHER, CONSTANT)
# What is compared: the whole volume, or only places within one sample of the network.
VOLUME, SAMPLE = "volume", "sample"
COLUMNS = ("case", "subject", "label", "scale", "control", "within", "ratio")

# Gated model -> the control of equal parameters that cannot choose places.
CONSTANTS = {model: f"{model}-constant" for model in ("attention2d", "attention3d")}

Maps = dict[int, np.ndarray]


@torch.inference_mode()
def maps(network: nn.Module, prep: Prep, image: np.ndarray, machine: Machine, batch: int = 48) -> Maps:
    """A gated network's maps on the image's own grid: scale -> (X, Y, Z) float32 from 0 to 1, finest first.

    Args:
        network: with a method `maps`, in evaluation mode on the machine's device. prep: its input.
        image: (C, X, Y, Z) float32 in the network's spacing.
        machine: device and precision, as for predictions. batch: samples a forward pass.

    A scale is the width of its map's voxels in voxels of the image: 1, 2, 4. Values are repeated to the image's grid;
    what the network's box cuts off is NaN.
    """
    volume, placement = prep.box(image)
    parts = []
    for part in prep.stack(volume).split(batch):
        with machine.autocast():
            parts.append([found.float().cpu() for found in network.maps(part.to(machine.device))])
    made = {}
    for scale in (torch.cat(found) for found in zip(*parts, strict=True)):  # (N, 1, *S / step)
        fine, step = scale, 2 ** len(made)
        for axis in range(2, scale.ndim):
            fine = fine.repeat_interleave(step, axis)
        made[step] = placement.restore(prep.unstack(fine).numpy(), np.nan)[0]
    return made


def ratio(found: np.ndarray, inside: np.ndarray) -> float:
    """Mean of a map (X, Y, Z) over `inside` (bool) by its mean over the rest; NaN voxels are left out.

    NaN if the map has no value on one of the two sides, or nothing but zeros outside.
    """
    known = ~np.isnan(found)
    within, without = (found[part & known].astype(float) for part in (inside, ~inside))
    if not within.size or not without.size or not without.any():
        return float("nan")
    return float(within.mean() / without.mean())


def relative(found: np.ndarray, axis: int | None) -> np.ndarray:
    """A map (X, Y, Z) divided by its mean over each sample: each slice across `axis`, or the volume for None.

    A sample without a value stays NaN.
    """
    over = tuple(other for other in range(3) if other != axis)
    known = ~np.isnan(found)
    total = np.where(known, found, 0).sum(over, keepdims=True, dtype=float)
    count = known.sum(over, keepdims=True)
    return found / np.divide(total, count, out=np.full(total.shape, np.nan), where=total > 0)


def paired_cases(cases: Sequence[int], subjects: Mapping[int, int]) -> dict[int, int]:
    """Each case -> the next one in order that is of another person, the first following the last.

    subjects: case -> person. Raises ValueError if all cases are of one person.
    """
    ordered = sorted(cases)
    if len({subjects[number] for number in ordered}) < 2:
        raise ValueError(f"cases {ordered} are of one person; a map of another person's case needs two people")
    found = {}
    for at, number in enumerate(ordered):
        following = ordered[at + 1 :] + ordered[:at]
        found[number] = next(other for other in following if subjects[other] != subjects[number])
    return found


def laid_over(found: Maps, shape: Sequence[int]) -> Maps:
    """One case's maps on the grid of another, centre on centre; NaN where they do not reach."""
    return {scale: grid.place(one, tuple(shape), np.nan)[0] for scale, one in found.items()}


def networks(trained: nn.Module, run: RunSpec, cohort: Cohort, machine: Machine) -> dict[str, nn.Module]:
    """The trained network of a gated run, and those of its controls, all ready to be asked.

    The constant gate's weights are initial ones: within a sample its ratio is 1 whatever they are.
    """
    constant = replace(run, model=CONSTANTS[run.model])
    made = {UNTRAINED: initial(run, cohort.spec), CONSTANT: initial(constant, cohort.spec)}
    return {TRAINED: trained, **{name: machine.place(network).eval() for name, network in made.items()}}


def study(
    asked: Mapping[str, nn.Module], prep: Prep, images: Mapping[int, np.ndarray], cohort: Cohort, machine: Machine
) -> pd.DataFrame:
    """The ratio of every case, scale and control: columns COLUMNS, one row each.

    asked: control -> network, as `networks` gives them; TRAINED must be there. images: case -> (C, X, Y, Z) float32,
    the scored cases. REACHED stands beside OTHER: where a smaller neighbour's map ends, both end. Raises ValueError if
    an image's voxels are not those that the network works in.
    """
    for number in images:
        if not prep.takes(spacing := cohort.cases[number].spacing):
            raise ValueError(f"case {number} has voxels of {spacing} mm, the network works in {prep.spacing}")
    found = {
        control: {number: maps(network, prep, image, machine) for number, image in images.items()}
        for control, network in asked.items()
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
                row = {"case": number, "subject": case.subject, "label": "hippocampus", "scale": scale}
                kinds = {VOLUME: one} if control != CONSTANT else {}
                for within, values in {**kinds, SAMPLE: relative(one, prep.axis)}.items():
                    rows.append({**row, "control": control, "within": within, "ratio": ratio(values, case.label > 0)})
    return pd.DataFrame(rows, columns=COLUMNS)


def by_part(
    network: nn.Module, prep: Prep, images: Mapping[int, np.ndarray], cohort: Cohort, machine: Machine
) -> pd.DataFrame:
    """The trained network's ratio for each part of the structure by itself, the other parts left out of both sides.

    Rows as of `study`, within a sample only; `control` is TRAINED, `label` the part's name.
    """
    rows = []
    for number, image in images.items():
        case = cohort.cases[number]
        for scale, one in maps(network, prep, image, machine).items():
            even = relative(one, prep.axis)
            for item in cohort.spec.labels:
                kept = np.where((case.label > 0) & (case.label != item.value), np.nan, even)
                rows.append({"case": number, "subject": case.subject, "label": item.name, "scale": scale,
                             "control": TRAINED, "within": SAMPLE,
                             "ratio": ratio(kept, case.label == item.value)})  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def hook(finished: Finished) -> None:
    """Write attention.csv (COLUMNS) for a network whose gates can choose places; other runs have none.

    Test cases of one subject, or in other voxels than the network's, cannot be studied: a warning says so.
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
