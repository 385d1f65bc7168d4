"""Every model of the series by name, and the one that is handed to users."""

from dataclasses import replace

from hipposeg.experiments.model import Model
from hipposeg.experiments.zoo2d import ZOO_2D
from hipposeg.experiments.zoo3d import VOLUME, ZOO_3D
from hipposeg.experiments.zoo_attention import ZOO_ATTENTION
from hipposeg.experiments.zoo_clip import ZOO_CLIP
from hipposeg.inference import Prep
from hipposeg.models.encoders import imagenet_weights

# Version of each model family's arithmetic; raise one by hand when it changes, and its older runs are marked so.
NUMERICS = {"atlas": 1, "unet": 1, "encoder": 1, "transformer": 1, "inr": 1, "attention": 1, "clip": 3, "guided": 2}

ATLAS = Model("atlas-no-image", "01", "atlas", 3, Prep(size=(36, 50, 36)))

# Volume and slices together: their mean probability, asked once or from eight sides.
_MEMBERS = ("unet3d-short", *(f"unet2d-short-axis{axis}" for axis in range(3)))
FUSIONS = (
    Model("fusion", "04", "unet", 3, VOLUME, members=_MEMBERS),
    Model("fusion+views", "04", "unet", 3, replace(VOLUME, views=True), members=_MEMBERS),
)

MODELS: dict[str, Model] = {
    model.name: model for model in (ATLAS, *ZOO_2D, *ZOO_3D, *ZOO_ATTENTION, *ZOO_CLIP, *FUSIONS)
}

# The model that the project would hand to a user: the single network ahead on `dev`, chosen before a scored fold was run
# with it.
FLAGSHIP = "unet3d-fast"

# Schedules of the flagship whose masks are kept, for studies and for the predictor.
SERVING = ("standard", "smoke")

# Under `full`, with its many seeds and folds, masks are committed of all runs of the flagship, and of these models' first
# seed on fold 0 at the standard schedule, or of all seeds where studies look into them; scores are committed of every
# run.
WITH_MASKS = (
    *("atlas-no-image", "unet2d", "unet2d-mobilenetv3", "unet2d-mobilenetv3+imagenet", "unet2d-fusion", "unet3d"),
    *("attention2d", "clip2d-guided", "clip2d-unguided"),
)
ALL_SEEDS = ("unet2d", "unet3d")


def with_imagenet(name: str, encoder: str, profile: str) -> str:
    """`<name>+imagenet` if the encoder's published weights can be had, else `name`. The smoke profile never looks."""
    return f"{name}+imagenet" if profile != "smoke" and imagenet_weights(encoder) else name
