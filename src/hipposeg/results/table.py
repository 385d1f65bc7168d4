"""All runs of a workspace in one table: cases.csv and results.csv, read from what each run has stored.

Nothing is scored here: a run is scored once, when its predictions are written. This module finds the runs, refuses what
is not whole, marks what is out of date, and puts an interval over people on every mean.
"""

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.registry import ARMS, FLAGSHIP
from hipposeg.experiments.spec import current_numerics
from hipposeg.files import read_json, write_csv, write_json
from hipposeg.metrics import DISTANCES, MEAN, METRICS, UNION, labels_of
from hipposeg.results.scoring import CASES
from hipposeg.stats import Paired, interval, paired
from hipposeg.workspace import Workspace

log = logging.getLogger(__name__)

FLOOR = "atlas-no-image"
CLIP = "clip"  # the family of arms that compare slices with text
LEAK_DICE = 0.92
LEAK_FOLDS = ("grouped", "nnunet")

RUN_COLUMNS = (
    "arm", "notebook", "dims", "folds", "fold", "seed", "budget", "device", "torch", "params", "gflops", "steps",
)  # fmt: skip
METRIC_COLUMNS = tuple(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high"))
EXTRA_COLUMNS = ("family", "precision", "numerics", "older")
RESULT_COLUMNS = ("run", "label", *RUN_COLUMNS, "n", "n_nan", *METRIC_COLUMNS, *EXTRA_COLUMNS)
VOLUMES = ("volume_true", "volume_predicted")
CASE_COLUMNS = ("run", "case", "subject", "label", *METRICS, *VOLUMES)
# A comparison is about the arms only if these are equal on both sides.
SETTING = ("folds", "fold", "budget", "data_sha256")
MACHINE = ("device", "precision", "torch")


class RunError(ValueError):
    """A stored run that cannot be trusted: incomplete, on other cases than its fold, or too good to be true."""


@dataclass(frozen=True)
class Run:
    """One scored run as stored.

    cases: one row per case and label, with METRICS and VOLUMES. history: one dictionary per epoch, empty for the floor.
    older: its numerics version is not the code's any more; it is shown and enters no comparison.
    """

    name: str
    config: dict[str, Any]
    cases: pd.DataFrame
    history: list[dict[str, Any]]
    older: bool
    predictions: Path

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.config["arm"]

    @property
    def is_floor(self) -> bool:
        """Whether this is the guess that never reads an image."""
        return self.arm == FLOOR

    def values(self, label: str = MEAN, metric: str = "dice") -> pd.Series:
        """One metric of one label, indexed by case number."""
        rows = self.cases[self.cases["label"] == label]
        return rows.set_index("case")[metric].sort_index()

    def prediction(self, spec: DatasetSpec, case: int) -> np.ndarray:
        """The stored label map of a scored case, uint8 (X, Y, Z). Raises RunError if it is not there."""
        path = self.predictions / spec.file_name(case)
        if not path.is_file():
            raise RunError(f"{self.name}: no prediction {path.name}; {_AGAIN}")
        return np.asarray(nibabel.load(path).dataobj, dtype=np.uint8)

    def subjects(self) -> pd.Series:
        """Person numbers, indexed by case number."""
        return self.cases.drop_duplicates("case").set_index("case")["subject"].sort_index()


@dataclass(frozen=True)
class Table:
    """Every run found (the floor first), all their cases, and the summary with intervals; as in the CSV files."""

    runs: tuple[Run, ...]
    cases: pd.DataFrame
    results: pd.DataFrame

    def on(self, folds: str, fold: int) -> tuple[Run, ...]:
        """The runs scored on one fold that are not older, floor first; without CLIPs, which do not learn to segment."""
        found = [run for run in self.runs if (run.config["folds"], run.config["fold"]) == (folds, fold)]
        return tuple(run for run in found if not run.older and run.config["family"] != CLIP)

    def floor(self, folds: str, fold: int) -> Run:
        """The floor's run on one fold. Raises RunError if it is not there or older than the code."""
        found = [run for run in self.on(folds, fold) if run.is_floor]
        if not found:
            raise RunError(
                f"no current run of {FLOOR} on {folds} fold {fold}; run notebook 01 first, as `make 07` does"
            )
        return found[0]

    def best(self, folds: str, fold: int) -> Run:
        """The trained run with stored masks and the highest mean Dice on one fold. Raises RunError if there is none."""
        trained = [run for run in self.on(folds, fold) if not run.is_floor and run.predictions.is_dir()]
        if not trained:
            raise RunError(f"no trained run on {folds} fold {fold}; run notebook 03 first, as `make 07` does")
        return max(trained, key=lambda run: (run.values().mean(), run.name))


def collect(
    ws: Workspace,
    spec: DatasetSpec,
    folds: Mapping[str, Sequence[Mapping[str, Sequence[int]]]] | None = None,
    numerics: Mapping[str, Any] | None = None,
) -> Table:
    """Read all runs of `ws`, check them, write artifacts/<ws>/cases.csv and results.csv, and return both as tables.

    folds: as `data.folds` gives them; each run must then cover exactly its fold's scored cases. numerics: current
    version by arm, by default the code's own. Raises RunError if a run is damaged, covers other cases, or
    sets off the leak alarm; nothing is written then.
    """
    runs = find_runs(ws, numerics)
    if not runs:
        raise RunError(f"artifacts/{ws.name}/runs holds no finished run; run notebooks 01 and 03, as `make 07` does")
    for run in runs:
        check_cases(run, spec, folds)
        if not ws.is_phantom:
            leak_alarm(run, spec)
    rows = [{"run": run.name, **row} for run in runs for row in run.cases.to_dict("records")]
    write_csv(ws.artifacts / "cases.csv", CASE_COLUMNS, rows)
    return Table(tuple(runs), pd.DataFrame(rows, columns=CASE_COLUMNS), write_results(ws, runs, spec))


def write_results(ws: Workspace, runs: Sequence[Run], spec: DatasetSpec) -> pd.DataFrame:
    """Write artifacts/<ws>/results.csv, four rows a run, and return it."""
    results = [row for run in runs for row in summarise(run, spec)]
    write_csv(ws.artifacts / "results.csv", RESULT_COLUMNS, results)
    return pd.DataFrame(results, columns=RESULT_COLUMNS)


def write_flagship(ws: Workspace) -> None:
    """Name the arm that a user is served with, in artifacts/flagship.json; only for the real data."""
    if not ws.is_phantom:
        chosen = {"arm": FLAGSHIP, "chosen_on": "dev", "dims": ARMS[FLAGSHIP].dims}
        write_json(ws.root / "artifacts" / "flagship.json", chosen)


def find_runs(ws: Workspace, numerics: Mapping[str, Any] | None = None) -> list[Run]:
    """Every finished run of `ws`: the floor first, then by notebook, arm, folds, fold, seed and budget."""
    numerics = current_numerics() if numerics is None else numerics
    found = []
    for folder in sorted((ws.artifacts / "runs").glob("*")):
        if not (folder / "config.json").is_file() or not (folder / CASES).is_file():
            log.warning("run %s has no config.json or no %s: not finished, left out of the table", folder.name, CASES)
            continue
        found.append(read_run(ws, folder, numerics))
    keys = ("notebook", "arm", "folds", "fold", "seed", "budget")
    return sorted(found, key=lambda run: (not run.is_floor, *(str(run.config[key]) for key in keys), run.name))


def read_run(ws: Workspace, folder: Path, numerics: Mapping[str, Any]) -> Run:
    """One run from its folder. Raises RunError naming what is missing or damaged."""
    try:
        config = read_json(folder / "config.json")
        cases = pd.read_csv(folder / CASES)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise RunError(f"{folder.name}: config.json or {CASES} cannot be read ({error}); {_AGAIN}") from error
    _need(folder / "config.json", set(config), ("run", *RUN_COLUMNS, "family", "precision", "numerics"))
    _need(folder / CASES, set(cases.columns), CASE_COLUMNS[1:])
    if config["run"] != folder.name:
        raise RunError(f"{folder.name}: its config.json is of run {config['run']}; move or delete that folder")
    lines = (folder / "history.jsonl").read_text().splitlines() if (folder / "history.jsonl").is_file() else []
    older = config["numerics"] != numerics.get(config["arm"])
    predictions = ws.artifacts / "predictions" / folder.name
    return Run(folder.name, config, cases, [json.loads(line) for line in lines if line.strip()], older, predictions)


def check_cases(run: Run, spec: DatasetSpec, folds: Mapping | None) -> None:
    """Raise RunError unless every case has all labels once, the cases are the fold's, and predictions match them."""
    labels = sorted(labels_of(spec))
    for case, rows in run.cases.groupby("case"):
        if sorted(rows["label"]) != labels:
            raise RunError(f"{run.name}: case {case} has labels {sorted(rows['label'])}, expected {labels}; {_AGAIN}")
    cases = sorted(int(case) for case in run.cases["case"].unique())
    name, fold = run.config["folds"], run.config["fold"]
    if folds is not None and name in folds and cases != sorted(folds[name][fold]["scored"]):
        raise RunError(f"{run.name}: scored {len(cases)} cases that are not those of {name} fold {fold}; {_AGAIN}")
    files = len(list(run.predictions.glob("*.nii.gz"))) if run.predictions.is_dir() else len(cases)
    if files != len(cases):
        raise RunError(f"{run.name}: {files} predictions for {len(cases)} scored cases; {_AGAIN}")


def leak_alarm(run: Run, spec: DatasetSpec) -> None:
    """Raise RunError if a class's mean Dice is beyond what people reach: on these folds that means a leak.

    Human agreement and the best published methods end near 0.90, so LEAK_DICE leaves room for honest progress only.
    """
    if run.config["folds"] not in LEAK_FOLDS:
        return
    for name in spec.names:
        found = float(run.values(name).mean())
        if found > LEAK_DICE:
            raise RunError(
                f"LEAK ALARM: {run.name} has a mean {name} Dice of {found:.4f}, above {LEAK_DICE}. Human "
                "agreement ends near 0.90: look for truth in the input, or scored cases or their siblings in training."
            )


def summarise(run: Run, spec: DatasetSpec) -> list[dict[str, Any]]:
    """Rows of results.csv for one run: per label, each metric's mean over cases with its interval over people.

    n: cases. n_nan: cases without a distance for this label (for `mean`: for any of the classes).
    """
    shared = {"run": run.name, **run.config, "older": run.older}
    subjects = run.subjects().to_numpy()
    missing = {
        label: run.cases[run.cases["label"] == label].set_index("case")[list(DISTANCES)].isna().any(axis=1).sort_index()
        for label in (*spec.names, UNION)
    }
    missing[MEAN] = pd.concat([missing[name] for name in spec.names], axis=1).any(axis=1)
    rows = []
    for label in (*spec.names, MEAN, UNION):
        row = {**shared, "label": label, "n": len(subjects), "n_nan": int(missing[label].sum())}
        for metric in METRICS:
            found = interval(run.values(label, metric).to_numpy(), subjects)
            row |= {metric: found.value, f"{metric}_low": found.low, f"{metric}_high": found.high}
        rows.append(row)
    return rows


def compare(a: Run, b: Run, label: str = MEAN, metric: str = "dice") -> Paired:
    """a minus b on the same cases, over people. Raises RunError if the two may not be compared.

    The floor trains nothing, so its device, precision, torch version and budget do not matter.
    """
    keys = ("folds", "fold") if a.is_floor or b.is_floor else (*SETTING, *MACHINE)
    different = [key for key in keys if a.config.get(key) != b.config.get(key)]
    if a.older or b.older or different:
        reason = f"they differ in {', '.join(different)}" if different else "one of them is older than the code"
        raise RunError(f"{a.name} and {b.name} cannot be compared: {reason}; train both anew in one setting")
    x, y = a.values(label, metric), b.values(label, metric)
    if not x.index.equals(y.index):
        raise RunError(f"{a.name} and {b.name} cover different cases; {_AGAIN}")
    return paired(x.to_numpy(), y.to_numpy(), a.subjects().to_numpy())


_AGAIN = "delete the run's folder and train or load it again"


def _need(path: Path, found: set[str], wanted: Sequence[str]) -> None:
    missing = [key for key in wanted if key not in found]
    if missing:
        raise RunError(f"{path.parent.name}/{path.name} lacks {', '.join(missing)}; {_AGAIN}")
