"""The one training loop, for 2D and 3D alike.

A batch's order and augmentation come from a generator seeded by (seed, epoch, step), so a resumed run needs no
generator state: a run killed at any moment continues from its last epoch to the same bytes. The scored weights are the
running average of the last steps' weights, never the best epoch's.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from tqdm import tqdm

from hipposeg import files
from hipposeg.training.augmentation import Augmentation, Batch
from hipposeg.training.batches import Samples, batches, seeded
from hipposeg.training.classic import Classic
from hipposeg.training.losses import segmentation_loss
from hipposeg.training.machine import Machine
from hipposeg.training.optimiser import optimisers
from hipposeg.training.schedule import rate
from hipposeg.training.stopping import StopRule

log = logging.getLogger(__name__)

# Raise by hand when the loop's arithmetic changes: runs made before are then marked as older.
NUMERICS = 2


@dataclass(frozen=True)
class TrainConfig:
    """A training recipe.

    epochs, batch: passes over the samples, samples a step. lr: AdamW's peak rate. muon: peak of Muon's
    (`engine.optim`), which then takes the weight matrices; 0 leaves all to AdamW. schedule: of both rates, a name of
    `schedule.SCHEDULES`. horizon: length of the schedule in trainings; above 1 the training ends before its rates are
    down. warmup: share of the schedule in which "one-cycle" rises. weight_decay: per unit of rate. clip:
    largest norm of the gradient. average: decay of the running average of weights per step, 0 for the last weights.
    loss: a name of `losses.LOSSES`, or of `contrastive.LOSSES` for what learns from captions. foreground_weight: of
    each foreground class in its cross-entropy, where the background weighs 1. empty: share of samples without
    foreground (`batches.drawn`), None for the natural one.
    watch_every: epochs between two looks at the scored cases, for display only. stop: a rule that ends training early,
    watching an inner part of the training people. share: part of the training people to learn from.
    """

    epochs: int
    batch: int
    lr: float
    muon: float = 0.0
    warmup: float = 0.15
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.99
    loss: str = "dice+ce"
    foreground_weight: float = 1.0
    watch_every: int = 2
    augmentation: Augmentation | Classic = field(default_factory=Augmentation)
    stop: StopRule | None = None
    schedule: str = "one-cycle"
    horizon: float = 1.0
    empty: float | None = None
    share: float = 1.0


def optimise(model: nn.Module, optimisers: list[torch.optim.Optimizer], loss: Tensor, clip: float) -> None:
    """One step down the gradient, its norm clipped. Raises FloatingPointError if the loss is not finite."""
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the training loss became {loss.item()}; lower the learning rate or check the images")
    model.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimiser in optimisers:
        optimiser.step()


def forward(model: nn.Module, batch: Batch, spacing: tuple[float, ...]) -> Tensor | list[Tensor]:
    """The network's output for a batch; one that wants to know where its voxels are gets their points in mm.

    What the samples carry as context goes in beside the images.
    """
    if batch.context is not None:
        return model(batch.images, batch.context)
    if not getattr(model, "wants_points", False):
        return model(batch.images)
    scale = torch.tensor(spacing, device=batch.points.device).view(1, -1, *[1] * len(spacing))
    return model(batch.images, batch.points * scale)


@dataclass
class Training:
    """One training: the network, its average, its optimisers, the history so far, and the seconds it took.

    A network may have a method `noted` that gives numbers worth a place in each epoch's line of history.
    """

    model: nn.Module
    config: TrainConfig
    machine: Machine
    seed: int
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.machine.prepare()
        self.machine.place(self.model)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(self.config.average))
        self.optimisers = optimisers(self.model, self.config.lr, self.config.weight_decay, self.config.muon)
        self.peaks = [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers]

    def save(self, path: Path, key: str) -> None:
        """Write everything that a resume needs, atomically."""
        state = {"key": key, "history": self.history, "seconds": self.seconds, "model": self.model.state_dict()}
        state |= {"average": self.average.state_dict(), "optimisers": [o.state_dict() for o in self.optimisers]}
        with files.replacing(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path, key: str) -> None:
        """Continue from a checkpoint of the same run; one of another run, or a damaged one, is left alone."""
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.machine.device, weights_only=True)
        except (RuntimeError, OSError, EOFError, UnpicklingError) as error:
            log.warning("%s is damaged (%s): the training starts anew", path, error or type(error).__name__)
            return
        if state["key"] != key:
            return
        self.history, self.seconds = state["history"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def epoch(self, samples: Samples, number: int, progress: tqdm) -> dict[str, Any]:
        """Train one epoch (numbers start at 1) and return its line of history."""
        config, total_loss = self.config, 0.0
        per_epoch = max(1, len(samples.images) // config.batch)
        self.model.train()
        planned = round(config.horizon * config.epochs * per_epoch)
        for step, batch in self.batches(samples, number):
            done = (number - 1) * per_epoch + step
            share = rate(config.schedule, done, planned, config.warmup, self.history)
            for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
                for group in optimiser.param_groups:
                    group["lr"] = peak * share
            # Dropout, where a network has it, draws from torch's global generator: seed it for this step alone.
            with torch.random.fork_rng(enabled=True):
                torch.manual_seed(seeded(self.seed, number, step, "dropout").initial_seed())
                loss = self.loss(batch, samples)
            optimise(self.model, self.optimisers, loss, config.clip)
            self.average.update_parameters(self.model)
            total_loss += loss.item()
            progress.update()
        line = {"epoch": number, "step": number * per_epoch, "lr": config.lr * share, "loss": total_loss / per_epoch}
        return line | getattr(self.model, "noted", dict)()

    def batches(self, samples: Samples, number: int) -> Iterator[tuple[int, Batch]]:
        """The (step, batch) of one epoch."""
        config = self.config
        drawn = (config.augmentation, self.seed, number, config.empty)
        return batches(samples, config.batch, self.machine.device, *drawn)

    def loss(self, batch: Batch, samples: Samples) -> Tensor:
        """What a step goes down on."""
        with self.machine.autocast():
            outputs = forward(self.model, batch, samples.spacing)
        return segmentation_loss(outputs, batch.targets, self.config.loss, self.config.foreground_weight)

    def averaged(self, samples: Samples) -> nn.Module:
        """The averaged network in evaluation mode; BatchNorm statistics, where there are any, re-estimated for it."""
        plain = batches(samples, self.config.batch, self.machine.device, Augmentation(), self.seed, 0)
        inputs = (batch.images for _, batch in islice(plain, 40))
        with self.machine.autocast():
            update_bn(inputs, self.average)
        return self.average.module.eval()


def fit(
    model: nn.Module,
    samples: Samples,
    config: TrainConfig,
    machine: Machine,
    seed: int,
    folder: Path,
    key: str,
    watch: Callable[[nn.Module], dict[str, float]] | None = None,
    inner: Callable[[nn.Module], dict[str, float]] | None = None,
    label: str = "training",
    kind: type[Training] = Training,
) -> tuple[nn.Module, list[dict[str, Any]], float]:
    """Train to the end of the schedule, resuming from `folder` if a checkpoint with this key is there.

    Args:
        model: an initialised network. samples: the training data. config: the recipe. machine: device and precision.
        seed: of batch order and augmentation. folder: gets checkpoint.pt and history.jsonl after every epoch.
        key: identifies the run. watch: returns scores to show in the history; nothing is chosen by them.
        inner: returns the Dice of each class on people cut from the training ones, for the recipe's stop rule.
        label: shown in the progress bar. kind: how an epoch is trained, such as `contrastive.Contrasting`.

    Returns:
        The averaged network in evaluation mode, the history with one dictionary an epoch, and the seconds of training:
        those before a resume included, looks at scored cases left out.
    """
    if config.stop and inner is None:
        raise ValueError(f"the recipe stops by {config.stop}, and nothing scores an inner part: give `inner`")
    training = kind(model, config, machine, seed)
    checkpoint = folder / "checkpoint.pt"
    training.resume(checkpoint, key)
    per_epoch = max(1, len(samples.images) // config.batch)
    done = len(training.history)
    if config.stop and config.stop.ends(training.history):
        done = config.epochs
    with tqdm(total=config.epochs * per_epoch, initial=done * per_epoch, desc=label, mininterval=1, unit="step") as bar:
        for number in range(done + 1, config.epochs + 1):
            started = time.perf_counter()
            line = training.epoch(samples, number, bar)
            training.seconds += time.perf_counter() - started
            if watch and (number % config.watch_every == 0 or number == config.epochs):
                line["dice"] = watch(training.averaged(samples))
            if config.stop and number % config.stop.every == 0:
                line["inner"] = inner(training.averaged(samples))
            training.history.append(line)
            bar.set_postfix_str(f"epoch {number}/{config.epochs}, loss {line['loss']:.3f}")
            # The checkpoint last: a kill in between repeats the epoch, and with it the line.
            files.write_text(folder / "history.jsonl", history_lines(training.history))
            training.save(checkpoint, key)
            if config.stop and config.stop.ends(training.history):
                break
    return training.averaged(samples), training.history, training.seconds


def history_lines(history: list[dict[str, Any]]) -> str:
    """The history as JSON lines."""
    return "".join(json.dumps(files.plain(line), sort_keys=True) + "\n" for line in history)
