"""Four ways to a predictor: train a network, use a published one, average networks, average label maps."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from hipposeg import files, metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.data.leak_folds import scored_part
from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments import guidance
from hipposeg.experiments.samples import inner_part, make_samples, shared, training_slices
from hipposeg.experiments.spec import RunSpec, members_of
from hipposeg.experiments.weights import halve, initial, predict_with
from hipposeg.inference import Predictor
from hipposeg.models import atlas, cost
from hipposeg.training import contrastive
from hipposeg.training.loop import Training, fit
from hipposeg.training.machine import Machine


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        predict: image and spacing -> label map.
        weights: tensors to store.
        numbers: params, gflops, steps, samples and others for the tables.
        seconds: of training.
        network: in evaluation mode; None for the atlas.
    """

    predict: Predictor
    weights: dict[str, Tensor]
    numbers: dict[str, Any]
    seconds: float
    network: torch.nn.Module | None = None


def _stored(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}


def _frozen(network: torch.nn.Module) -> int:
    """Number of frozen parameters, trained elsewhere and needed for predictions."""
    tower = getattr(network, "tower", torch.nn.Identity())
    return sum(weight.numel() for weight in tower.parameters() if not weight.requires_grad)


def trained(
    run: RunSpec, cohort: Cohort, fold: Fold, images: dict[int, np.ndarray], machine: Machine, work: Path, key: str
) -> Trained:  # fmt: skip
    """Make the run's predictor in the way that its model requires; arguments and errors as of `train_network`."""
    model = run.definition
    if model.members:
        return average_networks(run, cohort.spec, machine, work.parent)
    if model.published:
        return as_published(run, cohort, fold, machine)
    if model.build:
        return train_network(run, cohort, fold, images, machine, work, key)
    return average_labels(run, cohort, fold)


def train_network(
    run: RunSpec, cohort: Cohort, fold: Fold, images: dict[int, np.ndarray], machine: Machine, work: Path, key: str
) -> Trained:
    """Train a network on a fold, or resume: checkpoint and history are in `work` under `key`.

    Costs include the teacher: the seconds of its training and of computing its features, and the frozen tower's
    parameters.

    Args:
        run: which run.
        cohort: the labelled cases.
        fold: training and scored cases.
        images: case -> (C, X, Y, Z) float32.
        machine: device and precision.
        work: the run's folder in the cache.
        key: of the checkpoint.

    Raises:
        FloatingPointError: the loss became infinite or NaN.
        ValueError: the fold holds slices back and the network takes none.
    """
    model, spec = run.definition, cohort.spec
    recipe = model.training(run.schedule)
    channels = model.prep.channels(len(spec.channels))
    network = initial(run, spec)
    learned = shared(cohort, fold["train"], recipe.share, run.seed)
    trained, inner = inner_part(cohort, learned, recipe.stop.people) if recipe.stop else (learned, [])
    samples, kind = (
        make_samples(images, cohort, model.prep, trained, training_slices(cohort, model.prep, fold)),
        Training,
    )
    if recipe.loss in contrastive.LOSSES:
        samples, kind = guidance.captioned(samples, cohort, model.prep, trained), contrastive.Contrasting
    before = 0.0
    if model.guide:
        guidance.guide(network, run, cohort, trained, work.parent)
        before = guidance.spent(run, work.parent)
    if getattr(network, "wants_context", False):
        samples, looked = guidance.with_context(network, samples, machine, work.parents[1] / "cache" / "context")
        before += looked

    def dice_on(cases: list[int], part: tuple[slice, ...]) -> Callable[[torch.nn.Module], dict[str, float]]:
        def score(network: torch.nn.Module) -> dict[str, float]:
            predict = predict_with(replace(model, prep=replace(model.prep, views=False)), network, machine)
            rows = []
            for number in cases:
                case = cohort.cases[number]
                found, true = predict(images[number], case.spacing)[part], case.label[part]
                rows.append(list(metrics.class_dice(found, true, spec).values()))
            means = np.nanmean(rows, axis=0)
            return {**dict(zip(spec.names, means.tolist(), strict=True)), "mean": float(means.mean())}

        return score

    looks = {"watch": dice_on(fold["scored"], scored_part(fold)[0]), "inner": dice_on(inner, (...,))}
    if kind is not Training:
        looks = {}  # what is not trained to segment is not watched segmenting
    network, history, seconds = fit(
        network, samples, recipe, machine, run.seed, work, key, **looks, label=run.name, kind=kind
    )
    halve(network)
    numbers = guidance.settle(network, run, cohort, trained) | {
        "params": cost.parameters(network) + _frozen(network),
        "gflops": round(cost.gflops(network, channels, model.prep.axis, model.prep.spacing), 3),
        "steps": history[-1]["step"],
        "samples": len(samples.images),
    }
    return Trained(predict_with(model, network, machine), _stored(network), numbers, before + seconds, network)


def as_published(run: RunSpec, cohort: Cohort, fold: Fold, machine: Machine) -> Trained:
    """Use a published CLIP without training; it only encodes the class prompts."""
    network, prep = machine.place(initial(run, cohort.spec)).eval(), run.definition.prep
    numbers = guidance.settle(network, run, cohort, fold["train"]) | {
        "params": 0,
        "gflops": round(cost.gflops(network, prep.channels(len(cohort.spec.channels)), prep.axis, prep.spacing), 3),
        "steps": 0,
        "samples": 0,
    }
    return Trained(predict_with(run.definition, network, machine), _stored(network), numbers, 0.0, network)


def average_networks(run: RunSpec, spec: DatasetSpec, machine: Machine, runs: Path) -> Trained:
    """Average the probabilities of an ensemble's members, whose finished runs are in the folder `runs`.

    Its costs are the sums over the members.
    """
    network = initial(run, spec)
    numbers, seconds = dict.fromkeys(("params", "gflops", "steps", "samples"), 0), 0.0
    for member in members_of(run):
        folder = runs / member.name
        network[member.model].load_state_dict(safetensors.torch.load((folder / "weights.safetensors").read_bytes()))
        state = files.read_json(folder / "run.json")
        made = state["row"] | state["config"]
        numbers = {name: round(total + made[name], 3) for name, total in numbers.items()}
        seconds += made["train_s"]
    machine.place(network).eval()
    return Trained(predict_with(run.definition, network, machine), _stored(network), numbers, seconds)


def average_labels(run: RunSpec, cohort: Cohort, fold: Fold) -> Trained:
    """Average the label maps of the training cases: the image-free atlas.

    Raises:
        ValueError: the fold holds slices back, which whole label maps would contain.
    """
    training_slices(cohort, run.definition.prep, fold)
    started = time.perf_counter()
    labels = (cohort.cases[number].label for number in fold["train"])
    mean_map = atlas.mean_map(labels, cohort.spec.n_classes, run.definition.prep.size)

    def predict(image: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
        return atlas.from_box(mean_map, image.shape[1:])

    numbers = {"params": 0, "gflops": 0.0, "steps": 0, "samples": len(fold["train"])}
    return Trained(predict, {"mean_map": mean_map}, numbers, time.perf_counter() - started)
