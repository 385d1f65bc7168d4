"""The plan: every stored run is planned, every planned run is possible, and what follows from finished ones."""

import pandas as pd
import pytest
from frames import rows

from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP, MODELS, RunSpec, needed_by
from hipposeg.experiments.zoo2d import TUNED
from hipposeg.files import read_json
from hipposeg.models import encoders
from hipposeg.results import load
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace, project_root

WS = Workspace(project_root(), "msd", "stored")
FOLDS = read_json(WS.folds)


@pytest.fixture(scope="module")
def stored():
    return load.load(WS)


def test_runs_are_planned_once_and_possible_and_the_main_ones_are_stored(stored):
    every = plan.full()
    assert len(every) == len(set(every))
    for run in plan.main():
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
    assert {run.schedule for run in plan.main()} == {"standard"}
    assert {run.model for run in set(plan.main()) - set(plan.standard())} == {"unet2d-mobilenetv3"}


def test_a_plan_is_listed_without_the_network_and_without_a_warning(monkeypatch, caplog):
    monkeypatch.delenv("HIPPOSEG_OFFLINE", raising=False)
    monkeypatch.setattr(encoders, "_has_network", lambda _: pytest.fail("it looked for the hub"))
    assert len(plan.standard()) == 8 and not caplog.text


def test_finished_runs_come_in_the_plans_order_and_stand_ins_count():
    first, second, third = (RunSpec("unet2d", seed=seed) for seed in range(3))
    frame = pd.concat([rows(first, 0.8), rows(second, 0.7), rows(third, 0.6, planned="another")])
    found = plan.finished(frame, [second, first, third])
    assert found["run"].unique().tolist() == [second.name, first.name]
    here = rows(RunSpec("unet2d", hardware="fp32"), 0.9, planned=first.name)
    assert plan.finished(here, [first])["run"].unique().tolist() == [f"{first.name}.fp32"]


def test_winners_and_finalists_are_what_the_rules_choose_from_the_stored_runs(stored):
    rows = stored.query("label == 'mean' and schedule == 'S' and precision == 'bf16'")
    grouped = rows[rows["folds"] == "grouped"].groupby("model")["dice"].mean()
    for family, best in zip(plan.FAMILIES_2D_LONG.values(), plan.BEST_SHORT, strict=True):
        assert grouped[list(family)].idxmax() == best
    inner = rows[(rows["folds"] == "inner") & (rows["fold"] == 0)].groupby("model")["dice"].mean()
    for search in plan.SEARCHES.values():
        assert inner[list(search.cells)].nlargest(2).index.tolist() == list(search.finalists)


def test_cells_of_the_search_have_their_place_in_the_grid():
    for model, place in plan.SEARCHES["wider"].cells.items():
        training = MODELS[model].training("S")
        assert {factor: getattr(training, factor) for factor in place} == place


def test_the_tuned_model_has_the_better_finalist_of_the_wider_search(stored):
    rows = stored.query("label == 'mean' and schedule == 'S' and folds == 'inner' and fold > 0")
    means, search = rows.groupby("model")["dice"].mean(), plan.SEARCHES["wider"]
    assert means[list(search.finalists)].idxmax() == TUNED
    assert MODELS[plan.TUNED].training("standard") == MODELS[TUNED].training("standard")


def test_no_search_sees_a_test_subject():
    scored = {(case + 1) // 2 for case in FOLDS["grouped"][0]["scored"]}
    for fold in FOLDS["inner"]:
        assert not scored & {(case + 1) // 2 for case in [*fold["train"], *fold["scored"]]}
