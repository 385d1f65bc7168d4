"""A model of this project in training; for the race the flagship, its schedule fitted to the training time."""

from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.experiments.samples import images_of, make_samples
from hipposeg.experiments.spec import RunSpec, chosen, numerics_of
from hipposeg.experiments.weights import initial
from hipposeg.inference import VIEWS, asker, predictor
from hipposeg.training.batches import Samples, drawn
from hipposeg.training.loop import TrainConfig, Training
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace

RUN = RunSpec(FLAGSHIP, "nnunet", 0, 0, "standard")


def configuration(run: RunSpec = RUN) -> dict[str, Any]:
    """A model's training configuration, for the cell's key."""
    model = run.definition
    decided = {"prep": chosen(model.prep), "training": chosen(model.training(run.schedule)), "network": model.network}
    return {"model": model.name, "numerics": numerics_of(model), **decided}


# Steps of a schedule that follows the clock.
PARTS = 1_000_000


class Ours:
    """A model in training; a Peer. Its passes are the transformed copies of `inference`, without mirror images."""

    def __init__(self, cohort: Cohort, fold: Fold, ws: Workspace, machine: Machine, run: RunSpec = RUN) -> None:
        self.run, model = run, run.definition
        self.cohort, self.machine, self.prep = cohort, machine, model.prep
        self.passes = len(VIEWS) if model.prep.views else 1
        self.config: TrainConfig = model.training(run.schedule)
        machine.prepare()
        self.images = images_of(cohort, model.prep, ws)
        self.samples = make_samples(self.images, cohort, model.prep, fold["train"])
        self.steps_per_epoch = max(1, len(self.samples.images) // self.config.batch)
        self.volumes_per_step = len(fold["train"]) / self.steps_per_epoch
        # One batch is an epoch here, so that the schedule follows the fraction of the time that is spent.
        config = replace(self.config, epochs=PARTS, stop=None, empty=None)
        self.training = Training(initial(self.run, cohort.spec), config, machine, self.run.seed)
        self.network, self.done, self.spent = self.training.average.module, 0, 0.0
        self.schedule_steps = self.config.epochs * self.steps_per_epoch

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

    def predict(self, image: tuple[np.ndarray, tuple[float, float, float]], mirrored: bool = True) -> np.ndarray:
        """The mask, uint8 (X, Y, Z); not `mirrored`: from one forward pass."""
        prep = self.prep if mirrored else replace(self.prep, views=False)
        return predictor(asker(self.network.eval(), prep, self.machine))(*image)

    def close(self) -> None:
        """Nothing to end."""
