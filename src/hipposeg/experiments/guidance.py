"""Text guidance between runs: captions for CLIP, and its finished run as teacher of a text-guided network."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hipposeg.data import grid
from hipposeg.data.captions import AXIS, GEOMETRIC, Facts, Measured, facts, measure, prompts, terciles
from hipposeg.data.cohort import Cohort
from hipposeg.experiments.registry import RunSpec, needed_by
from hipposeg.experiments.weights import finished
from hipposeg.inference import Prep
from hipposeg.models.clip import Clip
from hipposeg.models.guided import NONE, GuidedUNet
from hipposeg.training.batches import Samples, seeded
from hipposeg.training.contrastive import Captioned
from hipposeg.training.machine import Machine


def measured(cohort: Cohort, prep: Prep, cases: list[int]) -> dict[int, list[Measured]]:
    """Measure the labels of each case's slices as `make_samples` cuts them: coronal ones, in the files' spacing.

    Raises ValueError if the model takes others.
    """
    found = {}
    for number in cases:
        case = cohort.cases[number]
        if prep.axis != AXIS or not prep.takes(case.spacing):
            raise ValueError(f"captions are made of coronal slices of {prep.spacing} mm; got {prep}, {case.spacing} mm")
        label, placement = grid.place(case.label, prep.size)
        found[number] = measure(label, cohort.spec, case.spacing)[placement.inside_grid[AXIS]]
    return found


def training_facts(cohort: Cohort, prep: Prep, cases: list[int]) -> dict[int, list[Facts]]:
    """Facts that captions state of each case's slices; sizes are compared among these cases alone."""
    slices = measured(cohort, prep, cases)
    sizes = terciles([one for of in slices.values() for one in of])
    return {number: [facts(one, sizes) for one in of] for number, of in slices.items()}


def captioned(samples: Samples, cohort: Cohort, prep: Prep, cases: list[int]) -> Captioned:
    """Samples of these cases, in this order, with their subjects and facts."""
    found = training_facts(cohort, prep, cases)
    people = torch.tensor([cohort.cases[number].subject for number, of in found.items() for _ in of])
    every = tuple(one for of in found.values() for one in of)
    return Captioned(**vars(samples), people=people, facts=every, names=cohort.spec.names)


def class_prompts(kind: str, run: RunSpec, cohort: Cohort, cases: list[int]) -> list[tuple[str, ...]]:
    """Class prompts of a set, with statistics of these cases.

    They describe the slices of the run, or of its teacher if its own network works on volumes.
    """
    preps = [one.definition.prep for one in (run, *needed_by(run)) if one.definition.prep.axis == AXIS]
    seen = [one for of in training_facts(cohort, preps[0], cases).values() for one in of] if kind == GEOMETRIC else []
    return prompts(kind, cohort.spec.names, seen)


def guide(network: GuidedUNet, run: RunSpec, cohort: Cohort, cases: list[int], runs: Path) -> None:
    """Copy what the teacher has learned from the same subjects into the network."""
    teacher = finished(needed_by(run)[0], cohort.spec, runs)
    network.adopt(teacher, lambda kind: class_prompts(kind, run, cohort, cases), seeded(run.seed, "guide"))


def with_context(network: GuidedUNet, samples: Samples, machine: Machine) -> tuple[Samples, float]:
    """The samples with the frozen image tower's features (N, D), and the seconds that these took."""
    started, parts = time.perf_counter(), []
    tower = network.tower.to(machine.device).eval()
    for part in samples.images.split(256):
        with torch.inference_mode(), machine.autocast():
            parts.append(tower(part.to(machine.device)).cpu())
    return replace(samples, context=torch.cat(parts)), time.perf_counter() - started


def settle(network: nn.Module, run: RunSpec, cohort: Cohort, cases: list[int]) -> dict[str, Any]:
    """Let a CLIP encode its class prompts after training; return what configs.json stores about guidance."""
    if isinstance(network, Clip):
        network.classes.copy_(network.vectors(class_prompts(GEOMETRIC, run, cohort, cases)))
    stored: dict[str, Any] = {}
    if source := getattr(network, "source", ""):
        stored["source"] = source
    if isinstance(network, GuidedUNet) and network.vectors != NONE:
        classes = nn.functional.normalize(network.classes.detach().float(), dim=-1)
        stored["cosines"] = (classes @ classes.T).cpu().numpy().round(4)
        stored["scale"] = float(network.scale.detach())
    return stored
