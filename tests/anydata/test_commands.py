"""From a folder with labels to a page: one command for each layout, on tiny stand-ins."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from hipposeg.anydata import commands, fit
from hipposeg.anydata.describe import describe
from hipposeg.anydata.fit import Wishes, base, fitted
from hipposeg.cli import main
from hipposeg.data import cohort, folds
from hipposeg.data.spec import DataError
from hipposeg.experiments.registry import run_key
from hipposeg.experiments.samples import make_patches, make_samples
from hipposeg.inference import Prep
from hipposeg.results import load, store
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab import cli as lab_cli
from hipposeg_lab import standin

SIZES = {"msd": (16, 24, 16), "nnunet": (20, 18, 16), "mrihs": (40, 48, 8), "hipmri": (36, 32, 32)}
RULES = {"msd": "pairs", "nnunet": "case", "mrihs": "", "hipmri": ""}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    for layout, size in SIZES.items():
        standin.generate(layout, root / layout, 7 if layout == "mrihs" else 5, size, 1, 2 if layout == "hipmri" else 0)
    return root


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Without surface distances, which need seconds a case, and with small batches; in float32, as on any machine."""
    distances = dict.fromkeys(("nsd1", "nsd2", "hd95", "msd"), 0.5)
    monkeypatch.setattr("hipposeg.metrics.surface_scores", lambda *_: distances)
    monkeypatch.setattr(fit, "PIXELS", 2**15)
    monkeypatch.setattr("hipposeg.experiments.run.this_machine", lambda: Machine("cpu", "fp32", 1))


def trained(sets, out, layout, model, *more):
    command = ["train", "--data", str(sets / layout), "--model", model, "--out", str(out), "--schedule", "e1"]
    assert main([*command, "--patches", "4", "--subjects", RULES[layout], *more]) == 0
    return Workspace(out, f"data-{layout}", "standard")


def test_names_of_cases_are_no_formulas_in_the_table(sets, tmp_path):
    data = Path(shutil.copytree(sets / "nnunet", tmp_path / "data"))
    name = min((data / "labelsTr").iterdir()).name.removesuffix(".nii.gz")
    for path in data.glob(f"*Tr/{name}*"):
        path.rename(path.with_name(path.name.replace(name, "=1+1")))
    commands.Home.of(data, tmp_path / "out", "case")
    table = pd.read_csv(tmp_path / "out" / "cases.csv")
    assert "'=1+1" in set(table["name"]) and len(table) == 5 and table["case"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("layout", "model"), [("msd", "attention2d"), ("nnunet", "unet2d"), ("mrihs", "project-d"), ("hipmri", "project-e")]
)
def test_each_layout_goes_from_folder_to_page_by_one_command(layout, model, sets, tmp_path, capsys):
    ws = trained(sets, tmp_path, layout, model)
    (run,) = load.runs(load.load(ws), ws)
    spec = describe(sets / layout, RULES[layout]).spec
    assert run.model == model and set(run.rows["label"]) == {*spec.names, "union", "mean"}
    scored = set(run.values().index)
    made = json.loads(ws.folds.read_text())
    kind = "test" if layout == "mrihs" else "grouped"
    assert scored == set(made[kind][0]["scored"])
    seen = json.loads((ws.work / "runs" / run.name / commands.FITTED).read_text())["fold"]
    people = {side: {spec.subject(case) for case in seen[side]} for side in seen}
    assert not people["train"] & people["scored"]
    watching = model.startswith("project")
    assert ("watched" in seen) == watching
    if watching:
        assert not people["watched"] & (people["train"] | people["scored"])
        assert "dice_mean" in run.history[-1] and f"dice_{spec.names[0]}" in run.history[-1]
    page = (tmp_path / "page.html").read_text()
    assert "stand-in, synthetic" in page and page.count("data:image/png") == 2 and run.name in page
    assert pd.read_csv(tmp_path / "cases.csv")["name"].tolist() == [entry.name for entry in spec.entries]
    said = capsys.readouterr().out
    assert "stand-in, synthetic" in said and re.search(r"about \d+\.\d h on this machine", said)
    assert re.search(r"Peak memory \d+\.\d GB", said)


def test_patches_and_windows_of_a_volume_that_does_not_fit(sets, tmp_path):
    """Six classes in windows of 32 voxels; the scores follow from the stored masks."""
    ws = trained(sets, tmp_path, "hipmri", "unet3d", "--patch", "32,32,32", "--fold", "1")
    (run,) = load.runs(load.load(ws), ws)
    assert run.config["config"]["prep"]["window"] and run.config["config"]["prep"]["size"] == [32, 32, 32]
    found = cohort.load(describe(sets / "hipmri"))
    for number, mask in run.masks.items():
        label = found.cases[number].label
        assert mask.shape == label.shape
        both = (mask == 1, label == 1)
        expected = 2 * (both[0] & both[1]).sum() / (both[0].sum() + both[1].sum())
        assert run.values("body")[number] == pytest.approx(expected, abs=1e-6)


def test_evaluation_has_training_validation_and_test_and_missing_channels(sets, tmp_path):
    ws = trained(sets, tmp_path, "nnunet", "unet2d", "--channel-dropout", "0.3", "--watch", "--patches", "64")
    command = ["evaluate", "--data", str(sets / "nnunet"), "--out", str(tmp_path)]  # `case`, as training was told
    assert main(command) == 0 and main([*command, "--without", "T2"]) == 0 and main(command) == 0
    table = pd.read_csv(tmp_path / commands.EVALUATION, keep_default_na=False)
    mean = table[table["label"] == "mean"]
    assert set(mean["part"]) == {"training", "validation", "test"}
    assert not mean.duplicated(["run", "without", "part", "case"]).any(), "a repeated evaluation replaces its rows"
    test = mean[mean["part"] == "test"].set_index(["without", "case"])["dice"].astype(float)
    (run,) = load.runs(load.load(ws), ws)
    np.testing.assert_allclose(test[""].sort_index(), run.values(), atol=1e-6)
    assert not np.allclose(test["T2"].sort_index(), run.values(), atol=1e-6)
    page = (tmp_path / "page.html").read_text()
    assert "validation" in page and "T2" in page and "stated: every case is a subject of its own" in page


def test_weights_are_evaluated_on_other_data(sets, tmp_path):
    """All cases of the other set are scored, and the folds and tables of the first stay as they are."""
    ws = trained(sets, tmp_path, "nnunet", "unet2d")
    before = {path: path.read_bytes() for path in ws.artifacts.rglob("*") if path.is_file()}
    standin.generate("nnunet", tmp_path / "new" / "other", 3, SIZES["nnunet"], seed=2)
    rows = commands.evaluate(tmp_path / "new" / "other", tmp_path, "case")
    assert set(rows["part"]) == {"other data"} and sorted(rows["case"].unique()) == [1, 2, 3]
    assert {path: path.read_bytes() for path in ws.artifacts.rglob("*") if path.is_file()} == before


def test_training_starts_from_weights_of_other_subjects_only(sets, tmp_path, capsys):
    """Fold 1 trained on the subjects that fold 0 scores; a run of fold 0 itself can go on."""
    ws = trained(sets, tmp_path, "msd", "unet2d", "--fold", "1")
    (first,) = load.runs(load.load(ws), ws)
    weights = ws.work / "runs" / first.name / "weights.safetensors"
    command = ["train", "--data", str(sets / "msd"), "--model", "unet2d", "--out", str(tmp_path), "--schedule", "e1"]
    command += ["--patches", "4", "--subjects", "pairs", "--start-from", str(weights)]
    assert main([*command, "--fold", "0", "--name", "continued"]) == 1
    assert "found weights trained on 1 of the subjects that are to be scored" in capsys.readouterr().err
    assert main([*command, "--fold", "1", "--name", "continued", "--people", "2"]) == 0
    second = next(run for run in load.runs(load.load(ws), ws) if run.model == "continued")
    assert second.config["started"] == 1.0 and second.config["key"] != first.config["key"]
    elsewhere = tmp_path / "mine.safetensors"
    stored = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({name: v for name, v in stored.items() if not name.startswith("merge.0")}, elsewhere)
    capsys.readouterr()
    assert main([*command[:-1], str(elsewhere), "--name", "mine"]) == 0
    assert "comes from other data" in capsys.readouterr().out
    mine = next(run for run in load.runs(load.load(ws), ws) if run.model == "mine")
    fresh = sum(v.numel() for name, v in stored.items() if name.startswith("merge.0"))
    assert mine.config["started"] == pytest.approx(1 - fresh / sum(v.numel() for v in stored.values()), abs=1e-4)
    assert mine.config["fresh"] == sorted(name for name in stored if name.startswith("merge.0"))
    safetensors.torch.save_file({"x": stored["head.bias"]}, elsewhere)
    assert main([*command[:-1], str(elsewhere), "--name", "none"]) == 1
    assert "found weights of 0% of this network's parameters" in capsys.readouterr().err


def test_the_key_knows_what_was_chosen(sets, tmp_path):
    source = describe(sets / "msd", "pairs")
    people = cohort.load(source)
    fold = folds.make(people.spec, people.numbers)["grouped"][0]
    made = [fitted("unet3d", people, fold, wishes) for wishes in (
        Wishes(), Wishes(patch=(32, 32, 40)), Wishes(patches=7), Wishes(channel_dropout=0.5), Wishes(subjects=2),
    )]  # fmt: skip
    runs = [commands.FittedRun(model.name, schedule="e1", fitted=model) for model in made]
    assert len({run_key(run, people.sha256, fold) for run in runs}) == len(runs)
    assert made[0].prep.size == (32, 32, 32) and made[0].training("standard").patches == 200
    assert made[4].training("standard").share == pytest.approx(0.5)


def test_a_patch_fits_large_and_anisotropic_volumes(sets):
    people = cohort.load(describe(sets / "nnunet", "case"))
    fold = {"train": people.numbers, "scored": []}
    model = fitted("unet2d", people, fold, Wishes())
    assert model.prep.axis == 2 and model.prep.size == (32, 32, 1), "slices lie across the thick axis"
    assert model.prep.spacing == (1.0, 1.0, 1.5)
    large = fit._patch(np.array([[256, 256, 128], [256, 256, 144]]), 8)
    assert fit.VOXELS / 2 < np.prod(large) <= fit.VOXELS and not any(side % 8 for side in large)
    assert fit._patch(np.array([[35, 50, 36], [43, 59, 47]]), 8) == (48, 64, 48), "Task04's largest crop"
    with pytest.raises(ValueError, match="takes sides of 32 or more that 8 divides"):
        fitted("unet3d", people, fold, Wishes(patch=(32, 24, 32)))
    for name in ("atlas-no-image", "clip2d-guided", "unet2d-fusion", "nothing"):
        with pytest.raises(KeyError, match="project-e"):
            base(name)


def test_arguments_that_do_not_fit_are_refused(sets, tmp_path, capsys):
    data = ["--data", str(sets / "msd")]
    for arguments, message in (
        (["train", "unet3d", "--patch", "8,8,8"], "--patch needs --data"),
        (["train", *data], "--data takes a model"),
        (["train", *data, "--model", "unet3d", "--out", str(sets / "msd" / "out")], "in the data set"),
        (
            ["train", *data, "--model", "unet3d", "--folds", "test", "--out", str(tmp_path)],
            "there is no fold 0 of 'test'",
        ),
        (
            ["train", *data, "--model", "unet2d", "--folds", "leak-slices", "--out", str(tmp_path)],
            "folds of grouped, nnunet",
        ),
        (["evaluate", *data, "--out", str(tmp_path / "o")], "found no finished run"),
        (["evaluate", *data, "--out", str(tmp_path / "o"), "--without", "T9"], "found no channel 'T9'"),
    ):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
    assert lab_cli.main(["standin", "msd", str(sets)]) == 1
    assert "found a folder or file" in capsys.readouterr().err


def test_project_e_ends_when_every_class_is_good_enough(sets, tmp_path, monkeypatch):
    """With a rule that any network meets, two epochs become one."""
    model = base("project-e")
    easy = {name: replace(config, stop=-1.0) for name, config in model.schedules.items()}
    monkeypatch.setitem(commands.WATCHING, "project-e", replace(model, schedules=easy))
    (run,) = commands.train(sets / "hipmri", "project-e", tmp_path, schedule="smoke", wishes=Wishes(patches=4))
    assert len(run.history) == 1 and run.config["steps"] == 2
    assert store.read_runs(Workspace(tmp_path, "hipmri"))["steps"].tolist() == [2]


def test_the_same_command_gives_the_same_tables_and_trains_once(sets, tmp_path, capsys):
    tables = []
    for name in ("a", "b"):
        ws = trained(sets, tmp_path / name, "nnunet", "unet2d", "--channel-dropout", "0.5")
        tables.append((ws.artifacts / store.SCORES).read_bytes())
    assert tables[0] == tables[1]
    capsys.readouterr()
    trained(sets, tmp_path / "b", "nnunet", "unet2d", "--channel-dropout", "0.5")
    said = capsys.readouterr().out
    assert "is trained already" in said and "on this machine" not in said


def test_folders_that_are_no_set_end_in_a_sentence(tmp_path, capsys):
    assert main(["train", "--data", str(tmp_path), "--model", "unet3d"]) == 1
    assert "expected dataset.json" in capsys.readouterr().err
    with pytest.raises(DataError, match="found no such folder"):
        commands.train(Path(tmp_path / "x"), "unet3d", tmp_path)


def test_cases_of_another_spacing_are_resampled_as_at_inference(sets, tmp_path):
    """A patch that holds the whole volume is the sample that the project's own trainings take."""
    people = cohort.load(describe(sets / "nnunet", "case"))
    prep = Prep(size=(32, 40, 40), spacing=(1.0, 1.0, 1.0))
    images = {number: case.image for number, case in people.cases.items()}
    samples = make_samples(images, people, prep, [1])
    config = base("unet3d").training("standard")
    for _ in range(2):  # the second time from files
        patches = make_patches(images, people, replace(prep, window=True), [1], config, tmp_path)
        found, labels = patches.take(torch.arange(1), 0, 1, 0)
        torch.testing.assert_close(found, samples.images, atol=1e-5, rtol=0)
        assert torch.equal(labels, samples.labels) and (labels > 0).any()
    assert len(list(tmp_path.glob("*.npy"))) == 2
