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
# # 00. Quickstart: segment a hippocampus in a hundred lines
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/00_quickstart.ipynb)
#
# **Question.** What does it take to segment the hippocampus with a network? Everything is typed out here: reading, the U-Net, the loss, the
# training loop, the Dice score and a picture. The project's `session` only finds the data, saves figures and records results.
#
# **What you will learn**
# - how to read an MRI scan and its label map;
# - what a network computes, what a loss and a gradient are, and how a U-Net is built;
# - how a training loop works, and how to score its result on subjects that the network never saw.
#
# Python with numpy is enough; no knowledge of MRI or of networks is needed. Words such as *voxel* and *Dice* are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the data set.
# - **Writes:** `figures/00_*`, `facts/00_quickstart.json`.
# - **Run time:** a minute and a half on two CPU cores; training takes one minute.

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
import nibabel as nib
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from hipposeg.notebook import start

session = start("00_quickstart", profile)
folder = session.cohort.folder
torch.manual_seed(0)

# %% [markdown]
# ## 1. One scan
#
# The hippocampus is a part of the brain of about four centimetres, one on each side, deep in the temporal lobe. It is needed to form
# memories, and it shrinks early in Alzheimer's disease, so its volume is measured in MRI scans. The data set is Task04 of the
# [Medical Segmentation Decathlon](http://medicaldecathlon.com), which `make data` downloads: 260 small crops around one hippocampus in the folder
# `imagesTr`, and for each a label map drawn by experts in `labelsTr`. 0 is background, 1 the anterior part, 2 the posterior part.

# %%
files = sorted(path for path in (folder / "imagesTr").glob("*.nii.gz") if not path.name.startswith("."))
scan = nib.load(files[0])
label = nib.load(folder / "labelsTr" / files[0].name)
image, truth = scan.get_fdata(dtype=np.float32), np.asarray(label.dataobj)
print(len(files), "scans; the first:", files[0].name)
print("shape", image.shape, "voxel size in mm", np.array(scan.header.get_zooms()), "labels", np.unique(truth))

# %% [markdown]
# A slice through the middle, seen from the front (*coronal*), without and with the experts' outlines. Bright is tissue, dark is fluid: the scan
# is T1-weighted.


# %%
def show(axes, image, *masks):
    """Draw the middle coronal slice, and each mask's outlines beside it."""
    middle = image.shape[1] // 2
    for ax, mask in zip(axes, (None, *masks)):
        ax.imshow(image[:, middle].T, cmap="gray", origin="lower")
        for value, color in ((1, "#E69F00"), (2, "#56B4E9")) if mask is not None else ():
            ax.contour((mask == value)[:, middle].T, [0.5], colors=color)
        ax.axis("off")


fig, axes = plt.subplots(1, 2, figsize=(6, 3))
show(axes, image, truth)
session.save(fig, "one-scan")

# %% [markdown]
# ## 2. All scans as tensors
#
# MRI intensities have no unit, so each scan is scaled to mean 0 and standard deviation 1. Crops differ in size; all are padded to one size whose sides
# the network can halve. A **tensor** is PyTorch's array. Networks take several scans at once and several images of each, so two axes come first:
# scan and channel. These scans have one channel.
#
# **Split by subject.** An odd case number and the next one belong to one person (notebook 01 shows the evidence). If one of them is in the
# training set, the other is no fair test. So every fifth subject is held out, with all of its scans.

# %%
SIZE = (48, 64, 48)


def load(path):
    """A scan and its label map, padded to SIZE: (1, X, Y, Z) float and (X, Y, Z) integers."""
    image = nib.load(path).get_fdata(dtype=np.float32)
    truth = np.asarray(nib.load(folder / "labelsTr" / path.name).dataobj).astype(np.int64)
    pad = [((size - side) // 2, size - side - (size - side) // 2) for size, side in zip(SIZE, image.shape)]
    image = np.pad((image - image.mean()) / image.std(), pad)
    return torch.from_numpy(image)[None], torch.from_numpy(np.pad(truth, pad))


images, truths = map(torch.stack, zip(*map(load, files)))
subjects = np.array([(int(path.name.split("_")[1].split(".")[0]) + 1) // 2 for path in files])
test = subjects % 5 == 0
print("images", tuple(images.shape), "labels", tuple(truths.shape))
print("scans for training", (~test).sum(), "for testing", test.sum())

# %% [markdown]
# ## 3. From a convolution to a U-Net
#
# A network is a function with many adjustable numbers, its **weights**. This one maps a scan to three numbers for each voxel, one for each class; the
# class with the largest number is the prediction. Training changes the weights until predictions match the labels.
#
# Its main operation is the **convolution**: each output voxel is a weighted sum of the 3 x 3 x 3 voxels around it, with the same 27 weights
# everywhere. Other weights find other things: edges, bright spots, smooth tissue. With equal weights it is a mean over the neighbourhood. Here is
# one voxel by hand, and the same by PyTorch; `padding=1` adds a border of zeros, so the size stays.

# %%
small, kernel = images[:1, :, 10:20, 10:20, 10:20], torch.full((1, 1, 3, 3, 3), 1 / 27)
smooth = F.conv3d(small, kernel, padding=1)
by_hand = (small[0, 0, 3:6, 3:6, 3:6] * kernel[0, 0]).sum()
print(tuple(small.shape), "->", tuple(smooth.shape))
print(f"voxel (4, 4, 4): {by_hand:.4f} by hand, {smooth[0, 0, 4, 4, 4]:.4f} by PyTorch")

# %% [markdown]
# A layer has many such kernels. Each sums over all images of its input and makes one image of the output, a **channel**. Two more steps follow. *Instance normalisation* scales each channel
# to mean 0 and standard deviation 1, which keeps training stable. *LeakyReLU* keeps positive values and shrinks negative ones to a hundredth;
# without such a non-linearity, two convolutions in a row could do no more than one.
#
# A U-Net first halves the resolution step by step, so that each voxel sees a larger part of the image (the encoder), and then doubles it again
# (the decoder). Halving (`max_pool3d`) takes the largest of 2 x 2 x 2 voxels; a *transposed convolution* learns how to double. At each resolution
# the decoder also receives what the encoder had there (skip connections), or fine borders would be lost. `forward` is what `network(x)` computes.


# %%
def block(inputs, outputs):
    """Two convolutions, each normalised and followed by a non-linearity."""
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv3d(channels, outputs, 3, padding=1), nn.InstanceNorm3d(outputs, affine=True), nn.LeakyReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Three resolutions; one output channel for each class."""

    def __init__(self, widths=(8, 16, 32), classes=3):
        super().__init__()
        # Down 1 -> 8 -> 16 -> 32 channels, up 32 -> 16 -> 8; `merge` reads the upsampled features and the skip connection.
        self.down = nn.ModuleList(block(a, b) for a, b in zip((1, *widths), widths))
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in zip(widths, widths[1:]))
        self.merge = nn.ModuleList(block(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv3d(widths[0], classes, 1)

    def forward(self, x):
        skips = []
        for level, stage in enumerate(self.down):
            x = stage(x if level == 0 else F.max_pool3d(x, 2))
            skips.append(x)
        for level in reversed(range(len(self.up))):  # from the lowest resolution up
            x = torch.cat([self.up[level](x), skips[level]], dim=1)
            x = self.merge[level](x)
        return self.head(x)


# %% [markdown]
# The weights start at random. A scan on its way through: the first stage keeps the sides and makes 8 channels; each later stage halves the
# sides and doubles the channels.

# %%
network = UNet()
print(sum(weight.numel() for weight in network.parameters()), "weights")
x = images[:1]
print("input", tuple(x.shape), "(scan, channel, X, Y, Z)")
for level, stage in enumerate(network.down):
    x = stage(x if level == 0 else F.max_pool3d(x, 2))
    print("encoder", level, tuple(x.shape))
print("output", tuple(network(images[:1]).shape), "one channel for each class")

# %% [markdown]
# ## 4. Loss and training
#
# The three numbers of a voxel are called **logits**. The *softmax* turns them into probabilities that add up to 1. The **loss** is the number that
# training lowers. *Cross-entropy* is minus the logarithm of the probability of the true class: 0 if the network is sure and right, large if it is
# sure and wrong.
#
# How does training know which way to change a weight? PyTorch records how the loss was computed. `backward` uses the record to compute the
# derivative of the loss with respect to each weight, the **gradient**. A step moves each weight a little against it; how far is the **learning
# rate**. Here with one voxel, and with one weight whose loss is smallest at 1:

# %%
logits, true_class = torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0])
probability = logits.softmax(1)
print("probabilities", probability.numpy().round(2))
print(f"cross-entropy {F.cross_entropy(logits, true_class):.3f}, by hand {-probability[0, 0].log():.3f}")
weight = torch.tensor(3.0, requires_grad=True)
for _ in range(4):
    loss = (weight - 1) ** 2
    loss.backward()
    print(f"weight {weight.item():.2f} loss {loss.item():.2f} gradient {weight.grad.item():.2f}")
    with torch.no_grad():  # the step itself is not recorded
        weight -= 0.2 * weight.grad
    weight.grad = None  # or the next gradient is added to this one

# %% [markdown]
# Cross-entropy scores each voxel alone. The hippocampus fills a few percent of a crop, so the **soft Dice loss** is added. Dice is twice the
# overlap of two masks over the sum of their sizes; the loss is 1 minus Dice, computed with probabilities instead of a mask. Small and large structures
# count equally. Its target has one map of 0 and 1 for each class (`one_hot`).
#
# The loop takes a scan at random, predicts, computes the loss, and steps. AdamW is a rule for steps that adapts the learning rate to each weight;
# the schedule lets the rate rise and fall once. At first the loss is near 2: guessing costs a cross-entropy of ln 3, and a soft Dice loss near 1. On a GPU, add `.to("cuda")` to the network, the images and the truths; nothing else changes.


# %%
def loss_of(logits, truth):
    """Cross-entropy plus one minus the mean soft Dice of both parts."""
    probability = logits.softmax(1)
    target = F.one_hot(truth, 3).movedim(-1, 1).float()
    both = (probability * target).sum((0, 2, 3, 4))  # over all axes but the class
    sizes = (probability + target).sum((0, 2, 3, 4))
    return F.cross_entropy(logits, truth) + 1 - (2 * both / sizes)[1:].mean()


steps, batch = (10 if session.ws.profile == "smoke" else 200), 1
optimiser = torch.optim.AdamW(network.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=steps)
training = torch.from_numpy(np.flatnonzero(~test))
losses = []
for _ in range(steps):
    chosen = training[torch.randperm(len(training))[:batch]]
    loss = loss_of(network(images[chosen]), truths[chosen])
    optimiser.zero_grad()  # forget the gradients of the last step
    loss.backward()
    optimiser.step()
    schedule.step()  # the next learning rate
    losses.append(loss.item())
print("loss", round(losses[0], 2), "->", round(np.mean(losses[-10:]), 2))

# %% [markdown]
# ## 5. Dice on subjects that the network never saw
#
# A Dice of 1 is a perfect match, 0 is no overlap at all. Each voxel gets the class with the largest logit
# (`argmax`); `no_grad` turns the recording off, which saves memory.


# %%
def dice(a, b):
    """Dice of two boolean masks."""
    return 2 * (a & b).sum() / (a.sum() + b.sum())


network.eval()
with torch.no_grad():
    predicted = torch.cat([network(images[[case]]).argmax(1) for case in np.flatnonzero(test)]).numpy()
scores = np.array([[dice(p == part, t == part) for part in (1, 2)] for p, t in zip(predicted, truths[test].numpy())])
session.say(f"""Mean Dice on {len(scores)} volumes of {len(set(subjects[test]))} unseen subjects: **{scores.mean():.2f}** (anterior
{scores[:, 0].mean():.2f}, posterior {scores[:, 1].mean():.2f}).""")
session.facts(dice=float(scores.mean()), volumes=len(scores))

# %% [markdown]
# The case in the middle of the ranking: the scan, the experts' outline, and the network's.

# %%
median = int(np.argsort(scores.mean(axis=1))[len(scores) // 2])
fig, axes = plt.subplots(1, 3, figsize=(9, 3))
show(axes, images[test][median, 0].numpy(), truths[test][median].numpy(), predicted[median])
for ax, title in zip(axes, ("scan", "expert", "network")):
    ax.set_title(title)
session.save(fig, "median-case")

# %% [markdown]
# ## 6. Keep the network
#
# A trained network is its code and its weights. The weights go into a file; a new network with the same code loads them and predicts the same.

# %%
path = session.ws.work / "quickstart.safetensors"
path.parent.mkdir(parents=True, exist_ok=True)
save_file(network.state_dict(), path)
again = UNet().eval()
again.load_state_dict(load_file(path))
with torch.no_grad():
    print("the same prediction:", torch.equal(again(images[:1]), network(images[:1])))

# %% [markdown]
# ## What we learned
#
# A network of fewer than a hundred thousand weights finds the hippocampus after a minute of training. What it takes to get the rest, and how to know
# that it is right, is the subject of the other notebooks:
#
# | question | notebook |
# |---|---|
# | What is in the data, and why must the split be by subject? | [01](01_exploration.ipynb) |
# | Which preprocessing helps? | [02](02_preprocessing.ipynb) |
# | How far does a 2D network get, and which loss, optimiser and augmentation matter? | [03](03_unet2d_baseline.ipynb) |
# | Does 3D help, and how does nnU-Net's accuracy fit into minutes? | [04](04_unet3d.ipynb) |
# | Does attention help? | [05](05_attention_unet.ipynb) |
# | Does language help? | [06](06_clip_guided.ipynb) |
# | Which measure, which interval, which errors? | [07](07_evaluation.ipynb) |
# | How do I segment my own scan? | [08](08_your_own_scan.ipynb) |
#
# ## Limits
#
# One split, one seed, no augmentation, a schedule that nobody tuned, and a score without an interval. This is a demonstration and not yet a measurement.
#
# ## Exercises
#
# **1. Another score.** The intersection over union (IoU) of two masks is their overlap over the part that either of them covers. Write `my_iou`.

# %% tags=["exercise"]
my_iou = None  # your function: two boolean masks -> number

# %%
if my_iou is not None:
    a, b = np.array([0, 1, 1, 1, 0, 0], bool), np.array([0, 0, 1, 1, 1, 1], bool)
    assert my_iou(a, b) == 2 / 5, f"two of five voxels are in both; found {my_iou(a, b)}"
    assert my_iou(a, a) == 1 and my_iou(a, ~a) == 0
    print("right; from it follows Dice = 2 IoU / (1 + IoU)")
else:
    print("exercise 1 is not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_iou(a, b):
#     return (a & b).sum() / (a | b).sum()
# ```
#
# </details>
#
# **2. A layer.** The U-Net above halves the resolution by a maximum over two voxels along each axis. Write `my_down`, a layer that learns how to halve it:
# a convolution with a **stride** of 2, which computes every second voxel, then the same normalisation and non-linearity as in `block`.

# %% tags=["exercise"]
my_down = None  # your function: number of input channels, number of output channels -> nn.Module

# %%
if my_down is not None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 16, 24, 16, requires_grad=True)
    y = my_down(8, 16)(x)
    assert y.shape == (2, 16, 8, 12, 8), f"half the resolution and 16 channels are meant; found {tuple(y.shape)}"
    assert y.mean().abs() < 1 and y.min() < 0, "normalise, then apply LeakyReLU"
    y.pow(2).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0, "the gradient must reach the input"
    print("right:", tuple(x.shape), "->", tuple(y.shape))
else:
    print("exercise 2 is not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_down(inputs, outputs):
#     convolution = nn.Conv3d(inputs, outputs, 3, stride=2, padding=1)
#     return nn.Sequential(convolution, nn.InstanceNorm3d(outputs, affine=True), nn.LeakyReLU())
# ```
#
# </details>
#
# To go on: use your layer in `UNet.forward` in place of the maximum, train twice as long, or remove the skip connections (`torch.cat` with
# zeros). Which of them changes the Dice most?
#
# ## References
#
# Ronneberger et al. 2015, U-Net (arXiv:1505.04597); Milletari et al. 2016, soft Dice loss (arXiv:1606.04797); Antonelli et al. 2022, the
# Medical Segmentation Decathlon (doi:10.1038/s41467-022-30695-9).

# %%
session.finish()
