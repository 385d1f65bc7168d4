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
# - how slices are stacked back to volumes, and why scores are taken there;
# - which choices matter, told over several seeds, and how to search without touching the scored people.
#
# **Reads:** the data set, `folds.json`; the finished planned runs in `artifacts/`; `artifacts/bench/summary.json`.
# **Writes:** `figures/03_*`, `facts/03_unet2d_baseline.json`, the runs of the models `unet2d` and `unet2d-mobilenetv3` with their
# masks. **Run time:** that of two short trainings under `standard`; seconds under `smoke` and `stored`, or when both runs are cached.

# %%
# Only on Colab: fetch the project and install it beside Colab's own packages, which stay as they are.
import sys

if "google.colab" in sys.modules and not sys.path[0].endswith("hipposeg/src"):
    import os
    import subprocess

    address = os.environ.get("HIPPOSEG_REPOSITORY", "https://github.com/hipposeg/hipposeg")
    if not os.path.isdir("hipposeg"):
        subprocess.run(["git", "clone", "--depth=1", address, "hipposeg"], check=True)
    pip = [sys.executable, "-m", "pip"]
    with open("colab.txt", "w") as here:
        subprocess.run([*pip, "list", "--format=freeze"], stdout=here, check=True)
    subprocess.run([*pip, "install", "-q", "-c", "colab.txt", "-e", "./hipposeg[notebooks]"], check=True)
    os.chdir("hipposeg")
    sys.path.insert(0, os.path.abspath("src"))

# %% tags=["parameters"]
profile = "standard"

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Code, display

from hipposeg import stats
from hipposeg.data import grid
from hipposeg.experiments import RunSpec, plan
from hipposeg.experiments.registry import FLAGSHIP, MODELS, with_imagenet
from hipposeg.experiments.samples import images_of, make_samples
from hipposeg.models import cost, unet
from hipposeg.notebook import start
from hipposeg.results import compare, tables
from hipposeg.results.load import ATLAS
from hipposeg.training import losses
from hipposeg.training.batches import changed, seeded
from hipposeg.viz import curves, slices
from hipposeg.viz import intervals as charts
from hipposeg.viz.style import SERIES, WIDTH
from hipposeg_lab.bench import summary as bench_summary
from hipposeg_lab.figures import architecture
from hipposeg_lab.figures import maps as overlays
from hipposeg_lab.studies.published import PUBLISHED

session = start("03_unet2d_baseline", profile)
spec, cohort = session.spec, session.cohort
fold = session.folds["grouped"][0]

# %% [markdown]
# ## 1. From a volume to slices
#
# A 2D network works on one slice at a time. It gets the two neighbouring slices as further input channels, as red, green and
# blue are channels of a photograph, so that it sees a little of the third dimension without paying for it.
#
# A **model** is a network with its recipe, such as `unet2d`. The volumes are divided into five *folds*: `grouped` ones by person, where each
# network is scored on people that it never saw, and, to compare with others, nnU-Net's own (`nnunet`), which divide by volume, so that a
# person's other hippocampus may have been trained on (notebook 07 measures what that is worth). Only training people are used here; nobody
# of the scored fold, `grouped` fold 0, is among them.

# %%
model = MODELS["unet2d"]
images = images_of(cohort, model.prep, session.ws)
samples = make_samples(images, cohort, model.prep, fold["train"])
fullest = int((samples.labels > 0).flatten(1).sum(1).argmax())
image, label = samples.images[fullest].numpy(), samples.labels[fullest].numpy()
session.say(f"""The {len(fold["train"])} training volumes give **{len(samples.images)} slices** of
{" x ".join(map(str, samples.images.shape[2:]))} pixels with {samples.images.shape[1]} channels: {slices.plane_name(spec, model.prep.axis)}
slices, every one of every box. Across which axis to slice was chosen on `dev` (training people set aside for choices); section 11
compares all three directions. They stay in memory as one tensor ({samples.images.numpy().nbytes / 1e6:.0f} MB).""")

# %%
titles = ("slice before", "the slice", "slice after", "its label")
parts_here = " and ".join(item.name for item in spec.labels if (label == item.value).any())
panels = [*zip(titles, image, (None,) * len(image), strict=False), (titles[-1], image[model.prep.neighbours], label)]
session.save(overlays.strips({"one sample": panels}, spec, axis=model.prep.axis), "sample", parts_here=parts_here)

# %% [markdown]
# **What we see.** The three channels differ little: one millimetre lies between them. They differ mostly at the border, where one slice
# alone leaves doubt.
#
# How many slices hold no hippocampus at all? A popular shortcut drops them for training and, worse, for scoring, which hides every false
# alarm in an empty slice.

# %%
held = np.stack([(samples.labels == item.value).flatten(1).sum(1).numpy() for item in spec.labels], 1)
places = []
for number in fold["train"]:
    kept = grid.Placement(cohort.cases[number].label.shape, model.prep.size).inside_native[model.prep.axis]
    depth = cohort.cases[number].label.shape[model.prep.axis]
    places.append((np.arange(depth)[kept] + 0.5) / depth)
empty = float((held.sum(1) == 0).mean())
session.facts(training_slices=len(held), empty_share=empty)
edges, place = np.linspace(0, 1, 21), np.concatenate(places)
fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
for item, found in zip(spec.labels, held.T > 0, strict=True):
    share = 100 * np.histogram(place[found], edges)[0] / np.maximum(np.histogram(place, edges)[0], 1)
    ax.stairs(share, 100 * edges, color=item.colour, linewidth=2, label=item.name)
ax.set(xlabel="position of the slice in its box (% of the slicing axis)", ylabel="slices with the label (%)")
ax.legend()
session.save(fig, "slice-shares", percent=100 * empty)

# %% [markdown]
# **What we see.** The outer slices of a box hold no hippocampus, and the network meets them in their natural share, because it must
# call them empty in every new scan. Nothing here tells it which ones they are. **What it does not show:** whether another share would teach
# more; section 9 trains with none and with half.

# %% [markdown]
# ## 2. The network
#
# A U-Net goes down a ladder of resolutions and comes up again; at each rung the way up is given what the way down saw at that
# resolution, so that the fine border survives. This is the code that runs, for slices and for volumes alike; `torch.cat` is where such a
# *skip* joins the way up:

# %%
shown = (unet.Block, unet.UNet.encoded, unet.UNet.decoded)
display(Code("\n".join(map(inspect.getsource, shown)), language="python"))

# %%
channels = model.prep.channels(len(spec.channels))
network = model.build(channels, spec.n_classes)
session.say(f"""It has **{cost.parameters(network):,} parameters**, and one forward pass over all slices of a
{" x ".join(map(str, cost.REFERENCE_VOLUME))} volume takes **{cost.gflops(network, channels, model.prep.axis):.1f} GFLOP**, counted by torch.""")

# %% [markdown]
# The same network seen from outside. The diagram is drawn from the module itself and not by hand: the network is run once, a box is a block
# that ran, an arrow says that one block reads another, and the blue arrows are the skips.

# %%
sides = tuple(side for axis, side in enumerate(model.prep.size) if axis != model.prep.axis)
stages = architecture.trace(network, channels, sides)
session.save(architecture.diagram(stages, "unet2d"), "architecture")
deepest = max(stages, key=lambda stage: stage.parameters)
session.say(
    f"""`{deepest.name}` alone has **{100 * deepest.parameters / cost.parameters(network):.0f} %** of the parameters."""
)

# %% [markdown]
# **What we see.** Each rung down halves the sides and doubles the channels, so parameters pile up at the bottom. A skip joins the way up behind the
# transposed convolution, at its own resolution. **What it does not show:** which skip matters, nor where the time goes: operations sit at
# the top.

# %% [markdown]
# ## 3. Augmentation
#
# Two hundred volumes are few. Each time a slice is used, it is turned, scaled, shifted, bent a little, and its contrast changed, with its
# label moved along, as shares of the classes in each pixel (notebook 04 shows why). It is never mirrored: all volumes are stored in one
# orientation (notebook 01), so a mirrored slice does not look like any scan to come. Others chose otherwise: below, one slice under this
# project's recipe and under those that the series compares it with, from mirror images alone (section 9) to the recipes of other projects
# (section 12).

# %%
recipe = model.training("smoke" if profile == "smoke" else "standard")
order = (samples.labels > 0).flatten(1).sum(1).argsort(descending=True)
index, middle = int(order[len(order) // 4]), model.prep.neighbours
shown = {"unet2d": "this project", "unet2d+aug-flip": "mirror images", "unet2d+aug-rotation": "mirror, rotation",
         "unet2d+aug-noise": "mirror, rotation, noise", **{name: f"recipe {name[-1].upper()}" for name in plan.OTHERS}}  # fmt: skip
rows = {}
for name, title in shown.items():
    batch = samples.images[[index] * 5], samples.labels[[index] * 5]
    moved = changed(*batch, spec.n_classes, MODELS[name].training("standard").augmentation, seeded(3, "show"))
    pairs = zip(moved.images[:, middle].numpy(), moved.targets.argmax(1).numpy(), strict=True)
    rows[title] = [
        ("", samples.images[index, middle].numpy(), samples.labels[index].numpy()),
        *(("", *one) for one in pairs),
    ]
session.save(overlays.strips(rows, spec, axis=model.prep.axis, before=True), "augmentation")

# %% [markdown]
# **What we see.** With each recipe the label follows the tissue. A mirrored slice looks like one of the other hippocampus, and no volume of
# this data set is stored that way round: the network is taught what it will never be asked. **What it does not show:** whether that hurts;
# draws that look odd may still teach.
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
# One call trains it, or loads it if it is finished. The recipe was chosen on `dev`, a part of the training people,
# and frozen before this fold was scored. The scored weights are the running average over the last steps of a fixed schedule, never the
# best epoch.
#
# *Muon* is an optimiser that gives all directions of a weight matrix's update the same size; AdamW takes the other weights. A *one-cycle*
# rate rises first and then falls to nothing. *bf16* is a number format of 16 bits with which some processors compute faster.

# %%
plain = session.run("unet2d")
session.say(f"""The recipe: {recipe.epochs} epochs of batches of {recipe.batch}. Muon trains the weight matrices, with a one-cycle
rate up to {recipe.muon:g}, AdamW the rest, up to {recipe.lr:g}; weight decay {recipe.weight_decay:g}, foreground weight {recipe.foreground_weight:g} in the cross-entropy, running average {recipe.average:g}. It was trained
with one thread in `{plain.config["precision"]}` ({plain.config["processor"]}).""")

# %% [markdown]
# ## 6. A ready-made encoder: MobileNetV3-Small
#
# The way down can be taken from a network made for photographs, through segmentation-models-pytorch. Two things matter on structures
# as small as this one. Its first layer halves the resolution and keeps no skip at full resolution, so a light branch at full resolution is
# added here, and its last stage, whose feature map would be two pixels wide, is left out; for the same reason its slices are cut a little
# larger. Stages, sizes and recipe were chosen on `dev`, like those of `unet2d`. And its weights: those trained on ImageNet are used where
# they can be had, and the run's name then says `+imagenet`.

# %%
mobile_model = with_imagenet("unet2d-mobilenetv3", profile)
session.facts(mobilenet_model=mobile_model)
session.say(
    "ImageNet weights were found and are used." if mobile_model.endswith("+imagenet") else
    "**ImageNet weights could not be had here: the encoder starts from random weights**, which the run's name says by having no "
    "`+imagenet` in it."
)  # fmt: skip
mobile = session.run(mobile_model)
wide = MODELS[mobile_model].prep.size
session.say(
    f"""Its slices have {wide[0]} x {wide[2]} pixels, those of `unet2d` {model.prep.size[0]} x {model.prep.size[2]}."""
)

# %% [markdown]
# ## 7. What came out
#
# Slices are stacked back to volumes on the scan's own grid, and scored there: per case, per label, background left out. The floor of every
# table is the atlas of notebook 01, which never looks at the image. *mean* is the mean of both parts; *union* takes them as one structure.

# %%
atlas = session.run(ATLAS)
runs = {ATLAS: atlas, "unet2d": plain, mobile_model: mobile}
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
session.save(curves.training_curves({name: run.history for name, run in runs.items() if run.history}), "curves")

# %% [markdown]
# **What to look for.** How much of the Dice comes early, and whether the curve still rises at its end.
# **What it does not show:** what more epochs would bring, since the schedule is tied to their number.
#
# Which of the two networks is better? Both were scored on the same volumes, so they are compared subject by subject. A mean counts volumes, such
# a difference counts people: someone with two volumes enters once. So it need not equal the difference of the means.

# %%
difference = stats.paired(plain.values().to_numpy(), mobile.values().to_numpy(), plain.subjects().to_numpy())
session.facts(plain_minus_mobilenet=difference.difference, plain_minus_mobilenet_low=difference.low,
              plain_minus_mobilenet_high=difference.high, dice_unet2d=plain.mean(), dice_mobilenet=mobile.mean())  # fmt: skip
session.say(f"""Mean Dice, plain U-Net minus MobileNetV3: **{difference.difference:+.4f}**, 95 % interval over {difference.n_subjects} subjects
{difference.low:+.4f} to {difference.high:+.4f}. One seed each, so this is no conclusion: the interval covers people, not the luck of a seed.""")

# %% [markdown]
# ## 8. Look at them
#
# Numbers hide how errors look. Three cases by rule, ranked by the plain U-Net's mean Dice: the best, the median and the worst.

# %%
views = []
for rank, number in tables.cases_by_rule(plain.values()).items():
    case = cohort.cases[number]
    found = {"truth": case.label, "plain U-Net": plain.masks[number], "MobileNetV3": mobile.masks[number]}
    title = f"{rank}: {case.name}\nmean Dice {plain.values()[number]:.3f}"
    views.append(slices.CaseView(title, case.image[0], found, case.spacing))
session.save(slices.row_of_cases(views, spec, "Truth and predictions", axis=0), "best-median-worst")

# %% [markdown]
# **What to look for.** Compare outlines along the whole border, at the plane between the two parts, and at the thin ends.
# **What it does not show:** how the other slices fare, and which kind of error weighs most; notebook 07 decomposes all of them.
#
# ## 9. One thing changed at a time
#
# Which of all these choices matters? The planned runs (`src/hipposeg/experiments/plan.py`) change one thing of `unet2d` at a time:
#
# - **slices**: `-axis0` cuts sagittal slices, `-axis2` axial ones, `unet2d` itself coronal ones; `-1slice` and `-5slices` read none and two
#   neighbours on either side instead of one. Directions have the same number of passes over the data and about the same minutes, but not the
#   same number of slices and so of steps;
# - **preprocessing**: `+n4` corrects the bias field first;
# - **empty slices**: `+empty0` trains on none of them, `+empty50` on as many as there are others;
# - **network**: batch norm, or a ready-made encoder. These have a recipe of their own (AdamW, other rates, fewer and dearer epochs, random
#   weights): there the question is what a network *with its recipe* gives in minutes of the same order;
# - **augmentation**: the usual steps (`+aug-none`, then mirror images, rotation, noise), as a published student project
#   (C of the page) has them. They replace all of this project's: also its scaling, bending and contrast, and the shares that it moves
#   instead of labels. So those models are compared with `+aug-none`, too;
# - **loss**: `unet2d` has Dice and cross-entropy with the foreground weighed twice; `+unweighted` weighs it once, and the others put
#   something else in the place of both.
#
# Each model is trained with three seeds under a short schedule, S (a third of its epochs, but at least two), and compared with `unet2d` under the
# same schedule, on the same people. A difference counts if its interval over subjects *and seeds* excludes zero; it is called equivalent if the
# whole interval lies within a margin that was declared beforehand. *p* is adjusted for the number of comparisons in a family (Holm). The two
# can disagree: *p* asks about people with the seeds averaged, the interval draws both; the conclusion goes by the interval. These runs take
# hours to train, so they are shown here as far as they are finished.

# %%
found = session.planned()
benchmark = {} if session.ws.is_phantom else bench_summary.read(session.ws.root)
idle = {schedule: bench_summary.idle_minutes(benchmark, schedule) for schedule in ("standard", "S")}
whose_minutes = "alone on an idle machine" if all(idle.values()) else "as each run recorded them, beside other work"
short = compare.by_family(found, "unet2d", plan.FAMILIES_2D, "S")

# %%
if len(short):
    session.save(charts.forest(short, stats.EQUIVALENCE_MARGIN), "series", groups=", ".join(short.index.unique(0)))
    session.say(tables.counts_in_words(short, "`unet2d`"))
    display(tables.readable_differences(short))
    session.say(f"What each of them costs and scores, means over the seeds (minutes {whose_minutes}):")
    family = {model: name for name, models in plan.FAMILIES_2D.items() for model in models}
    there = tables.readable_costs(tables.costs(found, spec.names, schedule="S", idle=idle["S"]))
    display(there.set_index(pd.MultiIndex.from_tuples([(family.get(model, ""), model) for model in there.index])))
else:
    session.say(
        "**Not trained yet:** the series has no model to compare with `unet2d` under the schedule S; `hipposeg train --plan 03` trains them."
    )

# %% [markdown]
# **How to read it.** Each row answers one question. Look first at the rows whose interval excludes zero, then at the
# width of the others: where it spans the shaded band, nothing has been shown either way. **What it does not show:** how choices act together,
# or what happens after a longer training; that is next.
#
# What each step of the usual augmentation adds to none at all, under both schedules (section 10 says why both):

# %%
for name, schedule in {"short": "S", "long": "standard"}.items():
    steps = compare.by_family(found, plan.STEPS_2D[0], {"augmentation": plan.STEPS_2D[1]}, schedule)
    if len(steps):
        session.say(f"Mean Dice minus that of `{plan.STEPS_2D[0]}`, {name} schedule:")
        display(tables.readable_differences(steps.droplevel(0)))
    else:
        session.say(f"**Not trained yet:** no such comparison under the {name} schedule.")

# %% [markdown]
# A network can also be given coordinates: its head then reads where a pixel lies (notebook 04 has the details). Both models of
# this pair were trained with little weight decay, so they are compared with each other and not with `unet2d`.

# %%
head = compare.by_family(found, "unet2d-inr0", {"head": ("unet2d-inr48",)}, "S")
if len(head):
    display(tables.readable_differences(head.droplevel(0)))
else:
    session.say("**Not trained yet:** neither head.")

# %% [markdown]
# ## 10. Do short trainings mislead?
#
# Augmentation makes each epoch harder and is expected to pay later. A comparison after few epochs could therefore come out the other way
# round than one after many. Some models are declared under both schedules; which ones was fixed before any of them was scored. By a rule that was
# fixed as well, the best augmentation and the best loss under the short schedule follow them. It is the same fold that chose them, so the
# short score of these two is a little too good; Holm's adjustment counts all that could have been chosen. Of the networks both encoders were
# declared, batch norm was not. A difference is always one between networks of the same kind of machine.
#
# A model *flips* if it is better under one schedule and worse under the other.

# %%
repeated = plan.FAMILIES_2D_LONG | {"network": plan.ENCODERS_2D}
long = compare.by_family(found, "unet2d", repeated, "standard")
both = short["conclusion"].to_frame("short").join(long["conclusion"].rename("long"), how="inner")
if len(both):
    sides = {"short schedule": short, "main schedule": long}
    schedules = {title: tables.readable_differences(side.loc[both.index]) for title, side in sides.items()}
    schedules = {title: text.drop(columns=["subjects", "seeds"]) for title, text in schedules.items()}
    display(pd.concat(schedules, axis=1))
    judged = both[both.isin(compare.CONCLUSIONS).all(axis=1)]
    concluded = judged[(judged != "inconclusive").any(axis=1)]
    parted = [model for (_, model), row in judged.iterrows() if set(row) == {"better", "worse"}]
    session.facts(schedules_compared=len(judged), schedules_concluded=len(concluded), schedules_flipped=parted)
    flipped = f"**{len(parted)} flip**: {', '.join(f'`{model}`' for model in parted)}" if parted else "**none flips**"
    session.say(
        f"Compared under both schedules: {len(judged)}; with a conclusion under at least one: {len(concluded)}; {flipped}."
    )
else:
    session.say("**Not trained yet:** no model of the series under both schedules.")

# %% [markdown]
# The direct question is how far the *difference* moves when training gets longer: model minus `unet2d` after the main schedule, minus the same
# after the short one, on the same people and seeds. Above zero, the model gains more by longer training than `unet2d` does.

# %%
every = ["unet2d", *(model for models in repeated.values() for model in models)]
primary = found.query("label == 'mean' and folds == 'grouped' and fold == 0 and model in @every")
brief, whole = (primary[primary["schedule"] == name].set_index(["model", "seed", "case"]) for name in ("S", "standard"))
gain = whole.assign(dice=whole["dice"] - brief["dice"]).dropna(subset="dice").reset_index()
moved = compare.differences(gain, "unet2d").reindex(every).dropna(how="all")
if len(moved):
    display(tables.readable_differences(moved))
    session.facts(schedules_moved={model: row["conclusion"] for model, row in moved.iterrows()})
    there = tables.costs(found[found["model"].isin(["unet2d", *moved.index])], spec.names, idle=idle["standard"])
    session.say(f"These models after the main schedule, means over the seeds (minutes {whose_minutes}):")
    display(tables.readable_costs(there))
else:
    session.say("**Not trained yet:** no model under both schedules on one kind of machine.")

# %% [markdown]
# ## 11. Three directions, and all of them together
#
# Slices can be cut across any axis. Each direction has its own blind spot: what lies between two slices. Three networks that cut in different
# directions have different blind spots, so their mean probability, taken on the scan's own grid, may be better than each. It costs three
# trainings. `+views` is asked eight times, for slightly moved copies of the box, and costs eight passes. The MobileNetV3 model stands below
# them, so that its score on the `nnunet` folds is seen, too.

# %%
shown = [*plan.PLANES, "unet2d-mobilenetv3"]
directions = found.query("model in @shown and fold == 0 and schedule == 'standard'")
by_volume = directions[directions["label"] == "mean"]

# %%
names = {name: f"{name} ({slices.plane_name(spec, MODELS[name].prep.axis)})" for name in plan.PLANES if "+" not in name}
names |= {"unet2d-fusion": "all three (unet2d-fusion)", "unet2d-mobilenetv3": "unet2d-mobilenetv3 (coronal)"}
on_folds = {}
for kind in ("nnunet", "grouped"):
    means = compare.means(by_volume[by_volume["folds"] == kind]).reindex(shown).dropna()
    if len(means):
        session.facts(**{f"planes_{kind}": means["value"].to_dict()})
        on_folds[f"{kind} fold 0, seeds: {means['seeds'].max():.0f}"] = means.rename(index=names)
if on_folds:
    rows = [means.reset_index(names="row").assign(panel=panel) for panel, means in on_folds.items()]
    session.save(charts.dots(pd.concat(rows), "mean Dice", one_scale=True), "planes")
else:
    session.say("**Not trained yet:** none of the three directions.")

# %% [markdown]
# The same as numbers, beside the best that we found published for a network on slices: a mean of all folds, so not of the same volumes.

# %%
if on_folds:
    display(pd.DataFrame({panel: tables.with_interval(means) for panel, means in on_folds.items()}))
    published = next(one for one in PUBLISHED if one.method.endswith("2D"))
    session.say(f"Published: **{published.mean:.3f}** ({published.method}, {published.protocol}).")

# %%
pairs = {}
for kind in ("nnunet", "grouped"):
    against = compare.differences(by_volume[by_volume["folds"] == kind], "unet2d")
    pairs |= {(f"{kind} fold 0", model): row for model, row in against.iterrows()}
if pairs:
    session.say("Mean Dice minus that of `unet2d` on the same volumes:")
    display(tables.readable_differences(pd.DataFrame(pairs).T.infer_objects()))

# %% [markdown]
# Should the project hand out slice networks instead of one network on volumes? That is a choice, so it is made on `dev`, beside the
# **flagship**, the network on volumes of notebook 04 that is handed out, and with what each costs. (Averages of slice networks *and* the
# flagship are tried in that notebook.)

# %%
on_dev = pd.concat([directions, plan.finished(session.results, [RunSpec(FLAGSHIP, "dev")])])
on_dev = on_dev[on_dev["folds"] == "dev"]
choice = tables.beside(on_dev, FLAGSHIP, spec.names, "dev", idle["standard"])
if len(choice) > 1 and FLAGSHIP in choice.index:
    shown = {"minutes": "{:.1f}", "seeds": "{:.0f}"} | dict.fromkeys(spec.names, "{:.4f}")
    display(choice.style.format(shown, na_rep="").set_uuid("choice"))
    sliced = choice.drop(index=FLAGSHIP)
    rival = compare.differences(on_dev[on_dev["label"] == "mean"], FLAGSHIP).loc[sliced.index[0]]
    ahead = rival["low"] > 0
    session.facts(planes_best_on_dev=sliced.index[0], planes_replace_flagship=bool(ahead))
    session.say(f"""The best of slices there is `{sliced.index[0]}`, minus the flagship `{FLAGSHIP}`: {
        stats.signed(rival["difference"])
    }
    ({stats.signed(rival["low"])} to {stats.signed(rival["high"])}, one seed). {
        "**It is better**, so it would replace the flagship at equal minutes."
        if ahead
        else "**It is not better, so the flagship stays.**"
    }""")
else:
    session.say("**Not trained yet:** neither of them.")

# %% [markdown]
# ## 12. The recipes of others
#
# Three published student projects trained 2D networks with recipes of their own: A
# ([hippocampus-segmentation-project](https://github.com/cianmcguinn/hippocampus-segmentation-project)), B
# ([hippocampus_segmentation_msd_task4](https://github.com/Mahdyy02/hippocampus_segmentation_msd_task4)) and D
# ([MRI-Hippocampus-Segmentation](https://github.com/NegarMov/MRI-Hippocampus-Segmentation), on other data). The models `recipe-*` take over
# their loss, augmentation, optimiser, schedule and kind of network, and are scored by this project's rules. (The letters are those of the
# page, where five projects stand.) Not taken over are their slices, crops and sizes, B's stored augmented copies and its mix of planes, and
# the number of epochs, which is set by the minutes. The encoders of A and D start from random weights here, so that everyone can rerun them
# (section 6 uses ImageNet's where they are to be had), and get this project's branch at full resolution. A draws one empty slice for nine that hold hippocampus. D lowers its rate when progress stops;
# here that is judged by the training loss, because the scored slices may not be watched, and so it may never fall. So this is not a rerun
# of those projects, and no row is their result.

# %%
recipes = found[found["model"].isin([ATLAS, *plan.OTHERS, "unet2d", "unet2d-mobilenetv3"])]
table = tables.costs(recipes, spec.names, idle=idle["standard"])
if len(table) and any(model in table.index for model in plan.OTHERS):
    display(tables.readable_costs(table))
    others = compare.by_family(found, "unet2d", {"recipes": plan.OTHERS}, "standard")
    if len(others):
        session.say("Mean Dice minus that of `unet2d` on the same volumes:")
        display(tables.readable_differences(others.droplevel(0)))
else:
    session.say("**Not trained yet:** none of the three recipes.")

# %% [markdown]
# ## 13. Dice against minutes
#
# Networks of different kinds have no common step; time is what they share. This section draws directions, fusions, networks and borrowed
# recipes on `grouped` fold 0, some under both schedules (S: short), against the minutes that their training takes, as far as they have been
# trained. A fusion takes the minutes of its members.

# %%
drawn = {"standard": (*plan.PLANES, *plan.NETWORKS_2D, *plan.OTHERS), "S": ("unet2d", *plan.NETWORKS_2D)}
chosen = {name: found[found["model"].isin(drawn[name])] for name in drawn}
measured = all(set(chosen[name]["model"]) <= set(idle[name]) for name in drawn)
costs = {
    name: tables.costs(chosen[name], spec.names, schedule=name, idle=idle[name] if measured else None) for name in drawn
}
costs["S"] = costs["S"].rename(index=lambda model: f"{model} (S)")

# %%
together = pd.concat(costs.values())
if len(together):
    session.save(curves.dice_and_minutes(together), "minutes")
    if not measured:
        session.say(
            "**Minutes as each run recorded them, beside other work**: `make bench` measures them on an idle machine."
        )
    if unknown := sorted(together.index[together["minutes"].isna()]):
        session.say(
            f"**Missing here:** {', '.join(f'`{model}`' for model in unknown)}, of which no processor's minutes are known."
        )
else:
    session.say("**Not trained yet:** no model of the series.")

# %% [markdown]
# ## 14. Searching, without touching the scored people
#
# A search over rates, batch sizes and decays is a competition, and its winner's score is too good by the luck of winning. So every cell is
# scored on people cut from the *training* people (`inner` folds), and the two best are trained again on four other cuts, which did not choose
# them, and compared there with what is used without a search. The scored fold never takes part. Every run has the short schedule. Two
# searches: rate, batch and decay of the MobileNetV3 model, and the width of a coordinate head on the plain U-Net.

# %%
colours = dict(zip(("cell", "finalist", "not searched"), SERIES, strict=False))
what = {"search": "over rate, batch and decay of the MobileNetV3 model", "heads": "over the width of a coordinate head"}
inner = session.results.query("folds == 'inner' and schedule == 'S' and label == 'mean'")
for name, one in plan.SEARCHES.items():
    shown = list(dict.fromkeys([*one.cells, one.reference]))
    first = compare.means(inner[(inner["fold"] == 0) & inner["model"].isin(shown)]).reindex(shown).dropna()
    if first.empty:
        session.say(f"**Not trained yet:** the search `{name}`.")
        continue
    kinds = {one.reference: "not searched", **dict.fromkeys(one.finalists, "finalist")}
    named = {
        cell: ", ".join(f"{key.removeprefix('weight_')} {value}" for key, value in place.items())
        for cell, place in one.cells.items()
    }
    rows = [(named.get(cell, cell), kinds.get(cell, "cell"), "all cells") for cell in first.index]
    first[["row", "series", "panel"]] = rows
    near = first[first["value"] > first["value"].max() - 0.03].assign(panel="the best, enlarged")
    session.save(
        charts.dots(pd.concat([first, near]) if len(near) < len(first) else first, "mean Dice, inner fold 0", colours),
        f"search-{name}",
        key="search",
        what=what[name],
    )

# %% [markdown]
# Do both finalists stand at an edge of the grid? Then the best cell may lie beyond it.

# %%
places, finalists = pd.DataFrame(plan.SEARCHES["search"].cells).T, list(plan.SEARCHES["search"].finalists)
ends = {
    factor: {column.min(), column.max()} & set(column[finalists])
    for factor, column in places.items()
    if column[finalists].nunique() == 1
}
edge = [f"{factor} {value:g}" for factor, values in ends.items() for value in values]
if edge and len(inner):
    session.say(f"**Both finalists stand at the grid's edge** ({' and '.join(edge)}): the best may lie beyond it.")

# %%
usual = MODELS["unet2d-mobilenetv3"].training("S")
session.say(f"""Without a search the MobileNetV3 model has a rate of {usual.lr:g}, batches of {usual.batch} and a decay of
{usual.weight_decay:g}.""")
gains = {}
for name, one in plan.SEARCHES.items():
    later = inner[(inner["fold"] > 0) & inner["model"].isin([*one.finalists, one.reference])]
    if later.empty:
        continue
    means = later.groupby(["model", "fold"])["dice"].mean().groupby("model").agg(["count", "mean", "min", "max"])
    display(means.rename(columns={"count": "inner folds"}).rename_axis("cell").round(4))
    gains[name] = compare.differences(later.assign(fold=-1), one.reference)  # the four folds count as one
    session.say(f"What searching brought: finalists minus `{one.reference}`, on the folds that did not choose:")
    display(tables.readable_differences(gains[name]))
    session.facts(**{f"gained_{name}": tables.differences_in_words(gains[name])})

# %% [markdown]
# **What to look for.** How flat the top is, and whether the finalists keep their place on the folds that did not choose them (the table). All cells
# were scored on the same people, so intervals may overlap and a difference still be real. All cells saw every slice equally often, so a small
# batch made more steps and took longer: it may be the steps that pay. **What it does not show:** what lies between and beyond the cells.

# %% [markdown]
# ## What we learned

# %%
session.say(f"""
- From three neighbouring slices, the plain U-Net reaches a mean Dice of **{plain.mean():.3f}**; the box alone, image unread, gives
  {atlas.mean():.3f}.
- The MobileNetV3 model (`{mobile_model}`) reaches **{mobile.mean():.3f}** with {mobile.config["params"]:,} parameters against
  {plain.config["params"]:,}, one seed each; what three seeds say stands below.
- {100 * empty:.0f} % of the training slices are empty, and stay in.
""")
if len(short):
    session.say(f"- One thing changed, short schedule, three seeds. {tables.counts_in_words(short, '`unet2d`')}")
if len(long):
    session.say(f"- After the main schedule, minus `unet2d`: {tables.differences_in_words(long.droplevel(0))}.")
if len(moved):
    session.say(f"- What longer training adds to a difference: {tables.differences_in_words(moved)}.")
planed = pd.DataFrame({model: row for (kind, model), row in pairs.items() if kind.startswith("grouped")}).T
if len(planed):
    session.say(f"- Directions and their mean, minus `unet2d`: {tables.differences_in_words(planed.infer_objects())}.")
for name, gained in gains.items():
    session.say(
        f"- Searching {what[name]}, minus `{plan.SEARCHES[name].reference}` on people that did not choose: {tables.differences_in_words(gained)}."
    )

# %% [markdown]
# ## Limitations
#
# - Sections 5 to 8 show one fold and one seed; conclusions stand in sections 9 and 10, as far as seeds allow.
# - The boxes were cut around the truth (notebook 01), so no score here says what happens in a box placed by other means.
# - The recipes of others run on this project's slices; their own sizes, crops and file formats are not reproduced.
#
# ## Exercises
#
# 1. Train `unet2d-1slice` and `unet2d`, both with `hipposeg train <model> --schedule S --seed 7`, a seed that section 9 does not
#    have, and compare them as section 7 does: `a, b = (session.run(model, "grouped", 0, 7, "S") for model in (...))`. How far is that one difference
#    from those of the three seeds? An interval for their mean need not hold it.
# 2. In section 8, rank the cases by the difference between the two networks instead. What do the cases have in common where the encoder is
#    ahead?
# 3. Section 9 trains without empty slices (`unet2d+empty0`). Train it and `unet2d` on this machine (`hipposeg train <model> --schedule S
#    --retrain`), read the masks in `.work/msd/runs/<run>/masks.npz` with `hipposeg.results.store.unpacked`, and count the voxels that they call hippocampus in slices where the expert drew none. Which of both raises more false
#    alarms, and would a score that leaves out empty slices have told?
#
# ## References
#
# - Ronneberger et al. 2015, U-Net, [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28)
# - Isensee et al. 2021, nnU-Net, [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - Howard et al. 2019, MobileNetV3, [doi:10.1109/ICCV.2019.00140](https://doi.org/10.1109/ICCV.2019.00140)
# - Milletari et al. 2016, soft Dice, [doi:10.1109/3DV.2016.79](https://doi.org/10.1109/3DV.2016.79)
# - Antonelli et al. 2022, the data, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)

# %%
session.finish()
