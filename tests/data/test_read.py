"""Every reading check: a small phantom is broken in one way each time, and the message must name it."""

import gzip
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from hipposeg.data import cohort, phantom, read
from hipposeg.data.locate import Source
from hipposeg.data.read import read_case
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError, DatasetSpec, Label

IMAGE, LABEL = "imagesTr/hippocampus_001.nii.gz", "labelsTr/hippocampus_001.nii.gz"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person, cases 1 and 2."""
    folder = tmp_path_factory.mktemp("phantom") / "Task04_Hippocampus"
    assert phantom.generate(folder, n_subjects=1, seed=3) == [1, 2]
    return folder


@pytest.fixture
def broken(intact: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(intact, tmp_path / "broken"))


def load(folder: Path, spec: DatasetSpec = PHANTOM_SPEC) -> cohort.Cohort:
    return cohort.load(Source("phantom", folder, spec))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    """Replace a volume by `change` of its voxels."""
    image = nib.load(path)
    voxels, old = np.asarray(image.dataobj), image.affine
    nib.save(nib.Nifti1Image(change(voxels), old if affine is None else affine), path)


def put(value: float, dtype: type = np.float32) -> Callable[[np.ndarray], np.ndarray]:
    """A change that sets one voxel."""

    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(dtype)
        voxels[3, 4, 5] = value
        return voxels

    return change


def cut_bytes(count: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:-count]) and None


def stretched(spacing: float) -> np.ndarray:
    return np.diag([1.0, 1.0, spacing, 1.0])


def moved(path: Path, millimetres: float) -> np.ndarray:
    """The affine of a volume, moved along its first axis."""
    affine = nib.load(path).affine.copy()
    affine[0, 3] += millimetres
    return affine


BREAKS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "image cut in the middle": (IMAGE, cut_bytes(5000), "truncated or damaged"),
    "label lost its last byte": (LABEL, cut_bytes(1), "truncated or damaged"),
    "empty file": (IMAGE, lambda p: p.write_bytes(b""), "not gzip"),
    "damaged byte": (
        IMAGE,
        lambda p: p.write_bytes((c := p.read_bytes())[:999] + bytes([c[999] ^ 255]) + c[1000:]),
        "damaged",
    ),
    "four axes": (IMAGE, lambda p: rewrite(p, lambda v: v[..., None]), r"shape \(.*1\), expected 3-D"),
    "NaN": (IMAGE, lambda p: rewrite(p, put(np.nan)), "1 voxels that are NaN or infinite"),
    "beyond float32": (IMAGE, lambda p: rewrite(p, put(1e300, np.float64)), "NaN or infinite"),
    "constant": (IMAGE, lambda p: rewrite(p, lambda v: np.full_like(v, 7)), "every voxel of channel T1 is 7"),
    "spacing": (IMAGE, lambda p: rewrite(p, np.array, stretched(1.2)), "1 x 1 x 1.2 mm in the header, expected 1 x 1"),
    "spacing, a little": (IMAGE, lambda p: rewrite(p, np.array, stretched(1.002)), "1 x 1 x 1.002 mm in the header"),
    "label of another shape": (LABEL, lambda p: rewrite(p, lambda v: v[1:]), "the shape of its image"),
    "label moved": (LABEL, lambda p: rewrite(p, np.array, np.eye(4)), "affine that differs from its image's by"),
    "label moved a little": (LABEL, lambda p: rewrite(p, np.array, moved(p, 0.002)), "image's by up to 0.00(2|1999)"),
    "label 3": (LABEL, lambda p: rewrite(p, put(3)), "1 voxels with label values 3, expected 0 to 2"),
    "label between": (LABEL, lambda p: rewrite(p, put(0.5)), "label values 0.5, expected 0 to 2"),
    "label almost 1": (LABEL, lambda p: rewrite(p, put(0.9999999)), r"label values 0\.9999999, expected 0 to 2"),
    "label that is too far": (LABEL, lambda p: rewrite(p, put(254, np.uint8)), "label values 254, expected 0 to 2"),
    "no foreground": (LABEL, lambda p: rewrite(p, np.zeros_like), r"0\.00% foreground, expected 2\.00% to 20\.00%"),
    "all foreground": (LABEL, lambda p: rewrite(p, np.ones_like), r"100\.00% foreground"),
    "one class alone": (LABEL, lambda p: rewrite(p, lambda v: (v > 0).astype(np.uint8)), "no voxel of posterior"),
    "voxels in the header": (IMAGE, lambda p: shifted(p), "begin at byte 0, inside the header"),
    "two orientations": (IMAGE, lambda p: turned(p), "an sform and a qform that are up to"),
}


def shifted(path: Path) -> None:
    """Let the voxels begin with the header's first byte: vox_offset, a float at byte 108, is 0."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[108:112] = bytes(4)
    path.write_bytes(gzip.compress(bytes(content), 1))


def turned(path: Path) -> None:
    """An sform and a qform that place the volume 5 voxels apart."""
    image = nib.load(path)
    moved = image.affine.copy()
    moved[0, 3] += 5
    image.set_sform(image.affine, code=1)
    image.set_qform(moved, code=1)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)


@pytest.mark.parametrize("way", BREAKS)
def test_broken_file_is_named_with_what_was_found_and_what_to_do(broken: Path, way: str) -> None:
    name, damage, message = BREAKS[way]
    damage(broken / name)
    with pytest.raises(DataError, match=message) as caught:
        load(broken)
    text = str(caught.value)
    assert str(broken / name) in text and "found" in text
    assert text.endswith(".") and text.count(". ") >= 1, f"no advice in: {text}"


def test_what_float32_rounds_in_a_header_is_within_the_tolerances(broken: Path) -> None:
    rewrite(broken / IMAGE, np.array, stretched(1.0005))
    rewrite(broken / LABEL, np.array, moved(broken / IMAGE, 0.0005))
    assert read_case(broken, PHANTOM_SPEC, 1).spacing == pytest.approx((1, 1, 1.0005), abs=1e-6)


LAYOUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing image": (lambda f: (f / IMAGE).unlink(), "imagesTr/hippocampus_001.nii.gz: found missing file"),
    "missing folder": (lambda f: shutil.rmtree(f / "labelsTr"), "found missing file and 1 more"),
    "extra image": (lambda f: shutil.copy(f / IMAGE, f / IMAGE.replace("001", "009")), "009.nii.gz: found extra file"),
    "a note": (lambda f: (f / "imagesTr/notes.txt").write_text("x"), "notes.txt: found extra file"),
    "no listing": (lambda f: (f / "dataset.json").unlink(), "dataset.json: found no such file"),
    "listing cut": (lambda f: (f / "dataset.json").write_text('{"training": ['), "not JSON"),
    "other classes": (lambda f: edit(f, labels={"0": "background", "1": "liver"}), "found labels .*liver"),
    "other channels": (lambda f: edit(f, modality={"0": "T1", "1": "T2"}), "found channels 2, expected 1"),
    "wrong count": (lambda f: edit(f, numTraining=3), "found numTraining 3, expected 2"),
    "labels as a list": (lambda f: edit(f, labels=["background", "x"]), r"found `labels` \[\"background\", \"x\"\]"),
    "labels null": (lambda f: edit(f, labels=None), "found `labels` null, expected an object"),
    "channels as a text": (lambda f: edit(f, modality="MRI"), 'found `modality` "MRI", expected an object'),
    "entries as texts": (lambda f: edit(f, training=["a.nii.gz"], numTraining=1), 'found the entry "a.nii.gz"'),
    "entry without label": (lambda f: edit(f, training=[{"image": "a"}], numTraining=1), "found the entry"),
}


def edit(folder: Path, **changes: object) -> None:
    """Change fields of dataset.json."""
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("way", LAYOUT)
def test_broken_layout_is_refused(broken: Path, way: str) -> None:
    damage, message = LAYOUT[way]
    damage(broken)
    with pytest.raises(DataError, match=message):
        load(broken)


def test_backslashes_and_a_byte_order_mark_are_read(broken: Path) -> None:
    path = broken / "dataset.json"
    listing = json.loads(path.read_text())
    listing["training"] = [{side: name.replace("/", "\\") for side, name in e.items()} for e in listing["training"]]
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(listing).encode())
    assert load(broken).numbers == [1, 2]


def test_an_image_that_is_its_own_label_is_refused(broken: Path) -> None:
    label = nib.load(broken / LABEL)
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj) * 500.0, label.affine), broken / IMAGE)
    with pytest.raises(DataError, match="an image that is constant in every class of its label"):
        load(broken)


def test_a_copy_that_differs_from_the_published_set_is_named(intact: Path) -> None:
    published = load(intact)
    assert not load(intact, replace(PHANTOM_SPEC, sha256=published.sha256)).warnings
    (warning,) = load(intact, replace(PHANTOM_SPEC, sha256="0" * 64)).warnings
    assert published.sha256[:16] in warning and "0" * 16 in warning


def test_mapped_volumes_are_those_in_memory(intact: Path, tmp_path: Path) -> None:
    source = Source("phantom", intact, PHANTOM_SPEC)
    mapped, plain = cohort.load(source, tmp_path / "voxels"), cohort.load(source)
    assert mapped.sha256 == plain.sha256 and len(list((tmp_path / "voxels").glob("*.npy"))) == 4
    for number, case in mapped.cases.items():
        assert isinstance(case.image, np.memmap) and isinstance(case.label, np.memmap)
        np.testing.assert_array_equal(case.image, plain.cases[number].image)
        np.testing.assert_array_equal(case.label, plain.cases[number].label)


def test_a_file_that_claims_more_than_a_scan_has_costs_no_memory(tmp_path: Path) -> None:
    slices = tmp_path / "slices"
    slices.mkdir()
    Image.new("L", (7, 7)).save(slices / "1.png")
    whole = (slices / "1.png").read_bytes()
    for side in (60_000, 20_000):  # the first is refused by Pillow, the second by us alone
        header = b"IHDR" + struct.pack(">II", side, side) + whole[24:29]
        content = whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
        for number in range(40):
            (slices / f"{number}.png").write_bytes(content if number else whole)
        with pytest.raises(DataError, match=r"1\.png: found a truncated or damaged picture .*pixels"):
            read._load(slices)
    for name, words in (("a.nrrd", b"sizes: 3 4 5"), ("a.mha", b"DimSize = 3 4 5")):
        SimpleITK.WriteImage(SimpleITK.Image(3, 4, 5, SimpleITK.sitkFloat32), str(tmp_path / name), True)
        content = (tmp_path / name).read_bytes()
        for side in (60_000, 2_000):
            claim = words.split(b"3 4 5")[0] + b" ".join([b"%d" % side] * 3)
            (tmp_path / name).write_bytes(content.replace(words, claim))
            with pytest.raises(DataError, match=rf"{name}: found .*claims {side**3} voxels"):
                read._load(tmp_path / name)


def test_wrong_number_of_cases_is_refused(broken: Path) -> None:
    with pytest.raises(DataError, match="found 2 labelled cases, expected 260"):
        load(broken, MSD_HIPPOCAMPUS)


def test_apple_double_files_are_skipped(broken: Path) -> None:
    for name in ("._dataset.json", "imagesTr/._hippocampus_001.nii.gz", "labelsTr/._hippocampus_007.nii.gz"):
        (broken / name).write_bytes(b"\0\5\x16\7")
    (broken / "imagesTr/.DS_Store").write_bytes(b"x")
    assert load(broken).numbers == [1, 2]


def test_the_known_stray_label_becomes_background_and_no_other_does(broken: Path) -> None:
    """nnU-Net's code notes a voxel of -2 in case 243 of the published archive; here case 1 plays its part."""
    known = replace(PHANTOM_SPEC, known_bad_labels=frozenset({(1, -2)}))
    rewrite(broken / LABEL, put(-2, np.int16))
    loaded = load(broken, known)
    assert len(loaded.warnings) == 1 and "1 voxels with label values -2" in loaded.warnings[0]
    assert loaded.cases[1].label[3, 4, 5] == 0 and loaded.cases[1].label.max() == 2
    for value in (np.nan, 3.7, 254):
        rewrite(broken / LABEL, put(value))
        with pytest.raises(DataError, match=f"label values {value:g}"):
            load(broken, known)


def test_a_case_holds_what_nibabel_reads(intact: Path) -> None:
    case = read_case(intact, PHANTOM_SPEC, 2)
    image, label = (nib.load(intact / f"{side}Tr/hippocampus_002.nii.gz") for side in ("images", "labels"))
    assert case.image.dtype == np.float32 and case.image.flags.c_contiguous
    assert case.label.dtype == np.uint8 and case.affine.dtype == np.float64
    np.testing.assert_array_equal(case.image[0], image.get_fdata(dtype=np.float32))
    np.testing.assert_array_equal(case.label, label.get_fdata())
    np.testing.assert_array_equal(case.affine, image.affine)
    assert (case.name, case.subject, case.spacing) == ("hippocampus_002", 1, (1.0, 1.0, 1.0))
    assert case.stored_dtype == image.get_data_dtype().name


def test_the_hash_follows_contents_and_not_compression(broken: Path) -> None:
    before = load(broken)
    path = broken / IMAGE
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 9, mtime=1))
    assert load(broken).sha256 == before.sha256
    rewrite(path, lambda v: put(float(v[3, 4, 5]) + 1, v.dtype.type)(v))
    after = load(broken)
    assert after.cases[1].sha256 != before.cases[1].sha256 and after.sha256 != before.sha256
    assert after.cases[2].sha256 == before.cases[2].sha256
    rewrite(broken / "labelsTr/hippocampus_002.nii.gz", put(1))
    assert load(broken).cases[2].sha256 != before.cases[2].sha256


def test_scaled_volumes_and_nifti_2_are_read(broken: Path) -> None:
    voxels = np.asarray(nib.load(broken / LABEL).dataobj).astype(np.int16)
    voxels += np.arange(voxels.size, dtype=np.int16).reshape(voxels.shape) % 50
    image = nib.Nifti1Image(voxels, nib.load(broken / IMAGE).affine)
    image.header.set_slope_inter(2.0, 10.0)
    nib.save(image, broken / IMAGE)
    case = read_case(broken, PHANTOM_SPEC, 1)
    np.testing.assert_allclose(case.image[0], voxels * 2.0 + 10.0)
    assert case.stored_dtype == "int16"
    nib.save(nib.Nifti2Image(voxels, image.affine), broken / IMAGE)
    np.testing.assert_array_equal(read_case(broken, PHANTOM_SPEC, 1).image[0], voxels)


@pytest.mark.parametrize(("n_labels", "channels"), [(1, ("T1",)), (5, ("T1",)), (2, ("T1", "T2")), (5, ("T1", "T2"))])
def test_other_descriptions_round_trip(tmp_path: Path, n_labels: int, channels: tuple[str, ...]) -> None:
    """The seam for other data sets: classes and channels come from the description alone."""
    labels = tuple(Label(value, f"part {value}", "#000000") for value in range(1, n_labels + 1))
    spec = replace(PHANTOM_SPEC, labels=labels, channels=channels)
    phantom.generate(tmp_path, spec, n_subjects=1, seed=1)
    loaded = load(tmp_path, spec)
    for case in loaded.cases.values():
        assert case.image.shape == (len(channels), *case.label.shape)
        assert np.unique(case.label).tolist() == list(range(n_labels + 1))
        rows = [np.argwhere(case.label == label.value)[:, 1].mean() for label in labels]
        assert rows == sorted(rows, reverse=True), "class 1 is the most anterior"
    if len(channels) == 2:
        assert nib.load(tmp_path / IMAGE).shape[3] == 2, "channels are last on disk"
        rewrite(tmp_path / IMAGE, lambda v: np.stack([v[..., 0], np.zeros_like(v[..., 1])], -1))
        with pytest.raises(DataError, match="channel T2 is 0"):
            load(tmp_path, spec)
        rewrite(tmp_path / IMAGE, lambda v: v[..., :1])
        with pytest.raises(DataError, match=r"expected 4-D \(X, Y, Z, 2\)"):
            load(tmp_path, spec)


def test_the_real_volumes_pass_every_check(msd_dir: Path) -> None:
    loaded = cohort.load(Source("msd", msd_dir, MSD_HIPPOCAMPUS))
    assert len(loaded.cases) == 260 and len(loaded.people) == 170
    stored = [case.stored_dtype for case in loaded.cases.values()]
    assert (stored.count("uint8"), stored.count("float32")) == (55, 205)
    assert {case.image.dtype for case in loaded.cases.values()} == {np.dtype(np.float32)}
    assert len({case.sha256 for case in loaded.cases.values()}) == 260
    assert loaded.sha256 == MSD_HIPPOCAMPUS.sha256 and not loaded.warnings
