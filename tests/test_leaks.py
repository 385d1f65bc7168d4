"""Deliberate leaks: folds that differ in the leak alone, slices that are held back, and the effect of a leak."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data.leak_folds import scored_part
from hipposeg.data.locate import case_numbers, locate
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments import RunSpec
from hipposeg.experiments.plan import LEAKS, SEEDS, declared
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.run import train
from hipposeg.experiments.samples import make_samples, training_slices
from hipposeg.experiments.spec import run_key
from hipposeg.files import read_json, write_json
from hipposeg.results import store
from hipposeg.results.compare import VERDICTS
from hipposeg.results.scoring import score_all
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.studies import leaks

MACHINE = Machine("cpu", "fp32", 1)
LABELS = ("anterior", "posterior", "union", "mean")
SLICES = MODELS["unet2d"].prep
SYNTHETIC = [*range(1, 181), *range(202, 361, 2)]


@pytest.fixture(params=["synthetic", "msd"])
def made(request):
    """Folds of 90 people with two volumes and 80 with one."""
    if request.param == "synthetic":
        return folding.make(MSD_HIPPOCAMPUS, SYNTHETIC)
    return folding.make(MSD_HIPPOCAMPUS, case_numbers(request.getfixturevalue("msd_dir"), MSD_HIPPOCAMPUS))


def people(cases):
    return {(case + 1) // 2 for case in cases}


def sibling(case):
    return case + 1 if case % 2 else case - 1


@pytest.fixture(scope="module")
def small(phantom_people):
    return phantom_people(8)


def test_leaking_fold_and_clean_twin_differ_in_the_leak_alone(made):
    four = made["leak-volumes"]
    assert len(four) == 4
    for leak, clean in (four[:2], four[2:]):
        assert leak["scored"] == clean["scored"] and len(leak["scored"]) == len(people(leak["scored"])) == 45
        for fold in (leak, clean):
            assert len(set(fold["train"])) == len(fold["train"]) == 170 and len(people(fold["train"])) == 125
            assert not set(fold["train"]) & set(fold["scored"])
        assert not people(clean["train"]) & people(clean["scored"])
        shared = set(leak["train"]) & set(clean["train"])
        assert len(shared) == 125 and not people(shared) & people(leak["scored"])
        # What is not shared: the siblings of all scored volumes, and single people.
        assert set(leak["train"]) - shared == {sibling(case) for case in leak["scored"]}
        assert len(people(set(clean["train"]) - shared)) == 45


def test_the_second_pair_of_folds_swaps_the_sides(made):
    first, second = made["leak-volumes"][0], made["leak-volumes"][2]
    assert second["scored"] == sorted(sibling(case) for case in first["scored"])
    assert abs(sum(case % 2 for case in first["scored"]) - 22.5) == 0.5, "odd and even case numbers take turns"
    assert made["leak-volumes"][1]["train"] == made["leak-volumes"][3]["train"]


def test_leaking_slices_stand_beside_as_many_volumes_of_as_many_people(made):
    leak, clean = made["leak-slices"]
    assert leak["scored"] == clean["scored"] == made["leak-volumes"][0]["scored"]
    assert leak["held"] == clean["held"] == [1, 2, 5]
    assert leak["added"] == leak["scored"] and not people(clean["train"]) & people(clean["scored"])
    assert len(leak["train"]) == len(clean["train"]) == 170
    assert len(people(leak["train"])) == len(people(clean["train"])) == 125
    assert set(leak["train"]) - set(leak["added"]) == set(clean["train"]) - set(clean["added"])
    assert not people(set(leak["train"]) - set(leak["added"])) & people(leak["scored"]), "no sibling leaks beside"


def test_a_cohort_without_pairs_has_no_such_folds():
    alone = replace(MSD_HIPPOCAMPUS, subject=int)
    made = folding.make(alone, range(1, 20))
    assert made["leak-volumes"] == made["leak-slices"] == []


def test_an_older_file_gets_the_new_kinds_and_keeps_its_bytes(small, tmp_path):
    path = tmp_path / "folds.json"
    folding.read_or_write(path, small.cohort)
    whole, text = read_json(path), path.read_text()
    write_json(path, {key: value for key, value in whole.items() if not key.startswith("leak")})
    assert folding.read_or_write(path, small.cohort) == small.folds
    assert path.read_text() == text
    write_json(path, whole | {"leak-slices": []})
    with pytest.raises(ValueError, match="found other leak-slices"):
        folding.read_or_write(path, small.cohort)


# The torchvision that belongs to a torch; it is a part of the key of runs that used it for augmentation.
TORCHVISION = {"2.11": "0.26.0", "2.15": "0.29.2"}


def test_committed_runs_keep_their_keys(msd_dir, monkeypatch):
    cohort = cohorts.load(locate("full"))
    made = folding.make(cohort.spec, cohort.numbers)
    table = store.read_runs(Workspace(project_root(), "msd"))
    assert len(table) >= 300
    for row in table.itertuples():
        vision = TORCHVISION[row.torch[:4]]
        monkeypatch.setattr("hipposeg.experiments.spec.metadata.version", lambda package, found=vision: found)
        run = RunSpec(row.model, row.folds, row.fold, row.seed, row.schedule)
        run = replace(run, hardware=row.run[len(run.name) + 1 :])
        assert run_key(run, cohort.sha256, made[run.folds][run.fold]) == row.key, run.name


def numbered(cohort):
    """Images whose every voxel says which case and which slice across axis 1 it is of; labels likewise, below 256."""
    images, cases = {}, {}
    for number, case in cohort.cases.items():
        along = np.arange(case.label.shape[1], dtype=np.uint8)[None, :, None]
        label = np.broadcast_to(along, case.label.shape).copy()
        images[number] = case.image
        cases[number] = replace(case, label=label)
    return images, replace(cohort, cases=cases)


def test_held_slices_never_train_and_both_sides_have_as_many(small):
    images, cohort = numbered(small.cohort)
    leak, clean = small.folds["leak-slices"]
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
    depths = {n: small.cohort.cases[n].label.shape[1] for n in counts}
    assert all(0.6 < counts[n] / depths[n] <= 1 for n in counts)
    assert all(len(set(chosen.tolist())) == len(chosen) for chosen in training_slices(cohort, SLICES, clean).values())


@pytest.mark.parametrize("prep", [MODELS["unet3d"].prep, MODELS["unet2d-axis0"].prep])
def test_networks_on_other_samples_are_refused(small, prep):
    with pytest.raises(ValueError, match="holds slices across axis 1 back"):
        training_slices(small.cohort, prep, small.folds["leak-slices"][0])


def test_the_atlas_and_a_missing_fold_are_refused(small, tmp_path):
    ws = Workspace(tmp_path, "phantom", "smoke")
    with pytest.raises(ValueError, match="holds slices across axis 1 back"):
        train(RunSpec("atlas-no-image", "leak-slices", schedule="smoke"), small.cohort, small.folds, ws, MACHINE)
    with pytest.raises(ValueError, match="there is no fold 3 of `leak-slices`; it has 2"):
        train(RunSpec("unet2d", "leak-slices", 3), small.cohort, small.folds, ws, MACHINE)


def test_only_held_slices_are_scored(small):
    fold = small.folds["leak-slices"][0]
    number = fold["scored"][0]
    label = small.cohort.cases[number].label
    right = np.zeros_like(label)
    right[:, 2::5] = label[:, 2::5]  # nothing elsewhere
    (row,) = [row for row in score_all({number: right}, small.cohort, fold) if row["label"] == "union"]
    assert row["dice"] == 1 and row["volume_true"] == 5 * np.count_nonzero(label[:, 2::5])
    wrong = label.copy()
    wrong[:, 2::5] = 0  # right elsewhere
    (row,) = [row for row in score_all({number: wrong}, small.cohort, fold) if row["label"] == "union"]
    assert row["dice"] == 0
    assert scored_part(small.folds["grouped"][0]) == ((slice(None),) * 3, (1, 1, 1))


def test_labels_of_held_slices_reach_no_weight(small, tmp_path):
    run = RunSpec("unet2d", "leak-slices", 0, schedule="smoke")
    cases = dict(small.cohort.cases)
    for number in small.folds["leak-slices"][0]["scored"]:
        label = cases[number].label.copy()
        label[:, 2::5] = np.where(label > 0, 3 - label, 0)[:, 2::5][::-1]
        cases[number] = replace(cases[number], label=label)
    other = replace(small.cohort, cases=cases, sha256="permuted")
    first, second = (
        train(run, cohort, small.folds, Workspace(tmp_path / name, "phantom", "smoke"), MACHINE)
        for name, cohort in (("a", small.cohort), ("b", other))
    )
    assert first.config["weights_sha256"] == second.config["weights_sha256"]
    assert first.mean() > second.mean()


def test_three_seeds_are_planned_on_every_fold():
    runs = declared("07")
    for kind, (model, count) in LEAKS.items():
        mine = {(run.fold, run.seed) for run in runs if (run.folds, run.model) == (kind, model)}
        assert mine == {(fold, seed) for fold in range(count) for seed in SEEDS}
    assert all(run.schedule in MODELS[run.model].schedules for run in runs)


def result(fold, seed, dice):
    """A run of `leak-volumes` with one Dice for every case: odd ones on folds 0 and 1, even ones on 2 and 3."""
    cases = pd.DataFrame({"case": np.arange(1, 25, 2) + fold // 2})
    cases["subject"] = (cases["case"] + 1) // 2
    cases["dice"] = dice + 0.01 * cases["subject"]
    rows = pd.concat([cases.assign(label=label) for label in LABELS])
    same = dict.fromkeys(("schedule", "data_sha256", "device", "precision"), "same")
    return rows.assign(model="unet3d", folds="leak-volumes", fold=fold, seed=seed, steps=9, **same)


def test_the_effect_is_the_paired_difference_over_subjects_and_both_sides():
    leak, clean = {0: 0.80, 2: 0.84}, {1: 0.79, 3: 0.81}
    runs = pd.concat([result(fold, seed, dice) for fold, dice in (leak | clean).items() for seed in range(3)])
    table = pd.DataFrame(leaks.rows(runs, LABELS)).set_index("label")
    one = table.loc["mean"]
    assert one["difference"] == pytest.approx((0.01 + 0.03) / 2) and one["verdict"] == VERDICTS[0]
    assert (one["people"], one["seeds"]) == (12, 3)
    assert (one["kind"], one["model"]) == ("leak-volumes", "unet3d")
    assert one["leak"] == pytest.approx(0.82 + 0.01 * 6.5) and one["clean"] == pytest.approx(0.80 + 0.01 * 6.5)
    assert tuple(table.index) == LABELS
    assert set(leaks.COLUMNS) == set(table.reset_index().columns)
