"""Every network of the zoo keeps one contract; the transformer, the atlas and encoders with published weights."""

import pandas as pd
import pytest
import torch
from torch import nn

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments.model import Model
from hipposeg.experiments.registry import MODELS, with_imagenet
from hipposeg.files import sha256_bytes
from hipposeg.models import atlas, encoders
from hipposeg.models.cost import gflops
from hipposeg.models.encoders import EncoderUNet, imagenet_weights
from hipposeg.models.transformer import UNETR
from hipposeg.training.losses import segmentation_loss
from hipposeg.workspace import project_root

# Every network once, under the name of the first model that has it. A CLIP is no segmentation network (test_clip).
ZOO: dict[str, Model] = {}
for _one in MODELS.values():
    _published = _one.name.endswith(("+imagenet", "+published"))  # weights that are not on every machine
    _known = {one.network for one in ZOO.values()}
    if _one.build and not _published and _one.family != "clip" and _one.network not in _known:
        ZOO[_one.name] = _one


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
    model = build(member, channels=2, classes=4)
    x = images(member, model, channels=2)
    out = model.train()(x)
    levels = [out] if isinstance(out, torch.Tensor) else out
    assert [level.shape for level in levels] == [
        (2, 4, *(side // 2**i for side in x.shape[2:])) for i in range(len(levels))
    ]
    target = torch.randn(levels[0].shape, generator=torch.Generator().manual_seed(2)).softmax(1)
    segmentation_loss(out, target).backward()
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, p in learned.items() if p.grad is None or not p.grad.abs().sum() > 0]
    # scSE and CBAM squeeze 16 channels through one ReLU unit, which can be silent from the start, and a projection of
    # zeros learns nothing.
    may_be_silent = (".cSE.", ".attention2.channel.fc")
    assert not [name for name in without if name != "project.weight" and not any(one in name for one in may_be_silent)]
    assert all(torch.isfinite(p.grad).all() for p in learned.values())


def test_sizes_are_those_of_the_stored_runs():
    runs = pd.read_csv(project_root() / "artifacts" / "runs.csv").drop_duplicates("model").set_index("model")
    networks = {name: build(model) for name, model in ZOO.items() if name in runs.index}
    assert len(networks) > 20
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert sizes == runs["params"][list(sizes)].to_dict()


def test_flops_of_one_convolution_by_hand():
    layer = torch.nn.Conv3d(2, 5, 3, padding=1, bias=False)
    layer.divisor = 1
    assert gflops(layer, 2, None) == pytest.approx(2 * 27 * 2 * 5 * 40 * 56 * 40 / 1e9)


def test_transformer_pads_to_its_own_size():
    torch.manual_seed(0)
    model = UNETR(1, 2, (16, 32, 16)).eval()
    x = torch.randn(1, 1, 12, 27, 16, generator=torch.Generator().manual_seed(6))
    padded = torch.zeros(1, 1, 16, 32, 16)
    padded[:, :, 2:14, 2:29] = x
    with torch.inference_mode():
        assert torch.equal(model(x), model.net(padded)[:, :, 2:14, 2:29])
    with pytest.raises(ValueError, match=r"\(24, 32, 16\) exceed \(16, 32, 16\)"):
        model(torch.zeros(1, 1, 24, 32, 16))


def test_atlas_of_one_training_label_gives_that_label_back():
    label = torch.zeros(8, 10, 6, dtype=torch.uint8)
    label[2:5, 3:6, 1:4] = 1
    label[5:7, 3:6, 1:4] = 2
    mean = atlas.mean_map([label.numpy()], MSD_HIPPOCAMPUS.n_classes, (8, 10, 6))
    assert (atlas.from_box(mean, (8, 10, 6)) == label.numpy()).all()
    # Twice the crop, twice the structure, away from the borders that interpolation blurs.
    doubled = atlas.from_box(mean, (16, 20, 12))[1::2, 1::2, 1::2]
    assert (doubled[3, 4, 2], doubled[6, 4, 2]) == (1, 2)
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


def test_absent_weights_are_no_error(monkeypatch):
    import huggingface_hub

    def unreachable(*args, **kwargs):
        assert kwargs["local_files_only"]  # tests set HIPPOSEG_OFFLINE
        raise ConnectionResetError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    assert imagenet_weights("tu-tf_mobilenetv3_small_100") is None
    assert with_imagenet("unet2d-mobilenetv3", "standard") == "unet2d-mobilenetv3"
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: "/somewhere/model.safetensors")
    assert with_imagenet("unet2d-mobilenetv3", "standard") == "unet2d-mobilenetv3+imagenet"


def test_damaged_imagenet_weights_are_named(tmp_path, monkeypatch):
    blob, link = tmp_path / sha256_bytes(b"weights"), tmp_path / "model.safetensors"
    blob.write_bytes(b"weights")
    link.symlink_to(blob)
    monkeypatch.setattr(encoders, "imagenet_weights", lambda encoder: link)
    assert encoders.imagenet_digest("any") == blob.name
    blob.write_bytes(b"weightz")
    with pytest.raises(ValueError, match=f"{blob.name}: found a damaged file, expected SHA-256 {blob.name}. Delete it"):
        encoders.imagenet_digest("any")
