"""Deliberate leaks: folds that differ in the leak alone, slices that are held back, and the effect of a leak."""

from dataclasses import replace

import numpy as np
import pytest

from hipposeg.data.folds import scored_part
from hipposeg.experiments import RunSpec
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.run import train
from hipposeg.experiments.samples import make_samples, training_slices
from hipposeg.results.store import score_all
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace

MACHINE = Machine("cpu", "fp32", 1)
SLICES = MODELS["unet2d"].prep


def numbered(cohort):
    """Images whose every voxel says which case and which slice across axis 1 it is of; labels likewise, below 256."""
    images, cases = {}, {}
    for number, case in cohort.cases.items():
        along = np.arange(case.label.shape[1], dtype=np.uint8)[None, :, None]
        label = np.broadcast_to(along, case.label.shape).copy()
        images[number] = case.image
        cases[number] = replace(case, label=label)
    return images, replace(cohort, cases=cases)


def test_held_slices_never_train_and_both_sides_have_as_many(eight):
    images, cohort = numbered(eight.cohort)
    leak, clean = eight.folds["leak-slices"]
    found = {}
    for name, fold in (("leak", leak), ("clean", clean)):
        only = training_slices(cohort, SLICES, fold)
        assert set(only) == set(fold["added"])
        found[name] = make_samples(images, cohort, SLICES, fold["train"], only)
        every = make_samples(images, cohort, SLICES, [n for n in fold["train"] if n not in only])
        added = make_samples(images, cohort, SLICES, fold["added"], only)
        assert len(found[name].images) == len(every.images) + len(added.images)
        if name == "leak":
            numbers = added.labels.amax((1, 2)) % 5  # the middle of a slice is inside the box
            assert set(numbers.tolist()) == {0, 1, 3, 4}
    assert len(found["leak"].images) == len(found["clean"].images)
    # Evenly spaced: no added volume of the clean side is left out, none gives more than it has.
    counts = {n: len(chosen) for n, chosen in training_slices(cohort, SLICES, clean).items()}
    depths = {n: eight.cohort.cases[n].label.shape[1] for n in counts}
    assert all(0.6 < counts[n] / depths[n] <= 1 for n in counts)
    assert all(len(set(chosen.tolist())) == len(chosen) for chosen in training_slices(cohort, SLICES, clean).values())


@pytest.mark.parametrize("prep", [MODELS["unet3d"].prep, MODELS["unet2d-axis0"].prep])
def test_networks_on_other_samples_are_refused(eight, prep):
    with pytest.raises(ValueError, match="holds slices across axis 1 back"):
        training_slices(eight.cohort, prep, eight.folds["leak-slices"][0])


def test_the_atlas_and_a_missing_fold_are_refused(eight, tmp_path):
    ws = Workspace(tmp_path, "phantom", "smoke")
    with pytest.raises(ValueError, match="holds slices across axis 1 back"):
        train(RunSpec("atlas-no-image", "leak-slices", schedule="smoke"), eight.cohort, eight.folds, ws, MACHINE)
    with pytest.raises(ValueError, match="there is no fold 3 of `leak-slices`; it has 2"):
        train(RunSpec("unet2d", "leak-slices", 3), eight.cohort, eight.folds, ws, MACHINE)


def test_only_held_slices_are_scored(eight):
    fold = eight.folds["leak-slices"][0]
    number = fold["scored"][0]
    label = eight.cohort.cases[number].label
    right = np.zeros_like(label)
    right[:, 2::5] = label[:, 2::5]  # nothing elsewhere
    (row,) = [row for row in score_all({number: right}, eight.cohort, fold) if row["label"] == "union"]
    assert row["dice"] == 1 and row["volume_true"] == 5 * np.count_nonzero(label[:, 2::5])
    wrong = label.copy()
    wrong[:, 2::5] = 0  # right elsewhere
    (row,) = [row for row in score_all({number: wrong}, eight.cohort, fold) if row["label"] == "union"]
    assert row["dice"] == 0
    assert scored_part(eight.folds["grouped"][0]) == ((slice(None),) * 3, (1, 1, 1))


def test_labels_of_held_slices_reach_no_weight(eight, tmp_path):
    run = RunSpec("unet2d", "leak-slices", 0, schedule="smoke")
    cases = dict(eight.cohort.cases)
    for number in eight.folds["leak-slices"][0]["scored"]:
        label = cases[number].label.copy()
        label[:, 2::5] = np.where(label > 0, 3 - label, 0)[:, 2::5][::-1]
        cases[number] = replace(cases[number], label=label)
    other = replace(eight.cohort, cases=cases, sha256="permuted")
    first, second = (
        train(run, cohort, eight.folds, Workspace(tmp_path / name, "phantom", "smoke"), MACHINE)
        for name, cohort in (("a", eight.cohort), ("b", other))
    )
    assert first.config["weights_sha256"] == second.config["weights_sha256"]
    assert first.mean() > second.mean()
