"""Training and prediction times of a notebook's models on an idle machine.

Planned runs train side by side, so their recorded times are not comparable. Here each model runs alone, one after the
other, with all threads of the machine, and all of them twice, because the speed of a shared machine varies. Models that
train the same network with the same configuration are timed once.
"""

import itertools
import logging
import statistics
from typing import Any

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.zoo2d import SEARCH_GRID
from hipposeg.files import to_json
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.bench import ours
from hipposeg_lab.bench.system import timed_steps

log = logging.getLogger(__name__)

NOTEBOOKS = ("03", "04", "05")
SECONDS, ROUNDS = 10.0, 2
VOLUMES = 4


def timed(notebook: str) -> list[RunSpec]:
    """The notebook's models that train a network, at the standard schedule.

    Variants with published weights and the cells of a search are left out: they take as long as their model.
    """
    own = [
        model
        for model in MODELS.values()
        if model.notebook == notebook and model.build and model.name not in SEARCH_GRID
    ]
    return [RunSpec(model.name) for model in own if not model.name.endswith("+imagenet")]


def configuration(notebook: str) -> dict[str, Any]:
    """The configurations of all models, for the cell's key."""
    return {run.model: ours.configuration(run) for run in timed(notebook)}


def training(run: RunSpec) -> str:
    """What decides the time of a model's step: network, input and configuration, without test-time augmentation."""
    made = ours.configuration(run)
    return to_json([made["network"], made["training"], {**made["prep"], "views": False}])


def measure(notebook: str, people: Cohort, fold: Fold, ws: Workspace, machine: Machine) -> dict[str, Any]:
    """Time the models of a notebook.

    Returns:
        models: model -> step_s (median), rounds (the median of each), predict_s_per_volume (median), and
        schedule_minutes: schedule -> training time in minutes.
    """
    from hipposeg_lab.bench.measure import predict_seconds

    runs, found = timed(notebook), {}
    steps: dict[str, list[list[float]]] = {training(run): [] for run in runs}
    for turn in range(ROUNDS):
        for run in runs:
            system = ours.Ours(people, fold, ws, machine, run)
            if len(steps[training(run)]) == turn:
                steps[training(run)].append(timed_steps(system, SECONDS))
            if turn:
                continue
            schedules = {name: made.epochs for name, made in run.definition.schedules.items() if name != "smoke"}
            found[run.model] = {
                "schedule_minutes": {name: n * system.steps_per_epoch / 60 for name, n in schedules.items()},
                "predict_s_per_volume": predict_seconds(system, [system.loaded(n) for n in fold["scored"][:VOLUMES]]),
            }
    for run in runs:
        rounds, mine = steps[training(run)], found[run.model]
        step_s = statistics.median(itertools.chain(*rounds))
        mine |= {"step_s": step_s, "rounds": [statistics.median(one) for one in rounds]}
        mine["schedule_minutes"] = {name: n * step_s for name, n in mine["schedule_minutes"].items()}
        log.info("%s: %.3f s a step", run.model, step_s)
    return {"models": found}
