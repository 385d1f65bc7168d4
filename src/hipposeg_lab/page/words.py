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
    Chapter("01_exploration", "Exploration", "What is in the data, and what does nobody say about it?"),
    Chapter(
        "02_preprocessing", "Preprocessing", "What happens to a volume before a network sees it, and is it undone?"
    ),
    Chapter("03_unet2d_baseline", "2D baseline", "How far does a small slice-by-slice network get?"),
    Chapter("04_unet3d", "3D U-Nets", "What does a network gain that sees the whole volume at once?"),
    Chapter("05_attention_unet", "Attention U-Net", "Do gates look at the hippocampus, and does it help?"),
    Chapter("06_clip_guided", "CLIP guidance", "Does language help a network to segment, or only seem to?"),
    Chapter("07_evaluation", "Evaluation", "Where do the models agree with the experts, and where not?"),
)


def chapter_of(name: str) -> Chapter:
    """The chapter of a notebook that CHAPTERS does not list: `08_new_idea` becomes "New idea"."""
    words = name.partition("_")[2].replace("_", " ") or name
    return Chapter(name, words[:1].upper() + words[1:], "")


# Systems of the benchmark's race in the order of its table: name, and how it runs.
RACERS = {
    "ours": ("ours", "the flagship, fitted"),
    "nnunet-released": ("nnU-Net v2", "as released"),
    "nnunet-shortened": ("nnU-Net v2", "shortened"),
    "dynunet-released": ("DynUNet", "as released"),
    "dynunet-shortened": ("DynUNet", "shortened"),
}

# Groups of volumes for which the coverage of an interval is told.
GROUPS = {
    "all": "all volumes",
    "tercile 1": "smallest third",
    "tercile 2": "middle third",
    "tercile 3": "largest third",
    "halves": "200 random halves, mean",
}

# What the width of an interval goes by.
WIDTHS = {
    "chosen": "chosen in each fold: predicted volume or spread",
    "volume": "predicted volume",
    "spread": "spread of the moved views",
    "constant": "one width for all",
}

# What the inflation study calls a practice -> its name; what is done stands in the study's notes.
PRACTICES = {
    "background": "Background averaged in",
    "pooled-slices": "Slices pooled, 16 at a time",
    "pooled-volumes": "Volumes pooled in pairs",
    "pooled-nothing": "Predicting nothing, pooled",
    "union": "The whole passed off as its parts",
    "union-crop": "The whole, cropped around the truth",
    "union-slices": "The whole, in slices that hold something, pooled",
    "nonempty-slices": "Only slices that hold something",
    "truth-crop": "Cropped around the truth",
    "truth-crop-no-image": "The same crop, image never read",
    "nsd2": "Surface score read as Dice",
    "best-epoch": "Best epoch on the scored fold",
}

LEAKS = {
    "leak-volumes": "The other hippocampus of the scored person in training",
    "leak-slices": "Other slices of the scored volumes in training",
}


def run_text(run: str) -> str:
    """A run's name for a list: `unet2d.grouped0.s0.standard` becomes `unet2d (grouped0.s0.standard)`."""
    model, _, rest = run.partition(".")
    return f"{model} ({rest})" if rest else run
