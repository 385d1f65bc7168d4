"""Arms with several seeds: their rows of a table with intervals, and paired differences with the protocol's verdicts.

Tables are long: one row for each seed and case. Every comparison stays within one setting (fold, budget, device,
precision, torch, data); a group of another setting is listed and not compared.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hipposeg.experiments.run import RunResult
from hipposeg.files import read_json
from hipposeg.metrics import MEAN
from hipposeg.results.table import MACHINE, SETTING
from hipposeg.stats import Paired, holm, interval, paired, verdict

VERDICTS = ("ahead", "behind", "equivalent", "undecided")
# Metrics that a table of arms shows beside Dice.
FURTHER = ("iou", "nsd1", "hd95")
DIFFERENCES = ("difference", "low", "high", "people", "seeds", "p_holm", "verdict")


def scores(results: Sequence[RunResult], label: str = MEAN) -> pd.DataFrame:
    """One row per run and case of one label: arm, folds, fold, seed, setting, and the columns of cases.csv."""
    return _joined([(one, one.cases[one.cases["label"] == label]) for one in results])


def side_table(results: Sequence[RunResult], name: str) -> pd.DataFrame:
    """Rows of a further table (such as offgrid.csv.gz) that runs hold beside their scores; empty if none has it."""
    there = [one for one in results if (one.folder / name).is_file()]
    return _joined([(one, pd.read_csv(one.folder / name)) for one in there])


def _joined(parts: Sequence[tuple[RunResult, pd.DataFrame]]) -> pd.DataFrame:
    tables = []
    for one, rows in parts:
        setting = "/".join(str(one.config[key]) for key in (*SETTING, *MACHINE))
        run = {"arm": one.run.arm, "folds": one.run.folds, "fold": one.run.fold, "seed": one.run.seed}
        tables.append(rows.assign(**run, setting=setting))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["arm", "seed", "case", "setting"])


def stacked(rows: pd.DataFrame, metric: str = "dice") -> tuple[np.ndarray, np.ndarray]:
    """(seeds, cases) values and (cases,) subjects from long rows of one group, sorted by seed and case.

    Raises ValueError if a case occurs twice in a seed, or is not there in each of them.
    """
    table = rows.pivot(index="seed", columns="case", values=metric).sort_index(axis=0).sort_index(axis=1)
    if len(rows) != table.size:
        seeds, cases = table.shape
        raise ValueError(f"{len(rows)} rows for {seeds} seeds of {cases} cases; expected every case once")
    subjects = rows.drop_duplicates("case").set_index("case")["subject"].reindex(table.columns)
    return table.to_numpy(), subjects.to_numpy()


def means(rows: pd.DataFrame, by: str = "arm", metric: str = "dice") -> pd.DataFrame:
    """Mean over cases and seeds with its interval over people (and seeds): value, low, high, seeds; a row per group."""
    found = {}
    for name, group in rows.groupby(by, sort=False):
        values, subjects = stacked(group, metric)
        found[name] = {**vars(interval(values, subjects)), "seeds": len(values)}
    return pd.DataFrame(list(found.values()), index=list(found), columns=["value", "low", "high", "seeds"])


def differences(
    rows: pd.DataFrame, reference: str, by: str = "arm", metric: str = "dice", declared: int = 0
) -> pd.DataFrame:
    """Every other group minus the reference on the same cases: one declared family, so Holm within it.

    declared: how many comparisons the family has, where some of them are not there yet.

    Columns DIFFERENCES. The verdict is withheld below three seeds; a group in another setting, or on other cases, has
    NaN and says so there. Empty if the reference is not among the groups.
    """
    groups = dict(list(rows.groupby(by, sort=False)))
    mine = groups.pop(reference, None)
    found: dict[str, dict[str, Any]] = {}
    for name, group in groups.items() if mine is not None else ():
        if set(group["setting"]) != set(mine["setting"]) or len(set(mine["setting"])) > 1:
            found[name] = {"p": np.nan, "verdict": "not compared: another setting"}
            continue
        if set(group["case"]) != set(mine["case"]):
            found[name] = {"p": np.nan, "verdict": "not compared: other cases"}
            continue
        a, subjects = stacked(group, metric)
        found[name] = _told(paired(a, stacked(mine, metric)[0], subjects))
    return _as_family(found, declared)


def _told(pair: Paired) -> dict[str, Any]:
    said = verdict(pair) or f"none: {pair.n_seeds} seed{'s' if pair.n_seeds > 1 else ''}"
    return {"difference": pair.difference, "low": pair.low, "high": pair.high, "people": pair.n_people,
            "seeds": pair.n_seeds, "p": pair.p_value, "verdict": said}  # fmt: skip


def _as_family(found: Mapping[str, Mapping[str, Any]], declared: int = 0) -> pd.DataFrame:
    columns = ["p", *(column for column in DIFFERENCES if column != "p_holm")]
    table = pd.DataFrame(list(found.values()), index=list(found), columns=columns)
    table["p_holm"] = holm(table.pop("p").to_numpy(dtype=float), declared)
    return table[list(DIFFERENCES)]


def by_family(
    results: Sequence[RunResult], reference: str, families: Mapping[str, Sequence[str]], budget: str
) -> pd.DataFrame:
    """`differences` of each declared family from one reference arm, at one budget, on grouped fold 0.

    families: name -> arms. Index (family, arm); Holm within each family. Empty if nothing can be compared.
    """
    here = [one for one in results if (one.run.folds, one.run.fold, one.run.budget) == ("grouped", 0, budget)]
    tables = {}
    for family, members in families.items():
        those = scores([one for one in here if one.run.arm in (reference, *members)])
        found = differences(those, reference, declared=len(members))
        if len(found):
            tables[family] = found
    return pd.concat(tables) if tables else pd.DataFrame(columns=list(DIFFERENCES))


def in_words(table: pd.DataFrame, reference: str) -> str:
    """How many comparisons of `by_family` end in each verdict, as one line of Markdown."""
    counts = {word: [arm for _, arm in table.index[table["verdict"] == word]] for word in VERDICTS}
    told = [f"{word} {', '.join(f'`{arm}`' for arm in named)}" for word, named in counts.items() if named]
    open_ = len(table) - sum(map(len, counts.values()))
    return f"Against {reference}: {'; '.join([*told, *([f'{open_} without a verdict'] if open_ else [])])}."


def flips(short: pd.DataFrame, long: pd.DataFrame) -> pd.DataFrame:
    """What two budgets say of the same comparisons: differences and verdicts side by side, and whether they part.

    short, long: tables of `differences`, same kind of index. says: "flips" where one is ahead and the other behind,
    "agrees" where both conclude the same, "differs" where one alone concludes something or both something else,
    "undecided" where neither does; "open" if either has no verdict. Empty without common rows.
    """
    both = short.join(long, suffixes=("_short", "_long"), how="inner")
    columns = [f"{name}_{end}" for end in ("short", "long") for name in ("difference", "low", "high", "verdict")]
    both = both[columns].copy()

    def says(row: pd.Series) -> str:
        verdicts = {row["verdict_short"], row["verdict_long"]}
        if not verdicts <= set(VERDICTS):
            return "open"
        if verdicts == {"ahead", "behind"}:
            return "flips"
        if verdicts == {"undecided"}:
            return "undecided"
        return "agrees" if len(verdicts) == 1 else "differs"

    both["says"] = [says(row) for _, row in both.iterrows()]
    return both


def alike(results: Iterable[RunResult]) -> bool:
    """Whether there are runs, and one data set and kind of machine trained them all, so that means may be ranked."""
    return len({tuple(one.config[key] for key in ("data_sha256", *MACHINE)) for one in results}) == 1


def moved(results: Sequence[RunResult], reference: str, names: Sequence[str], short: str, long: str) -> pd.DataFrame:
    """How far each arm's difference from the reference moves from a short budget to a long one, on grouped fold 0.

    The difference of two differences, on the same cases and seeds: above zero, the arm gains more by longer training
    than the reference does. Index: arms of `names` that both budgets have, trained by the same kind of machine as the
    reference; columns DIFFERENCES, Holm over these rows.
    """
    there = [one for one in results if (one.run.folds, one.run.fold) == ("grouped", 0)]

    def of(arm: str, budget: str) -> list[RunResult]:
        return [one for one in there if (one.run.arm, one.run.budget) == (arm, budget)]

    found = {}
    for arm in names:
        four = [of(name, budget) for name in (arm, reference) for budget in (long, short)]
        seeds = {tuple(sorted(one.run.seed for one in runs)) for runs in four}
        if len(seeds) == 1 and alike(one for runs in four for one in runs):
            a_long, a_short, b_long, b_short = (stacked(scores(runs))[0] for runs in four)
            found[arm] = _told(paired(a_long - a_short, b_long - b_short, stacked(scores(four[0]))[1]))
    return _as_family(found)


def arms(
    results: Sequence[RunResult], labels: Sequence[str], folds: str = "grouped", fold: int = 0,
    budget: str = "standard", idle: Mapping[str, float] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """The table of arms on one fold: what each costs, and its Dice with interval; in the order of the runs.

    labels: whose Dice get a column each. idle: arm -> minutes of its training measured on an idle machine; without any,
    the runs' own are taken, which may have trained beside other work. Columns dims, params, gflops, steps, minutes, the
    labels, iou, nsd1, hd95, value (mean Dice), low, high, seeds. Empty if no run is on that fold.
    """
    chosen = [one for one in results if (one.run.folds, one.run.fold, one.run.budget) == (folds, fold, budget)]
    if not chosen:
        return pd.DataFrame()
    rows = means(scores(chosen))
    for arm in rows.index:
        runs = [one for one in chosen if one.run.arm == arm]
        for column in ("dims", "params", "gflops", "steps"):
            rows.loc[arm, column] = runs[0].config[column]
        taken = idle.get(arm, np.nan) if idle else np.mean([minutes(one) for one in runs])
        rows.loc[arm, "minutes"] = taken if runs[0].config["steps"] else np.nan  # the floor does not train
        columns = {name: (name, "dice") for name in labels} | {metric: (MEAN, metric) for metric in FURTHER}
        for name, of in columns.items():
            rows.loc[arm, name] = np.mean([one.mean(*of) for one in runs])
    return rows[["dims", "params", "gflops", "steps", "minutes", *labels, *FURTHER, "value", "low", "high", "seeds"]]


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """What `arms` returns, as text with units, same index; costs first, the mean Dice with its interval last."""
    text = pd.DataFrame(index=table.index)
    written = {"params": ("parameters", "{:,.0f}"), "gflops": ("GFLOP", "{:.1f}"), "steps": ("steps", "{:,.0f}"),
               "minutes": ("minutes", "{:.1f}"), "seeds": ("seeds", "{:.0f}"), "iou": ("IoU", "{:.3f}"),
               "nsd1": ("NSD 1 mm", "{:.3f}"), "hd95": ("HD95 (mm)", "{:.2f}")}  # fmt: skip
    costs = ("params", "gflops", "steps", "minutes", "seeds")
    for name in (*costs, *(column for column in table if column not in (*costs, "dims", "value", "low", "high"))):
        title, form = written.get(name, (f"Dice, {name}", "{:.3f}"))
        text[title] = ["" if np.isnan(value) else form.format(value) for value in table[name]]
    text["mean Dice (95 % interval)"] = with_interval(table)
    return text


def with_interval(table: pd.DataFrame) -> pd.Series:
    """Columns value, low and high as one text a row: `0.8847 (0.8727 to 0.8964)`."""
    rows = table[["value", "low", "high"]].itertuples(index=False)
    return pd.Series([f"{value:.4f} ({low:.4f} to {high:.4f})" for value, low, high in rows], table.index, dtype=str)


def beside(
    results: Sequence[RunResult],
    reference: str,
    labels: Sequence[str],
    folds: str,
    idle: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """`arms` on fold 0 of a kind of folds, best first, as a reader wants it: intervals, and each minus the reference.

    Columns minutes, seeds, the labels, "mean Dice" and "minus <reference>", the last two as text. Empty if no run is
    there.
    """
    here = [one for one in results if (one.run.folds, one.run.fold, one.run.budget) == (folds, 0, "standard")]
    if not here:
        return pd.DataFrame()
    found = arms(here, labels, folds, idle=idle).sort_values("value", ascending=False)
    table = found[["minutes", "seeds", *labels]].copy()
    table["mean Dice"] = with_interval(found)
    for name, row in differences(scores(here), reference).iterrows():
        table.loc[name, f"minus {reference}"] = f"{row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
    return table


def processor(result: RunResult) -> str:
    """Name of the processor that trained a run; empty where nothing is recorded."""
    path = result.folder / "provenance.json"
    return read_json(path).get("machine", "") if path.is_file() else ""


def machines(results: Sequence[RunResult]) -> str:
    """Which machine trained how many networks, in words; averages and the floor, which train nothing, left out."""
    trained = Counter(processor(one) or "unknown" for one in results if one.run.definition.trains)
    return "; ".join(f"{name}: {count}" for name, count in sorted(trained.items()))


def minutes(result: RunResult) -> float:
    """Minutes of training as recorded beside the run.

    NaN where nothing is recorded, or where a GPU did the work: its minutes stand beside no processor's.
    """
    path = result.folder / "provenance.json"
    known = path.is_file() and result.config["device"] == "cpu"
    return read_json(path).get("train_s", float("nan")) / 60 if known else float("nan")
