"""Ensembles: their members are trained once, their prediction is the mean, their cost the sum."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch

from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import MODELS, RunSpec, members_of, numerics_of
from hipposeg.experiments.run import folder_of, machine_for, train
from hipposeg.experiments.weights import initial
from hipposeg.inference import evaluator
from hipposeg.results import load
from hipposeg.workspace import Workspace

RUN = RunSpec("unet2d-fusion", schedule="smoke", hardware="fp32")
MACHINE = machine_for(RUN)


@pytest.fixture(scope="module")
def made(phantom_people, tmp_path_factory):
    people = phantom_people(5)
    ws = Workspace(tmp_path_factory.mktemp("fused"), "phantom", "smoke")
    return people.cohort, people.folds, ws, train(RUN, people.cohort, people.folds, ws)


def probabilities(member, case, made, **changes):
    """What a member's stored weights give for a case."""
    cohort, _, ws, _ = made
    network = initial(member, cohort.spec)
    network.load_state_dict(safetensors.torch.load((folder_of(member, ws) / runs.WEIGHTS).read_bytes()))
    prep = replace(member.definition.prep, **changes)
    return evaluator(network.eval(), prep, MACHINE)(case.image, case.spacing)


def test_the_prediction_is_the_mean_of_the_members_probabilities(made):
    cohort, _, _, result = made
    number, mask = next(iter(result.masks.items()))
    total = sum(probabilities(member, cohort.cases[number], made) / 3 for member in members_of(RUN))
    assert np.array_equal(mask, total.argmax(0))


def test_costs_are_sums_over_the_members(made):
    _, _, ws, result = made
    members = [load.get(ws, member.name).config for member in members_of(RUN)]
    for name in ("params", "gflops", "steps", "samples", "train_s"):
        assert result.config[name] == pytest.approx(sum(member[name] for member in members), abs=2e-3), name
    assert list(result.config["config"]["members"]) == list(MODELS[RUN.model].members) and result.history == []
    assert numerics_of(MODELS[RUN.model]) == numerics_of(MODELS["unet2d"]), "named once"


def test_members_are_trained_once_and_again_if_only_their_weights_are_gone(made, monkeypatch):
    cohort, folds, ws, _ = made
    trained, order = runs.trained, []
    monkeypatch.setattr(runs, "trained", lambda run, *rest: order.append(run.model) or trained(run, *rest))
    (folder_of(RUN, ws) / runs.STATE).unlink()
    train(RUN, cohort, folds, ws)
    assert order == ["unet2d-fusion"]
    (folder_of(RUN, ws) / runs.STATE).unlink()
    (folder_of(members_of(RUN)[0], ws) / runs.WEIGHTS).unlink()
    train(RUN, cohort, folds, ws)
    assert order[1:] == ["unet2d", "unet2d-fusion"]


def test_an_ensemble_with_test_time_augmentation_applies_it_to_every_member(made):
    cohort, folds, ws, _ = made
    run = replace(RUN, model="unet2d+views")
    number, mask = next(iter(train(run, cohort, folds, ws).masks.items()))
    expected = probabilities(members_of(run)[0], cohort.cases[number], made, views=True)
    assert np.array_equal(mask, expected.argmax(0))
