"""Volumes from crops that the loop of whole heads placed, and of small hippocampi.

Each case is predicted by the one network of `hipposeg predict` that never saw its subject, with test-time augmentation;
the loop (`predict.crop.settle`) uses the same network without it. Two tables, one row a case, label and condition:

- placed.csv: the published crop; the self-placed one, where the loop ends that starts from the published crop shifted
  by up to SHIFT voxels along each axis; and the published crop mirrored, as a right hippocampus lies in it. Published
  crops are all the image there is, so a self-placed one repeats the outermost voxels beyond them, which a whole head
  does not need.
- shrunk.csv: hippocampi of every second subject that lost a known fraction of their volume (`warp`), in self-placed
  crops, as in whole heads, and the smallest also in the published frame, which is loose around them; also by the
  flagship, whose training has no such sizes.

From the first one follows the card of these networks: intervals for self-placed crops.

All scans come from one scanner; other scanners may have larger errors, and intervals that hold less often.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from hipposeg import stats
from hipposeg.data.folds import N_FOLDS
from hipposeg.data.read import Case
from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.registry import FLAGSHIP, SCANS, RunSpec
from hipposeg.metrics import UNION
from hipposeg.predict import card, quality
from hipposeg.predict.crop import Box, Region, settle
from hipposeg.predict.ensemble import Ensemble
from hipposeg_lab.studies import conformal, coverage, making, warp
from hipposeg_lab.studies.coverage import CHOSEN, Residuals
from hipposeg_lab.studies.making import Context, Rows, Study, Unit, network_of
from hipposeg_lab.studies.sensitivity import scored

# Conditions, fixed before anything was computed.
SHIFT, SEED = 3, 20212
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4)
LOOSE_LEVELS = (0.4,)
PUBLISHED, PLACED, MIRRORED = "published", "self-placed", "mirrored"
# How the loop ended: the crop stays where it is, alternates between two, or neither.
FIXED, CYCLE, NOWHERE = "fixed", "cycle", "none"

# cut: voxels of the published crop outside the self-placed one; padded: the reverse; lost: true voxels cut away.
COLUMNS = ("run", "fold", "case", "subject", "label", "crop", "true", "predicted", "dice")
PLACED_COLUMNS = (*COLUMNS, "spread", "steps", "end", "cut", "padded", "lost")
SHRUNK_COLUMNS = (*COLUMNS[:6], "shrunk", *COLUMNS[6:])


def placed(image: np.ndarray, shift: Sequence[int], one: Ensemble) -> tuple[Box, int, str]:
    """Where the loop ends that starts from a shifted crop: the final crop, the number of steps, and how it ended."""
    region, known = Region(image, np.eye(4)), {}

    def first(crop: np.ndarray) -> np.ndarray:
        key = crop.shape, crop.tobytes()
        if key not in known:
            known[key] = one.first(crop)
        return known[key]

    start = Box(tuple(np.asarray(shift).tolist()), tuple(np.add(shift, image.shape).tolist()), False)
    found = settle(region, start, first, one.card.boxes)
    fixed = found.settled and settle(region, found.box, first, one.card.boxes).steps == 1
    return found.box, found.steps, FIXED if fixed else CYCLE if found.settled else NOWHERE


def shift_of(case: Case) -> np.ndarray:
    """The start's shift along each axis, drawn by case number."""
    return np.random.default_rng([SEED, case.number]).integers(-SHIFT, SHIFT + 1, 3)


def compared(mask: np.ndarray, low: Sequence[int], label: np.ndarray, spec: DatasetSpec) -> dict[str, dict[str, Any]]:
    """Compare a predicted mask of another crop with a label map.

    Args:
        mask: (X', Y', Z').
        low: where its first voxel lies in the label map; may be negative.
        label: (X, Y, Z).
        spec: names the classes.

    Returns:
        Class or union -> true and predicted volume in voxels, Dice, and true voxels outside the mask's crop.
    """
    inside = [
        slice(max(0, a), max(0, min(a + size, side)))
        for a, size, side in zip(low, mask.shape, label.shape, strict=True)
    ]
    there, seen = np.zeros_like(label), np.zeros(label.shape, dtype=bool)
    seen[tuple(inside)] = True
    there[tuple(inside)] = mask[tuple(slice(s.start - a, s.stop - a) for s, a in zip(inside, low, strict=True))]
    found = {}
    for name, value in [*((one.name, one.value) for one in spec.labels), (UNION, None)]:
        mine, moved, true = (one > 0 if value is None else one == value for one in (mask, there, label))
        sizes = int(true.sum()), int(mine.sum())
        both = 2 * int((moved & true).sum()) / sum(sizes) if sum(sizes) else float("nan")
        found[name] = {"true": sizes[0], "predicted": sizes[1], "dice": both, "lost": int((true & ~seen).sum())}
    return found


def of_crops(case: Case, one: Ensemble, mirrored: bool) -> list[dict[str, Any]]:
    """Rows of placed.csv of one case, without run and fold."""
    image = case.image[0]
    box, steps, end = placed(image, shift_of(case), one)
    both = np.minimum(box.high, image.shape) - np.maximum(box.low, 0)
    shared = int(np.prod(np.maximum(both, 0)))
    way = {"steps": steps, "end": end, "cut": image.size - shared, "padded": int(np.prod(box.size)) - shared}
    crops = {PUBLISHED: (image, (0, 0, 0), {}), PLACED: (Region(image, np.eye(4)).cut(box), box.low, way)}
    if mirrored:
        crops[MIRRORED] = (np.ascontiguousarray(image[::-1]), (0, 0, 0), {})
    rows = []
    for crop, (seen, low, more) in crops.items():
        found = one.predict(seen)
        mask = found.probabilities.argmax(axis=0)
        for label, values in compared(mask[::-1] if crop == MIRRORED else mask, low, case.label, one.spec).items():
            values |= {} if more else {"lost": None}
            rows.append({**_of(case), "label": label, "crop": crop, "spread": found.spread[label], **more, **values})
    return rows


def of_sizes(case: Case, one: Ensemble) -> list[dict[str, Any]]:
    """Rows of shrunk.csv of one case, without run and fold."""
    rows = []
    for level in LEVELS:
        offset = np.random.default_rng([SEED, case.number, round(100 * level)]).uniform(-0.5, 0.5, 3)
        image, label = warp.shrunk(case.image[0], case.label, level, offset)
        boxes = {PLACED: placed(image, shift_of(case), one)[0]}
        if level in LOOSE_LEVELS:
            boxes[PUBLISHED] = Box((0, 0, 0), image.shape, False)
        for crop, box in boxes.items():
            mask = one.predict(Region(image, np.eye(4)).cut(box)).probabilities.argmax(axis=0)
            for name, values in compared(mask, box.low, label, one.spec).items():
                rows.append({**_of(case), "label": name, "crop": crop, "shrunk": level, **values})
    return rows


def _of(case: Case) -> dict[str, int]:
    return {"case": case.number, "subject": case.subject}


def residuals(table: pd.DataFrame, crop: str) -> Residuals:
    """Predicted and true volumes of placed.csv in one kind of crop, ordered by case."""
    rows = table[table["crop"] == crop]
    labels = tuple(dict.fromkeys(rows["label"]))
    parts = [rows[rows["label"] == label].sort_values("case") for label in labels]
    case, subject, fold = (parts[0][name].to_numpy() for name in ("case", "subject", "fold"))
    volumes = (np.array([part[name] for part in parts], dtype=float) for name in ("true", "predicted", "spread"))
    return Residuals(labels, case, subject, fold, *volumes)


def write_card(context: Context, model: str = SCANS) -> str:
    """Write the card of the model's networks, with intervals for self-placed crops; "made", or what is missing."""
    table = making.read(context.ws, "placed")
    if table is None:
        return "placed.csv is missing; `hipposeg-lab study placed` computes it"
    runs, spec = conformal.out_of_fold(context, model), context.cohort.spec
    spread = table[table["crop"] == PUBLISHED].pivot(index="case", columns="label", values="spread")
    measured = []
    for number, mask in ((number, mask) for one in runs.values() for number, mask in one.masks.items()):
        found = quality.measure(mask, context.cohort.cases[number].spacing, spread.loc[number], spec)
        measured.append({name: round(value, 6) for name, value in found.items()})
    print(f"  The card is {conformal.write_card(context, runs, residuals(table, PLACED), measured)}", flush=True)
    return "made"


def coverages(table: pd.DataFrame) -> pd.DataFrame:
    """Coverage of the intervals, calibrated on the other folds, with 95 % intervals over subjects.

    Columns: label, calibrated (on which crops), crop, coverage, low, high, width (mean, mm3).
    """
    rows, found = [], {crop: residuals(table, crop) for crop in (PUBLISHED, PLACED)}
    for calibrated, crop in ((PUBLISHED, PUBLISHED), (PUBLISHED, PLACED), (PLACED, PLACED)):
        lower, upper, _ = coverage.across_folds(found[calibrated], CHOSEN, scored=found[crop])
        inside = ((lower <= found[crop].true) & (found[crop].true <= upper)).astype(float)
        for at, label in enumerate(found[crop].labels):
            share = stats.interval(inside[at], found[crop].subject)
            row = {"label": label, "calibrated": calibrated, "crop": crop, "coverage": share.value}
            rows.append(row | {"low": share.low, "high": share.high, "width": float((upper - lower)[at].mean())})
    return pd.DataFrame(rows)


def losses(table: pd.DataFrame, crop: str = PLACED) -> pd.DataFrame:
    """Dice in published crops and in others of the same cases, and the difference with its interval over subjects."""
    rows = []
    for label, part in table.groupby("label", sort=False):
        dice = part.pivot(index=["case", "subject"], columns="crop", values="dice").dropna(subset=[crop])
        lost = stats.interval((dice[crop] - dice[PUBLISHED]).to_numpy(), dice.index.get_level_values("subject"))
        row = {"label": label, PUBLISHED: dice[PUBLISHED].mean(), crop: dice[crop].mean(), "volumes": len(dice)}
        rows.append(row | {"difference": lost.value, "low": lost.low, "high": lost.high})
    return pd.DataFrame(rows)


def slopes(table: pd.DataFrame, crop: str = PLACED) -> pd.DataFrame:
    """Slope of predicted against true volume over all sizes, and within subjects, with intervals over subjects.

    The first compares subjects as well as sizes; the second only sizes of one hippocampus.
    """
    rows = []
    for label, part in table[table["crop"] == crop].groupby("label", sort=False):
        means = part.groupby("subject")[["true", "predicted"]].transform("mean")
        for among, centre in (("all", 0 * means), ("within", means)):
            true, predicted = (part[name].to_numpy(float) - centre[name].to_numpy() for name in ("true", "predicted"))
            found = stats.of_cases(partial(_slope, true, predicted), part["subject"].to_numpy())
            rows.append({"label": label, "among": among, "slope": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def _slope(true: np.ndarray, predicted: np.ndarray, drawn: np.ndarray, _: np.ndarray) -> float:
    return float(np.polyfit(true[drawn], predicted[drawn], 1)[0])


def biases(table: pd.DataFrame, crop: str = PLACED) -> pd.DataFrame:
    """Mean error of the predicted volume relative to the true one, by label and size, and the mean Dice."""
    rows = []
    for (label, level), part in table[table["crop"] == crop].groupby(["label", "shrunk"], sort=False):
        error = stats.interval((part["predicted"] / part["true"] - 1).to_numpy(), part["subject"])
        row = {"label": label, "shrunk": level, "bias": error.value, "low": error.low, "high": error.high}
        rows.append(row | {"dice": part["dice"].mean(), "true": part["true"].mean(), "volumes": len(part)})
    return pd.DataFrame(rows)


def of_model(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """The rows of one model's networks."""
    return table[table["run"].str.startswith(f"{model}.")]


def _unit(
    table: str, fold: int, made: Callable[[Context, Ensemble, RunSpec], list[dict[str, Any]]], model: str = SCANS
) -> Unit:
    """One fold's network on its test cases."""
    run = RunSpec(model, fold=fold)

    def make(context: Context) -> Rows:
        one = Ensemble(card.read(), {run: network_of(context, run)}, context.machine)
        return {table: [{"run": run.name, "fold": fold, **row} for row in made(context, one, run)]}

    return Unit(run.name, (run,), make)


def _all_crops(context: Context, one: Ensemble, run: RunSpec) -> list[dict[str, Any]]:
    cases, first = context.folds[run.folds][run.fold]["scored"], scored(context, run)
    return [row for number in cases for row in of_crops(context.cohort.cases[number], one, number in first)]


def _all_sizes(context: Context, one: Ensemble, run: RunSpec) -> list[dict[str, Any]]:
    """The first volume of every second test subject."""
    return [row for number in scored(context, run)[::2] for row in of_sizes(context.cohort.cases[number], one)]


CARD = "Which intervals and limits belong to the networks of `hipposeg predict`?"
CROPS = Study(
    "placed",
    "Do Dice and intervals hold in crops that the fixed-point loop placed?",
    {"placed": PLACED_COLUMNS},
    tuple(_unit("placed", fold, _all_crops) for fold in range(N_FOLDS)),
    {"version": 1, "shift": SHIFT, "seed": SEED},
)
SIZES = Study(
    "shrunk",
    "Does the predicted volume follow a hippocampus that shrinks by a known fraction?",
    {"shrunk": SHRUNK_COLUMNS},
    tuple(_unit("shrunk", fold, _all_sizes, model) for model in (FLAGSHIP, SCANS) for fold in range(N_FOLDS)),
    {"version": 1, "shift": SHIFT, "seed": SEED, "levels": LEVELS, "loose": LOOSE_LEVELS, "every": 2},
)
