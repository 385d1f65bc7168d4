"""Searches over a grid whose cells are ordinary runs, scored on subjects cut from the training ones.

Every cell is scored on inner fold 0 (which is `dev`). The two best are then trained on the other four inner folds,
which did not choose them, and compared there with the model that is used without a search. No cell is ever scored on a
subject of grouped fold 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.zoo2d import HEAD_GRID, SEARCH_GRID
from hipposeg.metrics import MEAN
from hipposeg.results.compare import DIFFERENCES, alike, differences, means
from hipposeg.results.tables import minutes

FINALISTS, FOLDS, SCHEDULE = 2, range(5), "S"


@dataclass(frozen=True)
class Sweep:
    """A search.

    Attributes:
        cells: model -> its place in the grid, factor by factor.
        reference: what is used without a search: a model of the grid, or one of the same kind.
    """

    cells: dict[str, dict[str, float | str]]
    reference: str

    def title(self, cell: str) -> str:
        """Place of a cell in the grid, in words: `lr 0.003, batch 16, decay 0.1`; else its name."""
        place = self.cells.get(cell, {})
        return ", ".join(f"{factor.removeprefix('weight_')} {value}" for factor, value in place.items()) or cell

    def first(self) -> list[RunSpec]:
        """Every cell on inner fold 0, and the reference on every inner fold."""
        return list(dict.fromkeys([*_runs(self.cells, FOLDS[:1]), *_runs([self.reference], FOLDS)]))

    def second(self, finalists: list[str]) -> list[RunSpec]:
        """The best cells on the other inner folds."""
        return _runs(finalists, FOLDS[1:])

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The mean Dice rows of this search in what `results.load` gave."""
        here = (frame["folds"] == "inner") & (frame["schedule"] == SCHEDULE) & (frame["label"] == MEAN)
        return frame[here & frame["model"].isin([*self.cells, self.reference])]


def _runs(models: Iterable[str], folds: Iterable[int]) -> list[RunSpec]:
    return [RunSpec(model, "inner", fold, schedule=SCHEDULE) for fold in folds for model in models]


# Project A's search over learning rate, batch size and weight decay, and project B's over the head.
SWEEPS = {"search": Sweep(SEARCH_GRID, "unet2d-mobilenetv3"), "heads": Sweep(HEAD_GRID, "unet2d-inr0")}


def finalists(frame: pd.DataFrame, sweep: Sweep) -> list[str]:
    """The cells with the highest mean Dice on inner fold 0, best first; none before all are finished."""
    first = sweep.rows(frame).query("fold == 0 and model in @sweep.cells")
    if first["model"].nunique() < len(sweep.cells) or not alike(first):
        return []
    found = first.groupby("model")["dice"].mean().reindex(list(sweep.cells)).sort_values(ascending=False, kind="stable")
    return list(found.index[:FINALISTS])


def at_edge(sweep: Sweep, cells: list[str]) -> dict[str, float]:
    """Factor -> value where all these cells have the grid's lowest or highest number: the best may lie beyond it."""
    found = {}
    for factor in sweep.cells[cells[0]] if cells else ():
        values = {place[factor] for place in sweep.cells.values()}
        mine = {sweep.cells[cell][factor] for cell in cells}
        if all(isinstance(value, int | float) for value in values) and mine in ({min(values)}, {max(values)}):
            found[factor] = mine.pop()
    return found


def following(frame: pd.DataFrame) -> list[RunSpec]:
    """Second-stage runs of all searches whose first stage is finished."""
    return [run for sweep in SWEEPS.values() for run in sweep.second(finalists(frame, sweep))]


def table(frame: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """One row per cell and fold: cell, its factors, fold, value (mean Dice), low, high, minutes, finalist (1, 2 or 0).

    Cells in the order of the grid, then the reference if it is no cell, then the second stage.
    """
    best, rows, mine = finalists(frame, sweep), [], sweep.rows(frame)
    for run in dict.fromkeys([*sweep.first(), *sweep.second(best)]):
        here = mine[(mine["model"] == run.model) & (mine["fold"] == run.fold)]
        if len(here):
            found = means(here).loc[run.model, ["value", "low", "high"]].astype(float).to_dict()
            place = best.index(run.model) + 1 if run.model in best else 0
            rows.append({"cell": run.model, **sweep.cells.get(run.model, {}), "fold": run.fold, **found,
                         "minutes": minutes(here).iloc[0], "finalist": place})  # fmt: skip
    return pd.DataFrame(rows)


def gained(frame: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """What the search gained: each finalist minus the reference on the inner folds that did not choose it.

    Returns:
        Columns DIFFERENCES over all subjects of those folds, each scored once; index: model. Empty before all those
        runs are finished, or if the reference is the only finalist.
    """
    best = [cell for cell in finalists(frame, sweep) if cell != sweep.reference]
    rows = sweep.rows(frame).query("fold > 0 and (model in @best or model == @sweep.reference)")
    complete = rows["run"].nunique() == (len(best) + 1) * len(FOLDS[1:])
    if not best or not complete or not alike(rows):
        return pd.DataFrame(columns=list(DIFFERENCES))
    return differences(rows.assign(fold=-1), sweep.reference)  # the four folds count as one
