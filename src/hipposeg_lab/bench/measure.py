"""Measure a cell, in a process of its own: build the system, measure and score it, write the cell's file."""

import os
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from hipposeg.data import cohort, folds, locate
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.files import write_json
from hipposeg.results.store import score_all
from hipposeg.stats import interval
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace, output_root
from hipposeg_lab.bench import cells, ours, probes
from hipposeg_lab.bench.cells import Cell
from hipposeg_lab.bench.dynunet import DynUNet
from hipposeg_lab.bench.nnunet import NNUNet
from hipposeg_lab.bench.ours import Ours
from hipposeg_lab.bench.system import train_by_clock

# Volumes whose inference is timed, evenly over the test fold; numbers of the short part.
TIMED_VOLUMES = 10
QUICK_VOLUMES, QUICK_SECONDS, QUICK_STEPS, QUICK_COMMANDS = 3, 20.0, 3, 3
# Seconds during which other load is looked for beforehand.
LOOK = 2.0


class Contiguous(Machine):
    """A machine whose networks stay in contiguous layout on any CPU."""

    channels_last = False


LAYOUTS = {"fp32": Machine, "contiguous": Contiguous}


def main(name: str, quick: bool) -> Path:
    """Measure the cell of this name, of the whole benchmark or the short part, and write its file."""
    os.environ.setdefault("HIPPOSEG_OFFLINE", "1")  # the data set is here
    (cell,) = [cell for cell in (cells.quick_cells() if quick else cells.all_cells()) if cell.name == name]
    machine = cells.bench_machine()
    start = probes.usage()
    time.sleep(LOOK)
    started, before = time.perf_counter(), probes.usage()
    if cell.kind == "peak":
        torch.set_num_threads(machine.threads)
        # bf16 only on CPUs that support it: others take half an hour.
        found = probes.peak(("bf16", "fp32") if machine.precision == "bf16" else ("fp32",), **probes.PEAK)
    else:
        found = system_cell(cell, machine)
    found |= {"cell": cell.name, "kind": cell.kind, "system": cell.system, "key": cells.key(cell, machine)}
    found |= {"setting": cells.setting(machine), "total_s": time.perf_counter() - started}
    found |= {
        "busy_before": probes.others_share(start, before),
        "busy_during": probes.others_share(before, probes.usage()),
    }
    path = (cells.quick_folder(machine) if quick else cells.folder()) / f"{cell.name}.json"
    write_json(path, found)
    return path


def system_cell(cell: Cell, machine: Machine) -> dict[str, Any]:
    """Measure the predictor, a notebook's models on `grouped` fold 0, or throughput or race on `nnunet` fold 0.

    Raises:
        ValueError: the real data set is not available.
    """
    source = locate.locate("full")
    if source.dataset != "msd":
        raise ValueError("the benchmark needs the real data set: run `make data` with network, or set HIPPOSEG_DATA")
    people = cohort.load(source)
    images = [source.folder / "imagesTr" / people.spec.file_name(number) for number in sorted(people.cases)]
    if cell.kind == "predict":
        return probes.command_seconds(images[:1])
    if cell.system == "predict":
        return probes.further_seconds(images[:QUICK_VOLUMES], QUICK_COMMANDS)
    splits = folds.make(people.spec, people.numbers)
    if cell.kind == "models":
        return ours.model_times(cell.system, people, splits["grouped"][0], Workspace(output_root(), "msd"), machine)
    fold = splits["nnunet"][0]
    system, scored = make_system(cell, people, fold, machine), fold["scored"]
    try:
        return race(cell, system, people, scored) if cell.kind == "race" else speeds(system, scored, cell.kind)
    finally:
        system.close()


def make_system(cell: Cell, people: Cohort, fold: Fold, machine: Machine) -> Any:
    """The cell's `system`. A shortened peer runs in this machine's precision, as ours does."""
    bf16 = cell.variant == "bf16" or (cell.variant == "shortened" and machine.precision == "bf16")
    if cell.base == "ours":
        if cell.variant in LAYOUTS:
            machine = LAYOUTS[cell.variant](machine.device, "fp32", machine.threads)
        return Ours(people, fold, Workspace(output_root(), "msd"), machine)
    if cell.base == "nnunet":
        return NNUNet(people, fold, cells.work_folder(), machine, cell.name, bf16)
    return DynUNet(people, fold, machine, bf16)


def speeds(system: Any, scored: list[int], kind: str) -> dict[str, Any]:
    """Seconds and operations of a training step, seconds of a volume's inference, and memory.

    kind: "quick" takes fewer steps and volumes.
    """
    quick = kind == "quick"
    steps = probes.step_seconds(system, QUICK_SECONDS, QUICK_STEPS, 1) if quick else probes.step_seconds(system)
    memory = probes.peak_memory()
    with FlopCounterMode(display=False) as counter:
        system.step()
    volumes = QUICK_VOLUMES if quick else TIMED_VOLUMES
    images = [system.loaded(case) for case in scored[:: max(1, len(scored) // volumes)]]
    step_s, gflop = statistics.median(steps), counter.get_total_flops() / 1e9
    found = {"step_s": step_s, "steps": len(steps), "step_gflop": gflop, "gflops": gflop / step_s}
    found |= {"volumes_per_step": system.volumes_per_step, "train_s_per_volume": step_s / system.volumes_per_step}
    if isinstance(system, Ours):
        found["schedule_minutes"] = system.schedule_steps * step_s / 60
    return found | memory | {"predict_s_per_volume": probes.predict_seconds(system, images)}


def race(cell: Cell, system: Any, people: Cohort, scored: list[int]) -> dict[str, Any]:
    """Train for the given minutes and score every case after each of them."""
    look = partial(scores, system, people, scored)
    looks = train_by_clock(system, cell.minutes, cell.variant != "released", look, time.perf_counter)
    return {"looks": looks, "folds": "nnunet", "fold": 0}


def scores(system: Any, people: Cohort, scored: list[int]) -> dict[str, Any]:
    """Dice of every label with its interval over subjects, and of every case."""
    predicted = {case: system.predict(system.loaded(case)) for case in scored}
    rows = pd.DataFrame(score_all(predicted, people))
    dice = {label: vars(interval(own["dice"], own["subject"])) for label, own in rows.groupby("label", sort=False)}
    cases = {str(case): own.set_index("label")["dice"].to_dict() for case, own in rows.groupby("case", sort=False)}
    subjects = {str(case): people.cases[case].subject for case in scored}
    return {"dice": dice, "cases": cases, "subjects": subjects}
