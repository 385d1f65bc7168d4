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
# # 04. 3D U-Nets: the whole volume at once
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/04_unet3d.ipynb)
#
# **Question.** What does a network gain that sees the whole volume at once, and what does it pay for it?
#
# **What you will learn**
# - how the same U-Net becomes three-dimensional, and what its variants cost, counted by code;
# - why targets that are moved with an image should be shares of classes and not labels;
# - what deep supervision asks of a network's coarse stages;
# - how far a network could look, and how far it does look;
# - what context across slices buys, shown on cases and as a number;
# - what mirror images do to a network when all volumes are stored in one orientation, in prediction and in training;
# - what a head that reads coordinates can do between the voxels.
#
# **Reads:** the data set, `folds.json`; of notebook 03 the run `unet2d`, which is trained here if it is missing; the finished planned runs
# in `artifacts/`.
# **Writes:** `figures/04_*`, `facts/04_unet3d.json`, the runs of the model `unet3d` and of the flagship with their masks.
# **Run time:** that of two trainings under `standard`; about a minute under `smoke` and `stored`, or when the runs are cached.

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
import re
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from IPython.display import Code, display
from torch.nn import functional

from hipposeg import stats
from hipposeg.data import grid
from hipposeg.experiments import RunSpec, plan
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.experiments.samples import images_of, make_samples
from hipposeg.experiments.weights import initial
from hipposeg.inference import VIEWS
from hipposeg.models import cost, unet
from hipposeg.notebook import headless, start
from hipposeg.results import compare, store, tables
from hipposeg.results.load import ATLAS
from hipposeg.training import losses
from hipposeg.training.augmentation import augment
from hipposeg.training.batches import seeded
from hipposeg.training.machine import this_machine
from hipposeg.viz import curves, slices, surface
from hipposeg.viz import intervals as charts
from hipposeg_lab.bench import summary as bench_summary
from hipposeg_lab.figures import architecture, bench, mistakes
from hipposeg_lab.figures import maps as overlays
from hipposeg_lab.studies import comparisons, making, probe
from hipposeg_lab.studies import offgrid as study
from hipposeg_lab.studies.published import PUBLISHED

session = start("04_unet3d", profile)
spec, cohort = session.spec, session.cohort
fold = session.folds["grouped"][0]
schedule = "smoke" if profile == "smoke" else "standard"

# %% [markdown]
# ## 1. From slices to volumes
#
# The 2D network of notebook 03 got a slice and its two neighbours. A 3D network gets the volume: one sample is one whole box, padded or
# cropped about its centre to one size, so that samples can be stacked into a batch. There is one channel, because what was a channel
# before, the neighbouring slice, is now an axis.

# %%
model = MODELS["unet3d"]
images = images_of(cohort, model.prep, session.ws)
samples = make_samples(images, cohort, model.prep, fold["train"])
labels = {number: case.label for number, case in cohort.cases.items()}
cropped = [n for n, label in labels.items() if any(np.greater(label.shape, model.prep.size))]
lost = sum(int((label > 0).sum() - (grid.place(label, model.prep.size)[0] > 0).sum()) for label in labels.values())
session.facts(training_volumes=len(samples.images), boxes_cropped=len(cropped), label_voxels_cropped=lost)
session.say(f"""The {len(fold["train"])} training volumes are {len(samples.images)} samples of
{" x ".join(map(str, samples.images.shape[2:]))} voxels ({samples.images.numpy().nbytes / 1e6:.0f} MB). Of all {len(labels)} boxes
**{len(cropped)}** are larger than that along some axis and lose a little at their ends; hippocampus lost by it: **{lost} voxels**.""")

# %%
largest = int((samples.labels > 0).flatten(1).sum(1).argmax())
image, label = samples.images[largest, 0].numpy(), samples.labels[largest].numpy()
session.save(
    slices.three_plane(
        image, {"image": None, "label": label}, spec, "One training sample", spacing=cohort.spec.spacing
    ),
    "sample",
)

# %% [markdown]
# **What we see.** In every plane the border is as sharp as in any other, since voxels are cubes here; no plane is special to the network.
# **What it does not show:** the price. A volume is one sample where it was dozens of slices, so there are far fewer samples, each far
# more expensive.

# %% [markdown]
# ## 2. The network and its variants
#
# The code is that of notebook 03 with `dims=3`: every convolution, norm and transposed convolution exists for both. This is how it walks
# down and up its ladder of resolutions, and what it returns:

# %%
walk = (unet.UNet.encoded, unet.UNet.decoded, unet.UNet.forward)
display(Code("\n".join(map(inspect.getsource, walk)), language="python"))

# %% [markdown]
# The residual variant adds a shortcut around each block, so that a block only has to learn what to change:

# %%
display(Code(inspect.getsource(unet.ResidualBlock), language="python"))

# %% [markdown]
# Variants differ in width, in depth, in their blocks, in what is supervised, or leave convolutions for attention. All of them are built
# here, and their cost is counted on one box, not copied from papers: `unet3d-nnunet-light`, `unet3d-nnunet` and
# `unet3d-nnunet-performance` are the Lightweight, Balanced and Performance sizes of one plan.

# %%
variants = {name: one for name, one in MODELS.items() if one.notebook == "04" and one.build and "+" not in name}
rows = {}
for name, one in variants.items():
    made = one.build(one.prep.channels(len(spec.channels)), spec.n_classes)
    work = cost.gflops(made, one.prep.channels(len(spec.channels)), one.prep.axis, one.prep.spacing)
    rows[name] = {"what it is": MODELS[name].title, "parameters": cost.parameters(made), "GFLOP": work}
variant_costs = pd.DataFrame(rows).T
session.facts(parameters=variant_costs["parameters"].to_dict(), gflops=variant_costs["GFLOP"].to_dict())
box = " x ".join(map(str, cost.REFERENCE_VOLUME))
session.say(f"Parameters, and operations of one forward pass over a box of {box} mm, counted by torch:")
display(variant_costs.style.format({"parameters": "{:,.0f}", "GFLOP": "{:.1f}"}).set_uuid("variants"))

# %% [markdown]
# **What we see.** Parameters and operations are two things: most parameters sit in the coarse stages, most operations in the fine ones.
# Models that work at 2 mm have larger voxels, so fewer of them. An eighth would be enough; it is more, because each side is rounded up to a
# number that the network can halve.
# **What it does not show:** minutes. A processor likes some shapes better than others; section 9 has the measured time where it is known.

# %% [markdown]
# ## 3. Augmentation of volumes, and targets that are shares
#
# Each time a volume is used it is turned about all three axes, scaled, shifted, bent, and its contrast changed. It is not mirrored
# (section 7 tells why). The label must move with the image. Moved as whole labels, each voxel gets the class of its nearest neighbour,
# and the border jumps by up to half a voxel, at random. So labels become **shares**: how much of each voxel belongs to each class. Shares
# can be interpolated like any image, and the border stays where it went, to a fraction of a voxel.

# %%
recipe = model.training(schedule)
order = (samples.labels > 0).flatten(1).sum(1).argsort(descending=True)
rows, soft = {}, []
for row, index in enumerate(int(order[k]) for k in (0, len(order) // 2)):
    picture = slices.fullest(samples.labels[index].numpy(), 0, model.prep.size)
    batch = [part[[index] * 4] for part in (samples.images, samples.labels)]
    moved = augment(*batch, spec.n_classes, recipe.augmentation, seeded(0, "volumes", row))
    panels = [("as it is" if not row else "", samples.images[index, 0, picture].numpy(), None)]
    pairs = zip(moved.images[:, 0, picture].numpy(), moved.targets[:, :, picture].numpy(), strict=True)
    panels += [("", *pair) for pair in pairs]
    rows[f"volume {row + 1}"] = panels
    foreground = moved.targets[:, 1:].sum(1)
    soft.append(float(((foreground > 0) & (foreground < 1)).sum() / (foreground > 0).sum()))
session.save(overlays.strips(rows, spec), "augmentation")
session.facts(share_of_soft_voxels=float(np.mean(soft)))
session.say(f"""Of the voxels that hold any hippocampus here, **{100 * np.mean(soft):.0f} %** hold a share that is neither none nor all: so
much of so thin an organ is border.""")

# %% [markdown]
# **What we see.** Edges are faint by one voxel: a voxel that is half hippocampus asks for one half. And since the turning is in three
# dimensions, one slice shows tissue that came from several. **What it does not show:** that it helps. Notebook 03 measures that for slices,
# with several seeds; the strength used here was set in pilots on `dev` and frozen there.

# %% [markdown]
# ## 4. Deep supervision: asking the coarse stages, too
#
# In a plain U-Net only the finest stage is judged, and coarser ones learn through it. With deep supervision coarser decoder stages have
# heads of their own in training, and are judged at their own resolution. Where do they sit? The diagram is drawn from the module itself and
# not by hand: the network is run once, a box is a block that ran, and an arrow says that one block reads another.

# %%
channels = model.prep.channels(len(spec.channels))
deep = MODELS["unet3d-nnunet"].build(channels, spec.n_classes).train()
stages = architecture.trace(deep, channels, model.prep.size)
session.save(architecture.diagram(stages, "unet3d-nnunet"), "architecture")
coarse = sum(stage.parameters for stage in stages if stage.name.startswith("coarse_heads"))
session.say(f"""The coarse heads have **{coarse:,}** of the {cost.parameters(deep):,} parameters.""")

# %% [markdown]
# **What we see.** Each coarse head is one linear layer on a decoder stage that is there anyway: supervision costs next to nothing, and
# reaches the depth of the U without passing through the finer stages. Most parameters sit at the bottom, where a voxel is largest.
# **What it does not show:** where the operations are, which is at the top (section 2).
#
# What is right at a coarse voxel? Again a share: the mean over the fine voxels that it covers.

# %%
target = functional.one_hot(samples.labels[[largest]].long(), spec.n_classes).movedim(-1, 1).float()
with torch.no_grad():
    answers = deep(samples.images[[largest]])
panels = []
for answer in answers:
    step = target.shape[-1] // answer.shape[-1]
    asked = functional.avg_pool3d(target, step)[0].numpy()
    place = slices.fullest(label, 0, label.shape)
    title = f"{' x '.join(map(str, asked.shape[1:]))} voxels"
    panels.append((title, image[place], asked[:, place // step]))
session.save(overlays.strips({"targets": panels}, spec), "deep-supervision")

# %% [markdown]
# **What we see.** The coarse targets say where the organ lies and how it divides, and are vague about the border, as they should be: a
# label forced on each coarse voxel would claim an edge that is not there. In evaluation the coarse heads are silent.
#
# The loss is a weighted sum over heads, and an ordinary loss where there is one head:

# %%
display(Code(inspect.getsource(losses.segmentation_loss), language="python"))

# %% [markdown]
# ## 5. Training the plain network and the flagship
#
# Two networks are trained here: the plain 3D U-Net, which is the yardstick of every other model, and the flagship, which the project would
# hand to a user. Both recipes were chosen on `dev`, a part of the training people, and frozen before this fold was scored.
# **Muon** takes the weights that are matrices and gives each update's directions equal size; AdamW takes the others. Both follow a
# one-cycle schedule: up in the warm-up, then down, to nothing in `unet3d`; the flagship's training ends before that (`horizon`). What is
# scored is the running average of the weights over the last steps.

# %%
trained = list(dict.fromkeys(("unet3d", FLAGSHIP)))
recipes = {name: pd.json_normalize(asdict(MODELS[name].training(schedule))).iloc[0] for name in trained}
session.say("The recipes as they are run, all settings:")
display(pd.DataFrame(recipes).fillna("none").astype(str))
if MODELS[FLAGSHIP].prep.views:
    session.say(f"""`{FLAGSHIP}` also differs in how it is asked: its answer is the mean over {len(VIEWS)} slightly turned and shifted copies of the
box, each brought back. Strided convolutions are not indifferent to where their grid lies; the mean nearly is.""")

# %% [markdown]
# Everything that takes more than one run per model, such as seeds and folds, is planned in `src/hipposeg/experiments/plan.py`. These runs
# take hours to train, so they are read here as far as they are finished; where a run is missing, the text says so.

# %%
found = session.planned()
on_fold_0 = found.query("folds == 'grouped' and fold == 0 and schedule == 'standard' and label == 'mean'")

# %% [markdown]
# How the flagship was chosen: these runs of the series were scored on `dev`. The rule: among recipes whose difference to the best is
# too small to matter (the margin of equivalence), one network rather than several, and of those the highest.
# The field's usual way to a last gain, a mean over networks, is among them: volumes and slices in three directions.

# %%
table = tables.beside(found, FLAGSHIP, spec.names, "dev")
if len(table):
    shown = {"minutes": "{:.1f}", "seeds": "{:.0f}"} | dict.fromkeys(spec.names, "{:.4f}")
    display(table.style.format(shown, na_rep="").set_uuid("dev"))
else:
    session.say("**Not trained yet:** none of them.")

# %% [markdown]
# **What to look for.** How near the top lie together, and at how different a price. What being asked from eight sides adds, which costs
# no training, beside what three more networks add, which does. **What it does not show:** which recipe is best. A few dozen people decide about
# thousandths here, and a choice among many flatters the chosen one, so none of these numbers is a result. Minutes are those of one
# thread beside another training.

# %%
runs = {name: session.run(name) for name in trained}
plain, flagship = runs["unet3d"], runs[FLAGSHIP]
session.save(curves.training_curves({name: run.history for name, run in runs.items()}), "curves")

# %% [markdown]
# **What to look for.** How much of the Dice comes early, and whether `unet3d`'s last epochs, in which its rate goes to nothing, still add to
# it or cost some. **What it does not show:** the flagship's views. Each point is one pass over a volume; its score below is a mean over several.

# %%
people = plain.subjects().to_numpy()
gain = stats.paired(flagship.values().to_numpy(), plain.values().to_numpy(), people)
session.facts(dice_unet3d=plain.mean(), dice_flagship=flagship.mean(), flagship=FLAGSHIP)
session.say(f"""On the {len(people)} volumes of fold 0: `unet3d` **{plain.mean():.4f}**, `{FLAGSHIP}` **{flagship.mean():.4f}** mean Dice.
Paired difference {stats.signed(gain.difference)}, 95 % interval over {gain.n_subjects} subjects {gain.low:+.4f} to {gain.high:+.4f}; one seed each,
so no conclusion. (A mean counts volumes, a difference counts people, so it need not be the difference of the means.)""")

# %% [markdown]
# ### How much rounding changes
#
# A training does not repeat to the digit on another machine: another number of threads, or another processor, adds in another order, rounds
# elsewhere, and ends in other weights. These runs were trained twice, with the same seed. The last column shows how far two seeds lie apart.

# %%
if session.ws.is_phantom:
    session.say("**Not available:** no run on the phantom was trained twice.")
else:
    twice = pd.read_csv(session.ws.artifacts / "studies" / "rounding.csv")
    twice = twice[~twice["run"].str.startswith(ATLAS)].assign(moved=lambda rows: rows["dice_b"] - rows["dice_a"])
    twice["model"] = twice["run"].str.split(".").str[0]
    rounding = twice.groupby("model")["moved"].mean()
    first = twice.groupby("model").first()
    on_two = first["processor_a"] != first["processor_b"]
    every = plan.finished(session.results, [RunSpec(name, seed=seed) for name in rounding.index for seed in plan.SEEDS])
    every = every[every["label"] == "mean"].groupby(["model", "seed"])["dice"].mean().unstack()
    seeds_apart = pd.concat([(every[a] - every[b]).abs() for a, b in combinations(plan.SEEDS, 2)], axis=1)
    seeds_apart = seeds_apart.dropna().mean(axis=1).reindex(rounding.index)
    display(pd.DataFrame({
        "differs in": np.where(on_two, "threads and processor", "threads"),
        "mean Dice, difference": rounding.map(stats.signed),
        "between two seeds, mean": [f"{value:.4f}" if value == value else "one seed" for value in seeds_apart],
    }, index=rounding.index))  # fmt: skip
    size, both = rounding.abs(), pd.DataFrame({"rounding": rounding.abs(), "seed": seeds_apart}).dropna().mean()
    alike = 0.5 < both["rounding"] / both["seed"] < 2
    session.facts(rounding_mean=float(size.mean()), rounding_largest=float(size.max()))
    session.say(f"""Rounding changes the mean Dice by **{size.mean():.4f}** on average over the {len(size)} pairs, at most by {size.max():.4f}
(`{size.idxmax()}`). The {on_two.sum()} pairs on two processors differ by {" and ".join(f"{value:.4f}" for value in size[on_two])}.
Where there are three seeds, rounding changes it by {both["rounding"]:.4f} and another seed by {both["seed"]:.4f} on average{
        ": rounding acts like one more seed" if alike else ""}. One pair per model is an indication only.""")  # fmt: skip

# %% [markdown]
# CPUs without bfloat16 train in float32. Is that another result? Both were trained with three seeds on fold 0.

# %%
both = session.every_run.query(
    "folds == 'grouped' and fold == 0 and schedule == 'standard' and label == 'mean' and device == 'cpu'"
)
both = both[both["model"].isin(plan.PRECISION)]
pairs = {name: compare.differences(rows, "bf16", by="precision") for name, rows in both.groupby("model")}
pairs = {name: rows.loc[["fp32"]] for name, rows in pairs.items() if "fp32" in rows.index}
if pairs:
    session.say("Float32 minus bfloat16, mean Dice: " + "; ".join(
        f"`{name}` {tables.differences_in_words(rows.rename({'fp32': 'float32'}))}" for name, rows in pairs.items()
    ) + ". So every table compares Dice across precisions; times are compared within one.")  # fmt: skip
    session.facts(precision={name: rows.loc["fp32", "difference"] for name, rows in pairs.items()})
else:
    session.say("**Not available:** these runs were not trained in both precisions.")

# %% [markdown]
# ## 6. What context buys
#
# ### How far a network could look, and how far it does
#
# The **theoretical** receptive field is what kernels and strides allow: all voxels from which any path leads to an output. The
# **effective** one is what the network makes of it: the gradient of one voxel's answer with respect to each voxel of the input (Luo et
# al. 2016). Both are computed below for the voxel in the middle of the box, before and after training. Instance norm is set aside in the
# theoretical one, as it lets every voxel know means over the whole input.

# %%
machine = this_machine()
flat = session.run("unet2d")
probed = [images[number] for number in fold["train"][:4]]
maps, widths = {}, {}
sliced = MODELS["unet2d"].prep
cut, side_on = slices.plane_name(spec, sliced.axis), 0 if sliced.axis else 1
for name, run in {"2D": flat, "3D": plain}.items():
    one = MODELS[run.model]
    prep, network = one.prep, initial(RunSpec(run.model, schedule=schedule), spec)
    wide = probe.theoretical(network, prep.channels(len(spec.channels)), one.dims)
    wide = wide if prep.axis is None else (*wide[: prep.axis], 1 + 2 * prep.neighbours, *wide[prep.axis :])
    for when, made in {"before training": network, "trained": session.network(run)}.items():
        if made is not None:
            maps[f"{name}, {when}"] = probe.effective_field(made, prep, probed, machine)
            widths[f"{name}, {when}"] = wide
middle = tuple(side // 2 for side in model.prep.size)
asked = np.zeros(model.prep.size, np.uint8)
asked[middle] = 1
shown = {name: np.log10(np.maximum(one / one.max(), 1e-4)) for name, one in maps.items()}
view = overlays.MapView("", samples.images[0, 0].numpy(), asked, shown, spec.spacing)
what = "gradient, as a power of ten of its largest value"

# %%
for slug, axis in {"receptive-field": sliced.axis, "receptive-field-side": side_on}.items():
    session.save(
        overlays.maps([view], spec, "Effective receptive fields", axis, what=what, limits=(-4, 0)),
        slug,
        key="receptive-field",
        volumes=len(probed),
        where="in the plane that the 2D network works in."
        if axis == sliced.axis
        else "across the slices of the 2D network.",
    )

# %%
reach = {name: probe.radius(one, middle, 0.5, spec.spacing) for name, one in maps.items()}
session.facts(half_of_field_within_mm=reach, theoretical_field={name: list(wide) for name, wide in widths.items()})
rows = {
    name: {
        "theoretical (voxels)": " x ".join(map(str, widths[name])),
        "half of it within (mm)": f"{reach[name]:.1f}",
        "nine tenths within (mm)": f"{probe.radius(one, middle, 0.9, spec.spacing):.1f}",
        "beyond the 2D network's slices (%)": f"{100 * probe.share_beyond(one, middle, sliced.axis, sliced.neighbours):.0f}",
    }
    for name, one in maps.items()
}
display(pd.DataFrame(rows).T)
if len(maps) < 4:
    session.say(
        "**Weights are not on this machine**, so fields of trained networks are missing; `standard` makes them."
    )

# %% [markdown]
# **How to read it.** The theoretical field is wider than the box, so it says little. The columns in millimetres say more: half of what moves
# an answer may lie close by while the rest is spread thinly over most of the box. Beyond the slices that the 2D network is given it cannot
# see anything, and the last column says how much of what moves the 3D network lies there.
# **What it does not show:** that this part is needed. A gradient says what is used, not what is useful.
#
# ### Slices that line up
#
# A 2D network decides each slice for itself. Where two neighbours are decided differently, the surface jumps. That can be measured: the
# area in which the class changes from a slice to the next, averaged over a volume. The truth has such jumps, too, as the organ is curved
# and was drawn by hand. So the truth's own value is the mark, not zero.

# %%
stacks = {"truth": {number: labels[number] for number in fold["scored"]}, "unet2d": flat.masks}
stacks |= {name: run.masks for name, run in runs.items()}
jumps = probe.jumps(stacks, cohort)
rows = []
for (source, axis), group in jumps.groupby(["source", "axis"], sort=False):
    one = stats.interval(group.jump.to_numpy(), group.subject.to_numpy())
    rows.append({"row": source, "panel": f"across {slices.plane_name(spec, axis)} slices", **vars(one)})
session.save(charts.dots(pd.DataFrame(rows), "changed area (mm²)"), "slice-jumps", cut=cut)

# %%
across = jumps[jumps.axis == sliced.axis].pivot(index="case", columns="source", values="jump")
for name in (name for name in stacks if name != "truth"):
    one = stats.paired(across[name].to_numpy(), across["truth"].to_numpy(), people)
    session.facts(**{f"jump_{name}_minus_truth": one.difference})
    session.say(f"""`{name}` minus truth, across {cut} slices: **{one.difference:+.1f} mm²**, 95 % interval {one.low:+.1f} to {one.high:+.1f}
(the truth's own jump is {across["truth"].mean():.1f} mm²).""")
one = stats.paired(across["unet2d"].to_numpy(), across["truth"].to_numpy(), people)
session.say("Across its own slices the 2D network changes " + (
    "**more** than the truth: its slices do not line up." if one.low > 0 else
    "**less** than the truth: the fear of torn surfaces is not borne out, its stack is smoother than the drawing."
    if one.high < 0 else "about as much as the truth."))  # fmt: skip

# %% [markdown]
# **What we see.** Above the truth's mark slices do not line up; below it a surface is smoother than the experts drew it.
# **What it does not show:** which is right. A smooth surface in the wrong place has no jumps either.
#
# ### On cases
#
# Three scored volumes by rule, ranked by what the 3D network gains over the 2D one: best is the largest gain, worst the smallest or a
# loss. Cut across the 2D network's slices, so that its stack shows from the side: each column of voxels is another of its slices.

# %%
compared, views = plain.values() - flat.values(), []
for rank, number in tables.cases_by_rule(compared).items():
    case = cohort.cases[number]
    title = f"{rank}: case {number:03d}\n3D minus 2D {compared[number]:+.3f}"
    masks = {name: stacks[name][number] for name in ("truth", "unet2d", "unet3d")}
    views.append(slices.CaseView(title, case.image[0], masks, case.spacing))
session.save(
    slices.row_of_cases(views, spec, "Truth, 2D and 3D", axis=side_on),
    "context-cases",
    plane=slices.plane_name(spec, side_on).capitalize(),
)

# %%
one = stats.paired(plain.values().to_numpy(), flat.values().to_numpy(), people)
session.facts(unet3d_minus_unet2d={"difference": one.difference, "low": one.low, "high": one.high})
session.say(f"""Mean Dice, `unet3d` minus `unet2d`: **{one.difference:+.4f}**, 95 % interval over {one.n_subjects} subjects {one.low:+.4f} to
{one.high:+.4f}. One seed each, so no conclusion; what each costs stands in section 9.""")

# %% [markdown]
# **What to look for.** Steps from column to column of voxels, and strays, in the 2D stack.
# **What it does not show:** much that Dice would notice. A jump of one voxel in one slice is a small volume.

# %% [markdown]
# ## 7. Flips, and the data's one orientation
#
# Mirroring is in every augmentation library and on by default in nnU-Net. It assumes that a mirror image is as likely as the image. Here
# all volumes are stored in one orientation, left and right hippocampi alike (notebook 01), so it is not. What does a network that was
# never shown a mirror image make of one? The study of changed images (notebook 07) mirrors each scored volume, predicts, mirrors the
# prediction back, and scores it. The study of uncertainty averages both predictions, which is called test-time augmentation by flips.

# %%
robust, sure = (making.read(session.ws, name) for name in ("robustness", "detection"))
if robust is None or sure is None:
    session.say(making.absent("robustness"))
else:
    mirrored = robust[(robust["change"] == "mirrored axis 0") & (robust["severity"] > 0) & (robust["label"] == "mean")]
    for row in mirrored[mirrored["run"].isin(["unet3d", "unet3d+flip"])].itertuples():
        session.facts(**{f"mirrored_minus_stored_{row.run}": row.difference})
        session.say(f"""`{row.run}`, mirrored minus as stored: **{row.difference:+.4f}**, 95 % interval {row.difference_low:+.4f} to
{row.difference_high:+.4f}, over {row.subjects} subjects.""")
    flips = sure.drop_duplicates("method").set_index("method")["dice"]
    shown = {"one network": "`unet3d` as stored", "flips, trained without (trap)": "its mean over flips",
             "flips, trained with flips": "`unet3d+flip`, mean over flips"}  # fmt: skip
    session.say(
        "Mean Dice: " + "; ".join(f"{text} {flips[name]:.4f}" for name, text in shown.items() if name in flips) + "."
    )

# %% [markdown]
# **How to read it.** What is lost between *as stored* and *mirrored* is how far the network is from being symmetric; nothing in its training
# asked it to be. Averaging over flips mixes an answer with one to a question that was never taught. One seed each, so no conclusion.
# What does training with flips cost? `unet3d+flip` was trained with half of its samples mirrored. Over three seeds:

# %%
family = next(one for one in comparisons.FAMILIES if one.title == "3D, equal steps")
equal = on_fold_0[on_fold_0["model"].isin(["unet3d", *family.models])]
equal_steps = compare.differences(equal, "unet3d", declared=len(family.models))
if "unet3d+flip" in equal_steps.index:
    flip = equal_steps.loc["unet3d+flip"]
    session.facts(flip=flip[["difference", "low", "high", "conclusion"]].to_dict())
    session.say(
        f"Mean Dice, minus `unet3d`; *p* is adjusted for all {len(family.models)} comparisons with it (section 9):"
    )
    display(tables.readable_differences(equal_steps.loc[["unet3d+flip"]]))
    meaning = {
        "equivalent": "So being shown mirror images costs next to nothing here.",
        "worse": "So mirror images that a network has to learn cost it something, though none is ever asked about.",
        "better": "So learning mirror images pays, though none is ever scored.",
    }
    session.say(meaning.get(flip["conclusion"], "Whether training with flips costs anything stays open."))
else:
    session.say("**Not trained yet:** `unet3d` and `unet3d+flip`, so there is no conclusion.")

# %% [markdown]
# ## 8. Five folds
#
# One fold is one draw of people. The flagship is trained on all five folds of two kinds: `grouped`, which keeps both hippocampi of a person
# on one side, and `nnunet`, the split by volume that published numbers use, in which the other hippocampus of many a scored volume is in
# training. The first is the number that this project stands by, the second is for comparison with others.

# %%
ten = found.query("seed == 0 and schedule == 'standard' and label == 'mean' and folds in ('grouped', 'nnunet')")
ten = ten.sort_values("folds", kind="stable")
five, atlas = ten[ten["model"] == FLAGSHIP], ten[ten["model"] == ATLAS]

# %%
if len(five):
    peers = {one.method: one.mean for one in PUBLISHED if one.method in ("nnU-Net, 3d_fullres", "MONAI DynUNet")}
    points = [{"panel": f"{kind} folds", "row": f"fold {fold}", "value": group.dice.mean(), "series": "one fold"}
              for (kind, fold), group in five.groupby(["folds", "fold"])]  # fmt: skip
    points += [{"panel": f"{kind} folds", "row": "all folds", "series": "all folds",
                **vars(stats.interval(group.dice.to_numpy(), group.subject.to_numpy()))}
               for kind, group in five.groupby("folds")]  # fmt: skip
    points += [{"panel": "nnunet folds", "row": method, "value": value, "series": "reported by others"}
               for method, value in ({} if session.ws.is_phantom else peers).items()]  # fmt: skip
    session.save(charts.dots(pd.DataFrame(points), "mean Dice", one_scale=True), "folds", FLAGSHIP=FLAGSHIP)

# %%
if len(five):
    rows = {}
    for kind, group in five.groupby("folds"):
        one, later = stats.interval(group.dice.to_numpy(), group.subject.to_numpy()), group[group.fold > 0]
        rows[kind] = {"folds there": group.fold.nunique(), "volumes": len(group), "mean Dice": f"{one.value:.4f}",
                      "95 % interval": f"{one.low:.4f} to {one.high:.4f}",
                      "folds 1 to 4 only": f"{later.dice.mean():.4f}" if len(later) else "none"}  # fmt: skip
        unread = atlas[atlas.folds == kind].dice.mean() if len(atlas) == len(five) else None
        rows[kind]["image never read"] = "none" if unread is None else f"{unread:.4f}"
        session.facts(**{f"folds_{kind}": {**vars(one), "volumes": len(group), "atlas": unread}})
    display(pd.DataFrame(rows).T)
else:
    session.say("**Not trained yet:** none of the ten.")

# %% [markdown]
# **What to look for.** How far folds lie apart by the draw of people alone: two methods scored on one fold each could differ by as much.
#
# Folds 1 to 4 stand apart for two reasons. Of the `nnunet` folds, pilots looked at fold 0. Of the `grouped` folds it is the other way round:
# recipes were developed on people who train in fold 0 and are scored in the others, so fold 0 is the one that no choice was made on.
#
# What does the change of folds alone change? Both kinds score the same cases. (Not only siblings differ: training sets hold other people, and
# more of them. What a sibling is worth, with nothing else changed, is asked in notebook 07.)

# %%
complete = five["run"].nunique() == 10
both = five.pivot(index="case", columns="folds", values="dice").dropna() if complete else pd.DataFrame()
if len(both):
    subjects = five.drop_duplicates("case").set_index("case").subject.reindex(both.index)
    one = stats.paired(both["nnunet"].to_numpy(), both["grouped"].to_numpy(), subjects.to_numpy())
    session.facts(split_by_volume_minus_by_person=one.difference)
    session.say(f"""The same {len(both)} volumes, split by volume minus split by person: **{stats.signed(one.difference)}**, 95 %
interval {stats.signed(one.low)} to {stats.signed(one.high)}; one seed, so no conclusion.""")
else:
    session.say("This comparison needs all five folds of both kinds, which are not trained yet.")

# %% [markdown]
# Did the choice on `dev` hold? `unet3d-long` was the flagship before: half as many epochs more, foreground weighed twice. The same volumes,
# each scored by a network that never saw it:

# %%
before, rows = ten[ten["model"] == "unet3d-long"], {}
for kind in sorted(set(five["folds"]) & set(before["folds"])):
    now = five[five.folds == kind].set_index("case").sort_index()
    old = before[before.folds == kind].set_index("case").reindex(now.index)
    if old.dice.notna().all():
        one = stats.paired(now.dice.to_numpy(), old.dice.to_numpy(), now.subject.to_numpy())
        rows[kind] = {f"`{FLAGSHIP}`": f"{now.dice.mean():.4f}", "`unet3d-long`": f"{old.dice.mean():.4f}",
                      "difference": stats.signed(one.difference),
                      "95 % interval": f"{stats.signed(one.low)} to {stats.signed(one.high)}"}  # fmt: skip
display(pd.DataFrame(rows).T) if rows else session.say("**Not trained yet:** five folds of both.")

# %% [markdown]
# ### How few steps are enough?
#
# The flagship's schedule squeezed into fewer epochs. Like the flagship's own, it is cut at two thirds of its length, so the learning rate
# never reaches zero; at half the epochs a second run follows the schedule to its end. All are trained in float32 and scored on `dev`. The
# rule, fixed beforehand: the fewest epochs whose mean Dice lies at most a thousandth below the longest run's.

# %%
SHORTER = {"e": "cut at two thirds", "a": "to its end"}
shorter = found[(found["model"] == FLAGSHIP) & (found["label"] == "mean") & found["schedule"].str.fullmatch(r"[ea]\d+")]
shorter = shorter.assign(
    epochs=shorter["schedule"].str[1:].astype(int), learning_rate=shorter["schedule"].str[0].map(SHORTER)
)
on_dev = shorter[shorter["folds"] == "dev"].groupby(["epochs", "learning_rate"], as_index=False)
on_dev = on_dev.agg(steps=("steps", "first"), seeds=("seed", "nunique"), dice=("dice", "mean"))
if len(on_dev):
    longest = on_dev.iloc[-1]
    enough = on_dev[on_dev.dice >= longest.dice - 0.001].iloc[0]
    shown = (
        on_dev.rename(columns={"dice": "mean Dice", "learning_rate": "learning rate"})
        .style.format({"mean Dice": "{:.4f}"})
        .hide(axis="index")
    )
    display(shown.set_uuid("lengths"))
    session.say(f"""{enough.epochs} of {longest.epochs} epochs are enough by that rule: a mean Dice of {enough.dice:.4f} on `dev`
against {longest.dice:.4f}.""")
else:
    session.say("**Not trained yet:** none of them.")

# %% [markdown]
# The length that `dev` chose, scored once on folds of both kinds, beside the flagship's own length on the same folds. The short runs are
# float32, the long ones bfloat16, so these differences also hold what rounding does.

# %%
rows = {}
for (kind, number), mine in shorter[shorter["folds"] != "dev"].groupby(["folds", "fold"]):
    theirs = five[(five["folds"] == kind) & (five["fold"] == number)]
    if theirs.empty:
        continue
    mine, theirs = mine.set_index("case").sort_index(), theirs.set_index("case").sort_index()
    pair = stats.paired(mine.dice.to_numpy(), theirs.dice.to_numpy(), mine.subject.to_numpy())
    rows[f"`{kind}` fold {number}"] = {
        "steps": f"{mine.steps.iloc[0]} and {theirs.steps.iloc[0]}", "short": f"{mine.dice.mean():.4f}",
        "flagship": f"{theirs.dice.mean():.4f}", "difference": stats.signed(pair.difference),
        "95 % interval": f"{stats.signed(pair.low)} to {stats.signed(pair.high)}",
    }  # fmt: skip
display(pd.DataFrame(rows).T) if rows else session.say("**Not trained yet:** none of them.")

# %% [markdown]
# ## 9. One thing at a time: the table of models
#
# Every model on `grouped` fold 0, with the settings of `unet3d` but for those in the first table. The flagship has a longer schedule and its
# views, whose eight passes the GFLOP of one pass leave out. Minutes are those of a schedule alone on an idle machine, where `make bench`
# has measured them (section 12); else those of the run's own training with **one thread, beside another training**, so only runs of `unet3d`'s
# processor are listed. The 2D network of notebook 03 stands beside them if one trained it, because between 2D and 3D only time is a common
# measure.

# %%
yardstick = pd.json_normalize(asdict(MODELS["unet3d"].training(schedule))).iloc[0]
rows = []
for name, one in MODELS.items():
    if one.notebook != "04" or name == "unet3d" or not one.build:
        continue
    recipe_here = pd.json_normalize(asdict(one.training(schedule))).iloc[0]
    settings = [f"{key} {value}" for key, value in recipe_here.items() if str(value) != str(yardstick.get(key))]
    prep = [f"{key} {value}" for key, value in asdict(one.prep).items() if value != getattr(MODELS["unet3d"].prep, key)]
    rows.append(
        {
            "model": name,
            "network": re.sub(r"^[\w.]*\.", "", one.network),
            "other than `unet3d` in": "; ".join(settings + prep) or "the network",
        }
    )
with pd.option_context("display.max_colwidth", None):
    display(pd.DataFrame(rows).set_index("model"))

# %%
found_bench = {} if session.ws.is_phantom else bench_summary.read(session.ws.root)
idle = bench_summary.idle_minutes(found_bench)
same = pd.concat([plan.of_notebook(session.results, "03").query("model == 'unet2d'"), found])
yard = found.loc[found["model"] == "unet3d", ["processor", "device", "precision"]]
same = same.merge(yard.head(1))
table = tables.costs(same, spec.names, idle=idle)
if len(table):
    session.say(
        "Minutes: each model's schedule alone on an idle machine, measured by `make bench`."
        if idle else "**Minutes as each run recorded them, beside other work**: `make bench` measures them on an idle machine."
    )  # fmt: skip
    shown = dict.fromkeys(table.columns, "{:.4f}") | dict.fromkeys(("params", "steps", "dims", "seeds"), "{:,.0f}")
    shown |= {"gflops": "{:.1f}", "minutes": "{:.1f}", "mean Dice": "{:.4f}"}
    display(table.rename(columns={"value": "mean Dice"}).style.format(shown, na_rep="none").set_uuid("models"))
    session.save(curves.dice_and_minutes(table), "models")
else:
    session.say("**Not trained yet:** `unet3d`, so there is no table.")

# %%
if len(equal_steps):
    session.say("Mean Dice minus `unet3d`, models with equal steps only; *p* is adjusted for their number (Holm):")
    display(tables.readable_differences(equal_steps))

# %% [markdown]
# **How to read it.** A difference is a model's only if it holds over seeds, so a row with one seed has no conclusion. **What it does not
# show:** what a model could reach with a recipe of its own. Equal steps are fair to nobody in particular; transformers are known to want
# more data and more steps. What deep supervision (section 4) brings is the row `unet3d-nnunet`, with all else that is nnU-Net's in it. The heads
# `unet3d-inr-*` learn at 2 mm; section 10 compares them among themselves.

# %% [markdown]
# ## 10. Off the grid: heads that read coordinates
#
# A head is what turns features into classes. A 1x1x1 convolution does so voxel by voxel. An **implicit neural representation** (INR) is a
# small network that takes features *and a position in millimetres*, and can be asked anywhere, also between voxels. On the training grid
# that buys nothing by itself, so the test must lie off it. All heads are trained on data of 2 mm and asked at 1 mm, where there is truth.
# Each is compared with the plainest alternative: the same network's logits at 2 mm, upsampled linearly. The dashed line is a twin that
# was trained at 1 mm.

# %%
heads = on_fold_0[on_fold_0["model"].str.startswith("unet3d-inr-")]
asked = store.read_table(session.ws.artifacts / "studies" / "offgrid.csv.gz")
asked = heads.drop_duplicates("run")[["run", "model", "seed", "steps", *compare.SETTING]].merge(asked, on="run")
rows, gains = [], {}
if len(asked):
    asked = asked[(asked["label"] == "mean") & asked["query"].isin(study.QUERIES)]
    for name, group in asked.groupby("model", sort=False):
        short = name.removeprefix("unet3d-inr-")
        means = compare.means(group, "query").to_dict("index")
        rows += [{"row": short, "series": query, **row} for query, row in means.items()]
        gains[short] = compare.differences(group, study.TRILINEAR, by="query").loc[study.HEAD]
    twin = heads[heads["model"] == "unet3d-inr-1mm"]
    line = ("trained at 1 mm", float(twin["dice"].mean())) if len(twin) else None
    session.save(
        charts.dots(pd.DataFrame(rows), "mean Dice at 1 mm (bars: 95 % interval over subjects, seeds)", line=line),
        "off-grid",
    )
else:
    session.say("**Not trained yet:** the coordinate heads.")

# %%
if gains:
    gained = pd.DataFrame(gains).T
    gained["p_holm"] = stats.holm(
        gained["p_holm"].to_numpy(dtype=float)
    )  # each came alone; together they are one family
    session.say("Asking the head minus upsampling its logits:")
    display(tables.readable_differences(gained))
    against = compare.differences(asked[asked["query"] == study.HEAD], "unet3d-inr-conv")
    session.facts(inr_conclusions=against["conclusion"].to_dict())
    session.say("Each head minus the convolution, both asked at 1 mm:")
    display(tables.readable_differences(against))
    from_twin = compare.differences(heads, "unet3d-inr-1mm")
    if len(from_twin):
        session.facts(inr_minus_twin=from_twin["difference"].to_dict())
        session.say("Each head at 2 mm, asked at 1 mm, minus the twin that was trained at 1 mm:")
        display(tables.readable_differences(from_twin))

# %%
if len(asked):
    by_seed = asked.groupby(["model", "seed", "query"])["dice"].mean().unstack()
    ends = by_seed.groupby("model").agg(["min", "max"])
    widest = (ends[study.HEAD]["max"] - ends[study.HEAD]["min"]).idxmax()
    (low, high), (low_up, high_up) = (ends.loc[widest, query] for query in (study.HEAD, study.TRILINEAR))
    lost = (by_seed[study.TRILINEAR] - by_seed[study.HEAD]).loc[widest].max()
    session.facts(widest_head={"model": widest, "asked": [low, high], "upsampled": [low_up, high_up], "lost": lost})
    session.say(
        f"Widest over its seeds is `{widest}`: {low:.3f} to {high:.3f} when it is asked, {low_up:.3f} to {high_up:.3f} when its "
        "logits are upsampled. " + (f"**One of its networks is sound on its own grid and loses {lost:.2f} between voxels**, and "
        "so that one seed decides the mean of the model." if lost > 0.05 else "No seed breaks down off the grid.")
    )  # fmt: skip

# %% [markdown]
# **How to read it.** If asking the head is no better than upsampling for the convolution either, the query is a detour; if coordinates
# bring something, heads with `xyz` stand apart from the one without. Equivalence is a result, too. *p* looks at people only, the interval
# also at seeds: where seeds disagree, *p* can be tiny and the conclusion still open, for it follows the interval.
#
# A head can also be worse off the grid than on it, and no loss on the grid will say so. Between voxels it reads interpolated features, which
# it never met in training. A ReLU or a convolution passes a mean of two features on as roughly the mean of two answers. A SIREN takes their
# sine, at frequencies that training is free to raise: halfway between two features of the same answer, a fast sine can be anything. That is
# how it could come about; it was not tested. All heads have one recipe, in which Muon gives also the sines' weights steps of equal
# size, and none was tuned for a SIREN.

# %% [markdown]
# ## 11. Surfaces
#
# Truth and prediction of the flagship's median case go through the same meshing with the same smoothing, so that neither looks smoother
# by treatment. Then the same case by outcome: right, or one of three kinds of error. Here wrong voxels are drawn as the cubes they are,
# since smoothing would take them away.

# %%
number = tables.cases_by_rule(flagship.values())["median"]
case, mine = cohort.cases[number], stacks[FLAGSHIP][number]
outcome, outcome_spec = mistakes.outcomes(mine, case.label), mistakes.outcome_spec(spec)
if reason := surface.problem():
    session.say(f"**No surface here.** {reason}")
else:
    title = f"Case {number:03d}, the flagship's median by mean Dice"
    session.save(surface.figure({"truth": case.label, FLAGSHIP: mine}, spec, case.spacing, title), "surface")
    session.save(surface.figure({"": outcome}, outcome_spec, case.spacing, title, mistakes.blocks), "surface-outcome")
    if not headless():
        display(surface.show(mine, spec, case.spacing))

# %%
centre = [slices.fullest(case.label, axis, case.label.shape) for axis in range(3)]
session.save(
    slices.three_plane(
        case.image[0], {"outcome": outcome}, outcome_spec, f"Case {number:03d} by outcome", centre, spacing=case.spacing
    ),
    "outcome",
)
wrong = {item.name: int((outcome == item.value).sum()) for item in outcome_spec.labels}
session.say("Voxels of this case: " + "; ".join(f"{name} {count:,}" for name, count in wrong.items()) + ".")

# %% [markdown]
# **What we see.** Errors lie on the border by construction of a good prediction; look for where cubes of one colour gather, since there
# the border is shifted and not only uncertain. **What it does not show:** other cases; notebook 07 counts over all of them.

# %% [markdown]
# ## 12. The race
#
# How does all this compare at equal time? `make bench` trains the flagship, nnU-Net v2 and MONAI's DynUNet on the same machine for the same
# minutes on `nnunet` fold 0. Each peer runs twice: as released, and with its own schedule shortened to the schedule and in bf16.
# The claim, if any, is against the stronger; *better* means that the whole interval is above zero, that ours kept to its minutes, and that the
# machine was idle. All are stopped by the clock, with the step that passes the mark.
# That fold is the one that published numbers can be set beside, and not a clean one: pilots of this project looked at it, and some of its people
# are among those on whom the recipe was chosen (`dev`), which no peer had. It takes hours on an idle machine, so its results are read here and
# not made.

# %%
if found_bench.get("race"):
    session.save(bench.race(found_bench["race"]), "race")
else:
    session.say("**Not run yet:** the race; `make bench` runs it.")

# %%
if found_bench.get("race"):
    looks = {
        (f"{schedule} min", bench.system_name(name)): look
        for schedule, rows in found_bench["race"].items()
        for name, look in rows.items()
    }
    rows = {
        at: {"mean Dice": look["dice"]["mean"]["value"], "training, s": look["train_s"], "steps": look["steps"]}
        for at, look in looks.items()
    }
    display(
        pd.DataFrame(rows)
        .T.style.format({"mean Dice": "{:.4f}", "training, s": "{:.0f}", "steps": "{:,.0f}"})
        .set_uuid("race")
    )
    session.say("- " + bench_summary.in_words(found_bench).replace("\n", "\n- "))
    overlap = set(session.folds["dev"][0]["scored"]) & set(session.folds["nnunet"][0]["scored"])
    session.say(
        f"""Of the {len(session.folds["nnunet"][0]["scored"])} volumes scored here, {len(overlap)} are of `dev`."""
    )

# %%
if found_bench.get("throughput"):
    session.say(
        "What one step costs can be compared without a race: less time for a volume means more volumes in the same minutes."
    )
    panels = {"train_s_per_volume": ("Training", "seconds a volume"), "predict_s_per_volume": ("Inference", "seconds a volume"),
              "peak_mb": ("Peak memory", "MB"), "share_of_bf16_peak": ("Processor use", "share of the bf16 peak")}  # fmt: skip
    rows = [{"row": bench.system_name(name), "panel": title, "value": row.get(key)}
            for key, (title, _) in panels.items() for name, row in found_bench["throughput"].items()]  # fmt: skip
    fig = charts.dots(pd.DataFrame(rows), dict(panels.values()))
    for ax in fig.axes:
        ax.set_xlim(left=0)
    session.save(fig, "throughput")

# %%
if found_bench.get("throughput"):
    ours = found_bench["throughput"].get("ours", {})
    if "profile" in ours:
        session.facts(step_profile=ours["profile"], schedule_minutes=ours.get("schedule_minutes"))
        session.say("Where a training step of the flagship spends its time:")
        display(pd.Series(ours["profile"], name="share").map("{:.1%}".format).to_frame())

# %%
if found_bench.get("throughput"):
    speeds = pd.DataFrame(found_bench["throughput"]).T
    speeds["GFLOP a volume"] = speeds["step_gflop"] / speeds["volumes_per_step"]
    speeds = speeds[["train_s_per_volume", "GFLOP a volume", "gflops", "share_of_bf16_peak"]].astype(float)
    speeds.index = [bench.system_name(name) for name in speeds.index]
    times = (speeds / speeds.loc[bench.system_name("ours")])[["train_s_per_volume", "GFLOP a volume"]]
    speeds[["time, times ours", "GFLOP, times ours"]] = times
    session.say("Is it a faster engine or a smaller network? Both are in the training seconds of a volume:")
    shown = dict.fromkeys(speeds.columns, "{:.2f}") | {"gflops": "{:.0f}", "share_of_bf16_peak": "{:.0%}"}
    display(speeds.style.format(shown).set_uuid("speeds"))
    if "augmentation_share" in ours:
        session.say(
            f"Augmentation, of all kinds of operations, takes {ours['augmentation_share']:.1%} of a step of ours."
        )

# %% [markdown]
# **How to read it.** Where a peer takes as many times our time as it takes operations, the gain is the smaller network's, and a choice of
# architecture; where it takes fewer operations than time, it is the engine's. A share of the peak is no score: a narrow network cannot keep
# the matrix units as busy as a wide one. What bf16 gives on this machine is the row of ours in fp32.
# **What it does not show:** how the accuracy of each would go on with more hours.

# %% [markdown]
# ## What we learned

# %% [markdown]
# The times above come from one CPU, which computes bfloat16. Most CPUs do not, so the flagship trains in float32 there. `make speed`
# measures any CPU in ten idle minutes; the ratios compare all systems in float32. On a CPU with AVX2 alone the networks keep their
# channels last in memory, where the gradient of a convolution's weights is faster to compute; the third ratio is what that gains.

# %%
if found_bench.get("kinds"):
    rows = {}
    for kind in found_bench["kinds"]:
        own, systems = kind["schedule_minutes"], kind["systems"]
        rows[kind["cpu"]] = {
            "training, min": own.get(kind["precision"]), "in float32, min": own.get("fp32"),
            "first crop, s": kind["first_s"], "each further, s": kind["further_s"],
            "nnU-Net, times ours": systems["nnunet"]["times_ours"]["train_s_per_volume"],
            "DynUNet, times ours": systems["dynunet"]["times_ours"]["train_s_per_volume"],
            "contiguous layout, times ours": systems.get("ours-contiguous", {}).get("times_ours", {}).get("train_s_per_volume"),
            **{f"peak share, {bench.system_name(name)}": system["share_of_peak"] for name, system in systems.items()},
        }  # fmt: skip
    speeds = pd.DataFrame(rows).T.astype(float)
    shown = {name: "{:.0%}" if name.startswith("peak") else "{:.1f}" for name in speeds.columns}
    display(speeds.style.format(shown, na_rep="not measured").set_uuid("kinds"))

# %%
truth_jump = across["truth"].mean()
session.say(f"""
- The plain 3D U-Net reaches a mean Dice of **{plain.mean():.4f}** on people it has never seen, the flagship `{
    FLAGSHIP
}` **{flagship.mean():.4f}**.
- From one {cut} slice to the next the truth changes by {truth_jump:.1f} mm²; the networks: {
    ", ".join(f"`{name}` {across[name].mean():.1f}" for name in stacks if name != "truth")
}.
- Conclusions stand in sections 7, 9 and 10, as far as there are three seeds.
""")
if "3D, trained" in reach:
    session.say(
        f"- Half of what moves the 3D network's answer lies within {reach['3D, trained']:.0f} mm of the voxel asked."
    )
if found_bench.get("claims"):
    session.say("- The race, one seed each: " + "; ".join(bench_summary.in_words(found_bench).splitlines()) + ".")

# %% [markdown]
# ## Limitations
#
# - One fold and one seed for the runs trained here: differences of a few thousandths mean nothing yet.
# - The boxes were cut around the truth (notebook 01), and a 3D network sees the whole box: it can learn where in a box the hippocampus
#   lies better than a 2D network can. No score here transfers to a box placed by other means.
# - A receptive field by gradients is a local, linear picture of a network, at one voxel, on a few volumes.
# - The heads were judged under the recipe of the plain network. A SIREN is known to be particular about its rates.
# - Equal steps are one way of being fair. At equal time, or with a recipe for each, the order of models may change.
# - There is no truth off the voxel grid: the coordinate heads are judged at 1 mm only.
#
# ## Exercises
#
# 1. Build `unet.UNet(3, 1, 3, channels=(16, 32, 64))` and call `probe.theoretical(network, 1, 3)`. By how much does one stage less
#    narrow the field?
# 2. In section 3, replace `recipe.augmentation` by `dataclasses.replace(recipe.augmentation, flip=0.5)`. Can you tell which slices are
#    mirrored?
# 3. Train `unet3d-residual` with `hipposeg train unet3d-residual` and compare its `values()` with those of `plain` by `stats.paired`, as section 5 does.
#    Does the interval exclude zero? What would three seeds add?
#
# ## References
#
# - Çiçek et al. 2016, 3D U-Net, [doi:10.1007/978-3-319-46723-8_49](https://doi.org/10.1007/978-3-319-46723-8_49)
# - Isensee et al. 2021, nnU-Net, [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - He et al. 2016, residual learning, [doi:10.1109/CVPR.2016.90](https://doi.org/10.1109/CVPR.2016.90)
# - Lee et al. 2015, deeply-supervised nets, [arXiv:1409.5185](https://arxiv.org/abs/1409.5185)
# - Luo et al. 2016, the effective receptive field, [arXiv:1701.04128](https://arxiv.org/abs/1701.04128)
# - Hatamizadeh et al. 2022, UNETR, [doi:10.1109/WACV51458.2022.00181](https://doi.org/10.1109/WACV51458.2022.00181)
# - Sitzmann et al. 2020, SIREN, [arXiv:2006.09661](https://arxiv.org/abs/2006.09661)
# - Jordan et al. 2024, Muon, [kellerjordan.github.io/posts/muon](https://kellerjordan.github.io/posts/muon/)
# - Smith and Topin 2018, one-cycle schedules, [doi:10.1117/12.2520589](https://doi.org/10.1117/12.2520589)
# - Antonelli et al. 2022, the data, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)

# %%
session.finish()
