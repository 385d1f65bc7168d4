"""Captions of coronal slices, made from a label map: the training text of HippoCLIP.

A caption states where on the long axis a slice lies, which parts of the hippocampus it contains, their area, and how
that compares with other subjects' slices at about the same place. All of it comes from labels: a network that learns
from captions learns from the annotators' outlines. Captions of test subjects are used for evaluation only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hipposeg.data.spec import DatasetSpec

# Slices are cut across the long axis: low end posterior, high end anterior.
AXIS = 1
BEHIND, IN_FRONT = "behind", "in front"
SIZES = ("small", "medium", "large")
# What is rounded away: percent of the long axis, mm2 of area. Sizes are compared within fifths of the long axis.
PLACE_STEP, AREA_STEP, BINS = 10, 20, 5

# How a part is called, and the ways to say each fact; a part of another name is called by it.
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


def constants() -> list[object]:
    """All constants that decide the facts of a slice and their wording."""
    steps = [AXIS, PLACE_STEP, AREA_STEP, BINS]
    return [*steps, BEHIND, IN_FRONT, SIZES, CALLED, OPENINGS, ALONE, TOGETHER, NOTHING, PLACES, ENDS, AREAS, SIZED]


@dataclass(frozen=True)
class Measured:
    """Measurements of a slice.

    Attributes:
        percent: of the long axis; below 0 behind it, above 100 in front of it.
        parts: names of the visible ones.
        area: mm2.
    """

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
        size: one of SIZES, empty where nothing is visible.
    """

    place: int | str
    parts: tuple[str, ...]
    area: int = 0
    size: str = ""


@dataclass(frozen=True)
class Terciles:
    """For each fifth of the long axis, the two areas in mm2 that divide the training slices there into SIZES."""

    edges: tuple[tuple[float, float], ...]

    def size(self, slice_: Measured) -> str:
        """Size of a slice among training slices at about the same place."""
        return SIZES[int(np.searchsorted(self.edges[_bin(slice_)], slice_.area, side="right"))]


def measure(label: np.ndarray, spec: DatasetSpec, spacing: Sequence[float]) -> list[Measured]:
    """Measure each slice across the long axis of a label map.

    Args:
        label: (X, Y, Z).
        spec: names the labels.
        spacing: mm.

    Returns:
        One entry per index of axis 1.

    Raises:
        ValueError: the label map has no hippocampus.
    """
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
    """Sizes of training slices; a fifth of the long axis without any uses all slices."""
    visible = [one for one in slices if one.parts]
    if not visible:
        raise ValueError(f"none of {len(slices)} slices shows any hippocampus; sizes need some")
    edges = []
    for number in range(BINS):
        areas = [one.area for one in visible if _bin(one) == number] or [one.area for one in visible]
        low, high = np.quantile(areas, (1 / 3, 2 / 3))
        edges.append((float(low), float(high)))
    return Terciles(tuple(edges))


def _bin(slice_: Measured) -> int:
    return min(BINS - 1, max(0, int(slice_.percent * BINS // 100)))


def facts(slice_: Measured, sizes: Terciles) -> Facts:
    """Facts of a slice, rounded so that slices of different subjects can share them."""
    if slice_.percent < 0 or slice_.percent > 100:
        return Facts(BEHIND if slice_.percent < 0 else IN_FRONT, ())
    place = int(round(slice_.percent / PLACE_STEP)) * PLACE_STEP
    if not slice_.parts:
        return Facts(place, ())
    area = max(1, int(round(slice_.area / AREA_STEP))) * AREA_STEP
    return Facts(place, slice_.parts, area, sizes.size(slice_))


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
    """The facts as numbers, (len(names) + 3,) float32: what the control without text learns from.

    For each part 1 if it is visible, else 0; place as a fraction of the long axis (a fifth beyond its ends for slices
    behind and in front); area in 100 mm2; size as -1, 0 or 1, and 0 where nothing is visible.
    """
    place = {BEHIND: -0.2, IN_FRONT: 1.2}[said.place] if said.place in ENDS else said.place / 100
    size = SIZES.index(said.size) - 1 if said.size else 0
    return np.array([*(name in said.parts for name in names), place, said.area / 100, size], np.float32)
