"""Many runs side by side: states of a plan, failures named at the end, bytes as of one process."""

from concurrent.futures import ThreadPoolExecutor, wait

import pandas as pd
import pytest
from filelock import FileLock

from hipposeg import files
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import phantom
from hipposeg.data.locate import Source
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import many, plan
from hipposeg.experiments import run as runs
from hipposeg.experiments.many import planned, train_all
from hipposeg.experiments.registry import RunSpec
from hipposeg.results import load, store
from hipposeg.workspace import Workspace

ATLASES = [RunSpec(load.ATLAS, fold=fold) for fold in (0, 1)]
NETWORK = RunSpec("unet2d", schedule="smoke")
BROKEN = RunSpec("unet2d", schedule="huge")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Task04_Hippocampus"
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=5, seed=3)
    return Source("phantom", folder, PHANTOM_SPEC)


@pytest.fixture
def ws(tmp_path):
    many._data.cache_clear()
    return Workspace(tmp_path, "phantom", "smoke")


@pytest.fixture
def scheduler():
    """Address of a scheduler with one worker in this process: a process of its own imports torch and MONAI anew."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def content(ws):
    """Every file of the tables, runs.csv without the training time."""
    found = {path.name: path.read_bytes() for path in ws.artifacts.rglob("*") if path.is_file()}
    found.pop(store.REPRODUCED, None)
    return found | {store.RUNS: store.read_runs(ws).drop(columns="train_s").to_csv()}


def test_a_plan_gives_the_bytes_of_its_runs_trained_one_by_one(source, ws, scheduler, tmp_path):
    train_all(source, ws, [*ATLASES, NETWORK], scheduler=scheduler)
    people, alone = cohorts.load(source), Workspace(tmp_path / "alone", "phantom", "smoke")
    folds = folding.read_or_write(alone.folds, people)
    for run in (*ATLASES, NETWORK):
        runs.train(runs.native(run), people, folds, alone)
    assert content(ws) == content(alone)
    reproduced = pd.read_csv(ws.artifacts / store.REPRODUCED)
    assert reproduced["run"].tolist() == sorted(runs.native(run).name for run in (*ATLASES, NETWORK))
    assert reproduced["dice_before"].isna().all() and tuple(reproduced.columns) == many.REPRODUCED_COLUMNS


def test_failures_are_named_at_the_end_and_the_others_are_kept(source, ws, scheduler):
    said = []
    with pytest.raises(ValueError, match=r"(?s)1 of 2 runs failed.*unet2d.grouped0.s0.huge: .*no schedule 'huge'"):
        train_all(source, ws, [BROKEN, ATLASES[0]], scheduler=scheduler, say=said.append)
    assert len(said) == 2 and sum("FAILED" in line for line in said) == 1 and said[-1].startswith("[2/2]")
    assert load.get(ws, runs.native(ATLASES[0]).name) is not None


def test_a_plan_knows_what_is_done(source, ws, monkeypatch):
    def states(*args, **options):
        return [done for done in planned(source, ws, *args, **options).values()]

    monkeypatch.setattr(plan, "PLANNED", {"04": tuple(ATLASES)})
    monkeypatch.setattr(plan, "standard", lambda profile="standard": ATLASES[:1])
    assert planned(source, ws, "04") == dict.fromkeys(ATLASES, False)
    people, folds = many._data(source, ws)
    runs.train(runs.native(ATLASES[0]), people, folds, ws)
    assert states("04") == states("full") == [True, False]
    assert planned(source, ws, "04", only="grouped1") == {ATLASES[1]: False}
    assert states("04", retrain=True) == [False, False]
    assert states("standard") == [True], "trained on this machine"
    (runs.folder_of(runs.native(ATLASES[0]), ws) / runs.STATE).unlink()
    assert states("standard") == [False], "in the tables is not enough"
    assert states("04") == [True, False], "but here it is"
    store._write_runs(ws, store.read_runs(ws).assign(key="older"))
    assert states("04") == [False, False], "outdated"
    with pytest.raises(ValueError, match="there is no plan '99'; choose standard, full"):
        planned(source, ws, "99")
    with pytest.raises(ValueError, match="the plan 04 has no run whose name contains 'x'"):
        planned(source, ws, "04", only="x")


def test_a_run_that_is_trained_again_is_set_beside_what_the_tables_held(source, ws):
    train_all(source, ws, [])  # nothing to train starts nothing
    assert not (ws.work / "dask").exists()
    people, folds = many._data(source, ws)
    here = runs.train(runs.native(ATLASES[0]), people, folds, ws)
    before = load.load(ws).assign(run=ATLASES[0].name)
    before["dice"] -= 0.01
    many._note(ws, before, ATLASES[0].name, here.name)
    with ThreadPoolExecutor(1) as pool, FileLock(ws.work / "reproduced.lock"):  # as if another plan wrote the table
        done = pool.submit(many._note, ws, before, ATLASES[0].name, here.name)
        assert not wait([done], 0.3).done
        other = {"run": "other", "dice_here": 0.5}
        files.write_csv(ws.artifacts / store.REPRODUCED, many.REPRODUCED_COLUMNS, [other])
    assert pd.read_csv(ws.artifacts / store.REPRODUCED)["run"].tolist() == [here.name, "other"]
    row = pd.read_csv(ws.artifacts / store.REPRODUCED).iloc[0]
    assert row["difference"] == pytest.approx(0.01) and row["dice_here"] == pytest.approx(here.mean(), abs=1e-6)
