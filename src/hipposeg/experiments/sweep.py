"""Searches: a declared grid whose cells are ordinary runs, judged on people cut from the training ones.

Every cell is scored on inner fold 0 (which is `dev`). The two best are then trained on the other four inner folds,
which did not choose them, and compared there with the arm that is used without a search. No cell is ever scored on a
person of grouped fold 0.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hipposeg.experiments.run import finished
from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.zoo2d import HEAD_GRID, SEARCH_GRID
from hipposeg.files import write_csv
from hipposeg.results.compare import DIFFERENCES, alike, differences, means, minutes, scores
from hipposeg.workspace import Workspace

FINALISTS, FOLDS = 2, 5


@dataclass(frozen=True)
class Sweep:
    """A search. cells: arm -> its place in the grid, factor by factor. budget: of every run.

    reference: what is used without a search, an arm of the grid or one of the same kind.
    """

    cells: dict[str, dict[str, float | str]]
    budget: str
    reference: str

    def title(self, cell: str) -> str:
        """Where a cell stands in the grid, in words: `lr 0.003, batch 16, decay 0.1`; else its name."""
        place = self.cells.get(cell, {})
        return ", ".join(f"{factor.removeprefix('weight_')} {value}" for factor, value in place.items()) or cell

    def first(self) -> list[RunSpec]:
        """Every cell on inner fold 0."""
        return [RunSpec(cell, "inner", 0, budget=self.budget) for cell in self.cells]

    def unsearched(self) -> list[RunSpec]:
        """The reference on every inner fold."""
        return [RunSpec(self.reference, "inner", fold, budget=self.budget) for fold in range(FOLDS)]

    def second(self, finalists: list[str]) -> list[RunSpec]:
        """The best cells on the other inner folds."""
        return [RunSpec(cell, "inner", fold, budget=self.budget) for fold in range(1, FOLDS) for cell in finalists]


# Project A's search over rate, batch and weight decay, and project B's over the head.
SWEEPS = {
    "search": Sweep(SEARCH_GRID, "S", "unet2d-mobilenetv3"),
    "heads": Sweep(HEAD_GRID, "S", "unet2d-inr0"),
}


def finalists(ws: Workspace, sweep: Sweep) -> list[str]:
    """The cells with the highest mean Dice on inner fold 0, best first; none before all are there, on one machine."""
    found = finished(ws, sweep.first())
    if len(found) < len(sweep.cells) or not alike(found):
        return []
    return [one.run.arm for one in sorted(found, key=lambda one: -one.mean())[:FINALISTS]]


def at_edge(sweep: Sweep, cells: list[str]) -> dict[str, float]:
    """Factor -> value where all these cells share the grid's lowest or highest number: the best may lie beyond it."""
    found = {}
    for factor in sweep.cells[cells[0]] if cells else ():
        values = {place[factor] for place in sweep.cells.values()}
        mine = {sweep.cells[cell][factor] for cell in cells}
        if all(isinstance(value, int | float) for value in values) and mine in ({min(values)}, {max(values)}):
            found[factor] = mine.pop()
    return found


def following(ws: Workspace) -> list[RunSpec]:
    """Second-stage runs of all sweeps, as far as their first stages are there."""
    return [run for sweep in SWEEPS.values() for run in sweep.second(finalists(ws, sweep))]


def table(ws: Workspace, sweep: Sweep) -> pd.DataFrame:
    """One row per cell and fold that are there: cell, its factors, fold, value (mean Dice), low, high, minutes.

    finalist: its place among the best two, else 0. Rows in the grid's order, then the reference if it is no cell, then
    the second stage; empty if nothing is there.
    """
    best = finalists(ws, sweep)
    rows = []
    for one in finished(ws, dict.fromkeys([*sweep.first(), *sweep.unsearched(), *sweep.second(best)])):
        found = means(scores([one])).loc[one.run.arm, ["value", "low", "high"]]
        place = {"finalist": best.index(one.run.arm) + 1 if one.run.arm in best else 0}
        facts = {"cell": one.run.arm, **sweep.cells.get(one.run.arm, {}), "fold": one.run.fold}
        rows.append({**facts, **found.astype(float).to_dict(), "minutes": minutes(one), **place})
    return pd.DataFrame(rows)


def gained(ws: Workspace, sweep: Sweep) -> pd.DataFrame:
    """What searching brought: each finalist minus the reference on the inner folds that did not choose it.

    Index: the finalists' arms; columns `seeds.DIFFERENCES`, over all people of those folds, each scored once. Empty
    before all those runs are there, on one kind of machine, or if the reference is the only finalist left.
    """
    best = [cell for cell in finalists(ws, sweep) if cell != sweep.reference]
    runs = [run for run in (*sweep.unsearched(), *sweep.second(best)) if run.fold]
    found = finished(ws, runs)
    if not best or len(found) < len(runs) or not alike(found):
        return pd.DataFrame(columns=list(DIFFERENCES))
    return differences(scores(found).assign(setting="inner folds 1 to 4"), sweep.reference)


def write(ws: Workspace) -> list[Path]:
    """Write `sweeps/<name>.csv` of every sweep with a finished cell; returns the files."""
    written = []
    for name, sweep in SWEEPS.items():
        found = table(ws, sweep)
        if len(found):
            written.append(ws.artifacts / "sweeps" / f"{name}.csv")
            write_csv(written[-1], list(found.columns), found.to_dict("records"))
    return written
