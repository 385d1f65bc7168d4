"""What every arm of a notebook costs on an idle machine: seconds a step, minutes a schedule, seconds a volume.

Runs of a series train side by side and beside other work, so the times that they record are not comparable. These are:
each arm alone, one after the other, with all threads of the machine.
"""

import logging
import statistics
from typing import Any

from hipposeg.bench.ours import Ours, recipe
from hipposeg.bench.system import timed_steps
from hipposeg.config import Workspace
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.engine.machine import Machine
from hipposeg.runs.arms import ARMS
from hipposeg.runs.spec import RunSpec
from hipposeg.runs.zoo2d import SEARCH_GRID

log = logging.getLogger(__name__)

NOTEBOOKS = ("03", "04", "05")
SECONDS = 20.0
VOLUMES = 4


def timed(notebook: str) -> list[RunSpec]:
    """The notebook's arms that train a network, by their standard recipes.

    Published weights change no time, and the cells of a search cost what its arm costs.
    """
    own = [arm for arm in ARMS.values() if arm.notebook == notebook and arm.build and arm.name not in SEARCH_GRID]
    return [RunSpec(arm.name) for arm in own if not arm.name.endswith("+imagenet")]


def recipes(notebook: str) -> dict[str, Any]:
    """What identifies the cell: every arm's way of training."""
    return {run.arm: recipe(run) for run in timed(notebook)}


def measure(notebook: str, people: Cohort, fold: Fold, ws: Workspace, machine: Machine) -> dict[str, Any]:
    """Arm -> step_s (median), schedule_minutes (budget -> minutes) and predict_s_per_volume (median)."""
    from hipposeg.bench.measure import predict_seconds

    found: dict[str, Any] = {}
    for run in timed(notebook):
        system = Ours(people, fold, ws, machine, run)
        step_s = statistics.median(timed_steps(system, SECONDS))
        budgets = {name: made.epochs for name, made in run.definition.recipes.items() if name != "smoke"}
        found[run.arm] = {
            "step_s": step_s,
            "schedule_minutes": {name: n * system.steps_per_epoch * step_s / 60 for name, n in budgets.items()},
            "predict_s_per_volume": predict_seconds(system, [system.loaded(n) for n in fold["scored"][:VOLUMES]]),
        }
        log.info("%s: %.3f s a step", run.arm, step_s)
    return {"arms": found}
