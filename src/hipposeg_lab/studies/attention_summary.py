"""Summaries of notebook 05: ratios with intervals, and differences between networks with and without attention."""

from collections.abc import Sequence

import pandas as pd

from hipposeg import stats
from hipposeg.metrics import MEAN
from hipposeg.results import compare
from hipposeg_lab.studies.attention import OTHER, REACHED, TRAINED

# Every model of notebook 05 -> the same network without attention.
WITHOUT = {f"attention{kind}": f"unet{kind[:2]}" for kind in ("2d", "2d-constant", "3d", "3d-constant")}
WITHOUT |= {"scse2d": "unet2d-mobilenetv3"}
# Planned comparisons, each the first minus the second.
PAIRS = (
    ("attention2d", "unet2d"),
    ("attention2d", "attention2d-constant"),
    ("attention3d", "unet3d"),
    ("attention3d", "attention3d-constant"),
    ("scse2d", "unet2d-mobilenetv3"),
)


def intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Mean ratio with its 95 % interval over people: columns within, scale, control, value, low, high.

    table: rows of `attention.study`; with a column `seed`, seeds are averaged and resampled, too.
    """
    rows = []
    for (within, scale, control), group in _groups(table):
        values, subjects = compare.stacked(group, "ratio")
        found = vars(stats.interval(values, subjects))
        rows.append({"within": within, "scale": scale, "control": control, **found})
    return pd.DataFrame(rows)


def beyond(table: pd.DataFrame) -> pd.DataFrame:
    """The trained network's ratio minus each control's on the same cases and places, with its 95 % interval.

    table: as for `intervals`. Columns within, scale, control, difference, low, high.
    """
    groups = dict(_groups(table))
    rows = []
    for (within, scale, control), group in groups.items():
        if control in (TRAINED, REACHED):
            continue
        mine, subjects = compare.stacked(groups[within, scale, REACHED if control == OTHER else TRAINED], "ratio")
        one = stats.paired(mine, compare.stacked(group, "ratio")[0], subjects)
        ends = {"difference": one.difference, "low": one.low, "high": one.high}
        rows.append({"within": within, "scale": scale, "control": control, **ends})
    return pd.DataFrame(rows)


def _groups(table: pd.DataFrame) -> list[tuple[tuple[str, int, str], pd.DataFrame]]:
    """Rows by (within, scale, control), in their order of appearance; one seed where none is named."""
    table = table if "seed" in table else table.assign(seed=0)
    return list(table.groupby(["within", "scale", "control"], sort=False))


def smallest_third(volumes: pd.Series) -> list[int]:
    """The third of the cases with the smallest true hippocampus (rounded down, at least one), by case number.

    volumes: true volume by case number. For evaluation only: no network sees a true volume.
    """
    smallest = volumes.sort_index().sort_values(kind="stable").index[: max(1, len(volumes) // 3)]
    return sorted(int(number) for number in smallest)


def comparisons(rows: pd.DataFrame) -> pd.DataFrame:
    """`compare.differences` of the planned PAIRS as far as they are available, with Holm's adjustment over all PAIRS.

    rows: of one label, fold and schedule. Index "first minus second". Empty if no pair is complete.
    """
    found = {}
    for model, reference in PAIRS:
        one = compare.differences(rows[rows["model"].isin((model, reference))], reference)
        if model in one.index:
            found[f"{model} minus {reference}"] = one.loc[model]
    table = pd.DataFrame(list(found.values()), index=list(found), columns=list(compare.DIFFERENCES))
    # Each p was computed alone; together they are one family.
    table["p_holm"] = stats.holm(table["p_holm"].to_numpy(dtype=float), len(PAIRS))
    return table


def by_size(frame: pd.DataFrame, small: Sequence[int]) -> pd.DataFrame:
    """`comparisons` of mean Dice on all test cases and on `small` alone, with Holm's adjustment within each.

    frame: rows of `results.load`, of one fold and schedule. Index (which cases, pair). Empty if no pair is complete.
    """
    rows = frame[frame["label"] == MEAN]
    every, smallest = f"all {rows['case'].nunique()} volumes", f"the {len(small)} smallest"
    parts = {every: rows, smallest: rows[rows["case"].isin(small)]}
    tables = {name: found for name, part in parts.items() if len(found := comparisons(part))}
    return pd.concat(tables) if tables else pd.DataFrame(columns=list(compare.DIFFERENCES))
