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
# # A5. Other data sets: does the tool carry over, and what do their usual splits hide?
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/A5_other_data_sets.ipynb)
#
# **Question.** Two of the student projects compared here use other data: hippocampi in JPEG slices (project D), and pelvic MRI with six
# classes (project E). Does this tool train on such sets, and what are their ways of splitting worth?
#
# **What you will learn**
# - how other labelled sets are laid out, and how one command trains on them;
# - what a random split of slices, and a split by volume, add to a score;
# - what a missing contrast costs, and what channel dropout gives back;
# - what a volume of full size costs, and how far few labels reach;
# - which errors forty malformed sets raise.
#
# **No patient appears in sections 1 to 6 and 8.** The terms of both data sets forbid shipping them, so a *stand-in* takes their place: tilted
# ellipsoids in tissue, in the same folders and formats. Its scores say nothing of patients; they show whether an effect can be seen.
#
# For readers of notebook [03](03_unet2d_baseline.ipynb); words are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the data set, and the tables of `hipposeg-lab study otherdata few`.
# - **Writes:** `figures/A5_*`, `facts/A5_other_data_sets.json`.
# - **Run time:** a minute; a network is trained for four steps.

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
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display

from hipposeg import stats
from hipposeg.anydata import commands, describe, fit
from hipposeg.notebook import start
from hipposeg.viz import intervals, slices, style
from hipposeg_lab import standin
from hipposeg_lab.studies import few, making, malformed, otherdata

session = start("A5_other_data_sets", profile)
scores, epochs, full = (making.read(session.ws, f"otherdata_{name}") for name in ("scores", "epochs", "full"))
labelled, have = making.read(session.ws, "few"), scores is not None
parts = dict(list(scores.groupby("experiment"))) if have else {}
work = session.ws.work / "A5"
shutil.rmtree(work, ignore_errors=True)


def told(row):
    return f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"


if not have:
    session.say("`hipposeg-lab study otherdata few` has not run on this data set, so sections 3 to 7 show no results.")

# %% [markdown]
# ## 1. Two layouts, and their stand-ins
#
# **Project D** ([MRI-Hippocampus-Segmentation](https://github.com/NegarMov/MRI-Hippocampus-Segmentation)) segments the hippocampus in slices of MRIHS,
# which are ADNI scans with HarP outlines, stored as JPEG. **Project E** ([PatternAnalysis-2024](https://github.com/shakes76/PatternAnalysis-2024),
# UNet3D) segments five organs in HipMRI: 38 patients, one scan a week. `hipposeg-lab standin LAYOUT DIR` writes a synthetic set in either layout, and
# two more in those of the Medical Segmentation Decathlon and nnU-Net. The first files of each set:

# %%
sets = malformed.stand_ins(work / "sets")
for layout in ("mrihs", "hipmri", "nnunet"):
    files = sorted(path.relative_to(sets[layout]).as_posix() for path in sets[layout].rglob("*") if path.is_file())
    folders = dict.fromkeys(name.rpartition("/")[0] for name in files)
    examples = [min(name for name in files if name.startswith(one)) for one in [*folders][-3:]]
    print(f"{layout}: {len(files)} files, such as", *examples, sep="\n  ")

# %% [markdown]
# Their layout defines the classes, the channels and the subject of each volume. Neither needs a configuration. `dataset.json` does not record subjects,
# so `--subjects` names a rule; without one a warning is printed.

# %%
rules = {"mrihs": "", "hipmri": "", "nnunet": r"pattern:sub-\d+", "msd": "pairs"}
rows = {}
for layout, rule in rules.items():
    found = describe.describe(sets[layout], rule).spec
    entries, people = found.entries, {entry.subject for entry in found.entries}
    rows[layout] = {
        "title": found.title,
        "cases": len(entries),
        "subjects": len(people),
        "classes": ", ".join(found.names),
        "channels": ", ".join(found.channels),
        "subject rule": found.subject_rule,
    }
display(pd.DataFrame.from_dict(rows, orient="index"))

# %% [markdown]
# Each synthetic subject has its own shapes, contrasts, texture and bias field, which its scans share up to small changes. Without these a leak
# could not exist. Both volumes below are generated here.

# %%
plans = {"project D: two hippocampi": ("mrihs", (128, 128, 64)), "project E: five classes": ("hipmri", (96, 96, 64))}
fig, axes = plt.subplots(1, 4, figsize=(style.WIDTH, 2.9))
for at, (title, (layout, size)) in enumerate(plans.items()):
    plan, known = standin.STANDINS[layout], describe.describe(sets[layout]).spec
    image, label = standin.volume(plan, size, 0, 1, 0)
    view = slices.CaseView(title, image[0], {"truth": label}, plan.spacing)
    for ax, name in zip(axes[2 * at : 2 * at + 2], (None, "truth"), strict=True):
        slices.case_panel(ax, view, name, known, axis=2)
        ax.set_title(title if name is None else "with its labels", fontsize=9)
slices.heading(fig, "Stand-ins are ellipsoids in tissue")
session.save(fig, "standins")

# %% [markdown]
# ## 2. One command
#
# `hipposeg train --data DIR --model MODEL` describes the set, fits the model's input and patch to its voxels, divides subjects into folds, trains,
# and writes tables, figures and a page. `hipposeg evaluate` scores training, validation and test cases side by side. Here the same function trains
# for four steps on the tiny set with two channels, to show what comes out; the score means nothing.

# %%
lines = []
wishes = fit.Wishes(patches=32)
out = work / "results"
(run,) = commands.train(sets["nnunet"], "unet2d", out, "case", schedule="smoke", wishes=wishes, say=lines.append)
print(*lines[:2], sep="\n")
made = [path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if path.is_file()]
print("\nfiles:", *(name for name in made if not name.startswith(".work")), sep="\n  ")
session.facts(standin_page=(out / "page.html").is_file())

# %% [markdown]
# ## 3. Project D: what does a random split of slices add?
#
# Neighbouring slices are nearly the same picture. In a random split of slices, almost every validation slice has a neighbour in training. Two
# networks are trained on stand-ins, each on six base subjects. The *leaking* one also gets four fifths of the slices of twelve validation subjects,
# drawn at random; the *clean* one gets as many slices of twelve other subjects. Both are scored on the remaining fifth. As in the project, only
# slices with hippocampus take part, and the network is its U-Net with an EfficientNet-B0 encoder, from random weights.

# %%
if have and "slices" in parts:
    found = otherdata.means(parts["slices"], "part", "variant")
    fig = intervals.dots(found.rename(columns={"part": "row", "variant": "series"}), "Dice (stand-in)")
    slices.heading(fig, "On the stand-in, neighbouring slices in training show no clear gain")
    session.save(fig, "slices")
    leak = otherdata.differences(parts["slices"], "leaking", "clean", "hippocampus")
    display(leak.round(4))

# %%
if have and "slices" in parts:
    seen, new = leak.loc["validation"], leak.loc["test"]
    clean = found[found["variant"] == "clean"].set_index("part")["value"]
    dropped = clean["test"] - clean["test, every slice"]
    session.claim(
        seen["conclusion"] == new["conclusion"] == "inconclusive" and dropped > 0.05,
        f"""**On this stand-in the leak is inconclusive:** other slices of the validation subjects change their Dice by {told(seen)}; on test
subjects, whom
neither network saw, the two differ by {told(new)}. Ellipsoids may be too easy: the clean network has {clean["training"]:.3f} in training,
{clean["validation"]:.3f} in validation and {clean["test"]:.3f} in test. On real hippocampi the same leak counts ([A4](A4_trust.ipynb)). **Another habit of
the project does show:** it scores only slices that hold hippocampus by the truth. With every slice of the test volumes, as a user has them, Dice is
{clean["test, every slice"]:.3f}.""",
    )
    session.facts(slices_leak=seen["difference"])

# %% [markdown]
# ## 4. Project E: what does a split by volume add?
#
# A patient of HipMRI has up to eight scans. In a random split of volumes, nearly every test scan has its patient in training. The *leaking* network
# is trained on another week of the twelve scored patients, the *clean* one on a week of twelve other patients; ten base patients are the same.
# The network is the project's residual 3D U-Net with cross-entropy, trained by this project's optimiser, which needs fewer steps. After each epoch
# it is scored on two validation patients, and training ends when every class reaches the Dice that the project chose, or after eight epochs.

# %%
if have and "volumes" in parts:
    shown = epochs[epochs["unit"].eq("volumes clean 0") & epochs["label"].ne("mean")]
    fig, ax = plt.subplots(figsize=(style.WIDTH, 3.2))
    for index, (name, group) in enumerate(shown.groupby("label", sort=False)):
        ax.plot(group["epoch"], group["dice"], label=name, marker="o", **style.line_style(index))
    ax.axhline(fit.PROJECT_E.training("standard").stop, color=style.MUTED, linestyle=":")
    ax.set(xlabel="epoch", ylabel="Dice, validation patients (stand-in)", ylim=(0, 1))
    ax.legend(loc="lower right", ncols=3)
    slices.heading(fig, "Classes are learned one after the other")
    session.save(fig, "epochs")

# %% [markdown]
# The same networks on scans of the scored patients, whose other week one of them saw, and on patients whom neither saw:

# %%
if have and "volumes" in parts:
    leak = otherdata.differences(parts["volumes"], "leaking", "clean")
    fig = intervals.forest(leak, stats.EQUIVALENCE_MARGIN, "mean Dice, leaking minus clean training", sort=False)
    slices.heading(fig, "The gain from another week of a patient is unclear")
    session.save(fig, "volumes")
    stopped = epochs[epochs["unit"].str.startswith("volumes")].groupby("unit")["epoch"].max()
    last = epochs[epochs["unit"].isin(stopped.index) & (epochs["epoch"] == epochs["unit"].map(stopped))]

# %%
if have and "volumes" in parts:
    seen, new = leak.loc["scored patients"], leak.loc["new patients"]
    session.claim(
        seen["conclusion"] == new["conclusion"] == "inconclusive"
        and (stopped == otherdata.EPOCHS_E).all()
        and last.groupby("unit")["dice"].min().max() < fit.PROJECT_E.training("standard").stop,
        f"""**On this stand-in the leak of patients is inconclusive:** another week of the same patients changes their Dice by {told(seen)}; on new
patients the two networks differ by {told(new)}. The interval includes gains that would matter. Training ended after {stopped.max():.0f} epochs every
time: the smallest class had not reached {fit.PROJECT_E.training("standard").stop:g}.""",
    )
    session.facts(volumes_leak=seen["difference"])

# %% [markdown]
# ## 5. Two contrasts, and one of them missing
#
# The third stand-in has two channels, T1 and T2. Part 1 is visible in both; part 2 is easy to see in T2 alone. A 3D U-Net is trained on both
# contrasts, with and without *channel dropout*: in training, each channel of a sample is set to its mean with a fixed probability, and one
# always stays. Then it is scored with both contrasts and with each one left out (`hipposeg evaluate --without T2`).

# %%
if have and "channels" in parts:
    here = parts["channels"].query("label == 'part 2'")
    found = otherdata.means(here, "part", "variant")
    fig = intervals.dots(found.rename(columns={"part": "row", "variant": "series"}), "Dice of part 2 (stand-in)")
    slices.heading(fig, "Channel dropout helps when T2 is missing")
    session.save(fig, "channels")
    gain = otherdata.differences(parts["channels"], "channel dropout", "no dropout", "part 2")
    display(gain.round(4))

# %%
if have and "channels" in parts:
    value = found.set_index(["variant", "part"])["value"]
    plain, robust = value["no dropout"], value["channel dropout"]
    lost, same = gain.loc["without T2"], gain.loc["both contrasts"]
    session.claim(
        lost["conclusion"] == "better" and same["conclusion"] == "inconclusive",
        f"""**Without T2, the Dice of part 2 falls from {plain["both contrasts"]:.2f} to {plain["without T2"]:.2f}; after channel dropout, to
{robust["without T2"]:.2f}.** So channel dropout adds {told(lost)} when T2 is missing. With both contrasts available the change is inconclusive:
{told(same)}.""",
    )
    session.facts(dropout_gain=gain.loc["without T2", "difference"])

# %% [markdown]
# ## 6. A volume of full size
#
# HipMRI's volumes are more than a hundred times as large as a crop of Task04. The study runs the command on five stand-ins of that size, with the
# residual 3D U-Net and six classes. Patches are drawn from mapped files, a third of them around a voxel of a random class, and prediction slides a window.

# %%
if full is not None:
    display(full.set_index("what")["value"].to_frame("value"))
    large = parts["full"].set_index("label")["dice"]
    display(large.to_frame("Dice after these few steps").T.round(3))

# %%
if full is not None:
    value = full.set_index("what")["value"]
    session.claim(
        float(value["peak memory (GB)"]) < 8,
        f"""**Training on volumes of full size needs {value["peak memory (GB)"]} GB of memory.** A step of {value["patches a step"]} patches of
{value["voxels of a patch"]} voxels takes {value["seconds a step"]} s on one core, so the standard schedule of this model takes
{value["hours of the standard schedule"]} hours. The Dice above is that of a training that has just begun: {value["steps"]} steps instead of
{value["steps of the standard schedule"]}.""",
    )

# %% [markdown]
# ## 7. Few labels, on the real Task04
#
# This section has patients. The network of `hipposeg predict` is trained on 5, 10, 20 or 50 subjects of fold 0's training part, each time for 200
# steps. It starts from random weights, or from its packaged weights of fold 0 (`--start-from`). These were trained on the same task with all 136
# training subjects of that fold; the 34 scored subjects are new to both. The tool refuses weights that saw a scored subject.

# %%
if labelled is not None:
    here = labelled.query("label == 'mean'")
    alone = here[here["variant"] == few.UNTOUCHED]["dice"].mean()
    found = otherdata.means(here[here["variant"] != few.UNTOUCHED], "part", "variant")
    fig = intervals.dots(
        found.rename(columns={"part": "row", "variant": "series"}), "mean Dice", line=("the start, not trained", alone)
    )
    slices.heading(fig, "Trained weights score higher; few labels add nothing to them")
    session.save(fig, "labels")
    gain = otherdata.differences(labelled, few.STARTED, few.RANDOM)
    display(gain.round(4))

# %%
if labelled is not None:
    value = found.set_index(["variant", "part"])["value"][few.RANDOM]
    untouched = here[here["variant"] == few.UNTOUCHED]
    repeated = [untouched.assign(part=part, seed=seed) for part in value.index for seed in few.SEEDS]
    lost = otherdata.differences(pd.concat([here, *repeated]), few.STARTED, few.UNTOUCHED)
    session.claim(
        (gain["conclusion"] == "better").all()
        and value.is_monotonic_increasing
        and lost["conclusion"].iloc[0] == "worse"
        and lost["difference"].max() < 0.002,
        f"""**{few.SUBJECTS[0]} labelled subjects and 200 steps give a mean Dice of {value.iloc[0]:.3f}, {few.SUBJECTS[-1]} give {value.iloc[-1]:.3f}.**
A start from trained weights adds {told(gain.iloc[0])} with {few.SUBJECTS[0]} and {told(gain.iloc[-1])} with {few.SUBJECTS[-1]}. But the trained weights
alone have {alone:.3f}: fine-tuning with {few.SUBJECTS[0]} subjects changes this by {told(lost.iloc[0])}, with {few.SUBJECTS[-1]} by {told(lost.iloc[-1])}.
On the task of its start, fine-tuning with few subjects loses Dice and gains nothing. Another scanner's images could show a gain; none are available.""",
    )

# %% [markdown]
# ## 8. Forty malformed sets
#
# Each row damages one of the tiny stand-ins in another way and reads it. Every message names the file, what was found, what was expected, and a
# remedy. The tests hold the same forty.

# %%
named = malformed.table(work / "malformed")
with pd.option_context("display.max_colwidth", 120, "display.max_rows", 99):
    display(named)
session.facts(malformed=len(named))
assert named.notna().all(axis=None) and len(named) >= 30

# %% [markdown]
# ## 9. Every trait of the two projects
#
# Each project's methods, data, reported scores and their weaknesses, with the matching part of this project.

# %%
for project in ("D", "E"):
    table = otherdata.traits(project)
    print(f"project {project}: {len(table)} traits")
    with pd.option_context("display.max_colwidth", 200):
        display(table.set_index("kind"))

# %% [markdown]
# ## 10. What could not be tried
#
# Neither data set is here: MRIHS holds ADNI scans, whose terms forbid passing them on, and HipMRI must be fetched by each user from CSIRO. So these
# are open: whether all 135 subjects and 211 volumes pass the reading checks; whether a mask in the real JPEG files ends where ours does, at half of
# white; whether D's and E's own scores fall when subjects are kept apart; and how long a whole training on HipMRI takes. Whoever has the files
# runs the command of section 2 on them; folders and names are those that both sources describe.
#
# ## What we learned

# %%
session.say(
    f"""**The tool carries over: one command describes, trains, scores and shows a set in each of four layouts, and names what is wrong with
{len(named)} malformed ones.**

1. Splits need the subject of each volume. The layouts of D and E give it; others need `--subjects`.
2. Leaks are inconclusive on these easy stand-ins. A score without empty slices is too good.
3. Channel dropout prepares a network for a scan without one of its contrasts.
4. Weights trained on the same task score far higher than few labels.

None of this is a result about patients of MRIHS or HipMRI. Their files could change the second answer."""
)

# %% [markdown]
# ## Limits
#
# - Ellipsoids are easier than organs, and the subjects' own texture and contrast were chosen by us. The size of a leak among patients is unknown.
# - The networks of sections 3 to 5 were trained for a minute or two each, on small volumes. A longer training remembers more.
# - Section 6 has one test volume and one seed.
# - Section 7 starts from weights for the very same task. Weights of another organ or scanner help less.
#
# ## Exercises
#
# **1.** Write a subject rule: names such as `sub-07_ses-2` become the subject `07`.

# %% tags=["exercise"]
my_subject = None  # your function of (name)

# %%
if my_subject is not None:
    for name, subject in (("sub-07_ses-2", "07"), ("sub-12_ses-1", "12"), ("sub-100_ses-1", "100")):
        assert my_subject(name) == subject, f"wrong for {name}"
print("right" if my_subject is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_subject(name):
#     return name.split("_")[0].removeprefix("sub-")
# ```
#
# </details>
#
# **2.** Write channel dropout for one sample: of channels (C, X, Y, Z), those with a draw below p become 0, but the largest draw always stays.

# %% tags=["exercise"]
my_dropout = None  # your function of (image, draws, p)

# %%
if my_dropout is not None:
    image = np.ones((3, 2, 2, 2))
    for draws, kept in (((0.1, 0.2, 0.9), 1), ((0.1, 0.2, 0.25), 1), ((0.5, 0.6, 0.7), 3)):
        assert my_dropout(image, np.array(draws), 0.3).any((1, 2, 3)).sum() == kept, f"wrong for {draws}"
print("right" if my_dropout is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_dropout(image, draws, p):
#     kept = (draws >= p) | (draws == draws.max())
#     return image * kept[:, None, None, None]
# ```
#
# </details>
#
# ## References
#
# - MRIHS: [Kaggle, sabermalek/mrihs](https://www.kaggle.com/datasets/sabermalek/mrihs); outlines by HarP, Boccardi et al. 2015,
#   [doi:10.1016/j.jalz.2015.02.009](https://doi.org/10.1016/j.jalz.2015.02.009)
# - HipMRI, male pelvis, CSIRO: [doi:10.25919/45t8-p065](https://doi.org/10.25919/45t8-p065)
# - Isensee et al. 2021, nnU-Net's format and patches: [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - He et al. 2016, residual blocks: [doi:10.1109/CVPR.2016.90](https://doi.org/10.1109/CVPR.2016.90)
# - Tan and Le 2019, EfficientNet: [arXiv:1905.11946](https://arxiv.org/abs/1905.11946)

# %%
shutil.rmtree(work, ignore_errors=True)
session.finish()
