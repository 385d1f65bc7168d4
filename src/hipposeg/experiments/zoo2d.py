"""Models on slices (notebooks 03 and 05), one line a variant. Configurations were chosen on `dev` and are frozen.

Most models change one thing of the baseline `unet2d`; those with ready-made encoders have their own configuration. The
models `recipe-*` follow three published student projects in loss, augmentation, optimiser and schedule, on this
project's slices, crops and folds and for its training time; appendix A1 lists what else differs.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from torch import nn

from hipposeg.experiments.model import Model, Schedules, schedules
from hipposeg.inference import Prep
from hipposeg.models.attention import AttentionUNet
from hipposeg.models.encoders import EncoderUNet, imagenet_weights
from hipposeg.models.inr import INRUNet
from hipposeg.models.unet import UNet
from hipposeg.training.augmentation import Augmentation, Classic
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

# The grid of the 3D models. Coronal slices (axis 1, across the long axis of the hippocampus) were better than both
# others in pilots on `dev`, one seed each.
SLICES = Prep(size=(40, 56, 40), axis=1, neighbours=1)
# Ready-made encoders halve the slice in each stage; four of their five are used, the fifth would have two pixels.
ENCODER_SLICES = replace(SLICES, size=(48, 56, 48))
_STAGES = (64, 32, 16, 16)
CHANNELS = (16, 32, 64, 128)


def _schedules(config: TrainConfig) -> Schedules:
    """The standard schedule, and S: a third of its epochs, at least two, for groups with many variants."""
    return schedules(config, S=replace(config, epochs=max(2, round(config.epochs / 3))))


def _slices(name: str, config: TrainConfig = UNET2D, prep: Prep = SLICES, title: str = "", **options: object) -> Model:
    network = partial(UNet, 2, **{"channels": CHANNELS, **options})
    return Model(name, "03", "unet", 2, prep, network, _schedules(config), title=title)


def _encoder(name: str, encoder: str, config: TrainConfig, title: str, imagenet: bool = False) -> Model:
    build = partial(_with_imagenet if imagenet else EncoderUNet, encoder, decoder=_STAGES)
    start = encoder if imagenet else ""
    return Model(name, "03", "encoder", 2, ENCODER_SLICES, build, _schedules(config), imagenet=start, title=title)


def _with_imagenet(encoder: str, channels: int, classes: int, decoder: tuple[int, ...]) -> nn.Module:
    return EncoderUNet(encoder, channels, classes, weights=imagenet_weights(encoder), decoder=decoder)


def _inr(width: int, title: str) -> Model:
    """A SIREN head with `width` units a layer; 0 is the plain head with the same configuration."""
    network = partial(INRUNet, "siren-xyz" if width else "conv", spacing=(1.0, 1.0), width=width)
    config = replace(UNET2D, weight_decay=0.01)  # more would shrink a SIREN's initial frequencies
    return Model(f"unet2d-inr{width}", "03", "inr", 2, SLICES, network, _schedules(config), title=title)


def _gated(name: str, title: str, **options: object) -> Model:
    network = partial(AttentionUNet, 2, channels=CHANNELS, **options)
    return Model(name, "05", "attention", 2, SLICES, network, _schedules(UNET2D), title=title)


def _averaged(name: str, title: str, *members: str, views: bool = False) -> Model:
    return Model(name, "03", "unet", 2, replace(SLICES, views=views), members=members, title=title)


_SCSE, _CBAM = (partial(EncoderUNet, MOBILENET, decoder=_STAGES, attention=kind) for kind in ("scse", "cbam"))
_SIREN_UNET = partial(INRUNet, "siren-xyz", channels=(24, 48, 96, 192), spacing=(1.0, 1.0), width=48)

# Members of an ensemble with a 3D network.
_SHORT = replace(UNET2D, epochs=6, horizon=4 / 3, foreground_weight=1.0, watch_every=3)
_QUARTERS = "three quarters of a schedule"

# One change each of `unet2d`, and what it is in words. Flips are left-right. The baseline has empty slices in their
# natural proportion, and Dice and weighted cross-entropy as loss; here cross-entropy is unweighted.
_CHANGES = (
    ("empty0", {"empty": 0.0}, "no empty slices in training"),
    ("empty50", {"empty": 0.5}, "half of the training slices empty"),
    ("aug-none", {"augmentation": Classic()}, "no augmentation"),
    ("aug-flip", {"augmentation": Classic(flip=0.5)}, "flips only"),
    ("aug-rotation", {"augmentation": Classic(flip=0.5, rotate=15)}, "flips and rotations"),
    ("aug-noise", {"augmentation": Classic(flip=0.5, rotate=15, noise=0.1)}, "flips, rotations and noise"),
    ("dice", {"loss": "dice", "foreground_weight": 1.0}, "Dice loss alone"),
    ("ce", {"loss": "ce", "foreground_weight": 1.0}, "cross-entropy alone"),
    ("unweighted", {"loss": "dice+ce", "foreground_weight": 1.0}, "Dice and unweighted cross-entropy"),
    ("dice-ce-70-30", {"loss": "0.7dice+0.3ce", "foreground_weight": 1.0}, "0.7 Dice and 0.3 cross-entropy"),
    ("focal", {"loss": "dice+focal", "foreground_weight": 1.0}, "Dice and focal loss"),
    ("bce", {"loss": "dice+bce", "foreground_weight": 1.0}, "Dice and binary cross-entropy"),
)

# A: cross-entropy with large class weights, Dice, few empty slices, flips, small rotations, cosine schedule.
_PROJECT_A = TrainConfig(
    epochs=7, batch=32, lr=1e-3, weight_decay=1e-4, average=0.0, foreground_weight=36.0, schedule="cosine", empty=0.1,
    augmentation=Classic(flip=0.5, rotate=10),
)  # fmt: skip
# B: Dice and focal loss, AdamW at a small rate with warm restarts, at most one augmentation a slice.
_PROJECT_B = TrainConfig(
    epochs=6, batch=32, lr=1e-4, weight_decay=1e-5, average=0.0, loss="dice+focal", schedule="restarts",
    augmentation=Classic(flip=0.1, rotate=7, scale=(0.95, 1.05), shift=0.04, apart=0.25),
)  # fmt: skip
# D: Dice and binary cross-entropy, Adam (AdamW without decay), rate lowered on a plateau.
_PROJECT_D = TrainConfig(
    epochs=4, batch=32, lr=1e-3, weight_decay=0.0, average=0.0, loss="dice+bce", schedule="plateau",
    augmentation=Classic(flip=0.5, rotate=5, scale=(1.0, 1.05)),
)  # fmt: skip


def _grid(rates: Sequence[float], batches: Sequence[int]) -> dict[str, dict[str, float | str]]:
    return {
        f"search-lr{rate:g}-b{batch}-wd{decay:g}": {"lr": rate, "batch": batch, "weight_decay": decay}
        for rate, batch, decay in product(rates, batches, (1e-4, 1e-1))
    }


# Project A's search: name of a cell -> its place in the grid. The best cells of the first grid lay in its corner, and
# the wider one goes on from there.
SEARCH_GRID = _grid((3e-4, 1e-3, 3e-3), (16, 64))
WIDER_GRID = SEARCH_GRID | _grid((3e-3, 1e-2), (8, 16))
TUNED = "search-lr0.003-b8-wd0.1"  # better than the other finalist on the folds that did not choose them
# Project B's: no coordinate head, or one with this number of hidden units.
HEAD_GRID = {f"unet2d-inr{width}": {"head": f"{width} sines" if width else "plain"} for width in (0, 32, 48, 64)}

_PLANES = ("unet2d", "unet2d-axis0", "unet2d-axis2")
_UNET, _TTA = "2D U-Net on coronal slices", "test-time augmentation"
_MEAN = "Mean probability of the coronal, sagittal and axial 2D U-Nets"
_MOBILE = "2D U-Net with a MobileNetV3-Small encoder and a full-resolution branch"
_EFFICIENT = "2D U-Net with an EfficientNet-B0 encoder and a full-resolution branch"
_IMAGENET = "; encoder initialised on ImageNet"
_CELL = "A cell of the search over learning rate, batch size and weight decay"

ZOO_2D = (
    _slices("unet2d", title=_UNET),
    _slices("unet2d+n4", prep=replace(SLICES, n4=True), title=f"{_UNET}; N4 bias correction"),
    _slices("unet2d-axis0", prep=replace(SLICES, axis=0), title="2D U-Net on sagittal slices"),
    _slices("unet2d-axis2", prep=replace(SLICES, axis=2), title="2D U-Net on axial slices"),
    _averaged("unet2d+views", f"{_UNET}; {_TTA}", "unet2d", views=True),
    _averaged("unet2d-fusion", _MEAN, *_PLANES),
    _averaged("unet2d-fusion+views", f"{_MEAN}; {_TTA}", *_PLANES, views=True),
    *(
        _slices(f"unet2d-short-axis{axis}", _SHORT, replace(SLICES, axis=axis), f"2D U-Net on {plane}, {_QUARTERS}")
        for axis, plane in enumerate(("sagittal slices", "coronal slices", "axial slices"))
    ),
    _slices("unet2d-1slice", prep=replace(SLICES, neighbours=0), title="2D U-Net without neighbouring slices"),
    _slices(
        "unet2d-5slices", prep=replace(SLICES, neighbours=2),
        title="2D U-Net with two neighbouring slices on either side",
    ),
    _slices("unet2d-batchnorm", title="2D U-Net with batch normalisation", batch_norm=True),
    _inr(0, "2D U-Net with little weight decay, baseline of the coordinate heads"),
    *(_inr(width, f"2D U-Net with a SIREN head of {width} units a layer") for width in (32, 48, 64)),
    _encoder("unet2d-mobilenetv3", MOBILENET, _ENCODER, _MOBILE),
    _encoder("unet2d-mobilenetv3+imagenet", MOBILENET, _ENCODER, _MOBILE + _IMAGENET, imagenet=True),
    _encoder("unet2d-efficientnetb0", EFFICIENTNET, _EFFICIENTNET, _EFFICIENT),
    _encoder("unet2d-efficientnetb0+imagenet", EFFICIENTNET, _EFFICIENTNET, _EFFICIENT + _IMAGENET, imagenet=True),
    _encoder(
        "unet2d-mobilenetv3-tuned", MOBILENET, replace(_ENCODER, **WIDER_GRID[TUNED]),
        f"{_MOBILE}, configuration found by a search",
    ),
    *(_slices(f"unet2d+{name}", replace(UNET2D, **new), title=f"{_UNET}; {text}") for name, new, text in _CHANGES),
    *(_encoder(name, MOBILENET, replace(_ENCODER, **cell), _CELL) for name, cell in WIDER_GRID.items()),
    _encoder(
        "recipe-a", MOBILENET, _PROJECT_A,
        "Project A's configuration: MobileNetV3-Small, large class weights, flips, cosine schedule",
    ),
    Model(
        "recipe-b", "03", "inr", 2, SLICES, _SIREN_UNET, _schedules(_PROJECT_B),
        title="Project B's configuration: instance normalisation, Dice and focal loss, warm restarts",
    ),
    _encoder(
        "recipe-d", EFFICIENTNET, _PROJECT_D,
        "Project D's configuration: EfficientNet-B0, Dice and binary cross-entropy, rate lowered on a plateau",
    ),
    # Attention; the control `constant` has gates with one weight for the whole slice.
    _gated("attention2d", "2D U-Net with an attention gate on every skip connection"),
    _gated("attention2d-constant", "Control of attention2d: gates with one weight for the whole slice", spatial=False),
    Model(
        "scse2d", "05", "encoder", 2, ENCODER_SLICES, _SCSE, _schedules(_ENCODER),
        title="MobileNetV3 U-Net with squeeze-and-excitation (scSE) in its decoder",
    ),
    Model(
        "cbam2d", "05", "encoder", 2, ENCODER_SLICES, _CBAM, _schedules(_ENCODER),
        title="MobileNetV3 U-Net with convolutional block attention (CBAM) in its decoder",
    ),
)  # fmt: skip
