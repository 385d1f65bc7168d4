"""Models of notebook 06: CLIPs, networks with a text-guided head, and controls that remove one part of the guidance.

All of them train like `unet2d` for a third of its epochs, on the same slices in the same order. The schedules p5 to p50
use that percentage of the training subjects, for the CLIP as well, in about as many steps.
"""

from dataclasses import replace
from functools import partial

from hipposeg.experiments.model import Model, Schedules, schedules
from hipposeg.experiments.zoo2d import CHANNELS, SLICES, UNET2D
from hipposeg.experiments.zoo3d import UNET3D, VOLUME
from hipposeg.models.clip import attribute_tower, hippoclip
from hipposeg.models.guided import GRAM, LEARNED, NONE, ROTATED, UNTRAINED, ZEROED, GuidedUNet
from hipposeg.models.published import PUBLISHED, published_clip
from hipposeg.models.unet import UNet
from hipposeg.training.augmentation import Augmentation
from hipposeg.training.contrastive import ATTRIBUTES, CONTRASTIVE
from hipposeg.training.loop import TrainConfig

# No scaling, because captions state areas.
_KEEPING_AREAS = Augmentation(rotate=10, shift=3, gain=0.25, offset=0.25, gamma=0.3, noise=0.15)
_CLIP = TrainConfig(
    epochs=8, batch=64, lr=3e-3, muon=0.02, weight_decay=0.1, average=0.99, loss=CONTRASTIVE,
    augmentation=_KEEPING_AREAS,
)  # fmt: skip
_GUIDED = replace(UNET2D, epochs=4, watch_every=2)
SHARES = {"p5": 0.05, "p10": 0.1, "p20": 0.2, "p50": 0.5}


def _schedules(config: TrainConfig) -> Schedules:
    """The standard schedule, and fractions of the subjects in about as many steps."""
    fewer = {}
    for name, share in SHARES.items():
        epochs = round(config.epochs / share)
        fewer[name] = replace(config, epochs=epochs, share=share, watch_every=epochs // 2)
    return schedules(config, **fewer)


def _guided(name: str, title: str, guide: str = "hippoclip", **parts: object) -> Model:
    network = partial(GuidedUNet, 2, **({"channels": CHANNELS} | parts))
    return Model(name, "06", "guided", 2, SLICES, network, _schedules(_GUIDED), guide=guide, title=title)


def _clip(name: str, title: str, build: object, loss: str) -> Model:
    return Model(name, "06", "clip", 2, SLICES, partial(build), _schedules(replace(_CLIP, loss=loss)), title=title)


_PUBLISHED = next(iter(PUBLISHED))

_GUIDED_2D = "2D U-Net with a text-guided head (teacher: HippoCLIP)"

ZOO_CLIP = (
    _clip(
        "hippoclip", "HippoCLIP, trained on captions made from training labels; segments by text alone", hippoclip,
        CONTRASTIVE,
    ),
    _clip(
        "hippoclip-attributes", "Control of HippoCLIP: image tower trained on the captions' facts as numbers",
        attribute_tower, ATTRIBUTES,
    ),
    _guided("clip2d-guided", _GUIDED_2D),
    Model(
        "clip2d-unguided", "06", "unet", 2, SLICES, partial(UNet, 2, channels=CHANNELS), _schedules(_GUIDED),
        title="Control without guidance: 2D U-Net, as many steps",
    ),
    # One part of the guidance removed.
    _guided("clip2d-image-only", "Guidance by the slice's feature alone", vectors=NONE),
    _guided("clip2d-image-zeroed", "Guidance by text alone: the slice's feature set to zero", image=ZEROED),
    # Other class vectors.
    _guided("clip2d-learned", "Guidance by the slice's feature, class vectors learned without text", vectors=LEARNED),
    _guided("clip2d-same-angles", "Guidance by random class vectors with the angles of the text's", vectors=GRAM),
    _guided("clip2d-rotated", "Guidance by the text's class vectors under one random rotation", vectors=ROTATED),
    _guided("clip2d-unrelated", "Guidance by class vectors of unrelated words", prompts="unrelated"),
    _guided("clip2d-words", "Guidance by class vectors of single words", prompts="words"),
    _guided("clip2d-sentences", "Guidance by class vectors of five plain sentences a class", prompts="sentences"),
    # Other image towers: untrained; trained on the same facts without text.
    _guided("clip2d-untrained", "Guidance by the slice's feature from an untrained image tower", image=UNTRAINED),
    _guided(
        "clip2d-attributes", "Guidance without language: image tower trained on numbers, class vectors learned",
        "hippoclip-attributes", vectors=LEARNED,
    ),
    _guided("clip2d-fixed-scale", "Guidance with unscaled cosines", scale=1.0),
    # The text head alone in 3D; its control is `unet3d`.
    Model(
        "clip3d-guided", "06", "guided", 3, VOLUME, partial(GuidedUNet, 3, image=NONE), schedules(UNET3D),
        guide="hippoclip", title="3D U-Net with a text-guided head (teacher: HippoCLIP)",
    ),
    # Published weights, where they are on this machine: used as they are, and as a teacher.
    Model(
        "clip+published", "06", "clip", 2, SLICES, partial(published_clip, _PUBLISHED), published=_PUBLISHED,
        title="CLIP as published; segments by text alone; published weights",
    ),
    _guided(
        "clip2d-guided+published", f"{_GUIDED_2D}; published weights", "clip+published", tower=_PUBLISHED, embed=512
    ),
)  # fmt: skip
