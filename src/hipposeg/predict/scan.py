"""Read a user's scan with all checks.

The networks were trained on crops of one kind: one hippocampus, tightly cropped, in one orientation and voxel size. On
other input their predictions look as confident and are wrong. So a file of another kind is refused; the message names
what was found, what was expected and what to do.
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

# Voxels by which a crop may be smaller or larger along an axis than any in the training set.
SIZE_MARGIN = 3
# Far below the scaling in augmentation; volumes are computed with the file's own spacing.
SPACING_TOLERANCE_MM = 0.02
# Largest angle between an axis of the crop and its direction: that of rotations in augmentation.
MOST_DEGREES = MODELS[FLAGSHIP].training("standard").augmentation.rotate
# A scan has a hundred or more different values, a label map a few.
FEWEST_VALUES = 16
ROUNDING_DEGREES = 0.1  # headers hold float32, and quaternions lose a little more
SUFFIXES = (".nii", ".nii.gz")

_DIRECTIONS = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}
_EXPORT = "Export the volume again as one 3-D NIfTI file."
WHY_THE_CROP = (
    "The crop matters: the networks have learned where a hippocampus lies in a tight crop, so a looser, tighter or "
    "shifted crop changes the volumes."
)


@dataclass(frozen=True)
class Scan:
    """A file that passed every check.

    Attributes:
        path: the file.
        image: (C, X, Y, Z) float32.
        spacing: the file's own voxel size along X, Y, Z in mm.
    """

    path: Path
    image: np.ndarray
    spacing: tuple[float, float, float]


def read_scan(path: Path, boxes: Boxes, spec: DatasetSpec) -> Scan:
    """Read one cropped NIfTI volume.

    Args:
        path: .nii or .nii.gz.
        boxes: the crops of the model card.
        spec: the data set that the networks were trained on.

    Raises:
        DataError: the file cannot be read to its last byte, is not 3-D, holds NaN or infinities, is constant or a label
            map, has another spacing or orientation than the card's crops, is rotated further than they were in
            training, or is smaller or larger than they are.
    """
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path}: found another kind of file, expected a name that ends in .nii or .nii.gz. {_EXPORT}")
    if path.is_dir():
        raise DataError(f"{path}: found a folder, expected a file. Name the files in it, as in {path}/*.nii.gz.")
    try:
        image, affine, spacing, _ = read_image(path, spec, any_spacing=True)
    except DataError as error:
        raise DataError(str(error).replace(FETCH_AGAIN, _EXPORT)) from error
    except Exception as error:  # with a damaged header nibabel raises anything
        kind = type(error).__name__
        raise DataError(f"{path}: found a header that cannot be read ({kind}: {error}). {_EXPORT}") from error
    _check_values(path, image)
    _check_geometry(path, affine, spacing, boxes)
    _check_size(path, image.shape[1:], boxes)
    return Scan(path, image, spacing)


def _check_values(path: Path, image: np.ndarray) -> None:
    """Check that there are at least FEWEST_VALUES different values."""
    if (count := len(np.unique(image))) < FEWEST_VALUES:
        raise DataError(
            f"{path}: found only {count} different values, as in a label map, expected a scan with at least "
            f"{FEWEST_VALUES}. Name the scan that the mask or label map belongs to."
        )


def _check_geometry(path: Path, affine: np.ndarray, spacing: tuple[float, ...], boxes: Boxes) -> None:
    """Check voxel size (in header and affine), orientation, and rotation by at most MOST_DEGREES."""
    for where, found in (("header", np.asarray(spacing)), ("affine", voxel_sizes(affine))):
        if not np.allclose(found, boxes.spacing, atol=SPACING_TOLERANCE_MM, rtol=0):
            raise DataError(
                f"{path}: found voxels of {_by(found)} mm in the {where}, expected {_by(boxes.spacing)} mm, the "
                f"training set's, within {SPACING_TOLERANCE_MM:g}. Resample the scan, then crop it."
            )
    codes = "".join(code or "?" for code in nibabel.aff2axcodes(affine))
    towards = ", ".join(_DIRECTIONS[code] for code in boxes.axes)
    if codes != boxes.axes:
        raise DataError(
            f"{path}: found axes {codes}, expected {boxes.axes} (the three axes run to {towards}), as in the training "
            f"set. Reorient the scan, for instance with nibabel's as_closest_canonical; if the file stores no "
            "orientation (sform and qform codes 0), take it from the scan that was cropped."
        )
    if (degrees := _degrees_off(affine)) > MOST_DEGREES + ROUNDING_DEGREES:
        raise DataError(
            f"{path}: found axes that are rotated by {degrees:.1f} degrees, expected {MOST_DEGREES:g} at most between "
            f"each and its direction ({towards}), as in training. Resample the whole scan to these directions, for "
            "instance with nibabel.processing.resample_to_output, then crop it."
        )


def _degrees_off(affine: np.ndarray) -> float:
    """The largest angle between an axis of the crop and the nearest axis of the scanner."""
    columns = affine[:3, :3] / voxel_sizes(affine)
    return float(np.degrees(np.arccos(np.abs(columns).max(axis=0).clip(max=1))).max())


def _check_size(path: Path, shape: tuple[int, ...], boxes: Boxes) -> None:
    """Check that each side is within those of the card's crops and SIZE_MARGIN."""
    low, high = (np.add(end, step) for end, step in ((boxes.smallest, -SIZE_MARGIN), (boxes.largest, SIZE_MARGIN)))
    if (shape < low).any() or (shape > high).any():
        raise DataError(
            f"{path}: found a crop of {_by(shape)} voxels, expected {_by(low)} to {_by(high)} (the training set's have "
            f"{_by(boxes.smallest)} to {_by(boxes.largest)}; {SIZE_MARGIN} more or less are accepted). Crop the scan "
            f"around one hippocampus, with {boxes.margin[0]} to {boxes.margin[1]} mm around it. {WHY_THE_CROP}"
        )


def save_mask(path: Path, mask: np.ndarray, scan: Scan) -> None:
    """Write (X, Y, Z) uint8 in the scan's own geometry: its affine with its codes, its units, its NIfTI version.

    Nothing else of its header is kept, which may name a patient. Equal masks give equal bytes.
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
