"""Every arm of the series: which network, on which input, trained by which recipe. Chosen on `dev`, frozen here."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from hipposeg.engine.augment import Augmentation
from hipposeg.engine.rules import StopRule
from hipposeg.engine.train import TrainConfig
from hipposeg.inference import Prep
from hipposeg.models.encoders import EncoderUNet, imagenet_weights
from hipposeg.models.inr import HEADS, INRUNet
from hipposeg.models.transformer import UNETR
from hipposeg.models.unet import UNet

# Version of each model family's arithmetic; raise one by hand when it changes, and its older runs are marked so.
NUMERICS = {"atlas": 1, "unet": 1, "encoder": 1, "transformer": 1, "inr": 1}

MOBILENET = "tu-tf_mobilenetv3_small_100"

AUGMENTATION_2D = Augmentation(
    rotate=15, scale=0.15, shift=3, elastic=1.0, gain=0.25, offset=0.25, gamma=0.3, noise=0.15
)

# Whole volumes are changed less than slices: the stronger changes did worse on `dev`.
AUGMENTATION_3D = Augmentation(rotate=10, scale=0.1, shift=2, elastic=0.7, gain=0.25, offset=0.25, gamma=0.3, noise=0.1)


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

    @property
    def network(self) -> str:
        """The network's class and options, as text for the run's key."""
        if not isinstance(self.build, partial):
            return f"{self.build.__module__}.{self.build.__name__}" if self.build else ""
        options = [*map(repr, self.build.args), *(f"{name}={value!r}" for name, value in self.build.keywords.items())]
        return f"{self.build.func.__module__}.{self.build.func.__name__}({', '.join(options)})"

    def recipe(self, budget: str) -> TrainConfig:
        """The training recipe of a budget. Raises KeyError naming the budgets there are."""
        if budget not in self.recipes:
            raise KeyError(f"arm {self.name} has no budget {budget!r}; it has {', '.join(self.recipes)}")
        return self.recipes[budget]


_unet2d = partial(UNet, 2, channels=(16, 32, 64, 128))
_mobilenet = partial(EncoderUNet, MOBILENET)


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

# Nearly every box fits into this one, nnU-Net's own patch for these data; the few larger ones lose a voxel or three of
# background at each end.
_VOLUME = Prep(size=(40, 56, 40))
# Every 3D arm is trained for this number of steps, so that networks are compared and not schedules.
_UNET3D = TrainConfig(
    epochs=12, batch=2, lr=3e-3, muon=0.02, weight_decay=0.1, foreground_weight=2.0, augmentation=AUGMENTATION_3D,
    watch_every=4,
)  # fmt: skip
# The flagship alone trains longer, and is asked from eight sides.
_FAST = replace(_UNET3D, epochs=24, watch_every=6)

_UNET3D_RECIPES = {
    "standard": _UNET3D,
    "smoke": _smoke(_UNET3D),
    "patience": replace(_UNET3D, stop=StopRule(patience=3)),
    "reach": replace(_UNET3D, stop=StopRule(reach=0.7)),
}


def _recipes(recipe: TrainConfig) -> dict[str, TrainConfig]:
    return {"standard": recipe, "smoke": _smoke(recipe)}


def _volumes(name: str, recipe: TrainConfig = _UNET3D, **options: object) -> Arm:
    return Arm(name, "04", "unet", 3, _VOLUME, partial(UNet, 3, **options), _recipes(recipe))


# The INR study: 2 mm voxels in a box that holds every volume, the same recipe and steps. The augmentation is the same
# in mm: what is given in voxels is halved.
_VOLUME_2MM = Prep(size=(24, 32, 24), spacing=(2.0, 2.0, 2.0))
_INR = replace(_UNET3D, weight_decay=0.01)  # more would shrink the frequencies that a SIREN starts with
_INR_2MM = replace(
    _INR,
    augmentation=replace(
        _INR.augmentation,
        shift=_INR.augmentation.shift / 2,
        elastic=_INR.augmentation.elastic / 2,
        knots=_INR.augmentation.knots // 2,
    ),
)


def _inr(name: str, head: str, prep: Prep = _VOLUME_2MM, recipe: TrainConfig = _INR_2MM) -> Arm:
    return Arm(name, "04", "inr", 3, prep, partial(INRUNet, head, spacing=prep.spacing), _recipes(recipe))


_ALL = (
    Arm("atlas-no-image", "01", "atlas", 3, Prep(size=(36, 50, 36))),
    Arm("unet2d", "03", "unet", 2, _UNET2D_PREP, _unet2d, _UNET2D_RECIPES),
    Arm("unet2d+n4", "03", "unet", 2, replace(_UNET2D_PREP, n4=True), _unet2d, _UNET2D_RECIPES),
    Arm("unet2d-mobilenetv3", "03", "encoder", 2, _SAGITTAL, _mobilenet, _MOBILENET_RECIPES),
    Arm("unet2d-mobilenetv3+imagenet", "03", "encoder", 2, _SAGITTAL, _mobilenet_imagenet, _MOBILENET_RECIPES),
    Arm("unet3d", "04", "unet", 3, _VOLUME, partial(UNet, 3), _UNET3D_RECIPES),
    Arm("unet3d-fast", "04", "unet", 3, replace(_VOLUME, views=True), partial(UNet, 3), _recipes(_FAST)),
    _volumes("unet3d+flip", replace(_UNET3D, augmentation=replace(AUGMENTATION_3D, flip=0.5))),
    _volumes("unet3d+focal", replace(_UNET3D, loss="dice+focal")),
    _volumes("unet3d+adamw", replace(_UNET3D, muon=0.0, weight_decay=0.01)),
    _volumes("unet3d-residual", residual=True),
    _volumes("unet3d-nnunet-light", channels=(16, 32, 64), supervised=1),
    _volumes("unet3d-nnunet", supervised=2),
    _volumes("unet3d-nnunet-performance", channels=(32, 64, 128, 256), supervised=2),
    Arm("unet3d-transformer", "04", "transformer", 3, _VOLUME, UNETR, _recipes(_UNET3D)),
    *(_inr(f"unet3d-inr-{head}", head) for head in HEADS),
    _inr("unet3d-inr-1mm", "conv", _VOLUME, _INR),  # the twin that was trained on the files' own voxels
)

# The arm that the project would hand to a user: the one ahead on `dev`, chosen before any scored fold was run.
FLAGSHIP = "unet3d-fast"

ARMS: dict[str, Arm] = {arm.name: arm for arm in _ALL}


def with_imagenet(name: str, encoder: str, profile: str) -> str:
    """`<name>+imagenet` if the encoder's published weights can be had, else `name`. The smoke profile never looks."""
    return f"{name}+imagenet" if profile != "smoke" and imagenet_weights(encoder) else name
