"""The study of other data sets: who leaks where, differences, and the tables of traits."""

import numpy as np
import pandas as pd
import pytest

from hipposeg_lab.studies import catalogue, few, otherdata


def test_only_the_leaking_fold_trains_on_scored_patients_and_both_are_of_one_size():
    people = {patient: [2 * patient - 1, 2 * patient] for patient in range(1, 49)}
    owner = {case: patient for patient, cases in people.items() for case in cases}
    folds = {variant: otherdata.patients(people, variant) for variant in (otherdata.LEAKING, otherdata.CLEAN)}
    sizes, scored = set(), set()
    for variant, (fold, parts) in folds.items():
        of = {side: {owner[case] for case in cases} for side, cases in fold.items()}
        shared = of["train"] & of["scored"]
        assert len(shared) == (12 if variant == otherdata.LEAKING else 0)
        assert not set(fold["train"]) & set(fold["scored"]), "another week"
        assert not of["watched"] & (of["train"] | of["scored"])
        assert not {owner[case] for case in parts["new patients"]} & of["train"]
        sizes.add(len(fold["train"]))
        scored.add(tuple(fold["scored"]))
    assert len(sizes) == len(scored) == 1


def test_slices_are_divided_at_random_and_hold_hippocampus():
    labels = {case: np.zeros((4, 4, 20), np.uint8) for case in (1, 2)}
    labels[1][1, 1, 5:15] = labels[2][1, 1, 2:12] = 1
    full, kept, held = otherdata.divided(labels, 0)
    for case in labels:
        assert sorted([*kept[case], *held[case]]) == full[case].tolist() and len(kept[case]) == 8
    assert any((otherdata.divided(labels, 1)[1][case] != kept[case]).any() for case in labels)


def test_differences_are_paired_within_subjects():
    rows = [
        {"part": "a", "variant": variant, "seed": seed, "case": case, "subject": case, "label": "mean",
         "dice": 0.5 + case / 100 + (0.1 if variant == "x" else 0)}
        for variant in "xy" for seed in range(3) for case in range(1, 9)
    ]  # fmt: skip
    found = otherdata.differences(pd.DataFrame(rows), "x", "y").loc["a"]
    assert (found["low"], found["difference"], found["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert (found["subjects"], found["seeds"], found["conclusion"]) == (8, 3, "better")
    assert otherdata.means(pd.DataFrame(rows), "part", "variant")["value"].tolist() == pytest.approx([0.645, 0.545])


@pytest.mark.parametrize(("project", "least"), [("D", 17), ("E", 16)])
def test_every_trait_has_its_place(project, least):
    table = otherdata.traits(project)
    assert len(table) >= least and list(table) == ["kind", "trait", "here"]
    assert set(table["kind"]) == {"has", "data", "reports", "trap"}
    assert table.map(lambda text: len(text.strip()) > 2).all(axis=None) and not table["trait"].duplicated().any()


def test_the_study_is_listed():
    assert "otherdata" in catalogue.NAMES and len({unit.name for unit in otherdata.STUDY.units}) == 19


def test_few_labels_are_tried_from_both_starts_with_every_seed():
    names = {unit.name: unit.runs for unit in few.STUDY.units}
    assert len(names) == 1 + 2 * len(few.SEEDS) * len(few.SUBJECTS) and "few" in catalogue.NAMES
    assert {name for name, runs in names.items() if not runs} == {name for name in names if few.RANDOM in name}
    assert few.START.is_file() and ".grouped0." in few.START.name, "its scored subjects are new to the start"
