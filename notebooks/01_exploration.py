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
# **Question.** What do these volumes hold, and what must an honest evaluation know about them before any network is
# trained?
#
# **What you will learn**
# - how large the boxes are, what the intensities mean, and how rare the two classes are;
# - how to look at a volume in three planes and as a surface, with the cases chosen by rule and not by taste;
# - how to find out, from nothing but the numbers, that two volumes come from one person;
# - how much of the answer a box gives away when it was cut around the truth;
# - why the folds of this project are made by person.
#
# - **Reads:** the data set alone (HIPPOSEG_DATA, or `data/Task04_Hippocampus`, or a download, or the built-in
#   phantom).
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
import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.colors import ListedColormap

from hipposeg.experiments.registry import MODELS
from hipposeg.models import atlas
from hipposeg.notebook import headless, start
from hipposeg.predict import registration
from hipposeg.viz import intervals as charts
from hipposeg.viz import slices, surface
from hipposeg.viz.style import ERROR, INK, MUTED, SERIES, WIDTH
from hipposeg_lab.figures import gallery
from hipposeg_lab.figures import pairs as pairs_of
from hipposeg_lab.studies import statistics as st

session = start("01_exploration", profile)
spec, cases = session.spec, session.cohort.cases
rng = np.random.default_rng(1)

# %% [markdown]
# ## What is the hippocampus?
#
# A curved structure of about four centimetres and three cubic centimetres, one in each temporal lobe, at the height of the ears. It turns
# experiences into memories. It shrinks with age, and early in Alzheimer's disease it shrinks faster, so its volume is measured in studies and in
# clinics. The front (**anterior**) and the back (**posterior**) part have different connections and change differently, hence two labels.
#
# An MRI scanner measures how protons relax after a radio pulse. In a **T1-weighted** scan fat and white matter are bright, grey matter is
# darker, and fluid is dark. The hippocampus is grey matter between white matter and fluid, and in front it touches another grey structure, the
# amygdala: that border is hard to see. The picture shows an average of many registered heads (MNI152) and where both hippocampi lie in it.
# All words are in the [glossary](GLOSSARY.md).

# %%
head = nibabel.load(registration.TEMPLATE / "mni152_2mm_head.nii.gz")
to_voxel = np.linalg.inv(head.affine)
corners = {
    side: np.array([nibabel.affines.apply_affine(to_voxel, mm) for mm in box])
    for side, box in registration.BOXES.items()
}
centre = np.mean([*corners["left"], *corners["right"]], axis=0).round().astype(int)
shown_at = (round(corners["left"][:, 0].mean()), centre[1], centre[2])
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, (ax, name) in enumerate(
    zip(axes, ("from the side (sagittal)", "from the front (coronal)", "from above (axial)"), strict=True)
):
    across, up = [other for other in range(3) if other != axis]
    ax.imshow(np.take(head.get_fdata(), shown_at[axis], axis).T, cmap="gray", origin="lower")
    for low, high in corners.values() if axis else [corners["left"]]:
        size = high - low
        ax.add_patch(plt.Rectangle((low[across], low[up]), size[across], size[up], fill=False, ec=ERROR, lw=1.5))
    ax.set_title(name)
    ax.axis("off")
session.save(fig, "where")

# %% [markdown]
# ## 1. What is in the files
#
# Everything below starts from one table with a row for each case: its box, its intensities, its labels. All of it
# comes from `hipposeg_lab.studies.statistics.describe`, so that what is claimed here can be computed again in one line.

# %%
table = st.describe(session.cohort)
sizes = table[[f"size_{axis}" for axis in range(3)]]
shown = ["subject", "stored_dtype", "median", "maximum", "step", *(f"volume_{name}" for name in spec.names)]
display(table[shown].head(6).round(2))

# %% [markdown]
# Before charts, the plain facts that a loader must get right: how many volumes, which voxel size, and whether the
# files know where in the head they lie.

# %%
spacings = {tuple(round(float(mm), 3) for mm in case.spacing) for case in cases.values()}
turned = sum(not np.allclose(case.affine[:3, :3], np.diag(case.spacing)) for case in cases.values())
session.facts(n_volumes=len(cases), n_subjects=int(table.subject.nunique()), size_median=sizes.median().tolist(),
              size_min=sizes.min().tolist(), size_max=sizes.max().tolist())  # fmt: skip
session.say(f"""
- **{len(cases)} labelled volumes**, channels: {", ".join(spec.channels)}; voxel sizes found (mm): {sorted(spacings)}.
- Boxes from {" x ".join(map(str, sizes.min()))} to {" x ".join(map(str, sizes.max()))} voxels, median
  {" x ".join(f"{size:.0f}" for size in sizes.median())}.
- Files whose affine holds more than the voxel size and an offset, such as a rotation or a mirrored axis: {turned}.
""")

# %% [markdown]
# The boxes differ in size, and networks want one size. How far apart are they?

# %%
fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.5), sharey=True)
for axis, (ax, (_, values)) in enumerate(zip(axes, sizes.items(), strict=True)):
    ax.hist(values, np.arange(sizes.min().min(), sizes.max().max() + 2) - 0.5, rwidth=0.88)
    ax.axvline(values.median(), color=INK, linestyle="--")
    ax.set(title=f"axis {axis} {' to '.join(filter(None, spec.axes[axis]))}", xlabel="box size (voxels)")
axes[0].set_ylabel("cases")
session.save(fig, "box-sizes")

# %% [markdown]
# **What we see.** Along each axis the boxes differ in size, so a network's input must be padded or cropped, and that
# must not look at the label (notebook 02). **What it does not show:** why the boxes differ. Section 5 asks that.
#
# Next, the intensities. An MR scanner has no unit: the same tissue may have a hundred times the value in another
# file. Each case is a line from its 1st to its 99th percentile.

# %%
ordered = table.sort_values(["median", "p99"]).reset_index()
fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
for colour, (dtype, rows) in zip(SERIES, ordered.groupby("stored_dtype"), strict=False):
    ax.vlines(rows.index, rows.p1, rows.p99, color=colour, alpha=0.55)
    ax.scatter(rows.index, rows["median"], s=7, color=colour, label=f"{dtype}: {len(rows)} cases")
ax.set(xlabel="cases, sorted by median intensity", ylabel="intensity as stored (no unit)")
ax.set_yscale("log" if ordered.p1.min() > 0 else "linear")
ax.legend(title="1st to 99th percentile, dot at the median")
session.save(fig, "intensities")
session.facts(maximum_low=float(table.maximum.min()), maximum_high=float(table.maximum.max()))
dtypes = table.stored_dtype.value_counts().sort_index()
session.say(f"""
Stored types: {", ".join(f"{name} in {count} files" for name, count in dtypes.items())}.
The brightest voxel of a case lies between {table.maximum.min():,.0f} and {table.maximum.max():,.0f}.
""")

# %% [markdown]
# **What we see.** If the lines stood at one height, intensities could be compared between cases as they are. Where
# they form steps or groups, a network must never see the raw numbers, or it learns which group a scan belongs to. So
# every image is z-scored on its own. **What it does not show:** whether z-scoring makes tissue comparable. The next
# figure looks at that.

# %% [markdown]
# ## 2. Two small classes in a lot of background
#
# How many voxels does each class have? This decides the loss (a network that answers "background" everywhere must not
# score well) and the metric (accuracy is useless here).

# %%
empty = float(table.share_background.mean())
session.facts(share_background=empty)
shares = "; ".join(f"{name} {100 * table[f'share_{name}'].mean():.1f} %" for name in spec.names)
session.say(f"""
Mean share of a box's voxels: {shares}. A prediction of nothing at all would be right in **{100 * empty:.1f} %** of the voxels. Its Dice is 0.
Background is therefore never averaged into a score of this project.
""")

# %% [markdown]
# The boxes are already tight, so in a whole-head scan the imbalance would be far worse. Now the volumes in mm³, the
# number that a clinician asks for in the end.

# %%
columns = [f"volume_{name}" for name in spec.names]
fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
edges = np.histogram_bin_edges(table[columns], 24)
for item, column in zip(spec.labels, columns, strict=True):
    left.hist(table[column], edges, color=item.colour, alpha=0.6, label=item.name)
left.set(xlabel="volume (mm³)", ylabel="cases")
left.legend()
first, last = table[columns[0]], table[columns[-1]]
right.scatter(first, last, s=12, color=INK, alpha=0.5)
right.set(xlabel=f"{spec.names[0]} (mm³)", ylabel=f"{spec.names[-1]} (mm³)", title=f"r = {first.corr(last):.2f}")
session.save(fig, "volumes")
stats = {name: (table[f"volume_{name}"].mean(), table[f"volume_{name}"].std()) for name in spec.names}
session.facts(**{f"volume_{name}": {"mean": mean, "sd": sd} for name, (mean, sd) in stats.items()})
shown = "; ".join(f"{name} **{mean:.0f} ± {sd:.0f} mm³**" for name, (mean, sd) in stats.items())
session.say(f"Mean volume and standard deviation over cases: {shown}.")

# %% [markdown]
# **What it does not show:** the two hippocampi of one person are in here as two dots. Section 4 finds them.
#
# Could a threshold do the job? After z-scoring each box, this is how bright the classes are.

# %%
edges = np.linspace(-3, 4, 141)
densities = st.class_densities(session.cohort, edges)
fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
for name, colour in [("background", MUTED), *((item.name, item.colour) for item in spec.labels)]:
    ax.stairs(densities[name], edges, color=colour, linewidth=1.8, label=name)
ax.set(xlabel="intensity, z-scored within its box (standard deviations)", ylabel="density")
ax.legend()
session.save(fig, "class-intensities")
overlap = np.minimum(densities["background"], densities[spec.names[0]]) @ np.diff(edges)
peak = int(densities[spec.names[0]].argmax())
weights = {name: densities[name][peak] * table[f"share_{name}"].mean() for name in densities}
there = weights["background"] / sum(weights.values())
session.say(f"""
The curves of background and {spec.names[0]} share **{100 * overlap:.0f} %** of their area. Where {spec.names[0]} has its peak,
**{100 * there:.0f} %** of all voxels of that intensity are background: no threshold tells them apart.
""")

# %% [markdown]
# **What we see.** The labelled parts lie on top of each other and inside the background's range: neighbouring tissue
# is as bright. A network has to use shape and place. **What it does not show:** texture and borders, which a
# histogram throws away.

# %% [markdown]
# ## 3. Looking at cases
#
# Which cases to show? A hand-picked example shows what its author likes. Here the rule is: **sort by total volume,
# take evenly spaced ranks**, so the smallest, the median and the largest are always among them. Each case is drawn
# twice, because an outline hides the very border that it claims. Look at the bare slice first, and guess.

# %%
chosen = st.at_ranks(table.volume, min(9, len(cases)))
views = [
    slices.CaseView(f"case {n:03d}: {table.volume[n]:.0f} mm³", cases[n].image[0], {"truth": cases[n].label},
                    cases[n].spacing)
    for n in chosen
]  # fmt: skip
session.save(gallery.grid(views, spec, "From the smallest to the largest volume", columns=3, bare=True), "samples")

# %% [markdown]
# **What we see.** Boxes differ in size, and the organ in tilt. It is dark against white matter and bright against
# fluid, but at its front end it borders on tissue of its own grey. Outlines follow voxel edges: what is drawn is
# exactly what is scored. **What it does not show:** how two raters would differ.
#
# Where does one part end and the other begin? In the bare slices nothing marks the place. So here are more cases,
# now by evenly spaced ranks of the first part's **share of the volume**, with outlines only, so that the tissue at the
# border stays in view.

# %%
part = spec.names[0]
share = 100 * table[f"volume_{part}"] / table.volume
chosen = st.at_ranks(share, min(20, len(cases)))
views = [
    slices.CaseView(f"case {n:03d}: {share[n]:.0f} %", cases[n].image[0], {"truth": cases[n].label}, cases[n].spacing)
    for n in chosen
]
session.save(gallery.grid(views, spec, f"By the share of the {part} part", columns=5), "montage", part=part)

# %% [markdown]
# In slice after slice the line between the parts is straight and upright, which no border of tissue is. Is it one cut
# across the long axis? Then no slice across axis 1 holds both parts.

# %%
both = pd.Series({n: st.shared_slices(case.label, 1) for n, case in cases.items()})
cut = int((both == 0).sum())
session.facts(share_first_part={"mean": share.mean(), "low": share.min(), "high": share.max()}, border_is_one_cut=cut)
session.say(f"""
In **{cut} of {len(cases)}** cases no slice across axis 1 holds both parts; in the others at most {both.max()} slices do. The
{part} part takes from {share.min():.0f} to {share.max():.0f} % of the volume, {share.mean():.0f} % on average.
""")

# %% [markdown]
# **What we see.** Raters divided the organ slice by slice, each slice across the long axis to one part. A network
# cannot find that cut at a change of grey; it has to learn where along the shape it belongs, and being off by one
# slice puts a whole slice in the wrong part. **What it does not show:** whether the share differs because people do
# or because raters do.
#
# Now one case in full: the case of median volume. The planes pass through the label's centre of mass, and dotted lines
# mark where the other two cut. The letters are A and P (front and back) and S and I (top and bottom); the files do not
# say which side is left, so no figure of this project does. If you run this notebook yourself, sliders appear below:
# move them through the volume.

# %%
extremes = dict(zip(("smallest", "median", "largest"), st.at_ranks(table.volume, 3), strict=True))
case, label = cases[extremes["median"]], cases[extremes["median"]].label
name = f"Case {case.number:03d}, of median volume"
centre = np.argwhere(label).mean(0).round().astype(int)
session.save(
    slices.three_plane(case.image[0], {"": None, "labels": label}, spec, name, centre, spacing=case.spacing),
    "three-plane",
)
if not headless():
    display(gallery.browse(case.image[0], {"truth": label}, spec, name, spacing=case.spacing))

# %% [markdown]
# How much of each part does every slice of a direction hold?

# %%
fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.3), sharey=True)
for axis, ax in enumerate(axes):
    for item in spec.labels:
        pixels = (label == item.value).sum(tuple({0, 1, 2} - {axis}))
        ax.stairs(pixels, color=item.colour, fill=True, alpha=0.5, label=item.name)
    ax.axvline(centre[axis] + 0.5, color=INK, linestyle=":")
    ax.set(xlabel=f"{slices.plane_name(spec, axis)} slice", ylabel="" if axis else "voxels with the label")
axes[0].legend()
session.save(fig, "profiles")

# %% [markdown]
# **What we see.** Across the long axis the parts follow one another; in the two other directions many slices hold
# both. Every direction has slices without any label, and a network that works on slices meets them all. **What it
# does not show:** another case.

# %% [markdown]
# Slices hide the shape. The smallest, the median and the largest case as surfaces, in one scale, seen from one
# direction. The smoothing takes off the voxel steps; it is the same for every label map in this project, truth or
# prediction.

# %%
if reason := surface.problem():
    session.say(f"**No surface here.** {reason}")
else:
    labels = {f"{rank}: case {n:03d}": cases[n].label for rank, n in extremes.items()}
    session.save(surface.figure(labels, spec, case.spacing, "Surfaces of the labels, in one scale"), "surface")
    if not headless():
        display(surface.show(label, spec, case.spacing))

# %% [markdown]
# ## 4. First finding: case numbers are pairs
#
# Each file is one hippocampus, and nothing in the files says whose. But people have two. If both are in the data set
# and a random split puts one into training and the other into scoring, the network is examined on a person that it
# has seen. So we ask the numbers.
#
# **Suspicion.** Perhaps the two hippocampi of a person have consecutive numbers. There are two ways to pair
# neighbours: (odd, odd + 1) and (even, even + 1). If numbering means nothing, both behave like random pairs.

# %%
pairs = {"odd, odd + 1": st.neighbours(cases, "odd"), "even, even + 1": st.neighbours(cases, "even")}
n_pairs = len(pairs["odd, odd + 1"])
drawn = [st.random_pairs(list(cases), n_pairs, rng) for _ in range(2000)]
chance = np.array([st.correlation(table.volume, some) for some in drawn])
# Of the random pairings, draw the one of median correlation: a rule, not a choice.
pairs["random"] = drawn[int(np.argsort(chance)[len(chance) // 2])]
observed = {name: st.correlation(table.volume, pairs[name]) for name in list(pairs)[:2]}

# %% [markdown]
# **Step 1: volume.** The two hippocampi of one head are about equally large. Strangers' are not.

# %%
colours, panels = dict(zip(pairs, (SERIES[2], SERIES[3], MUTED), strict=True)), []
for name, some in pairs.items():
    first, second = ([table.volume[pair[side]] for pair in some] for side in (0, 1))
    r = round(st.correlation(table.volume, some), 2) + 0.0  # no "-0.00"
    title = f"{name}\nr = {r:.2f}, {len(some)} pairs"
    panels.append(pairs_of.Pairs(title, first, second, colours[name], "first of the pair (mm³)", "second (mm³)"))
session.save(pairs_of.equality(panels, 3), "pairs-volume")
session.facts(n_pairs=n_pairs, r_volume_odd=observed["odd, odd + 1"], r_volume_even=observed["even, even + 1"],
              r_volume_random=float(chance.mean()))  # fmt: skip

# %% [markdown]
# Could this be chance? Pair the same cases at random many times and see how large a correlation comes out.

# %%
fig, ax = plt.subplots(figsize=(WIDTH, 2.7))
ax.hist(chance, 40, color=MUTED, alpha=0.6, label=f"{len(chance)} random pairings")
for name, r in observed.items():
    ax.axvline(r, color=colours[name], linewidth=2, label=f"{name}: {r:.2f}")
ax.set(xlabel="correlation of the two volumes of a pair", ylabel="pairings", xlim=(min(-0.6, chance.min()), 1))
ax.legend()
session.save(fig, "pairs-chance")
reached = {name: int((chance >= r).sum()) for name, r in observed.items()}
session.say("\n".join(
    f"- **{name}**: r = **{r:.2f}** in {len(pairs[name])} pairs; "
    f"{reached[name]} of {len(chance)} random pairings reach that."
    for name, r in observed.items()
))  # fmt: skip

# %% [markdown]
# **What it does not show.** Alike volumes might also come from a common scanner, site or age group. A person is one
# explanation, a batch would be another. So we need something that differs between scans of one batch.
#
# **Step 2: intensity.** Two boxes cut from one scan share its brightness and contrast, since these are set for each
# scan.
#
# **Step 3: the quantisation step.** A scanner stores integers. If whoever prepared the files multiplied each scan by
# its own factor, this factor is still there, as the gap between neighbouring intensities, and hardly two scans share
# it. It is a fingerprint. Here are the intensities that occur in the first pairs of images stored as floating point,
# each value one bar:

# %%
fingerprinted = (st.floating(table, pairs["odd, odd + 1"]) or pairs["odd, odd + 1"])[:4]
images = {n: cases[n].image[0] for pair in fingerprinted for n in pair}
start = float(np.median(np.concatenate([image.ravel() for image in images.values()])))
end = start + 10 * table.step[list(images)].max()
fig, ax = plt.subplots(figsize=(WIDTH, 0.42 * len(images) + 1))
for row, image in enumerate(images.values()):
    values = np.unique(image)
    ax.vlines(values[(values >= start) & (values <= end)], row - 0.4, row + 0.4, color=SERIES[row // 2], linewidth=2.2)
ax.set_yticks(range(len(images)), [f"case {n:03d}" for n in images])
ax.set(xlim=(start, end), xlabel="stored intensity (no unit); each value that occurs is one bar")
ax.invert_yaxis()
ax.grid(False)
session.save(fig, "barcodes")
display(table.loc[list(images), ["subject", "stored_dtype", "step", "mean", "sd"]].round(5))

# %% [markdown]
# Look whether the bars of a colour stand exactly under one another, and whether those of different colours do. A few
# pairs prove little, so now all of them: how far apart are the two cases of a pair, in volume, brightness, contrast
# and step?

# %%
columns = {"total volume": "volume", "mean intensity": "mean", "SD of intensity": "sd"}
differences = {
    name: {kind: st.ratio_difference(table[column], some) for kind, some in pairs.items()}
    for name, column in columns.items()
}
steps = {kind: st.ratio_difference(table.step, st.floating(table, some)) for kind, some in pairs.items()}
differences["intensity step\n(float images)"] = steps
points = [{"row": name, "series": kind, "value": max(value, 1e-7)} for name, kinds in differences.items()
          for kind, values in kinds.items() for value in values]  # fmt: skip
drawn = charts.swarm(
    pd.DataFrame(points), "difference between the two cases of a pair, as a share of their mean", colours
)
drawn.axes[0].set_xscale("log")
session.save(drawn, "pairs-agreement")

# %%
stored = table.stored_dtype
same_dtype = {kind: sum(stored[a] == stored[b] for a, b in some) for kind, some in pairs.items()}
rows = {
    kind: {
        "pairs": len(some),
        "r of volumes": st.correlation(table.volume, some),
        "median difference of means": np.median(differences["mean intensity"][kind]),
        "same stored type": f"{same_dtype[kind]} of {len(some)}",
        "same intensity step (to 1e-5)": f"{int((steps[kind] < 1e-5).sum())} of {len(steps[kind])}",
    }
    for kind, some in pairs.items()
}
display(pd.DataFrame(rows).T.round(3))

# %%
together, apart = steps["odd, odd + 1"], steps["even, even + 1"]
session.facts(step_same_odd=int((together < 1e-5).sum()), step_pairs_odd=len(together),
              step_same_even=int((apart < 1e-5).sum()), step_pairs_even=len(apart),
              dtype_same_odd=same_dtype["odd, odd + 1"], dtype_same_even=same_dtype["even, even + 1"])  # fmt: skip
session.say(f"""
The fingerprint agrees in **{(together < 1e-5).sum()} of {len(together)}** pairs (odd, odd + 1) and in
**{(apart < 1e-5).sum()} of {len(apart)}** pairs (even, even + 1) of float images. The stored type agrees in
{same_dtype["odd, odd + 1"]} of {n_pairs} and in {same_dtype["even, even + 1"]} of {len(pairs["even, even + 1"])}.
So the rule of this data set, `subject = (case + 1) // 2`, makes **{table.subject.nunique()} people** of {len(cases)}
volumes: {n_pairs} with both sides labelled, {table.subject.nunique() - n_pairs} with one.
""")

# %% [markdown]
# Independent signs that point the same way convince more than one strong sign: volume comes from the label,
# brightness from the image, the step from how the file was made. **What this does not show:** names or consent forms;
# it is an inference, and a test of this project repeats it on every run of the tests with the data at hand.
#
# **And left and right?** If the two sides were stored as they lie in the head, odd and even cases would be mirror
# images.

# %%
size = sizes.max().tolist()
odd, even = (st.mean_mask([cases[n].label for n in cases if n % 2 == rest], size) for rest in (1, 0))
maps = {"odd cases": odd, "even cases": even, "even, mirrored": even[::-1]}
r_same, r_flip = (float(np.corrcoef(odd.ravel(), other.ravel())[0, 1]) for other in (even, even[::-1]))
fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 4.2))
for ax, (name, mask) in zip(axes, maps.items(), strict=True):
    seen, extent = mask.sum(2) * spec.spacing[2], (0, size[0] * spec.spacing[0], 0, size[1] * spec.spacing[1])
    slices.picture(ax, seen.T, extent, cmap="magma", vmin=0, vmax=odd.sum(2).max() * spec.spacing[2])
    ax.set_title(name)
fig.colorbar(axes[0].images[0], ax=axes, label="mm of hippocampus along the line of sight", shrink=0.7)
session.save(fig, "orientation")
session.facts(r_masks_odd_even=r_same, r_masks_odd_even_mirrored=r_flip)
session.say(f"Odd against even mean mask: r = **{r_same:.3f}** as stored, **{r_flip:.3f}** with the even one mirrored.")

# %% [markdown]
# **What follows.** Whichever is higher says how the files were stored. If it is "as stored", both sides have one
# orientation: mirroring an image then makes a shape that no file has, and left-right flips are an augmentation to
# test, not a symmetry to assume.

# %% [markdown]
# ## 5. Second finding: the boxes were cut around the truth
#
# A box this tight can only be cut by someone who knows where the hippocampus is. How exactly did they know? We
# measure the margin between label and box on all six sides, and how far the label's centre is from the box's centre.

# %%
sides = table[[f"{side}_{axis}" for side in ("low", "high") for axis in range(3)]]
ends = [(axis, end) for axis in range(3) for end in ("low", "high")]
points = pd.concat([
    pd.DataFrame({"row": f"axis {axis}, {spec.axes[axis][end == 'high'] or end}", "value": sides[f"{end}_{axis}"]})
    for axis, end in ends
])  # fmt: skip
session.save(charts.swarm(points, "voxels between label and side of the box (bar: mean)", middle="mean"), "margins")
centres = table[[f"centre_{axis}" for axis in range(3)]]
session.facts(margin_mean=sides.mean().tolist(), margin_sd=sides.std().tolist(), centre_sd_mm=centres.std().tolist())
session.say(f"""
Margins vary by {sides.std().min():.1f} to {sides.std().max():.1f} voxels (SD) around their means, and the label's
centre by {centres.std().min():.1f} to {centres.std().max():.1f} mm around its mean place in the box.
So a box's size and place nearly tell the label's.
""")

# %% [markdown]
# Is that much? Let us turn it into a score. **The image-free atlas:** stretch every training label map to one box,
# average them, stretch the average to the box of a scored case, and take the most frequent class. It never reads an
# image. Its score is what the box alone gives away.
#
# First the average itself, from the training part of `grouped` fold 0, in the box that the scored atlas uses:

# %%
fold = session.folds["grouped"][0]
shape = MODELS["atlas-no-image"].prep.size
mean_map = atlas.mean_map([cases[n].label for n in fold["train"]], spec.n_classes, shape)
inside, winner = 1 - mean_map[0].numpy(), mean_map.argmax(0).numpy().astype(np.uint8)
session.save(
    slices.three_plane(inside, {"": None, "most frequent": winner}, spec, spacing=spec.spacing, crosshair=False),
    "atlas",
)

# %% [markdown]
# This is a run like any network's: it is scored by the same metrics, stored in the same tables, and it stands in the
# first row of every table of results in this project, under the name `atlas-no-image`.

# %%
result = session.run("atlas-no-image")
dice = result.rows.groupby("label").dice.mean()
colours = {item.name: item.colour for item in spec.labels} | {"mean": INK, "union": MUTED}
points = result.rows.rename(columns={"label": "series", "dice": "value"})
points = pd.concat([points[points["series"] == name].assign(row=name) for name in colours])
session.save(charts.swarm(points, "Dice of one case (bar: mean)", colours, middle="mean"), "atlas-dice")
session.facts(atlas_dice={name: float(value) for name, value in dice.items()})
session.say(f"""
Without reading one image the atlas scores a Dice of **{dice["mean"]:.3f}** (mean of the parts; union {dice["union"]:.3f}).
""")

# %%
means = result.values()
middle = st.at_ranks(means, 3)[1]
case = cases[middle]
both = {"truth": case.label, "atlas, image never read": result.masks[middle]}
title = f"Case {middle:03d}, the median of the atlas' scores: Dice {means[middle]:.3f}"
session.save(slices.three_plane(case.image[0], both, spec, title, spacing=case.spacing), "atlas-median")

# %% [markdown]
# **What follows.** A network's score counts from this floor, not from zero. And no score of this project transfers to
# a box placed by other means, such as a detector or a whole head: there the place would not give anything away.
# **What it does not show:** how much a network really uses the box; that needs shifted boxes and is a question for
# evaluation.

# %% [markdown]
# ## 6. The folds
#
# Both findings decide how we split. `grouped`, the primary split, deals people and not volumes, so a person is on one
# side only. `nnunet` is the split by volume that published numbers use, kept for comparison. `dev` lies inside the
# training people of `grouped` fold 0; every choice of architecture or training is made there, so that the scored
# folds stay unseen.

# %%
splits = {name: session.folds[name] for name in ("grouped", "nnunet", "dev")}
everyone = sorted(set(table.subject))
colours = {"in neither part": "white", "training": "#cfe3f1", "test fold": SERIES[0], "one volume in each": ERROR}
fig, axes = plt.subplots(
    len(splits), 1, figsize=(WIDTH, 5.6), sharex=True, height_ratios=[1 + len(f) for f in splits.values()]
)
for ax, (name, rows) in zip(axes, splits.items(), strict=True):
    sides = [[{table.subject[n] for n in fold[part]} for part in ("train", "scored")] for fold in rows]
    grid = [[(one in train) + 2 * (one in test) for one in everyone] for train, test in sides]
    ax.imshow(grid, cmap=ListedColormap(list(colours.values())), vmin=-0.5, vmax=3.5, aspect="auto")
    ax.set_title(f"{name}: subjects on both sides: {', '.join(str(len(train & test)) for train, test in sides)}")
    ax.set_yticks(range(len(rows)), [f"fold {fold}" for fold in range(len(rows))])
    ax.grid(False)
axes[-1].set_xlabel("subjects, in order of their case numbers")
handles = [plt.Rectangle((0, 0), 1, 1, facecolor=fill, edgecolor=MUTED, label=text) for text, fill in colours.items()]
fig.legend(handles=handles, loc="outside lower center", ncols=4)
session.save(fig, "folds")

# %%
leaks = {name: [st.siblings_in_training(fold, table.subject) for fold in rows] for name, rows in splits.items()}
scored = {name: [len(fold["scored"]) for fold in rows] for name, rows in splits.items()}
session.facts(siblings_in_training=leaks, scored=scored)
counts = {name: zip(leaks[name], scored[name], strict=True) for name in leaks}
lines = [f"- `{name}`: " + ", ".join(f"**{leak}** of {n}" for leak, n in counts[name]) for name in leaks]
session.say("\n".join(["Scored volumes whose sibling is in training:", "", *lines]))

# %% [markdown]
# **What it does not show:** what the leak is worth in Dice. That takes the same network trained with and without it, on
# folds made for the purpose: notebook 07.

# %% [markdown]
# ## What we learned
# - Intensities have no common scale, and the classes are rare and as bright as their surroundings: z-score each case,
#   use a loss and a metric that background cannot flatter.
# - Consecutive case numbers are to be checked for people before anything is split. Volumes, brightness, stored type
#   and quantisation step are four independent checks, each a few lines long.
# - A box that was cut around the truth is part of the answer. The image-free atlas measures how much; it is the floor
#   of every table.
#
# ## Limitations
# - That a pair is one person is inferred from the numbers; the data set does not say so.
# - The labels are taken as the truth; nothing here tells how reproducible a rater is.
# - Slices shown are those with most labelled voxels, which flatters: borders at the two ends are harder.
#
# ## Exercises
# 1. Show nine cases by *step* instead of volume: change the first argument of `st.at_ranks(table.volume, ...)` in
#    section 3. Can you tell from the pictures what sorted them?
# 2. Pair cases two numbers apart by hand and pass them to `st.correlation(table.volume, ...)`. What do you expect,
#    and what comes out?
# 3. Give `atlas.mean_map` another `shape`, and score `atlas.from_box` with it. Does the floor depend on it?
#
# ## References
# - Antonelli et al., *The Medical Segmentation Decathlon*, Nature Communications 2022. doi:10.1038/s41467-022-30695-9
# - Simpson et al., *A large annotated medical image dataset for the development and evaluation of segmentation
#   algorithms*, 2019. doi:10.48550/arXiv.1902.09063
# - Isensee et al., *nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation*, Nature
#   Methods 2021. doi:10.1038/s41592-020-01008-z
# - Kapoor and Narayanan, *Leakage and the reproducibility crisis in machine-learning-based science*, Patterns 2023.
#   doi:10.1016/j.patter.2023.100804

# %%
session.finish(session.ws.folds)
