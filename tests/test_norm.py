"""Instance norm in channels-last layout, against torch's own; which machines use the layout, and what it changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from hipposeg.inference import VIEWS, Prep, opinions
from hipposeg.models.norm import LAYOUTS, InstanceNorm2d, InstanceNorm3d, is_channels_last
from hipposeg.models.unet import UNet
from hipposeg.training import machine as machines
from hipposeg.training.machine import Machine

FP32 = Machine("cpu", "fp32", 1)
SHAPES = {InstanceNorm2d: (3, 8, 6, 5), InstanceNorm3d: (2, 8, 4, 6, 5)}


@pytest.fixture
def avx2(monkeypatch):
    """A machine whose CPU has AVX2 and no more, whatever this one has."""
    monkeypatch.setattr(machines.torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def made(kind, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SHAPES[kind], generator=generator, dtype=dtype) * 3 + 5
    norm = kind(8, affine=True).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(8, generator=generator) + 0.5)
        norm.bias.copy_(torch.randn(8, generator=generator))
    return norm, x, torch.randn(SHAPES[kind], generator=generator, dtype=dtype)


def gradients(function, x, upstream, *parameters):
    x = x.detach().requires_grad_()
    found = function(x)
    return found, torch.autograd.grad(found, (x, *parameters), upstream)


@pytest.mark.parametrize("kind", SHAPES)
def test_values_and_gradients_are_those_of_torch(kind):
    norm, x, upstream = made(kind)
    reference = gradients(
        lambda x: functional.instance_norm(x, weight=norm.weight, bias=norm.bias), x, upstream, norm.weight, norm.bias
    )
    layout = LAYOUTS[x.ndim]
    x, upstream = x.contiguous(memory_format=layout), upstream.contiguous(memory_format=layout)
    found = gradients(norm, x, upstream, norm.weight, norm.bias)
    assert is_channels_last(found[0]) and is_channels_last(found[1][0])
    for mine, theirs in zip((found[0], *found[1]), (reference[0], *reference[1]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_large_means_cost_float32_little_precision():
    norm, x, _ = made(InstanceNorm3d, torch.float32)
    x = (x + 30).contiguous(memory_format=torch.channels_last_3d)
    exact = functional.instance_norm(x.double(), weight=norm.weight.double(), bias=norm.bias.double())
    assert (norm(x) - exact).abs().max() < 1e-3
    flat = norm(torch.full_like(x, 7.0))
    torch.testing.assert_close(flat, norm.bias.view(1, -1, 1, 1, 1).expand_as(flat), atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", SHAPES)
def test_contiguous_input_goes_to_torch(kind):
    norm, x, _ = made(kind, torch.float32)
    assert torch.equal(norm(x), functional.instance_norm(x, weight=norm.weight, bias=norm.bias))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_gives_the_same_in_both_layouts(dims, avx2):
    torch.manual_seed(0)
    plain, image = UNet(dims, 1, 3, supervised=1), torch.randn(2, 1, *(16,) * dims)
    placed = UNet(dims, 1, 3, supervised=1)
    placed.load_state_dict(plain.state_dict())
    FP32.place(placed)
    seen = []
    placed.stem.layers[1].register_forward_hook(lambda module, inputs, output: seen.append(is_channels_last(output)))
    for mine, theirs in zip(placed(image), plain(image), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    assert seen == [True], "from the first convolution on, although it reads a single channel"
    assert {name: value.shape for name, value in placed.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }


def test_only_float32_on_a_cpu_with_avx2_alone_changes_layout(avx2, monkeypatch):
    assert FP32.channels_last
    assert not replace(FP32, precision="bf16").channels_last
    assert not replace(FP32, device="cuda").channels_last
    monkeypatch.setattr(machines.torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not FP32.channels_last
    network = FP32.place(UNet(3, 1, 3))
    assert all(weight.is_contiguous() for weight in network.parameters())


def test_views_in_one_batch_give_the_probabilities_of_views_one_by_one(avx2, monkeypatch):
    torch.manual_seed(0)
    network, prep = FP32.place(UNet(3, 1, 3)).eval(), Prep(size=(16, 16, 16), views=True)
    sizes = []
    network.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    image = np.random.default_rng(0).normal(size=(1, 14, 16, 15)).astype(np.float32)
    together = opinions(network, prep, image, replace(FP32, threads=4))
    monkeypatch.setattr(machines.torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    alone = opinions(network, prep, image, FP32)
    assert sizes == [4, 4, *[1] * len(VIEWS)]
    for mine, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
