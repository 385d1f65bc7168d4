"""Four ways to a predictor: train a network, use a published one, average networks, average label maps."""

import logging
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
from hipposeg.data.folds import Fold, scored_part
from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments import guidance
from hipposeg.experiments.model import Model
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.samples import inner_part, make_samples, shared, training_slices
from hipposeg.experiments.spec import RunSpec, members_of
from hipposeg.experiments.weights import halve, initial, predict_with
from hipposeg.inference import Predictor
from hipposeg.models import atlas, cost
from hipposeg.training import contrastive
from hipposeg.training.loop import Training, fit
from hipposeg.training.machine import Machine

log = logging.getLogger(__name__)


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


def trained(
    run: RunSpec, cohort: Cohort, fold: Fold, images: dict[int, np.ndarray], machine: Machine, work: Path, key: str
) -> Trained:  # fmt: skip
    """Make the run's predictor in the way that its model requires.

    Args:
        run: which run.
        cohort: the labelled cases.
        fold: training and scored cases.
        images: case -> (C, X, Y, Z) float32.
        machine: device and precision.
        work: the run's folder in the cache, beside those of the runs that it needs.
        key: of the checkpoint.

    Raises:
        FloatingPointError: the loss became infinite or NaN.
        ValueError: the fold holds slices back and the model takes none.
    """
    model = run.definition
    if model.members:
        return _average_networks(run, cohort.spec, machine, work.parent)
    if model.published:
        network = machine.place(initial(run, cohort.spec)).eval()
        numbers = guidance.settle(network, run, cohort, fold["train"]) | _costs(network, model, cohort.spec, 0, 0)
        return _result(run, network, machine, numbers | {"params": 0}, 0.0)
    if model.build:
        return _train_network(run, cohort, fold, images, machine, work, key)
    return _average_labels(run, cohort, fold)


def _train_network(
    run: RunSpec, cohort: Cohort, fold: Fold, images: dict[int, np.ndarray], machine: Machine, work: Path, key: str
) -> Trained:  # fmt: skip
    """Train a network, or resume: checkpoint and history are in `work` under `key`.

    Costs include the teacher: the seconds of its training and of computing its features, and the frozen tower's
    parameters.
    """
    model, spec = run.definition, cohort.spec
    config, network = model.training(run.schedule), initial(run, spec)
    if f"{run.model}+imagenet" in MODELS:
        log.info("%s starts from random weights; its variant +imagenet starts from published ones", run.model)
    cases = shared(cohort, fold["train"], config.share, run.seed)
    cases, inner = inner_part(cohort, cases, config.stop.people) if config.stop else (cases, [])
    samples, kind = make_samples(images, cohort, model.prep, cases, training_slices(cohort, model.prep, fold)), Training
    if config.loss in contrastive.LOSSES:
        samples, kind = guidance.captioned(samples, cohort, model.prep, cases), contrastive.Contrasting
    before = 0.0
    if model.guide:
        guidance.guide(network, run, cohort, cases, work.parent)
        before = guidance.spent(run, work.parent)
    if getattr(network, "wants_context", False):
        samples, seconds = guidance.with_context(network, samples, machine, work.parents[1] / "cache" / "context")
        before += seconds

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

    looks = {}
    if kind is Training:  # what is trained to segment is scored while it trains
        looks = {"watch": dice_on(fold["scored"], scored_part(fold)[0]), "inner": dice_on(inner, (...,))}
    network, history, seconds = fit(
        network, samples, config, machine, run.seed, work, key, **looks, label=run.name, kind=kind
    )
    halve(network)
    numbers = guidance.settle(network, run, cohort, cases)
    numbers |= _costs(network, model, spec, history[-1]["step"], len(samples.images))
    return _result(run, network, machine, numbers, before + seconds)


def _costs(network: torch.nn.Module, model: Model, spec: DatasetSpec, steps: int, samples: int) -> dict[str, Any]:
    """Costs for the tables; parameters include frozen ones, which were trained elsewhere and predictions need."""
    tower = getattr(network, "tower", torch.nn.Identity())
    frozen = sum(weight.numel() for weight in tower.parameters() if not weight.requires_grad)
    gflops = cost.gflops(network, model.prep.channels(len(spec.channels)), model.prep.axis, model.prep.spacing)
    params = cost.parameters(network) + frozen
    return {"params": params, "gflops": round(gflops, 3), "steps": steps, "samples": samples}


def _result(
    run: RunSpec, network: torch.nn.Module, machine: Machine, numbers: dict[str, Any], seconds: float
) -> Trained:  # fmt: skip
    stored = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    return Trained(predict_with(run.definition, network, machine), stored, numbers, seconds, network)


def _average_networks(run: RunSpec, spec: DatasetSpec, machine: Machine, runs: Path) -> Trained:
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
    return replace(_result(run, machine.place(network).eval(), machine, numbers, seconds), network=None)


def _average_labels(run: RunSpec, cohort: Cohort, fold: Fold) -> Trained:
    """Average the label maps of the training cases: the image-free atlas."""
    training_slices(cohort, run.definition.prep, fold)  # raises where slices are held back: label maps hold them all
    started = time.perf_counter()
    labels = (cohort.cases[number].label for number in fold["train"])
    mean_map = atlas.mean_map(labels, cohort.spec.n_classes, run.definition.prep.size)

    def predict(image: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
        return atlas.from_box(mean_map, image.shape[1:])

    numbers = {"params": 0, "gflops": 0.0, "steps": 0, "samples": len(fold["train"])}
    return Trained(predict, {"mean_map": mean_map}, numbers, time.perf_counter() - started)
