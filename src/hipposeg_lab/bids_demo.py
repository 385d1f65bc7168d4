"""Make a BIDS set to try `hipposeg bids` on: whole heads, each rotated a little, and one broken file.

python -m hipposeg_lab.bids_demo HEADS OUT --scans 20
hipposeg bids OUT OUT/derivatives/hipposeg participant --jobs 2
"""

import argparse
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from hipposeg.files import write_bytes, write_json
from hipposeg.predict import scan

DEGREES = 6.0  # largest rotation about each axis


def rotated(head: scan.Scan, degrees: np.ndarray) -> np.ndarray:
    """A head rotated about its middle in mm, on its own grid."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    middle = head.affine @ (*(np.array(head.image.shape) / 2), 1)
    turn[:3, 3] = middle[:3] - turn[:3, :3] @ middle[:3]
    there = np.linalg.inv(head.affine) @ turn @ head.affine
    return ndimage.affine_transform(head.image, there[:3, :3], there[:3, 3], order=1, mode="nearest")


def make(heads: Path, out: Path, count: int) -> None:
    """Write `count` scans, the last one cut off in its middle, one subject each, and every fourth with a session."""
    paths = sorted(path for path in heads.glob("*.nii.gz") if "_ref_" not in path.name)
    drawn = np.random.default_rng(0)
    write_json(out / "dataset_description.json", {"Name": "rotated heads", "BIDSVersion": "1.10.0"})
    for number in range(1, count + 1):
        head = scan.read(paths[number % len(paths)])
        image = nibabel.Nifti1Image(rotated(head, drawn.uniform(-DEGREES, DEGREES, 3)), head.affine)
        content = image.to_bytes() if number < count else image.to_bytes()[: head.image.size]
        subject, session = f"sub-{number:02d}", "ses-1" if number % 4 == 0 else ""
        name = "_".join(filter(None, (subject, session, "T1w.nii")))
        write_bytes(out / subject / session / "anat" / name, content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, help="folder of whole heads; *_ref_* are left out")
    parser.add_argument("out", type=Path, help="folder of the BIDS set")
    parser.add_argument("--scans", type=int, default=20, help="how many (20)")
    args = parser.parse_args()
    make(args.heads, args.out, args.scans)
