"""DICOM series: choice, geometry, missing slices, enhanced multi-frame, damage."""

import random
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hipposeg.data.spec import DataError
from hipposeg.predict import dicom
from hipposeg.predict.dicom_seg import save_segmentation
from hipposeg.predict.scan import read
from hipposeg.predict.segment import Result

SHAPE = (12, 10, 50)
TURN = np.linalg.qr(np.array([[1, 0.2, -0.1], [-0.2, 1, 0.3], [0.1, -0.25, 1]]))[0]
TURN *= np.sign(np.diag(TURN))
VALUES = np.random.default_rng(1).integers(0, 900, SHAPE)
LABELS = np.random.default_rng(2).choice(5, SHAPE, p=(0.8, 0.05, 0.05, 0.05, 0.05)).astype(np.uint8)
STEPS = (1.2, 1.5, 2.0)
STUDY = {"StudyInstanceUID": "1.2.3.8", "FrameOfReferenceUID": "1.2.3.9"}


def base(**values):
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = dicom.MR_CLASSES[0], generate_uid()
    header.Modality, header.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M", "ND"]
    header.SeriesNumber, header.SeriesDescription, header.SeriesInstanceUID = 4, "t1_mprage_sag", "1.2.3.4"
    header.EchoTime, header.Columns, header.Rows = 2.9, *SHAPE[:2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.RescaleSlope, header.RescaleIntercept = 2, -10
    for name, value in values.items():
        setattr(header, name, value)
    return header


def place(header, index):
    header.ImagePositionPatient = [round(float(x), 6) for x in (-30, 20, -40) + TURN[:, 2] * STEPS[2] * index]
    header.ImageOrientationPatient = [round(float(x), 8) for x in TURN[:, :2].T.ravel()]
    header.PixelSpacing = [STEPS[1], STEPS[0]]


def store(header, path):
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def write(folder, slices=range(SHAPE[2]), **values):
    names = random.Random(0).sample(range(10_000), SHAPE[2])
    for index in slices:
        header = base(**values)
        header.SOPInstanceUID = f"{header.SeriesInstanceUID}.{index}"
        place(header, index)
        header.PixelData = VALUES[:, :, index].T.astype("<u2").tobytes()
        store(header, folder / f"IM{names[index]}")


def check(scan):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = TURN * STEPS, (-30, 20, -40)
    np.testing.assert_array_equal(scan.image, VALUES * 2 - 10)
    np.testing.assert_allclose(scan.affine, np.diag((-1, -1, 1, 1)) @ affine, atol=1e-4)


def test_choose_the_t1_beside_a_subtraction_a_localizer_and_a_t2(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", SeriesNumber=9, SeriesInstanceUID="1.2.9", ImageType=["DERIVED", "PRIMARY", "SUBTRACTION"])
    write(tmp_path / "c", SeriesNumber=2, SeriesInstanceUID="1.2.2", EchoTime=400, SeriesDescription="t2_space")
    write(tmp_path / "d", SeriesNumber=1, SeriesInstanceUID="1.2.1", slices=range(3))
    write(tmp_path / "copy")
    (tmp_path / "damaged").write_bytes(bytes(128) + b"DICM" + b"\xff" * 9)
    scan = read(tmp_path)
    check(scan)
    assert len(scan.notes) == 1 and "4 DICOM series" in scan.notes[0]
    for wanted in ("4", "1.2.3.4", "MPRAGE"):
        check(read(tmp_path, wanted))
    check(read(next((tmp_path / "a").iterdir())))
    for wanted in ("9", "t2_space"):
        with pytest.raises(DataError, match=r"no series that qualify as (?s:.*)4: t1_mprage_sag, 50 slices, 1.2 x 1.5"):
            read(tmp_path, wanted)


def test_two_equal_series_need_a_choice_and_a_derived_one_its_number(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", SeriesNumber=5, SeriesInstanceUID="1.2.5")
    assert "2 DICOM series found; used 4: " in read(tmp_path, "4").notes[0]
    write(tmp_path / "c", SeriesNumber=6, SeriesInstanceUID="1.2.6", ImageType=["DERIVED", "PRIMARY", "M"])
    with pytest.raises(DataError, match=r"found 2 series(?s:.*)4: (?s:.*)UID 1.2.5"):
        read(tmp_path)
    for wanted in "456":
        check(read(tmp_path, wanted))


def test_which_series_may_be_a_scan(tmp_path):
    def described(name, **values):
        write(tmp_path / name, **values)
        (found,) = dicom.series_in(tmp_path / name)
        return found

    assert not described("spin echo", EchoTime=25).why_not
    assert "echo of 25.5 ms" in described("t2", EchoTime=25.5).why_not
    assert not described("90 mm", slices=range(45)).why_not
    assert described("88 mm", slices=range(44)).why_not == "only 88 mm thick"
    one = described("one slice", slices=range(1))
    assert (one.n_slices, one.spacing[2], one.why_not) == (1, 0, "only 0 mm thick")
    header, place = base(), np.eye(3, 4)
    slices = [(2.0 * index, np.column_stack([place[:, :3], (0, 0, 2 * index)]), Path("a")) for index in range(45)]
    assert not dicom._describe([(header, slices)]).why_not, "90 mm to the last digit"
    described("turned")
    path = min((tmp_path / "turned").iterdir())
    header = pydicom.dcmread(path)
    header.PixelSpacing = [STEPS[1] + 0.1, STEPS[0]]
    header.save_as(path)
    (turned,) = dicom.series_in(tmp_path / "turned")
    assert turned.why_not == "several orientations or pixel sizes"


def test_series_are_in_the_order_of_their_numbers(tmp_path):
    for number, uid in ((None, "1.2.0"), (4, "1.2.4"), (1, "1.2.1"), (0, "1.2.5"), (10, "1.2.3")):
        write(tmp_path / uid, slices=range(2), SeriesNumber=number, SeriesInstanceUID=uid)
    assert [one.number for one in dicom.series_in(tmp_path)] == [0, 1, 4, 10, None]


def test_the_thinnest_slices_win_if_they_are_thinner_by_more_than_a_twentieth_of_a_millimetre():
    def series(thickness):
        return dicom.Series(str(thickness), "t1", 1, (Path("a"),), (1.0, 1.0, thickness), 200, "")

    assert dicom.choose([series(1.5), series(1.0), series(2.0)]).uid == "1.0"
    assert dicom.choose([series(1.0), series(1.05)]).uid == "1.0"
    with pytest.raises(DataError, match="found 2 series"):
        dicom.choose([series(1.0), series(1.04), series(1.06)])


def test_a_shifted_slice_is_named(tmp_path):
    write(tmp_path)
    path = next(one for one in tmp_path.iterdir() if pydicom.dcmread(one).SOPInstanceUID == "1.2.3.4.20")
    header = pydicom.dcmread(path)
    header.ImagePositionPatient = (np.array(header.ImagePositionPatient) + 0.15 * TURN[:, 0]).tolist()
    header.save_as(path)
    with pytest.raises(DataError, match=r"2.01 mm between slices 20 and 21 .*expected 2.00 mm in one direction"):
        read(tmp_path)


def test_missing_or_truncated_slices_are_named(tmp_path):
    write(tmp_path, slices=[index for index in range(SHAPE[2]) if index not in (20, 21, 22)])
    with pytest.raises(DataError, match=r"8.00 mm between slices 20 and 21 .*expected 2.00 mm.*about 3 slices"):
        read(tmp_path)
    path = max(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=f"{path.name}.*cannot be decoded"):
        read(tmp_path)


def check_segmentation(folder, path):
    """Read a SEG back, and compare it with the labels by position, voxel by voxel."""
    scan, names = read(folder), {1: "left anterior", 2: "left posterior", 3: "right anterior", 4: "right posterior"}
    assert scan.notes == ()
    save_segmentation(path, Result(scan, LABELS, names, {}, (), "ok", ()))
    found = highdicom.seg.segread(path)
    assert found.PatientName == found.PatientBirthDate == found.AccessionNumber == found.StudyID == ""
    assert (found.FrameOfReferenceUID, found.StudyInstanceUID) == ("1.2.3.9", "1.2.3.8")
    assert (found.SeriesNumber, found.InstanceNumber) == (1000, 1)
    for number, (side, code) in enumerate((("left", "7771000"), ("left", "7771000"), ("right", "24028007")), start=1):
        segment = found.get_segment_description(number)
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert segment.SegmentLabel == f"{names[number]} hippocampus" and segment.SegmentLabel.startswith(side)
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("5366008", "SCT")
        assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == code
    volume = found.get_volume(combine_segments=True)
    for value in range(1, 5):
        there = np.argwhere(volume.array == value)
        lps = there @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        ours = np.argwhere(LABELS == value) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
        sort = [points[np.lexsort(np.round(points, 2).T)] for points in (lps * (-1, -1, 1), ours)]
        np.testing.assert_allclose(*sort, atol=1e-3)


def test_a_segmentation_is_read_back_voxel_by_voxel(tmp_path):
    write(tmp_path / "series", **STUDY)
    check_segmentation(tmp_path / "series", tmp_path / "seg.dcm")


def test_enhanced_multi_frame(tmp_path):
    header = base(SOPClassUID=dicom.MR_CLASSES[1], NumberOfFrames=SHAPE[2], **STUDY)
    order = random.Random(1).sample(range(SHAPE[2]), SHAPE[2])
    header.PerFrameFunctionalGroupsSequence = frames = [Dataset() for _ in order]
    for index, frame in zip(order, frames, strict=True):
        one = Dataset()
        place(one, index)
        for name, key in (("PlanePosition", "ImagePositionPatient"), ("PlaneOrientation", "ImageOrientationPatient")):
            group = Dataset()
            setattr(group, key, one[key].value)
            setattr(frame, f"{name}Sequence", [group])
    shared, measures, rescale = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [STEPS[1], STEPS[0]]
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -10
    shared.PixelMeasuresSequence, shared.PixelValueTransformationSequence = [measures], [rescale]
    del header.RescaleSlope, header.RescaleIntercept
    header.SharedFunctionalGroupsSequence = [shared]
    header.PixelData = VALUES[:, :, order].transpose(2, 1, 0).astype("<u2").tobytes()
    store(header, tmp_path / "one" / "one.dcm")
    check(read(tmp_path / "one"))
    check_segmentation(tmp_path / "one", tmp_path / "seg.dcm")


def test_headers_that_claim_more_voxels_than_a_scan_has(tmp_path, monkeypatch):
    write(tmp_path / "frames", slices=range(1), NumberOfFrames=2_000_000_000)
    write(tmp_path / "sides", slices=range(1), Rows=65_535, Columns=65_535)
    for name in ("frames", "sides"):
        with pytest.raises(DataError, match="no DICOM image"):
            read(tmp_path / name)
    write(tmp_path / "many")
    monkeypatch.setattr(dicom, "MOST_VOXELS", int(np.prod(SHAPE)) - 1)
    with pytest.raises(DataError, match="many: found headers that claim 6000 voxels, expected 5999 at most"):
        read(tmp_path / "many")
    monkeypatch.setattr(dicom, "MOST_VOXELS", int(np.prod(SHAPE)))
    check(read(tmp_path / "many"))
