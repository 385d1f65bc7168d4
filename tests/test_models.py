"""Every network of the zoo keeps one contract."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.models import atlas, cost
from hipposeg.models.encoders import EncoderUNet, imagenet_weights
from hipposeg.models.unet import UNet
from hipposeg.runs.arms import ARMS, MOBILENET, with_imagenet

# name -> (network, a smallest input without batch). The first count is also computed by hand below.
ZOO: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "unet2d": (lambda: UNet(2, 3, 3, (16, 32, 64, 128)), (3, 16, 24), 482_771),
    "unet3d": (lambda: UNet(3, 1, 3, (4, 8, 16)), (1, 8, 12, 16), 21_447),
    "mobilenet": (lambda: EncoderUNet("tu-tf_mobilenetv3_small_100", 3, 3), (3, 32, 64), 1_976_979),
}


@pytest.fixture(params=ZOO)
def member(request: pytest.FixtureRequest) -> tuple[Callable[[], nn.Module], tuple[int, ...], int]:
    return ZOO[request.param]


def build(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def test_shape_and_gradient_reaches_every_parameter(member):
    make, shape, _ = member
    model = build(make)
    out = model(torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)))
    assert out.shape == (2, 3, *shape[1:])
    out.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_same_seed_same_bytes_and_save_load(member, tmp_path):
    make, shape, _ = member
    first, second = build(make).eval(), build(make).eval()
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(first(x), second(x))
    torch.save(first.state_dict(), tmp_path / "w.pt")
    torch.manual_seed(5)
    third = make()
    third.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    with torch.inference_mode():
        assert torch.equal(first(x), third.eval()(x))


def test_golden_parameter_count(member):
    make, _, golden = member
    assert cost.parameters(make()) == golden


def test_unet_count_by_hand():
    # A convolution without bias has 9 * in * out weights, a norm 2 * out, a 2x2 transposed one 4 * in * out + out.
    def block(i: int, o: int) -> int:
        return 9 * i * o + 2 * o + 9 * o * o + 2 * o

    widths = (16, 32, 64, 128)
    total = block(3, 16) + sum(block(a, b) for a, b in zip(widths, widths[1:], strict=False))
    total += sum(4 * b * a + a + block(2 * a, a) for a, b in zip(widths, widths[1:], strict=False)) + 16 * 3 + 3
    assert cost.parameters(UNet(2, 3, 3, widths)) == total


def test_flops_of_one_convolution_by_hand():
    class One(nn.Module):
        divisor = 1

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv3d(2, 5, 3, padding=1, bias=False)

        def forward(self, x):
            return self.layer(x)

    voxels = 40 * 56 * 40
    assert cost.gflops(One(), 2, None) == pytest.approx(2 * 27 * 2 * 5 * voxels / 1e9)


def test_unet_rejects_odd_sides():
    with pytest.raises(ValueError, match="divisible by 8"):
        UNet(2, 1, 3)(torch.zeros(1, 1, 20, 24))


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


@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (5, 1), (2, 2)])
def test_arms_follow_the_data_set(classes, channels):
    for arm in ARMS.values():
        if arm.build and not arm.name.endswith("+imagenet"):
            model = arm.build(arm.prep.channels(channels), classes + 1)
            sides = [side for axis, side in enumerate(arm.prep.size) if axis != arm.prep.axis]
            assert model(torch.zeros(2, arm.prep.channels(channels), *sides)).shape == (2, classes + 1, *sides)


def test_atlas_of_one_training_label_gives_that_label_back():
    label = torch.zeros(8, 10, 6, dtype=torch.uint8)
    label[2:5, 3:6, 1:4] = 1
    label[5:7, 3:6, 1:4] = 2
    mean = atlas.mean_map([label.numpy()], MSD_HIPPOCAMPUS.n_classes, (8, 10, 6))
    assert (atlas.from_box(mean, (8, 10, 6)) == label.numpy()).all()
    # Twice the box, twice the structure, away from the borders that interpolation blurs.
    doubled = atlas.from_box(mean, (16, 20, 12))
    assert (doubled[1::2, 1::2, 1::2][3, 4, 2], doubled[1::2, 1::2, 1::2][6, 4, 2]) == (1, 2)
    assert mean.sum(0).allclose(torch.ones(8, 10, 6))


def test_encoder_takes_weights_from_a_file(tmp_path):
    import safetensors.torch
    import timm

    name = "tf_mobilenetv3_small_100"
    torch.manual_seed(7)
    published = timm.create_model(name, num_classes=0).state_dict()
    safetensors.torch.save_file(published, tmp_path / "model.safetensors")
    model = EncoderUNet(f"tu-{name}", 3, 3, weights=tmp_path / "model.safetensors")
    loaded = model.unet.encoder.model.state_dict()
    shared = [key for key in published if key in loaded]
    assert len(shared) > 100
    assert all(torch.equal(loaded[key], published[key]) for key in shared)


def test_absent_weights_are_said_and_not_an_error(monkeypatch, caplog):
    import huggingface_hub

    def unreachable(*args, **kwargs):
        assert kwargs["local_files_only"]  # tests set HIPPOSEG_OFFLINE
        raise ConnectionResetError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    assert imagenet_weights("tu-tf_mobilenetv3_small_100") is None
    assert "starts from random weights" in caplog.text
    assert with_imagenet("unet2d-mobilenetv3", MOBILENET, "standard") == "unet2d-mobilenetv3"
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: "/somewhere/model.safetensors")
    assert with_imagenet("unet2d-mobilenetv3", MOBILENET, "standard") == "unet2d-mobilenetv3+imagenet"
