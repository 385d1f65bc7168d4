"""Ways in which a labelled data set can be malformed, and what the tool says about each.

Each way damages a small stand-in of one layout. All of them must end in a `DataError` that names a file, what was
found, what was expected and what to do; `table` shows these four for notebook and tests.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image

from hipposeg.anydata.describe import describe
from hipposeg.data import cohort
from hipposeg.data.spec import DataError
from hipposeg_lab import standin

SIZES = {"msd": (16, 20, 14), "nnunet": (16, 18, 12), "mrihs": (48, 56, 40), "hipmri": (24, 22, 14)}
MESSAGE = re.compile(
    r"(?P<file>.+?): found (?P<found>.+?), expected (?P<expected>.+?)\. (?P<remedy>[A-Z].+)", re.DOTALL
)


def stand_ins(folder: Path) -> dict[str, Path]:
    """A tiny stand-in of five subjects in each layout below a folder: layout -> its folder."""
    for layout, size in SIZES.items():
        standin.generate(layout, folder / layout, 5, size, 1, 2 if layout == "hipmri" else 0)
    return {layout: folder / layout for layout in SIZES}


def edit(folder: Path, **changes: object) -> None:
    """Change fields of dataset.json."""
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _first(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern))


def _rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    image = nib.load(path)
    voxels, old = np.asarray(image.dataobj), image.affine
    nib.save(nib.Nifti1Image(change(voxels), old if affine is None else affine), path)


def _zoomed(path: Path) -> None:
    """Voxels of 2 mm in the header alone; the sform stays."""
    image = nib.load(path)
    image.header["pixdim"][1:4] = 2
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)


def _doubled(folder: Path) -> None:
    """Copy the first training subject into the test part."""
    for images, tests in (("original/100", "original/35"), ("label/100label", "label/35label")):
        first = _first(folder, f"{images}/*")
        shutil.copytree(first, folder / tests / first.name)


def _renamed(path: Path, name: str) -> None:
    path.rename(path.with_name(name))


_SECOND, _LABEL = "imagesTr/*_0001*", "labelsTr/*"
_SLICE, _WEEK = "original/100/*/slice_3.jpg", "semantic_labels_anon/Case_002_Week1_SEMANTIC_LFOV.nii.gz"
# (layout, what is wrong) -> function that damages a set in this folder.
WAYS: dict[tuple[str, str], Callable[[Path], object]] = {
    ("nnunet", "labels are a list"): lambda f: edit(f, labels=["a"]),
    ("nnunet", "labels are null"): lambda f: edit(f, labels=None),
    ("nnunet", "a region of several labels"): lambda f: edit(f, labels={"background": 0, "whole": [1, 2]}),
    ("nnunet", "a label to ignore"): lambda f: edit(f, labels={"background": 0, "a": 1, "ignore": 2}),
    ("nnunet", "a label of 1.5"): lambda f: edit(f, labels={"background": 0, "a": 1.5}),
    ("nnunet", "two labels of one value"): lambda f: edit(f, labels={"background": 0, "a": 1, "b": 1}),
    ("nnunet", "a label called mean"): lambda f: edit(f, labels={"background": 0, "mean": 1}),
    ("nnunet", "no background"): lambda f: edit(f, labels={"a": 1, "b": 2}),
    ("nnunet", "channels are a list"): lambda f: edit(f, channel_names=["T1", "T2"]),
    ("nnunet", "channels counted from 1"): lambda f: edit(f, channel_names={"1": "T1", "2": "T2"}),
    ("nnunet", "a channel too few"): lambda f: edit(f, channel_names={"0": "T1"}),
    ("nnunet", "a channel too many"): lambda f: edit(f, channel_names={"0": "T1", "1": "T2", "2": "x"}),
    ("nnunet", "pictures as files"): lambda f: edit(f, file_ending=".png"),
    ("nnunet", "another file ending"): lambda f: edit(f, file_ending=".mha"),
    ("nnunet", "a wrong number of cases"): lambda f: edit(f, numTraining=7),
    ("nnunet", "a channel's file is missing"): lambda f: _first(f, _SECOND).unlink(),
    ("nnunet", "a label file is missing"): lambda f: _first(f, _LABEL).unlink(),
    ("nnunet", "dataset.json is no JSON"): lambda f: (f / "dataset.json").write_text("{"),
    ("nnunet", "dataset.json is a list"): lambda f: (f / "dataset.json").write_text("[]"),
    ("nnunet", "channels of two shapes"): lambda f: _rewrite(_first(f, _SECOND), lambda v: v[1:]),
    ("nnunet", "channels of two affines"): lambda f: _rewrite(_first(f, _SECOND), np.array, np.diag([1, 1, 2.5, 1])),
    ("nnunet", "a constant channel"): lambda f: _rewrite(_first(f, _SECOND), np.zeros_like),
    ("nnunet", "two voxel sizes in one header"): lambda f: _zoomed(_first(f, "imagesTr/*_0000*")),
    ("nnunet", "a label value that is not listed"): lambda f: _rewrite(_first(f, _LABEL), lambda v: v * 9),
    ("nnunet", "a label without background"): lambda f: _rewrite(_first(f, _LABEL), np.ones_like),
    ("nnunet", "a truncated file"): lambda f: (p := _first(f, _LABEL)).write_bytes(p.read_bytes()[:-9]),
    ("mrihs", "no masks of a subject"): lambda f: shutil.rmtree(_first(f, "label/100label/*")),
    ("mrihs", "no slices of a subject"): lambda f: shutil.rmtree(_first(f, "original/35/*")),
    ("mrihs", "one side is missing"): lambda f: shutil.rmtree(_first(f, "label/100label/*/*_L")),
    ("mrihs", "a mask slice is missing"): lambda f: _first(f, "label/100label/*/*_R/slice_7.jpg").unlink(),
    ("mrihs", "an empty folder"): lambda f: [p.unlink() for p in _first(f, "original/100/*").iterdir()],
    ("mrihs", "a slice without a number"): lambda f: _renamed(_first(f, _SLICE), "third.jpg"),
    ("mrihs", "one number twice"): lambda f: shutil.copy(p := _first(f, _SLICE), p.with_name("copy_3.jpg")),
    ("mrihs", "a slice of another size"): lambda f: Image.new("L", (7, 7)).save(_first(f, _SLICE)),
    ("mrihs", "a damaged picture"): lambda f: _first(f, _SLICE).write_bytes(b"x"),
    ("mrihs", "a subject in training and test"): _doubled,
    ("hipmri", "a file of another name"): lambda f: _renamed(_first(f, "semantic_MRs_anon/*"), "scan.nii.gz"),
    ("hipmri", "a label volume is missing"): lambda f: (f / _WEEK).unlink(),
    ("hipmri", "an image volume is missing"): lambda f: (f / "semantic_MRs_anon/Case_002_Week1_LFOV.nii.gz").unlink(),
    ("hipmri", "a seventh class"): lambda f: _rewrite(f / _WEEK, lambda v: v + 1),
}


def message(way: tuple[str, str], source: Path, folder: Path) -> str:
    """Copy a stand-in to a folder, which must not exist, damage it, and read it; the message, "" if it was read."""
    shutil.copytree(source, folder)
    WAYS[way](folder)
    try:
        cohort.load(describe(folder, "case" if way[0] == "nnunet" else ""))
    except DataError as error:
        return str(error)
    return ""


def table(folder: Path) -> pd.DataFrame:
    """All ways: layout, what is wrong, and of the message file (in the set), found, expected and remedy."""
    sets, rows = stand_ins(folder / "whole"), []
    for number, way in enumerate(WAYS):
        at = folder / f"{number}"
        parts = MESSAGE.fullmatch(message(way, sets[way[0]], at).replace(f"{at}/", "").replace(str(at), "the folder"))
        rows.append({"layout": way[0], "what is wrong": way[1], **parts.groupdict()})
        shutil.rmtree(at)
    return pd.DataFrame(rows)
