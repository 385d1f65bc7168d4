"""Train one run, score it, and put it into the tables.

Work happens in `.work/<data set>/runs/<run>/`: checkpoint, weights, masks, scores, and last `run.state`, which marks
the run as complete and has the hashes of its files, so a damaged run is made again. Two questions have different
answers:

- Is the run in the tables of artifacts/? Then it is done on every machine, whoever trained it (`obtain`).
- Is it in the cache of this machine? Only then does `train` not train it again, so that a change shows.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from torch import Tensor, nn

from hipposeg import files, metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold, scored_part
from hipposeg.experiments import guidance, plan, weights
from hipposeg.experiments.registry import FLAGSHIP, SCANS, RunSpec, configuration_of, needed_by, numerics_of, run_key
from hipposeg.experiments.samples import images_of, make_patches, make_samples, shared, training_slices
from hipposeg.experiments.weights import STATE, WEIGHTS, initial, predict_with, state_in, whole_state
from hipposeg.inference import Predictor
from hipposeg.models import atlas, cost
from hipposeg.results import load, store
from hipposeg.results.load import Run
from hipposeg.training import contrastive
from hipposeg.training.loop import Training, fit
from hipposeg.training.machine import Machine, processor_name, this_machine
from hipposeg.workspace import Workspace

MASKS, SCORES, HISTORY = "masks.npz", "scores.csv", "history.jsonl"

# There are hundreds of runs. Scores are kept of all; masks only of the flagship's runs with these schedules, and of the
# first seed on fold 0 (or of all seeds) of the models below, whose masks studies need.
SERVING = ("standard", "smoke")
WITH_MASKS = (
    *("atlas-no-image", "unet2d", "unet2d-mobilenetv3", "unet2d-mobilenetv3+imagenet", "unet2d-fusion", "unet3d"),
    *("attention2d", "clip2d-guided", "clip2d-unguided"),
)
ALL_SEEDS = ("unet2d", "unet3d")

Folds = Mapping[str, Sequence[Fold]]


@dataclass(frozen=True)
class Finished:
    """A run that has just been scored, with all that hooks may keep of it while its network is at hand.

    A hook is a function of it that writes files into `folder`: `<name>.csv`, whose rows are appended to
    `artifacts/studies/<name>.csv.gz`, or any other file, which is copied to `artifacts/studies/`. Packages register
    hooks as entry points of the group `hipposeg.hooks`; the training code knows none of them.

    Attributes:
        network: the trained network in evaluation mode on the machine's device; None for the atlas and ensembles.
        images: test case -> (C, X, Y, Z) float32 on the native grid.
        scores: rows of `results.store.score_all`.
    """

    run: RunSpec
    network: nn.Module | None
    cohort: Cohort
    fold: Fold
    images: dict[int, np.ndarray]
    scores: list[dict[str, Any]]
    machine: Machine
    folder: Path


@cache
def hooks() -> tuple[Callable[[Finished], None], ...]:
    """The registered hooks, in the order of their names."""
    return tuple(one.load() for one in sorted(entry_points(group="hipposeg.hooks"), key=lambda one: one.name))


def train(run: RunSpec, cohort: Cohort, folds: Folds, ws: Workspace, machine: Machine | None = None) -> Run:
    """Train a run on this machine (by default `machine_for`), or take it from the cache, and put it into the tables.

    Raises:
        KeyError: no such model, schedule or kind of folds.
        ValueError: no such fold, or one that holds slices back from a network on volumes.
        FloatingPointError: the training diverged.
    """
    machine = machine or machine_for(run)
    machine.prepare()
    work, key = folder_of(run, ws), key_of(run, cohort, folds)
    if not is_cached(run, key, machine, ws):
        for other in needed_by(run):
            train(other, cohort, folds, ws, machine)
    with FileLock(work.with_name(f"{run.name}.lock")):
        if not is_cached(run, key, machine, ws):
            _make(run, cohort, _fold(run, folds), ws, machine, key)
        _publish(run, ws)
    return load.get(ws, run.name)


def obtain(run: RunSpec, cohort: Cohort, folds: Folds, ws: Workspace, retrain: bool = False) -> Run:
    """Take a run from the tables, or train it if they do not hold it as it is configured now.

    retrain: train even if the tables hold it. Arguments and errors as of `train`.
    """
    if retrain:
        for name in (STATE, "checkpoint.pt"):
            (folder_of(native(run), ws) / name).unlink(missing_ok=True)
    found = None if retrain else in_tables(run, cohort, folds, ws)
    return found or train(native(run), cohort, folds, ws)


def in_tables(run: RunSpec, cohort: Cohort, folds: Folds, ws: Workspace) -> Run | None:
    """The run as the tables hold it, in its own precision or in this machine's; None if it is missing or outdated."""
    for one in dict.fromkeys((run, native(run))):
        found = load.get(ws, one.name)
        if found is not None and found.config["key"] == key_of(one, cohort, folds):
            return found
    return None


def native(run: RunSpec) -> RunSpec:
    """The run as this machine trains it: in what it is fastest with, unless the run names its hardware."""
    return run if run.hardware else replace(run, hardware=this_machine().kind)


def stand_ins(ws: Workspace) -> dict[str, str]:
    """Runs of the main sections that this machine trained in its own precision -> the committed runs they repeat."""
    planned = plan.standard(ws.profile) if ws.profile != "stored" else []
    found = {native(run): run for run in planned if native(run) != run}
    return {here.name: run.name for here, run in found.items() if state_in(folder_of(here, ws))}


def machine_for(run: RunSpec) -> Machine:
    """Device and precision that the run's hardware names, with one thread.

    Two trainings of one thread each do more than one of two, and their bytes do not depend on the number of cores.
    """
    parts = run.hardware.split(".")
    device = next((part for part in parts if part not in ("", "fp32")), "cpu")
    return Machine(device, "fp32" if "fp32" in parts else "bf16", 1)


def key_of(run: RunSpec, cohort: Cohort, folds: Folds) -> str:
    """The run's key, see `run_key`. Raises ValueError if there is no such fold."""
    return run_key(run, cohort.sha256, _fold(run, folds))


def _fold(run: RunSpec, folds: Folds) -> Fold:
    found = folds[run.folds]
    if run.fold >= len(found):
        raise ValueError(f"there is no fold {run.fold} of `{run.folds}`; it has {len(found)}")
    return found[run.fold]


def folder_of(run: RunSpec, ws: Workspace) -> Path:
    """The run's folder in the cache."""
    return ws.work / "runs" / run.name


def is_cached(run: RunSpec, key: str, machine: Machine, ws: Workspace) -> bool:
    """Whether this machine has trained the run as it is configured now, with this torch and as many threads.

    A run of which a file is damaged or lost counts as not trained.
    """
    state = state_in(folder_of(run, ws))
    return state is not None and (state["row"]["key"], state["made_by"]) == (key, _made_by(machine))


def _made_by(machine: Machine) -> dict[str, Any]:
    """What changes the last digits of a run."""
    layout = "channels-last" if machine.channels_last else "contiguous"
    return {**asdict(machine), "torch": torch.__version__, "layout": layout}


def _make(run: RunSpec, cohort: Cohort, fold: Fold, ws: Workspace, machine: Machine, key: str) -> None:
    """Train, predict and score in the run's folder; its state is written last."""
    folder, model = folder_of(run, ws), run.definition
    (folder / STATE).unlink(missing_ok=True)
    images = images_of(cohort, model.prep, ws)
    resumable = files.sha256_bytes(key.encode(), files.to_json(_made_by(machine)).encode())
    made = trained(run, cohort, fold, images, machine, folder, resumable)
    masks = {number: made.predict(images[number], cohort.cases[number].spacing) for number in fold["scored"]}
    scores = store.score_all(masks, cohort, fold)
    stored = weights.store(made.weights)
    files.write_bytes(folder / WEIGHTS, stored)
    files.write_bytes(folder / MASKS, store.packed(masks))
    files.write_csv(folder / SCORES, store.SCORE_COLUMNS, scores)
    shutil.rmtree(folder / "studies", ignore_errors=True)
    scored = {number: images[number] for number in fold["scored"]}
    for hook in hooks() if not model.prep.window else ():  # studies are of this project's own models and data
        hook(Finished(run, made.network, cohort, fold, scored, scores, machine, folder / "studies"))
    row = {
        "run": run.name, "model": run.model, "folds": run.folds, "fold": run.fold, "seed": run.seed,
        "schedule": run.schedule, "dims": model.dims, "device": machine.device, "processor": processor_name(),
        "precision": machine.precision, "threads": machine.threads, "torch": torch.__version__,
        **{name: made.numbers[name] for name in ("params", "gflops", "steps")},
        "train_s": round(made.seconds, 3), "n": len(masks), "key": key, "title": model.title,
    }  # fmt: skip
    config = {
        "notebook": model.notebook,
        "family": model.family,
        "numerics": numerics_of(model),
        **{name: value for name, value in made.numbers.items() if name not in row},
        "weights_sha256": files.sha256_bytes(stored),
        "data_sha256": cohort.sha256,
        "config": configuration_of(run),
    }
    kept = (folder / WEIGHTS, folder / MASKS, folder / SCORES, *folder.glob(HISTORY), *folder.glob("studies/*"))
    hashes = {path.relative_to(folder).as_posix(): files.sha256_file(path) for path in kept}
    state = {"row": row, "config": config, "made_by": _made_by(machine), "files": hashes}
    files.write_cached(folder / STATE, files.to_json(state).encode())


def _publish(run: RunSpec, ws: Workspace) -> None:
    """Put the run of this folder into the tables."""
    folder = folder_of(run, ws)
    state, path = whole_state(run, folder.parent), folder / HISTORY
    masks = store.unpacked(folder / MASKS) if keeps_masks(run, ws) else None
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    history = pd.json_normalize(lines, sep="_")  # one row an epoch
    scores, studies = store.read_table(folder / SCORES, store.SCORE_COLUMNS), sorted(folder.glob("studies/*"))
    store.put(ws, state["row"], state["config"], scores, history, masks, studies)


def keeps_masks(run: RunSpec, ws: Workspace) -> bool:
    """Whether a run is one of the few whose masks are kept; scores are kept of all."""
    if ws.is_phantom or run.definition.prep.window:
        return True
    if run.model in (FLAGSHIP, SCANS):
        return run.schedule in SERVING
    first = (run.fold, run.schedule) == (0, "standard") and run.folds in ("grouped", "nnunet")
    return run.model in WITH_MASKS and first and (run.seed == 0 or run.model in ALL_SEEDS)


# Four ways to a predictor: train a network, take a published one, average networks, average label maps.


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
    """Make the run's predictor in the way that its model requires; arguments and errors as of `train`.

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
    told = weights.start_from(network, Path(model.start)) if model.start else {}
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
        samples, seconds = guidance.with_context(network, samples, machine)
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
    weights.halve(network)
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
    network = nn.ModuleDict({member.model: weights.finished(member, cohort.spec, runs) for member in needed_by(run)})
    made = [_made(member, runs) for member in needed_by(run)]
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
