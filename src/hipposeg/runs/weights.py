"""A run's weights: initial ones, the half precision that they are stored in, and proof that stored ones still serve.

Weights are rounded to half precision when training ends, before anything is predicted: what is stored is what was
scored, at half the size.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from hipposeg import metrics
from hipposeg.config import Workspace
from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DatasetSpec
from hipposeg.engine.machine import Machine, this_machine
from hipposeg.engine.train import seeded
from hipposeg.inference import Predictor, predictor
from hipposeg.runs.samples import images_of
from hipposeg.runs.spec import RunSpec

# Below this Dice between a stored mask and the one made from stored weights, another machine's rounding is no excuse.
SAME = 0.999


def initial(run: RunSpec, spec: DatasetSpec) -> nn.Module:
    """The run's network with its initial weights, drawn from its seed alone."""
    arm = run.definition
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeded(run.seed, "weights").initial_seed())
        return arm.build(arm.prep.channels(len(spec.channels)), spec.n_classes)


@torch.no_grad()
def halve(network: nn.Module) -> None:
    """Round all parameters in place to what float16 can hold; statistics of a BatchNorm stay as they are."""
    for weight in network.parameters():
        weight.copy_(weight.half())


def store(weights: dict[str, Tensor]) -> bytes:
    """Weights as safetensors, float16 wherever that loses nothing."""
    halves = {name: value.half() for name, value in weights.items() if value.dtype == torch.float32}
    return safetensors.torch.save(
        {n: halves[n] if n in halves and torch.equal(halves[n].float(), v) else v for n, v in weights.items()}
    )


def restore(path: Path, run: RunSpec, spec: DatasetSpec, machine: Machine) -> Predictor:
    """A predictor from a stored file. Raises FileNotFoundError, or ValueError if the file is not of this network."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; `hipposeg train {run.arm}` or the full series writes it")
    network = initial(run, spec)
    try:
        network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise ValueError(f"{path} does not hold the weights of {run.arm}: {error}") from error
    return predictor(network.to(machine.device).eval(), run.definition.prep, machine)


@dataclass(frozen=True)
class Check:
    """What stored weights give beside the stored masks. identical: masks without a differing voxel. worst: lowest Dice
    between the two over cases and labels."""

    run: str
    cases: int
    identical: int
    worst: float

    @property
    def passed(self) -> bool:
        """Whether another machine may take these weights for those masks."""
        return self.worst >= SAME


def check(ws: Workspace, run: RunSpec, cohort: Cohort, cases: list[int] | None = None) -> Check:
    """Predict with the stored weights and compare with the stored masks, all of them or only `cases`."""
    machine = this_machine()
    machine.prepare()
    predict = restore(ws.artifacts / "weights" / f"{run.name}.safetensors", run, cohort.spec, machine)
    images = images_of(cohort, run.definition.prep, ws)
    folder = ws.artifacts / "predictions" / run.name
    stored = sorted(folder.glob("*.nii.gz"))
    identical, worst, seen = 0, 1.0, 0
    for path in stored:
        number = cohort.spec.case_number(path.name)
        if cases is not None and number not in cases:
            continue
        mask = np.asarray(nibabel.load(path).dataobj)
        found = predict(images[number], cohort.cases[number].spacing)
        seen += 1
        identical += bool((found == mask).all())
        worst = min(worst, *(metrics.dice(found == label.value, mask == label.value) for label in cohort.spec.labels))
    if not seen:
        raise FileNotFoundError(f"{folder} holds none of the masks asked for; the full series writes them")
    return Check(run.name, seen, identical, worst)
