# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03. The 2D baseline: slices in, volumes out
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/03_unet2d_baseline.ipynb)
#
# **Question.** How far does a network get that never sees more of the scan than three neighbouring slices?
#
# **What you will learn**
# - how volumes become slices, why most slices matter and why the empty ones stay in;
# - what a plain U-Net is, by reading the code that runs;
# - what augmentation does to a slice, and to its label;
# - what a small ready-made encoder (MobileNetV3) adds or costs on structures this small;
# - how slices are stacked back to volumes, and why scores are taken there.
#
# **Reads:** the data set, `folds.json`.
# **Writes:** `figures/03_*`, `facts/03_unet2d_baseline.json`, the runs of the arms `unet2d` and `unet2d-mobilenetv3` with their
# predictions. **Run time:** a quarter of an hour on two CPU cores under `standard`; seconds under `smoke`, or when both runs are cached.

# %%
# Only on Colab: install the package.
import sys

if "google.colab" in sys.modules:
    import subprocess

    package = "hipposeg @ git+https://github.com/hipposeg/hipposeg"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)

# %% tags=["parameters"]
profile = "standard"

# %%
import inspect

import nibabel
import numpy as np
import pandas as pd
from IPython.display import Code, display

from hipposeg import losses, stats
from hipposeg.engine.augment import augment
from hipposeg.engine.machine import this_machine
from hipposeg.engine.train import seeded
from hipposeg.models import cost, unet
from hipposeg.notebook import start
from hipposeg.runs import series, summary
from hipposeg.runs.arms import ARMS, MOBILENET, with_imagenet
from hipposeg.runs.samples import images_of, make_samples
from hipposeg.viz import batches, evaluation, slices

session = start("03_unet2d_baseline", profile)
spec, cohort = session.spec, session.cohort
fold = session.folds["grouped"][0]

# %% [markdown]
# ## 1. From a volume to slices
#
# A 2D network works on one slice at a time. It gets the two neighbouring slices as further input channels, as red, green and
# blue are channels of a photograph, so that it sees a little of the third dimension without paying for it.
#
# Only training people are used here; nobody of the scored fold is among them.

# %%
arm = ARMS["unet2d"]
images = images_of(cohort, arm.prep, session.ws)
samples = make_samples(images, cohort, arm.prep, fold["train"])
fullest = int((samples.labels > 0).flatten(1).sum(1).argmax())
image, label = samples.images[fullest].numpy(), samples.labels[fullest].numpy()
session.say(f"""The {len(fold["train"])} training volumes give **{len(samples.images)} slices** of
{" x ".join(map(str, samples.images.shape[2:]))} pixels with {samples.images.shape[1]} channels: every slice of every box, across axis
{arm.prep.axis}. They stay in memory as one tensor ({samples.images.numpy().nbytes / 1e6:.0f} MB).""")

# %%
panels = [(channel, None) for channel in image] + [(image[arm.prep.neighbours], label)]
session.save(
    batches.strips({"one sample": panels}, spec), "sample",
    "One training sample, chosen because it holds most hippocampus: the slice before, the slice itself, the slice after, and the "
    "label of the middle one, which is what the network must give.",
    "Three neighbouring grey slices and a fourth with the two labels drawn over it.", kind="png",
)  # fmt: skip

# %% [markdown]
# **What we see.** The three channels differ little: one millimetre lies between them. What differs is the border, and that is where
# a slice alone is in doubt.
#
# How many slices hold no hippocampus at all? A popular shortcut drops them, for training and, worse, for scoring.

# %%
held = np.stack([(samples.labels == item.value).flatten(1).sum(1).numpy() for item in spec.labels], 1)
places = []
for number in fold["train"]:
    depth = cohort.cases[number].label.shape[arm.prep.axis]
    places.append((np.arange(depth) + 0.5) / depth)
empty = float((held.sum(1) == 0).mean())
session.facts(training_slices=len(held), empty_share=empty)
session.save(
    batches.slice_shares(np.column_stack([held, np.concatenate(places)]), spec), "slice-shares",
    f"Which training slices hold which label. {100 * empty:.0f} % of all training slices hold none.",
    "Two step curves: share of slices that hold each label against the place of the slice in its box.",
)  # fmt: skip

# %% [markdown]
# **What we see.** The outer slices of a box hold no hippocampus, and the network meets them in their natural share, because it must
# call them empty in every new scan. Nothing here tells it which ones they are. **What it does not show:** whether another share would train faster.

# %% [markdown]
# ## 2. The network
#
# A U-Net goes down a ladder of resolutions and comes up again; at each rung the way up is given what the way down saw at that
# resolution, so that the fine border survives. This is the code that runs, for slices and for volumes alike:

# %%
display(Code(inspect.getsource(unet.Block) + "\n\n" + inspect.getsource(unet.UNet.forward), language="python"))

# %%
channels = arm.prep.channels(len(spec.channels))
network = arm.build(channels, spec.n_classes)
session.say(f"""It has **{cost.parameters(network):,} parameters**, and one forward pass over all slices of a
{" x ".join(map(str, cost.REFERENCE_VOLUME))} volume takes **{cost.gflops(network, channels, arm.prep.axis):.1f} GFLOP**, counted by torch.""")

# %% [markdown]
# ## 3. Augmentation
#
# Two hundred volumes are few. Each time a slice is used, it is turned, scaled, shifted, bent a little, and its contrast changed, with its
# label moved along, as shares of the classes in each pixel (notebook 04 shows why). It is never mirrored: all volumes are stored in one
# orientation (notebook 01), so a mirrored slice does not look like any scan to come. Below, each row is one slice drawn five times.

# %%
recipe = arm.recipe("smoke" if profile == "smoke" else "standard")
order = (samples.labels > 0).flatten(1).sum(1).argsort(descending=True)
chosen = [int(order[k]) for k in (0, len(order) // 4)]
rows = {}
for row, index in enumerate(chosen):
    batch = samples.images[[index] * 5], samples.labels[[index] * 5]
    moved = augment(*batch, spec.n_classes, recipe.augmentation, seeded(0, "show", row))
    middle = arm.prep.neighbours
    pairs = zip(moved.images[:, middle].numpy(), moved.targets.argmax(1).numpy(), strict=True)
    rows[f"slice {row + 1}"] = [(samples.images[index, middle].numpy(), None), *pairs]
session.save(
    batches.strips(rows, spec), "augmentation",
    "Left: the slice as it is. Right of it: the same slice as the network meets it in five batches, with the class of the largest share.",
    "Two rows of six slices; in each row the first is the original and the others are turned, scaled and changed in contrast.",
    kind="png",
)  # fmt: skip

# %% [markdown]
# **What we see.** The copies stay anatomically plausible, and the label follows the tissue exactly.
#
# ## 4. The loss
#
# Cross-entropy judges each voxel alone and is content with calling everything background, which is right for most voxels. Soft
# Dice judges the overlap of each structure as a whole. The sum of both trains well; the foreground classes weigh double in the
# cross-entropy. Dice is pooled over the batch *here*, because a slice may lack a class; **scores never are**.

# %%
display(Code(inspect.getsource(losses.soft_dice_loss), language="python"))

# %% [markdown]
# ## 5. Training the plain U-Net
#
# One call trains it, or loads it if a run with the same key is in the cache. The recipe was chosen on `dev`, a part of the training people,
# and frozen before this fold was scored. The scored weights are the running average over the last steps of a fixed schedule, never the
# best epoch.

# %%
session.say(f"""The recipe: {recipe.epochs} epochs of batches of {recipe.batch}, AdamW with a one-cycle rate up to {recipe.lr:g}, weight decay
{recipe.weight_decay:g}, foreground weight {recipe.foreground_weight:g} in the cross-entropy, running average {recipe.average:g}. This machine computes on
`{this_machine().device}` in `{this_machine().precision}` with {this_machine().threads} threads.""")
plain = session.run("unet2d")

# %% [markdown]
# ## 6. A ready-made encoder: MobileNetV3-Small
#
# The way down can be taken from a network made for photographs, through segmentation-models-pytorch. Two things matter on structures
# as small as this one. Its first layer halves the resolution and keeps no skip at full resolution, so a light branch at full resolution is
# added here. And its weights: those trained on ImageNet are used where they can be had, and the run's name then says `+imagenet`.

# %%
mobile_arm = with_imagenet("unet2d-mobilenetv3", MOBILENET, profile)
session.facts(mobilenet_arm=mobile_arm)
session.say(
    "ImageNet weights were found and are used." if mobile_arm.endswith("+imagenet") else
    "**ImageNet weights could not be had here: the encoder starts from random weights**, which the run's name says by having no "
    "`+imagenet` in it."
)  # fmt: skip
mobile = session.run(mobile_arm)

# %% [markdown]
# ## 7. What came out
#
# Slices are stacked back to volumes on the scan's own grid, and scored there: per case, per label, background left out. The floor of every
# table is the atlas of notebook 01, which never looks at the image.

# %%
floor = session.run("atlas-no-image")
runs = {"atlas-no-image": floor, "unet2d": plain, mobile_arm: mobile}
table = pd.DataFrame(
    {
        name: {
            **{label: run.mean(label) for label in (*spec.names, "mean", "union")},
            "parameters": run.config["params"],
            "GFLOP": run.config["gflops"],
        }
        for name, run in runs.items()
    }
).T
display(
    table.style.format("{:.3f}", subset=list(table.columns[:-2]))
    .format("{:,.0f}", subset=["parameters"])
    .format("{:.1f}", subset=["GFLOP"])
    .set_uuid("table")
)

# %%
session.save(
    evaluation.training_curves({name: run.history for name, run in runs.items() if run.history}), "curves",
    "Training loss, and mean Dice on the scored volumes every few epochs, shown for display only: nothing is chosen by it.",
    "Two line charts over epochs: the training loss falls, the mean Dice rises and levels off.",
)  # fmt: skip

# %% [markdown]
# **What we see.** How much of the Dice comes early, and whether the curve still rises at its end.
# **What it does not show:** what more epochs would bring, since the schedule is tied to their number.
#
# Which of the two networks is ahead? Both were scored on the same volumes, so they are compared person by person.

# %%
a, b = (run.cases[run.cases.label == "mean"].sort_values("case") for run in (plain, mobile))
difference = stats.paired(a.dice.to_numpy(), b.dice.to_numpy(), a.subject.to_numpy())
session.facts(plain_minus_mobilenet=difference.difference, plain_minus_mobilenet_low=difference.low,
              plain_minus_mobilenet_high=difference.high, dice_unet2d=plain.mean(), dice_mobilenet=mobile.mean())  # fmt: skip
session.say(f"""Mean Dice, plain U-Net minus MobileNetV3: **{difference.difference:+.4f}**, 95 % interval over {difference.n_people} people
{difference.low:+.4f} to {difference.high:+.4f}. One seed each, so this is no verdict: the interval covers people, not the luck of a seed.""")

# %% [markdown]
# ## 8. Look at them
#
# Numbers hide how errors look. Three cases by rule, ranked by the plain U-Net's mean Dice: the best, the median and the worst.

# %%
views = []
for rank, number in summary.cases_by_rule(summary.mean_dice(plain.cases)).items():
    case = cohort.cases[number]
    found = {"truth": case.label}
    for name, run in {"plain U-Net": plain, "MobileNetV3": mobile}.items():
        found[name] = np.asarray(nibabel.load(run.predictions / spec.file_name(number)).dataobj)
    dice = float(a.loc[a.case == number, "dice"].iloc[0])
    views.append(slices.CaseView(f"{rank}: {case.name}\nmean Dice {dice:.3f}", case.image[0], found, case.spacing))
session.save(
    slices.row_of_cases(views, spec, "Truth and predictions", axis=0), "best-median-worst",
    "The best, median and worst scored case of the plain U-Net, in the slice that holds most hippocampus: expert label, plain U-Net, "
    "MobileNetV3 U-Net.",
    "A grid of three cases by three rows (truth, plain U-Net, MobileNetV3 U-Net) with anterior and posterior labels over grey slices.",
    kind="png",
)  # fmt: skip

# %% [markdown]
# **What we see.** Compare outlines along the whole border, at the plane between the two parts, and at the thin ends.
# **What it does not show:** how the other slices fare, and which kind of error weighs most; notebook 07 decomposes all of them.
#
# ## 9. Several seeds, several folds
#
# One run per arm cannot tell an arm's difference from the luck of a seed. The declared series (`src/hipposeg/runs/series.py`) repeats the
# main arms and the bias corrected twin `unet2d+n4` over three seeds, and the plain U-Net over all folds. It takes hours, so only the `full`
# profile trains it; here it is shown as far as its runs are there.

# %%
if profile == "full":
    for run in series.declared("03"):
        session.run(run.arm, run.folds, run.fold, run.seed, run.budget)
found = series.committed(session.ws, "03", spec)
rows = [{"arm": one.run.arm, "folds": one.run.folds, "fold": one.run.fold, "seed": one.run.seed, "mean Dice": one.mean(),
         "device": one.config["device"], "torch": one.config["torch"]} for one in found]  # fmt: skip
session.facts(series_declared=len(series.declared("03")), series_found=len(found))
session.say(
    f"**{len(found)} of {len(series.declared('03'))} runs of the series are there**; `make 03 PROFILE=full` trains the others."
)
if rows:
    shown = pd.DataFrame(rows).groupby(["arm", "folds", "device", "torch"])["mean Dice"]
    display(shown.agg(["count", "mean", "min", "max"]).round(4))

# %% [markdown]
# ## What we learned

# %%
session.say(f"""
- From three neighbouring slices, the plain U-Net reaches a mean Dice of **{plain.mean():.3f}**; the box alone, image unread, gives
  {floor.mean():.3f}.
- The MobileNetV3 arm (`{mobile_arm}`) reaches **{mobile.mean():.3f}** with {mobile.config["params"]:,} parameters against
  {plain.config["params"]:,}; the paired difference and its interval stand in section 7.
- {100 * empty:.0f} % of the training slices are empty, and stay in.
""")

# %% [markdown]
# ## Limitations
#
# - One fold and one seed: differences of a few thousandths mean nothing yet (section 9).
# - The boxes were cut around the truth (notebook 01), so no score here says what happens in a box placed by other means.
# - One slicing axis; the other two, and all three together, come later in the series.
#
# ## Exercises
#
# 1. Set `neighbours=0` in `_SAGITTAL` (`src/hipposeg/runs/arms.py`) and train again. What do the two extra slices bring?
# 2. Set `axis=2`. Which label gains, which loses?
# 3. Train `unet2d+n4` with `hipposeg train unet2d+n4`. Does bias field correction change the Dice by more than the interval above?
#
# ## References
#
# - Ronneberger et al. 2015, U-Net, [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28)
# - Isensee et al. 2021, nnU-Net, [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - Howard et al. 2019, MobileNetV3, [doi:10.1109/ICCV.2019.00140](https://doi.org/10.1109/ICCV.2019.00140)
# - Milletari et al. 2016, soft Dice, [doi:10.1109/3DV.2016.79](https://doi.org/10.1109/3DV.2016.79)
# - Antonelli et al. 2022, the data, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)

# %%
session.finish(
    *(run.folder / "config.json" for run in runs.values()),
    *(run.predictions / spec.file_name(number) for run in runs.values() for number in fold["scored"]),
)
