"""Runs of the declared series, as committed under artifacts/<data set>-full: rows of the table, minutes, all volumes.

Cases are read as they are stored, through `runs.table`, and rows from the series' results.csv, so that page and
notebooks cannot differ.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hipposeg.workspace import Workspace
from hipposeg_lab.page.artifacts import Artifacts, Row, read_rows
from hipposeg_lab.page.view import RunRow

log = logging.getLogger(__name__)


def runs(ws: Workspace) -> list[Any]:
    """Every committed run of the series (`runs.table.Run`); none where there is no series, or `ws` is the series."""
    full = ws.full
    if ws.profile in ("smoke", "full") or not (full.artifacts / "runs").is_dir():
        return []
    from hipposeg.results.table import find_runs

    return find_runs(full)


def rows(art: Artifacts, found: Iterable[Any]) -> list[RunRow]:
    """The runs as rows of the results table, by falling mean Dice on each kind of folds.

    A run that the series' results.csv does not have yet is left out with a warning.
    """
    times, made = _seconds(art.ws), []
    results: dict[str, dict[str, Row]] = {}
    for row in read_rows(art.ws.full.artifacts / "results.csv"):
        results.setdefault(row["run"], {})[row["label"]] = row
    for run in found:
        if run.name not in results:
            log.warning("%s is not in its results.csv yet and left out; `hipposeg series` adds it", run.name)
            continue
        values = {label: row | {"older": run.older} for label, row in results[run.name].items()}
        setting, time = _setting(run.config), times.get(run.name, {})
        made.append(RunRow(run.name, run.model, setting, values, run.config, time, "full", "column"))
    return sorted(made, key=lambda row: (row.folds, row.older, -(row.get("mean", "dice") or 0), row.run))


def _setting(config: dict[str, Any]) -> str:
    schedule = "" if config["schedule"] == "standard" else f", schedule {config['schedule']}"
    return f"seed {config['seed']}{schedule}"


def _seconds(ws: Workspace) -> dict[str, Row]:
    found = read_rows(ws.full.artifacts / "timings.csv")
    return {str(row["name"]): row for row in found if row["kind"] == "run"}


def out_of_fold(found: Sequence[Any], model: str | None) -> pd.DataFrame:
    """Every case scored once by a network of `model` that never saw its person: the five grouped folds, seed 0.

    Columns as in cases.csv and `fold`. Empty unless all five folds are there.
    """
    mine = [
        run for run in found
        if (run.model, run.config["folds"], run.config["seed"], run.config["schedule"]) == (model, "grouped", 0, "standard")
    ]  # fmt: skip
    if len({run.config["fold"] for run in mine}) < 5:
        return pd.DataFrame()
    return pd.concat([run.cases.assign(fold=run.config["fold"]) for run in mine], ignore_index=True)


def mean_minutes(found: Sequence[Any], minutes: dict[str, float]) -> list[tuple[str, float, float, int]]:
    """(model, minutes of its schedule on the idle machine, mean Dice over seeds on grouped fold 0, seeds) by minutes."""
    scores: dict[str, list[float]] = {}
    for run in found:
        if (run.config["folds"], run.config["fold"], run.config["schedule"]) == ("grouped", 0, "standard"):
            if not run.older and run.model in minutes:
                scores.setdefault(run.model, []).append(float(run.values().mean()))
    table = [(model, minutes[model], float(np.mean(values)), len(values)) for model, values in scores.items()]
    return sorted(table, key=lambda row: (row[1], row[0]))
