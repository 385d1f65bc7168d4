"""What notebook 07 shows of the runs: readable tables, differences, mistakes, volumes, cases chosen by rule."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hipposeg import metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.spec import DatasetSpec
from hipposeg.metrics import MEAN, UNION
from hipposeg.results.table import Run, RunError, compare
from hipposeg.stats import Agreement, agreement, holm, signed, verdict

log = logging.getLogger(__name__)

# Column title, metric, and how its numbers are written.
READABLE = (
    ("NSD 1 mm", "nsd1", "{:.3f}"), ("NSD 2 mm", "nsd2", "{:.3f}"), ("HD95 (mm)", "hd95", "{:.2f}"),
    ("MSD (mm)", "msd", "{:.2f}"), ("volume bias (mm³)", "volume_bias", "{:+.0f}"),
    ("volume error (mm³)", "volume_abs_error", "{:.0f}"),
)  # fmt: skip


@dataclass(frozen=True)
class Mistakes:
    """One run's errors over its scored cases.

    confusion: voxel counts (K + 1, K + 1), rows true. volumes: mm3 by kind (columns) for each case (index).
    depths: distance in mm from the true border of every wrong voxel of all cases.
    """

    confusion: np.ndarray
    volumes: pd.DataFrame
    depths: np.ndarray


def readable(results: pd.DataFrame, names: dict[str, str], spec: DatasetSpec) -> pd.DataFrame:
    """Results as text, one row per run: Dice of each class, mean with its interval, union; the rest for the mean."""
    rows = []
    for run, name in names.items():
        by_label = results[results["run"] == run].set_index("label")
        mean = by_label.loc[MEAN]
        row = {"run": name} | {label: f"{by_label.loc[label, 'dice']:.3f}" for label in spec.names}
        row |= {"mean Dice": f"{mean['dice']:.3f}"}
        row |= {"95 % interval": f"{mean['dice_low']:.3f} to {mean['dice_high']:.3f}"}
        row |= {"union": f"{by_label.loc[UNION, 'dice']:.3f}"}
        row |= {title: text.format(mean[metric]) for title, metric, text in READABLE}
        rows.append(row | {"volumes": int(mean["n"]), "no distance": int(mean["n_nan"])})
    return pd.DataFrame(rows).set_index("run").rename_axis(None)


def against(runs: Sequence[Run], reference: Run, names: dict[str, str]) -> pd.DataFrame:
    """Paired differences in mean Dice of every other run from one reference: a declared family, so Holm within it.

    Columns difference, low, high, people, p_holm, verdict. A run that may not be compared with the reference (another
    device, precision, budget) has NaN there, and the reason as its verdict; so has a run with fewer than 3 seeds.
    """
    rows: dict[str, dict[str, Any]] = {}
    for run in (run for run in runs if run.name != reference.name):
        try:
            found = compare(run, reference)
        except RunError as error:
            log.warning("%s", error)
            rows[names[run.name]] = {"p": float("nan"), "verdict": "not compared: another setting"}
            continue
        rows[names[run.name]] = {
            "difference": found.difference, "low": found.low, "high": found.high, "people": found.n_people,
            "p": found.p_value, "verdict": verdict(found) or f"none: {found.n_seeds} seed",
        }  # fmt: skip
    columns = ("difference", "low", "high", "people", "p", "verdict")
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=columns)
    table.insert(4, "p_holm", holm(table.pop("p").to_numpy()))
    return table


def readable_differences(table: pd.DataFrame) -> pd.DataFrame:
    """What `against` returns, as text: differences and intervals with sign, small p without a false 0.

    What was not compared has its reason as verdict and nothing else.
    """
    text = pd.DataFrame(index=table.index)
    rows = table[["difference", "low", "high"]].astype(float).itertuples(index=False)
    told = [("", "") if np.isnan(row[0]) else (signed(row[0]), f"{signed(row[1])} to {signed(row[2])}") for row in rows]
    text["difference"] = [difference for difference, _ in told]
    text["95 % interval"] = [ends for _, ends in told]
    for count in ("people", "seeds"):
        if count in table:
            text[count] = ["" if np.isnan(number) else f"{number:.0f}" for number in table[count].astype(float)]
    text["p (Holm)"] = ["none" if np.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.4f}" for p in table["p_holm"]]
    text["verdict"] = table["verdict"]
    return text


def differences_in_words(table: pd.DataFrame) -> str:
    """What `against` returns, as one line of Markdown: each row's difference with its interval and verdict."""
    rows = readable_differences(table).iterrows()
    return "; ".join(f"{name}: {_in_words(row)}" for name, row in rows)


def _in_words(row: pd.Series) -> str:
    if not row["difference"]:
        return row["verdict"]
    return f"**{row['difference']}** ({row['95 % interval']}, {row['verdict']})"


def mistakes(runs: Sequence[Run], cohort: Cohort) -> dict[str, Mistakes]:
    """Read the predictions of runs that share their scored cases, and take their errors apart. Run name -> Mistakes."""
    spec = cohort.spec
    totals = {run.name: np.zeros((spec.n_classes, spec.n_classes), np.int64) for run in runs}
    volumes: dict[str, dict[int, dict[str, float]]] = {run.name: {} for run in runs}
    depths: dict[str, list[np.ndarray]] = {run.name: [] for run in runs}
    for number in sorted({case for run in runs for case in run.values().index}):
        case = cohort.cases[number]
        distance, voxel = metrics.border_distance(case.label, case.spacing), float(np.prod(case.spacing))
        for run in (run for run in runs if number in run.values().index):
            prediction = run.prediction(spec, number)
            totals[run.name] += metrics.confusion(prediction, case.label, spec.n_classes)
            kinds = metrics.error_masks(prediction, case.label)
            volumes[run.name][number] = {kind: mask.sum() * voxel for kind, mask in kinds.items()}
            depths[run.name].append(distance[prediction != case.label])
    return {
        name: Mistakes(total, pd.DataFrame.from_dict(volumes[name], orient="index"), np.concatenate(depths[name]))
        for name, total in totals.items()
    }


def volume_agreements(run: Run, spec: DatasetSpec) -> dict[str, Agreement]:
    """Bland-Altman and ICC of predicted against true volumes in mm3: label (classes and union) -> Agreement."""
    labels = (*spec.names, UNION)
    pairs = {label: (run.values(label, "volume_predicted"), run.values(label, "volume_true")) for label in labels}
    return {label: agreement(predicted.to_numpy(), true.to_numpy()) for label, (predicted, true) in pairs.items()}


def cases_by_rule(scores: pd.Series) -> dict[str, int]:
    """The cases with the highest, middle and lowest score (lower middle if even; ties: lower case number).

    scores: mean Dice by case number, such as `Run.values()` or `mean_dice`; NaN are left out. Raises ValueError if
    nothing is left.
    """
    kept = scores.dropna()
    if kept.empty:
        raise ValueError("no case has a score; expected the mean Dice of at least one case")
    ranked = kept.sort_index().sort_values(ascending=False, kind="stable").index.tolist()
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}


def mean_dice(cases: pd.DataFrame, label: str = MEAN) -> pd.Series:
    """Dice of one label by case number, from rows as in cases.csv."""
    return cases[cases["label"] == label].set_index("case")["dice"].sort_index()
