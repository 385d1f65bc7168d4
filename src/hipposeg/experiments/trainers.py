"""Four ways to a predictor: train a network, use a published one, average networks, average label maps."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold, scored_part
from hipposeg.experiments import guidance
from hipposeg.experiments.registry import RunSpec, members_of, needed_by
from hipposeg.experiments.samples import make_patches, make_samples, shared, training_slices
from hipposeg.experiments.weights import finished, halve, initial, predict_with, start_from, whole_state
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
        network: in evaluation mode; None for the atlas and ensembles.
    """

    predict: Predictor
    weights: dict[str, Tensor]
    numbers: dict[str, Any]
    seconds: float
    network: nn.Module | None = None


def trained(
    run: RunSpec, cohort: Cohort, fold: Fold, images: dict[int, np.ndarray], machine: Machine, work: Path, key: str
) -> Trained:  # fmt: skip
    """Make the run's predictor in the way that its model requires; arguments and errors as of `run.train`.

    images: case -> (C, X, Y, Z) float32. work: the run's folder in the cache, beside those of the runs that it needs.
    key: of the checkpoint.
    """
    model = run.definition
    if model.members:
        return _average_networks(run, cohort, machine, work.parent)
    if model.published:
        network = machine.place(initial(run, cohort.spec)).eval()
        numbers = guidance.settle(network, run, cohort, fold["train"]) | _costs(run, network, cohort, 0, 0)
        return _result(run, network, machine, numbers | {"params": 0}, 0.0)
    if model.build:
        return _train_network(run, cohort, fold, images, machine, work, key)
    return _average_labels(run, cohort, fold)


def _train_network(
    run: RunSpec, cohort: Cohort, fold: Fold, images: dict[int, np.ndarray], machine: Machine, work: Path, key: str
) -> Trained:  # fmt: skip
    """Train a network, or resume; its costs include the teacher's training, features and parameters."""
    model, spec = run.definition, cohort.spec
    config, network = model.training(run.schedule), initial(run, spec)
    watched = fold.get("watched", fold["scored"])
    if config.stop is not None and set(watched) & set(fold["scored"]):
        raise ValueError("a training that stops by Dice must not see scored cases: give the fold `watched` cases")
    told = start_from(network, Path(model.start)) if model.start else {}
    cases = shared(cohort, fold["train"], config.share, run.seed)
    if model.prep.window:
        samples = make_patches(images, cohort, model.prep, cases, config, work.parents[1] / "cache" / "resampled")
    else:
        samples = make_samples(images, cohort, model.prep, cases, training_slices(cohort, model.prep, fold))
    kind = Training
    if config.loss in contrastive.LOSSES:
        samples, kind = guidance.captioned(samples, cohort, model.prep, cases), contrastive.Contrasting
    before = teachers_seconds(run, work.parent)
    if model.guide:
        guidance.guide(network, run, cohort, cases, work.parent)
    if getattr(network, "wants_context", False):
        samples, seconds = guidance.with_context(network, samples, machine, work.parents[1] / "cache" / "context")
        before += seconds

    def watch(network: nn.Module) -> dict[str, float]:
        predict = predict_with(replace(model, prep=replace(model.prep, views=False)), network, machine)
        part, _ = scored_part(fold)
        rows = []
        for number in watched:
            case = cohort.cases[number]
            found, true = predict(images[number], case.spacing)[part], case.label[part]
            rows.append(list(metrics.class_dice(found, true, spec).values()))
        means = np.nanmean(rows, axis=0)
        return {**dict(zip(spec.names, means.tolist(), strict=True)), "mean": float(means.mean())}

    # What is trained to segment is scored while it trains.
    training, looks = kind(network, config, machine, run.seed), watch if kind is Training else None
    network, history, seconds = fit(training, samples, work, key, looks, run.name)
    halve(network)
    numbers = guidance.settle(network, run, cohort, cases)
    numbers |= _costs(run, network, cohort, history[-1]["step"], len(samples)) | told
    return _result(run, network, machine, numbers, before + seconds)


def teachers_seconds(run: RunSpec, runs: Path) -> float:
    """Seconds that training the run's teacher took; 0 without one, or for a published one."""
    return sum(_made(other, runs)["train_s"] for other in needed_by(run))


def _made(run: RunSpec, runs: Path) -> dict[str, Any]:
    """What the tables hold of a finished run in the folder of all runs."""
    state = whole_state(run, runs)
    return state["row"] | state["config"]


def _costs(run: RunSpec, network: nn.Module, cohort: Cohort, steps: int, samples: int) -> dict[str, Any]:
    """Costs for the tables; parameters include frozen ones, which were trained elsewhere and predictions need."""
    prep, tower = run.definition.prep, getattr(network, "tower", nn.Identity())
    frozen = sum(weight.numel() for weight in tower.parameters() if not weight.requires_grad)
    gflops = cost.gflops(network, prep.channels(len(cohort.spec.channels)), prep.axis, prep.spacing)
    params = cost.parameters(network) + frozen
    return {"params": params, "gflops": round(gflops, 3), "steps": steps, "samples": samples}


def _result(run: RunSpec, network: nn.Module, machine: Machine, numbers: dict[str, Any], seconds: float) -> Trained:
    stored = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    return Trained(predict_with(run.definition, network, machine), stored, numbers, seconds, network)


def _average_networks(run: RunSpec, cohort: Cohort, machine: Machine, runs: Path) -> Trained:
    """Average the probabilities of an ensemble's finished members; its costs are their sums."""
    network = nn.ModuleDict({member.model: finished(member, cohort.spec, runs) for member in members_of(run)})
    made = [_made(member, runs) for member in members_of(run)]
    numbers = {name: round(sum(one[name] for one in made), 3) for name in ("params", "gflops", "steps", "samples")}
    seconds = sum(one["train_s"] for one in made)
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
