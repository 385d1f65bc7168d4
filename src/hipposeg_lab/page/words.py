"""Words that do not depend on any number: notebooks, systems of the race, practices and groups by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """A notebook's place on the page. name: as in facts/<name>.json. question: what it answers."""

    name: str
    title: str
    question: str

    @property
    def number(self) -> str:
        """`07` of `07_evaluation`."""
        return self.name.split("_")[0]


# A notebook that is not listed but has run is shown under its file name.
CHAPTERS = (
    Chapter("01_exploration", "Exploration", "What is in the data, and what is undocumented?"),
    Chapter("02_preprocessing", "Preprocessing", "What happens to a volume before a network, and is it undone?"),
    Chapter("03_unet2d_baseline", "2D baseline", "How well does a small slice-by-slice network do?"),
    Chapter("04_unet3d", "3D U-Nets", "What does a network gain that sees the whole volume at once?"),
    Chapter("05_attention_unet", "Attention U-Net", "Do gates look at the hippocampus, and does it help?"),
    Chapter("06_clip_guided", "CLIP guidance", "Does language help a network to segment?"),
    Chapter("07_evaluation", "Evaluation", "Where do the models agree with the experts, and where not?"),
)

# Systems of the benchmark's race in the order of its table: name, and how it runs.
RACERS = {
    "ours": ("ours", "the flagship, fitted"),
    "nnunet-released": ("nnU-Net v2", "as released"),
    "nnunet-shortened": ("nnU-Net v2", "shortened"),
    "dynunet-released": ("DynUNet", "as released"),
    "dynunet-shortened": ("DynUNet", "shortened"),
}

# Groups of volumes for which the coverage of an interval is given.
GROUPS = {
    "all": "all volumes",
    "tercile 1": "smallest third",
    "tercile 2": "middle third",
    "tercile 3": "largest third",
    "lowest": "lowest of the five folds",
    "halves": "200 random halves, mean",
}

# Other ways to choose the width of an interval than the one in use.
WIDTHS = {
    "volume": "width by predicted volume",
    "spread": "width by the spread of test-time augmentation",
    "constant": "one width for all",
}

# Practices of the inflation study; the study's notes describe each one.
PRACTICES = {
    "honest": "Scored by this project's rules",
    "background": "Background averaged in",
    "pooled-slices": "Slices pooled, 16 at a time",
    "pooled-volumes": "Volumes pooled in pairs",
    "pooled-nothing": "Empty prediction, pooled",
    "union": "Whole hippocampus reported as its parts",
    "union-crop": "Whole hippocampus, cropped around the truth",
    "union-slices": "Whole hippocampus, only slices that contain some, pooled",
    "nonempty-slices": "Only slices that contain hippocampus",
    "truth-crop": "Cropped around the truth",
    "truth-crop-no-image": "The same crop, image ignored",
    "nsd2": "Surface Dice reported as Dice",
    "best-epoch": "Best epoch on the test fold",
}

LEAKS = {
    "leak-volumes": "The contralateral hippocampus of the test subject in training",
    "leak-slices": "Other slices of the test volumes in training",
}
