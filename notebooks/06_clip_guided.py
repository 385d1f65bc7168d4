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
# # 06. CLIP guidance: does language help a network to segment?
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/06_clip_guided.ipynb)
#
# **Question.** A model trained on images and texts gives a network a vector for the name of each class. Does the network segment better? In short: no.
# Class vectors made from text are no better than the same vectors rotated at random, or than vectors that the network learns by itself.
#
# **"CLIP" here is our own HippoCLIP.** The weights of published CLIPs cannot be had in this project, so a small CLIP was trained on
# slices of the training subjects and captions made from their labels. It was trained without photographs and radiology reports.
#
# **What you will learn**
# - how contrastive learning works, by typing its loss and watching a small CLIP learn;
# - how to test whether such a model has learned anything: retrieval in subjects that it never saw;
# - how text becomes class vectors, and how a network's head compares pixels with them;
# - what the text can and cannot change in such a head;
# - which controls separate language from additional layers, from labels used twice, and from luck.
#
# Needs notebooks [00](00_quickstart.ipynb) and [03](03_unet2d_baseline.ipynb); words such as *equivalent* are in the [glossary](GLOSSARY.md).
# Prompts, temperatures, towers and few labels in detail are in [appendix A3](A3_clip_controls.ipynb).
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs.
# - **Writes:** `figures/06_*`, `facts/06_clip_guided.json`; under `standard` the runs `hippoclip`, `clip2d-guided` and `clip2d-unguided`.
# - **Run time:** two minutes; under `standard` also three short 2D trainings, if they are not finished.

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
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Code, display

from hipposeg import stats
from hipposeg.data import captions
from hipposeg.experiments import guidance, registry, samples
from hipposeg.models import clip, guided
from hipposeg.notebook import start
from hipposeg.training import contrastive, machine, optimiser
from hipposeg.viz import intervals, slices, style
from hipposeg_lab.studies import clip_study, comparisons, retrieval

session = start("06_clip_guided", profile)
spec, cohort, fold = session.spec, session.cohort, session.folds["grouped"][0]
prep, functional = registry.MODELS["hippoclip"].prep, torch.nn.functional

# %% [markdown]
# ## 1. Captions: labels put into words
#
# **CLIP** (Radford et al. 2021) learns from images with captions. Nobody wrote captions for these slices, so they are made from the labels: where on
# the long axis a coronal slice lies, which parts it contains, their area, and how that compares with other subjects. The wording varies, so
# that the text network has to find the facts in the words.

# %%
display(Code(inspect.getsource(captions.caption), language="python"))
number = fold["train"][0]
shown = clip_study.examples(cohort, prep, fold["train"], number)
fig, axes = plt.subplots(2, 4, figsize=(style.WIDTH, 7))
for ax, (image, label, text) in zip(axes.flat, shown, strict=True):
    slices.overlay(ax, image, label, spec, alpha=0)
    ax.set_xlabel(textwrap.fill(text, 33), fontsize=8.5)
slices.heading(fig, "Each caption states the facts of its slice")
slices.legend(fig, spec)
session.save(fig, "captions", number=number)

# %% [markdown]
# This matters for everything below: captions come from labels. Whatever HippoCLIP learns, it learns from the outlines that a segmentation network
# is trained on, put into words. If its guidance helps, labels are used twice; no knowledge from elsewhere is added.
#
# ## 2. Two towers and one space
#
# A CLIP has two networks, called towers: one for images, one for text. Both end in vectors of length 1 in one space. Here is an untrained one, a
# small vision transformer and a small text transformer, and a batch of twelve slices with their captions. `contrastive.drawn` takes one slice
# each of twelve subjects, no two with the same facts.

# %%
images = samples.images_of(cohort, prep, session.ws)
train = guidance.captioned(samples.make_samples(images, cohort, prep, fold["train"]), cohort, prep, fold["train"])
torch.manual_seed(0)
network = clip.hippoclip(prep.channels(len(spec.channels)), spec.n_classes)
words, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)


def batch(size):
    chosen = contrastive.drawn(train, size, generator)
    chosen = sorted(chosen, key=lambda at: (str(train.facts[at].parts), str(train.facts[at].place).zfill(3)))
    return train.images[chosen], [captions.caption(train.facts[at], words) for at in chosen]


some, said = batch(12)
tokens = network.tokens(said)
image_vectors, text_vectors = network.tower(some), functional.normalize(network.text.encode_text(tokens), dim=-1)
print("slices", tuple(some.shape), "-> image vectors", tuple(image_vectors.shape))
print("captions as tokens", tuple(tokens.shape), "-> text vectors", tuple(text_vectors.shape))
similarity = image_vectors @ text_vectors.T
print("similarity matrix", tuple(similarity.shape), "of cosines, a row for each slice, a column for each caption")

# %% [markdown]
# Slice *i* belongs to caption *i*, so the diagonal should be large and the rest small. The **contrastive loss** (InfoNCE) turns each row into
# probabilities over captions and each column into probabilities over slices; it is the mean cross-entropy of the matching pairs. Cosines
# lie between -1 and 1, so they are multiplied by a learned scale first (section 5 shows why).


# %%
def info_nce(image_vectors, text_vectors, scale):
    logits = scale * image_vectors @ text_vectors.T
    own = torch.arange(len(logits))  # the right caption of slice i is caption i
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


ours, package = info_nce(image_vectors, text_vectors, network.scale), network.loss(some, tokens)
print(f"loss by hand {ours:.6f}, of the package {package:.6f}, by chance {np.log(len(some)):.6f}")
assert torch.isclose(ours, package, atol=1e-5)

# %% [markdown]
# ## 3. Watch it learn
#
# Eighty steps, typed out, with the package's optimisers (Muon for matrices, AdamW for the rest). No class label is used: the vectors
# must separate what the captions separate.

# %%
before = similarity.detach()
steppers, losses = optimiser.optimisers(network, lr=1e-3, weight_decay=0.1, muon=0.01), []
for _ in range(80):
    pictures, texts = batch(32)
    vectors = network.tower(pictures), functional.normalize(network.text.encode_text(network.tokens(texts)), dim=-1)
    loss = info_nce(*vectors, network.scale)
    network.zero_grad()
    loss.backward()
    for stepper in steppers:
        stepper.step()
    losses.append(loss.item())
with torch.no_grad():
    after = network.tower(some) @ network.read(said).T
fig, axes = plt.subplots(1, 3, figsize=(style.WIDTH, 3), width_ratios=(1.3, 1, 1))
axes[0].plot(losses, color=style.SERIES[0])
axes[0].axhline(np.log(32), color=style.MUTED, linestyle="--")
axes[0].set(title="The loss falls below chance", xlabel="step", ylabel="contrastive loss")
for ax, cosines, title in zip(
    axes[1:], (before, after), ("Before: no order", "After: grouped by content"), strict=True
):
    ax.imshow(cosines, cmap="cividis", vmin=-1, vmax=1)
    ax.set(title=title, xlabel="caption", ylabel="slice", xticks=[], yticks=[])
    ax.grid(False)
fig.colorbar(axes[2].images[0], ax=axes[2], label="cosine")
session.save(fig, "learning")

# %% [markdown]
# Slices are sorted by content. The light blocks along the diagonal are slices with similar captions: after so few steps the vectors show which
# parts a slice contains, but not yet which slice it is.
#
# HippoCLIP is this network, trained for eight epochs with augmentation. Its test is **retrieval in subjects that it never saw**: rank the captions of all
# other test subjects' slices for a given slice, and the other way round. A hit has the same facts. Two baselines keep this honest: *chance*, and the
# nearest neighbour in *raw pixels*, which is untrained but uses the candidates' images instead of their captions.

# %%
hippoclip = session.run("hippoclip")
queries = clip_study.read(session.ws, clip_study.RETRIEVAL, hippoclip.rows)
hits = retrieval.summary(queries)
rows = hits[hits["what"] != "rank"].rename(columns={"direction": "panel", "source": "series"})
rows = rows.assign(row=[f"in the first {what.removeprefix('recall')}" for what in rows["what"]])
fig = intervals.dots(rows, "fraction of queries with a hit")
slices.heading(fig, "HippoCLIP finds more than a nearest neighbour in raw pixels")
session.save(fig, "retrieval", cases=queries["case"].nunique())
share = hits[hits["what"] == "recall10"].set_index(["direction", "source"])["value"][retrieval.IMAGE_TO_TEXT]
gain = retrieval.advantage(queries)
session.claim(
    (gain["low"] > 0).all() and share[retrieval.CLIP] > 0.85,
    f"""**HippoCLIP matches slices to text.** For {100 * share[retrieval.CLIP]:.0f} % of test slices, a caption with the same facts is among the
first ten, against
{100 * share[retrieval.PIXELS]:.0f} % by raw pixels and {100 * share[retrieval.CHANCE]:.0f} % by chance. In both directions it is better than raw pixels. These are a
strong baseline here, since the crops were cut around the hippocampus and slices of different subjects lie on top of each other.""",
)

# %% [markdown]
# A caption from an image: here are the three captions that HippoCLIP ranks first for one test slice, among those of all other test subjects.

# %%
trained, number = session.network(hippoclip), fold["scored"][0]
if trained is None:
    session.say("Left out: the weights of HippoCLIP are not on this machine; the profile `standard` trains it.")
else:
    scored = {case: images[case] for case in fold["scored"]}
    looked = clip_study.look(trained, prep, scored, cohort, fold["train"], machine.this_machine())
    subjects = np.array([cohort.cases[case].subject for case in looked.cases])
    mine = np.flatnonzero((looked.cases == number) & [bool(one.parts) for one in looked.said])
    at = mine[len(mine) // 3]
    cosines = np.where(subjects == subjects[at], -1, looked.read @ looked.features[at])
    first = list(dict.fromkeys(looked.said[place] for place in np.argsort(-cosines)))[:3]  # each set of facts once
    for title, facts in zip(("this slice", "first", "second", "third"), (looked.said[at], *first), strict=True):
        print(f"{title:10}: {captions.caption(facts, np.random.default_rng(0))}")

# %% [markdown]
# ## 4. From text to class vectors, from class vectors to a segmentation
#
# A class gets a vector from **prompts**, sentences about it: the mean of their text vectors. A published student project
# (Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images) had the idea to use such vectors in a U-Net's head: a 1x1 convolution embeds each
# pixel in CLIP's space, and its logits are the cosines with the class vectors. Here is that head, on random features:

# %%
head = registry.MODELS["clip2d-guided"].build(prep.channels(len(spec.channels)), spec.n_classes)
prompts = guidance.class_prompts(captions.GEOMETRIC, registry.RunSpec("hippoclip"), cohort, fold["train"])
for name, sentences in zip(("background", *spec.names), prompts, strict=True):
    print(f"{name}: {sentences[0]}")
with torch.no_grad():
    vectors = network.vectors(prompts)  # (classes, 64), of the CLIP of section 3
    head.classes.copy_(vectors)
    features = head.features(some)  # what a U-Net's decoder gives for each pixel
    pixels = functional.normalize(head.embedding(features), dim=1)
    cosines = torch.einsum("bdhw,kd->bkhw", pixels, vectors)
    logits = head.scale * cosines
    assert torch.allclose(cosines, head.similarity(some), atol=1e-4)
for name, part in {
    "features": features,
    "pixels in CLIP's space": pixels,
    "class vectors": vectors,
    "logits": logits,
}.items():
    print(f"{name:24}{tuple(part.shape)}")

# %% [markdown]
# The project's second part is **fusion**: the frozen image tower's vector of the whole slice is projected, repeated over the bottleneck and merged, so
# that each pixel also receives the vector of the whole slice. Both parts together, as the package runs them:

# %%
parts = (guided.GuidedUNet.features, guided.GuidedUNet.forward)
display(Code("\n".join(map(inspect.getsource, parts)), language="python"))

# %% [markdown]
# ## 5. Why a scale?
#
# A cosine lies between -1 and 1, so a softmax of bare cosines never comes close to 0 or 1. Three class vectors in a plane, at 120 degrees from each other,
# are the best case: a perfect pixel has cosines 1, -1/2 and -1/2.

# %%
best = torch.tensor([1.0, -0.5, -0.5])
for scale in (1, 5, 14, 30):
    sure = (scale * best).softmax(0)[0]
    print(f"scale {scale:2}: a perfect pixel gets probability {sure:.3f}, loss {(1 / sure).log():.3f}")

# %% [markdown]
# The student project had no scale; its loss stopped at `0.7975` ([appendix A3](A3_clip_controls.ipynb) computes where such a loss has to stop).
# CLIP learns its scale, and so does our head.
#
# ## 6. What can text do in this head at all?
#
# Rotate all class vectors in CLIP's space, and rotate the pixel embedding with them:

# %%
turn = guided.rotated(torch.eye(vectors.shape[1]), torch.Generator().manual_seed(1))  # a random rotation
with torch.no_grad():
    as_it_was = head(some)
    head.classes.copy_(head.classes @ turn)
    head.embedding.weight.copy_(torch.einsum("dchw,de->echw", head.embedding.weight, turn))
    head.embedding.bias.copy_(head.embedding.bias @ turn)
    changed = (head(some) - as_it_was).abs().max() / as_it_was.abs().max()
print(f"every class vector now points elsewhere; the logits change by {changed:.1e} of the largest, which is rounding")
assert changed < 1e-3

# %% [markdown]
# **Nothing changes.** The embedding is learned, so a network can undo any rotation of the class vectors. The direction of a class vector does not
# change what this network is able to learn. Only the **angles** between classes matter, and these need no language. Fusion is learned as well, so an
# alignment of text and image tower cannot matter either. That suggests the controls.
#
# ## 7. What the controls show
#
# Each control differs from the text-guided network in one thing, and was trained with three seeds, on the same slices in the same order. All of them are
# compared with the text-guided network, so *worse* means that something useful was lost.

# %%
controls = {
    "clip2d-unguided": "plain U-Net, no guidance",
    "clip2d-image-only": "image feature alone, plain head",
    "clip2d-image-zeroed": "text alone, image feature zero",
    "clip2d-learned": "class vectors learned, no text",
    "clip2d-same-angles": "random vectors with the text's angles",
    "clip2d-rotated": "the text's vectors, rotated at random",
    "clip2d-unrelated": "words for piano, bicycle and lemon",
    "clip2d-sentences": "plain sentences as prompts",
    "clip2d-words": "single words as prompts",
    "clip2d-untrained": "image tower not trained",
    "clip2d-fixed-scale": "cosines without a scale",
}
led, plain = session.run("clip2d-guided"), session.run("clip2d-unguided")
planned = session.planned()
judged = comparisons.table(planned)
judged = judged[judged["reference"] == "clip2d-guided"]
found = judged.set_index([judged["family"].str.removeprefix("CLIP, "), "model"])
if len(found):
    shown, axis = found.rename(index=controls, level=1), "mean Dice, control minus text-guided network"
    fig = intervals.forest(shown, stats.EQUIVALENCE_MARGIN, axis, sort=False)
    slices.heading(fig, "Controls without text do as well as the text")
    session.save(fig, "controls")

# %%
rows = found.droplevel(0) if len(found) else found
at = rows["conclusion"].to_dict()
without = rows.loc[["clip2d-rotated", "clip2d-learned", "clip2d-same-angles"]] if len(rows) else rows
session.claim(
    len(rows) > 0
    and not (without["high"] < 0).any()
    and {at[f"clip2d-{name}"] for name in ("rotated", "learned", "sentences", "words")} == {"equivalent"},
    f"""**Language does not help.** Text vectors rotated at random are equivalent to the text, and so are vectors learned without any text. Random vectors with the
text's angles are no worse ({rows["difference"].get("clip2d-same-angles", 0):+.4f}). Other prompts are equivalent as well.""",
)
session.claim(
    len(rows) > 0
    and at["clip2d-unguided"] == "inconclusive"
    and at["clip2d-fixed-scale"] == at["clip2d-unrelated"] == "worse",
    f"""**Guidance as a whole is not shown to help either.** The plain U-Net differs from the text-guided one by {rows["difference"].get("clip2d-unguided", 0):+.4f}
({rows["low"].get("clip2d-unguided", 0):+.4f} to {rows["high"].get("clip2d-unguided", 0):+.4f}): inconclusive. Geometry matters. Cosines without
a scale cost
{-rows["difference"].get("clip2d-fixed-scale", 0):.3f}, and three words that HippoCLIP never read, whose vectors nearly coincide, cost {-rows["difference"].get("clip2d-unrelated", 0):.3f}.""",
)

# %% [markdown]
# Guidance is not free: the teacher has to be trained first, and its tower has to look at every slice.

# %%
tower = sum(weight.numel() for weight in head.tower.parameters())
print(
    f"plain U-Net {plain.config['params']:,} parameters; text-guided {led.config['params']:,}, with {tower:,} in the frozen tower"
)
print(
    f"steps of the text-guided network {led.config['steps']:,}, after {hippoclip.config['steps']:,} steps of its teacher"
)

# %% [markdown]
# ## What we learned

# %%
session.facts(dice_guided=led.mean(), dice_unguided=plain.mean(), rotation_changes_logits_by=float(changed))
session.claim(
    len(rows) > 0 and not (without["high"] < 0).any(),
    f"""**Does language help to segment the hippocampus here? No.**

1. HippoCLIP learns to match slices and captions of new subjects, better than raw pixels do.
2. In a head of cosines only the angles between class vectors can matter, and controls without text do as well as the text.
3. A text-guided network reaches {led.mean():.3f} Dice and a plain one {plain.mean():.3f}, one seed each; over three seeds the difference is inconclusive.

A CLIP trained on radiology reports could change this conclusion, because reports hold more than labels do. HippoCLIP cannot: its captions
are made from labels.""",
)

# %% [markdown]
# ## Limits
#
# - HippoCLIP was trained on a few templates. A word that no caption contains has no meaning for it.
# - The training configuration is that of the plain network; nothing was tuned for guidance.
# - One fold. The crops were cut around the truth, so a slice's place in its crop already gives away much of its caption.
# - Few labels, a tower trained on numbers, and three dimensions are in [appendix A3](A3_clip_controls.ipynb), with the same answer.
#
# ## Exercises
#
# **1.** Write the contrastive loss with `torch.nn.functional.cross_entropy` for one direction only: each slice picks its caption.

# %% tags=["exercise"]
one_way = None  # your function of (image_vectors, text_vectors, scale)

# %%
if one_way is not None:
    vectors = torch.nn.functional.normalize(torch.arange(12.0).view(4, 3).sin(), dim=-1)
    assert torch.isclose(one_way(vectors, vectors.flip(0), 0.0), torch.tensor(4.0).log()), "without scale: chance"
    assert one_way(torch.eye(4), torch.eye(4), 50.0) < 1e-6 < one_way(torch.eye(4), torch.eye(4).flip(0), 50.0)
print("right" if one_way is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def one_way(image_vectors, text_vectors, scale):
#     return torch.nn.functional.cross_entropy(scale * image_vectors @ text_vectors.T, torch.arange(len(image_vectors)))
# ```
#
# </details>
#
# **2.** Write a layer: a head that embeds pixels by a 1x1 convolution and returns scaled cosines with class vectors, (B, C, H, W) to (B, K, H, W).

# %% tags=["exercise"]
CosineHead = None  # your class: CosineHead(channels, vectors, scale), a torch.nn.Module

# %%
if CosineHead is not None:
    head = CosineHead(8, torch.nn.functional.normalize(torch.randn(3, 16), dim=-1), 10.0)
    found = head(torch.randn(2, 8, 5, 5))
    assert found.shape == (2, 3, 5, 5) and found.abs().max() <= 10.001, "cosines times 10"
    assert torch.allclose(head(torch.ones(1, 8, 2, 2))[..., 0, 0], head(torch.ones(1, 8, 2, 2))[..., 1, 1])
print("right" if CosineHead is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# class CosineHead(torch.nn.Module):
#     def __init__(self, channels, vectors, scale):
#         super().__init__()
#         self.embedding = torch.nn.Conv2d(channels, vectors.shape[1], 1)
#         self.vectors, self.scale = vectors, scale
#
#     def forward(self, features):
#         pixels = torch.nn.functional.normalize(self.embedding(features), dim=1)
#         return self.scale * torch.einsum("bdhw,kd->bkhw", pixels, self.vectors)
# ```
#
# </details>
#
# ## References
#
# - Radford et al. 2021, CLIP, [arXiv:2103.00020](https://arxiv.org/abs/2103.00020)
# - van den Oord et al. 2018, InfoNCE, [arXiv:1807.03748](https://arxiv.org/abs/1807.03748)
# - Ilharco et al. 2021, open_clip, [doi:10.5281/zenodo.5143773](https://doi.org/10.5281/zenodo.5143773)
# - Liu et al. 2023, a CLIP-driven model for organ segmentation, [arXiv:2301.00785](https://arxiv.org/abs/2301.00785)
# - Dosovitskiy et al. 2020, the vision transformer, [arXiv:2010.11929](https://arxiv.org/abs/2010.11929)
# - The student project: github.com/Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images

# %%
session.finish()
