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
    "unet3d-scan.grouped0.s0.standard": "bf504b2ac04f56c5429e2072584e657303c2063cc76946e1d71c4437db45aa71",
    "unet3d-scan.grouped1.s0.standard": "1a50da08f65b7e0b8f98b64ed15a9cd75e2a0cce6cb7fb2c27cc28be2b63ef92",
    "unet3d-scan.grouped2.s0.standard": "7d49ac92c15ad79c181fdef76c28a1d606cf45df17e351b8dde07e1fe50e4419",
    "unet3d-scan.grouped3.s0.standard": "955e21ba89c5708a47cbd2a4fa5cfae05fffac35c13811744b9866d300ea8444",
    "unet3d-scan.grouped4.s0.standard": "ca94c2df24475deda13c9f220b32e799c66ee7ff980eb3874c36bfa8d57d20a6",
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
