"""Training and prediction in other surroundings, compared byte for byte with the first."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg import files
from hipposeg.data import phantom
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.reproduce import compared_files
from hipposeg.workspace import Workspace
from hipposeg_lab.battery.system import environment

COLUMNS = ("command", "surroundings", "files", "same", "differing")
SCANS = 3
PREDICT = ("-m", "hipposeg.cli", "predict")


@dataclass(frozen=True)
class Surroundings:
    """What differs from the first run: variables, umask, the working directory and its output, the scans' place."""

    variables: dict[str, str] = field(default_factory=dict)
    umask: int = 0o022
    inside: str = ""
    scans: str = "scans"
    order: tuple[int, ...] = tuple(range(SCANS))
    calls: int = 1


FIRST = Surroundings({"HIPPOSEG_THREADS": "1", "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"})
OTHERS = {
    "nothing differs": FIRST,
    "two threads": Surroundings({"HIPPOSEG_THREADS": "2", "OMP_NUM_THREADS": "2"}),
    "another working and output directory": Surroundings(inside="ä b/c"),
    "locale C, no UTF-8 mode": Surroundings({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "time zone 14 hours ahead": Surroundings({"TZ": "Pacific/Kiritimati"}),
    "another hash seed": Surroundings({"PYTHONHASHSEED": "4711"}),
    "umask 077": Surroundings(umask=0o077),
}
PREDICTED = {
    "scans in another directory": Surroundings(scans="elsewhere"),
    "scans in reverse order": Surroundings(order=tuple(range(SCANS))[::-1]),
    "one call for each scan": Surroundings(calls=SCANS),
}
CELLS = [("train", name) for name in OTHERS] + [("predict", name) for name in (*OTHERS, *PREDICTED)]


def trial(folder: Path, kept: Path, _: np.random.Generator, number: int) -> list[dict[str, Any]]:
    """The row of one of CELLS: how many files are the same, and the names of the others."""
    command, name = CELLS[number]
    noted = kept / f"first-{command}.json"
    if not noted.exists():
        files.write_json(noted, _made(folder / f"first-{command}", kept, command, FIRST))
    first, found = files.read_json(noted), _made(folder / f"{number}", kept, command, (OTHERS | PREDICTED)[name])
    differing = sorted(path for path in first | found if first.get(path) != found.get(path))
    return [{"command": command, "surroundings": name, "files": len(first), "same": len(first) - len(differing),
             "differing": " ".join(differing)}]  # fmt: skip


def _made(folder: Path, kept: Path, command: str, where: Surroundings) -> dict[str, str]:
    """Run a command below a new folder; name -> hash of each file that it leaves."""
    work, out = folder / where.inside, folder / where.inside / "out"
    work.mkdir(parents=True)
    env = environment(work) | FIRST.variables | where.variables
    if command == "train":
        calls = [["-c", "from hipposeg_lab.battery import system; system.train()"]]
        found = Workspace(out, "phantom", "smoke").artifacts
    else:
        scans = _scans(kept / where.scans)
        chosen = [str(scans[place]) for place in where.order]
        size = len(chosen) // where.calls
        calls = [[*PREDICT, *chosen[n * size : (n + 1) * size], "-o", str(out)] for n in range(where.calls)]
        found = out
    for call in calls:
        done = subprocess.run(
            [sys.executable, *call], env=env, cwd=work, umask=where.umask, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
    return compared_files(found)


def _scans(folder: Path) -> list[Path]:
    """Some crops of a phantom."""
    if not folder.exists():
        phantom.generate(folder, PHANTOM_SPEC, SCANS, seed=4)
    return [folder / "imagesTr" / PHANTOM_SPEC.file_name(number) for number in range(1, SCANS + 1)]
