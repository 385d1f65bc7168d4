"""Training and scored cases: `grouped` by subject, `nnunet` as published, `dev` and `inner` for choices.

Case numbers come in pairs from one subject, so folds that ignore subjects (nnU-Net's `splits_final.json`) have the
sibling of most scored volumes in training. `grouped` is the primary split; `nnunet` is for comparison. The training
subjects of grouped fold 0 are divided into five again, `inner`, for searches; the first of these folds is `dev`.
`data.leak_folds` has folds that measure the effect of leaks.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hipposeg.data import leak_folds
from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DataError, DatasetSpec
from hipposeg.files import read_json, sha256_bytes, to_json, write_json

SEED = 12345
N_FOLDS = 5

Fold = dict[str, list[int]]


def make(spec: DatasetSpec, case_numbers: Sequence[int]) -> dict[str, list[Fold]]:
    """Make all folds: five each of `grouped`, `nnunet` and `inner`, one `dev`, and those of `leak_folds`.

    A pure function of the case numbers and the subject rule.

    Returns:
        Kind -> folds; each fold is {"train": [...], "scored": [...]}, sorted; `leak-slices` have more entries.

    Raises:
        DataError: fewer subjects than folds.
    """
    cases = sorted(case_numbers)
    people: dict[int, list[int]] = {}
    for case in cases:
        people.setdefault(spec.subject(case), []).append(case)
    if len(people) < N_FOLDS:
        raise DataError(f"found {len(people)} people in {len(cases)} cases, expected at least {N_FOLDS} to make folds")
    grouped = _grouped(people)
    training = set(grouped[0]["train"])
    inner = _grouped({person: cases for person, cases in people.items() if cases[0] in training})
    leaks = leak_folds.make(people, *_shuffled(people))
    return {"grouped": grouped, "nnunet": _nnunet(cases), "dev": inner[:1], "inner": inner, **leaks}


def _shuffled(people: dict[int, list[int]]) -> tuple[list[int], list[int]]:
    """Subjects with several volumes and subjects with one: each list sorted, then shuffled by one generator."""
    generator = np.random.RandomState(SEED)
    several = sorted(person for person, cases in people.items() if len(cases) > 1)
    single = sorted(person for person, cases in people.items() if len(cases) == 1)
    generator.shuffle(several)
    generator.shuffle(single)
    return several, single


def _grouped(people: dict[int, list[int]]) -> list[Fold]:
    """Deal both lists round-robin, so that all folds have about the same number of volumes and pairs."""
    several, single = _shuffled(people)
    hands = [[*several[fold::N_FOLDS], *single[fold::N_FOLDS]] for fold in range(N_FOLDS)]
    return [_split(people, set(hand)) for hand in hands]


def _nnunet(cases: list[int]) -> list[Fold]:
    """nnU-Net's splits (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z): cases, not subjects."""
    order = np.arange(len(cases))
    np.random.RandomState(SEED).shuffle(order)
    folds = []
    # scikit-learn's KFold(5, shuffle=True, random_state=12345), without the seconds that its import takes.
    for part in np.array_split(order, N_FOLDS):
        scored = {cases[index] for index in part}
        folds.append({"train": [case for case in cases if case not in scored], "scored": sorted(scored)})
    return folds


def _split(people: dict[int, list[int]], scored: set[int]) -> Fold:
    """A fold from the set of scored subjects; both volumes of a subject stay on one side."""
    return {
        "train": sorted(case for person, cases in people.items() if person not in scored for case in cases),
        "scored": sorted(case for person, cases in people.items() if person in scored for case in cases),
    }


def read_or_write(path: Path, cohort: Cohort) -> dict[str, list[Fold]]:
    """The cohort's folds, written to `path` the first time and compared with it afterwards.

    Kinds of folds that an older file lacks are added.

    Raises:
        DataError: the file is damaged or holds other folds, with which runs could not be compared.
    """
    folds = make(cohort.spec, cohort.numbers)
    content = {
        "data": cohort.spec.title,
        "subject_rule": cohort.spec.subject_rule,
        "n_cases": len(cohort.cases),
        "n_people": len(cohort.people),
        **folds,
    }
    if not path.exists():
        write_json(path, content)
        return folds
    advice = f"If the data set was changed on purpose, delete {path.name} and every run scored on it, and run again."
    try:
        found = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: found a file that is not JSON ({error}), expected folds. {advice}") from error
    known = found if isinstance(found, dict) else {}
    added = [key for key in folds if key not in known and known]
    different = [key for key in content if key not in added and known.get(key) != content[key]]
    if different:
        raise DataError(
            f"{path}: found other {', '.join(different)} than this data set gives ({len(cohort.cases)} cases of "
            f"{len(cohort.people)} people), expected the same. {advice}"
        )
    if added:
        write_json(path, content)
    return folds


def folds_sha256(fold: Fold) -> str:
    """SHA-256 of one fold: part of a run's key."""
    return sha256_bytes(to_json(fold).encode())
