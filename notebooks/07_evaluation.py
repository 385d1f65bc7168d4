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
# # 07. Evaluation: how good are the models, how sure are we, and where do they fail?
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/07_evaluation.ipynb)
#
# **Question.** How good are the trained networks on subjects that they have never seen? In short: about as good as published methods, and about
# equal to each other. Most wrong voxels touch the true border.
#
# **What you will learn**
# - the measures of segmentation, each typed in a few lines, and what each of them overlooks;
# - how to compute an interval by drawing subjects again, and why not by drawing volumes;
# - how to compare two models on the same subjects, and what *equivalent* means;
# - what a predicted volume in mm³ is worth, and how to take errors apart;
# - how other ways of scoring make the same masks look better.
#
# Needs notebook [00](00_quickstart.ipynb); words such as *fold* and *atlas* are in the [glossary](GLOSSARY.md). What experts ask next
# (leaks, calibration, intervals for one volume, robustness) is in [appendix A4](A4_trust.ipynb).
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs with `masks/`, tables of `hipposeg-lab study`.
# - **Writes:** `comparisons.csv`, `studies/folds.csv`, `studies/words.csv`, `explorer/`, `flagship.json`, `figures/07_*`,
#   `facts/07_evaluation.json`.
# - **Run time:** two minutes; nothing is trained.

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
import SimpleITK
from IPython.display import Code, display
from scipy import ndimage

from hipposeg import files, metrics, stats
from hipposeg.experiments import plan, registry
from hipposeg.notebook import start
from hipposeg.results import load, tables
from hipposeg.viz import intervals, slices, style
from hipposeg_lab.page import numbers, words
from hipposeg_lab.studies import comparisons, errors, explorer, inflation, making, published

session = start("07_evaluation", profile)
spec, cases = session.spec, session.cohort.cases

# %% [markdown]
# ## 1. The measures, by hand
#
# A mask is a boolean array. Here are two small ones: a "true" hippocampus, and a prediction that is a little too short, too high, and one
# voxel off. **Dice** is twice the overlap over the sum of both sizes. **IoU** (intersection over union, also called Jaccard index) divides the
# overlap by what either mask contains. Both lie between 0 and 1, and each follows from the other.

# %%
grid = np.indices((40, 24, 20))


def ellipsoid(centre, radii):
    return sum(((axis - at) / radius) ** 2 for axis, at, radius in zip(grid, centre, radii, strict=True)) <= 1


def dice(prediction, truth):
    return 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum())


def iou(prediction, truth):
    return (prediction & truth).sum() / (prediction | truth).sum()


truth, prediction = ellipsoid((20, 12, 10), (14, 6, 5)), ellipsoid((21, 12, 10), (13, 6, 6))
overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
overlap.Execute(*(SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, truth)))
for name, ours, package, other in (
    ("Dice", dice(prediction, truth), metrics.dice(prediction, truth), overlap.GetDiceCoefficient()),
    ("IoU ", iou(prediction, truth), metrics.iou(prediction, truth), overlap.GetJaccardCoefficient()),
):
    print(f"{name}  by hand {ours:.6f}   the package {package:.6f}   SimpleITK {other:.6f}")
    assert np.allclose((ours, package), other)

# %% [markdown]
# Overlap does not measure distance. For that, take the **surface** of a mask: its voxels that have a neighbour outside. For each surface voxel
# of one mask, find the nearest surface voxel of the other, in mm; then the same the other way round.
#
# - **HD95** is the 95th percentile of these distances, the larger of both directions. The maximum, called Hausdorff distance, would depend on one voxel.
# - **MSD** is their mean.
# - **Surface Dice** (NSD, normalised surface Dice) is the part of both surfaces that lies within a tolerance of the other, 1 mm or 2 mm here.
#
# The package calls MONAI for all of them. For surface Dice MONAI weights each surface element by its area, which needs a table of 256
# patterns; the short version below counts voxels, so it differs a little.


# %%
def surface(mask):
    return mask & ~ndimage.binary_erosion(mask)


def distances(one, other, spacing=(1, 1, 1)):
    return ndimage.distance_transform_edt(~surface(other), sampling=spacing)[surface(one)]


def surface_measures(prediction, truth):
    there, back = distances(prediction, truth), distances(truth, prediction)
    both = np.concatenate([there, back])
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return {"nsd1": (both <= 1).mean(), "nsd2": (both <= 2).mean(), "hd95": hd95, "msd": both.mean()}


by_hand, by_monai = surface_measures(prediction, truth), metrics.surface_scores(prediction, truth, (1, 1, 1))
for name, value in by_hand.items():
    print(f"{name}  by hand {value:.4f}   the package (MONAI) {by_monai[name]:.4f}")
assert all(np.isclose(by_hand[name], by_monai[name]) for name in ("hd95", "msd"))

# %% [markdown]
# ### What each measure overlooks
#
# Four errors, made on purpose: the mask shifted by one voxel, one layer peeled off, a stray piece far away, and an end missing.

# %%
stray, short = truth.copy(), truth.copy()
stray[1:6, 1:5, 1:5], short[:11] = True, False
made = {
    "shifted by one voxel": np.roll(truth, 1, 2),
    "one layer too thin": ndimage.binary_erosion(truth),
    "a stray piece": stray,
    "an end missing": short,
}
fig, axes = plt.subplots(1, 4, figsize=(style.WIDTH, 2.3))
for ax, (name, mask) in zip(axes, made.items(), strict=True):
    of_surface, change = surface_measures(mask, truth), 100 * (mask.sum() / truth.sum() - 1)
    slices.picture(ax, mask.any(axis=1).T, (0, 40, 0, 20), cmap="Greys", vmax=3)
    slices.edge(ax, truth.any(axis=1), style.INK, linewidth=1.2)
    ax.set_title(name, fontsize=10)
    overlaps = f"Dice {dice(mask, truth):.2f}, NSD {of_surface['nsd1']:.2f} at 1 mm"
    ax.set_xlabel(f"{overlaps}\nHD95 {of_surface['hd95']:.1f} mm, volume {change:+.0f} %", fontsize=9)
slices.heading(fig, "Every measure overlooks something")
session.save(fig, "measures")

# %% [markdown]
# No measure sees everything. In the second picture a third of the volume is gone, and surface Dice does not notice, because one layer is within its
# tolerance. Volume ignores position; a stray piece changes Dice little and HD95 much. So report several.
#
# ## 2. One run, one case, and the same numbers
#
# A run is scored once, right after its prediction, and its scores are kept in `scores.csv.gz`. On the real data a class mean above `0.92`
# raises an error: human raters agree less, so a leak is the likely cause. The runs below were trained on
# four folds and predict the fifth, fold 0 of the grouped folds. In detail we look at the flagship, the basis of `hipposeg predict` (08). It was
# chosen on `dev` before it was scored here; figures call it *Flagship*. Dice of its median case:

# %%
everything = session.results
scores = plan.finished(everything, plan.main(session.ws.profile))
scores = scores[scores["family"] != "clip"]  # HippoCLIP compares slices with captions; it is no segmentation network
runs = load.runs(scores, session.ws)
by_model = {run.model: run for run in runs}
atlas, flagship = by_model[load.ATLAS], by_model[registry.FLAGSHIP]
named = {run.name: words.short(run.config["title"], 36) for run in runs}
number = tables.cases_by_rule(flagship.values())["median"]
for part in spec.labels:
    mine = dice(flagship.masks[number] == part.value, cases[number].label == part.value)
    stored = flagship.values(part.name)[number]
    print(f"case {number:03d}, {part.name}: {mine:.4f} by hand, {stored:.4f} in scores.csv.gz")
    assert np.isclose(mine, stored, atol=1e-4)

# %% [markdown]
# ## 3. How sure is a mean? The bootstrap
#
# The mean Dice over the test fold depends on which subjects happen to be in it. The **bootstrap** imitates drawing other subjects: draw as many
# subjects as there are, with replacement, take the mean of their volumes, and repeat. The middle 95 % of these means is the **95 % interval**.
# Most subjects have two volumes, and these are alike. So a drawn subject brings all its volumes along; drawing volumes one by one
# pretends that there are more independent observations than there are.


# %%
def bootstrap(values, groups, draws=4000):
    rng, means = np.random.default_rng(0), []
    members = [values[groups == group].to_numpy() for group in groups.unique()]
    for _ in range(draws):
        drawn = rng.integers(0, len(members), len(members))  # with replacement
        means.append(np.concatenate([members[one] for one in drawn]).mean())
    return np.array(means)


values, subjects = flagship.values(), flagship.subjects()
by_subject, by_volume = bootstrap(values, subjects), bootstrap(values, values.index.to_series())
low, high = np.percentile(by_subject, [2.5, 97.5])
package = stats.interval(values.to_numpy(), subjects.to_numpy())
factor = package.width / stats.interval(values.to_numpy(), values.index).width
fig, ax = plt.subplots(figsize=(style.WIDTH, 2.8))
for means, name, colour in ((by_volume, "volumes drawn", style.MUTED), (by_subject, "subjects drawn", style.SERIES[0])):
    ax.hist(means, bins=60, histtype="step", linewidth=1.8, color=colour, label=name)
    ax.hlines(-12 if means is by_subject else -26, *np.percentile(means, [2.5, 97.5]), color=colour, linewidth=3)
ax.set(title="Drawing subjects gives the wider, honest interval", xlabel="mean Dice of a resample", ylabel="resamples")
fig.legend(loc="outside right upper")
session.save(fig, "bootstrap")
session.claim(
    abs(low - package.low) < 2e-3 and abs(high - package.high) < 2e-3 and factor > 1,
    f"""**The flagship's mean Dice is {values.mean():.3f}, with a 95 % interval from {low:.3f} to {high:.3f}** ({len(values)} volumes of
{subjects.nunique()} subjects). `stats.interval` gives {package.low:.3f} to {package.high:.3f}. Drawing volumes would make it {factor:.2f} times too narrow.""",
)

# %% [markdown]
# The interval answers one question: what if other subjects had been tested? Another seed or another fold is not in it.
#
# ## 4. Is one model better than another?
#
# Overlapping intervals do not answer that. Both models were tested on the same subjects, and a hard subject is hard for both. So take the
# **difference within each subject** first, and bootstrap the differences.

# %%
two, three = (by_model[name].values().groupby(subjects).mean() for name in ("unet2d", "unet3d"))
difference = (three - two).sort_values()
ends = np.percentile(bootstrap(difference, difference.index.to_series()), [2.5, 97.5])
package = stats.paired(*(by_model[name].values().to_numpy() for name in ("unet3d", "unet2d")), subjects.to_numpy())
print(f"by hand       {difference.mean():+.4f} ({ends[0]:+.4f} to {ends[1]:+.4f})")
print(f"stats.paired  {package.difference:+.4f} ({package.low:+.4f} to {package.high:+.4f})")
assert np.isclose(difference.mean(), package.difference)
fig, ax = plt.subplots(figsize=(style.WIDTH, 3))
ax.axhspan(-stats.EQUIVALENCE_MARGIN, stats.EQUIVALENCE_MARGIN, color=intervals.BAND, label="too small to matter")
ax.plot(difference.to_numpy(), "o", color=style.SERIES[0], markersize=5, label="one subject")
reach = np.abs(ends - difference.mean())[:, None]
ax.errorbar(
    len(difference) + 1, difference.mean(), reach, fmt="D", color=style.INK, elinewidth=2.2, label="mean, 95 % interval"
)
ax.axhline(0, color=style.INK, linewidth=1)
ax.set_title("3D is better for some subjects and worse for others")
ax.set(xlabel="subjects, sorted", ylabel="Dice, 3D minus 2D", xticks=[])
fig.legend(loc="outside right upper")
session.save(fig, "paired")

# %% [markdown]
# One training of each model is weak evidence: another seed may reverse the difference. So planned comparisons use three seeds, and their
# intervals draw seeds as well as subjects. If the interval excludes zero, one model is *better* or *worse*. If it contains zero, that is
# **no proof of equality**; it may just be wide. Equality needs its own test: a margin below which a difference does not matter, fixed beforehand
# (here `0.005` Dice). Only if the whole interval lies within the margin are two models *equivalent*.

# %%
display(Code(inspect.getsource(stats.conclusion), language="python"))
planned = comparisons.planned(everything)
judged = comparisons.table(planned)
comparisons.write(session.ws, judged)
standard = judged[~judged["family"].str.endswith("short")]
shown = pd.DataFrame(words.CHANGES, columns=["change", "model", "reference"]).merge(standard).set_index("change")
if len(shown):
    fig = intervals.forest(shown, stats.EQUIVALENCE_MARGIN, "mean Dice, with minus without the change")
    fig.axes[0].locator_params(axis="x", nbins=4)
    slices.heading(fig, "One of six changes helps slightly")
    session.save(fig, "changes")
counts = judged["conclusion"].value_counts().reindex(["better", "worse", "equivalent", "inconclusive"], fill_value=0)
session.claim(
    counts["better"] < counts["worse"] and counts["better"] < counts["equivalent"] < counts["inconclusive"],
    f"""**Few changes help.** Of the {counts.sum()} planned comparisons with three seeds, {counts["better"]} end *better* than their
reference, {counts["worse"]} *worse*, {counts["equivalent"]} *equivalent* and {counts["inconclusive"]} *inconclusive*. The figure shows six of them;
`comparisons.csv` has all. Their *p* values are from Wilcoxon tests over subjects, Holm-adjusted within each group.""",
)

# %% [markdown]
# ## 5. All models, and a baseline that ignores the image
#
# The crops of this data set were cut around the hippocampus, so its position gives much of the answer away. The **image-free atlas** shows how
# much: it stretches the mean training label map to the crop and ignores the image. Compare every score with it.

# %%
results = tables.summary(scores, spec)
colours = {label.name: label.colour for label in spec.labels} | {"mean": style.INK}
rows = results[results["label"].isin(list(colours))].assign(row=results["run"].map(named))
rows = rows.rename(columns={"label": "series", "dice": "value", "dice_low": "low", "dice_high": "high"})
xlabel = "Dice, mean over test volumes (bars: 95 % interval over subjects)"
fig = intervals.dots(rows, xlabel, colours, line=("image-free atlas", atlas.mean()), numbers="mean")
slices.heading(fig, "All networks are close together, and far above the atlas")
session.save(fig, "dice")
display(tables.readable(results, named, spec))
networks = [run.mean() for run in runs if not run.is_atlas]
session.claim(
    min(networks) - atlas.mean() > 0.15 and max(networks) - min(networks) < 0.015,
    f"""**Every network is far above the atlas ({atlas.mean():.3f}), and all are close together ({min(networks):.3f} to {max(networks):.3f}).**
Architecture decides little on these crops. Never compare a mean with *union*, the Dice of the whole hippocampus: it is higher because it
does not see errors between the parts.""",
)

# %% [markdown]
# One fold is one draw of test subjects. So the flagship was trained on all five folds: split by subject, and split by volume as in published results,
# where the contralateral hippocampus of many test volumes is in training. What others report is for orientation only, as protocols differ.

# %%
by_fold = comparisons.five_folds(planned, metrics.labels_of(spec))
making.write(session.ws, "folds", by_fold)
protocols = {"grouped": "five folds by subject", "nnunet": "five folds by volume"}
listed = {
    (one.method, one.protocol): [numbers.show(value, one.kind) for value in (one.anterior, one.posterior, one.mean)]
    for one in published.PUBLISHED
}
for (model, folds), found in by_fold[by_fold["part"] == "all"].groupby(["model", "folds"]):
    means = found.set_index("label")["dice"].to_dict()
    listed[words.short(registry.MODELS[model].title), protocols[folds]] = [
        numbers.show(means[label], "score") for label in (*spec.names, "mean")
    ]
compared = pd.DataFrame.from_dict(listed, orient="index", columns=[*spec.names, "mean"])
compared.index = pd.MultiIndex.from_tuples(listed, names=["method", "protocol"])
if not session.ws.is_phantom:
    display(compared.sort_values("mean", ascending=False))
mine = by_fold[(by_fold["model"] == registry.FLAGSHIP) & (by_fold["part"] == "all") & (by_fold["label"] == "mean")]
fair, usual = (mine[mine["folds"] == folds][["dice", "low", "high"]].mean() for folds in protocols)
theirs = published.PUBLISHED[0]
session.claim(
    usual["low"] < theirs.mean < usual["high"],
    f"""**The flagship is about as accurate as nnU-Net.** On nnU-Net's own folds it reaches {usual["dice"]:.4f} ({usual["low"]:.4f} to {usual["high"]:.4f}),
where {theirs.method} reports {theirs.mean:.4f}. On folds by subject it reaches {fair["dice"]:.4f} ({fair["low"]:.4f} to {fair["high"]:.4f}).""",
)

# %% [markdown]
# ## 6. Volumes in mm³
#
# In practice, users need a volume. **Bland and Altman** plot its error against its size. The mean error is the *bias*; two standard
# deviations below and above it (`1.96`, to be exact) are the *limits of agreement*, which contain 95 % of errors if these are normal. The
# **intraclass correlation** (ICC) is the part of the spread of all measurements that is due to real differences between volumes.

# %%
fig, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.4), sharex=True, sharey=True)
found = {}
for ax, run in zip(axes, (atlas, flagship), strict=True):
    true, predicted = (run.values(metrics.UNION, column) for column in ("volume_true", "volume_predicted"))
    error = predicted - true
    bias, limits = error.mean(), error.mean() + 1.96 * error.std() * np.array([-1, 1])
    icc, _ = stats.icc(np.stack([predicted, true], axis=1))
    found[run.model] = bias, *limits, icc
    ax.scatter((true + predicted) / 2, error, s=18, color=style.SERIES[0])
    for level, dash in ((bias, "-"), *((limit, "--") for limit in limits)):
        ax.axhline(level, color=style.INK, linewidth=1.1, linestyle=dash)
    ax.set(title=f"{named[run.name]}: ICC {icc:.2f}", xlabel="mean of expert's and predicted volume (mm³)")
axes[0].set_ylabel("predicted minus expert's volume (mm³)")
session.save(fig, "volumes")

# %%
(off, least, most, weak), (bias, low_limit, high_limit, good) = found[load.ATLAS], found[registry.FLAGSHIP]
spread = flagship.values(metrics.UNION, "volume_true").std()
too_much = [run.mean(metrics.UNION, "volume_bias") for run in runs if run not in (atlas, flagship)]
session.claim(
    weak < 0.5 < 0.9 < good and abs(bias) < 10 and min(too_much) > 100,
    f"""**The flagship measures volume, the atlas does not.** The flagship's bias is {bias:+.0f} mm³, and a single volume may be off by {low_limit:+.0f} to
{high_limit:+.0f} mm³, where the standard deviation between hippocampi is {spread:.0f} mm³. The other networks draw {min(too_much):.0f} to
{max(too_much):.0f} mm³ too much, with nearly the same Dice. The atlas depends on the size of the crop alone: its
volumes are off by {off:+.0f} mm³ on average and by {least:+.0f} to {most:+.0f} mm³ in single cases, so it does not separate large from small.""",
)

# %% [markdown]
# ## 7. Where it fails
#
# A wrong voxel is one of three kinds: one part taken for the other, background taken for hippocampus, or hippocampus missed.

# %%
shown = [by_model[model] for model in comparisons.SHOWN]
taken_apart = errors.mistakes(shown, session.cohort)
volumes = pd.DataFrame({named[name]: one.volumes.mean() for name, one in taken_apart.items()}).T[list(errors.KINDS)]
titles = [title for title, _ in errors.KINDS.values()]
fig, ax = plt.subplots(figsize=(style.WIDTH, 2.6))
volumes.set_axis(titles, axis=1).plot.barh(stacked=True, ax=ax, color=style.SERIES[1:4], width=0.62, legend=False)
ax.set(
    title="Networks err far less than the atlas, and nearly alike", xlabel="wrong tissue in the average volume (mm³)"
)
ax.invert_yaxis()
fig.legend(loc="outside lower center", ncols=3)
session.save(fig, "errors")
touching = float((taken_apart[flagship.name].depths <= min(spec.spacing)).mean())
mine = volumes.loc[named[flagship.name]]
session.claim(
    touching > 0.9 and mine["swap"] < 0.15 * mine.sum() and mine.sum() < 0.4 * volumes.loc[named[atlas.name]].sum(),
    f"""**{100 * touching:.0f} % of the flagship's wrong voxels touch the true border.** In an average volume {mine["false_positive"]:.0f} mm³ are too much,
{mine["missed"]:.0f} mm³ are missed and {mine["swap"]:.0f} mm³ are in the wrong part. So expert and network mostly disagree about the exact
border; the data set has no second expert for comparison.""",
)

# %% [markdown]
# Which cases go wrong, and how? They are chosen by rule: the best, the median and the worst mean Dice. The sentences are made from
# the wrong voxels by rule as well; `studies/words.csv` has one for every test volume, and the page shows it.

# %%
described = errors.in_words(shown, {run.name: errors.of_run(run, session.cohort) for run in shown})
making.write(session.ws, "words", described)
described = described[described["run"] == flagship.name].set_index("case")
for rank, number in tables.cases_by_rule(values).items():
    case, name = cases[number], named[flagship.name]
    both = {"expert": case.label, "prediction": flagship.masks[number]}
    title = f"{rank.capitalize()}: case {number:03d}, mean Dice {values[number]:.3f}"
    fig = slices.three_plane(case.image[0], both, spec, title, spacing=case.spacing)
    session.save(fig, f"overlay-{rank}", key="overlay", rank=rank, model=name, number=number)
    session.say(f"Case {number:03d}: {described.loc[number, 'words']}")

# %% [markdown]
# ## 8. The same masks, scored in other ways
#
# Published scores of this task differ widely, and part of that is not about networks. Below, the masks stay the same and the scoring changes.
# Each way was found in a paper or a published project.
# [Appendix A4](A4_trust.ipynb) has twelve ways, with intervals and with the claims of five projects beside them.
#
# The most generous one pools the voxels of 16 slices, counts the background as a class, and gives a class that is in neither mask a perfect
# score. `counts` are confusion matrices of single slices:

# %%
display(Code(inspect.getsource(inflation.batched), language="python"))


def with_background(prediction, truth, n_classes):
    return np.mean([metrics.dice(prediction == value, truth == value) for value in range(n_classes)])


def mean_of(run, measure):
    return np.mean([measure(mask, cases[number].label, spec.n_classes) for number, mask in run.masks.items()])


ways = {}
for run in (atlas, by_model["unet2d"], flagship):
    ways[named[run.name]] = {
        "IoU": run.mean(metric="iou"),
        "Dice of each part, their mean (ours)": run.mean(),
        "Dice of the whole, called Dice": run.mean(metrics.UNION),
        "background averaged in": mean_of(run, with_background),
        "16 slices pooled, with background": mean_of(run, inflation.pooled_slices),
        "surface Dice at 1 mm": run.mean(metric="nsd1"),
        "surface Dice at 2 mm, called Dice": run.mean(metric="nsd2"),
    }
nothing = np.mean(
    [
        inflation.pooled_slices(np.zeros_like(cases[number].label), cases[number].label, spec.n_classes)
        for number in flagship.masks
    ]
)

# %%
rows = pd.DataFrame(ways).rename_axis("row").reset_index().melt("row", var_name="series")
fig = intervals.dots(rows, "score of the same masks", line=("empty masks, 16 slices pooled", nothing))
slices.heading(fig, "Generous scoring lifts every model and hides the differences")
session.save(fig, "inflation")
ours = ways[named[flagship.name]]
gap = {way: ours[way] - ways[named[atlas.name]][way] for way in ours}
session.claim(
    ours["IoU"] < flagship.mean() < 0.9 < 0.99 < ours["surface Dice at 2 mm, called Dice"] and nothing > 0.65,
    f"""**The flagship's masks score from {min(ours.values()):.2f} to {max(ours.values()):.3f}, depending on the scoring.** Empty masks
score {nothing:.2f} when slices are pooled with the background. Generous scoring also hides differences: the distance between flagship and atlas
shrinks from {gap["Dice of each part, their mean (ours)"]:.2f} to {gap["surface Dice at 2 mm, called Dice"]:.2f}. Before trusting a score, check
what it averages, how it counts an absent class and what input it needs.""",
)

# %% [markdown]
# ## 9. What can be trusted?
#
# Five questions, each measured in [appendix A4](A4_trust.ipynb). The table has the number that answers each.

# %%
names = ("leaks", "conformal_coverage", "calibration_summary", "box", "robustness")
leaks, coverage, calibration, box, robust = (making.read(session.ws, name) for name in names)
if leaks is None or coverage is None or calibration is None or box is None or robust is None:
    session.say("Left out: the studies of trained networks have not run on this data set.")
else:
    leak = leaks.query("kind == 'leak-volumes' and label == 'mean'").iloc[0]
    held = coverage.query("method == 'chosen' and group == 'all' and label == 'union'").iloc[0]
    gap = calibration.query("method == 'flagship' and label == 'predicted class'")["ece_before"].item()
    moved, turned = (table[(table["run"] == registry.FLAGSHIP) & (table["label"] == "mean")] for table in (box, robust))
    moved = moved[moved["change"].isin(["cut", "padded"])]["difference"]
    turned = turned[turned["change"].str.startswith("mirrored") & (turned["severity"] > 0)]["difference"]
    session.claim(
        leak["conclusion"] == "equivalent"
        and held["low"] < 0.9 < held["high"]
        and gap < 0.01
        and moved.abs().max() < 0.005,
        f"""| question | answer |
|---|---|
| Do scores rest on the contralateral hippocampus in training? | No: with it, Dice changes by {leak["difference"]:+.4f}, which is equivalent. |
| Do intervals of volumes keep their promise of 90 %? | Yes: they contain {100 * held["coverage"]:.1f} % of true volumes. |
| Are voxels right as often as their probability states? | Yes: the mean gap near the border is {gap:.3f}. |
| Does it matter if a crop ends 3 voxels earlier or later? | No: mean Dice changes by {moved.abs().max():.4f}. |
| Does it matter if a scan is mirrored? | Very much: Dice falls by {-turned.max():.2f} to {-turned.min():.2f}. |""",
    )

# %% [markdown]
# ## What we learned

# %%
session.facts(mean_dice=flagship.mean(), atlas_dice=atlas.mean(), touching_border=touching, volume_icc=good)
session.claim(
    usual["low"] < theirs.mean < usual["high"] and touching > 0.9,
    f"""**How good are the models? The flagship reaches a mean Dice of {flagship.mean():.3f} on new subjects, about as good as nnU-Net; most
wrong voxels touch the true border.**

1. All networks lie close together and far above the atlas, which reaches {atlas.mean():.3f}. Few changes to a network or its training help.
2. {100 * touching:.0f} % of wrong voxels touch the true border. The volume is unbiased, with an ICC of {good:.2f}.
3. The way of scoring changes a score more than any network does: the same masks reach up to {max(ours.values()):.3f}.

A second expert's masks could change how these errors are judged. Scans from another clinic, or crops that were not cut around the
hippocampus, could change the scores themselves.""",
)

# %% [markdown]
# ## Limits
#
# - The crops were cut around the truth, so no score here transfers to a crop that was placed by other means.
# - Sections 2 to 8 use one fold, and one seed of each model where masks are shown.
# - One expert's masks are the truth. How far two experts agree is unknown here.
# - Limits of agreement take volumes as independent, although most subjects have two.
#
# ## Exercises
#
# **1.** Dice and IoU contain the same information. Write a function that computes the IoU from a Dice.

# %% tags=["exercise"]
iou_from_dice = None  # your function of one number

# %%
if iou_from_dice is not None:
    one, other = np.arange(10) < 6, np.arange(10) > 2
    assert np.isclose(iou_from_dice(metrics.dice(one, other)), metrics.iou(one, other)), "IoU = Dice / (2 - Dice)"
print("right" if iou_from_dice is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def iou_from_dice(dice):
#     # Dice = 2 I / (U + I) and IoU = I / U, where I is the overlap and U what either mask contains.
#     return dice / (2 - dice)
# ```
#
# </details>
#
# **2.** Write HD95 for voxels of any size: a function of prediction, truth and spacing in mm, with `ndimage` and `np` alone.

# %% tags=["exercise"]
my_hd95 = None  # your function of (prediction, truth, spacing)

# %%
if my_hd95 is not None:
    cube = np.zeros((12, 12, 12), bool)
    cube[3:8, 3:8, 3:8] = True
    expected = metrics.surface_scores(np.roll(cube, 2, 2), cube, (1, 1, 3))["hd95"]
    assert np.isclose(my_hd95(np.roll(cube, 2, 2), cube, (1, 1, 3)), expected), f"expected {expected} mm"
print("right" if my_hd95 is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_hd95(prediction, truth, spacing):
#     one, other = (mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth))
#     there = ndimage.distance_transform_edt(~other, sampling=spacing)[one]
#     back = ndimage.distance_transform_edt(~one, sampling=spacing)[other]
#     return max(np.percentile(there, 95), np.percentile(back, 95))
# ```
#
# </details>
#
# ## References
#
# - Maier-Hein et al. 2024, Metrics reloaded, [doi:10.1038/s41592-023-02151-z](https://doi.org/10.1038/s41592-023-02151-z)
# - Nikolov et al. 2021, surface Dice, [doi:10.2196/26151](https://doi.org/10.2196/26151)
# - Bland and Altman 1986, agreement of measurements, [doi:10.1016/S0140-6736(86)90837-8](https://doi.org/10.1016/S0140-6736(86)90837-8)
# - Shrout and Fleiss 1979, intraclass correlations, [doi:10.1037/0033-2909.86.2.420](https://doi.org/10.1037/0033-2909.86.2.420)
# - Holm 1979, multiple tests, Scandinavian Journal of Statistics 6, 65-70
# - Owen 2007, resampling crossed factors, [doi:10.1214/07-AOAS122](https://doi.org/10.1214/07-AOAS122)

# %%
# The page is made from artifacts, which do not contain the data set's images: here are compressed copies of the test cases.
index = explorer.write(session.ws, session.cohort, [run for run in runs if run.has_masks])
if not session.ws.is_phantom:
    chosen = {"model": registry.FLAGSHIP, "chosen_on": "dev", "dims": registry.MODELS[registry.FLAGSHIP].dims}
    files.write_json(session.ws.artifacts / "flagship.json", chosen)
session.finish(
    session.ws.artifacts / "comparisons.csv", index, *(making.path_of(session.ws, name) for name in ("folds", "words"))
)
