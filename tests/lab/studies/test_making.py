"""Studies of stored networks: changes and their inverse, kept tables, and a whole study on a phantom."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from serving import untrained

from hipposeg import metrics, stats
from hipposeg.data.locate import Source
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import run as running
from hipposeg.experiments.registry import MODELS, RunSpec
from hipposeg.experiments.run import folder_of, train
from hipposeg.inference import probabilities
from hipposeg.models.unet import UNet
from hipposeg.results import load
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab import cli
from hipposeg_lab.studies import catalogue, changes, making, sensitivity, uncertainty
from hipposeg_lab.studies.making import Context, Study, Unit

MACHINE = Machine("cpu", "fp32", 1)
RUN = RunSpec("unet3d+dropout", schedule="smoke")


@pytest.fixture(scope="module")
def small(phantom_people):
    return phantom_people(6)


@pytest.fixture(scope="module")
def context(small, tmp_path_factory):
    """A workspace of the phantom with one run of a model with dropout, which keeps its initial weights."""
    ws = Workspace(tmp_path_factory.mktemp("studies"), "phantom", "smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "fit", untrained)
        train(RUN, small.cohort, small.folds, ws, MACHINE)
    return Context(ws, small.cohort, small.folds, MACHINE)


@pytest.fixture
def case(small):
    return next(iter(small.cohort.cases.values()))


def one_hot(label, classes=3):
    return np.stack([label == k for k in range(classes)]).astype(np.float32)


def test_no_label_is_cut_and_every_prediction_comes_back_to_its_place(small):
    spec = small.cohort.spec
    for case in small.cohort.cases.values():
        shares = one_hot(case.label)
        for change in changes.of_box(case, spec):
            back = change.undo(change.apply(shares))
            assert back.shape == shares.shape and (back.argmax(0) == case.label).all(), change.names
            shape = change.apply(case.image).shape[1:]
            moved = np.array(shape) - case.image.shape[1:]
            assert np.count_nonzero(moved) <= 1 and abs(moved.sum()) <= change.severity
            assert moved.sum() == change.severity if change.names[0] == "padded" else moved.sum() <= 0


def test_rotated_and_mirrored_predictions_come_back(case):
    shares = one_hot(case.label)
    for change in changes.of_image(case, PHANTOM_SPEC):
        if change.names[0].startswith("mirrored"):
            turned = change.apply(shares)
            assert not np.array_equal(turned, shares) and np.array_equal(change.undo(turned), shares)
        if change.names == ("rotation",):
            back = change.undo(change.apply(shares))
            assert back.sum(0) == pytest.approx(1)
            assert metrics.dice(back.argmax(0) > 0, case.label > 0) > 0.93, "only interpolation is lost"
    names = [change.names[0] for change in changes.of_image(case, PHANTOM_SPEC)]
    assert {"mirrored axis 0", "mirrored P-A", "mirrored I-S"} <= set(names)


def test_random_changes_have_their_severity_and_repeat(case):
    found = {(c.names[0], c.severity): c.apply(case.image) for c in changes.of_image(case, PHANTOM_SPEC)}
    again = {(c.names[0], c.severity): c.apply(case.image) for c in changes.of_image(case, PHANTOM_SPEC)}
    assert all(np.array_equal(found[key], again[key]) for key in found)
    for sd in changes.NOISE:
        added = (found["noise", sd] - case.image).astype(float)
        assert added.std() / case.image.std(dtype=float) == pytest.approx(sd, rel=0.02)
    inside = case.image > np.percentile(case.image, 20)
    for sd in changes.BIAS:
        field = np.log(found["bias field", sd][inside] / case.image[inside])
        assert 0.6 * sd < field.std() < 1.2 * sd
    flat = replace(case, image=np.full_like(case.image, 7.0))
    coarse = [c.apply(flat.image) for c in changes.of_image(flat, PHANTOM_SPEC) if c.names == ("resolution",)]
    assert len(coarse) == 3 and all(np.allclose(one, 7.0) for one in coarse)
    assert found["resolution", 3.0].std() < found["resolution", 1.5].std() < case.image.std()


def test_rescaled_intensities_change_nothing(case):
    torch.manual_seed(0)
    network, prep = UNet(3, 1, 3, channels=(4, 8)).eval(), MODELS["unet3d"].prep
    plain = probabilities(network, prep, case.image, MACHINE)
    for change in changes.of_image(case, PHANTOM_SPEC):
        if change.names == ("rescaled",):
            assert np.abs(probabilities(network, prep, change.apply(case.image), MACHINE) - plain).max() < 1e-4


def test_sensitivity_averages_sides_within_a_case(small):
    spec = small.cohort.spec
    truths = {case.image.tobytes(): case for case in small.cohort.cases.values()}

    def ask(image, spacing):
        """Right for the image as it is, nothing at all for any other."""
        case = truths.get(image.tobytes())
        return one_hot(case.label) if case else one_hot(np.zeros(image.shape[1:], int))

    def made(case, spec):
        half = [lambda image: image, lambda image: image + 1]
        return [changes.Change(("both", f"side {n}"), 1.0, "mm", apply) for n, apply in enumerate(half)]

    rows = pd.DataFrame(sensitivity.summary("x", sensitivity.scores(ask, small.cohort, small.cohort.numbers, made)))
    mean = rows[rows["label"] == "mean"].set_index(["change", "severity"])
    assert mean["dice"].to_dict() == {("both", 0.0): 1, ("both", 1.0): 0.5, ("side 0", 0.0): 1, ("side 0", 1.0): 1,
                                      ("side 1", 0.0): 1, ("side 1", 1.0): 0}  # fmt: skip
    assert mean.loc[("both", 1.0), "difference"] == -0.5 and (mean["subjects"] == 6).all()
    assert set(rows["label"]) == {*spec.names, "mean"} and set(rows.columns) == set(sensitivity.COLUMNS)


def counting(calls, names=("a", "b"), runs=(), **options):
    """A study that notes which units were made."""

    def unit(name):
        def make(context):
            calls.append(name)
            return {"first": [{"run": name, "x": len(calls) / 3}], "second": [{"run": name, "y": 1}] * 2}

        return Unit(name, tuple(runs), make)

    tables = {"first": ("run", "x"), "second": ("run", "y")}
    return Study("counted", "How often?", tables, tuple(map(unit, names)), **options)


def test_a_study_is_computed_once_and_resumes(context, tmp_path):
    at = replace(context, ws=Workspace(tmp_path, "phantom", "smoke"))
    calls = []
    assert making.make(counting(calls), at) == {"a": "made", "b": "made"}
    folder = at.ws.artifacts / "studies"
    first = (folder / "first.csv").read_text()
    assert first == "run,x\na,0.333333\nb,0.666667\n"
    assert making.make(counting(calls), at) == {"a": "kept", "b": "kept"} and calls == ["a", "b"]
    assert making.make(counting(calls, "cab"), at) == {"c": "made", "a": "kept", "b": "kept"}
    assert calls == ["a", "b", "c"] and (folder / "first.csv").read_text().splitlines()[2:] == first.splitlines()[1:]
    assert making.make(counting(calls, "ab", settings={"more": 1}), at) == {"a": "made", "b": "made"}
    assert [len(pd.read_csv(folder / f"{name}.csv")) for name in ("first", "second")] == [2, 4]
    (folder / "second.csv").unlink()
    assert set(making.make(counting(calls, "ab", settings={"more": 1}), at).values()) == {"made"}
    assert making.read(at.ws, "first")["run"].tolist() == ["a", "b"]
    assert making.read(at.ws, "nothing") is None


def test_rows_are_kept_without_weights_and_deleted_when_outdated(context, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(context.ws.root, root)
    at = replace(context, ws=Workspace(root, "phantom", "smoke"))
    calls = []
    study = counting(calls, "a", runs=(RUN,))
    assert making.state_of(study, study.units[0], at) == "to make"
    assert making.make(study, at) == {"a": "made"}
    shutil.rmtree(folder_of(RUN, at.ws))
    assert making.make(study, at) == {"a": "kept"}, "a clean clone has no weights, and needs none"
    changed = replace(study, settings={"other": 1})
    (state,) = making.make(changed, at).values()
    assert "weights of unet3d+dropout.grouped0.s0.smoke not on this machine" in state and "--retrain" in state
    assert making.read(at.ws, "first") is None and calls == ["a"]
    (state,) = making.make(counting(calls, "a", runs=(RunSpec("unet3d"),)), at).values()
    assert "unet3d.grouped0.s0.standard missing" in state
    with pytest.raises(FileNotFoundError, match="weights of unet3d.grouped0.s0.standard"):
        making.network_of(at, RunSpec("unet3d"))


def test_box_and_uncertainty_of_a_network(context, monkeypatch):
    monkeypatch.setattr(changes, "BOX_VOXELS", (2,))
    unit = sensitivity.network_unit("box", "mine", RUN, lambda case, spec: changes.of_box(case, spec)[:2])
    rows = pd.DataFrame(unit.make(context)["box"])
    asked = sensitivity.scored(context, RUN)
    subjects, everyone = (
        [context.cohort.cases[n].subject for n in part] for part in (asked, context.folds["grouped"][0]["scored"])
    )
    assert len(set(subjects)) == len(subjects) and set(subjects) == set(everyone)
    assert (rows[["volumes", "subjects"]] == len(asked)).all(axis=None) and rows["change"].nunique() == 4
    unchanged = rows[(rows["severity"] == 0) & (rows["label"] == "mean")]["dice"]
    own = load.get(context.ws, RUN.name).values()[asked].mean()
    assert unchanged.to_numpy() == pytest.approx(own, abs=1e-6), "severity 0 is the run's own score"

    monkeypatch.setattr(uncertainty, "DRAWS", 2)
    monkeypatch.setattr(stats, "FEW_RESAMPLES", 100)
    made = uncertainty._unit(uncertainty.Method("drops", (RUN,), uncertainty.DROPOUT)).make(context)
    assert set(made) == set(uncertainty.TABLES)
    for table, columns in uncertainty.TABLES.items():
        assert made[table] and set(made[table][0]) <= set(columns), table
    assert {row["measure"] for row in made["detection"]} == {"entropy", "expected", "disagreement"}


def test_mirrored_members_come_back_to_the_images_grid(context):
    network, case = making.network_of(context, RUN), context.cohort.cases[context.folds["grouped"][0]["scored"][0]]
    mirror = replace(case, image=np.ascontiguousarray(case.image[:, ::-1]))
    stored, turned = uncertainty.members(context, RUN, network, uncertainty.FLIPS, case)
    other, back = uncertainty.members(context, RUN, network, uncertainty.FLIPS, mirror)
    assert np.array_equal(turned[:, ::-1], other) and np.array_equal(stored, back[:, ::-1])


def test_the_command_lists_and_refuses(context, monkeypatch, capsys):
    source = Source("phantom", context.cohort.folder, PHANTOM_SPEC)
    monkeypatch.setattr(cli.locate, "locate", lambda profile: source)
    monkeypatch.setenv("HIPPOSEG_OUT", str(context.ws.root))
    assert cli.main(["study", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in catalogue.NAMES)
    assert cli.main(["study", "boxes"]) == 1
    assert "there is no study boxes; choose among leaks, box" in capsys.readouterr().err
    assert cli.main(["study"]) == 1
    assert cli.main(["study", "leaks"]) == 1, "a unit was left out"
    assert "missing; `hipposeg train unet3d --folds leak-volumes" in capsys.readouterr().out
