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
# - why an interval must be over people when each person contributes two volumes;
# - how to compare two runs on the same people, and when to withhold a verdict;
# - how to take errors apart: wrong part, too much, too little, and how far from the border;
# - what a predicted volume is worth to someone who needs the volume;
# - how to give a single volume an error bar that keeps its promise, and what that promise leaves out.
#
# **Reads:** the data set, `folds.json`, all finished runs in `runs/` with their `predictions/`, and, where they are,
# the flagship's weights and conformal intervals of the `full` profile. Nothing is trained here; one volume is
# predicted, in the last section.
# **Writes:** `results.csv`, `cases.csv`, `figures/07_*`, `facts/07_evaluation.json`.
# **Run time:** seconds for each run found; `timings.csv` has the measured time.

# %%
# Only on Colab: install the package.
import sys

if "google.colab" in sys.modules:
    import subprocess

    package = "hipposeg @ git+https://github.com/hipposeg/hipposeg"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)

# %% tags=["parameters"]
profile = "standard"

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import display

from hipposeg import stats
from hipposeg.config import Workspace
from hipposeg.metrics import labels_of
from hipposeg.notebook import start
from hipposeg.predict.model import load_model
from hipposeg.predict.scan import read_scan
from hipposeg.report.published import PUBLISHED
from hipposeg.runs import summary
from hipposeg.runs.table import FLOOR, collect, write_flagship
from hipposeg.studies import card, conformal, quality
from hipposeg.viz import conformal as pictures
from hipposeg.viz import evaluation, mistakes, qc, slices

session = start("07_evaluation", profile)
spec, cases = session.spec, session.cohort.cases
full = Workspace(session.ws.root, session.ws.dataset, "full")

# %% [markdown]
# ## 1. Every run that was found
#
# A run is scored once, right after its predictions are written, and its scores lie beside it. So evaluation only
# reads. `collect` finds all finished runs and refuses what cannot be trusted:
# - a run that does not cover exactly the scored cases of its fold is an error, not a smaller sample;
# - a run whose code has changed since is marked *older* in the CSV files and kept out of every comparison;
# - on the real data, a score beyond what human raters reach sets off the **leak alarm**: then truth has found its way
#   into the input.
#
# The main split is `grouped`, fold 0: no person is on both sides.

# %%
table = collect(session.ws, spec, session.folds)
runs = table.on("grouped", 0)
results = table.results[table.results["run"].isin([run.name for run in runs])]
scores = table.cases[table.cases["run"].isin(results["run"])]
names = evaluation.run_names(results)
best, floor = table.best("grouped", 0), table.floor("grouped", 0)
session.say(f"""**{len(table.runs)} runs found**, {len(runs)} of them on this fold:
{", ".join(f"`{name}`" for name in names.values())}.
They are scored on {best.values().size} volumes of {best.subjects().nunique()} people.
Marked older: {sum(run.older for run in table.runs)}.""")

# %% [markdown]
# ## 2. The table of results
#
# The first row is the **floor**: the average training label map stretched to the box, with no look at the image
# (notebook 01). The boxes of this data set were cut around the truth, so even that scores well above zero. What a
# network adds is its distance from the first row.
#
# - **Dice**: twice the overlap over the sum of both sizes. Computed per volume and part; *mean* is the mean of the
#   parts.
# - **union**: the Dice of the whole hippocampus, blind to errors between its parts. It is higher by construction:
#   never compare it with a mean.
# - **NSD** (normalised surface Dice): the share of both surfaces that lies within 1 or 2 mm of the other.
# - **HD95, MSD**: the 95th percentile and the mean of the distances between both surfaces.
# - **volume bias, volume error**: predicted minus true volume, signed and absolute.
#
# Background is never averaged in. If one of two masks is empty, overlap is zero and distances do not exist; the last
# column counts such volumes.

# %%
display(summary.readable(results, names, spec))

# %% [markdown]
# ### Intervals over people
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
# One row for each run: both parts in their colours, the mean as a black diamond. The dashed line is the floor's mean.

# %%
session.save(
    evaluation.dice_by_run(results, spec, FLOOR), "dice",
    "Dice of every run on grouped fold 0, for both parts and their mean, with 95 % intervals over people. "
    "The first row never reads an image: the distance from it is what a network adds.",
    "Dots with horizontal intervals, a row for each run; the floor stands first.",
)  # fmt: skip

# %% [markdown]
# Overlapping intervals do not mean that two runs are alike: all were scored on the same people, and what is hard for
# one is often hard for the other. So we take **differences within people**: the mean of a person's volumes in one run
# minus that in the other. First, every run against the floor.

# %%
from_floor = summary.against(runs, floor, names)
display(summary.readable_differences(from_floor))
gain = from_floor.loc[names[best.name]]
session.say(f"`{names[best.name]}` stands **{gain['difference']:+.3f}** Dice from the floor "
            f"(95 % interval {gain['low']:+.3f} to {gain['high']:+.3f}, {gain['people']:.0f} people).")  # fmt: skip

# %% [markdown]
# Now the networks among themselves, each against the first of them. This is one declared family of comparisons, so
# *p* is adjusted for their number (Holm). The verdict is withheld for single-seed runs: a difference between two
# *runs* is not one between two *architectures*, because another seed might turn it round.

# %%
networks = [run for run in runs if not run.is_floor]
reference = networks[0]
between = summary.against(networks, reference, names)
session.say(f"Difference in mean Dice from `{names[reference.name]}`:" if len(between) else "There is one network.")
display(summary.readable_differences(between))

# %% [markdown]
# ## 4. Volume by volume
#
# A mean hides its worst cases, and these are what a user remembers. Each dot is one scored volume; the black bar is
# the median.

# %%
session.save(
    evaluation.case_distributions(scores, results, spec, ("dice", "hd95")), "cases",
    "Every scored volume as a dot: Dice (left, more is better) and 95 % Hausdorff distance (right, less is better). "
    "Black bars: medians.",
    "Strips of dots for each run and part, Dice at the left and a surface distance in mm at the right.",
)  # fmt: skip
low = best.values().sort_values().head(3)
lowest = ", ".join(f"case {case:03d} ({value:.3f})" for case, value in low.items())
session.say(f"Lowest mean Dice of `{names[best.name]}`: {lowest}. "
            f"Standard deviation over volumes: {best.values().std():.3f}.")  # fmt: skip

# %% [markdown]
# **What we see.** A strip with a long tail has failures that its mean does not tell. Dice and distance do not fail
# together: a few stray voxels far away leave Dice alone and ruin HD95. **What it does not show:** whether a low score
# is the network's fault or the rater's.

# %% [markdown]
# ## 5. What goes wrong
#
# ### Which class is taken for which?
#
# Voxels of all scored volumes together: a row is the true class, and says where its voxels went. The floor stands
# beside the run with the highest mean Dice.

# %%
taken_apart = summary.mistakes(runs, session.cohort)
session.save(
    mistakes.confusion_matrices({names[run.name]: taken_apart[run.name].confusion for run in (floor, best)},
                                ("background", *spec.names)), "confusion",
    "Confusion matrices of the floor and of the run with the highest mean Dice; a row of true voxels adds up to 100 %.",
    "Two square tables of percentages with background, anterior and posterior as rows and columns.",
)  # fmt: skip

# %% [markdown]
# **What it does not show:** the background row depends on how much background the box holds. So count errors in mm³
# instead.
#
# ### Wrong part, too much, too little
#
# A wrong voxel is one of three kinds: one part taken for the other, background taken for hippocampus, or hippocampus
# missed. The right panel asks where errors lie. If most of them touch the true border, model and rater differ by
# where exactly a line is drawn; errors far from it are another matter.

# %%
volumes = {names[name]: found.volumes.mean().to_dict() for name, found in taken_apart.items()}
depths = {names[name]: found.depths for name, found in taken_apart.items()}
session.save(
    mistakes.error_kinds(volumes, depths, min(spec.spacing)), "errors",
    "Left: wrong tissue in the average scored volume, by kind of error. Right: share of wrong voxels by their distance "
    "from the nearest voxel of another true class; within one voxel's width they touch the true border.",
    "Stacked bars for each run: three kinds of error in cubic mm, and shares of error by distance from the border.",
)  # fmt: skip
mine, touching = volumes[names[best.name]], float((taken_apart[best.name].depths <= min(spec.spacing)).mean())
session.say(f"""`{names[best.name]}`, per volume: {mine["swap"]:.0f} mm³ in the wrong part,
{mine["false_positive"]:.0f} mm³ too much, {mine["missed"]:.0f} mm³ missed.
**{100 * touching:.0f} %** of its wrong voxels touch the true border.""")

# %% [markdown]
# **What we see.** Where a thin organ is concerned, the border is everything: a large share of all voxels touches it,
# and an error of one voxel there costs several points of Dice. **What it does not show:** that the truth itself is
# uncertain there. Only a second rater could.

# %% [markdown]
# ## 6. Best, median and worst
#
# Chosen by rule, never by taste: the volumes with the highest, the middle and the lowest mean Dice of the run with
# the highest mean.

# %%
for rank, number in summary.cases_by_rule(best.values()).items():
    case, score = cases[number], best.values()[number]
    masks = {"expert": case.label, "prediction": best.prediction(spec, number)}
    title = f"{rank.capitalize()}: case {number:03d}, mean Dice {score:.3f}"
    session.save(
        slices.three_plane(case.image[0], masks, spec, title, spacing=case.spacing), f"overlay-{rank}",
        f"The scored volume with the {rank} mean Dice of {names[best.name]}: "
        "the expert's labels above, the prediction below.",
        f"Three planes of case {number:03d} with two labelled parts, twice: by the expert and as predicted.", "png",
    )  # fmt: skip

# %% [markdown]
# **What we see.** Compare where outlines differ: along the whole border, at the plane between the parts, or at the
# thin ends. Three volumes illustrate; they prove nothing.

# %% [markdown]
# ## 7. How training went
#
# At the left the loss that training lowers; at the right the Dice on the scored volumes, computed every few epochs
# **for display only**. Weights are always the last of a fixed schedule: nothing is chosen by looking at this curve,
# and a test proves that scored labels change no prediction.

# %%
histories = {names[run.name]: run.history for run in networks if run.history}
session.save(
    evaluation.training_curves(histories), "training",
    "Training loss by epoch, and mean Dice on the scored volumes where it was noted (it chooses nothing).",
    "Two line charts over epochs, one line for each trained run: falling loss and rising Dice.",
)  # fmt: skip

# %% [markdown]
# **What we see.** A curve that still rises at its end asks for a longer schedule; one that is flat while the loss
# still falls is learning its training set by heart. **What it does not show:** time. Epochs of different networks do
# not cost the same.

# %% [markdown]
# ## 8. What the volumes are worth
#
# In practice the number that leaves the program is a volume. **Bland and Altman's plot** shows each volume's error
# against its size: the solid line is the bias, the dashed lines hold 95 % of the errors if these are about normal.
# The **intraclass correlation** (ICC) asks how much of the spread between volumes is real; here in the form that a
# constant bias lowers.

# %%
agreements = summary.volume_agreements(best, spec)
session.save(
    evaluation.volume_agreement(scores[scores["run"] == best.name], agreements, spec), "volumes",
    f"Predicted minus true volume against their mean, for {names[best.name]}. "
    "Solid: bias. Dashed: limits of agreement.",
    "Three scatter plots of volume error against volume, for both parts and the whole, each with three lines.",
)  # fmt: skip
display(pd.DataFrame({
    (names[run.name], label): {"bias (mm³)": one.bias, "lower limit": one.low, "upper limit": one.high,
                               "ICC agreement": one.icc_agreement, "ICC consistency": one.icc_consistency}
    for run in runs for label, one in summary.volume_agreements(run, spec).items()}).T.round(2))  # fmt: skip

# %%
union = agreements["union"]
true_sd = best.values("union", "volume_true").std()
session.say(f"""The whole hippocampus is measured with a bias of **{union.bias:+.0f} mm³** and, for a single volume,
an error between {union.low:+.0f} and {union.high:+.0f} mm³ in 95 % of cases. Between the scored volumes the standard
deviation is {true_sd:.0f} mm³, so one standard deviation of the error is **{100 * union.sd / true_sd:.0f} %** of the
natural spread.""")

# %% [markdown]
# **What we see.** Limits of agreement are what a single measurement is worth; the bias can be corrected, the spread
# cannot. A floor that never reads an image has a volume error, too, as a box's size already tells the hippocampus'
# size. **What it does not show:** change over time.

# %% [markdown]
# ## 9. Are the scores plausible?
#
# Published results tell whether our numbers are in a believable range. They are **not the same protocol**: their
# splits are by volume, so many of their scored volumes have the same person's other side in training, and their
# scored volumes are not ours. The test here is plausibility. A rank would need the same folds.

# %%
here = results[results["run"] == best.name].set_index("label")["dice"]
ours = {"method": f"{names[best.name]} (this project)", "split": "by person, grouped fold 0", "source": "results.csv"}
rows = [{"method": one.method, "split": one.protocol, "anterior": one.anterior, "posterior": one.posterior,
         "mean": one.mean, "source": one.source} for one in PUBLISHED]  # fmt: skip
rows.append(ours | {label: here[label] for label in (*spec.names, "mean")})
means = pd.Series([one.mean for one in PUBLISHED], dtype=float).dropna()
if session.ws.is_phantom:
    session.say("Published scores concern the real data set. Beside a phantom's they would mean nothing.")
else:
    display(pd.DataFrame(rows).set_index("method").astype({"anterior": float, "posterior": float, "mean": float}))
    session.say(f"Published means: lowest {means.min():.3f}, median {means.median():.3f}, highest {means.max():.3f}. "
                f"This run: {here['mean']:.3f} ({over_people.low:.3f} to {over_people.high:.3f} over people).")  # fmt: skip

# %% [markdown]
# ## 10. A volume with an error bar
#
# Limits of agreement describe a sample. A user asks something else: *this* scan, this volume, give or take what?
# **Conformal prediction** answers without a model of the errors. Take volumes of people that a network never saw,
# and note each error over a scale. Take the score below which nine in ten of them lie, counted with a small margin
# for their number: that many times the scale, up and down, is the interval of a new volume.
#
# - The errors are the flagship's on five grouped folds, each volume predicted by the one network that never saw its
#   person. Four folds calibrate, the fifth is scored, in turn.
# - A person's two volumes are alike, so calibration draws one of each person.
# - The scale decides who gets a wide interval: the predicted volume itself, or how far the views' volumes are apart
#   (the prediction averages slightly moved copies of the box). The rule, stated beforehand: the one that gives
#   narrower intervals on the calibration volumes. Coverage plays no part in the choice.

# %%
calibrated = (full.artifacts / conformal.INTERVALS).is_file() and card.path_of(full).is_file()
parts = {label: label for label in spec.names} | {"union": "total"}
if calibrated:
    served, flagship = card.read(card.path_of(full)), conformal.out_of_fold(full, spec)
    intervals = conformal.covered(full, spec)
    coverage = pd.read_csv(full.artifacts / conformal.COVERAGE)
    session.save(
        pictures.intervals(intervals, spec, parts), "conformal",
        "The interval of every volume, by predicted size; dots are the true volumes. "
        "Each interval was calibrated on other people than the one it is for.",
        "Three panels of thin vertical bars that rise from left to right, with a dot on each for the true volume.",
    )  # fmt: skip
    session.say(f"""Scale chosen in the five folds: {", ".join(served.scales)}.
    Outside: {(~intervals["inside"]).sum()} of {len(intervals)} intervals of
    {served.volumes} volumes ({served.people} people).""")
else:
    session.say(f"`artifacts/{full.name}` holds no intervals yet. They come from the flagship's five grouped folds: "
                "`hipposeg series 04` trains these, and `hipposeg study conformal` then makes the intervals.")  # fmt: skip

# %% [markdown]
# Is the promise kept? Coverage is the share of intervals that hold the true volume. It is promised over all volumes,
# not for each kind of them, so it is shown for small and large predicted volumes, too. *Random halves* repeats
# calibration and scoring many times, with people split at random; there the bar holds 95 % of the splits.

# %%
if calibrated:
    session.save(
        pictures.coverage(coverage, spec, parts, served.level, "chosen"), "coverage",
        f"Left: share of true volumes inside their interval, with 95 % intervals over people; dashed: the promised "
        f"{served.level:.2f}. Right: mean width of the intervals, for volumes of three sizes.",
        "Dots with horizontal bars around a dashed line, a row for each group; beside it, widths by size of the volume.",
    )  # fmt: skip
    told = coverage.assign(part=coverage["label"].map(parts), width=coverage["width"].round(0))
    told["95 % interval"] = [f"{low:.3f} to {high:.3f}" for low, high in zip(told["low"], told["high"], strict=True)]
    thirds = told[told["group"].isin(["all", "tercile 1", "tercile 2", "tercile 3"])]
    display(thirds.pivot_table(index=["part", "method"], columns="group", values=["coverage", "width"]).round(3))
    held = told[(told["method"] == "chosen") & (told["group"] == "all")].set_index("part")
    plain = told[(told["method"] == "constant") & (told["group"] == "all")].set_index("part")
    session.say("\n".join(
        f"- **{part}**: {row['coverage']:.3f} of the intervals hold the truth ({row['95 % interval']} over people); "
        f"mean width {row['width']:.0f} mm³, of the constant interval {plain.loc[part, 'width']:.0f} mm³."
        for part, row in held.loc[list(parts.values())].iterrows()))  # fmt: skip

# %% [markdown]
# **What we see.** Read the left panel first: a bar that reaches the dashed line agrees with the promise. Then compare
# the thirds: an interval of one width for all tends to be too wide for small volumes and too narrow for large ones, or
# the other way round; scaling is meant to even that out.
#
# **What it does not promise.**
# - Coverage holds on average over volumes *like these*: same scanner types, same population (healthy adults and adults
#   with a psychotic disorder, says the data set's source), same rater, and boxes cut around the truth. Another clinic's
#   scans, older people, or a box placed by other means are not exchangeable with them.
# - It is no promise for a single kind of scan, such as the smallest volumes or the hardest images.
# - It says how far the network is from this rater, not from the anatomy.

# %% [markdown]
# ## 11. Use it on a scan
#
# `hipposeg predict IMAGE... -o DIR` does for any cropped scan what happens here for one: it reads the file with all
# checks (voxel size, orientation, size of the box, damage), asks the networks, and leaves a mask, volumes with
# intervals, and the picture below. The command asks the networks of all five folds and averages them. Here it is one
# scored volume, so only the network that never saw its person is asked: the volume with the middle mean Dice.

# %%
if calibrated:
    middle = summary.cases_by_rule(next(iter(flagship.values())).values())["median"]
    scan = read_scan(session.cohort.folder / "imagesTr" / spec.file_name(middle), served.boxes, spec)
    model = load_model(full.artifacts, folds=(0,))
    found = model.segment(scan)
    said = [f"{parts[label]} {volume}" for label, volume in found.volumes.items()]
    session.save(
        qc.picture(scan.image[0], found.mask, spec, f"case {middle:03d}", said, found.flags, scan.spacing, served.level),
        "qc", f"What the predictor leaves beside a mask, for case {middle:03d}: the scan, the mask's outlines, volumes.",
        f"Three planes of case {middle:03d}, bare above and with two outlined parts below; volumes in the title.", "png",
    )  # fmt: skip
    truth = intervals[intervals["case"] == middle].set_index("label")
    session.say(", ".join(f"{parts[label]}: predicted {volume}, true {truth.loc[label, 'true']:.0f} mm³"
                          for label, volume in found.volumes.items()))  # fmt: skip
else:
    session.say("The predictor needs the flagship's weights and intervals; `hipposeg series 04` and "
                "`hipposeg study conformal` make them.")  # fmt: skip

# %% [markdown]
# **What we see.** Look at the outlines first and at the numbers second. A flag (none may be shown here) says that the
# mask is unlike those of the data set: a volume out of range, pieces, a mask near the box's side, parts in the wrong
# order, views that disagree. **What it does not show:** a plausible mask can still be wrong, and no flag sees that. The
# picture is there for this. And this volume took part in calibrating the interval that it is shown with, as no user's
# volume does; section 10 leaves it out.

# %% [markdown]
# Do flags notice a box of another kind? The training boxes show left and right hippocampi in one orientation, so a box
# that lies the other way round is the mistake that is easiest to make. Here is the same volume, mirrored.

# %%
if calibrated:
    mirrored = model.segment(replace(scan, image=np.ascontiguousarray(scan.image[:, ::-1])))
    session.say(
        "\n".join(["Flags of the mirrored volume:", "", *(f"- {flag}" for flag in mirrored.flags or ("none",))])
    )

# %% [markdown]
# The limits behind the flags are set where one in 200 of the flagship's out-of-fold masks lies beyond, for each measure
# and side. So some of these masks carry a flag by construction. Are they the bad ones?

# %%
if calibrated:
    measured = pd.read_csv(full.artifacts / conformal.MEASURES).set_index("case").sort_index()
    flagged = pd.Series(
        [bool(quality.flags(row, served.limits)) for row in measured.to_dict("records")], measured.index
    )
    scored = pd.concat([run.values() for run in flagship.values()]).sort_index()
    session.say(f"{flagged.sum()} of {len(flagged)} masks carry a flag. Their mean Dice is {scored[flagged].mean():.3f}, "
                f"that of the others {scored[~flagged].mean():.3f}. Of the {flagged.sum()} masks with the lowest Dice, "
                f"{flagged[scored.nsmallest(int(flagged.sum())).index].sum()} carry one.")  # fmt: skip

# %% [markdown]
# ## What we learned

# %%
headline = {label: float(here[label]) for label in labels_of(spec)}
session.facts(
    n_runs=len(table.runs), best_run=best.name, best_dice=headline,
    best_low=over_people.low, best_high=over_people.high,
    n_people=int(best.subjects().nunique()), n_volumes=int(best.values().size), floor_dice=float(floor.values().mean()),
    gain_over_floor={"difference": gain["difference"], "low": gain["low"], "high": gain["high"]},
    errors_mm3=mine, errors_touching_border=touching, width_people_over_volumes=factor,
    volume_bias_mm3=union.bias, volume_limits_mm3=[union.low, union.high], volume_icc=union.icc_agreement,
)  # fmt: skip
kinds = {"swap": "one part taken for the other", "false_positive": "too much", "missed": "too little"}
session.say(f"""
- `{names[best.name]}` reaches a mean Dice of **{here["mean"]:.3f}**
  ({over_people.low:.3f} to {over_people.high:.3f}) on people it has never seen;
  a guess that never reads an image reaches **{floor.values().mean():.3f}**.
  The difference is what reading the image adds.
- Its largest kind of error is *{kinds[max(mine, key=mine.get)]}*, and {100 * touching:.0f} % of all wrong voxels
  touch the true border.
- The ICC of the whole hippocampus' volume is {union.icc_agreement:.2f}.""")

# %% [markdown]
# - Report intervals over the unit that was sampled, here people. Compare runs within people, and withhold a verdict
#   from single seeds.
# - No single measure is enough: overlap forgives stray voxels, distance forgives size, volume forgives place.
#
# ## Limitations
# - **The boxes were cut around the truth.** Every score here rests on boxes whose size and place give the answer away
#   in part. Nothing says that it transfers to a box placed by other means; how much a network relies on the box needs
#   shifted boxes.
# - One fold, and one seed for each run, under the standard profile. The interval covers the choice of people, not
#   that of the seed.
# - The run shown in detail is the one with the highest score on these very volumes, which flatters it a little.
# - One expert's labels are the truth. How far two experts would agree is not in this data set.
# - Limits of agreement take volumes as unrelated, though most people contribute two.
#
# ## Exercises
# 1. Replace `("dice", "hd95")` in section 4 by `("nsd1", "msd")`. Do the same volumes stand out?
# 2. Pass `best.values("union")` instead of `best.values()` to the first `stats.interval`. By how much does the score
#    rise, and why is that no progress?
# 3. Give `summary.cases_by_rule` the floor's values instead of the best run's. Which shapes does the average miss?
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
write_flagship(session.ws)
session.finish(session.ws.artifacts / "results.csv", session.ws.artifacts / "cases.csv")
