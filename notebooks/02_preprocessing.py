# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02. Preprocessing: what happens to a volume before a network sees it, and is it undone?
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/02_preprocessing.ipynb)
#
# **Question.** How do we turn boxes of any size, with intensities of any scale, into one network input, without
# looking at a label and without losing a voxel on the way back? And is bias field correction worth its time here?
#
# **What you will learn**
# - what z-scoring repairs, and what it leaves;
# - how to pad or crop without the label, and how to *prove* on every case that the way back is exact;
# - what changing the voxel size costs, and how slices are cut along each axis;
# - how to test a correction whose truth nobody knows: plant a known error, and see how much of it is found;
# - why N4, made for whole heads, is a switch in this project and not a step that everyone must take.
#
# **Reads:** the data set alone (HIPPOSEG_DATA, or `data/Task04_Hippocampus`, or a download, or the built-in phantom).
# **Writes:** `figures/02_*` and `facts/02_preprocessing.json`; the corrected volumes go to an ignored cache.
# **Run time:** two to three minutes on two CPU cores, nearly all of it N4; half a minute once its cache is filled.

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
from IPython.display import display

from hipposeg import stats
from hipposeg.data import grid
from hipposeg.data.n4 import N4Params, estimation_mask, n4_cohort
from hipposeg.notebook import start
from hipposeg.viz import intervals as charts
from hipposeg.viz import slices
from hipposeg.viz.style import INK, SERIES, WIDTH
from hipposeg_lab.figures import maps as pictures
from hipposeg_lab.studies import n4_effect as effect
from hipposeg_lab.studies import roundtrip
from hipposeg_lab.studies.statistics import at_ranks

session = start("02_preprocessing", profile)
spec, cases = session.spec, session.cohort.cases
SIZE = (48, 64, 48)

# %% [markdown]
# ## 1. One scale for all intensities
#
# An MR scanner has no unit, and these files come in two types (notebook 01). A network that got the stored numbers
# would first have to learn which scanner it looks at. The **z-score** gives every box the mean 0 and the standard
# deviation 1. It is computed over the whole box, so it needs no mask and no label.
#
# What would a network get without it? Three cases, those of lowest, median and highest stored median, all under one
# grey window, as one set of weights would see them; and below the same slices after z-scoring.

# %%
stored = pd.Series({n: float(np.median(case.image[0])) for n, case in cases.items()})
shown = dict(zip(("lowest", "median", "highest"), at_ranks(stored, 3), strict=True))
rows = {"as stored": [cases[n].image[0] for n in shown.values()],
        "z-scored": [grid.zscore(cases[n].image)[0] for n in shown.values()]}  # fmt: skip
fig, axes = slices.panels([[slices.plane_size(image, 0) for image in row] for row in rows.values()])
for line, (name, row) in zip(axes, rows.items(), strict=True):
    window = min(np.percentile(image, 1) for image in row), max(np.percentile(image, 99) for image in row)
    for ax, image in zip(line, row, strict=True):
        slices.overlay(ax, slices.plane(image, 0, len(image) // 2), None, spec, window=window)
    line[0].set_ylabel(name)
for ax, (rule, n) in zip(axes[0], shown.items(), strict=True):
    ax.set_title(f"{rule}: case {n:03d}, median {stored[n]:,.0f}", fontsize=9)
session.save(fig, "one-window")

# %% [markdown]
# **What we see.** Above, whatever serves the scan with the largest numbers shows nothing of the others. Below, tissue of
# one kind is about equally bright in all three. **What it does not show:** more than three cases. So take some forty,
# at even steps through the case numbers, and draw a histogram of each.

# %%
numbers = list(cases)
some = numbers[:: max(1, len(numbers) // 40)]
raw = {n: cases[n].image[0] for n in some}
scaled = {n: grid.zscore(cases[n].image)[0] for n in some}
kinds = dict(zip(sorted({case.stored_dtype for case in cases.values()}), SERIES, strict=False))
fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.5))
ends = np.geomspace(1, max(float(image.max()) for image in raw.values()), 61), np.linspace(-3, 4, 61)
for ax, images, edges in zip(axes, (raw, scaled), ends, strict=True):
    for n, image in images.items():
        share = 100 * np.histogram(image, edges)[0] / image.size
        ax.stairs(share, edges, color=kinds[cases[n].stored_dtype], alpha=0.4)
axes[0].set(xscale="log", xlabel="intensity as stored (no unit)", ylabel="share of the box's voxels (%)")
axes[1].set(xlabel="z-scored intensity (standard deviations of the box)")
axes[1].legend(handles=[plt.Line2D([], [], color=colour, label=kind) for kind, colour in kinds.items()])
session.save(fig, "zscore")
before = np.array([np.median(image[image > 0]) for image in raw.values()])
after = np.array([np.median(image) for image in scaled.values()])
ratio = float(before.max() / before.min())
session.facts(median_ratio_raw=ratio, median_low_scaled=float(after.min()), median_high_scaled=float(after.max()))
session.say(f"""Before, the median intensity of one case is up to **{ratio:,.0f} times** that of another. After, all
medians lie between {after.min():.2f} and {after.max():.2f} standard deviations.""")

# %% [markdown]
# **What we see.** On the left, no threshold and no weight could serve all cases. On the right the curves share one
# scale, and a line's colour no longer tells its place. **What it does not show:** that a tissue has the same value in
# every case. The curves differ in shape, because a box with more fluid or more white matter has another mean;
# z-scoring aligns boxes, not tissues.

# %% [markdown]
# ## 2. One grid, chosen without the truth
#
# Boxes differ in size, and a batch needs one. Each z-scored box is put in the **centre** of a grid whose sides halve
# cleanly through the levels of a U-Net. What surrounds it is filled with 0, which after z-scoring is the box's mean.
# Only the box's shape decides where it goes. The label is never asked, so the very same code runs on a scan that has
# none.
#
# Is the grid large enough? Every case, along every axis. (The networks of later notebooks take smaller boxes, which cut background off
# some cases; notebook 04 counts them.)

# %%
proof = roundtrip.prove(session.cohort, SIZE)
cropped = [cases[n].name for n in proof.index[proof.cropped]]
rooms = proof[["room_0", "room_1", "room_2"]].min()
session.facts(grid=list(SIZE), n_cropped=len(cropped), smallest_room=int(rooms.min()))
session.say(f"""Cases that would be cropped: **{len(cropped)} of {len(proof)}** {", ".join(cropped)}. The smallest room, grid minus
box, is {" x ".join(map(str, rooms))} voxels along the three axes.""")

# %% [markdown]
# Here is the grid with a small, a middling and a large box in it (the cases of smallest, median and largest number of
# voxels). The flat frame is padding.

# %%
voxels = proof[["size_0", "size_1", "size_2"]].prod(axis=1)
views = []
for rule, n in zip(("smallest", "median", "largest"), at_ranks(voxels, 3), strict=True):
    image, placement = grid.place(grid.zscore(cases[n].image), SIZE)
    title = f"{rule} box: case {n:03d}, {' x '.join(map(str, placement.native))}"
    views.append(slices.CaseView(title, image[0], {"in the grid": placement.apply(cases[n].label)}))
session.save(slices.row_of_cases(views, spec), "grid")

# %% [markdown]
# **What we see.** The box keeps its voxels; only a frame is added. **What it does not show:** that padding is free. A
# network can see where the frame begins, and so how large the box was. Box size is itself a hint about the truth
# (notebook 01), with or without a frame.

# %% [markdown]
# ## 3. The way back, proved
#
# A prediction made on the grid must return to the scan's own grid, or every millimetre measured later is wrong. "It
# looks right" is not enough. For **every** case we go there and back with the image and the label, and demand
# equality of every value. Then the label is written to a NIfTI file in the scan's geometry and read again: values,
# affine and all header fields that place a voxel in space must be equal too.

# %%
checks = proof[["image", "label", "file"]]
session.facts(n_round_trip=len(proof), n_round_trip_exact=int(checks.all(axis=1).sum()))
session.say(f"""
| check | exact in |
|---|---|
| image, every voxel | **{proof.image.sum()} of {len(proof)}** |
| label, every voxel | **{proof.label.sum()} of {len(proof)}** |
| file written and read: voxels, affine, header | **{proof.file.sum()} of {len(proof)}** |
""")
assert checks.all(axis=None) and not proof.cropped.any()

# %% [markdown]
# The last line stops the notebook if a single voxel differs. A box larger than the grid would be cropped about its
# centre, and `restore` would fill what was cut with background. That is the only way to lose anything, and no case
# here takes it.

# %% [markdown]
# ## 4. Other voxel sizes
#
# These scans share one voxel size; the next one may not. `rescale` changes the voxel size and remembers the way back:
# a larger voxel gets the mean of what it covers, as in a scanner, and the way back *interpolates* between such means.
# Neither is exact. To see the price, take the case of median size to voxels half as long again and back, its label too:
# a large voxel is foreground if at least half of it is.

# %%
n, new = at_ranks(voxels, 3)[1], (1.5, 1.5, 1.5)
image, label = grid.zscore(cases[n].image)[0], cases[n].label
trip = roundtrip.resample_and_back(cases[n], spec.names, new)
steps = {
    "original": (image, label, cases[n].spacing),
    f"{new[0]} mm": (trip.coarse, trip.coarse_label, new),
    "and back": (trip.back, trip.back_label, cases[n].spacing),
}
views = [slices.CaseView(title, volume, {"": mask}, spacing) for title, (volume, mask, spacing) in steps.items()]
session.save(slices.row_of_cases(views, spec), "resampling", n=n, new=new[0])
change = trip.back - image
limit = float(np.percentile(np.abs(change), 99.5))
view = pictures.MapView("", image, label, {"and back, minus original": change}, cases[n].spacing)
session.save(pictures.maps([view], spec, what="difference (SD)", limits=(-limit, limit)), "resampling-loss")

# %% [markdown]
# How large is the loss?

# %%
dice = ", ".join(f"**{value:.3f}** ({name})" for name, value in trip.dice.items())
session.facts(resample_mm=new[0], resample_rms_sd=trip.rms, resample_label_dice=trip.dice)
session.say(f"""The image changes by **{trip.rms:.2f} SD** (root mean square). The label, there and back, agrees with
itself by a Dice of {dice}.""")

# %% [markdown]
# **What we see.** The loss follows the borders of tissue: fine detail is gone, flat regions survive. The label's Dice
# with itself is a ceiling: no network that works on the coarse grid can be expected to pass it by much. So this
# project resamples only what has another voxel size, and never its own data. **What it does not show:** a truly
# coarser scan, which also differs in noise and contrast.

# %% [markdown]
# ## 5. Slices along each axis
#
# A 2D network sees slices. Along which axis should they be cut? `grid.slices` moves any axis to the front, as a view
# that copies nothing. The same case again, with evenly spaced slices through the labelled part:

# %%
side, rows = max(label.shape), {}
cube, marked = (grid.place(part, (side,) * 3)[0] for part in (cases[n].image[0], label))
for axis in range(3):
    ends = np.flatnonzero((marked > 0).any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]]
    places = np.linspace(*ends, 9).round().astype(int)[1:-1]  # within the label, not at its very tips
    planes = [[slices.plane(part, axis, at) for part in (cube, marked)] for at in places]
    rows[f"axis {axis}, {slices.plane_name(spec, axis)}"] = [("", *pair) for pair in planes]
session.save(pictures.strips(rows, spec), "slices", n=n)
stacks = {axis: grid.slices(label, axis) for axis in range(3)}
session.say("\n".join(
    f"- across axis {axis}: {len(stack)} slices of {' x '.join(map(str, stack.shape[1:]))} pixels, "
    f"**{100 * (stack > 0).any(axis=(1, 2)).mean():.0f} %** of them with a label; both parts in "
    f"{100 * np.mean([len(np.unique(part[part > 0])) > 1 for part in stack]):.0f} %"
    for axis, stack in stacks.items()))  # fmt: skip

# %% [markdown]
# **What we see.** Slices across the long axis cut the hippocampus into small blobs that show one part only, nearly
# always. Slices across axis 0 hold its whole length and both parts, with the border between them in view. Which axis suits a network
# is another question: the 2D networks of notebook 03 cut across axis 1 (coronal slices), and its section on slicing axes compares all three.

# %% [markdown]
# ## 6. N4: correct the bias field?
#
# The coils of a scanner brighten one part of the head more than another. This **bias field** varies slowly, over
# centimetres. N4 (Tustison et al. 2010) estimates it from the image alone: it looks for a smooth field that, divided
# out, makes the histogram sharper.
#
# Whole heads are what it was made for. A box of a few centimetres is smaller than the usual distance between the
# spline's knots, so we have to think before we call it.
#
# **Which voxels may it learn from?** The usual mask is Otsu's threshold, which separates head from air. In our boxes
# there is no air. What does it separate here? We compare it with a mask that leaves out only the darkest tenth, which
# is mostly fluid.

# %%
percentile = {n: estimation_mask(case.image[0], N4Params()) for n, case in cases.items()}
ours = effect.mask_share(session.cohort, percentile)
otsu = effect.mask_share(session.cohort, {n: effect.otsu_mask(case.image[0]) for n, case in cases.items()})
session.facts(hippocampus_in_mask=ours, hippocampus_in_otsu=otsu)
session.say(f"Share of the hippocampus inside the mask: Otsu **{100 * otsu:.0f} %**, ours **{100 * ours:.0f} %**.")

# %% [markdown]
# A mask that leaves out much of the organ would estimate the field from the tissue around it. We keep the percentile
# mask.
#
# **How flexible may the field be?** Each fitting level halves the spline's elements. More levels can follow a
# stronger field, and also the anatomy. Nobody knows the true field of these scans, so we make a truth: **plant a
# known smooth field** in an image, ask N4 for the field with and without it, and compare the difference with what was
# planted. Cases at even steps, one to three levels:

# %%
# The smoke profile, a test of this notebook on the phantom, lets N4 stop early and takes fewer cases.
params = N4Params() if profile != "smoke" else N4Params(tolerance=1e-3, iterations=20)
settings = {f"{k} level{'s' if k > 1 else ' (ours)'}": replace(params, levels=k) for k in (1, 2, 3)}
tried = numbers[:: max(1, len(numbers) // (2 if profile == "smoke" else 6))][:6]
test = effect.planted({n: cases[n] for n in tried}, settings)
panels = {
    "Planted field that is missed": ("share of its SD (%)", test.missed),
    "Field found in the original": ("brightest over darkest part (%)", test.found_range),
    "Variation in the hippocampus": ("change in the original (%)", test.cv_corrected / test.cv_original - 1),
}
points = [pd.DataFrame({"row": test.setting, "series": test.setting, "value": 100 * values, "panel": title})
          for title, (_, values) in panels.items()]  # fmt: skip
fig = charts.swarm(pd.concat(points), {title: text for title, (text, _) in panels.items()}, middle="mean")
for ax, mark in zip(fig.axes[::2], (100, 0), strict=True):
    ax.axvline(mark, color=INK, linewidth=1, linestyle="--")
session.save(fig, "planted")

# %%
found = {"missed": test.missed, "found": test.found_range, "variation_change": test.cv_corrected / test.cv_original - 1}
means = 100 * pd.DataFrame(found).groupby(test.setting, sort=False).mean()
session.facts(planted={name: row.to_dict() for name, row in means.iterrows()}, planted_cases=len(tried))
display(means.round(1).add_suffix(" (%)"))
first, last = means.iloc[0], means.iloc[-1]
session.say(f"""Over {len(tried)} cases, least of the planted field is missed with **{means.missed.idxmin()}**
({means.missed.min():.0f} %; ours {first.missed:.0f} %). In the originals, the field found grows from
**{first.found:.0f} %** with one level to **{last.found:.0f} %** with three, and the variation of intensities within the
hippocampus changes by {first.variation_change:+.1f} % and {last.variation_change:+.1f} %.""")

# %% [markdown]
# **How to read it.** A field that keeps growing with each level, while the planted one is found no more completely,
# is not a bias field: it is tissue, mistaken for one. And a correction that does its work makes a tissue *more*
# uniform, so in the right panel dots belong to the left of the dashed line. In the left panel, a dot right of that line
# is worse than no correction at all. **What it does not show:** that a real coil's field looks like the planted one, or
# that a few cases speak for all.
#
# We take one level, the most cautious setting, and run it over all cases. Each volume is computed in a process of its
# own with one thread, so that the bytes do not depend on the machine's load, and kept in a cache under a hash of its
# contents and the settings.

# %%
corrected = n4_cohort(session.cohort, params, session.ws.work / "cache" / "n4")
table = effect.effects(session.cohort, corrected)
views = []
for rule, n in zip(("weakest", "median", "strongest"), at_ranks(table.field_range, 3), strict=True):
    field = effect.field_of(cases[n].image[0], corrected[n][0])
    shown = {"field found by N4": 100 * (field / np.exp(np.nanmean(np.log(field))) - 1)}
    views.append(pictures.MapView(f"{rule} field\ncase {n:03d}", cases[n].image[0], cases[n].label, shown))
limit = max(float(np.nanpercentile(np.abs(view.maps["field found by N4"]), 99)) for view in views)
session.save(
    pictures.maps(views, spec, what="brighter or darker than the box's mean (%)", limits=(-limit, limit)), "n4-fields"
)

# %% [markdown]
# **What we see.** The field is smooth, as it has to be with one spline element, and one slice shows only a part of it.
# An eye is a poor judge of such changes. **So we count, over
# all cases:** how strong the field is, how much the z-scored image (all that a network sees) changes, and whether the
# hippocampus stands out more from its surroundings or becomes more uniform.

# %%
changes = effect.relative_changes(table, spec.names)
shown = {"range of the field (%)": 100 * table.field_range, "correlation with the original": table.correlation,
         "RMS change of the z-score (SD)": table.z_change,
         **{f"{name}, change (%)": 100 * change for name, change in changes.items()}}  # fmt: skip
fig, axes = plt.subplots(2, 3, figsize=(WIDTH, 5), sharey="row")
for ax, (name, values) in zip(axes.flat, shown.items(), strict=True):
    ax.hist(values, 30, rwidth=0.88)
    ax.axvline(values.median(), color=INK, linewidth=1.2, linestyle="--")
    ax.set(xlabel=name, title=f"median {values.median():.3g}", ylabel="cases" if ax in axes[:, 0] else "")
session.save(fig, "n4-effects")

# %% [markdown]
# Whether a difference of that size means anything is a question for intervals, with the person as the unit, since two
# volumes of a person are not independent. All changes are relative, in per cent of the value before.

# %%
found = {name: stats.interval(100 * changes[name], table.subject) for name in changes}
summary = pd.DataFrame({name: {"mean": r.value, "low": r.low, "high": r.high} for name, r in found.items()}).T
display(summary.round(2).add_suffix(" (%)"))
middle = table[["field_range", "correlation", "z_change"]].median()
session.facts(n4_changes=summary.T.to_dict(), n4_field_range_max=float(table.field_range.max()),
              **{f"n4_{name}_median": float(value) for name, value in middle.items()})  # fmt: skip

# %% [markdown]
# **The finding**, in words that follow from the numbers. A correction that did its work here would raise the contrast
# and lower the variation.

# %%
words = {
    name: "rises" if r.low > 0 else "falls" if r.high < 0 else "does not clearly change" for name, r in found.items()
}
good = sum(word == ("rises" if name == "contrast to noise" else "falls") for name, word in words.items())
conclusion = "all" if good == len(words) else "some" if good else "none"
lines = [f"{name} {words[name]} ({r.value:+.1f} %, from {r.low:+.1f} to {r.high:+.1f})" for name, r in found.items()]
session.facts(n4_does_what_it_should=conclusion)
session.say(f"""
- The field that N4 finds is **{100 * middle.field_range:.0f} %** brighter at its brightest than at its darkest
  (median over {len(table)} cases; at most {100 * table.field_range.max():.0f} %).
- Corrected and original intensities correlate at **{middle.correlation:.3f}** (median). The z-scored image, all that a
  network sees, changes by **{middle.z_change:.2f} SD** (root mean square, median).
- Mean change over cases: {"; ".join(lines)}.
- Of what a correction should do here, N4 does **{conclusion}** (by {good} of {len(words)} measures). It is off in the main
  models, and stays a switch. Whether a network gains Dice by it, only trained networks can tell: notebook 03 compares
  the model `unet2d+n4` with `unet2d` on the same folds and seeds.""")

# %% [markdown]
# **What it does not show.** Contrast and uniformity are proxies. A network could profit from a flatter image though
# both stand still, and it could suffer from a field that took away real differences. Part of what we call variation
# is anatomy: layers and vessels.

# %% [markdown]
# ## What we learned
# - Z-scoring each box puts all cases on one scale, with no mask and no label. It aligns boxes, not tissues.
# - Centred padding takes every box to this grid, and the way back is exact for every voxel, label and header. That was
#   proved, not assumed.
# - Resampling is not exact. Its price is a ceiling on Dice, so it is paid only where the voxel size demands it.
# - A correction without a known truth can still be tested: plant an error and look how much is found, and how much is
#   found unasked.
#
# ## Limitations
# - The grid fits this data set's boxes. A larger scan has to be cropped about some centre, and finding that centre is
#   a task of its own.
# - One planted field shape (a random quadratic), a handful of cases, one strength.
# - Contrast is measured against everything near the hippocampus at once, bright white matter and dark fluid alike.
# - N4's effect on Dice is measured in notebook 03, not here.
#
# ## Exercises
# 1. Set `SIZE` to a grid that crops some boxes. Which check fails first, and what does `restore` put in the lost
#    voxels?
# 2. Change `new` to voxels of another size along one axis only. How does the label's Dice with itself change?
# 3. Give `effect.planted` another `strength`. Does N4 miss a smaller share of a stronger field?
#
# ## References
# - Tustison et al., *N4ITK: improved N3 bias correction*, IEEE Transactions on Medical Imaging 2010.
#   doi:10.1109/TMI.2010.2046908
# - Sled, Zijdenbos and Evans, *A nonparametric method for automatic correction of intensity nonuniformity in MRI
#   data*, IEEE Transactions on Medical Imaging 1998. doi:10.1109/42.668698
# - Isensee et al., *nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation*, Nature
#   Methods 2021. doi:10.1038/s41592-020-01008-z
# - Antonelli et al., *The Medical Segmentation Decathlon*, Nature Communications 2022. doi:10.1038/s41467-022-30695-9

# %%
session.finish()
