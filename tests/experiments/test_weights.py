"""Stored weights: half precision loses nothing that was scored, and a reload gives the stored masks."""

import numpy as np
import pytest
import safetensors.torch
import torch

from hipposeg.data import cohort as cohorts
from hipposeg.data.locate import locate
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec, weights
from hipposeg.experiments import run as runs
from hipposeg.models.cost import parameters
from hipposeg.predict import card
from hipposeg.predict.ensemble import load_ensemble
from hipposeg.results import load
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace, project_root

MACHINE = Machine("cpu", "fp32", 1)
RUN = RunSpec("unet2d", schedule="smoke")
# Of the package's weights, which nothing replaces but a person.
SHA256 = {
    "unet3d-scan.grouped0.s0.standard": "9609b7d05b52b1b9403596037e64a5f2765cb876958dfa72043e1ae700dfc906",
    "unet3d-scan.grouped1.s0.standard": "4c4b0a0882904385c6dd1e2ae6eb145364fabc756e4b725354b382469c16552c",
    "unet3d-scan.grouped2.s0.standard": "a8fe4e0b122be1bcc10da01316620eb25365ec7ad92e2373c92703c1fdc7f110",
    "unet3d-scan.grouped3.s0.standard": "3706c462ec1e83f40c6e5544a371c3c46083189126fefe90c81441b2cd96bbff",
    "unet3d-scan.grouped4.s0.standard": "9b4ec1c9011cf6f1b88071243dc066057ebf114fe1a50240886b823146a828fe",
}


def test_reloaded_weights_give_the_stored_masks(phantom_people, tmp_path):
    small, ws = phantom_people(6), Workspace(tmp_path, "phantom", "smoke")
    run = runs.train(RUN, small.cohort, small.folds, ws, MACHINE)
    path = runs.folder_of(RUN, ws) / runs.WEIGHTS
    network = weights.load(path, RUN, PHANTOM_SPEC, MACHINE)
    # Two bytes a parameter, and a little for the names.
    assert path.stat().st_size < 2.05 * parameters(network) + 20_000
    predict = weights.predict_with(RUN.definition, network, MACHINE)
    assert run.masks
    for number, mask in run.masks.items():
        case = small.cohort.cases[number]
        assert np.array_equal(predict(case.image, case.spacing), mask)


def test_missing_and_foreign_weights_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="found no weights at"):
        weights.load(tmp_path / "none.safetensors", RUN, PHANTOM_SPEC, MACHINE)
    other = tmp_path / "other.safetensors"
    other.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}))
    with pytest.raises(ValueError, match="does not hold the weights of"):
        weights.load(other, RUN, PHANTOM_SPEC, MACHINE)
    other.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match="does not hold the weights of"):
        weights.load(other, RUN, PHANTOM_SPEC, MACHINE)


def test_store_halves_only_what_loses_nothing():
    exact, inexact = torch.tensor([0.5, 1.0]), torch.tensor([1 / 3])
    back = safetensors.torch.load(weights.store({"exact": exact, "inexact": inexact, "count": torch.tensor(3)}))
    assert back["exact"].dtype == torch.float16 and back["inexact"].dtype == torch.float32
    assert torch.equal(back["exact"].float(), exact) and torch.equal(back["inexact"], inexact)
    layer = torch.nn.Linear(4, 4)
    weights.halve(layer)
    assert torch.equal(layer.weight, layer.weight.half().float())


def test_the_packages_weights_give_the_stored_masks(msd_dir):
    assert card.read().runs == SHA256
    stored = Workspace(project_root(), "msd")
    cohort, found = cohorts.load(locate("standard")), load_ensemble()
    for run, network in found.networks.items():
        predict, masks = weights.predict_with(run.definition, network, found.machine), load.get(stored, run.name).masks
        for number in list(masks)[:1]:
            mask = predict(cohort.cases[number].image, cohort.cases[number].spacing)
            assert np.mean(mask == masks[number]) > 0.999, "only rounding differs between processors"
