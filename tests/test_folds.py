"""Folds: the published ones reproduced, no person on both sides, and a file that guards itself."""

from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.model_selection import KFold

from hipposeg.data import cohort, folds, phantom
from hipposeg.data.locate import Source, case_numbers
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError
from hipposeg.files import read_json, write_json

# 170 people of whom 90 have two volumes, as in the data set; which ones does not matter to the properties below.
SYNTHETIC = [*range(1, 181), *range(202, 361, 2)]


@pytest.fixture(scope="module")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> cohort.Cohort:
    folder = tmp_path_factory.mktemp("phantom")
    phantom.generate(folder, n_subjects=10, seed=1)
    return cohort.load(Source("phantom", folder, PHANTOM_SPEC))


@pytest.fixture(params=["synthetic", "phantom", "msd"])
def numbers(request: pytest.FixtureRequest) -> list[int]:
    """Case numbers of three cohorts."""
    if request.param == "synthetic":
        return SYNTHETIC
    if request.param == "phantom":
        return request.getfixturevalue("phantom_cohort").numbers
    return case_numbers(request.getfixturevalue("msd_dir"), MSD_HIPPOCAMPUS)


def people(cases: list[int]) -> set[int]:
    return {(case + 1) // 2 for case in cases}


def test_no_person_is_on_both_sides(numbers: list[int]) -> None:
    made = folds.make(MSD_HIPPOCAMPUS, numbers)
    for fold in [*made["grouped"], *made["dev"]]:
        assert people(fold["train"]) and people(fold["scored"])
    for fold in [*made["grouped"], *made["inner"]]:
        assert not people(fold["train"]) & people(fold["scored"])


def test_each_case_is_scored_once(numbers: list[int]) -> None:
    made = folds.make(MSD_HIPPOCAMPUS, numbers)
    for kind in ("grouped", "nnunet"):
        assert sorted(case for fold in made[kind] for case in fold["scored"]) == numbers
        for fold in made[kind]:
            assert sorted(fold["train"] + fold["scored"]) == numbers
            assert fold["train"] == sorted(fold["train"]) and fold["scored"] == sorted(fold["scored"])


def test_nnunet_folds_are_those_of_scikit_learn(numbers: list[int]) -> None:
    made = folds.make(MSD_HIPPOCAMPUS, numbers)["nnunet"]
    for fold, (train, scored) in zip(made, KFold(5, shuffle=True, random_state=12345).split(numbers), strict=True):
        assert fold == {"train": [numbers[i] for i in train], "scored": [numbers[i] for i in scored]}


def test_dev_lies_inside_the_training_part_of_grouped_fold_0(numbers: list[int]) -> None:
    made = folds.make(MSD_HIPPOCAMPUS, numbers)
    dev = made["dev"][0]
    assert sorted(dev["train"] + dev["scored"]) == made["grouped"][0]["train"]
    assert dev == made["inner"][0]
    assert sorted(case for fold in made["inner"] for case in fold["scored"]) == made["grouped"][0]["train"]


@pytest.mark.parametrize("numbers", ["synthetic", "msd"], indirect=True)
def test_sizes_are_those_of_the_protocol(numbers: list[int]) -> None:
    made = folds.make(MSD_HIPPOCAMPUS, numbers)
    for fold in made["grouped"]:
        assert (len(people(fold["scored"])), len(fold["scored"]), len(fold["train"])) == (34, 52, 208)
    assert {(len(fold["train"]), len(fold["scored"])) for fold in made["nnunet"]} == {(208, 52)}
    # 72 people with two volumes and 64 with one remain; every fifth of each list is scored: 15 and 13.
    assert len(made["dev"][0]["scored"]) == 2 * 15 + 13


def test_nnunet_fold_0_of_the_real_data_begins_as_published(msd_dir: Path) -> None:
    made = folds.make(MSD_HIPPOCAMPUS, case_numbers(msd_dir, MSD_HIPPOCAMPUS))["nnunet"]
    assert made[0]["scored"][:6] == [17, 19, 33, 35, 37, 49]
    leaked = [sum(not people([case]).isdisjoint(people(fold["train"])) for case in fold["scored"]) for fold in made]
    assert leaked == [36, 33, 31, 26, 28]


def test_grouped_folds_follow_the_rule_step_by_step() -> None:
    """The protocol's sentence worked out with numpy alone."""
    import numpy as np

    generator = np.random.RandomState(12345)
    two, one = list(range(1, 91)), list(range(101, 181))
    generator.shuffle(two)
    generator.shuffle(one)
    made = folds.make(MSD_HIPPOCAMPUS, SYNTHETIC[::-1])["grouped"]
    for index, fold in enumerate(made):
        wanted = {p for i, p in enumerate(two) if i % 5 == index} | {p for i, p in enumerate(one) if i % 5 == index}
        assert people(fold["scored"]) == wanted


def test_too_few_people_are_refused() -> None:
    with pytest.raises(DataError, match="found 4 people in 8 cases, expected at least 5"):
        folds.make(MSD_HIPPOCAMPUS, range(1, 9))


def test_the_file_is_written_once_and_guarded(phantom_cohort: cohort.Cohort, tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "folds.json"
    made = folds.read_or_write(path, phantom_cohort)
    content = path.read_bytes()
    assert set(made) == {"grouped", "nnunet", "dev", "inner", "leak-volumes", "leak-slices"}
    assert folds.read_or_write(path, phantom_cohort) == made and path.read_bytes() == content
    written = read_json(path)
    assert written["n_cases"] == 15 and written["n_people"] == 10 and "(case + 1) // 2" in written["subject_rule"]
    moved = written["grouped"][2]["train"].pop()
    written["grouped"][2]["scored"].append(moved)
    write_json(path, written)
    with pytest.raises(DataError, match=r"folds\.json: found other grouped than .*15 cases of 10 people.*delete"):
        folds.read_or_write(path, phantom_cohort)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        folds.read_or_write(path, phantom_cohort)


def test_another_subject_rule_gives_other_folds(phantom_cohort: cohort.Cohort, tmp_path: Path) -> None:
    folds.read_or_write(tmp_path / "folds.json", phantom_cohort)
    alone = replace(PHANTOM_SPEC, subject=int, subject_rule="every case is a person")
    with pytest.raises(DataError, match="subject_rule"):
        folds.read_or_write(tmp_path / "folds.json", replace(phantom_cohort, spec=alone))


def test_the_hash_tells_folds_apart() -> None:
    made = folds.make(MSD_HIPPOCAMPUS, SYNTHETIC)
    hashes = [folds.folds_sha256(fold) for kind in made.values() for fold in kind]
    assert len(set(hashes)) == len(hashes) - 1 == 21, "`dev` is the first of `inner`; no two others are alike"
    assert folds.folds_sha256(made["dev"][0]) == folds.folds_sha256(dict(reversed(made["dev"][0].items())))
