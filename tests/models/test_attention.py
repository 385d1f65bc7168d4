"""Attention gates by hand, and the U-Net that has them beside the one without."""

import numpy as np
import pytest
import torch
from torch import nn

from hipposeg.models.attention import AttentionGate, AttentionUNet, doubled
from hipposeg.models.cost import parameters
from hipposeg.models.unet import UNet

BOTH = pytest.mark.parametrize("dims", [2, 3])


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(dims, spatial=True, channels=(4, 8, 16), **options):
    torch.manual_seed(0)
    return AttentionUNet(dims, 1, 3, channels, spatial, **options)


@BOTH
def test_doubling_is_linear_interpolation(dims):
    x = torch.rand(2, 3, *(3, 1, 5)[:dims], generator=torch.Generator().manual_seed(1))
    mode = {2: "bilinear", 3: "trilinear"}[dims]
    expected = nn.functional.interpolate(x, scale_factor=2, mode=mode, align_corners=False)
    assert torch.allclose(doubled(x), expected, atol=1e-6)
    assert doubled(torch.tensor([[[0.0, 1.0]]])).tolist() == [[[0.0, 0.25, 0.75, 1.0]]]


def test_gate_by_hand():
    # One channel each, a skip of two by two voxels, one coarse voxel: all sums can be written down.
    gate = AttentionGate(2, 1, 1, 1)
    with torch.no_grad():
        gate.w_x.weight.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        for layer, weight, bias in ((gate.w_g, 0.5, -1.0), (gate.psi, 2.0, 0.5)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    skip = torch.tensor([[[[0.1, 0.2], [0.3, -0.1]]]])
    coarse = torch.tensor([[[[3.0]]]])
    # w_x: 0.1 + 0.4 + 0.9 - 0.4 = 1.0; w_g: 1.5 - 1 = 0.5; relu 1.5; psi 3.5.
    weight = 1 / (1 + np.exp(-3.5))
    kept, found = gate(skip, coarse)
    assert found.shape == (1, 1, 2, 2) and torch.allclose(found, torch.full((1, 1, 2, 2), weight))
    assert torch.allclose(kept, weight * skip)
    # A gate that is told no lets through what psi's bias says: relu cuts the sum off at 0.
    assert torch.allclose(gate(skip, -coarse)[1], torch.sigmoid(torch.full((1, 1, 2, 2), 0.5)))


@BOTH
@pytest.mark.parametrize("spatial", [True, False])
def test_maps_have_the_skips_size_lie_in_0_to_1_and_every_parameter_learns(dims, spatial):
    model = made(dims, spatial)
    x = noise(2, 1, *(8, 12, 16)[:dims])
    maps = model.maps(x)
    assert [tuple(one.shape) for one in maps] == [(2, 1, *(side // 2**i for side in x.shape[2:])) for i in range(2)]
    assert all(one.min() >= 0 and one.max() <= 1 for one in maps)
    (model(x) * noise(2, 3, *x.shape[2:], seed=1)).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@BOTH
def test_constant_gate_has_equal_parameters_and_one_weight_for_all_places(dims):
    model, constant = made(dims), made(dims, spatial=False)
    x = 3 * noise(2, 1, *(8, 12, 16)[:dims])
    assert parameters(model) == parameters(constant)
    states = zip(model.state_dict().items(), constant.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(v, w) for (a, v), (b, w) in states)
    for free, one in zip(model.maps(x), constant.maps(x), strict=True):
        flat = one.flatten(1)
        assert (flat == flat[:, :1]).all() and flat[0, 0] != flat[1, 0]
        assert free.flatten(1).std(1).min() > 0
        assert 0 < flat.min() and flat.max() < 1


def test_gates_come_after_the_twins_weights_and_open_gates_are_the_twin():
    torch.manual_seed(0)
    twin, model = UNet(2, 1, 3, (4, 8, 16)), made(2)
    shared = twin.state_dict()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in shared.items())
    parts = ("w_x.weight", "w_g.weight", "w_g.bias", "psi.weight", "psi.bias")
    added = {name for name in model.state_dict() if name not in shared}
    assert added == {f"gates.{number}.{part}" for number in (0, 1) for part in parts}
    with torch.no_grad():
        for gate in model.gates:
            gate.psi.weight.zero_()
            gate.psi.bias.fill_(50.0)
    x = noise(2, 1, 8, 12)
    assert torch.equal(model.eval()(x), twin.eval()(x))
