"""A DICOM segmentation (SEG) of a scan that was read from DICOM, by highdicom (doi:10.1007/s10278-022-00683-y)."""

from pathlib import Path

import numpy as np

import hipposeg
from hipposeg.data.read import LPS_TO_RAS
from hipposeg.files import replacing, sha256_bytes
from hipposeg.predict.segment import Result

# Attributes that may be empty in DICOM but must exist; anonymised series often lack them.
MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
                "AccessionNumber", "ReferringPhysicianName")  # fmt: skip


def save_segmentation(path: Path, result: Result) -> None:
    """Write the parts of a segmented DICOM series as the segments of a SEG, in the series' own frame of reference."""
    import highdicom
    import pydicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    sources = [pydicom.dcmread(one, stop_before_pixels=True) for one in result.scan.slices]
    for source in sources:
        for keyword in MAY_BE_EMPTY:
            if keyword not in source:
                setattr(source, keyword, None)
        sized = source
        for shared in source.get("SharedFunctionalGroupsSequence", ()):  # `dicom` checked that all frames are alike
            for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
                if keyword not in shared:
                    setattr(shared, keyword, source.PerFrameFunctionalGroupsSequence[0][keyword].value)
            sized = shared.PixelMeasuresSequence[0]
        sized.SliceThickness = sized.get("SliceThickness") or round(result.scan.spacing[2], 6)
    kind, version = codes.DCM.ArtificialIntelligence, hipposeg.__version__
    program, segments = highdicom.AlgorithmIdentificationSequence("hipposeg", kind, version), []
    for value, part in sorted(result.names.items()):
        segment = highdicom.seg.SegmentDescription(
            value, f"{part} hippocampus", codes.SCT.AnatomicalStructure, codes.SCT.Hippocampus, "AUTOMATIC", program
        )
        side = {"left": codes.SCT.Left, "right": codes.SCT.Right}.get(part.split()[0])
        if side:
            modifier = highdicom.sr.CodedConcept.from_code(side)
            segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
        segments.append(segment)
    # highdicom's axes are slice, row, column, and DICOM's space is LPS.
    affine = (LPS_TO_RAS @ result.affine)[:, [2, 1, 0, 3]]
    frame, array = sources[0].FrameOfReferenceUID, np.ascontiguousarray(result.labels.T)
    volume = highdicom.Volume(array, affine, "PATIENT", frame_of_reference_uid=frame)
    content = [sources[0].SeriesInstanceUID, sha256_bytes(result.labels.tobytes())]
    found = highdicom.seg.Segmentation(
        sources, volume, "BINARY", segments,
        series_instance_uid=generate_uid(entropy_srcs=[*content, "series"]), series_number=1000,
        sop_instance_uid=generate_uid(entropy_srcs=content), instance_number=1,
        manufacturer="hipposeg contributors", manufacturer_model_name="hipposeg",
        software_versions=version, device_serial_number="0",
    )  # fmt: skip
    with replacing(path) as temporary:
        found.save_as(temporary)
