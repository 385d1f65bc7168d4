"""Words that do not depend on any number: what each notebook asks, what each arm is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """A notebook's place on the page. name: as in facts/<name>.json. question: what it is there to answer."""

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

FLOOR = "atlas-no-image"
CLIP = "clip"  # the family of arms that compare slices with text

ARMS = {
    FLOOR: "the average training label map stretched to the box; the image is never read",
    "unet2d": "plain U-Net on slices, stacked back to a volume",
    "unet2d-mobilenetv3": "U-Net on slices: a MobileNetV3-Small encoder and, beside it, a branch at full resolution",
    "unet2d-efficientnetb0": "U-Net on slices: an EfficientNet-B0 encoder and, beside it, a branch at full resolution",
    "unet2d-axis0": "the plain U-Net on slices along the long axis of the hippocampus (sagittal)",
    "unet2d-axis2": "the plain U-Net on slices from below to above (axial)",
    "unet2d-fusion": "mean probability of the three plain U-Nets that slice along different axes",
    "unet2d-1slice": "the plain U-Net without neighbouring slices",
    "unet2d-5slices": "the plain U-Net with two neighbouring slices on either side",
    "unet2d-batchnorm": "the plain U-Net with batch norm",
    "unet2d-inr0": "the plain U-Net with little weight decay, for comparison with coordinate heads",
    "unet2d-inr32": "the plain U-Net with a coordinate head of 32 sines a layer",
    "unet2d-inr48": "the plain U-Net with a coordinate head of 48 sines a layer",
    "unet2d-inr64": "the plain U-Net with a coordinate head of 64 sines a layer",
    "recipe-a": "after project A: MobileNetV3-Small, heavy class weights, flips, cosine schedule",
    "recipe-b": "after project B: instance norm, Dice and focal loss, a small rate with restarts",
    "recipe-d": "after project D: EfficientNet-B0, Dice and binary cross-entropy, a rate that falls on a plateau",
    "unet3d": "plain U-Net on whole volumes",
    "unet3d-fast": "3D U-Net made for accuracy in few minutes: the project's flagship",
    "unet3d-short": "the flagship asked once, not from eight sides",
    "unet3d-long": "the flagship before: the whole of its schedule, foreground weighed twice",
    "unet2d-short-axis0": "plain U-Net on sagittal slices, its schedule cut off after three quarters",
    "unet2d-short-axis1": "plain U-Net on coronal slices, its schedule cut off after three quarters",
    "unet2d-short-axis2": "plain U-Net on axial slices, its schedule cut off after three quarters",
    "fusion": "mean probability of the flagship's network, asked once, and three short slice networks",
    "fusion+views": "the same, each network asked from eight sides",
    "unet3d-residual": "3D U-Net with residual blocks",
    "unet3d-nnunet": "3D U-Net after nnU-Net, deep supervision included",
    "unet3d-nnunet-light": "3D U-Net after nnU-Net, with few channels (Lightweight)",
    "unet3d-nnunet-performance": "3D U-Net after nnU-Net, with many channels (Performance)",
    "unet3d-inr-conv": "3D U-Net trained at 2 mm, its head a 1x1x1 convolution",
    "unet3d-inr-mlp": "3D U-Net trained at 2 mm, its head a small network without coordinates",
    "unet3d-inr-mlp-xyz": "3D U-Net trained at 2 mm, its head a small network that also reads coordinates",
    "unet3d-inr-siren-xyz": "3D U-Net trained at 2 mm, its head a network of sines that also reads coordinates",
    "unet3d-inr": "3D U-Net, its head a network of sines that also reads coordinates",
    "unet3d-inr-1mm": "the twin of the heads at 2 mm, trained at 1 mm; its head a 1x1x1 convolution",
    "unet3d-transformer": "MONAI's UNETR: a transformer encoder with a convolutional decoder, on whole volumes",
    "attention2d": "the plain U-Net on slices with an attention gate on every skip",
    "attention2d-constant": "the control of attention2d: the same gates, each with one weight for a whole slice",
    "attention3d": "the plain U-Net on volumes with an attention gate on every skip",
    "attention3d-constant": "the control of attention3d: the same gates, each with one weight for a whole volume",
    "scse2d": "the MobileNetV3 U-Net with squeeze-and-excitation (scSE) around its decoder stages",
    "hippoclip": "CLIP trained here on captions made from labels; scored as it segments by text alone, no decoder",
    "hippoclip-attributes": "HippoCLIP's control: its tower trained on the captions' facts as numbers, without text",
    "clip": "a published CLIP as it is; scored as it segments by text alone, no decoder",
    "clip2d-guided": "the plain 2D U-Net guided by HippoCLIP, which read captions made of the training labels",
    "clip2d-unguided": "the twin of clip2d-guided without guidance: the plain 2D U-Net in as many steps",
    "clip2d-image-only": "guided by the slice's feature alone, with a plain head",
    "clip2d-image-zeroed": "guided by text; zeros in place of the slice's feature",
    "clip2d-learned": "guided by the slice's feature; class vectors learned from one-hot ones, no text",
    "clip2d-same-angles": "guided; random class vectors with the angles of the text's",
    "clip2d-rotated": "guided; the text's class vectors under one random rotation",
    "clip2d-unrelated": "guided; class vectors of words that have nothing to do with it",
    "clip2d-words": "guided; class vectors of single words",
    "clip2d-sentences": "guided; class vectors of five plain sentences a class",
    "clip2d-untrained": "guided; the slice's feature from a tower that was never trained",
    "clip2d-attributes": "guided without language: the tower trained on numbers, class vectors learned",
    "clip2d-fixed-scale": "guided; cosines that are not scaled",
    "clip3d-guided": "the plain 3D U-Net whose head is guided by HippoCLIP's text, learned from training labels",
}

SUFFIXES = {
    "published": "weights that others published",
    "imagenet": "encoder starts from ImageNet weights",
    "n4": "N4 bias correction first",
    "views": "asked from eight slightly moved views",
    "flip": "left-right flips in training",
    "focal": "Dice and focal loss",
    "adamw": "AdamW for all weights, no Muon",
    "dropout": "channels of its coarser stages dropped at random in training",
    "empty0": "training on no empty slice",
    "empty50": "half of the training slices empty",
    "aug-none": "no augmentation",
    "aug-flip": "mirror images only",
    "aug-rotation": "mirror images and rotations",
    "aug-noise": "mirror images, rotations and noise",
    "dice": "Dice loss alone",
    "ce": "cross-entropy alone",
    "dice-ce-70-30": "0.7 Dice and 0.3 cross-entropy",
    "bce": "Dice and binary cross-entropy",
    "unweighted": "Dice and unweighted cross-entropy",
}


def arm_text(arm: str) -> str:
    """One line that says what an arm is; an unknown arm has none."""
    if arm.startswith("search-"):
        return "a cell of the search over rate, batch and weight decay"
    base, *suffixes = arm.split("+")
    return "; ".join(text for text in (ARMS.get(base, ""), *(SUFFIXES.get(s, f"with {s}") for s in suffixes)) if text)


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
    arm, _, rest = run.partition(".")
    return f"{arm} ({rest})" if rest else run
