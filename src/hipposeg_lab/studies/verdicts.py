"""Verdicts of every declared family of comparisons, and the flagship's five-fold means, from the committed series.

A family is what was declared to be compared with one reference before any of its runs was scored (`runs.series`);
Holm's adjustment stays within it. A row with fewer than three seeds is listed without a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hipposeg.experiments import plan
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.experiments.run import RunResult
from hipposeg.results import compare
from hipposeg.results.table import FLOOR
from hipposeg.stats import interval
from hipposeg_lab.studies import attention_summary

COLUMNS = ("family", "model", "reference", *compare.DIFFERENCES)
FOLD_COLUMNS = ("model", "folds", "part", "label", "dice", "low", "high", "volumes", "people")
FOLDS = 5


@dataclass(frozen=True)
class Family:
    """A declared family: its title, the reference model, the models compared with it, and the schedule of all runs."""

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


def table(results: Sequence[RunResult]) -> pd.DataFrame:
    """One row per comparison that the runs allow, columns COLUMNS, families in the order of FAMILIES."""
    found = []
    for family in FAMILIES:
        one = compare.by_family(results, family.reference, {family.title: family.models}, family.schedule)
        found.append(
            one.reset_index(names=["family", "model"]).assign(reference=family.reference) if len(one) else None
        )
    here = [one for one in results if (one.run.folds, one.run.fold, one.run.schedule) == ("grouped", 0, "standard")]
    gates = attention_summary.comparisons(compare.scores(here)) if here else pd.DataFrame()
    if len(gates):
        pair = gates.index.str.split(" minus ", expand=True)
        named = {"family": ATTENTION, "model": pair.get_level_values(0), "reference": pair.get_level_values(1)}
        found.append(gates.reset_index(drop=True).assign(**named))
    there = [one for one in found if one is not None]
    return pd.concat(there, ignore_index=True)[list(COLUMNS)] if there else pd.DataFrame(columns=list(COLUMNS))


def headed(found: pd.DataFrame) -> pd.DataFrame:
    """What `table` gives, indexed for a figure: a heading with the family's reference, and the model's name."""
    of_gates = found["family"] == ATTENTION
    heads = found["family"].where(of_gates, found["family"] + ", against " + found["reference"])
    models = found["model"].where(~of_gates, found["model"] + " minus " + found["reference"])
    return found.set_index(pd.MultiIndex.from_arrays([heads, models]))


def five_folds(results: Sequence[RunResult], labels: Sequence[str]) -> pd.DataFrame:
    """Dice of the floor and of the flagship's first seed on both kinds of folds: columns FOLD_COLUMNS.

    part: a fold's number, "1 to 4" (pilots looked at fold 0 of `nnunet`; of `grouped` it is fold 0 that no choice was
    made on), or "all", as far as these folds are there. Each volume is scored once, by a network that never saw it.
    labels: as `metrics.labels_of` gives them.
    """
    mine = [one for one in results if (one.run.seed, one.run.schedule) == (0, "standard")]
    mine = [one for one in mine if one.run.model in (FLOOR, FLAGSHIP) and one.run.folds in ("grouped", "nnunet")]
    rows = []
    for label in labels:
        scores = compare.scores(mine, label)
        groups = scores.groupby(["model", "folds"]) if len(scores) else ()  # "atlas" sorts before "unet"
        for (model, kind), group in groups:
            there = sorted(int(fold) for fold in group["fold"].unique())
            parts = {str(fold): [fold] for fold in there}
            parts |= {"1 to 4": [1, 2, 3, 4]} if set(there) >= {1, 2, 3, 4} else {}
            parts |= {"all": there} if len(there) == FOLDS else {}
            for part, folds in parts.items():
                chosen = group[group["fold"].isin(folds)]
                one = interval(chosen["dice"].to_numpy(), chosen["subject"].to_numpy())
                counts = {"volumes": len(chosen), "people": chosen["subject"].nunique()}
                scored = {"dice": one.value, "low": one.low, "high": one.high}
                rows.append({"model": model, "folds": kind, "part": part, "label": label} | scored | counts)
    return pd.DataFrame(rows, columns=list(FOLD_COLUMNS))
