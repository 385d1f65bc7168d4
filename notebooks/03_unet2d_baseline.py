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
# **Question.** How accurate is a network that sees only three neighbouring slices, and which choices matter? In short: nearly as accurate as a 3D
# network, and few of the usual choices matter.
#
# **What you will learn**
# - how a volume becomes slices and a batch, and how slices become a volume again;
# - how a U-Net is built: one block and one skip connection by hand, then the whole network;
# - why the loss is Dice plus cross-entropy, and what augmentation does to a slice and its label;
# - what happens in a training loop, and how a mask changes while the network learns;
# - what a ready-made encoder gives, and which choices matter.
#
# Needs notebooks [00](00_quickstart.ipynb) to [02](02_preprocessing.ipynb); words such as *fold* and *interval* are in the
# [glossary](GLOSSARY.md). Appendix [A1](A1_2d_ablations.ipynb) holds every comparison.
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs, `studies/learning.npz`.
# - **Writes:** `figures/03_*`, `facts/03_unet2d_baseline.json`; under `standard` the run `unet2d`.
# - **Run time:** a minute; under `standard` also the training of one 2D network.

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
import torch
from IPython.display import Code, display
from torch.nn import functional as F

from hipposeg import stats
from hipposeg.experiments import plan, registry, samples
from hipposeg.notebook import start
from hipposeg.results import compare, tables
from hipposeg.training import augmentation, batches, loop, losses
from hipposeg.viz import intervals, slices
from hipposeg_lab.figures import architecture, maps

session = start("03_unet2d_baseline", profile)
spec, cohort, fold = session.spec, session.cohort, session.folds["grouped"][0]
model = registry.MODELS["unet2d"]

# %% [markdown]
# ## 1. From a volume to a batch of slices
#
# Notebook 02 turned a volume into slices by hand: scaled to mean 0 and standard deviation 1, padded or cropped about its centre to one grid, and
# cut across axis 1 (coronal), each slice with its two neighbours as further channels. `model` is the package's configuration of the 2D network,
# and `model.prep` does all of that.

# %%
case = cohort.cases[fold["train"][0]]
stacked, placement = model.prep.place(case.image)
print("scan", case.image.shape, "on the grid", placement.apply(case.image).shape)
print("slices", tuple(stacked.shape), "(slice, channel, X, Z)")

# %% [markdown]
# All slices of all training volumes stay in memory as one tensor. It contains the training subjects of `grouped` fold 0 only. A **batch** is a random choice of slices. Below, the slice that holds most of both parts, with its two neighbours and its label,
# which is what the network must predict. Then, where along a crop the hippocampus lies. Some slices contain none of it. Leaving these out is
# a popular shortcut, but a network meets them in every new scan and must predict nothing there.

# %%
images = {number: one.image for number, one in cohort.cases.items()}
train = samples.make_samples(images, cohort, model.prep, fold["train"])
batch = torch.randperm(len(train.images), generator=batches.seeded(0, "batch"))[:32]
print("training slices", tuple(train.images.shape), "their labels", tuple(train.labels.shape))
print("a batch", tuple(train.images[batch].shape))

sizes = torch.stack([(train.labels == item.value).flatten(1).sum(1) for item in spec.labels])
fullest = int(sizes.amin(0).argmax())
image, label = train.images[fullest].numpy(), train.labels[fullest].numpy()
panels = [(name, channel, None) for name, channel in zip(("slice before", "the slice", "slice after"), image)]
fig = maps.strips({"": [*panels, ("label of the slice", image[1], label)]}, spec, axis=model.prep.axis)
slices.heading(fig, "Three neighbouring slices are the channels of one sample")
session.save(fig, "sample")

# %%
empty = 1 - (train.labels > 0).flatten(1).any(1).float().mean().item()
place = np.linspace(0, 100, 41)  # along the crop, in percent of its length
fig, ax = plt.subplots(figsize=(7.5, 2.6))
for item in spec.labels:
    has = [(cohort.cases[number].label == item.value).any(axis=(0, 2)) for number in fold["train"]]
    share = np.mean([np.interp(place, np.linspace(0, 100, len(one)), one) for one in has], axis=0)
    ax.plot(place, 100 * share, color=item.colour, linewidth=2, label=item.name)
ax.set(xlabel="position along axis 1 (% of the crop)", ylabel="slices with the label (%)")
ax.set_title("The outer slices of a crop are empty")
ax.legend()
session.save(fig, "slice-shares", percent=100 * empty)

# %% [markdown]
# ## 2. A U-Net, by hand
#
# The building block is two 3 x 3 convolutions, each followed by **instance normalisation** and **LeakyReLU** as in notebook 00. Normalisation
# removes any constant that a convolution adds (so `bias=False`); with `affine=True` the network learns a new mean and standard deviation. A
# **stride** of 2 computes every second pixel, which halves the resolution; a **transposed convolution** doubles it again. Then `torch.cat` puts the fine
# features from before the halving beside the coarse ones. This is the **skip connection**; without it, borders would be blurred.


# %%
def block(inputs, outputs, stride=1):
    layers = []
    for channels, step in ((inputs, stride), (outputs, 1)):
        layers.append(torch.nn.Conv2d(channels, outputs, 3, step, padding=1, bias=False))
        layers.append(torch.nn.InstanceNorm2d(outputs, affine=True))
        layers.append(torch.nn.LeakyReLU(0.01))
    return torch.nn.Sequential(*layers)


torch.manual_seed(0)
x, y = train.images[batch], train.labels[batch]
fine = block(x.shape[1], 16)(x)
coarse = block(16, 32, stride=2)(fine)
doubled = torch.nn.ConvTranspose2d(32, 16, 2, stride=2)(coarse)
joined = torch.cat([doubled, fine], dim=1)  # the skip connection
merged = block(32, 16)(joined)
logits = torch.nn.Conv2d(16, spec.n_classes, 1)(merged)
for name, tensor in {"input": x, "fine": fine, "coarse": coarse, "joined": joined, "output": logits}.items():
    print(f"{name:8}", tuple(tensor.shape))

# %% [markdown]
# Two resolutions make a small U-Net; the package's has four. One class serves slices (`dims=2`) and volumes (`dims=3`): `encoded` computes the
# encoder's stages, `decoded` the decoder's. The next cells show its source and the shapes of the same batch at each stage. In the diagram, a box is
# a block that ran, and an arrow means that one block reads another.

# %%
network = model.build(x.shape[1], spec.n_classes)
parts = (type(network.stem), type(network))  # the block and the network
display(Code("\n".join(map(inspect.getsource, parts)), language="python"))

# %%
encoded = network.encoded(x)
decoded = network.decoded(*encoded)
for name, stages in {"encoder": encoded, "decoder": decoded}.items():
    print(name, *(tuple(features.shape[1:]) for features in stages))
print("output ", tuple(network.head(decoded[0]).shape[1:]))
stages = architecture.trace(network, x.shape[1], tuple(x.shape[2:]))
session.save(architecture.diagram(stages, "Most parameters lie where the resolution is lowest"), "architecture")

# %% [markdown]
# ## 3. The loss
#
# **Cross-entropy** judges each pixel alone. It is already low when everything is called background, which is right for most pixels. Here
# both parts of the hippocampus have weight 2. **Soft Dice** judges the overlap of each part as a whole, with probabilities in the place of
# masks; its loss is near 1 as long as nothing overlaps. The sum of both is the loss. It is typed out below, for the untrained network and for
# a prediction of background everywhere. (The package takes `log_softmax`, which stays finite where a probability rounds to 0.)

# %%
target = F.one_hot(y.long(), spec.n_classes).movedim(-1, 1).float()  # (32, classes, X, Z)
weight = torch.tensor([1.0, 2.0, 2.0]).view(1, -1, 1, 1)
background = torch.tensor([6.0, 0.0, 0.0]).view(1, -1, 1, 1).expand_as(target)
for name, output in {"untrained network": network(x).detach(), "only background": background}.items():
    p = output.softmax(1)
    overlap = (p * target).sum((0, 2, 3))  # one value for each class
    sizes = (p + target).sum((0, 2, 3))
    soft_dice = 1 - (2 * overlap / sizes)[1:].mean()
    cross_entropy = -(weight * target * p.log()).sum() / (weight * target).sum()
    packaged = losses.segmentation_loss(output, target, "dice+ce", foreground_weight=2.0)
    print(f"{name}: soft Dice loss {soft_dice:.2f}, cross-entropy {cross_entropy:.2f}")
    print("sum equal to the package's:", torch.allclose(soft_dice + cross_entropy, packaged, atol=1e-3))

# %% [markdown]
# The loss pools a batch, because a slice may lack a class. **Scores are never pooled**: Dice is computed for each volume and part.
#
# ## 4. Augmentation
#
# Two hundred volumes are few. Each time a slice is used it is changed at random, and its label is moved along. The label becomes **soft**:
# a pixel can be half hippocampus, so a border can lie between two pixels. A rotation takes a matrix (2 x 3), the points at which it says to sample,
# and linear interpolation at these points. Points outside the slice get 0 in every class; background is therefore set to 1 minus the sum of the
# others. These slices are square: `affine_grid` measures each axis from -1 to 1, the last axis first, so on other shapes this matrix would also
# shear. The package computes points in voxels, in 2D and 3D, and samples its other changes with them. Slices are never flipped: all crops have one
# orientation (appendix A0), so no new scan looks like a flipped slice.

# %%
index = torch.tensor([fullest])  # the same slice, as a batch of one
image, label = train.images[index], train.labels[index]
angle = np.radians(15)
matrix = torch.tensor([[[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]], dtype=torch.float32)
points = F.affine_grid(matrix, (1, 1, *label.shape[1:]), align_corners=False)
turned = F.grid_sample(image, points, align_corners=False)
soft = F.grid_sample(F.one_hot(label.long(), spec.n_classes).movedim(-1, 1).float(), points, align_corners=False)
soft[:, 0] = 1 - soft[:, 1:].sum(1)

recipe = model.training("standard").augmentation
groups = {"rotation": ["rotate"], "scale and shift": ["scale", "shift"], "elastic deformation": ["elastic"]}
groups |= {"contrast": ["gain", "offset", "gamma"], "noise": ["noise"], "all": vars(recipe), "all, again": vars(recipe)}
panels = [("rotation by hand", turned[0, 1].numpy(), soft[0].numpy())]
for name, kept in groups.items():
    settings = augmentation.Augmentation(**{key: getattr(recipe, key) for key in kept})
    moved = augmentation.augment(image, label, spec.n_classes, settings, batches.seeded(5, name))
    panels.append((name, moved.images[0, 1].numpy(), moved.targets[0].numpy()))
unchanged = ("unchanged", image[0, 1].numpy(), label[0].numpy())
rows = {"": [unchanged, *panels[:4]], " ": [unchanged, *panels[4:]]}
fig = maps.strips(rows, spec, axis=model.prep.axis, before=True)
slices.heading(fig, "The label moves with the tissue")
session.save(fig, "augmentation")

# %% [markdown]
# ## 5. The training loop
#
# Ten lines train a network: draw a batch, change it, predict, compute the loss, and move the weights against its gradient. The loop is that of
# notebook 00; the loss is that of section 3, because the target is now soft. Augmentation and class weights make its value larger than in
# notebook 00, so two losses can be compared only if everything else is equal.

# %%
torch.manual_seed(0)
optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
seen = []
for step in range(5 if session.ws.is_phantom else 40):
    chosen = torch.randint(len(train.images), (32,))
    image, label = train.images[chosen], train.labels[chosen]
    moved = augmentation.augment(image, label, spec.n_classes, recipe, batches.seeded(0, step))
    loss = losses.segmentation_loss(network(moved.images), moved.targets, "dice+ce", foreground_weight=2.0)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    seen.append(loss.item())
print(f"loss {seen[0]:.2f} at first, {np.mean(seen[-5:]):.2f} after {len(seen)} steps")

# %% [markdown]
# The package trains with the same loop and adds:
#
# - a learning rate that rises and falls (`one-cycle`), and an upper limit on the norm of the gradient (`clip_grad_norm_`);
# - seeds for each step, so that a killed training resumes to the same weights;
# - **Muon**, a second optimiser: it flattens each kernel to a matrix and makes its update orthogonal, so that all directions change by the same
#   amount; AdamW trains the remaining weights;
# - a running average of the weights, `average += (weights - average) * (1 - decay)` after each step. The average is scored, never the best epoch.
#
# The configuration was chosen on `dev`, subjects cut from the training part, before any test fold was scored.

# %%
display(Code(inspect.getsource(loop.Training.epoch), language="python"))
display(
    pd.Series(vars(model.training("standard")))
    .drop(["augmentation", "stop", "patches", "channel_dropout"])
    .to_frame("value")
)

# %% [markdown]
# ### What it learns, epoch by epoch
#
# One epoch is one pass through the training slices. Dice on the test subjects is recorded a few times, for display; nothing is chosen by
# it. Below the curves, masks of the median test case, from a second training of the same network.

# %%
plain = session.run("unet2d")
epochs = pd.DataFrame(plain.history).set_index("epoch")
fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3), sharex=True)
left.plot(epochs["loss"], "o-", markersize=4)
left.set(xlabel="epoch", ylabel="training loss (logarithmic)", yscale="log", title="The loss falls to the end")
left.set_yticks((0.2, 0.3, 0.5, 1), ("0.2", "0.3", "0.5", "1"))
left.minorticks_off()
for item in spec.labels:
    right.plot(epochs[f"dice_{item.name}"].dropna(), "o-", color=item.colour, label=item.name)
right.set(xlabel="epoch", ylabel="Dice, test subjects", title="After four epochs little is left to gain")
right.legend()
session.save(fig, "curves")

# %%
path = session.ws.artifacts / "studies" / "learning.npz"
if path.is_file():
    learned = np.load(path)
    case = cohort.cases[int(learned["case"])]
    titles = [f"epoch {epoch}, Dice {dice:.3f}" for epoch, dice in zip(learned["epochs"], learned["dice"])]
    masks = dict(zip(titles, learned["masks"])) | {"expert": case.label}
    middle = slices.fullest(case.label, 0, case.label.shape)
    views = [slices.CaseView(name, case.image[0], {"": mask}, case.spacing, middle) for name, mask in masks.items()]
    fig = slices.row_of_cases(views, spec, "The shape comes first, the border later")
    session.save(fig, "learning", case=case.number)
else:
    session.say("These masks are not stored for this data set; `hipposeg-lab study learning` computes them.")

# %% [markdown]
# ## 6. From slices back to a volume
#
# The slices of a scan are one batch. Their probabilities are stacked along the axis that was cut, padding is removed, and each voxel gets
# its most probable class. So scores are taken on the scan's own grid.

# %%
number = tables.cases_by_rule(plain.values())["median"]
case, trained = cohort.cases[number], session.network(plain) or network  # without stored weights, the network above
cut, placement = model.prep.place(case.image)
with torch.no_grad():
    probability = trained(cut).softmax(1)
volume = probability.movedim(0, 2)  # classes first, then X, Y, Z
native = placement.restore(volume.numpy())
mask = native.argmax(0)
for name, array in {"slices": cut, "probability": probability, "volume": volume, "scan's grid": native}.items():
    print(f"{name:12}", tuple(array.shape))
for item in spec.labels:
    found, true = mask == item.value, case.label == item.value
    print(f"Dice {item.name:10} {2 * (found & true).sum() / (found.sum() + true.sum()):.3f}")

# %% [markdown]
# ## 7. A ready-made encoder: MobileNetV3-Small
#
# segmentation-models-pytorch offers encoders that were designed for photographs. Two things matter on a structure as small as this one. The
# first layer already halves the resolution, so there is no skip connection at full resolution; the package adds a light branch for it. And the
# last stage would see the slice as two pixels, so it is left out. Weights trained on ImageNet are used where they are available; then the
# model's name ends in `+imagenet`.

# %%
name = registry.with_imagenet("unet2d-mobilenetv3", profile)
other = registry.MODELS[name].build(x.shape[1], spec.n_classes)
height, _, width = registry.MODELS[name].prep.size
blank = torch.zeros(2, x.shape[1], height, width)
for features in other.unet.encoder(blank):
    print("encoder", tuple(features.shape))
print("branch ", tuple(other.full_resolution(blank).shape), "output", tuple(other(blank).shape))
print(name, f"{sum(weight.numel() for weight in other.parameters()):,} parameters")

# %% [markdown]
# ## 8. The result
#
# Dice of both parts on the 52 test volumes of `grouped` fold 0, with 95 % intervals over subjects. The image-free atlas of notebook 01
# shows what the position in the crop gives away. Below, three cases by rule, ranked by the plain U-Net: the best, the median, the worst.

# %%
runs = {
    "atlas, image ignored": session.run(registry.ATLAS.name),
    "plain U-Net": plain,
    "MobileNetV3 encoder": session.run(name),
}
found = plan.of_notebook(session.results, "03")
rows = [
    {"row": title, "series": part, **vars(stats.interval(run.values(part).to_numpy(), run.subjects().to_numpy()))}
    for title, run in runs.items()
    for part in spec.names
]
colours = {item.name: item.colour for item in spec.labels}
fig = intervals.dots(pd.DataFrame(rows), "Dice", colours, numbers=spec.names[0])
slices.heading(fig, "Reading the image matters far more than the encoder")
session.save(fig, "result")

# %%
views = []
for rank, number in tables.cases_by_rule(plain.values()).items():
    case = cohort.cases[number]
    masks = {"expert": case.label} | {title: run.masks[number] for title, run in list(runs.items())[1:]}
    views.append(slices.CaseView(f"{rank}: case {number:03d}", case.image[0], masks, case.spacing))
fig = slices.row_of_cases(views, spec, "Most errors are at the border")
session.save(fig, "best-median-worst")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
atlas, people = runs["atlas, image ignored"], plain.subjects().to_numpy()
gain = stats.paired(plain.values().to_numpy(), atlas.values().to_numpy(), people)
session.facts(dice_unet2d=plain.mean(), minus_atlas=gain.difference)
session.claim(
    gain.low > 0.1,
    f"""**The plain U-Net reaches a mean Dice of {plain.mean():.3f}.** That is {gain.difference:.3f} above the atlas (95 % interval {gain.low:.3f}
to {gain.high:.3f} over {gain.n_subjects} subjects, who count once each; one seed).""",
)

# %% [markdown]
# ## 9. What mattered among the choices
#
# Each row changes one thing of the plain U-Net, with three seeds. The interval covers subjects and seeds. A change is *better* or *worse* if
# the interval excludes zero, *equivalent* if it lies within the shaded margin, else *inconclusive*. Some changes were trained by the short
# schedule only, a third of the epochs. Appendix [A1](A1_2d_ablations.ipynb) has all groups, and shows that the schedule can change the answer.

# %%
long = {
    "unet2d-fusion": "mean of three directions",
    "unet2d+views": "test-time augmentation",
    "unet2d+dice": "Dice loss alone",
    "unet2d+focal": "focal loss for cross-entropy",
    "unet2d+aug-noise": "flips, rotations and noise only",
    "unet2d+aug-none": "no augmentation",
    "unet2d-axis0": "sagittal slices",
    "unet2d-mobilenetv3": "MobileNetV3 encoder",
}
short = {
    "unet2d-batchnorm": "batch normalisation",
    "unet2d+n4": "N4 bias correction",
    "unet2d-1slice": "no neighbouring slices",
    "unet2d+empty0": "no empty slices in training",
}
groups = {"Standard schedule": (long, "standard"), "Short schedule": (short, "S")}
parts = [compare.by_family(found, "unet2d", {name: words}, when) for name, (words, when) in groups.items()]
effects = pd.concat(parts).rename(index=long | short)
if len(effects):
    fig = intervals.forest(effects, stats.EQUIVALENCE_MARGIN, "mean Dice minus that of the plain U-Net")
    slices.heading(fig, "Direction, encoder, augmentation and empty slices matter; the loss does not")
    session.save(fig, "choices")

# %% [markdown]
# ## What we learned

# %% jupyter={"source_hidden": true} tags=["hide-input"]
at_standard = "model == 'unet2d' and label == 'mean' and folds == 'grouped' and fold == 0 and schedule == 'standard'"
mean = compare.means(found.query(at_standard)).reindex(["unet2d"]).iloc[0]
effect = effects.set_index(effects.index.get_level_values(-1)).reindex([*long.values(), *short.values()])
by, ends = effect["difference"].astype(float), effect["conclusion"]
session.claim(
    mean["low"] > 0.85
    and (
        ends[["no augmentation", "sagittal slices", "MobileNetV3 encoder", "no empty slices in training"]] == "worse"
    ).all()
    and (ends[["Dice loss alone", "focal loss for cross-entropy", "test-time augmentation"]] == "equivalent").all()
    and set(ends.index[ends == "better"]) == {"mean of three directions", "batch normalisation"},
    f"""**How far does a 2D network get? To a mean Dice of {mean["value"]:.3f}** over three seeds (95 % interval {mean["low"]:.3f} to
{mean["high"]:.3f}), far above what the position in the crop explains.

1. Training without augmentation ({by["no augmentation"]:+.3f}), sagittal slices and leaving out empty slices cost Dice. The choice of loss
   makes no difference.
2. An encoder made for photographs costs Dice when it starts from random weights ({by["MobileNetV3 encoder"]:+.3f}).
3. Averaging three networks that cut in three directions is the only clear gain by the standard schedule, at three times the cost.

ImageNet weights, more subjects, or scans with thick slices could change these conclusions.""",
)

# %% [markdown]
# ## Limits
#
# - One fold; section 6 and the pictures show one seed.
# - The crops were cut around the truth (notebook 01), so no score here holds for a crop that is placed by other means.
# - Changes that were trained by the short schedule alone could end differently after a longer training.
#
# ## Exercises
#
# **1. A layer.** A residual block (He et al. 2016) adds its input to its output, so its layers only learn a change. Write it: the output of
# `layer` plus `z`, then LeakyReLU with `negative_slope=0.01`.

# %% tags=["exercise"]
my_residual = None  # your function of (z, layer)

# %%
if my_residual is None:
    print("not yet written")
else:
    z = torch.randn(2, 4, 8, 8)
    layer = torch.nn.Conv2d(4, 4, 3, padding=1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    assert torch.allclose(my_residual(z, layer), F.leaky_relu(z, 0.01)), "a layer of zeros changes nothing but the sign"
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_residual(z, layer):
#     return F.leaky_relu(layer(z) + z, 0.01)
# ```
#
# </details>
#
# **2. A transform.** Write a flip along the first axis of a slice, for images (B, C, H, W) and labels (B, H, W) together. Each sample is
# flipped with probability `p`.

# %% tags=["exercise"]
my_flip = None  # your function of (images, labels, p); returns both

# %%
if my_flip is None:
    print("not yet written")
else:
    labels = torch.randint(3, (64, 5, 5))
    flipped, moved = my_flip(labels[:, None].float(), labels, 0.5)
    assert torch.equal(flipped[:, 0].long(), moved), "the label must move with the image"
    same = (moved == labels).flatten(1).all(1)
    turned = (moved == labels.flip(1)).flatten(1).all(1)
    assert (same | turned).all() and 0 < same.sum() < 64, "each sample on its own"
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_flip(images, labels, p):
#     chosen = torch.rand(len(images)) < p
#     images = torch.where(chosen.view(-1, 1, 1, 1), images.flip(2), images)
#     return images, torch.where(chosen.view(-1, 1, 1), labels.flip(1), labels)
# ```
#
# Section 4 says why this project trains without it.
#
# </details>
#
# ## References
#
# - Ronneberger et al. 2015, U-Net, [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28)
# - Isensee et al. 2021, nnU-Net, [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - Milletari et al. 2016, soft Dice, [doi:10.1109/3DV.2016.79](https://doi.org/10.1109/3DV.2016.79)
# - Ulyanov et al. 2016, instance normalisation, [arXiv:1607.08022](https://arxiv.org/abs/1607.08022)
# - Jordan et al. 2024, Muon, [kellerjordan.github.io/posts/muon](https://kellerjordan.github.io/posts/muon/)
# - Howard et al. 2019, MobileNetV3, [doi:10.1109/ICCV.2019.00140](https://doi.org/10.1109/ICCV.2019.00140)
# - He et al. 2016, residual learning, [doi:10.1109/CVPR.2016.90](https://doi.org/10.1109/CVPR.2016.90)

# %%
session.finish()
