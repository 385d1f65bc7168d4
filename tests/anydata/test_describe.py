"""Descriptions of other data sets: what a layout says is what is read, and what is malformed is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from hipposeg.anydata import standin
from hipposeg.anydata.describe import describe
from hipposeg.anydata.subjects import NO_RULE, subjects_of
from hipposeg.data import cohort, folds, phantom
from hipposeg.data.locate import Source
from hipposeg.data.read import read_case
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError
from hipposeg.files import DamagedError

SIZES = {"msd": (16, 20, 14), "nnunet": (16, 18, 12), "mrihs": (48, 56, 40), "hipmri": (24, 22, 14)}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny stand-in in each layout, of five subjects; HipMRI's have six volumes each, of which two are left here."""
    root = tmp_path_factory.mktemp("sets")
    for layout, size in SIZES.items():
        standin.generate(layout, root / layout, 5, size, seed=1)
    for path in root.glob("hipmri/*/*"):
        if not any(f"Week{week}" in path.name for week in (0, 1)):
            path.unlink()
    return {layout: root / layout for layout in SIZES}


@pytest.fixture
def broken(sets: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A function: layout -> a copy to break."""
    return lambda layout: Path(shutil.copytree(sets[layout], tmp_path / layout))


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
        assert case.image.shape == (n_channels, *SIZES[layout]) and case.label.shape == SIZES[layout]
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


def edit(folder: Path, **changes: object) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    image = nib.load(path)
    voxels, old = np.asarray(image.dataobj), image.affine
    nib.save(nib.Nifti1Image(change(voxels), old if affine is None else affine), path)


NNUNET: dict[str, tuple[Callable[[Path], object], str]] = {
    "labels as a list": (lambda f: edit(f, labels=["a"]), "found `labels`"),
    "labels null": (lambda f: edit(f, labels=None), "found `labels` null"),
    "a region": (lambda f: edit(f, labels={"background": 0, "whole": [1, 2]}), "found the region whole of labels"),
    "ignore": (lambda f: edit(f, labels={"background": 0, "a": 1, "ignore": 2}), "found the label `ignore`"),
    "a label of 1.5": (lambda f: edit(f, labels={"background": 0, "a": 1.5}), "found the label 'a': 1.5"),
    "two of one value": (lambda f: edit(f, labels={"background": 0, "a": 1, "b": 1}), "found the label b = 1"),
    "called mean": (lambda f: edit(f, labels={"background": 0, "mean": 1}), "found the label mean = 1"),
    "no background": (lambda f: edit(f, labels={"a": 1, "b": 2}), "expected the background as 0"),
    "channels as a list": (lambda f: edit(f, channel_names=["T1", "T2"]), "found `channel_names`"),
    "channels from 1": (lambda f: edit(f, channel_names={"1": "T1", "2": "T2"}), "found channels"),
    "one channel less": (lambda f: edit(f, channel_names={"0": "T1"}), "_0001.nii.gz: found an image without a label"),
    "one channel more": (
        lambda f: edit(f, channel_names={"0": "T1", "1": "T2", "2": "x"}),
        "_0002.nii.gz: found no such file",
    ),
    "pictures": (lambda f: edit(f, file_ending=".png"), "found file_ending '.png'"),
    "another ending": (lambda f: edit(f, file_ending=".mha"), "labelsTr: found no label"),
    "wrong count": (lambda f: edit(f, numTraining=7), "found numTraining 7, expected 5"),
    "no image": (lambda f: next(f.glob("imagesTr/*_0001*")).unlink(), "_0001.nii.gz: found no such file"),
    "no label": (lambda f: next(f.glob("labelsTr/*")).unlink(), "found numTraining 5, expected 4"),
    "not JSON": (lambda f: (f / "dataset.json").write_text("{"), "found a file that is not JSON"),
    "a list": (lambda f: (f / "dataset.json").write_text("[]"), "expected a JSON object"),
    "channels apart": (
        lambda f: rewrite(next(f.glob("imagesTr/*_0001*")), lambda v: v[1:]),
        r"_0001\.nii\.gz: found shape .*Register the channels",
    ),
    "channels moved": (
        lambda f: rewrite(next(f.glob("imagesTr/*_0001*")), np.array, np.diag([1, 1, 2.5, 1])),
        r"_0001\.nii\.gz: found .*Register the channels",
    ),
    "a constant channel": (lambda f: rewrite(next(f.glob("imagesTr/*_0001*")), np.zeros_like), "channel T2 is 0"),
    "header and affine differ": (
        lambda f: zoomed(f / "imagesTr/sub-01_ses-1_0000.nii.gz"),
        "a voxel size of 1 x 1 x 1.5 mm in the affine, expected 2 x 2 x 2 mm",
    ),
    "label 9": (lambda f: rewrite(next(f.glob("labelsTr/*")), lambda v: v * 9), "label values 9, 18, expected 0 to 2"),
    "label everywhere": (lambda f: rewrite(next(f.glob("labelsTr/*")), np.ones_like), "expected some background"),
}
MRIHS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no masks of a subject": (lambda f: shutil.rmtree(next(f.glob("label/100label/*"))), "found no such folder"),
    "no slices of a subject": (lambda f: shutil.rmtree(next(f.glob("original/35/*"))), "found no such folder"),
    "one side": (lambda f: shutil.rmtree(next(f.glob("label/100label/*/*_L"))), "found 0 folders that end in _L"),
    "a slice less": (
        lambda f: next(f.glob("label/100label/*/*_R/slice_7.jpg")).unlink(),
        "found 39 slices, expected the 40 .*slice 7 is on one side only",
    ),
    "no slices": (lambda f: [p.unlink() for p in next(f.glob("original/100/*")).iterdir()], "found no slice"),
    "no number": (
        lambda f: (p := next(f.glob("original/100/*/slice_3.jpg"))).rename(p.with_name("third.jpg")),
        "found a slice without a number",
    ),
    "one number twice": (
        lambda f: shutil.copy(p := next(f.glob("original/100/*/slice_3.jpg")), p.with_name("copy_3.jpg")),
        "two slices of one number",
    ),
    "slice of another size": (
        lambda f: Image.new("L", (7, 7)).save(next(f.glob("original/100/*/slice_3.jpg"))),
        r"slice_3\.jpg: found \(7, 7\) pixels",
    ),
    "no picture": (lambda f: next(f.glob("original/100/*/slice_3.jpg")).write_bytes(b"x"), "damaged picture"),
    "one person in both parts": (lambda f: doubled(f), "found 001_S_1001 in training and test"),
}
HIPMRI: dict[str, tuple[Callable[[Path], object], str]] = {
    "another name": (
        lambda f: (p := next(f.glob("semantic_MRs_anon/*"))).rename(p.with_name("scan.nii.gz")),
        "scan.nii.gz: found this name, expected one like Case_001_Week0_LFOV",
    ),
    "no label": (
        lambda f: (f / "semantic_labels_anon/Case_002_Week1_SEMANTIC_LFOV.nii.gz").unlink(),
        "found no volume of Case_002 Week1",
    ),
    "no image": (
        lambda f: (f / "semantic_MRs_anon/Case_002_Week1_LFOV.nii.gz").unlink(),
        "found no volume of Case_002 Week1",
    ),
    "label 6": (
        lambda f: rewrite(f / "semantic_labels_anon/Case_002_Week1_SEMANTIC_LFOV.nii.gz", lambda v: v + 1),
        "label values 6, expected 0 to 5",
    ),
}


def doubled(folder: Path) -> None:
    """Copy the first training subject into the test part."""
    for images, tests in (("original/100", "original/35"), ("label/100label", "label/35label")):
        first = min((folder / images).iterdir())
        shutil.copytree(first, folder / tests / first.name)


def zoomed(path: Path) -> None:
    """Voxels of 2 mm in the header alone; the sform stays."""
    image = nib.load(path)
    image.header["pixdim"][1:4] = 2
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)


@pytest.mark.parametrize(
    ("layout", "way"),
    [*(("nnunet", w) for w in NNUNET), *(("mrihs", w) for w in MRIHS), *(("hipmri", w) for w in HIPMRI)],
)
def test_a_malformed_set_is_named_with_what_was_found_and_what_to_do(layout: str, way: str, broken) -> None:
    damage, message = {"nnunet": NNUNET, "mrihs": MRIHS, "hipmri": HIPMRI}[layout][way]
    folder = broken(layout)
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        cohort.load(describe(folder))
    text = str(caught.value)
    assert str(folder) in text and "found" in text and "expected" in text
    assert text.endswith(".") and ". " in text.split("expected", 1)[1], f"no advice in: {text}"


@pytest.mark.parametrize("content", [b"case\tsubject\n\xff\t1\n", b"case\tsubject\n" + b"x" * (1 << 18)])
def test_a_table_of_subjects_that_is_damaged_is_named(content: bytes, broken) -> None:
    folder = broken("nnunet")
    (folder / "cases.tsv").write_bytes(content)
    with pytest.raises(DamagedError, match=r"cases\.tsv: found a damaged file .*expected a table in UTF-8"):
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
        image, label = standin.volume(plan, SIZES["mrihs"], 1, number, 0)
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
