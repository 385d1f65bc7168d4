"""Description of a data set: everything that a second data set would change."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


class DataError(ValueError):
    """The data set on disk differs from its description. The message names the file and what to do."""


@dataclass(frozen=True)
class Label:
    """A foreground class: its value in the label file, its name and its colour (hex)."""

    value: int
    name: str
    colour: str


@dataclass(frozen=True)
class Entry:
    """Where one labelled case of a data set is, and whose it is.

    Attributes:
        name, subject: as the data set names them.
        images: one file a channel, or one file with all channels last; a folder holds a volume as slices.
        labels: the label file, or several 8-bit masks that are joined.
        test: whether the data set keeps this case for testing.
    """

    name: str
    subject: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    test: bool = False


def pairs(case: int) -> int:
    """Task04's subject rule: cases (odd, odd + 1) are the two hippocampi of one subject."""
    return (case + 1) // 2


@dataclass(frozen=True)
class DatasetSpec:
    """What a data set holds.

    Attributes:
        title: its name.
        prefix: of its file names.
        labels: foreground classes, values 1..K in order.
        channels: names of the input channels.
        spacing: expected voxel size in mm; None for any.
        subject: case number -> subject number.
        subject_rule: the same in words.
        n_cases: expected number of labelled cases; None for any.
        known_bad_labels: cases with a known stray value in the published archive, and the value, which is background.
        axes: letters at the low and high end of each voxel axis, "" where unknown.
        complete: whether every label must hold every class.
        share: smallest and largest possible fraction of foreground in a label.
        sha256: of a complete reading (`Cohort.sha256`) of the published data set; "" where unknown.
        entries: the files of cases 1, 2, ... in this order; empty where `file_name` says it all.
        stored: label values in the files, in the order of `labels`; empty if they are 1..K.
    """

    title: str
    prefix: str
    labels: tuple[Label, ...]
    channels: tuple[str, ...]
    spacing: tuple[float, float, float] | None
    subject: Callable[[int], int]
    subject_rule: str = "subject = (case + 1) // 2: cases (odd, odd + 1) are the two hippocampi of one person"
    n_cases: int | None = None
    known_bad_labels: frozenset[tuple[int, int]] = frozenset()
    axes: tuple[tuple[str, str], ...] = (("", ""), ("P", "A"), ("I", "S"))
    complete: bool = False
    share: tuple[float, float] = (0.0, 1.0)
    sha256: str = ""
    entries: tuple[Entry, ...] = ()
    stored: tuple[int, ...] = ()

    @property
    def n_classes(self) -> int:
        """Background and the foreground classes."""
        return len(self.labels) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the foreground classes, in order of their values."""
        return tuple(label.name for label in self.labels)

    @property
    def stored_values(self) -> tuple[int, ...]:
        """The value of each class in the label files, in the order of `labels`."""
        return self.stored or tuple(label.value for label in self.labels)

    def entry(self, folder: Path, case: int) -> Entry:
        """Files and subject of a case below `folder`."""
        if self.entries:
            return self.entries[case - 1]
        name = self.file_name(case)
        image, label = folder / "imagesTr" / name, folder / "labelsTr" / name
        return Entry(name.partition(".")[0], str(self.subject(case)), (image,), (label,))

    def file_name(self, case: int) -> str:
        """`hippocampus_001.nii.gz` for case 1."""
        return f"{self.prefix}_{case:03d}.nii.gz"

    def case_number(self, file_name: str) -> int:
        """The inverse of `file_name`. Raises ValueError on any other name."""
        match = re.fullmatch(rf"{re.escape(self.prefix)}_(\d+)\.nii\.gz", file_name)
        if not match:
            raise ValueError(f"{file_name}: expected a name like {self.file_name(1)}")
        return int(match[1])


# Okabe and Ito's colours, told apart by colour-blind readers and visible on grey tissue.
ANTERIOR = Label(1, "anterior", "#E69F00")
POSTERIOR = Label(2, "posterior", "#56B4E9")

MSD_HIPPOCAMPUS = DatasetSpec(
    title="Medical Segmentation Decathlon, Task04 Hippocampus",
    prefix="hippocampus",
    labels=(ANTERIOR, POSTERIOR),
    channels=("T1",),
    spacing=(1.0, 1.0, 1.0),
    subject=pairs,
    n_cases=260,
    known_bad_labels=frozenset({(243, -2)}),
    complete=True,
    share=(0.02, 0.2),  # 0.038 to 0.075 in the published labels
    sha256="9e2651e4b9969ea134b1fa05358a22ba2033c60091d525decb6f79c63fb49c75",
)

PHANTOM_SPEC = replace(
    MSD_HIPPOCAMPUS, title="Phantom (synthetic, no patients)", n_cases=None, known_bad_labels=frozenset(), sha256=""
)
