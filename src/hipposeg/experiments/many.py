"""Train a declared series: as many runs side by side as there are cores, one thread each, resumable at any moment."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hipposeg.data.locate import Source
from hipposeg.experiments import sweep
from hipposeg.experiments.plan import declared, following
from hipposeg.experiments.run import finished
from hipposeg.experiments.spec import RunSpec
from hipposeg.results import table
from hipposeg.training.machine import this_machine
from hipposeg.workspace import Workspace


class SeriesError(ValueError):
    """Some runs of a series ended in an error; the others are kept."""


def wanted(runs: list[RunSpec], only: str) -> list[RunSpec]:
    """Those whose name holds `only`, or all."""
    return [run for run in runs if only in run.name]


def states(ws: Workspace, notebook: str, only: str = "") -> list[tuple[bool, RunSpec]]:
    """The notebook's declared runs and those that follow from them, each with whether the present code made it."""
    runs = wanted([*declared(notebook), *following(ws, notebook)], only)
    there = {one.run for one in finished(ws, runs)}
    return [(run in there, run) for run in runs]


def train_declared(
    source: Source, ws: Workspace, notebook: str, only: str, jobs: int | None, say: Callable[[str], None]
) -> None:
    """Train a notebook's declared series, then what follows from it, and renew results.csv of the whole profile.

    jobs: how many side by side, by default one for each core, at most 8. Raises ValueError if no name holds `only`.
    """
    first = wanted(declared(notebook), only)
    if not first and not wanted(following(ws, notebook), only):
        raise ValueError(f"notebook {notebook} declares no run whose name holds {only!r}")
    jobs = jobs or this_machine().threads
    try:
        train_series(first, ws, jobs, say)
        if then := wanted(following(ws, notebook), only):
            train_series(then, ws, jobs, say)
    finally:  # a series that was stopped or failed in part has left runs, too
        sweep.write(ws)
        table.write_results(ws, table.find_runs(ws), source.spec)


def command(run: RunSpec) -> list[str]:
    """The command that trains one run of the `full` profile, or finds it done."""
    options = ["--folds", run.folds, "--fold", str(run.fold), "--seed", str(run.seed), "--budget", run.budget]
    return [sys.executable, "-m", "hipposeg.cli", "train", run.arm, *options, "--profile", "full"]


def train_series(
    runs: list[RunSpec], ws: Workspace, jobs: int, say: Callable[[str], None], make: Callable = command
) -> None:
    """Train runs in order, `jobs` at a time, each in a process of its own with its log in `.work/<ws>/logs`.

    A run that is there already takes seconds. A stopped series goes on where it was: finished runs are loaded, the
    others resume from their last epoch. Raises SeriesError, at the end, naming the runs that failed and their logs.
    """
    failed: list[str] = []
    children: list[subprocess.Popen] = []
    stopped = threading.Event()

    def one(number: int, run: RunSpec) -> None:
        if stopped.is_set():
            return
        log = ws.work / "logs" / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        say(f"[{number}/{len(runs)}] {run.name} ...")
        with log.open("w") as stream:
            child = subprocess.Popen(make(run), stdout=stream, stderr=subprocess.STDOUT)
            children.append(child)
            if stopped.is_set():  # the interruption came while this one was being started
                child.terminate()
            status = child.wait()
        minutes = (time.perf_counter() - started) / 60
        if status:
            failed.append(f"{run.name} (status {status}): {_last_line(log)}; see {log.relative_to(ws.root)}")
        say(f"[{number}/{len(runs)}] {run.name} {'FAILED' if status else 'done'} after {minutes:.1f} min")

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(one, range(1, len(runs) + 1), runs))
        except BaseException:  # an interrupted series must not leave trainings behind
            stopped.set()
            for child in children:
                child.terminate()
            raise
    if failed:
        raise SeriesError(f"{len(failed)} of {len(runs)} runs failed:\n" + "\n".join(failed))


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
