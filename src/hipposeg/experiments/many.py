"""Train many runs side by side with dask.distributed: one process a run, one thread each, resumable at any moment."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache

import pandas as pd
from filelock import FileLock

from hipposeg import files
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data.locate import Source
from hipposeg.experiments import plan
from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import RunSpec, needed_by
from hipposeg.results import load, store
from hipposeg.training.machine import this_machine
from hipposeg.workspace import Workspace

REPRODUCED_COLUMNS = ("run", "dice_here", "dice_before", "difference", "processor", "precision")


def planned(source: Source, ws: Workspace, name: str, only: str = "", retrain: bool = False) -> dict[RunSpec, bool]:
    """The runs of a plan whose names contain the text `only`, and whether each is done; with `retrain` none is.

    name: "standard" (done: trained on this machine), "full", or a notebook's number (done: in the tables). Raises
    ValueError if there is no such plan or run.
    """
    if name == "standard":
        wanted = plan.standard(ws.profile)
    elif name == "full" or name in plan.PLANNED:
        wanted = plan.full() if name == "full" else plan.runs_of(name)
    else:
        raise ValueError(f"there is no plan {name!r}; choose standard, full, or one of {', '.join(plan.PLANNED)}")
    wanted = [run for run in wanted if only in run.name]
    if not wanted:
        raise ValueError(f"the plan {name} has no run whose name contains {only!r}")
    people, folds = _data(source, ws)
    return {run: not retrain and _is_done(run, name == "standard", people, folds, ws) for run in wanted}


def _is_done(run: RunSpec, here: bool, people: cohorts.Cohort, folds: runs.Folds, ws: Workspace) -> bool:
    if not here and runs.in_tables(run, people, folds, ws) is not None:
        return True
    native = runs.native(run)
    stored = load.get(ws, native.name) is not None
    return stored and runs.is_cached(native, runs.key_of(native, people, folds), runs.machine_for(native), ws)


def train_all(
    source: Source, ws: Workspace, waiting: Sequence[RunSpec], jobs: int | None = None, scheduler: str = "",
    say: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Train runs side by side.

    Args:
        source: the data set; workers must see its folder, and that of `ws`.
        ws: where to write.
        waiting: the runs, in this order; each waits for those that it needs.
        jobs: runs at a time on this machine; by default one for each core, at most 8.
        scheduler: address of a dask scheduler, such as tcp://host:8786; by default a cluster on this machine.
        say: receives a line for each finished run.

    Raises:
        ValueError: at the end, with the runs that failed and why; the others are finished and kept.
    """
    if not waiting:
        return
    from distributed import Client, LocalCluster, as_completed

    before, failed = load.load(ws), []
    cluster = nullcontext(scheduler) if scheduler else LocalCluster(
        n_workers=min(jobs or this_machine().threads, len(waiting)), threads_per_worker=1, silence_logs=logging.ERROR,
        dashboard_address="127.0.0.1:0", local_directory=str(ws.work / "dask"),
    )  # fmt: skip
    with cluster as address, Client(address) as client:
        futures: dict[RunSpec, object] = {}
        for place, run in enumerate(waiting):
            needed = [futures[one] for one in needed_by(run) if one in futures]
            futures[run] = client.submit(
                _train, run, source, ws, needed, key=f"{run.name}-{place}", priority=-place, pure=False
            )
        planned_as = {future.key: run for run, future in futures.items()}
        for count, future in enumerate(as_completed(futures.values()), start=1):
            run, error = planned_as[future.key], future.exception()
            if error is None:
                name, text = future.result()
                _note(ws, before, run.name, name)
            else:
                failed.append(f"{run.name}: {error}")
                text = f"FAILED: {error}"
            say(f"[{count}/{len(waiting)}] {run.name}: {text}")
    if failed:
        reasons = "\n".join(failed)
        raise ValueError(f"{len(failed)} of {len(waiting)} runs failed; the same command resumes them:\n{reasons}")


def _train(run: RunSpec, source: Source, ws: Workspace, _needed: Sequence[object]) -> tuple[str, str]:
    """Train one run in a worker; return its name on this machine, and its score in words."""
    found = runs.train(runs.native(run), *_data(source, ws), ws)
    return found.name, f"Dice {found.mean():.4f}, {float(found.config['train_s']) / 60:.1f} min of training"


@cache
def _data(source: Source, ws: Workspace) -> tuple[cohorts.Cohort, runs.Folds]:
    people = cohorts.load(source)
    return people, folding.read_or_write(ws.folds, people)


def _note(ws: Workspace, before: pd.DataFrame, planned_as: str, name: str) -> None:
    """Add a run trained here to reproduced.csv: its Dice beside what the tables held of the planned run at first."""
    path = ws.artifacts / store.REPRODUCED
    old, new = before.query("run == @planned_as and label == 'mean'")["dice"].mean(), load.get(ws, name)
    with FileLock(ws.work / "reproduced.lock"):  # another plan may be training in this workspace
        rows = {row["run"]: row for row in store.read_table(path).to_dict("records")}
        old = rows[name]["dice_before"] if name in rows else old
        rows[name] = {"run": name, "dice_here": new.mean(), "dice_before": old, "difference": new.mean() - old,
                      **{column: new.config[column] for column in ("processor", "precision")}}  # fmt: skip
        files.write_csv(path, REPRODUCED_COLUMNS, [rows[name] for name in sorted(rows)])
