"""A run's weights: initial values, storage in half precision, and what they predict.

Weights are rounded to half precision when training ends, before anything is predicted. So the stored weights are those
that were scored, at half the size.
"""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.model import Model
from hipposeg.experiments.registry import MODELS, RunSpec, members_of
from hipposeg.files import read_cached
from hipposeg.inference import Predictor, Prep, averaged, evaluator, predictions, predictor
from hipposeg.metrics import UNION
from hipposeg.training.batches import seeded
from hipposeg.training.machine import Machine

log = logging.getLogger(__name__)

STATE, WEIGHTS = "run.state", "weights.safetensors"  # in a run's folder in the cache


def initial(run: RunSpec, spec: DatasetSpec) -> nn.Module:
    """The run's network with initial weights, which depend on its seed alone; of an ensemble, its members by name."""
    model = run.definition
    if model.members:
        return nn.ModuleDict({member.model: initial(member, spec) for member in members_of(run)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeded(run.seed, "weights").initial_seed())
        return model.build(model.prep.channels(len(spec.channels)), spec.n_classes)


def networks_of(model: Model, network: nn.Module) -> list[tuple[nn.Module, Prep]]:
    """The networks of a model, each with its input; an ensemble's test-time augmentation applies to every member."""
    if not model.members:
        return [(network, model.prep)]
    preps = {name: MODELS[name].prep for name in model.members}
    return [(network[name], replace(prep, views=prep.views or model.prep.views)) for name, prep in preps.items()]


def predict_with(model: Model, network: nn.Module, machine: Machine) -> Predictor:
    """A predictor from a trained network (or an ensemble's) in evaluation mode on the machine's device."""
    return predictor(*(evaluator(one, prep, machine) for one, prep in networks_of(model, network)))


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

    Raises FileNotFoundError, or ValueError if the file does not hold the weights of this network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"found no weights at {path}; `hipposeg train {run.model} --retrain` trains them")
    network = initial(run, spec)
    try:
        network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise ValueError(f"{path} does not hold the weights of {run.model}: {error}") from error
    return machine.place(network).eval()


@torch.no_grad()
def start_from(network: nn.Module, path: Path) -> dict[str, Any]:
    """Copy the stored weights that have the name and shape of one of the network's; the others keep initial values.

    Returns "started": fraction of the network's parameters that were copied, and "fresh": names of the others.

    Raises ValueError if the file is none of safetensors, or if less than half of the parameters fit.
    """
    try:
        stored = safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: found no weights ({error}), expected a .safetensors file of a run") from error
    own = network.state_dict()
    fitting = {name: value for name, value in stored.items() if name in own and own[name].shape == value.shape}
    sizes = {name: weight.numel() for name, weight in network.named_parameters()}
    share = sum(size for name, size in sizes.items() if name in fitting) / sum(sizes.values())
    if share < 0.5:
        raise ValueError(
            f"{path}: found weights of {share:.0%} of this network's parameters, expected at least half; start from a "
            "run of the same model"
        )
    network.load_state_dict(fitting, strict=False)
    return {"started": round(share, 4), "fresh": sorted(set(sizes) - set(fitting))}


def state_in(folder: Path) -> dict[str, Any] | None:
    """The state of a finished run, from its folder in the cache; None if a file of the run is damaged or lost.

    The state has the SHA-256 of the others. What is damaged or lost is logged.
    """
    if (content := read_cached(folder / STATE)) is None:
        return None
    state = json.loads(content)
    for name, digest in state["files"].items():
        if not (folder / name).is_file():
            log.warning("%s is missing: the run counts as not trained", folder / name)
            return None
        if read_cached(folder / name, digest) is None:
            return None
    return state


def whole_state(run: RunSpec, runs: Path) -> dict[str, Any]:
    """The state of a finished run below the folder of all runs. Raises FileNotFoundError if there is none."""
    if (state := state_in(runs / run.name)) is None:
        raise FileNotFoundError(f"{runs / run.name} has no whole run; `hipposeg train {run.model} --retrain` trains it")
    return state


def finished(run: RunSpec, spec: DatasetSpec, runs: Path) -> nn.Module:
    """The network of a finished run on the CPU. `runs` is the folder with all runs."""
    whole_state(run, runs)
    return load(runs / run.name / WEIGHTS, run, spec, Machine("cpu", "bf16", 1))


@dataclass(frozen=True)
class Prediction:
    """Prediction of one image.

    Attributes:
        probabilities: (K, X, Y, Z) float32, the mean over all predictions.
        voxels: (predictions, K) number of voxels of each class in each prediction.
    """

    probabilities: np.ndarray
    voxels: np.ndarray

    def spread(self, spacing: tuple[float, float, float], spec: DatasetSpec) -> dict[str, float]:
        """Standard deviation over predictions of the volumes of classes and union in mm3; NaN for one prediction."""
        names = (*spec.names, UNION)
        if len(self.voxels) < 2:
            return dict.fromkeys(names, float("nan"))
        classes = self.voxels[:, 1:]
        sizes = np.column_stack([classes, classes.sum(axis=1)])
        return dict(zip(names, (sizes.std(axis=0, ddof=1) * np.prod(spacing)).tolist(), strict=True))


def predict(
    model: Model, network: nn.Module, image: np.ndarray, spacing: tuple[float, float, float], machine: Machine
) -> Prediction:
    """Predict an image (C, X, Y, Z) float32, bias corrected if the model needs that.

    The network is in evaluation mode on the machine's device; `spacing` is the image's, in mm. A network that works in
    another spacing counts as one prediction.
    """
    total, sizes, networks = 0, [], networks_of(model, network)
    for member, prep in networks:
        if prep.takes(spacing):
            found = predictions(member, prep, image, machine)
        else:
            found = [evaluator(member, prep, machine)(image, spacing)]
        total = total + averaged(found)
        sizes += [np.bincount(one.argmax(0).ravel(), minlength=len(one)) for one in found]
    return Prediction(total / len(networks), np.array(sizes))
