"""Analyses of trained networks: computed once, kept as CSV in artifacts/studies, read by notebooks and page.

A study has units, such as a network or a method, and each unit returns rows of every table of the study. A unit's key
hashes the weights that it needs, the data and the settings. Rows with a valid key are kept on any machine, with or
without the weights; so an interrupted study resumes, and new runs are added without repeating the others.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from hipposeg import files, stats
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.registry import FLAGSHIP, RunSpec
from hipposeg.experiments.run import WEIGHTS, folder_of, machine_for, native
from hipposeg.experiments.weights import load as load_weights
from hipposeg.predict import card
from hipposeg.results import load
from hipposeg.results.store import read_table
from hipposeg.training.machine import Machine, processor_name
from hipposeg.workspace import Workspace

log = logging.getLogger(__name__)

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Context:
    """What a study works on."""

    ws: Workspace
    cohort: Cohort
    folds: Mapping[str, list[Fold]]
    machine: Machine  # device, precision and threads

    @cached_property
    def weights(self) -> dict[str, str]:
        """Finished run -> SHA-256 of its weights."""
        return {run.name: run.config["weights_sha256"] for run in load.runs(load.load(self.ws), self.ws)}


@dataclass(frozen=True)
class Unit:
    """A part of a study, such as a network."""

    name: str  # first column of its rows
    runs: tuple[RunSpec, ...]  # that it needs
    make: Callable[[Context], Rows]  # rows of each table


@dataclass(frozen=True)
class Study:
    """A study."""

    name: str  # for the command
    question: str
    tables: Mapping[str, tuple[str, ...]]  # CSV file -> its columns, the first of which names the unit
    units: tuple[Unit, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # everything that decides its numbers
    weights: bool = True  # whether its units need networks; others read only scores


def context_of(ws: Workspace, cohort: Cohort, folds: Mapping[str, list[Fold]]) -> Context:
    """The context on this machine, with one thread, as for runs."""
    machine = machine_for(native(RunSpec(FLAGSHIP)))
    machine.prepare()
    return Context(ws, cohort, folds, machine)


def network_of(context: Context, run: RunSpec) -> nn.Module:
    """A run's network with the weights that were scored. Raises FileNotFoundError if they are not on this machine."""
    found, path = _stored_weights(context, run)
    if path is None:
        raise FileNotFoundError(f"the weights of {run.name} are not on this machine; {_how(run)}")
    return load_weights(path, found, context.cohort.spec, context.machine)


def _stored_weights(context: Context, run: RunSpec) -> tuple[RunSpec, Path | None]:
    """A run, or the same run in this machine's precision, with its weights in cache or package; None without a file."""
    for one in dict.fromkeys((run, native(run))):
        for path in (folder_of(one, context.ws) / WEIGHTS, card.PACKAGED / f"{one.name}.safetensors"):
            if path.is_file() and files.sha256_file(path) == context.weights.get(one.name):
                return one, path
    return run, None


def make(study: Study, context: Context, say: Callable[[str], None] = log.info) -> dict[str, str]:
    """Update a study. Tables are written after every unit.

    Returns:
        Unit -> "kept", "made", or why it is left out: runs or weights are missing. Outdated rows of a unit that is left
        out are deleted.
    """
    states, rows, known = {}, _stored(study, context.ws), _keys(study, context.ws)
    keys = {unit.name: known[unit.name] for unit in study.units if unit.name in known}
    for unit in study.units:
        states[unit.name] = state = state_of(study, unit, context)
        if state == "kept":
            continue
        keys.pop(unit.name, None)
        say(f"{study.name}: {unit.name} {'...' if state == 'to make' else f'is left out: {state}'}")
        if state == "to make":
            found = unit.make(context)
            for table, columns in study.tables.items():
                rows[table] = [row for row in rows[table] if row.get(columns[0]) != unit.name] + found[table]
            # The machine is kept, because rounding on another one changes the last digits.
            machine = {**asdict(context.machine), "machine": processor_name(), "torch": torch.__version__}
            keys[unit.name] = {"key": _key(study, unit, context), **machine}
            states[unit.name] = "made"
        _write(study, context.ws, rows, keys)
    return states


def state_of(study: Study, unit: Unit, context: Context) -> str:
    """ "kept" if its rows are current, "to make" if they can be computed on this machine, else what is missing."""
    missing = [run for run in unit.runs if run.name not in context.weights]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"{missing[0].name}{more} missing; {_how(missing[0])}"
    stored = _keys(study, context.ws).get(unit.name, {}).get("key")
    if stored in (_key(study, unit, context, planned=True), _key(study, unit, context)):
        return "kept"
    unloaded = [run for run in unit.runs if study.weights and _stored_weights(context, run)[1] is None]
    return f"weights of {unloaded[0].name} not on this machine; {_how(unloaded[0])}" if unloaded else "to make"


def path_of(ws: Workspace, table: str) -> Path:
    """The CSV file of a study's table."""
    return ws.artifacts / "studies" / f"{table}.csv"


def read(ws: Workspace, table: str) -> pd.DataFrame | None:
    """A table of the studies; None if it is missing or empty."""
    path = path_of(ws, table)
    found = read_table(path, ())
    return found if len(found) else None


def write(ws: Workspace, name: str, table: pd.DataFrame) -> None:
    """Write a table that a notebook computes, `artifacts/studies/<name>.csv`."""
    files.write_csv(path_of(ws, name), list(table.columns), table.to_dict("records"))


def ends(name: str, found: stats.Interval) -> dict[str, float]:
    """An interval as columns `name`, `name`_low and `name`_high."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _how(run: RunSpec) -> str:
    place = f"--folds {run.folds} --fold {run.fold} --seed {run.seed} --schedule {run.schedule}"
    hardware = f" --hardware {run.hardware}" if run.hardware else ""
    return f"`hipposeg train {run.model} {place}{hardware} --retrain` trains it"


def _key(study: Study, unit: Unit, context: Context, planned: bool = False) -> str:
    """Hash of what a unit's rows depend on: of the weights on this machine, or of the planned runs'."""
    used = {run.name: run if planned or not study.weights else _stored_weights(context, run)[0] for run in unit.runs}
    weights = {name: context.weights.get(run.name) for name, run in used.items()}
    parts = {"study": study.name, "unit": unit.name, "settings": study.settings, "tables": study.tables}
    return files.sha256_bytes(files.to_json({**parts, "weights": weights, "data": context.cohort.sha256}).encode())


def _keys(study: Study, ws: Workspace) -> dict[str, dict[str, Any]]:
    """Unit -> key of its stored rows and the machine that computed them; empty if a table is missing."""
    whole = all(path_of(ws, table).is_file() for table in study.tables)
    path = path_of(ws, study.name).with_suffix(".json")
    return files.read_json(path) if whole and path.is_file() else {}


def _stored(study: Study, ws: Workspace) -> Rows:
    """Rows of the CSV files, as text."""
    return {
        table: read_table(path_of(ws, table), (), dtype=str, keep_default_na=False).to_dict("records")
        for table in study.tables
    }


def _write(study: Study, ws: Workspace, rows: Rows, keys: Mapping[str, Any]) -> None:
    """Write the rows of units with a key, in the study's order, then the keys."""
    order = {unit.name: index for index, unit in enumerate(study.units) if unit.name in keys}
    for table, columns in study.tables.items():
        kept = [row for row in rows[table] if row.get(columns[0]) in order]
        files.write_csv(path_of(ws, table), columns, sorted(kept, key=lambda row, name=columns[0]: order[row[name]]))
    files.write_json(path_of(ws, study.name).with_suffix(".json"), keys)
