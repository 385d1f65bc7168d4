"""Both hippocampi of a subject, measured by one network: do predicted differences agree with the true ones?

The files do not record which of a subject's two volumes is left and which is right, so they are "first" and "second" by
case number. What a user needs is their difference, an asymmetry. Errors that both sides share cancel out in it, errors
of each side alone add up; so a network may measure each side well and the difference badly.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hipposeg.stats import agreement, correlation, interval
from hipposeg_lab.studies.making import ends

NAMES = ("true", "predicted", "difference", "error", "dice")
COLUMNS = (
    "run", "label", "subjects", *(f"r_{name}{end}" for name in NAMES for end in ("", "_low", "_high")),
    "true_second_minus_first", "true_second_minus_first_low", "true_second_minus_first_high",
    "difference_sd_true", "difference_bias", "difference_low", "difference_high",
)  # fmt: skip
FEWEST = 3


def pairs(cases: pd.DataFrame, label: str) -> pd.DataFrame:
    """Subjects (index) with two scored volumes, from rows of `results.load`, every case once per label.

    Columns first and second (case numbers), and true, predicted, error (mm3) and dice of both, such as true_first.
    Raises ValueError if a subject has more than two volumes.
    """
    rows = cases[cases["label"] == label].sort_values("case")
    side = rows.groupby("subject").cumcount().to_numpy()
    if (side > 1).any():
        more = rows["subject"][side > 1].tolist()
        raise ValueError(f"subjects {more[:5]} have more than two volumes; pass every case of a label once")
    names = {"volume_true": "true", "volume_predicted": "predicted", "volume_bias": "error", "dice": "dice"}
    rows = rows.set_index("subject")[["case", *names]].rename(columns=names)
    first, second = (rows[side == index].add_suffix(end) for index, end in enumerate(("_first", "_second")))
    return first.join(second, how="inner").rename(columns={"case_first": "first", "case_second": "second"})


def study(groups: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> pd.DataFrame:
    """Agreement of both sides: one row per group and label with at least FEWEST pairs, columns COLUMNS.

    groups: name -> rows of `results.load`, of one run or of a run per fold. r_true, r_predicted, r_error, r_dice:
    correlation of first with second; r_difference: of the predicted with the true difference; with 95 % intervals over
    subjects. true_second_minus_first: mean with its interval; if it is not zero, the order of a subject's volumes is
    not random. difference_*: Bland and Altman's bias and limits of the predicted minus the true difference, and the SD
    of the true one, in mm3.
    """
    found = [(name, label, pairs(cases, label)) for name, cases in groups.items() for label in labels]
    return pd.DataFrame([_row(*one) for one in found if len(one[-1]) >= FEWEST], columns=list(COLUMNS))


def _row(run: str, label: str, table: pd.DataFrame) -> dict[str, Any]:
    gap = pd.DataFrame({name: table[f"{name}_second"] - table[f"{name}_first"] for name in ("true", "predicted")})
    sides = {name: (table[f"{name}_first"], table[f"{name}_second"]) for name in NAMES if name != "difference"}
    sides["difference"] = gap["predicted"], gap["true"]
    found = {f"r_{name}": correlation(*(side.to_numpy() for side in both)) for name, both in sides.items()}
    found["true_second_minus_first"] = interval(gap["true"].to_numpy(), gap.index.to_numpy())
    limits = agreement(gap["predicted"].to_numpy(), gap["true"].to_numpy())
    return {
        "run": run, "label": label, "subjects": len(table),
        **{column: value for name, one in found.items() for column, value in ends(name, one).items()},
        "difference_sd_true": gap["true"].std(), "difference_bias": limits.bias, "difference_low": limits.low,
        "difference_high": limits.high,
    }  # fmt: skip
