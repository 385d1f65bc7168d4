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
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.experiments.spec import RunSpec
from hipposeg.inference import Asker, asker
from hipposeg_lab.studies import changes
from hipposeg_lab.studies.changes import Change
from hipposeg_lab.studies.making import Context, Rows, Study, Unit, network_of

COLUMNS = (
    "run", "change", "severity", "unit", "label", "dice", "low", "high", "people",
    "difference", "difference_low", "difference_high", "volumes",
)  # fmt: skip
ONE_VIEW = f"{FLAGSHIP}, one view"
# The labels, rotated and rotated back: the loss by interpolation alone.
EXPERT = "expert's labels"

Changes = Callable[[Case, DatasetSpec], list[Change]]


def scores(ask: Asker, cohort: Cohort, cases: Sequence[int], made: Changes, name: str = "") -> pd.DataFrame:
    """Dice of every case and change.

    Args:
        ask: image and spacing -> class probabilities.
        cohort: the data set.
        cases: case numbers.
        made: case and data set -> changes.
        name: of the progress bar; "" hides it.

    Returns:
        Rows of case, subject, change, severity, unit, label (the foreground classes and their mean), dice. Severity 0
        is the unchanged image, once for each curve.
    """
    rows = []
    for number in tqdm(cases, desc=name, mininterval=5, unit="case", disable=not name):
        case = cohort.cases[number]
        chosen = made(case, cohort.spec)
        names = tuple(dict.fromkeys(name for one in chosen for name in one.names))
        units = {name: one.unit for one in chosen for name in one.names}
        for one in [Change(names, 0.0, "", lambda image: image), *chosen]:
            found = one.undo(ask(np.ascontiguousarray(one.apply(case.image)), case.spacing)).argmax(0)
            dice = metrics.class_dice(found, case.label, cohort.spec)
            dice |= {metrics.MEAN: float(np.nanmean(list(dice.values())))}
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
    person = found.drop_duplicates("case").set_index("case")["subject"]
    for (change, label), curve in found.groupby(["change", "label"], sort=False):
        # Changes of one severity, such as six sides, count as one: their mean within each case.
        table = curve.pivot_table(index="case", columns="severity", values="dice").sort_index()
        subjects = person.reindex(table.index).to_numpy()
        unit = curve["unit"].iloc[0]
        for severity in table.columns:
            mean = stats.interval(table[severity].to_numpy(), subjects)
            lost = stats.interval((table[severity] - table[0.0]).to_numpy(), subjects)
            rows.append({
                "run": run, "change": change, "severity": severity, "unit": unit, "label": label, "dice": mean.value,
                "low": mean.low, "high": mean.high, "people": len(set(subjects)), "difference": lost.value,
                "difference_low": lost.low, "difference_high": lost.high, "volumes": len(table),
            })  # fmt: skip
    return rows


def scored(context: Context, run: RunSpec) -> list[int]:
    """The cases that are evaluated: the first volume of every test subject."""
    first: dict[int, int] = {}
    for number in context.folds[run.folds][run.fold]["scored"]:
        first.setdefault(context.cohort.cases[number].subject, number)
    return list(first.values())


def network_unit(table: str, name: str, run: RunSpec, made: Changes, views: bool = False) -> Unit:
    """A network as a unit of `box` or `robustness`; views: with test-time augmentation."""

    def make(context: Context) -> Rows:
        prep = replace(run.definition.prep, views=views)
        ask = asker(network_of(context, run), prep, context.machine)
        found = scores(ask, context.cohort, scored(context, run), made, f"{table}, {name}")
        return {table: summary(name, found)}

    return Unit(name, (run,), make)


def _expert(table: str) -> Unit:
    """Rotated labels, as one-hot maps: the score of a perfect network."""
    run = RunSpec(FLAGSHIP)

    def make(context: Context) -> Rows:
        parts = []
        for number in scored(context, run):
            case = context.cohort.cases[number]
            shares = np.stack([case.label == value for value in range(context.cohort.spec.n_classes)]).astype(
                np.float32
            )
            one = replace(context.cohort, cases={number: replace(case, image=shares)})
            parts.append(scores(lambda image, spacing: image, one, [number], _rotations))
        return {table: summary(EXPERT, pd.concat(parts, ignore_index=True))}

    return Unit(EXPERT, (), make)


def _rotations(case: Case, spec: DatasetSpec) -> list[Change]:
    return changes.rotations(case)


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
    {"version": 1, "volumes": "first of each person", "voxels": changes.BOX_VOXELS},
)
ROBUSTNESS = Study(
    "robustness",
    "How do changes of the image by scanner and file change Dice?",
    {"robustness": COLUMNS},
    (
        _expert("robustness"),
        *(
            network_unit("robustness", name, RunSpec(model), changes.of_image)
            for name, model in ((ONE_VIEW, FLAGSHIP), ("unet3d", "unet3d"), ("unet3d+flip", "unet3d+flip"))
        ),
        network_unit("robustness", FLAGSHIP, RunSpec(FLAGSHIP), changes.of_image, views=True),
    ),
    {
        "version": 2, "volumes": "first of each person", "degrees": changes.DEGREES, "noise": changes.NOISE,
        "bias": changes.BIAS, "bias_scale": changes.BIAS_SCALE, "mm": changes.COARSE, "factors": changes.FACTORS,
    },
)  # fmt: skip
