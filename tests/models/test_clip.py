"""CLIP's towers and the U-Net that they guide: what is frozen stays, what guides has the geometry that is claimed."""

import hashlib
import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hipposeg.data import captions
from hipposeg.models import clip, guided, published
from hipposeg.models.guided import GRAM, LEARNED, NONE, ROTATED, TOWER, UNTRAINED, ZEROED, GuidedUNet
from hipposeg.models.unet import UNet
from hipposeg.training.batches import Samples
from hipposeg.training.loop import TrainConfig, Training, fit
from hipposeg.training.machine import Machine

MACHINE = Machine("cpu", "fp32", 1)
PROMPTS = [("no hippocampus", "background"), ("the head",), ("the tail", "a body")]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(**parts):
    torch.manual_seed(0)
    return GuidedUNet(2, 3, 3, (4, 8), embed=16, **parts)


@pytest.fixture(scope="module")
def guide():
    torch.manual_seed(1)
    return clip.hippoclip(3, 3, embed=16).eval()


def slices(count=4, side=40, seed=2):
    return torch.randn(count, 3, side, side, generator=generator(seed))


def digest(module):
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in module.state_dict().values())).hexdigest()


# The towers


def test_features_have_length_one_and_are_the_mean_of_the_patches(guide):
    with torch.inference_mode():
        features, patches = guide.tower(slices()), guide.tower.patches(slices())
    assert features.shape == (4, 16) and patches.shape == (4, 16, 8, 8)
    assert torch.allclose(features.norm(dim=1), torch.ones(4)) and torch.allclose(
        patches.norm(dim=1), torch.ones(4, 8, 8)
    )
    whole = guide.tower.visual.forward_intermediates(slices(), indices=1, normalize_intermediates=True)
    mean = torch.einsum("bchw,cd->bd", whole["image_intermediates"][-1], guide.tower.visual.proj) / 64
    assert torch.allclose(normalize(mean, dim=1), features, atol=1e-5)


def test_no_two_words_of_captions_and_prompts_share_a_row(guide):
    from open_clip import SimpleTokenizer

    said = [*captions.OPENINGS, *captions.ALONE, *captions.TOGETHER, *captions.NOTHING, *captions.PLACES]
    said += [*captions.AREAS, *captions.SIZED, *captions.SIZES, "0 1 2 3 4 5 6 7 8 9"]
    said += [text for ways in (captions.ENDS, captions.CALLED) for of in ways.values() for text in of]
    said += [text for of in captions.SETS.values() for one in of.values() for text in one]
    words = torch.tensor(sorted({token for text in said for token in SimpleTokenizer().encode(text)}))
    rows = clip.folded(words)
    assert len(words) > 80 and len(rows.unique()) == len(words) and 0 < rows.min() and rows.max() < clip.VOCABULARY - 1
    longest = captions.Facts(100, ("anterior", "posterior"), 1000, "medium")
    guide.tokens([captions.caption(longest, np.random.default_rng(seed)) for seed in range(300)])  # none is cut
    with pytest.raises(ValueError, match="more than the 63 tokens"):
        guide.tokens(["head " * 70])
    found = guide.tokens(["a head", "the tail of it"])
    assert (found.argmax(1) == torch.tensor([3, 5])).all() and found[0, 3] == clip.VOCABULARY - 1 and found[0, 4] == 0


# Published weights


def stored(path, vision):
    """A very small model in open_clip's own layout, a configuration and a checkpoint: (path, configuration, model)."""
    import open_clip

    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(3)
    model = open_clip.model.CLIP(**config)
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.save(model.state_dict(), path / "open_clip_pytorch_model.bin")
    return path, config, model.eval()


SMALL_VIT = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}


@pytest.fixture
def folder(tmp_path):
    return stored(tmp_path, SMALL_VIT)


def test_a_checkpoint_given_by_path_is_loaded_by_open_clip(folder, monkeypatch):
    import open_clip

    path, config, model = folder
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
    monkeypatch.setenv(published.VARIABLE, str(path / "open_clip_pytorch_model.bin"))
    found = published.published_clip("tiny", 3, 3).eval()
    assert "tiny" in found.source and published.digest(path / "open_clip_pytorch_model.bin")[:16] in found.source
    assert str(path) not in found.source, "no path of this machine"
    photograph = torch.rand(2, 3, 32, 32, generator=generator(4))
    with torch.inference_mode():
        assert torch.equal(found.tower.visual(photograph), model.encode_image(photograph))
        texts = open_clip.SimpleTokenizer()(["a head", "a tail"])
        assert torch.equal(found.read(["a head", "a tail"]), model.encode_text(texts, normalize=True))
        assert found(slices()).shape == (4, 3, 40, 40)


def test_a_folder_with_its_own_configuration_is_loaded_too(folder, monkeypatch):
    path, _, model = folder
    monkeypatch.setenv(published.VARIABLE, str(path))
    found = published.published_clip("ViT-B-32", 3, 3)
    assert torch.equal(found.tower.visual.conv1.weight, model.visual.conv1.weight)
    assert found.source == f"the folder's own model, {path.name}, SHA-256 {published.digest(path)[:16]}"
    before = published.digest(path)
    (path / "open_clip_pytorch_model.bin").write_bytes(b"other")
    assert published.digest(path) != before
    with pytest.raises(ValueError, match="cannot serve as the folder's own model; .* VisionTransformer"):
        published.published_clip("ViT-B-32", 3, 3)


def test_a_model_whose_patches_are_not_in_the_shared_space_is_refused(tmp_path, monkeypatch):
    stored(tmp_path, {"image_size": 160, "timm_model_name": "test_vit"})
    monkeypatch.setenv(published.VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="cannot serve as .*: a TimmModel does not project its patches"):
        published.published_clip("ViT-B-32", 3, 3)


def test_a_published_tower_gets_the_middle_slice_as_grey_photograph(folder, monkeypatch):
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    monkeypatch.setenv(published.VARIABLE, str(folder[0]))
    tower = published.published_clip("ViT-B-32", 3, 3).tower
    images = torch.zeros(1, 3, 40, 40)
    images[:, 1] = 1.0  # neighbours are left out; 1 is half of the way from -2 to 4
    found = tower.prepared(images)
    expected = (0.5 - torch.tensor(OPENAI_DATASET_MEAN)) / torch.tensor(OPENAI_DATASET_STD)
    assert found.shape == (1, 3, 32, 32) and torch.allclose(found[0, :, 5, 5], expected)


def test_absent_weights_are_said_with_what_to_do(monkeypatch, tmp_path):
    import huggingface_hub

    def absent(*args, local_files_only, **kwargs):
        assert local_files_only, "nothing is downloaded"
        raise FileNotFoundError("not in the cache")

    monkeypatch.delenv(published.VARIABLE, raising=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    with pytest.raises(
        FileNotFoundError, match="no weights of open_clip's ViT-B-32 in the local cache; set HIPPOSEG_CLIP"
    ):
        published.published("ViT-B-32")
    monkeypatch.setenv(published.VARIABLE, str(tmp_path / "gone.bin"))
    with pytest.raises(FileNotFoundError, match="gone.bin is not there; .* whose visual tower is a VisionTransformer"):
        published.published("ViT-B-32")
    monkeypatch.setenv(published.VARIABLE, "")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, file, **_: tmp_path / repo / file)
    assert (
        "laion" in str(published.checkpoint("ViT-B-32")) and published.checkpoint("ViT-B-32").suffix == ".safetensors"
    )


# The guided network


def test_frozen_means_frozen_and_the_rest_learns(guide, tmp_path):
    model = made()
    model.adopt(guide, lambda kind: PROMPTS, generator())
    assert digest(model.tower) == digest(guide.tower)
    before, classes, first = (
        digest(model.tower),
        model.classes.clone(),
        {n: p.clone() for n, p in model.named_parameters()},
    )
    labels = (slices(8).mean(1) > 0).to(torch.uint8)
    data = Samples(slices(8), labels, 3, (1.0, 1.0), model.context(slices(8)))
    config = TrainConfig(epochs=2, batch=4, lr=1e-2, muon=0.02, average=0.5)
    network, history, _ = fit(Training(model, config, MACHINE, 0), data, tmp_path, "k")
    assert digest(network.tower) == before == digest(guide.tower), "the frozen tower, byte for byte"
    assert torch.equal(network.classes, classes)
    for name in ("project.weight", "fuse.0.weight", "embedding.weight", "log_scale", "stem.layers.0.weight"):
        assert not torch.equal(dict(network.named_parameters())[name], first[name]), name
    assert len({guided.FIRST_SCALE, *(line["scale"] for line in history)}) == 3, "a course, noted epoch by epoch"


def test_the_twin_starts_from_the_same_weights_and_is_the_plain_network():
    torch.manual_seed(0)
    plain = UNet(2, 3, 3, (4, 8)).state_dict()
    shared = {name: value for name, value in made().state_dict().items() if name in plain}
    assert set(plain) - set(shared) == {"head.weight", "head.bias"}
    assert all(torch.equal(plain[name], value) for name, value in shared.items())
    neither = made(vectors=NONE, image=NONE)
    twin = UNet(2, 3, 3, (4, 8))
    twin.load_state_dict(plain)
    assert neither.state_dict().keys() == plain.keys() and torch.equal(neither.eval()(slices()), twin.eval()(slices()))


def test_logits_are_scaled_cosines(guide):
    model = made(scale=1.0).eval()
    model.adopt(guide, lambda kind: PROMPTS, generator())
    assert "log_scale" not in dict(model.named_parameters()) and model.scale == 1
    with torch.inference_mode():
        pixels = normalize(model.embedding(model.features(slices())), dim=1)
        expected = (pixels[:, None] * model.classes[None, :, :, None, None]).sum(2)
        assert torch.allclose(model(slices()), expected, atol=1e-5) and model(slices()).abs().max() <= 1
        learned = made().eval()
        assert learned.scale == pytest.approx(1 / 0.07)
        assert torch.allclose(learned(slices()), learned.scale * learned.similarity(slices()))


def test_context_given_is_context_computed(guide):
    model = made().eval()
    model.adopt(guide, lambda kind: PROMPTS, generator())
    with torch.inference_mode():
        known = model.context(slices())
        assert torch.equal(known, guide.tower(slices()))
        assert torch.equal(model(slices(), known), model(slices()))
        assert not torch.allclose(model(slices(), known.roll(1, 0)), model(slices())), "and it is read"
        zeroed = made(image=ZEROED).eval()
        assert torch.equal(zeroed(slices()), zeroed(slices(), torch.zeros(4, 16)))
        assert not hasattr(zeroed, "tower") and not zeroed.wants_context


def test_parts_take_over_what_they_say(guide):
    untrained = made(image=UNTRAINED)
    own = digest(untrained.tower)
    untrained.adopt(guide, lambda kind: PROMPTS, generator())
    assert digest(untrained.tower) == own != digest(guide.tower) and untrained.source == guide.source
    assert torch.equal(untrained.classes, guide.vectors(PROMPTS)), "text stays that of the trained CLIP"
    learned = made(vectors=LEARNED)
    learned.adopt(guide, lambda kind: pytest.fail("no text is read"), generator())
    assert torch.equal(learned.classes, torch.eye(3, 16)) and learned.classes.requires_grad
    torch.manual_seed(0)
    control = clip.attribute_tower(3, 3, embed=16)
    learned.adopt(control, lambda kind: pytest.fail("no text is read"), generator())
    assert digest(learned.tower) == digest(control.tower)


@pytest.mark.parametrize("kind", [GRAM, ROTATED])
def test_controls_keep_the_angles_and_lose_the_directions(guide, kind):
    text = guide.vectors(PROMPTS)
    model, other = made(vectors=kind), made(vectors=kind)
    model.adopt(guide, lambda _: PROMPTS, generator(1))
    other.adopt(guide, lambda _: PROMPTS, generator(2))
    assert torch.allclose(model.classes @ model.classes.T, text @ text.T, atol=1e-5)
    assert not torch.allclose(model.classes, text, atol=0.1) and not torch.allclose(
        model.classes, other.classes, atol=0.1
    )


def test_three_dimensions_have_a_guided_head_and_no_tower():
    torch.manual_seed(0)
    model = GuidedUNet(3, 1, 3, (4, 8), image=NONE, embed=16).eval()
    volume = torch.randn(1, 1, 8, 6, 4, generator=generator(6))
    assert model(volume).shape == (1, 3, 8, 6, 4) and not any(name.startswith("tower") for name in model.state_dict())
    with pytest.raises(ValueError, match="image is 'tower' in 3D"):
        GuidedUNet(3, 1, 3, (4, 8))
    with pytest.raises(ValueError, match="no parts are called vectors='words'"):
        made(vectors="words", image=TOWER)
