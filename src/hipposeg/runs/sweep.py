"""Searches: a declared grid whose cells are ordinary runs, judged on people cut from the training ones.

Every cell is scored on inner fold 0 (which is `dev`). The two best are then trained on the other four inner folds, so
that what looks best once is seen five times. No cell is ever scored on a person of grouped fold 0.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hipposeg.config import Workspace
from hipposeg.files import write_csv
from hipposeg.runs.run import RunResult, load
from hipposeg.runs.seeds import means, minutes, scores
from hipposeg.runs.spec import RunSpec, current_numerics
from hipposeg.runs.zoo2d import HEAD_GRID, SEARCH_GRID

FINALISTS, FOLDS = 2, 5


@dataclass(frozen=True)
class Sweep:
    """A search. cells: arm -> its place in the grid, factor by factor. budget: of every cell's run."""

    cells: dict[str, dict[str, float | str]]
    budget: str

    def first(self) -> list[RunSpec]:
        """Every cell on inner fold 0."""
        return [RunSpec(cell, "inner", 0, budget=self.budget) for cell in self.cells]

    def second(self, finalists: list[str]) -> list[RunSpec]:
        """The best cells on the other inner folds."""
        return [RunSpec(cell, "inner", fold, budget=self.budget) for fold in range(1, FOLDS) for cell in finalists]


# Project A's search over rate, batch and weight decay, and project B's over the head.
SWEEPS = {"search": Sweep(SEARCH_GRID, "S"), "heads": Sweep(HEAD_GRID, "S")}


def there(ws: Workspace, runs: list[RunSpec]) -> list[RunResult]:
    """Those runs that stand in the artifacts and are not older than the code."""
    found = [load(ws, run) for run in runs if (ws.artifacts / "runs" / run.name / "config.json").is_file()]
    current = current_numerics()
    return [one for one in found if one.config["numerics"] == current[one.run.arm]]


def finalists(ws: Workspace, sweep: Sweep) -> list[str]:
    """The cells with the highest mean Dice on inner fold 0, best first; none before all are there."""
    found = there(ws, sweep.first())
    if len(found) < len(sweep.cells):
        return []
    return [one.run.arm for one in sorted(found, key=lambda one: -one.mean())[:FINALISTS]]


def following(ws: Workspace) -> list[RunSpec]:
    """Second-stage runs of all sweeps, as far as their first stages are there."""
    return [run for sweep in SWEEPS.values() for run in sweep.second(finalists(ws, sweep))]


def table(ws: Workspace, sweep: Sweep) -> pd.DataFrame:
    """One row per cell and fold that are there: cell, its factors, fold, value (mean Dice), low, high, minutes.

    finalist: its place among the best two, else 0. Rows in the grid's order; empty if nothing is there.
    """
    best = finalists(ws, sweep)
    rows = []
    for one in there(ws, [*sweep.first(), *sweep.second(best)]):
        found = means(scores([one])).loc[one.run.arm, ["value", "low", "high"]]
        place = {"finalist": best.index(one.run.arm) + 1 if one.run.arm in best else 0}
        facts = {"cell": one.run.arm, **sweep.cells[one.run.arm], "fold": one.run.fold}
        rows.append({**facts, **found.astype(float).to_dict(), "minutes": minutes(one), **place})
    return pd.DataFrame(rows)


def write(ws: Workspace) -> list[Path]:
    """Write `sweeps/<name>.csv` of every sweep with a finished cell; returns the files."""
    written = []
    for name, sweep in SWEEPS.items():
        found = table(ws, sweep)
        if len(found):
            written.append(ws.artifacts / "sweeps" / f"{name}.csv")
            write_csv(written[-1], list(found.columns), found.to_dict("records"))
    return written
