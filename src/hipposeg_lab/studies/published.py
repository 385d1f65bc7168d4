"""What others report: typed here because no file of ours can compute it, each with its source.

PUBLISHED are scores on Task04. None of them is on our folds: their splits are by volume, so many scored volumes have
their sibling in training. CLAIMS are the headline scores of the five student projects that this series covers, and what
their own files say that these are; `report.claims` sets ours beside them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published result: Dice per part (None where the source does not give it), and where it stands.

    kind: how `numbers.show` writes it; "score2" where the source gives two decimals.
    """

    method: str
    protocol: str
    anterior: float | None
    posterior: float | None
    mean: float | None
    source: str
    url: str = ""
    kind: str = "score"


_MONAI = (
    "MONAI tutorials, dynunet_pipeline",
    "https://github.com/Project-MONAI/tutorials/tree/main/modules/dynunet_pipeline",
)
_NNACTIVE = ("nnActive, full-data results", "https://github.com/MIC-DKFZ/nnActive")
_HIPPONET = ("PMC10690959", "https://pmc.ncbi.nlm.nih.gov/articles/PMC10690959/")
_NNUNET = ("Isensee et al. 2021 and the Decathlon leaderboard", "https://doi.org/10.1038/s41592-020-01008-z")

_AUTO3DSEG = ("Auto3DSeg, Task04 table", "")
_BY_VOLUME = "five folds by volume"

PUBLISHED = (
    Published("nnU-Net, 3d_fullres", f"{_BY_VOLUME}, all labelled cases", 0.8975, 0.8807, 0.8891, *_MONAI),
    Published(
        "MONAI DynUNet", "the same folds; best epoch chosen on the scored fold; flips averaged",
        0.8983, 0.8816, 0.8900, *_MONAI,
    ),
    Published("nnU-Net v2", "one random split by volume", 0.9034, 0.8866, 0.8950, *_NNACTIVE),
    Published("Hippo-Net", "hold-out by volume", 0.900, 0.886, 0.893, *_HIPPONET),
    Published("Auto3DSeg SegResNet", _BY_VOLUME, None, None, 0.889, *_AUTO3DSEG),
    Published("Auto3DSeg DiNTS", _BY_VOLUME, None, None, 0.881, *_AUTO3DSEG),
    Published("Auto3DSeg SegResNet2D", _BY_VOLUME, None, None, 0.880, *_AUTO3DSEG),
    Published("Auto3DSeg SwinUNETR", _BY_VOLUME, None, None, 0.737, *_AUTO3DSEG),
    Published("nnU-Net, hidden test set", "the Decathlon's test volumes", 0.90, 0.89, None, *_NNUNET, kind="score2"),
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """One project's headline score, and what its own files say that it is.

    project: the letter that stands for it here. method: what was trained. claimed: the score as it is printed, under
    the name `called`. really: what was computed. value: the project's own fair score: none, one number, or two ends;
    C's are estimates, because its files hold none. source: the file that prints the score. models: ours of the same
    kind, the nearest first, always on Task04. practice, twin: slug of the practice in `studies.inflation` that is
    nearest to the project's, and the model whose masks are scored so. estimated: the fair score is our estimate.
    """

    project: str
    method: str
    claimed: float
    called: str
    really: str
    value: tuple[float, ...]
    source: str
    url: str
    models: tuple[str, ...] = ()
    practice: str = ""
    twin: str = ""
    estimated: bool = False


_GITHUB = "https://github.com"
_A = ("reports/test_summary.json", f"{_GITHUB}/cianmcguinn/hippocampus-segmentation-project")
_B = ("README.md", f"{_GITHUB}/Mahdyy02/hippocampus_segmentation_msd_task4")
_C = ("README.md", f"{_GITHUB}/Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images")
_D = ("README.md", f"{_GITHUB}/NegarMov/MRI-Hippocampus-Segmentation")
_E = ("UNet3D", f"{_GITHUB}/shakes76/PatternAnalysis-2024")
_POOLED = "background averaged in, the voxels of {} pooled, an absent class scored as 1"

CLAIMS = (
    Claim(
        "A", "2D U-Net on a MobileNetV3-Small encoder", 0.726, "3D Dice",
        "both parts as one class, in slices cropped around the truth and stretched to 128x128",
        (), *_A, ("recipe-a", "unet2d-mobilenetv3"), "union-crop", "unet2d",
    ),
    Claim(
        "B", "3D U-Net with a coordinate head", 0.989, "3D Dice",
        "normalised surface Dice at 2 voxels; the Dice stands in results_hippocampus/history.json",
        (0.872,), *_B, ("unet3d-inr", "recipe-b"), "nsd2", "unet3d",
    ),
    Claim(
        "C", "2D U-Net", 0.9225, "Dice", _POOLED.format("16 slices"), (0.82, 0.84), *_C, ("unet2d",), "pooled-slices",
        "unet2d", estimated=True,
    ),
    Claim(
        "C", "2D Attention U-Net", 0.9090, "Dice", _POOLED.format("16 slices"), (), *_C, ("attention2d",),
        "pooled-slices", "unet2d",
    ),
    Claim(
        "C", "2D U-Net guided by CLIP", 0.9084, "Dice", _POOLED.format("8 slices"), (), *_C, ("clip2d-guided",),
        "pooled-slices", "unet2d",
    ),
    Claim(
        "C", "3D U-Net", 0.8108, "Dice", _POOLED.format("two volumes"), (0.72,), *_C, ("unet3d",), "pooled-volumes",
        "unet3d", estimated=True,
    ),
    Claim(
        "D", "2D U-Net on an EfficientNet-B0 encoder; other data (MRIHS)", 0.839, "Dice on test slices",
        "one class, pooled over slices that were kept because the truth is not empty there",
        (), *_D, ("recipe-d", "unet2d-efficientnetb0"), "union-slices", "unet2d",
    ),
    Claim(
        "E", "residual 3D U-Net; other data (male pelvis)", 0.836, "Dice on test volumes, mean of its six classes",
        "background is one of the six; split by volume, so nearly every test scan has its patient in training",
        (0.806,), *_E, ("unet3d-residual",), "background", "unet3d",
    ),
)  # fmt: skip
