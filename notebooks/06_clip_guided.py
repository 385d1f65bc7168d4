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
# - why cosines need a scale, and which loss no network can get below without one;
# - what the words can do in such a head, and what they cannot;
# - which controls tell guidance by language from more layers, from labels in disguise, and from luck.
#
# **Reads:** the data set, `folds.json`; the finished runs of the declared series in the `full` artifacts, as far as they are there; under
# `full` a published CLIP's weights, if they are in the local cache or `HIPPOSEG_CLIP` names a file.
# **Writes:** `figures/06_*`, `facts/06_clip_guided.json`, the runs of the arms `hippoclip` (with `retrieval.csv`, `transfer.csv` and
# `cosines.json`), `clip2d-guided` and `clip2d-unguided` with their predictions. **Run time:** that of three short 2D trainings under
# `standard`, see `timings.csv` for what it took; about a minute under `smoke`, or when the runs are cached.

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

import numpy as np
import pandas as pd
import torch
from IPython.display import Code, display

from hipposeg import losses, stats
from hipposeg.data import captions, prompts
from hipposeg.engine import contrastive
from hipposeg.files import read_json
from hipposeg.models import guided, published
from hipposeg.notebook import start
from hipposeg.report.words import arm_text
from hipposeg.runs import (
    RunSpec,
    clip_study,
    clip_summary,
    guidance,
    probe,
    retrieval,
    seeds,
    series,
    summary,
    train_or_load,
)
from hipposeg.runs.arms import ARMS
from hipposeg.runs.run import machine_for
from hipposeg.runs.samples import images_of
from hipposeg.viz import arms as dots
from hipposeg.viz import attention as overlays
from hipposeg.viz import clip as pictures
from hipposeg.viz import evaluation, forest

session = start("06_clip_guided", profile)
spec, cohort = session.spec, session.cohort
fold = session.folds["grouped"][0]
budget = "smoke" if profile == "smoke" else "standard"
machine, prep = machine_for(session.ws), ARMS["hippoclip"].prep

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
session.save(
    pictures.captioned([pictures.Said(*one) for one in shown], spec), "captions",
    f"Coronal slices of training case {number:03d}, posterior to anterior, each with one of its many possible captions.",
    "Eight coronal slices with the outlines of both parts and a sentence below each.", kind="png",
)  # fmt: skip

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
clips = train_or_load(RunSpec("hippoclip", budget=budget), cohort, session.folds, session.ws, weights=True)
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
table = pd.read_csv(clips.folder / clip_study.RETRIEVAL)
found = retrieval.summary(table)
recalls = found[found["what"] != "rank"].rename(columns={"direction": "panel"})
rows = recalls.assign(row=[f"first {what.removeprefix('recall')}" for what in recalls["what"]])
session.save(
    dots.ranges(rows.rename(columns={"source": "series"}), "share of queries with a hit", pictures.SOURCES),
    "retrieval",
    f"How often a held-out slice finds a caption with equal facts among those of other people, and a caption such a slice: mean over "
    f"{table['case'].nunique()} volumes with 95 % intervals over people.",
    "Dots with intervals for the first one, five and ten places in two panels: HippoCLIP, a nearest neighbour in raw pixels, and chance.",
)  # fmt: skip

# %%
wide = found.pivot(index=["direction", "source"], columns="what", values="value")[
    ["recall1", "recall5", "recall10", "rank"]
]
wide.columns = ["first", "first 5", "first 10", "median rank"]
display(wide.style.format({"median rank": "{:.0f}"}, precision=3).set_uuid("retrieval"))


def of(direction):
    return (wide.loc[(direction, name)] for name in (retrieval.CLIP, retrieval.PIXELS, retrieval.CHANCE))


own, pixels, chance = of(retrieval.IMAGE_TO_TEXT)
back, theirs, _ = of(retrieval.TEXT_TO_IMAGE)
session.facts(retrieval={f"{d}, {n}": one.to_dict() for (d, n), one in wide.iterrows()})
session.say(f"""
An equal caption stands among the first ten for **{own["first 10"]:.1%}** of slices, {own["first 10"] / max(chance["first 10"], 1e-9):.1f} times as often
as by chance ({chance["first 10"]:.1%}) and {own["first 10"] / max(pixels["first 10"], 1e-9):.2f} times as often as by raw pixels ({pixels["first 10"]:.1%}).
From captions to slices it is **{back["first 10"]:.1%}**, against {theirs["first 10"]:.1%} by raw pixels.
""")

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
network = probe.trained_network(session.ws, clips.run, spec, machine)
slices = clip_study.look(network, prep, scored, cohort, fold["train"], machine)
along = np.array([np.nan if not one.parts else one.place for one in slices.said], dtype=float)
every = slice(None, None, max(1, len(along) // 900))
session.save(
    pictures.space(slices.features[every], slices.read[every], along[every]), "space",
    "Held-out slices (dots) and their captions (triangles) in HippoCLIP's space, in two principal components.",
    "Two scatter plots coloured by the place on the long axis; at the left images and captions as they are, at the right each kind centred.",
    kind="png",
)  # fmt: skip

# %% [markdown]
# **How to read it.** The panels differ by the distance between the mean image and the mean caption, the *modality gap* of most CLIPs (Liang et
# al. 2022). At the right it is taken out, and colours should agree: then a slice lies where the captions of its place lie. **What it does not
# show:** the other dimensions, in which areas and sizes are told.

# %%
gap = float(np.linalg.norm(slices.features.mean(0) - slices.read.mean(0)))
session.facts(modality_gap=gap)
session.say(f"All vectors have length 1. The means of images and of captions lie **{gap:.2f}** apart"
            + (": hardly a gap, which is why the panels look alike." if gap < 0.2 else "."))  # fmt: skip

# %% [markdown]
# ## 4. How far does text go alone?
#
# HippoCLIP's image vector is the mean over its patches. So each patch lies in the same space, and can be compared with what the classes are
# called: a segmentation without any decoder, and without any training for it. **Prompts** are what is said of a class; its vector is the mean
# of its prompts' vectors. We try four sets: sentences of the kind that the student project wrote (five a class, the words are ours), single
# words, sentences in the very form of the captions with statistics of training slices, and words that have nothing to do with it.

# %%
for kind in prompts.KINDS:
    said = guidance.class_prompts(kind, clips.run, cohort, fold["train"])
    session.say(f"**{kind}**: " + "; ".join(f"*{one[0]}*" for one in said))

# %%
cosines = {kind: np.array(one) for kind, one in read_json(clips.folder / clip_study.COSINES).items()}
alone = clip_summary.by_prompts([clips])
pairs = [(i, j) for i in range(spec.n_classes) for j in range(i + 1, spec.n_classes)]
names = ("background", *spec.names)
angles = pd.DataFrame(
    {kind: {f"{names[i]}, {names[j]}": one[i, j] for i, j in pairs} for kind, one in cosines.items()}
).T
angles["mean Dice, text alone"] = alone["value"]
session.facts(text_alone=alone["value"].to_dict(), cosines=angles.iloc[:, :-1].T.to_dict())
session.say("Cosines between the classes' vectors, and mean Dice of the patches' own choice on the scored volumes:")
display(angles.style.format(precision=3).set_uuid("angles"))

# %% [markdown]
# **How to read it.** A cosine near 1 means that to this text tower the two classes are called the same, and nothing that is nearly equal can guide:
# in the student project, anterior and posterior stood at `0.977`. The guided arms below take the prompts in the form of captions: on `dev`, before any
# scored fold was run, their classes lay farthest apart. Dice is low because a patch is several voxels wide and because the tower was
# trained to tell slices apart, not patches. **What it does not show:** what a decoder can make of it.
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
# loss that geometry allows. It can be computed. All pixels of a class get the one embedding that is best for it, and the loss is what it is:

# %%
display(Code(inspect.getsource(guided.lowest_loss), language="python"))

# %%
shares = np.mean([[(cohort.cases[n].label == k).mean() for k in range(spec.n_classes)] for n in fold["train"]], axis=0)
recipe = ARMS["clip2d-guided"].recipe(budget)


def training_loss(logits, target):
    return losses.combined(logits, target, recipe.loss, recipe.foreground_weight)


scales = np.geomspace(0.5, 60, 12)
close = np.full((spec.n_classes, spec.n_classes), 0.977) + np.eye(spec.n_classes) * 0.023
sets = {
    "vectors at right angles": torch.eye(spec.n_classes),
    "HippoCLIP's, in the form of captions": network.classes.cpu(),
    "all at a cosine of 0.977": torch.linalg.cholesky(torch.tensor(close)).float(),
}
lowest = {
    name: [guided.lowest_loss(one, scale, shares, training_loss) for scale in scales] for name, one in sets.items()
}
at_one = {name: guided.lowest_loss(one, 1.0, shares, training_loss) for name, one in sets.items()}
session.facts(lowest_loss_without_scale=at_one)

# %% [markdown]
# The student project's loss sat at `0.7975` and would not fall: cosines without a scale. Its loss was another one than ours, so the number is not
# the same here, but the floor is of the same kind. CLIP itself learns its scale, and so do we. Now the training, and its twin: the
# plain U-Net in as many steps, on the same slices in the same order, from the same initial weights.

# %%
led = train_or_load(RunSpec("clip2d-guided", budget=budget), cohort, session.folds, session.ws, weights=True)
twin = session.run("clip2d-unguided")
session.save(
    evaluation.training_curves({"clip2d-unguided": twin.history, "clip2d-guided": led.history}), "curves",
    "Training loss, and mean Dice on the scored volumes now and then, for display only: nothing is chosen by it.",
    "Two line charts over epochs for two networks: the loss falls, the mean Dice rises.",
)  # fmt: skip
pair = seeds.differences(seeds.scores([led, twin]), "clip2d-unguided").iloc[0]
session.facts(
    dice_guided=led.mean(),
    dice_unguided=twin.mean(),
    guided_minus_twin={k: pair[k] for k in ("difference", "low", "high")},
)
session.say(
    f"Mean Dice on {len(fold['scored'])} volumes: guided **{led.mean():.4f}**, unguided **{twin.mean():.4f}**. Guided minus unguided: "
    f"**{pair['difference']:+.4f}** (95 % interval over people {pair['low']:+.4f} to {pair['high']:+.4f}), one seed each, so no verdict yet. "
    "The difference counts each person once, the two means each volume once."
)

# %% [markdown]
# And the scale: where it began, where it went, and where that puts the lowest loss. The run without a scale is one of the series; it is drawn if it
# is there.

# %%
made = session.series()
fixed = [one for one in made if one.run == RunSpec("clip2d-fixed-scale")]
session.save(
    pictures.courses({"hippoclip": clips.history, "clip2d-guided": led.history}, guided.FIRST_SCALE), "scale",
    "Loss and learned scale by epoch. The two losses are different ones; dashed: where both scales begin.",
    "Two line charts over epochs for HippoCLIP and the guided network.",
)  # fmt: skip
ends = {one.run.arm: (one.config["scale"], one.history[-1]["loss"]) for one in (led, *fixed)}
session.save(
    pictures.floors({name: (scales, one) for name, one in lowest.items()}, ends), "floor",
    "Lines: the lowest training loss that geometry allows, at each scale, for three sets of class vectors. Marks: where trainings ended.",
    "Falling curves of the lowest possible loss against the scale, with a mark for each training.",
)  # fmt: skip
session.say(
    "Without a scale no network gets below "
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
network = probe.trained_network(session.ws, led.run, spec, machine)
dice, views = summary.mean_dice(led.cases), []
for rank, number in summary.cases_by_rule(dice).items():
    case, likeness = cohort.cases[number], clip_study.similarity(network, prep, images[number], machine)
    columns = {f"cosine with {name}": one for name, one in zip(names, likeness, strict=True)}
    views.append(
        overlays.MapView(
            f"{rank}: case {number:03d}\nmean Dice {dice[number]:.3f}", case.image[0], case.label, columns, case.spacing
        )
    )
values = np.concatenate([one.ravel() for view in views for one in view.maps.values()])
limits = tuple(np.nanpercentile(values, (1, 99)))
what, side_on = "cosine of the pixel with the class's vector", 0 if prep.axis else 1
session.save(
    overlays.maps(views, spec, "What each pixel is like", side_on, what=what, limits=limits),
    "similarity", "The best, median and worst scored case: each pixel's cosine with the classes' vectors, in the slice that holds most "
    "hippocampus, cut across those that the network works on so that both parts are in view.",
    "Three rows of slices: the image, then maps from blue to yellow for each class, with the true outlines.", kind="png",
)  # fmt: skip

# %% [markdown]
# **How to read it.** Colours span the cosines that occur. Where each class lights up, there the network finds it: these maps are its logits, but for the
# scale. Classes with close vectors have maps that look alike. **What it does not show:** that the words put them there.
#
# ## 6. What could text do here at all?
#
# Look at the head again: logits are cosines between a **learned** embedding and fixed vectors. Turn all class vectors by one rotation, turn
# the embedding's weights with them, and every logit stays as it was. So the direction in which "head of the hippocampus" points
# cannot matter to what the network is able to learn; only the angles between the classes can. And angles could be had without language. In
# numbers, on one slice, with the trained network:

# %%
sample = prep.place(images[fold["scored"][0]])[0][:1].to(machine.device)
with torch.inference_mode():
    before = network(sample)
    turn = guided.rotated(torch.eye(network.classes.shape[1]), torch.Generator().manual_seed(0)).to(machine.device)
    network.classes.copy_(network.classes @ turn)
    network.embedding.weight.copy_((network.embedding.weight[:, :, 0, 0].T @ turn).T[:, :, None, None])
    network.embedding.bias.copy_(network.embedding.bias @ turn)
    apart = float((network(sample) - before).abs().max() / before.abs().max())
session.facts(rotation_changes_logits_by=round(apart, 3))
session.say(
    f"Class vectors and embedding turned together: logits change by at most **{apart:.1e}** of the largest one, which is rounding."
)

# %% [markdown]
# That makes the controls. Each takes one thing away, has as many steps, and is trained with three seeds.

# %%
told = [(family, name, arm_text(name)) for family, members in series.FAMILIES_CLIP.items() for name in members]
display(
    pd.DataFrame(told, columns=["what is asked", "arm", "what it is"]).style.hide(axis="index").set_uuid("controls")
)

# %% [markdown]
# `clip2d-same-angles` and `clip2d-rotated` are two ways to draw from the same distribution: what they differ by is noise. `clip2d-attributes` is
# the sharpest question: its tower had the same supervision as HippoCLIP's, the captions' facts, but as numbers. If it does as well, what helped was
# pre-training on labels, not language. `clip2d-unrelated` cannot decide about meaning: section 4 shows how close its three vectors lie, and by
# the argument above a head can hardly tell such classes apart, whatever their words mean.

# %%
verdicts = seeds.by_family(made, "clip2d-guided", series.FAMILIES_CLIP, "standard")
if len(verdicts):
    session.save(
        forest.forest(verdicts, stats.EQUIVALENCE_MARGIN, "mean Dice, arm minus clip2d-guided", sort=False), "controls",
        "Every control minus the guided network, with 95 % intervals over people and seeds; shaded: too small to matter.",
        "A forest plot of the controls in five families.",
    )  # fmt: skip
    session.facts(verdicts={" / ".join(name): row["verdict"] for name, row in verdicts.iterrows()})
    session.say(seeds.in_words(verdicts, "`clip2d-guided`"))
else:
    session.say(
        "**Not trained yet:** no comparison of the series is complete, so there is no verdict on language here."
    )

# %% [markdown]
# **How to read it.** An arm *behind* has lost something that guidance gave; an arm *equivalent* or *undecided* has not been shown to miss it. Language
# itself is credited only if arms whose class vectors lie as far apart, but come without text, fall behind (`clip2d-learned`,
# `clip2d-same-angles`, `clip2d-rotated`). And where a guided arm is ahead, remember that its guide learned from **captions made of the twin's own
# training labels**.
# **What it does not show:** guidance by a CLIP that read real radiology reports, which might know things that labels do not say.
#
# ### In three dimensions
#
# The text head works in 3D as well; a tower of slices has no volume to look at, so there the head alone is guided.

# %%
solid = seeds.by_family(made, "unet3d", {"text head": ("clip3d-guided",)}, "standard")
if len(solid):
    session.say(f"Guided minus plain 3D U-Net. {seeds.in_words(solid, '`unet3d`')}")
    display(summary.readable_differences(solid))
else:
    session.say("**Not trained yet:** `clip3d-guided` of the series.")

# %% [markdown]
# ## 7. Few labels
#
# Guidance is said to help where labels are few. So both arms learn from 5, 10, 20 and 50 % of the training people, in as many steps. The shares are nested,
# both arms get the same people, and each HippoCLIP is trained on its cell's people alone: a guide that knew more people would bring their labels in
# through the back door.

# %%
by_share, apart = clip_summary.by_share(made), clip_summary.share_differences(made)
if len(apart):
    session.save(
        dots.ranges(by_share, "mean Dice (bars: 95 % interval over people and seeds)"), "shares",
        "Mean Dice of the guided network and its twin when both learn from few people.",
        "Dots with intervals for each share of the people, guided and unguided.",
    )  # fmt: skip
    session.save(
        forest.forest(apart, stats.EQUIVALENCE_MARGIN, "mean Dice, guided minus unguided", sort=False), "share-differences",
        "Guided minus unguided at each share, with 95 % intervals over people and seeds; shaded: too small to matter.",
        "A forest plot with a row for each share of the training people.",
    )  # fmt: skip
    session.facts(shares={name: row["verdict"] for name, row in apart.iterrows()})
else:
    session.say("**Not trained yet:** no share is complete; `hipposeg series 06 --only .p` trains them.")

# %% [markdown]
# **How to read it.** Each row compares networks that learned from the same people. **What it does not show:** what fewer *labels* of as many *people*
# would do; here images go with their labels.
#
# ## 8. A published CLIP
#
# The same code takes CLIPs that others trained on photographs and web text: the arm `clip+published` is open_clip's ViT-B-32, taken from the local cache
# or from a file named by `HIPPOSEG_CLIP`, and `clip2d-guided+published` is guided by it. Nothing is downloaded, and a run says which source it used.

# %%
name = next(iter(published.PUBLISHED))
try:
    source = published.checkpoint(name) if profile == "full" else None
    session.say(f"Found: {source.name}." if source else f"Under `full` the weights of {name} are looked for.")
except FileNotFoundError as error:
    source = None
    session.say(f"**Not here:** {error}.")
if source:
    theirs = session.run("clip+published")
    session.say(
        f"Weights: *{theirs.config['source']}*. Text alone, without training: mean Dice **{theirs.mean():.3f}**; ours {clips.mean():.3f}."
    )
    display(
        retrieval.summary(pd.read_csv(theirs.folder / clip_study.RETRIEVAL))
        .style.format(precision=3)
        .set_uuid("published")
    )

# %% [markdown]
# ## What we learned

# %%
session.say(f"""
- With HippoCLIP an equal caption is among the first ten for {own["first 10"]:.1%} of held-out slices, against {
    pixels["first 10"]:.1%} by raw pixels and {chance["first 10"]:.1%} by chance.
- Text alone, patch by patch and without a decoder, reaches a mean Dice of {
    alone["value"].max():.3f} with its best set of prompts (`{
    alone["value"].idxmax()
}`). The captions that it learned from came from labels.
- Guided minus unguided U-Net: **{pair["difference"]:+.4f}** mean Dice ({pair["low"]:+.4f} to {
    pair["high"]:+.4f}), one seed each.
- A cosine head needs a scale. Without one no loss below {
    at_one["HippoCLIP's, in the form of captions"]:.3f} is possible with these vectors, for any network.
- {
    seeds.in_words(verdicts, "`clip2d-guided`")
    if len(verdicts)
    else "Whether it is the language cannot be said before the series of controls is trained."
}
""")

# %% [markdown]
# ## Limitations
#
# - Captions come from labels. HippoCLIP knows nothing that the training labels do not say, and its vocabulary is that of a few templates: a word
#   that no caption holds tells it nothing, and sentences of such words all land on about one point.
# - The recipe of the guided arms is that of the plain network; nothing was tuned for guidance.
# - One fold. The boxes were cut around the truth (notebook 01), so the place of a slice in its box already tells much of what a caption says.
# - Retrieval counts equal facts. It does not ask whether a near miss is near.
# - In the cells with few people each seed draws its own people; a cell's interval holds that luck, but three draws are few.
#
# ## Exercises
#
# 1. In section 4, write prompts of your own in `data/prompts.py` and look at the cosines before you look at the Dice.
# 2. Train `clip2d-image-only` with `hipposeg train clip2d-image-only`. Is it nearer to the guided network or to its twin?
# 3. In section 5, draw the floor for `recipe.loss = "ce"` with `dataclasses.replace`. Which of the two terms keeps the floor up?
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
    *(one.folder / "config.json" for one in (clips, led, twin)),
    *(clips.folder / name for name in clip_study.TABLES),
    *(led.predictions / spec.file_name(number) for number in fold["scored"]),
)
