"""Training one run: what it leaves, when it is trained again, and that no test label reaches a prediction."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import phantom
from hipposeg.data.locate import Source, locate
from hipposeg.data.spec import PHANTOM_SPEC, Label
from hipposeg.experiments import run as runs
from hipposeg.experiments import weights
from hipposeg.experiments.registry import MODELS, NUMERICS, RunSpec, needed_by, run_key
from hipposeg.experiments.run import in_tables, obtain, train
from hipposeg.models import encoders
from hipposeg.results import load, store
from hipposeg.training import loop
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace, project_root

RUN = RunSpec("unet2d", schedule="smoke", hardware="fp32")
ATLAS = RunSpec(load.ATLAS, schedule="smoke")


@pytest.fixture(scope="module")
def small(phantom_people):
    return phantom_people(6)


@pytest.fixture(scope="module")
def first(small, tmp_path_factory):
    ws = Workspace(tmp_path_factory.mktemp("first"), "phantom", "smoke")
    return ws, train(RUN, small.cohort, small.folds, ws)


@pytest.fixture
def copy(first, tmp_path):
    """A copy of the first workspace, to be changed."""
    shutil.copytree(first[0].root, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path, "phantom", "smoke")


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path, "phantom", "smoke")


def contents(ws):
    """Every file of the artifacts, runs.csv without the training time."""
    found = {
        path.relative_to(ws.artifacts).as_posix(): path.read_bytes()
        for path in ws.artifacts.rglob("*") if path.is_file()
    }  # fmt: skip
    found[store.RUNS] = store.read_runs(ws).drop(columns="train_s").to_csv()
    return found


def test_what_a_run_leaves(small, first):
    ws, result = first
    fold = small.folds["grouped"][0]
    assert result.name == "unet2d.grouped0.s0.smoke.fp32"
    assert list(result.masks) == fold["scored"] == list(result.values().index)
    for number, found in result.masks.items():
        case = small.cohort.cases[number]
        assert found.shape == case.label.shape and found.dtype == np.uint8
        # The table describes the masks: Dice by hand.
        dice = 2 * ((found == 1) & (case.label == 1)).sum() / ((found == 1).sum() + (case.label == 1).sum())
        assert result.values("anterior")[number] == pytest.approx(dice, abs=1e-6)
    assert result.config["steps"] == result.history[-1]["step"]
    assert result.config["key"] == run_key(RUN, small.cohort.sha256, fold)
    assert (result.config["precision"], result.config["threads"]) == ("fp32", 1)
    assert result.config["title"] == "2D U-Net on coronal slices"
    assert {path.relative_to(ws.artifacts).as_posix() for path in ws.artifacts.rglob("*") if path.is_file()} == {
        *(store.RUNS, store.SCORES, store.HISTORIES, store.CONFIGS), f"masks/{RUN.name}.npz"
    }  # fmt: skip


def test_a_run_in_the_cache_is_put_into_the_tables_without_training(small, first, copy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runs, "trained", lambda *_: pytest.fail("it was trained"))
        shutil.rmtree(copy.artifacts)
        train(RUN, small.cohort, small.folds, copy)
    assert contents(copy) == contents(first[0])


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


WAYS = {"lost": Path.unlink, "empty": lambda path: path.write_bytes(b""), "another bit": one_bit}


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_cache_is_named_and_the_run_is_made_again(way, small, first, copy, caplog):
    folder, before = runs.folder_of(RUN, copy), contents(first[0])
    names = {runs.SCORES, runs.MASKS, runs.STATE, runs.WEIGHTS, runs.HISTORY, "checkpoint.pt"}
    assert {path.name for path in folder.iterdir()} == names
    for name in sorted(names - {"checkpoint.pt"}):
        kept = (folder / name).read_bytes()
        WAYS[way](folder / name)
        caplog.clear()
        train(RUN, small.cohort, small.folds, copy)
        assert (folder / name).read_bytes() == kept, name
        assert contents(copy) == before, name
        assert str(folder / name) in caplog.text or (name, way) == (runs.STATE, "lost")


def test_the_weights_of_another_run_are_never_those_of_a_finished_one(small, first, copy):
    """As a member of an ensemble or a teacher is loaded: file by file right, together not what was scored."""
    folder = runs.folder_of(RUN, copy)
    assert weights.finished(RUN, small.cohort.spec, folder.parent)
    state = safetensors.torch.load((folder / runs.WEIGHTS).read_bytes())
    (folder / runs.WEIGHTS).write_bytes(safetensors.torch.save({name: 2 * value for name, value in state.items()}))
    with pytest.raises(FileNotFoundError, match="has no whole run; `hipposeg train unet2d --retrain` trains it"):
        weights.finished(RUN, small.cohort.spec, folder.parent)


def test_trained_twice_gives_the_same_bytes(small, first, ws):
    train(RUN, small.cohort, small.folds, ws)
    assert contents(ws) == contents(first[0])


def test_permuted_test_labels_change_no_prediction(small, first, ws):
    cases = dict(small.cohort.cases)
    for number in small.folds["grouped"][0]["scored"]:
        label = cases[number].label
        cases[number] = replace(cases[number], label=np.where(label > 0, 3 - label, 0)[::-1].copy())
    other = train(RUN, replace(small.cohort, cases=cases, sha256="permuted"), small.folds, ws)
    assert all(np.array_equal(other.masks[number], mask) for number, mask in first[1].masks.items())
    assert other.config["weights_sha256"] == first[1].config["weights_sha256"]
    assert other.mean() < first[1].mean(), "the labels really were others"


def test_the_tables_count_as_done_unless_retrain_is_set(small, copy, monkeypatch):
    shutil.rmtree(copy.work / "runs")
    monkeypatch.setattr(runs, "trained", lambda *_: (_ for _ in ()).throw(InterruptedError("it is trained")))
    found = obtain(RUN, small.cohort, small.folds, copy)
    assert found.name == RUN.name and found.mean() == load.get(copy, RUN.name).mean()
    with pytest.raises(InterruptedError):
        obtain(RUN, small.cohort, small.folds, copy, retrain=True)
    with pytest.raises(InterruptedError):
        train(RUN, small.cohort, small.folds, copy)


def test_outdated_runs_are_not_taken_from_the_tables(small, first, monkeypatch):
    ws, model = first[0], MODELS["unet2d"]
    assert in_tables(RUN, small.cohort, small.folds, ws).name == RUN.name
    assert in_tables(replace(RUN, seed=1), small.cohort, small.folds, ws) is None
    assert in_tables(RUN, replace(small.cohort, sha256="other"), small.folds, ws) is None
    changed = {"smoke": replace(model.schedules["smoke"], lr=1e-4)}
    monkeypatch.setitem(MODELS, "unet2d", replace(model, schedules=changed))
    assert in_tables(RUN, small.cohort, small.folds, ws) is None


def test_hardware_is_part_of_the_name_unless_it_is_bfloat16_on_a_cpu(small, ws, monkeypatch):
    kinds = {"": ("cpu", "bf16"), "fp32": ("cpu", "fp32"), "cuda": ("cuda", "bf16"), "mps.fp32": ("mps", "fp32")}
    for name, kind in kinds.items():
        machine = Machine(*kind, 8)
        monkeypatch.setattr(runs, "this_machine", lambda machine=machine: machine)
        assert runs.native(ATLAS).hardware == name
        assert runs.machine_for(runs.native(ATLAS)) == replace(machine, threads=1)
    assert runs.native(RUN) == RUN, "a run that names its hardware keeps it"
    monkeypatch.setattr(runs, "this_machine", lambda: Machine("cpu", "fp32", 8))
    here = obtain(ATLAS, small.cohort, small.folds, ws)
    assert here.name == f"{ATLAS.name}.fp32" and here.config["precision"] == "fp32"
    assert in_tables(ATLAS, small.cohort, small.folds, ws).name == here.name
    train(ATLAS, small.cohort, small.folds, ws)
    assert in_tables(ATLAS, small.cohort, small.folds, ws).name == ATLAS.name, "its own precision first"


def test_the_key_depends_on_all_that_was_decided_about_a_run(small, monkeypatch):
    fold, data, model = small.folds["grouped"][0], small.cohort.sha256, MODELS["unet2d"]
    keys = [
        run_key(RUN, data, fold), run_key(replace(RUN, seed=1), data, fold), run_key(RUN, "other", fold),
        run_key(RUN, data, small.folds["grouped"][1]), run_key(replace(RUN, hardware=""), data, fold),
    ]  # fmt: skip
    changes = (
        lambda patch: patch.setitem(
            MODELS, "unet2d", replace(model, schedules={"smoke": replace(model.schedules["smoke"], lr=1e-4)})
        ),
        lambda patch: patch.setitem(MODELS, "unet2d", replace(model, prep=replace(model.prep, neighbours=2))),
        lambda patch: patch.setitem(NUMERICS, "unet", NUMERICS["unet"] + 1),
        lambda patch: patch.setattr(loop, "NUMERICS", loop.NUMERICS + 1),
    )
    for change in changes:
        with monkeypatch.context() as patch:
            change(patch)
            keys.append(run_key(RUN, data, fold))
    assert len(set(keys)) == 9 and run_key(RUN, data, fold) == keys[0]


def test_published_weights_are_part_of_the_key_and_needed_for_it(small, monkeypatch, tmp_path):
    run, fold = RunSpec("unet2d-mobilenetv3+imagenet", schedule="smoke"), small.folds["grouped"][0]
    monkeypatch.setattr(encoders, "imagenet_weights", lambda encoder: None)
    with pytest.raises(FileNotFoundError, match="no ImageNet weights of tu-tf_mobilenetv3"):
        run_key(run, "d", fold)
    weights = tmp_path / "model.safetensors"
    monkeypatch.setattr(encoders, "imagenet_weights", lambda encoder: weights)
    keys = set()
    for content in (b"one", b"another"):
        weights.write_bytes(content)
        keys.add(run_key(run, "d", fold))
    assert len(keys) == 2


def test_the_key_of_an_ensemble_or_a_student_follows_what_it_needs(small, monkeypatch):
    fold = small.folds["grouped"][0]
    fusion, student = RunSpec("unet2d-fusion", schedule="smoke"), RunSpec("clip2d-guided", seed=1)
    assert needed_by(fusion) == [RunSpec(name, schedule="smoke") for name in MODELS[fusion.model].members]
    assert needed_by(student) == [RunSpec("hippoclip", seed=1)] and needed_by(RUN) == []
    before = {run: run_key(run, "d", fold) for run in (fusion, student)}
    monkeypatch.setitem(MODELS, "unet2d-axis2", MODELS["unet2d-batchnorm"])
    teacher = MODELS["hippoclip"]
    changed = {"standard": replace(teacher.schedules["standard"], lr=1e-4)}
    monkeypatch.setitem(MODELS, "hippoclip", replace(teacher, schedules=changed))
    assert all(run_key(run, "d", fold) != key for run, key in before.items())


def test_unknown_names_are_answered_with_the_known_ones(small, ws):
    for wrong, error, match in (
        (RunSpec("unet4d"), KeyError, "choose one of atlas-no-image, unet2d"),
        (RunSpec("unet2d", schedule="huge"), KeyError, "choose one of standard, smoke"),
        (RunSpec("unet2d", fold=5), ValueError, "no fold 5 of `grouped`; it has 5"),
    ):
        with pytest.raises(error, match=match):
            train(wrong, small.cohort, small.folds, ws)
    assert load.load(ws).empty


def test_the_atlas_ignores_the_image(small, tmp_path):
    blank = {n: replace(case, image=np.zeros_like(case.image)) for n, case in small.cohort.cases.items()}
    plain, blind = (
        train(ATLAS, cohort, small.folds, Workspace(tmp_path / name, "phantom", "smoke"))
        for name, cohort in (("plain", small.cohort), ("blind", replace(small.cohort, cases=blank)))
    )
    assert blind.values().equals(plain.values()) and 0.4 < plain.mean() < 0.9


def test_the_atlas_of_the_real_data_scores_as_stored(msd_dir, tmp_path):
    source = locate("standard")
    if source.dataset != "msd":
        pytest.skip("HIPPOSEG_DATA does not name the real data set")
    cohort, run = cohorts.load(source), RunSpec(load.ATLAS)
    found = train(run, cohort, folding.make(cohort.spec, cohort.numbers), Workspace(tmp_path, "msd", "standard"))
    stored = load.get(Workspace(project_root(), "msd", "standard"), run.name)
    assert found.config["key"] == stored.config["key"]
    columns = [*store.SCORE_COLUMNS[:2], *store.SCORE_COLUMNS[3:]]
    assert np.array_equal(found.rows[columns].to_numpy(float), stored.rows[columns].to_numpy(float))


@pytest.mark.parametrize(("classes", "channels"), [(1, 2), (5, 1)])
def test_other_data_sets_run_end_to_end(classes, channels, ws):
    labels = tuple(Label(k + 1, f"part{k + 1}", "#0072B2") for k in range(classes))
    spec = replace(PHANTOM_SPEC, labels=labels, channels=tuple(f"T{c + 1}" for c in range(channels)))
    folder = ws.root / "Task04_Hippocampus"
    phantom.generate(folder, spec, n_subjects=6, seed=4)
    cohort = cohorts.load(Source("phantom", folder, spec))
    result = train(RUN, cohort, folding.make(spec, cohort.numbers), ws)
    assert set(result.rows["label"]) == {*spec.names, "mean", "union"}
    assert {value for mask in result.masks.values() for value in np.unique(mask)} <= set(range(classes + 1))
    assert {name for name in result.history[-1] if name.startswith("dice")} == {
        f"dice_{name}" for name in (*spec.names, "mean")
    }
