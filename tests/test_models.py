"""Every network of the zoo keeps one contract."""

import pytest
import torch
from torch import nn

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments.model import Model
from hipposeg.experiments.registry import MODELS, with_imagenet
from hipposeg.experiments.zoo2d import MOBILENET
from hipposeg.models import atlas, cost
from hipposeg.models.encoders import EncoderUNet, imagenet_weights
from hipposeg.models.transformer import UNETR
from hipposeg.models.unet import ResidualBlock, UNet
from hipposeg.training.losses import segmentation_loss

# Every network once, under the name of the first model that has it.
ZOO: dict[str, Model] = {}
for _one in MODELS.values():
    _published = _one.name.endswith(("+imagenet", "+published"))  # weights that are not on every machine
    _known = {one.network for one in ZOO.values()}
    # A CLIP is no segmentation network, though it can be used as one (test_clip).
    if _one.build and not _published and _one.family != "clip" and _one.network not in _known:
        ZOO[_one.name] = _one

# Trainable parameters for one channel and three classes. Two are also counted by hand below.
GOLDEN = {
    "unet2d": 482_771,
    "unet2d-batchnorm": 482_771,
    "unet2d-inr0": 482_771,
    "unet2d-inr32": 484_483,
    "unet2d-inr48": 486_131,
    "unet2d-inr64": 488_291,
    "unet2d-mobilenetv3": 327_595,
    "unet2d-efficientnetb0": 1_037_267,
    "recipe-b": 1_088_451,
    "unet3d": 1_401_299,
    "unet3d+dropout": 1_401_299,
    "unet3d-residual": 1_498_787,
    "unet3d-nnunet-light": 339_702,
    "unet3d-nnunet": 1_401_593,
    "unet3d-nnunet-performance": 5_601_769,
    "unet3d-transformer": 6_965_947,
    "unet3d-inr-conv": 1_401_299,
    "unet3d-inr-mlp": 1_406_691,
    "unet3d-inr-mlp-xyz": 1_406_883,
    "unet3d-inr-siren-xyz": 1_406_883,
    "unet3d-inr-1mm": 1_401_299,
    "unet3d-inr": 1_406_883,
    "attention2d": 515_254,
    "attention2d-constant": 515_254,
    "attention3d": 1_455_286,
    "attention3d-constant": 1_455_286,
    "scse2d": 330_646,
    "clip2d-guided": 525_025,
    "clip2d-image-only": 523_987,
    "clip2d-image-zeroed": 525_025,
    "clip2d-learned": 525_217,
    "clip2d-same-angles": 525_025,
    "clip2d-rotated": 525_025,
    "clip2d-unrelated": 525_025,
    "clip2d-words": 525_025,
    "clip2d-sentences": 525_025,
    "clip2d-untrained": 525_025,
    "clip2d-fixed-scale": 525_024,
    "clip3d-guided": 1_402_337,
}


def build(member: Model, channels: int = 1, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return member.build(member.prep.channels(channels), classes)


def images(member: Model, network: nn.Module, channels: int = 1, more: int = 0) -> torch.Tensor:
    """The smallest batch that trains, its sides different from one another."""
    sides = [network.divisor * (n + 1) + more for n in (1, 2, 1)[: member.dims]]
    return torch.randn(2, member.prep.channels(channels), *sides, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=ZOO)
def member(request: pytest.FixtureRequest) -> Model:
    return ZOO[request.param]


def test_shapes_and_gradient_reaches_every_parameter(member):
    model = build(member)
    x = images(member, model)
    out = model.train()(x)
    levels = [out] if isinstance(out, torch.Tensor) else out
    assert [level.shape for level in levels] == [
        (2, 3, *(side // 2**i for side in x.shape[2:])) for i in range(len(levels))
    ]
    target = torch.randn(levels[0].shape, generator=torch.Generator().manual_seed(2)).softmax(1)
    segmentation_loss(out, target).backward()
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, p in learned.items() if p.grad is None or not p.grad.abs().sum() > 0]
    # scSE squeezes 16 channels through one ReLU unit, which can be silent from the start; nothing can be learned of
    # zeros.
    silent = {"scse2d": ".cSE.", "clip2d-image-zeroed": "project.weight"}
    assert not [name for name in without if silent.get(member.name, "none") not in name]
    assert all(torch.isfinite(p.grad).all() for p in learned.values())


def test_same_seed_same_bytes_and_save_load(member, tmp_path):
    first, second = build(member).eval(), build(member).eval()
    x = images(member, first)[:1]
    torch.save(first.state_dict(), tmp_path / "w.pt")
    torch.manual_seed(5)
    third = member.build(member.prep.channels(1), 3).eval()
    third.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    with torch.inference_mode():
        expected = first(x)
        assert expected.shape == (1, 3, *x.shape[2:])  # in evaluation mode one tensor, whatever training gives
        assert torch.equal(expected, second(x)) and torch.equal(expected, third(x))


def test_golden_parameter_count(member):
    assert cost.parameters(build(member)) == GOLDEN[member.name]


def test_odd_sides_are_refused_or_given_back(member):
    model = build(member).eval()
    x = images(member, model, more=1)[:1]
    try:
        found = model(x)
    except ValueError as error:
        assert f"not divisible by {model.divisor}" in str(error)
    else:
        assert found.shape == (1, 3, *x.shape[2:])


@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (5, 1), (2, 2)])
def test_networks_follow_the_data_set(member, classes, channels):
    model = build(member, channels, classes + 1).eval()
    x = images(member, model, channels)[:1]
    with torch.inference_mode():
        assert model(x).shape == (1, classes + 1, *x.shape[2:])


def test_every_model_fits_its_input():
    divisors = {one.network: build(one).divisor for one in ZOO.values()}
    for one in MODELS.values():
        if one.network in divisors:
            sides = [side for axis, side in enumerate(one.prep.size) if axis != one.prep.axis]
            assert len(sides) == one.dims and not any(side % divisors[one.network] for side in sides), one.name


@pytest.mark.parametrize(("dims", "inputs", "widths"), [(2, 3, (16, 32, 64, 128)), (3, 1, (32, 64, 128, 256))])
def test_unet_count_by_hand(dims, inputs, widths):
    # A convolution without bias has 3^d * in * out weights, a norm 2 * out, a transposed one 2^d * in * out + out.
    def block(i: int, o: int) -> int:
        return 3**dims * (i * o + o * o) + 4 * o

    pairs = list(zip(widths, widths[1:], strict=False))
    total = block(inputs, widths[0]) + sum(block(a, b) for a, b in pairs)
    total += sum(2**dims * b * a + a + block(2 * a, a) for a, b in pairs) + 3 * widths[0] + 3
    assert cost.parameters(UNet(dims, inputs, 3, widths)) == total
    heads = 3 * (widths[1] + widths[2]) + 6
    assert cost.parameters(UNet(dims, inputs, 3, widths, supervised=2)) == total + heads


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


def test_transformer_pads_to_the_box_it_was_made_for():
    torch.manual_seed(0)
    model = UNETR(1, 2, (16, 32, 16)).eval()
    x = torch.randn(1, 1, 12, 27, 16, generator=torch.Generator().manual_seed(6))
    boxed = torch.zeros(1, 1, 16, 32, 16)
    boxed[:, :, 2:14, 2:29] = x
    with torch.inference_mode():
        assert torch.equal(model(boxed), model.net(boxed))
        assert torch.equal(model(x), model.net(boxed)[:, :, 2:14, 2:29])
    with pytest.raises(ValueError, match=r"\(24, 32, 16\) exceed \(16, 32, 16\)"):
        model(torch.zeros(1, 1, 24, 32, 16))


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


def test_absent_weights_are_logged_and_no_error(monkeypatch, caplog):
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
