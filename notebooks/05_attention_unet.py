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
# # 05. Attention U-Net: do gates on the skip connections help?
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/05_attention_unet.ipynb)
#
# **Question.** An attention gate decides, place by place, how much of a skip connection gets through. Does it look at the hippocampus, and
# does it improve the segmentation? In short: it does look there, and it does not help.
#
# **What you will learn**
# - how an attention gate works, by building one;
# - where the gates of a trained network are open;
# - why a map that lights up on the hippocampus proves little, and which controls prove more;
# - how to test whether a component helps: a network without it, and a control with the same parameters that cannot choose places.
#
# Needs notebooks [00](00_quickstart.ipynb) and [03](03_unet2d_baseline.ipynb); words such as *interval* are in the [glossary](GLOSSARY.md).
#
# - **Reads:** the data set, `folds.json`, the tables of finished runs, the benchmark's times.
# - **Writes:** `figures/05_*`, `facts/05_attention_unet.json`; under `standard` the run `attention2d`.
# - **Run time:** a minute; under `standard` also the training of one 2D network.

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
import inspect

import pandas as pd
import torch
from IPython.display import Code, display

from hipposeg import stats
from hipposeg.experiments.registry import MODELS, RunSpec
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.weights import initial
from hipposeg.models import attention as gates
from hipposeg.notebook import start
from hipposeg.results import tables
from hipposeg.training.machine import this_machine
from hipposeg.viz import intervals as charts
from hipposeg_lab.bench import summary as bench_summary
from hipposeg_lab.figures import architecture
from hipposeg_lab.figures import maps as pictures
from hipposeg_lab.studies import attention, comparisons

session = start("05_attention_unet", profile)
spec, cohort = session.spec, session.cohort

# %% [markdown]
# ## 1. A gate, step by step
#
# A U-Net hands its fine encoder features to the decoder everywhere in the image. Most of an image is not the hippocampus, and the coarse
# stages already know roughly where it is. An **attention gate** (Oktay et al. 2018) uses that: it computes a weight between 0 and 1 for
# each place and multiplies the skip connection by it. Here is the computation on random features: a skip connection of 16 channels and a
# decoder feature of 32 channels at half its resolution.

# %%
torch.manual_seed(0)
skip, coarse = torch.randn(1, 16, 48, 48), torch.randn(1, 32, 24, 24)
w_x = torch.nn.Conv2d(16, 16, 2, stride=2, bias=False)  # the skip connection at the coarse resolution
w_g = torch.nn.Conv2d(32, 16, 1)  # the coarse feature with the same number of channels
psi = torch.nn.Conv2d(16, 1, 1)  # one number for each place
score = psi((w_x(skip) + w_g(coarse)).relu())
weight = gates.doubled(score.sigmoid())  # between 0 and 1, at the resolution of the skip connection
print("score", tuple(score.shape), "weight", tuple(weight.shape), "gated skip", tuple((skip * weight).shape))

# %% [markdown]
# The class of the package does the same, and the network has one gate on every skip connection:

# %%
display(
    Code("\n".join(map(inspect.getsource, (gates.AttentionGate.forward, gates.AttentionUNet.gated))), language="python")
)

# %%
model = MODELS["attention2d"]
channels = model.prep.channels(len(spec.channels))
sides = tuple(side for axis, side in enumerate(model.prep.size) if axis != model.prep.axis)
session.save(
    architecture.diagram(
        architecture.trace(model.build(channels, spec.n_classes), channels, sides),
        "Each gate reads a skip and the stage below it",
    ),
    "architecture",
)

# %% [markdown]
# **Nothing tells a gate to look at the hippocampus.** Only the segmentation loss trains it, and the layers behind it can undo any constant
# factor, so only differences between places mean something. This suggests a control: `attention2d-constant` has the same layers and
# parameters, but averages the score over the slice before the sigmoid, so all places get one weight. It can do everything that a gate does,
# except choose places.

# %% [markdown]
# ## 2. Where are the gates open?
#
# The gated network and its counterpart `unet2d` start from the same weights, see the same slices in the same order, and differ in the gates
# alone. The training configuration was chosen on `dev` for the network without gates.

# %%
gated, plain = session.run(model.name), session.run("unet2d")
machine, network = this_machine(), session.network(gated)
session.facts(dice_unet2d=plain.mean(), dice_attention=gated.mean())
session.say(f"""Mean Dice on fold 0, one seed each: with gates {gated.mean():.3f}, without {plain.mean():.3f}.""")

# %% [markdown]
# The maps below belong to the best, the median and the worst test case by Dice. They are computed from the image alone; the experts' outlines
# are drawn afterwards. Yellow means open.

# %%
test = session.folds["grouped"][0]["scored"]
images = images_of(cohort, model.prep, session.ws)
dice, views = gated.values(), []
chosen = tables.cases_by_rule(dice)
for rank, number in chosen.items() if network is not None else ():
    case, by_scale = cohort.cases[number], attention.maps(network, model.prep, images[number], machine)
    columns = {f"skip of {scale * spec.spacing[1]:g} mm voxels": one for scale, one in by_scale.items()}
    title = f"{rank}: case {number:03d}\nmean Dice {dice[number]:.3f}"
    views.append(pictures.MapView(title, case.image[0], case.label, columns, case.spacing))
if views:
    session.save(
        pictures.maps(views, spec, "Gates open on the hippocampus, and on other tissue", model.prep.axis), "maps"
    )

# %% [markdown]
# A yellow hippocampus on blue ground is what the method promises. But every hippocampus of this data set lies in the middle of its crop, so a
# yellow blob in the middle is no finding. Two controls separate the two explanations: the same network before training, which has learned
# nothing, and the map of **another subject's case**, laid over this image centre on centre. That map has never seen this image.

# %%
if network is not None:
    number, scale = chosen["median"], 2
    case = cohort.cases[number]
    other = attention.paired_cases(test, {n: cohort.cases[n].subject for n in test})[number]
    before = initial(RunSpec(model.name), spec).eval()
    shown = {
        "trained": attention.maps(network, model.prep, images[number], machine),
        "untrained": attention.maps(machine.place(before), model.prep, images[number], machine),
        "another subject's": attention.laid_over(
            attention.maps(network, model.prep, images[other], machine), case.label.shape
        ),
    }
    columns = {name: one[scale] for name, one in shown.items()}
    view = pictures.MapView(f"case {number:03d}", case.image[0], case.label, columns, case.spacing)
    session.save(
        pictures.maps([view], spec, "Another subject's map already has most of the shape", model.prep.axis),
        "controls",
        mm=scale * spec.spacing[1],
        other=other,
    )

# %% [markdown]
# ## 3. How much of it follows the image?
#
# The measure is the mean weight inside the true hippocampus divided by the mean weight outside, within the crop:

# %%
display(Code("\n".join(map(inspect.getsource, (attention.ratio, attention.laid_over))), language="python"))

# %% [markdown]
# One trap is left. Stacked slices also differ *between* slices: a gate that opens the middle slices as a whole gets a ratio above 1 without
# ever choosing a place. So each slice's map is divided by its own mean first. The constant gate then has a ratio of 1 by construction, which checks
# the measure.

# %%
ratios = pd.read_csv(session.ws.artifacts / "studies" / "attention.csv.gz")
table = ratios[(ratios["run"] == gated.name) & (ratios["within"] == attention.SAMPLE)]
found_ratios, above = attention.intervals(table), attention.beyond(table)
rows = found_ratios.rename(columns={"control": "series"}).assign(panel="within each slice")
rows["row"] = [f"skip of {scale * spec.spacing[1]:g} mm voxels" for scale in rows["scale"]]
session.save(
    charts.dots(rows, "mean inside / mean outside", one_scale=True, line=("", 1.0)), "ratios", volumes=len(test)
)
within = found_ratios.set_index(["control", "scale"])["value"]
over = above[above["control"] == attention.OTHER].set_index("scale")
session.facts(ratio_within_slices={control: within[control].to_dict() for control in within.index.unique(0)},
              constant_gate_farthest_from_1=float((table[table["control"] == attention.CONSTANT]["ratio"] - 1).abs().max()))  # fmt: skip

# %%
fine, coarsest = over.drop(index=max(over.index)), over.loc[max(over.index)]
session.claim(
    (within[attention.TRAINED] > within[attention.UNTRAINED]).all()
    and (fine["low"] > 0).all()
    and coarsest["low"] < 0 < coarsest["high"],
    f"""**In this network the finer gates follow the image, the coarsest does not.** The trained gates let through up to
{within[attention.TRAINED].max():.1f} times as much inside the hippocampus as outside. Another subject's map reaches
{within[attention.OTHER].max():.1f}, so most of the ratio is position. What the image adds is {fine["difference"].min():.2f} to
{fine["difference"].max():.2f} for the finer gates, and {coarsest["difference"]:+.2f} for the coarsest, whose interval
({coarsest["low"]:+.2f} to {coarsest["high"]:+.2f}) includes zero.""",
)

# %% [markdown]
# Does every training find the same habit? The table shows the mean ratio of each seed, for the 2D and the 3D network.

# %%
found = session.planned()
every = found.drop_duplicates("run")[["run", "model", "seed"]].merge(ratios, on="run")
every = every[(every["control"] == attention.TRAINED) & (every["within"] == attention.SAMPLE)]
every = every.assign(mm=every["scale"] * spec.spacing[1]).rename(columns={"mm": "voxels of the skip (mm)"})
each = every.groupby(["model", "voxels of the skip (mm)", "seed"])["ratio"].mean()
if len(every):
    display(each.unstack().round(2))

# %% [markdown]
# Seeds differ, also in the direction: the loss does not ask for one habit. A picture of one network's gates is about that network. And a map
# is a by-product of training, no explanation of the prediction (Jain and Wallace 2019; Adebayo et al. 2018). Whether gates are of use is another question.

# %% [markdown]
# ## 4. Does it help?
#
# Each gated network is compared with two others on the same subjects: without gates, and with constant gates. Only if it is better than both
# does choosing places help. Every network was trained with three seeds. Attention is said to help with small structures, so the third of the
# volumes with the smallest hippocampus is also compared by itself. A second kind of attention is included: **scSE** (Roy et al. 2018) weights
# channels and places of each decoder stage; segmentation-models-pytorch provides it for the MobileNetV3 network of notebook 03.

# %%
volumes = plain.values("union", "volume_true").sort_values(kind="stable")
small = sorted(volumes.index[: max(1, len(volumes) // 3)])
conclusions = comparisons.by_size(found, small)
if len(conclusions):
    session.save(
        charts.forest(conclusions, stats.EQUIVALENCE_MARGIN, "mean Dice, first minus second", sort=False), "series"
    )
    session.facts(
        conclusions={" / ".join(name): row["conclusion"] for name, row in conclusions.iterrows()}, smallest=len(small)
    )
    display(tables.readable_differences(conclusions))

# %%
every_volume = (
    conclusions[conclusions.index.get_level_values(0).str.startswith("all")] if len(conclusions) else conclusions
)
session.claim(
    len(every_volume) > 0 and (every_volume["conclusion"] == "equivalent").all(),
    f"""**No kind of attention changes Dice here.** In all {len(every_volume)} comparisons, 2D and 3D, the two networks are equivalent: no
interval reaches a difference of {stats.EQUIVALENCE_MARGIN:g}. On the smallest third the same holds in 3D; in 2D the intervals are too wide to
conclude.""",
)

# %% [markdown]
# Why not? The crops were cut around the hippocampus, so it lies in the middle and fills much of a slice. Gates were made to find a small organ in a
# wide field of view. Here, finding it is done before the network begins.

# %% [markdown]
# ## 5. What it costs
#
# Parameters and operations are counted by code. Milliseconds are the benchmark's, each model alone on an idle machine, from an image in
# memory to its mask.

# %%
names = ["unet2d", "attention2d", "attention2d-constant", "unet3d", "attention3d", "unet2d-mobilenetv3", "scse2d"]
clock = {} if session.ws.is_phantom else bench_summary.read(session.ws.root).get("models", {})
costs = session.results.drop_duplicates("model").set_index("model").reindex(names)[["params", "gflops"]].dropna()
costs["ms"] = [1e3 * clock.get(name, {}).get("predict_s_per_volume", float("nan")) for name in costs.index]
display(costs.style.format({"params": "{:,.0f}", "gflops": "{:.1f}", "ms": "{:.0f}"}, na_rep="").set_uuid("costs"))
if {"unet2d", "attention2d"} <= set(costs.index):
    more = 100 * (costs.loc["attention2d"] / costs.loc["unet2d"] - 1)
    session.say(f"Gates add {more['params']:.0f} % parameters and {more['gflops']:.0f} % operations to the 2D network.")

# %% [markdown]
# ## What we learned

# %%
session.claim(
    len(conclusions) > 0 and 0.5 < (each > 1).mean() < 1,
    """**Do attention gates help to segment the hippocampus in these crops? No.**

1. In most trainings and scales the gates are more open on the hippocampus than elsewhere, in a few less. In the network shown, most of this is
   position; in its finer gates a smaller part follows the image.
2. Seeds of one network learn different gates with the same accuracy.
3. Neither gates nor scSE improve Dice over a network without them, in 2D or in 3D.

A wide field of view with the hippocampus in an unknown place could change this conclusion, or a training configuration that was tuned for
the gates.""",
)

# %% [markdown]
# ## Limits
#
# - One fold, three seeds. The training configuration was chosen for the network without gates.
# - One other case's map only approximates what position explains. The mean of many maps might come closer to the trained one.
# - A ratio counts all of the hippocampus alike. A gate that opens along the border alone could be useful and have a ratio near 1.
#
# ## Exercises
#
# 1. Write the control of section 1: average `score` over space before the sigmoid. Check that the weight is the same everywhere.
# 2. In section 2, mirror the image: pass `images[number][:, ::-1].copy()` to `attention.maps`, and `case.image[0][::-1]` and
#    `case.label[::-1]` to `MapView`. Do the maps follow the tissue, or stay in place?
# 3. In the second picture of section 2, set `scale = 1`, then `scale = 4`. At which scale does another subject's map look most like the
#    trained one?
#
# ## References
#
# - Oktay et al. 2018, Attention U-Net, [arXiv:1804.03999](https://arxiv.org/abs/1804.03999)
# - Schlemper et al. 2019, attention gated networks, [doi:10.1016/j.media.2019.01.012](https://doi.org/10.1016/j.media.2019.01.012)
# - Roy et al. 2018, scSE, [doi:10.1007/978-3-030-00928-1_48](https://doi.org/10.1007/978-3-030-00928-1_48)
# - Jain and Wallace 2019, attention is not explanation, [doi:10.18653/v1/N19-1357](https://doi.org/10.18653/v1/N19-1357)
# - Adebayo et al. 2018, sanity checks for saliency maps, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292)

# %%
session.finish()
