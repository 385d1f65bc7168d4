"""Two published layouts without dataset.json.

- MRIHS (Kaggle sabermalek/mrihs; ADNI HarP as JPEG slices of 1 mm): `original/{100,35}/<subject>/*.jpg` and
  `label/{100label,35label}/<subject>/<id>_L/*.jpg` and `<id>_R/*.jpg`. The 35 are for testing.
- HipMRI (CSIRO, doi:10.25919/45t8-p065; male pelvis): `semantic_MRs_anon/Case_XXX_WeekY_LFOV.nii.gz` and
  `semantic_labels_anon/Case_XXX_WeekY_SEMANTIC_LFOV.nii.gz`. A patient has several weeks.
"""

import re
from collections.abc import Callable
from pathlib import Path

from hipposeg.data.read import slice_files
from hipposeg.data.spec import DataError, Entry

RULE = "the person that the names of files and folders hold"
MRS, SEMANTIC = "semantic_MRs_anon", "semantic_labels_anon"


def mrihs(folder: Path) -> list[Entry]:
    """The subjects of MRIHS, each one case. Raises DataError."""
    entries = []
    for part, test in (("100", False), ("35", True)):
        images, labels = folder / "original" / part, folder / "label" / f"{part}label"
        found = {side: {path.name for path in side.glob("[!.]*") if path.is_dir()} for side in (images, labels)}
        for side, other in ((images, labels), (labels, images)):
            if missing := sorted(found[other] - found[side]):
                raise DataError(
                    f"{side / missing[0]}: found no such folder, expected one for each in {other}. Copy it, or remove "
                    f"{other / missing[0]}."
                )
        entries += [_subject(images / name, labels / name, test) for name in sorted(found[images])]
    return entries


def _subject(images: Path, labels: Path, test: bool) -> Entry:
    sides = []
    for letter in "LR":
        found = sorted(path for path in labels.glob(f"*_{letter}") if path.is_dir())
        if len(found) != 1:
            raise DataError(
                f"{labels}: found {len(found)} folders that end in _{letter}, expected one. Keep the masks of one "
                "hippocampus in each of <id>_L and <id>_R."
            )
        sides += found
    wanted = _slice_numbers(images)
    for side in sides:
        if (numbers := _slice_numbers(side)) != wanted:
            apart = sorted(set(numbers) ^ set(wanted))
            which = f"; slice {apart[0]} is on one side only" if apart else ""
            raise DataError(
                f"{side}: found {len(numbers)} slices, expected the {len(wanted)} of {images}{which}. Copy the missing "
                "slices, or remove those without a partner."
            )
    person = re.search(r"\d{3}_S_\d{4}", images.name)
    return Entry(images.name, person[0] if person else images.name, (images,), tuple(sides), test)


def _slice_numbers(folder: Path) -> list[int]:
    """The last number in the name of each slice, in order."""
    files = slice_files(folder)
    numbers = [re.findall(r"\d+", path.stem)[-1:] for path in files]
    if bad := [path for path, number in zip(files, numbers, strict=True) if not number]:
        raise DataError(f"{bad[0]}: found a slice without a number, expected one in its name. Number the slices.")
    found = [int(number[0]) for number in numbers]
    if len(set(found)) < len(found):
        raise DataError(f"{folder}: found two slices of one number, expected it last in each name. Rename them.")
    return found


def hipmri(folder: Path) -> list[Entry]:
    """The volumes of HipMRI, several a patient. Raises DataError."""
    patterns = {MRS: r"(Case_\d+)_(Week\d+)_LFOV", SEMANTIC: r"(Case_\d+)_(Week\d+)_SEMANTIC_LFOV"}
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for part, pattern in patterns.items():
        found[part] = {}
        for path in sorted((folder / part).glob("[!.]*")):
            match = re.fullmatch(rf"{pattern}\.nii(\.gz)?", path.name)
            if not match:
                wanted = "Case_001_Week0_LFOV.nii.gz" if part == MRS else "Case_001_Week0_SEMANTIC_LFOV.nii.gz"
                raise DataError(f"{path}: found this name, expected one like {wanted}. Rename or remove the file.")
            found[part][match[1], match[2]] = path
    for part, other in ((MRS, SEMANTIC), (SEMANTIC, MRS)):
        if missing := sorted(set(found[other]) - set(found[part])):
            raise DataError(
                f"{folder / part}: found no volume of {' '.join(missing[0])}, expected one for "
                f"{found[other][missing[0]].name}. Copy it, or remove that file."
            )
    return [Entry("_".join(key), key[0], (path,), (found[SEMANTIC][key],)) for key, path in sorted(found[MRS].items())]


# The folder that tells a layout, its reader, its title and its foreground classes.
LAYOUTS: tuple[tuple[str, Callable[[Path], list[Entry]], str, tuple[str, ...]], ...] = (
    ("original", mrihs, "MRIHS", ("hippocampus",)),
    (MRS, hipmri, "HipMRI", ("body", "bone", "bladder", "rectum", "prostate")),
)
