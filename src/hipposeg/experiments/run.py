"""Train a run, or load it if one with the same key is there; score it; publish what is committed.

Work happens in `.work/<ws>/runs/<run>/`: checkpoint, weights, predictions, scores, and last of all config.json, whose
key says that the run is whole. Publishing copies the small files to `artifacts/<ws>/`.
"""

import contextlib
import json
import logging
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hipposeg import files, timings
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.registry import ALL_SEEDS, FLAGSHIP, WITH_MASKS
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.spec import RunSpec, current_numerics, needed_by, numerics_of, recipe_of, run_key
from hipposeg.experiments.trainers import as_published, average_labels, fuse, train_network
from hipposeg.experiments.weights import store
from hipposeg.results.scoring import CASE_COLUMNS, CASES, predict_all, score_all
from hipposeg.training.machine import Machine, processor_name, this_machine
from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.studies import attention, clip_study, offgrid

# What some runs leave beside their scores.
STUDIES = (offgrid.TABLE, offgrid.PICTURE, attention.TABLE, *clip_study.TABLES)

# Budgets of the flagship whose masks and weights are kept, for studies and the predictor; not of its shorter schedules.
SERVING = ("standard", "smoke")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """A finished run: its config, its scores per case and label, its history, and where its files are."""

    run: RunSpec
    config: dict[str, Any]
    cases: pd.DataFrame
    history: list[dict[str, Any]]
    folder: Path
    predictions: Path

    def mean(self, label: str = "mean", metric: str = "dice") -> float:
        """Mean over the scored cases."""
        return float(self.cases.loc[self.cases.label == label, metric].mean())


def train_or_load(
    run: RunSpec, cohort: Cohort, folds: dict[str, list[Fold]], ws: Workspace, machine: Machine | None = None,
    weights: bool = False,
) -> RunResult:  # fmt: skip
    """Return a run, training it only if neither the cache nor (under `full`) the artifacts hold one with its key.

    Args:
        run: which arm, fold, seed and budget. cohort: the data. folds: as `data.folds` makes them. ws: where to write.
        machine: device, precision, threads; by default what this machine has.
        weights: its weights are needed too, which only the cache keeps: what is in the artifacts alone trains again.

    Raises:
        KeyError: no such arm, budget or kind of fold. FloatingPointError: the training diverged. ValueError: no such
            fold of that kind, or one that holds slices back from a network on volumes.
    """
    machine = machine or machine_for(ws)
    machine.prepare()
    if run.fold >= len(folds[run.folds]):
        raise ValueError(f"fold {run.fold} of `{run.folds}` was asked for, and there are {len(folds[run.folds])}")
    fold = folds[run.folds][run.fold]
    key = run_key(run, cohort, fold, machine)
    work = ws.work / "runs" / run.name
    published = ws.artifacts / "runs" / run.name
    cached = _is_cached(work, key, run)
    if ws.profile == "full" and not weights and not cached and _is_whole(published, key, run):
        return load(ws, run)
    if not cached:
        for other in needed_by(run):
            train_or_load(other, cohort, folds, ws, machine, weights=True)
    with files.alone(work / "lock"):
        if not _is_cached(work, key, run):
            _make(run, cohort, fold, ws, machine, key)
        elif weights and _is_whole(published, key, run):
            return load(ws, run)  # asked for by another run, perhaps by several at once: nothing is written again
        _publish(run, ws, machine)
        return load(ws, run)


def machine_for(ws: Workspace) -> Machine:
    """This machine; under `full` with one thread, because those runs train side by side (`hipposeg series`).

    Two trainings of one thread each do more than one of two threads, and their bytes do not depend on how many cores
    a machine has.
    """
    machine = this_machine()
    return replace(machine, threads=1) if ws.profile == "full" else machine


def load(ws: Workspace, run: RunSpec) -> RunResult:
    """Read a published run."""
    folder = ws.artifacts / "runs" / run.name
    history_file = folder / "history.jsonl"
    lines = history_file.read_text().splitlines() if history_file.exists() else []
    return RunResult(
        run,
        files.read_json(folder / "config.json"),
        pd.read_csv(folder / CASES),
        [json.loads(line) for line in lines],
        folder,
        ws.artifacts / "predictions" / run.name,
    )


def finished(ws: Workspace, runs: Iterable[RunSpec]) -> list[RunResult]:
    """Those of the runs that stand in the artifacts and were made by today's code."""
    current = current_numerics()
    there = [run for run in runs if (ws.artifacts / "runs" / run.name / "config.json").is_file()]
    return [one for one in (load(ws, run) for run in there) if one.config["numerics"] == current[one.run.arm]]


def _is_whole(folder: Path, key: str, run: RunSpec) -> bool:
    """Whether a finished run lies there, made as it would be made now.

    The key leaves out settings at their defaults, so what the run wrote of its recipe is compared as well.
    """
    config = folder / "config.json"
    if not config.exists():
        return False
    try:
        found = files.read_json(config)
    except ValueError:
        log.warning("%s is damaged: the run is made again", config)
        return False
    return found.get("key") == key and _agrees(found["config"], files.plain(recipe_of(run)))


def _is_cached(work: Path, key: str, run: RunSpec) -> bool:
    """Whether the work folder holds a whole run with all that is published of it."""
    return _is_whole(work, key, run) and (work / CASES).is_file() and any(work.glob("predictions/*.gz"))


def _agrees(old: Any, new: Any) -> bool:
    """Whether two recipes have the same values wherever both have one; older ones lack later settings."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_agrees(old[name], new[name]) for name in old.keys() & new.keys())
    return old == new


def _make(run: RunSpec, cohort: Cohort, fold: Fold, ws: Workspace, machine: Machine, key: str) -> None:
    """Train, predict and score in the work folder; config.json is written last."""
    work = ws.work / "runs" / run.name
    (work / "config.json").unlink(missing_ok=True)
    arm = run.definition
    images = images_of(cohort, arm.prep, ws)
    started = time.perf_counter()
    if arm.members:
        trained = fuse(run, cohort.spec, machine, ws)
    elif arm.published:
        trained = as_published(run, cohort, fold, machine)
    elif arm.build:
        trained = train_network(run, cohort, fold, images, machine, work, key)
    else:
        trained = average_labels(run, cohort, fold)
    trained_at = time.perf_counter()
    predicted = predict_all(trained.predict, images, cohort, fold["scored"], work / "predictions")
    predicted_at = time.perf_counter()
    scores = score_all(predicted, cohort, fold)
    files.write_csv(work / CASES, CASE_COLUMNS, scores)
    scored_at = time.perf_counter()
    offgrid.study(trained.network, arm.prep, machine, images, cohort, scores, work)
    scored = {number: images[number] for number in fold["scored"]}
    attention.leave(trained.network, run, scored, cohort, machine, work)
    clip_study.leave(trained.network, run, scored, cohort, fold, machine, work)
    studied_at = time.perf_counter()
    weights = store(trained.weights)
    files.write_bytes(work / "weights.safetensors", weights)
    seconds = {
        "train_s": trained.seconds,
        "predict_s_per_volume": (predicted_at - trained_at) / len(predicted),
        "score_s": scored_at - predicted_at,
        "total_s": studied_at - started,
    }
    files.write_json(work / "provenance.json", {**seconds, **_whereabouts()})
    config = {
        "run": run.name,
        **asdict(run),
        "notebook": arm.notebook,
        "dims": arm.dims,
        "family": arm.family,
        "numerics": numerics_of(arm),
        **asdict(machine),
        "torch": torch.__version__,
        **trained.numbers,
        "weights_sha256": files.sha256_bytes(weights),
        "data_sha256": cohort.sha256,
        "key": key,
        "config": recipe_of(run),
    }
    files.write_json(work / "config.json", config)


def _whereabouts() -> dict[str, Any]:
    """Machine, commit and date: never compared."""
    git = ["git", "-C", str(project_root()), "rev-parse", "HEAD"]
    commit = ""
    with contextlib.suppress(OSError):
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {"machine": processor_name(), "commit": commit, "date": datetime.now(UTC).isoformat(timespec="seconds")}


def _shows_masks(run: RunSpec) -> bool:
    """Whether a run of the `full` profile is one of the few whose masks are committed."""
    if run.arm == FLAGSHIP:
        return run.budget in SERVING
    first = (run.fold, run.budget) == (0, "standard") and run.folds in ("grouped", "nnunet")
    return run.arm in WITH_MASKS and first and (run.seed == 0 or run.arm in ALL_SEEDS)


def _publish(run: RunSpec, ws: Workspace, machine: Machine) -> None:
    """Copy what is committed from the work folder to artifacts, and record what it cost."""
    work, folder = ws.work / "runs" / run.name, ws.artifacts / "runs" / run.name
    predictions = ws.artifacts / "predictions" / run.name
    # Without its config a run counts as unfinished, so a copy that is interrupted here is not taken for whole.
    (folder / "config.json").unlink(missing_ok=True)
    shutil.rmtree(predictions, ignore_errors=True)
    for name in STUDIES:
        (folder / name).unlink(missing_ok=True)
    masks = sorted(work.glob("predictions/*.gz")) if ws.profile != "full" or _shows_masks(run) else []
    copies: list[tuple[Path, Path]] = [(path, predictions / path.name) for path in masks]
    flagship = (run.arm, run.folds, run.seed, ws.profile) == (FLAGSHIP, "grouped", 0, "full")
    if flagship and run.budget in SERVING:
        copies.append((work / "weights.safetensors", ws.artifacts / "weights" / f"{run.name}.safetensors"))
    small = ("history.jsonl", CASES, *STUDIES, "config.json")
    copies += [(work / name, folder / name) for name in small]
    for source, target in copies:
        if source.exists():
            files.write_bytes(target, source.read_bytes())
    result = files.sha256_bytes(*(target.read_bytes() for _, target in copies if target.exists()))
    measured = files.read_json(work / "provenance.json")
    timings.record_provenance(folder / "provenance.json", result, **measured)
    seconds = {name: value for name, value in measured.items() if name.endswith("_s") or name.startswith("predict_s")}
    facts = {**asdict(machine), "machine": measured["machine"]}
    timings.record(ws, "run", run.name, result, **seconds, **facts)
