"""What others report (`published.toml`), and a table of five projects' claims beside our scores.

Our scores come from runs: the mean Dice of our model of the same kind, and the score that the nearest practice of
`studies.inflation` gives our plain network's masks. Data and splits differ, so nothing is ranked.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Published:
    """One published result on Task04; Dice is None where the source does not give it."""

    method: str
    protocol: str
    source: str
    url: str = ""
    anterior: float | None = None
    posterior: float | None = None
    mean: float | None = None
    kind: str = "score"


_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
PUBLISHED = tuple(Published(**one) for one in _DATA["published"])
CLAIMS = _DATA["claims"]

TYPED = ("project", "method", "claimed", "called", "really", "twin", "source", "url", "practice")
COLUMNS = (
    "project", "method", "claimed", "called", "really", "value_low", "value_high", "model", "ours", "low", "high",
    "seeds", "practice", "twin", "scored_their_way", "estimated", "source", "url",
)  # fmt: skip


def table(ours: pd.DataFrame, inflation: pd.DataFrame) -> pd.DataFrame:
    """Claims beside our scores: one row a claim, columns COLUMNS; NaN without such a run or score.

    Args:
        ours: mean Dice by model, as `results.compare.means` returns it.
        inflation: what `inflation.study` returns.
    """
    shown = inflation.assign(model=inflation["run"].str.split(".").str[0]).set_index(["model", "practice"])["shown"]
    rows = []
    for claim in CLAIMS:
        row = {name: claim[name] for name in TYPED} | {"estimated": int(claim.get("estimated", False))}
        if claim["value"]:
            row |= {"value_low": claim["value"][0], "value_high": claim["value"][-1]}
        row["model"] = next((model for model in claim["models"] if model in ours.index), "")
        if row["model"]:
            row |= ours.loc[row["model"]].rename({"value": "ours"}).to_dict()
        row["scored_their_way"] = shown.get((claim["twin"], claim["practice"]), np.nan)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))
