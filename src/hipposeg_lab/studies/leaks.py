"""Effect of leaks: training on a leaking fold against training on its clean control, with nothing else changed.

Both networks of a comparison have the same training configuration, number of steps, volumes and subjects, and the same
test volumes. The only difference is whether the last volumes added are of test subjects (`data.folds`).
Differences are paired within subjects, over three seeds.
"""

from typing import Any

import pandas as pd

from hipposeg.experiments.plan import LEAKS, declared
from hipposeg.metrics import labels_of
from hipposeg.results import compare, load
from hipposeg_lab.studies.making import Context, Rows, Study, Unit

LEAKING, CLEAN = "leak", "clean"
COLUMNS = (
    "kind", "label", "model", "leak", "leak_low", "leak_high", "clean", "clean_low", "clean_high",
    "difference", "low", "high", "subjects", "seeds", "p_holm", "conclusion",
)  # fmt: skip


def rows(found: pd.DataFrame, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of leaks.csv, one for each label, from rows of `results.load` of one kind of leak.

    Even folds leak, odd folds are their controls. Folds 0 and 2 test different volumes of the same subjects, so each
    side covers all of them once.
    """
    sides = found.assign(side=found["fold"].mod(2).map({0: LEAKING, 1: CLEAN}), fold="all")
    kind, model = found[["folds", "model"]].iloc[0]
    table = []
    for label in labels:
        here = sides[sides["label"] == label]
        means, difference = compare.means(here, "side"), compare.differences(here, CLEAN, "side").loc[LEAKING]
        row = {"kind": kind, "label": label, "model": model}
        for side, mean in means.iterrows():
            row |= {side: mean["value"], f"{side}_low": mean["low"], f"{side}_high": mean["high"]}
        table.append(row | difference.to_dict())
    return table


def _unit(kind: str) -> Unit:
    runs = tuple(run for run in declared("07") if run.folds == kind)

    def make(context: Context) -> Rows:
        frame = load.load(context.ws)
        return {"leaks": rows(frame[frame["run"].isin([run.name for run in runs])], labels_of(context.cohort.spec))}

    return Unit(kind, runs, make)


STUDY = Study(
    "leaks",
    "How much does training on a leak raise Dice?",
    {"leaks": COLUMNS},
    tuple(_unit(kind) for kind in LEAKS),
    {"version": 1},
    weights=False,
)
