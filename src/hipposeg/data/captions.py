"""Captions of coronal slices, made from label maps, and prompts of the classes: the text for HippoCLIP.

A caption states where on the long axis a slice lies, which parts of the hippocampus it contains, their area, and how
that compares with other subjects' slices at about the same place. All of it comes from labels: a network that learns
from captions learns from the annotators' outlines. Captions of test subjects are used for evaluation only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hipposeg.data.spec import DatasetSpec
from hipposeg.files import sha256_bytes, to_json

# Slices are cut across the long axis: low end posterior, high end anterior.
AXIS = 1
BEHIND, IN_FRONT = "behind", "in front"
SIZES = ("small", "medium", "large")
# Rounding: percent of the long axis, mm2 of area. Sizes are compared within fifths of the long axis.
PLACE_STEP, AREA_STEP, BINS = 10, 20, 5

# Names of the parts, and the wordings of each fact; a part that is not listed keeps its own name.
CALLED = {
    "anterior": ("anterior hippocampus", "head of the hippocampus", "hippocampal head"),
    "posterior": ("posterior hippocampus", "body and tail of the hippocampus", "hippocampal body and tail"),
}
OPENINGS = ("a coronal slice", "coronal MRI slice", "a coronal view of the brain", "coronal section")
ALONE = ("only the {} is visible", "it shows the {} alone", "the {}")
TOGETHER = ("{} and {} are both visible", "it shows the {} beside the {}", "the {} and the {}")
NOTHING = ("no hippocampus is visible", "it shows tissue without hippocampus", "background only")
PLACES = ("at {} percent of the long axis", "{} percent of the way from posterior to anterior", "position {} percent")
ENDS = {
    BEHIND: ("behind the posterior end of the hippocampus", "posterior to the hippocampus", "behind the tail"),
    IN_FRONT: (
        "in front of the anterior end of the hippocampus",
        "anterior to the hippocampus",
        "in front of the head",
    ),
}
AREAS = ("area {} mm2", "it covers {} square millimetres", "about {} mm2")
SIZED = ("{} for this place", "of {} size", "a {} cut")

# Sets of class prompts, an experiment: sentences as in the published student project, single words, unrelated words.
SENTENCES = {
    "background": (
        "tissue without hippocampus", "a coronal MRI slice without hippocampus", "no hippocampus is visible",
        "brain tissue around the hippocampus", "background only",
    ),
    "anterior": (
        "the anterior hippocampus", "the head of the hippocampus", "a coronal MRI slice of the hippocampal head",
        "only the anterior hippocampus is visible", "the front part of the hippocampus",
    ),
    "posterior": (
        "the posterior hippocampus", "the body and tail of the hippocampus",
        "a coronal MRI slice of the hippocampal body and tail", "only the posterior hippocampus is visible",
        "the rear part of the hippocampus",
    ),
}  # fmt: skip
_THINGS = {
    "background": ("piano", "violin", "trumpet", "drum", "flute"),
    "anterior": ("bicycle", "lorry", "tram", "canoe", "balloon"),
    "posterior": ("lemon", "carrot", "onion", "walnut", "plum"),
}
SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "sentences": SENTENCES,
    "words": {name: (name,) for name in SENTENCES},
    "unrelated": {name: tuple(f"a photo of a {thing}" for thing in things) for name, things in _THINGS.items()},
}
# In the form of the captions: the default of the guided models.
GEOMETRIC = "geometric"
KINDS = (GEOMETRIC, *SETS)


def digest() -> str:
    """SHA-256 of all words and numbers behind captions and prompts: part of the key of a run that uses text."""
    steps = [AXIS, PLACE_STEP, AREA_STEP, BINS]
    words = [BEHIND, IN_FRONT, SIZES, CALLED, OPENINGS, ALONE, TOGETHER, NOTHING, PLACES, ENDS, AREAS, SIZED]
    return sha256_bytes(to_json([SETS, [*steps, *words]]).encode())


@dataclass(frozen=True)
class Measured:
    """Measurements of a slice: percent of the long axis (below 0 behind it, above 100 in front), visible parts, mm2."""

    percent: float
    parts: tuple[str, ...]
    area: float


@dataclass(frozen=True)
class Facts:
    """Everything that a caption states; slices with equal facts have equal captions, up to the wording.

    Attributes:
        place: percent of the long axis in steps of PLACE_STEP, or BEHIND or IN_FRONT of the hippocampus.
        parts: names of the visible ones.
        area: mm2 in steps of AREA_STEP.
        size: one of SIZES, or empty.
    """

    place: int | str
    parts: tuple[str, ...]
    area: int = 0
    size: str = ""


# For each fifth of the long axis, the two areas in mm2 that divide the training slices there into SIZES.
Terciles = tuple[tuple[float, float], ...]


def measure(label: np.ndarray, spec: DatasetSpec, spacing: Sequence[float]) -> list[Measured]:
    """Measure each slice across the long axis of a label map (X, Y, Z) with voxels of `spacing` mm."""
    slices = np.moveaxis(label, AXIS, 0)
    holding = np.flatnonzero((slices > 0).any(axis=(1, 2)))
    if not len(holding):
        raise ValueError(f"the label map of shape {label.shape} holds no hippocampus; captions need one to measure")
    first, last = int(holding[0]), int(holding[-1])
    pixel = float(np.prod([side for axis, side in enumerate(spacing) if axis != AXIS]))
    found = []
    for index, one in enumerate(slices):
        parts = tuple(item.name for item in spec.labels if (one == item.value).any())
        percent = 100 * (index - first) / max(1, last - first)
        found.append(Measured(percent, parts, pixel * float((one > 0).sum())))
    return found


def terciles(slices: Sequence[Measured]) -> Terciles:
    """Terciles of the area of training slices; a fifth of the long axis without any uses all slices."""
    visible = [one for one in slices if one.parts]
    bins = [[one.area for one in visible if _bin(one) == number] for number in range(BINS)]
    every = [one.area for one in visible]
    return tuple(tuple(np.quantile(areas or every, (1 / 3, 2 / 3)).tolist()) for areas in bins)


def _bin(slice_: Measured) -> int:
    return min(BINS - 1, max(0, int(slice_.percent * BINS // 100)))


def facts(slice_: Measured, edges: Terciles) -> Facts:
    """Facts of a slice, rounded so that slices of different subjects can share them."""
    if slice_.percent < 0 or slice_.percent > 100:
        return Facts(BEHIND if slice_.percent < 0 else IN_FRONT, ())
    place = int(round(slice_.percent / PLACE_STEP)) * PLACE_STEP
    if not slice_.parts:
        return Facts(place, ())
    area = max(1, int(round(slice_.area / AREA_STEP))) * AREA_STEP
    size = SIZES[int(np.searchsorted(edges[_bin(slice_)], slice_.area, side="right"))]
    return Facts(place, slice_.parts, area, size)


def caption(said: Facts, words: np.random.Generator) -> str:
    """One of many wordings of the facts, in an order drawn from `words`; different facts give different captions."""
    clauses = [_pick(ENDS[said.place], words) if said.place in ENDS else _pick(PLACES, words).format(said.place)]
    clauses.append(_visible(said.parts, words))
    if said.parts:
        clauses += [_pick(AREAS, words).format(said.area), _pick(SIZED, words).format(said.size)]
    order = words.permutation(len(clauses))
    return ", ".join([_pick(OPENINGS, words), *(clauses[index] for index in order)])


def _visible(parts: tuple[str, ...], words: np.random.Generator) -> str:
    called = [_pick(CALLED.get(name, (f"{name} part",)), words) for name in parts]
    if len(called) > 2:
        return "it shows the " + ", the ".join(called)
    return _pick((NOTHING, ALONE, TOGETHER)[len(called)], words).format(*called)


def _pick(options: Sequence[str], words: np.random.Generator) -> str:
    return options[int(words.integers(len(options)))]


def attributes(said: Facts, names: Sequence[str]) -> np.ndarray:
    """The facts as numbers, (len(names) + 3,) float32: the targets of the control without text.

    For each part 1 if it is visible, else 0; place as a fraction of the long axis (a fifth beyond its ends for slices
    behind and in front); area in 100 mm2; size as -1, 0 or 1, and 0 where nothing is visible.
    """
    place = {BEHIND: -0.2, IN_FRONT: 1.2}[said.place] if said.place in ENDS else said.place / 100
    size = SIZES.index(said.size) - 1 if said.size else 0
    return np.array([*(name in said.parts for name in names), place, said.area / 100, size], np.float32)


def prompts(kind: str, names: Sequence[str], seen: Sequence[Facts]) -> list[tuple[str, ...]]:
    """Prompts of the background and of each class, in order. A class's vector is the mean of their embeddings.

    Args:
        kind: one of KINDS.
        names: of the foreground classes.
        seen: facts of training slices, used by "geometric" alone.

    Raises:
        ValueError: a class without prompts, or, if geometric, one that no training slice shows alone.
    """
    if kind == GEOMETRIC:
        return [_typical(seen, ()), *(_typical(seen, (name,)) for name in names)]
    if missing := [name for name in names if name not in SETS[kind]]:
        raise ValueError(f"no prompt is written for {', '.join(missing)}; add it to data/captions.py")
    return [SETS[kind][name] for name in ("background", *names)]


def _typical(seen: Sequence[Facts], parts: tuple[str, ...]) -> tuple[str, ...]:
    """Captions of the typical training slice that shows exactly these parts, in six fixed wordings."""
    alike = [one for one in seen if one.parts == parts]
    if not alike:
        raise ValueError(
            f"no training slice shows {' and '.join(parts) or 'nothing'} alone; use another set of prompts"
        )
    words = np.random.default_rng(0)
    if not parts:
        return tuple(caption(Facts(place, ()), words) for place in (BEHIND, IN_FRONT) * 3)
    place, area = (
        int(10 * round(float(np.median([getattr(one, what) for one in alike])) / 10)) for what in ("place", "area")
    )
    return tuple(caption(Facts(place, parts, area, SIZES[1]), words) for _ in range(6))
