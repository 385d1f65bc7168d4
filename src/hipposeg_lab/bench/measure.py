"""Measure a cell, in a process of its own: build the system, measure and score it, write the cell's file."""

import functools
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hipposeg.data import cohort, folds, locate
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.files import write_json
from hipposeg.results.scoring import score_all
from hipposeg.stats import interval
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace, output_root
from hipposeg_lab.bench import cells, peak, predictor, profile, training_time
from hipposeg_lab.bench.cells import Cell
from hipposeg_lab.bench.dynunet import DynUNet
from hipposeg_lab.bench.nnunet import NNUNet
from hipposeg_lab.bench.ours import Ours
from hipposeg_lab.bench.system import System, timed_steps, train_by_clock

# Volumes whose inference is timed, evenly over the test fold; numbers of the short part.
TIMED_VOLUMES = 10
QUICK_VOLUMES, QUICK_SECONDS, QUICK_STEPS, QUICK_COMMANDS = 3, 20.0, 3, 3
COUNTED = "training steps with the waiting for their data; loading, planning, preprocessing and scoring are not counted"


class Contiguous(Machine):
    """A machine whose networks stay in contiguous layout on any CPU."""

    channels_last = False


LAYOUTS = {"fp32": Machine, "contiguous": Contiguous}


def run(cell: Cell, machine: Machine, where: Path) -> Path:
    """Measure one cell in this process and write its file into `where`. Raises ValueError without the real data."""
    busy = busy_share()
    started, before = time.perf_counter(), usage()
    found = peak_cell(machine) if cell.kind == "peak" else system_cell(cell, machine)
    facts = {"cell": cell.name, "kind": cell.kind, "system": cell.system, "key": cells.key(cell, machine)}
    facts |= {"setting": cells.setting(machine), "total_s": time.perf_counter() - started}
    facts |= {"busy_before": busy, "busy_during": others_share(before, usage())}
    path = where / f"{cell.name}.json"
    write_json(path, {**found, **facts})
    return path


def peak_cell(machine: Machine) -> dict[str, Any]:
    """The peak with this machine's threads; bf16 only on CPUs that support it, others take half an hour."""
    torch.set_num_threads(machine.threads)
    return peak.measure(("bf16", "fp32") if machine.precision == "bf16" else ("fp32",))


def system_cell(cell: Cell, machine: Machine) -> dict[str, Any]:
    """Measure the predictor, a notebook's models on `grouped` fold 0, or throughput or race on `nnunet` fold 0."""
    source = locate.locate("full")
    if source.dataset != "msd":
        raise ValueError("the benchmark needs the real data set: run `make data` with network, or set HIPPOSEG_DATA")
    people = cohort.load(source)
    images = [source.folder / "imagesTr" / people.spec.file_name(number) for number in sorted(people.cases)]
    if cell.kind == "predict":
        return predictor.measure(images[:1])
    if (cell.kind, cell.system) == ("quick", "predict"):
        return predictor.measure_further(images[:QUICK_VOLUMES], QUICK_COMMANDS)
    if cell.kind == "models":
        first = folds.make(people.spec, people.numbers)["grouped"][0]
        return training_time.measure(cell.system, people, first, Workspace(output_root(), "msd"), machine)
    all_folds = folds.make(people.spec, people.numbers)["nnunet"]
    system = make_system(cell, people, all_folds, machine)
    try:
        if cell.kind == "quick":
            return quick(system, people, all_folds[0]["scored"])
        if cell.kind == "throughput":
            return throughput(system, people, all_folds[0]["scored"])
        return race(cell, system, people, all_folds[0]["scored"])
    finally:
        system.close()


def make_system(cell: Cell, people: Cohort, all_folds: list[Fold], machine: Machine) -> System:
    """The cell's system on fold 0. A shortened peer runs in this machine's precision, as ours does."""
    bf16 = cell.variant == "bf16" or (cell.variant == "shortened" and machine.precision == "bf16")
    if cell.base == "ours":
        if cell.variant in LAYOUTS:
            machine = LAYOUTS[cell.variant](machine.device, "fp32", machine.threads)
        return Ours(people, all_folds[0], Workspace(output_root(), "msd"), machine)
    if cell.base == "nnunet":
        return NNUNet(people, all_folds, cells.work_folder(), machine, cell.name, bf16)
    return DynUNet(people, all_folds[0], machine, bf16)


def throughput(system: System, people: Cohort, scored: list[int]) -> dict[str, Any]:
    """Seconds and operations of a training step, seconds of a volume's inference, and memory."""
    steps = timed_steps(system)
    memory = peak_memory()
    with FlopCounterMode(display=False) as counter:
        system.step()
    gflop = counter.get_total_flops() / 1e9
    images = [system.loaded(case) for case in scored[:: max(1, len(scored) // TIMED_VOLUMES)]]
    found = step_of(system, steps, gflop)
    found["profile"], found["augmentation_share"] = profile.shares(system.step)
    found |= {"predict_s_per_volume": predict_seconds(system, images), "passes": system.passes, **memory}
    if system.passes > 1:
        found["predict_s_per_volume_unmirrored"] = predict_seconds(system, images, mirrored=False)
    return found


def quick(system: System, people: Cohort, scored: list[int]) -> dict[str, Any]:
    """The times of `throughput`, from fewer steps and predictions."""
    steps = timed_steps(system, QUICK_SECONDS, QUICK_STEPS, warm_up=1)
    with FlopCounterMode(display=False) as counter:
        system.step()
    images = [system.loaded(case) for case in scored[:: max(1, len(scored) // QUICK_VOLUMES)]]
    found = step_of(system, steps, counter.get_total_flops() / 1e9)
    return found | {"predict_s_per_volume": predict_seconds(system, images), "passes": system.passes, **peak_memory()}


def step_of(system: System, steps: list[float], gflop: float) -> dict[str, Any]:
    """Times and operations of a training step; for ours also the minutes of its schedule."""
    step_s = statistics.median(steps)
    found = {
        "step_s": step_s,
        "steps": len(steps),
        "volumes_per_step": system.volumes_per_step,
        "plan": plan_of(system),
        "train_s_per_volume": step_s / system.volumes_per_step,
        "step_gflop": gflop,
        "gflops": gflop / step_s,
    }
    return found | ({"schedule_minutes": system.schedule_steps * step_s / 60} if isinstance(system, Ours) else {})


def plan_of(system: System) -> dict[str, Any]:
    """Patch, batch and widths of a peer."""
    return getattr(system, "plan", {})


def predict_seconds(system: System, images: list[Any], mirrored: bool = True) -> float:
    """Median seconds from an image in memory to its mask, after one volume to warm up."""
    system.predict(images[0], mirrored)
    seconds = []
    for image in images:
        started = time.perf_counter()
        system.predict(image, mirrored)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def race(cell: Cell, system: System, people: Cohort, scored: list[int]) -> dict[str, Any]:
    """Train for the given minutes and score every case after each of them."""
    look = functools.partial(scores, system, people, scored)
    looks = train_by_clock(
        system, cell.minutes, not cell.released, lambda: {**peak_memory(), **look()}, time.perf_counter
    )
    return {"looks": looks, "counted": COUNTED, "plan": plan_of(system), "folds": "nnunet", "fold": 0}


def scores(system: System, people: Cohort, scored: list[int]) -> dict[str, Any]:
    """Dice of every label with its interval over subjects, and of every case."""
    started = time.perf_counter()
    predicted = {case: system.predict(system.loaded(case)) for case in scored}
    spent = time.perf_counter() - started
    rows = score_all(predicted, people)
    dice: dict[str, Any] = {}
    by_case: dict[str, dict[str, float]] = {}
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [row for row in rows if row["label"] == label]
        found = interval([row["dice"] for row in own], [row["subject"] for row in own])
        dice[label] = {"value": found.value, "low": found.low, "high": found.high}
        for row in own:
            by_case.setdefault(str(row["case"]), {})[label] = row["dice"]
    subjects = {str(case): people.cases[case].subject for case in scored}
    return {"dice": dice, "cases": by_case, "subjects": subjects, "predict_all_s": spent}


def peak_memory() -> dict[str, float]:
    """Largest resident memory of this process so far, in MB, without a peer's loader processes."""
    import resource  # not on Windows

    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # bytes on macOS, kibibytes on Linux
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def busy_share(seconds: float = 2.0) -> float | None:
    """Fraction of the processors' time that others use while this process sleeps; None without /proc."""
    before = usage()
    time.sleep(seconds)
    return others_share(before, usage())


def usage() -> tuple[float, float, float] | None:
    """Seconds of all processors so far: total, busy, of this process and its ended children; None without /proc."""
    path = Path("/proc/stat")
    if not path.is_file():
        return None
    ticks = [int(word) for word in path.read_text().splitlines()[0].split()[1:9]]
    second = os.sysconf("SC_CLK_TCK")
    return sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, sum(os.times()[:4])


def others_share(before: tuple[float, ...] | None, after: tuple[float, ...] | None) -> float | None:
    """Fraction of the processors' time between two `usage` that other programs used."""
    if before is None or after is None:
        return None
    total, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return round(max(0.0, busy - own) / total, 3) if total else None


def main(name: str, minutes: list[float], quick: bool) -> Path:
    """Run the cell of this name, of the whole benchmark or the short part. Raises ValueError with all names."""
    os.environ.setdefault("HIPPOSEG_OFFLINE", "1")  # the data set is here
    everything = cells.quick_cells() if quick else cells.all_cells(minutes)
    (cell,) = [cell for cell in cells.chosen(everything, name) if cell.name == name]
    machine = cells.bench_machine()
    return run(cell, machine, cells.quick_folder(machine) if quick else cells.folder())
