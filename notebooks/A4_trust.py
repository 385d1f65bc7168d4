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
# # A4. What can be trusted? Leaks, robustness, calibration, intervals and inflated scores
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/A4_trust.ipynb)
#
# **Question.** Notebook [07](07_evaluation.ipynb) gives each model a score. Can that score, a probability, and a volume be trusted? In short: on scans
# like these, yes. A scan that is mirrored or badly shaded breaks the networks.
#
# **What you will learn**
# - what overlap between training and test subjects is worth, measured by training with and without it;
# - which changes of a scan or a crop a network tolerates;
# - what calibration is, by computing it, and how one temperature mends it;
# - how conformal prediction gives a volume an interval with a promise, in five lines;
# - where along the hippocampus errors lie, and which scores twelve ways of scoring give the same masks.
#
# For readers of notebook [07](07_evaluation.ipynb); words are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs with `masks/`, and tables of `hipposeg-lab study`.
# - **Writes:** `studies/inflation.csv`, `claims.csv`, `errors.csv` and `siblings.csv`, `figures/A4_*`, `facts/A4_trust.json`.
# - **Run time:** a minute; nothing is trained.

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
import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display

from hipposeg import metrics, stats
from hipposeg.experiments import plan, registry
from hipposeg.notebook import start
from hipposeg.predict import card, ensemble, quality, scan, segment
from hipposeg.results import compare, load, tables
from hipposeg.viz import intervals, slices, style
from hipposeg_lab.figures import mistakes, pairs, trust
from hipposeg_lab.page import words
from hipposeg_lab.studies import calibration, comparisons, coverage, errors, inflation, making, published, siblings

session = start("A4_trust", profile)
spec = session.spec
everything = session.results
main = {run.model: run for run in load.runs(plan.finished(everything, plan.main(session.ws.profile)), session.ws)}
shown = [main[model] for model in comparisons.SHOWN]
flagship = main[registry.FLAGSHIP]
named = {run.name: words.short(run.config["title"]) for run in shown}

# %% [markdown]
# Sections 1 to 6 need trained networks, so `hipposeg-lab study` computed their tables once. Where a data set has none, such as the phantom, the
# section prints one sentence.

# %%
names = (
    *("leaks", "box", "robustness", "detection", "risk_coverage", "conformal_measures", "conformal_coverage"),
    *("calibration", "calibration_scaled", "calibration_summary"),
)
studied = {name: making.read(session.ws, name) for name in names}
have = all(table is not None for table in studied.values())
out_of_fold = tables.out_of_fold(everything, registry.FLAGSHIP)
if not have:
    session.say(
        "Left out: the studies of trained networks have not run on this data set, so sections 1 to 6 show no results."
    )

# %% [markdown]
# ## 1. What is a leak worth?
#
# Most subjects appear twice in this data set, and the usual folds split by volume. So a network was often trained on the contralateral hippocampus of a
# test subject. Where slices are split at random, it was trained on the test volume itself. Two networks are trained on equally many volumes of equally
# many subjects, with the same steps and seeds, and scored on the same volumes. The *clean* one saw nothing of the test subjects. The *leaking*
# one saw their contralateral hippocampus (3D U-Net), or four of five slices of the test volume (2D U-Net, scored on the fifth).

# %%
titles = {
    "leak-volumes": "the contralateral hippocampus in training",
    "leak-slices": "other slices of the test volume in training",
}
if have:
    gained = studied["leaks"].query("label == 'mean'").set_index("kind").rename(titles)
    fig = intervals.forest(gained, stats.EQUIVALENCE_MARGIN, "mean Dice, leaking minus clean training")
    slices.heading(fig, "Slices of the test volume inflate a score, the other hippocampus does not")
    session.save(fig, "leaks")
    contralateral, slices_seen = (gained.loc[title] for title in titles.values())
    session.claim(
        contralateral["conclusion"] == "equivalent" and slices_seen["conclusion"] == "better",
        f"""**The contralateral hippocampus adds nothing that matters, other slices of the test volume do.** The first changes Dice by
{contralateral["difference"]:+.4f} ({contralateral["low"]:+.4f} to {contralateral["high"]:+.4f}), the second by {slices_seen["difference"]:+.4f}
({slices_seen["low"]:+.4f} to {slices_seen["high"]:+.4f}). A larger network or a longer schedule may remember more.""",
    )

# %% [markdown]
# ## 2. Do the crop's margins matter?
#
# The published crops were cut around the truth with nearly constant margins. Here up to three voxels are cut away at one side (never labelled
# ones), or added by reflection, and the tissue stays the same. The mean over six sides is shown. A network that is given coordinates could depend
# on the crop most.

# %%
networks = {
    "unet3d-fast": "flagship",
    "unet3d": "plain 3D U-Net",
    "unet3d-inr-mlp-xyz": "head with coordinates",
    "unet3d-inr-siren-xyz": "SIREN head with coordinates",
}
if have:
    box = studied["box"][studied["box"]["run"].isin(networks)].assign(run=lambda table: table["run"].map(networks))
    titles = {
        "cut": ("Cutting hardly matters", "voxels cut away at one side"),
        "padded": ("Padding does not matter", "voxels added at one side"),
    }
    first = networks[registry.FLAGSHIP]
    session.save(trust.severity(box, titles, trust.DIFFERENCE, (first,), stats.EQUIVALENCE_MARGIN), "box", first=first)
    far = box[(box["severity"] == box["severity"].max()) & box["change"].isin(list(titles)) & (box["label"] == "mean")]
    worst, mine = far.loc[far["difference"].idxmin()], far[far["run"] == first]["difference"].abs().max()
    session.claim(
        mine < 0.002 and worst["run"] == networks["unet3d-inr-mlp-xyz"] and worst["difference_high"] < 0,
        f"""**For the flagship, a crop that ends {worst["severity"]:.0f} voxels earlier or later makes no difference that matters.** Mean Dice
changes by {mine:.4f}. Most sensitive is the {worst["run"]}: {worst["difference"]:+.4f} ({worst["difference_low"]:+.4f} to
{worst["difference_high"]:+.4f}). A crop of another
kind, twice as large or placed by hand, is not tested here.""",
    )

# %% [markdown]
# ## 3. Other scanners, other files
#
# Each test scan is changed with growing severity: rotated, with noise, with a bias field, at a lower resolution. Rotated scans are predicted
# rotated, and the mask is rotated back. Every panel has its own scale. The networks of `hipposeg predict` (notebook 08) have the
# flagship's architecture and schedule; their training adds hippocampi of all sizes, and averages one crop in eight over larger voxels, of up to
# three of the stored ones along each axis.

# %%
kinds = {
    "unet3d-fast": "flagship",
    "unet3d": "plain 3D U-Net",
    "unet3d+flip": "trained with flips",
    "unet3d-scan": "networks of predict",
}
if have:
    robust = studied["robustness"].query("label == 'mean'")
    robust = robust[robust["run"].isin(kinds)].assign(run=lambda table: table["run"].map(kinds))
    robust.loc[(robust["unit"] == "mm") & (robust["severity"] == 0), "severity"] = spec.spacing[0]
    titles = {
        "rotation": ("Rotation: small loss", "degrees"),
        "noise": ("Noise: small loss", "SD of the image"),
        "bias field": ("Bias field: collapse", "SD of its logarithm"),
        "resolution": ("Resolution: larger loss", "voxel side (mm)"),
    }
    session.save(trust.severity(robust, titles), "robustness")
    at_2mm = robust[(robust["change"] == "resolution") & (robust["severity"] == 2)].set_index("run")
    before, now = at_2mm.loc["flagship"], at_2mm.loc["networks of predict"]
    session.claim(
        now["difference_low"] > before["difference_high"],
        f"""**The networks of `hipposeg predict`, trained partly with larger voxels, lose less where voxels are large.** At 2 mm they lose
{-now["difference"]:.3f} Dice ({-now["difference_high"]:.3f} to {-now["difference_low"]:.3f}), the flagship {-before["difference"]:.3f}
({-before["difference_high"]:.3f} to {-before["difference_low"]:.3f}). They were trained on more sizes, too, so the cause is not isolated.""",
    )

# %% [markdown]
# Two more changes have no scale of severity: intensities in another unit, which z-scoring removes, and a mirrored axis, as from a header that a
# program ignored. The table shows the largest loss of Dice of each change.

# %%
if have:
    loss = robust[(robust["severity"] > 0)].groupby(["change", "run"], sort=False)["difference"].min().unstack()
    display(loss[list(kinds.values())].style.format("{:+.3f}").set_uuid("robust"))
    mirrored = loss[loss.index.str.startswith("mirrored")]
    session.claim(
        mirrored["flagship"].max() < -0.25 and mirrored.loc["mirrored axis 0", "trained with flips"] > -0.005,
        f"""**A mirrored scan causes one of the largest losses of the changes tested.** Along axis 0 it costs the flagship
{-mirrored.loc["mirrored axis 0", "flagship"]:.2f} Dice; a network that met flips in training loses nothing there. A strong bias field costs
{-loss.loc["bias field", "flagship"]:.2f}, noise {-loss.loc["noise", "flagship"]:.2f}, rescaled intensities nothing. So a program must check a file's header.""",
    )

# %% [markdown]
# ## 4. Are the probabilities right?
#
# A network is **calibrated** if of all voxels with a probability of 80 %, 80 % are right. Sort voxels into bins by probability; in each bin compare
# the mean probability with the fraction that is right. The mean gap is the **expected calibration error** (ECE). Below, outcomes are drawn with
# known probabilities, which are then made overconfident. One number mends that: dividing the logarithm of the odds by a **temperature**.

# %%
rng = np.random.default_rng(0)
known = rng.random(50_000)
right = rng.random(50_000) < known


def at_temperature(probability, temperature):
    return 1 / (1 + np.exp(-np.log(probability / (1 - probability)) / temperature))


def ece(probability, right, bins=10):
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = np.bincount(which, probability, bins) - np.bincount(which, right, bins)
    return np.abs(gaps).sum() / len(right)


sure = at_temperature(known, 0.5)
for name, probability in (("true", known), ("overconfident", sure), ("mended, T = 2", at_temperature(sure, 2))):
    voxels = calibration.Voxels(0, np.stack([1 - probability, probability], 1), right.astype(np.uint8))
    package = calibration.error(calibration.histogram(voxels, 1))
    print(f"{name:14}  ECE {ece(probability, right):.4f}, the package {package:.4f}")
    assert np.isclose(ece(probability, right), package)

# %% [markdown]
# Now the networks, within 3 mm of a border, since far away everything is easy. The temperature is fitted on subjects that it is not judged on.

# %%
methods = {
    "one network": "one network",
    "flips, trained without (trap)": "flips at test time only",
    "flagship": "flagship",
}
if have:
    bins, after, summary = (
        table[table["method"].isin(methods)].assign(method=lambda rows: rows["method"].map(methods))
        for table in (studied[name] for name in ("calibration", "calibration_scaled", "calibration_summary"))
    )
    fig = trust.reliability(bins, after, summary, spec)
    slices.heading(fig, "One network is overconfident, the flagship is not")
    session.save(fig, "reliability")
    top = studied["calibration_summary"].query("label == 'predicted class'").set_index("method")
    display(top[["ece_before", "ece_after", "temperature", "drop", "drop_low", "drop_high"]].round(4))
    single, best = top.loc["one network"], top.loc["flagship"]
    session.claim(
        single["ece_before"] > 0.025
        and single["ece_after"] < 0.01
        and best["ece_before"] < 0.01
        and top["drop_low"]["one network"] > 0,
        f"""**One network is overconfident, the flagship is calibrated.** The ECE of one network is {single["ece_before"]:.3f}; a temperature of
{single["temperature"]:.2f} lowers it to {single["ece_after"]:.3f}. The flagship, which averages eight transformed copies, has
{best["ece_before"]:.3f} without a temperature. Mirrored copies, without flips in training, give wrong masks and probabilities.""",
    )

# %% [markdown]
# ## 5. Does uncertainty find the bad volumes?
#
# Three measures: *entropy* near the predicted border, the loss of Dice that the probabilities themselves predict (*expected*), and how much the
# members of an ensemble *disagree*. The AUROC is the chance that a volume of the worst quarter is more uncertain than another one; one half is chance.

# %%
if have:
    found = studied["detection"].set_index(["method", "measure"])
    text = found.round(2).astype(str)
    display(
        pd.DataFrame(
            {
                name: text[name] + " (" + text[f"{name}_low"] + " to " + text[f"{name}_high"] + ")"
                for name in ("spearman", "auroc")
            }
        )
    )
    risk = (
        studied["risk_coverage"].query("method == 'flagship' and measure == 'expected'").set_index("coverage")["dice"]
    )
    kept = risk.index[np.abs(risk.index - 0.8).argmin()]
    mine, expected = found.loc["flagship"], found.xs("expected", level="measure")
    session.claim(
        (mine["auroc_low"] < 0.5).all() and (expected["auroc_low"] > 0.5).any(),
        f"""**For the flagship, weakly at best.** The best of its measures has an AUROC of {mine["auroc"].max():.2f}, whose
interval ({mine.loc[mine["auroc"].idxmax(), "auroc_low"]:.2f} to {mine.loc[mine["auroc"].idxmax(), "auroc_high"]:.2f}) includes chance. Leaving the most
uncertain fifth to a person would raise the mean Dice of the others from {risk.loc[1]:.3f} to {risk.loc[kept]:.3f}. With
{(expected["auroc_low"] > 0.5).sum()} of {len(expected)} ways to predict, the expected loss is better than chance. There are few bad volumes
here, and no tumour or motion.""",
    )

# %% [markdown]
# ## 6. A volume with an interval
#
# Limits of agreement describe a sample. A user has one scan: this volume, plus or minus what? **Conformal prediction** needs no model of the errors.
# Take volumes of subjects that the network never saw, and divide each error by the predicted volume. Sort these ratios. Their 90th percentile times a
# new prediction is the half width of its interval. Here, for the whole hippocampus and the subjects of fold 0:

# %%
if have:
    rows = out_of_fold[out_of_fold["label"] == metrics.UNION].sort_values("case").reset_index(drop=True)
    ratio = (rows["volume_true"] - rows["volume_predicted"]).abs() / rows["volume_predicted"]
    others = np.flatnonzero(rows["fold"] != 0)
    # A subject's two volumes are alike, so calibration draws one of each.
    drawn = coverage.one_each(rows["subject"].to_numpy(), others, np.random.default_rng([coverage.SEED, 0]))
    place = int(np.ceil((len(drawn) + 1) * 0.9))
    q = np.sort(ratio[drawn])[place - 1]
    half = q * rows["volume_predicted"]
    mine = pd.DataFrame(
        {"case": rows["case"], "lower": rows["volume_predicted"] - half, "upper": rows["volume_predicted"] + half}
    )
    stored = pd.read_csv(session.ws.artifacts / "conformal.csv")
    both = stored.query("label == 'union'").merge(mine[rows["fold"] == 0], on="case", suffixes=("", "_by_hand"))
    assert np.allclose(both[["lower", "upper"]], both[["lower_by_hand", "upper_by_hand"]], atol=0.1)
    print(f"{len(drawn)} subjects calibrate; an interval is the predicted volume plus and minus {100 * q:.1f} %")

# %% [markdown]
# The same for all folds and parts. The errors are the flagship's on volumes of subjects that its network never saw.

# %%
titles = {label: label for label in spec.names} | {metrics.UNION: "whole"}
if have:
    true = out_of_fold[["case", "label", "volume_true"]].rename(columns={"volume_true": "true"})
    found = stored.merge(true)
    found["inside"] = found["true"].between(found["lower"], found["upper"])
    fig, axes = plt.subplots(1, len(titles), figsize=(style.WIDTH, 3.6))
    for ax, (label, title) in zip(axes, titles.items(), strict=True):
        rows = found[found["label"] == label].sort_values(["predicted", "case"]).reset_index()
        ax.vlines(rows.index, rows["lower"], rows["upper"], color=style.MUTED, alpha=0.5)
        for inside, colour in ((True, style.INK), (False, style.ERROR)):
            part = rows[rows["inside"] == inside]
            ax.scatter(part.index, part["true"], s=6, color=colour, zorder=3)
        ax.set(
            title=f"{title}: {100 * rows['inside'].mean():.0f} % inside", xlabel="volumes, by predicted size", xticks=[]
        )
    axes[0].set_ylabel("volume (mm³)")
    session.save(fig, "conformal")

# %% [markdown]
# The promise of 90 % holds on average and may fail for some sizes. So coverage is also shown for small and large predicted volumes. *Random
# halves* calibrates on a random half of the subjects and tests on the other, many times; there the bar contains 95 % of the splits.

# %%
groups = {
    "all": "all volumes",
    "tercile 1": "smallest third",
    "tercile 2": "middle third",
    "tercile 3": "largest third",
    "halves": "random halves",
}
if have:
    shares = studied["conformal_coverage"].query("method == 'chosen'").rename(columns={"coverage": "value"})
    rows = shares[shares["group"].isin(groups)]
    rows = rows.assign(row=rows["group"].map(groups), series=rows["label"].map(titles))
    colours = {label.name: label.colour for label in spec.labels} | {"whole": style.INK}
    xlabel = "fraction of true volumes inside their interval"
    fig = intervals.dots(rows, xlabel, colours, line=("promised", coverage.LEVEL))
    slices.heading(fig, "Coverage is near 90 % for small and large volumes")
    session.save(fig, "coverage")
    held = shares[shares["group"] == "all"].set_index("label")
    fold = shares[shares["group"].str.startswith("fold")].set_index(["group", "label"])["value"]
    session.claim(
        (held["low"] < coverage.LEVEL).all() and (held["high"] > coverage.LEVEL).all(),
        f"""**The intervals keep their promise: {100 * held["value"].min():.1f} % to {100 * held["value"].max():.1f} % of true volumes are inside.** An interval of the whole
hippocampus is {held.loc["union", "width"]:.0f} mm³ wide on average. A single fold may miss the promise: the lowest coverage is {100 * fold.min():.1f} %
({fold.idxmin()[1]} part, {fold.idxmin()[0]}).""",
    )

# %% [markdown]
# The promise holds on average for volumes *like these*: the same scanners, healthy adults and adults with a psychotic disorder, one expert, crops
# cut around the hippocampus. It was not tested on another clinic's scans. `hipposeg predict` averages five networks, while the errors here are
# of one network each.
#
# ### Flags
#
# The predictor flags a mask that is unlike the masks of this data set: a volume out of range, loose pieces, a mask near the side of the crop.
# A limit lies where one in 200 of the flagship's out-of-fold masks is beyond it. Are flagged masks the bad ones?

# %%
if have:
    measured = studied["conformal_measures"].set_index("case").sort_index()
    limits, dice = (
        card.read().limits,
        out_of_fold[out_of_fold["label"] == "mean"].set_index("case")["dice"].sort_index(),
    )
    flagged = pd.Series([bool(quality.flags(row, limits)) for row in measured.to_dict("records")], measured.index)
    bad = int(flagged[dice.nsmallest(int(flagged.sum())).index].sum())
    session.claim(
        bad < 0.4 * flagged.sum(),
        f"""**Mostly not.** {flagged.sum()} of {len(flagged)} masks have a flag. Their mean Dice is {dice[flagged].mean():.3f}, that of the others
{dice[~flagged].mean():.3f}; among the {flagged.sum()} worst masks, flags: {bad}. A plausible mask may be wrong without a flag.""",
    )

# %% [markdown]
# Flags are made for files and crops that are not like those of training. One test crop, mirrored, and predicted by the network that never saw its subject:

# %%
if have:
    middle = tables.cases_by_rule(dice[out_of_fold.query("fold == 0")["case"].unique()])["median"]
    crop = scan.read(session.cohort.folder / "imagesTr" / spec.file_name(middle))
    mirrored = dataclasses.replace(crop, image=np.ascontiguousarray(crop.image[::-1]))
    flags = segment.segment(mirrored, ensemble.load_ensemble(folds=(0,))).reasons
    print(f"case {middle:03d}, mirrored:", *flags, sep="\n- ")
    session.claim(len(flags) > 1, f"**This mirrored crop has {len(flags)} flags.** Other crops were not tested.")

# %% [markdown]
# ## 7. Two hippocampi of one subject
#
# Which of a subject's volumes is left is not known, so they are *first* and *second* by case number. Does the network see the **difference**
# between the two? And are its **errors** on both alike? If so, they are not two independent tests.

# %%
whole = f"{registry.FLAGSHIP}.grouped-all.s0.standard"
sides = {run.name: run.rows for run in shown} | ({whole: out_of_fold} if len(out_of_fold) else {})
both_sides = siblings.study(sides, (*spec.names, metrics.UNION))
making.write(session.ws, "siblings", both_sides)
chosen = whole if whole in sides else flagship.name
of_union = both_sides[(both_sides["run"] == chosen) & (both_sides["label"] == metrics.UNION)]
if len(of_union):
    rows = siblings.pairs(sides[chosen], metrics.UNION)
    true, predicted = (rows[f"{name}_second"] - rows[f"{name}_first"] for name in ("true", "predicted"))
    words_true, words_error = "second minus first (mm³)", "error of the {} (mm³)"
    panels = [
        pairs.Pairs(
            "Differences are seen", true, predicted, style.INK, f"true {words_true}", f"predicted {words_true}"
        ),
        pairs.Pairs(
            *("Errors go together", rows["error_first"], rows["error_second"], style.INK),
            *(words_error.format(name) for name in ("first", "second")),
        ),
    ]
    session.save(pairs.equality(panels, 2), "sides", subjects=len(rows))

# %%
one = of_union.iloc[0] if len(of_union) else dict.fromkeys(both_sides.columns, 0.0)
session.claim(
    one["r_error_low"] > 0 and one["r_difference_low"] > 0,
    f"""**Errors on both sides correlate with {one["r_error"]:.2f}** ({one["r_error_low"]:.2f} to {one["r_error_high"]:.2f}), and Dice with
{one["r_dice"]:.2f}: a subject's volumes are not independent, so bootstrap intervals resample subjects. Shared errors cancel in a difference, and
predicted and true
differences correlate with {one["r_difference"]:.2f} ({one["r_difference_low"]:.2f} to {one["r_difference_high"]:.2f}).""",
)

# %% [markdown]
# ## 8. Where along the hippocampus?
#
# The true hippocampus is cut into ten parts of equal length, from anterior to posterior. Above: wrong tissue in the average volume. Below:
# the same as a fraction of the true tissue there.

# %%
wrong = {run.name: errors.of_run(run, session.cohort) for run in shown}
places = errors.study(shown, wrong, session.cohort)
making.write(session.ws, "errors", places)
columns = {run.name: named[run.name] for run in (shown[0], flagship)}
fig = mistakes.by_position(places, columns, errors.POSITIONS, ("anterior end", "posterior end"))
slices.heading(fig, "Errors are everywhere; parts are confused at one plane")
session.save(fig, "positions")
mine = places[places["run"] == flagship.name]
at = mine[mine["by"] == "position"].pivot(index="bin", columns="kind", values="mm3").loc[list(errors.POSITIONS)]
near = mine[(mine["by"] == "distance") & (mine["bin"] == errors.DISTANCES[0])]["mm3"].sum() / at.to_numpy().sum()
ends = at.iloc[[0, 1, 2, -3, -2, -1]].to_numpy().sum() / at.to_numpy().sum()
session.claim(
    near > 0.85 and 0.35 < ends < 0.5 and at["swap"].idxmax() in errors.POSITIONS[4:7],
    f"""**Errors are everywhere along the border.** {100 * near:.0f} % of the wrong tissue lies within a voxel of the true border, and
{100 * ends:.0f} % in the outer
two fifths of the length. The two parts are confused only near the plane between them, which shows no visible edge in the image.""",
)

# %% [markdown]
# ## 9. Twelve ways to score the same masks
#
# Each way was found in a paper or a published project. The table shows the score that it gives the flagship's masks; where masks of several seeds are
# stored, as for the plain networks, `studies/inflation.csv` has their means.

# %%
seeds = [comparisons.seeds(everything, registry.RunSpec(run.model, schedule=run.config["schedule"])) for run in shown]
stored = [[one for one in load.runs(rows, session.ws) if one.has_masks] for rows in seeds]
inflated = inflation.study(stored, session.cohort, session.folds["grouped"][0]["train"])
making.write(session.ws, "inflation", inflated)
mine = inflated[inflated["run"] == flagship.name].set_index("practice")
table = mine[["honest", "shown", "difference", "low", "high"]].rename(index=words.PRACTICES).rename_axis(None)
described = [inflation.PRACTICES[name][1] for name in mine.index]
display(table.assign(**{"what is done": described}).style.format(precision=4, na_rep="").set_uuid("practices"))

# %% [markdown]
# Two rows concern no network: an empty prediction, and a mean label map stretched to the truth's own bounding box. The best epoch adds little
# because Dice was noted only a few times.
#
# ### What five projects report
#
# The projects that these notebooks learned from, each with its headline score, what that score is by its own files, and our model of the same
# kind. A to E are student projects. Fair scores of C are estimates, D and E use other data, and all splits are by volume or slice: this is no ranking.

# %%
if not session.ws.is_phantom:
    here = everything.query("folds == 'grouped' and fold == 0 and label == 'mean'")
    each = [comparisons.seeds(here, registry.RunSpec(model)) for model in here["model"].unique()]
    claimed = published.table(compare.means(pd.concat(each)), inflated)
    making.write(session.ws, "claims", claimed)
    claimed = claimed.rename(
        columns={"scored_their_way": "our plain network, nearest way", "ours": "our model of this kind"}
    )
    hidden = ["low", "high", "seeds", "practice", "twin", "estimated", "source", "url"]
    display(claimed.drop(columns=hidden).style.format(precision=3, na_rep="").hide(axis="index").set_uuid("claims"))

# %%
session.facts(practices=len(mine) - 1, masks_reach=float(mine["shown"].max()))
session.claim(
    mine.loc["pooled-nothing", "shown"] > 0.65 and mine["difference"].drop("pooled-nothing").idxmax() == "nsd2",
    f"""**Surface Dice at 2 mm, printed as Dice, adds most to a real prediction: {mine.loc["nsd2", "difference"]:+.3f}.** An empty prediction scores
{mine.loc["pooled-nothing", "shown"]:.3f} when slices are pooled with the background. The projects' scores do not show how good their networks are.""",
)

# %% [markdown]
# ## What we learned

# %%
session.claim(
    have,
    """**Can the results be trusted? On scans like these, yes: scores, probabilities and volume intervals hold. Other scans can break the networks.**

1. The contralateral hippocampus in training adds nothing that matters. Other slices of the test volume do inflate a score.
2. The flagship's probabilities are calibrated, and its volume intervals keep their promise. Its uncertainty finds bad volumes weakly at best.
3. A mirrored scan or a strong bias field breaks networks trained without them. Flags caught the mirrored crop that was tried.

Scans of another clinic, with their own experts' masks, could change all of this.""",
)

# %% [markdown]
# ## Limits
#
# - Changed scans, crops and probabilities were studied with one seed of each network, so they rank no networks.
# - A simulated bias field is not a real one, and a rotated crop is not a rotated head.
# - Calibration was measured near the border, on one fold.
# - The subjects that calibrate a fold's intervals also trained that fold's network, as in any cross-validation.
#
# ## Exercises
#
# **1.** Write the conformal quantile: of n scores, the k-th smallest with k = (n + 1) times the level, rounded up, and infinity if k is more than n.

# %% tags=["exercise"]
my_quantile = None  # your function of (scores, level)

# %%
if my_quantile is not None:
    for count in (5, 9, 19, 100):
        scores = np.random.default_rng(count).random(count)
        assert my_quantile(scores, 0.9) == coverage.quantile(scores, 0.9), f"wrong for {count} scores"
print("right" if my_quantile is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_quantile(scores, level):
#     # Rounding first: 0.9 * 10 is a little more than 9 in floating point.
#     k = int(np.ceil(round((len(scores) + 1) * level, 9)))
#     return np.sort(scores)[k - 1] if k <= len(scores) else np.inf
# ```
#
# </details>
#
# **2.** Write temperature scaling for any number of classes: probabilities (N, K) and a temperature give new probabilities, whose rows add up to 1.

# %% tags=["exercise"]
my_scaling = None  # your function of (probabilities, temperature)

# %%
if my_scaling is not None:
    rows = np.random.default_rng(0).dirichlet(np.ones(3), size=20)
    assert np.allclose(my_scaling(rows, 1.7), calibration.scaled(rows, 1.7)), "divide the logarithms by the temperature"
print("right" if my_scaling is not None else "not yet written")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_scaling(probabilities, temperature):
#     powers = np.exp(np.log(probabilities) / temperature)
#     return powers / powers.sum(axis=1, keepdims=True)
# ```
#
# </details>
#
# ## References
#
# - Guo et al. 2017, calibration and temperature, [arXiv:1706.04599](https://arxiv.org/abs/1706.04599)
# - Vovk, Gammerman and Shafer 2005, conformal prediction, [doi:10.1007/b106715](https://doi.org/10.1007/b106715)
# - Lei et al. 2018, distribution-free intervals, [doi:10.1080/01621459.2017.1307116](https://doi.org/10.1080/01621459.2017.1307116)
# - Angelopoulos and Bates 2021, an introduction, [arXiv:2107.07511](https://arxiv.org/abs/2107.07511)
# - Geifman and El-Yaniv 2017, risk and coverage, [arXiv:1705.08500](https://arxiv.org/abs/1705.08500)

# %%
session.finish(*(making.path_of(session.ws, name) for name in ("inflation", "siblings", "errors")))
