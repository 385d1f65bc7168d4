"""Models that average others: their members are trained once, their mean is the mean, their cost the sum."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import safetensors.torch

from hipposeg import files
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import phantom
from hipposeg.data.locate import Source
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec, train_or_load
from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.spec import members_of, numerics_of, run_key
from hipposeg.experiments.weights import initial
from hipposeg.inference import asker
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace

MACHINE = Machine("cpu", "fp32", 1)
RUN = RunSpec("unet2d-fusion", schedule="smoke")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Task04_Hippocampus"
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=5, seed=3)
    cohort = cohorts.load(Source("phantom", folder, PHANTOM_SPEC))
    folds = folding.make(cohort.spec, cohort.numbers)
    ws = Workspace(tmp_path_factory.mktemp("fused"), "phantom", "smoke")
    return cohort, folds, ws, train_or_load(RUN, cohort, folds, ws, MACHINE)


def test_the_mean_of_the_members_probabilities(made):
    cohort, folds, ws, result = made
    case = cohort.cases[folds["grouped"][0]["scored"][0]]
    total = 0
    for member in members_of(RUN):
        network = initial(member, cohort.spec)
        stored = (ws.work / "runs" / member.name / "weights.safetensors").read_bytes()
        network.load_state_dict(safetensors.torch.load(stored))
        total = total + asker(network.eval(), member.definition.prep, MACHINE)(case.image, case.spacing) / 3
    written = nibabel.load(result.predictions / cohort.spec.file_name(case.number))
    assert np.array_equal(np.asarray(written.dataobj), total.argmax(0))


def test_costs_are_sums_over_the_members(made):
    _, _, ws, result = made
    members = [files.read_json(ws.artifacts / "runs" / member.name / "config.json") for member in members_of(RUN)]
    for name in ("params", "gflops", "steps", "samples"):
        assert result.config[name] == pytest.approx(sum(member[name] for member in members), abs=2e-3), name
    times = [files.read_json(ws.work / "runs" / m.name / "provenance.json")["train_s"] for m in members_of(RUN)]
    fused = files.read_json(ws.work / "runs" / RUN.name / "provenance.json")
    assert fused["train_s"] == pytest.approx(sum(times))
    assert list(result.config["config"]["members"]) == list(MODELS[RUN.model].members) and result.history == []


def test_members_are_trained_once_and_again_if_only_their_weights_are_gone(made, tmp_path, monkeypatch):
    cohort, folds, ws, _ = made
    monkeypatch.setattr(runs, "train_network", lambda *a, **k: pytest.fail("trained again"))
    (ws.work / "runs" / RUN.name / "config.json").unlink()
    again = train_or_load(RUN, cohort, folds, ws, MACHINE)  # fused again, from weights that are there
    assert len(again.cases)
    (ws.work / "runs" / RUN.name / "config.json").unlink()
    (ws.work / "runs" / "unet2d.grouped0.s0.smoke" / "config.json").unlink()
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        train_or_load(RUN, cohort, folds, ws, MACHINE)


def test_a_fused_arm_with_views_asks_every_member_so(made):
    cohort, folds, ws, _ = made
    one = RunSpec("unet2d+views", schedule="smoke")
    result = train_or_load(one, cohort, folds, ws, MACHINE)
    case = cohort.cases[folds["grouped"][0]["scored"][0]]
    network = initial(members_of(one)[0], cohort.spec)
    stored = (ws.work / "runs" / "unet2d.grouped0.s0.smoke" / "weights.safetensors").read_bytes()
    network.load_state_dict(safetensors.torch.load(stored))
    prep = replace(MODELS["unet2d"].prep, views=True)
    expected = asker(network.eval(), prep, MACHINE)(case.image, case.spacing).argmax(0)
    written = np.asarray(nibabel.load(result.predictions / cohort.spec.file_name(case.number)).dataobj)
    assert np.array_equal(written, expected)


def test_key_and_numerics_follow_every_member(made, monkeypatch):
    cohort, folds, _, _ = made
    fold = folds["grouped"][0]
    before = run_key(RUN, cohort, fold, MACHINE)
    assert before == run_key(RUN, cohort, fold, MACHINE)
    monkeypatch.setitem(MODELS, "unet2d-axis2", MODELS["unet2d-batchnorm"])
    assert run_key(RUN, cohort, fold, MACHINE) != before
    assert numerics_of(MODELS[RUN.model]) == numerics_of(MODELS["unet2d"])
