"""Description of a data set: everything that a second data set would change."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace


class DataError(ValueError):
    """The data set on disk differs from its description. The message names the file and what to do."""


@dataclass(frozen=True)
class Label:
    """A foreground class: its value in the label file, its name and its colour (hex)."""

    value: int
    name: str
    colour: str


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
        spacing: expected voxel size in mm.
        subject: case number -> subject number.
        subject_rule: the same in words.
        n_cases: expected number of labelled cases; None for any.
        known_bad_labels: cases with known stray label values in the published archive, clamped with a warning.
        axes: letters at the low and high end of each voxel axis, "" where unknown.
    """

    title: str
    prefix: str
    labels: tuple[Label, ...]
    channels: tuple[str, ...]
    spacing: tuple[float, float, float]
    subject: Callable[[int], int]
    subject_rule: str = "subject = (case + 1) // 2: cases (odd, odd + 1) are the two hippocampi of one person"
    n_cases: int | None = None
    known_bad_labels: frozenset[int] = frozenset()
    axes: tuple[tuple[str, str], ...] = (("", ""), ("P", "A"), ("I", "S"))

    @property
    def n_classes(self) -> int:
        """Background and the foreground classes."""
        return len(self.labels) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the foreground classes, in order of their values."""
        return tuple(label.name for label in self.labels)

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
    known_bad_labels=frozenset({243}),
)

PHANTOM_SPEC = replace(
    MSD_HIPPOCAMPUS, title="Phantom (synthetic, no patients)", n_cases=None, known_bad_labels=frozenset()
)
