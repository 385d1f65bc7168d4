"""Volumes with an error bar: conformal intervals of the flagship, from networks that never saw the person.

`write` reads the flagship's runs on the five grouped folds and leaves, in the artifacts of the `full` profile:

- conformal.csv: every volume's interval, calibrated on the other four folds;
- studies/conformal_coverage.csv: how often the intervals hold the truth, and how wide they are;
- studies/conformal_measures.csv: of every predicted mask, what `studies.quality` measures;
- conformal.json: the card that `hipposeg predict` reads, calibrated on all five folds.

Only the spread of a prediction needs a network. It is asked again from the stored weights, once: as long as the weights
are the same, the measures that are there are kept.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from hipposeg.data import cohort as cohorts
from hipposeg.data import locate
from hipposeg.data.folds import N_FOLDS
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DatasetSpec
from hipposeg.experiments import RunSpec
from hipposeg.experiments.prediction import answer
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.spec import current_numerics
from hipposeg.experiments.weights import load
from hipposeg.files import sha256_file, write_csv
from hipposeg.metrics import UNION
from hipposeg.predict import card, intervals, quality
from hipposeg.predict.intervals import CHOSEN, LEVEL, SEED, Residuals
from hipposeg.results.scoring import CASES
from hipposeg.results.table import Run, RunError, check_cases, read_run
from hipposeg.training.machine import this_machine
from hipposeg.workspace import Workspace

log = logging.getLogger(__name__)

QUESTION = "Which interval around a predicted volume holds the true one as often as promised?"
INTERVALS, COVERAGE, MEASURES = "conformal.csv", "studies/conformal_coverage.csv", "studies/conformal_measures.csv"
INTERVAL_COLUMNS = ("case", "label", "predicted", "lower", "upper")


def out_of_fold(
    ws: Workspace, spec: DatasetSpec, model: str = FLAGSHIP, schedule: str = "standard"
) -> dict[RunSpec, Run]:
    """The model's finished runs on the grouped folds, by fold.

    Raises FileNotFoundError if one is not there, RunError if one is damaged, older than the code or of other cases.
    """
    found = {}
    for run in (RunSpec(model, "grouped", fold, schedule=schedule) for fold in range(N_FOLDS)):
        folder = ws.artifacts / "runs" / run.name
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"artifacts/{ws.name}/runs has no {run.name}; `hipposeg series 04` trains it")
        found[run] = read_run(ws, folder, current_numerics())
        check_cases(found[run], spec, None)
        if found[run].older:
            raise RunError(f"{run.name} is older than the code; train it again with `hipposeg series 04`")
    return found


def measures(ws: Workspace, runs: Mapping[RunSpec, Run], spec: DatasetSpec) -> pd.DataFrame:
    """One row per scored case: run, weights (start of their hash), case, `quality.measure`, spread_<label> in mm3."""
    path = ws.artifacts / MEASURES
    if path.is_file():
        found = pd.read_csv(path)
        wanted = {(run.name, _weights(one)) for run, one in runs.items()}
        if set(zip(found["run"], found["weights"].astype(str), strict=True)) == wanted:
            return found
    rows, cohort, machine = [], cohorts.load(_source(ws)), replace(this_machine(), threads=1)
    machine.prepare()
    for run, one in runs.items():
        log.info("%s: asking the stored weights how far their opinions are apart", run.name)
        network = load(ws.artifacts / "weights" / f"{run.name}.safetensors", run, spec, machine)
        images = images_of(cohort, run.definition.prep, ws)
        for number in one.values().index:
            case = cohort.cases[number]
            spread = answer(run.definition, network, images[number], case.spacing, machine).spread(case.spacing, spec)
            found = quality.measure(one.prediction(spec, number), case.spacing, spread, spec)
            named = {f"spread_{label}": value for label, value in spread.items()}
            rows.append({"run": run.name, "weights": _weights(one), "case": number, **found, **named})
    write_csv(path, tuple(rows[0]), rows)
    return pd.read_csv(path)


def residuals(runs: Mapping[RunSpec, Run], measured: pd.DataFrame, spec: DatasetSpec) -> Residuals:
    """Volumes of classes and union as predicted out of fold, the truth and the spread, in the order of the cases."""
    labels = (*spec.names, UNION)
    rows = pd.concat([one.cases.assign(fold=run.fold) for run, one in runs.items()])
    if rows.duplicated(["case", "label"]).any():
        raise RunError("a case is scored in two of the grouped folds; the runs are not of one split")

    def by_case(column: str) -> np.ndarray:
        return rows.pivot(index="case", columns="label", values=column).sort_index()[list(labels)].to_numpy(float).T

    firsts = rows.drop_duplicates("case").set_index("case").sort_index()
    spread = measured.set_index("case").loc[firsts.index, [f"spread_{label}" for label in labels]].to_numpy(float).T
    case, subject, fold = (np.asarray(part) for part in (firsts.index, firsts["subject"], firsts["fold"]))
    return Residuals(labels, case, subject, fold, by_case("volume_true"), by_case("volume_predicted"), spread)


def boxes(ws: Workspace, runs: Mapping[RunSpec, Run], spec: DatasetSpec) -> card.Boxes:
    """What the boxes of the scored cases were like, from the stored masks. Raises RunError if they are not alike."""
    shapes, margins, kinds = [], [], set()
    for one in runs.values():
        for number in one.values().index:
            image = nibabel.load(one.predictions / spec.file_name(number))
            shapes.append(image.shape)
            inside = np.argwhere(np.asarray(image.dataobj) > 0)
            if len(inside):
                margins.append([*inside.min(axis=0), *(np.subtract(image.shape, 1) - inside.max(axis=0))])
            kinds.add(("".join(nibabel.aff2axcodes(image.affine)), tuple(map(float, image.header.get_zooms()))))
    if len(kinds) > 1:
        raise RunError(f"the scored boxes have {len(kinds)} kinds of orientation and spacing: {sorted(kinds)}")
    ((axes, spacing),) = kinds
    middle = np.median(margins, axis=0)
    smallest, largest = (tuple(int(side) for side in end(shapes, axis=0)) for end in (np.min, np.max))
    return card.Boxes(smallest, largest, spacing, axes, (int(middle.min()), int(middle.max())))


def write(ws: Workspace, model: str = FLAGSHIP, schedule: str = "standard") -> Path:
    """Write the study's four files for the data set of `ws`, and return the path of conformal.csv."""
    full = ws.full
    spec = PHANTOM_SPEC if ws.is_phantom else MSD_HIPPOCAMPUS
    runs = out_of_fold(full, spec, model, schedule)
    measured = measures(full, runs, spec)
    found = residuals(runs, measured, spec)
    lower, upper, scales = intervals.across_folds(found, CHOSEN)
    rows = [
        {"case": case, "label": label, "predicted": found.predicted[i, j], "lower": lower[i, j], "upper": upper[i, j]}
        for j, case in enumerate(found.case)
        for i, label in enumerate(found.labels)
    ]
    write_csv(full.artifacts / INTERVALS, INTERVAL_COLUMNS, rows)
    write_csv(full.artifacts / COVERAGE, intervals.COVERAGE_COLUMNS, intervals.coverage_rows(found))
    people = np.unique(found.subject)
    scale, q = intervals.calibrated(found, people, CHOSEN, np.random.default_rng([SEED, N_FOLDS]))
    card.Card(
        dataset=ws.dataset,
        runs={run.name: one.config["weights_sha256"] for run, one in runs.items()},
        scored={run.name: sha256_file(full.artifacts / "runs" / run.name / CASES) for run in runs},
        level=LEVEL,
        scale=scale,
        scales=tuple(scales),
        quantiles={label: round(float(one), 6) for label, one in zip(found.labels, q, strict=True)},
        people=len(people),
        volumes=len(found.case),
        boxes=boxes(full, runs, spec),
        limits=quality.limits(measured.to_dict("records"), spec),
    ).write(card.path_of(ws))
    return full.artifacts / INTERVALS


def covered(ws: Workspace, spec: DatasetSpec) -> pd.DataFrame:
    """conformal.csv with two more columns: `true`, the volume in mm3, and `inside`, whether the interval holds it."""
    full = ws.full
    rows = pd.concat([one.cases for one in out_of_fold(full, spec).values()])
    found = pd.read_csv(full.artifacts / INTERVALS)
    found = found.merge(rows[["case", "label", "volume_true"]].rename(columns={"volume_true": "true"}))
    return found.assign(inside=(found["lower"] <= found["true"]) & (found["true"] <= found["upper"]))


def _weights(run: Run) -> str:
    return run.config["weights_sha256"][:12]


def _source(ws: Workspace) -> locate.Source:
    """The data set of the workspace. Raises FileNotFoundError if another one is found."""
    source: Any = locate.locate("full")
    if source.dataset != ws.dataset:
        raise FileNotFoundError(
            f"the spread needs the data set {ws.dataset}; found {source.dataset}: set HIPPOSEG_DATA"
        )
    return source
