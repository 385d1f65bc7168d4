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
from hipposeg.models import atlas
from hipposeg.runs.arms import ARMS
from hipposeg.runs.samples import make_samples
from hipposeg.runs.spec import numerics_of

GOLDEN = Path(__file__).with_name("golden.json")
FAMILIES = {arm.family: arm for arm in reversed(ARMS.values()) if arm.build and not arm.name.endswith("+imagenet")}
MACHINE = Machine("cpu", "fp32", 1)


def phantom_cohort(folder: Path) -> cohorts.Cohort:
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=2, seed=1)
    return cohorts.load(Source("phantom", folder, PHANTOM_SPEC))


def trajectory(family: str, cohort: cohorts.Cohort, **changes: float) -> dict[str, float | str]:
    """Loss at each of three steps at full learning rate, and how far the weights and their average have moved."""
    arm = FAMILIES[family]
    images = {number: case.image for number, case in cohort.cases.items()}
    samples = make_samples(images, cohort, replace(arm.prep, n4=False), cohort.numbers)
    batch = Samples(samples.images[8:32:2], samples.labels[8:32:2])
    config = replace(arm.recipe("standard"), epochs=6, batch=12, warmup=0.5, **changes)
    torch.manual_seed(0)
    model = arm.build(arm.prep.channels(1), cohort.spec.n_classes)
    first = [value.detach().clone() for value in model.parameters()]
    training = Training(model, config, MACHINE, seed=0)
    with tqdm(disable=True) as bar:
        # Epochs 3 to 5 of 6 stand at the top of the one-cycle schedule.
        losses = [training.epoch(batch, number, bar)["loss"] for number in (3, 4, 5)]
    found = {"numerics": numerics_of(arm), **{f"loss{i + 1}": value for i, value in enumerate(losses)}}
    for name, network in {"moved": model, "average_moved": training.average.module}.items():
        moved = zip(network.parameters(), first, strict=True)
        found[name] = sum((now.double() - before.double()).abs().sum().item() for now, before in moved)
    with torch.inference_mode():
        found["output"] = training.averaged(batch)(batch.images).double().abs().mean().item()
    return found


def atlas_values(cohort: cohorts.Cohort) -> dict[str, float | str]:
    """Share of each class in the mean label map, and in its stretching to another box."""
    arm = ARMS["atlas-no-image"]
    mean = atlas.mean_map((case.label for case in cohort.cases.values()), cohort.spec.n_classes, arm.prep.size)
    shares = {f"class{k}": mean[k].double().mean().item() for k in range(len(mean))}
    return {"numerics": numerics_of(arm), **shares, "voxels": float((atlas.from_box(mean, (33, 52, 38)) > 0).sum())}


def near(golden: float) -> object:
    """Loose enough for another processor's kernels, tighter than a change of recipe or arithmetic."""
    return pytest.approx(golden, rel=3e-3)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return phantom_cohort(tmp_path_factory.mktemp("golden") / "Task04_Hippocampus")


@pytest.mark.parametrize("family", [*FAMILIES, "atlas"])
def test_trajectory(family, cohort):
    golden = read_json(GOLDEN)[family]
    found = atlas_values(cohort) if family == "atlas" else trajectory(family, cohort)
    assert found.pop("numerics") == golden.pop("numerics"), "NUMERICS was raised: run `python tests/test_golden.py`"
    assert found.keys() == golden.keys()
    for name, value in found.items():
        assert value == near(golden[name]), f"{name} changed and NUMERICS was not raised"


@pytest.mark.parametrize(
    ("changes", "seen_in"),
    [({"lr": 3.2e-3}, "moved"), ({"average": 0.98}, "average_moved"), ({"foreground_weight": 2.5}, "loss1")],
)
def test_a_small_change_would_be_noticed(changes, seen_in, cohort):
    assert trajectory("unet", cohort, **changes)[seen_in] != near(read_json(GOLDEN)["unet"][seen_in])


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        people = phantom_cohort(Path(scratch) / "Task04_Hippocampus")
        golden = {family: trajectory(family, people) for family in FAMILIES}
        write_json(GOLDEN, golden | {"atlas": atlas_values(people)})
    sys.stdout.write(GOLDEN.read_text())
