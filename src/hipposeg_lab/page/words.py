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

# The explorer's models in words; others keep their names.
MODELS = {
    "unet3d-fast": "3D U-Net (ours)",
    "unet3d": "3D U-Net, plain",
    "unet2d": "2D U-Net",
    "unet2d-mobilenetv3": "2D U-Net, MobileNetV3 encoder",
    "attention2d": "2D U-Net, attention gates",
    "clip2d-guided": "2D U-Net, text-guided",
    "clip2d-unguided": "2D U-Net, control without text",
    "atlas-no-image": "Atlas that ignores the image",
}

# What was tried, for the front page: words, model, and the reference of the planned comparison.
CHANGES = (
    ("Three 2D networks, one a plane, instead of one", "unet2d-fusion", "unet2d"),
    ("3D instead of 2D", "unet3d", "unet2d"),
    ("Attention gates in 3D", "attention3d", "unet3d"),
    ("Guidance by language (CLIP) in 3D", "clip3d-guided", "unet3d"),
    ("No augmentation in 2D", "unet2d+aug-none", "unet2d"),
    ("MobileNetV3 as encoder in 2D", "unet2d-mobilenetv3", "unet2d"),
)
EFFECTS = {
    "better": "helps", "worse": "costs accuracy", "equivalent": "makes no difference",
    "inconclusive": "has no clear effect",
}  # fmt: skip
LEAKING = {
    "better": "it inflates the score", "worse": "it lowers the score", "equivalent": "no difference that matters",
    "inconclusive": "no clear difference",
}  # fmt: skip
# Of these, the heading says whether any helped.
FASHIONS = ("attention3d", "clip3d-guided")

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
    "honest": "Scored per case and part, our way",
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
