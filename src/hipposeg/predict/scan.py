"""Read a scan of any common format, with all checks.

Sides, sizes and positions come from the header alone, and a wrong header gives wrong volumes without a sign. So a file
with a doubtful header is refused. The format follows from the content; the name does not matter.
"""

import gzip
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

from hipposeg.data.read import MGH, parse, read_itk, unpacked
from hipposeg.data.spec import DataError
from hipposeg.files import write_bytes
from hipposeg.predict import dicom

FEWEST_VALUES = 16  # a scan has a hundred or more, a label map a few
MOST_NAN = 0.6  # of the voxels, as a background
THINNEST_MM, THICKEST_MM, MOST_RATIO = 0.3, 3.0, 3.0  # voxel sizes
MOST_SHEAR = 0.01  # cosine of the angle between two axes
SAME_MM, SAME_DEGREES, SAME_SIDE = 1.0, 1.0, 0.7  # sform and qform; the last is a cosine
KEPT = re.compile("xyzt_units|[qs]form_code|quatern_|qoffset_|srow_")  # header fields in a mask
EXPORT = "Convert the scan again from its DICOM files, for instance with dcm2niix."
Found = tuple[np.ndarray, np.ndarray | None, tuple[str, ...], Any]  # voxels, affine, notes, NIfTI header or DICOM files


@dataclass(frozen=True)
class Scan:
    """A scan that passed every check.

    Attributes:
        path: file or folder.
        image: (X, Y, Z) float32.
        affine: (4, 4) float64, voxel index to mm; axes right, front, top.
        notes: doubts to show beside the result.
        like: header of a NIfTI file.
        slices: the files of a DICOM series.
    """

    path: Path
    image: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()
    like: nibabel.Nifti1Header | None = None
    slices: tuple[Path, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along X, Y, Z in mm."""
        return tuple(voxel_sizes(self.affine).tolist())


def read(path: Path, series: str = "") -> Scan:
    """Read NIfTI, MGH (MGZ), NRRD, MetaImage or DICOM.

    Args:
        path: a file, or a folder with DICOM files. A DICOM file stands for its series.
        series: number, UID or part of the description of a DICOM series in a folder.

    Raises:
        DataError: the file is damaged, of another kind or not 3-D, or has a wrong header or wrong values.
    """
    is_dicom = path.is_dir() or (path.is_file() and dicom.is_dicom(path))
    voxels, affine, notes, origin = _read_dicom(path, series) if is_dicom else _read_file(path)
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype.kind not in "biuf":
        found = f"{voxels.ndim}-D {_by(voxels.shape)} of {voxels.dtype}"
        raise _error(path, found, "one 3-D image of real numbers", "Save the T1-weighted image alone in a file.")
    if affine is None:
        remedy = "Left and right are unknown. Convert the scan again from its DICOM files, which store it."
        raise _error(path, "no orientation (in NIfTI: sform and qform codes 0)", "a stored orientation", remedy)
    notes += _check_affine(path, affine)
    image, more = _check_values(path, voxels)
    like, slices = (None, origin) if is_dicom else (origin, ())
    return Scan(path, image, np.asarray(affine, dtype=np.float64), notes + more, like, slices)


def save_labels(path: Path, labels: np.ndarray, scan: Scan) -> None:
    """Write uint8 (X, Y, Z) as NIfTI on the scan's grid, compressed if the name ends in .gz.

    Of a NIfTI header only geometry and units are kept; the rest may name a patient. Equal labels give equal bytes.
    """
    if labels.shape != scan.image.shape:
        raise ValueError(f"labels have shape {labels.shape}, the scan {scan.image.shape}")
    kind = nibabel.Nifti2Image if isinstance(scan.like, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind(labels, scan.affine, dtype=np.uint8)
    image.set_sform(scan.affine, 1)
    image.set_qform(scan.affine, 1)
    image.header.set_xyzt_units("mm")
    if scan.like is not None:
        image.header["pixdim"][:4] = scan.like["pixdim"][:4]
        for field in filter(KEPT.match, scan.like.keys()):
            image.header[field] = scan.like[field]
    content = image.to_bytes()
    write_bytes(path, gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content)


def _read_dicom(path: Path, wanted: str) -> Found:
    if path.is_dir():
        among = dicom.series_in(path)
    else:
        files = [path, *sorted(path.parent.iterdir())]
        among = [one for one in dicom.series_in(path.parent, files) if path in one.files]
        wanted = among[0].uid if among else ""
    if not among:
        raise _error(path, "no DICOM image", "a scan", "Name a scan, or the folder with its DICOM files.")
    chosen = dicom.choose(among, wanted)
    voxels, affine = dicom.read_series(chosen)
    notes = (f"{len(among)} DICOM series found; used {chosen}",) if len(among) > 1 else ()
    return voxels, affine, notes, chosen.files


def _read_file(path: Path) -> Found:
    """Read a file of another kind to its last byte."""
    if not path.is_file():
        raise _error(path, "no such file", "a scan", "Check the name.")
    content, pair = path.read_bytes(), path.suffix.lower() == ".img"
    try:
        content = unpacked(content)
        if {int.from_bytes(content[:4], order) for order in ("little", "big")} & {348, 540}:
            pair = content[344:348] != b"n+1\0" and content[4:8] != b"n+2\0"
            if not pair:
                image = parse(content)
                return np.asarray(image.dataobj), *_check_nifti(path, image.header, content), image.header
        elif content[:4] == MGH:
            image = nibabel.MGHImage.from_bytes(content)
            return np.asarray(image.dataobj), image.affine if any(content[28:30]) else None, (), None
        elif re.match(rb"NRRD|\s*(ObjectType|Comment|NDims)\s*=", content):
            voxels, affine, oriented = read_itk(path, content)
            return voxels, affine if oriented else None, (), None
    except DataError:
        raise
    except Exception as error:  # with a damaged header readers raise anything
        reason = str(error).strip().split("\n")[-1]
        raise _error(path, f"a damaged or truncated file ({reason})", "a complete scan", EXPORT) from error
    found = "one half of an .hdr/.img pair" if pair else "another kind of file"
    raise _error(path, found, "NIfTI with header and image in one file, MGZ, NRRD, MetaImage or DICOM", EXPORT)


def _check_nifti(path: Path, header: Any, content: bytes) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The affine, or None if none is stored, and notes on how sform and qform differ."""
    raw = type(header)(content[: int(header["sizeof_hdr"])], check=False)  # nibabel replaces wrong sizes by 1 mm
    unit = {1: "metres", 3: "micrometres"}.get(int(raw["xyzt_units"]) & 7)
    if unit or not all(0 < size < np.inf for size in raw["pixdim"][1:4]):
        found = f"voxel sizes of {_by(raw['pixdim'][1:4])} {unit or 'mm'} in the header"
        raise _error(path, found, "sizes above 0 in mm", f"Correct the header. {EXPORT}")
    (sform, s_code), (qform, q_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    if not (s_code and q_code):
        affine = sform if s_code else qform
        same = affine is None or np.allclose(voxel_sizes(affine), raw["pixdim"][1:4], rtol=0.01, atol=0)
        return affine, () if same else ("the header's voxel sizes differ from its sform, which is used",)
    _check_affine(path, sform), _check_affine(path, qform)
    s_axes, q_axes = (affine[:3, :3] / voxel_sizes(affine) for affine in (sform, qform))
    if np.linalg.det(s_axes) * np.linalg.det(q_axes) < 0 or s_axes[0] @ q_axes[0] < SAME_SIDE:
        found = "an sform and a qform that disagree about left and right"
        raise _error(path, found, "one orientation", f"Set the code of the wrong one to 0. {EXPORT}")
    corners = list(product(*((0, side - 1) for side in (*header.get_data_shape(), 1)[:3])))
    far = np.linalg.norm(apply_affine(sform, corners) - apply_affine(qform, corners), axis=1).max()
    angle = np.degrees(np.arccos((s_axes * q_axes).sum(axis=0).clip(-1, 1))).max()
    note = f"sform and qform differ by up to {far:.1f} mm and {angle:.1f} degrees; the sform is used, as by nibabel"
    return sform, (note,) if far > SAME_MM or angle > SAME_DEGREES else ()


def _check_affine(path: Path, affine: np.ndarray) -> tuple[str, ...]:
    """Check positions, sizes and angles; return notes."""
    sizes = voxel_sizes(affine)
    if not np.isfinite(affine).all() or not sizes.all() or np.linalg.matrix_rank(affine[:3, :3] / sizes) < 3:
        raise _error(path, f"an affine of {np.round(affine[:3], 3).tolist()}", "finite positions and sizes", EXPORT)
    axes = affine[:3, :3] / sizes
    if (shear := np.abs(axes.T @ axes - np.eye(3)).max()) > MOST_SHEAR:
        found = f"axes at {np.degrees(np.arccos(shear)):.1f} degrees"
        raise _error(path, found, "right angles (no shear)", "Resample the scan to a regular grid.")
    if sizes.max() > THICKEST_MM + 1e-3:  # headers hold float32
        remedy = "A hippocampus is too small for such slices. Use a 3-D T1-weighted scan with voxels of about 1 mm."
        raise _error(path, f"voxels of {_by(sizes)} mm", f"at most {THICKEST_MM:g} mm", remedy)
    doubts = (
        (sizes.min() < THINNEST_MM, "are unusually small; check the header"),
        (sizes.max() > MOST_RATIO * sizes.min(), "are long in one direction; volumes are less certain"),
    )
    return tuple(f"voxels of {_by(sizes)} mm {text}" for doubtful, text in doubts if doubtful)


def _check_values(path: Path, voxels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Voxels as float32 with NaN replaced by the minimum, and notes."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        image = np.array(voxels, dtype=np.float32, order="C")
    missing = np.isnan(image)
    count, infinite = int(missing.sum()), int(np.isinf(image).sum())
    if infinite or count >= MOST_NAN * image.size:
        found = f"{infinite} infinite and {count} NaN voxels of {image.size}"
        raise _error(path, found, "finite values, or NaN in the background alone", EXPORT)
    if count:
        image[missing] = image[~missing].min()
    step = max(1, image.size // 100_000)
    if len(np.unique(image.flat[::step])) < FEWEST_VALUES and (few := len(np.unique(image))) < FEWEST_VALUES:
        found = "a constant image" if few == 1 else f"only {few} different values, as in a label map"
        raise _error(path, found, "a scan", "Name the scan that the mask or label map belongs to.")
    return image, (f"{count} NaN voxels ({count / image.size:.0%}) set to the minimum",) if count else ()


def _error(path: Path, found: str, expected: str, remedy: str) -> DataError:
    return DataError(f"{path}: found {found}, expected {expected}. {remedy}")


def _by(sizes: object) -> str:
    """ "1 x 1 x 1.2"."""
    return " x ".join(f"{size:.4g}" for size in np.asarray(sizes).tolist())
