"""From a folder to the description of a data set: MSD, nnU-Net v2 raw, MRIHS and HipMRI.

The description is a `DatasetSpec` that lists the files and the subject of each case; cases and subjects get numbers in
the order of their names. Reading, folds, training and scoring know only that.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hipposeg.anydata import layouts
from hipposeg.anydata.subjects import NO_RULE, subjects_of
from hipposeg.data.locate import Source, case_numbers, listed_file, mapping_of, read_listing
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError, DatasetSpec, Entry, Label
from hipposeg.metrics import MEAN, UNION

log = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
# Okabe and Ito's colours; the eighth class has the first again.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
# A file of this name marks a folder whose data were generated (`hipposeg-lab standin`).
MARK, NOTICE = "STAND-IN.txt", "stand-in, synthetic"
EXPECTED = (
    "dataset.json (MSD or nnU-Net v2 raw), original/ and label/ (MRIHS), or semantic_MRs_anon/ and "
    "semantic_labels_anon/ (HipMRI)"
)


def describe(folder: Path, rule: str = "") -> Source:
    """Describe the data set in a folder.

    Args:
        folder: of the data set.
        rule: which cases are one subject (`subjects.RULES`); needed for sets whose layout does not say it.

    Raises:
        DataError: the folder has none of the layouts, or a part of it is malformed.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise DataError(f"{folder}: found no such folder, expected a data set: {EXPECTED}.")
    if (folder / "dataset.json").is_file():
        return _listed(folder, rule)
    for part, read, title, classes in layouts.LAYOUTS:
        if (folder / part).is_dir():
            return _source(folder, title, classes, (), ("MR",), read(folder), rule, layouts.RULE)
    inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:5]
    nested = next((path for path in folder.glob("*/dataset.json")), None)
    hint = f"{nested.parent} holds one: perhaps that folder is meant." if nested else "Name the folder that holds them."
    raise DataError(f"{folder}: found {', '.join(inside) or 'nothing'}, expected {EXPECTED}. {hint}")


def _listed(folder: Path, rule: str) -> Source:
    """A set with dataset.json, of MSD's kind or nnU-Net's."""
    listing = read_listing(folder, training=False)
    names, stored = _labels(folder, listing)
    channels = _channels(folder, listing)
    task04 = names == [label.name.capitalize() for label in MSD_HIPPOCAMPUS.labels] and "training" in listing
    if task04 and not rule and "hippocampus_" in listed_file(folder, (listing["training"] or [{}])[0], "image"):
        whole = len(listing["training"]) == MSD_HIPPOCAMPUS.n_cases
        spec = MSD_HIPPOCAMPUS if whole else replace(MSD_HIPPOCAMPUS, n_cases=None)
        spec = PHANTOM_SPEC if "phantom" in listing else spec
        case_numbers(folder, spec)
        return Source(_slug(folder), folder, spec)
    cases = _cases(folder, listing, len(channels))
    subjects, words = subjects_of(rule, [name for name, _, _ in cases], folder)
    entries = [Entry(*one[:1], person, *one[1:]) for one, person in zip(cases, subjects, strict=True)]
    title = str(listing.get("name") or folder.name)
    return _source(folder, title, names, stored, channels, entries, "", words)


def _source(
    folder: Path, title: str, classes: Sequence[str], stored: Sequence[int], channels: Sequence[str],
    entries: Sequence[Entry], rule: str, words: str,
) -> Source:  # fmt: skip
    if rule:
        subjects, words = subjects_of(rule, [entry.name for entry in entries], folder)
        entries = [replace(entry, subject=one) for entry, one in zip(entries, subjects, strict=True)]
    if words == NO_RULE:
        log.warning("%s: %s. Give --subjects RULE.", folder, words)
    entries = sorted(entries, key=lambda entry: entry.name)
    if not entries:
        raise DataError(f"{folder}: found no labelled case, expected at least one. Look at the layout's folders.")
    numbers = {one: number for number, one in enumerate(sorted({entry.subject for entry in entries}), start=1)}
    both = {e.subject for e in entries if e.test} & {e.subject for e in entries if not e.test}
    if both:
        raise DataError(
            f"{folder}: found {min(both)} in training and test, expected each subject in one of them. Move all cases "
            "of the subject to one side."
        )
    labels = tuple(Label(v, name, COLOURS[(v - 1) % len(COLOURS)]) for v, name in enumerate(classes, start=1))
    if (folder / MARK).is_file() and NOTICE not in title:
        title = f"{title} ({NOTICE})"
    spec = DatasetSpec(
        title, "", labels, tuple(channels), None, (0, *(numbers[entry.subject] for entry in entries)).__getitem__,
        words, axes=(("", ""),) * 3, entries=tuple(entries), stored=tuple(stored),
    )  # fmt: skip
    return Source(_slug(folder), folder, spec)


def _slug(folder: Path) -> str:
    """The folder's name as the name of another folder; never that of Task04's or the phantom's workspace."""
    return re.sub(r"[^0-9A-Za-z]+", "-", f"data {folder.name}").strip("-").lower()


def _labels(folder: Path, listing: dict[str, Any]) -> tuple[list[str], tuple[int, ...]]:
    """Names of the foreground classes in the order of their values, and the values unless they are 1..K."""
    where, found = folder / "dataset.json", mapping_of(folder, listing, "labels")
    # MSD has value: name, nnU-Net name: value.
    by_value = all(str(key).strip().lstrip("-").isdigit() for key in found)
    pairs = [(value, key) for key, value in found.items()] if not by_value else list(found.items())
    values: dict[int, str] = {}
    for value, name in pairs:
        if isinstance(value, list):
            raise DataError(
                f"{where}: found the region {name} of labels {value}, expected one value a class. Regions that overlap "
                "are not supported: write a label file and dataset.json with separate classes."
            )
        if not isinstance(value, int | str) or not re.fullmatch(r"\s*\d+\s*", str(value)) or not isinstance(name, str):
            raise DataError(
                f"{where}: found the label {name!r}: {value!r}, expected a name and a whole number. Correct `labels`."
            )
        if name.strip().lower() == "ignore":
            raise DataError(f"{where}: found the label `ignore`, expected classes only. Label those voxels, or crop.")
        if name.strip().lower() in (MEAN, UNION) or int(value) in values or name in values.values():
            raise DataError(
                f"{where}: found the label {name} = {value}, expected names and values that occur once, and none "
                f"called {MEAN} or {UNION}. Rename it."
            )
        values[int(value)] = name
    if 0 not in values or len(values) < 2:
        raise DataError(
            f"{where}: found labels {found}, expected the background as 0 and one class or more. Correct `labels`."
        )
    stored = tuple(sorted(set(values) - {0}))
    return [values[value] for value in stored], () if stored == tuple(range(1, len(stored) + 1)) else stored


def _channels(folder: Path, listing: dict[str, Any]) -> list[str]:
    found = mapping_of(folder, listing, "channel_names", "modality")
    if sorted(found) != sorted(map(str, range(len(found)))) or not found:
        raise DataError(
            f"{folder / 'dataset.json'}: found channels {list(found)}, expected 0, 1, ... as keys of `channel_names` "
            "or `modality`. Number the channels as their files are numbered."
        )
    return [str(found[str(number)]) for number in range(len(found))]


def _cases(folder: Path, listing: dict[str, Any], channels: int) -> list[tuple[str, tuple[Path, ...], tuple[Path]]]:
    """Name, image files and label file of each labelled case."""
    where, ending = folder / "dataset.json", listing.get("file_ending", ".nii.gz")
    if ending not in ENDINGS:
        expected = ", ".join(ENDINGS)
        raise DataError(f"{where}: found file_ending {ending!r}, expected one of {expected}. Convert the files.")
    if isinstance(listing.get("training"), list):
        sides = [[folder / listed_file(folder, entry, side) for side in ("image", "label")]
                 for entry in listing["training"]]  # fmt: skip
        pairs = [(image, label) for image, label in sides if not image.name.startswith(".")]
    else:
        inside = folder / "labelsTr"
        found = sorted(inside.glob(f"*{ending}")) if inside.is_dir() else []
        if not found:
            raise DataError(f"{inside}: found no label, expected files that end in {ending}. Look at `file_ending`.")
        labels = [path for path in found if not path.name.startswith(".")]
        pairs = [(folder / "imagesTr" / path.name, path) for path in labels]
    cases = [(_stem(label), _image_files(image, channels), (label,)) for image, label in pairs]
    names = [name for name, _, _ in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{where}: found case {twice[0]} twice, expected every case once. Remove one.")
    count = listing.get("numTraining", len(cases))
    if count != len(cases):
        raise DataError(
            f"{where}: found numTraining {count}, expected {len(cases)}, the number of labelled cases. Correct it, or "
            "add the missing files."
        )
    for path in [path for _, images, label in cases for path in (*images, *label)]:
        if not path.is_file():
            advice = "Add the file, or remove the case."
            raise DataError(f"{path}: found no such file, expected every file of a labelled case. {advice}")
    known = {path for _, images, _ in cases for path in images}
    for path in sorted((folder / "imagesTr").glob("*")):
        if not path.name.startswith(".") and path.name.endswith(ENDINGS) and path not in known:
            raise DataError(
                f"{path}: found an image without a label, expected {folder / 'labelsTr'} to hold one for each. Add it, "
                f"or move the image to imagesTs; with {channels} channel(s), files end in _0000 to _{channels - 1:04d}."
            )
    return cases


def _stem(path: Path) -> str:
    return next((path.name.removesuffix(end) for end in ENDINGS if path.name.endswith(end)), path.stem)


def _image_files(image: Path, channels: int) -> tuple[Path, ...]:
    """The file as listed, or, where it does not exist, nnU-Net's: CASE_0000 to CASE_000N."""
    if image.is_file():
        return (image,)
    ending = next((end for end in ENDINGS if image.name.endswith(end)), "")
    return tuple(image.with_name(f"{_stem(image)}_{number:04d}{ending}") for number in range(channels))
