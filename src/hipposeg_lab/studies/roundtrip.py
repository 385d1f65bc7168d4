"""Round trip through the network's grid: proof that nothing is lost, case by case, and the cost of resampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pandas as pd

from hipposeg.data.cohort import Cohort
from hipposeg.data.grid import Spacing, Triple, place, rescale, rescale_label, zscore
from hipposeg.data.read import Case
from hipposeg.metrics import dice

HEADER_FIELDS = ("dim", "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
                 "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip


def prove(cohort: Cohort, size: Triple) -> pd.DataFrame:
    """Place every case on a grid of `size` voxels and restore it; one row per case (index), each check exact.

    Columns: size_0..2 (native voxels), room_0..2 (grid minus native, negative where cropped), cropped, image and label
    (every value equal after the round trip), file (label written to NIfTI after it and read back: values, affine and
    geometry in the header equal the original image file's).
    """
    rows = []
    with TemporaryDirectory() as folder:
        for number, case in cohort.cases.items():
            image, placement = place(case.image, size)
            label = placement.restore(placement.apply(case.label))
            rows.append({
                "case": number,
                **{f"size_{axis}": n for axis, n in enumerate(placement.native)},
                **{f"room_{axis}": m - n for axis, (m, n) in enumerate(zip(size, placement.native, strict=True))},
                "cropped": placement.cropped,
                "image": np.array_equal(placement.restore(image), case.image),
                "label": np.array_equal(label, case.label),
                "file": _same_file(label, cohort.folder / "imagesTr" / cohort.spec.file_name(number), Path(folder)),
            })  # fmt: skip
    return pd.DataFrame(rows).set_index("case")


def _same_file(label: np.ndarray, native: Path, folder: Path) -> bool:
    """Write the label in the native file's geometry, read it back, and compare values, affine and geometry."""
    original = nib.load(native)
    # One volume, whatever number of channels the image has.
    header = original.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(label.shape)
    nib.save(nib.Nifti1Image(label, original.affine, header), folder / native.name)
    back = nib.load(folder / native.name)
    same = all(np.array_equal(back.header[field], header[field]) for field in HEADER_FIELDS)
    return same and np.array_equal(back.affine, original.affine) and np.array_equal(np.asarray(back.dataobj), label)


@dataclass(frozen=True)
class Resampled:
    """A case on a grid of larger voxels and back again."""

    coarse: np.ndarray  # z-scored image (X, Y, Z) in larger voxels
    coarse_label: np.ndarray
    back: np.ndarray  # the image on the native grid again
    back_label: np.ndarray
    rms: float  # root mean square difference of `back` from the original, in SD
    dice: dict[str, float]  # class name -> Dice of `back_label` with the original


def resample_and_back(case: Case, names: Sequence[str], spacing: Spacing) -> Resampled:
    """Resample a case (first channel) to voxels of `spacing` mm and back, as training and inference would.

    Its label returns as a prediction does: each class interpolated linearly, and the largest taken.
    """
    image, label, classes = zscore(case.image)[0], case.label, len(names) + 1
    coarse, how = rescale(image, case.spacing, spacing, image.shape)
    coarse_label, _ = rescale_label(label, case.spacing, spacing, image.shape, classes)
    back = how.restore(coarse)
    back_label = how.restore(np.stack([coarse_label == k for k in range(classes)]).astype(np.float32)).argmax(0)
    kept = {name: dice(label == value, back_label == value) for value, name in enumerate(names, start=1)}
    rms = float(np.sqrt(np.mean((back.astype(np.float64) - image) ** 2)))
    return Resampled(coarse, coarse_label, back, back_label.astype(np.uint8), rms, kept)
