"""Reading finished runs: the only module that opens their files.

`load` gives one DataFrame of all runs, cases and labels; everything that compares models queries it. `get` gives one
run with its training history and its masks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hipposeg.data.spec import DatasetSpec, pairs
from hipposeg.files import DamagedError
from hipposeg.metrics import MEAN, labels_of
from hipposeg.results import store
from hipposeg.workspace import Workspace

ATLAS = "atlas-no-image"
# What is trained; two runs that agree in it differ in hardware alone.
PLACE = ["model", "folds", "fold", "seed", "schedule"]
# Human agreement and the best published methods end near 0.90, so a higher mean leaves room for honest progress only.
LEAK_DICE = 0.92
LEAK_FOLDS = ("grouped", "nnunet")
# Smallest and largest value of each column with numbers; a value that was not measured is missing.
RANGES = {
    store.RUNS: {name: (0, np.inf) for name in ("n", "fold", "seed", "params", "steps", "gflops", "train_s")},
    store.SCORES: {name: (1, np.inf) for name in ("case", "subject")}
    | {name: (0, 1) for name in ("dice", "iou", "nsd1", "nsd2")}
    | {name: (0, np.inf) for name in ("hd95", "msd", "volume_true", "volume_predicted")},
}
CONFIG_COLUMNS = ("notebook", "family", "numerics", "data_sha256")


class ResultsError(ValueError):
    """A table of results that cannot be trusted: damaged, incomplete, or better than is possible without a leak."""


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        name: such as `unet2d.grouped0.s0.standard`.
        rows: its rows of `load`: one per case and label.
        config: its row of runs.csv together with its entry of configs.json.
        artifacts: the folder that holds the tables.
    """

    name: str
    rows: pd.DataFrame
    config: Mapping[str, Any]
    artifacts: Path

    @property
    def model(self) -> str:
        """The model's name."""
        return self.config["model"]

    @property
    def is_atlas(self) -> bool:
        """Whether this is the baseline that ignores the image."""
        return self.model == ATLAS

    def values(self, label: str = MEAN, metric: str = "dice") -> pd.Series:
        """One metric of one label, indexed by case number."""
        return self.rows[self.rows["label"] == label].set_index("case")[metric].sort_index()

    def mean(self, label: str = MEAN, metric: str = "dice") -> float:
        """Mean over the scored cases."""
        return float(self.values(label, metric).mean())

    def subjects(self) -> pd.Series:
        """Subject numbers, indexed by case number."""
        return self.rows.drop_duplicates("case").set_index("case")["subject"].sort_index()

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary per epoch (epoch, step, lr, loss, dice_<label>, ...); empty without training."""
        table = store.read_table(self.artifacts / store.HISTORIES)
        rows = table[table["run"] == self.name].drop(columns="run").to_dict("records")
        return [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows]

    @property
    def has_masks(self) -> bool:
        """Whether its predictions are kept."""
        return store.masks_file(self.artifacts, self.name).is_file()

    @cached_property
    def masks(self) -> dict[int, np.ndarray]:
        """Predicted label maps: case -> (X, Y, Z) uint8 on the native grid. Raises ResultsError if none are kept."""
        path = store.masks_file(self.artifacts, self.name)
        if not path.is_file():
            raise ResultsError(f"{path} is missing: the masks of {self.name} are not kept, or were deleted")
        return store.unpacked(path)


def load(ws: Workspace) -> pd.DataFrame:
    """All finished runs: one row per run, case and label, ordered by run, case and label; empty without runs.

    Columns: those of runs.csv; notebook, family, numerics and data_sha256 of configs.json; planned (see
    `with_stand_ins`; by default the run itself); case, subject, label; the metrics of `metrics.METRICS`; volume_true
    and volume_predicted (mm3). For comparisons, take `without_twins`.

    Raises:
        ResultsError: a table is damaged, or two tables do not hold the same runs.
    """
    path = ws.artifacts / store.RUNS
    if not path.is_file():
        columns = [*store.RUN_COLUMNS, *CONFIG_COLUMNS, "planned", *store.SCORE_COLUMNS, "volume_bias"]
        columns.append("volume_abs_error")
        return pd.DataFrame(columns=columns)
    state = path.stat()
    return _joined(ws, (state.st_mtime_ns, state.st_size)).copy(deep=False)


def get(ws: Workspace, name: str) -> Run | None:
    """One finished run by its name; None if there is none."""
    return next(iter(runs(load(ws).query("run == @name"), ws)), None)


def runs(frame: pd.DataFrame, ws: Workspace) -> list[Run]:
    """The runs of a frame that `load` gave, or part of it, in its order."""
    if frame.empty:
        return []
    configs, table = store.read_configs(ws.artifacts), store.read_runs(ws).set_index("run", drop=False)
    groups = frame.groupby("run", sort=False, observed=True)
    return [Run(name, rows, configs[name] | table.loc[name].to_dict(), ws.artifacts) for name, rows in groups]


@lru_cache(maxsize=1)
def _joined(ws: Workspace, _stamp: tuple[int, int]) -> pd.DataFrame:
    try:
        table, configs = store.read_runs(ws)[list(store.RUN_COLUMNS)], store.read_configs(ws.artifacts)
        scores = store.read_scores(ws.artifacts)[["run", *store.SCORE_COLUMNS]]
    except DamagedError as error:
        raise ResultsError(str(error)) from error
    for name, found in ((store.SCORES, set(scores["run"].unique())), (store.CONFIGS, set(configs))):
        if missing := sorted(set(table["run"]) - found):
            raise ResultsError(f"{ws.artifacts / name} lacks {missing[0]}, which {store.RUNS} lists; {_AGAIN}")
    _check_rows(ws.artifacts / store.RUNS, table, ["run"])
    _check_rows(ws.artifacts / store.SCORES, scores, ["run", "case", "label"])
    _check_subjects(ws.artifacts / store.SCORES, scores, ws.dataset in ("msd", "phantom"))
    _check_coverage(ws.artifacts / store.SCORES, scores, table)
    for run in table["run"]:
        if lacking := set(CONFIG_COLUMNS) - set(configs[run]):
            raise ResultsError(f"{ws.artifacts / store.CONFIGS}: found no {min(lacking)} of {run}; {_AGAIN}")
    facts = [{"run": run, **{name: configs[run][name] for name in CONFIG_COLUMNS}} for run in table["run"]]
    table = table.merge(pd.DataFrame(facts), on="run")
    scores["volume_bias"] = scores["volume_predicted"] - scores["volume_true"]
    error = scores["volume_bias"].abs().where(~scores["label"].isin([MEAN, "union"]))
    means = error.groupby([scores["run"], scores["case"]], observed=True).transform("mean")
    scores["volume_abs_error"] = scores["volume_bias"].abs().where(scores["label"] != MEAN, means)
    scores["run"] = scores["run"].astype(str)
    return table.assign(planned=table["run"]).merge(scores.astype({"label": str}), on="run")


def _check_rows(path: Path, table: pd.DataFrame, keys: list[str]) -> None:
    """Raise ResultsError, with file and line, unless values are possible and no key occurs twice."""
    for column in keys:
        _refuse(path, table, column, table[column].isna() | (table[column] == ""), "a value")
    _refuse(path, table, keys, table.duplicated(keys), "one row of each")
    for column, (low, high) in RANGES[path.name].items():
        values = pd.to_numeric(table[column], errors="coerce")
        possible = values.between(low, high) & (values != np.inf)
        expected = f"{low} to {high}" if high < np.inf else f"a number of {low} or more"
        _refuse(path, table, column, ~possible & table[column].notna(), expected)


def _check_subjects(path: Path, scores: pd.DataFrame, paired: bool) -> None:
    """Raise ResultsError, with file and line, unless subjects obey Task04's rule or, elsewhere, a case has one only.

    paired: whether Task04's rule holds. Other data sets number their subjects by a rule that the tables do not hold.
    """
    if paired:
        expected, words = pairs(scores["case"]), "(case + 1) // 2, the subject rule"
    else:
        expected = scores.groupby("case")["subject"].transform("first")
        words = "the subject of the earlier rows of this case"
    _refuse(path, scores, "subject", scores["subject"] != expected, words)


def _check_coverage(path: Path, scores: pd.DataFrame, table: pd.DataFrame) -> None:
    """Raise ResultsError unless every run of the table has a row of every label for each of its n cases."""
    counts = scores.groupby(["run", "label"], observed=False).size().unstack().loc[table["run"]]
    wrong = counts.ne(table["n"].to_numpy(), axis=0).stack()
    if wrong.any():
        run, label = wrong.idxmax()
        wanted = table.set_index("run").loc[run, "n"]
        raise ResultsError(
            f"{path}: found {counts.loc[run, label]} cases of {run} with the label {label}, expected {wanted:g}, its n "
            f"in {store.RUNS}; {_AGAIN}"
        )


def _refuse(path: Path, table: pd.DataFrame, what: str | list[str], wrong: pd.Series, expected: str) -> None:
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        row, found = table.iloc[at], what if isinstance(what, str) else ", ".join(what)
        values = ", ".join(str(row[name]) for name in found.split(", "))
        line = f"{path}, line {at + 2} ({row['run']})"  # the first line has the names of the columns
        raise ResultsError(f"{line}: found {found} {values}, expected {expected}; {_AGAIN}")


def with_stand_ins(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Let runs that this machine trained take the place of the committed ones that they repeat.

    names: run that was trained here, such as `unet2d.grouped0.s0.standard.fp32` -> the planned run's name, which the
    column `planned` of the result holds. Rows of the replaced runs are left out.
    """
    kept = frame[~frame["run"].isin(set(names.values()) - set(names))]
    return kept.assign(planned=kept["run"].replace(dict(names)))


def without_twins(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without runs that repeat another one in other precision or on another device.

    A run and its twin, such as `unet2d.grouped0.s0.standard` and `unet2d.grouped0.s0.standard.fp32`, are not two seeds.
    A run that is planned in float32 alone stays.

    frame: rows of `load`, or of `with_stand_ins`.
    """
    runs = frame.drop_duplicates("run")
    shortest_first = runs.iloc[runs["planned"].str.len().argsort(kind="stable")]
    return frame[frame["run"].isin(shortest_first.drop_duplicates(PLACE)["run"])]


def check(frame: pd.DataFrame, spec: DatasetSpec, folds: Mapping[str, Sequence[Mapping[str, Sequence[int]]]]) -> None:
    """Raise ResultsError unless every run of a frame scores its fold's cases by every label, and sets off no alarm."""
    for run, rows in frame.groupby("run", sort=False):
        first = rows.iloc[0]
        wanted = sorted(folds[first["folds"]][first["fold"]]["scored"])
        for label in labels_of(spec):
            found = sorted(rows.loc[rows["label"] == label, "case"])
            if found != wanted:
                raise ResultsError(
                    f"{run}: scored {len(found)} cases by the label {label}, which are not the {len(wanted)} of "
                    f"{first['folds']} fold {first['fold']}; {_AGAIN}"
                )
        leak_alarm(run, rows, spec)


def leak_alarm(run: str, rows: pd.DataFrame, spec: DatasetSpec) -> None:
    """Raise ResultsError if a class's mean Dice exceeds LEAK_DICE on folds of new subjects: that means a leak."""
    if rows["folds"].iloc[0] not in LEAK_FOLDS or spec.n_cases is None:
        return
    for name in spec.names:
        found = float(rows.loc[rows["label"] == name, "dice"].mean())
        if found > LEAK_DICE:
            raise ResultsError(
                f"LEAK ALARM: {run} has a mean {name} Dice of {found:.4f}, above {LEAK_DICE}. Human agreement ends "
                "near 0.90: look for ground truth in the input, or for test cases or their siblings in training."
            )


_AGAIN = "restore the file with git, or train the run again with --retrain"
