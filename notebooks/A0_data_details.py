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
# # A0. Appendix to 01: what else the files reveal
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/A0_data_details.ipynb)
#
# **Question.** Notebook [01](01_exploration.ipynb) infers from volumes that two cases are one subject. Do the images agree? And which side of the
# head is a case from, and how did the experts draw the border between the two parts? In short: yes where it can be checked; the side is unknown; the
# border is mostly one flat cut.
#
# **What you will learn**
# - how a scan's stored numbers can identify it, even after they were rescaled;
# - how to test whether data have been mirrored;
# - why the border between anterior and posterior part is hard for every network.
#
# Needs notebook [01](01_exploration.ipynb). Words are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the data set.
# - **Writes:** `figures/A0_*`, `facts/A0_data_details.json`.
# - **Run time:** half a minute.

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
import pandas as pd
from IPython.display import display

from hipposeg.data import grid
from hipposeg.notebook import start
from hipposeg.viz import slices, style
from hipposeg_lab.figures import gallery

session = start("A0_data_details", profile)
spec, cases = session.spec, session.cohort.cases

# %% [markdown]
# ## 1. A fingerprint in the intensities
#
# Similar volumes might also come from a common age group or site. So we need something that differs between scans of one scanner. A scanner stores
# integers. Whoever prepared the files multiplied many scans by a factor of their own, and the factor is still there: it is the **gap** between
# neighbouring intensities. Two crops of one scan must have the same gap.

# %%
rows = {}
for n, case in cases.items():
    image = case.image[0].astype(np.float64)
    gaps = np.diff(np.unique(image))
    rows[n] = {"gap": np.median(gaps), "mean intensity": image.mean(), "SD of intensity": image.std()}
    rows[n] |= {"volume": (case.label > 0).sum(), "type": case.stored_dtype}
    if n in (3, 4):
        print(f"case {n:03d}, {case.stored_dtype}: the first of {len(gaps)} gaps", gaps[:6].round(4))
table = pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# A gap is a whole number of steps, mostly one, so the median gap is the step. Files of the type uint8 hold integers, whose step is 1. In the
# others it differs, and it repeats from an odd case number to the next. Each intensity
# that occurs is one bar below. The colours are pairs of an odd case number and the next.

# %%
odd = [(n, n + 1) for n in cases if n % 2 == 1 and n + 1 in cases]
even = [(n, n + 1) for n in cases if n % 2 == 0 and n + 1 in cases]
fractions = table["type"].str.startswith("float")
shown = [n for pair in odd if fractions.loc[list(pair)].all() for n in pair][:8]
begin = np.median([np.median(cases[n].image) for n in shown])
end = begin + 10 * table["gap"].loc[shown].max()
fig, ax = plt.subplots(figsize=(style.WIDTH, 3.8))
for row, n in enumerate(shown):
    values = np.unique(cases[n].image)
    values = values[(begin <= values) & (values <= end)]
    ax.vlines(values, row - 0.4, row + 0.4, color=style.SERIES[row // 2], linewidth=2.2)
ax.set_yticks(range(len(shown)), [f"case {n:03d}" for n in shown])
ax.set(xlim=(begin, end), xlabel="stored intensity (no unit)", title="Both cases of a pair have the same bar code")
ax.invert_yaxis()
ax.grid(False)
session.save(fig, "barcodes")

# %% [markdown]
# Now all pairs. How far apart are the two cases of a pair, in percent of their mean, as the median over pairs? And in how many pairs of files with
# fractions is the gap equal?


# %%
def apart(column, pairs):
    """Difference between the two cases of each pair, in percent of their mean."""
    first, second = (table[column].loc[list(side)].to_numpy(float) for side in np.transpose(pairs))
    return 200 * np.abs(first - second) / (first + second)


summary, same = {}, {}
for kind, some in {"odd": odd, "even": even}.items():
    checked = [pair for pair in some if fractions.loc[list(pair)].all()]
    same[kind] = (int((apart("gap", checked) < 1e-3).sum()), len(checked))
    medians = {column: np.median(apart(column, some)) for column in ("volume", "mean intensity", "SD of intensity")}
    types = sum(table["type"][a] == table["type"][b] for a, b in some)
    found = {"same gap": "{} of {}".format(*same[kind]), "same type": f"{types} of {len(some)}"}
    summary[f"{kind} number and the next"] = {**{name: round(value, 1) for name, value in medians.items()}, **found}
display(pd.DataFrame(summary).T)
session.facts(step_same_odd=same["odd"][0], step_pairs_odd=same["odd"][1])
session.facts(step_same_even=same["even"][0], step_pairs_even=same["even"][1])

# %% [markdown]
# **Wherever it can be checked, the gap confirms the pairs.** Volume comes from the label, brightness from the scanner, the gap from
# the preparation of the files.

# %% [markdown]
# ## 2. All crops have one orientation
#
# Left and right hippocampus are mirror images of each other. If the files stored them as they lie in the head, the mean mask of the odd cases and that of the
# even cases would be mirror images, too.

# %%
size = tuple(np.max([case.label.shape for case in cases.values()], axis=0))
placed = {n: grid.place((case.label > 0).astype(float), size)[0] for n, case in cases.items()}
first, second = (np.mean([mask for n, mask in placed.items() if n % 2 == rest], axis=0) for rest in (1, 0))
masks = {"odd cases": first, "even cases": second, "even cases, mirrored": second[::-1]}
r = {name: np.corrcoef(first.ravel(), mask.ravel())[0, 1] for name, mask in masks.items()}
fig, axes = plt.subplots(1, 3, figsize=(style.WIDTH, 4.2))
for ax, (name, mask) in zip(axes, masks.items()):
    ax.imshow(mask.sum(axis=2).T, cmap="magma", origin="lower", vmin=0, vmax=first.sum(axis=2).max())
    ax.set_title(f"{name}: r = {r[name]:.2f}", weight="normal")
    ax.axis("off")
fig.colorbar(axes[0].images[0], ax=axes, label="mm of hippocampus along the line of sight", shrink=0.7)
slices.heading(fig, "Odd and even cases agree as stored, not mirrored")
session.save(fig, "orientation")

# %% [markdown]
# **All crops have one orientation**, so whoever prepared the files mirrored one side. A left-right flip makes a shape that no file has. Whether flips
# help has to be tested (notebooks 03 and 04).

# %% [markdown]
# ## 3. The border between the parts is one flat cut
#
# Where does the anterior part end? Here are cases sorted by the fraction of the volume that is anterior, at evenly spaced ranks, with outlines only, so that the
# tissue at the border stays in view.

# %%
part = spec.names[0]
share = pd.Series({n: 100 * (case.label == 1).sum() / (case.label > 0).sum() for n, case in cases.items()})
ordered = share.sort_values(kind="stable").index
views = [
    slices.CaseView(f"case {n:03d}: {share[n]:.0f} %", cases[n].image[0], {"expert": cases[n].label})
    for n in ordered[np.linspace(0, len(ordered) - 1, 15).round().astype(int)]
]
session.save(gallery.grid(views, spec, "No visible edge marks the border", columns=5), "montage", part=part)

# %% [markdown]
# In these slices the line between the parts is nearly straight. If it is one cut across the long axis, no coronal slice (across axis 1) holds both
# parts:

# %%
both = {}
for n, case in cases.items():
    held = [np.unique(coronal[coronal > 0]) for coronal in np.moveaxis(case.label, 1, 0)]
    both[n] = sum(len(parts) > 1 for parts in held)
counts = pd.Series(both).value_counts().sort_index()
print(counts.rename("cases").rename_axis("coronal slices with both parts"))

# %% [markdown]
# **In most cases the cut lies between two slices.** A network cannot find this cut at a change of grey. It has to learn where along the shape it
# belongs, and one slice too far puts a whole slice into the wrong part.

# %% [markdown]
# ## What we learned

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    same["odd"][0] == same["odd"][1]
    and not same["even"][0]
    and r["even cases"] > 0.95
    and counts[0] > 0.7 * len(cases),
    f"""**What else do the files reveal? Which crops belong to one scan, that one side was mirrored, and that the border between the parts is a
convention.**

1. The gap between intensities identifies a scan. It is equal in {same["odd"][0]} of {same["odd"][1]} pairs that can be checked, and in
   {same["even"][0]} of {same["even"][1]} pairs of an even number and the next.
2. Both sides are stored in one orientation (r = {r["even cases"]:.2f}, mirrored {r["even cases, mirrored"]:.2f}), so flips are no free augmentation.
3. The border between the parts is one flat coronal cut in {counts[0]} of {len(cases)} cases.

The original scans with their headers could change the first two, the experts' protocol the third.""",
)

# %% [markdown]
# ## Limits
#
# - The gap can be checked only where both files of a pair store fractions; integers always have a gap of 1.
# - Whether odd cases are left or right is unknown.
# - The anterior fraction differs between cases. These data do not show whether people or experts cause that.
#
# ## Exercises
#
# **1. The fingerprint.** Write `my_step`, which returns the median gap between the different intensities of an image.

# %% tags=["exercise"]
my_step = None  # your function: array -> number

# %%
if my_step is not None:
    integers = np.random.default_rng(0).integers(0, 60, (20, 20, 20))
    assert my_step(integers) == 1
    assert np.isclose(my_step(integers * 5.958984), 5.958984), "rescaling multiplies the gap by its factor"
    print("right: the factor can be read from the image")
else:
    print("exercise 1 is not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_step(image):
#     return np.median(np.diff(np.unique(image)))
# ```
#
# </details>
#
# **2. Mirrored or not?** Write `mirrored`, which returns whether a mask fits another one better after a flip along axis 0.

# %% tags=["exercise"]
mirrored = None  # your function: two boolean masks of one shape -> True or False

# %%
if mirrored is not None:
    made_up = np.random.default_rng(0).random((8, 9, 10)) < np.linspace(0, 1, 8)[:, None, None]
    noise = np.random.default_rng(1).random(made_up.shape) < 0.1
    assert not mirrored(made_up, made_up ^ noise), "this one was not mirrored"
    assert mirrored(made_up, made_up[::-1] ^ noise), "this one was"
    print("right: both are recognised")
else:
    print("exercise 2 is not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def mirrored(a, b):
#     return (a & b[::-1]).sum() > (a & b).sum()
# ```
#
# </details>
#
# ## References
#
# - Antonelli et al. 2022, the Medical Segmentation Decathlon, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)

# %%
session.finish()
