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
# # 05. Attention U-Net: gates on the skips
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/05_attention_unet.ipynb)
#
# **Question.** A gate decides, place by place, how much of a skip gets through. Does it look at the hippocampus, and does it help?
#
# **What you will learn**
# - what an attention gate is, by reading the code that runs;
# - where the gates of a trained network are open, at every scale;
# - why a map that lights up on the organ proves little, and which controls tell more;
# - how to ask whether a part of a network helps: a twin without it, and a control of equal parameters that cannot do what it does;
# - what it costs.
#
# **Reads:** the data set, `folds.json`; of notebook 03 the run `unet2d`, which is trained here if it is missing; the finished planned runs
# in `artifacts/`, and the benchmark's times.
# **Writes:** `figures/05_*`, `facts/05_attention_unet.json`, the run of the model `attention2d` with its masks, and its rows of
# `studies/attention.csv.gz`. **Run time:** that of one 2D training under `standard`; about a minute under `smoke` and `stored`, or when the
# runs are cached.

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
import inspect

import numpy as np
import pandas as pd
from IPython.display import Code, display

from hipposeg import stats
from hipposeg.experiments import RunSpec, plan
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.samples import images_of
from hipposeg.models import attention as gates
from hipposeg.models import inspection
from hipposeg.notebook import start
from hipposeg.results import tables
from hipposeg.training.machine import this_machine
from hipposeg.viz import architecture, curves
from hipposeg.viz import intervals as charts
from hipposeg_lab.bench import summary as bench_summary
from hipposeg_lab.figures import maps as pictures
from hipposeg_lab.studies import attention, comparisons

session = start("05_attention_unet", profile)
spec, cohort = session.spec, session.cohort
fold = session.folds["grouped"][0]
schedule = "smoke" if profile == "smoke" else "standard"

# %% [markdown]
# ## 1. What a gate is
#
# A U-Net hands its fine features from the way down to the way up, all of them, wherever in the image they are. But most of an image is not
# the organ, and the coarse stages know roughly where it is. An **attention gate** (Oktay et al. 2018) lets them say so: it computes a
# weight between 0 and 1 for each place and multiplies the skip by it. Skip and coarse feature are brought to the coarse resolution, mapped
# to the same channels and added; negative values of the sum are set to zero, a 1x1 convolution makes one number for each place of what is
# left, and a sigmoid turns it into a share. `doubled` brings that map to the skip's resolution, linearly.

# %%
gate = (gates.AttentionGate.__init__, gates.AttentionGate.forward)
display(Code("\n".join(map(inspect.getsource, gate)), language="python"))

# %% [markdown]
# In the network, one gate sits on every skip. This is the way up with gates; the stages that it returns are those of notebook 03's U-Net.
# The network keeps nothing of its maps; whoever wants them asks for them, and gets what the same code computes for the logits:

# %%
way_up = (gates.AttentionUNet.gated, gates.AttentionUNet.maps)
display(Code("\n".join(map(inspect.getsource, way_up)), language="python"))

# %%
model = MODELS["attention2d"]
channels = model.prep.channels(len(spec.channels))
sides = tuple(side for axis, side in enumerate(model.prep.size) if axis != model.prep.axis)
session.save(
    architecture.diagram(inspection.trace(model.build(channels, spec.n_classes), channels, sides), model.name), "architecture",
    "The gated 2D network, drawn from the module itself: each gate reads a skip and the decoder feature one stage below, and what it lets "
    "through joins the upsampled feature.",
    "A U-shaped diagram: blue boxes go down at the left, green boxes come up at the right, with a pink gate before each merge.",
)  # fmt: skip

# %% [markdown]
# **What we see.** Every arrow from the left side ends in a gate, and each gate has a second arrow from below: that is where it learns what
# the coarse stage knows. **What it does not show:** that a gate must look at the organ. Nothing but the segmentation loss tells it what to
# do, and the layers behind it can undo any constant factor. Only *differences* between places mean something.
#
# That suggests a control. `attention2d-constant` has the same layers and parameters, but averages over the slice what enters the sigmoid: all
# places get one weight. It can do all that a gate can, except choose places.

# %% [markdown]
# ## 2. Training the gated network
#
# Its recipe is that of its twin `unet2d`, which was chosen on `dev` for the network without gates; nothing was tuned for the gates. The gates
# are made after the rest, so that both start from the same weights, see the same slices in the same order, and differ in the gates alone.
# The twin comes from notebook 03.

# %%
gated = session.run(model.name)
plain = session.run("unet2d")
session.save(
    curves.training_curves({"unet2d": plain.history, model.name: gated.history}), "curves",
    "Training loss, and mean Dice on the scored volumes every few epochs, shown for display only: nothing is chosen by it.",
    "Two line charts over epochs for two networks: the training loss, and the mean Dice at a few of them.",
)  # fmt: skip
session.facts(dice_unet2d=plain.mean(), dice_attention=gated.mean())
session.say(
    f"""On the {len(fold["scored"])} volumes of fold 0: `unet2d` **{plain.mean():.4f}**, `{model.name}` **{gated.mean():.4f}** mean Dice."""
)

# %% [markdown]
# **What to look for.** Can the two curves be told apart at all? **What it does not show:** which is better; section 5 compares them person by
# person, so its difference need not be that of the two means, which count volumes.

# %% [markdown]
# ## 3. Where the gates are open
#
# Three scored cases by rule, ranked by the gated network's mean Dice: the best, the median and the worst, each in the slice that holds most
# hippocampus. A slice without any would tell nothing. The maps are computed from images alone; the true outline is drawn afterwards.

# %%
machine, network = this_machine(), session.network(gated)
if network is None:
    session.say(
        f"**The weights of `{model.name}` are not on this machine**, so its maps are left out; `standard` makes them."
    )
images = images_of(cohort, model.prep, session.ws)
scored = {number: images[number] for number in fold["scored"]}
dice, views = gated.values(), []
chosen = tables.cases_by_rule(dice)
if network is not None:
    for rank, number in chosen.items():
        case, by_scale = cohort.cases[number], attention.maps(network, model.prep, images[number], machine)
        columns = {f"skip of {scale * spec.spacing[1]:g} mm voxels": one for scale, one in by_scale.items()}
        title = f"{rank}: case {number:03d}\nmean Dice {dice[number]:.3f}"
        views.append(pictures.MapView(title, case.image[0], case.label, columns, case.spacing))
    session.save(
        pictures.maps(views, spec, "What the gates let through", model.prep.axis), "maps",
        "The best, median and worst scored case with the maps of all gates over the slice that holds most hippocampus. Yellow: the gate is open. "
        "A map is computed at half its skip's resolution, brought linearly to the skip's, and repeated to the image's. Bare tissue: beyond the "
        "network's box.",
        "Three rows of slices: the image, then blue to yellow maps at three scales, with the two true outlines.", kind="png",
    )  # fmt: skip

# %% [markdown]
# **How to read it.** A yellow organ on blue ground is what the name promises. Compare it with what is there: a gate may be open on other tissue
# that helps to find the organ, open on one part of it and closed on the other, or open nearly everywhere. A closed gate is no loss by
# itself, since the decoder can read from it, too: a skip that is silent in one part and not in the other tells the two apart. These slices
# lie where the organ is thickest. The same cases again, in the slice that holds most of the posterior part:

# %%
if network is not None:
    session.save(
        pictures.maps(views, spec, "The same gates farther back", model.prep.axis, part=spec.labels[-1].value), "maps-posterior",
        f"The same cases and gates in the slice that holds most of the {spec.labels[-1].name} part.",
        "Three rows of slices: the image, then blue to yellow maps at three scales, with the true outlines.", kind="png",
    )  # fmt: skip

# %% [markdown]
# **What to look for.** Is a gate that is closed on one part open on the other? Section 4 counts it over all slices and cases.
# **What it does not show:** whether the network needs this. And a blob in the middle of the box is no finding: that is where every
# hippocampus lies.
#
# So one picture more, for the median case and one gate, beside two controls: the map of the same network before training, which has
# learned nothing, and the map of another person's case, which has not seen this image, laid over this one centre on centre.

# %%
if network is not None:
    asked = attention.networks(network, RunSpec(model.name, schedule=schedule), cohort, machine)
    number, scale = chosen["median"], 2
    case = cohort.cases[number]
    other = attention.paired_cases(list(scored), {n: cohort.cases[n].subject for n in scored})[number]
    names = (attention.TRAINED, attention.UNTRAINED)
    shown = {name: attention.maps(asked[name], model.prep, images[number], machine) for name in names}
    theirs = attention.maps(network, model.prep, images[other], machine)
    shown[attention.OTHER] = attention.laid_over(theirs, case.label.shape)
    columns = {name: one[scale] for name, one in shown.items()}
    view = pictures.MapView(f"case {number:03d}", case.image[0], case.label, columns, case.spacing)
    session.save(
        pictures.maps([view], spec, f"The gate on the skip of {scale * spec.spacing[1]:g} mm voxels", model.prep.axis), "controls",
        f"The median case under three maps of one gate: of the trained network, of the same architecture before training, and of case {other:03d}, "
        "another person's, laid over it. Where no map reaches, the tissue is bare.",
        "Four panels of one slice: the image and three blue to yellow maps with the two true outlines.", kind="png",
    )  # fmt: skip

# %% [markdown]
# **What to look for.** How much of the trained map's shape does another person's map already have? That much comes from the place in the box.
# **What it does not show:** how it is on the other cases, and by how much. That needs a number.

# %% [markdown]
# ## 4. Is the attention where the hippocampus is?
#
# The measure is simple: the mean of a map inside the true structure, divided by its mean outside, within the image's box. At 1 a gate
# does not distinguish; below 1 it is more closed on the organ than elsewhere. Labels enter here and nowhere before:

# %%
display(Code(inspect.getsource(attention.ratio), language="python"))

# %% [markdown]
# One trap is left. A 2D network sees slices, and stacked maps also differ *between* slices: a gate that opens in the middle slices as a whole
# gets a ratio above 1 without ever choosing a place. So the ratio is taken twice, for the stacked volume and after each slice's map was
# divided by its own mean. After the division the constant gate has 1 by construction, whatever its weights (here they are initial ones); it is
# computed, as a check of the measure, and only within slices.

# %%
ratios = pd.read_csv(session.ws.artifacts / "studies" / "attention.csv.gz")
table = ratios[ratios["run"] == gated.name]
found_ratios = attention.intervals(table)
panels = {attention.SAMPLE: "within each slice", attention.VOLUME: "in the whole volume"}
session.save(
    pictures.ratios(found_ratios, panels, spec.spacing[1]), "ratios",
    f"Mean attention inside the true hippocampus divided by that outside, mean over {len(scored)} scored volumes with 95 % intervals over "
    "people, for each gate and control. Dashed: as much inside as outside. One trained network.",
    "Dots with intervals for each gate, the trained network and its controls in two panels; the constant gate lies at one in the first.",
)  # fmt: skip
check = table[table["control"] == attention.CONSTANT]["ratio"]
session.facts(constant_gate_farthest_from_1=float((check - 1).abs().max().round(4)))

# %%
above = attention.beyond(table)
titles = {"control": "trained minus", "scale": "voxels of the skip (mm)"}
signs = dict.fromkeys(("difference", "low", "high"), "{:+.3f}")
rows = above[(above["within"] == attention.SAMPLE) & (above["control"] != attention.CONSTANT)].drop(columns="within")
session.say("Ratio within each slice, the trained network's minus each control's, on the same volumes:")
display(rows.rename(columns=titles).style.format(signs).hide(axis="index").set_uuid("beyond"))
within = found_ratios[found_ratios["within"] == attention.SAMPLE].set_index(["scale", "control"])
session.facts(ratio_within_slices={
    control: {str(scale): float(within.loc[(scale, control), "value"]) for scale in sorted(set(table["scale"]))}
    for control in (attention.TRAINED, *attention.CONTROLS)
})  # fmt: skip

# %%
if network is not None:
    parts = attention.by_part(network, model.prep, scored, cohort, machine)
    by_part = {
        item.name: attention.intervals(parts[parts["label"] == item.name]).set_index("scale") for item in spec.labels
    }
    session.say(
        "The same ratio within each slice, for each part of the hippocampus by itself (95 % interval over subjects):"
    )
    display(
        pd.DataFrame(
            {
                name: {
                    f"skip of {scale * spec.spacing[1]:g} mm voxels": f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})"
                    for scale, row in rows.iterrows()
                }
                for name, rows in by_part.items()
            }
        )
    )
    session.facts(ratio_by_part={name: rows["value"].round(4).to_dict() for name, rows in by_part.items()})

# %% [markdown]
# **How to read it.** *Trained* against *untrained* asks whether training moved the attention at all. *Trained* against *another case's map* is the
# harder question, asked only where both maps reach: what another person's map gives there, the place in the box can explain. A difference
# near zero says that the place explains the ratio. One that is clearly **not** zero, on either side, says that the map follows this image: above,
# it is more open on the organ than the place alone would make it, below, more closed. The parts by themselves tell whether one mean hides
# two habits. **What it does not show:** that the network segments well *because* it looks there. A map is a by-product of training and no explanation (Jain and Wallace 2019; Adebayo et al.
# 2018); whether gates are of use is the next section's question.
#
# In 3D one sample is the whole volume, so there is one ratio. Such a network takes longer to train, so its runs are read from the tables:

# %%
found = session.planned()
studied = found.drop_duplicates("run")[["run", "model", "seed"]].merge(ratios, on="run")
for name, group in studied.groupby("model", sort=False) if len(studied) else ():
    words = panels if MODELS[name].prep.axis is not None else {attention.SAMPLE: "in the volume"}
    session.save(
        pictures.ratios(attention.intervals(group), words, spec.spacing[1]), f"ratios-{name}",
        f"The same for `{name}`, {group['seed'].nunique()} trained networks; intervals over subjects and seeds.",
        "Dots with intervals for each gate and control; the constant gate lies at one.",
    )  # fmt: skip
    theirs = attention.beyond(group)
    rows = theirs[(theirs["within"] == attention.SAMPLE) & (theirs["control"] == attention.OTHER)]
    session.say(f"`{name}`, minus another case's map where both reach, over all seeds:")
    display(
        rows.drop(columns=["within", "control"]).rename(columns=titles)
        .style.format(signs).hide(axis="index").set_uuid(f"beyond-{name}")
    )  # fmt: skip
    kept = group[(group["control"] == attention.TRAINED) & (group["within"] == attention.SAMPLE)]
    each = kept.groupby(["scale", "seed"])["ratio"].mean().unstack()
    size = spec.spacing[1]
    lines = [f"{scale * size:g} mm: {', '.join(map('{:.2f}'.format, row))}" for scale, row in each.iterrows()]
    session.say(f"Mean ratio of each seed by the voxels of the skip: {'; '.join(lines)}.")
if studied.empty:
    session.say(
        "**Not trained yet:** no planned run of a gated network is finished, so the maps of the 3D network are not measured."
    )

# %% [markdown]
# **What to look for.** How far do the seeds of one gate lie apart? Where they part, the loss did not ask for one habit, and a picture of one
# network's gates tells about that network. **What it does not show:** whether the scores part as well; they do not have to.
#
# ## 5. Does it help?
#
# The gated network is compared with two others on the same people: with its twin without gates, and with the constant gate, whose layers
# and parameters are as many. Only if it is ahead of both does choosing places help. Attention is said to help with small structures, so the
# comparison is made twice: on all scored volumes, and on the third with the smallest true hippocampus. (Volumes are known in evaluation;
# nothing that predicts sees them.)

# %%
small = attention.smallest_third(plain.values("union", "volume_true"))
here = comparisons.by_size(pd.concat([plain.rows, gated.rows]), small)
first = here.iloc[0]
session.facts(attention_minus_twin={name: first[name] for name in ("difference", "low", "high")}, smallest=len(small))
session.save(
    charts.forest(here, stats.EQUIVALENCE_MARGIN, "mean Dice, first minus second", sort=False), "difference",
    "The gated network of this notebook minus its twin, one seed each, with 95 % intervals over subjects; shaded: too small to matter.",
    "A forest plot with a row for all volumes and a row for the smallest third.",
)  # fmt: skip

# %% [markdown]
# With one seed an effect cannot be told from the luck of one training, so there is no conclusion yet. The declared series repeats every model over three seeds,
# in 2D and in 3D, with a second kind of attention: **scSE** (Roy et al. 2018) weighs the channels and the places of each decoder stage,
# of what comes up as of the skip that enters it; segmentation-models-pytorch offers it, so it is tried on the MobileNetV3 network of notebook 03.

# %%
missing = {}
for run in plan.declared("05"):
    if run.name not in set(found["planned"]):
        missing.setdefault(run.model, []).append(str(run.seed))
if missing:
    session.say("**Missing:** " + "; ".join(f"`{name}`, seeds {', '.join(of)}" for name, of in missing.items()) + ".")
conclusions = comparisons.by_size(found, small)
if len(conclusions):
    session.save(
        charts.forest(conclusions, stats.EQUIVALENCE_MARGIN, "mean Dice, first minus second", sort=False), "series",
        "Paired differences in mean Dice over all seeds that are there, with 95 % intervals over subjects and seeds; shaded: too small to matter.",
        "A forest plot of declared comparisons, for all volumes and for the smallest third.",
    )  # fmt: skip
    session.facts(conclusions={" / ".join(name): row["conclusion"] for name, row in conclusions.iterrows()})
    session.say("The same with *p*, adjusted for the number of comparisons on the same volumes (Holm):")
    display(tables.readable_differences(conclusions))
else:
    session.say(
        "**Not trained yet:** no comparison of the series is complete, so there is no conclusion on attention here."
    )

# %% [markdown]
# **How to read it.** *Better* needs an interval that excludes zero over subjects **and** seeds; *equivalent* means that the whole interval lies in the
# shaded band, which is a result as well. Better than the twin but not than the constant gate would mean that more parameters helped, not attention.
# **What it does not show:** what gates do where the field of view is wide and the organ small in it, which is what they were made for. Here
# the boxes have been cut around the organ, and finding it was done before.

# %% [markdown]
# ## 6. What it costs
#
# Parameters and operations are counted by code on one box. Milliseconds are the benchmark's: each model alone on an idle machine, from an
# image in memory to its mask. They are read here and not measured, since no clock shows the same time twice.

# %%
clock = {} if session.ws.is_phantom else bench_summary.read(session.ws.root).get("models", {})
counted = {}
for name in dict.fromkeys((*comparisons.WITHOUT.values(), *comparisons.WITHOUT)):
    one = MODELS[name]
    inputs = one.prep.channels(len(spec.channels))
    made = one.build(inputs, spec.n_classes)
    operations = inspection.gflops(made, inputs, one.prep.axis, one.prep.spacing)
    seconds = clock.get(name, {}).get("predict_s_per_volume", np.nan)
    counted[name] = {"parameters": inspection.parameters(made), "GFLOP": operations, "ms": 1e3 * seconds}
rows = {twin: {"what it is": MODELS[twin].title} | counted[twin] for twin in comparisons.WITHOUT.values()}
for name, twin in comparisons.WITHOUT.items():
    own, base = counted[name], counted[twin]
    rows[name] = (
        {"what it is": MODELS[name].title} | own | {f"{key}, times its twin's": own[key] / base[key] for key in own}
    )
costs = pd.DataFrame(rows).T
shown = {"parameters": "{:,.0f}", "GFLOP": "{:.2f}", "ms": "{:.0f}"} | dict.fromkeys(costs.columns[-3:], "{:.3f}")
session.facts(
    parameters=costs["parameters"].to_dict(), gflops=costs["GFLOP"].to_dict(), milliseconds=costs["ms"].to_dict()
)
display(costs.style.format(shown, na_rep="").set_uuid("costs"))
if missing_times := [name for name in counted if name not in clock]:
    named = ", ".join(f"`{name}`" for name in missing_times)
    session.say(f"**Milliseconds are not measured yet** for {named}; `make bench` does it on an idle machine.")

# %% [markdown]
# **What to look for.** The layers of a gate work at the coarse resolution of each pair, so they cost few operations; milliseconds may tell
# another story, since a small layer keeps no processor busy. The constant gate costs as much as the gate that it controls for. **What it does not show:** memory in training, where every map and product is kept for the backward pass.

# %% [markdown]
# ## What we learned

# %%
own = within.xs(attention.TRAINED, level="control")["value"]
beyond_other = above[(above["within"] == attention.SAMPLE) & (above["control"] == attention.OTHER)]
session.say(f"""
- Within a slice, the trained gates let through {
    ", ".join(f"**{value:.2f}**" for value in own)
} times as much inside the hippocampus as outside,
  finest gate first. Minus what another person's map gives in the same places: {
    ", ".join(f"{row.difference:+.2f} ({row.low:+.2f} to {row.high:+.2f})" for row in beyond_other.itertuples())
}. Near
  zero the place in the box explains the ratio; away from it, on either side, the map follows the image. One network: section 4 has what
  other seeds do.
- The gated network minus its twin: **{stats.signed(first["difference"])}** mean Dice, 95 % interval {
    stats.signed(first["low"])
} to {stats.signed(first["high"])}, one seed each.
- Its gates add {costs.loc[model.name, "parameters"] - counted["unet2d"]["parameters"]:,.0f} parameters and {
    100 * (costs.loc[model.name, "GFLOP, times its twin's"] - 1):.1f} % of operations.
""")
if len(conclusions):
    for which, rows in conclusions.groupby(level=0, sort=False):
        session.say(f"- Over the seeds, {which}: {tables.differences_in_words(rows.droplevel(0))}.")

# %% [markdown]
# ## Limitations
#
# - One fold and one seed for the run trained here: differences of a few thousandths mean nothing yet.
# - The recipe was chosen for the network without gates. Another rate, or gates that start open, may suit them better; that was not tried.
# - The boxes were cut around the truth (notebook 01): the organ is in the middle and fills much of a slice. What gates are praised for,
#   finding a small organ in a large image, is not asked here.
# - One other case's map is a rough stand-in for what the place in the box explains: it has its own case's details in the wrong place. The
#   mean of many maps might come closer to the trained one.
# - A ratio counts all of the organ alike. A gate that opens along the border alone could be of use and have a ratio near 1.
# - Squeeze-and-excitation as the library builds it divides channels by a fixed number; in the narrowest stages of this network one hidden unit is left,
#   and it can fall silent for good.
#
# ## Exercises
#
# 1. In section 3, mirror the image from left to right before asking: pass `images[number][:, ::-1].copy()` to `attention.maps`, and
#    `case.image[0][::-1]` and `case.label[::-1]` to `MapView`. Do the maps follow the tissue, or stay in their place?
# 2. In the second picture of section 3, set `scale = 1`, then `scale = 4`. At which scale does another person's map look most like the
#    trained one?
# 3. Show the maps of a gate that sees the whole volume. `hipposeg train attention3d --retrain` trains it on this machine, and
#    `session.network(session.run("attention3d"))` loads it; `volumes = images_of(cohort, MODELS["attention3d"].prep, session.ws)` is its input. Ask it as section 3 asks
#    `network`, with that model's `prep`, and draw with `pictures.maps(views, spec, axis=1)`. Section 4 has its ratios: do you see them?
#
# ## References
#
# - Oktay et al. 2018, Attention U-Net, [arXiv:1804.03999](https://arxiv.org/abs/1804.03999)
# - Schlemper et al. 2019, attention gated networks, [doi:10.1016/j.media.2019.01.012](https://doi.org/10.1016/j.media.2019.01.012)
# - Roy et al. 2018, scSE, [doi:10.1007/978-3-030-00928-1_48](https://doi.org/10.1007/978-3-030-00928-1_48)
# - Jain and Wallace 2019, attention is not explanation, [doi:10.18653/v1/N19-1357](https://doi.org/10.18653/v1/N19-1357)
# - Adebayo et al. 2018, sanity checks for saliency maps, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292)
# - Ronneberger et al. 2015, U-Net, [doi:10.1007/978-3-319-24574-4_28](https://doi.org/10.1007/978-3-319-24574-4_28)
# - Antonelli et al. 2022, the data, [doi:10.1038/s41467-022-30695-9](https://doi.org/10.1038/s41467-022-30695-9)

# %%
session.finish()
