"""What others report on Task04: typed here because no file of ours can compute it, each with its source.

None of it is on our folds. Their splits are by volume, so many scored volumes have their sibling in training.
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
