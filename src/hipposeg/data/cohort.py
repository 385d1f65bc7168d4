"""All labelled cases of a data set, in memory (260 crops take about 100 MB) or mapped from files (big volumes)."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from hipposeg.data.locate import Source, case_numbers
from hipposeg.data.read import Case, read_case
from hipposeg.data.spec import DatasetSpec
from hipposeg.files import cached_arrays, sha256_bytes

log = logging.getLogger(__name__)

# Decompressing releases the interpreter lock, so a few threads help; the result does not depend on their number.
READERS = 4


@dataclass(frozen=True)
class Cohort:
    """Labelled cases, sorted by number, that passed every reading check.

    Attributes:
        spec, folder, dataset: as of `Source`.
        cases: number -> case.
        warnings: what was clamped while reading.
        sha256: over all cases' contents.
    """

    spec: DatasetSpec
    folder: Path
    dataset: str
    cases: dict[int, Case]
    warnings: tuple[str, ...]
    sha256: str

    @property
    def numbers(self) -> list[int]:
        """Case numbers, sorted."""
        return list(self.cases)

    @property
    def people(self) -> dict[int, list[int]]:
        """Subject number -> its case numbers, both sorted."""
        people: dict[int, list[int]] = {}
        for number, case in self.cases.items():
            people.setdefault(case.subject, []).append(number)
        return dict(sorted(people.items()))


def load(source: Source, mapped: Path | None = None) -> Cohort:
    """Read every labelled case.

    mapped: folder for the voxels as plain arrays, from which they are read when needed; by default all stay in memory.

    Raises DataError at the first file that fails a check.
    """

    def read(number: int) -> Case:
        case = read_case(source.folder, source.spec, number)
        return case if mapped is None else _mapped(case, mapped)

    numbers = case_numbers(source.folder, source.spec)
    with ThreadPoolExecutor(READERS) as pool:
        cases = dict(zip(numbers, pool.map(read, numbers), strict=True))
    digest = sha256_bytes(*(f"{number}:{case.sha256}\n".encode() for number, case in cases.items()))
    warnings = tuple(warning for case in cases.values() for warning in case.warnings)
    if source.spec.sha256 not in ("", digest):
        warnings += (
            f"{source.folder}: found other volumes than the published {source.spec.title} (SHA-256 {digest[:16]}, "
            f"expected {source.spec.sha256[:16]}). Results cannot be compared with those of the published data set.",
        )
    for warning in warnings:
        log.warning(warning)
    return Cohort(source.spec, source.folder, source.dataset, cases, warnings, digest)


def _mapped(case: Case, folder: Path) -> Case:
    """The same case with image and label read from .npy files when needed; the system drops them from memory."""
    paths = [folder / f"{case.sha256[:32]}.{name}.npy" for name in ("image", "label")]
    image, label = cached_arrays(paths, lambda: (case.image, case.label))
    return replace(case, image=image, label=label)
