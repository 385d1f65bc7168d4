"""Every model by name, and the one that `hipposeg predict` uses."""

from dataclasses import replace

from hipposeg.experiments.model import Model
from hipposeg.experiments.zoo2d import ZOO_2D
from hipposeg.experiments.zoo3d import VOLUME, ZOO_3D
from hipposeg.experiments.zoo_attention import ZOO_ATTENTION
from hipposeg.experiments.zoo_clip import ZOO_CLIP
from hipposeg.inference import Prep
from hipposeg.models.encoders import imagenet_weights

# Version of each model family's arithmetic: increase one when it changes, and keys of its earlier runs differ.
NUMERICS = {"atlas": 1, "unet": 1, "encoder": 1, "transformer": 1, "inr": 1, "attention": 1, "clip": 3, "guided": 2}

ATLAS = Model("atlas-no-image", "01", "atlas", 3, Prep(size=(36, 50, 36)))

# Ensembles of one 3D and three 2D networks, without and with test-time augmentation.
_MEMBERS = ("unet3d-short", *(f"unet2d-short-axis{axis}" for axis in range(3)))
FUSIONS = (
    Model("fusion", "04", "unet", 3, VOLUME, members=_MEMBERS),
    Model("fusion+views", "04", "unet", 3, replace(VOLUME, views=True), members=_MEMBERS),
)

MODELS: dict[str, Model] = {
    model.name: model for model in (ATLAS, *ZOO_2D, *ZOO_3D, *ZOO_ATTENTION, *ZOO_CLIP, *FUSIONS)
}

# Best single network on `dev`, chosen before it was evaluated on a test fold.
FLAGSHIP = "unet3d-fast"

# There are hundreds of runs. Scores are kept of all; masks only of the flagship's runs with these schedules, and of the
# first seed on fold 0 (or of all seeds) of the models below, whose masks studies need.
SERVING = ("standard", "smoke")
WITH_MASKS = (
    *("atlas-no-image", "unet2d", "unet2d-mobilenetv3", "unet2d-mobilenetv3+imagenet", "unet2d-fusion", "unet3d"),
    *("attention2d", "clip2d-guided", "clip2d-unguided"),
)
ALL_SEEDS = ("unet2d", "unet3d")


def with_imagenet(name: str, encoder: str, profile: str) -> str:
    """`<name>+imagenet` if the encoder's published weights exist, else `name`; as under `smoke` and `stored`."""
    return f"{name}+imagenet" if profile not in ("smoke", "stored") and imagenet_weights(encoder) else name
