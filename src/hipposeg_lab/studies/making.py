"""Studies that ask stored networks: made once, kept as CSV under artifacts/<dataset>-full/studies, read by anyone.

A study has units, such as a network or a method, and each unit gives rows of every table of the study. A unit's key
hashes the weights that it needs, the data and the settings. Rows whose key still holds are kept, on any machine, with
or without the weights; so a study goes on where it was stopped, and takes in new runs without asking old ones again.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import nn

from hipposeg import files
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.run import machine_for
from hipposeg.experiments.spec import RunSpec
from hipposeg.training.machine import Machine, processor_name
from hipposeg.workspace import Workspace
from hipposeg_lab.studies.probe import trained_network

log = logging.getLogger(__name__)

FOLDER = "studies"
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Context:
    """What a study works on: the `full` workspace, the data, the folds, and the machine."""

    ws: Workspace
    cohort: Cohort
    folds: Mapping[str, list[Fold]]
    machine: Machine

    def network(self, run: RunSpec) -> nn.Module:
        """A run's network with the weights that were scored. Raises FileNotFoundError where they are not."""
        found = trained_network(self.ws, run, self.cohort.spec, self.machine)
        if found is None:
            raise FileNotFoundError(f"the weights of {run.name} are not on this machine; {_how(run)}")
        return found


@dataclass(frozen=True)
class Unit:
    """A part of a study. runs: what it needs. make: context -> rows of each table. name: its rows' first column."""

    name: str
    runs: tuple[RunSpec, ...]
    make: Callable[[Context], Rows]


@dataclass(frozen=True)
class Study:
    """A study. tables: CSV file -> its columns, of which the first names the unit. settings: what decides its numbers.

    weights: its units ask networks; else they read the runs' scores alone.
    """

    name: str
    question: str
    tables: Mapping[str, tuple[str, ...]]
    units: tuple[Unit, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: bool = True


def make(study: Study, context: Context, say: Callable[[str], None] = log.info) -> dict[str, str]:
    """Bring a study up to date: unit -> "kept", "made" or why it is left out. Tables are written after every unit.

    A unit whose runs are not there, or whose weights are on no disk here, is left out and named: its old rows go if
    they no longer hold.
    """
    states, rows = {}, _stored(study, context.ws)
    keys = {name: known for name, known in _keys(study, context.ws).items() if name in {u.name for u in study.units}}
    for unit in study.units:
        key, state = _key(study, unit, context), state_of(study, unit, context)
        if state == "to make":
            say(f"{study.name}: {unit.name} ...")
            rows[unit.name], keys[unit.name] = unit.make(context), {"key": key, **_whereabouts(context)}
            state = "made"
        elif state != "kept":
            say(f"{study.name}: {unit.name} is left out: {state}")
            rows.pop(unit.name, None)
            keys.pop(unit.name, None)
        states[unit.name] = state
        if state != "kept":
            _write(study, context.ws, rows, keys)
    return states


def state_of(study: Study, unit: Unit, context: Context) -> str:
    """ "kept" if its rows hold, "to make" if they can be made here, else what is missing."""
    key = _key(study, unit, context)
    absent = [run for run in unit.runs if not _config(context.ws, run).is_file()]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        return f"{absent[0].name}{more} not there; {_how(absent[0])}"
    if _keys(study, context.ws).get(unit.name, {}).get("key") == key:
        return "kept"
    unloaded = [
        run for run in unit.runs
        if study.weights and trained_network(context.ws, run, context.cohort.spec, context.machine) is None
    ]  # fmt: skip
    return f"weights of {unloaded[0].name} not on this machine; {_how(unloaded[0])}" if unloaded else "to make"


def read(ws: Workspace, table: str) -> pd.DataFrame | None:
    """A table of the `full` profile's studies of this data set, whatever profile `ws` has; None where it is absent."""
    path = ws.full.artifacts / FOLDER / f"{table}.csv"
    found = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return found if len(found) else None


def absent(study: str) -> str:
    """What to say where a study's table is not there."""
    return (
        f"This study has not been made for this data set: `hipposeg study {study}` makes it, of runs that "
        "`hipposeg series 04` and `hipposeg series 07` train."
    )


def context_of(ws: Workspace, cohort: Cohort, folds: Mapping[str, list[Fold]]) -> Context:
    """The context on this machine, with threads fixed as for the runs of the `full` profile."""
    machine = machine_for(ws)
    machine.prepare()
    return Context(ws, cohort, folds, machine)


def _how(run: RunSpec) -> str:
    place = f"--folds {run.folds} --fold {run.fold} --seed {run.seed} --schedule {run.schedule}"
    return f"`hipposeg train {run.model} {place} --profile full --weights` makes them"


def _config(ws: Workspace, run: RunSpec) -> Any:
    return ws.artifacts / "runs" / run.name / "config.json"


def _key(study: Study, unit: Unit, context: Context) -> str:
    """Hash of what a unit's rows depend on, or "" while a run is not there."""
    configs = {run.name: _config(context.ws, run) for run in unit.runs}
    if not all(path.is_file() for path in configs.values()):
        return ""
    weights = {name: files.read_json(path)["weights_sha256"] for name, path in configs.items()}
    parts = {"study": study.name, "unit": unit.name, "settings": study.settings, "tables": study.tables}
    return files.sha256_bytes(files.to_json({**parts, "weights": weights, "data": context.cohort.sha256}).encode())


def _keys(study: Study, ws: Workspace) -> dict[str, dict[str, Any]]:
    """Unit -> key of its stored rows, and where they were made; nothing holds where a table is missing."""
    paths = [ws.artifacts / FOLDER / name for name in (f"{study.name}.json", *(f"{t}.csv" for t in study.tables))]
    return files.read_json(paths[0]) if all(path.is_file() for path in paths) else {}


def _stored(study: Study, ws: Workspace) -> dict[str, Rows]:
    """Rows as they stand in the CSV files, as text: unit -> table -> rows."""
    found: dict[str, Rows] = {}
    for table, columns in study.tables.items():
        path = ws.artifacts / FOLDER / f"{table}.csv"
        rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records") if path.is_file() else []
        for row in rows:
            found.setdefault(row.get(columns[0], ""), {}).setdefault(table, []).append(row)
    return found


def _write(study: Study, ws: Workspace, rows: Mapping[str, Rows], keys: Mapping[str, Any]) -> None:
    """Write every table, units in the study's order, then the keys that say that the rows hold."""
    for table, columns in study.tables.items():
        ordered = [row for unit in study.units if unit.name in keys for row in rows.get(unit.name, {}).get(table, [])]
        files.write_csv(ws.artifacts / FOLDER / f"{table}.csv", columns, ordered)
    files.write_json(ws.artifacts / FOLDER / f"{study.name}.json", keys)


def _whereabouts(context: Context) -> dict[str, Any]:
    """Where a unit was made: another machine's rounding may differ in the last digits."""
    return {**asdict(context.machine), "machine": processor_name(), "torch": torch.__version__}
