"""Runs: keys, caching, publishing, and that no scored label reaches a prediction."""

import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from hipposeg import files
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import phantom
from hipposeg.data.locate import Source
from hipposeg.data.spec import PHANTOM_SPEC, Label
from hipposeg.experiments import RunSpec, plan, train_or_load
from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import FLAGSHIP, MODELS, NUMERICS
from hipposeg.experiments.spec import members_of, run_key
from hipposeg.models import encoders
from hipposeg.results import table
from hipposeg.results.scoring import CASES
from hipposeg.training import loop
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace

MACHINE = Machine("cpu", "fp32", 1)
RUN = RunSpec("unet2d", schedule="smoke")


@pytest.fixture(scope="module")
def small(phantom_people):
    return phantom_people(6)


@pytest.fixture(scope="module")
def first(small, tmp_path_factory):
    ws = Workspace(tmp_path_factory.mktemp("first"), "phantom", "smoke")
    return ws, train_or_load(RUN, small.cohort, small.folds, ws, MACHINE)


def test_what_a_run_leaves(small, first):
    ws, result = first
    scored = small.folds["grouped"][0]["scored"]
    assert sorted(result.cases.case.unique()) == scored
    assert list(result.cases.columns) == list(runs.CASE_COLUMNS)
    assert {path.name for path in result.predictions.iterdir()} == {small.cohort.spec.file_name(n) for n in scored}
    for number in scored:
        written = nibabel.load(result.predictions / small.cohort.spec.file_name(number))
        case = small.cohort.cases[number]
        assert written.shape == case.label.shape and written.get_data_dtype() == np.uint8
        assert np.allclose(written.affine, case.affine)
        # The table describes the file: Dice recomputed from what is on disk, by hand.
        found = np.asarray(written.dataobj)
        dice = 2 * ((found == 1) & (case.label == 1)).sum() / ((found == 1).sum() + (case.label == 1).sum())
        row = result.cases[(result.cases.case == number) & (result.cases.label == "anterior")]
        assert row.dice.item() == pytest.approx(dice, abs=1e-6)
    assert result.config["run"] == "unet2d.grouped0.s0.smoke"
    assert result.config["steps"] == result.history[-1]["step"]


def test_second_call_loads_and_republishes(small, first, monkeypatch):
    ws, result = first
    before = (result.folder / CASES).read_bytes()
    (result.folder / CASES).unlink()
    monkeypatch.setattr(runs, "train_network", lambda *a, **k: pytest.fail("trained again"))
    again = train_or_load(RUN, small.cohort, small.folds, ws, MACHINE)
    assert (again.folder / CASES).read_bytes() == before


def test_a_cache_that_lost_a_part_is_made_whole_again(small, first, tmp_path):
    ws = Workspace(tmp_path, first[0].dataset, first[0].profile)
    shutil.copytree(first[0].root, tmp_path, dirs_exist_ok=True)
    before = same_files(first[1].folder), same_files(first[1].predictions)
    work = ws.work / "runs" / RUN.name
    for damage in (
        lambda: (work / CASES).unlink(),
        lambda: shutil.rmtree(work / "predictions"),
        lambda: (work / "config.json").write_text(""),
    ):
        damage()
        again = train_or_load(RUN, small.cohort, small.folds, ws, MACHINE)
        assert (same_files(again.folder), same_files(again.predictions)) == before


def same_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "provenance.json"}


def compared(folder):
    return {
        path.relative_to(folder).as_posix(): files.sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("provenance.json", "timings.csv")
    }


def test_trained_twice_gives_the_same_bytes(small, first, tmp_path):
    ws, result = first
    other = Workspace(tmp_path, "phantom", "smoke")
    train_or_load(RUN, small.cohort, small.folds, other, MACHINE)
    assert compared(other.artifacts) == compared(ws.artifacts)


def test_permuted_labels_of_the_scored_cases_change_no_prediction(small, first, tmp_path):
    ws, result = first
    scored = small.folds["grouped"][0]["scored"]
    cases = dict(small.cohort.cases)
    for number in scored:
        label = cases[number].label
        cases[number] = replace(cases[number], label=np.where(label > 0, 3 - label, 0)[::-1].copy())
    swapped = replace(small.cohort, cases=cases, sha256="permuted")
    other = train_or_load(RUN, swapped, small.folds, Workspace(tmp_path, "phantom", "smoke"), MACHINE)
    for path in result.predictions.iterdir():
        assert (other.predictions / path.name).read_bytes() == path.read_bytes()
    assert other.config["weights_sha256"] == result.config["weights_sha256"]
    assert other.mean() < result.mean()  # the labels really were others


def test_key_depends_on_all_that_changes_the_bytes(small, monkeypatch):
    fold = small.folds["grouped"][0]
    keys = {run_key(RUN, small.cohort, fold, MACHINE)}
    keys.add(run_key(replace(RUN, seed=1), small.cohort, fold, MACHINE))
    keys.add(run_key(RUN, replace(small.cohort, sha256="other"), fold, MACHINE))
    keys.add(run_key(RUN, small.cohort, small.folds["grouped"][1], MACHINE))
    keys.add(run_key(RUN, small.cohort, fold, replace(MACHINE, precision="bf16")))
    keys.add(run_key(RUN, small.cohort, fold, replace(MACHINE, threads=2)))
    model = MODELS["unet2d"]
    with monkeypatch.context() as patch:
        recipe = replace(model.schedules["smoke"], lr=1e-4)
        patch.setitem(MODELS, "unet2d", replace(model, recipes={"smoke": recipe}))
        keys.add(run_key(RUN, small.cohort, fold, MACHINE))
    with monkeypatch.context() as patch:
        patch.setitem(NUMERICS, "unet", NUMERICS["unet"] + 1)
        keys.add(run_key(RUN, small.cohort, fold, MACHINE))
    with monkeypatch.context() as patch:
        patch.setattr(train, "NUMERICS", loop.NUMERICS + 1)
        keys.add(run_key(RUN, small.cohort, fold, MACHINE))
    assert len(keys) == 9


def test_layout_enters_the_keys_of_those_machines_that_change_it(small, monkeypatch):
    fold, keys = small.folds["grouped"][0], {}
    for capability in ("AVX2", "AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        for precision in ("fp32", "bf16"):
            machine = replace(MACHINE, precision=precision)
            keys[precision, capability] = run_key(RUN, small.cohort, fold, machine)
    assert keys["bf16", "AVX2"] == keys["bf16", "AVX512"], "runs in bfloat16 stay valid"
    assert keys["fp32", "AVX2"] != keys["fp32", "AVX512"]


def test_an_arm_of_published_weights_is_keyed_by_them_and_needs_them(small, monkeypatch, tmp_path):
    run, fold = RunSpec("unet2d-mobilenetv3+imagenet", schedule="smoke"), small.folds["grouped"][0]
    monkeypatch.setattr(encoders, "imagenet_weights", lambda encoder: None)
    with pytest.raises(FileNotFoundError, match="no ImageNet weights of tu-tf_mobilenetv3"):
        run_key(run, small.cohort, fold, MACHINE)
    weights = tmp_path / "model.safetensors"
    monkeypatch.setattr(encoders, "imagenet_weights", lambda encoder: weights)
    keys = set()
    for content in (b"one", b"another"):
        weights.write_bytes(content)
        keys.add(run_key(run, small.cohort, fold, MACHINE))
    assert len(keys) == 2


def test_full_profile_counts_committed_runs_as_done(small, first, tmp_path, monkeypatch):
    ws, result = first
    full = Workspace(tmp_path, "phantom", "full")
    shutil.copytree(ws.artifacts, full.artifacts)
    monkeypatch.setattr(runs, "train_network", lambda *a, **k: pytest.fail("trained again"))
    assert train_or_load(RUN, small.cohort, small.folds, full, MACHINE).mean() == result.mean()


def test_unknown_arm_and_budget_say_what_there_is(small, tmp_path):
    ws = Workspace(tmp_path, "phantom", "smoke")
    with pytest.raises(KeyError, match="there are atlas-no-image"):
        train_or_load(RunSpec("unet4d"), small.cohort, small.folds, ws, MACHINE)
    with pytest.raises(KeyError, match="it has standard, smoke"):
        train_or_load(RunSpec("unet2d", schedule="huge"), small.cohort, small.folds, ws, MACHINE)


def test_the_atlas_never_reads_an_image(small, tmp_path):
    floor = train_or_load(RunSpec("atlas-no-image", schedule="smoke"), small.cohort, small.folds,
                          Workspace(tmp_path / "a", "phantom", "smoke"), MACHINE)  # fmt: skip
    blank = {n: replace(case, image=np.zeros_like(case.image)) for n, case in small.cohort.cases.items()}
    again = train_or_load(RunSpec("atlas-no-image", schedule="smoke"), replace(small.cohort, cases=blank), small.folds,
                          Workspace(tmp_path / "b", "phantom", "smoke"), MACHINE)  # fmt: skip
    assert again.cases.equals(floor.cases)
    assert 0.4 < floor.mean() < 0.9


def test_the_real_floor(msd_dir, tmp_path):
    from hipposeg.data.locate import locate

    source = locate("standard")
    if source.dataset != "msd":
        pytest.skip("HIPPOSEG_DATA does not name the real data set")
    cohort = cohorts.load(source)
    folds = folding.make(cohort.spec, cohort.numbers)
    result = train_or_load(RunSpec("atlas-no-image"), cohort, folds, Workspace(tmp_path, "msd", "standard"), MACHINE)
    # protocol.md: 0.737 / 0.678, mean 0.707, over other folds; fold SD is about 0.003, case SD about 0.05.
    assert result.mean() == pytest.approx(0.707, abs=0.02)
    assert result.mean("union") == pytest.approx(0.743, abs=0.02)


@pytest.mark.parametrize(("classes", "channels"), [(1, 2), (5, 1)])
def test_other_data_sets_run_end_to_end(classes, channels, tmp_path):
    colours = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2")
    labels = tuple(Label(k + 1, f"part{k + 1}", colours[k]) for k in range(classes))
    spec = replace(PHANTOM_SPEC, labels=labels, channels=tuple(f"T{c + 1}" for c in range(channels)))
    folder = tmp_path / "Task04_Hippocampus"
    phantom.generate(folder, spec, n_subjects=6, seed=4)
    cohort = cohorts.load(Source("phantom", folder, spec))
    folds = folding.make(spec, cohort.numbers)
    result = train_or_load(RUN, cohort, folds, Workspace(tmp_path, "phantom", "smoke"), MACHINE)
    assert sorted(result.cases.label.unique()) == sorted([*spec.names, "mean", "union"])
    found = {value for path in result.predictions.iterdir() for value in np.unique(nibabel.load(path).dataobj).tolist()}
    assert found <= set(range(classes + 1))
    assert set(result.history[-1]["dice"]) == {*spec.names, "mean"}


@pytest.mark.parametrize(
    ("run", "shown"),
    [(RunSpec("unet2d", seed=2), True), (RunSpec("unet2d-fusion", "nnunet"), True), (RunSpec(FLAGSHIP, fold=3), True),
     (RunSpec(FLAGSHIP, fold=3, schedule="e8"), False), (RunSpec("unet2d", schedule="S"), False),
     (RunSpec("unet2d", fold=1), False), (RunSpec("unet2d", "dev"), False),
     (RunSpec("unet2d-fusion", seed=1), False), (RunSpec("unet3d+flip"), False)],
)  # fmt: skip
def test_the_series_shows_masks_of_its_main_runs_only(run, shown):
    assert runs._shows_masks(run) is shown


def test_series_is_declared_once_and_found_where_committed(small, first, tmp_path, monkeypatch):
    runs_of_03 = plan.declared("03")
    assert len(runs_of_03) > 80
    trained = [member for run in runs_of_03 for member in (members_of(run) or [run])]
    assert all(run.schedule in MODELS[run.model].schedules for run in trained if run.definition.trains)
    full = Workspace(tmp_path, "phantom", "full")
    assert plan.committed(full, "03", PHANTOM_SPEC) == []
    monkeypatch.setitem(plan.SERIES, "03", (RUN,))
    train_or_load(RUN, small.cohort, small.folds, full, MACHINE)
    standard = Workspace(tmp_path, "phantom", "standard")
    assert [one.mean() for one in plan.committed(standard, "03", PHANTOM_SPEC)] == [first[1].mean()]
    assert not (full.artifacts / "predictions" / RUN.name).exists()
    monkeypatch.setattr(runs, "_shows_masks", lambda _: True)
    train_or_load(RUN, small.cohort, small.folds, full, MACHINE)
    assert (full.artifacts / "predictions" / RUN.name).is_dir()
    assert [one.mean() for one in plan.committed(standard, "03", PHANTOM_SPEC)] == [first[1].mean()]
    results = table.write_results(full, table.find_runs(full), PHANTOM_SPEC)
    assert set(results["run"]) == {RUN.name} and (full.artifacts / "results.csv").is_file()
    monkeypatch.setitem(NUMERICS, "unet", NUMERICS["unet"] + 1)
    assert plan.committed(standard, "03", PHANTOM_SPEC) == []
