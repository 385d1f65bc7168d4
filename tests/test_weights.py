"""Stored weights: half precision loses nothing that was scored, and a reload gives the stored masks."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import safetensors.torch
import torch

from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import phantom
from hipposeg.data.locate import Source, locate
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec, plan, train_or_load, weights
from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.experiments.spec import members_of
from hipposeg.models import cost
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace

MACHINE = Machine("cpu", "fp32", 1)
RUN = RunSpec(FLAGSHIP, schedule="smoke")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Task04_Hippocampus"
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=6, seed=3)
    cohort = cohorts.load(Source("phantom", folder, PHANTOM_SPEC))
    ws = Workspace(tmp_path_factory.mktemp("full"), "phantom", "full")
    train_or_load(RUN, cohort, folding.make(cohort.spec, cohort.numbers), ws, MACHINE)
    return ws, cohort


def test_reloaded_weights_give_the_stored_masks(made, monkeypatch):
    ws, cohort = made
    path = ws.artifacts / "weights" / f"{RUN.name}.safetensors"
    network = weights.initial(RUN, cohort.spec)
    # Two bytes a parameter, and a little for the names.
    assert path.stat().st_size < 2.05 * cost.parameters(network) + 20_000
    monkeypatch.setattr(weights, "this_machine", lambda: MACHINE)
    found = weights.check(ws, RUN, cohort)
    assert found.cases == found.identical > 0 and found.worst == 1.0 and found.same_machine and found.passed
    assert not replace(found, identical=found.cases - 1, worst=0.9999).passed
    assert replace(found, identical=0, worst=0.9995, same_machine=False).passed
    assert not replace(found, identical=0, worst=0.99, same_machine=False).passed


def test_a_changed_mask_is_noticed(made, monkeypatch, tmp_path):
    ws, cohort = made
    monkeypatch.setattr(weights, "this_machine", lambda: MACHINE)
    path = sorted((ws.artifacts / "predictions" / RUN.name).glob("*.nii.gz"))[0]
    before = path.read_bytes()
    image = nibabel.load(path)
    mask = np.asarray(image.dataobj).copy()
    mask[mask == 1] = 2
    nibabel.save(nibabel.Nifti1Image(mask, image.affine, dtype=np.uint8), path)
    found = weights.check(ws, RUN, cohort, [cohort.spec.case_number(path.name)])
    path.write_bytes(before)
    assert found.cases == 1 and found.identical == 0 and not found.passed


def test_missing_and_foreign_weights_say_so(made, tmp_path):
    ws, cohort = made
    with pytest.raises(FileNotFoundError, match="is not there"):
        weights.restore(tmp_path / "none.safetensors", RUN, cohort.spec, MACHINE)
    other = tmp_path / "other.safetensors"
    other.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}))
    with pytest.raises(ValueError, match="does not hold the weights of"):
        weights.restore(other, RUN, cohort.spec, MACHINE)
    other.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match="does not hold the weights of"):
        weights.restore(other, RUN, cohort.spec, MACHINE)


def test_store_halves_only_what_loses_nothing():
    exact, inexact = torch.tensor([0.5, 1.0]), torch.tensor([1 / 3])
    back = safetensors.torch.load(weights.store({"exact": exact, "inexact": inexact, "count": torch.tensor(3)}))
    assert back["exact"].dtype == torch.float16 and back["inexact"].dtype == torch.float32
    assert torch.equal(back["exact"].float(), exact) and torch.equal(back["inexact"], inexact)
    layer = torch.nn.Linear(4, 4)
    weights.halve(layer)
    assert torch.equal(layer.weight, layer.weight.half().float())


def test_full_runs_train_with_one_thread(tmp_path):
    full, standard = Workspace(tmp_path, "phantom", "full"), Workspace(tmp_path, "phantom", "standard")
    assert runs.machine_for(full).threads == 1
    assert replace(runs.machine_for(standard), threads=1) == runs.machine_for(full)


def test_flagship_covers_every_case_in_both_kinds_of_folds():
    flagship = [run for run in plan.declared("04") if run.model == FLAGSHIP and run.folds != "dev"]
    assert {(run.folds, run.fold) for run in flagship} == {(f, k) for f in ("nnunet", "grouped") for k in range(5)}
    trained = [member for run in plan.declared("04") for member in (members_of(run) or [run])]
    assert all(run.schedule in MODELS[run.model].schedules for run in trained if run.definition.trains)


@pytest.mark.parametrize(
    "run",
    [r for r in plan.declared("04") if (r.model, r.folds, r.schedule) == (FLAGSHIP, "grouped", "standard")],
    ids=lambda r: r.name,
)
def test_committed_weights_give_the_committed_masks(msd_dir, run):
    source = locate("standard")
    ws = Workspace(runs.project_root(), "msd", "full")
    if source.dataset != "msd":
        pytest.skip("HIPPOSEG_DATA does not name the real data set")
    if not (ws.artifacts / "weights" / f"{run.name}.safetensors").is_file():
        pytest.skip("this fold's weights are not committed yet")
    cohort = cohorts.load(source)
    scored = folding.make(cohort.spec, cohort.numbers)[run.folds][run.fold]["scored"]
    assert weights.check(ws, run, cohort, scored[:3]).passed
