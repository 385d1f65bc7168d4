"""Every arm of the series: which network, on which input, trained by which recipe. Chosen on `dev`, frozen here."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import nn

from hipposeg.engine.augment import Augmentation
from hipposeg.engine.train import TrainConfig
from hipposeg.inference import Prep
from hipposeg.models.encoders import EncoderUNet, imagenet_weights
from hipposeg.models.unet import UNet

# Version of each model family's arithmetic; raise one by hand when it changes, and its older runs are marked so.
NUMERICS = {"atlas": 1, "unet": 1, "encoder": 1}

MOBILENET = "tu-tf_mobilenetv3_small_100"

AUGMENTATION_2D = Augmentation(
    rotate=15, scale=0.15, shift=3, elastic=1.0, gain=0.25, offset=0.25, gamma=0.3, noise=0.15
)


@dataclass(frozen=True)
class Arm:
    """One row of the results.

    name: as in the tables. notebook: that trains it. family: key of NUMERICS. dims: 2 or 3. prep: the network's input.
    build: (input channels, classes) -> network with initial weights, None for the atlas. recipes: budget -> recipe.
    """

    name: str
    notebook: str
    family: str
    dims: int
    prep: Prep
    build: Callable[[int, int], nn.Module] | None = None
    recipes: dict[str, TrainConfig] = field(default_factory=dict)

    def recipe(self, budget: str) -> TrainConfig:
        """The training recipe of a budget. Raises KeyError naming the budgets there are."""
        if budget not in self.recipes:
            raise KeyError(f"arm {self.name} has no budget {budget!r}; it has {', '.join(self.recipes)}")
        return self.recipes[budget]


def _unet2d(channels: int, classes: int) -> nn.Module:
    return UNet(2, channels, classes, (16, 32, 64, 128))


def _mobilenet(channels: int, classes: int) -> nn.Module:
    return EncoderUNet(MOBILENET, channels, classes)


def _mobilenet_imagenet(channels: int, classes: int) -> nn.Module:
    return EncoderUNet(MOBILENET, channels, classes, weights=imagenet_weights(MOBILENET))


def _smoke(recipe: TrainConfig) -> TrainConfig:
    """The same recipe, a few steps long, with an average as short."""
    return replace(recipe, epochs=2, average=0.9)


_UNET2D = TrainConfig(epochs=12, batch=32, lr=3e-3, foreground_weight=2.0, augmentation=AUGMENTATION_2D)
_MOBILENET = TrainConfig(epochs=5, batch=32, lr=2e-3, foreground_weight=2.0, augmentation=AUGMENTATION_2D)
_SAGITTAL = Prep(size=(48, 64, 64), axis=0, neighbours=1)

_UNET2D_PREP = replace(_SAGITTAL, size=(48, 64, 48))
_UNET2D_RECIPES = {"standard": _UNET2D, "smoke": _smoke(_UNET2D)}
_MOBILENET_RECIPES = {"standard": _MOBILENET, "smoke": _smoke(_MOBILENET)}

_ALL = (
    Arm("atlas-no-image", "01", "atlas", 3, Prep(size=(36, 50, 36))),
    Arm("unet2d", "03", "unet", 2, _UNET2D_PREP, _unet2d, _UNET2D_RECIPES),
    Arm("unet2d+n4", "03", "unet", 2, replace(_UNET2D_PREP, n4=True), _unet2d, _UNET2D_RECIPES),
    Arm("unet2d-mobilenetv3", "03", "encoder", 2, _SAGITTAL, _mobilenet, _MOBILENET_RECIPES),
    Arm("unet2d-mobilenetv3+imagenet", "03", "encoder", 2, _SAGITTAL, _mobilenet_imagenet, _MOBILENET_RECIPES),
)

# The arm that the project would hand to a user: the one ahead on `dev`, chosen before any scored fold was run.
FLAGSHIP = "unet2d"

ARMS: dict[str, Arm] = {arm.name: arm for arm in _ALL}


def with_imagenet(name: str, encoder: str, profile: str) -> str:
    """`<name>+imagenet` if the encoder's published weights can be had, else `name`. The smoke profile never looks."""
    return f"{name}+imagenet" if profile != "smoke" and imagenet_weights(encoder) else name
