"""The declared series: what the `full` profile adds to the main arms, run by run, resumable in any order.

Several seeds tell an arm's difference from the luck of a draw, five folds tell it from the luck of a split. The series
were declared before any of their runs was scored; what follows from them does so by a rule that was declared as well.
"""

from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments import sweep
from hipposeg.experiments.registry import FLAGSHIP, FUSIONS
from hipposeg.experiments.run import RunResult, finished
from hipposeg.experiments.spec import RunSpec, current_numerics
from hipposeg.experiments.zoo3d import EPOCHS
from hipposeg.experiments.zoo_clip import SHARES
from hipposeg.results import table
from hipposeg.results.compare import alike
from hipposeg.workspace import Workspace

SEEDS = (0, 1, 2)
HEADS = tuple(f"unet3d-inr-{head}" for head in ("conv", "mlp", "mlp-xyz", "siren-xyz", "1mm"))
# Compared with `unet2d` at the short budget. An arm on a ready-made encoder has a recipe of its own; others change one
# thing.
SLICES_2D = ("unet2d-axis0", "unet2d-axis2", "unet2d-1slice", "unet2d-5slices")
ENCODERS_2D = ("unet2d-mobilenetv3", "unet2d-efficientnetb0")
NETWORKS_2D = ("unet2d-batchnorm", *ENCODERS_2D)
SAMPLING_2D = ("unet2d+empty0", "unet2d+empty50")
AUGMENTATIONS = tuple(f"unet2d+aug-{name}" for name in ("none", "flip", "rotation", "noise"))
LOSSES = tuple(f"unet2d+{name}" for name in ("dice", "ce", "dice-ce-70-30", "unweighted", "focal", "bce"))
# The declared families of comparisons with `unet2d`.
FAMILIES_2D = {
    "slices": SLICES_2D,
    "preprocessing": ("unet2d+n4",),
    "empty slices": SAMPLING_2D,
    "network": NETWORKS_2D,
    "augmentation": AUGMENTATIONS,
    "loss": LOSSES,
}
# A coordinate head against the plain one, both with little decay.
HEADS_2D = ("unet2d-inr0", "unet2d-inr48")
SHORT_2D = ("unet2d", *(arm for family in FAMILIES_2D.values() for arm in family))
# Every step of the usual augmentation against none, which `unet2d` as the reference does not tell.
STEPS_2D = (AUGMENTATIONS[0], AUGMENTATIONS[1:])
# Of two families some are repeated at the main arms' budget: what is best after a few epochs may not be after many. The
# arm of each family that is best under the short budget follows, so each of its arms may be there and is counted.
FAMILIES_2D_LONG = {"augmentation": AUGMENTATIONS, "loss": LOSSES}
LONG_2D = ("unet2d", "unet2d+aug-none", "unet2d+aug-noise", "unet2d+dice", *ENCODERS_2D)
PLANES = ("unet2d", "unet2d-axis0", "unet2d-axis2", "unet2d+views", "unet2d-fusion", "unet2d-fusion+views")
# The averages last, so that they need not wait for a member that is being trained.
PLANES_AND_ENCODER = (*PLANES[:3], "unet2d-mobilenetv3", *PLANES[3:])
OTHERS = ("recipe-a", "recipe-b", "recipe-d")
ATTENTION = (
    *("unet2d", "attention2d", "attention2d-constant", "unet2d-mobilenetv3", "scse2d"),
    *("unet3d", "attention3d", "attention3d-constant"),
)
# What leaks are worth: every leaking fold and its clean twin, by the plain arms at their usual budget.
LEAKS = {"leak-volumes": ("unet3d", 4), "leak-slices": ("unet2d", 2)}
# CLIP guidance: each family in one comparison with `clip2d-guided`, from which an arm differs in one thing.
FAMILIES_CLIP = {
    "guidance switched off": ("clip2d-unguided", "clip2d-image-only", "clip2d-image-zeroed"),
    "class vectors without the text": ("clip2d-learned", "clip2d-same-angles", "clip2d-rotated"),
    "words no caption holds": ("clip2d-unrelated",),
    "other prompts": ("clip2d-sentences", "clip2d-words"),
    "an untrained tower": ("clip2d-untrained",),
    "scale": ("clip2d-fixed-scale",),
}
# A tower trained without language against one trained with it, neither arm with text in its head.
TOWERS_CLIP = ("clip2d-learned", ("clip2d-attributes",))
CLIPS = ("hippoclip", "hippoclip-attributes")
# Label efficiency: the guided network and its twin, each with what the same few people give.
FEW = ("hippoclip", "clip2d-guided", "clip2d-unguided")

SERIES: dict[str, tuple[RunSpec, ...]] = {
    "03": (
        *(RunSpec(arm, folds) for folds in ("nnunet", "grouped", "dev") for arm in PLANES_AND_ENCODER),
        *(RunSpec(arm, seed=seed, budget="S") for arm in SHORT_2D for seed in SEEDS),
        *(RunSpec(arm, seed=seed, budget="S") for arm in HEADS_2D for seed in SEEDS),
        *(run for one in sweep.SWEEPS.values() for run in (*one.first(), *one.unsearched())),
        RunSpec(table.FLOOR),
        *(RunSpec(arm, seed=seed) for arm in (*LONG_2D, *PLANES, *OTHERS) for seed in SEEDS),
    ),
    "04": (
        *(RunSpec(table.FLOOR, folds, fold) for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec(FLAGSHIP, folds, fold) for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec(FLAGSHIP, "dev", seed=seed) for seed in SEEDS),
        *(RunSpec(FLAGSHIP, "dev", budget=budget) for budget in (*(f"e{epochs}" for epochs in EPOCHS), "a8")),
        # 12 epochs: the fewest within 0.001 of 16 on `dev`, found before any of these was scored.
        *(RunSpec(FLAGSHIP, folds, fold, budget="e12") for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec("unet3d-long", folds, fold) for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec(arm, seed=seed) for arm in ("unet3d", "unet3d+flip", *HEADS) for seed in SEEDS),
        *(RunSpec(arm) for arm in ("unet3d+adamw", "unet3d+focal", "unet3d-residual", "unet3d-nnunet-light")),
        *(RunSpec(arm) for arm in ("unet3d-nnunet", "unet3d-transformer", "unet3d-nnunet-performance", "unet3d-inr")),
        *(RunSpec(arm, "dev") for arm in ("unet3d", "unet3d+adamw", "unet3d-long", *FUSIONS[0].members)),
        *(RunSpec(fusion.name, "dev") for fusion in FUSIONS),
    ),
    # Attention, each arm beside its twin without.
    "05": tuple(RunSpec(arm, seed=seed) for arm in ATTENTION for seed in SEEDS),
    # CLIPs first: what they guide waits for them.
    "06": (
        *(RunSpec(arm, seed=seed) for arm in CLIPS for seed in SEEDS),
        *(RunSpec("clip2d-guided", seed=seed) for seed in SEEDS),
        *(RunSpec(arm, seed=seed) for family in FAMILIES_CLIP.values() for arm in family for seed in SEEDS),
        *(RunSpec(arm, seed=seed) for arm in TOWERS_CLIP[1] for seed in SEEDS),
        RunSpec("hippoclip", "dev"),
        *(RunSpec(arm, seed=seed, budget=share) for share in SHARES for arm in FEW for seed in SEEDS),
        *(RunSpec(arm, seed=seed) for arm in ("unet3d", "clip3d-guided") for seed in SEEDS),
    ),
    # Leaks, and the twin with dropout that the study of uncertainty asks.
    "07": (
        *(RunSpec(arm, kind, fold, seed) for kind, (arm, n) in LEAKS.items() for fold in range(n) for seed in SEEDS),
        RunSpec("unet3d+dropout"),
    ),
}


def declared(notebook: str) -> list[RunSpec]:
    """The notebook's series, each run once, in the order in which they are made."""
    return list(dict.fromkeys(SERIES.get(notebook, ())))


def following(ws: Workspace, notebook: str) -> list[RunSpec]:
    """Runs that follow from finished ones of the series: the second stage of its searches, and its winners."""
    runs = [*winners(ws), *sweep.following(ws)] if notebook == "03" else []
    return [run for run in runs if run not in declared(notebook)]


def winners(ws: Workspace) -> list[RunSpec]:
    """The best arm of each family that is repeated, at the main arms' budget; none before all of it is there.

    Nor while it is of several kinds of machine, whose scores are not ranked together.
    """
    found = []
    for family in FAMILIES_2D_LONG.values():
        runs = [RunSpec(arm, seed=seed, budget="S") for arm in family for seed in SEEDS]
        there = finished(ws, runs)
        if len(there) == len(runs) and alike(there):
            best = max(family, key=lambda arm: sum(one.mean() for one in there if one.run.arm == arm))
            found += [RunSpec(best, seed=seed) for seed in SEEDS]
    return found


def committed(ws: Workspace, notebook: str, spec: DatasetSpec) -> list[RunResult]:
    """Runs of the series that stand in the `full` artifacts of this data set and are not older than the code.

    Raises `table.RunError` if one of them is damaged or sets off the leak alarm.
    """
    full, current = ws.full, current_numerics()
    runs = [*declared(notebook), *following(full, notebook)]
    for run in runs:
        if not (full.artifacts / "runs" / run.name / "config.json").is_file():
            continue
        read = table.read_run(full, full.artifacts / "runs" / run.name, current)
        table.check_cases(read, spec, None)
        if not ws.is_phantom:
            table.leak_alarm(read, spec)
    return finished(full, runs)
