"""A golden trajectory of the first model of each family in 2D and in 3D: three short epochs on a phantom batch.

If one of these fails after a refactoring, the refactoring changed numerics. Either undo that, or raise NUMERICS (of the
family in experiments/registry.py, or of the loop in training/loop.py) and write the new values with

    python tests/test_golden.py

Keys of the runs that were made before are then outdated.
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
from hipposeg.experiments.guidance import captioned
from hipposeg.experiments.registry import MODELS, numerics_of
from hipposeg.experiments.samples import make_samples
from hipposeg.files import read_json, write_json
from hipposeg.inference import HEAD, TRILINEAR, off_grid, probabilities
from hipposeg.models import atlas
from hipposeg.training.contrastive import Contrasting
from hipposeg.training.loop import Training
from hipposeg.training.machine import Machine

GOLDEN = Path(__file__).with_name("golden.json")
_FIRST = {
    (model.family, model.dims): model.name
    for model in reversed(MODELS.values())
    if model.build and "+" not in model.name
}
CAPTIONED = ("hippoclip", "hippoclip-attributes")
# Beside the first of each family, what else has arithmetic of its own.
NAMES = sorted({*_FIRST.values(), *CAPTIONED, "unet3d-residual", "unet3d-nnunet", "unet3d-inr-siren-xyz"})
MACHINE = Machine("cpu", "fp32", 1)


def phantom_cohort(folder: Path) -> cohorts.Cohort:
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=2, seed=1)
    return cohorts.load(Source("phantom", folder, PHANTOM_SPEC))


def trajectory(name: str, cohort: cohorts.Cohort, **changes: float | str) -> dict[str, float | str]:
    """Loss at three epochs at full learning rate, and how far the weights and their average have moved.

    One step each in 2D, two in 3D, where boxes of 1 mm are cut to their middle.
    """
    model = MODELS[name]
    prep = replace(model.prep, n4=False)
    if model.dims == 3 and prep.spacing == (1.0, 1.0, 1.0):
        prep = replace(prep, size=(24, 32, 24))
    images = {number: case.image for number, case in cohort.cases.items()}
    samples, kind = make_samples(images, cohort, prep, cohort.numbers), Training
    if name in CAPTIONED:
        samples, kind = captioned(samples, cohort, prep, cohort.numbers), Contrasting
    chosen, size = (slice(8, 32, 2), 12) if model.dims == 2 else (slice(None), 2)
    if name in CAPTIONED:
        chosen = slice(None, None, 8)  # of every subject, since a batch of one slice teaches nothing
    more = {what: getattr(samples, what)[chosen] for what in ("people", "facts") if name in CAPTIONED}
    batch = replace(samples, images=samples.images[chosen], labels=samples.labels[chosen], **more)
    config = replace(model.training("standard"), epochs=6, batch=size, warmup=0.5, **changes)
    torch.manual_seed(0)
    built = model.build(model.prep.channels(1), cohort.spec.n_classes)
    first = [value.detach().clone() for value in built.parameters()]
    training = kind(built, config, MACHINE, seed=0)
    with tqdm(disable=True) as bar:
        # Epochs 3 to 5 of 6 stand at the top of the one-cycle schedule.
        losses = [training.epoch(batch, number, bar)["loss"] for number in (3, 4, 5)]
    found = {"numerics": numerics_of(model), **{f"loss{i + 1}": value for i, value in enumerate(losses)}}
    for what, network in {"moved": built, "average_moved": training.average.module}.items():
        moved = zip(network.parameters(), first, strict=True)
        found[what] = sum((now.double() - before.double()).abs().sum().item() for now, before in moved)
    network = training.averaged(batch)
    with torch.inference_mode():
        found["output"] = network(batch.images).double().abs().mean().item()
    if name == "unet3d":  # the flagship averages eight moved copies
        image = next(iter(images.values()))
        found["views"] = probabilities(network, replace(prep, views=True), image, MACHINE)[1:].astype(float).mean()
    if model.family == "inr" and model.dims == 3:
        case = next(iter(cohort.cases.values()))
        for query in (HEAD, TRILINEAR):
            found_off = off_grid(network, prep, case.image, case.spacing, MACHINE, query)
            found[query] = found_off[1:].astype(float).mean()
    return found


def atlas_values(cohort: cohorts.Cohort) -> dict[str, float | str]:
    """Share of each class in the mean label map, and in its stretching to another box."""
    model = MODELS["atlas-no-image"]
    mean = atlas.mean_map((case.label for case in cohort.cases.values()), cohort.spec.n_classes, model.prep.size)
    shares = {f"class{k}": mean[k].double().mean().item() for k in range(len(mean))}
    return {"numerics": numerics_of(model), **shares, "voxels": float((atlas.from_box(mean, (33, 52, 38)) > 0).sum())}


def near(golden: float) -> object:
    """Loose enough for another processor's kernels, tighter than a change of configuration or arithmetic."""
    return pytest.approx(golden, rel=3e-3)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return phantom_cohort(tmp_path_factory.mktemp("golden") / "Task04_Hippocampus")


@pytest.mark.parametrize("name", [*NAMES, "atlas"])
def test_trajectory(name, cohort):
    golden = read_json(GOLDEN)[name]
    found = atlas_values(cohort) if name == "atlas" else trajectory(name, cohort)
    assert found.pop("numerics") == golden.pop("numerics"), "NUMERICS was raised: run `python tests/test_golden.py`"
    assert found.keys() == golden.keys()
    for number, value in found.items():
        assert value == near(golden[number]), f"{number} changed and NUMERICS was not raised"


@pytest.mark.parametrize(
    ("name", "changes", "seen_in"),
    [
        ("unet2d", {"average": 0.98}, "average_moved"),
        ("unet2d", {"foreground_weight": 2.5}, "loss1"),
        ("unet3d", {"muon": 0.021}, "moved"),
    ],
)
def test_a_small_change_would_be_noticed(name, changes, seen_in, cohort):
    assert trajectory(name, cohort, **changes)[seen_in] != near(read_json(GOLDEN)[name][seen_in])


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        people = phantom_cohort(Path(scratch) / "Task04_Hippocampus")
        golden = {name: trajectory(name, people) for name in NAMES}
        write_json(GOLDEN, golden | {"atlas": atlas_values(people)})
    sys.stdout.write(GOLDEN.read_text())
