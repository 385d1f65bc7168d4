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
# # 07. Evaluation: where the models agree with the experts, and where not
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/07_evaluation.ipynb)
#
# **Question.** How good are the trained runs on volumes of people they have never seen, how sure can we be, and what
# do they get wrong?
#
# **What you will learn**
# - which measures belong in a table of segmentation results, and what each of them overlooks;
# - why an interval must be over subjects when each person contributes two volumes;
# - how to compare two runs on the same subjects, and when to withhold a conclusion;
# - how to take errors apart: wrong part, too much, too little, and how far from the border;
# - what a predicted volume is worth to someone who needs the volume;
# - how to give a single volume an error bar that keeps its promise, and what that promise leaves out;
# - how ways of scoring that are in use make the same masks look better.
#
# **Reads:** the data set, `folds.json`, the tables of finished runs with `masks/`, the weights of the package, and what
# `hipposeg-lab study` has written. Nothing is trained here; one volume is predicted.
# **Writes:** `comparisons.csv`, `studies/*.csv`, `explorer/`, `flagship.json`, `figures/07_*`, `facts/07_evaluation.json`.
# **Run time:** a few minutes.

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
from sklearn.metrics import ConfusionMatrixDisplay

from hipposeg import files, stats
from hipposeg.experiments import RunSpec, plan
from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.metrics import MEAN, UNION, labels_of
from hipposeg.notebook import start
from hipposeg.predict import card, quality
from hipposeg.predict.ensemble import load_ensemble
from hipposeg.predict.scan import read
from hipposeg.predict.segment import segment
from hipposeg.results import compare, load, tables
from hipposeg.results.load import ATLAS
from hipposeg.viz import curves, slices
from hipposeg.viz import intervals as charts
from hipposeg.viz.style import ERROR, INK, MUTED, WIDTH, line_style
from hipposeg_lab.figures import mistakes
from hipposeg_lab.figures import pairs as pairs_of
from hipposeg_lab.figures import trust as pictures
from hipposeg_lab.studies import (
    comparisons,
    conformal,
    errors,
    explorer,
    inflation,
    making,
    published,
    siblings,
)
from hipposeg_lab.studies.published import PUBLISHED

session = start("07_evaluation", profile)
spec, cases = session.spec, session.cohort.cases

# %% [markdown]
# ## 1. Every run that was found
#
# A run is scored once, right after its prediction, and its scores are kept in `scores.csv.gz`. Evaluation reads this
# table and checks it:
# - a run that does not cover exactly the test cases of its fold is an error, not a smaller sample;
# - on the real data, a score beyond the agreement of human raters sets off the **leak alarm**: it means that ground truth
#   is in the input.
#
# The main split is `grouped`, fold 0: no subject is on both sides.

# %%
everything = session.results
scores = plan.finished(everything, plan.main(session.ws.profile))
runs, results = load.runs(scores, session.ws), tables.summary(scores, spec)
names = {run.name: run.model for run in runs}
atlas, networks = next(run for run in runs if run.is_atlas), [run for run in runs if not run.is_atlas]
best = max(networks, key=lambda run: run.mean())
session.say(f"""**{session.every_run["run"].nunique()} finished runs**, of which the {len(runs)} of the notebooks' main sections are shown:
{", ".join(f"`{name}`" for name in names.values())}.
They are scored on {best.values().size} volumes of {best.subjects().nunique()} subjects.""")

# %% [markdown]
# Sections that look into masks show a few runs only: the atlas, the plain 2D and 3D networks, the flagship, and the run
# with the highest mean Dice.

# %%
picked = [run for run in runs if run.model in comparisons.SHOWN or run is best]
short = {run.name: run.model for run in picked}
session.say(f"Shown: {', '.join(f'`{name}`' for name in short.values())}.")

# %% [markdown]
# ## 2. The table of results
#
# The first row is the **image-free atlas**: the average training label map stretched to the box, with no look at the
# image (notebook 01). The boxes of this data set were cut around the truth, so even that scores well above zero. What a
# network adds is its distance from the first row.
#
# - **Dice**: twice the overlap over the sum of both sizes. Computed per volume and part; *mean* is the mean of the
#   parts.
# - **union**: the Dice of the whole hippocampus, blind to errors between its parts. It is higher by construction:
#   never compare it with a mean.
# - **NSD** (normalised surface Dice): the share of both surfaces that lies within 1 or 2 mm of the other.
# - **HD95, MSD**: the 95th percentile and the mean of the distances between both surfaces.
# - **volume bias, volume error**: predicted minus true volume, signed and absolute; here the mean over the parts.
#
# Background is never averaged in. If one of two masks is empty, overlap is zero and distances do not exist; the last
# column counts such volumes.

# %%
display(tables.readable(results, names, spec))

# %% [markdown]
# ### Intervals over subjects
#
# The interval beside the mean Dice comes from drawing people, with replacement, many times. A person's two volumes
# are drawn together, since two sides of one head are alike. Treating them as strangers pretends to know more than we
# do. For the run with the highest mean Dice:

# %%
dice = best.values()
over_people = stats.interval(dice.to_numpy(), best.subjects().to_numpy())
over_volumes = stats.interval(dice.to_numpy(), dice.index.to_numpy())
drawn = {"people (used here)": over_people, "volumes, as if unrelated": over_volumes}
factor = over_people.width / over_volumes.width if over_volumes.width else float("nan")
display(pd.DataFrame({name: vars(one) | {"width": one.width} for name, one in drawn.items()}).T.round(4))
session.say(f"For `{names[best.name]}`, drawing people makes the interval **{factor:.2f}** times as wide.")

# %% [markdown]
# **What the interval does not show:** how much another seed, or another fold, would change the run. It answers one
# question only: what if other people had been scored?

# %% [markdown]
# ## 3. The runs side by side
#
# One row for each run: both parts in their colours, the mean as a black diamond. The dashed line is the atlas' mean.

# %%
colours = {label.name: label.colour for label in spec.labels} | {"mean": INK}
shown = results[results["label"].isin(list(colours))].assign(row=results["run"].map(names))
shown = shown.rename(columns={"label": "series", "dice": "value", "dice_low": "low", "dice_high": "high"})
session.save(
    charts.dots(
        shown,
        "Dice, mean over scored volumes (bars: 95 % interval over subjects)",
        colours,
        line=("image-free atlas", atlas.mean()),
        numbers="mean",
    ),
    "dice",
)

# %% [markdown]
# Overlapping intervals do not mean that two runs are alike: all were scored on the same people, and what is hard for
# one is often hard for the other. So we take **differences within people**: the mean of a person's volumes in one run
# minus that in the other. Each person counts once here, but each volume once in the table, so these are not quite the
# differences of the table's means. First, every run against the atlas.

# %%
of_mean = scores[scores["label"] == MEAN]
from_atlas = compare.differences(of_mean, atlas.name, "run").rename(names)
display(tables.readable_differences(from_atlas))
gain = from_atlas.loc[names[best.name]]
session.say(f"`{names[best.name]}` minus the atlas: **{gain['difference']:+.3f}** Dice "
            f"(95 % interval {gain['low']:+.3f} to {gain['high']:+.3f}, {gain['subjects']:.0f} subjects).")  # fmt: skip

# %% [markdown]
# Now the networks among themselves, each against the first of them. This is one family of comparisons, so
# *p*, from Wilcoxon's signed-rank test over subjects, is adjusted for their number (Holm). The intervals are not adjusted,
# so one may exclude zero where *p* is large. The conclusion is withheld for single-seed runs: a difference between two
# *runs* is not one between two *architectures*, because another seed might turn it round.

# %%
reference = networks[0]
between = compare.differences(of_mean[of_mean["run"] != atlas.name], reference.name, "run").rename(names)
session.say(f"Difference in mean Dice from `{names[reference.name]}`:" if len(between) else "There is one network.")
display(tables.readable_differences(between))

# %% [markdown]
# ## 4. Conclusions, and five folds
#
# What does hold over seeds? The comparisons are planned: which models are compared with which was written down before any
# of these runs was scored. Each family has one reference and its own adjustment of *p*. With
# three seeds or more there is a **conclusion**: *better* or *worse* if the interval of the difference excludes zero,
# *equivalent* if it lies within the band that is too small to matter, else *inconclusive*. It rests on the interval, which
# also draws seeds; *p* averages the seeds first and knows nothing of their luck.

# %%
planned = comparisons.planned(everything)
judged, by_fold = comparisons.table(planned), comparisons.five_folds(planned, labels_of(spec))
comparisons.write(session.ws, judged)
making.write(session.ws, "folds", by_fold)
if len(judged):
    session.save(charts.forest(comparisons.headed(judged), stats.EQUIVALENCE_MARGIN), "conclusions")
counted = {word: int((judged["conclusion"] == word).sum()) for word in compare.CONCLUSIONS}
counted["without a conclusion (fewer than three seeds)"] = len(judged) - sum(counted.values())
said = ", ".join(f"{count} {word}" for word, count in counted.items())
session.say(f"{planned['run'].nunique()} planned runs are finished, {len(judged)} comparisons: {said}.")

# %% [markdown]
# **What it does not show:** what a model could reach with a recipe of its own. A conclusion is about two recipes on these
# data, and *inconclusive* is not *equivalent*.
#
# One fold is also one draw of people, so the flagship is trained on all five: on folds split by person, and on the folds
# split by volume that published numbers use; the atlas stands above it. Means over folds 1 to 4 stand apart: pilots looked
# at fold 0 of `nnunet`. Of `grouped` it is the other way round: recipes were developed on people who train in fold 0 and
# are scored in folds 1 to 4, so fold 0 is the one that no choice was made on.

# %%
if len(by_fold):
    ends = zip(by_fold["dice"], by_fold["low"], by_fold["high"], strict=True)
    text = by_fold.assign(text=[f"{dice:.4f} ({low:.4f} to {high:.4f})" for dice, low, high in ends])
    parts = {"all": "folds 0 to 4", "1 to 4": "folds 1 to 4"}
    text["part"] = text["part"].map(lambda part: parts.get(part, f"fold {part}"))
    wide = text.pivot(index=["folds", "part", "volumes", "subjects", "model"], columns="label", values="text")
    display(wide[list(labels_of(spec))].rename_axis(columns=None))
else:
    session.say("**Not trained yet:** none of the flagship's ten runs.")

# %% [markdown]
# ## 5. Volume by volume
#
# A mean hides its worst cases, and these are what a user remembers. Each dot is one scored volume; the black bar is
# the median.

# %%
panels = {"dice": ("Overlap", "Dice"), "hd95": ("Distance", "95 % Hausdorff distance (mm)")}
points = [
    pd.DataFrame({"row": part["run"].map(names), "series": part["label"], "value": part[metric], "panel": title})
    for metric, (title, _) in panels.items() for part in [scores[scores["label"].isin(spec.names)]]
]  # fmt: skip
session.save(charts.swarm(pd.concat(points), dict(panels.values()), colours), "cases")
low = best.values().sort_values().head(3)
lowest = ", ".join(f"case {case:03d} ({value:.3f})" for case, value in low.items())
session.say(f"Lowest mean Dice of `{names[best.name]}`: {lowest}. "
            f"Standard deviation over volumes: {best.values().std():.3f}.")  # fmt: skip

# %% [markdown]
# **What we see.** A strip with a long tail has failures that its mean does not tell. Dice and distance do not fail
# together: a few stray voxels far away leave Dice alone and ruin HD95. **What it does not show:** whether a low score
# is the network's fault or the rater's.

# %% [markdown]
# ## 6. What goes wrong
#
# ### Which class is taken for which?
#
# Voxels of all scored volumes together: a row is the true class, and says where its voxels went. The atlas stands
# beside the run with the highest mean Dice.

# %%
taken_apart = errors.mistakes([run for run in runs if run.has_masks], session.cohort)
fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8))
for ax, run in zip(axes, (atlas, best), strict=True):
    counts = taken_apart[run.name].confusion
    shares = ConfusionMatrixDisplay(
        counts / counts.sum(axis=1, keepdims=True), display_labels=("background", *spec.names)
    )
    shares.plot(ax=ax, cmap="Blues", values_format=".1%", colorbar=False)
    ax.set(title=names[run.name], xlabel="predicted", ylabel="true")
    ax.grid(False)
session.save(fig, "confusion")

# %% [markdown]
# **What it does not show:** the background row depends on how much background the box holds. So count errors in mm³
# instead.
#
# ### Wrong part, too much, too little
#
# A wrong voxel is one of three kinds: one part taken for the other, background taken for hippocampus, or hippocampus
# missed. If most of them touch the true border, model and rater differ by where exactly a line is drawn; errors far from
# it are another matter.

# %%
volumes = {names[name]: found.volumes.mean().to_dict() for name, found in taken_apart.items()}
words, kind_colours = zip(*mistakes.KINDS.values(), strict=True)
shown = pd.DataFrame(volumes).T[list(mistakes.KINDS)].set_axis(words, axis=1)
session.save(mistakes.bars(shown, kind_colours, "wrong tissue in the average volume (mm³)"), "errors")
mine, touching = volumes[names[best.name]], float((taken_apart[best.name].depths <= min(spec.spacing)).mean())
session.say(f"""`{names[best.name]}`, per volume: {mine["swap"]:.0f} mm³ in the wrong part,
{mine["false_positive"]:.0f} mm³ too much, {mine["missed"]:.0f} mm³ missed.
**{100 * touching:.0f} %** of its wrong voxels touch the true border.""")

# %% [markdown]
# **What we see.** Where a thin organ is concerned, the border is everything: a large share of all voxels touches it,
# and an error of one voxel there costs several points of Dice. **What it does not show:** that the truth itself is
# uncertain there. Only a second rater could.
#
# ### Where along the hippocampus?
#
# From its anterior end to its posterior end the hippocampus is cut into ten parts of equal length. Above: how much is
# wrong there in the average volume; below: the same as a share of the true tissue there, since the ends are thin and the
# middle is thick.

# %%
wrong = {run.name: errors.of_run(run, session.cohort) for run in picked}
places = errors.study(picked, wrong, session.cohort)
making.write(session.ws, "errors", places)
columns = {run.name: short[run.name] for run in picked if run.name == best.name or run.model in (ATLAS, FLAGSHIP)}
session.save(mistakes.by_position(places, columns, errors.POSITIONS, ("anterior end", "posterior end")), "positions")
at = places[(places["run"] == best.name) & (places["by"] == "position")].groupby("bin", sort=False)["mm3"].sum()
ends_share = (at[list(errors.POSITIONS[:3])].sum() + at[list(errors.POSITIONS[-3:])].sum()) / at.sum()
session.say(f"`{short[best.name]}`: **{100 * ends_share:.0f} %** of what is wrong lies in the first or last fifth of "
            "the true length, or beyond it; errors spread evenly along the length would put 40 % there.")  # fmt: skip

# %% [markdown]
# **What we see.** A swap can only happen where both parts are near, so its bars mark the plane between them; raters draw
# that plane by a rule about slices, not by a visible edge. Too much and too little occur all along. As a share of the
# tissue they are largest at the thin ends, where the rater has to decide in which slice the hippocampus begins. **What it does not show:** whose decision was right.
#
# ### How far from where it should be?
#
# For a swap the distance is that to the nearest voxel of the part that was predicted; for tissue that was added, that to
# the nearest true hippocampus; for tissue that was missed, that to the nearest true background.

# %%
rows = places[(places["by"] == "distance") & places["run"].isin(list(columns))]
amounts = rows.pivot(index=["kind", "run"], columns="bin", values="mm3")[list(errors.DISTANCES)]
shares = 100 * amounts.div(amounts.sum(axis=1).clip(lower=1e-9), axis=0)
shares = shares.reindex([(kind, run) for kind in mistakes.KINDS for run in columns])
shares.index = [f"{mistakes.KINDS[kind][0]}, {columns[run]}" for kind, run in shares.index]
session.save(mistakes.bars(shares, mistakes.DEPTHS, "share of the wrong tissue of this kind (%)"), "distances")

# %% [markdown]
# **What we see.** A prediction that reads the image is wrong by about a voxel nearly everywhere; one that does not read
# it is wrong by more. **What it does not show:** isolated islands, which are few voxels; HD95 sees them.

# %% [markdown]
# ## 7. Best, median and worst
#
# Chosen by rule, never by taste: the volumes with the highest, the middle and the lowest mean Dice of the run with
# the highest mean.

# %%
for rank, number in tables.cases_by_rule(best.values()).items():
    case, score = cases[number], best.values()[number]
    both = {"expert": case.label, "prediction": best.masks[number]}
    title = f"{rank.capitalize()}: case {number:03d}, mean Dice {score:.3f}"
    session.save(
        slices.three_plane(case.image[0], both, spec, title, spacing=case.spacing),
        f"overlay-{rank}",
        key="overlay",
        rank=rank,
        model=names[best.name],
        number=number,
    )

# %% [markdown]
# **What we see.** Compare where outlines differ: along the whole border, at the plane between the parts, or at the
# thin ends. Three volumes illustrate; they prove nothing.
#
# ### Failures
#
# The volumes with the lowest mean Dice, each cut where most of its voxels are wrong. The sentence on each is made from
# its wrong voxels by rule: kinds of error by their share, the distance that holds more than half of a kind, the third of
# the long axis in which more than half lies, and what it does to the volume. `studies/words.csv` has it for every volume.

# %%
said = errors.in_words(picked, wrong)
making.write(session.ws, "words", said)
told = said[said["run"] == best.name].sort_values("dice", kind="stable").head(4)
views, outcome_spec = [], mistakes.outcome_spec(spec)
for one in told.itertuples():
    case = cases[one.case]
    both = {"expert": case.label, "outcome": mistakes.outcomes(best.masks[one.case], case.label)}
    where = slices.fullest(both["outcome"] > mistakes.RIGHT.value, 0, case.label.shape)
    views.append(slices.CaseView(f"case {one.case:03d}, {one.dice:.3f}", case.image[0], both, case.spacing, where))
fig, axes = slices.panels([[slices.plane_size(view.image, 0, view.spacing) for view in views]] * 2)
for row, (name, labels) in zip(axes, {"expert": spec, "outcome": outcome_spec}.items(), strict=True):
    for ax, view in zip(row, views, strict=True):
        slices.case_panel(ax, view, name, labels, 0)
        ax.set_title(view.title if name == "expert" else "", fontsize=9)
    row[0].set_ylabel(name)
slices.legend(fig, outcome_spec)
session.say("\n".join(f"- case {one.case:03d}: {one.words}" for one in told.itertuples()))
session.save(
    fig,
    "failures",
    volumes=len(told),
    model=short[best.name],
    told=" ".join(f"Case {one.case:03d}: {one.words}" for one in told.itertuples()),
)

# %% [markdown]
# **What we see.** Failures of a trained network are seldom holes or blobs far away; they are one decision made
# differently, such as where a part ends, all along a surface. **What it does not show:** whether a second rater would
# have sided with the first.
#
# ## 8. How training went
#
# At the left the loss that training lowers; at the right the Dice on the scored volumes, computed every few epochs
# **for display only** and without averaged views, so a curve may end lower than the table. Weights are always the last of a fixed schedule: nothing is chosen by looking at this curve,
# and a test proves that scored labels change no prediction.

# %%
histories = {names[run.name]: run.history for run in networks if run.history}
session.save(curves.training_curves(histories), "training")

# %% [markdown]
# **What we see.** A curve that still rises at its end asks for a longer schedule; one that is flat while the loss
# still falls is learning its training set by heart. **What it does not show:** time. Epochs of different networks do
# not cost the same.

# %% [markdown]
# ## 9. What the volumes are worth
#
# In practice the number that leaves the program is a volume. **Bland and Altman's plot** shows each volume's error
# against its size: the solid line is the bias, the dashed lines hold 95 % of the errors if these are about normal.
# The **intraclass correlation** (ICC) asks how much of the spread between volumes is real; here in the form that a
# constant bias lowers.

# %%
agreements = tables.volume_agreements(best, spec)
session.save(
    pairs_of.volume_agreement(scores[scores["run"] == best.name], agreements, spec), "volumes", model=names[best.name]
)
display(pd.DataFrame({
    (names[run.name], label): {"bias (mm³)": one.bias, "lower limit": one.low, "upper limit": one.high,
                               "ICC agreement": one.icc_agreement, "ICC consistency": one.icc_consistency}
    for run in runs for label, one in tables.volume_agreements(run, spec).items()}).T.round(2))  # fmt: skip

# %%
union = agreements["union"]
true_sd = best.values("union", "volume_true").std()
session.say(f"""The whole hippocampus is measured with a bias of **{union.bias:+.0f} mm³** and, for a single volume,
an error between {union.low:+.0f} and {union.high:+.0f} mm³ in 95 % of cases. Between the scored volumes the standard
deviation is {true_sd:.0f} mm³, so one standard deviation of the error is **{100 * union.sd / true_sd:.0f} %** of the
natural spread.""")

# %% [markdown]
# **What we see.** Limits of agreement are what a single measurement is worth; the bias can be corrected, the spread
# cannot. The atlas ignores the image, so its ICC shows how much the size of the crop alone tells about the volume: some, and too little to
# measure with. **What it does not show:** change over time.

# %% [markdown]
# ## 10. Two volumes of one person
#
# Most people contribute two volumes. Which is left and which is right cannot be told in these files, so they are *first*
# and *second* by case number. Two questions: does the network see the **difference** between a person's two sides? And
# are its **errors** on both sides alike? If they are, a person's two volumes are not two independent tests of the
# network, whatever the sample size says.

# %%
groups = {run.name: run.rows for run in picked}
whole, out_of_fold = f"{FLAGSHIP}.grouped-all.s0.standard", tables.out_of_fold(everything, FLAGSHIP)
groups |= {whole: out_of_fold} if len(out_of_fold) else {}
called = short | {whole: f"{FLAGSHIP}, all folds"}
both_sides = siblings.study(groups, (*spec.names, UNION))
making.write(session.ws, "siblings", both_sides)
kept = ["subjects", "r_true", "r_predicted", "r_difference", "r_error", "r_dice", "difference_low", "difference_high"]
rows = both_sides.assign(run=both_sides["run"].map(called)).set_index(["run", "label"])[kept]
shown = rows.set_axis(
    ["subjects", "true volumes", "predicted volumes", "true and predicted difference", "errors", "Dice",
     "lowest difference (mm³)", "highest (mm³)"], axis=1)  # fmt: skip
session.say(
    "Correlations between a person's two volumes, and the limits that hold 95 % of the errors of their difference:"
)
display(shown.style.format("{:.2f}").format("{:.0f}", subset=["subjects", *shown.columns[-2:]]).set_uuid("sides"))

# %%
drawn = whole if whole in groups else best.name
sides = both_sides[both_sides["run"] == drawn].set_index("label")
if len(sides):
    pairs = {label: siblings.pairs(groups[drawn], label) for label in sides.index}
    panels = [
        pairs_of.Pairs(f"{label}, r = {sides.loc[label, 'r_difference']:.2f}", rows["true_second"] - rows["true_first"],
                        rows["predicted_second"] - rows["predicted_first"], colours.get(label, INK),
                        "true second − first (mm³)", "predicted second − first (mm³)")
        for label, rows in pairs.items()
    ] + [
        pairs_of.Pairs(f"{label}, r = {sides.loc[label, 'r_error']:.2f}", rows["error_first"], rows["error_second"],
                        colours.get(label, INK), "error of the first (mm³)", "error of the second (mm³)")
        for label, rows in pairs.items()
    ]  # fmt: skip
    session.save(pairs_of.equality(panels, len(pairs)), "sides", model=called[drawn])

# %%
if len(sides):
    of_whole = sides.loc[UNION]
    session.say(f"""Over {of_whole["subjects"]:.0f} people, true and predicted difference of the whole hippocampus correlate with
**{of_whole["r_difference"]:.2f}** ({of_whole["r_difference_low"]:.2f} to {of_whole["r_difference_high"]:.2f}), errors of
both sides with **{of_whole["r_error"]:.2f}** ({of_whole["r_error_low"]:.2f} to {of_whole["r_error_high"]:.2f}),
and their Dice with **{of_whole["r_dice"]:.2f}**. The second volume is larger by
{of_whole["true_second_minus_first"]:+.0f} mm³ on average ({of_whole["true_second_minus_first_low"]:+.0f} to
{of_whole["true_second_minus_first_high"]:+.0f}).""")

# %% [markdown]
# **What we see.** The true volumes of two sides are so alike that their difference is small, and a small difference is
# hard to measure. Errors that go together cancel out in a difference, and they are the reason why intervals here are over
# people. If the second volume is larger on average, the numbering follows the sides. **What it does not show:** which
# side that is; the files do not say, and a guess from anatomy would be no evidence.
#
# ## 11. How scores get inflated
#
# The masks stay what they are; only the scoring changes. Every row is a practice found in published student projects
# (letters as in section 12) or in papers:

# %%
groups = []
for run in picked:
    seeds = comparisons.seeds(everything, RunSpec(run.model, schedule=run.config["schedule"]))
    groups.append([one for one in load.runs(seeds, session.ws) if one.has_masks])
inflated = inflation.study(groups, session.cohort, session.folds["grouped"][0]["train"])
making.write(session.ws, "inflation", inflated)
told = pd.DataFrame(inflation.PRACTICES, index=["practice", "what is done"]).T.set_index("practice")
display(told.style.set_uuid("practices"))
titles = {slug: title for slug, (title, _) in inflation.PRACTICES.items()}
session.save(mistakes.inflation(inflated, titles, short, best.name), "inflation", model=short[best.name])
seeds_of = ", ".join(f"`{group[0].model}` {len(group)}" for group in groups)
session.say(f"Seeds whose masks are stored, of which the mean is shown: {seeds_of}.")
nothing = float(inflated.loc[inflated["practice"] == "pooled-nothing", "shown"].iloc[0])
session.say(f"Predicting **nothing at all** scores **{nothing:.3f}** when voxels are pooled over 16 slices, the background counts "
            "and an absent class is perfect. Its honest score is 0.")  # fmt: skip

# %%
mine_inflated = inflated[inflated["run"] == best.name].set_index("practice").drop("honest")
text = mine_inflated[["honest", "shown", "difference"]].map("{:.4f}".format)
ends = zip(mine_inflated["low"], mine_inflated["high"], strict=True)
text["95 % interval"] = [f"{low:+.4f} to {high:+.4f}" if low == low else "only means were noted" for low, high in ends]
display(text.rename(index=titles).rename_axis(None))
order = (
    mine_inflated["difference"]
    .drop(["pooled-nothing", "truth-crop-no-image", "best-epoch"], errors="ignore")
    .sort_values()
)
session.say(f"For `{short[best.name]}` the practice on the same masks that adds most is *{titles[order.index[-1]]}* ({order.iloc[-1]:+.3f}), "
            f"the one that adds least *{titles[order.index[0]]}* ({order.iloc[0]:+.4f}).")  # fmt: skip

# %% [markdown]
# **What we see.** Practices that let background or empty slices count squeeze every method towards a perfect score: the
# worse a run is, the more it gains, so they also hide differences between methods. Others need the truth to be known
# beforehand: which slices hold something, and where. The best epoch adds little here because Dice was noted only a few times, at
# the end of a falling learning rate; whoever looks after every epoch of a constant rate gains more. **What it does not show:** leaks, which change the masks and not
# the scoring; they need networks that were trained with them.
#
# ## 12. Five projects' claims, and ours
#
# The projects that this series covers, each with its headline score, what its own files say that this is, and ours: the
# honest score of our model of the same kind, and what the nearest of the practices above makes of our plain network's masks.
# Fair scores of C are estimates, since its files hold none; practices are taken over as nearly as ours allow (C's
# CLIP network pooled 8 slices, ours 16). The data of D and E are others, and all splits are by volume or
# by slice: nothing is ranked here.

# %%
if session.ws.is_phantom:
    session.say("Claims about real data mean nothing beside a phantom's scores.")
else:
    here = everything[(everything["folds"] == "grouped") & (everything["fold"] == 0) & (everything["label"] == MEAN)]
    every_seed = pd.concat([comparisons.seeds(here, RunSpec(model)) for model in here["model"].unique()])
    claimed = published.table(compare.means(every_seed), inflated)
    making.write(session.ws, "claims", claimed)
    shown = claimed[["project", "method", "claimed", "called", "really", "value_low", "value_high", "model", "ours",
                     "scored_their_way"]].rename(columns={"value_low": "without that, from", "value_high": "to"})  # fmt: skip
    shown = shown.rename(columns={"scored_their_way": "our plain network, nearest practice"})
    shown = shown.style.format(precision=3, na_rep="")
    display(shown.hide(axis="index").set_uuid("claims"))

# %% [markdown]
# **What it does not show:** how good these projects' networks are. Several of them may well do better than their claims
# let anybody see.
#
# ## 13. Are the scores plausible?
#
# Published results tell whether our numbers are in a believable range. They are **not the same protocol**: their
# splits are by volume, so many of their scored volumes have the same person's other side in training, and their
# scored volumes are not ours. The test here is plausibility. The flagship was also scored on nnU-Net's own folds
# (section 4), which its row says: that number is the one to set beside those of nnU-Net and DynUNet.

# %%
here = results[results["run"] == best.name].set_index("label")["dice"]
ours = {"method": f"{names[best.name]} (this project)", "split": "by person, grouped fold 0", "source": "scores.csv.gz"}
rows = [{"method": one.method, "split": one.protocol, "anterior": one.anterior, "posterior": one.posterior,
         "mean": one.mean, "source": one.source} for one in PUBLISHED]  # fmt: skip
rows.append(ours | {label: here[label] for label in (*spec.names, "mean")})
own = by_fold[(by_fold["model"] == FLAGSHIP) & (by_fold["folds"] == "nnunet") & (by_fold["part"] == "all")]
shared = own.set_index("label")["dice"]
if len(shared):
    rows.append({"method": f"{FLAGSHIP} (this project)", "split": "nnU-Net's five folds, by volume", "source": "section 4",
                 **{label: shared[label] for label in (*spec.names, "mean")}})  # fmt: skip
means = pd.Series([one.mean for one in PUBLISHED], dtype=float).dropna()
if session.ws.is_phantom:
    session.say("Published scores concern the real data set. Beside a phantom's they would mean nothing.")
else:
    numbers = dict.fromkeys((*spec.names, "mean"), "{:.3f}")
    text = pd.DataFrame(rows).set_index("method").rename_axis(None).astype(dict.fromkeys(numbers, float))
    display(text.style.format(numbers, na_rep="").set_uuid("published"))
    session.say(f"Published means: lowest {means.min():.3f}, median {means.median():.3f}, highest {means.max():.3f}. "
                f"This run: {here['mean']:.3f} ({over_people.low:.3f} to {over_people.high:.3f} over subjects).")  # fmt: skip

# %% [markdown]
# ## 14. What is a leak worth?
#
# Most people are in this data set twice (notebook 01), and the folds that everybody uses split by volume. So a
# network has often met the other hippocampus of the person that it is scored on. Where slices are split at random, it
# has met the scored volume itself, two millimetres away. What does either gain?
#
# This can be measured by training, with nothing else changed. Two networks get as many volumes of as many people, the
# same recipe, steps and seeds, and are scored on the same volumes:
# - the *clean* one sees nothing of the scored people;
# - the *leaking* one sees their other hippocampus (`unet3d`, scored on one side, then on the other), or four of five
#   slices of their scored volume (`unet2d`, scored on the fifth).

# %%
leaks = making.read(session.ws, "leaks")
worth = {"leak-volumes": "the other hippocampus of each scored person", "leak-slices": "other slices of each volume"}
if leaks is None:
    session.say(making.absent("leaks"))
else:
    gained = leaks[leaks["label"] == "mean"].set_index("kind").rename(worth)
    session.save(charts.forest(gained, stats.EQUIVALENCE_MARGIN, "mean Dice, leaking minus clean training"), "leaks")
    for name, row in gained.iterrows():
        session.say(f"Training on **{name}**: {row['clean']:.4f} becomes {row['leak']:.4f}, a difference of "
                    f"**{row['difference']:+.4f}** ({row['low']:+.4f} to {row['high']:+.4f}): {row['conclusion']}.")  # fmt: skip
    session.facts(leaks=gained[["clean", "leak", "difference", "low", "high", "subjects", "conclusion"]].T.to_dict())

# %% [markdown]
# **How to read it.** A difference is the price of a split that ignores people, or volumes, in this data set and for these
# networks: the part of a score that would be gone on somebody new. **What it does not show:** that such a leak is harmless where it
# is small here. Two hippocampi of one head differ in shape, and one network saw each scan for minutes; larger networks
# and longer schedules remember more.

# %% [markdown]
# ## 15. Does it read the image, or the box?
#
# The published boxes were cut around the truth with margins that hardly vary. So we change the box and leave the
# tissue alone: up to three voxels are cut away at one side (never a labelled one), or added by reflection. A network
# that reads the tissue should not mind. Coordinate heads are told where in the box a voxel lies, and may mind more. What
# is cut away counts as background, which it is: a cut box tells a little more than a whole one, a padded one nothing.

# %%
boxes = making.read(session.ws, "box")
if boxes is None:
    session.say(making.absent("box"))
else:
    first = boxes["run"].iloc[0]
    changes = {"cut": ("Cut at one side", "voxels, mean over six sides"),
               "padded": ("Padded by reflection", "voxels, mean over six sides")}  # fmt: skip
    session.save(
        pictures.severity(boxes, changes, pictures.DIFFERENCE, (first,), stats.EQUIVALENCE_MARGIN), "box", first=first
    )

# %%
if boxes is not None:
    most = boxes["severity"].max()
    furthest = boxes[(boxes["label"] == "mean") & (boxes["severity"] == most)]
    sided = furthest[(furthest["run"] == first) & ~furthest["change"].isin(list(changes))]
    sided = sided.assign(value=sided["difference"], low=sided["difference_low"], high=sided["difference_high"])
    sided[["series", "row"]] = sided["change"].str.split(" ", n=1).tolist()
    session.save(
        charts.dots(sided, f"difference in mean Dice at {most:g} voxels", line=("no difference", 0.0)),
        "box-sides",
        first=first,
    )
    for change in ("cut", "padded"):
        found = furthest[furthest["change"] == change].set_index("run")
        told = "; ".join(f"`{run}` {row['difference']:+.4f} ({row['difference_low']:+.4f} to "
                         f"{row['difference_high']:+.4f})" for run, row in found.iterrows())  # fmt: skip
        session.say(f"**{change.capitalize()} by {most:.0f} voxels** at one side: {told}.")

# %% [markdown]
# **What we see.** How much of each score hangs on where a box ends, and which side matters. **What it does not show:**
# a box of another kind. These are still boxes around one hippocampus, off by a few millimetres; one that was placed by
# hand, or by another program, may be twice as large.
#
# ### Noise, turns, resolution, and files that lie
#
# Scanners differ, and files are written in many ways. Each change here has a severity; the first are within what the
# networks met in training. Two stand apart: intensities in another unit, which should do nothing (they are z-scored),
# and a mirrored axis, as from a header that was ignored. Turned volumes are answered turned, and the answer is turned
# back; the experts' own labels take the same way, to tell what that costs by itself.

# %%
robust = making.read(session.ws, "robustness")
if robust is None:
    session.say(making.absent("robustness"))
else:
    robust = robust[robust["label"] == "mean"]
    turning, asked = (robust[(robust["run"] == "expert's labels") == kind] for kind in (True, False))
    changes = {"rotation": ("Rotation", "degrees"), "noise": ("Noise", "SD of the image"), "bias field": ("Bias field", "SD of its logarithm"),
               "resolution": ("Resolution", "voxel side (mm)")}  # fmt: skip
    native = (asked["unit"] == "mm") & (asked["severity"] == 0)
    session.save(
        pictures.severity(asked.assign(severity=asked["severity"].mask(native, spec.spacing[0])), changes), "robustness"
    )

# %%
if robust is not None:
    steps = asked[~asked["change"].isin(list(changes)) & (asked["severity"] > 0)]
    steps = steps.assign(value=steps["dice"], series=steps["run"], row=[
        f"intensities ×{one.severity:g}" if one.change == "rescaled" else one.change for one in steps.itertuples()])  # fmt: skip
    session.save(charts.dots(steps, "mean Dice"), "rescaled")
    rescaled = asked[asked["change"] == "rescaled"]["difference"].abs().max()
    turned = asked[asked["change"].str.startswith("mirrored") & (asked["severity"] > 0)]
    low = turned.loc[turned["difference"].idxmin()]
    session.say(f"Rescaled intensities change the mean Dice by at most {rescaled:.4f}. The worst mirror image is "
                f"*{low['change']}* for `{low['run']}`: {low['difference']:+.3f}. Turning the experts' labels there "
                f"and back costs at most {-turning['difference'].min():.4f}.")  # fmt: skip
    worst = asked[asked["severity"] > 0].groupby(["run", "change"])["difference"].min().unstack()
    session.say("The largest loss of mean Dice in each panel:")
    display(worst.loc[list(dict.fromkeys(asked["run"])), list(dict.fromkeys(asked["change"]))].round(3))

# %% [markdown]
# **What we see.** Where a curve stays flat the network is safe; where it bends is its limit, and augmentation in
# training is what moves it. Compare the columns of mirrored boxes with those of poor scans: a wrong orientation is among the
# worst that can happen to a network that never met it, and the box does not look wrong. A program must check the header. **What it does not show:** other scanners. A simulated bias field is not a real one.

# %% [markdown]
# ## 16. Does it know when it is wrong?
#
# A network gives probabilities. Three questions decide what they are worth:
# - **Calibration.** Of all voxels that are called anterior with a probability of three quarters, are three quarters
#   anterior? Asked within 3 mm of a border only, since far away everything is easy. One number, a *temperature*, can
#   mend overconfidence; it is fitted on other people than those that it is judged on. The table gives the expected
#   calibration error before and after, and the interval over subjects of its fall.
# - **Detection.** Are the volumes that it is unsure about those that it gets wrong?
# - **Coverage.** If a person checks the most uncertain volumes, how good are the others?
#
# Uncertainty comes from one network, from three seeds, from moved views of one volume, from the flagship (moved views and
# a longer schedule), or from mirror images. The last works only for a network trained with them: elsewhere it is a trap.
# Dropout left on joins them when its run is there.

# %%
reliable = making.read(session.ws, "calibration")
if reliable is None:
    session.say(making.absent("uncertainty"))
else:
    ece = making.read(session.ws, "calibration_summary")
    session.save(
        pictures.reliability(reliable, making.read(session.ws, "calibration_scaled"), ece, spec), "reliability"
    )
    columns = ["ece_before", "ece_after", "temperature", "drop", "drop_low", "drop_high"]
    display(ece.set_index(["method", "label"])[columns].round(4))
    top = ece[ece["label"] == "predicted class"].set_index("method")
    better, worse = ("; ".join(top.index[kept]) or "none" for kept in (top["drop_low"] > 0, top["drop_high"] < 0))
    session.say(f"For the predicted class one temperature lowers the calibration error of: {better}. It **raises** that of: "
                f"{worse}. The intervals of the others hold zero.")  # fmt: skip

# %% [markdown]
# **What we see.** A curve flatter than the diagonal is too sure: what it calls likely happens too rarely, and what it
# calls unlikely too often. A temperature above one says the same; it changes no mask, only what is promised. **What it
# does not show:** that the expert was right. A probability of one half at a border that two experts would draw
# differently is no fault.
#
# ### Does uncertainty find the bad volumes?
#
# Three measures: *entropy* near the predicted border, the loss in Dice that the probabilities themselves promise
# (*expected*), and how far the members of an ensemble disagree. The rank correlation is with the true Dice (minus one
# is perfect); AUROC is the chance that a volume of the worst quarter is more uncertain than another one (one half is
# guessing).

# %%
detection = making.read(session.ws, "detection")
if detection is None:
    session.say(making.absent("uncertainty"))
else:
    text = detection.set_index(["method", "measure"]).round(3).astype(str)
    shown = pd.DataFrame({"Dice": text["dice"], **{
        name: text[name] + " (" + text[f"{name}_low"] + " to " + text[f"{name}_high"] + ")"
        for name in ("spearman", "auroc")}})  # fmt: skip
    display(shown)
    found = [f"*{row['measure']}* of *{row['method']}*" for _, row in detection.iterrows() if row["auroc_low"] > 0.5]
    session.say(
        f"{len(found)} of {len(detection)} intervals of the AUROC exclude guessing: {'; '.join(found) or 'none'}."
    )

# %%
if detection is not None:
    risk = making.read(session.ws, "risk_coverage").query("measure == 'expected' and coverage >= 0.2")
    fig, ax = plt.subplots(figsize=(WIDTH, 4.4))
    for index, (name, rows) in enumerate(risk.groupby("method", sort=False)):
        ax.plot(rows["coverage"], rows["dice"], label=name, **line_style(index))
    ax.plot(rows["coverage"], rows["oracle"], color=MUTED, linestyle="--", label=f"best possible order, {name}")
    dice = risk[risk["coverage"] == 1]["dice"]
    # A method far below the best would squeeze the others.
    ax.set(ylim=(dice[dice > dice.max() - 0.04].min() - 0.003, risk["oracle"].max() + 0.002), xlim=(1, 0.2))
    ax.set(xlabel="share of volumes kept, the most certain first", ylabel="mean Dice of those kept")
    fig.legend(loc="outside lower center", ncols=3)
    session.save(fig, "risk-coverage")

# %% [markdown]
# **What we see.** A curve that rises towards the right says that uncertainty finds what is bad; the dashed line is as
# far as that could go. With the trap, look at the Dice in the table first: no measure of uncertainty makes up for it.
# **What it does not show:** failures of another kind. The scored volumes hold no tumour, no motion, and no box around
# the wrong organ.

# %% [markdown]
# ## 17. A volume with an error bar
#
# Limits of agreement describe a sample. A user asks something else: *this* scan, this volume, give or take what?
# **Conformal prediction** answers without a model of the errors. Take volumes of people that a network never saw,
# and divide each error by a scale. Take the ratio that nine in ten of them stay below, with a small margin for their
# number: that ratio times the scale, up and down, is the interval of a new volume.
#
# - The errors are the flagship's on five grouped folds, each volume predicted by the one network that never saw its
#   person. Four folds calibrate, the fifth is scored, in turn.
# - A person's two volumes are alike, so calibration draws one of each person.
# - The scale decides who gets a wide interval: the predicted volume itself, or how far the views' volumes are apart
#   (the prediction averages slightly moved copies of the box). The rule, stated beforehand: the one that gives
#   narrower intervals on the calibration volumes. Coverage plays no part in the choice. A constant width is shown for
#   comparison and was no candidate.

# %%
calibrated = len(out_of_fold) and (session.ws.artifacts / conformal.INTERVALS).is_file()
parts = {label: label for label in spec.names} | {"union": "total"}
if calibrated:
    served, coverage = card.read(), making.read(session.ws, "conformal_coverage")
    intervals = conformal.covered(session.ws)
    fig, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.7))
    for ax, (label, title) in zip(axes, parts.items(), strict=True):
        rows = intervals[intervals["label"] == label].sort_values(["predicted", "case"]).reset_index()
        ax.vlines(rows.index, rows["lower"], rows["upper"], color=MUTED, alpha=0.5)
        ax.scatter(rows.index, rows["true"], s=6, c=np.where(rows["inside"], INK, ERROR), zorder=3)
        ax.set(title=title, xlabel="volumes, by predicted size", xticks=[])
    axes[0].set_ylabel("volume (mm³)")
    session.save(fig, "conformal")
    session.say(f"""Scale chosen in the five folds: {", ".join(served.scales)}.
    Outside: {(~intervals["inside"]).sum()} of {len(intervals)} intervals of
    {served.volumes} volumes ({served.people} people).""")
else:
    session.say(making.absent("conformal"))

# %% [markdown]
# Is the promise kept? Coverage is the share of intervals that hold the true volume. It is promised over all volumes,
# not for each kind of them, so it is shown for small and large predicted volumes, too. *Random halves* repeats
# calibration and scoring many times, with people split at random; there the bar holds 95 % of the splits.

# %%
if calibrated:
    groups_of = {"all": "all volumes", "tercile 1": "smallest third", "tercile 2": "middle third", "tercile 3": "largest third",
                 "halves": "random halves", **{f"fold {fold}": f"test fold {fold}" for fold in range(5)}}  # fmt: skip
    colours |= {"total": INK}
    shares = coverage[coverage["method"] == "chosen"].rename(columns={"coverage": "value"})
    shares = shares.assign(row=shares["group"].map(groups_of), series=shares["label"].map(parts))
    session.save(
        charts.dots(
            shares,
            "share of true volumes inside the interval",
            colours,
            line=(f"promised {served.level:.2f}", served.level),
        ),
        "coverage",
    )
    told = coverage.assign(part=coverage["label"].map(parts), width=coverage["width"].round(0))
    told["95 % interval"] = [f"{low:.3f} to {high:.3f}" for low, high in zip(told["low"], told["high"], strict=True)]
    thirds = told[told["group"].isin(["all", "tercile 1", "tercile 2", "tercile 3"])]
    display(thirds.pivot_table(index=["part", "method"], columns="group", values=["coverage", "width"]).round(3))
    held = told[(told["method"] == "chosen") & (told["group"] == "all")].set_index("part")
    plain = told[(told["method"] == "constant") & (told["group"] == "all")].set_index("part")
    session.say("\n".join(
        f"- **{part}**: {row['coverage']:.3f} of the intervals hold the truth ({row['95 % interval']} over subjects); "
        f"mean width {row['width']:.0f} mm³, of the constant interval {plain.loc[part, 'width']:.0f} mm³."
        for part, row in held.loc[list(parts.values())].iterrows()))  # fmt: skip

# %% [markdown]
# **How to read it.** Read the left panel first: a bar that reaches the dashed line agrees with the promise. Then compare
# the thirds: an interval of one width may cover small volumes too often and large ones too seldom. Scaling should even
# that out. Does it?

# %%
if calibrated:
    of_thirds = told[told["group"].str.startswith("tercile")].groupby(["part", "method"])["coverage"]
    spread = (of_thirds.max() - of_thirds.min()).unstack()
    session.facts(coverage_spread_over_thirds=spread.to_dict())
    session.say("Coverage of the thirds, highest minus lowest: " + "; ".join(
        f"{part} {row['chosen']:.3f} with the chosen scale, {row['constant']:.3f} with a constant width"
        for part, row in spread.iterrows()) + ".")  # fmt: skip
    single = told[(told["method"] == "chosen") & told["group"].str.startswith("fold")].set_index(["part", "group"])
    session.say("The lowest coverage of a single fold: " + "; ".join(
        f"{part} {single.loc[(part, group), 'coverage']:.3f} ({single.loc[(part, group), '95 % interval']}, {group})"
        for part, group in single.groupby(level="part")["coverage"].idxmin()) + ".")  # fmt: skip

# %% [markdown]
# **What it does not promise.**
# - Intervals are calibrated on other people than the one that they are for, but these people trained the networks whose
#   errors are counted, as in any cross-validation; and scale and width are found on the same volumes. So the promise is
#   kept about, not exactly.
# - `hipposeg predict` averages five networks, while the errors counted here are of one network each.
# - Coverage holds on average over volumes *like these*: same scanner types, same population (healthy adults and adults
#   with a psychotic disorder, says the data set's source), same rater, and boxes cut around the truth. Another clinic's
#   scans, older people, or a box placed by other means are not exchangeable with them.
# - It is no promise for a single kind of scan, such as the smallest volumes or the hardest images.
# - It says how far the network is from this rater, not from the anatomy.

# %% [markdown]
# ## 18. Use it on a scan
#
# `hipposeg predict SCAN... -o DIR` segments a whole head, or a crop such as those of this data set: it reads the file with
# all checks (voxel size, orientation, damage), predicts, and leaves a mask, volumes with intervals, and a page with the
# picture below. The command averages the networks of all five folds. Here it is one scored volume, the one with the
# middle mean Dice, so only the network that never saw its subject predicts it.

# %%
if calibrated:
    scored = out_of_fold[out_of_fold["label"] == MEAN].set_index("case").sort_index()
    middle = tables.cases_by_rule(scored.loc[scored["fold"] == 0, "dice"])["median"]
    scan = read(session.cohort.folder / "imagesTr" / spec.file_name(middle))
    ensemble = load_ensemble(folds=(0,))
    result = segment(scan, ensemble)
    session.save(result.show(), "qc", middle=middle)
    truth = intervals[intervals["case"] == middle].set_index("label")
    session.say(", ".join(f"{parts[label]}: predicted {result.volumes[parts[label]]}, true {truth.loc[label, 'true']:.0f} mm³"
                          for label in parts) + f"; status {result.status}")  # fmt: skip
else:
    session.say(making.absent("conformal"))

# %% [markdown]
# Look at the outlines first and at the numbers second. A flag says that the mask is unlike those of the data set: a volume
# out of range, pieces, a mask near the crop's side, parts in the wrong order, predictions that disagree. A plausible mask
# can still be wrong without a flag. This volume took part in calibrating its interval, as no user's volume does; section
# 17 leaves it out.

# %% [markdown]
# Do flags notice a mirrored crop? All training crops show a left hippocampus (or one stored like a left one). Here is the
# same volume, mirrored.

# %%
if calibrated:
    mirrored = segment(replace(scan, image=np.ascontiguousarray(scan.image[::-1])), ensemble)
    session.say(
        "\n".join(["Flags of the mirrored volume:", "", *(f"- {why}" for why in mirrored.reasons or ("none",))])
    )

# %% [markdown]
# The limits behind the flags are set where one in 200 of the flagship's out-of-fold masks lies beyond, for each measure
# and side. So some of these masks carry a flag by construction. Are they the bad ones?

# %%
if calibrated:
    measured = making.read(session.ws, "conformal_measures").set_index("case").sort_index()
    flagged = pd.Series(
        [bool(quality.flags(row, served.limits)) for row in measured.to_dict("records")], measured.index
    )
    dice = scored["dice"]
    session.say(f"{flagged.sum()} of {len(flagged)} masks carry a flag. Their mean Dice is {dice[flagged].mean():.3f}, "
                f"that of the others {dice[~flagged].mean():.3f}. Of the {flagged.sum()} masks with the lowest Dice, "
                f"{flagged[dice.nsmallest(int(flagged.sum())).index].sum()} carry one.")  # fmt: skip

# %% [markdown]
# **How to read it.** Where the flagged masks are no worse than the others, flags check the box and the file, and not the
# quality of a mask.
#
# ## 19. Files for the page
#
# The page lets a reader scroll through every scored case. It is made from artifacts alone, and the images are not among
# them. So the scored volumes are left here, compressed, each with the truth and the masks of one run per model.

# %%
with_masks = [run for run in runs if run.has_masks]
index = explorer.write(session.ws, session.cohort, with_masks)
sizes = [path.stat().st_size for path in index.parent.iterdir()]
session.say(f"""**{len(best.values())} cases** with the masks of {len(explorer.chosen(with_masks))} runs,
{sum(sizes) / 1e6:.1f} MB in all.""")

# %% [markdown]
# ## What we learned

# %%
headline = {label: float(here[label]) for label in labels_of(spec)}
session.facts(
    n_runs=len(runs), best_run=best.name, best_dice=headline,
    best_low=over_people.low, best_high=over_people.high,
    n_subjects=int(best.subjects().nunique()), n_volumes=int(best.values().size), atlas_dice=atlas.mean(),
    gain_over_atlas={"difference": gain["difference"], "low": gain["low"], "high": gain["high"]},
    errors_mm3=mine, errors_touching_border=touching, width_people_over_volumes=factor,
    volume_bias_mm3=union.bias, volume_limits_mm3=[union.low, union.high], volume_icc=union.icc_agreement,
    inflation=mine_inflated["difference"].to_dict(), predicting_nothing=nothing,
    errors_near_ends=float(ends_share), conclusions=counted,
)  # fmt: skip
kinds = {"swap": "one part taken for the other", "false_positive": "too much", "missed": "too little"}
session.say(f"""
- `{names[best.name]}` reaches a mean Dice of **{here["mean"]:.3f}**
  ({over_people.low:.3f} to {over_people.high:.3f}) on people it has never seen;
  the atlas, which ignores the image, reaches **{atlas.mean():.3f}**.
  The difference is what reading the image adds.
- Its largest kind of error is *{kinds[max(mine, key=mine.get)]}*, and {100 * touching:.0f} % of all wrong voxels
  touch the true border.
- The ICC of the whole hippocampus' volume is {union.icc_agreement:.2f}.
- The same masks can be made to score up to **{order.iloc[-1]:+.3f}** higher by scoring alone, and predicting nothing
  scores **{nothing:.3f}** in one of these ways.""")

# %% [markdown]
# - Report intervals over the unit that was sampled, here people. Compare runs within people, and withhold a conclusion
#   from single seeds.
# - No single measure is enough: overlap forgives stray voxels, distance forgives size, volume forgives place.
# - Before a score is believed, ask over what it was averaged, what an absent class counts, and what had to be known.
#
# ## Limitations
# - **The boxes were cut around the truth.** Every score here rests on boxes whose size and place give the answer away
#   in part. Section 15 moves their sides by a few millimetres; nothing says that a score transfers to a box placed by
#   other means.
# - Changed images, boxes and probabilities were studied on one seed of each network, so differences between networks
#   carry no conclusion there.
# - One fold, and one seed for each run, under the standard profile. The interval covers the choice of people, not
#   that of the seed.
# - The run shown in detail is the one with the highest score on these very volumes, which flatters it a little.
# - One expert's labels are the truth. How far two experts would agree is not in this data set.
# - Limits of agreement take volumes as unrelated, though most people contribute two.
#
# ## Exercises
# 1. Replace `("dice", "hd95")` in section 5 by `("nsd1", "msd")`. Do the same volumes stand out?
# 2. Pass `best.values("union")` instead of `best.values()` to the first `stats.interval`. By how much does the score
#    rise, and why is that no progress?
# 3. Give `tables.cases_by_rule` the atlas' values instead of the best run's. Which shapes does the average miss?
# 4. Pool four slices instead of 16 in `inflation.SLICES`. What does predicting nothing score then, and why?
#
# ## References
# - Maier-Hein et al., *Metrics reloaded: recommendations for image analysis validation*, Nature Methods 2024.
#   doi:10.1038/s41592-023-02151-z
# - Nikolov et al., *Clinically applicable segmentation of head and neck anatomy for radiotherapy* (surface Dice),
#   JMIR 2021. doi:10.2196/26151
# - Bland and Altman, *Statistical methods for assessing agreement between two methods of clinical measurement*,
#   Lancet 1986. doi:10.1016/S0140-6736(86)90837-8
# - Shrout and Fleiss, *Intraclass correlations: uses in assessing rater reliability*, Psychological Bulletin 1979.
#   doi:10.1037/0033-2909.86.2.420
# - Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 1979.
#   jstor:4615733
# - Vovk, Gammerman and Shafer, *Algorithmic learning in a random world*, Springer 2005. doi:10.1007/b106715
# - Lei et al., *Distribution-free predictive inference for regression*, JASA 2018. doi:10.1080/01621459.2017.1307116
# - Angelopoulos and Bates, *A gentle introduction to conformal prediction*, 2021. arXiv:2107.07511
# - Owen, *The pigeonhole bootstrap*, Annals of Applied Statistics 2007. doi:10.1214/07-AOAS122

# %%
if not session.ws.is_phantom:
    told = {"model": FLAGSHIP, "chosen_on": "dev", "dims": MODELS[FLAGSHIP].dims}
    files.write_json(session.ws.artifacts / "flagship.json", told)
studies = ("inflation", "siblings", "errors", "words", "folds")
session.finish(
    session.ws.artifacts / "comparisons.csv",
    index,
    *(session.ws.artifacts / "studies" / f"{name}.csv" for name in studies),
)
