"""A model of this project in training; for the race the flagship, its schedule fitted to the training time.

`model_times` times a notebook's models. Planned runs train side by side, so their recorded times are not comparable.
There each model runs alone, one after the other, with all threads of the machine, and all of them twice, because the
speed of a shared machine varies. Models that train the same network with the same configuration are timed once.
"""

import logging
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.registry import FLAGSHIP, MODELS, RunSpec, chosen, numerics_of
from hipposeg.experiments.samples import images_of, make_samples
from hipposeg.experiments.weights import initial
from hipposeg.experiments.zoo2d import WIDER_GRID
from hipposeg.files import to_json
from hipposeg.inference import evaluator, predictor
from hipposeg.training.batches import Samples, drawn
from hipposeg.training.loop import TrainConfig, Training
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.bench import probes

log = logging.getLogger(__name__)

RUN = RunSpec(FLAGSHIP, "nnunet", 0, 0, "standard")
# Steps of a schedule that follows the clock.
PARTS = 1_000_000
# Notebooks whose models are timed, for how many seconds in how many rounds.
NOTEBOOKS = ("03", "04", "05")
SECONDS, ROUNDS = 10.0, 2


def configuration(run: RunSpec = RUN) -> dict[str, Any]:
    """A model's training configuration, which enters the cell's key."""
    model = run.definition
    decided = {"prep": chosen(model.prep), "training": chosen(model.training(run.schedule)), "network": model.network}
    return {"model": model.name, "numerics": numerics_of(model), **decided}


class Ours:
    """A model in training, a `system`."""

    def __init__(self, cohort: Cohort, fold: Fold, ws: Workspace, machine: Machine, run: RunSpec = RUN) -> None:
        self.run, self.cohort, self.machine, self.prep = run, cohort, machine, run.definition.prep
        self.config: TrainConfig = run.definition.training(run.schedule)
        machine.prepare()
        self.images = images_of(cohort, self.prep, ws)
        self.samples = make_samples(self.images, cohort, self.prep, fold["train"])
        self.steps_per_epoch = max(1, len(self.samples.images) // self.config.batch)
        self.schedule_steps = self.config.epochs * self.steps_per_epoch
        self.volumes_per_step = len(fold["train"]) / self.steps_per_epoch
        # One batch is an epoch here, so that the schedule follows the fraction of the time that is spent.
        config = replace(self.config, epochs=PARTS, stop=None, empty=None)
        self.training = Training(initial(run, cohort.spec), config, machine, run.seed)
        self.done, self.spent = 0, 0.0

    def spend(self, share: float) -> None:
        """Take the next step's rate from this fraction of the schedule."""
        self.spent = share

    def step(self) -> None:
        """A step of `fit`: shuffled batches, augmentation, running average."""
        epoch, at = divmod(self.done, self.steps_per_epoch)
        if at == 0:
            self.order = drawn(self.samples, self.run.seed, epoch + 1, self.config.empty)
        part = self.order[at * self.config.batch : (at + 1) * self.config.batch]
        batch: Samples = replace(self.samples, images=self.samples.images[part], labels=self.samples.labels[part])
        with tqdm(disable=True) as bar:
            self.training.epoch(batch, 1 + max(self.done, round(self.spent * PARTS)), bar)
        self.done += 1

    def loaded(self, case: int) -> tuple[np.ndarray, tuple[float, float, float]]:
        """Image (C, X, Y, Z) and spacing in mm."""
        return self.images[case], self.cohort.cases[case].spacing

    def predict(self, image: tuple[np.ndarray, tuple[float, float, float]]) -> np.ndarray:
        """The mask, uint8 (X, Y, Z)."""
        return predictor(evaluator(self.training.average.module.eval(), self.prep, self.machine))(*image)

    def close(self) -> None:
        """Nothing to end."""


def timed(notebook: str) -> list[RunSpec]:
    """The notebook's models that train a network, at the standard schedule.

    Variants with published weights and the cells of a search are left out: they take as long as their model.
    """
    own = [name for name, model in MODELS.items() if model.notebook == notebook and model.build]
    return [RunSpec(name) for name in own if name not in WIDER_GRID and not name.endswith("+imagenet")]


def training_of(run: RunSpec) -> str:
    """What decides the time of a model's step: network, input and configuration, without test-time augmentation."""
    made = configuration(run)
    return to_json([made["network"], made["training"], {**made["prep"], "views": False}])


def model_times(notebook: str, people: Cohort, fold: Fold, ws: Workspace, machine: Machine) -> dict[str, Any]:
    """Time the models of a notebook.

    Returns:
        `models`: name -> step_s, the median of all rounds, and schedule_minutes, schedule -> training time.
    """
    seconds: dict[str, list[float]] = {}
    epoch: dict[str, int] = {}
    for _ in range(ROUNDS):
        for kind, run in {training_of(run): run for run in timed(notebook)}.items():
            system = Ours(people, fold, ws, machine, run)
            epoch[kind] = system.steps_per_epoch
            seconds.setdefault(kind, []).extend(probes.step_seconds(system, SECONDS))
    found = {}
    for run in timed(notebook):
        kind, schedules = training_of(run), run.definition.schedules.items()
        step_s = statistics.median(seconds[kind])
        minutes = {name: one.epochs * epoch[kind] * step_s / 60 for name, one in schedules if name != "smoke"}
        found[run.model] = {"step_s": step_s, "schedule_minutes": minutes}
        log.info("%s: %.3f s a step", run.model, step_s)
    return {"models": found}
