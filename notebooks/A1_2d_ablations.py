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
# # A1. Ablations of the 2D network
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/A1_2d_ablations.ipynb)
#
# **Question.** Which choices around the 2D U-Net of notebook [03](03_unet2d_baseline.ipynb) change its Dice, and does a short training show
# it? In short: few do, and a short training can miss what a long one shows.
#
# **What you will learn**
# - how two variants are compared over subjects and seeds, typed out;
# - what slices, preprocessing, sampling, network, augmentation and loss are worth;
# - which conclusions of a short schedule hold by the standard one;
# - what several slicing directions give together, and how three published configurations fare;
# - how to search for hyperparameters without touching test subjects.
#
# Needs notebook 03; words such as *schedule*, *dev* and *Holm's adjustment* are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the tables of finished runs and `folds.json`.
# - **Writes:** `figures/A1_*`, `facts/A1_2d_ablations.json`.
# - **Run time:** half a minute. `hipposeg train --plan 03` trains the runs, in hours.

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

from hipposeg import stats
from hipposeg.experiments import plan, registry
from hipposeg.notebook import start
from hipposeg.results import compare, tables
from hipposeg.viz import intervals, slices, style

session = start("A1_2d_ablations", profile)
spec, found = session.spec, session.results
short_one, standard = ("smoke", "smoke") if session.ws.is_phantom else ("S", "standard")
primary = found.query("label == 'mean' and folds == 'grouped' and fold == 0")

# %% [markdown]
# ## 1. How two variants are compared
#
# Both are trained with the same seeds and scored on the same volumes. A subject's volumes and the seeds are averaged, so each subject gives one
# difference. The interval repeats the study by **bootstrap**: it draws subjects and, for each variant, seeds, with replacement, and takes the
# middle 95 % of the differences. Here for the MobileNetV3 encoder, by hand and by the package.

# %%
pair = primary[(primary["schedule"] == standard) & primary["model"].isin(["unet2d", "unet2d-mobilenetv3"])]
table = pair.pivot_table(index=["model", "seed"], columns="subject", values="dice")
a, b = table.loc["unet2d-mobilenetv3"].to_numpy(), table.loc["unet2d"].to_numpy()  # (seeds, subjects)
random, drawn = np.random.default_rng(0), []
for _ in range(4000):
    subjects = random.integers(0, a.shape[1], a.shape[1])
    one, other = (side[random.integers(0, len(side), len(side))] for side in (a, b))
    drawn.append(one[:, subjects].mean() - other[:, subjects].mean())
low, high = np.percentile(drawn, (2.5, 97.5))
print(f"by hand: {a.mean() - b.mean():+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")
row = compare.differences(pair, "unet2d").iloc[0]
print(f"package: {row['difference']:+.4f}, 95 % interval {row['low']:+.4f} to {row['high']:+.4f}")

# %% [markdown]
# Four conclusions are possible with three seeds or more. *Better* and *worse*: the interval excludes zero. *Equivalent*: it lies within the
# margin that is shaded in the figures and was fixed beforehand. *Inconclusive*: none of these. *p* values are adjusted for the number of
# comparisons in a group (Holm); they average over seeds, so the conclusion follows the interval.
#
# ## 2. One change at a time, short schedule
#
# Each row changes one thing of the 2D U-Net, and both are trained for a third of the epochs with three seeds. The models with ready-made encoders have
# their own configuration (AdamW, other rates, random weights): there the question is what a network gives *with its configuration*.


# %%
def words(name):
    title = registry.MODELS[name].title.removeprefix("2D U-Net ").removeprefix("on coronal slices; ")
    return title.replace(" and a full-resolution branch", "")


short = compare.by_family(found, "unet2d", plan.FAMILIES_2D, short_one)
fig = intervals.forest(short.rename(index=words, level=1), stats.EQUIVALENCE_MARGIN, "mean Dice minus the 2D U-Net's")
slices.heading(fig, "Most changes are inconclusive (short schedule)")
session.save(fig, "short")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
names = [name for family in plan.FAMILIES_2D.values() for name in family]
ends, at = (
    short["conclusion"].droplevel(0).reindex(names),
    short["difference"].droplevel(0).reindex(names).astype(float),
)
better, worse, open_ = (set(ends.index[ends == word]) for word in ("better", "worse", "inconclusive"))
as_written = better == {"unet2d-batchnorm", "unet2d+focal"} and worse == {"unet2d+empty0", *plan.ENCODERS_2D}
session.claim(
    as_written and len(open_) == len(names) - 5,
    f"""**Better:** batch normalisation ({at["unet2d-batchnorm"]:+.4f}) and focal loss ({at["unet2d+focal"]:+.4f}). **Worse:** both ready-made
encoders, and training without empty slices ({at["unet2d+empty0"]:+.4f}). The other {len(open_)} changes are inconclusive.""",
)

# %% [markdown]
# What each of them costs: parameters, operations for one volume (GFLOP) and training steps. Appendix [A2](A2_training_time.ipynb) has the minutes.

# %%
cost = primary[(primary["schedule"] == short_one) & primary["model"].isin(plan.SHORT_2D)]
cost = cost.groupby("model", sort=False)[["params", "gflops", "steps", "hd95", "dice"]].mean()
forms = {"params": "{:,.0f}", "gflops": "{:.1f}", "steps": "{:,.0f}", "hd95": "{:.2f}", "dice": "{:.4f}"}
cost.reindex(plan.SHORT_2D).dropna().rename(index=words).style.format(forms).set_uuid("costs")

# %% [markdown]
# ## 3. Does the short schedule mislead?
#
# Augmentation makes each epoch harder and is expected to pay later. So some variants were planned under both schedules before any was scored. The best
# augmentation and loss of the short schedule were added by a fixed rule. (The same fold chose these two, so their
# short scores are a little too good.) The table is the direct question: how far does the *difference* from the 2D U-Net move when training gets
# longer?

# %%
repeated = plan.FAMILIES_2D_LONG | {"network": plan.NETWORKS_2D}
long = compare.by_family(found, "unet2d", repeated, standard)
both = short.add_suffix(" short").join(long.add_suffix(" standard"), how="inner")
fig, ax = plt.subplots(figsize=(8.5, 3))
for index, ((_, name), row) in enumerate(both.sort_values("difference standard", ascending=False).iterrows()):
    ends_of = row[["difference short", "difference standard"]]
    ax.plot((0, 1), ends_of, marker="o", linewidth=1.8, label=words(name), **style.line_style(index))
ax.axhspan(-stats.EQUIVALENCE_MARGIN, stats.EQUIVALENCE_MARGIN, color="#e4e7eb", linewidth=0, zorder=0)
ax.set_xticks((0, 1), ("short schedule", "standard schedule"))
ax.set(xlim=(-0.2, 1.2), ylabel="mean Dice minus the 2D U-Net's")
ax.set_title("Longer training changes what augmentation is worth")
fig.legend(loc="outside right center")
session.save(fig, "schedules")

# %%
models = ["unet2d", *(name for family in repeated.values() for name in family)]
keys = ["model", "seed", "case"]
brief, whole = (primary[primary["schedule"] == when].set_index(keys) for when in (short_one, standard))
moved = whole[whole.index.get_level_values("model").isin(models)]
moved = moved.assign(dice=moved["dice"] - brief["dice"].reindex(moved.index)).dropna(subset="dice").reset_index()
gains = compare.differences(moved, "unet2d").reindex([name for name in models[1:] if name in set(moved["model"])])
tables.readable_differences(gains).rename(index=words)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
ends_later = long["conclusion"].droplevel(0).reindex(names)
opposite = ((ends == "better") & (ends_later == "worse")) | ((ends == "worse") & (ends_later == "better"))
none, normed = long["difference"].droplevel(0).reindex(["unet2d+aug-none", "unet2d-batchnorm"]).astype(float)
turned = (ends["unet2d+aug-none"], ends_later["unet2d+aug-none"]) == ("inconclusive", "worse")
session.claim(
    turned and len(both) == 7 and not opposite.any() and not (ends_later == "better").any(),
    f"""**The short schedule misleads about augmentation.** After a third of the epochs, training without it looks no worse; after all of them it
costs {-none:.4f}. The gain of batch normalisation is {at["unet2d-batchnorm"]:+.4f} after a third of the epochs and inconclusive after all of them
({normed:+.4f}). None of the {len(both)} repeated comparisons turns from better to worse or back.""",
)

# %% [markdown]
# The usual augmentation has three steps: flips, rotations, noise. Here they are compared with no augmentation at all. All volumes have one orientation,
# so flips make unrealistic shapes.

# %%
parts = {"short schedule": short_one, "standard schedule": standard}
steps = [compare.by_family(found, plan.STEPS_2D[0], {title: plan.STEPS_2D[1]}, when) for title, when in parts.items()]
tables.readable_differences(pd.concat(steps)).rename(index=words, level=-1)

# %% [markdown]
# ## 4. Slicing directions, and all of them together
#
# Each direction has its own blind spot: what lies between two slices. Networks that cut in different directions have different ones, so their
# mean probability may be better than each. It costs three trainings. Test-time augmentation (eight transformed copies, notebook 04) costs eight predictions.

# %%
names = {
    "unet2d": "coronal",
    "unet2d-axis0": "sagittal",
    "unet2d-axis2": "axial",
    "unet2d+views": "coronal, eight copies",
    "unet2d-fusion": "mean of the three",
    "unet2d-fusion+views": "mean of the three, eight copies",
}
rows = []
for kind, title in {"grouped": "split by subject, 3 seeds", "nnunet": "split by volume, 1 seed"}.items():
    here = found[(found["folds"] == kind) & (found["fold"] == 0) & (found["schedule"] == standard)]
    here = here[(here["label"] == "mean") & here["model"].isin(names)]
    part = compare.means(here).reindex([name for name in names if name in set(here["model"])])
    rows.append(part.rename(index=names).reset_index(names="row").assign(panel=title))
fig = intervals.dots(pd.concat([part for part in rows if len(part)]), "mean Dice", one_scale=True)
slices.heading(fig, "Three directions together are better than each")
session.save(fig, "planes")

# %% [markdown]
# Should slices replace the flagship, which is a network on volumes? Such a choice is made on `dev`, where one seed is available. This table is
# the flagship's rivals among 2D models there, with the difference from the flagship.

# %%
rivals = [*plan.PLANES, "unet2d-mobilenetv3", registry.FLAGSHIP]
on_dev = found.query("label == 'mean' and folds == 'dev' and schedule == @standard and seed == 0 and model in @rivals")
against = compare.differences(on_dev, registry.FLAGSHIP).sort_values("difference", ascending=False)
tables.readable_differences(against).drop(columns=["seeds", "conclusion"]).rename(index=words)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
planes = compare.by_family(found, "unet2d", {"": plan.PLANES[1:]}, standard)
planes = planes.set_index(planes.index.get_level_values(-1)).reindex(plan.PLANES[1:])
by, conclusions = planes["difference"].astype(float), planes["conclusion"].tolist()
session.claim(
    conclusions == ["worse", "inconclusive", "equivalent", "better", "inconclusive"] and not (against["low"] > 0).any(),
    f"""**Sagittal slices are worse than coronal ones** ({by["unet2d-axis0"]:+.4f}); axial ones are inconclusive. **The mean of three directions
is better** ({by["unet2d-fusion"]:+.4f}). On `dev` it is not better than the flagship, which needs one training; so the flagship stays.""",
)

# %% [markdown]
# ## 5. The configurations of others
#
# Three published student projects trained 2D networks with configurations of their own: A
# ([hippocampus-segmentation-project](https://github.com/cianmcguinn/hippocampus-segmentation-project)), B
# ([hippocampus_segmentation_msd_task4](https://github.com/Mahdyy02/hippocampus_segmentation_msd_task4)) and D
# ([MRI-Hippocampus-Segmentation](https://github.com/NegarMov/MRI-Hippocampus-Segmentation), on other data). The models below take over their loss,
# augmentation, optimiser, schedule and kind of network, and are scored by this project's rules. Not taken over: their slices, crops and sizes, stored
# augmented copies, ImageNet weights, and the number of epochs, which is set by the minutes. So no row is the result of those projects.

# %%
others = compare.by_family(found, "unet2d", {"standard schedule": plan.OTHERS}, standard)
if len(others):
    fig = intervals.forest(
        others.rename(index=lambda name: f"project {name[-1].upper()}", level=1), stats.EQUIVALENCE_MARGIN
    )
    slices.heading(fig, "Three configurations of others are worse here")
    session.save(fig, "others")

# %% [markdown]
# ## 6. Searching, without touching test subjects
#
# The best of many cells has an optimistically biased score. So every cell is scored on subjects cut from the *training*
# subjects (`inner` folds), and the two best cells are trained again on four other cuts, which did not choose them. The test fold never takes part.
# One search goes over learning rate, batch size and weight decay of the MobileNetV3 model. Its best cells lay at the edge of the grid, so a wider grid
# goes on from there. Another search goes over the width of a coordinate head (a SIREN that reads where a pixel lies). All have the short schedule.

# %%
inner = found.query("folds == 'inner' and schedule == 'S' and label == 'mean'")
search = plan.SEARCHES["wider"]
cells = pd.DataFrame(search.cells).T.assign(dice=inner[inner["fold"] == 0].groupby("model")["dice"].mean())
if len(inner):
    fig, ax = plt.subplots(figsize=(8.5, 3))
    for (batch, decay), part in cells.groupby(["batch", "weight_decay"]):
        line, colour = {1e-4: "o-", 1e-1: "s--"}[decay], {8: "#009E73", 16: "#0072B2", 64: "#D55E00"}[batch]
        ax.plot(part["lr"], part["dice"], line, color=colour, label=f"batch {batch:.0f}, decay {decay:g}")
    usual = inner[(inner["fold"] == 0) & (inner["model"] == search.reference)]["dice"].mean()
    ax.axhline(usual, color="#7b8794", linestyle=":", label="not searched")
    ax.set(
        xscale="log",
        xlabel="peak learning rate",
        ylabel="mean Dice, inner fold",
        ylim=(0.77, 0.88),
        title="The first grid ended too early; beyond it little is left",
    )
    ax.set_xticks((3e-4, 1e-3, 3e-3, 1e-2), ("0.0003", "0.001", "0.003", "0.01"))
    ax.minorticks_off()
    fig.legend(fontsize=8, loc="outside right center")
    session.save(fig, "search")

# %%
later = {}
for name, one in plan.SEARCHES.items():
    part = inner[(inner["fold"] > 0) & inner["model"].isin([*one.finalists, one.reference])]
    later[name] = compare.differences(part.assign(fold=-1), one.reference)  # the four folds count as one
tables.readable_differences(pd.concat(later)).drop(columns="conclusion")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
best, first = (
    later[name].reindex(plan.SEARCHES[name].finalists).astype({"difference": float}) for name in ("wider", "search")
)
head = later["heads"]["difference"].reindex(["unet2d-inr48"]).astype(float).iloc[0]
tuned, plain = (
    compare.by_family(found, name, {"": (plan.TUNED,)}, standard).reindex([("", plan.TUNED)]).iloc[0]
    for name in (search.reference, "unet2d")
)
session.facts(search_gain=best["difference"].tolist())
session.claim(
    (best["low"] > 0).all()
    and abs(head) < 0.001
    and (tuned["conclusion"], plain["conclusion"]) == ("better", "inconclusive")
    and best["difference"].idxmax() == search.finalists[1],
    f"""**A search improves the ready-made encoder.** On the folds that did not choose them, the finalists of the wider grid are
{best["difference"].min():.4f} and {best["difference"].max():.4f} better than the configuration in use, those of the first grid
{first["difference"].min():.4f} and {first["difference"].max():.4f} (one seed); the cell that won on one fold is not the best on the others. The better
finalist then became a model: **on the test fold it gains {tuned["difference"]:.4f}** ({tuned["low"]:+.4f} to {tuned["high"]:+.4f}, three seeds), and its
difference from the plain 2D U-Net is inconclusive ({plain["difference"]:+.4f}). **A coordinate head of 48 units gains nothing** ({stats.signed(head)}).""",
)

# %% [markdown]
# ## What we learned

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    not opposite.any() and tuned["low"] > 0 > plain["low"],
    """**Which choices matter for the 2D network? Augmentation, slicing direction, empty slices and the architecture.**

1. A short training shows large effects, and misses that of augmentation.
2. Under the standard schedule only the mean of three directions is a gain.
3. A search lifts the MobileNetV3 model to the plain U-Net's Dice, not beyond it.

Most intervals are too wide to show small effects; more subjects would narrow them.""",
)

# %% [markdown]
# ## Limits
#
# - One test fold. Three seeds for the changes; one seed for `dev` and for the searches.
# - Choices are changed one at a time; how they act together is not known.
# - All cells of the search saw every slice equally often, so a small batch made more steps and took longer: the steps may be what pays.
# - The projects' configurations run on this project's slices, for this project's minutes.
#
# ## Exercises
#
# **1. Holm's adjustment.** Sort *p* values in ascending order and multiply the smallest by the number of tests `n`, the next by `n - 1`, and so on. An
# adjusted value is never smaller than the one before it, and never above 1. Write it.

# %% tags=["exercise"]
my_holm = None  # your function of an array of p values

# %%
if my_holm is None:
    print("not yet written")
else:
    assert np.allclose(my_holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    assert np.allclose(my_holm(np.array([0.9, 0.8])), [1, 1])
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_holm(p):
#     order = np.argsort(p)
#     adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
#     found = np.empty_like(adjusted)
#     found[order] = adjusted
#     return found
# ```
#
# </details>
#
# ## References
#
# - Holm 1979, multiple tests, [jstor.org/stable/4615733](https://www.jstor.org/stable/4615733)
# - Owen 2007, the pigeonhole bootstrap, [doi:10.1214/07-AOAS122](https://doi.org/10.1214/07-AOAS122)
# - Lin et al. 2017, focal loss, [arXiv:1708.02002](https://arxiv.org/abs/1708.02002)
# - Tan and Le 2019, EfficientNet, [arXiv:1905.11946](https://arxiv.org/abs/1905.11946)
# - Bergstra and Bengio 2012, random search, [jmlr.org/papers/v13/bergstra12a](https://jmlr.org/papers/v13/bergstra12a.html)

# %%
session.finish()
