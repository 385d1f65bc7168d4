"""Every planned family of comparisons with its conclusions, and the flagship's five-fold means.

A family is compared with one reference, as was planned before any of its runs was scored (`experiments.plan`); Holm's
adjustment stays within it. A row with fewer than three seeds is listed without a conclusion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hipposeg.data.folds import N_FOLDS
from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.files import write_csv
from hipposeg.metrics import MEAN
from hipposeg.results import compare
from hipposeg.results.load import ATLAS
from hipposeg.stats import interval
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import attention_summary

COLUMNS = ("family", "model", "reference", *compare.DIFFERENCES)
FOLD_COLUMNS = ("model", "folds", "part", "label", "dice", "low", "high", "volumes", "people")


@dataclass(frozen=True)
class Family:
    """A planned family: its title, the reference model, the models compared with it, and the schedule of all runs."""

    title: str
    reference: str
    models: Sequence[str]
    schedule: str = "standard"


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
    Family("2D directions", "unet2d", plan.PLANES[1:]),
    Family("2D recipes of others", "unet2d", plan.OTHERS),
    *(Family(f"CLIP, {name}", "clip2d-guided", models) for name, models in plan.FAMILIES_CLIP.items()),
    Family("CLIP, towers", *plan.TOWERS_CLIP),
    Family("CLIP, text head in 3D", "unet3d", ("clip3d-guided",)),
    Family("3D, equal steps", "unet3d", _OTHERS_3D),
    Family("3D coordinate heads at 2 mm", _HEADS[0], _HEADS[1:]),
    Family("3D heads at 2 mm and their twin at 1 mm", _TWIN, _HEADS),
    Family("3D coordinate head at 1 mm", _TWIN, ("unet3d-inr",)),
)
ATTENTION = "attention"


def planned(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of all planned runs, without those that repeat another one in other precision or on another device."""
    declared = [run for notebook in plan.PLANNED for run in plan.declared(notebook)]
    every = dict.fromkeys([*declared, *plan.following(frame)])
    return plan.finished(frame, [run for run in every if not run.hardware])


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per comparison that the runs allow, columns COLUMNS, families in the order of FAMILIES.

    rows: as of `planned`.
    """
    found = []
    for family in FAMILIES:
        one = compare.by_family(rows, family.reference, {family.title: family.models}, family.schedule)
        if len(one):
            found.append(one.reset_index(names=["family", "model"]).assign(reference=family.reference))
    here = rows[(rows["label"] == MEAN) & (rows["folds"] == "grouped") & (rows["fold"] == 0)]
    gates = attention_summary.comparisons(here[here["schedule"] == "standard"])
    pairs = [name.split(" minus ") for name in gates.index]
    named = {"family": ATTENTION, "model": [one for one, _ in pairs], "reference": [other for _, other in pairs]}
    found += [gates.reset_index(drop=True).assign(**named)] if len(gates) else []
    return pd.concat(found, ignore_index=True)[list(COLUMNS)] if found else pd.DataFrame(columns=list(COLUMNS))


def write(ws: Workspace, found: pd.DataFrame) -> None:
    """Write what `table` gives to `artifacts/comparisons.csv`."""
    write_csv(ws.artifacts / "comparisons.csv", COLUMNS, found.to_dict("records"))


def headed(found: pd.DataFrame) -> pd.DataFrame:
    """What `table` gives, indexed for a figure: a heading with the family's reference, and the model's name."""
    of_gates = found["family"] == ATTENTION
    heads = found["family"].where(of_gates, found["family"] + ", against " + found["reference"])
    models = found["model"].where(~of_gates, found["model"] + " minus " + found["reference"])
    return found.set_index(pd.MultiIndex.from_arrays([heads, models]))


def five_folds(rows: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Dice of the atlas and of the flagship's first seed on both kinds of folds: columns FOLD_COLUMNS.

    rows: as of `planned`. labels: as `metrics.labels_of` gives them. part: a fold's number, "1 to 4" (pilots looked at
    fold 0 of `nnunet`; of `grouped` it is fold 0 that no choice was made on), or "all", where these folds are finished.
    Each volume is scored once, by a network that never saw it.
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
                counts = {"volumes": len(chosen), "people": chosen["subject"].nunique()}
                scored = {"dice": one.value, "low": one.low, "high": one.high}
                found.append({"model": model, "folds": kind, "part": part, "label": label} | scored | counts)
    return pd.DataFrame(found, columns=list(FOLD_COLUMNS))
