"""Tables for people: runs with every metric, and conclusions as text."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hipposeg.data.folds import N_FOLDS
from hipposeg.data.spec import DatasetSpec
from hipposeg.metrics import DISTANCES, MEAN, METRICS, UNION
from hipposeg.stats import interval, signed

METRIC_COLUMNS = tuple(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high"))
RUN_COLUMNS = ("run", "model", "notebook", "dims", "folds", "fold", "seed", "schedule", "device", "precision", "family",
               "params", "gflops", "steps")  # fmt: skip
SUMMARY_COLUMNS = (*RUN_COLUMNS, "label", "n", "n_nan", *METRIC_COLUMNS)
# Metric -> its title and how its numbers are written.
WRITTEN = {
    "nsd1": ("NSD 1 mm", "{:.3f}"), "nsd2": ("NSD 2 mm", "{:.3f}"), "hd95": ("HD95 (mm)", "{:.2f}"),
    "msd": ("MSD (mm)", "{:.2f}"), "volume_bias": ("volume bias, whole (mm³)", "{:+.0f}"),
    "volume_abs_error": ("volume error, whole (mm³)", "{:.0f}"),
}  # fmt: skip


def summary(frame: pd.DataFrame, spec: DatasetSpec, shown: Mapping[str, Sequence[str]] | None = None) -> pd.DataFrame:
    """Every metric of every run and label: its mean over cases with a 95 % interval over subjects.

    shown: label -> metrics to compute; the others are NaN. By default all.

    Returns:
        Columns SUMMARY_COLUMNS. n: cases; n_nan: cases without a distance (for the mean: in any class).
    """
    found = []
    for _, rows in frame.groupby("run", sort=False):
        by_label = {label: group.set_index("case").sort_index() for label, group in rows.groupby("label")}
        subjects = by_label[MEAN]["subject"].to_numpy()
        missing = {label: group[list(DISTANCES)].isna().any(axis=1) for label, group in by_label.items()}
        missing[MEAN] = pd.concat([missing[name] for name in spec.names], axis=1).any(axis=1)
        for label in (*spec.names, MEAN, UNION):
            row = {"label": label, "n": len(subjects), "n_nan": int(missing[label].sum())}
            for metric in METRICS if shown is None else shown.get(label, ()):
                one = interval(by_label[label][metric].to_numpy(), subjects)
                row |= {metric: one.value, f"{metric}_low": one.low, f"{metric}_high": one.high}
            found.append(rows.iloc[0][list(RUN_COLUMNS)].to_dict() | row)
    return pd.DataFrame(found, columns=list(SUMMARY_COLUMNS))


def readable(results: pd.DataFrame, names: dict[str, str], spec: DatasetSpec) -> pd.DataFrame:
    """What `summary` returns as text, one row a run: Dice of each class, their mean with its interval, union, the rest.

    Volumes are of the union, other metrics the mean over classes.

    names: run -> what to call it; gives the order.
    """
    rows = []
    for run, name in names.items():
        by_label = results[results["run"] == run].set_index("label")
        mean = by_label.loc[MEAN]
        row = {"run": name} | {label: f"{by_label.loc[label, 'dice']:.3f}" for label in spec.names}
        row |= {"mean Dice": f"{mean['dice']:.3f}"}
        row |= {"95 % interval": f"{mean['dice_low']:.3f} to {mean['dice_high']:.3f}"}
        row |= {"union": f"{by_label.loc[UNION, 'dice']:.3f}"}
        for metric in METRICS[2:]:
            title, form = WRITTEN[metric]
            row[title] = form.format(by_label.loc[UNION if "volume" in metric else MEAN, metric])
        rows.append(row | {"volumes": int(mean["n"]), "no distance": int(mean["n_nan"])})
    return pd.DataFrame(rows).set_index("run").rename_axis(None)


def readable_differences(table: pd.DataFrame) -> pd.DataFrame:
    """What `compare.differences` returns as text: signs, intervals, and small p without a false 0."""
    text = pd.DataFrame(index=table.index)
    rows = table[["difference", "low", "high"]].astype(float).itertuples(index=False)
    both = [("", "") if np.isnan(row[0]) else (signed(row[0]), f"{signed(row[1])} to {signed(row[2])}") for row in rows]
    text["difference"] = [difference for difference, _ in both]
    text["95 % interval"] = [ends for _, ends in both]
    for count in ("subjects", "seeds"):
        text[count] = ["" if np.isnan(number) else f"{number:.0f}" for number in table[count].astype(float)]
    text["p (Holm)"] = ["none" if np.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.4f}" for p in table["p_holm"]]
    text["conclusion"] = table["conclusion"]
    return text


def machines(frame: pd.DataFrame) -> str:
    """Which processor trained how many networks, in words; models that are not trained are left out."""
    counts = frame[frame["steps"] > 0].groupby("processor")["run"].nunique()
    return "; ".join(f"{name}: {count}" for name, count in counts.items())


def out_of_fold(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    """A model's first seed on the five grouped folds: every volume once, predicted by a network new to its subject.

    frame: rows of `results.load`. Empty if a fold is missing.
    """
    names = [f"{model}.grouped{fold}.s0.standard" for fold in range(N_FOLDS)]
    rows = frame[frame["planned"].isin(names)]
    return rows if rows["run"].nunique() == N_FOLDS else rows.iloc[:0]


def cases_by_rule(scores: pd.Series) -> dict[str, int]:
    """The cases with the best, median and worst score (lower middle if even; ties: lower case number).

    scores: mean Dice by case number, such as `Run.values()`; NaN are left out.
    """
    ranked = scores.dropna().sort_index().sort_values(ascending=False, kind="stable").index.tolist()
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
