"""Fit a model of this project to another data set: its voxels, its patch, its channels, its number of samples.

Everything is derived from the training cases of a fold, or given by the caller; architecture, loss, optimiser and
augmentation stay those of the model.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.model import Model, schedules
from hipposeg.experiments.registry import MODELS, RunSpec
from hipposeg.experiments.zoo2d import EFFICIENTNET
from hipposeg.experiments.zoo3d import AUGMENTATION_3D
from hipposeg.inference import Prep
from hipposeg.models.unet import UNet
from hipposeg.training.loop import TrainConfig

# Voxels of a patch: 96 x 96 x 64; a step of two such patches takes a few seconds on one core.
VOXELS = 96 * 96 * 64
# Pixels of a batch of slices, and the longest side of a slice that is read whole.
PIXELS, SIDE = 2**19, 512
# Sides of a network's coarsest grid at least: on fewer voxels torch's bfloat16 convolutions gave gradients of NaN.
COARSEST = 4
# Samples of an epoch at least: a small set is seen more often instead of for fewer steps.
FEWEST = {2: 2000, 3: 200}
FAMILIES = ("unet", "attention", "encoder")


def encoder_unet(encoder: str, channels: int, classes: int) -> nn.Module:
    """segmentation-models-pytorch's U-Net as it is, with random weights; for slices of 32 pixels a side and more."""
    import segmentation_models_pytorch as smp

    network = smp.Unet(encoder, encoder_weights=None, in_channels=channels, classes=classes)
    network.divisor = 32
    return network


# Project D: EfficientNet-B0, Dice and binary cross-entropy, its augmentation and optimiser, on whole slices.
PROJECT_D = Model(
    "project-d", "", "encoder", 2, Prep(size=(1, 1, 1), axis=2), partial(encoder_unet, EFFICIENTNET),
    MODELS["recipe-d"].schedules, title="Project D: U-Net with an EfficientNet-B0 encoder on whole slices",
)  # fmt: skip
# Project E: residual blocks, cross-entropy, per-class Dice each epoch, and an end when every class reaches 0.7.
PROJECT_E = Model(
    "project-e", "", "unet", 3, Prep(size=(1, 1, 1)), partial(UNet, 3, residual=True),
    schedules(TrainConfig(
        epochs=20, batch=2, lr=1e-3, loss="ce", stop=0.7, watch_every=1, augmentation=AUGMENTATION_3D,
    )),
    title="Project E: residual 3D U-Net, ended when every class reaches Dice 0.7",
)  # fmt: skip
# These watch a part of the training subjects, as their projects do.
WATCHING = {model.name: model for model in (PROJECT_D, PROJECT_E)}


@dataclass(frozen=True)
class FittedRun(RunSpec):
    """A run of a model that was fitted to a data set, and so is in no list."""

    fitted: Model | None = None

    @property
    def definition(self) -> Model:
        """The fitted model."""
        return self.fitted


@dataclass(frozen=True)
class Wishes:
    """What a caller chooses; 0, "" or None leaves the choice to `fitted`.

    Attributes:
        patch: size of a patch in voxels (3D), or of a slice with 1 along its axis (2D).
        patches: samples an epoch.
        subjects: training subjects to learn from.
        channel_dropout: probability that a channel of a sample is left out.
        start: file with the weights that training starts from.
        name: of the model in the tables.
    """

    patch: tuple[int, int, int] | None = None
    patches: int = 0
    subjects: int = 0
    channel_dropout: float = 0.0
    start: Path | None = None
    name: str = ""


def base(name: str) -> Model:
    """A model that can be fitted, by name. Raises KeyError with all names."""
    usable = {
        model.name: model for model in MODELS.values()
        if model.family in FAMILIES and model.trains and not model.imagenet and not model.prep.n4
    } | WATCHING  # fmt: skip
    if name not in usable:
        raise KeyError(f"no model {name!r} can be fitted to another data set; choose one of {', '.join(usable)}")
    return usable[name]


def fitted(name: str, cohort: Cohort, fold: Fold, wishes: Wishes) -> Model:
    """The model `name` with input and training for the training cases of a fold.

    Raises:
        KeyError: no such model, or one that cannot be fitted.
        ValueError: a patch that the network cannot divide.
    """
    model, cases = base(name), [cohort.cases[number] for number in fold["train"]]
    spacings = np.array([case.spacing for case in cases])
    spacing = tuple(float(side) for side in np.median(spacings, 0).round(3))
    shapes = np.ceil(np.array([case.label.shape for case in cases]) * spacings / spacing - 1e-3).astype(int)
    prep = replace(model.prep, spacing=spacing, window=True)
    divisor = model.build(prep.channels(len(cohort.spec.channels)), cohort.spec.n_classes).divisor
    if model.dims == 2:
        axis = model.prep.axis if max(spacing) < 1.05 * min(spacing) else int(np.argmax(spacing))
        size = tuple(1 if i == axis else min(_up(side, divisor), SIDE) for i, side in enumerate(shapes.max(0).tolist()))
        prep = replace(prep, axis=axis, size=wishes.patch or size)
    else:
        prep = replace(prep, size=wishes.patch or _patch(shapes, divisor))
    sides = [side for i, side in enumerate(prep.size) if i != prep.axis]
    if any(side % divisor or side < COARSEST * divisor for side in sides) or (
        prep.axis is not None and prep.size[prep.axis] != 1
    ):
        more = "" if prep.axis is None else f", and 1 along axis {prep.axis}, across which its slices lie"
        raise ValueError(
            f"the patch is {prep.size}; {name} takes sides of {COARSEST * divisor} or more that {divisor} divides{more}"
        )
    whole = (shapes <= prep.size).all() or model.dims == 2
    config = model.training("standard")
    natural = shapes[:, prep.axis].sum() if model.dims == 2 else np.ceil(shapes / prep.size).prod(1).sum()
    people = len({case.subject for case in cases})
    config = replace(
        config,
        batch=max(2, min(config.batch, PIXELS // int(np.prod(sides)))) if model.dims == 2 else config.batch,
        empty=None,
        patches=wishes.patches or max(int(natural), FEWEST[model.dims]),
        channel_dropout=wishes.channel_dropout,
        share=min(1.0, wishes.subjects / people) if wishes.subjects else 1.0,
    )
    return replace(
        model, name=wishes.name or name, prep=replace(prep, views=prep.views and bool(whole)),
        schedules=schedules(config), start=str(wishes.start or ""),
    )  # fmt: skip


def _up(side: int, divisor: int) -> int:
    return max(COARSEST, -(-side // divisor)) * divisor


def _patch(shapes: np.ndarray, divisor: int) -> tuple[int, int, int]:
    """The largest volume, if it is small enough; else the median one, its longest sides shortened."""
    size = [_up(side, divisor) for side in shapes.max(0).tolist()]
    if np.prod(size) > VOXELS:
        size = [_up(side, divisor) for side in np.median(shapes, 0).astype(int).tolist()]
    while np.prod(size) > VOXELS:
        size[int(np.argmax(size))] -= divisor
    return tuple(size)
