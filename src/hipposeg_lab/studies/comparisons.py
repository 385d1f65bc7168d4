"""Every planned group of comparisons with its conclusions, and five-fold means of the flagship.

A group has one reference model, planned before any of its runs was scored (`experiments.plan`). Holm's adjustment is
applied within a group. A comparison with fewer than three seeds is listed without a conclusion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from hipposeg.data.folds import N_FOLDS
from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP, RunSpec
from hipposeg.files import write_csv
from hipposeg.metrics import MEAN
from hipposeg.results import compare
from hipposeg.results.load import ATLAS
from hipposeg.stats import holm, interval
from hipposeg.workspace import Workspace

COLUMNS = ("family", "model", "reference", *compare.DIFFERENCES)
FOLD_COLUMNS = ("model", "folds", "part", "label", "dice", "low", "high", "volumes", "subjects")
SETTING = ["model", "folds", "fold", "schedule", "device"]
# Models whose masks notebook 07 shows, beside the best run.
SHOWN = (ATLAS, "unet2d", "unet3d", FLAGSHIP)


@dataclass(frozen=True)
class Family:
    """A planned group of comparisons."""

    title: str
    reference: str  # the model that is subtracted
    models: Sequence[str]
    schedule: str = "standard"  # of all runs


_OTHERS_3D = ("unet3d+flip", "unet3d+adamw", "unet3d+focal", "unet3d-residual", "unet3d-nnunet-light", "unet3d-nnunet",
              "unet3d-nnunet-performance", "unet3d-transformer")  # fmt: skip
_TWIN = "unet3d-inr-1mm"
_HEADS = tuple(model for model in plan.HEADS if model != _TWIN)  # the plainest, a convolution, comes first

FAMILIES = (
    *(Family(f"2D {name}, short", "unet2d", models, "S") for name, models in plan.FAMILIES_2D.items()),
    Family("2D coordinate head, short", plan.HEADS_2D[0], plan.HEADS_2D[1:], "S"),
    Family("2D augmentation step by step, short", *plan.STEPS_2D, "S"),
    *(Family(f"2D {name}", "unet2d", models) for name, models in plan.FAMILIES_2D_LONG.items()),
    Family("2D augmentation step by step", *plan.STEPS_2D),
    Family("2D encoder", "unet2d", plan.ENCODERS_2D),
    Family("2D encoder, after a search", "unet2d-mobilenetv3", (plan.TUNED,)),
    Family("2D batch normalisation", "unet2d", ("unet2d-batchnorm",)),
    Family("2D directions", "unet2d", plan.PLANES[1:]),
    Family("2D recipes of others", "unet2d", plan.OTHERS),
    *(Family(f"CLIP, {name}", "clip2d-guided", models) for name, models in plan.FAMILIES_CLIP.items()),
    Family("CLIP, towers", *plan.TOWERS_CLIP),
    Family("CLIP, text head in 3D", "unet3d", ("clip3d-guided",)),
    Family("3D, equal steps", "unet3d", _OTHERS_3D),
    Family("3D coordinate heads at 2 mm", _HEADS[0], (*_HEADS[1:], *plan.WIDTHS)),
    Family("3D heads at 2 mm and their twin at 1 mm", _TWIN, _HEADS),
    Family("3D coordinate head at 1 mm", _TWIN, ("unet3d-inr",)),
    Family("3D against 2D", "unet2d", ("unet3d",)),
)

# The group of notebook 05: pairs with a reference each, the first minus the second.
ATTENTION = "attention"
PAIRS = (
    ("attention2d", "unet2d"),
    ("attention2d", "attention2d-constant"),
    ("attention3d", "unet3d"),
    ("attention3d", "attention3d-constant"),
    ("scse2d", "unet2d-mobilenetv3"),
    ("cbam2d", "unet2d-mobilenetv3"),
)


def planned(frame: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of all planned runs, except repetitions in another precision or on another device."""
    declared = [run for notebook in plan.PLANNED for run in plan.declared(notebook)]
    every = dict.fromkeys([*declared, *plan.FOLLOWING])
    return plan.finished(frame, [run for run in every if not run.hardware])


def seeds(frame: pd.DataFrame, run: RunSpec) -> pd.DataFrame:
    """Select the rows of a planned run and of its other seeds on the same device; empty if missing.

    frame: rows of `results.load.without_twins`, because a run and its twin in float32 are not two seeds.
    """
    return frame.merge(frame.loc[frame["planned"] == run.name, SETTING].head(1))


def together(found: Mapping[str, pd.Series], declared: int) -> pd.DataFrame:
    """Join rows of `compare.differences`, by title, into one group with Holm's adjustment over `declared` tests."""
    table = pd.DataFrame(list(found.values()), index=list(found), columns=list(compare.DIFFERENCES))
    table["p_holm"] = holm(table["p_holm"].to_numpy(dtype=float), declared)
    return table


def of_attention(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare the PAIRS whose runs are available in rows of one label, fold and schedule: "first minus second"."""
    found = {}
    for model, reference in PAIRS:
        one = compare.differences(rows[rows["model"].isin((model, reference))], reference)
        if model in one.index:
            found[f"{model} minus {reference}"] = one.loc[model]
    return together(found, len(PAIRS))


def by_size(frame: pd.DataFrame, small: Sequence[int]) -> pd.DataFrame:
    """`of_attention` on mean Dice of all test cases, and of the cases `small`; index (which cases, pair)."""
    rows = frame[frame["label"] == MEAN]
    every, smallest = f"all {rows['case'].nunique()} volumes", f"the {len(small)} smallest"
    parts = {every: rows, smallest: rows[rows["case"].isin(small)]}
    tables = {name: found for name, part in parts.items() if len(found := of_attention(part))}
    return pd.concat(tables) if tables else pd.DataFrame(columns=list(compare.DIFFERENCES))


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """All comparisons of the rows of `planned`: columns COLUMNS, groups in the order of FAMILIES, ATTENTION last."""
    found = []
    for family in FAMILIES:
        one = compare.by_family(rows, family.reference, {family.title: family.models}, family.schedule)
        if len(one):
            found.append(one.reset_index(names=["family", "model"]).assign(reference=family.reference))
    here = rows.query("label == @MEAN and folds == 'grouped' and fold == 0 and schedule == 'standard'")
    gates = of_attention(here)
    if len(gates):
        pairs = [name.split(" minus ") for name in gates.index]
        model, reference = zip(*pairs, strict=True)
        found.append(gates.reset_index(drop=True).assign(family=ATTENTION, model=model, reference=reference))
    return pd.concat(found, ignore_index=True)[list(COLUMNS)] if found else pd.DataFrame(columns=list(COLUMNS))


def write(ws: Workspace, found: pd.DataFrame) -> None:
    """Write what `table` returns to `artifacts/comparisons.csv`."""
    write_csv(ws.artifacts / "comparisons.csv", COLUMNS, found.to_dict("records"))


def five_folds(rows: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Dice of the atlas and of the flagship's first seed on both kinds of folds, from the rows of `planned`.

    Returns:
        Columns FOLD_COLUMNS. part: a fold's number, "1 to 4", or "all", where these folds are finished. Pilots used
        fold 0 of `nnunet`; in `grouped`, fold 0 is the one that no choice was made on. Every volume is scored once.
    """
    mine = rows[(rows["seed"] == 0) & (rows["schedule"] == "standard") & rows["model"].isin((ATLAS, FLAGSHIP))]
    found = []
    for label in labels:
        scores = mine[(mine["label"] == label) & mine["folds"].isin(("grouped", "nnunet"))]
        for (model, kind), group in scores.groupby(["model", "folds"]):  # "atlas" sorts before "unet"
            finished = sorted(group["fold"].unique().tolist())
            parts = {str(fold): [fold] for fold in finished}
            parts |= {"1 to 4": [1, 2, 3, 4]} if set(finished) >= {1, 2, 3, 4} else {}
            parts |= {"all": finished} if len(finished) == N_FOLDS else {}
            for part, folds in parts.items():
                chosen = group[group["fold"].isin(folds)]
                one = interval(chosen["dice"].to_numpy(), chosen["subject"].to_numpy())
                counts = len(chosen), chosen["subject"].nunique()
                found.append((model, kind, part, label, one.value, one.low, one.high, *counts))
    return pd.DataFrame(found, columns=list(FOLD_COLUMNS))
