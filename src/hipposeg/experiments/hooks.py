"""What studies keep of a run while its network is at hand.

A hook is a function of a `Finished` run that writes files into its folder: `<name>.csv`, whose rows are appended to
`artifacts/studies/<name>.csv.gz`, or any other file, which is copied to `artifacts/studies/`. Packages register hooks
as entry points of the group `hipposeg.hooks`; the training code knows none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.spec import RunSpec
from hipposeg.training.machine import Machine


@dataclass(frozen=True)
class Finished:
    """A run that has just been scored.

    Attributes:
        run: which one.
        network: the trained network in evaluation mode on the machine's device; None for the atlas.
        cohort: the data set.
        fold: the fold.
        images: test case -> (C, X, Y, Z) float32 on the native grid.
        scores: rows of `results.scoring.score_all`.
        machine: device, precision and threads.
        folder: where hooks write.
    """

    run: RunSpec
    network: nn.Module | None
    cohort: Cohort
    fold: Fold
    images: dict[int, np.ndarray]
    scores: list[dict[str, Any]]
    machine: Machine
    folder: Path


@cache
def registered() -> tuple[Callable[[Finished], None], ...]:
    """All registered hooks, in the order of their names."""
    return tuple(one.load() for one in sorted(entry_points(group="hipposeg.hooks"), key=lambda one: one.name))
