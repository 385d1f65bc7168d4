"""Find the T1-weighted 3-D series among DICOM files; read it by slice positions, which also show missing slices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.data.read import LPS_TO_RAS, MOST_VOXELS
from hipposeg.data.spec import DataError

MR_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.4{end}" for end in ("", ".1", ".4"))  # MR, enhanced, legacy converted
NOT_A_SCAN = set("LOCALIZER SUBTRACTION SUBTRACT SUB MPR PROJECTION MIP MNIP MINIP MIN_IP MAX_IP PHASE P ADC".split())
DERIVED = "derived image"  # as some scanners mark corrected scans; an exact number or UID overrides it
MOST_ECHO_MS = 25.0  # T1 by gradient echo has 2 to 6 ms, by spin echo up to 20 ms
FEWEST_MM = 90.0  # no head is thinner


@dataclass(frozen=True)
class Series:
    """One series, or one enhanced multi-frame file."""

    uid: str  # SeriesInstanceUID
    description: str  # or the protocol's name
    number: int | None  # as scanners show it
    files: tuple[Path, ...]  # in slice order
    spacing: tuple[float, float, float]  # mm along X (a row), Y (a column) and between slices (median)
    n_slices: int  # frames, if enhanced
    why_not: str  # why it is excluded, or ""

    def __str__(self) -> str:
        name = f"{self.number}: {self.description}, {self.n_slices} slices, " + "{:.3g} x {:.3g} x {:.3g} mm"
        return name.format(*self.spacing) + (f"; excluded: {self.why_not}" if self.why_not else "")


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def series_in(folder: Path, files: Iterable[Path] | None = None) -> list[Series]:
    """All series by number, from the headers of `files`, or of all files in the folder and below it.

    Copies and what is not a readable DICOM image are skipped. Raises DataError if pydicom is missing.
    """
    groups: dict[tuple[str, str], dict[str, tuple]] = {}
    for path in sorted(folder.rglob("*")) if files is None else files:
        try:
            if path.is_file() and is_dicom(path):
                import pydicom

                header = pydicom.dcmread(path, stop_before_pixels=True)
                frames = header.get("NumberOfFrames") or 1
                if header.Rows * header.Columns * frames > MOST_VOXELS:
                    continue  # damaged, or made to fill the memory
                slices = [(*_place(header, i), path) for i in range(frames)]
                own = header.SOPInstanceUID if "PerFrameFunctionalGroupsSequence" in header else ""
                series = groups.setdefault((header.SeriesInstanceUID, own), {})
                series.setdefault(header.SOPInstanceUID, (header, slices))
        except ImportError as error:
            raise DataError(f"{path}: found DICOM, expected pydicom: `pip install 'hipposeg[dicom]'`.") from error
        except Exception:  # with a damaged header pydicom raises anything
            continue
    found = [_describe([*images.values()]) for images in groups.values()]
    return sorted(found, key=lambda one: (one.number is None, one.number or 0, one.uid))


def choose(series: Sequence[Series], wanted: str = "") -> Series:
    """The T1-weighted 3-D series with the thinnest slices. `wanted`: its number, UID or part of its description.

    Raises DataError, which lists all series, if none or several qualify.
    """
    text = wanted.strip().casefold()
    exact = [one for one in series if text and text in (str(one.number), one.uid.casefold())]
    named = exact or [one for one in series if text in one.description.casefold()]
    usable = [one for one in named if not one.why_not or (exact and one.why_not == DERIVED)]
    best = [one for one in usable if one.spacing[2] < min(other.spacing[2] for other in usable) + 0.05]
    if len(best) == 1:
        return best[0]
    raise DataError(
        f"{series[0].files[0].parent if series else 'DICOM'}: found {len(best) or 'no'} series that qualify"
        f"{f' as {wanted!r}' if text else ''}, expected one T1-weighted 3-D series. Name it by its number, its UID or "
        "part of its description. Series found:" + "".join(f"\n  {one} (UID {one.uid})" for one in series)
    )


def read_series(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Read (X, Y, Z) float32, rescaled as every slice says, and the affine, (4, 4), voxel index to mm in RAS.

    Raises DataError if a file is damaged, a decoder is missing, or slices are missing or shifted.
    """
    import pydicom

    slices, rescale = [], "PixelValueTransformationSequence"
    for path in series.files:
        header = pydicom.dcmread(path)
        if (voxels := series.n_slices * header.Rows * header.Columns) > MOST_VOXELS:
            raise DataError(f"{path.parent}: found headers that claim {voxels} voxels, expected {MOST_VOXELS} at most.")
        try:
            for i, pixels in enumerate(header.pixel_array.reshape(-1, header.Rows, header.Columns)):
                slope, offset = (_get(header, i, rescale, name)[0] for name in ("RescaleSlope", "RescaleIntercept"))
                scaled = pixels * np.float32(np.nan_to_num(slope, nan=1)) + np.float32(np.nan_to_num(offset))
                slices.append((*_place(header, i), path.name, scaled.T))
        except Exception as error:  # as above
            kind = header.file_meta.TransferSyntaxUID.name
            remedy = "Export the series again, uncompressed, or install a decoder (`pip install python-gdcm`)."
            raise DataError(f"{path}: found {kind} that cannot be decoded, expected an image. {remedy}") from error
    _, places, names, images = zip(*sorted(slices, key=itemgetter(0)), strict=True)
    steps = np.diff([place[:, 3] for place in places], axis=0)
    step, size = np.median(steps, axis=0), series.spacing[2]
    for i in np.flatnonzero(np.abs(steps - step).max(axis=1) > 0.05 * size)[:1]:
        raise DataError(
            f"{path.parent}: found {(gap := np.linalg.norm(steps[i])):.2f} mm between slices {i + 1} and {i + 2} "
            f"({names[i]}, {names[i + 1]}), expected {size:.2f} mm in one direction, as between the others: about "
            f"{max(0, round(gap / size) - 1)} slices are missing there. Export the whole series again."
        )
    affine = np.vstack([places[0], (0, 0, 0, 1)])
    affine[:3, 2] = steps.mean(axis=0)
    return np.ascontiguousarray(np.stack(images, axis=2), dtype=np.float32), LPS_TO_RAS @ affine


def _describe(images: list[tuple]) -> Series:
    """The series of all (header, slices)."""
    header, slices = images[0][0], sorted((one for _, slices in images for one in slices), key=itemgetter(0))
    depths, places, paths = zip(*slices, strict=True)
    gaps, pixel = np.diff(depths), np.linalg.norm(places[0][:, :2], axis=0)
    step = float(np.median(gaps)) if len(gaps) else 0.0
    kinds = [*map(str, np.atleast_1d(header.get("ImageType") or ""))]
    modality, sop, number = (header.get(name) for name in ("Modality", "SOPClassUID", "SeriesNumber"))
    echo_ms = float(_get(header, 0, "MREchoSequence", "EffectiveEchoTime", "EchoTime")[0])  # NaN if missing
    reasons = (
        (modality != "MR" or sop not in MR_CLASSES, f"{modality}, {getattr(sop, 'name', sop)}"),
        (NOT_A_SCAN & set(" ".join(kinds).upper().split()), f"image type {' '.join(kinds)}"),
        (not np.isfinite(places).all() or header.get("SamplesPerPixel") != 1, "no slice positions, or colours"),
        (np.ptp([place[:, :3] for place in places], axis=0).max() > 0.01, "several orientations or pixel sizes"),
        (min(gaps, default=1) < 0.01, "several images at one position"),
        (echo_ms > MOST_ECHO_MS or header.get("AngioFlag") == "Y", f"not T1: angiography or echo of {echo_ms:g} ms"),
        (step * len(depths) < FEWEST_MM, f"only {step * len(depths):.0f} mm thick"),
        (kinds[0] == "DERIVED", DERIVED),
    )
    why_not = next((text for wrong, text in reasons if wrong), "")
    uid, name = str(header.SeriesInstanceUID), str(header.get("SeriesDescription") or header.get("ProtocolName") or "")
    return Series(uid, name, number, tuple(dict.fromkeys(paths)), (*pixel.tolist(), step), len(depths), why_not)


def _place(header: Any, frame: int) -> tuple[float, np.ndarray]:
    """Depth along the normal, and in mm, LPS, (3, 4): steps along X and Y, normal, first pixel. NaN if missing."""
    along = _get(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient", size=6).reshape(2, 3)
    down, right = _get(header, frame, "PixelMeasuresSequence", "PixelSpacing", size=2)
    first = _get(header, frame, "PlanePositionSequence", "ImagePositionPatient", size=3)
    normal = np.cross(*along)
    return float(normal @ first), np.column_stack([along[0] * right, along[1] * down, normal, first])


def _get(header: Any, frame: int, sequence: str, *keywords: str, size: int = 1) -> np.ndarray:
    """Numbers of a frame, from its own functional groups, the shared ones, or, in classic DICOM, the header."""
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    groups = [group[sequence][0] for group in (own and own[frame], shared and shared[0]) if group and sequence in group]
    values = [place.get(keyword) for place in (*groups, header) for keyword in keywords]
    return np.resize(np.array(next((value for value in values if value), np.nan), dtype=np.float64), size)
