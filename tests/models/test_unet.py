"""The U-Net by hand, and its instance norm in channels-last layout against torch's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hipposeg.inference import VIEWS, Prep, predictions
from hipposeg.models.cost import parameters
from hipposeg.models.unet import LAYOUTS, InstanceNorm2d, InstanceNorm3d, ResidualBlock, UNet, is_channels_last
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


def test_views_in_one_batch_give_the_probabilities_of_views_one_by_one(avx2, monkeypatch):
    torch.manual_seed(0)
    network, prep = FP32.place(UNet(3, 1, 3)).eval(), Prep(size=(16, 16, 16), views=True)
    sizes = []
    network.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    image = np.random.default_rng(0).normal(size=(1, 14, 16, 15)).astype(np.float32)
    together = predictions(network, prep, image, replace(FP32, threads=4))
    monkeypatch.setattr(machines.torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    alone = predictions(network, prep, image, FP32)
    assert sizes == [4, 4, *[1] * len(VIEWS)]
    for mine, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize(("dims", "inputs", "widths"), [(2, 3, (16, 32, 64, 128)), (3, 1, (32, 64, 128, 256))])
def test_unet_count_by_hand(dims, inputs, widths):
    # A convolution without bias has 3^d * in * out weights, a norm 2 * out, a transposed one 2^d * in * out + out.
    def block(i: int, o: int) -> int:
        return 3**dims * (i * o + o * o) + 4 * o

    pairs = list(zip(widths, widths[1:], strict=False))
    total = block(inputs, widths[0]) + sum(block(a, b) for a, b in pairs)
    total += sum(2**dims * b * a + a + block(2 * a, a) for a, b in pairs) + 3 * widths[0] + 3
    assert parameters(UNet(dims, inputs, 3, widths)) == total
    with pytest.raises(ValueError, match="not divisible by 8"):
        UNet(dims, inputs, 3, widths)(torch.zeros(1, inputs, *(12,) * dims))
    heads = 3 * (widths[1] + widths[2]) + 6
    assert parameters(UNet(dims, inputs, 3, widths, supervised=2)) == total + heads


def test_two_dimensional_convolutions_equal_a_flat_volume():
    # A 3D kernel that is zero off its middle plane is the 2D kernel: both come from one class.
    flat, deep = UNet(2, 1, 3, (4,)).eval(), UNet(3, 1, 3, (4,)).eval()
    state = {}
    for name, value in flat.state_dict().items():
        target = deep.state_dict()[name]
        if target.ndim == value.ndim + 1:
            padded = torch.zeros_like(target)
            padded[:, :, target.shape[2] // 2] = value
            value = padded
        state[name] = value
    deep.load_state_dict(state)
    x = torch.randn(1, 1, 12, 10, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.allclose(deep(x[:, :, None])[:, :, 0], flat(x), atol=1e-5)


def test_deep_supervision_is_for_training_only():
    with pytest.raises(ValueError, match="supervised is 3; 4 stages have 2 coarser ones"):
        UNet(2, 1, 3, supervised=3)
    torch.manual_seed(0)
    model = UNet(2, 1, 3, (4, 8, 16, 16), supervised=2)
    x = torch.randn(1, 1, 16, 24, generator=torch.Generator().manual_seed(4))
    levels = model.train()(x)
    assert len(levels) == 3 and torch.allclose(model.eval()(x), levels[0])
    # Each coarser output reads the decoder's features at its own resolution, the finest those of `features`.
    stages = model.stages(x)
    assert [stage.shape[1] for stage in stages] == [4, 8, 16]
    assert torch.allclose(model.coarse_heads[1](stages[2]), levels[2])
    assert torch.allclose(model.head(model.features(x)), levels[0])


def test_residual_block_by_hand():
    block, x = ResidualBlock(3, 4, 4), torch.randn(1, 4, 4, 6, 4, generator=torch.Generator().manual_seed(5))
    nn.init.zeros_(block.layers[-1].weight)  # the last norm silences the convolutions: what is left is the shortcut
    assert torch.equal(block(x), nn.functional.leaky_relu(x, 0.01))
    assert ResidualBlock(3, 4, 8, stride=2)(x).shape == (1, 8, 2, 3, 2)


def test_dropout_drops_whole_channels_in_training_alone():
    torch.manual_seed(0)
    plain, dropping = UNet(3, 1, 3, channels=(4, 8)), UNet(3, 1, 3, channels=(4, 8), dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    images = torch.randn(2, 1, 8, 8, 8)
    assert torch.equal(plain.eval()(images), dropping.eval()(images))
    coarse = dropping.train().encoded(images)[1]
    gone = (coarse == 0).flatten(2).all(2)
    assert 0 < gone.sum() < gone.numel() and not (coarse == 0).flatten(2).any(2)[~gone].any()
    assert torch.equal(dropping.encoded(images)[0], plain.encoded(images)[0]), "the finest stage keeps its channels"
