"""The slice models of notebook 03, and their recipes. Chosen on `dev`, frozen here.

Most models change one thing of the reference `unet2d`; those on ready-made encoders have a recipe of their own. The models
`recipe-*` follow three published student projects in loss, augmentation, optimiser and schedule, on this project's
slices, boxes and folds and for this project's minutes; notebook 03 says what else differs.
"""

from dataclasses import replace
from functools import partial

from torch import nn

from hipposeg.experiments.model import Model, Schedules, schedules
from hipposeg.inference import Prep
from hipposeg.models.encoders import EncoderUNet, imagenet_weights
from hipposeg.models.inr import INRUNet
from hipposeg.models.unet import UNet
from hipposeg.training.augmentation import Augmentation
from hipposeg.training.classic import Classic
from hipposeg.training.loop import TrainConfig

MOBILENET = "tu-tf_mobilenetv3_small_100"
EFFICIENTNET = "tu-efficientnet_b0"

AUGMENTATION_2D = Augmentation(
    rotate=15, scale=0.15, shift=3, elastic=1.0, gain=0.25, offset=0.25, gamma=0.3, noise=0.15
)

UNET2D = TrainConfig(
    epochs=12, batch=32, lr=3e-3, muon=0.02, weight_decay=0.1, foreground_weight=2.0, augmentation=AUGMENTATION_2D,
    watch_every=4,
)  # fmt: skip
_ENCODER = TrainConfig(epochs=7, batch=32, lr=2e-3, foreground_weight=2.0, augmentation=AUGMENTATION_2D, watch_every=3)
_EFFICIENTNET = replace(_ENCODER, epochs=4)

# The box of the 3D models: a few boxes lose a voxel or three of background at each end. Slices across axis 1, along which
# the hippocampus runs, were ahead of both others in pilots on `dev`, one seed each.
SLICES = Prep(size=(40, 56, 40), axis=1, neighbours=1)
# Ready-made encoders halve the slice in each stage. Four of their five are used: the fifth would see two pixels.
ENCODER_SLICES = replace(SLICES, size=(48, 56, 48))
_STAGES = (64, 32, 16, 16)


def _schedules(recipe: TrainConfig) -> Schedules:
    """The main models' schedule, and the short one, S, of a series that has many: a third, but at least two epochs.

    Budgets are minutes: an encoder's epoch takes longer than the plain network's, so it has fewer.
    """
    return schedules(recipe, S=replace(recipe, epochs=max(2, round(recipe.epochs / 3))))


def _slices(name: str, recipe: TrainConfig = UNET2D, prep: Prep = SLICES, **options: object) -> Model:
    network = partial(UNet, 2, **{"channels": (16, 32, 64, 128), **options})
    return Model(name, "03", "unet", 2, prep, network, _schedules(recipe))


def _encoder(name: str, encoder: str, recipe: TrainConfig = _ENCODER, imagenet: bool = False) -> Model:
    build = partial(_with_imagenet if imagenet else EncoderUNet, encoder, decoder=_STAGES)
    start = encoder if imagenet else ""
    return Model(name, "03", "encoder", 2, ENCODER_SLICES, build, _schedules(recipe), imagenet=start)


def _with_imagenet(encoder: str, channels: int, classes: int, decoder: tuple[int, ...]) -> nn.Module:
    return EncoderUNet(encoder, channels, classes, weights=imagenet_weights(encoder), decoder=decoder)


def _inr(width: int) -> Model:
    """A coordinate head with so many sines in a layer; 0 is the plain head, under the recipe of the others."""
    network = partial(INRUNet, "siren-xyz" if width else "conv", spacing=(1.0, 1.0), width=width)
    recipe = replace(UNET2D, weight_decay=0.01)  # more would shrink the frequencies that a SIREN starts with
    return Model(f"unet2d-inr{width}", "03", "inr", 2, SLICES, network, _schedules(recipe))


def _fused(name: str, *members: str, views: bool = False) -> Model:
    return Model(name, "03", "unet", 2, replace(SLICES, views=views), members=members)


_SIREN_UNET = partial(INRUNet, "siren-xyz", channels=(24, 48, 96, 192), spacing=(1.0, 1.0), width=48)

# Members of a fusion with a volume network that is meant to be fast: the first three quarters of a schedule.
_SHORT = replace(UNET2D, epochs=6, horizon=4 / 3, foreground_weight=1.0, watch_every=3)

# Mirror images swap the sides of a slice that the body's middle plane would be mirrored in.
_CLASSIC = {
    "none": Classic(),
    "flip": Classic(flip=0.5),
    "rotation": Classic(flip=0.5, rotate=15),
    "noise": Classic(flip=0.5, rotate=15, noise=0.1),
}
# Shares of empty slices in an epoch; the reference draws them as they come.
_EMPTY = {"empty0": 0.0, "empty50": 0.5}
# The reference is Dice and weighted cross-entropy; in the others cross-entropy is unweighted.
_LOSSES = {"dice": "dice", "ce": "ce", "unweighted": "dice+ce", "dice-ce-70-30": "0.7dice+0.3ce",
           "focal": "dice+focal", "bce": "dice+bce"}  # fmt: skip

# A: heavily weighted cross-entropy, Dice, slices with hippocampus drawn more often, flips, small rotations, cosine.
_RECIPE_A = TrainConfig(
    epochs=7, batch=32, lr=1e-3, weight_decay=1e-4, average=0.0, foreground_weight=36.0, schedule="cosine", empty=0.1,
    augmentation=Classic(flip=0.5, rotate=10),
)  # fmt: skip
# B: Dice and focal loss, AdamW at a small rate with restarts, slices changed in one way or not at all.
_RECIPE_B = TrainConfig(
    epochs=6, batch=32, lr=1e-4, weight_decay=1e-5, average=0.0, loss="dice+focal", schedule="restarts",
    augmentation=Classic(flip=0.1, rotate=7, scale=(0.95, 1.05), shift=0.04, apart=0.25),
)  # fmt: skip
# D: Dice and binary cross-entropy, Adam (without decay AdamW is Adam), a rate that falls on a plateau.
_RECIPE_D = TrainConfig(
    epochs=4, batch=32, lr=1e-3, weight_decay=0.0, average=0.0, loss="dice+bce", schedule="plateau",
    augmentation=Classic(flip=0.5, rotate=5, scale=(1.0, 1.05)),
)  # fmt: skip

# Project A's search: what a cell is called -> where it stands in the grid.
_RATES, _BATCHES, _DECAYS = (3e-4, 1e-3, 3e-3), (16, 64), (1e-4, 1e-1)
SEARCH_GRID = {
    f"search-lr{rate:g}-b{batch}-wd{decay:g}": {"lr": rate, "batch": batch, "weight_decay": decay}
    for rate in _RATES
    for batch in _BATCHES
    for decay in _DECAYS
}
# Project B's: without a coordinate head, or with one of so many hidden units.
HEAD_GRID = {f"unet2d-inr{width}": {"head": f"{width} sines" if width else "plain"} for width in (0, 32, 48, 64)}

_PLANES = ("unet2d", "unet2d-axis0", "unet2d-axis2")

ZOO_2D = (
    _slices("unet2d"),
    _slices("unet2d+n4", prep=replace(SLICES, n4=True)),
    _slices("unet2d-axis0", prep=replace(SLICES, axis=0)),
    _slices("unet2d-axis2", prep=replace(SLICES, axis=2)),
    _fused("unet2d+views", "unet2d", views=True),
    _fused("unet2d-fusion", *_PLANES),
    _fused("unet2d-fusion+views", *_PLANES, views=True),
    *(_slices(f"unet2d-short-axis{axis}", _SHORT, prep=replace(SLICES, axis=axis)) for axis in range(3)),
    _slices("unet2d-1slice", prep=replace(SLICES, neighbours=0)),
    _slices("unet2d-5slices", prep=replace(SLICES, neighbours=2)),
    _slices("unet2d-batchnorm", batch_norm=True),
    *(_inr(width) for width in (0, 32, 48, 64)),
    _encoder("unet2d-mobilenetv3", MOBILENET),
    _encoder("unet2d-mobilenetv3+imagenet", MOBILENET, imagenet=True),
    _encoder("unet2d-efficientnetb0", EFFICIENTNET, _EFFICIENTNET),
    _encoder("unet2d-efficientnetb0+imagenet", EFFICIENTNET, _EFFICIENTNET, imagenet=True),
    *(_slices(f"unet2d+{name}", replace(UNET2D, empty=share)) for name, share in _EMPTY.items()),
    *(_slices(f"unet2d+aug-{name}", replace(UNET2D, augmentation=changes)) for name, changes in _CLASSIC.items()),
    *(_slices(f"unet2d+{name}", replace(UNET2D, loss=loss, foreground_weight=1.0)) for name, loss in _LOSSES.items()),
    *(_encoder(name, MOBILENET, replace(_ENCODER, **cell)) for name, cell in SEARCH_GRID.items()),
    _encoder("recipe-a", MOBILENET, _RECIPE_A),
    Model("recipe-b", "03", "inr", 2, SLICES, _SIREN_UNET, _schedules(_RECIPE_B)),
    _encoder("recipe-d", EFFICIENTNET, _RECIPE_D),
)
