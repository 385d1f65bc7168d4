"""All labelled cases of a data set in memory: 260 crops take about 100 MB."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hipposeg.data.locate import Source, case_numbers
from hipposeg.data.read import Case, read_case
from hipposeg.data.spec import DatasetSpec
from hipposeg.files import sha256_bytes

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


def load(source: Source) -> Cohort:
    """Read every labelled case. Raises DataError at the first file that fails a check."""
    numbers = case_numbers(source.folder, source.spec)
    with ThreadPoolExecutor(READERS) as pool:
        cases = dict(zip(numbers, pool.map(lambda n: read_case(source.folder, source.spec, n), numbers), strict=True))
    warnings = tuple(warning for case in cases.values() for warning in case.warnings)
    for warning in warnings:
        log.warning(warning)
    digest = sha256_bytes(*(f"{number}:{case.sha256}\n".encode() for number, case in cases.items()))
    return Cohort(source.spec, source.folder, source.dataset, cases, warnings, digest)
