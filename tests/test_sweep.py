"""Searches: declared cells, two finalists by the inner score alone, and a table of what is there."""

import numpy as np
import pandas as pd
import pytest

from hipposeg.data import folds
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments import plan, run, sweep
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.sweep import SWEEPS, Sweep
from hipposeg.files import write_json
from hipposeg.results.scoring import CASES
from hipposeg.workspace import Workspace

GRID = Sweep({"a": {"lr": 0.1}, "b": {"lr": 0.2}, "c": {"lr": 0.3}}, "S", "r")


def leave(ws: Workspace, run: RunSpec, dice: float, numerics: str = "now", first: int = 0, device: str = "cpu") -> None:
    """What a finished run leaves, with invented scores of four cases of two people, the first after case `first`."""
    folder = ws.artifacts / "runs" / run.name
    write_json(folder / "config.json", {"torch": "", "device": device, "precision": "", "threads": 1, "data_sha256": "",
                                        "folds": run.folds, "fold": run.fold, "schedule": run.schedule,
                                        "numerics": numerics})  # fmt: skip
    write_json(folder / "provenance.json", {"train_s": 90.0})
    rows = [
        {"case": n, "subject": (n + 1) // 2, "label": "mean", "dice": dice + 0.01 * (n % 2)}
        for n in range(first + 1, first + 5)
    ]
    pd.DataFrame(rows).to_csv(folder / CASES, index=False)


@pytest.fixture(autouse=True)
def versions(monkeypatch):
    monkeypatch.setattr(run, "current_numerics", lambda: dict.fromkeys("abcrz", "now"))


def test_cells_of_older_code_do_not_count(tmp_path):
    ws = Workspace(tmp_path, "phantom", "full")
    for cell, numerics in (("a", "now"), ("b", "now"), ("c", "before")):
        leave(ws, RunSpec(cell, "inner", 0, schedule="S"), 0.8, numerics)
    assert sweep.finalists(ws, GRID) == [] and sweep.table(ws, GRID).cell.tolist() == ["a", "b"]


def test_the_two_best_of_a_finished_first_stage_go_on(tmp_path):
    ws = Workspace(tmp_path, "phantom", "full")
    for cell, dice in (("a", 0.80), ("b", 0.70)):
        leave(ws, RunSpec(cell, "inner", 0, schedule="S"), dice)
    assert sweep.finalists(ws, GRID) == [] and GRID.second([]) == []
    leave(ws, RunSpec("c", "inner", 0, schedule="S"), 0.85)
    assert sweep.finalists(ws, GRID) == ["c", "a"]
    then = GRID.second(sweep.finalists(ws, GRID))
    assert {(run.model, run.fold) for run in then} == {(cell, fold) for cell in "ca" for fold in (1, 2, 3, 4)}
    assert all(run.folds == "inner" and run.schedule == "S" for run in then)
    # What the finalists get on other folds changes nothing about who they are.
    leave(ws, then[1], 0.99)
    assert sweep.finalists(ws, GRID) == ["c", "a"]
    table = sweep.table(ws, GRID)
    assert table.cell.tolist() == ["a", "b", "c", "a"] and table.fold.tolist() == [0, 0, 0, 1]
    assert np.allclose(table.value, [0.805, 0.705, 0.855, 0.995]) and (table.minutes == 1.5).all()
    assert table.finalist.tolist() == [2, 0, 1, 2] and table.lr.tolist() == [0.1, 0.2, 0.3, 0.1]


def test_what_searching_brought_is_told_on_the_folds_that_did_not_choose(tmp_path):
    ws = Workspace(tmp_path, "phantom", "full")
    for cell, dice in (("a", 0.80), ("b", 0.70), ("c", 0.85)):
        leave(ws, RunSpec(cell, "inner", 0, schedule="S"), dice)
    assert sweep.gained(ws, GRID).empty
    for other in GRID.unsearched():
        leave(ws, other, 0.80 if other.fold else 0.1, first=4 * other.fold)
    for other in GRID.second(["c", "a"]):
        leave(ws, other, {"a": 0.78, "c": 0.82}[other.model], first=4 * other.fold)
    found = sweep.gained(ws, GRID)
    assert np.allclose(found.loc[["c", "a"], "difference"], [0.02, -0.02]) and (found.people == 8).all()
    assert sweep.table(ws, GRID).query("cell == 'r'").fold.tolist() == [0, 1, 2, 3, 4]
    itself = Sweep(GRID.cells, "S", "c")
    assert sweep.gained(ws, itself).index.tolist() == ["a"]
    leave(ws, GRID.second(["c"])[0], 0.82, first=4, device="cuda")
    assert sweep.gained(ws, GRID).empty, "a difference of machines"
    leave(ws, RunSpec("b", "inner", 0, schedule="S"), 0.9, device="cuda")
    assert sweep.finalists(ws, GRID) == [], "nor is there a ranking over two kinds of machine"


def test_finalists_at_the_edge_of_the_grid_are_told():
    assert sweep.at_edge(GRID, ["a"]) == {"lr": 0.1} and sweep.at_edge(GRID, ["c"]) == {"lr": 0.3}
    assert sweep.at_edge(GRID, ["a", "c"]) == {} and sweep.at_edge(GRID, ["b"]) == {} and sweep.at_edge(GRID, []) == {}
    assert SWEEPS["search"].title("search-lr0.003-b16-wd0.1") == "lr 0.003, batch 16, decay 0.1"
    assert GRID.title("r") == "r"
    assert sweep.at_edge(SWEEPS["heads"], list(SWEEPS["heads"].cells)[:1]) == {}, "a head is no number"


def test_csv_of_what_is_there(tmp_path, monkeypatch):
    ws = Workspace(tmp_path, "phantom", "full")
    monkeypatch.setattr(sweep, "SWEEPS", {"grid": GRID, "other": Sweep({"z": {"lr": 1.0}}, "S", "z")})
    assert sweep.write(ws) == []
    leave(ws, RunSpec("a", "inner", 0, schedule="S"), 0.8)
    (path,) = sweep.write(ws)
    assert path.name == "grid.csv" and pd.read_csv(path).cell.tolist() == ["a"]


@pytest.mark.parametrize("name", SWEEPS)
def test_declared_cells_are_arms_of_their_place_in_the_grid(name):
    for cell, place in SWEEPS[name].cells.items():
        recipe = MODELS[cell].training(SWEEPS[name].schedule)
        for factor, value in place.items():
            assert factor == "head" or getattr(recipe, factor) == value
    assert {*SWEEPS[name].first(), *SWEEPS[name].unsearched()} <= set(plan.declared("03"))


def test_no_search_sees_a_scored_person():
    made = folds.make(MSD_HIPPOCAMPUS, list(range(1, 261)))
    scored = {(case + 1) // 2 for case in made["grouped"][0]["scored"]}
    for fold in made["inner"]:
        assert not scored & {(case + 1) // 2 for case in [*fold["train"], *fold["scored"]]}
