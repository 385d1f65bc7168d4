"""What notebook 06 tells of the series: transfer by text alone, label efficiency, and the third dimension."""

from collections.abc import Sequence

import pandas as pd

from hipposeg.metrics import MEAN
from hipposeg.runs import seeds
from hipposeg.runs.clip_study import TRANSFER
from hipposeg.runs.run import RunResult
from hipposeg.runs.zoo_clip import SHARES
from hipposeg.stats import holm

GUIDED, TWIN = "clip2d-guided", "clip2d-unguided"
ALL = "standard"


def share_text(budget: str) -> str:
    """A budget's share of the training people, in words."""
    return f"{SHARES[budget]:.0%} of the people" if budget in SHARES else "all training people"


def by_prompts(results: Sequence[RunResult]) -> pd.DataFrame:
    """Mean Dice by text alone for each set of prompts: value, low, high, seeds. results: CLIP runs of one budget."""
    table = seeds.side_table(results, TRANSFER)
    return seeds.means(table[table["label"] == MEAN], "prompts") if len(table) else pd.DataFrame()


def by_share(results: Sequence[RunResult]) -> pd.DataFrame:
    """Mean Dice of the guided network and its twin at each share of people: columns row, series, value, low, high."""
    rows = []
    for budget in (*SHARES, ALL):
        chosen = [one for one in results if one.run.budget == budget and one.run.arm in (GUIDED, TWIN)]
        for arm, found in seeds.means(seeds.scores(chosen)).iterrows() if chosen else ():
            rows.append({"row": share_text(budget), "series": arm, **found[["value", "low", "high"]]})
    return pd.DataFrame(rows, columns=["row", "series", "value", "low", "high"])


def share_differences(results: Sequence[RunResult]) -> pd.DataFrame:
    """The guided network minus its twin at each share of people, with Holm over the shares; index: share in words.

    A share's two arms learn from the same people, seed by seed.
    """
    found = {}
    for budget in (*SHARES, ALL):
        chosen = [one for one in results if one.run.budget == budget and one.run.arm in (GUIDED, TWIN)]
        table = seeds.differences(seeds.scores(chosen), TWIN)
        if len(table):
            found[share_text(budget)] = table.iloc[0]
    table = pd.DataFrame(list(found.values()), index=list(found), columns=list(seeds.DIFFERENCES))
    table["p_holm"] = holm(table["p_holm"].to_numpy(dtype=float))  # each came alone; together they are one family
    return table
