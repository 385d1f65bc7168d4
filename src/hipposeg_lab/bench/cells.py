"""The benchmark's cells: what is measured, which cells are done, and running the others one by one.

Each cell runs in a process of its own, so that peak memory is measured for it alone, and writes
`artifacts/bench/<cell>.json` at its end. A file with the present key is kept, so the benchmark can be interrupted.
"""

import importlib.util
import logging
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hipposeg.files import read_json, sha256_bytes, to_json
from hipposeg.training.machine import Machine, processor_name, this_machine
from hipposeg.workspace import output_root, project_root
from hipposeg_lab.bench import dynunet, nnunet, ours, probes

log = logging.getLogger(__name__)

# Increase when a way of measuring changes: cells measured before run again.
NUMERICS = 1
# Training times of the race.
MINUTES = (5.0, 15.0, 30.0)
PACKAGES = ("torch", "monai", "nnunetv2", "numpy")
CONFIGURATIONS = {"ours": ours.configuration, "nnunet": nnunet.configuration, "dynunet": dynunet.configuration}


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    kind: str  # "peak", "predict", "models", "throughput", "race" or "quick" (a short "throughput" or "predict")
    system: str = ""  # such as "nnunet-shortened"; for "models" the notebook whose models are timed
    minutes: tuple[float, ...] = ()  # training times of a race

    @property
    def name(self) -> str:
        """Such as `peak`, `throughput.ours` or `race.ours.5`; a peer as released has several times: `5-15-30`."""
        return ".".join(filter(None, (self.kind, self.system, "-".join(f"{one:g}" for one in self.minutes))))

    @property
    def base(self) -> str:
        """Whose code runs: "ours", "nnunet" or "dynunet"; empty for peak, predict and models."""
        return "" if self.kind == "models" or self.system == "predict" else self.system.partition("-")[0]

    @property
    def variant(self) -> str:
        """ "bf16", "fp32", "contiguous", "released" (a schedule regardless of the time), "shortened", or empty."""
        return self.system.partition("-")[2]


def all_cells() -> list[Cell]:
    """Every cell, in the order in which they run: short ones first."""
    cells = [Cell("peak"), Cell("predict"), *(Cell("models", notebook) for notebook in ours.NOTEBOOKS)]
    systems = ("ours", "ours-fp32", "nnunet", "nnunet-bf16", "dynunet", "dynunet-bf16")
    cells += [Cell("throughput", name) for name in systems]
    fitted = ("ours", "nnunet-shortened", "dynunet-shortened")
    cells += [Cell("race", name, (one,)) for one in MINUTES for name in fitted]
    return [*cells, *(Cell("race", f"{name}-released", MINUTES) for name in ("nnunet", "dynunet"))]


def quick_cells() -> list[Cell]:
    """The short part, in float32: peak, predictor, a step and a prediction of ours (in two layouts) and both peers."""
    systems = ("predict", "ours-fp32", "ours-contiguous", "nnunet", "dynunet")
    return [Cell("peak"), *(Cell("quick", system) for system in systems)]


def bench_machine() -> Machine:
    """The machine's CPU. Raises ValueError if a GPU would be used: the benchmark compares times of a CPU."""
    machine = this_machine()
    if machine.device != "cpu":
        raise ValueError(
            f"the benchmark measures CPUs and found {machine.device}; hide it: CUDA_VISIBLE_DEVICES= make bench"
        )
    return machine


def setting(machine: Machine) -> dict[str, Any]:
    """Processor, threads, precision, and versions of packages, empty for one that is not installed."""
    versions = {name: metadata.version(name) if importlib.util.find_spec(name) else "" for name in PACKAGES}
    return {"machine": processor_name(), **asdict(machine), "versions": versions}


def key(cell: Cell, machine: Machine) -> str:
    """Hash of everything that a cell's numbers depend on, except for other load on the machine."""
    if cell.kind == "models":
        configuration = {run.model: ours.configuration(run) for run in ours.timed(cell.system)}
    elif "predict" in (cell.kind, cell.system):
        configuration = probes.predictor_configuration()
    else:
        configuration = CONFIGURATIONS[cell.base]() if cell.base else probes.PEAK
    return sha256_bytes(to_json([NUMERICS, asdict(cell), configuration, setting(machine)]).encode())


def folder() -> Path:
    """The folder of the whole benchmark's results."""
    return output_root() / "artifacts" / "bench"


def quick_folder(machine: Machine) -> Path:
    """The folder of the short part's results: one in `folder()` for each kind of CPU, such as `amd-epyc-fp32`."""
    words = re.sub(r"\([^)]*\)|[^a-z0-9]+", " ", processor_name().lower()).split()
    return folder() / "-".join([*words, machine.precision])


def work_folder() -> Path:
    """The folder of the peers' data, weights and logs; ignored by git."""
    return output_root() / ".work" / "bench"


def state(cell: Cell, machine: Machine, where: Path) -> str:
    """ "done", "outdated" (another configuration, version or machine) or "to do"; where: the cells' folder."""
    path = where / f"{cell.name}.json"
    if not path.is_file():
        return "to do"
    return "done" if read_json(path).get("key") == key(cell, machine) else "outdated"


def need_peers(cells: Sequence[Cell]) -> None:
    """Raise ValueError if a cell's peer is not installed."""
    for name, package in (("nnunet", "nnunetv2"), ("dynunet", "monai")):
        if any(cell.base == name for cell in cells) and importlib.util.find_spec(package) is None:
            raise ValueError(f"{package} is not installed; `make bench` installs it and runs the benchmark")


def run_all(cells: Sequence[Cell], machine: Machine, where: Path) -> list[str]:
    """Run the cells that are not done, one process after the other; return the names of those that failed.

    where: the cells' folder. A failed cell's output is in `.work/bench/<cell>.log`; the others still run.
    """
    waiting = [cell for cell in cells if state(cell, machine, where) != "done"]
    need_peers(waiting)
    failed = []
    for cell in waiting:
        print(f"== {cell.name}", flush=True)
        output = work_folder() / f"{cell.name}.log"
        output.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "hipposeg_lab.cli", "bench", "--inside", cell.name]
        command += ["--quick"] if where != folder() else []
        with output.open("w") as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, cwd=project_root(), check=False)
        if done.returncode:
            failed.append(cell.name)
            tail = "\n".join(output.read_text().splitlines()[-5:])
            log.error("%s failed; the end of %s is:\n%s", cell.name, output, tail)
    return failed
