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
# Only on Colab: install the package.
import sys

if "google.colab" in sys.modules:
    import subprocess

    package = "hipposeg[notebooks] @ git+https://github.com/hipposeg/hipposeg"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)

# %% tags=["parameters"]
profile = "standard"

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import display

from hipposeg import stats
from hipposeg.data import grid
from hipposeg.data.n4 import N4Params, estimation_mask, n4_cohort
from hipposeg.notebook import start
from hipposeg_lab.figures import preprocessing
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
views = {}
for rule, n in zip(("lowest", "median", "highest"), at_ranks(stored, 3), strict=True):
    views[f"{rule}: case {n:03d}, median {stored[n]:,.0f}"] = (cases[n].image[0], grid.zscore(cases[n].image)[0])
session.save(
    preprocessing.one_window(views, spec), "one-window",
    "Cases of lowest, median and highest stored median, in the middle sagittal slice. Above: as stored, one grey window "
    "for all. Below: z-scored, again one window for all.",
    "Two rows of three sagittal slices; above all but the brightest scan are black, below all three show the same tissue.",
    "png",
)  # fmt: skip

# %% [markdown]
# **What we see.** Above, whatever serves the scan with the largest numbers shows nothing of the others. Below, tissue of
# one kind is about equally bright in all three. **What it does not show:** more than three cases. So take some forty,
# at even steps through the case numbers, and draw a histogram of each.

# %%
numbers = list(cases)
some = numbers[:: max(1, len(numbers) // 40)]
raw = {n: cases[n].image[0] for n in some}
scaled = {n: grid.zscore(cases[n].image)[0] for n in some}
session.save(
    preprocessing.intensity_curves(raw, scaled, {n: cases[n].stored_dtype for n in some}), "zscore",
    "Histograms of intensity, a line for each case, coloured by the file's stored type: as stored, and z-scored.",
    "Left, histograms spread over several powers of ten; right, the same cases z-scored, lying on top of each other.",
)  # fmt: skip
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
session.save(
    preprocessing.room(proof, SIZE, spec), "room",
    f"Box sizes along each axis (area: number of cases) and the grid of {' x '.join(map(str, SIZE))} voxels.",
    "Three rows of bubbles, one for each axis, all to the left of a bar that marks the grid's side.",
)  # fmt: skip
cropped = [cases[n].name for n in proof.index[proof.cropped]]
rooms = proof[["room_0", "room_1", "room_2"]].min()
session.facts(grid=list(SIZE), n_cropped=len(cropped), smallest_room=int(rooms.min()))
session.say(f"Cases that would be cropped: **{len(cropped)} of {len(proof)}** {', '.join(cropped)}")

# %% [markdown]
# Here is the grid with a small, a middling and a large box in it (the cases of smallest, median and largest number of
# voxels). The hatched part is padding.

# %%
voxels = proof[["size_0", "size_1", "size_2"]].prod(axis=1)
views = {}
for rule, n in zip(("smallest", "median", "largest"), at_ranks(voxels, 3), strict=True):
    image, placement = grid.place(grid.zscore(cases[n].image), SIZE)
    title = f"{rule} box: case {n:03d}, {' x '.join(map(str, placement.native))}"
    views[title] = (image[0], placement.apply(cases[n].label), placement.inside_grid)
session.save(
    preprocessing.placed(views, spec), "grid",
    "The smallest, median and largest box in the grid: the slice with most labelled voxels. Hatched: padding.",
    "Three sagittal slices framed by hatched padding, with the two labelled parts drawn over them.", "png",
)  # fmt: skip

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
session.save(
    preprocessing.resampled(steps, trip.back - image, spec), "resampling",
    f"Case {n:03d} as it is, with voxels of {new[0]} mm, and back again; on the right what the image lost.",
    "Sagittal slices: original, coarse, restored, and a map of differences along the edges of tissue.", "png",
)  # fmt: skip

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
session.save(
    preprocessing.along_axes(cases[n].image[0], label, spec), "slices",
    f"Case {n:03d} cut across each of its axes: evenly spaced slices through the labelled part, all in one scale.",
    "Three rows of slices, one for each cutting direction, with the two labelled parts drawn over the tissue.", "png",
)  # fmt: skip
stacks = {axis: grid.slices(label, axis) for axis in range(3)}
session.say("\n".join(
    f"- across axis {axis}: {len(stack)} slices of {' x '.join(map(str, stack.shape[1:]))} pixels, "
    f"**{100 * (stack > 0).any(axis=(1, 2)).mean():.0f} %** of them with a label; both parts in "
    f"{100 * np.mean([len(np.unique(part[part > 0])) > 1 for part in stack]):.0f} %"
    for axis, stack in stacks.items()))  # fmt: skip

# %% [markdown]
# **What we see.** Slices across the long axis cut the hippocampus into small blobs that show one part only, nearly
# always. Slices across axis 0 hold its whole length and both parts, with the border between them in view. That is why
# the 2D networks of notebook 03 cut there. **What it does not show:** Dice. Each axis sees less than the volume does.

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
session.save(
    preprocessing.n4_planted(test), "planted",
    "N4 with one to three fitting levels; a dot is a case, the bar their mean. Left: the share of a planted field "
    "that it misses. Middle: the field that it finds in the original. Right: change of the variation in the hippocampus.",
    "Three panels of dots with rows for one, two and three levels.",
)  # fmt: skip

# %%
means = 100 * effect.planted_means(test)
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
examples = {
    f"{rule} field\ncase {n:03d}": (cases[n].image[0], corrected[n][0], cases[n].label)
    for rule, n in zip(("weakest", "median", "strongest"), at_ranks(table.field_range, 3), strict=True)
}
session.save(
    preprocessing.n4_fields(examples, spec), "n4-fields",
    "The cases in which N4 finds the weakest, median and strongest field: as stored, corrected, and the field itself.",
    "Three rows of a slice before and after N4, and a smooth map of the field in orange and purple.", "png",
)  # fmt: skip

# %% [markdown]
# **What we see.** The field is smooth, as it has to be with one spline element, and one slice shows only a part of it.
# Before and after are hard to tell apart in most cases, and an eye is a poor judge of such changes. **So we count, over
# all cases:** how strong the field is, how much the z-scored image (all that a network sees) changes, and whether the
# hippocampus stands out more from its surroundings or becomes more uniform.

# %%
changes = effect.relative_changes(table, spec.names)
session.save(
    preprocessing.n4_effects(table, changes), "n4-effects",
    "N4 over all cases. Above, dashed at the median: range of the field, correlation with the original, change of the "
    "z-scored image. Below, dashed at no change: contrast to noise, and coefficient of variation in each part.",
    "Six histograms over cases; those below spread closely around zero.",
)  # fmt: skip

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
# - N4's effect on Dice is not measured here.
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
