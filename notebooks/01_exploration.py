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
# # 01. Exploration: what is in the data, and what it hides
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/01_exploration.ipynb)
#
# **Question.** What do these scans hold, and what must a fair evaluation know about them? In short: most subjects appear twice, which the data
# set does not say, and the crops were cut around the answer.
#
# **What you will learn**
# - what the hippocampus is, and how to open, look at and measure one scan;
# - how to find out, from numbers alone, that two scans come from one subject;
# - how to split data so that no test subject was seen in training;
# - what the Dice score is, and what a baseline without the image scores.
#
# Needs notebook [00](00_quickstart.ipynb). Words such as *Dice* and *fold* are in the [glossary](GLOSSARY.md); details of the files are in
# appendix [A0](A0_data_details.ipynb).
#
# - **Reads:** the data set; the table of finished runs, for one comparison.
# - **Writes:** `figures/01_*`, `facts/01_exploration.json`, `folds.json`, and the run of the model `atlas-no-image`.
# - **Run time:** about a minute on two CPU cores.

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
import nibabel as nib
import numpy as np
import pandas as pd
import torch
from IPython.display import Code, display

from hipposeg import metrics
from hipposeg.data import folds
from hipposeg.models import atlas
from hipposeg.notebook import headless, start
from hipposeg.predict import registration
from hipposeg.viz import slices, style, surface
from hipposeg_lab.figures import gallery

session = start("01_exploration", profile)
spec, cases = session.spec, session.cohort.cases
rng = np.random.default_rng(1)

# %% [markdown]
# ## 1. What is the hippocampus?
#
# A curved structure of about four centimetres and three cubic centimetres, one in each temporal lobe, at the height of the ears. It turns
# experiences into memories. It shrinks with age, and early in Alzheimer's disease it shrinks faster, so its volume is measured in studies and in
# clinics. The front (**anterior**) and the back (**posterior**) part have different connections and change differently, hence two labels.
#
# An MRI scanner measures how protons relax after a radio pulse. In a **T1-weighted** scan fat and white matter are bright, grey matter is
# darker, and fluid is dark. The hippocampus is grey matter between white matter and fluid, and in front it touches another grey structure, the
# amygdala: that border is hard to see. The picture shows an average of many registered heads (MNI152) and where both hippocampi lie in it.

# %%
head = nib.load(registration.TEMPLATE / "mni152_2mm_head.nii.gz")
to_voxel = np.linalg.inv(head.affine)
left, right = (nib.affines.apply_affine(to_voxel, registration.BOXES[side]) for side in ("left", "right"))
at = left.mean(axis=0).round().astype(int)  # the voxel in the middle of the left box
planes = {"from the side (sagittal)": (0, 1, 2), "from the front (coronal)": (1, 0, 2), "from above (axial)": (2, 0, 1)}
fig, axes = plt.subplots(1, 3, figsize=(9, 3.6))
for ax, (name, (axis, across, up)) in zip(axes, planes.items()):
    ax.imshow(np.take(head.get_fdata(), at[axis], axis).T, cmap="gray", origin="lower")
    for low, high in (left, right) if axis else (left,):
        size = high - low
        ax.add_patch(plt.Rectangle((low[across], low[up]), size[across], size[up], fill=False, ec=style.ERROR, lw=1.5))
    ax.set_title(name, weight="normal")
    ax.axis("off")
slices.heading(fig, "Both hippocampi lie deep inside the temporal lobes")
session.save(fig, "where")

# %% [markdown]
# ## 2. One scan
#
# `session` has read the data set. `session.cohort.cases` maps a case number to a case with `image` (channel, X, Y, Z), `label` (X, Y, Z) and
# `spacing` in mm; `spec` has the names, values and colours of the labels. `session.save` shows a figure with its caption; `session.claim` prints a
# finding, and fails if the numbers contradict it.
#
# Each file of the data set is a **crop** around one hippocampus, in the NIfTI format: an array of voxels, the size of a voxel in mm, and the
# **affine**, a matrix that maps voxel indices to mm. A second file of the same name holds the label map that experts drew. A volume in mm³ is
# a number of voxels times the volume of one.
#
# A slice is the array at one index of one axis. Letters mark directions: P and A (back and front), I and S (bottom and top). The files do not
# record which side of the head a crop is from, so no figure marks left and right. Dotted lines mark where the other two planes cut.

# %%
number = min(cases)
folder, name = session.cohort.folder, spec.file_name(number)
scan, drawn = nib.load(folder / "imagesTr" / name), nib.load(folder / "labelsTr" / name)
image, label = scan.get_fdata(dtype=np.float32), np.asarray(drawn.dataobj)
spacing = np.array(scan.header.get_zooms(), float)
print(name, "voxels", image.shape, "of", spacing, "mm, intensities", image.min(), "to", image.max())
print("affine\n", scan.affine)
for value, count in zip(*np.unique(label, return_counts=True)):
    print(f"label {value}: {count} voxels, {count * spacing.prod():.0f} mm³")

centre = np.argwhere(label).mean(axis=0).round().astype(int)
sagittal, coronal, axial = image[centre[0]], image[:, centre[1]], image[:, :, centre[2]]
print("sagittal", sagittal.shape, "coronal", coronal.shape, "axial", axial.shape)
rows = {"scan": None, "expert": label}
title = "Grey between bright and dark tissue, with borders that fade in front"
session.save(slices.three_plane(image, rows, spec, title, centre, spacing), "three-plane")

# %% [markdown]
# One slice shows little of a volume. Move through it: each slider is the number of the slice in the title above the picture.

# %%
if headless():
    session.say("*Open this notebook in Jupyter to move through the slices with three sliders.*")
else:
    display(gallery.browse(image, {"expert": label}, spec, f"Case {number:03d}"))

# %% [markdown]
# ## 3. All scans
#
# One row for each case: the volume of each part, the percentage of background, the brightest voxel. Three things matter later. Background
# fills nearly all of a crop, so the fraction of correct voxels is a useless score: a prediction of nothing would be almost perfect. The crops
# differ in size. And intensities have no unit: the brightest voxel of one file may be thousands of times that of another (notebook 02).

# %%
rows = {}
for n, case in cases.items():
    volumes = {item.name: (case.label == item.value).sum() * np.prod(case.spacing) for item in spec.labels}
    other = {"background (%)": 100 * (case.label == 0).mean(), "brightest voxel": case.image.max()}
    rows[n] = {**volumes, "whole": sum(volumes.values()), **other}
table = pd.DataFrame.from_dict(rows, orient="index")
sizes = np.array([case.label.shape for case in cases.values()])
display(table.describe().loc[["mean", "std", "min", "max"]].round(0))
print("crops from", sizes.min(axis=0), "to", sizes.max(axis=0), "voxels")

fig, ax = plt.subplots(figsize=(style.WIDTH, 2.8))
for item in spec.labels:
    ax.hist(table[item.name], np.histogram_bin_edges(table[list(spec.names)], 24), color=item.colour, alpha=0.6)
ax.legend(spec.names)
means = table[list(spec.names)].mean()
ax.set(
    xlabel="volume (mm³)",
    ylabel="cases",
    title=f"On average, the parts measure {' and '.join(f'{mean:.0f}' for mean in means)} mm³",
)
session.save(fig, "volumes")
session.facts(size_min=sizes.min(axis=0).tolist(), size_max=sizes.max(axis=0).tolist())
session.facts(**{f"volume_{name}": {"mean": means[name], "sd": table[name].std()} for name in spec.names})

# %% [markdown]
# Which cases to show? A hand-picked example shows what its author likes. The rule here: **sort by volume, take evenly spaced ranks**, so that
# the smallest, the median and the largest are among them. Each case is drawn twice, because an outline hides the border that it claims. Look at
# the bare slice first, and decide where you would draw it.

# %%
ordered = table["whole"].sort_values(kind="stable").index
chosen = ordered[np.linspace(0, len(ordered) - 1, 9).round().astype(int)]
views = [
    slices.CaseView(f"case {n:03d}: {table['whole'][n]:.0f} mm³", cases[n].image[0], {"expert": cases[n].label})
    for n in chosen
]
session.save(
    gallery.grid(views, spec, "The largest has twice the volume of the smallest", columns=3, bare=True), "samples"
)

# %% [markdown]
# Slices hide the shape. Here are the smallest, the median and the largest case as surfaces, in one scale. Smoothing removes the steps of the
# voxels; it is the same for the label maps of experts and of networks in all notebooks. In Jupyter the last picture can be rotated.

# %%
three = dict(zip(("smallest", "median", "largest"), chosen[[0, 4, 8]]))
if reason := surface.problem():
    session.say(f"**No surface here.** {reason}")
else:
    labels = {f"{rank}: case {n:03d}": cases[n].label for rank, n in three.items()}
    title = "A thick front part, and a thin back part that curves up"
    session.save(surface.figure(labels, spec, spec.spacing, title), "surface")
    if not headless():
        display(surface.show(cases[three["median"]].label, spec, spec.spacing))

# %% [markdown]
# ## 4. Most subjects appear twice
#
# Each file is one hippocampus, and no file records whose. But a person has two. If a random split puts one into training and the other into the
# test set, the network is tested on a person whom it has seen. This is a **leak**.
#
# **Suspicion.** Perhaps the two hippocampi of a subject have consecutive case numbers. Then the volumes of such pairs must agree, since the two
# sides of one head are about equally large. There are two ways to pair neighbours, and at most one can be right: an odd number with the next,
# or an even number with the next.

# %%
numbers, volume = list(cases), table["whole"]
pairs = {
    "odd": [(n, n + 1) for n in numbers if n % 2 == 1 and n + 1 in cases],
    "even": [(n, n + 1) for n in numbers if n % 2 == 0 and n + 1 in cases],
}


def correlation(pairs):
    """Correlation between the volumes of the first and of the second case of each pair."""
    first, second = np.transpose(pairs)
    return np.corrcoef(volume.loc[first], volume.loc[second])[0, 1]


r = {kind: correlation(some) for kind, some in pairs.items()}
for kind, some in pairs.items():
    print(f"{kind} number and the next: {len(some)} pairs, r = {r[kind]:.2f}; the first three: {some[:3]}")

# %% [markdown]
# Could this be chance? Pair the same cases at random, many times, and see how large a correlation comes out.

# %%
count = len(pairs["odd"])
chance = np.array([correlation(rng.permutation(numbers)[: 2 * count].reshape(-1, 2)) for _ in range(2000)])
fig, axes = plt.subplots(1, 3, figsize=(style.WIDTH, 3.7))
for ax, kind, colour in zip(axes, pairs, style.SERIES[2:]):
    first, second = np.transpose(pairs[kind])
    ax.scatter(volume.loc[first], volume.loc[second], s=14, color=colour)
    ax.axline((volume.mean(), volume.mean()), slope=1, color=style.MUTED, linestyle="--", zorder=0)
    ax.set(title=f"{kind} and next: r = {r[kind]:.2f}", xlabel="first (mm³)", ylabel="second (mm³)")
    axes[2].axvline(r[kind], color=colour, linewidth=2.5)
axes[2].hist(chance, 40, color=style.MUTED, alpha=0.6)
axes[2].set(
    title=f"random: r = {chance.max():.2f} at most", xlabel="correlation r", ylabel="random pairings", xlim=(-0.6, 1)
)
slices.heading(fig, "Only an odd number and the next agree in volume")
session.save(fig, "pairs")
session.facts(n_pairs=count, r_volume_odd=r["odd"], r_volume_even=r["even"])

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    r["odd"] > 0.8 and abs(r["even"]) < 0.2 and chance.max() < 0.5,
    f"""**An odd case number and the next are the two hippocampi of one subject.** In these {count} pairs the volumes correlate at
{r["odd"]:.2f}. In pairs of an even number and the next they do not ({r["even"]:.2f}), and none of {len(chance)} random pairings comes near. The
data set does not say so. Appendix A0 finds the same pairs in the images, by a fingerprint that each scan carries.""",
)

# %% [markdown]
# So the rule is `subject = (case + 1) // 2`. How many test volumes have the contralateral hippocampus in training? Count it for a random split
# by volume, the usual way, and for one by subject. Below is the code that makes the five **folds** of this project, `grouped`: subjects are
# shuffled once and dealt out like cards, and each fold is the test set of a network that is trained on the other four. `session.folds` holds
# each fold as two lists of case numbers, `train` and `scored` (the test cases). Choices between models were made on `dev`, subjects cut from the training part of fold 0, so that the test set of a fold decides nothing.

# %%
subject = {n: (n + 1) // 2 for n in cases}


def leaks(fold):
    """Count the test volumes with the contralateral hippocampus in the training set."""
    trained = {subject[n] for n in fold["train"]}
    return sum(subject[n] in trained for n in fold["scored"])


order = rng.permutation(numbers)
by_volume = {"train": order[len(order) // 5 :], "scored": order[: len(order) // 5]}
held_out = rng.permutation(np.unique(list(subject.values())))[: len(set(subject.values())) // 5]
by_subject = {
    part: [n for n in cases if (subject[n] in held_out) == (part == "scored")] for part in ("train", "scored")
}
for name, fold in {"by volume": by_volume, "by subject": by_subject}.items():
    print(f"{name}: {leaks(fold)} of {len(fold['scored'])} test volumes leak")
display(Code("\n".join(map(inspect.getsource, (folds._shuffled, folds._grouped))), language="python"))

# %%
kinds = {"nnunet": "Folds by volume, as in published results", "grouped": "Folds by subject, as in this project"}
shared = {kind: [leaks(fold) for fold in session.folds[kind]] for kind in kinds}
colours = {"in neither": "#ffffff", "training": "#cfe3f1", "test": style.SERIES[0], "one volume in each": style.ERROR}
everyone = sorted(set(subject.values()))
fig, axes = plt.subplots(2, 1, figsize=(style.WIDTH, 4), sharex=True)
for ax, (kind, title) in zip(axes, kinds.items()):
    sides = [[{subject[n] for n in fold[part]} for part in ("train", "scored")] for fold in session.folds[kind]]
    state = np.array([[(one in train) + 2 * (one in test) for one in everyone] for train, test in sides])
    for value, colour in enumerate(colours.values()):
        ax.scatter(*np.argwhere(state == value).T[::-1], s=34, color=colour, marker="|", linewidths=3)
    ax.set_yticks(range(len(sides)), [f"fold {fold}" for fold in range(len(sides))])
    ax.set(title=f"{title}: {np.mean(shared[kind]):.0f} of {len(fold['scored'])} test volumes leak", ylim=(4.6, -0.6))
    ax.grid(False)
axes[1].set_xlabel("subjects, in order of their case numbers")
handles = [plt.Rectangle((0, 0), 1, 1, fc=fill, ec=style.MUTED, label=text) for text, fill in list(colours.items())[1:]]
fig.legend(handles=handles, loc="outside lower center", ncols=3)
session.save(fig, "folds")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
size = len(session.folds["nnunet"][0]["scored"])
session.claim(
    max(shared["grouped"]) == 0 and min(shared["nnunet"]) > size / 3,
    f"""**A split by volume leaks.** In the folds that published results use, {min(shared["nnunet"])} to {max(shared["nnunet"])} of {size}
test volumes have the contralateral hippocampus in the training set; in folds by subject none has.""",
)
worth = session.ws.artifacts / "studies" / "leaks.csv"
if worth.is_file():
    whole, sliced = (
        pd.read_csv(worth).query("label == 'mean' and kind == @kind").iloc[0]
        for kind in ("leak-volumes", "leak-slices")
    )
    session.claim(
        whole["conclusion"] == "equivalent" and sliced["conclusion"] == "better",
        f"""What is the leak worth? Networks trained with it and without it differ by {whole["difference"]:+.3f} Dice for the contralateral hippocampus,
which does not matter here, and by {sliced["difference"]:+.3f} for other slices of the test volume, which does (three seeds each). A split by
subject avoids both and costs nothing.""",
    )

# %% [markdown]
# ## 5. The Dice score
#
# The score in all notebooks is **Dice**: twice the overlap of two masks over the sum of their sizes. It is 1 for a perfect
# match and 0 without any overlap, and background does not count. Three lines are enough. `metrics.dice` of the package adds what happens if
# both masks are empty.
#
# Here are some scores, on the scan of section 2: for a prediction of nothing, of the whole crop, and of the truth shifted by one voxel along the
# first axis. The last score labels every voxel within one range of intensities as hippocampus. The truth chooses the range, so no range can do better.


# %%
def dice(a, b):
    """Dice of two boolean masks."""
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def best_window(case):
    """Dice of the best range of intensities, with ends at every fifth percentile."""
    edges = np.percentile(case.image[0], np.arange(0, 101, 5))
    masks = [(low <= case.image[0]) & (case.image[0] <= high) for low in edges for high in edges if low < high]
    return max(dice(mask, case.label > 0) for mask in masks)


truth = label > 0
guesses = {"nothing": truth & False, "everything": truth | True, "one voxel too far": np.roll(truth, 1, axis=0)}
for name, guess in guesses.items():
    print(f"{name}: {dice(guess, truth):.2f}")
print(f"best range of intensities: {best_window(cases[number]):.2f}")
assert all(dice(guess, truth) == metrics.dice(guess, truth) for guess in guesses.values())

# %% [markdown]
# ## 6. The crops were cut around the answer
#
# A crop this tight can only be cut by someone who knows where the hippocampus is. How exactly? Measure the margin between the label and each
# side of the crop. If its standard deviation (SD) is small, the size of the crop gives away the size of the hippocampus.

# %%
found = [np.argwhere(case.label) for case in cases.values()]
low, high = np.array([where.min(axis=0) for where in found]), np.array([where.max(axis=0) for where in found])
margins = np.hstack([low, sizes - 1 - high])
offsets = (np.array([where.mean(axis=0) for where in found]) - (sizes - 1) / 2) * spec.spacing
ends = ["one side", "back (P)", "bottom (I)", "other side", "front (A)", "top (S)"]
display(
    pd.DataFrame({"margin (voxels)": margins.mean(axis=0), "SD": margins.std(axis=0, ddof=1)}, index=ends).round(1).T
)
print("SD of the label's centre about the centre of the crop (mm):", offsets.std(axis=0, ddof=1).round(1))
session.facts(margin_sd=margins.std(axis=0, ddof=1).tolist(), centre_sd_mm=offsets.std(axis=0, ddof=1).tolist())

# %% [markdown]
# Turn this into a score. The **image-free atlas** stretches every training label map to one size, averages them, stretches the mean to a test
# crop, and takes the most frequent class at each voxel. Class numbers cannot be averaged, so each label map first becomes one map of 0 and 1 for
# each class (`one_hot`). The atlas ignores the image, so its score is what the crop alone gives away. By hand, on fold 0, then by the package's code,
# which must agree. `session.run` loads the finished run of a model: its scores (`values`) and its masks.

# %%
fold, size = session.folds["grouped"][0], (36, 50, 36)


def stretch(maps, shape):
    """Stretch class maps (K, X, Y, Z) to another shape."""
    return torch.nn.functional.interpolate(maps[None], shape, mode="trilinear")[0]


labels = [torch.from_numpy(cases[n].label).long() for n in fold["train"]]
one_hot = [torch.nn.functional.one_hot(label, spec.n_classes).movedim(-1, 0).float() for label in labels]
mean = torch.stack([stretch(maps, size) for maps in one_hot]).mean(dim=0)
answers = {n: stretch(mean, cases[n].label.shape).argmax(dim=0).numpy() for n in fold["scored"]}
print(len(labels), "label maps; their mean", tuple(mean.shape), "(class, X, Y, Z)")

display(Code("\n".join(map(inspect.getsource, (atlas.mean_map, atlas.from_box))), language="python"))
result = session.run("atlas-no-image")
assert torch.allclose(mean, atlas.mean_map([cases[n].label for n in fold["train"]], spec.n_classes, size), atol=1e-5)
scores = pd.Series({n: dice(answers[n] > 0, cases[n].label > 0) for n in fold["scored"]})
assert np.allclose(scores, result.values("union"), atol=1e-3)

# %%
n = scores.sort_values().index[len(scores) // 2]
middle, case = size[0] // 2, cases[n]
maps = {"one training label": stretch(one_hot[0], size)[1:].sum(0), f"mean of {len(labels)} labels": mean[1:].sum(0)}
maps["most frequent class"] = mean.argmax(dim=0)
fig, axes = plt.subplots(1, 4, figsize=(style.WIDTH, 2.4))
for ax, (name, values) in zip(axes, maps.items()):
    ax.imshow(values[middle].T, cmap="gray", origin="lower")
    ax.set_title(name, weight="normal")
cut = slices.fullest(case.label, 0, case.label.shape)
axes[3].imshow(case.image[0, cut].T, cmap="gray", origin="lower")
for mask, colour in ((case.label, style.SERIES[2]), (answers[n], style.ERROR)):
    axes[3].contour(mask[cut].T > 0, [0.5], colors=colour)
axes[3].set_title(f"case {n:03d}, Dice {scores[n]:.2f}", weight="normal")
for ax in axes:
    ax.axis("off")
slices.heading(fig, "A mean of labels outlines a hippocampus without reading the scan")
session.save(fig, "atlas", n=n)

# %%
windows = np.mean([best_window(cases[n]) for n in fold["scored"]])
network = session.results.query(
    "model == 'unet3d-fast' and folds == 'grouped' and fold == 0 and schedule == 'standard'"
)
bars = {"prediction of nothing": 0, "best range of intensities": windows, "image-free atlas": scores.mean()}
bars["3D U-Net (notebook 04)"] = network[network["label"] == "union"]["dice"].mean()
fig, ax = plt.subplots(figsize=(style.WIDTH, 2.3))
drawn = ax.barh(list(bars), list(bars.values()), color=[style.MUTED, style.MUTED, style.ERROR, style.SERIES[0]])
ax.bar_label(drawn, fmt="%.2f", padding=4)
ax.invert_yaxis()
ax.set(
    xlim=(0, 1),
    xlabel="Dice of the whole hippocampus, mean over the test cases of fold 0",
    title="Most of the score is in the crop",
)
session.save(fig, "baselines")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    0.5 < scores.mean() / bars["3D U-Net (notebook 04)"] < 1 and windows < 0.5 * scores.mean(),
    f"""**The crop gives away {100 * scores.mean() / bars["3D U-Net (notebook 04)"]:.0f} % of a network's score.** Without reading an image the atlas reaches {scores.mean():.2f}; the best range of
intensities, chosen with the truth, reaches {windows:.2f}; a network {bars["3D U-Net (notebook 04)"]:.2f}. The tables of
later notebooks average over both parts instead of scoring the whole; there the atlas has {result.mean():.3f} and is the first row.""",
)

# %% [markdown]
# Read every score as a gain over the atlas. No score here holds for a crop that was placed by other means, such as a
# detector: there, position would not give the answer away (appendix A4 moves the crops; notebook 08 starts from a whole head).

# %% [markdown]
# ## What we learned

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    r["odd"] > 0.8 and max(shared["grouped"]) == 0 and windows < 0.5 * scores.mean(),
    f"""**What must a fair evaluation know about this data? That {count} of {len(everyone)} subjects appear twice, and that the crops were cut
around the answer.**

1. An odd case number and the next are one subject. Split by subject.
2. Position alone scores a Dice of {scores.mean():.2f} for the whole hippocampus. Compare every network with the image-free atlas.
3. Intensities alone do not find the hippocampus, and background fills {table["background (%)"].mean():.0f} % of a crop. A network must learn
   shape and place, and its score must not count background.

A list of subjects from the authors could change conclusion 1. Crops cut without the label could change conclusion 2.""",
)

# %% [markdown]
# ## Limits
#
# - That a pair is one subject is inferred from numbers. Volume, brightness and a fingerprint of the scan agree (appendix A0), but no document says so.
# - The experts' labels are taken as the truth. How well two experts agree is unknown here; at the border of the amygdala it may be little.
# - The slices shown are those with most labelled voxels; both ends of the hippocampus are harder to see.
#
# ## Exercises
#
# **1. Split by subject.** Write `my_test_cases`, which takes case numbers and returns those of the test set: about a fifth of the subjects, each
# with all its volumes.

# %% tags=["exercise"]
my_test_cases = None  # your function: list of case numbers -> list of test cases

# %%
if my_test_cases is not None:
    made_up = [1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20]
    chosen_cases = set(my_test_cases(made_up))
    sides = [{(n + 1) // 2 for n in part} for part in (chosen_cases, set(made_up) - chosen_cases)]
    assert len(sides[0]) == 2, f"ten subjects, so two in the test set; found {len(sides[0])}"
    assert not sides[0] & sides[1], f"subjects {sides[0] & sides[1]} are on both sides"
    print("right: no subject is on both sides")
else:
    print("exercise 1 is not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_test_cases(numbers):
#     subjects = np.unique([(n + 1) // 2 for n in numbers])
#     held_out = np.random.default_rng(0).permutation(subjects)[: len(subjects) // 5]
#     return [n for n in numbers if (n + 1) // 2 in held_out]
# ```
#
# </details>
#
# **2. A baseline without images.** Write `my_atlas`, which takes label maps of one shape and returns the most frequent class at every voxel.

# %% tags=["exercise"]
my_atlas = None  # your function: list of label maps -> label map

# %%
if my_atlas is not None:
    drawn_maps = [
        np.array(row) for row in ([0, 1, 1, 2, 0], [0, 1, 2, 2, 0], [0, 1, 1, 2, 2], [1, 0, 1, 2, 2], [0, 0, 1, 0, 2])
    ]
    assert np.array_equal(my_atlas(drawn_maps), [0, 1, 1, 2, 2]), my_atlas(drawn_maps)
    print("right: this is the image-free atlas for crops of one size")
else:
    print("exercise 2 is not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_atlas(labels):
#     counts = [sum(label == value for label in labels) for value in range(3)]
#     return np.argmax(counts, axis=0)
# ```
#
# </details>
#
# ## References
#
# - Antonelli et al. 2022, the Medical Segmentation Decathlon, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)
# - Simpson et al. 2019, the data sets of the Decathlon, [arXiv:1902.09063](https://arxiv.org/abs/1902.09063)
# - Isensee et al. 2021, nnU-Net, whose folds are the ones by volume, [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - Kapoor and Narayanan 2023, leakage in machine-learning science, [doi:10.1016/j.patter.2023.100804](https://doi.org/10.1016/j.patter.2023.100804)

# %%
session.finish(session.ws.folds)
