"""A system that refuses, kills, and two processes in one place."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg import cli, files
from hipposeg.data import cohort, folds
from hipposeg.data.locate import locate
from hipposeg.experiments import run as runs
from hipposeg.reproduce import compare
from hipposeg.workspace import Workspace
from hipposeg_lab.battery.damage import CLEAR, HARMLESS, RUN, SILENT, TRACEBACK

Step = Callable[[], int]
SMALL = f"train --plan smoke --jobs 1 --only {RUN.model}.grouped0"
# Commands, limits of the shell, and settings (HIPPOSEG_...; {} is the folder of `_refusing`).
REFUSED = (
    ("data --profile smoke", "", {"OUT": "{}/file"}),
    ("data --profile smoke", "", {"OUT": "{}/file/below"}),
    ("data --profile smoke", "ulimit -f 4;", {"OUT": "{}/full"}),
    ("data", "", {"DATA": "{}/file"}),
    (SMALL, "ulimit -f 4;", {}),
    (SMALL, "", {"THREADS": "0"}),
    (SMALL, "", {"OUT": "{}/folds.json"}),
    (SMALL, "", {"OUT": "{}/runs.csv"}),
    (f"train --data {{}} --model {RUN.model} --out {{}}/other", "", {}),
    ("evaluate --data {}/none --out {}/other", "", {}),
    ("standin msd {}/file/below", "", {}),
    ("execute 99 --profile smoke", "", {}),
    ("compare {}/none {}/none", "", {}),
    ("predict {}/none.nii -o /dev/null/out", "", {}),
    ("predict {}/none.nii -o {}/out --weights {}/none", "", {}),
    ("bids {}/none {}/out participant", "", {}),
    ("serve -o {}/file", "", {}),
)
# Imported once; the processes of `start` have them from their beginning.
PRELOADED = ["distributed", "hipposeg_lab.battery", "monai.metrics", "papermill", "pytest", "scipy.stats"]


def environment(folder: Path) -> dict[str, str]:
    """This process's environment without the project's variables: offline, one thread, writing below `folder`."""
    settings = {"HIPPOSEG_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HIPPOSEG_OUT": str(folder / "out")}
    return {name: value for name, value in os.environ.items() if not name.startswith("HIPPOSEG_")} | settings


def train(seed: int = 0) -> int:
    """Train RUN with another seed on the phantom; returns 0, as commands do."""
    source = locate("smoke")
    ws, people = Workspace.here(source.dataset, "smoke"), cohort.load(source)
    runs.train(replace(RUN, seed=seed), people, folds.read_or_write(ws.folds, people), ws)
    return 0


# What is killed: steps, of which those that ended are not run again, as by make.
KILLED = {
    "a training": (train,),
    "a smoke run": (
        partial(cli.main, ["train", "--plan", "smoke", "--jobs", "1"]),
        partial(cli.main, ["execute", "01", "--profile", "smoke"]),
        partial(subprocess.call, [sys.executable, "-m", "hipposeg_lab.cli", "page", "--dataset", "phantom"]),
    ),
}
MOST_KILLS = 10  # of one training or smoke run
PAIRS = 10  # of trainings at once
MOST_S = 1800  # of one command
BOTH = (train, partial(train, 1))


def hipposeg(folder: Path, words: str, limit: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell, with more settings in the environment of `folder`."""
    module = "hipposeg_lab.cli" if words.startswith("standin ") else "hipposeg.cli"
    line = f"{limit} exec '{sys.executable}' -m {module} {words}"
    env = environment(folder) | settings
    return subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=False, timeout=MOST_S)


def refused(folder: Path, _: np.random.Generator, number: int) -> list[str]:
    """One of the commands of REFUSED: it must end with a sentence and status 1."""
    at = _refusing(folder)
    words, limit, settings = REFUSED[number]
    more = {f"HIPPOSEG_{name}": value.format(at) for name, value in settings.items()}
    done = hipposeg(at, words.replace("{}", str(at)), limit, **more)
    if "Traceback" in done.stderr:
        return [TRACEBACK]
    return [CLEAR if done.returncode == 1 and (done.stderr + done.stdout).strip() else SILENT]


@cache
def _refusing(folder: Path) -> Path:
    """A folder with a phantom, a file in the place of a folder, and tables that are damaged."""
    at = folder / "refusing"
    at.mkdir()
    (at / "file").write_text("mine")
    hipposeg(at, "data --profile smoke")
    for name, content in (("folds.json", b"{"), ("runs.csv", b"\x1f\x8b\x08damaged")):
        shutil.copytree(at / "out", at / name)
        files.write_bytes(Workspace(at / name, "phantom", "smoke").artifacts / name, content)
    return at


def start(function: Callable[..., None], *args: Any) -> BaseProcess:
    """Start a function in a process that has imported what takes long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=function, args=args)
    process.start()
    return process


def _steps(folder: Path, steps: Sequence[Step], place: int = 0) -> None:
    """In a process of its own, one of several: run the steps that have not ended in an earlier call."""
    os.setsid()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    os.environ.clear()
    os.environ.update(environment(folder))
    for number, step in enumerate(steps):
        ended = folder / f"ended{place}.{number}"
        if not ended.exists():
            if step():
                sys.exit(1)
            ended.touch()


def finish(folder: Path, *several: Sequence[Step]) -> list[Path]:
    """Run sequences of steps to their end, at once; returns the folder of artifacts, or nothing if one failed."""
    processes = [start(_steps, folder, steps, place) for place, steps in enumerate(several)]
    for process in processes:
        process.join()
    failed = any(process.exitcode for process in processes)
    return [] if failed else [Workspace(folder / "out", "phantom", "smoke").artifacts]


def _whole(kept: Path, steps: Sequence[Step], name: str) -> tuple[Path, float]:
    """The artifacts that nothing disturbed, made once in `kept`, and how long that took in seconds."""
    folder, noted = kept / name, kept / f"{name}.json"
    if not noted.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        start(time.time).join()  # starts the server of processes
        started = time.perf_counter()
        if not finish(folder, steps):
            raise RuntimeError(f"{name} fails without a disturbance: {folder}")
        files.write_json(noted, time.perf_counter() - started)
    return Workspace(folder / "out", "phantom", "smoke").artifacts, files.read_json(noted)


def kills(folder: Path, kept: Path, what: str, rng: np.random.Generator, _: int) -> list[str]:
    """Kill the steps of KILLED at random moments, each time going on from what is left; at the end, the same bytes."""
    steps = KILLED[what]
    (whole, lasts), killed = _whole(kept, steps, what), 0
    while not killed:
        at, alive = Path(tempfile.mkdtemp(dir=folder)), True
        while alive and killed < MOST_KILLS:
            process = start(_steps, at, steps)
            process.join(float(rng.uniform(0, lasts / 3)))  # several kills on the way to an end
            if alive := process.is_alive():
                with suppress(ProcessLookupError):  # before it has a group of its own
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.join()
                killed += 1
    return [_outcome(whole, finish(at, steps))] * killed


def at_once(folder: Path, kept: Path, _: np.random.Generator, __: int) -> list[str]:
    """Two processes train the same two runs in one workspace, in opposite order."""
    whole, _ = _whole(kept, BOTH, "two trainings")
    return [_outcome(whole, finish(Path(tempfile.mkdtemp(dir=folder)), BOTH, BOTH[::-1]))]


def _outcome(whole: Path, found: list[Path]) -> str:
    return HARMLESS if found and not compare(whole, *found)[0] else SILENT
