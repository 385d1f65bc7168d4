"""A golden trajectory per arm family: three fixed steps on a phantom batch.

If one of these fails after a refactoring, the refactoring changed numerics. Either undo that, or raise NUMERICS (of the
family in runs/arms.py, or of the loop in engine/train.py) and write the new values with

    python tests/test_golden.py

Runs that were made before are then marked as older, which is the purpose: changed numerics cannot hide.
"""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from tqdm import tqdm

from hipposeg.data import cohort as cohorts
from hipposeg.data import phantom
from hipposeg.data.locate import Source
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.engine.machine import Machine
from hipposeg.engine.train import Samples, Training
from hipposeg.files import read_json, write_json
from hipposeg.runs.arms import ARMS
from hipposeg.runs.samples import make_samples
from hipposeg.runs.spec import numerics_of

GOLDEN = Path(__file__).with_name("golden.json")
FAMILIES = {arm.family: arm for arm in reversed(ARMS.values()) if arm.build and not arm.name.endswith("+imagenet")}
MACHINE = Machine("cpu", "fp32", 1)


def phantom_cohort(folder: Path) -> cohorts.Cohort:
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=2, seed=1)
    return cohorts.load(Source("phantom", folder, PHANTOM_SPEC))


def trajectory(family: str, cohort: cohorts.Cohort) -> dict[str, float | str]:
    """Loss after each of three steps, and the sum of absolute averaged weights."""
    arm = FAMILIES[family]
    images = {number: case.image for number, case in cohort.cases.items()}
    samples = make_samples(images, cohort, replace(arm.prep, n4=False), cohort.numbers)
    batch = Samples(samples.images[8:32:2], samples.labels[8:32:2])
    config = replace(arm.recipe("standard"), epochs=3, batch=12)
    torch.manual_seed(0)
    model = arm.build(arm.prep.channels(1), cohort.spec.n_classes)
    training = Training(model, config, MACHINE, seed=0)
    with tqdm(disable=True) as bar:
        losses = [training.epoch(batch, number, bar)["loss"] for number in (1, 2, 3)]
    weights = sum(value.double().abs().sum().item() for value in training.average.module.parameters())
    names = {f"loss{i + 1}": value for i, value in enumerate(losses)}
    return {"numerics": numerics_of(arm), "weights": weights, **names}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return phantom_cohort(tmp_path_factory.mktemp("golden") / "Task04_Hippocampus")


@pytest.mark.parametrize("family", FAMILIES)
def test_trajectory(family, cohort):
    golden = read_json(GOLDEN)[family]
    found = trajectory(family, cohort)
    assert found["numerics"] == golden["numerics"], "NUMERICS was raised: run `python tests/test_golden.py`"
    for name in ("loss1", "loss2", "loss3", "weights"):
        # Loose enough for another processor's kernels, far tighter than any change of recipe or arithmetic.
        assert found[name] == pytest.approx(golden[name], rel=2e-3), f"{name} changed and NUMERICS was not raised"


def test_a_changed_step_would_be_noticed(cohort, monkeypatch):
    from hipposeg.engine import train

    golden = read_json(GOLDEN)["unet"]
    monkeypatch.setattr(train, "one_cycle", lambda *args: 1e-2)
    found = trajectory("unet", cohort)
    assert found["loss3"] != pytest.approx(golden["loss3"], rel=2e-3)


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        people = phantom_cohort(Path(scratch) / "Task04_Hippocampus")
        write_json(GOLDEN, {family: trajectory(family, people) for family in FAMILIES})
    sys.stdout.write(GOLDEN.read_text())
