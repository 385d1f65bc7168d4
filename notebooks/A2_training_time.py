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
# # A2. Training time, and what it buys
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/A2_training_time.ipynb)
#
# **Question.** Do longer training, larger networks, ensembles and other parts of nnU-Net raise Dice? In short: hardly beyond the flagship's few
# minutes.
#
# **What you will learn**
# - what each model costs in minutes, and what it scores;
# - how deep supervision works, and what the parts of nnU-Net add;
# - how few steps are enough, what an early stop costs, and how the flagship was chosen;
# - how much rounding, precision and seeds move a result;
# - what a head that reads coordinates can do between voxels;
# - whether the gain in the race is a smaller network or a faster engine.
#
# Needs notebooks [03](03_unet2d_baseline.ipynb) and [04](04_unet3d.ipynb); words such as *dev* and *flagship* are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs and studies, the benchmark.
# - **Writes:** `figures/A2_*`, `facts/A2_training_time.json`.
# - **Run time:** half a minute. `hipposeg train --plan 04` trains the runs and `make bench` runs the benchmark, both in hours.

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
import torch
from torch.nn import functional as F

from hipposeg import stats
from hipposeg.experiments import plan, registry, samples
from hipposeg.notebook import start
from hipposeg.results import compare, store, tables
from hipposeg.training import loop, losses
from hipposeg.viz import intervals, slices, style
from hipposeg_lab.bench import summary
from hipposeg_lab.figures import bench, maps
from hipposeg_lab.studies import comparisons, making, offgrid

session = start("A2_training_time", profile)
spec, cohort, found, flagship = session.spec, session.cohort, session.results, registry.FLAGSHIP
schedule = "smoke" if session.ws.is_phantom else "standard"
benchmark = {} if session.ws.is_phantom else summary.read(session.ws.root)
primary = found.query("label == 'mean' and folds == 'grouped' and fold == 0 and schedule == @schedule")

# %% [markdown]
# ## 1. Minutes and Dice
#
# Each model's standard schedule, alone on an idle machine (two cores of an Intel Xeon, bfloat16), and its mean Dice on the test subjects. The
# time of an ensemble is that of all its networks together. Networks with coordinate heads at 2 mm are left out; section 6 has them.


# %%
SHORTER = {
    " and a full-resolution branch": "",
    " on every skip connection": "",
    "3D U-Net trained at 2 mm with ": "",
    "test-time augmentation": "eight copies",
    "Mean probability of the coronal, sagittal and axial 2D U-Nets": "Mean of three 2D directions",
    "Mean probability of the flagship's network and three short 2D U-Nets": "Mean of one 3D and three 2D networks",
    ", trained on captions made from training labels": "",
}


def words(name):
    title = registry.MODELS[name].title.split(":")[0].split(" (")[0]
    for part, brief in SHORTER.items():
        title = title.replace(part, brief)
    return title


# %%
idle = pd.Series(summary.idle_minutes(benchmark), dtype=float)
chapters = {name for name, one in registry.MODELS.items() if one.notebook in ("03", "04")}
chapters -= {name for name in plan.HEADS if name != "unet3d-inr-1mm"}
means = compare.means(primary[primary["model"].isin(chapters & set(idle.index))])
means = means.assign(minutes=idle.reindex(means.index)).sort_values("minutes").rename_axis("model").reset_index()
means["row"] = means["model"].map(words)
means["series"] = [f"{registry.MODELS[name].dims}D" for name in means["model"]]
times = means.assign(value=means["minutes"], low=np.nan, high=np.nan, panel="Training time")
if len(means):
    labels = {"Accuracy": "mean Dice (bars: 95 % interval)", "Training time": "minutes"}
    fig = intervals.dots(pd.concat([means.assign(panel="Accuracy"), times]), labels)
    fig.axes[1].set_xscale("log")
    fig.axes[1].set_xticks((4, 5, 7, 10, 15), ("4", "5", "7", "10", "15"))
    fig.axes[1].minorticks_off()
    slices.heading(fig, "More training time does not buy more Dice")
    session.save(fig, "minutes")

# %% [markdown]
# ## 2. What nnU-Net adds
#
# **Deep supervision** judges coarse decoder stages, too. In training, each has a head of its own: one linear layer, so it costs next to nothing.
# The target at a coarse voxel is a soft label: the mean over the fine voxels that it covers. The loss is a weighted sum, and each coarser head has
# half the weight of the next finer one. At prediction the coarse heads are not used.

# %%
deep = registry.MODELS["unet3d-nnunet"]
number = max(cohort.cases, key=lambda one: (cohort.cases[one].label > 0).sum())
one = samples.make_samples({number: cohort.cases[number].image}, cohort, deep.prep, [number])
torch.manual_seed(0)
outputs = deep.build(one.images.shape[1], spec.n_classes).train()(one.images)
target = F.one_hot(one.labels.long(), spec.n_classes).movedim(-1, 1).float()
total, panels, label = 0, [], one.labels[0].numpy()
place = slices.fullest(label, 0, label.shape)
for level, logits in enumerate(outputs):
    step = 2**level
    soft = F.avg_pool3d(target, step)
    total = total + 0.5**level * losses.combined(logits, soft, "dice+ce", foreground_weight=2.0)
    panels.append((f"{step} mm voxels", one.images[0, 0, place].numpy(), soft[0, :, place // step].numpy()))
total = total / sum(0.5**level for level in range(len(outputs)))
print(
    "loss",
    round(total.item(), 3),
    "package:",
    round(losses.segmentation_loss(outputs, target, "dice+ce", 2.0).item(), 3),
)
fig = maps.strips({"": panels}, spec)
slices.heading(fig, "Coarse heads are trained on soft labels")
session.save(fig, "deep-supervision")

# %% [markdown]
# The variants below train for the same number of steps as the plain 3D U-Net. Three sizes follow nnU-Net's plans, with deep supervision; others have
# residual blocks, a transformer as encoder (UNETR), flips, another loss, or AdamW for all weights. Those with one seed get no conclusion.

# %%
family = next(one for one in comparisons.FAMILIES if one.title == "3D, equal steps")
variants = compare.by_family(found, "unet3d", {"Minus the plain 3D U-Net": family.models}, schedule)
if len(variants):
    fig = intervals.forest(variants.rename(index=words, level=1), stats.EQUIVALENCE_MARGIN)
    slices.heading(fig, "Transformer and plain AdamW score lower (one seed)")
    session.save(fig, "variants")

# %% [markdown]
# What they cost: parameters, operations of one forward pass over a crop, and minutes. Most parameters sit in the coarse stages, most operations in the
# fine ones.

# %%
three = found.drop_duplicates("model").set_index("model").reindex(["unet3d", *family.models])
costs = three[["params", "gflops"]].astype(float).assign(minutes=idle.reindex(three.index)).dropna(how="all")
costs.rename(index=words).style.format({"params": "{:,.0f}", "gflops": "{:.1f}", "minutes": "{:.1f}"}).set_uuid("costs")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
by = variants.set_index(variants.index.get_level_values(-1)).reindex(family.models)
gain = by[["difference", "low", "high"]].astype(float)
large, small = "unet3d-nnunet-performance", "unet3d-nnunet-light"
lost = set(gain.index[gain["high"] < 0])
session.claim(
    lost == {"unet3d+adamw", "unet3d-transformer"} and not (gain["low"] > 0).any(),
    f"""**Nothing that nnU-Net adds shows a gain here.** Four times the parameters change Dice by {gain["difference"][large]:+.4f}, a quarter of
them by {gain["difference"][small]:+.4f}; both intervals include zero. Training without Muon costs {-gain["difference"]["unet3d+adamw"]:.4f}, a
transformer {-gain["difference"]["unet3d-transformer"]:.4f} (one seed each).""",
)

# %% [markdown]
# ## 3. How few steps are enough?
#
# The flagship's schedule squeezed into fewer epochs. Like the flagship's own, it is cut at two thirds of its length, so the learning rate never
# reaches zero; at eight epochs a second run follows the schedule to its end. All were trained in float32 and scored on `dev`. The rule, fixed
# beforehand: the fewest epochs whose mean Dice lies at most a thousandth below the longest run's.

# %%
lengths = found[(found["model"] == flagship) & (found["label"] == "mean") & found["schedule"].str.fullmatch(r"[ea]\d+")]
lengths = lengths.assign(epochs=lengths["schedule"].str[1:].astype(int), whole=lengths["schedule"].str[0] == "a")
on_dev = lengths[lengths["folds"] == "dev"].groupby(["whole", "epochs"])["dice"].mean()
if len(on_dev):
    fig, ax = plt.subplots(figsize=(6.5, 2.8))
    for whole, part in on_dev.groupby("whole"):
        name = "to the end of the schedule" if whole else "cut at two thirds"
        ax.plot(part.index.get_level_values("epochs"), part, "s" if whole else "o-", label=name)
    ax.set(xlabel="epochs", ylabel="mean Dice on dev", title="Half the epochs lose three thousandths of Dice")
    ax.legend()
    session.save(fig, "lengths")

# %% [markdown]
# The length that `dev` chose was then scored once on the ten folds of both kinds, beside the flagship's own length. The short runs are float32, the
# long ones bfloat16, so these differences include rounding effects (section 5).

# %%
fives = found[(found["model"] == flagship) & (found["seed"] == 0) & (found["label"] == "mean")]
full = fives[(fives["schedule"] == schedule) & fives["folds"].isin(["grouped", "nnunet"])]
brief = lengths[lengths["folds"] != "dev"]
keys = ["folds", "fold", "case", "subject"]
pairs = full.set_index(keys)[["dice"]].join(brief.set_index(keys)["dice"].rename("short"), how="inner")
shorter = {}
for kind, part in pairs.groupby("folds"):
    one = stats.paired(part["short"].to_numpy(), part["dice"].to_numpy(), part.index.get_level_values("subject"))
    shorter[kind] = {"12 epochs": part["short"].mean(), "16 epochs": part["dice"].mean(), **vars(one)}
shorter = pd.DataFrame(shorter, index=["12 epochs", "16 epochs", "difference", "low", "high"]).T
shorter.round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
cut = on_dev.get(False, pd.Series(dtype=float)).reindex([3, 5, 8, 12, 16])
enough = next((epochs for epochs, dice in cut.items() if dice >= cut[16] - 0.001), 0)
ends = shorter.reindex(["grouped", "nnunet"])
session.claim(
    enough == 12 and (ends["high"] < 0.002).all() and (ends["low"] > -0.002).all(),
    f"""**{enough} of 16 epochs are enough by that rule:** {cut[12]:.4f} against {cut[16]:.4f} on `dev`. On the test folds the short schedule
changes Dice by {ends["difference"]["grouped"]:+.4f} (split by subject) and {ends["difference"]["nnunet"]:+.4f} (split by volume); both intervals
lie within 0.002 of zero.""",
)

# %% [markdown]
# **Or stop at a Dice?** A published student project (E in [appendix A4](A4_trust.ipynb)) ends a training as soon as *every class* reaches a Dice
# of `0.7`. `TrainConfig(stop=0.7)` does the same. The cases that decide must not be test cases, so here they are those of `dev`. No
# training is needed to see the effect: each history holds the Dice of every class at a few epochs. The rule by hand, and by the package:

# %%
dices = [f"dice_{name}" for name in (*spec.names, "mean")]
history = store.read_table(session.ws.artifacts / store.HISTORIES).reindex(columns=["run", "epoch", *dices])
seen = history[history["run"].str.endswith(f".dev0.s0.{schedule}")].dropna().rename(columns={"dice_mean": "dice"})
seen["model"], seen["weakest"] = seen["run"].str.split(".").str[0], seen[dices[:-1]].min(axis=1)
wanted = ["unet2d", "unet2d-mobilenetv3", "unet3d", "unet3d+adamw", "unet3d-long", flagship]
last = seen.groupby("model")[["epoch", "dice"]].last().reindex(wanted)
stops = {}
for level in (0.7, 0.8, 0.85):
    enough_dice = seen[seen["weakest"] >= level]
    stops[f"stop at {level:g}"] = enough_dice.groupby("model")[["epoch", "dice"]].first().reindex(wanted)
for _, row in seen.iterrows():
    of_classes = dict(zip(spec.names, row[dices[:-1]]))
    assert loop.reached([{"dice": of_classes}], 0.85) == (row["weakest"] >= 0.85)
stopped = pd.concat(stops | {"no stop": last}, axis=1)
stopped.rename(index=words).round(4)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
first = seen.groupby("model")["epoch"].first().reindex(wanted)
price = last["dice"] - stops["stop at 0.7"]["dice"]
early, late = stops["stop at 0.7"]["epoch"] / last["epoch"], stops["stop at 0.85"]["epoch"]
halfway = stops["stop at 0.7"]["dice"][flagship]
planned = history.loc[history["run"].str.startswith(f"{flagship}.dev0.s0.a8"), "dice_mean"].max()
session.claim(
    all((stops[name]["epoch"] == first).all() for name in ("stop at 0.7", "stop at 0.8"))
    and (late > first).sum() == 1
    and price.between(0.002, 0.03).all()
    and planned > halfway,
    f"""**A stop at 0.7 saves half of the epochs or more, and costs {price.min():.3f} to {price.max():.3f} Dice.** All six trainings have reached
0.7 and 0.8 in every class at their first evaluation, after {100 * early.min():.0f} to {100 * early.max():.0f} % of the epochs; evaluated after
every epoch, they would stop earlier still. At 0.85 one of the six continues. One reason for the cost is the learning rate, which is still
high at such a stop: the flagship has {halfway:.4f} after eight of sixteen epochs, and {planned:.4f} where eight were planned and the rate falls
to the end (one seed each). So plan a short schedule instead of stopping a long one.""",
)

# %% [markdown]
# ## 4. How the flagship was chosen, and ensembles
#
# On `dev`, before any test fold was scored. The rule: among the models equivalent to the best, the single network with the highest Dice. The field's
# usual last gain, a mean over networks, was among them: one network on volumes and three on slices
# (*fusion*). These numbers serve selection alone: `dev` has few subjects, and the best of many models is biased upwards.

# %%
rivals = [
    "fusion",
    "fusion+views",
    "unet2d-fusion",
    "unet2d-fusion+views",
    "unet3d-long",
    "unet3d-short",
    "unet3d",
    "unet3d+adamw",
]
choice = found.query("label == 'mean' and folds == 'dev' and schedule == @schedule and seed == 0")
choice = compare.differences(choice[choice["model"].isin([flagship, *rivals])], flagship)
choice = choice.sort_values("difference", ascending=False).assign(minutes=idle.reindex(choice.index))
choice[["difference", "low", "high", "minutes"]].astype(float).round(4).rename(index=words)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
earlier = found[(found["model"] == "unet3d-long") & (found["label"] == "mean") & (found["schedule"] == schedule)]
earlier = full.set_index(keys)[["dice"]].join(earlier.set_index(keys)["dice"].rename("earlier"), how="inner")
held = {}
for kind, part in earlier.groupby("folds"):
    held[kind] = stats.paired(part["dice"], part["earlier"], part.index.get_level_values("subject")).difference
held = pd.Series(held, dtype=float).reindex(["grouped", "nnunet"])
session.claim(
    not (choice["low"] > 0).any() and (held > 0).all(),
    f"""**No ensemble is better than the flagship on `dev`,** at two to three times its minutes. The choice held on the test folds: against the
earlier flagship, which trains half as long again, it gains {held["grouped"]:+.4f} on five folds by subject and
{held["nnunet"]:+.4f} on five by volume.""",
)

# %% [markdown]
# ## 5. Rounding, precision and seeds
#
# Training is not reproducible to the digit on another machine: the number of threads and the processor change the order of sums, the rounding and so
# the weights. Eight runs were trained twice with the same seed. How far apart are they, compared with another seed?

# %%
path = session.ws.artifacts / "studies" / "rounding.csv"
twice = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["run", "dice_a", "dice_b"])
twice = twice.assign(model=twice["run"].astype(str).str.split(".").str[0]).query("model != 'atlas-no-image'")
moved = twice.groupby("model")[["dice_a", "dice_b"]].mean().astype(float).diff(axis=1)["dice_b"].abs()
seeds = primary.groupby(["model", "seed"])["dice"].mean().unstack().reindex(columns=plan.SEEDS).dropna()
first, second, third = (seeds[seed] for seed in plan.SEEDS)
apart = ((first - second).abs() + (second - third).abs() + (third - first).abs()) / 3
rounding = pd.DataFrame({"same seed, trained twice": moved, "two seeds, mean": apart.reindex(moved.index)})
rounding.rename(index=words).round(4)

# %% [markdown]
# CPUs without bfloat16 train in float32. The plain networks were trained in both precisions, with three seeds each.

# %%
every = session.every_run.query("label == 'mean' and folds == 'grouped' and fold == 0 and schedule == @schedule")
every = every[(every["device"] == "cpu") & every["model"].isin(plan.PRECISION)]
precise = [compare.differences(part, "bf16", by="precision").reindex(["fp32"]) for _, part in every.groupby("model")]
precise = pd.concat(precise).set_axis(sorted(set(every["model"])))
precise[["difference", "low", "high", "conclusion"]].rename(index=words)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
like = rounding.dropna().mean().reindex(rounding.columns)
session.claim(
    (precise["conclusion"] == "equivalent").all() and 0.5 < like.iloc[0] / like.iloc[1] < 2,
    f"""**Rounding acts like one more seed:** it changes the mean Dice by {like.iloc[0]:.4f} on average, another seed by {like.iloc[1]:.4f}. **Float32 and
bfloat16 are equivalent.** So tables compare Dice across machines, and no conclusion rests on one seed; times are compared within one machine.""",
)

# %% [markdown]
# ## 6. Heads that read coordinates
#
# A head turns features into classes. A 1 x 1 x 1 convolution does so voxel by voxel. An **implicit neural representation** is a small network that
# takes features *and a position in mm*, so it can be evaluated anywhere, also between voxels. On the training grid this buys nothing by itself. So
# all heads were trained on data of 2 mm and evaluated at 1 mm, where there is truth. Each is compared with the plainest alternative: its logits at
# 2 mm, interpolated.

# %%
heads = primary[primary["model"].isin(plan.HEADS)]
queried = store.read_table(
    session.ws.artifacts / "studies" / "offgrid.csv.gz", ("run", "label", "query", "case", "dice")
)
queried = queried[(queried["label"] == "mean") & queried["query"].isin(offgrid.QUERIES)]
queried = heads.drop_duplicates("run")[["run", "model", "seed", "steps", *compare.SETTING]].merge(queried, on="run")
by_seed = queried.groupby(["model", "seed", "query"])["dice"].mean().unstack().reindex(columns=offgrid.QUERIES)
by_seed.rename(index=words, level=0).round(3)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
sound = by_seed.drop(index="unet3d-inr-siren-xyz", errors="ignore")
siren = by_seed[by_seed.index.get_level_values(0) == "unet3d-inr-siren-xyz"].max() - by_seed.min()
control = compare.differences(heads, "unet3d-inr-1mm").reindex(["unet3d-inr-conv"]).iloc[0]
apart = (sound[offgrid.HEAD] - sound[offgrid.TRILINEAR]).abs().max()
session.claim(
    apart < 0.01 and siren[offgrid.HEAD] > 0.4 and control["high"] < -0.02,
    f"""**A head that reads coordinates adds nothing here.** For the convolution and the MLPs, evaluating the head between voxels and interpolating
its logits differ by less than 0.01 Dice in every seed. One of three SIREN seeds fails between voxels: the seeds differ by
{siren[offgrid.HEAD]:.2f} with the head and by {siren[offgrid.TRILINEAR]:.3f} with interpolated logits. Training at 2 mm costs
{-control["difference"]:.3f}.""",
)

# %% [markdown]
# Why could a SIREN fail between voxels? There it reads interpolated features, which it never met in training. A ReLU passes a mean of two features on as
# roughly the mean of two outputs. A SIREN takes their sine, at frequencies that training may raise. This explanation was not tested. All heads have one
# configuration, which was not tuned for a SIREN.
#
# Project B searched over the width of its coordinate head, in 2D. Here is the same grid in 3D, evaluated on the test subjects at 1 mm.

# %%
widths = {plan.WIDTHS[0]: "32 units", plan.WIDTHS[1]: "48 units", "unet3d-inr-siren-xyz": "64 units"}
grid = compare.differences(primary[primary["model"].isin(["unet3d-inr-conv", *widths])], "unet3d-inr-conv")
grid = grid.reindex(list(widths))
tables.readable_differences(grid).rename(index=widths)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    grid["conclusion"].tolist() == ["equivalent", "equivalent", "inconclusive"],
    f"""**Width does not matter:** SIREN heads of 32 and 48 units are equivalent to the head without coordinates
({grid["difference"].iloc[0]:+.4f} and {grid["difference"].iloc[1]:+.4f}). With 64 units one seed of three fails, as above.""",
)

# %% [markdown]
# ## 7. Does a network learn its training subjects by heart?
#
# Overfitting would raise Dice on training subjects and lower it on test subjects. Three models were trained once more and evaluated after every
# epoch on a quarter of the subjects of either part. The curves are shown only: no choice depends on them. Compare how the two curves of a chart
# move, and not their levels: the nine test subjects may be easier or harder than the others.

# %%
curves = making.read(session.ws, "curves")
if curves is not None:
    curves = curves.assign(model=curves["run"].str.split(".").str[0])
    means = curves.groupby(["model", "part", "epoch"])[["dice", "nsd1"]].mean()
    fig, axes = plt.subplots(2, 3, figsize=(9.6, 4.6), sharex="col", sharey="row")
    for column, model in zip(axes.T, dict.fromkeys(curves["model"])):
        for measure, ax in zip(("dice", "nsd1"), column):
            for index, part in enumerate(("training", "test")):
                ax.plot(means.loc[model, part][measure], label=part, **style.line_style(index))
            ax.set(ylim=(0.8, 0.92) if measure == "dice" else (0.9, 1))
        column[0].set_title(words(model), fontsize=8)
        column[1].set(xlabel="epoch", xticks=range(4, 1 + curves.loc[curves["model"] == model, "epoch"].max(), 4))
    axes[0, 0].set_ylabel("mean Dice")
    axes[1, 0].set_ylabel("surface Dice, 1 mm")
    axes[0, 0].legend(title="subjects", loc="lower right")
    slices.heading(fig, "Training Dice keeps rising, test Dice does not fall")
    session.save(fig, "curves")

# %% jupyter={"source_hidden": true} tags=["hide-input"]
if curves is not None:
    by_epoch = means["dice"].unstack("part").groupby("model")
    late = by_epoch.apply(lambda table: table.iloc[-1] - table.iloc[len(table) // 2 - 1])
    session.claim(
        (late["training"] > 0.003).all() and (late["test"] > -0.003).all() and (late["training"] > late["test"]).all(),
        f"""**No: no overfitting shows.** In the second half of training, mean Dice rises by {late["training"].min():.3f} to {late["training"].max():.3f} on training
subjects and changes by {late["test"].min():+.3f} to {late["test"].max():+.3f} on test subjects. So the last epochs fit the training subjects, at no cost for others.""",
    )

# %% [markdown]
# ## 8. The race in detail
#
# Notebook 04 draws the race. Its steps explain much: in the same minutes the flagship makes many more of them, on two volumes instead of nine. Six of
# the 52 test volumes are of `dev`, on which the flagship was chosen; no peer had this advantage.

# %%
race = {
    (bench.system_name(name), int(minutes)): {"Dice": look["dice"]["mean"]["value"], "steps": look["steps"]}
    for minutes, rows in benchmark.get("race", {}).items()
    for name, look in rows.items()
}
race = pd.DataFrame(race, index=["Dice", "steps"]).T
race.rename_axis(["system", "minutes"]).unstack().round(3) if len(race) else race

# %% [markdown]
# Is it a faster engine or a smaller network? Compare each peer's time and operations per training volume with ours. Equal ratios point to the smaller
# network; a larger time ratio points to faster code as well.

# %%
names = [
    "train_s_per_volume",
    "predict_s_per_volume",
    "peak_mb",
    "step_gflop",
    "volumes_per_step",
    "share_of_bf16_peak",
]
speeds = pd.DataFrame(benchmark.get("throughput", {}), index=names).T.astype(float)
speeds["GFLOP a volume"] = speeds["step_gflop"] / speeds["volumes_per_step"]
times = (
    speeds[["train_s_per_volume", "GFLOP a volume"]]
    / speeds[["train_s_per_volume", "GFLOP a volume"]].reindex(["ours"]).min()
)
speeds = speeds.assign(
    **{"time, times ours": times["train_s_per_volume"], "GFLOP, times ours": times["GFLOP a volume"]}
)
speeds.drop(columns=["step_gflop", "volumes_per_step"]).rename(index=bench.system_name).round(2)

# %% [markdown]
# Those times come from one CPU, which computes bfloat16. Most CPUs do not; the flagship then trains in float32. `make speed` measures any CPU in ten
# idle minutes. On a CPU with AVX2 alone the networks keep their channels last in memory, where the gradient of a convolution's weights is faster to
# compute.

# %%
kinds = {}
for kind in benchmark.get("kinds", ()):
    ratios = {name: one.get("times_ours", {}).get("train_s_per_volume") for name, one in kind["systems"].items()}
    kinds[kind["cpu"]] = {
        "training, min": kind["schedule_minutes"].get(kind["precision"]),
        "in float32, min": kind["schedule_minutes"].get("fp32"),
        **{f"{bench.system_name(name)}, times ours": ratio for name, ratio in ratios.items() if name != "ours"},
    }
kinds = pd.DataFrame(kinds).T.astype(float)
kinds.round(1)

# %% jupyter={"source_hidden": true} tags=["hide-input"]
peers = speeds.reindex(["nnunet-bf16", "dynunet-bf16"])
slowest = (
    kinds.filter(regex="nnU-Net v2,|DynUNet,").min().reindex(["nnU-Net v2, times ours", "MONAI DynUNet, times ours"])
)
session.facts(float32_minutes=kinds.get("in float32, min", pd.Series(dtype=float)).to_dict())
session.claim(
    (peers["time, times ours"] < peers["GFLOP, times ours"]).all() and (slowest > 4).all(),
    f"""**The flagship is fast because it is small.** In bfloat16 the peers take {peers["time, times ours"].min():.1f} and
{peers["time, times ours"].max():.1f} times our time for a training volume, with {peers["GFLOP, times ours"].min():.1f} times the operations. As
released, in float32, they take at least {slowest.min():.0f} times as long on every CPU measured.""",
)

# %% [markdown]
# ## What we learned

# %% jupyter={"source_hidden": true} tags=["hide-input"]
session.claim(
    not (gain["low"] > 0).any() and not (choice["low"] > 0).any(),
    """**Does longer training raise Dice on these crops? Hardly beyond the flagship's.**

1. Larger networks, deep supervision, ensembles and coordinate heads show no gain.
2. A quarter fewer epochs cost almost nothing; half of them cost a little.
3. The same training on another machine differs like another seed, so differences of a few thousandths need several seeds.

Larger scans, harder structures or more training subjects could change this conclusion.""",
)

# %% [markdown]
# ## Limits
#
# - One test fold for the variants, most of them with one seed. Equal steps are one way of being fair; a configuration tuned for each could
#   change the order.
# - There is no truth off the voxel grid, so coordinate heads are judged at 1 mm only.
# - Two kinds of CPU, two cores, one seed in the race.
#
# ## Exercises
#
# **1. Operations of a convolution.** Write a function of the input channels, the output channels and the output's sides that counts the multiplications
# of a 3D convolution with a kernel of 3, without bias. Then compare the first and the last stage of the U-Net of notebook 04.

# %% tags=["exercise"]
my_count = None  # your function of (inputs, outputs, sides)

# %%
if my_count is None:
    print("not yet written")
else:
    kernel = torch.nn.Conv3d(4, 8, 3, padding=1, bias=False)
    assert my_count(4, 8, (10, 10, 10)) == kernel.weight.numel() * 1000
    assert my_count(16, 16, (40, 56, 40)) > my_count(128, 128, (5, 7, 5)), "fine stages cost more than coarse ones"
    print("correct")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_count(inputs, outputs, sides):
#     return 27 * inputs * outputs * int(np.prod(sides))
# ```
#
# </details>
#
# ## References
#
# - Isensee et al. 2021, nnU-Net, [doi:10.1038/s41592-020-01008-z](https://doi.org/10.1038/s41592-020-01008-z)
# - Lee et al. 2015, deeply-supervised nets, [arXiv:1409.5185](https://arxiv.org/abs/1409.5185)
# - Hatamizadeh et al. 2022, UNETR, [doi:10.1109/WACV51458.2022.00181](https://doi.org/10.1109/WACV51458.2022.00181)
# - Sitzmann et al. 2020, SIREN, [arXiv:2006.09661](https://arxiv.org/abs/2006.09661)
# - Smith and Topin 2018, one-cycle schedules, [doi:10.1117/12.2520589](https://doi.org/10.1117/12.2520589)

# %%
session.finish()
