"""A user's scan, read with every check that the networks' knowledge asks for.

The networks know boxes of one kind: one hippocampus, cut closely, in one orientation and voxel size. On anything else
they answer as readily, and wrongly. So a file of another kind is refused, in a sentence that says what was found, what
was expected and what to do.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes

from hipposeg.data.read import FETCH_AGAIN, parse, read_image
from hipposeg.data.spec import DataError, DatasetSpec
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.predict.card import Boxes

# Voxels by which a box may be smaller or larger along an axis than any in the training set.
SIZE_MARGIN = 3
# Far below the changes of size that networks were trained with; volumes are computed with the file's own spacing.
SPACING_TOLERANCE_MM = 0.02
# Between an axis of the box and the direction that it should run to: as far as boxes were turned in training.
MOST_DEGREES = MODELS[FLAGSHIP].training("standard").augmentation.rotate
# A scan has a hundred and more different values, a label map given by mistake a few.
FEWEST_VALUES = 16
ROUNDING_DEGREES = 0.1  # headers hold float32, and quaternions lose a little more
SUFFIXES = (".nii", ".nii.gz")

_DIRECTIONS = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}
_EXPORT = "Export the volume again as one 3-D NIfTI file."
WHY_THE_BOX = (
    "The box matters: part of what the networks know is where a hippocampus lies in a box that was cut closely around "
    "it, so a looser, tighter or shifted box gives other volumes."
)


@dataclass(frozen=True)
class Scan:
    """A file that passed every check. image: (C, X, Y, Z) float32. spacing: mm along X, Y, Z, the file's own."""

    path: Path
    image: np.ndarray
    spacing: tuple[float, float, float]


def read_scan(path: Path, boxes: Boxes, spec: DatasetSpec) -> Scan:
    """Read one cropped NIfTI volume.

    Raises DataError if it cannot be read to its last byte, is not 3-D, holds NaN or infinities, is constant or a label
    map, has another spacing or orientation than the boxes of the card, is turned further than they were in training, or
    is smaller or larger than they were.
    """
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path}: found another kind of file, expected a name that ends in .nii or .nii.gz. {_EXPORT}")
    if path.is_dir():
        raise DataError(f"{path}: found a folder, expected a file. Name the files in it, as in {path}/*.nii.gz.")
    try:
        image, affine, spacing, _ = read_image(path, spec, any_spacing=True)
    except DataError as error:
        raise DataError(str(error).replace(FETCH_AGAIN, _EXPORT)) from error
    except Exception as error:  # a damaged header can make nibabel raise anything; one file must not end a batch
        kind = type(error).__name__
        raise DataError(f"{path}: found a header that cannot be read ({kind}: {error}). {_EXPORT}") from error
    _check_values(path, image)
    _check_geometry(path, affine, spacing, boxes)
    _check_size(path, image.shape[1:], boxes)
    return Scan(path, image, spacing)


def _check_values(path: Path, image: np.ndarray) -> None:
    """At least FEWEST_VALUES different ones."""
    if (count := len(np.unique(image))) < FEWEST_VALUES:
        raise DataError(
            f"{path}: found only {count} different values, as in a label map, expected a scan with at least "
            f"{FEWEST_VALUES}. Name the scan that the mask or label map belongs to."
        )


def _check_geometry(path: Path, affine: np.ndarray, spacing: tuple[float, ...], boxes: Boxes) -> None:
    """Voxel size in header and affine and orientation as the card's boxes have them, turned by MOST_DEGREES at most."""
    for where, found in (("header", np.asarray(spacing)), ("affine", voxel_sizes(affine))):
        if not np.allclose(found, boxes.spacing, atol=SPACING_TOLERANCE_MM, rtol=0):
            raise DataError(
                f"{path}: found voxels of {_by(found)} mm in the {where}, expected {_by(boxes.spacing)} mm, the "
                f"training set's, within {SPACING_TOLERANCE_MM:g}. Resample the scan, then cut the box."
            )
    codes = "".join(code or "?" for code in nibabel.aff2axcodes(affine))
    towards = ", ".join(_DIRECTIONS[code] for code in boxes.axes)
    if codes != boxes.axes:
        raise DataError(
            f"{path}: found axes {codes}, expected {boxes.axes} (the three axes run to {towards}), as in the training "
            f"set. Reorient the scan, for instance with nibabel's as_closest_canonical; if the file stores no "
            "orientation (sform and qform codes 0), take it from the scan that the box was cut from."
        )
    if (degrees := _degrees_off(affine)) > MOST_DEGREES + ROUNDING_DEGREES:
        raise DataError(
            f"{path}: found axes that are turned by {degrees:.1f} degrees, expected {MOST_DEGREES:g} at most between "
            f"each and its direction ({towards}), as in training. Resample the whole scan to these directions, for "
            "instance with nibabel.processing.resample_to_output, then cut the box."
        )


def _degrees_off(affine: np.ndarray) -> float:
    """The largest angle between an axis of the box and the scanner's axis that it runs along, up or down."""
    columns = affine[:3, :3] / voxel_sizes(affine)
    return float(np.degrees(np.arccos(np.abs(columns).max(axis=0).clip(max=1))).max())


def _check_size(path: Path, shape: tuple[int, ...], boxes: Boxes) -> None:
    """Each side within the card's boxes and SIZE_MARGIN."""
    low, high = (np.add(end, step) for end, step in ((boxes.smallest, -SIZE_MARGIN), (boxes.largest, SIZE_MARGIN)))
    if (shape < low).any() or (shape > high).any():
        raise DataError(
            f"{path}: found a box of {_by(shape)} voxels, expected {_by(low)} to {_by(high)} (the training set's boxes "
            f"have {_by(boxes.smallest)} to {_by(boxes.largest)}, and {SIZE_MARGIN} more or less are taken). Cut a box "
            f"around one hippocampus, with {boxes.margin[0]} to {boxes.margin[1]} mm around it. {WHY_THE_BOX}"
        )


def save_mask(path: Path, mask: np.ndarray, scan: Scan) -> None:
    """Write (X, Y, Z) uint8 in the scan's own geometry: its affine with its codes, its units, its NIfTI version.

    Nothing else of its header is kept, which may name a patient. The bytes do not depend on the clock. The caller sees
    to it that a failed write leaves nothing behind.
    """
    content = scan.path.read_bytes()
    like = parse(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    image = type(like)(mask, like.affine, dtype=np.uint8)
    image.header.set_sform(*like.header.get_sform(coded=True))
    image.header.set_qform(*like.header.get_qform(coded=True))
    image.header.set_xyzt_units(*like.header.get_xyzt_units())
    image.header["descrip"] = b"hipposeg: 1 anterior, 2 posterior"
    nibabel.save(image, path)


def _by(sizes: object) -> str:
    """ "31 x 40 x 24"."""
    return " x ".join(f"{size:g}" for size in np.asarray(sizes).tolist())
