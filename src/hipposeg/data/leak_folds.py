"""Folds that leak on purpose, each with a clean control, to measure what a leak gains.

Folds come in pairs that score the same cases: an even one leaks, the odd one after it does not. Both train on as many
volumes of as many subjects and share all but the last ones added.

- `leak-volumes`: half of the subjects with two volumes are scored with one of them. The leaking fold also trains on
their
  other volumes; the clean one on volumes of as many subjects with one. Folds 2 and 3 swap the sides.
- `leak-slices`: every fifth slice of the volumes of leak-volumes 0 is scored. The leaking fold trains on their other
  slices; the clean one on as many slices of other subjects.
"""

from collections.abc import Mapping, Sequence

# Across the axis along which slices are taken, the first slice and the step of those that are scored.
AXIS, FIRST, EVERY = 1, 2, 5

Fold = dict[str, list[int]]


def make(people: Mapping[int, list[int]], several: Sequence[int], single: Sequence[int]) -> dict[str, list[Fold]]:
    """Four folds `leak-volumes` and two `leak-slices`; none of either where nobody has two volumes, or nobody one.

    people: person -> case numbers. several, single: people with more than one volume and with one, shuffled. Half of
    `several`, the first, are scored, as far as there are as many people in `single`.

    A fold is {"train": [...], "scored": [...]}, sorted. `leak-slices` have two entries more: "held", the axis, first
    slice and step of what is scored and never trained on; and "added", the training volumes of which not all slices
    train (`runs.samples.training_slices`).
    """
    count = min(len(several) // 2, len(single))
    base = [case for person in [*several[count:], *single[count:]] for case in people[person]]
    others = [people[person][0] for person in single[:count]]
    volumes, slices = [], []
    for swap in (0, 1) if count else ():
        # Sides take turns, so that odd and even case numbers are about as many on either side of a fold.
        scored, siblings = (
            [people[person][(place + swap + other) % 2] for place, person in enumerate(several[:count])]
            for other in (0, 1)
        )
        volumes += [_fold(base, added, scored) for added in (siblings, others)]
        if not swap:
            held = {"held": [AXIS, FIRST, EVERY]}
            slices = [{**_fold(base, added, scored), **held, "added": sorted(added)} for added in (scored, others)]
    return {"leak-volumes": volumes, "leak-slices": slices}


def _fold(base: Sequence[int], added: Sequence[int], scored: Sequence[int]) -> Fold:
    return {"train": sorted([*base, *added]), "scored": sorted(scored)}


def scored_part(fold: Fold) -> tuple[tuple[slice, slice, slice], tuple[int, int, int]]:
    """Which part of a scored volume (X, Y, Z) counts, as an index, and the steps between its voxels."""
    part, steps = [slice(None)] * 3, [1, 1, 1]
    if "held" in fold:
        axis, first, step = fold["held"]
        part[axis], steps[axis] = slice(first, None, step), step
    return tuple(part), tuple(steps)
