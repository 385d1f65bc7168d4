"""Models on volumes (notebooks 04 and 05), one line a variant. Configurations were chosen on `dev` and are frozen."""

from dataclasses import replace
from functools import partial

from hipposeg.experiments.model import Model, schedules
from hipposeg.inference import Prep
from hipposeg.models.attention import AttentionUNet
from hipposeg.models.inr import HEADS, INRUNet
from hipposeg.models.transformer import UNETR
from hipposeg.models.unet import UNet
from hipposeg.training.augmentation import Augmentation
from hipposeg.training.loop import TrainConfig
from hipposeg.training.schedule import StopRule

# Weaker than in 2D: stronger augmentation was worse on `dev`.
AUGMENTATION_3D = Augmentation(rotate=10, scale=0.1, shift=2, elastic=0.7, gain=0.25, offset=0.25, gamma=0.3, noise=0.1)

# nnU-Net's patch size for these data; the few larger crops lose a voxel or three of background at each end.
VOLUME = Prep(size=(40, 56, 40))
# Every model that is compared with `unet3d` trains for this number of steps.
UNET3D = TrainConfig(
    epochs=12, batch=2, lr=3e-3, muon=0.02, weight_decay=0.1, foreground_weight=2.0, augmentation=AUGMENTATION_3D,
    watch_every=4,
)  # fmt: skip
# The flagship's schedule is cut off after two thirds: on `dev` the last third lowered the loss and not the error. With
# class weight 1 instead of 2, predicted volumes are less too large.
_FAST = replace(UNET3D, epochs=16, horizon=1.5, foreground_weight=1.0, watch_every=8)
# How few steps are enough: the same schedule in fewer epochs ("e3" ...; "e16" is as long as "standard", in the
# precision of the others), and once with the rate lowered all the way instead of by two thirds.
EPOCHS = (3, 5, 8, 12, 16)
_WHOLE = replace(_FAST, epochs=8, horizon=1.0, watch_every=8)
# An earlier flagship: the whole schedule, class weight 2.
_LONG = replace(UNET3D, epochs=24, watch_every=6)

_STOPPING = {
    "patience": replace(UNET3D, stop=StopRule(patience=3)),
    "reach": replace(UNET3D, stop=StopRule(reach=0.7)),
}


def _volumes(name: str, config: TrainConfig = UNET3D, **options: object) -> Model:
    return Model(name, "04", "unet", 3, VOLUME, partial(UNet, 3, **options), schedules(config))


def _gated(name: str, **options: object) -> Model:
    return Model(name, "05", "attention", 3, VOLUME, partial(AttentionUNet, 3, **options), schedules(UNET3D))


# Coordinate heads: 2 mm voxels in a grid that holds every crop, the same configuration and steps. The augmentation is
# the same in mm, so ranges in voxels are halved.
_VOLUME_2MM = Prep(size=(24, 32, 24), spacing=(2.0, 2.0, 2.0))
_INR = replace(UNET3D, weight_decay=0.01)  # more would shrink a SIREN's initial frequencies
_INR_2MM = replace(
    _INR,
    augmentation=replace(
        _INR.augmentation,
        shift=_INR.augmentation.shift / 2,
        elastic=_INR.augmentation.elastic / 2,
        knots=_INR.augmentation.knots // 2,
    ),
)


def _inr(name: str, head: str, prep: Prep = _VOLUME_2MM, config: TrainConfig = _INR_2MM) -> Model:
    return Model(name, "04", "inr", 3, prep, partial(INRUNet, head, spacing=prep.spacing), schedules(config))


ZOO_3D = (
    Model("unet3d", "04", "unet", 3, VOLUME, partial(UNet, 3), schedules(UNET3D, **_STOPPING)),
    Model("unet3d-fast", "04", "unet", 3, replace(VOLUME, views=True), partial(UNet, 3), schedules(_FAST, a8=_WHOLE)),
    Model("unet3d-long", "04", "unet", 3, replace(VOLUME, views=True), partial(UNet, 3), schedules(_LONG)),
    _volumes("unet3d-short", _FAST),
    _volumes("unet3d+flip", replace(UNET3D, augmentation=replace(AUGMENTATION_3D, flip=0.5))),
    _volumes("unet3d+focal", replace(UNET3D, loss="dice+focal")),
    _volumes("unet3d+adamw", replace(UNET3D, muon=0.0, weight_decay=0.01)),
    _volumes("unet3d+dropout", dropout=0.2),
    _volumes("unet3d-residual", residual=True),
    _volumes("unet3d-nnunet-light", channels=(16, 32, 64), supervised=1),
    _volumes("unet3d-nnunet", supervised=2),
    _volumes("unet3d-nnunet-performance", channels=(32, 64, 128, 256), supervised=2),
    Model("unet3d-transformer", "04", "transformer", 3, VOLUME, UNETR, schedules(UNET3D)),
    *(_inr(f"unet3d-inr-{head}", head) for head in HEADS),
    _inr("unet3d-inr-1mm", "conv", VOLUME, _INR),  # control at 1 mm
    _inr("unet3d-inr", "siren-xyz", VOLUME, _INR),  # SIREN head at 1 mm
    _gated("attention3d"),
    _gated("attention3d-constant", spatial=False),  # control: gates with one weight for the whole volume
)
