"""A run's weights: initial values, and storage in half precision.

Weights are rounded to half precision when training ends, before anything is predicted. So the stored weights are those
that were scored, at half the size.
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
    """The run's network with initial weights, which depend on its seed alone; of an ensemble, its members by name."""
    model = run.definition
    if model.members:
        return nn.ModuleDict({member.model: initial(member, spec) for member in members_of(run)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeded(run.seed, "weights").initial_seed())
        return model.build(model.prep.channels(len(spec.channels)), spec.n_classes)


def asked(model: Model, network: nn.Module) -> list[tuple[nn.Module, Prep]]:
    """The networks of a model, each with its input; of an ensemble, its members.

    An ensemble with test-time augmentation applies it to every member.
    """
    if not model.members:
        return [(network, model.prep)]
    preps = {name: MODELS[name].prep for name in model.members}
    return [(network[name], replace(prep, views=prep.views or model.prep.views)) for name, prep in preps.items()]


def predict_with(model: Model, network: nn.Module, machine: Machine) -> Predictor:
    """A predictor from a trained network (or an ensemble's) in evaluation mode on the machine's device."""
    return predictor(*(asker(one, prep, machine) for one, prep in asked(model, network)))


@torch.no_grad()
def halve(network: nn.Module) -> None:
    """Round all trained parameters in place to float16; frozen ones and statistics stay as they are."""
    for weight in network.parameters():
        if weight.requires_grad:
            weight.copy_(weight.half())


def store(weights: dict[str, Tensor]) -> bytes:
    """Weights as safetensors, float16 wherever that is exact."""
    halves = {name: value.half() for name, value in weights.items() if value.dtype == torch.float32}
    return safetensors.torch.save(
        {n: halves[n] if n in halves and torch.equal(halves[n].float(), v) else v for n, v in weights.items()}
    )


def load(path: Path, run: RunSpec, spec: DatasetSpec, machine: Machine) -> nn.Module:
    """Load the network of a stored file, in evaluation mode on the machine's device.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold the weights of this network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"found no weights at {path}; `hipposeg train {run.model} --retrain` trains them")
    network = initial(run, spec)
    try:
        network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise ValueError(f"{path} does not hold the weights of {run.model}: {error}") from error
    return machine.place(network).eval()
