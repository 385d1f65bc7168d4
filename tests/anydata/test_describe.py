"""Descriptions of other data sets: what a layout says is what is read, and what is malformed is named."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from hipposeg.anydata.describe import describe
from hipposeg.anydata.subjects import NO_RULE, subjects_of
from hipposeg.data import cohort, folds, phantom
from hipposeg.data.locate import Source
from hipposeg.data.read import read_case
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError
from hipposeg_lab import standin
from hipposeg_lab.studies import malformed
from hipposeg_lab.studies.malformed import edit


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny stand-in in each layout, of five subjects; HipMRI's have two volumes each."""
    return malformed.stand_ins(tmp_path_factory.mktemp("sets"))


# Layout -> cases, subjects, classes, channels, rule.
EXPECTED = {
    "msd": (10, 5, 2, 1, "pairs"),
    "nnunet": (5, 5, 2, 2, r"pattern:sub-\d+"),
    "mrihs": (5, 5, 1, 1, ""),
    "hipmri": (10, 5, 5, 1, ""),
}


@pytest.mark.parametrize("layout", EXPECTED)
def test_each_layout_is_described_and_read(layout: str, sets: dict[str, Path]) -> None:
    n_cases, n_people, n_labels, n_channels, rule = EXPECTED[layout]
    found = cohort.load(describe(sets[layout], rule))
    assert (len(found.cases), len(found.people)) == (n_cases, n_people)
    assert (len(found.spec.labels), len(found.spec.channels)) == (n_labels, n_channels)
    assert "stand-in, synthetic" in found.spec.title and not found.warnings
    for case in found.cases.values():
        assert (
            case.image.shape == (n_channels, *malformed.SIZES[layout]) and case.label.shape == malformed.SIZES[layout]
        )
        assert np.unique(case.label).tolist() == list(range(n_labels + 1))
    if n_people < n_cases:
        made = folds.make(found.spec, found.numbers)
        for fold in made["grouped"]:
            sides = [{found.cases[number].subject for number in fold[side]} for side in ("train", "scored")]
            assert not sides[0] & sides[1]


def test_task04_is_what_it_was(tmp_path: Path, msd_dir: Path) -> None:
    """The same description, so the same hash, keys and folds."""
    found = describe(msd_dir)
    assert found.spec.subject is MSD_HIPPOCAMPUS.subject and found.spec.sha256 == MSD_HIPPOCAMPUS.sha256
    assert found.spec.labels == MSD_HIPPOCAMPUS.labels and not found.spec.entries
    phantom.generate(tmp_path / "p", PHANTOM_SPEC, n_subjects=2, seed=1)
    assert describe(tmp_path / "p").spec is PHANTOM_SPEC


def test_a_phantom_described_by_its_listing_has_the_same_content(tmp_path: Path) -> None:
    folder = tmp_path / "Task04_Hippocampus"
    phantom.generate(folder, PHANTOM_SPEC, n_subjects=6, seed=1)
    plain = cohort.load(Source("phantom", folder, PHANTOM_SPEC))
    other = cohort.load(describe(folder, "pairs"))
    assert [case.sha256 for case in other.cases.values()] == [case.sha256 for case in plain.cases.values()]
    assert [case.name for case in other.cases.values()] == [case.name for case in plain.cases.values()]
    assert [len(cases) for cases in other.people.values()] == [len(cases) for cases in plain.people.values()]


def test_other_label_values_and_file_formats(sets: dict[str, Path], tmp_path: Path) -> None:
    """Values 3 and 7 become classes 1 and 2; the same volumes as NRRD have the same voxels and affines."""
    folder = Path(shutil.copytree(sets["nnunet"], tmp_path / "nrrd"))
    plain = cohort.load(describe(sets["nnunet"], "case"))
    for path in sorted(folder.glob("*Tr/*.nii.gz")):
        image = SimpleITK.ReadImage(str(path))
        if path.parent.name == "labelsTr":
            voxels = SimpleITK.GetArrayFromImage(image)
            changed = SimpleITK.GetImageFromArray(np.choose(voxels, (0, 3, 7)).astype(np.uint8))
            changed.CopyInformation(image)
            image = changed
        SimpleITK.WriteImage(image, str(path).replace(".nii.gz", ".nrrd"))
        path.unlink()
    edit(folder, file_ending=".nrrd", labels={"background": 0, "core": 7, "shell": 3})
    found = cohort.load(describe(folder, "case"))
    assert found.spec.names == ("shell", "core") and found.spec.stored == (3, 7)
    for one, other in zip(found.cases.values(), plain.cases.values(), strict=True):
        np.testing.assert_array_equal(one.label, other.label)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
        assert one.name == other.name and one.spacing == pytest.approx(other.spacing)


MESSAGES = {
    ("nnunet", "labels are a list"): "found `labels`",
    ("nnunet", "labels are null"): "found `labels` null",
    ("nnunet", "a region of several labels"): "found the region whole of labels",
    ("nnunet", "a label to ignore"): "found the label `ignore`",
    ("nnunet", "a label of 1.5"): "found the label 'a': 1.5",
    ("nnunet", "two labels of one value"): "found the label b = 1",
    ("nnunet", "a label called mean"): "found the label mean = 1",
    ("nnunet", "no background"): "expected the background as 0",
    ("nnunet", "channels are a list"): "found `channel_names`",
    ("nnunet", "channels counted from 1"): "found channels",
    ("nnunet", "a channel too few"): "_0001.nii.gz: found an image without a label",
    ("nnunet", "a channel too many"): "_0002.nii.gz: found no such file",
    ("nnunet", "pictures as files"): "found file_ending '.png'",
    ("nnunet", "another file ending"): "labelsTr: found no label",
    ("nnunet", "a wrong number of cases"): "found numTraining 7, expected 5",
    ("nnunet", "a channel's file is missing"): "_0001.nii.gz: found no such file",
    ("nnunet", "a label file is missing"): "found numTraining 5, expected 4",
    ("nnunet", "dataset.json is no JSON"): "found a file that is not JSON",
    ("nnunet", "dataset.json is a list"): "expected a JSON object",
    ("nnunet", "channels of two shapes"): r"_0001\.nii\.gz: found shape .*Register the channels",
    ("nnunet", "channels of two affines"): r"_0001\.nii\.gz: found .*Register the channels",
    ("nnunet", "a constant channel"): "channel T2 is 0",
    ("nnunet", "two voxel sizes in one header"): "a voxel size of 1 x 1 x 1.5 mm in the affine, expected 2 x 2 x 2 mm",
    ("nnunet", "a label value that is not listed"): "label values 9, 18, expected 0 to 2",
    ("nnunet", "a label without background"): "expected some background",
    ("nnunet", "a truncated file"): "truncated or damaged file",
    ("mrihs", "no masks of a subject"): "found no such folder",
    ("mrihs", "no slices of a subject"): "found no such folder",
    ("mrihs", "one side is missing"): "found 0 folders that end in _L",
    ("mrihs", "a mask slice is missing"): "found 39 slices, expected the 40 .*slice 7 is on one side only",
    ("mrihs", "an empty folder"): "found no slice",
    ("mrihs", "a slice without a number"): "found a slice without a number",
    ("mrihs", "one number twice"): "two slices of one number",
    ("mrihs", "a slice of another size"): r"slice_3\.jpg: found \(7, 7\) pixels",
    ("mrihs", "a damaged picture"): "damaged picture",
    ("mrihs", "a subject in training and test"): "found 001_S_1001 in training and test",
    ("hipmri", "a file of another name"): "scan.nii.gz: found this name, expected one like Case_001_Week0_LFOV",
    ("hipmri", "a label volume is missing"): "found no volume of Case_002 Week1",
    ("hipmri", "an image volume is missing"): "found no volume of Case_002 Week1",
    ("hipmri", "a seventh class"): "label values 6, expected 0 to 5",
}


@pytest.mark.parametrize("way", malformed.WAYS, ids=": ".join)
def test_a_malformed_set_is_named_with_what_was_found_and_what_to_do(way, sets, tmp_path: Path) -> None:
    text = malformed.message(way, sets[way[0]], tmp_path / way[0])
    assert re.search(MESSAGES[way], text)
    parts = malformed.MESSAGE.fullmatch(text)
    assert parts["file"].startswith(str(tmp_path / way[0])) and parts["remedy"].endswith("."), text


def test_a_table_of_subjects_that_is_damaged_is_named(sets, tmp_path: Path) -> None:
    folder = shutil.copytree(sets["nnunet"], tmp_path / "set")
    (folder / "cases.tsv").write_bytes(b"case\tsubject\n\xff\t1\n")
    with pytest.raises(DataError, match=r"cases\.tsv: found no table .*expected .tsv or .csv in UTF-8"):
        describe(folder, "column:subject")


def test_a_folder_without_a_layout_is_named_with_those_that_are_known(tmp_path: Path, sets: dict[str, Path]) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"found scan\.nii\.gz, expected dataset\.json"):
        describe(tmp_path)
    with pytest.raises(DataError, match="perhaps that folder is meant"):
        describe(sets["msd"].parent)
    with pytest.raises(DataError, match="found no such folder"):
        describe(tmp_path / "nowhere")


def test_slices_are_stacked_by_number_and_sides_are_joined(sets: dict[str, Path]) -> None:
    """Against the generator's own volumes: JPEG changes grey values a little, and no place."""
    source = describe(sets["mrihs"])
    plan = standin.STANDINS["mrihs"]
    for number in (1, 2):
        case = read_case(source.folder, source.spec, number)
        image, label = standin.volume(plan, malformed.SIZES["mrihs"], 1, number, 0)
        grey = np.clip(np.rint(image[0] * 150), 0, 255)
        assert np.abs(case.image[0] - grey).mean() < 6 < np.abs(case.image[0] - grey[:, :, ::-1]).mean()
        both = (case.label > 0, label > 0)
        assert 2 * (both[0] & both[1]).sum() / (both[0].sum() + both[1].sum()) > 0.9
        assert both[0][:24].any() and both[0][24:].any(), "left and right"
    assert [entry.test for entry in source.spec.entries] == [False, False, False, True, False]


def test_a_set_with_a_test_part_of_its_own_scores_that_part(tmp_path: Path) -> None:
    standin.generate("mrihs", tmp_path / "m", 8, (8, 8, 6), seed=0)
    source = describe(tmp_path / "m")
    made = folds.make(source.spec, range(1, 9))
    assert made["test"] == [{"train": [1, 2, 3, 5, 6, 7], "scored": [4, 8]}]
    assert not {4, 8} & {case for fold in made["grouped"] for side in fold.values() for case in side}
    watched = folds.with_watched(made["test"][0], source.spec)
    assert sorted(watched["train"] + watched["watched"]) == [1, 2, 3, 5, 6, 7] and watched["watched"]


NAMES = ["sub-01_ses-1", "sub-01_ses-2", "sub-10_ses-1"]


def test_subject_rules(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def rule(text: str) -> list[str]:
        return subjects_of(text, NAMES, tmp_path)[0]

    assert rule("") == NAMES and subjects_of("", NAMES, tmp_path)[1] == NO_RULE
    assert rule("case") == NAMES
    assert rule(r"pattern:sub-(\d+)") == ["01", "01", "10"] and rule(r"pattern:sub-\d+")[0] == "sub-01"
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-1\t3\nsub-01\t3\nsub-10\t4\n")
    assert rule("participants") == ["sub-01", "sub-01", "sub-10"]
    (tmp_path / "cases.csv").write_text("case,person\n" + "".join(f"{n},p{i // 2}\n" for i, n in enumerate(NAMES)))
    assert rule("column:person") == ["p0", "p0", "p1"]
    assert subjects_of("pairs", ["a_001", "a_002", "a_003"], tmp_path)[0] == ["1", "1", "2"]
    for text, message in (
        ("pattern:(", "no valid regular expression"), ("pattern:Case", "found no match"), ("rule", "no such rule"),
        ("column:age", "expected age, too"), ("participants:none.tsv", "found no such file"),
        ("column:", "no such rule"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            rule(text)
    (tmp_path / "participants.tsv").write_text("participant_id\nsub-01\n")
    with pytest.raises(DataError, match="no participant_id that case sub-10_ses-1 contains"):
        rule("participants")


def test_without_a_rule_a_warning_says_that_splits_may_leak(sets: dict[str, Path], caplog) -> None:
    describe(sets["nnunet"])
    assert "both sides of a split" in caplog.text and "--subjects" in caplog.text
    caplog.clear()
    describe(sets["hipmri"])
    assert not caplog.text, "the layout says whose a volume is"
    assert describe(sets["hipmri"], "case").spec.subject_rule.startswith("stated")
