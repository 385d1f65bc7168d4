"""The runs that studies read: a workspace's own, and those of the `full` series that are committed beside it.

The same run may be there twice, trained on several threads here and on one there: two networks that differ by rounding
alone. A study of single masks takes its own; means over seeds or folds never mix the two.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.experiments.spec import current_numerics
from hipposeg.files import write_csv
from hipposeg.results.table import FLOOR, MACHINE, Run, check_cases, find_runs, leak_alarm
from hipposeg.stats import interval
from hipposeg.workspace import Workspace

# What a study shows beside the best run, as far as it is there: no image, slices, volumes, the model handed to users.
SHOWN = (FLOOR, "unet2d", "unet3d", FLAGSHIP)
PRIMARY = ("grouped", 0)


def present(
    ws: Workspace, cohort: Cohort, folds: Mapping[str, Sequence[Mapping[str, Sequence[int]]]],
    numerics: Mapping[str, str] | None = None,
) -> list[Run]:  # fmt: skip
    """Every current run of `ws`, then those of the `full` artifacts on the same data, but for what is alike in both.

    folds: as `data.folds` gives them. numerics: current version by model, by default the code's own. Raises
    `table.RunError` if a run is damaged, covers other cases than its fold, or sets off the leak alarm.
    """
    numerics = current_numerics() if numerics is None else numerics
    full = ws.full
    found = {(run.name, _setting(run)): run for run in find_runs(ws, numerics)}
    for run in find_runs(full, numerics) if ws != full else []:
        if run.config.get("data_sha256") == cohort.sha256:
            found.setdefault((run.name, _setting(run)), run)
    kept = [run for run in found.values() if not run.older]
    for run in kept:
        check_cases(run, cohort.spec, folds)
        if not ws.is_phantom:
            leak_alarm(run, cohort.spec)
    return kept


def write(ws: Workspace, name: str, table: pd.DataFrame) -> None:
    """Write a study's table, `studies/<name>.csv` of the workspace."""
    write_csv(ws.artifacts / "studies" / f"{name}.csv", list(table.columns), table.to_dict("records"))


def chosen(runs: Sequence[Run], best: Run) -> list[Run]:
    """One run each of the models of SHOWN on the primary fold, as far as they are there, and `best`; the floor first.

    Of several runs of a model, the first seed's at the standard schedule.
    """
    picked: dict[str, Run] = {}
    for model in SHOWN:
        here = [run for run in runs if run.model == model and (run.config["folds"], run.config["fold"]) == PRIMARY]
        if here:
            one = min(here, key=lambda run: (run.config["schedule"] != "standard", run.config["seed"], run.name))
            picked[one.name] = one
    return list((picked | {best.name: best}).values())


def out_of_fold(runs: Sequence[Run], folds: int) -> pd.DataFrame:
    """Scores of the flagship's first seed over all person-wise folds: every volume once, by a network new to it.

    folds: how many there are. Rows as in cases.csv; empty if one of the runs is not there.
    """
    groups: dict[tuple, dict[int, Run]] = {}
    for run in runs:
        if (run.model, run.config["folds"], run.config["seed"], run.config["schedule"]) == (
            FLAGSHIP,
            "grouped",
            0,
            "standard",
        ):
            groups.setdefault(_setting(run), {})[run.config["fold"]] = run
    whole = [mine for mine in groups.values() if set(mine) >= set(range(folds))]
    return pd.concat([whole[0][fold].cases for fold in range(folds)]) if whole else pd.DataFrame()


def twins(runs: Sequence[Run], model: str, masks: bool = False) -> list[Run]:
    """A model's seeds on the primary fold, at the standard schedule (the smoke profile's at its own), first seed first.

    Only runs of one device, precision, torch version and number of threads are twins: of several such groups, that with
    most seeds. masks: only runs whose masks are stored.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        place = (run.model, run.config["folds"], run.config["fold"]) == (model, *PRIMARY)
        if place and run.config["schedule"] in ("standard", "smoke") and (run.predictions.is_dir() or not masks):
            groups.setdefault((*_setting(run), run.config["schedule"]), []).append(run)
    return sorted(max(groups.values(), key=len, default=[]), key=lambda run: run.config["seed"])


def _setting(run: Run) -> tuple:
    """What makes two runs of one recipe comparable."""
    return tuple(run.config.get(key) for key in (*MACHINE, "threads"))


def names(runs: Sequence[Run]) -> dict[str, str]:
    """Run -> its model, or its full name where another of the runs is of the same model."""
    models = [run.model for run in runs]
    return {run.name: run.model if models.count(run.model) == 1 else run.name for run in runs}


def model_means(runs: Sequence[Run]) -> pd.DataFrame:
    """Mean Dice by model on the primary fold, over its `twins`, with its interval: columns value, low, high, seeds."""
    rows = {}
    for model in dict.fromkeys(run.model for run in runs):
        if same := twins(runs, model):
            values = np.stack([run.values().to_numpy() for run in same])
            rows[model] = vars(interval(values, same[0].subjects().to_numpy())) | {"seeds": len(same)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "seeds"])


def masks(run: Run, spec: DatasetSpec) -> dict[int, np.ndarray]:
    """The stored label maps of all scored cases: case -> (X, Y, Z) uint8. Raises `table.RunError` if one is absent."""
    return {int(case): run.prediction(spec, int(case)) for case in run.values().index}
