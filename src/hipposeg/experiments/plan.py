"""The plan: which runs exist, notebook by notebook.

Several seeds separate a model's difference from the luck of initialisation, five folds from the luck of a split. The
comparisons were planned before any of their runs was scored; what follows from them follows by a rule planned as well.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd

from hipposeg.experiments.registry import FLAGSHIP, FUSIONS, SCANS, RunSpec, with_imagenet
from hipposeg.experiments.zoo2d import HEAD_GRID, SEARCH_GRID, WIDER_GRID
from hipposeg.experiments.zoo3d import EPOCHS
from hipposeg.experiments.zoo_clip import SHARES
from hipposeg.results.load import ATLAS

SEEDS = (0, 1, 2)
WIDTHS = ("unet3d-inr-siren-xyz-32", "unet3d-inr-siren-xyz-48")  # 64 is in HEADS
HEADS = tuple(f"unet3d-inr-{head}" for head in ("conv", "mlp", "mlp-xyz", "siren-xyz", "1mm"))
ONE_SEED_3D = (
    *("unet3d+adamw", "unet3d+focal", "unet3d-residual", "unet3d-nnunet-light", "unet3d-nnunet"),
    *("unet3d-transformer", "unet3d-nnunet-performance", "unet3d-inr"),
)
# As many epochs of `unet3d` as take as long as 12 of `unet2d`: 15.3 by the benchmark's idle machine.
EQUAL_TIME = "e15"
# Compared with `unet2d` at the short schedule. Models with ready-made encoders have their own configuration; the others
# change one thing.
SLICES_2D = ("unet2d-axis0", "unet2d-axis2", "unet2d-1slice", "unet2d-5slices")
ENCODERS_2D = ("unet2d-mobilenetv3", "unet2d-efficientnetb0")
NETWORKS_2D = ("unet2d-batchnorm", *ENCODERS_2D)
SAMPLING_2D = ("unet2d+empty0", "unet2d+empty50")
AUGMENTATIONS = tuple(f"unet2d+aug-{name}" for name in ("none", "flip", "rotation", "noise"))
LOSSES = tuple(f"unet2d+{name}" for name in ("dice", "ce", "dice-ce-70-30", "unweighted", "focal", "bce"))
# Groups of comparisons with `unet2d`.
FAMILIES_2D = {
    "slices": SLICES_2D,
    "preprocessing": ("unet2d+n4",),
    "empty slices": SAMPLING_2D,
    "network": NETWORKS_2D,
    "augmentation": AUGMENTATIONS,
    "loss": LOSSES,
}
# A coordinate head against the plain one, both with little weight decay.
HEADS_2D = ("unet2d-inr0", "unet2d-inr48")
SHORT_2D = ("unet2d", *(model for family in FAMILIES_2D.values() for model in family))
# Each step of the usual augmentation against none.
STEPS_2D = (AUGMENTATIONS[0], AUGMENTATIONS[1:])
# Two groups are repeated at the standard schedule, because the best variant after a few epochs need not be the best
# after many: some of their models, and the best of each group at the short schedule.
FAMILIES_2D_LONG = {"augmentation": AUGMENTATIONS, "loss": LOSSES}
BEST_SHORT = ("unet2d+aug-none", "unet2d+focal")
TUNED = "unet2d-mobilenetv3-tuned"  # with the cell that the wider search found
LONG_2D = ("unet2d", "unet2d+aug-none", "unet2d+aug-noise", "unet2d+dice", *NETWORKS_2D)
PLANES = ("unet2d", "unet2d-axis0", "unet2d-axis2", "unet2d+views", "unet2d-fusion", "unet2d-fusion+views")
# Ensembles last, after their members.
PLANES_AND_ENCODER = (*PLANES[:3], "unet2d-mobilenetv3", *PLANES[3:])
OTHERS = ("recipe-a", "recipe-b", "recipe-d")
ATTENTION = (
    *("unet2d", "attention2d", "attention2d-constant", "unet2d-mobilenetv3", "scse2d", "cbam2d"),
    *("unet3d", "attention3d", "attention3d-constant"),
)
# Effect of leaks: every leaking fold and its clean control, by the plain models at the standard schedule.
LEAKS = {"leak-volumes": ("unet3d", 4), "leak-slices": ("unet2d", 2)}
# Trained in both precisions.
PRECISION = ("unet2d", "unet3d")
# CLIP guidance: each model differs from `clip2d-guided` in one thing.
FAMILIES_CLIP = {
    "guidance switched off": ("clip2d-unguided", "clip2d-image-only", "clip2d-image-zeroed"),
    "class vectors without the text": ("clip2d-learned", "clip2d-same-angles", "clip2d-rotated"),
    "words no caption holds": ("clip2d-unrelated",),
    "other prompts": ("clip2d-sentences", "clip2d-words"),
    "an untrained tower": ("clip2d-untrained",),
    "scale": ("clip2d-fixed-scale",),
}
# An image tower trained without language against one trained with it; neither model has text in its head.
TOWERS_CLIP = ("clip2d-learned", ("clip2d-attributes",))
CLIPS = ("hippoclip", "hippoclip-attributes")
# Label efficiency: the guided network and its control, on the same few subjects.
FEW = ("hippoclip", "clip2d-guided", "clip2d-unguided")


class Search(NamedTuple):
    """A search over a grid whose cells are models, scored on subjects cut from the training ones.

    Every cell is scored on inner fold 0 (which is `dev`). The two best are then trained on the other four inner folds,
    which did not choose them, and compared there with what is used without a search. No cell is ever scored on a
    subject of grouped fold 0.

    Attributes:
        cells: model -> its place in the grid, factor by factor.
        reference: the model that is used without a search.
        finalists: the cells with the highest mean Dice on inner fold 0, best first.
    """

    cells: dict[str, dict[str, float | str]]
    reference: str
    finalists: tuple[str, str]


# Project A's search over learning rate, batch size and weight decay, the same beyond its edge, and project B's over the
# head.
SEARCHES = {
    "search": Search(SEARCH_GRID, "unet2d-mobilenetv3", ("search-lr0.003-b16-wd0.0001", "search-lr0.003-b16-wd0.1")),
    "wider": Search(WIDER_GRID, "unet2d-mobilenetv3", ("search-lr0.01-b8-wd0.1", "search-lr0.003-b8-wd0.1")),
    "heads": Search(HEAD_GRID, "unet2d-inr0", ("unet2d-inr48", "unet2d-inr0")),
}

PLANNED: dict[str, tuple[RunSpec, ...]] = {
    "03": (
        *(RunSpec(model, folds) for folds in ("nnunet", "grouped", "dev") for model in PLANES_AND_ENCODER),
        *(RunSpec(model, seed=seed, schedule="S") for model in SHORT_2D for seed in SEEDS),
        *(RunSpec(model, seed=seed, schedule="S") for model in HEADS_2D for seed in SEEDS),
        *(RunSpec(cell, "inner", schedule="S") for one in SEARCHES.values() for cell in one.cells),
        *(RunSpec(one.reference, "inner", fold, schedule="S") for one in SEARCHES.values() for fold in range(5)),
        RunSpec(ATLAS),
        *(RunSpec(model, seed=seed) for model in (*LONG_2D, *PLANES, *OTHERS) for seed in SEEDS),
    ),
    "04": (
        *(RunSpec(ATLAS, folds, fold) for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec(FLAGSHIP, folds, fold) for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec(FLAGSHIP, "dev", seed=seed) for seed in SEEDS),
        *(RunSpec(FLAGSHIP, "dev", schedule=name, hardware="fp32") for name in (*(f"e{n}" for n in EPOCHS), "a8")),
        # 12 epochs: the fewest within 0.001 Dice of 16 on `dev`, chosen before any of these was scored.
        *(RunSpec(FLAGSHIP, *at, schedule="e12", hardware="fp32") for at in product(("nnunet", "grouped"), range(5))),
        *(RunSpec("unet3d-long", folds, fold) for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec(model, seed=seed) for model in ("unet3d", "unet3d+flip", *HEADS, *WIDTHS) for seed in SEEDS),
        *(RunSpec("unet3d", seed=seed, schedule=EQUAL_TIME) for seed in SEEDS),
        *(RunSpec(model) for model in ONE_SEED_3D),
        *(RunSpec(model, "dev") for model in ("unet3d", "unet3d+adamw", "unet3d-long", *FUSIONS[0].members)),
        *(RunSpec(fusion.name, "dev") for fusion in FUSIONS),
    ),
    # Attention, each model with its control.
    "05": tuple(RunSpec(model, seed=seed) for model in ATTENTION for seed in SEEDS),
    # CLIPs first, then the networks that they teach.
    "06": (
        *(RunSpec(model, seed=seed) for model in CLIPS for seed in SEEDS),
        *(RunSpec("clip2d-guided", seed=seed) for seed in SEEDS),
        *(RunSpec(model, seed=seed) for family in FAMILIES_CLIP.values() for model in family for seed in SEEDS),
        *(RunSpec(model, seed=seed) for model in TOWERS_CLIP[1] for seed in SEEDS),
        RunSpec("hippoclip", "dev"),
        *(RunSpec(model, seed=seed, schedule=share) for share in SHARES for model in FEW for seed in SEEDS),
        *(RunSpec(model, seed=seed) for model in ("unet3d", "clip3d-guided") for seed in SEEDS),
    ),
    # Leaks, and the model with dropout for the study of uncertainty.
    "07": (
        *(RunSpec(model, kind, *at) for kind, (model, n) in LEAKS.items() for at in product(range(n), SEEDS)),
        RunSpec("unet3d+dropout"),
        # Float32 against bfloat16.
        *(RunSpec(model, seed=seed, hardware="fp32") for model in PRECISION for seed in SEEDS),
    ),
    "08": (*(RunSpec(SCANS, fold=fold) for fold in range(5)), RunSpec(SCANS, "dev")),
}


# What follows from finished runs of notebook 03: the best variants at the standard schedule, the finalists of searches,
# and the better finalist of the wider one as a model.
FOLLOWING = (
    *(RunSpec(model, seed=seed) for model in (*BEST_SHORT, TUNED) for seed in SEEDS),
    *(RunSpec(cell, "inner", fold, schedule="S") for one in SEARCHES.values() for fold in range(1, 5)
      for cell in one.finalists),
)  # fmt: skip


def main(profile: str = "standard") -> list[RunSpec]:
    """The runs of the notebooks' main sections: a teacher before what it teaches."""
    mobilenet = with_imagenet("unet2d-mobilenetv3", profile)
    models = (ATLAS, "unet2d", mobilenet, "unet3d", FLAGSHIP, "attention2d", "hippoclip", "clip2d-guided")
    schedule = "smoke" if profile == "smoke" else "standard"
    return [RunSpec(model, schedule=schedule) for model in (*models, "clip2d-unguided")]


def standard(profile: str = "standard") -> list[RunSpec]:
    """The main runs that `make all` trains.

    Without the one with a ready-made encoder: with it, two cores without bfloat16 need more than 80 minutes.
    """
    runs = main(profile)
    return [run for run in runs if profile == "smoke" or run.model.removesuffix("+imagenet") not in ENCODERS_2D]


def declared(notebook: str) -> list[RunSpec]:
    """The planned runs of a notebook, each once, in the order in which they are trained."""
    return list(dict.fromkeys(PLANNED.get(notebook, ())))


def runs_of(notebook: str) -> list[RunSpec]:
    """The planned runs of a notebook, and those that follow from them."""
    return list(dict.fromkeys([*declared(notebook), *(FOLLOWING if notebook == "03" else ())]))


def full() -> list[RunSpec]:
    """All planned runs, and those that follow from them."""
    return list(dict.fromkeys([*standard(), *(run for notebook in PLANNED for run in runs_of(notebook))]))


def finished(frame: pd.DataFrame, runs: Sequence[RunSpec]) -> pd.DataFrame:
    """The rows of these runs in what `results.load` gave, in their order."""
    order = {run.name: place for place, run in enumerate(dict.fromkeys(runs))}
    rows = frame[frame["planned"].isin(order)]
    return rows.iloc[rows["planned"].map(order).argsort(kind="stable")]


def of_notebook(frame: pd.DataFrame, notebook: str) -> pd.DataFrame:
    """The rows of a notebook's finished planned runs."""
    return finished(frame, runs_of(notebook))
