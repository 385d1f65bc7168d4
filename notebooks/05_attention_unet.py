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
# # 05. Attention U-Net: do gates on the skip connections help?
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/05_attention_unet.ipynb)
#
# **Question.** An attention gate decides, place by place, how much of a skip connection gets through. Does it look at the hippocampus, and
# does it improve Dice? In short: in most networks it does, mainly by position; and Dice stays the same.
#
# **What you will learn**
# - how an attention gate works, by building one;
# - where the gates of a trained network are open;
# - why a map that lights up on the hippocampus proves little, and which controls prove more;
# - how to test whether a component helps: a network without it, and a control with the same parameters that cannot choose places.
#
# Needs notebooks [00](00_quickstart.ipynb) and [03](03_unet2d_baseline.ipynb); words such as *interval* are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs, `studies/attention.csv.gz`.
# - **Writes:** `figures/05_*`, `facts/05_attention_unet.json`; under `standard` the run `attention2d`.
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

from hipposeg import stats
from hipposeg.experiments import registry, weights
from hipposeg.models import attention as gates
from hipposeg.notebook import start
from hipposeg.viz import intervals, slices, style
from hipposeg_lab.figures import architecture
from hipposeg_lab.studies import attention, comparisons

session = start("05_attention_unet", profile)
spec, cohort = session.spec, session.cohort

# %% [markdown]
# ## 1. A gate, step by step
#
# A U-Net hands its fine encoder features to the decoder everywhere in the image. Most of an image is not the hippocampus, and the coarse
# stages already locate it roughly. An **attention gate** (Oktay et al. 2018) uses that: it computes a weight between 0 and 1 for
# each place and multiplies the skip connection by it. Here is the computation on random features: a skip connection of 16 channels and a
# decoder feature of 32 channels at half its resolution.

# %%
torch.manual_seed(0)
skip, coarse = torch.randn(1, 16, 48, 48), torch.randn(1, 32, 24, 24)
w_x = torch.nn.Conv2d(16, 16, 2, stride=2, bias=False)  # the skip connection at the coarse resolution
w_g = torch.nn.Conv2d(32, 16, 1)  # the coarse feature with the same number of channels
psi = torch.nn.Conv2d(16, 1, 1)  # one number for each place
score = psi((w_x(skip) + w_g(coarse)).relu())
weight = gates.doubled(score.sigmoid())  # between 0 and 1, at the resolution of the skip connection
print("score", tuple(score.shape), "weight", tuple(weight.shape), "gated skip", tuple((skip * weight).shape))

# %% [markdown]
# No label says where a gate should open. Only the segmentation loss trains it, and the layers behind it can undo any constant
# factor, so only differences between places mean something. This suggests a control: a gate with the same layers and parameters that
# averages its score over the slice before the sigmoid. It can do everything that a gate does, except choose places.

# %%
average = score.mean((2, 3), keepdim=True).expand_as(score)
constant = gates.doubled(average.sigmoid())
for name, each in {"gate": weight, "constant gate": constant}.items():
    print(f"{name}: weights {each.min():.2f} to {each.max():.2f}")

# %% [markdown]
# The class of the package does the same; `spatial=False` makes the control.

# %%
display(Code(inspect.getsource(gates.AttentionGate.forward), language="python"))

# %% [markdown]
# Now a whole network: a slice with its neighbours as channels goes down the encoder, then up again. On each way up a gate reads the skip
# connection and the stage below it. The loop is what `network(x)` does. Gates are cheap.

# %%
model = registry.MODELS["attention2d"]
axis, channels = model.prep.axis, model.prep.channels(len(spec.channels))
sides = tuple(side for other, side in enumerate(model.prep.size) if other != axis)
network = model.build(channels, spec.n_classes).eval()
x = torch.randn(1, channels, *sides)
*skips, coarse = network.encoded(x)
print("input", tuple(x.shape), "bottom of the U", tuple(coarse.shape))
for gate, up, merge, skip in zip(network.gates, network.up, network.merge, reversed(skips)):
    kept, weight = gate(skip, coarse)
    print("coarse", tuple(coarse.shape), "skip", tuple(skip.shape), "weight", tuple(weight.shape))
    coarse = merge(torch.cat([up(coarse), kept], dim=1))
print("classes", tuple(network.head(coarse).shape), torch.equal(network.head(coarse), network(x)))
inside, every = (sum(one.numel() for one in part.parameters()) for part in (network.gates, network))
print(f"{inside:,} of {every:,} weights of the network are the gates'")

# %%
stages = architecture.trace(network, channels, sides)
session.save(architecture.diagram(stages, "Each gate reads a skip and the stage below it"), "architecture")

# %% [markdown]
# ## 2. Where are the gates open?
#
# The gated network `attention2d` and its counterpart `unet2d` start from the same weights, see the same slices in the same order, and
# differ in the gates alone. The training configuration was chosen on `dev` for the network without gates.

# %%
gated, plain = session.run("attention2d"), session.run("unet2d")
trained = session.network(gated)
print(f"mean Dice on fold 0, one seed each: with gates {gated.mean():.3f}, without {plain.mean():.3f}")

# %% [markdown]
# The case with the median Dice goes through the trained network, all slices at once. The finest gate has a weight for each voxel, the
# others for blocks of voxels.

# %%
dice = gated.values().sort_values(kind="stable")
case = cohort.cases[dice.index[len(dice) // 2]]
volume, placement = model.prep.volume(case.image)  # z-scored, in the middle of the network's grid
samples = model.prep.stack(volume)  # the slices, each with its neighbours as channels
with torch.inference_mode():
    found = [one.float().cpu() for one in trained.maps(samples.to(next(trained.parameters()).device))]
print("slices", tuple(samples.shape), "weights", *(tuple(one.shape) for one in found))

# %% [markdown]
# The slice with most hippocampus, with the expert's outline. The weights are computed from the image alone.

# %%
truth = np.moveaxis(placement.apply(case.label), axis, 0) > 0
index, area = int(truth.sum((1, 2)).argmax()), (0, sides[0], 0, sides[1])
colours = {"cmap": "cividis", "vmin": 0, "vmax": 1}


def draw(ax, values, title, **colours):
    """One slice with the expert's outline."""
    drawn = slices.picture(ax, values.T, area, **colours)
    slices.edge(ax, truth[index], style.ERROR, linewidth=1.5)
    ax.set_title(title, fontsize=9)
    return drawn


fig, axes = plt.subplots(1, 1 + len(found), figsize=(9.6, 3))
draw(axes[0], samples[index, model.prep.neighbours], f"case {case.number:03d}, Dice {dice[case.number]:.2f}")
for ax, one in zip(axes[1:], found):
    drawn = draw(ax, one[index, 0], f"gate with {sides[0] // one.shape[2]} mm voxels", **colours)
fig.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=40, label="weight of the gate")
fig.suptitle("Gates open on the hippocampus, and on other tissue")
session.save(fig, "maps")

# %% [markdown]
# A yellow hippocampus on blue ground is what the method promises. But every hippocampus of this data set lies in the middle of its crop, so a
# yellow blob in the middle is no finding. Two controls separate the two explanations: the same network before training, which has learned
# nothing, and the weights of **another subject's case**. Both crops lie in the middle of the grid, so these weights can be put over this
# image, from which they were not computed.


# %%
def opened(network, image):
    """The weights of the middle gate for each voxel: (slices, H, W)."""
    samples = model.prep.stack(model.prep.volume(image)[0])
    with torch.inference_mode():
        weight = network.maps(samples.to(next(network.parameters()).device))[1].float().cpu()
    return weight[:, 0].repeat_interleave(2, 1).repeat_interleave(2, 2).numpy()


untrained = weights.initial(registry.RunSpec("attention2d"), spec).eval()
other = attention.paired_cases(dice.index, gated.subjects())[case.number]
shown = {
    "trained": opened(trained, case.image),
    "untrained": opened(untrained, case.image),
    f"trained, of case {other:03d}": opened(trained, cohort.cases[other].image),
}
fig, axes = plt.subplots(1, len(shown), figsize=(8, 3.3))
for ax, (title, each) in zip(axes, shown.items()):
    drawn = draw(ax, each[index], title, **colours)
fig.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=40, label="weight of the gate")
fig.suptitle("Another subject's weights already have most of the shape")
session.save(fig, "controls")

# %% [markdown]
# ## 3. How much of it follows the image?
#
# The measure is the mean weight inside the true hippocampus divided by the mean weight in the rest of the crop. One pitfall: slices also differ
# *from each other*. A gate that opens the middle slices as a whole gets a ratio above 1 without ever choosing a place. So each slice is
# divided by its own mean first. The constant gate then has a ratio of 1 by construction.

# %%
crop = np.moveaxis(placement.apply(np.ones_like(case.label)), axis, 0) > 0
filled = crop.any((1, 2))  # slices of the crop; the rest of the grid is padding
for name, each in shown.items():
    means = [values[inside].mean() for values, inside in zip(each[filled], crop[filled])]
    relative = each[filled] / np.reshape(means, (-1, 1, 1))
    inside, outside = truth[filled], (crop & ~truth)[filled]
    ratio, within = each[truth].mean() / each[crop & ~truth].mean(), relative[inside].mean() / relative[outside].mean()
    print(f"{name}: inside / outside {ratio:.2f}, within each slice {within:.2f}")

# %% [markdown]
# The same for all test cases and gates, with intervals over subjects. The computation is in `hipposeg_lab.studies.attention`.

# %%
ratios = pd.read_csv(session.ws.artifacts / "studies" / "attention.csv.gz")
ratios = ratios[ratios["within"] == attention.SAMPLE]
mine = ratios[ratios["run"] == gated.name]
table, above = attention.intervals(mine), attention.beyond(mine)
fig, ax = plt.subplots(figsize=(9.6, 2.8))
for shift, control in enumerate((attention.TRAINED, *attention.CONTROLS)):
    rows = table[table["control"] == control].sort_values("scale")
    whiskers = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
    ax.errorbar(rows["value"], np.arange(len(rows)) + shift / 6, xerr=whiskers, fmt="o", label=control)
ax.axvline(1, color=style.MUTED, linestyle="--", zorder=0)
ax.set_yticks(np.arange(len(rows)) + 0.25, [f"gate with {scale} mm voxels" for scale in rows["scale"]])
ax.set(xlabel="mean weight inside / outside, within each slice", title="Position explains most of the ratio")
ax.invert_yaxis()
ax.legend(fontsize=8)
session.save(fig, "ratios", volumes=mine["case"].nunique())

# %%
within = table.set_index(["control", "scale"])["value"]
beyond = above[above["control"] == attention.OTHER].set_index("scale")
fine, coarsest = beyond.drop(index=beyond.index.max()), beyond.loc[beyond.index.max()]
follows = (within[attention.TRAINED] > within[attention.UNTRAINED]).all() and (fine["low"] > 0).all()
session.claim(
    follows and coarsest["low"] < 0 < coarsest["high"],
    f"""**In this network the finer gates follow the image, the coarsest does not.** The weights inside are up to
{within[attention.TRAINED].max():.1f} times those outside. Another subject's weights reach {within[attention.OTHER].max():.1f}, so position
explains most of it. The image adds {fine["difference"].min():.2f} to {fine["difference"].max():.2f} for the finer gates; for the coarsest the
interval ({coarsest["low"]:+.2f} to {coarsest["high"]:+.2f}) includes zero.""",
)

# %% [markdown]
# Do gates open in the same places after every training? Each dot is the mean ratio of one seed.

# %%
every = ratios[ratios["control"] == attention.TRAINED]
every = every.assign(model=every["run"].str.split(".").str[0])
each = every.groupby(["model", "scale", "run"])["ratio"].mean()
fig, ax = plt.subplots(figsize=(9.6, 2.6))
names = []
for row, ((name, scale), values) in enumerate(each.groupby(level=["model", "scale"])):
    names.append(f"{name}, {scale} mm")
    ax.plot(values, [row] * len(values), "o", color=style.SERIES[row // 3])
ax.axvline(1, color=style.MUTED, linestyle="--", zorder=0)
ax.set_yticks(range(len(names)), names)
ax.set(xscale="log", xlabel="mean weight inside / outside, within each slice", title="Seeds learn different gates")
ax.invert_yaxis()
ax.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
session.save(fig, "seeds")

# %% [markdown]
# No: seeds differ, even in whether a gate is more open inside or outside. A map of gates describes
# one network. It is a by-product of training, not an explanation of the prediction (Jain and Wallace 2019; Adebayo et al. 2018). Whether gates are of use is
# another question.

# %% [markdown]
# ## 4. Does it help?
#
# Both networks segmented the same volumes, so Dice is compared volume by volume, and then averaged over the volumes of a subject. An interval
# comes from the **bootstrap**: draw as many subjects, with repetition, and average again, thousands of times.

# %%
difference = (gated.values() - plain.values()).groupby(gated.subjects()).mean()
generator = np.random.default_rng(0)
drawn = [generator.choice(difference, len(difference)).mean() for _ in range(stats.RESAMPLES)]
low, high = np.quantile(drawn, [0.025, 0.975])
fig, ax = plt.subplots(figsize=(9.6, 2.6))
ax.hist(difference, bins=25, color=style.SERIES[0])
ax.axvspan(low, high, color=style.SERIES[1], alpha=0.3, label="95 % interval of the mean")
ax.axvline(0, color=style.INK, linestyle="--")
ax.set(
    xlabel="Dice with gates minus Dice without",
    ylabel="subjects",
    title="Gates change single subjects, hardly the mean",
)
ax.legend()
session.save(fig, "differences", mean=difference.mean(), low=low, high=high)

# %% [markdown]
# One seed of each network may be a lucky one. So every network was trained with three seeds, and each gated one is compared with two others: without
# gates, and with constant gates. Choosing places helps only if it is better than both. Attention is expected to help with small structures,
# so the third of the volumes with the smallest hippocampus is also compared by itself. Two other kinds of attention are included, in each
# decoder stage of the MobileNetV3 network of notebook 03. **scSE** (Roy et al. 2018) weights channels and places by what they contain; **CBAM**
# (Woo et al. 2018) weights channels first and places after them, and reads the largest value beside the mean. segmentation-models-pytorch and
# timm provide them.

# %%
sizes = plain.values("union", "volume_true").sort_values(kind="stable")
smallest = sorted(sizes.index[: max(1, len(sizes) // 3)])
conclusions = comparisons.by_size(session.planned(), smallest)
words = {
    "attention2d minus unet2d": "2D: gates minus none",
    "attention2d minus attention2d-constant": "2D: gates minus constant gates",
    "attention3d minus unet3d": "3D: gates minus none",
    "attention3d minus attention3d-constant": "3D: gates minus constant gates",
    "scse2d minus unet2d-mobilenetv3": "MobileNetV3: scSE minus none",
    "cbam2d minus unet2d-mobilenetv3": "MobileNetV3: CBAM minus none",
}
if len(conclusions):
    shown = conclusions.rename(index=words, level=1)
    fig = intervals.forest(shown, stats.EQUIVALENCE_MARGIN, "difference in mean Dice", sort=False)
    slices.heading(fig, "No kind of attention improves mean Dice")
    session.save(fig, "series")
on_all = [row["conclusion"] for (volumes, _), row in conclusions.iterrows() if volumes.startswith("all")]
session.claim(
    len(on_all) == len(comparisons.PAIRS) and set(on_all) == {"equivalent"},
    f"""**Attention does not improve Dice here.** In all {len(on_all)} comparisons, 2D and 3D, the two networks are equivalent: no interval
reaches a difference of {stats.EQUIVALENCE_MARGIN:g}. On the smallest third the same holds in 3D; in 2D the intervals are too wide to conclude.""",
)

# %% [markdown]
# Why not? The crops were cut around the hippocampus, so it lies in the middle and fills much of a slice. Gates were made to find a small organ in a
# wide field of view. Cropping may make that unnecessary here.

# %% [markdown]
# ## What we learned

# %%
session.claim(
    len(on_all) == len(words) and 0.5 < (each > 1).mean() < 1,
    """**Do attention gates help to segment the hippocampus in these crops? No.**

1. In most trainings and scales the gates are more open on the hippocampus than elsewhere, in a few less. In the network shown, most of this is
   position; in its finer gates a smaller part follows the image.
2. Gates differ between seeds of one network.
3. Neither gates nor scSE nor CBAM improve Dice over a network without them.

A wide field of view with the hippocampus in an unknown place could change this conclusion, or a configuration tuned for the gates.""",
)

# %% [markdown]
# ## Limits
#
# - One fold, three seeds. The training configuration was chosen for the network without gates.
# - One other case's map only approximates what position explains. The mean of many maps might come closer to the trained one.
# - A ratio counts all of the hippocampus alike. A gate that opens along the border alone could be useful and have a ratio near 1.
#
# ## Exercises
#
# **1. The control.** Write a function that gives every place of a sample the mean score, in the same shape. Samples of a batch keep their own
# means, and volumes work like slices.

# %% tags=["exercise"]
my_constant = None  # your function: score (B, 1, ...) -> (B, 1, ...)

# %%
if my_constant is None:
    print("not yet written")
else:
    example = torch.arange(16.0).reshape(2, 1, 2, 2, 2)
    assert my_constant(example).shape == example.shape, "the shape changed"
    assert my_constant(example)[:, 0, 0, 0, 0].tolist() == [3.5, 11.5], "each sample has its own mean"
    assert my_constant(example[:, :, 0]).std((1, 2, 3)).max() == 0, "all places of a slice have one score"
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_constant(score):
#     places = tuple(range(2, score.ndim))
#     return score.mean(places, keepdim=True).expand_as(score)
# ```
#
# </details>
#
# **2. Another kind of gate.** Write a layer that weights *channels*: the mean of each channel over space, two linear layers with a ReLU in
# between, a sigmoid, and the product with the input (squeeze and excitation, the channel half of scSE).

# %% tags=["exercise"]
MyChannelGate = None  # your class: MyChannelGate(channels), then (B, channels, H, W) -> the same shape

# %%
if MyChannelGate is None:
    print("not yet written")
else:
    example = torch.rand(2, 8, 5, 6) + 1
    factor = MyChannelGate(8)(example) / example
    assert factor.shape == example.shape and 0 < factor.min() and factor.max() < 1, "weights lie between 0 and 1"
    assert factor.std((2, 3)).max() < 1e-5, "a channel has one weight at all places"
    assert factor[:, :, 0, 0].std(1).min() > 1e-4, "channels have different weights"
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# class MyChannelGate(torch.nn.Module):
#     def __init__(self, channels):
#         super().__init__()
#         self.first = torch.nn.Linear(channels, channels // 2)
#         self.second = torch.nn.Linear(channels // 2, channels)
#
#     def forward(self, x):
#         weight = self.second(self.first(x.mean((2, 3))).relu()).sigmoid()  # (B, channels)
#         return x * weight[:, :, None, None]
# ```
#
# </details>
#
# ## References
#
# - Oktay et al. 2018, Attention U-Net, [arXiv:1804.03999](https://arxiv.org/abs/1804.03999)
# - Schlemper et al. 2019, attention gated networks, [doi:10.1016/j.media.2019.01.012](https://doi.org/10.1016/j.media.2019.01.012)
# - Roy et al. 2018, scSE, [doi:10.1007/978-3-030-00928-1_48](https://doi.org/10.1007/978-3-030-00928-1_48)
# - Woo et al. 2018, CBAM, [arXiv:1807.06521](https://arxiv.org/abs/1807.06521)
# - Jain and Wallace 2019, attention is not explanation, [doi:10.18653/v1/N19-1357](https://doi.org/10.18653/v1/N19-1357)
# - Adebayo et al. 2018, sanity checks for saliency maps, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292)

# %%
session.finish()
