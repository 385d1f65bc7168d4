"""Loss of Dice when the input changes: the crop (box.csv), and the image (robustness.csv).

The networks are those of grouped fold 0, evaluated on the first volume of each test subject. Every change is applied to
every volume; curves of several changes (six sides, three axes) are their mean within a volume. Differences are from the
unchanged volume. There is one seed of each network, so no conclusion is drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from hipposeg import metrics, stats
from hipposeg.data.cohort import Cohort
from hipposeg.data.read import Case
from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.registry import FLAGSHIP, SCANS, RunSpec
from hipposeg.inference import Predictor, evaluator
from hipposeg_lab.studies import changes
from hipposeg_lab.studies.changes import Change
from hipposeg_lab.studies.making import Context, Rows, Study, Unit, ends, network_of

COLUMNS = (
    "run", "change", "severity", "unit", "label", "dice", "low", "high", "subjects",
    "difference", "difference_low", "difference_high", "volumes",
)  # fmt: skip
ONE_VIEW = f"{FLAGSHIP}, one view"
# The labels, rotated and rotated back: the loss by interpolation alone.
EXPERT = "expert's labels"
FIRST_VOLUMES = "first of each person"

Changes = Callable[[Case, DatasetSpec], list[Change]]


def scores(predict: Predictor, cohort: Cohort, cases: Sequence[int], made: Changes) -> pd.DataFrame:
    """Dice of every case and change: case, subject, change, severity, unit, label (classes and their mean), dice.

    predict: image and spacing -> class probabilities. made: case and data set -> changes. Severity 0 is the unchanged
    image, once for each curve.
    """
    rows = []
    for number in tqdm(cases, mininterval=5, unit="case", disable=len(cases) < 2):
        case = cohort.cases[number]
        chosen = made(case, cohort.spec)
        units = {name: one.unit for one in chosen for name in one.names}
        for one in [Change(tuple(units), 0.0, "", lambda image: image), *chosen]:
            found = one.undo(predict(np.ascontiguousarray(one.apply(case.image)), case.spacing)).argmax(0)
            dice = metrics.class_dice(found, case.label, cohort.spec)
            dice[metrics.MEAN] = float(np.nanmean(list(dice.values())))
            shared = {"case": number, "subject": case.subject, "severity": one.severity}
            rows += [
                {**shared, "change": curve, "unit": units[curve], "label": label, "dice": value}
                for curve in one.names
                for label, value in dice.items()
            ]
    return pd.DataFrame(rows)


def summary(run: str, found: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of COLUMNS from those of `scores`: means over cases with intervals over subjects."""
    rows = []
    owner = found.drop_duplicates("case").set_index("case")["subject"]
    for (change, unit, label), curve in found.groupby(["change", "unit", "label"], sort=False):
        # Changes of one severity, such as six sides, count as one: their mean within each case.
        table = curve.pivot_table(index="case", columns="severity", values="dice").sort_index()
        subjects = owner.reindex(table.index).to_numpy()
        for severity in table.columns:
            mean = stats.interval(table[severity].to_numpy(), subjects)
            lost = stats.interval((table[severity] - table[0.0]).to_numpy(), subjects)
            rows.append({
                "run": run, "change": change, "severity": severity, "unit": unit, "label": label, "dice": mean.value,
                "low": mean.low, "high": mean.high, "subjects": len(set(subjects)), **ends("difference", lost),
                "volumes": len(table),
            })  # fmt: skip
    return rows


def scored(context: Context, run: RunSpec) -> list[int]:
    """The cases that are evaluated: the first volume of every test subject."""
    return first_volumes(context, context.folds[run.folds][run.fold]["scored"])


def first_volumes(context: Context, numbers: Sequence[int]) -> list[int]:
    """The first of these cases of each subject."""
    first: dict[int, int] = {}
    for number in numbers:
        first.setdefault(context.cohort.cases[number].subject, number)
    return list(first.values())


def network_unit(table: str, name: str, run: RunSpec, made: Changes, views: bool = False) -> Unit:
    """A network as a unit of `box` or `robustness`; views: with test-time augmentation."""

    def make(context: Context) -> Rows:
        prep = replace(run.definition.prep, views=views)
        predict = evaluator(network_of(context, run), prep, context.machine)
        return {table: summary(name, scores(predict, context.cohort, scored(context, run), made))}

    return Unit(name, (run,), make)


def _expert(context: Context) -> Rows:
    """Rotated labels, as one-hot maps: the score of a perfect network."""
    parts = []
    for number in scored(context, RunSpec(FLAGSHIP)):
        case = context.cohort.cases[number]
        one_hot = np.stack([case.label == value for value in range(context.cohort.spec.n_classes)]).astype(np.float32)
        one = replace(context.cohort, cases={number: replace(case, image=one_hot)})
        parts.append(scores(lambda image, spacing: image, one, [number], changes.rotations))
    return {"robustness": summary(EXPERT, pd.concat(parts, ignore_index=True))}


_HEADS = tuple(f"unet3d-inr-{head}" for head in ("1mm", "conv", "mlp", "mlp-xyz", "siren-xyz"))

BOX = Study(
    "box",
    "How does a crop that is cut or padded at one side change Dice?",
    {"box": COLUMNS},
    (
        network_unit("box", ONE_VIEW, RunSpec(FLAGSHIP), changes.of_box),
        *(network_unit("box", model, RunSpec(model), changes.of_box) for model in ("unet3d", *_HEADS)),
        network_unit("box", FLAGSHIP, RunSpec(FLAGSHIP), changes.of_box, views=True),
    ),
    {"version": 1, "volumes": FIRST_VOLUMES, "voxels": changes.BOX_VOXELS},
)
ROBUSTNESS = Study(
    "robustness",
    "How do changes of the image by scanner and file change Dice?",
    {"robustness": COLUMNS},
    (
        Unit(EXPERT, (), _expert),
        *(
            network_unit("robustness", name, RunSpec(model), changes.of_image)
            for name, model in ((ONE_VIEW, FLAGSHIP), ("unet3d", "unet3d"), ("unet3d+flip", "unet3d+flip"))
        ),
        *(network_unit("robustness", name, RunSpec(name), changes.of_image, views=True) for name in (FLAGSHIP, SCANS)),
    ),
    {
        "version": 2, "volumes": FIRST_VOLUMES, "degrees": changes.DEGREES, "noise": changes.NOISE,
        "bias": changes.BIAS, "bias_scale": changes.BIAS_SCALE, "mm": changes.COARSE, "factors": changes.FACTORS,
    },
)  # fmt: skip
