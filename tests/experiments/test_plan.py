"""The plan: every stored run is planned, every planned run is possible, and what follows from finished ones."""

import pandas as pd
import pytest
from frames import rows

from hipposeg.experiments import plan, sweep
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.experiments.spec import RunSpec, needed_by
from hipposeg.experiments.sweep import SWEEPS, Sweep
from hipposeg.files import read_json
from hipposeg.models import encoders
from hipposeg.results import load
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace, project_root

GRID = Sweep({"a": {"lr": 0.1}, "b": {"lr": 0.2}, "c": {"lr": 0.3}}, "r")
WS = Workspace(project_root(), "msd", "stored")
FOLDS = read_json(WS.folds)


@pytest.fixture(scope="module")
def stored():
    return load.load(WS)


def test_runs_are_planned_once_and_possible_and_the_main_ones_are_stored(stored):
    every = plan.full(stored)
    assert len(every) == len(set(every))
    for run in plan.standard("standard"):
        assert run.name.replace("+imagenet", "") in set(stored["run"]), "`stored` shows them without training"
    for run in every:
        for one in (run, *needed_by(run)):
            if one.definition.trains:
                one.definition.training(one.schedule)  # raises KeyError
        assert run.fold < len(FOLDS[run.folds]), run.name


def test_standard_runs_hold_a_teacher_before_its_student():
    runs = plan.standard("smoke")
    assert len(runs) == 9 and {run.schedule for run in runs} == {"smoke"} and runs[0].model == ATLAS
    assert FLAGSHIP in {run.model for run in runs}
    for place, run in enumerate(runs):
        assert set(needed_by(run)) <= set(runs[:place])
    assert {run.schedule for run in plan.standard("standard")} == {"standard"}


def test_a_plan_is_listed_without_the_network_and_without_a_warning(monkeypatch, caplog):
    monkeypatch.delenv("HIPPOSEG_OFFLINE", raising=False)
    monkeypatch.setattr(encoders, "_has_network", lambda _: pytest.fail("it looked for the hub"))
    assert len(plan.standard("standard")) == 9 and not caplog.text


def test_finished_runs_come_in_the_plans_order_and_stand_ins_count():
    first, second, third = (RunSpec("unet2d", seed=seed) for seed in range(3))
    frame = pd.concat([rows(first, 0.8), rows(second, 0.7), rows(third, 0.6, planned="another")])
    found = plan.finished(frame, [second, first, third])
    assert found["run"].unique().tolist() == [second.name, first.name]
    here = rows(RunSpec("unet2d", hardware="fp32"), 0.9, planned=first.name)
    assert plan.finished(here, [first])["run"].unique().tolist() == [f"{first.name}.fp32"]


def winners_frame(best):
    models = [model for family in plan.FAMILIES_2D_LONG.values() for model in family]
    runs = [RunSpec(model, seed=seed, schedule="S") for model in models for seed in plan.SEEDS]
    return pd.concat([rows(run, 0.9 if run.model in best else 0.8, cases=4) for run in runs])


def test_the_best_variant_of_each_complete_family_follows_at_the_standard_schedule():
    best = {"unet2d+aug-flip", "unet2d+bce"}
    frame = winners_frame(best)
    found = plan.winners(frame)
    assert set(found) == {RunSpec(model, seed=seed) for model in best for seed in plan.SEEDS}
    assert set(found) <= set(plan.following(frame)) <= set(plan.full(frame))
    mine = rows(found[0], 0.9)
    assert plan.of_notebook(pd.concat([frame, mine]), "03")["run"].tolist()[-24:] == [found[0].name] * 24
    missing = frame[frame["run"] != "unet2d+bce.grouped0.s1.S"]
    assert {run.model for run in plan.winners(missing)} == {"unet2d+aug-flip"}, "one run of the other is missing"
    frame.loc[frame["run"] == "unet2d+bce.grouped0.s1.S", "device"] = "cuda"
    assert {run.model for run in plan.winners(frame)} == {"unet2d+aug-flip"}, "devices are not ranked together"
    assert plan.winners(frame.iloc[:0]) == []


# Searches.


def cell(model, dice, fold=0, **changes):
    """A cell on an inner fold: four cases of two subjects, which no other fold has."""
    frame = rows(RunSpec(model, "inner", fold, schedule="S"), [dice + 0.01, dice] * 2, **changes)
    return frame.assign(case=frame["case"] + 4 * fold, subject=frame["subject"] + 2 * fold)


def test_the_two_best_of_a_complete_first_stage_go_on():
    part = pd.concat([cell("a", 0.80), cell("b", 0.70)])
    assert sweep.finalists(part, GRID) == [] and GRID.second([]) == []
    frame = pd.concat([part, cell("c", 0.85)])
    assert sweep.finalists(frame, GRID) == ["c", "a"]
    then = GRID.second(["c", "a"])
    assert then == [RunSpec(model, "inner", fold, schedule="S") for fold in (1, 2, 3, 4) for model in "ca"]
    more = pd.concat([frame, cell("a", 0.99, fold=1)])
    assert sweep.finalists(more, GRID) == ["c", "a"], "other folds do not choose"
    found = sweep.table(more, GRID)
    assert found["cell"].tolist() == ["a", "b", "c", "a"] and found["fold"].tolist() == [0, 0, 0, 1]
    assert found["value"].tolist() == pytest.approx([0.805, 0.705, 0.855, 0.995])
    assert found["finalist"].tolist() == [2, 0, 1, 2] and found["lr"].tolist() == [0.1, 0.2, 0.3, 0.1]
    assert (found["minutes"] == 1.5).all()
    assert sweep.finalists(pd.concat([part, cell("c", 0.85, device="cuda")]), GRID) == [], "devices are not ranked"


def test_the_gain_of_a_search_is_measured_on_folds_that_did_not_choose():
    frame = pd.concat([cell("a", 0.80), cell("b", 0.70), cell("c", 0.85), cell("r", 0.1)])
    assert sweep.gained(frame, GRID).empty
    dice = {"a": 0.78, "c": 0.82, "r": 0.80}
    frame = pd.concat([frame, *(cell(model, value, fold) for model, value in dice.items() for fold in (1, 2, 3, 4))])
    found = sweep.gained(frame, GRID)
    assert found.loc[["c", "a"], "difference"].tolist() == pytest.approx([0.02, -0.02])
    assert (found["subjects"] == 8).all()
    assert sweep.table(frame, GRID).query("cell == 'r'")["fold"].tolist() == [0, 1, 2, 3, 4]
    assert sweep.gained(frame, Sweep(GRID.cells, "c")).index.tolist() == ["a"], "a finalist may be the reference"
    assert sweep.gained(frame[(frame["model"] != "r") | (frame["fold"] != 3)], GRID).empty, "one run is missing"
    frame.loc[(frame["model"] == "c") & (frame["fold"] == 1), "device"] = "cuda"
    assert sweep.gained(frame, GRID).empty


@pytest.mark.parametrize("name", SWEEPS)
def test_cells_are_models_of_their_place_in_the_grid(name):
    for model, place in SWEEPS[name].cells.items():
        training = MODELS[model].training(sweep.SCHEDULE)
        for factor, value in place.items():
            assert factor == "head" or getattr(training, factor) == value
    assert set(SWEEPS[name].first()) <= set(plan.declared("03"))


def test_finalists_at_the_edge_of_the_grid_are_named():
    assert sweep.at_edge(GRID, ["a"]) == {"lr": 0.1} and sweep.at_edge(GRID, ["c"]) == {"lr": 0.3}
    assert sweep.at_edge(GRID, ["a", "c"]) == sweep.at_edge(GRID, ["b"]) == sweep.at_edge(GRID, []) == {}
    assert sweep.at_edge(SWEEPS["heads"], list(SWEEPS["heads"].cells)[:1]) == {}, "a head is no number"


def test_no_search_sees_a_test_subject():
    scored = {(case + 1) // 2 for case in FOLDS["grouped"][0]["scored"]}
    for fold in FOLDS["inner"]:
        assert not scored & {(case + 1) // 2 for case in [*fold["train"], *fold["scored"]]}
