"""Conformal intervals of the flagship's volumes, from networks that never saw the subject.

`write` reads the flagship's runs on the five grouped folds and writes

- conformal.csv: the interval of every volume, calibrated on the other four folds;
- studies/conformal_coverage.csv: coverage and width of the intervals;
- studies/conformal_measures.csv: the measures of `predict.quality` of every predicted mask.

Only the spread of predictions needs the networks. It is kept as long as the weights are the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import N_FOLDS
from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.registry import FLAGSHIP, RunSpec
from hipposeg.experiments.run import in_tables
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.weights import predict
from hipposeg.files import write_csv
from hipposeg.metrics import UNION
from hipposeg.predict import card, quality
from hipposeg.results.load import ResultsError, Run
from hipposeg.results.store import read_table
from hipposeg_lab.studies import coverage
from hipposeg_lab.studies.coverage import CHOSEN, LEVEL, SEED, Residuals
from hipposeg_lab.studies.making import Context, network_of

QUESTION = "Which interval around a predicted volume covers the true one as often as it should?"
INTERVALS, COVERAGE, MEASURES = "conformal.csv", "studies/conformal_coverage.csv", "studies/conformal_measures.csv"
INTERVAL_COLUMNS = ("case", "label", "predicted", "lower", "upper")
Runs = Mapping[RunSpec, Run]


def out_of_fold(context: Context, model: str = FLAGSHIP) -> Runs:
    """The model's finished runs on the grouped folds, by fold.

    Raises:
        FileNotFoundError: a run is missing, or was made by an earlier configuration or version of the code.
    """
    found = {}
    for run in (RunSpec(model, fold=fold) for fold in range(N_FOLDS)):
        found[run] = in_tables(run, context.cohort, context.folds, context.ws)
        if found[run] is None:
            raise FileNotFoundError(f"the tables hold no current {run.name}; `hipposeg train --plan 04` trains it")
    return found


def measures(context: Context, runs: Runs) -> pd.DataFrame:
    """Measures of every predicted mask, stored or computed: columns run, weights (start of their hash), case, those of
    `quality.measure`, and spread_<label> in mm3.
    """
    path, spec = context.ws.artifacts / MEASURES, context.cohort.spec
    if path.is_file():
        found = read_table(path)
        wanted = {(run.name, _weights(one)) for run, one in runs.items()}
        if set(zip(found["run"], found["weights"].astype(str), strict=True)) == wanted:
            return found
    rows = []
    for run, one in runs.items():
        network = network_of(context, run)
        images = images_of(context.cohort, run.definition.prep, context.ws)
        for number, mask in one.masks.items():
            spacing = context.cohort.cases[number].spacing
            spread = predict(run.definition, network, images[number], spacing, context.machine).spread(spacing, spec)
            found = quality.measure(mask, spacing, spread, spec)
            named = {f"spread_{label}": value for label, value in spread.items()}
            rows.append({"run": run.name, "weights": _weights(one), "case": number, **found, **named})
    write_csv(path, tuple(rows[0]), rows)
    return read_table(path)


def residuals(runs: Runs, measured: pd.DataFrame, spec: DatasetSpec) -> Residuals:
    """Out-of-fold predicted volumes of classes and union, true volumes and spread, ordered by case."""
    labels = [*spec.names, UNION]
    rows = pd.concat([one.rows for one in runs.values()])
    if rows.duplicated(["case", "label"]).any():
        raise ResultsError("a case is scored in two of the grouped folds; the runs are not of one split")
    true, predicted = (
        rows.pivot(index="case", columns="label", values=column)[labels].to_numpy(float).T
        for column in ("volume_true", "volume_predicted")
    )
    cases = rows.drop_duplicates("case").set_index("case").sort_index()
    spread = measured.set_index("case").loc[cases.index, [f"spread_{label}" for label in labels]].to_numpy(float).T
    case, subject, fold = (np.asarray(part) for part in (cases.index, cases["subject"], cases["fold"]))
    return Residuals(tuple(labels), case, subject, fold, true, predicted, spread)


def boxes(runs: Runs, cohort: Cohort) -> card.Boxes:
    """Sizes and margins of the test cases' crops. Raises ResultsError if their orientation or spacing differs."""
    shapes, margins, kinds = [], [], set()
    for number, mask in ((number, mask) for one in runs.values() for number, mask in one.masks.items()):
        shapes.append(mask.shape)
        inside = np.argwhere(mask > 0)
        if len(inside):
            margins.append([*inside.min(axis=0), *(np.subtract(mask.shape, 1) - inside.max(axis=0))])
        case = cohort.cases[number]
        kinds.add(("".join(nibabel.aff2axcodes(case.affine)), tuple(case.spacing)))
    if len(kinds) > 1:
        raise ResultsError(f"the test crops have {len(kinds)} kinds of orientation and spacing: {sorted(kinds)}")
    ((axes, spacing),) = kinds
    middle = np.median(margins, axis=0)
    smallest, largest = (tuple(int(side) for side in end(shapes, axis=0)) for end in (np.min, np.max))
    return card.Boxes(smallest, largest, spacing, axes, (int(middle.min()), int(middle.max())))


def write(context: Context, model: str = FLAGSHIP) -> None:
    """Write the three tables."""
    ws, spec = context.ws, context.cohort.spec
    runs = out_of_fold(context, model)
    found = residuals(runs, measures(context, runs), spec)
    lower, upper, _ = coverage.across_folds(found, CHOSEN)
    rows = [
        {"case": case, "label": label, "predicted": found.predicted[i, j], "lower": lower[i, j], "upper": upper[i, j]}
        for j, case in enumerate(found.case)
        for i, label in enumerate(found.labels)
    ]
    write_csv(ws.artifacts / INTERVALS, INTERVAL_COLUMNS, rows)
    write_csv(ws.artifacts / COVERAGE, coverage.COVERAGE_COLUMNS, coverage.coverage_rows(found))


def write_card(context: Context, runs: Runs, found: Residuals, measured: Sequence[Mapping[str, float]]) -> Path:
    """Write the card of these runs' networks to `.work`, as `hipposeg predict` reads it, and return its path.

    The package's own card belongs to the package's weights; it is replaced by hand, together with them.

    found: predicted volumes in the kind of crop that the intervals are for. measured: of the masks in published crops.
    """
    _, _, scales = coverage.across_folds(found, CHOSEN)
    subjects = np.unique(found.subject)
    scale, q = coverage.calibrated(found, subjects, CHOSEN, np.random.default_rng([SEED, N_FOLDS]))
    path = context.ws.work / card.NAME
    card.Card(
        dataset=context.ws.dataset,
        runs={one.name: one.config["weights_sha256"] for one in runs.values()},
        level=LEVEL,
        scale=scale,
        scales=tuple(scales),
        quantiles={label: round(float(one), 6) for label, one in zip(found.labels, q, strict=True)},
        people=len(subjects),
        volumes=len(found.case),
        boxes=boxes(runs, context.cohort),
        limits=quality.limits(measured, context.cohort.spec),
    ).write(path)
    return path


def update(context: Context) -> str:
    """Write the intervals; "made", or what is missing."""
    try:
        write(context)
    except FileNotFoundError as error:
        return str(error)
    return "made"


def _weights(run: Run) -> str:
    return run.config["weights_sha256"][:12]
