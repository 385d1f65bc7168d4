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
# # 06. CLIP guidance: does language help?
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/06_clip_guided.ipynb)
#
# **Question.** A network that is told what the classes are called, by a model that knows images and text: does it segment better, and if so,
# is it the language?
#
# **What you will learn**
# - what CLIP is, by training a small one in minutes, and how to tell whether it has learned anything;
# - how an image's feature is fused into a U-Net, and how pixels are classified by cosines with text;
# - why cosines need a scale, and below which loss there is no getting without one;
# - what the words can do in such a head, and what they cannot;
# - which controls tell guidance by language from more layers, from labels in disguise, and from luck.
#
# **Reads:** the data set, `folds.json`, the tables of finished runs; under `full` a published CLIP's weights, if they are in the local cache or
# `HIPPOSEG_CLIP` names a file or folder.
# **Writes:** `figures/06_*`, `facts/06_clip_guided.json`, and the runs `hippoclip` (with its rows in `studies/retrieval.csv.gz`,
# `studies/transfer.csv.gz` and `studies/cosines.csv.gz`), `clip2d-guided`, `clip2d-unguided` and the image-free atlas, if they are not finished.
# **Run time:** that of three short 2D trainings under `standard`; about a minute under `smoke` and `stored`, or when the runs are cached.

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
import copy
import inspect
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Code, display
from sklearn.decomposition import PCA

from hipposeg import stats
from hipposeg.data import captions
from hipposeg.experiments import RunSpec, guidance, plan, weights
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.run import machine_for, native
from hipposeg.experiments.samples import images_of, make_samples
from hipposeg.metrics import MEAN
from hipposeg.models import guided, published
from hipposeg.notebook import start
from hipposeg.results import compare, load, tables
from hipposeg.results.load import ATLAS
from hipposeg.training import contrastive, losses
from hipposeg.viz import curves
from hipposeg.viz import intervals as charts
from hipposeg.viz import slices as drawing
from hipposeg.viz.style import INK, MUTED, WIDTH, line_style
from hipposeg_lab.figures import maps as overlays
from hipposeg_lab.studies import clip_study, retrieval

session = start("06_clip_guided", profile)
spec, cohort = session.spec, session.cohort
fold = session.folds["grouped"][0]
schedule = "smoke" if session.ws.profile == "smoke" else "standard"
hippoclip = RunSpec("hippoclip", schedule=schedule)
machine, prep = machine_for(native(hippoclip)), hippoclip.definition.prep


def without_weights(run):
    session.say(f"**Left out:** the weights of `{run.name}` are not on this machine; the profile `standard` trains it.")


# %% [markdown]
# ## 1. CLIP in one page
#
# **CLIP** (Radford et al. 2021) has two networks, a tower for images and a tower for text, that both end in vectors of one space. In
# training it gets a batch of images with their captions. Every image is compared with every caption by the **cosine** of their
# vectors, and the loss asks each image to pick its own caption out of the batch, and each caption its own image. No class is ever named:
# what the captions tell apart, the space tells apart.
#
# A published student project (Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images) had the good idea to bring this to the hippocampus: a
# U-Net that gets the image feature of a frozen CLIP tower at its bottleneck, and whose pixels are compared with sentences about the
# classes. That design, with both of its parts, is what we build in section 5. What the project could not tell is whether language did
# anything: its CLIP had seen photographs only, and there was no control without text. So we begin one step earlier, with a CLIP that has seen
# hippocampi, and end with the controls.
#
# ## 2. Captions: labels put into words
#
# A CLIP needs captions, and nobody wrote any for these slices. So we make them. Of a coronal slice a caption tells where on the long axis it lies,
# which parts it cuts, how large their area is, and how that compares with other people's slices of about the same place. The wording varies, so
# that the text tower has to find the facts in the words.

# %%
display(Code(inspect.getsource(captions.caption), language="python"))

# %%
number = fold["train"][0]
shown = clip_study.examples(cohort, prep, fold["train"], number)
fig, axes = plt.subplots(2, 4, figsize=(WIDTH, 7))
for ax, (image, label, text) in zip(axes.flat, shown, strict=True):
    drawing.overlay(ax, image, label, spec, alpha=0)
    ax.set_xlabel(textwrap.fill(text, 31), fontsize=8.5)
drawing.legend(fig, spec)
session.save(fig, "captions", number=number)

# %% [markdown]
# **What we see.** Every caption states all facts of its slice, rounded. **What it does not show, and what matters most in this notebook:** captions come
# from labels. Whatever HippoCLIP learns, it learns from the very outlines that a segmentation network is trained on, in other words. If
# its guidance helps, that is labels used twice, not knowledge from elsewhere. Captions of training people train it; captions of scored people
# are made only to test it.
#
# ## 3. HippoCLIP
#
# HippoCLIP is open_clip's own model in small: a vision transformer over patches of the slice and its two neighbours, a text transformer with
# open_clip's tokenizer, its contrastive loss, and a learned scale for the cosines. One thing needs care. The loss calls all other captions
# of a batch wrong. Two slices with the same facts, or of the same person, would make it punish right answers. So a batch is drawn like this:

# %%
display(Code(inspect.getsource(contrastive.drawn), language="python"))

# %%
clips = session.run("hippoclip")
session.facts(clip_source=clips.config["source"], clip_scale=clips.history[-1]["scale"])
session.say(
    f"HippoCLIP: {clips.config['params']:,} parameters, {clips.config['steps']} steps on {clips.config['samples']} slices. "
    f"Weights: *{clips.config['source']}*."
)

# %% [markdown]
# ### Has it learned anything?
#
# A falling loss is no proof. The test is **retrieval on people that it never saw**: given a slice, rank the captions of all other held-out people's
# slices, and the other way round. (Slices without hippocampus share two captions among them all; they are left out.) A hit is a candidate with
# the same facts. Captions with the same facts are one candidate; slices with the same facts stay several. The query's own person is left out. Two
# baselines keep us honest. *Chance* counts how many candidates would be hits. And a *nearest neighbour in raw pixels*, which has learned
# nothing, ranks the same candidates by how alike the slices themselves are; it may look at images where HippoCLIP has to read.

# %%
queries = clip_study.read(session.ws, clip_study.RETRIEVAL, clips.rows)
hits = retrieval.summary(queries)
recalls = hits[hits["what"] != "rank"].rename(columns={"direction": "panel"})
recalls = recalls.assign(row=[f"first {what.removeprefix('recall')}" for what in recalls["what"]])
session.save(
    charts.dots(recalls.rename(columns={"source": "series"}), "share of queries with a hit"),
    "retrieval",
    cases=queries["case"].nunique(),
)

# %%
wide = hits.pivot(index=["direction", "source"], columns="what", values="value")[
    ["recall1", "recall5", "recall10", "rank"]
]
wide.columns = ["first", "first 5", "first 10", "median rank"]
display(wide.style.format({"median rank": "{:.0f}"}, precision=3).set_uuid("retrieval"))


def among_ten(direction):
    return (wide.loc[(direction, name), "first 10"] for name in (retrieval.CLIP, retrieval.PIXELS, retrieval.CHANCE))


by_clip, by_pixels, by_chance = among_ten(retrieval.IMAGE_TO_TEXT)
back_by_clip, back_by_pixels, _ = among_ten(retrieval.TEXT_TO_IMAGE)
session.facts(retrieval={f"{d}, {n}": one.to_dict() for (d, n), one in wide.iterrows()})
session.say(f"""
An equal caption stands among the first ten for **{by_clip:.1%}** of slices, {by_clip / max(by_chance, 1e-9):.1f} times as often as by chance
({by_chance:.1%}) and {by_clip / max(by_pixels, 1e-9):.2f} times as often as by raw pixels ({by_pixels:.1%}). From captions to slices it is
**{back_by_clip:.1%}**, against {back_by_pixels:.1%} by raw pixels.
""")

# %% [markdown]
# Is that more than raw pixels by more than luck? Both ranked the same candidates for the same queries, so they are compared in pairs: CLIP minus
# raw pixels, each person counted once. Further seeds of HippoCLIP, where they are finished, say whether it is the luck of one training.

# %%
made = session.planned()
gains = retrieval.advantage(queries)
seeded = plan.finished(made, [RunSpec("hippoclip", seed=seed) for seed in plan.SEEDS])
session.say("CLIP minus raw pixels, 95 % intervals over subjects, one seed:")
display(gains.style.format(precision=3).hide(axis="index").set_uuid("gains"))
if (count := seeded["run"].nunique()) > 1:
    pooled = retrieval.advantage(clip_study.read(session.ws, clip_study.RETRIEVAL, seeded))
    session.say(f"The same over {count} seeds, intervals over subjects and seeds:")
    display(pooled.style.format(precision=3).hide(axis="index").set_uuid("pooled-gains"))
else:
    session.say(
        "**Not trained yet:** further seeds of `hippoclip`, so the luck of one training is not in these intervals."
    )
session.facts(
    clip_minus_pixels={
        f"{row.direction}, {row.what}": {"difference": row.difference, "low": row.low, "high": row.high}
        for row in gains.itertuples()
    }
)

# %% [markdown]
# **How to read it.** The facts are fine: a place in steps of ten percent, an area in steps of twenty square millimetres.
# Missing one by a step counts as missed. Raw pixels are a strong baseline because the boxes were cut around the truth:
# slices of different people lie on top of each other. **What it does not show:** that the space knows anything but these facts.
#
# ### The common space
#
# So what does the space look like? Here are the held-out slices and their captions, brought to two dimensions by principal components.

# %%
images = images_of(cohort, prep, session.ws)
scored = {number: images[number] for number in fold["scored"]}
clip = session.network(clips)
if clip is None:
    without_weights(clips)
else:
    slices = clip_study.look(clip, prep, scored, cohort, fold["train"], machine)
    along = np.array([np.nan if not one.parts else one.place for one in slices.said], dtype=float)
    shown = np.flatnonzero(~np.isnan(along))[:: max(1, len(along) // 900)]
    kinds = {"o": slices.features, "^": slices.read}
    space, (fig, ax) = PCA(2).fit(np.concatenate(list(kinds.values()))), plt.subplots(figsize=(WIDTH, 4.6))
    for marker, vectors in kinds.items():
        drawn = ax.scatter(*space.transform(vectors[shown]).T, s=14, c=along[shown], cmap="viridis", marker=marker)
    fig.colorbar(drawn, label="% of the long axis, posterior to anterior")
    ax.set(xlabel="first principal component", ylabel="second principal component")
    session.save(fig, "space")

# %% [markdown]
# **How to read it.** Where colours agree, a slice lies near the captions of its place. The distance between the mean image and the mean
# caption is the *modality gap* of most CLIPs (Liang et al. 2022). **What it does not show:** the other dimensions, in which areas and
# sizes are told.

# %%
if clip is not None:
    gap = float(np.linalg.norm(slices.features.mean(0) - slices.read.mean(0)))
    session.facts(modality_gap=gap)
    session.say(f"All vectors have length 1. The means of images and of captions lie **{gap:.2f}** apart"
                + (": hardly a gap." if gap < 0.2 else "."))  # fmt: skip

# %% [markdown]
# ## 4. How far does text go alone?
#
# HippoCLIP's image vector is the mean over its patches. So each patch lies in the same space, and can be compared with what the classes are
# called: a segmentation without any decoder, and without any training for it. **Prompts** are what is said of a class; its vector is the mean
# of its prompts' vectors. We try four sets: sentences of the kind that the student project wrote (five a class, the words are ours), single
# words, sentences in the very form of the captions with statistics of training slices, and words that have nothing to do with it.

# %%
for kind in captions.KINDS:
    said = guidance.class_prompts(kind, hippoclip, cohort, fold["train"])
    session.say(f"**{kind}**: " + "; ".join(f"*{one[0]}*" for one in said))

# %%
names = ("background", *spec.names)
cosines = clip_study.read(session.ws, clip_study.COSINES, clips.rows)
angles = clip_study.angles(cosines, names)
transfer = clip_study.read(session.ws, clip_study.TRANSFER, clips.rows)
alone = compare.means(transfer[transfer["label"] == MEAN], "prompts")["value"]
atlas = session.run(ATLAS)
without_text = made[(made["model"] == "hippoclip-attributes") & (made["label"] == MEAN)]
dice_alone = {f"{ATLAS}: ignores the image": atlas.mean(), **alone.to_dict()}
if len(without_text):
    dice_alone["hippoclip-attributes: no text is read"] = without_text.groupby("run")["dice"].mean().mean()
session.facts(text_alone=alone.to_dict(), cosines=angles.T.to_dict(), dice_atlas=atlas.mean())
session.say("Cosines between the classes' vectors, and mean Dice of the patches' own choice on the scored volumes:")
both = angles.reindex(list(dice_alone)).assign(**{"mean Dice": pd.Series(dice_alone)})
display(both.style.format(precision=3, na_rep="").set_uuid("angles"))
session.say(
    f"Text alone, with the prompts in the form of captions: mean Dice **{alone[captions.GEOMETRIC]:.3f}**. The first row, the atlas, "
    f"stretches the mean label map of the training volumes to each box, and has {atlas.mean():.3f}."
)

# %% [markdown]
# **How to read it.** A cosine near 1 means that to this text tower the two classes are called the same, and nothing that is nearly equal can guide:
# in the student project, anterior and posterior stood at `0.977`. Two things stand in the way of the Dice of text alone: a patch is several
# voxels wide, and the tower was trained to tell slices apart, not patches. `hippoclip-attributes`, which stands in the table once it is
# trained, has the same patches and was told the same facts as numbers. **What it does not show:** what a decoder can make of it.
#
# The guided models below read the prompts in the form of captions; this was planned. The table above may not decide that, as it is of the
# scored fold. The place for such a choice is `dev`, people cut from the training ones. How far apart the classes of each set lie there, by a
# HippoCLIP that learned from the rest of the training people, is a planned run:

# %%
developed = plan.finished(made, [RunSpec("hippoclip", "dev")])
if len(developed):
    on_dev = clip_study.angles(clip_study.read(session.ws, clip_study.COSINES, developed), names)
    widest = on_dev.max(axis=1).idxmin()
    session.facts(widest_on_dev=widest)
    session.say(
        f"On `dev` the classes lie farthest apart with `{widest}`, where the largest cosine is {on_dev.max(axis=1).min():.3f}:"
    )
    display(on_dev.style.format(precision=3).set_uuid("dev"))
else:
    session.say("**Not trained yet:** the run of `hippoclip` on `dev`; `hipposeg train --plan 06` trains it.")

# %% [markdown]
# And where does text alone see the classes? Each patch's cosine with them, enlarged to the voxels, on the best, the median and the worst scored case:

# %%
side_on, what = 0 if prep.axis else 1, "cosine of the patch with the class's vector"


def views_of(network, result):
    dice, views = result.values(), []
    for rank, scored_case in tables.cases_by_rule(dice).items():
        case, likeness = cohort.cases[scored_case], clip_study.similarity(network, prep, images[scored_case], machine)
        columns = {f"cosine with {name}": one for name, one in zip(names, likeness, strict=True)}
        title = f"{rank}: case {scored_case:03d}\nmean Dice {dice[scored_case]:.3f}"
        views.append(overlays.MapView(title, case.image[0], case.label, columns, case.spacing))
    return views


def span(views):
    values = [one.ravel() for view in views for one in view.maps.values()]
    return tuple(np.nanpercentile(np.concatenate(values), (1, 99)))


if clip is None:
    without_weights(clips)
else:
    patch_views = views_of(clip, clips)
    session.save(
        overlays.maps(patch_views, spec, "What each patch is like", side_on, what=what, limits=span(patch_views)),
        "patches",
    )

# %% [markdown]
# **How to read it.** Colours span the cosines that occur. A segmentation would need each map to be the highest within its own outline.
# **What it does not show:** what the tower knows of a slice as a whole, which is the mean over these patches.
#
# ## 5. The guided U-Net
#
# Two parts, each of which can be switched off:
#
# 1. **Fusion.** The frozen tower's feature of the slice is projected, laid over every place of the bottleneck, and merged. Every pixel then
#    knows what the tower saw of the whole slice.
# 2. **Cosine head.** A 1-wide convolution embeds each pixel in CLIP's space; its logits are cosines with the classes' vectors, times a scale.

# %%
parts = (guided.GuidedUNet.features, guided.GuidedUNet.similarity, guided.GuidedUNet.forward)
display(Code("\n".join(map(inspect.getsource, parts)), language="python"))

# %% [markdown]
# The tower is frozen: it sees each training slice once, before training, and its feature is kept. (In training slices are turned and stretched; the
# feature is that of the unchanged slice. In prediction nothing is changed, so the network meets the same kind of feature.)
#
# ### Why a scale, and what happens without one
#
# A cosine lies between -1 and 1. If logits are bare cosines, the softmax can never be sure of anything, however good the network: there is a lowest
# loss that geometry allows. It can be computed. All pixels of a class get the one embedding that is best for it, and the loss is what it is, for a
# batch that has the training slices' average share of each class:

# %%
display(Code(inspect.getsource(clip_study.lowest_loss), language="python"))

# %%
labels = make_samples(images, cohort, prep, fold["train"]).labels  # as the loss meets them, with their margins
shares = np.bincount(labels.numpy().ravel(), minlength=spec.n_classes) / labels.numel()
recipe = MODELS["clip2d-guided"].training(schedule)


def training_loss(logits, target):
    return losses.combined(logits, target, recipe.loss, recipe.foreground_weight)


def vectors_with(table):
    values, directions = torch.linalg.eigh(table)  # rows of length 1 whose cosines are the table's
    return (directions * values.clamp(min=0).sqrt()).float()


scales, equal = np.geomspace(0.5, 60, 12), torch.eye(spec.n_classes).double()
close, own = clip_study.STUDENTS_COSINE * (1 - equal) + equal, equal.clone()
for one in cosines[cosines["prompts"] == captions.GEOMETRIC].itertuples():
    own[one.first, one.second] = own[one.second, one.first] = one.cosine
right_angled, ours, alike = (
    "vectors at right angles",
    "HippoCLIP's, in the form of captions",
    f"all at a cosine of {clip_study.STUDENTS_COSINE}",
)
sets = {right_angled: equal.float(), ours: vectors_with(own), alike: torch.linalg.cholesky(close).float()}
lowest = {
    name: [clip_study.lowest_loss(one, scale, shares, training_loss) for scale in scales] for name, one in sets.items()
}
at_one = {name: clip_study.lowest_loss(one, 1.0, shares, training_loss) for name, one in sets.items()}
session.facts(lowest_loss_without_scale=at_one)

# %% [markdown]
# The student project's loss sat at `0.7975` and would not fall: cosines without a scale. Its loss was another one than ours: a Dice over all classes,
# the background included, pooled over the batch. Of its class vectors one cosine is known, `0.977` for anterior and posterior. With
# that loss, and all three cosines set to that value, the same computation says how much of the number is geometry:

# %%
students = clip_study.lowest_loss(sets[alike], 1.0, shares, clip_study.dice_of_all_classes, pixels=20_000)
off = students - clip_study.STUDENTS_LOSS
near = "the same to four digits" if abs(off) < 5e-5 else "near it" if abs(off) < 0.02 else "not near it"
session.facts(lowest_loss_of_the_students_kind=students)
session.say(
    f"Lowest loss of that kind on a batch of our average shares: **{students:.4f}**. The project's files say `{clip_study.STUDENTS_LOSS}`; "
    f"ours minus theirs is {stats.signed(off)}, so the two are {near}. They need not be equal: of its slices neither the shares of the "
    "classes nor two of the three cosines are known here, nor whether cross-entropy had a part in that loss."
)

# %% [markdown]
# CLIP itself learns its scale, and so do we. Now the training, and its twin: the plain U-Net in as many steps, on the same slices in the same order,
# from the same initial weights.

# %%
led, twin = session.run("clip2d-guided"), session.run("clip2d-unguided")
session.save(curves.training_curves({"clip2d-unguided": twin.history, "clip2d-guided": led.history}), "curves")
both = pd.concat([led.rows, twin.rows])
pair = compare.differences(both[both["label"] == MEAN], "clip2d-unguided").iloc[0]
session.facts(
    dice_guided=led.mean(),
    dice_unguided=twin.mean(),
    guided_minus_twin={k: pair[k] for k in ("difference", "low", "high")},
)
session.say(
    f"Mean Dice on {len(fold['scored'])} volumes: guided **{led.mean():.4f}**, unguided **{twin.mean():.4f}**. Guided minus unguided: "
    f"**{pair['difference']:+.4f}** (95 % interval over subjects {pair['low']:+.4f} to {pair['high']:+.4f}), one seed each, so no conclusion yet. "
    "The difference counts each person once, the two means each volume once."
)

# %% [markdown]
# Guidance is not free, though the steps are equal. The guide had to be trained first, and its tower has to look at every slice, in training and in
# prediction:

# %%
untrained = weights.initial(RunSpec("clip2d-guided", schedule=schedule), spec)
in_tower = sum(weight.numel() for weight in untrained.tower.parameters())
session.facts(parameters={one.model: one.config["params"] for one in (clips, led, twin)}, parameters_of_tower=in_tower)
session.say(
    f"The unguided network has {twin.config['params']:,} parameters. The guided one has {led.config['params']:,}, of which {in_tower:,} are the "
    f"frozen tower's. Its {led.config['steps']} steps, as many as the twin's, come after {clips.config['steps']} steps of its guide "
    f"(of {clips.config['params']:,} parameters, text tower included). The tables of this project count the guide's minutes with those of "
    "whatever it guides."
)

# %% [markdown]
# And the scale: where it began, where it went, and where that puts the lowest loss. The run without a scale is drawn once it
# is trained. (The scale is spared the weight decay, which would draw its logarithm to zero, and so the scale to one.)

# %%
fixed = load.runs(plan.finished(made, [RunSpec("clip2d-fixed-scale")]), session.ws)
first = {"epoch": 0, "scale": guided.FIRST_SCALE}
courses = {"hippoclip": [first, *clips.history], "clip2d-guided": [first, *led.history]}
session.save(curves.training_curves(courses, "scale", ("Learned scale", "scale (1 / temperature)")), "scale")

# %%
ends = {one.model: (one.config["scale"], one.history[-1]["loss"]) for one in (led, *fixed)}
fig, ax = plt.subplots(figsize=(WIDTH, 4))
for index, (name, losses_there) in enumerate(lowest.items()):
    ax.plot(scales, losses_there, label=name, **line_style(index))
for name, (scale, loss) in ends.items():
    ax.plot(scale, loss, "D", color=INK)
    ax.annotate(name, (scale, loss), xytext=(8, 6), textcoords="offset points", fontsize=9)
ax.axvline(1, color=MUTED, linestyle="--", label="no scale")
ax.set(xlabel="scale (1 / temperature)", ylabel="training loss", xscale="log", ylim=(0, None))
ax.legend()
session.save(fig, "lowest-loss")
session.say(
    "Without a scale, and with one embedding a class, the loss does not get below "
    + ", ".join(f"**{low:.3f}** ({name})" for name, low in at_one.items())
    + f". The guided network learned a scale of {led.config['scale']:.1f} and ended at a loss of {led.history[-1]['loss']:.3f}."
)

# %% [markdown]
# **How to read it.** The closer the class vectors, the larger the scale that it takes to tell them apart; a learned scale takes what it needs.
# **What it does not show:** that the text is of any use. A scale repairs the head, whatever the vectors mean.
#
# ### What the pixels are compared to
#
# The maps that the head decides by, on the best, the median and the worst scored case of the guided network:

# %%
led_network, what = session.network(led), "cosine of the pixel with the class's vector"
if led_network is None:
    without_weights(led)
else:
    pixel_views = views_of(led_network, led)
    session.save(
        overlays.maps(pixel_views, spec, "What each pixel is like", side_on, what=what, limits=span(pixel_views)),
        "similarity",
    )

# %% [markdown]
# **How to read it.** Colours span the cosines that occur. Where each class lights up, there the network finds it: these maps are its logits, but for the
# scale. Classes with close vectors have maps that look alike. **What it does not show:** that the words put them there.
#
# ## 6. What could text do here at all?
#
# Look at the head again: logits are cosines between a **learned** embedding and fixed vectors. Turn all class vectors by one rotation, turn
# the embedding's weights with them, and every logit stays as it was. So the direction in which "head of the hippocampus" points
# cannot matter to what the network is able to learn; only the angles between the classes can. And angles could be had without language. The
# slice's feature enters through `project`, which is learned as well: so the alignment of the text with the image tower, which a
# rotation of the text breaks, cannot matter anywhere in this design. In numbers, on one slice, with a copy of the trained network:

# %%
if led_network is None:
    without_weights(led)
else:
    sample = prep.place(images[fold["scored"][0]])[0][:1].to(machine.device)
    turned = copy.deepcopy(led_network)
    with torch.inference_mode():
        before = led_network(sample)
        turn = guided.rotated(torch.eye(turned.classes.shape[1]), torch.Generator().manual_seed(0)).to(machine.device)
        turned.classes.copy_(turned.classes @ turn)
        turned.embedding.weight.copy_((turned.embedding.weight[:, :, 0, 0].T @ turn).T[:, :, None, None])
        turned.embedding.bias.copy_(turned.embedding.bias @ turn)
        changed_by = float((turned(sample) - before).abs().max() / before.abs().max())
    session.facts(rotation_changes_logits_by=round(changed_by, 3))
    session.say(
        f"Class vectors and embedding turned together: logits change by at most **{changed_by:.1e}** of the largest one, which is rounding."
    )

# %% [markdown]
# That makes the controls. Each has as many steps and is trained with three seeds. All but the last differ from `clip2d-guided` in one
# thing and are compared with it.

# %%
told = [(family, name, MODELS[name].title) for family, members in plan.FAMILIES_CLIP.items() for name in members]
told += [
    (f"a tower taught without language, against {plan.TOWERS_CLIP[0]}", name, MODELS[name].title)
    for name in plan.TOWERS_CLIP[1]
]
display(
    pd.DataFrame(told, columns=["what is asked", "model", "what it is"]).style.hide(axis="index").set_uuid("controls")
)

# %% [markdown]
# `clip2d-same-angles` and `clip2d-rotated` are two ways to draw from the same distribution: what they differ by is noise. `clip2d-learned` asks
# whether the text's angles are of any use: its vectors start at right angles and move where the training wants them. `clip2d-unrelated` cannot
# decide about meaning: section 4 shows how close its three vectors lie, and by the argument above a head can hardly tell such
# classes apart, whatever their words mean.

# %%
conclusions = compare.by_family(made, "clip2d-guided", plan.FAMILIES_CLIP, "standard")
if len(conclusions):
    session.save(
        charts.forest(conclusions, stats.EQUIVALENCE_MARGIN, "mean Dice, model minus clip2d-guided", sort=False),
        "controls",
        groups=", ".join(conclusions.index.unique(0)),
    )
    session.facts(conclusions={" / ".join(name): row["conclusion"] for name, row in conclusions.iterrows()})
    session.say(tables.counts_in_words(conclusions, "`clip2d-guided`"))
else:
    session.say("**Not trained yet:** no planned comparison is complete, so nothing is concluded on language here.")
session.say(clip_study.language(conclusions))

# %% [markdown]
# **How to read it.** A model *worse* has lost something that guidance gave; a model *equivalent* or *inconclusive* has not been shown to miss it. Language
# itself is credited only if both models fall behind whose class vectors lie as far apart, but come without text
# (`clip2d-same-angles`, `clip2d-rotated`). And where a guided model is better, remember that its guide learned from **captions made of the twin's own
# training labels**.
# **What it does not show:** guidance by a CLIP that read real radiology reports, which might know things that labels do not say.
#
# The sharpest question is about the tower. That of `clip2d-attributes` had the same supervision as HippoCLIP's, the captions' facts, but as numbers.
# As it has no text, its class vectors are learned; so it is compared with `clip2d-learned`, from which it differs in the tower alone. If it
# does as well, what a tower gives is pre-training on labels, not language:

# %%
towers = compare.by_family(made, plan.TOWERS_CLIP[0], {"towers": plan.TOWERS_CLIP[1]}, "standard")
if len(towers):
    session.facts(towers={name: row["conclusion"] for (_, name), row in towers.iterrows()})
    session.say(
        f"Mean Dice minus that of `{plan.TOWERS_CLIP[0]}`. {tables.counts_in_words(towers, f'`{plan.TOWERS_CLIP[0]}`')}"
    )
    display(tables.readable_differences(towers.droplevel(0)))
else:
    session.say(
        f"**Not trained yet:** `{plan.TOWERS_CLIP[0]}` and {', '.join(f'`{name}`' for name in plan.TOWERS_CLIP[1])} of the plan."
    )

# %% [markdown]
# **How to read it.** A conclusion *worse* would mean that a tower taught in words sees more than one taught the same facts in numbers. **What it does
# not show:** which of the two losses does it, as the contrastive one also compares slices with each other.
#
# ### In three dimensions
#
# The text head works in 3D as well; a tower of slices has no volume to look at, so there the head alone is guided.

# %%
solid = compare.by_family(made, "unet3d", {"text head": ("clip3d-guided",)}, "standard")
if len(solid):
    session.say(f"Guided minus plain 3D U-Net. {tables.counts_in_words(solid, '`unet3d`')}")
    display(tables.readable_differences(solid))
else:
    session.say("**Not trained yet:** `clip3d-guided`.")

# %% [markdown]
# ## 7. Few labels
#
# Guidance is said to help where labels are few. So both models learn from 5, 10, 20 and 50 % of the training people, in as many steps. The shares are nested,
# both models get the same people, and each HippoCLIP is trained on its cell's people alone: a guide that knew more people would bring their labels in
# through the back door. One thing is not equal then. A batch of HippoCLIP's holds one slice a person, so the guide of few people compares each
# slice with fewer wrong captions, in as many steps.

# %%
by_share, by_share_apart = clip_study.by_share(made), clip_study.share_differences(made)
if len(by_share_apart):
    session.save(charts.dots(by_share, "mean Dice (bars: 95 % interval over subjects and seeds)"), "shares")
    session.save(
        charts.forest(by_share_apart, stats.EQUIVALENCE_MARGIN, "mean Dice, guided minus unguided", sort=False),
        "share-differences",
    )
    session.facts(shares={name: row["conclusion"] for name, row in by_share_apart.iterrows()})
    session.say(f"Guided minus unguided. {tables.differences_in_words(by_share_apart)}.")
else:
    session.say("**Not trained yet:** no share is complete; `hipposeg train --plan 06 --only .p` trains them.")

# %% [markdown]
# **How to read it.** Each row compares networks that learned from the same people. **What it does not show:** what fewer *labels* of as many *people*
# would do; here images go with their labels. Nor what the guides of few people would give with as
# many wrong captions to compare with as that of all.
#
# ## 8. A published CLIP
#
# The same code takes CLIPs that others trained on photographs and web text: the model `clip+published` is open_clip's ViT-B-32, taken from the local cache
# or from a file named by `HIPPOSEG_CLIP`, and `clip2d-guided+published` is guided by it. Nothing is downloaded, and a run says which source it used.
#
# A biomedical CLIP would be the better test, and open_clip's list of pretrained models knows none. `HIPPOSEG_CLIP` may also name a folder in
# open_clip's layout, with a model of its own, for `clip+published`; its visual tower must be open_clip's VisionTransformer, whose patches lie
# in the space that images and text share. BiomedCLIP's is a tower of timm with its projection behind the pooling: it is refused with a
# `ValueError` that says what can serve. And what guides must have the very shape of ViT-B-32.

# %%
published_name = next(iter(published.PUBLISHED))
try:
    checkpoint = published.checkpoint(published_name) if profile == "full" else None
    session.say(
        f"Found: {checkpoint.name}." if checkpoint else f"Under `full` the weights of {published_name} are looked for."
    )
except FileNotFoundError as error:
    checkpoint = None
    session.say(f"**Not here:** {error}.")
if checkpoint:
    outside, led_from_outside = session.run("clip+published"), session.run("clip2d-guided+published")
    session.say(
        f"Weights: *{outside.config['source']}*. Text alone, without training: mean Dice **{outside.mean():.3f}**; ours {clips.mean():.3f}."
    )
    outside_hits = retrieval.summary(clip_study.read(session.ws, clip_study.RETRIEVAL, outside.rows))
    display(outside_hits.style.format(precision=3).set_uuid("published"))
    both = pd.concat([led_from_outside.rows, led.rows])
    guides = compare.differences(both[both["label"] == MEAN], "clip2d-guided")
    session.say("Guided by it, minus guided by ours, one seed each:")
    display(tables.readable_differences(guides))

# %% [markdown]
# ## What we learned

# %%
of_plan = []
if len(by_share_apart):
    of_plan.append(f"Guided minus unguided over all seeds. {tables.differences_in_words(by_share_apart)}.")
if len(towers):
    in_numbers = tables.differences_in_words(towers.droplevel(0))
    of_plan.append(f"A tower taught the captions' facts as numbers, minus `{plan.TOWERS_CLIP[0]}`. {in_numbers}.")
if len(solid):
    of_plan.append(f"The text head in 3D, minus `unet3d`. {tables.differences_in_words(solid.droplevel(0))}.")
of_plan = "\n- ".join([*of_plan, clip_study.language(conclusions)])
session.say(f"""
- With HippoCLIP an equal caption is among the first ten for {by_clip:.1%} of held-out slices, against {by_pixels:.1%} by raw pixels and {by_chance:.1%} by chance.
- Text alone, patch by patch and without a decoder, reaches a mean Dice of {alone[captions.GEOMETRIC]:.3f} with the prompts that were planned for guidance; the atlas, which ignores the image, has {atlas.mean():.3f}.
- Guided minus unguided U-Net: **{pair["difference"]:+.4f}** mean Dice ({pair["low"]:+.4f} to {pair["high"]:+.4f}), one seed each under this profile, and the guide's training on top.
- A cosine head needs a scale. Without one, and with one embedding a class, the loss does not get below {at_one[ours]:.3f} with these vectors.
- {of_plan}
""")

# %% [markdown]
# ## Limitations
#
# - Captions come from labels. HippoCLIP knows nothing that the training labels do not say, and its vocabulary is that of a few templates: a word
#   that no caption holds tells it nothing, and sentences of such words all land on about one point.
# - The recipe of the guided models is that of the plain network; nothing was tuned for guidance.
# - One fold. The boxes were cut around the truth (notebook 01), so the place of a slice in its box already tells much of what a caption says.
# - Retrieval counts equal facts. It does not ask whether a near miss is near.
# - In the cells with few people each seed draws its own people; a cell's interval holds that luck, but three draws are few. Their guides also had
#   fewer negatives in a batch, in as many steps: what guidance loses there is not the people's number alone.
# - Equal steps are not equal cost: a guide has to be trained first, and its tower has to look at every slice.
#
# ## Exercises
#
# 1. In section 4, write prompts of your own in `data/captions.py` and look at the cosines before you look at the Dice. (Words are part of a run's
#    key, so what reads them is trained anew.)
# 2. Train `clip2d-image-only` with `hipposeg train clip2d-image-only`. Is it nearer to the guided network or to its twin?
# 3. In section 5, draw the lowest loss for `recipe.loss = "ce"` with `dataclasses.replace`. Which of the two terms keeps it up?
#
# ## References
#
# - Radford et al. 2021, CLIP, [arXiv:2103.00020](https://arxiv.org/abs/2103.00020)
# - Ilharco et al. 2021, open_clip, [doi:10.5281/zenodo.5143773](https://doi.org/10.5281/zenodo.5143773)
# - Liang et al. 2022, the modality gap, [arXiv:2203.02053](https://arxiv.org/abs/2203.02053)
# - Zhou et al. 2022, dense predictions from CLIP, [arXiv:2112.01071](https://arxiv.org/abs/2112.01071)
# - Liu et al. 2023, a CLIP-driven model for organ segmentation, [arXiv:2301.00785](https://arxiv.org/abs/2301.00785)
# - Dosovitskiy et al. 2020, the vision transformer, [arXiv:2010.11929](https://arxiv.org/abs/2010.11929)
# - The student project: github.com/Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images
# - Antonelli et al. 2022, the data, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)

# %%
session.finish(
    *(
        session.ws.artifacts / "studies" / f"{name}.csv.gz"
        for name in (clip_study.RETRIEVAL, clip_study.TRANSFER, clip_study.COSINES)
    )
)
