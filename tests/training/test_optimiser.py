"""Muon against its definition and torch's own, which weights it may take, and learning rates by hand."""

import pytest
import torch
from torch import nn

from hipposeg.experiments.registry import MODELS
from hipposeg.training.optimiser import Muon, is_matrix, optimisers, orthogonalised, rate

SHAPES = [(8, 8), (6, 40), (40, 6), (1, 5)]
# One network of each builder and dimension, but for CLIPs, which AdamW trains alone.
NETWORKS = {
    (model.network.split("(")[0], model.dims): model
    for model in MODELS.values()
    if model.build and model.family != "clip" and not model.name.endswith(("+imagenet", "+published"))
}


def normal(*shape: int, key: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(key))


def plain(matrix: torch.Tensor) -> torch.Tensor:
    """The iteration as the reference writes it, in double precision, on the matrix itself."""
    found = matrix.double() / matrix.double().norm()
    found = found.T if len(matrix) > matrix.shape[1] else found
    for _ in range(5):
        gram = found @ found.T
        found = 3.4445 * found + (-4.7750 * gram + 2.0315 * gram @ gram) @ found
    return (found.T if len(matrix) > matrix.shape[1] else found).float()


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonalised_equals_the_plain_iteration(shape):
    matrix = normal(*shape)
    assert torch.allclose(orthogonalised(matrix), plain(matrix), atol=2e-4)
    assert torch.allclose(orthogonalised(1e-4 * matrix), plain(matrix), atol=2e-3)  # its length does not count
    assert torch.equal(orthogonalised(torch.zeros(shape)), torch.zeros(shape))


def steps_of(optimiser: torch.optim.Optimizer, weight: nn.Parameter, shape: tuple[int, ...]) -> torch.Tensor:
    """The weight after three steps down three given gradients."""
    for key in range(3):
        weight.grad = normal(*shape, key=10 + key)
        optimiser.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (32, 4, 1, 2), (12, 5)])
def test_muon_by_hand(shape):
    weight = nn.Parameter(normal(*shape))
    expected, mean = weight.detach().clone(), torch.zeros(shape)
    found = steps_of(Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.2), weight, shape)
    for key in range(3):
        gradient = normal(*shape, key=10 + key)
        mean = 0.9 * mean + 0.1 * gradient
        ahead = (0.1 * gradient + 0.9 * mean).reshape(shape[0], -1)
        expected = expected * (1 - 0.1 * 0.2)
        expected = expected - 0.1 * (max(1, ahead.shape[0] / ahead.shape[1]) ** 0.5 * plain(ahead)).reshape(shape)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(12, 5), (6, 40)])
def test_muon_equals_torchs(shape):
    start = normal(*shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    found = steps_of(Muon([ours], lr=0.1, momentum=0.95, weight_decay=0.1), ours, shape)
    other = steps_of(torch.optim.Muon([theirs], lr=0.1, momentum=0.95, weight_decay=0.1), theirs, shape)
    # Torch iterates in bfloat16, of which three digits are left.
    assert (found - other).norm() < 0.02 * (found - start).norm()


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_layers_at_the_networks_ends_are_left_to_adamw(network):
    model = NETWORKS[network]
    channels, classes = model.prep.channels(1), 3
    model = model.build(channels, classes)
    ends, inner = [], []
    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        if weight is None or weight.ndim < 2 or not weight.requires_grad:
            continue
        reads = getattr(layer, "in_channels", None) == channels
        gives = getattr(layer, "out_channels", None) == classes
        (ends if reads or gives else inner).append(weight)
    # Pixels that are compared with class vectors need no layer that gives classes.
    assert len(ends) >= 2 - hasattr(model, "embedding") and not any(map(is_matrix, ends))
    # Depthwise kernels and the narrow waists of squeeze-and-excitation are inner layers, and no matrices to speak of.
    assert all(is_matrix(weight) for weight in inner if min(weight.shape[:2]) >= 8)
    adamw, muon = optimisers(model, 1e-3, 0.01, 0.02)
    first, second = ({id(p) for group in o.param_groups for p in group["params"]} for o in (adamw, muon))
    learned = {id(weight) for weight in model.parameters() if weight.requires_grad}
    assert not first & second and first | second == learned
    assert {id(weight) for weight in ends} <= first and len(second) >= 8
    assert isinstance(muon, Muon) and muon.param_groups[0]["lr"] == 0.02
    assert isinstance(adamw, torch.optim.AdamW) and adamw.param_groups[0]["weight_decay"] == 0.01
    assert len(adamw.param_groups) == 1 + any(weight.requires_grad and not weight.ndim for weight in model.parameters())


@pytest.mark.parametrize("muon", [0.0, 0.02])
def test_a_scale_does_not_decay(muon):
    model = nn.Module()
    model.weight, model.bias = nn.Parameter(torch.ones(8, 8)), nn.Parameter(torch.ones(8))
    model.scale = nn.Parameter(torch.tensor(2.6))
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    for optimiser in optimisers(model, 1e-3, 0.1, muon):
        for group in optimiser.param_groups:
            group["lr"] = 0.5
        optimiser.step()
    assert torch.allclose(model.weight, torch.tensor(0.95)) and torch.allclose(model.bias, torch.tensor(0.95))
    assert model.scale.item() == pytest.approx(2.6)


def test_rates_by_hand():
    found = {
        name: [rate(name, step, 100, 0.2, []) for step in range(100)] for name in ("one-cycle", "cosine", "restarts")
    }
    cycle, cosine, restarts = found.values()
    assert [cycle[step] for step in (0, 10, 20, 60)] == pytest.approx([0.04, 0.52, 1.0, 0.5]) and cycle[99] < 0.001
    assert cycle[:21] == sorted(cycle[:21]) and cycle[20:] == sorted(cycle[20:], reverse=True)
    assert [cosine[step] for step in (0, 50)] == pytest.approx([1, 0.5]) and cosine == sorted(cosine, reverse=True)
    assert [restarts[step] for step in (0, 50)] == pytest.approx([1, 0.5]) and restarts[33] < 0.01 < 0.99 < restarts[34]
    losses = [3.0, 2.0, 2.5, 1.0, 1.0, 1.2, 0.9]
    plateau = [rate("plateau", 5, 90, 0.2, losses[:n]) for n in range(8)]
    assert plateau == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.001, 0.001])
    with pytest.raises(ValueError, match="'linear'; there are one-cycle, cosine"):
        rate("linear", 0, 90, 0.2, [])
