"""Comparing models: means with intervals, and paired differences with conclusions.

All functions take rows of `results.load`. Rows of one label are `frame[frame.label == "mean"]`. Two groups are compared
on the same cases and seeds, within one kind of folds, fold, schedule, device and data set. What differs otherwise
(processor, precision, build of torch) changes Dice as another seed does; times are compared within one kind of machine.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hipposeg.metrics import MEAN
from hipposeg.stats import conclusion, holm, interval, paired

CONCLUSIONS = ("better", "worse", "equivalent", "inconclusive")
DIFFERENCES = ("difference", "low", "high", "subjects", "seeds", "p_holm", "conclusion")
# Two groups are compared only if they agree in these columns.
SETTING = ("folds", "fold", "schedule", "device", "data_sha256")


def stacked(rows: pd.DataFrame, metric: str = "dice") -> tuple[np.ndarray, np.ndarray]:
    """Values of one group, (seeds, cases), sorted by seed and case, and the cases' subjects, (cases,).

    Raises:
        ValueError: a case occurs twice in a seed, as with a run and its twin in float32, or is missing in one.
    """
    table = rows.pivot_table(index="seed", columns="case", values=metric, aggfunc="first", dropna=False)
    if len(rows) != table.size or rows.duplicated(["seed", "case"]).any():
        seeds, cases = table.shape
        raise ValueError(f"{len(rows)} rows for {seeds} seeds of {cases} cases; expected every case once")
    subjects = rows.drop_duplicates("case").set_index("case")["subject"].reindex(table.columns)
    return table.to_numpy(float), subjects.to_numpy()


def means(rows: pd.DataFrame, by: str = "model") -> pd.DataFrame:
    """Mean Dice over cases and seeds of each group, with its 95 % interval over subjects and seeds.

    Returns:
        Columns value, low, high and seeds; one row a group, in order of appearance.
    """
    found = {}
    for name, group in rows.groupby(by, sort=False):
        values, subjects = stacked(group)
        found[name] = {**vars(interval(values, subjects)), "seeds": len(values)}
    return pd.DataFrame(list(found.values()), index=list(found), columns=["value", "low", "high", "seeds"])


def differences(rows: pd.DataFrame, reference: str, by: str = "model", declared: int = 0) -> pd.DataFrame:
    """Dice of each group minus the reference's, paired by case and seed, as one family (Holm's adjustment).

    rows: of one label. declared: number of planned comparisons, where some are not available yet.

    Returns:
        Columns DIFFERENCES, one row a group; no row if the reference is not available. With fewer than three seeds the
        conclusion is withheld; a group in another setting or on other cases has NaN and says so.
    """
    groups = dict(list(rows.groupby(by, sort=False)))
    mine = groups.pop(reference, None)
    found: dict[str, dict[str, Any]] = {}
    for name, group in groups.items() if mine is not None else ():
        if len(_settings(group, mine)) > 1:
            found[name] = {"conclusion": "not compared: another setting"}
        elif set(group["case"]) != set(mine["case"]):
            found[name] = {"conclusion": "not compared: other cases"}
        else:
            a, subjects = stacked(group)
            pair = paired(a, stacked(mine)[0], subjects)
            words = conclusion(pair) or f"none: {pair.n_seeds} seed{'s' if pair.n_seeds > 1 else ''}"
            found[name] = {"difference": pair.difference, "low": pair.low, "high": pair.high, "seeds": pair.n_seeds,
                           "subjects": pair.n_subjects, "p_holm": pair.p_value, "conclusion": words}  # fmt: skip
    table = pd.DataFrame(list(found.values()), index=list(found), columns=list(DIFFERENCES))
    table["p_holm"] = holm(table["p_holm"].to_numpy(dtype=float), declared)
    return table


def _settings(*groups: pd.DataFrame) -> set[tuple]:
    """The settings that occur. The atlas is not trained, so schedule and device do not matter to it."""
    columns = list(SETTING)
    if any((group["steps"] == 0).all() for group in groups):
        columns = [name for name in columns if name not in ("schedule", "device")]
    return {tuple(row) for group in groups for row in group[columns].drop_duplicates().itertuples(index=False)}


def by_family(
    frame: pd.DataFrame, reference: str, families: Mapping[str, Sequence[str]], schedule: str
) -> pd.DataFrame:
    """`differences` in mean Dice of each planned family (name -> models) from one model, on grouped fold 0.

    Returns:
        Index (family, model); Holm's adjustment within each family. Empty if nothing can be compared.
    """
    tables, here = {}, frame[(frame["label"] == MEAN) & (frame["schedule"] == schedule)]
    here = here[(here["folds"] == "grouped") & (here["fold"] == 0)]
    for family, members in families.items():
        found = differences(here[here["model"].isin([reference, *members])], reference, declared=len(members))
        if len(found):
            tables[family] = found
    return pd.concat(tables) if tables else pd.DataFrame(columns=list(DIFFERENCES))
