"""A run's weights: initial ones, the half precision that they are stored in, and proof that stored ones still serve.

Weights are rounded to half precision when training ends, before anything is predicted: what is stored is what was
scored, at half the size.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from hipposeg import files, metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.model import Arm
from hipposeg.experiments.registry import ARMS
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.spec import RunSpec, members_of
from hipposeg.inference import Predictor, Prep, asker, predictor
from hipposeg.results.scoring import CASES
from hipposeg.training.batches import seeded
from hipposeg.training.machine import Machine, processor_name, this_machine
from hipposeg.workspace import Workspace

# Below this Dice between a stored mask and the one made from stored weights, another machine's rounding is no excuse.
SAME = 0.999


def initial(run: RunSpec, spec: DatasetSpec) -> nn.Module:
    """The run's network with its initial weights, drawn from its seed alone; of a fused arm, its members by name."""
    arm = run.definition
    if arm.members:
        return nn.ModuleDict({member.arm: initial(member, spec) for member in members_of(run)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeded(run.seed, "weights").initial_seed())
        return arm.build(arm.prep.channels(len(spec.channels)), spec.n_classes)


def asked(arm: Arm, network: nn.Module) -> list[tuple[nn.Module, Prep]]:
    """The networks behind an arm, each with the input it is asked with: its own, or a fused arm's members'.

    A fused arm that is asked from several views asks all its members so.
    """
    if not arm.members:
        return [(network, arm.prep)]
    preps = {name: ARMS[name].prep for name in arm.members}
    return [(network[name], replace(prep, views=prep.views or arm.prep.views)) for name, prep in preps.items()]


def predict_with(arm: Arm, network: nn.Module, machine: Machine) -> Predictor:
    """A predictor of a trained network, in evaluation mode on the machine's device, or of a fused arm's networks."""
    return predictor(*(asker(one, prep, machine) for one, prep in asked(arm, network)))


@torch.no_grad()
def halve(network: nn.Module) -> None:
    """Round all trained parameters in place to what float16 can hold; frozen ones and statistics stay as they are."""
    for weight in network.parameters():
        if weight.requires_grad:
            weight.copy_(weight.half())


def store(weights: dict[str, Tensor]) -> bytes:
    """Weights as safetensors, float16 wherever that loses nothing."""
    halves = {name: value.half() for name, value in weights.items() if value.dtype == torch.float32}
    return safetensors.torch.save(
        {n: halves[n] if n in halves and torch.equal(halves[n].float(), v) else v for n, v in weights.items()}
    )


def restore(path: Path, run: RunSpec, spec: DatasetSpec, machine: Machine) -> Predictor:
    """A predictor from a stored file. Raises what `load` raises."""
    return predict_with(run.definition, load(path, run, spec, machine), machine)


def load(path: Path, run: RunSpec, spec: DatasetSpec, machine: Machine) -> nn.Module:
    """The network of a stored file (of a fused arm, all by name), in evaluation mode on the machine's device.

    Raises FileNotFoundError, or ValueError if the file is not of this network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; `hipposeg train {run.arm}` or the full series writes it")
    network = initial(run, spec)
    try:
        network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise ValueError(f"{path} does not hold the weights of {run.arm}: {error}") from error
    return machine.place(network).eval()


@dataclass(frozen=True)
class Check:
    """What stored weights give beside the stored masks.

    identical: masks without a differing voxel. worst: lowest Dice between the two over cases and labels. same_machine:
    processor, device, precision, threads and torch are those that made the masks.
    """

    run: str
    cases: int
    identical: int
    worst: float
    same_machine: bool

    @property
    def passed(self) -> bool:
        """On the kind of machine that made the masks every byte must be the same; elsewhere rounding is allowed for."""
        return self.identical == self.cases if self.same_machine else self.worst >= SAME


def check(ws: Workspace, run: RunSpec, cohort: Cohort, cases: list[int] | None = None) -> Check:
    """Predict with the stored weights and compare with the stored masks, all of them or only `cases`.

    As many threads as made the masks are used. Raises FileNotFoundError if weights, or any of the masks, are not there.
    """
    import pandas as pd  # here, because who only loads weights does without it, and sooner

    folder = ws.artifacts / "runs" / run.name
    made, where = files.read_json(folder / "config.json"), files.read_json(folder / "provenance.json")
    machine = replace(this_machine(), threads=made["threads"])
    machine.prepare()
    here = {**asdict(machine), "torch": torch.__version__, "machine": processor_name()}
    same = all({**where, **made}[name] == value for name, value in here.items())
    predict = restore(ws.artifacts / "weights" / f"{run.name}.safetensors", run, cohort.spec, machine)
    images = images_of(cohort, run.definition.prep, ws)
    scored = sorted(pd.read_csv(folder / CASES)["case"].unique().tolist()) if cases is None else cases
    identical, worst = 0, 1.0
    for number in scored:
        path = ws.artifacts / "predictions" / run.name / cohort.spec.file_name(number)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there; the full series writes a mask for every scored case")
        mask = np.asarray(nibabel.load(path).dataobj)
        found = predict(images[number], cohort.cases[number].spacing)
        identical += bool((found == mask).all())
        worst = min(worst, *metrics.class_dice(found, mask, cohort.spec).values())
    return Check(run.name, len(scored), identical, worst, same)
