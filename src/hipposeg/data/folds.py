"""Training and scored cases of every fold.

- `grouped`: five folds by subject, the primary split. Most subjects appear twice, as cases (odd, odd + 1).
- `nnunet`: nnU-Net's published folds, which ignore subjects: most scored volumes have their sibling in training.
- `inner`: the training subjects of grouped fold 0, divided into five again for searches; the first is also `dev`.
- `leak-volumes`: half of the subjects with two volumes are scored with one of them. Even folds leak: they also train on
  the subjects' other volumes. The odd fold after it is the clean control, with volumes of as many subjects with one.
  Folds 2 and 3 swap the volumes.
- `leak-slices`: every fifth slice of the volumes scored in leak-volumes 0 is scored. Fold 0 trains on their other
  slices, fold 1 on as many slices of other subjects.
- `test`: of a data set with a test part of its own: that part is scored. All other kinds leave it out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DataError, DatasetSpec
from hipposeg.files import read_json, sha256_bytes, to_json, write_json

SEED = 12345
N_FOLDS = 5
# What `leak-slices` score: the slicing axis, the first slice and the step.
HELD = (1, 2, 5)

Fold = dict[str, list[int]]


def make(spec: DatasetSpec, case_numbers: Sequence[int]) -> dict[str, list[Fold]]:
    """Make all folds: a pure function of the case numbers and the subject rule.

    Returns:
        Kind -> folds; each fold is {"train": [...], "scored": [...]}, sorted. `leak-slices` have two entries more:
        "held" (HELD) and "added", the training volumes of which not all slices train. The leak folds are empty lists if
        no subject has two volumes, or none has one.

    Raises:
        DataError: fewer subjects than folds.
    """
    kept = {number for number, entry in enumerate(spec.entries, start=1) if entry.test}
    cases = sorted(set(case_numbers) - kept)
    subjects: dict[int, list[int]] = {}
    for case in cases:
        subjects.setdefault(spec.subject(case), []).append(case)
    if len(subjects) < N_FOLDS:
        raise DataError(f"found {len(subjects)} subjects in {len(cases)} cases, expected at least {N_FOLDS}")
    grouped = _grouped(subjects)
    training = set(grouped[0]["train"])
    inner = _grouped({subject: cases for subject, cases in subjects.items() if cases[0] in training})
    made = {"grouped": grouped, "nnunet": _nnunet(cases), "dev": inner[:1], "inner": inner, **_leaking(subjects)}
    return {**made, "test": [_fold(cases, sorted(kept))]} if kept else made


def with_watched(fold: Fold, spec: DatasetSpec) -> Fold:
    """The fold with a fifth of its training subjects as "watched": curves and stopping see them, training does not."""
    subjects: dict[int, list[int]] = {}
    for case in fold["train"]:
        subjects.setdefault(spec.subject(case), []).append(case)
    inner = _grouped(subjects)[0]
    if not inner["train"]:
        raise DataError(f"found {len(subjects)} training subjects, expected at least 3: some of them are to be watched")
    return {**fold, "train": inner["train"], "watched": inner["scored"]}


def _shuffled(subjects: dict[int, list[int]]) -> tuple[list[int], list[int]]:
    """Subjects with several volumes and subjects with one: each list sorted, then shuffled by one generator."""
    generator = np.random.RandomState(SEED)
    several, single = (sorted(s for s, cases in subjects.items() if (len(cases) > 1) is many) for many in (True, False))
    generator.shuffle(several)
    generator.shuffle(single)
    return several, single


def _grouped(subjects: dict[int, list[int]]) -> list[Fold]:
    """Deal both lists round-robin, so that all folds have about the same number of volumes and pairs."""
    several, single = _shuffled(subjects)
    hands = [{*several[fold::N_FOLDS], *single[fold::N_FOLDS]} for fold in range(N_FOLDS)]
    return [_divided(subjects, hand) for hand in hands]


def _divided(subjects: dict[int, list[int]], hand: set[int]) -> Fold:
    sides: tuple[list[int], list[int]] = [], []
    for subject, cases in subjects.items():
        sides[subject in hand].extend(cases)
    return _fold(*sides)


def _nnunet(cases: list[int]) -> list[Fold]:
    """nnU-Net's splits (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z): cases, not subjects."""
    order = np.arange(len(cases))
    np.random.RandomState(SEED).shuffle(order)
    folds = []
    # scikit-learn's KFold(5, shuffle=True, random_state=12345), without the seconds that its import takes.
    for part in np.array_split(order, N_FOLDS):
        scored = {cases[index] for index in part}
        folds.append(_fold([case for case in cases if case not in scored], scored))
    return folds


def _leaking(subjects: dict[int, list[int]]) -> dict[str, list[Fold]]:
    """Pairs of folds, a leaking one and its control, that share all training volumes but the last ones added."""
    several, single = _shuffled(subjects)
    count = min(len(several) // 2, len(single))
    base = [case for subject in [*several[count:], *single[count:]] for case in subjects[subject]]
    others = [subjects[subject][0] for subject in single[:count]]
    volumes, slices = [], []
    for swap in (0, 1) if count else ():
        # Alternate, so that odd and even case numbers are equally frequent on either side of a fold.
        scored, siblings = (
            [subjects[subject][(place + swap + other) % 2] for place, subject in enumerate(several[:count])]
            for other in (0, 1)
        )
        volumes += [_fold([*base, *added], scored) for added in (siblings, others)]
        if not swap:
            slices = [
                {**_fold([*base, *added], scored), "held": list(HELD), "added": sorted(added)}
                for added in (scored, others)
            ]
    return {"leak-volumes": volumes, "leak-slices": slices}


def _fold(train: Sequence[int], scored: Sequence[int]) -> Fold:
    return {"train": sorted(train), "scored": sorted(scored)}


def scored_part(fold: Fold) -> tuple[tuple[slice, slice, slice], tuple[int, int, int]]:
    """Which part of a scored volume (X, Y, Z) counts, as an index, and the steps between its voxels."""
    part, steps = [slice(None)] * 3, [1, 1, 1]
    if "held" in fold:
        axis, first, step = fold["held"]
        part[axis], steps[axis] = slice(first, None, step), step
    return tuple(part), tuple(steps)


def read_or_write(path: Path, cohort: Cohort) -> dict[str, list[Fold]]:
    """Make the cohort's folds, write them to `path` the first time and compare them with it afterwards.

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
        found = f"found a file that is not JSON ({error.__cause__}), expected folds"
        raise DataError(f"{path}: {found}. {advice}") from error
    different = [key for key in content if not isinstance(found, dict) or found.get(key) != content[key]]
    if different:
        raise DataError(
            f"{path}: found other {', '.join(different)} than this data set gives ({len(cohort.cases)} cases of "
            f"{len(cohort.people)} subjects), expected the same. {advice}"
        )
    return folds


def folds_sha256(fold: Fold) -> str:
    """SHA-256 of one fold: part of a run's key."""
    return sha256_bytes(to_json(fold).encode())
