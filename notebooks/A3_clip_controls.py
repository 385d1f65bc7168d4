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
# # A3. CLIP guidance in detail: prompts, temperature, towers, few labels
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/A3_clip_controls.ipynb)
#
# **Question.** Notebook [06](06_clip_guided.ipynb) finds that language does not help. Could other prompts, another image tower, three dimensions or
# fewer labels change that? In short: none of them does.
#
# **What you will learn**
# - how far text gets alone, without a decoder, and what the angles between prompts have to do with it;
# - how to compute the lowest loss that cosines with a given scale allow;
# - whether an image tower needs language, or only the facts as numbers;
# - whether guidance helps where labels are few.
#
# For readers of notebook [06](06_clip_guided.ipynb); words are in the [glossary](GLOSSARY.md). "CLIP" is HippoCLIP, trained here on captions made from
# training labels.
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs; under `full` a published CLIP's weights, if the local cache has them or
#   `HIPPOSEG_CLIP` names a file or folder.
# - **Writes:** `figures/A3_*`, `facts/A3_clip_controls.json`; under `full` the runs `clip+published` and `clip2d-guided+published`.
# - **Run time:** a minute; nothing is trained except under `full`.

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
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display

from hipposeg import stats
from hipposeg.data import captions
from hipposeg.experiments import guidance, plan, registry, samples
from hipposeg.models import published
from hipposeg.notebook import start
from hipposeg.results import compare, load, tables
from hipposeg.training import losses, machine
from hipposeg.viz import intervals, slices, style
from hipposeg_lab.figures import maps
from hipposeg_lab.studies import clip_study, retrieval

session = start("A3_clip_controls", profile)
spec, cohort, fold = session.spec, session.cohort, session.folds["grouped"][0]
names = ("background", *spec.names)
hippoclip, led = session.run("hippoclip"), session.run("clip2d-guided")
planned = session.planned("06")

# %% [markdown]
# ## 1. Has every training of HippoCLIP learned to read slices?
#
# Notebook 06 tests retrieval with one seed. Here the advantage over raw pixels is averaged over all seeds, with intervals over subjects and seeds.

# %%
seeds = plan.finished(planned, [registry.RunSpec("hippoclip", seed=seed) for seed in plan.SEEDS])
seeds = seeds if len(seeds) else hippoclip.rows
gains = retrieval.advantage(clip_study.read(session.ws, clip_study.RETRIEVAL, seeds))
display(gains.style.format(precision=3).hide(axis="index").set_uuid("gains"))
session.claim(
    (gains["low"] > 0).all() and (gains["seeds"] > 1).all(),
    f"""**Yes.** Over {gains["seeds"].min()} seeds HippoCLIP has a hit more often than raw pixels, by {gains["difference"].min():.2f} to {gains["difference"].max():.2f}.""",
)

# %% [markdown]
# ## 2. How far does text get alone?
#
# HippoCLIP's image vector is the mean over its patches, so each patch lies in the same space and can be compared with class vectors: a segmentation
# without a decoder and without training for it. Four sets of **prompts** are tried.

# %%
for kind in captions.KINDS:
    said = guidance.class_prompts(kind, registry.RunSpec("hippoclip"), cohort, fold["train"])
    print(f"{kind}: " + "; ".join(sentences[0] for sentences in said))

# %% [markdown]
# The table shows the cosines between class vectors, and the mean Dice if each patch takes the nearest class. For comparison: the image-free atlas, and
# a tower that was taught the captions' facts as numbers and reads no text.

# %%
cosines = clip_study.read(session.ws, clip_study.COSINES, hippoclip.rows)
transfer = clip_study.read(session.ws, clip_study.TRANSFER, hippoclip.rows)
alone = compare.means(transfer[transfer["label"] == "mean"], "prompts")["value"]
without_text = planned[(planned["model"] == "hippoclip-attributes") & (planned["label"] == "mean")]
dice = alone.copy()
dice["the same facts as numbers, no text"] = without_text.groupby("run")["dice"].mean().mean()
dice["image-free atlas"] = session.run(load.ATLAS).mean()
angles = clip_study.angles(cosines, names).reindex(dice.index)
display(angles.assign(**{"mean Dice": dice}).style.format(precision=3, na_rep="").set_uuid("angles"))
session.claim(
    alone.idxmax() == captions.GEOMETRIC and alone.max() < 0.2 < dice["image-free atlas"],
    f"""**Text alone does not segment.** The best set of prompts, in the form of the captions, reaches a Dice of {alone.max():.2f}; the atlas, which ignores the
image, {dice["image-free atlas"]:.2f}. A patch is five voxels wide, and the towers learned to distinguish slices, not patches. Words that no caption contains
have cosines of about 1: the tower cannot separate them.""",
)

# %% [markdown]
# Where does text alone find the classes? Each patch's cosine with the class vectors, for the best, the median and the worst test case; and below, each
# pixel's cosine in the trained text-guided network, whose logits these maps are.


# %%
def views(run, network):
    found, dice, prep = [], run.values(), registry.MODELS[run.model].prep
    for rank, number in tables.cases_by_rule(dice).items():
        case, title = cohort.cases[number], f"{rank}: case {number:03d}\nDice {dice[number]:.3f}"
        likeness = clip_study.similarity(network, prep, images[number], machine.this_machine())
        columns = dict(zip(names, likeness, strict=True))
        found.append(maps.MapView(title, case.image[0], case.label, columns, case.spacing))
    return found


prep = registry.MODELS["hippoclip"].prep
images = samples.images_of(cohort, prep, session.ws)
pictures = {"patches": ("Patches are too coarse for a border", hippoclip), "pixels": ("Pixels find the classes", led)}
networks = {slug: session.network(run) for slug, (_, run) in pictures.items()}
for slug, (title, run) in pictures.items():
    if networks[slug] is not None:
        drawn = views(run, networks[slug])
        ends = np.nanpercentile(np.concatenate([one.ravel() for view in drawn for one in view.maps.values()]), (1, 99))
        session.save(maps.maps(drawn, spec, title, what="cosine with the class vector", limits=tuple(ends)), slug)
if None in networks.values():
    session.say("Pictures are left out whose weights are not on this machine; the profile `standard` trains them.")

# %% [markdown]
# The text-guided networks use the prompts in the form of captions. That choice may not be made on test subjects; it was planned, and checked on `dev`, with a
# HippoCLIP trained on the other training subjects:

# %%
developed = plan.finished(planned, [registry.RunSpec("hippoclip", "dev")])
on_dev = clip_study.angles(clip_study.read(session.ws, clip_study.COSINES, developed), names).max(axis=1)
session.claim(
    len(on_dev) > 0 and on_dev.idxmin() == captions.GEOMETRIC,
    f"On `dev`, too, these prompts lie farthest apart: their largest cosine is {on_dev.min():.2f}, that of the next set {on_dev.drop(captions.GEOMETRIC, errors='ignore').min():.2f}.",
)

# %% [markdown]
# ## 3. The lowest loss that cosines allow
#
# The student project's loss stayed at `0.7975`. Is that geometry? The lowest possible loss can be computed: all pixels of a class get the one
# embedding that is best for the loss, found by descent (`clip_study.lowest_loss`), in a batch that has the training slices' average fraction of each class.

# %%
labels = samples.make_samples(images, cohort, prep, fold["train"]).labels  # as the loss meets them, with their margins
shares = np.bincount(labels.numpy().ravel(), minlength=spec.n_classes) / labels.numel()
recipe = registry.MODELS["clip2d-guided"].training("smoke" if session.ws.profile == "smoke" else "standard")
equal, own = torch.eye(spec.n_classes).double(), torch.eye(spec.n_classes).double()
close = clip_study.STUDENTS_COSINE * (1 - equal) + equal
for one in cosines[cosines["prompts"] == captions.GEOMETRIC].itertuples():
    own[one.first, one.second] = own[one.second, one.first] = one.cosine


def vectors_with(table):
    values, directions = torch.linalg.eigh(table)  # rows of length 1 whose cosines are the table's
    return (directions * values.clamp(min=0).sqrt()).float()


def training_loss(logits, target):
    return losses.combined(logits, target, recipe.loss, recipe.foreground_weight)


sets = {
    "vectors at right angles": equal,
    "HippoCLIP's prompts": own,
    f"all at a cosine of {clip_study.STUDENTS_COSINE}": close,
}
scales = np.geomspace(0.5, 60, 12)
floors = {
    name: [clip_study.lowest_loss(vectors_with(table), scale, shares, training_loss) for scale in scales]
    for name, table in sets.items()
}

# %% [markdown]
# Each line is the lowest loss with one embedding per class. The marks show where two trainings ended.

# %%
fixed = load.runs(plan.finished(planned, [registry.RunSpec("clip2d-fixed-scale")]), session.ws)
fig, ax = plt.subplots(figsize=(style.WIDTH, 4))
for index, (name, floor) in enumerate(floors.items()):
    ax.plot(scales, floor, label=name, **style.line_style(index))
for run, text in zip((led, *fixed), ("text-guided network", "control with scale 1"), strict=False):
    ax.plot(run.config["scale"], run.history[-1]["loss"], "D", color=style.INK)
    ax.annotate(
        text, (run.config["scale"], run.history[-1]["loss"]), xytext=(8, 6), textcoords="offset points", fontsize=9
    )
ax.axvline(1, color=style.MUTED, linestyle="--", label="no scale")
ax.set(
    title="Without a scale the loss stays high",
    xlabel="scale (1 / temperature)",
    ylabel="training loss",
    xscale="log",
    ylim=(0, None),
)
ax.legend()
session.save(fig, "lowest-loss")

# %% [markdown]
# The student project had another loss: a Dice of all classes, background included, pooled over the batch. One cosine of its class vectors is known.
# With that loss, and all cosines set to that value:

# %%
students = clip_study.lowest_loss(vectors_with(close), 1.0, shares, clip_study.dice_of_all_classes, pixels=20_000)
floor = clip_study.lowest_loss(vectors_with(own), 1.0, shares, training_loss)
stuck = fixed[0].history[-1]["loss"] if fixed else float("nan")
session.claim(
    0 < stuck - floor < 0.1 and abs(students - clip_study.STUDENTS_LOSS) < 0.02,
    f"""**Without a scale, training ends close to this bound.** Our control ends at a loss of {stuck:.2f}; the lowest possible one is
{floor:.2f}. The lowest
loss of the student's kind is {students:.3f} on our slices, where the classes' fractions may differ; its training stayed at {clip_study.STUDENTS_LOSS}.""",
)

# %% [markdown]
# ## 4. Does the image tower need language?
#
# The tower of `clip2d-attributes` was taught the captions' facts as numbers, and its class vectors are learned. It is compared with
# `clip2d-learned`, from which it differs in the tower alone. In 3D only the head can be guided, since the tower works on slices.

# %%
towers = compare.by_family(planned, plan.TOWERS_CLIP[0], {"towers": plan.TOWERS_CLIP[1]}, "standard")
solid = compare.by_family(planned, "unet3d", {"3D": ("clip3d-guided",)}, "standard")
if len(towers) and len(solid):
    tower, head = towers.iloc[0], solid.iloc[0]
    session.claim(
        tower["conclusion"] == "inconclusive" and head["conclusion"] == "equivalent",
        f"""**No advantage of language is found.** A tower taught by numbers, minus one taught by captions: {tower["difference"]:+.4f} Dice
({tower["low"]:+.4f} to {tower["high"]:+.4f}), inconclusive. In 3D, text head minus plain head: {head["difference"]:+.4f} ({head["low"]:+.4f} to
{head["high"]:+.4f}), equivalent.""",
    )

# %% [markdown]
# ## 5. Few labels
#
# Guidance is expected to help where labels are few. Both networks learn from 5, 10, 20 and 50 % of the training subjects, in as many steps; the smaller sets
# are part of the larger ones. Each HippoCLIP is trained on the same few subjects, since a teacher trained on more subjects would bring their labels in.

# %%
curve, apart = clip_study.by_share(planned), clip_study.share_differences(planned)
if len(apart):
    curve["series"] = curve["series"].map({"clip2d-guided": "text-guided", "clip2d-unguided": "plain"})
    fig = intervals.dots(curve, "mean Dice (bars: 95 % interval over subjects and seeds)")
    slices.heading(fig, "More subjects help; guidance is not shown to")
    session.save(fig, "shares")
    fig = intervals.forest(apart, stats.EQUIVALENCE_MARGIN, "mean Dice, text-guided minus plain", sort=False)
    slices.heading(fig, "Every interval includes zero")
    session.save(fig, "share-differences")
    session.claim(
        (apart["conclusion"] == "inconclusive").all(),
        f"""**With few labels guidance is not shown to help either.** From 5 % of the subjects to all of them the differences are {apart["difference"].min():+.4f} to
{apart["difference"].max():+.4f}, and every interval includes zero. With few subjects the intervals are wide: three seeds draw different subjects.""",
    )

# %% [markdown]
# A batch of HippoCLIP holds one slice of a subject, so the teacher of few subjects compares each slice with fewer wrong captions. What fewer *labels* of
# as many subjects would do is not tested; here images go with their labels.
#
# ## 6. A published CLIP
#
# The same code takes published CLIPs: `clip+published` is open_clip's ViT-B-32, from the local cache or a file or folder named by `HIPPOSEG_CLIP`,
# and `clip2d-guided+published` is guided by it. Nothing is downloaded. This project never had such weights, so no result here is one of theirs. A
# biomedical CLIP such as BiomedCLIP would be a better test; it is not on open_clip's list.

# %%
published_name, checkpoint = next(iter(published.PUBLISHED)), None
try:
    checkpoint = published.checkpoint(published_name) if profile == "full" else None
except FileNotFoundError as error:
    session.say(f"Left out: {error}.")
if checkpoint:
    outside, led_from_outside = session.run("clip+published"), session.run("clip2d-guided+published")
    session.say(
        f"Weights: *{outside.config['source']}*. Text alone: Dice {outside.mean():.3f}; HippoCLIP's {hippoclip.mean():.3f}."
    )
    both = session.results[session.results["run"].isin([led_from_outside.name, led.name])]
    display(tables.readable_differences(compare.differences(both[both["label"] == "mean"], "clip2d-guided")))

# %% [markdown]
# ## What we learned

# %%
session.facts(text_alone=alone.to_dict(), students_floor=students)
session.claim(
    len(apart) > 0 and not (apart["low"] > 0).any(),
    f"""**Does another set of prompts, another tower, 3D or few labels make language useful? No.**

1. Text alone reaches a Dice of {alone.max():.2f}, far below an atlas that ignores the image ({dice["image-free atlas"]:.2f}).
2. Cosines without a scale have a lowest loss above zero; a learned scale removes it, whatever the vectors mean.
3. A tower taught by numbers, a text head in 3D, and training sets of 5 to 50 % of the subjects show no advantage of guidance.

Published weights that have seen other images and texts could change this; they are not available here.""",
)

# %% [markdown]
# ## Limits
#
# - The lowest loss assumes one embedding a class. For cross-entropy it bounds every network; for Dice it is an approximation.
# - With few subjects, three draws are few, and the teachers also had fewer negatives in a batch.
# - Equal steps are not equal cost: a teacher has to be trained first, and its tower is run on every slice.
#
# ## Exercises
#
# **1.** For three classes with class vectors at 120 degrees in a plane and scale s, a perfect pixel has cosines 1, -1/2 and -1/2. Write its
# cross-entropy as a function of s, with `torch` or `np`.

# %% tags=["exercise"]
my_floor = None  # your function of the scale

# %%
if my_floor is not None:
    found = [float(my_floor(scale)) for scale in (1.0, 5.0, 14.0)]
    logits = torch.tensor([1.0, -0.5, -0.5])
    for scale, value in zip((1.0, 5.0, 14.0), found, strict=True):
        assert np.isclose(value, -(scale * logits).log_softmax(0)[0].item(), atol=1e-6), f"wrong at scale {scale}"
print("right" if my_floor is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_floor(scale):
#     # -log of exp(s) / (exp(s) + 2 exp(-s / 2)), with both divided by exp(s)
#     return np.log1p(2 * np.exp(-1.5 * scale))
# ```
#
# </details>
#
# **2.** Write a loss: one minus the mean soft Dice of all classes, background included, pooled over the batch, for logits and targets (B, K, N).

# %% tags=["exercise"]
pooled_dice_loss = None  # your function of (logits, target)

# %%
if pooled_dice_loss is not None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 7), torch.eye(3)[torch.randint(3, (2, 7))].movedim(-1, 1)
    assert torch.isclose(pooled_dice_loss(logits, target), clip_study.dice_of_all_classes(logits, target)), "not equal"
print("right" if pooled_dice_loss is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def pooled_dice_loss(logits, target):
#     probability = logits.softmax(1)
#     overlap, sizes = (probability * target).sum((0, 2)), (probability + target).sum((0, 2))
#     return 1 - (2 * overlap / sizes).mean()
# ```
#
# </details>
#
# ## References
#
# - Radford et al. 2021, CLIP, [arXiv:2103.00020](https://arxiv.org/abs/2103.00020)
# - Zhou et al. 2022, dense predictions from CLIP, [arXiv:2112.01071](https://arxiv.org/abs/2112.01071)
# - Zhang et al. 2023, BiomedCLIP, [arXiv:2303.00915](https://arxiv.org/abs/2303.00915)
# - The student project: github.com/Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images

# %%
session.finish()
