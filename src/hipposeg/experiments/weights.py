"""A run's weights: initial ones, and the half precision that they are stored in.

Weights are rounded to half precision when training ends, before anything is predicted: what is stored is what was
scored, at half the size.
"""

from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.model import Model
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.spec import RunSpec, members_of
from hipposeg.inference import Predictor, Prep, asker, predictor
from hipposeg.training.batches import seeded
from hipposeg.training.machine import Machine


def initial(run: RunSpec, spec: DatasetSpec) -> nn.Module:
    """The run's network with its initial weights, drawn from its seed alone; of a fused model, its members by name."""
    model = run.definition
    if model.members:
        return nn.ModuleDict({member.model: initial(member, spec) for member in members_of(run)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeded(run.seed, "weights").initial_seed())
        return model.build(model.prep.channels(len(spec.channels)), spec.n_classes)


def asked(model: Model, network: nn.Module) -> list[tuple[nn.Module, Prep]]:
    """The networks behind a model, each with the input it is asked with: its own, or a fused model's members'.

    A fused model that is asked from several views asks all its members so.
    """
    if not model.members:
        return [(network, model.prep)]
    preps = {name: MODELS[name].prep for name in model.members}
    return [(network[name], replace(prep, views=prep.views or model.prep.views)) for name, prep in preps.items()]


def predict_with(model: Model, network: nn.Module, machine: Machine) -> Predictor:
    """A predictor of a trained network, in evaluation mode on the machine's device, or of a fused model's networks."""
    return predictor(*(asker(one, prep, machine) for one, prep in asked(model, network)))


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
    """The network of a stored file (of a fused model, all by name), in evaluation mode on the machine's device.

    Raises FileNotFoundError, or ValueError if the file is not of this network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; `hipposeg train {run.model}` or the full series writes it")
    network = initial(run, spec)
    try:
        network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise ValueError(f"{path} does not hold the weights of {run.model}: {error}") from error
    return machine.place(network).eval()
