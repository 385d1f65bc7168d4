"""INR heads: what they share, where they can be evaluated, and that the control is what interpolation gives."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import nn

from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec
from hipposeg.experiments.weights import initial
from hipposeg.models.cost import parameters
from hipposeg.models.inr import HALF_EXTENT_MM, HEADS, OMEGA, Head, INRUNet, lattice
from hipposeg.training.batches import seeded

SPACING = (2.0, 1.5, 3.0)  # no two alike: a mix-up of axes shows


def network(head: str, seed: int = 0) -> INRUNet:
    torch.manual_seed(seed)
    return INRUNet(head, 1, 3, channels=(4, 8), spacing=SPACING, width=16)


def images(*sides: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 1, *sides, generator=seeded("images", *sides))


def test_lattice_by_hand():
    points = lattice((2, 3, 1), (2.0, 1.5, 1.0))
    assert points.shape == (3, 2, 3, 1)
    assert points[:, 0, 0, 0].tolist() == [-1.0, -1.5, 0.0] and points[:, 1, 2, 0].tolist() == [1.0, 1.5, 0.0]


def test_all_heads_start_from_one_backbone():
    models = [initial(RunSpec(f"unet3d-inr-{head}", seed=1), PHANTOM_SPEC) for head in HEADS]
    first = models[0].backbone.state_dict()
    for model in models[1:]:
        assert first.keys() == model.backbone.state_dict().keys()
        assert all(torch.equal(value, model.backbone.state_dict()[name]) for name, value in first.items())
    twin = initial(RunSpec("unet3d-inr-1mm", seed=1), PHANTOM_SPEC)
    assert all(torch.equal(value, twin.backbone.state_dict()[name]) for name, value in first.items())
    conv, mlp, xyz, siren = (parameters(model.head) for model in models)
    # By hand, 16 features, 64 wide, 3 classes: what differs is the position's three inputs, and the hidden layers.
    assert conv == 16 * 3 + 3
    assert mlp == (16 * 64 + 64) + (64 * 64 + 64) + (64 * 3 + 3)
    assert xyz == siren == mlp + 3 * 64


def test_siren_starts_as_the_paper_says():
    torch.manual_seed(0)
    head = Head("siren-xyz", 13, 3, width=64)
    first, hidden, last = (layer for layer in head.layers if isinstance(layer, nn.Conv3d))
    # In the paper's form sin(omega (W x + b)): first W within 1 / n, then sqrt(6 / n) / omega; here omega is in W.
    bounds = {first: 1 / 16, hidden: (6 / 64) ** 0.5 / OMEGA, last: (6 / 64) ** 0.5 / OMEGA}
    for layer, bound in bounds.items():
        largest = (layer.weight / (1 if layer is last else OMEGA)).abs().max().item()
        assert 0.95 * bound < largest <= bound * (1 + 1e-6)
    # The same head written with omega in front, in double precision.
    features, points = torch.randn(1, 13, 2, 3, 4), torch.rand(1, 3, 2, 3, 4) * 40 - 20
    x = torch.cat([features, points / HALF_EXTENT_MM], 1)[0].flatten(1).double()  # (16, points)
    for layer in (first, hidden):
        w, b = layer.weight[..., 0, 0, 0].double() / OMEGA, layer.bias.double() / OMEGA
        x = torch.sin(OMEGA * (w @ x + b[:, None]))
    paper = last.weight[..., 0, 0, 0].double() @ x + last.bias.double()[:, None]
    assert torch.allclose(head(features, points)[0].flatten(1).double(), paper, atol=1e-5)
    # Activations keep their spread from layer to layer, which is what these bounds are for; logits start small.
    wide = Head("siren-xyz", 13, 3, width=256)
    sines = wide.layers[:4](torch.rand(1, 16, 10, 10, 10) * 2 - 1)
    assert sines.std().item() == pytest.approx(0.5**0.5, abs=0.08)
    assert paper.abs().max() < 0.6


@pytest.mark.parametrize("head", HEADS)
def test_on_its_own_grid_the_query_is_the_forward_pass(head):
    model, x = network(head).eval(), images(6, 8, 10)
    with torch.inference_mode():
        points = lattice((6, 8, 10), SPACING).expand(2, -1, -1, -1, -1)
        assert torch.equal(model(x), model(x, points))
        assert torch.equal(model(x), model(x, points + 7.0)) == (not head.endswith("-xyz")), "who reads positions"
        assert torch.allclose(model.query(model.features(x), points), model(x), atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_off_the_grid_the_control_is_interpolation_and_the_others_are_not(head):
    model, x = network(head).eval(), images(6, 8, 10, batch=1)
    points = lattice((11, 13, 7), (1.0, 0.7, 2.5))
    with torch.inference_mode():
        found = model.query(model.features(x), points[None])[0].numpy()
        logits = model(x)[0].double().numpy()
    where = points.double().numpy() / np.array(SPACING).reshape(3, 1, 1, 1)
    where += (np.array([6, 8, 10]).reshape(3, 1, 1, 1) - 1) / 2
    interpolated = np.stack([map_coordinates(one, where, order=1, mode="nearest") for one in logits])
    assert np.allclose(found, interpolated, atol=1e-4) == (head == "conv")
