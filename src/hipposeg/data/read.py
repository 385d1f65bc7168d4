"""Read one case with every check that a training relies on.

A volume that is truncated, of another shape or with a stray class would train without complaint and show up only as a
bad score. Each check raises a `DataError` that names the file, what was found, what was expected and what to do.
"""

import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from struct import unpack
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from hipposeg.data.spec import DataError, DatasetSpec, Entry
from hipposeg.files import gunzip, sha256_bytes

SPACING_TOLERANCE_MM = 1e-3
AFFINE_TOLERANCE_MM = 1e-3
# Of one file: a head with voxels of 0.4 mm has 180 million. Beyond, a header is damaged, or made to fill the memory.
MOST_VOXELS = 1 << 28
SLACK_BYTES = 1 << 20  # behind the voxels, such as tags
HEADER_BYTES = 1024  # more than any header has
GZIP, MGH = b"\x1f\x8b", b"\0\0\0\1"  # how such files begin
MGH_BYTES = {0: 1, 4: 2}  # of a voxel by MGH's code of its type; others have 4
FETCH_AGAIN = "Fetch or export this file again (of Task04: delete the data folder and run `make data`)."
# 8-bit masks stored as JPEG are grey near their border; this and above is foreground.
MASK_THRESHOLD = 128
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# An NRRD header that says where left, front and top are.
NRRD_SPACE = rb"(?mi)^space: *(ras|las|lps|(right|left)-(anterior|posterior)-superior)\s(?s:.*)^space directions:"


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
        name: as the data set names it, `hippocampus_001` by default for case 1.
        warnings: what was clamped or looks unusual.
    """

    number: int
    subject: int
    image: np.ndarray
    label: np.ndarray | None
    affine: np.ndarray
    spacing: tuple[float, float, float]
    stored_dtype: str
    sha256: str
    name: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"hippocampus_{self.number:03d}")


def _problem(path: Path, found: str, expected: str, advice: str = FETCH_AGAIN) -> DataError:
    return DataError(f"{path}: found {found}, expected {expected}. {advice}")


def read_case(folder: Path, spec: DatasetSpec, case: int) -> Case:
    """Read the image and label of a case below `folder`; anything wrong raises DataError.

    A stray label value that the description lists for the case becomes background, with a warning.
    """
    entry = spec.entry(folder, case)
    image, affine, spacing, stored = _read_image(entry.images, spec)
    label, warnings = _read_label(entry.labels, spec, case, image.shape[1:], affine)
    warnings += _check_content(entry, spec, image, label)
    header = repr((image.shape, stored)).encode()
    digest = sha256_bytes(header, _bytes(image, "<f4"), _bytes(affine, "<f8"), _bytes(label, "u1"))
    return Case(case, spec.subject(case), image, label, affine, spacing, stored, digest, entry.name, warnings)


def _read_image(
    paths: Sequence[Path], spec: DatasetSpec
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float], str]:
    """Image (float32, (C, X, Y, Z)), affine, spacing in mm and dtype on disk.

    Several channels are one file each, on one grid, or a 4-D file with channels last, as in MSD's own 4-D tasks.
    """
    first, affine, spacing, dtype = _load(paths[0])
    image = _channels_first(paths[0], first, spec if len(paths) == 1 else replace(spec, channels=spec.channels[:1]))
    for path in paths[1:]:
        voxels, other, _, _ = _load(path)
        if voxels.shape != first.shape or not np.allclose(other, affine, atol=AFFINE_TOLERANCE_MM, rtol=0):
            apart = f"shape {voxels.shape} and affine {other.round(3).tolist()}"
            wanted = f"{first.shape} and {affine.round(3).tolist()}, the grid of {paths[0].name}"
            raise _problem(path, apart, wanted, "Register the channels and resample them to one grid.")
        image = np.concatenate([image, _channels_first(path, voxels, replace(spec, channels=spec.channels[:1]))])
    owners = paths if len(paths) > 1 else [paths[0]] * len(image)
    for name, channel, path in zip(spec.channels, image, owners, strict=True):
        if not np.isfinite(channel).all():
            count = int(np.count_nonzero(~np.isfinite(channel)))
            raise _problem(path, f"{count} voxels that are NaN or infinite", "finite values")
        if channel.min() == channel.max():
            value = f"every voxel of channel {name} is {channel.flat[0]:g}"
            raise _problem(path, f"a constant image ({value})", "one with contrast")
    # Metrics in mm would be wrong otherwise.
    advice = "Resample the volume to the expected spacing, or correct its header."
    for where, found in (("header", np.asarray(spacing)), ("affine", voxel_sizes(affine))):
        expected = spacing if spec.spacing is None else spec.spacing
        if not np.allclose(found, expected, atol=SPACING_TOLERANCE_MM, rtol=0):
            shown, wanted = (" x ".join(f"{size:g}" for size in sizes) for sizes in (found, expected))
            raise _problem(paths[0], f"a voxel size of {shown} mm in the {where}", f"{wanted} mm", advice)
    return image, affine, spacing, dtype


def _load(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...], str]:
    """Voxels (scaled), affine, header spacing of the first three axes, dtype name."""
    if path.is_dir():
        return _stacked(path)
    if not path.is_file():
        raise _problem(path, "no such file", "a volume")
    if not path.name.endswith((".nii", ".nii.gz")):
        return _load_itk(path)
    voxels, affine, image = _load_nifti(path)
    if voxels.dtype.kind not in "biuf":
        raise _problem(path, f"voxels of type {voxels.dtype}", "real numbers", "Convert the file.")
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    return voxels, affine, spacing, image.get_data_dtype().newbyteorder("=").name


def _load_nifti(path: Path) -> tuple[np.ndarray, np.ndarray, Any]:
    """Voxels (scaled), affine and nibabel's image; reads the file to its last byte.

    nibabel alone stops at the last voxel and would miss a truncated end, which holds the gzip checksum.
    """
    content = path.read_bytes()
    try:
        if content[:2] != GZIP and path.suffix == ".gz":
            raise _problem(path, "a file that is not gzip", ".nii.gz")
        image = parse(unpacked(content))
        header_size = image.header.single_vox_offset
        if image.dataobj.offset < header_size:
            found = f"voxels that begin at byte {image.dataobj.offset}, inside the header (vox_offset)"
            raise _problem(path, found, f"byte {header_size} or later")
        voxels = np.asarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (EOFError, OSError, zlib.error, ValueError, ImageFileError, HeaderDataError) as error:
        if isinstance(error, DataError):
            raise
        raise _problem(path, f"a truncated or damaged file ({error})", "a complete NIfTI volume") from error
    sform, qform = (form(coded=True) for form in (image.header.get_sform, image.header.get_qform))
    if sform[1] and qform[1]:
        corners = np.array([*product(*((0, side - 1) for side in (*voxels.shape, 1, 1)[:3])), (0, 0, 0)])
        apart = np.linalg.norm(apply_affine(sform[0], corners) - apply_affine(qform[0], corners), axis=1).max()
        if apart > min(voxel_sizes(affine)):
            raise _problem(
                path, f"an sform and a qform that are up to {apart:.3g} mm apart", "two that agree to within a voxel",
                "Delete the wrong one of them from the header (set its code to 0).",
            )  # fmt: skip
    return voxels, affine, image


def _load_itk(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...], str]:
    """What `_load` returns of NRRD or MetaImage; a file without orientation counts as one in LPS."""
    try:
        voxels, affine, _ = read_itk(path, path.read_bytes())
    except Exception as error:  # with a damaged header readers raise anything
        reason = str(error).strip().splitlines()[-1]
        raise _problem(path, f"a file that cannot be read ({reason})", "NIfTI, NRRD or MetaImage") from error
    if voxels.ndim != 3:
        raise _problem(path, f"{voxels.ndim} axes or a colour image", "a 3-D volume of one channel")
    return voxels, affine, tuple(voxel_sizes(affine).tolist()), voxels.dtype.name


def read_itk(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray, bool]:
    """Voxels of NRRD or MetaImage with the axes (X, Y, Z), affine (RAS), and whether the file stores the orientation.

    Compressed data are unpacked first, because SimpleITK ignores damage in them. content: bytes of the file itself.
    Raises ValueError if the header claims more voxels than a scan has, and whatever SimpleITK raises.
    """
    import SimpleITK as sitk  # noqa: N813

    if nrrd := content.startswith(b"NRRD"):
        header, data = (*re.split(rb"\r?\n\r?\n", content, maxsplit=1), b"")[:2]
        name, oriented = re.search(rb"(?mi)^data ?file: *(\S+)", header), re.search(NRRD_SPACE, header)
        sides, packed = rb"(?mi)^sizes: *([\d ]+)", rb"(?mi)^encoding: *gz"
    else:
        header, file, data = re.split(rb"ElementDataFile\s*=\s*(\S*).*?\n", content, maxsplit=1)
        name, oriented = re.match(rb"(?i)(?!local$)(.+)", file), b"TransformMatrix" in header
        sides, packed = rb"(?mi)^DimSize\s*=\s*([\d ]+)", rb"(?mi)^CompressedData\s*=\s*[t1]"
    claimed = re.search(sides, header)
    voxels = prod(map(int, claimed[1].split())) if claimed else 0
    if voxels > MOST_VOXELS:
        raise ValueError(f"its header claims {voxels} voxels, more than the {MOST_VOXELS} that a scan can have")
    if re.search(packed, header):
        data = (path.parent / name[1].decode()).read_bytes() if name else data
        gunzip(data, 8 * voxels + SLACK_BYTES, zlib.MAX_WBITS | 32)  # either kind of compression
    image = sitk.ReadImage(str(path), imageIO="NrrdImageIO" if nrrd else "MetaImageIO")
    n, affine = image.GetDimension(), np.eye(4)
    if n > 2:
        affine[:3, :3] = np.reshape(image.GetDirection(), (n, n))[:3, :3] * image.GetSpacing()[:3]
        affine[:3, 3] = image.GetOrigin()[:3]
    return sitk.GetArrayFromImage(image).T, LPS_TO_RAS @ affine, bool(oriented)


def slice_files(folder: Path) -> list[Path]:
    """The JPEG or PNG slices of a folder in the order of the numbers in their names. Raises DataError without any."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise _problem(folder, "no slice", "JPEG or PNG slices", "Copy the subject's slices there.")
    # Not by text: slice 10 follows slice 9.
    return sorted(found, key=lambda path: ([int(number) for number in re.findall(r"\d+", path.stem)], path.name))


def _stacked(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...], str]:
    """What `_load` returns of a folder with 8-bit slices of 1 mm: (columns, rows from below, slices)."""
    from PIL import Image, UnidentifiedImageError

    planes: list[np.ndarray] = []
    for path in (paths := slice_files(folder)):
        try:
            picture = Image.open(path)  # reads the header alone
            if prod(picture.size) * len(paths) > MOST_VOXELS:
                raise Image.DecompressionBombError(f"{picture.width} x {picture.height} pixels of {len(paths)} slices")
            plane = np.asarray(picture.convert("L"))[::-1].T
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
            raise _problem(path, f"a truncated or damaged picture ({error})", "a complete JPEG or PNG") from error
        if planes and plane.shape != planes[0].shape:
            raise _problem(path, f"{plane.shape} pixels", f"{planes[0].shape}, as in the subject's first slice")
        planes.append(plane)
    return np.stack(planes, -1), np.eye(4), (1.0, 1.0, 1.0), "uint8"


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
    paths: Sequence[Path], spec: DatasetSpec, case: int, shape: tuple[int, ...], affine: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The label as uint8 (X, Y, Z), classes 1..K in the order of the description, and warnings about stray values.

    Several folders of 8-bit masks (left and right) are joined first and thresholded then.
    """
    path, joined = paths[0], None
    for path in paths:
        voxels, label_affine, _, _ = _load(path)
        if voxels.shape != shape:
            raise _problem(path, f"shape {voxels.shape}", f"{shape}, the shape of its image")
        if not np.allclose(label_affine, affine, atol=AFFINE_TOLERANCE_MM, rtol=0):
            worst = float(np.abs(label_affine - affine).max())
            raise _problem(path, f"an affine that differs from its image's by up to {worst:g}", "the same affine")
        joined = voxels if joined is None else np.maximum(joined, voxels)
    if path.is_dir():
        joined = joined >= MASK_THRESHOLD
    values = np.array([0, *spec.stored_values])
    wrong = joined[~np.isin(joined, values)]
    warnings: tuple[str, ...] = ()
    if wrong.size:
        shown = ", ".join(exactly(value) for value in np.unique(wrong)[:5])
        wanted = f"0 to {len(spec.labels)}" if not spec.stored else f"0 and {', '.join(map(str, spec.stored))}"
        found = f"{path}: found {wrong.size} voxels with label values {shown}, expected {wanted}"
        known = [value for number, value in spec.known_bad_labels if number == case]
        if not np.isin(wrong, known).all():
            raise DataError(f"{found}. {FETCH_AGAIN}")
        warnings = (f"{found}. The published archive is known for this; these voxels are taken as background.",)
    label = np.zeros(shape, np.uint8)
    for number, value in enumerate(spec.stored_values, start=1):
        label[joined == value] = number
    return label, warnings


def exactly(value: np.generic) -> str:
    """A voxel's value with all its digits: 0.9999999 is not 1."""
    return np.format_float_positional(value, trim="-") if value.dtype.kind == "f" else str(value)


def _check_content(entry: Entry, spec: DatasetSpec, image: np.ndarray, label: np.ndarray) -> tuple[str, ...]:
    """Refuse an image and label that cannot be a case; return warnings about what is unusual.

    Raises DataError if the image is a label map, if a class that must be there is missing, or if the share of
    foreground is impossible.
    """
    path = entry.labels[0]
    counts = np.bincount(label.ravel(), minlength=spec.n_classes)
    there = np.flatnonzero(counts)
    for channel in image:
        # Few distinct values in a thin sample first: a real image has hundreds, and is not looked through.
        if len(np.unique(channel.ravel()[:: max(1, label.size // 4096)])) <= spec.n_classes and all(
            np.ptp(channel[label == value]) == 0 for value in there
        ):
            advice = "Put the scan in its place."
            found = "an image that is constant in every class of its label"
            raise _problem(entry.images[0], found, "a scan, not masks", advice)
    share, (low, high) = 1 - counts[0] / label.size, spec.share
    if share == 1 or not low <= share <= high:
        wanted = f"{low:.2%} to {high:.2%}" if high < 1 else "some background"
        raise _problem(path, f"{share:.2%} foreground", wanted, "Look at the label: it is not an outline of the scan.")
    missing = [name for name, count in zip(spec.names, counts[1:], strict=True) if not count]
    if missing and spec.complete:
        raise _problem(path, f"no voxel of {', '.join(missing)}", f"every class ({', '.join(spec.names)})")
    return () if share else (f"{path}: found no foreground; the case counts as one without the structure.",)


def _bytes(array: np.ndarray, dtype: str) -> bytes:
    """The array's bytes in a fixed byte order, so that hashes agree between machines."""
    return np.ascontiguousarray(array, dtype=dtype).tobytes()
