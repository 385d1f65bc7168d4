"""Train one run, score it, and put it into the tables.

Work happens in `.work/<data set>/runs/<run>/`: checkpoint, weights, masks, scores, and last `run.state`, which marks
the run as complete and has the hashes of its files, so a damaged run is made again. Two questions have different
answers:

- Is the run in the tables of artifacts/? Then it is done on every machine, whoever trained it (`obtain`).
- Is it in the cache of this machine? Only then does `train` not train it again, so that a change shows.
"""

import json
import shutil
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
from torch import nn

from hipposeg import files
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP, SCANS, RunSpec, configuration_of, needed_by, numerics_of, run_key
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.trainers import trained
from hipposeg.experiments.weights import STATE, WEIGHTS, state_in, whole_state
from hipposeg.experiments.weights import store as store_weights
from hipposeg.results import load, store
from hipposeg.results.load import Run
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
    weights = store_weights(made.weights)
    files.write_bytes(folder / WEIGHTS, weights)
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
        "weights_sha256": files.sha256_bytes(weights),
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
