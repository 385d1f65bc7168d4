"""Read one case with every check that a training relies on.

A volume that is truncated, of another shape or with a stray class would train without complaint and show up only as a
bad score. Each check raises a `DataError` that names the file, what was found, what was expected and what to do.
"""

import io
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from struct import unpack
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from hipposeg.data.spec import DataError, DatasetSpec
from hipposeg.files import gunzip, sha256_bytes

SPACING_TOLERANCE_MM = 1e-3
AFFINE_TOLERANCE_MM = 1e-3
# Of one file: a head with voxels of 0.4 mm has 180 million. Beyond, a header is damaged, or made to fill the memory.
MOST_VOXELS = 1 << 28
SLACK_BYTES = 1 << 20  # behind the voxels, such as tags
HEADER_BYTES = 1024  # more than any header has
GZIP, MGH = b"\x1f\x8b", b"\0\0\0\1"  # how such files begin
MGH_BYTES = {0: 1, 4: 2}  # of a voxel by MGH's code of its type; others have 4
FETCH_AGAIN = "Fetch this file again, or delete the data folder and run `make data`."


@dataclass(frozen=True)
class Case:
    """One labelled volume.

    Attributes:
        number, subject: numbers of the case and its subject.
        image: float32 (C, X, Y, Z), intensities scaled as the file says.
        label: uint8 (X, Y, Z), or None.
        affine: float64 (4, 4), voxel index to mm.
        spacing: mm along X, Y, Z.
        stored_dtype: dtype of the image on disk.
        sha256: over voxels, shape, dtype, affine and label, independent of compression.
        prefix: of the file name.
        warnings: what was clamped.
    """

    number: int
    subject: int
    image: np.ndarray
    label: np.ndarray | None
    affine: np.ndarray
    spacing: tuple[float, float, float]
    stored_dtype: str
    sha256: str
    prefix: str = "hippocampus"
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`hippocampus_001` for case 1."""
        return f"{self.prefix}_{self.number:03d}"


def _problem(path: Path, found: str, expected: str, advice: str = FETCH_AGAIN) -> DataError:
    return DataError(f"{path}: found {found}, expected {expected}. {advice}")


def read_case(folder: Path, spec: DatasetSpec, case: int) -> Case:
    """Read `imagesTr/<case>` and `labelsTr/<case>` below `folder`; anything wrong raises DataError.

    Label values outside the description are clamped with a warning for cases that the description lists as known.
    """
    path = folder / "imagesTr" / spec.file_name(case)
    image, affine, spacing, stored = _read_image(path, spec)
    label, warnings = _read_label(folder / "labelsTr" / spec.file_name(case), spec, case, image.shape[1:], affine)
    header = repr((image.shape, stored)).encode()
    digest = sha256_bytes(header, _bytes(image, "<f4"), _bytes(affine, "<f8"), _bytes(label, "u1"))
    return Case(case, spec.subject(case), image, label, affine, spacing, stored, digest, spec.prefix, warnings)


def _read_image(path: Path, spec: DatasetSpec) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float], str]:
    """Image (float32, (C, X, Y, Z)), affine, spacing in mm and dtype on disk.

    A file with several channels is 4-D with channels last, as in MSD's own 4-D tasks.
    """
    stored, affine, spacing, dtype = _load(path)
    image = _channels_first(path, stored, spec)
    if not np.isfinite(image).all():
        count = int(np.count_nonzero(~np.isfinite(image)))
        raise _problem(path, f"{count} voxels that are NaN or infinite", "finite values")
    for name, channel in zip(spec.channels, image, strict=True):
        if channel.min() == channel.max():
            value = f"every voxel of channel {name} is {channel.flat[0]:g}"
            raise _problem(path, f"a constant image ({value})", "one with contrast")
    # Metrics in mm would be wrong otherwise.
    for where, found in (("header", np.asarray(spacing)), ("affine", voxel_sizes(affine))):
        if not np.allclose(found, spec.spacing, atol=SPACING_TOLERANCE_MM, rtol=0):
            shown, wanted = (" x ".join(f"{size:g}" for size in sizes) for sizes in (found, spec.spacing))
            advice = "Resample the volume to the expected spacing, or correct its header."
            raise _problem(path, f"a voxel size of {shown} mm in the {where}", f"{wanted} mm", advice)
    return image, affine, spacing, dtype


def _load(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...], str]:
    """Voxels (scaled), affine, header spacing of the first three axes, dtype name; reads the file to its last byte.

    nibabel alone stops at the last voxel and would miss a truncated end, which holds the gzip checksum.
    """
    if not path.is_file():
        raise _problem(path, "no such file", "a NIfTI volume")
    content = path.read_bytes()
    try:
        if content[:2] != GZIP and path.suffix == ".gz":
            raise _problem(path, "a file that is not gzip", ".nii.gz")
        image = parse(unpacked(content))
        voxels = np.asarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (EOFError, OSError, zlib.error, ValueError, ImageFileError, HeaderDataError) as error:
        if isinstance(error, DataError):
            raise
        raise _problem(path, f"a truncated or damaged file ({error})", "a complete NIfTI volume") from error
    if voxels.dtype.kind not in "biuf":
        raise _problem(path, f"voxels of type {voxels.dtype}", "real numbers", "Convert the file.")
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    return voxels, affine, spacing, image.get_data_dtype().newbyteorder("=").name


def unpacked(content: bytes) -> bytes:
    """The bytes of a file, unpacked if it is gzip: of NIfTI and MGH what the header claims, else the beginning alone.

    Raises ValueError if the header claims more than a scan has or than the file holds, and errors of `files.gunzip`.
    """
    packed = content[:2] == GZIP
    header = zlib.decompressobj(wbits=31).decompress(content, HEADER_BYTES) if packed else content[:HEADER_BYTES]
    voxels, size = _claimed(header)
    if voxels > MOST_VOXELS:
        raise ValueError(f"its header claims {voxels} voxels, more than the {MOST_VOXELS} that a scan can have")
    if packed and not voxels and len(header) == HEADER_BYTES:
        return header  # enough to say that this is another kind of file
    content = gunzip(content, size + SLACK_BYTES) if packed else content
    if voxels and len(content) < size:
        raise ValueError(f"it holds {len(content)} bytes of the {size} that its header claims")
    return content


def _claimed(header: bytes) -> tuple[int, int]:
    """Voxels and bytes that the header of a file with voxels claims; none for another kind of file."""
    single = {b"n+1\0": (nib.Nifti1Header, header[344:348]), b"n+2\0": (nib.Nifti2Header, header[4:8])}
    kind = next((kind for magic, (kind, found) in single.items() if found == magic), None)
    if header[:4] == MGH and len(header) >= 24:
        *sides, code = unpack(">5i", header[4:24])
        start, width = 284, MGH_BYTES.get(code, 4)
    elif kind and len(header) >= kind.sizeof_hdr:
        raw = kind(header[: kind.sizeof_hdr], check=False)
        count, *sides = raw["dim"].tolist()
        sides, types, code = sides[: max(count, 0)], nib.nifti1.data_type_codes.dtype, int(raw["datatype"])
        width = types[code].itemsize if code in types else int(raw["bitpix"]) // 8
        start = int(np.clip(np.nan_to_num(raw["vox_offset"]), 0, 1 << 26))
    else:
        return 0, 0
    voxels = prod(max(side, 0) for side in sides)
    return voxels, start + voxels * width


def parse(content: bytes) -> Any:
    """A nibabel image from a file's unpacked bytes: NIfTI-2 if the header's size says so, else NIfTI-1."""
    size = content[:4]
    kind = nib.Nifti2Image if 540 in (int.from_bytes(size, "little"), int.from_bytes(size, "big")) else nib.Nifti1Image
    return kind.from_stream(io.BytesIO(content))


def _channels_first(path: Path, voxels: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Float32 (C, X, Y, Z), C-contiguous, from (X, Y, Z) or, with several channels, (X, Y, Z, C)."""
    wanted = len(spec.channels)
    axes = "3-D (X, Y, Z)" if wanted == 1 else f"4-D (X, Y, Z, {wanted})"
    fits = voxels.ndim == 3 if wanted == 1 else voxels.ndim == 4 and voxels.shape[3] == wanted
    if not fits or 0 in voxels.shape:
        advice = "Save one volume a file, without empty or extra axes."
        raise _problem(path, f"shape {voxels.shape}", f"{axes} for channels {', '.join(spec.channels)}", advice)
    volume = voxels[None] if wanted == 1 else np.moveaxis(voxels, 3, 0)
    with np.errstate(over="ignore"):
        # What float32 cannot hold becomes infinite here, and is refused as that.
        return np.ascontiguousarray(volume, dtype=np.float32)


def _read_label(
    path: Path, spec: DatasetSpec, case: int, shape: tuple[int, ...], affine: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The label as uint8 (X, Y, Z) and the warnings about values that were clamped."""
    voxels, label_affine, _, _ = _load(path)
    if voxels.shape != shape:
        raise _problem(path, f"shape {voxels.shape}", f"{shape}, the shape of its image")
    if not np.allclose(label_affine, affine, atol=AFFINE_TOLERANCE_MM, rtol=0):
        worst = float(np.abs(label_affine - affine).max())
        raise _problem(path, f"an affine that differs from its image's by up to {worst:g}", "the same affine")
    highest = len(spec.labels)
    allowed = np.isin(voxels, np.arange(highest + 1))
    if allowed.all():
        return np.ascontiguousarray(voxels, dtype=np.uint8), ()
    wrong = voxels[~allowed]
    values = ", ".join(f"{value:g}" for value in np.unique(wrong)[:5])
    found = f"{path}: found {wrong.size} voxels with label values {values}, expected 0 to {highest}"
    if case not in spec.known_bad_labels or not np.isfinite(wrong).all():
        raise DataError(f"{found}. {FETCH_AGAIN}")
    warning = f"{found}. The published archive is known for this; the values were clamped into that range."
    return np.ascontiguousarray(np.clip(np.rint(voxels), 0, highest), dtype=np.uint8), (warning,)


def _bytes(array: np.ndarray, dtype: str) -> bytes:
    """The array's bytes in a fixed byte order, so that hashes agree between machines."""
    return np.ascontiguousarray(array, dtype=dtype).tobytes()
