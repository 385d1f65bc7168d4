"""Folds: the published ones reproduced, no subject on both sides, deliberate leaks, and a file that guards itself."""

from dataclasses import replace

import pytest
from sklearn.model_selection import KFold

from hipposeg.data import folds
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError, Entry
from hipposeg.files import read_json, write_json
from hipposeg.workspace import project_root

# Scored cases of the folds that nnU-Net made of the data set's 260 volumes, of 170 subjects.
NNUNET = read_json(project_root() / "tests" / "nnunet_folds.json")["folds"]


@pytest.fixture(scope="module")
def phantom(phantom_people):
    return phantom_people(10).cohort


@pytest.fixture(scope="module")
def numbers():
    return sorted(case for fold in NNUNET for case in fold)


@pytest.fixture(scope="module")
def made(numbers):
    return folds.make(MSD_HIPPOCAMPUS, numbers)


def people(cases):
    return {(case + 1) // 2 for case in cases}


def sibling(case):
    return case + 1 if case % 2 else case - 1


def test_each_case_is_scored_once_and_no_subject_is_on_both_sides(numbers, made):
    for kind in ("grouped", "nnunet"):
        assert sorted(case for fold in made[kind] for case in fold["scored"]) == numbers
        for fold in made[kind]:
            assert sorted(fold["train"] + fold["scored"]) == numbers
    for fold in [*made["grouped"], *made["inner"]]:
        assert not people(fold["train"]) & people(fold["scored"])
    for fold in made["grouped"]:
        assert (len(people(fold["scored"])), len(fold["scored"])) == (34, 52)


def test_nnunet_folds_are_those_of_scikit_learn_and_of_nnunet_and_leak(numbers, made):
    for fold, (train, scored) in zip(
        made["nnunet"], KFold(5, shuffle=True, random_state=12345).split(numbers), strict=True
    ):
        assert fold == {"train": [numbers[i] for i in train], "scored": [numbers[i] for i in scored]}
    assert [fold["scored"] for fold in made["nnunet"]] == NNUNET
    leaked = [sum(not people([n]).isdisjoint(people(fold["train"])) for n in fold["scored"]) for fold in made["nnunet"]]
    assert leaked == [36, 33, 31, 26, 28]


def test_inner_folds_divide_the_training_part_of_grouped_fold_0(made):
    assert made["dev"] == made["inner"][:1]
    for fold in made["inner"]:
        assert sorted(fold["train"] + fold["scored"]) == made["grouped"][0]["train"]
    assert sorted(case for fold in made["inner"] for case in fold["scored"]) == made["grouped"][0]["train"]


def test_a_leaking_fold_and_its_control_differ_in_the_leak_alone(made):
    four = made["leak-volumes"]
    for leak, clean in (four[:2], four[2:]):
        assert leak["scored"] == clean["scored"] and len(leak["scored"]) == len(people(leak["scored"])) == 45
        for fold in (leak, clean):
            assert len(set(fold["train"])) == len(fold["train"]) == 170 and len(people(fold["train"])) == 125
            assert not set(fold["train"]) & set(fold["scored"])
        assert not people(clean["train"]) & people(clean["scored"])
        shared = set(leak["train"]) & set(clean["train"])
        assert len(shared) == 125 and not people(shared) & people(leak["scored"])
        assert set(leak["train"]) - shared == {sibling(case) for case in leak["scored"]}
        assert len(people(set(clean["train"]) - shared)) == 45
    assert four[2]["scored"] == sorted(sibling(case) for case in four[0]["scored"]), "the second pair swaps the volumes"
    assert abs(sum(case % 2 for case in four[0]["scored"]) - 22.5) == 0.5, "odd and even case numbers alternate"
    assert four[1]["train"] == four[3]["train"]


def test_leaking_slices_have_a_control_with_as_many_volumes_of_as_many_subjects(made):
    leak, clean = made["leak-slices"]
    assert leak["scored"] == clean["scored"] == made["leak-volumes"][0]["scored"]
    assert leak["held"] == clean["held"] == [1, 2, 5]
    assert leak["added"] == leak["scored"] and not people(clean["train"]) & people(clean["scored"])
    assert len(leak["train"]) == len(clean["train"]) == 170
    assert len(people(leak["train"])) == len(people(clean["train"])) == 125
    assert set(leak["train"]) - set(leak["added"]) == set(clean["train"]) - set(clean["added"])
    assert not people(set(leak["train"]) - set(leak["added"])) & people(leak["scored"]), "no sibling leaks beside"


def test_without_pairs_there_are_no_leaks_and_with_too_few_subjects_no_folds():
    made = folds.make(replace(MSD_HIPPOCAMPUS, subject=int), range(1, 20))
    assert made["leak-volumes"] == made["leak-slices"] == []
    few = [fold["scored"] for fold in folds.make(MSD_HIPPOCAMPUS, range(1, 11))["grouped"]]
    assert sorted(few) == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    with pytest.raises(DataError, match="found 4 subjects in 8 cases, expected at least 5"):
        folds.make(MSD_HIPPOCAMPUS, range(1, 9))


def test_cases_that_a_data_set_keeps_for_testing_are_in_no_other_fold():
    entries = tuple(Entry(str(case), str(case), (), (), test=case in (2, 9)) for case in range(1, 13))
    made = folds.make(replace(MSD_HIPPOCAMPUS, subject=int, entries=entries), range(1, 13))
    others = [case for case in range(1, 13) if case not in (2, 9)]
    assert made["test"] == [{"train": others, "scored": [2, 9]}]
    assert sorted(case for fold in made["grouped"] for case in fold["scored"]) == others


def test_a_fifth_of_the_training_subjects_is_watched():
    fold = folds.with_watched({"train": list(range(1, 13)), "scored": [13]}, MSD_HIPPOCAMPUS)
    assert len(people(fold["watched"])) == 2, "of six subjects, dealt to five hands, the first hand has two"
    assert sorted(fold["train"] + fold["watched"]) == list(range(1, 13)) and fold["scored"] == [13]
    assert not people(fold["train"]) & people(fold["watched"])
    for few in ([1, 2, 3, 5], [1, 2, 3, 4, 5], [1, 3, 5]):
        fold = folds.with_watched({"train": few, "scored": []}, MSD_HIPPOCAMPUS)
        assert fold["train"] and fold["watched"], "of any three"
    for few in ([1, 2], [1, 2, 3]):  # the first hand gets the first pair and the first single volume
        with pytest.raises(DataError, match=f"found {len(people(few))} training subjects, expected at least 3"):
            folds.with_watched({"train": few, "scored": []}, MSD_HIPPOCAMPUS)


def test_the_file_is_written_once_and_guarded(phantom, tmp_path):
    path = tmp_path / "artifacts" / "folds.json"
    made = folds.read_or_write(path, phantom)
    content = path.read_bytes()
    assert folds.read_or_write(path, phantom) == made and path.read_bytes() == content
    written = read_json(path)
    assert written["n_cases"] == 15 and written["n_people"] == 10 and "(case + 1) // 2" in written["subject_rule"]
    other = replace(PHANTOM_SPEC, subject=int, subject_rule="every case is a subject")
    with pytest.raises(DataError, match="subject_rule"):
        folds.read_or_write(path, replace(phantom, spec=other))
    written["grouped"][2]["scored"].append(written["grouped"][2]["train"].pop())
    write_json(path, written)
    with pytest.raises(DataError, match=r"folds\.json: found other grouped than .*15 cases of 10 subjects.*delete"):
        folds.read_or_write(path, phantom)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        folds.read_or_write(path, phantom)


def test_the_scored_part_of_a_volume_and_the_steps_between_its_voxels():
    everything = (slice(None),) * 3
    assert folds.scored_part({"train": [], "scored": []}) == (everything, (1, 1, 1))
    part, steps = folds.scored_part({"held": list(folds.HELD)})
    assert part == (slice(None), slice(2, None, 5), slice(None)) and steps == (1, 5, 1)
