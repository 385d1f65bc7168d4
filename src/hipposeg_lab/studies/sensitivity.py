"""How a network's Dice falls when its input is changed: of the box (box.csv), and of the image (robustness.csv).

Networks are those of the `full` series on grouped fold 0, asked for one volume, the first, of each of that fold's
people, whom they never saw. Every change is made to every volume; curves that gather several changes (six sides, three
axes) take their mean within a volume. Differences are from the same volume unchanged. One seed of each network: no
verdict.
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
from hipposeg_lab.studies.making import Context, Rows, Study, Unit

COLUMNS = (
    "run", "change", "severity", "unit", "label", "dice", "low", "high", "people",
    "difference", "difference_low", "difference_high", "volumes",
)  # fmt: skip
ONE_VIEW = f"{FLAGSHIP}, one view"
# The experts' own labels, turned and turned back: what interpolation alone costs.
EXPERT = "expert's labels"

Changes = Callable[[Case, DatasetSpec], list[Change]]


def scores(ask: Asker, cohort: Cohort, cases: Sequence[int], made: Changes, name: str = "") -> pd.DataFrame:
    """Dice of every case and change: rows of case, subject, change, severity, unit, label, dice.

    ask: image and spacing -> class probabilities. name: for the progress, which an empty one hides. Severity 0 is the
    image as it is, once for each curve. Labels are the foreground classes and their mean.
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
    """Rows of COLUMNS from what `scores` gives: means over cases with intervals over people."""
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
    """The cases that are asked for: of every person whom the run is scored on and never saw, the first volume."""
    first: dict[int, int] = {}
    for number in context.folds[run.folds][run.fold]["scored"]:
        first.setdefault(context.cohort.cases[number].subject, number)
    return list(first.values())


def network_unit(table: str, name: str, run: RunSpec, made: Changes, views: bool = False) -> Unit:
    """A network as a unit of `box` or `robustness`; views: ask it from several sides."""

    def make(context: Context) -> Rows:
        prep = replace(run.definition.prep, views=views)
        ask = asker(context.network(run), prep, context.machine)
        found = scores(ask, context.cohort, scored(context, run), made, f"{table}, {name}")
        return {table: summary(name, found)}

    return Unit(name, (run,), make)


def _expert(table: str) -> Unit:
    """Turned labels, as one-hot maps: the score that a perfect network would get."""
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
    "What happens when a box is cut or padded at one side?",
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
    "What do scanners and files do to the score?",
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
