"""Two volumes of one person, measured by one network: do its measurements agree with each other as the truths do?

Which of a person's two volumes is left and which is right cannot be told, so they are "first" and "second" by case
number. What a user needs is their difference, an asymmetry, and a network may measure each side well and the
difference badly: errors that both sides share cancel out in it, errors of each side alone add up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hipposeg.stats import agreement, correlation, interval

NAMES = ("true", "predicted", "difference", "error", "dice")
COLUMNS = (
    "run", "label", "people", *(f"r_{name}{end}" for name in NAMES for end in ("", "_low", "_high")),
    "true_second_minus_first", "true_second_minus_first_low", "true_second_minus_first_high",
    "difference_sd_true", "difference_bias", "difference_low", "difference_high",
)  # fmt: skip
FEWEST = 3


def pairs(cases: pd.DataFrame, label: str) -> pd.DataFrame:
    """People with two scored volumes: one row each, indexed by person.

    cases: rows of `results.load`, every case once per label. Columns first and second (case numbers), and
    true/predicted/error/dice of both, such as `true_first`; volumes in mm3, error is predicted minus true.
    Raises ValueError if a person has more than two volumes.
    """
    rows = cases[cases["label"] == label].sort_values("case").rename(
        columns={"volume_true": "true", "volume_predicted": "predicted", "volume_bias": "error"}
    )  # fmt: skip
    side = rows.groupby("subject").cumcount()
    if (side > 1).any():
        more = rows["subject"][side > 1].tolist()
        raise ValueError(f"people {more[:5]} have more than two volumes; pass every case of a label once")
    columns = ["case", "true", "predicted", "error", "dice"]
    first, second = (
        rows[side == index].set_index("subject")[columns].add_suffix(end)
        for index, end in enumerate(("_first", "_second"))
    )
    table = first.join(second, how="inner")
    return table.rename(columns={"case_first": "first", "case_second": "second"})


def study(groups: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> pd.DataFrame:
    """One row per group and label, columns COLUMNS; a group with fewer than FEWEST pairs has no row.

    groups: name -> rows of `results.load`, of one run or of a run per fold. labels: parts and their union.
    r_true, r_predicted, r_error, r_dice: correlation of first with second; r_difference: of the predicted difference
    with the true one; each with a 95 % interval over people. true_second_minus_first: mean with its interval; if it is
    not zero, the order of a person's volumes is not by chance. difference_*: Bland and Altman's bias and limits of the
    predicted minus the true difference, and the SD of the true one. In mm3.
    """
    rows = [_row(name, label, pairs(cases, label)) for name, cases in groups.items() for label in labels]
    return pd.DataFrame([row for row in rows if row["people"] >= FEWEST], columns=list(COLUMNS))


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Second minus first of what `pairs` gives, true and predicted, in mm3, by person."""
    return pd.DataFrame({name: table[f"{name}_second"] - table[f"{name}_first"] for name in ("true", "predicted")})


def _row(run: str, label: str, table: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run, "label": label, "people": len(table)}
    if len(table) < FEWEST:
        return row
    gap = differences(table)
    found = {"difference": correlation(gap["predicted"].to_numpy(), gap["true"].to_numpy())}
    for name in ("true", "predicted", "error", "dice"):
        found[name] = correlation(table[f"{name}_first"].to_numpy(), table[f"{name}_second"].to_numpy())
    for name in NAMES:
        row |= {f"r_{name}": found[name].value, f"r_{name}_low": found[name].low, f"r_{name}_high": found[name].high}
    order = interval(gap["true"].to_numpy(), gap.index.to_numpy())
    for end, value in (("", order.value), ("_low", order.low), ("_high", order.high)):
        row[f"true_second_minus_first{end}"] = value
    limits = agreement(gap["predicted"].to_numpy(), gap["true"].to_numpy())
    row |= {"difference_sd_true": gap["true"].std(), "difference_bias": limits.bias}
    return row | {"difference_low": limits.low, "difference_high": limits.high}
