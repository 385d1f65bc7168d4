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
# # 08. Your own scan: from a whole head to four volumes
# <!-- colab -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/hipposeg/hipposeg/blob/main/notebooks/08_your_own_scan.ipynb)
#
# **Question.** The networks of this series saw nothing but crops around one hippocampus. How do they segment a whole head, and how does
# a user notice that they failed?
#
# **What you will learn**
# - how registration to a template finds the hippocampi;
# - why the crop must follow from the prediction itself, and how a fixed point ends the search;
# - what the interval of a volume promises, and for which scans;
# - which images must not pass, and what stops them.
#
# - **Reads:** a scan of yours, or the MNI152 template that the package nilearn ships; `artifacts/studies/heads.csv`.
# - **Writes:** `figures/08_*`, `facts/08_your_own_scan.json`.
# - **Run time:** about three minutes on two CPU cores.

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
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from nilearn.datasets import load_mni152_template

from hipposeg import segment
from hipposeg.notebook import start
from hipposeg.predict import crop, registration
from hipposeg.predict.ensemble import load_ensemble
from hipposeg.predict.scan import Scan, read
from hipposeg_lab.studies import heads

session = start("08_your_own_scan", profile)
networks = load_ensemble()

# %% [markdown]
# ## 1. A scan
#
# Set `my_scan` to a T1-weighted scan of a whole head: NIfTI, MGZ, NRRD, MetaImage, or a folder with a DICOM series. In Colab, upload it
# first (the folder symbol on the left); nothing leaves the machine that runs this notebook. While `my_scan` is empty, the MNI152 template
# stands in for a person: an average of many registered heads at 1 mm, without skull, and therefore smooth.

# %%
my_scan = ""

if my_scan:
    scan = read(my_scan)
else:
    template = load_mni152_template(resolution=1)
    scan = Scan("MNI152 template", template.get_fdata(dtype=np.float32), template.affine)
session.say(f"""**{scan.path}**: {" x ".join(map(str, scan.image.shape))} voxels of
{" x ".join(f"{size:.2f}" for size in scan.spacing)} mm.""")

# %% [markdown]
# ## 2. Where are the hippocampi?
#
# Heads differ in size and position, so the scan is registered to a template in which the place of both hippocampi is known. The transform is
# affine: a rotation, a shift, three scales and three shears. It maximises the mutual information of both images, which needs no equal
# intensities. It need not be exact: the next section starts 17 mm off on purpose.

# %%
located = registration.locate(scan.image, scan.affine)
region = crop.region(scan.image, scan.affine, located)
first = {side: crop.start(region, located, side) for side in ("left", "right")}
scales = np.linalg.svd(located.affine[:3, :3])[1]
session.say(f"""Scales from template to scan: {", ".join(f"{scale:.2f}" for scale in scales)}; mutual information {located.metric:.2f}
(below {registration.LEAST_METRIC} no head is found). The product of the scales times the template's
intracranial volume estimates that of the scan: {located.intracranial_ml:.0f} ml.""")

# %% [markdown]
# The boxes show where the template has each hippocampus. The picture is the middle of the head on a 1 mm grid.

# %%
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4))
middle = np.mean([box.centre for box in first.values()], axis=0).round().astype(int)
at = [round(first["left"].centre[0]), middle[1], middle[2]]
for axis, (ax, name) in enumerate(zip(axes, ("sagittal", "coronal", "axial"), strict=True)):
    across, up = [other for other in range(3) if other != axis]
    ax.imshow(np.take(region.image, at[axis], axis).T, cmap="gray", origin="lower")
    for side, box in first.items():
        if box.low[axis] <= at[axis] < box.high[axis]:
            ax.add_patch(
                plt.Rectangle((box.low[across], box.low[up]), box.size[across], box.size[up], fill=False, ec="#E69F00")
            )
            ax.text(box.low[across], box.high[up] + 2, side, color="#E69F00")
    ax.set_title(name)
    ax.axis("off")
session.save(fig, "starting-crops")

# %% [markdown]
# ## 3. The crop that does not move
#
# The networks learned from crops with nearly constant margins, and a crop's place and size change what they predict (notebook 07). So the
# crop is cut anew around the predicted mask, with the margins of the training set, until predicting in it leaves it where it is. All
# training crops are left hippocampi, so the right one is mirrored. Such a crop is a **fixed point**: predicting changes nothing. One of the five
# networks predicts (`networks.first`), and only the largest connected piece of its mask counts. Here the first crop is moved by a centimetre
# along each axis.

# %%
rows = []
box = crop.Box(tuple(np.add(first["left"].low, 10)), tuple(np.add(first["left"].high, 10)), mirrored=False)
for _ in range(crop.MOST_STEPS):
    mask = crop.largest_piece(networks.first(region.cut(box)).argmax(axis=0))
    rows.append({"low": box.low, "size": box.size, "voxels of the mask": int((mask > 0).sum())})
    where = np.argwhere(mask) + box.low
    following = crop.Box.around(where.min(axis=0), where.max(axis=0), mirrored=False)
    if following == box:
        break
    box = following
display(pd.DataFrame(rows).rename_axis("step"))

# %% [markdown]
# The package does the same and also keeps the crop as large as some training crop. Does it end in the same crop from the template's
# place?

# %%
settled = crop.settle(region, first["left"], networks.first, networks.card.boxes)
shift = np.abs(np.subtract(settled.box.low, box.low)).max()
session.say(f"From the template's place: {settled.steps} steps, and the two crops differ by {shift} voxels.")

# %% [markdown]
# ## 4. Four volumes
#
# Five networks, each on eight transformed copies, predict both crops; their mean probabilities go back to the scan's own grid. `segment`
# does all of it, and `hipposeg predict` in a terminal writes masks, a table and a page to check.

# %%
result = segment(scan, networks)
volumes = pd.DataFrame({name: vars(volume) for name, volume in result.volumes.items()}).T
display(volumes.round().astype(int).rename_axis("mm3"))
session.say(f"""Status **{result.status}**. {"; ".join(result.reasons)}""")
session.facts(status=result.status, volumes={name: volume.predicted for name, volume in result.volumes.items()})

# %% [markdown]
# **How to read the table.** For scans like the training set's, nine of ten true volumes lie between *lower* and *upper*. For another
# scanner, protocol or age this was not measured, and a scan with a status other than `ok` is not like them. So look at the picture:

# %%
session.save(result.show(), "result")

# %% [markdown]
# ## 5. Images that must not pass
#
# A network always predicts something. Three signals tell good answers from bad ones: the five networks agree (mean Dice between their
# masks), the crop ends near the place where the template has a hippocampus, and the volumes lie in the range of the training set. Below,
# the same scan is spoiled on purpose.

# %%
spoiled = ("voxels in random order",) if session.ws.profile == "smoke" else (
    "inverted contrast", "slices of 6 mm", "cut off at the hippocampi", "voxels in random order",
)  # fmt: skip
rows = []
for change in spoiled:
    found = segment(heads.CHANGES[change][0](scan), networks)
    rows.append({"change": change, "status": found.status, "reason": found.reasons[0] if found.reasons else ""})
with pd.option_context("display.max_colwidth", None):
    display(pd.DataFrame(rows).set_index("change"))

# %% [markdown]
# The same was done with whole heads of other scanners, for which another tool's masks of the whole hippocampus exist (hippodeep:
# agreement with another tool, not truth). *Same* compares a changed scan's masks with those of the unchanged one.

# %%
path = session.ws.artifacts / "studies" / heads.TABLE
if path.is_file():
    table = pd.read_csv(path)
    table["reference"] = table[["reference_left", "reference_right"]].mean(axis=1)
    table["same"] = table[["same_left", "same_right"]].mean(axis=1)
    columns = ["status", "reference", "same", "seconds", "memory_mb"]
    display(table.set_index(["image", "change"])[columns].round(2).astype(object).fillna(""))
    wrong = table[[status not in expected for status, expected in zip(table.status, table.expected, strict=True)]]
    session.say(f"{len(table)} scans, of which {len(wrong)} have a status that they should not have.")
    session.facts(heads=len(table), wrong=len(wrong))
else:
    session.say("**Not available here:** `hipposeg-lab study heads` makes the table, from heads with reference masks.")

# %% [markdown]
# ## What we learned
#
# - Registration finds a head's hippocampi well enough to start; the crop's final place follows from the prediction.
# - The networks always answer. Their agreement with each other, the way of the crop and the volumes tell when not to trust them.
#
# ## Limits
#
# - No scan with a lesion, a tumour, strong atrophy or motion was tried, no infant's and none after contrast medium.
# - hippodeep draws by another protocol than the training set's experts, so agreement with it is no accuracy.
# - The thresholds of `check` and `refused` come from a few heads. They are a warning light, no calibration.
#
# ## Exercises
#
# 1. Move the first crop of section 3 by two centimetres. Where does it end, and which signal of section 5 shows it?
# 2. Smooth the scan with `scipy.ndimage.gaussian_filter` of growing width. At which width do the networks stop to agree?
# 3. Segment a scan of your own, and its copy mirrored by `heads.exchanged`. Do left and right exchange their volumes?
#
# ## References
#
# - Fonov et al. 2011, the MNI152 template, [doi:10.1016/j.neuroimage.2010.07.033](https://doi.org/10.1016/j.neuroimage.2010.07.033)
# - Thyreau et al. 2018, hippodeep, [doi:10.1016/j.media.2017.11.004](https://doi.org/10.1016/j.media.2017.11.004)

# %%
session.finish()
