"""An arm of this project in training: for the race the flagship, its schedule fitted to the budget."""

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hipposeg.config import Workspace
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.engine.batches import Samples
from hipposeg.engine.machine import Machine
from hipposeg.engine.train import TrainConfig, Training, fit
from hipposeg.inference import VIEWS, asker, predictor
from hipposeg.runs.arms import FLAGSHIP
from hipposeg.runs.samples import images_of, make_samples
from hipposeg.runs.spec import RunSpec, chosen, numerics_of
from hipposeg.runs.weights import initial

RUN = RunSpec(FLAGSHIP, "nnunet", 0, 0, "standard")


def recipe(run: RunSpec = RUN) -> dict[str, Any]:
    """What identifies an arm's way of training; part of the cell's key."""
    arm = run.definition
    decided = {"prep": chosen(arm.prep), "training": chosen(arm.recipe(run.budget)), "network": arm.network}
    return {"arm": arm.name, "numerics": numerics_of(arm), **decided}


def fitted_epochs(budget_s: float, seconds_per_step: float, steps_per_epoch: int) -> int:
    """Whole epochs that fit into a budget, rounded down and at least 1."""
    return max(1, math.floor(budget_s / (seconds_per_step * steps_per_epoch)))


class Ours:
    """An arm in training; a System. It mirrors nothing: its passes are the moved views of `inference`."""

    def __init__(self, cohort: Cohort, fold: Fold, ws: Workspace, machine: Machine, run: RunSpec = RUN) -> None:
        self.run, arm = run, run.definition
        self.cohort, self.machine, self.prep = cohort, machine, arm.prep
        self.passes = len(VIEWS) if arm.prep.views else 1
        self.config: TrainConfig = arm.recipe(run.budget)
        machine.prepare()
        self.images = images_of(cohort, arm.prep, ws)
        self.samples = make_samples(self.images, cohort, arm.prep, fold["train"])
        self.steps_per_epoch = max(1, len(self.samples.images) // self.config.batch)
        self.volumes_per_step = len(fold["train"]) / self.steps_per_epoch
        self.training = Training(initial(self.run, cohort.spec), self.config, machine, self.run.seed)
        self.network, self.done = self.training.average.module, 0
        self.schedule_steps = self.config.epochs * self.steps_per_epoch

    def step(self) -> None:
        """An epoch of one batch: augmentation, step and running average as in `fit`."""
        at = self.done % self.steps_per_epoch * self.config.batch
        part = slice(at, at + self.config.batch)
        batch: Samples = replace(self.samples, images=self.samples.images[part], labels=self.samples.labels[part])
        with tqdm(disable=True) as bar:
            self.training.epoch(batch, self.done % self.config.epochs + 1, bar)
        self.done += 1

    def loaded(self, case: int) -> tuple[np.ndarray, tuple[float, float, float]]:
        """Image (C, X, Y, Z) and spacing in mm."""
        return self.images[case], self.cohort.cases[case].spacing

    def predict(self, image: tuple[np.ndarray, tuple[float, float, float]], mirrored: bool = True) -> np.ndarray:
        """The mask, uint8 (X, Y, Z); not `mirrored`: from one pass."""
        prep = self.prep if mirrored else replace(self.prep, views=False)
        return predictor(asker(self.network.eval(), prep, self.machine))(*image)

    def race(self, minutes: float, work: Path) -> dict[str, Any]:
        """Train anew with as many epochs as fit into the budget; `predict` then uses those weights."""
        seconds = []
        for _ in range(12):
            started = time.perf_counter()
            self.step()
            seconds.append(time.perf_counter() - started)
        epochs = fitted_epochs(60 * minutes, float(np.median(seconds[2:])), self.steps_per_epoch)
        shortened = replace(self.config, epochs=epochs, stop=None)
        shutil.rmtree(work, ignore_errors=True)
        network, history, spent = fit(
            initial(self.run, self.cohort.spec), self.samples, shortened, self.machine, self.run.seed, work, "bench"
        )
        self.network = network
        shutil.rmtree(work, ignore_errors=True)
        return {"minutes": minutes, "train_s": spent, "steps": history[-1]["step"], "epochs": epochs}

    def close(self) -> None:
        """Nothing to end."""
