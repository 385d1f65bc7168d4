"""Every model by name, and the one that `hipposeg predict` uses."""

from dataclasses import replace

from hipposeg.experiments.model import Model
from hipposeg.experiments.zoo2d import ZOO_2D
from hipposeg.experiments.zoo3d import VOLUME, ZOO_3D
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

MODELS: dict[str, Model] = {model.name: model for model in (ATLAS, *ZOO_2D, *ZOO_3D, *ZOO_CLIP, *FUSIONS)}

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


def with_imagenet(name: str, profile: str) -> str:
    """`<name>+imagenet` if this machine has the encoder's published weights; else, and under some profiles, `name`."""
    published = MODELS[f"{name}+imagenet"]
    has_weights = profile not in ("smoke", "stored") and imagenet_weights(published.imagenet, fetch=False)
    return published.name if has_weights else name


# What each model is, in words; stored in the column `title` of runs.csv.
TITLES = {
    "atlas-no-image": "Image-free atlas: the mean training label map stretched to the crop",
    "unet2d": "2D U-Net on coronal slices",
    "unet2d-mobilenetv3": "2D U-Net with a MobileNetV3-Small encoder and a full-resolution branch",
    "unet2d-efficientnetb0": "2D U-Net with an EfficientNet-B0 encoder and a full-resolution branch",
    "unet2d-axis0": "2D U-Net on sagittal slices",
    "unet2d-axis2": "2D U-Net on axial slices",
    "unet2d-fusion": "Mean probability of the coronal, sagittal and axial 2D U-Nets",
    "unet2d-1slice": "2D U-Net without neighbouring slices",
    "unet2d-5slices": "2D U-Net with two neighbouring slices on either side",
    "unet2d-batchnorm": "2D U-Net with batch normalisation",
    "unet2d-inr0": "2D U-Net with little weight decay, baseline of the coordinate heads",
    "unet2d-inr32": "2D U-Net with a SIREN head of 32 units a layer",
    "unet2d-inr48": "2D U-Net with a SIREN head of 48 units a layer",
    "unet2d-inr64": "2D U-Net with a SIREN head of 64 units a layer",
    "recipe-a": "Project A's configuration: MobileNetV3-Small, large class weights, flips, cosine schedule",
    "recipe-b": "Project B's configuration: instance normalisation, Dice and focal loss, warm restarts",
    "recipe-d": "Project D's configuration: EfficientNet-B0, Dice and binary cross-entropy, rate lowered on a plateau",
    "unet3d": "3D U-Net",
    "unet3d-fast": "Flagship: 3D U-Net trained for accuracy in few minutes, with test-time augmentation",
    "unet3d-short": "The flagship without test-time augmentation",
    "unet3d-long": "Earlier flagship: whole schedule, class weight 2, test-time augmentation",
    "unet2d-short-axis0": "2D U-Net on sagittal slices, three quarters of a schedule",
    "unet2d-short-axis1": "2D U-Net on coronal slices, three quarters of a schedule",
    "unet2d-short-axis2": "2D U-Net on axial slices, three quarters of a schedule",
    "fusion": "Mean probability of the flagship's network and three short 2D U-Nets",
    "unet3d-residual": "3D U-Net with residual blocks",
    "unet3d-nnunet": "3D U-Net after nnU-Net, with deep supervision",
    "unet3d-nnunet-light": "3D U-Net after nnU-Net, with fewer channels",
    "unet3d-nnunet-performance": "3D U-Net after nnU-Net, with more channels",
    "unet3d-inr-conv": "3D U-Net trained at 2 mm with a 1x1x1 convolution as head",
    "unet3d-inr-mlp": "3D U-Net trained at 2 mm with an MLP head, no coordinates",
    "unet3d-inr-mlp-xyz": "3D U-Net trained at 2 mm with an MLP head on coordinates",
    "unet3d-inr-siren-xyz": "3D U-Net trained at 2 mm with a SIREN head on coordinates",
    "unet3d-inr": "3D U-Net trained at 1 mm with a SIREN head on coordinates",
    "unet3d-inr-1mm": "3D U-Net trained at 1 mm, control of the coordinate heads",
    "unet3d-transformer": "UNETR: transformer encoder with a convolutional decoder (MONAI)",
    "attention2d": "2D U-Net with an attention gate on every skip connection",
    "attention2d-constant": "Control of attention2d: gates with one weight for the whole slice",
    "attention3d": "3D U-Net with an attention gate on every skip connection",
    "attention3d-constant": "Control of attention3d: gates with one weight for the whole volume",
    "scse2d": "MobileNetV3 U-Net with squeeze-and-excitation (scSE) in its decoder",
    "hippoclip": "HippoCLIP, trained on captions made from training labels; segments by text alone",
    "hippoclip-attributes": "Control of HippoCLIP: image tower trained on the captions' facts as numbers",
    "clip": "CLIP as published; segments by text alone",
    "clip2d-guided": "2D U-Net with a text-guided head (teacher: HippoCLIP)",
    "clip2d-unguided": "Control without guidance: 2D U-Net, as many steps",
    "clip2d-image-only": "Guidance by the slice's feature alone",
    "clip2d-image-zeroed": "Guidance by text alone: the slice's feature set to zero",
    "clip2d-learned": "Guidance by the slice's feature, class vectors learned without text",
    "clip2d-same-angles": "Guidance by random class vectors with the angles of the text's",
    "clip2d-rotated": "Guidance by the text's class vectors under one random rotation",
    "clip2d-unrelated": "Guidance by class vectors of unrelated words",
    "clip2d-words": "Guidance by class vectors of single words",
    "clip2d-sentences": "Guidance by class vectors of five plain sentences a class",
    "clip2d-untrained": "Guidance by the slice's feature from an untrained image tower",
    "clip2d-attributes": "Guidance without language: image tower trained on numbers, class vectors learned",
    "clip2d-fixed-scale": "Guidance with unscaled cosines",
    "clip3d-guided": "3D U-Net with a text-guided head (teacher: HippoCLIP)",
}

SUFFIXES = {
    "published": "published weights",
    "imagenet": "encoder initialised on ImageNet",
    "n4": "N4 bias correction",
    "views": "test-time augmentation",
    "flip": "left-right flips in training",
    "focal": "Dice and focal loss",
    "adamw": "AdamW for all weights",
    "dropout": "dropout in the coarser stages",
    "empty0": "no empty slices in training",
    "empty50": "half of the training slices empty",
    "aug-none": "no augmentation",
    "aug-flip": "flips only",
    "aug-rotation": "flips and rotations",
    "aug-noise": "flips, rotations and noise",
    "dice": "Dice loss alone",
    "ce": "cross-entropy alone",
    "dice-ce-70-30": "0.7 Dice and 0.3 cross-entropy",
    "bce": "Dice and binary cross-entropy",
    "unweighted": "Dice and unweighted cross-entropy",
}


def title_of(model: str) -> str:
    """The title of a model, such as "2D U-Net on coronal slices; N4 bias correction"; its name if it has none."""
    if model.startswith("search-"):
        return "A cell of the search over learning rate, batch size and weight decay"
    base, *suffixes = model.split("+")
    return "; ".join([TITLES.get(base, base), *(SUFFIXES.get(suffix, f"with {suffix}") for suffix in suffixes)])
