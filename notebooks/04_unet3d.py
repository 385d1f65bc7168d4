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
# **Question.** What does a network gain by seeing the whole volume at once, and how few minutes of training does it need? In short: no
# clear gain in Dice over slices on these crops, and minutes are enough for the accuracy of nnU-Net.
#
# **What you will learn**
# - what a 3D convolution computes, and when voxels are too thick for it;
# - how a volume passes through the 3D U-Net, and how far the network looks;
# - how test-time augmentation works, and why left-right flips do harm here;
# - how to compare 2D with 3D, and what to do with an inconclusive answer;
# - how the flagship, the network that `hipposeg predict` uses, compares with nnU-Net at equal training time.
#
# Needs notebook [03](03_unet2d_baseline.ipynb); words such as *receptive field* and *interval* are in the [glossary](GLOSSARY.md). Appendix
# [A2](A2_training_time.ipynb) has all 3D variants, the times, and the choices behind the flagship.
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs and studies, the benchmark.
# - **Writes:** `figures/04_*`, `facts/04_unet3d.json`; under `standard` the runs `unet3d` and `unet3d-fast`.
# - **Run time:** a minute; under `standard` also two trainings.

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
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from hipposeg import inference, stats
from hipposeg.experiments import plan, registry, samples
from hipposeg.notebook import headless, start
from hipposeg.results import compare, tables
from hipposeg.viz import intervals, slices, surface
from hipposeg_lab.bench import summary
from hipposeg_lab.figures import bench, maps, mistakes
from hipposeg_lab.studies import making, published

session = start("04_unet3d", profile)
spec, cohort, fold = session.spec, session.cohort, session.folds["grouped"][0]
model, sliced, flagship = (registry.MODELS[name] for name in ("unet3d", "unet2d", registry.FLAGSHIP))
schedule = "smoke" if session.ws.is_phantom else "standard"

# %% [markdown]
# ## 1. What a third dimension adds
#
# A 3D convolution slides a cube of weights through the volume. It is three 2D convolutions, of the slice before, the slice itself and the
# slice after, added up. The 2D network of notebook 03 mixes three slices once, in its first layer. A 3D network does so in every layer, so
# slices further and further away take part.

# %%
torch.manual_seed(0)
volume = torch.randn(1, 1, 10, 12, 14)
convolution = torch.nn.Conv3d(1, 1, 3, padding=1, bias=False)
kernel = convolution.weight  # (1, 1, 3, 3, 3)
padded = F.pad(volume, (0, 0, 0, 0, 1, 1))  # an empty slice before the first and after the last
by_slices = []
for place in range(volume.shape[2]):
    three = [F.conv2d(padded[:, :, place + k], kernel[:, :, k], padding=1) for k in range(3)]
    by_slices.append(three[0] + three[1] + three[2])
print("the same result:", torch.allclose(convolution(volume), torch.stack(by_slices, dim=2), atol=1e-5))
print("weights of a kernel: 2D", kernel[:, :, 0].numel(), "3D", kernel.numel())

# %% [markdown]
# Voxels are cubes of 1 mm here, so a kernel reaches equally far in all directions. Many clinical scans have slices of several millimetres: the
# voxels are **anisotropic**, a neighbouring slice is far away, and the first layers of nnU-Net then use kernels that stay within a slice. Thick
# slices also limit any mask. Below, the experts' labels of the test volumes are merged into thicker coronal slices (each thick voxel gets its
# most frequent class) and compared with themselves.

# %%
thicknesses, best = (1, 2, 3, 4, 5, 6), {item.name: [] for item in spec.labels}
for thickness in thicknesses:
    scores = []
    for number in fold["scored"]:
        truth = torch.from_numpy(cohort.cases[number].label).long()
        shares = F.one_hot(truth, spec.n_classes).movedim(-1, 0)[None].float()
        merged = F.avg_pool3d(shares, (1, thickness, 1), ceil_mode=True).argmax(1)[0]  # also a last, thinner slice
        stretched = merged.repeat_interleave(thickness, dim=1)[:, : truth.shape[1]]
        both = [((stretched == item.value), (truth == item.value)) for item in spec.labels]
        scores.append([float(2 * (a & b).sum() / (a.sum() + b.sum())) for a, b in both])
    for item, score in zip(spec.labels, np.mean(scores, axis=0)):
        best[item.name].append(score)
fig, ax = plt.subplots(figsize=(7.5, 2.8))
for item in spec.labels:
    ax.plot(thicknesses, best[item.name], "o-", color=item.colour, label=item.name)
ax.set(
    xlabel="slice thickness (mm)", ylabel="Dice of the merged label", title="Thick slices cost Dice before any network"
)
ax.legend()
session.save(fig, "thickness")

# %% [markdown]
# ## 2. A volume on its way through the network
#
# One sample is now a whole crop, padded or cropped about its centre to one size. Slices are now a third axis; the only channel is the intensity.
# There are far fewer samples, and each is far larger: a batch holds two volumes instead of 32 slices. The class is that of notebook 03 with
# `dims=3`; each stage halves all three sides. The second cell shows the sample with most hippocampus.

# %%
images = {number: case.image for number, case in cohort.cases.items()}
train = samples.make_samples(images, cohort, model.prep, fold["train"])
cut = samples.make_samples(images, cohort, sliced.prep, fold["train"])
print("2D samples", tuple(cut.images.shape), "3D samples", tuple(train.images.shape))
network = model.build(train.images.shape[1], spec.n_classes)
encoded = network.encoded(train.images[:2])
decoded = network.decoded(*encoded)
for name, stages in {"encoder": encoded, "decoder": decoded}.items():
    print(name, *(tuple(features.shape[1:]) for features in stages))
print("output ", tuple(network.head(decoded[0]).shape))
flat = sliced.build(cut.images.shape[1], spec.n_classes)
for name, one in {"2D": flat, "3D": network}.items():
    print(name, f"{sum(weight.numel() for weight in one.parameters()):,} parameters")

# %%
largest = int((train.labels > 0).flatten(1).sum(1).argmax())
image, label = train.images[largest, 0].numpy(), train.labels[largest].numpy()
fig = slices.three_plane(image, {"image": None, "label": label}, spec, "A sample is a whole crop", spacing=spec.spacing)
session.save(fig, "sample")

# %% [markdown]
# ## 3. How far does the network look?
#
# The **receptive field** is the part of the input that can change one output voxel. A kernel of 3 adds one voxel of its own resolution on both
# sides; each halving of the resolution doubles what that means in millimetres. The first cell follows the encoder down.
#
# So the network could use most of the crop. Does it? The **effective** receptive field (Luo et al. 2016) is the gradient of one voxel's
# output with respect to every input voxel. The second cell computes it for the middle voxel of four training volumes; the colours are
# logarithmic. The 2D network cannot see beyond three slices, the 3D network can.

# %%
field, voxel = 1, 1  # both in mm
for stage in range(4):
    for stride in (2 if stage else 1, 1):  # two convolutions a stage, the first of which halves the resolution
        field += 2 * voxel
        voxel *= stride
    print(f"stage {stage}: a voxel is {voxel} mm wide and sees {field} mm; a crop is {model.prep.size[1]} mm long")


# %%
def gradient(network, prep, image):
    volume = prep.volume(image)[0].requires_grad_()
    output = prep.unstack(network(prep.stack(volume)))  # (classes, X, Y, Z)
    output[(slice(None), *middle)].max().backward()
    return volume.grad[0].abs().sum(0).numpy()


plain, by_slices = session.run("unet3d"), session.run("unet2d")
solid, flat = session.network(plain) or network, session.network(by_slices) or flat  # untrained without stored weights
middle = [side // 2 for side in model.prep.size]
probed = [images[number] for number in fold["train"][:4]]
fields = {"2D": np.mean([gradient(flat, sliced.prep, image) for image in probed], axis=0)}
fields["3D"] = np.mean([gradient(solid, model.prep, image) for image in probed], axis=0)
probe = np.zeros(model.prep.size, np.uint8)
probe[tuple(middle)] = 1
shown = {name: np.log10(np.maximum(one / one.max(), 1e-4)) for name, one in fields.items()}
view = maps.MapView("", train.images[0, 0].numpy(), probe, shown, spec.spacing)
what = "gradient, as a power of ten of its largest value"
marked = replace(spec, labels=(replace(spec.labels[0], name="middle voxel"),))
fig = maps.maps([view], marked, "The 3D network also looks along the hippocampus", 0, what=what, limits=(-4, 0))
session.save(fig, "receptive-field", volumes=len(probed))

# %%
lines = np.ogrid[tuple(map(slice, model.prep.size))]
distance = np.sqrt(sum((line - at) ** 2 for line, at in zip(lines, middle)))  # mm from the probed voxel
order = np.argsort(distance, axis=None, kind="stable")
within = {name: np.cumsum(one.ravel()[order]) / one.sum() for name, one in fields.items()}
half = {name: distance.ravel()[order][np.searchsorted(one, 0.5)] for name, one in within.items()}
near = slice(middle[1] - 1, middle[1] + 2)  # the slices that the 2D network gets
beyond = 1 - fields["3D"][:, near].sum() / fields["3D"].sum()
session.claim(
    max(half.values()) < 10 and beyond > 0.4,
    f"""**Half of what moves the 3D network's output lies within {half["3D"]:.0f} mm, and {100 * beyond:.0f} % of it in slices that the 2D network
does not get.** The network uses the third dimension. Section 6 tests whether this improves Dice.""",
)

# %% [markdown]
# ## 4. Training
#
# The loop, the loss and the optimisers are those of notebook 03. Augmentation works on volumes, about all three axes, and is weaker. The flagship
# is the same network with three changes that were chosen on `dev`: a longer schedule that stops before the learning rate reaches zero,
# class weight 1 instead of 2, and test-time augmentation (section 5).

# %%
fast = session.run(registry.FLAGSHIP)
runs = {"2D": by_slices, "3D": plain, "flagship": fast}
fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.2), sharex=True)
for name, run in runs.items():
    history = pd.DataFrame(run.history).set_index("epoch")
    left.plot(history["loss"], label=name)
    right.plot(history["dice_mean"].dropna(), "o-", label=name)
left.set(xlabel="epoch", ylabel="training loss (logarithmic)", yscale="log", title="The 3D networks start slowly")
left.set_yticks((0.2, 0.5, 1, 2), ("0.2", "0.5", "1", "2"))
left.minorticks_off()
right.set(xlabel="epoch", ylabel="mean Dice, test subjects", title="All end close together")
right.legend()
session.save(fig, "curves")

# %% [markdown]
# ## 5. Test-time augmentation
#
# Strided convolutions are sensitive to sub-stride shifts: move the crop by a voxel, and the mask changes a little. So the flagship predicts eight
# copies of a scan, each rotated by a few degrees and shifted by a few voxels, moves the probabilities back, and averages them. No training is
# needed. `inference.moved` samples a copy as the rotation in section 4 of notebook 03 does, and with `back=True` undoes it. For the median case of
# the plain 3D network:


# %%
def scored(probability):
    mask = placement.restore(probability[0].numpy()).argmax(0).astype(np.uint8)
    pairs = [(mask == item.value, case.label == item.value) for item in spec.labels]
    return mask, np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs])


case = cohort.cases[tables.cases_by_rule(plain.values())["median"]]
volume, placement = model.prep.place(case.image)  # (1, 1, X, Y, Z)
copies = []
with torch.no_grad():
    once = solid(volume).softmax(1)
    for corner in inference.VIEWS:
        copy = inference.moved(volume, corner, model.prep)
        copies.append(inference.moved(solid(copy).softmax(1), corner, model.prep, back=True))
    mirrored = solid(volume.flip(2)).softmax(1).flip(2)
average = torch.stack(copies).mean(0)
average[:, 0] = 1 - average[:, 1:].sum(1)  # outside of a copy is background
print("Dice of single copies:", *(f"{scored(copy)[1]:.3f}" for copy in copies))

# %% [markdown]
# The cell above also tries another kind of copy: the scan flipped left to right, its prediction flipped back. Averaging over flips is the
# usual test-time augmentation, in nnU-Net for example. But all crops of this data set have one orientation (appendix A0), and this network
# was trained without flips.

# %%
named = {"one prediction": once, "mean of eight copies": average, "flipped": mirrored}
views = []
for name, probability in named.items():
    mask, dice = scored(probability)
    views.append(slices.CaseView(f"{name}, Dice {dice:.3f}", case.image[0], {"": mask}, case.spacing))
views.append(slices.CaseView("expert", case.image[0], {"": case.label}, case.spacing))
fig = slices.row_of_cases(views, spec, "Small shifts change little, a left-right flip much")
session.save(fig, "copies", case=case.number)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
on_dev = session.results.query("label == 'mean' and folds == 'dev' and schedule == 'standard' and seed == 0")
on_dev = on_dev[on_dev["model"].isin(["unet3d-short", flagship.name])]  # the same network, without and with copies
moved = compare.differences(on_dev, "unet3d-short").reindex([flagship.name]).iloc[0]
robust = making.read(session.ws, "robustness")
robust = pd.DataFrame(columns=["run", "change", "severity", "label", "difference"]) if robust is None else robust
mirror = robust[(robust["change"] == "mirrored axis 0") & (robust["severity"] > 0) & (robust["label"] == "mean")]
mirror = mirror.set_index("run")["difference"].reindex(["unet3d", "unet3d+flip"]).astype(float)
on_test = session.results.query("label == 'mean' and folds == 'grouped' and fold == 0 and schedule == @schedule")
on_test = on_test[on_test["model"].isin(["unet3d", "unet3d+flip"])]
flips = compare.differences(on_test, "unet3d").reindex(["unet3d+flip"]).iloc[0]
session.claim(
    moved["low"] > 0
    and mirror["unet3d"] < -0.2
    and mirror["unet3d+flip"] > -0.005
    and flips["conclusion"] == "equivalent",
    f"""**Eight transformed copies add {moved["difference"]:.4f} Dice** to the same network on `dev` (95 % interval {moved["low"]:.4f} to
{moved["high"]:.4f}, one seed). **A left-right flip costs {-mirror["unet3d"]:.2f}.** A network that is trained with flips predicts flipped
scans as well as stored ones, and on stored ones it is equivalent to the network without flips.""",
)

# %% [markdown]
# ## 6. 3D or 2D?
#
# Both networks were trained with three seeds, for the same number of epochs, with the same kind of configuration. The 3D network was then trained
# again for 15 epochs instead of 12, which takes as long as training the 2D network. Each dot is one test subject after the same number of epochs,
# averaged over seeds and both hippocampi. The pictures show the volumes where one 3D network gains most over one 2D network, about
# nothing, and loses most. The pictures are sagittal: each column of pixels belongs to another coronal slice, which the 2D network predicted separately.

# %%
both = session.results.query(
    "label == 'mean' and folds == 'grouped' and fold == 0 and schedule == @schedule and model in ['unet2d', 'unet3d']"
)
people = both.groupby(["subject", "model"])["dice"].mean().unstack()
fig, ax = plt.subplots(figsize=(4.2, 4))
ax.plot(people["unet2d"], people["unet3d"], "o", color="#0072B2", alpha=0.7)
ax.axline((0.88, 0.88), slope=1, color="#7b8794", linewidth=1, linestyle="--")
limits = (people.to_numpy().min() - 0.01, people.to_numpy().max() + 0.01)
ax.set(
    xlabel="mean Dice, 2D", ylabel="mean Dice, 3D", title="3D helps some subjects, 2D others", xlim=limits, ylim=limits
)
session.save(fig, "2d-3d", subjects=len(people))

# %%
gain, views = plain.values() - by_slices.values(), []
for number in tables.cases_by_rule(gain).values():
    case = cohort.cases[number]
    found = {"expert": case.label, "2D": by_slices.masks[number], "3D": plain.masks[number]}
    views.append(
        slices.CaseView(f"case {number:03d}, 3D minus 2D\n{gain[number]:+.3f}", case.image[0], found, case.spacing)
    )
session.save(slices.row_of_cases(views, spec, "Largest gain, median, largest loss of 3D"), "context-cases")

# %% [markdown]
# A 2D network decides each slice for itself. Do its slices line up? The measure is the area in which the class changes from one coronal slice to
# the next, averaged over a volume. The experts' labels have such jumps, too, so theirs are the reference.


# %%
def jump(label):
    first, second = label[:, :-1], label[:, 1:]
    holds = ((first > 0) | (second > 0)).any(axis=(0, 2))  # where at least one of both contains hippocampus
    return (first != second).sum(axis=(0, 2))[holds].mean()


numbers = plain.values().index
sources = {
    "expert": {number: cohort.cases[number].label for number in numbers},
    "2D": by_slices.masks,
    "3D": plain.masks,
}
jumps = pd.DataFrame({name: [jump(masks[number]) for number in numbers] for name, masks in sources.items()}, numbers)
rougher = stats.paired(jumps["2D"].to_numpy(), jumps["expert"].to_numpy(), plain.subjects().to_numpy())
print(jumps.mean().round(1).to_dict(), "mm² from slice to slice")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
three = compare.differences(both, "unet2d").loc["unet3d"]
longer = session.results.query("model == 'unet3d' and label == 'mean'")
longer = longer[longer["schedule"] == plan.EQUAL_TIME]
longer = pd.concat([both[both["model"] == "unet2d"], longer.assign(model="longer", schedule=schedule)])
longer = compare.differences(longer, "unet2d").reindex(["longer"]).iloc[0]
found_bench = {} if session.ws.is_phantom else summary.read(session.ws.root)
minutes = pd.Series(summary.idle_minutes(found_bench), dtype=float).reindex(["unet2d", "unet3d", registry.FLAGSHIP])
session.claim(
    three["conclusion"] == longer["conclusion"] == "inconclusive"
    and rougher.high < 0
    and minutes["unet3d"] < minutes["unet2d"],
    f"""**Is 3D better than 2D here? Inconclusive.** The 3D network has {three["difference"]:+.4f} mean Dice (95 % interval {three["low"]:+.4f}
to {three["high"]:+.4f}, {three["subjects"]} subjects, three seeds), so a small loss and a small gain are both possible. At the same number of
epochs it trains in {minutes["unet3d"]:.1f} minutes instead of {minutes["unet2d"]:.1f}. **At equal training time it stays inconclusive**
({longer["difference"]:+.4f}, {longer["low"]:+.4f} to {longer["high"]:+.4f}). Stacked slices are no more ragged than the experts' outlines; they
are a little smoother.""",
)

# %% [markdown]
# ## 7. The flagship: nnU-Net's accuracy in minutes
#
# The flagship is trained on all five folds of two kinds. `grouped` keeps both hippocampi of a subject together. `nnunet` is the split by volume
# that published results use. Dots are single folds; the bar is the 95 % interval over all 260 volumes.

# %%
five = session.results.query("model == @flagship.name and seed == 0 and schedule == @schedule and label == 'mean'")
titles = {"grouped": "split by subject", "nnunet": "split by volume"}
rows = []
for kind, title in titles.items():
    part = five[five["folds"] == kind]
    rows += [{"row": title, "series": "one fold", "value": dice} for dice in part.groupby("fold")["dice"].mean()]
    whole = stats.interval(part["dice"].to_numpy(), part["subject"].to_numpy())
    rows.append({"row": title, "series": "all folds", **vars(whole)})
others = {one.method: one.mean for one in published.PUBLISHED}
line = ("nnU-Net, published", others["nnU-Net, 3d_fullres"])
fig = intervals.dots(pd.DataFrame(rows), "mean Dice", line=line, numbers="all folds")
slices.heading(fig, "Five folds: the published accuracy of nnU-Net")
session.save(fig, "folds", flagship=flagship.name)

# %% [markdown]
# How do they compare at equal training time? The benchmark trains the flagship, nnU-Net v2 and MONAI's DynUNet on the same idle machine (two
# cores of a CPU) for the same minutes. Each peer runs twice: as released, and *shortened*, with its own schedule compressed to these minutes and
# in the precision that is fastest here.

# %%
if found_bench:
    fig = bench.race(found_bench["race"])
    slices.heading(fig, "Five minutes of the flagship beat thirty of the others")
    session.save(fig, "race")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
whole = {row["row"]: row for row in rows if row["series"] == "all folds"}
volume, subject = whole["split by volume"], whole["split by subject"]
claims = pd.DataFrame(found_bench.get("claims", {}), index=["difference", "low", "high", "ahead"]).T.reindex(
    ["5", "30"]
)
session.facts(flagship=flagship.name, dice_five_folds=subject["value"])
session.claim(
    volume["low"] < line[1] < volume["high"] and (claims["ahead"] == 1).all() and minutes[flagship.name] < 10,
    f"""**The flagship has the accuracy of nnU-Net after {minutes[flagship.name]:.1f} minutes of training.** Its mean Dice is {volume["value"]:.3f}
on the folds by volume (95 % interval {volume["low"]:.3f} to {volume["high"]:.3f}; nnU-Net's published mean is {line[1]:.3f}) and
{subject["value"]:.3f} on the folds by subject. After five minutes it is {claims["difference"]["5"]:.3f} better than the strongest peer, after
thirty {claims["difference"]["30"]:.3f} (one seed each; the whole intervals are above zero). Trained for far longer, nnU-Net reaches the dashed line above.""",
)

# %% [markdown]
# The surface of the flagship's median case, by outcome: grey is right; cubes are wrong voxels. In Jupyter, a second picture can be rotated.

# %%
case = cohort.cases[tables.cases_by_rule(fast.values())["median"]]
mask = fast.masks[case.number]
outcome, colours = mistakes.outcomes(mask, case.label), mistakes.outcome_spec(spec)
if reason := surface.problem():
    session.say(f"No surface on this machine: {reason}")
else:
    fig = surface.figure(
        {"": outcome}, colours, case.spacing, "Errors are single voxels at the border", mistakes.blocks
    )
    session.save(fig, "surface-outcome", case=case.number)
None if headless() or reason else surface.show(mask, spec, case.spacing)

# %% [markdown]
# ## What we learned

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    three["conclusion"] == "inconclusive" and volume["low"] < line[1] < volume["high"],
    f"""**Does a third dimension help? On these crops no gain over slices is shown** ({three["low"]:+.3f} to {three["high"]:+.3f} Dice).

1. The 3D network looks along the hippocampus, far beyond the slices that the 2D network gets. In Dice this does not show.
2. A few minutes of training reach the accuracy that nnU-Net publishes after a thousand epochs.
3. Averaging over transformed copies is a small gain that needs no training. Left-right flips harm a network that was trained without them.

Larger or anisotropic scans, or more subjects (a narrower interval), could change the first answer.""",
)

# %% [markdown]
# ## Limits
#
# - 2D and 3D are compared on one fold. Training times are equal on one kind of machine; on others their ratio may differ.
# - The crops were cut around the truth (notebook 01). A 3D network sees the whole crop, so it can learn where in it the hippocampus lies.
# - A gradient at one voxel of a few volumes is a local picture of a network.
# - In the race, six of the test volumes belong to `dev`, on which the flagship was chosen; no peer had this advantage.
#
# ## Exercises
#
# **1. A layer for thick slices.** Write a 3D convolution with 1 input and 4 output channels, without bias, that keeps the shape of a volume and
# never mixes slices along the second axis.

# %% tags=["exercise"]
my_layer = None  # a torch.nn.Conv3d

# %%
if my_layer is None:
    print("not yet written")
else:
    tissue = torch.rand(1, 1, 6, 8, 6) + 0.1
    changed = tissue.clone()
    changed[:, :, :, 5] = 0
    difference = (my_layer(tissue) - my_layer(changed)).abs().sum((0, 1, 2, 4))  # by place along the second axis
    assert my_layer(tissue).shape == (1, 4, 6, 8, 6), "the shape must stay"
    assert difference[5] > 0 and difference.sum() == difference[5], "only slice 5 may change"
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_layer = torch.nn.Conv3d(1, 4, (3, 1, 3), padding=(1, 0, 1), bias=False)
# ```
#
# </details>
#
# **2. Test-time augmentation.** Write a function of a network and a volume that averages the network's output for the volume and for its flip
# along the last axis, flipped back.

# %% tags=["exercise"]
my_average = None  # your function of (network, volume)

# %%
if my_average is None:
    print("not yet written")
else:
    tissue, lopsided = torch.rand(1, 1, 4, 4, 6), torch.nn.Conv3d(1, 2, 3, padding=1)
    found = my_average(lopsided, tissue)
    assert torch.allclose(my_average(torch.nn.Identity(), tissue), tissue), "a network that copies its input"
    assert torch.allclose(my_average(lopsided, tissue.flip(-1)), found.flip(-1), atol=1e-6), "now it is symmetric"
    assert not torch.allclose(found, lopsided(tissue)), "the flip takes part"
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_average(network, volume):
#     return (network(volume) + network(volume.flip(-1)).flip(-1)) / 2
# ```
#
# Section 5 shows what this does to a network that was trained without flips.
#
# </details>
#
# ## References
#
# - Çiçek et al. 2016, 3D U-Net, [doi:10.1007/978-3-319-46723-8_49](https://doi.org/10.1007/978-3-319-46723-8_49)
# - Isensee et al. 2021, nnU-Net, [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - Luo et al. 2016, the effective receptive field, [arXiv:1701.04128](https://arxiv.org/abs/1701.04128)
# - Antonelli et al. 2022, the data, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)

# %%
session.finish()
