"""The training loop, the same for 2D and 3D networks: `Training.epoch` trains one epoch, `fit` all of them.

Order and augmentation of a batch depend on (seed, epoch, step) alone, so a run killed at any moment continues from its
last epoch to the same bytes. The weights that are scored are a running average over the last steps, never the best
epoch.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from hipposeg import files
from hipposeg.training.augmentation import Augmentation, Batch, Classic
from hipposeg.training.batches import Samples, batches, seeded
from hipposeg.training.losses import segmentation_loss
from hipposeg.training.machine import Machine
from hipposeg.training.optimiser import optimisers, rate

# Increase when the loop's arithmetic changes: keys of earlier runs then differ.
NUMERICS = 2


@dataclass(frozen=True)
class TrainConfig:
    """A training configuration.

    Attributes:
        batch: samples a step.
        lr: peak learning rate of AdamW.
        muon: peak learning rate of Muon (`training.optimiser`) for weight matrices; 0 leaves all weights to AdamW.
        warmup: fraction of the schedule in which the "one-cycle" rate rises.
        weight_decay: per unit of learning rate.
        clip: largest norm of the gradient.
        average: decay per step of the running average of weights; 0 keeps the last weights.
        loss: a name of `losses.LOSSES`, or of `contrastive.LOSSES` for networks that learn from captions.
        foreground_weight: class weight of each foreground class in the cross-entropy; background has 1.
        watch_every: epochs between two evaluations of the scored cases, for display only.
        augmentation: ranges of the random changes.
        stop: training ends when every class reaches this Dice on the watched cases, which are none of the scored then.
        schedule: of both rates, a name of `optimiser.SCHEDULES`.
        horizon: length of the schedule in trainings; above 1, training ends before the rates reach their minimum.
        empty: fraction of samples without foreground (`batches.drawn`); None keeps the natural one.
        share: fraction of the training subjects to learn from.
        patches: samples an epoch that `batches.Patches` draws from volumes; 0 has every volume or slice once.
        channel_dropout: probability that a channel of such a sample is set to its mean; one channel always stays.
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
    stop: float | None = None
    schedule: str = "one-cycle"
    horizon: float = 1.0
    empty: float | None = None
    share: float = 1.0
    patches: int = 0
    channel_dropout: float = 0.0


def forward(model: nn.Module, batch: Batch, spacing: tuple[float, ...]) -> Tensor | list[Tensor]:
    """Output of the network for a batch.

    A network that sets `wants_points` also receives the voxels' positions in mm; samples with a context pass it along.
    """
    if batch.context is not None:
        return model(batch.images, batch.context)
    if not getattr(model, "wants_points", False):
        return model(batch.images)
    scale = torch.tensor(spacing, device=batch.points.device).view(1, -1, *[1] * len(spacing))
    return model(batch.images, batch.points * scale)


@dataclass
class Training:
    """State of one training.

    Attributes:
        model: the network; its optional method `noted` returns numbers for the history.
        seed: of batch order, augmentation and dropout.
        history: one dictionary per finished epoch.
        seconds: time spent in training steps.
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

    def steps(self, samples: Samples) -> int:
        """Steps of one epoch."""
        return max(1, len(samples) // self.config.batch)

    def save(self, path: Path, key: str) -> None:
        """Write a checkpoint atomically."""
        state = {"key": key, "history": self.history, "seconds": self.seconds, "model": self.model.state_dict()}
        state |= {"average": self.average.state_dict(), "optimisers": [o.state_dict() for o in self.optimisers]}
        stream = io.BytesIO()
        torch.save(state, stream)
        files.write_cached(path, stream.getbuffer())

    def resume(self, path: Path, key: str) -> None:
        """Continue from a checkpoint with the same key; start anew without one, or if it is damaged."""
        if (content := files.read_cached(path)) is None:
            return
        state = torch.load(io.BytesIO(content), map_location=self.machine.device, weights_only=True)
        if state["key"] != key:
            return
        self.history, self.seconds = state["history"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def epoch(self, samples: Samples, number: int, progress: Any) -> dict[str, Any]:
        """Train epoch `number` (from 1); returns its entry of the history: epoch, step, lr, loss."""
        config, total_loss, per_epoch = self.config, 0.0, self.steps(samples)
        self.model.train()
        planned = round(config.horizon * config.epochs * per_epoch)
        for step, batch in self.batches(samples, number):
            done = (number - 1) * per_epoch + step
            fraction = rate(config.schedule, done, planned, config.warmup, [line["loss"] for line in self.history])
            for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
                for group in optimiser.param_groups:
                    group["lr"] = peak * fraction
            # Dropout, where a network has it, draws from torch's global generator: seed it for this step alone.
            with torch.random.fork_rng(enabled=True):
                torch.manual_seed(seeded(self.seed, number, step, "dropout").initial_seed())
                loss = self.loss(batch, samples)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the training loss became {loss.item()}: lower lr, or check the images")
            self.model.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
            for optimiser in self.optimisers:
                optimiser.step()
            self.average.update_parameters(self.model)
            total_loss += loss.item()
            progress.update()
        line = {"epoch": number, "step": number * per_epoch, "lr": config.lr * fraction, "loss": total_loss / per_epoch}
        return line | getattr(self.model, "noted", dict)()

    def batches(self, samples: Samples, number: int) -> Iterator[tuple[int, Batch]]:
        """Yield (step, batch) of one epoch."""
        config, device = self.config, self.machine.device
        return batches(samples, config.batch, device, config.augmentation, self.seed, number, config.empty)

    def loss(self, batch: Batch, samples: Samples) -> Tensor:
        """Loss of one batch."""
        with self.machine.autocast():
            outputs = forward(self.model, batch, samples.spacing)
        return segmentation_loss(outputs, batch.targets, self.config.loss, self.config.foreground_weight)

    def averaged(self, samples: Samples) -> nn.Module:
        """The averaged network in evaluation mode, its BatchNorm statistics re-estimated if it has any."""
        plain = batches(samples, self.config.batch, self.machine.device, Augmentation(), self.seed, 0)
        inputs = (batch.images for _, batch in islice(plain, 40))
        with self.machine.autocast():
            update_bn(inputs, self.average)
        return self.average.module.eval()


def reached(history: list[dict[str, Any]], stop: float | None) -> bool:
    """Whether every class has reached the Dice `stop` at the last evaluation; a class that nobody has is left out."""
    seen = history[-1].get("dice", {}) if history else {}
    classes = [value for name, value in seen.items() if name != "mean" and value == value]
    return stop is not None and bool(classes) and min(classes) >= stop


def fit(
    training: Training, samples: Samples, folder: Path, key: str,
    watch: Callable[[nn.Module], dict[str, float]] | None = None, label: str = "training",
) -> tuple[nn.Module, list[dict[str, Any]], float]:  # fmt: skip
    """Train to the end of the schedule, resuming from `folder` if it has a checkpoint with this key.

    Args:
        training: network with initial weights, configuration, machine and seed.
        folder: receives checkpoint.pt and history.jsonl after every epoch.
        watch: evaluates cases for the history: class -> Dice, and "mean". No choice but `config.stop` depends on it.

    Returns:
        The averaged network in evaluation mode; the history, one dictionary per epoch; the seconds of training, without
        evaluations, with those before a resume.

    Raises:
        FloatingPointError: the loss became infinite or NaN.
    """
    config, checkpoint = training.config, folder / "checkpoint.pt"
    training.resume(checkpoint, key)
    per_epoch, done = training.steps(samples), len(training.history)

    def keep() -> None:
        lines = [json.dumps(files.plain(line), sort_keys=True) + "\n" for line in training.history]
        files.write_text(folder / "history.jsonl", "".join(lines))

    if done:  # of a training that had ended, no epoch would write it again
        keep()
    from tqdm import tqdm  # the predictor imports this module, and works without

    with tqdm(total=config.epochs * per_epoch, initial=done * per_epoch, desc=label, mininterval=1, unit="step") as bar:
        for number in range(done + 1, config.epochs + 1):
            if reached(training.history, config.stop):
                break
            started = time.perf_counter()
            line = training.epoch(samples, number, bar)
            training.seconds += time.perf_counter() - started
            if watch and (number % config.watch_every == 0 or number == config.epochs):
                line["dice"] = watch(training.averaged(samples))
            training.history.append(line)
            bar.set_postfix_str(f"epoch {number}/{config.epochs}, loss {line['loss']:.3f}")
            # The checkpoint last: a kill in between repeats the epoch, and with it the line.
            keep()
            training.save(checkpoint, key)
    return training.averaged(samples), training.history, training.seconds
