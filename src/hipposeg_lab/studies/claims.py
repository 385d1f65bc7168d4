"""Claims of five public projects beside our scores: one table for notebook, page and README.

Claims of others are typed once, in `published.CLAIMS`. Our scores come from runs: the mean Dice of our model of the
same kind, and the score that the nearest practice of `studies.inflation` gives our plain network's masks. Data and
splits differ, so nothing is ranked.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hipposeg_lab.studies.published import CLAIMS, Claim

COLUMNS = (
    "project", "method", "claimed", "called", "really", "value_low", "value_high", "model", "ours", "low", "high",
    "seeds", "practice", "twin", "scored_their_way", "estimated", "source", "url",
)  # fmt: skip


def table(ours: pd.DataFrame, inflation: pd.DataFrame, claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """One row a claim, columns COLUMNS.

    Args:
        ours: mean Dice by model: columns value, low, high and seeds, as `results.compare.means` gives them.
        inflation: rows of `studies.inflation`.
        claims: of others.

    Fields are NaN where we have no run of that kind, or the project's files hold no comparable score.
    """
    rows = []
    for claim in claims:
        model = next((model for model in claim.models if model in ours.index), "")
        found = ours.loc[model] if model else {}
        mine = {"ours" if name == "value" else name: found[name] for name in ("value", "low", "high", "seeds") if model}
        ends = {"value_low": claim.value[0], "value_high": claim.value[-1]} if claim.value else {}
        of_twin = inflation["run"].str.split(".").str[0] == claim.twin
        theirs = inflation.loc[of_twin & (inflation["practice"] == claim.practice), "shown"]
        shown = {"practice": claim.practice, "scored_their_way": theirs.iloc[0] if len(theirs) else np.nan}
        typed = {name: getattr(claim, name) for name in ("project", "method", "claimed", "called", "really", "twin",
                                                         "source", "url")}  # fmt: skip
        rows.append(typed | ends | mine | shown | {"model": model, "estimated": int(claim.estimated)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """What `table` gives, as text."""
    text = pd.DataFrame(index=rows["project"] + ": " + rows["method"])

    def column(values: Sequence[str]) -> np.ndarray:
        return np.asarray(values, dtype=object)

    text["claimed"] = column([f"{row.claimed:g}, {row.called}" for row in rows.itertuples()])
    text["what that is"] = column(list(rows["really"]))
    text["without that, on their own split"] = column(
        [_ends(row.value_low, row.value_high, row.estimated) for row in rows.itertuples()]
    )
    text["ours, of that kind"] = column(
        [
            f"{row.ours:.3f} ({row.low:.3f} to {row.high:.3f}), {row.model}" if row.model else ""
            for row in rows.itertuples()
        ]
    )
    text["our plain network, nearest practice"] = column(
        [
            f"{row.scored_their_way:.3f}, {row.twin}" if np.isfinite(row.scored_their_way) else ""
            for row in rows.itertuples()
        ]
    )
    return text.rename_axis(None)


def _ends(low: float, high: float, estimated: int) -> str:
    if not np.isfinite(low):
        return "not in its files"
    text = (f"{end:.{2 if estimated else 3}f}" for end in dict.fromkeys((low, high)))
    return "about " * estimated + " to ".join(text)
